//! A trained transport: both networks with fixed weights, and the normalisation between data units and theirs.

use super::pieces::Placed;
use super::place::place;
use super::weights;
use crate::context::Context;
use crate::data::MAX_RANK;
use crate::device::rows::Constants;
use crate::error::{Error, Result};
use crate::euot::answers::Transport;
use crate::euot::conditional::Conditional;
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::euot::networks::Networks;
use crate::file::input::Input;
use crate::file::kind::{FileKind, NAMED_LAYERS};
use crate::file::output::Output;
use crate::float_mode;
use crate::formulas::{Activation, Conjugate, Divergence, Head};
use crate::nn::spec::{NetworkSpec, Specs};
use crate::numbers::{MAX_DIMENSION, Numbers};
use crate::rng::MAX_STEPS;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// The description in a model file, beside the weights. sigma and tau are in normalised units, in which `scale` is 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Description {
    pub divergence: Divergence,
    pub tau: f64,
    pub sigma: f64,
    pub activation: Activation,
    pub hidden_width: usize,
    pub hidden_layers: usize,
    pub latent_dimension: usize,
    pub components: usize,
    pub deterministic: bool,
    pub squares: bool,
    #[serde(deserialize_with = "crate::numbers::list")]
    pub sample_shape: Vec<usize>,
    pub shift: Numbers,
    pub scale: f64,
    /// The common scale of the data, in data units. sigma and tau may have been given as multiples of it.
    pub common_scale: f64,
    /// The known part of the answer, to which the networks add.
    pub bridge: GaussianBridge,
    /// Whether the problem has axes that are not the components of a sample.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rotated: bool,
    pub steps: u64,
    /// The value network, where it differs from what the fields above say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_network: Option<NetworkSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_network: Option<NetworkSpec>,
}

/// What a model is.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Shape of one sample.
    pub sample_shape: Vec<usize>,
    /// Numbers in a sample: the product of its shape.
    pub dimension: usize,
    /// Numbers of the generator's latent; 0 for none.
    pub latent_dimension: usize,
    /// Number of Gaussians in the mixture for a source sample. With latents, the number that a training drew for each
    /// source sample.
    pub components: usize,
    /// How the end marginal is tied to the target.
    pub divergence: Divergence,
    /// Noise, in the data's units.
    pub sigma: f64,
    /// Weight of the divergence, in the data's units squared.
    pub tau: f64,
    /// The data's common scale, in data units. sigma and tau may be given as multiples of it.
    pub data_scale: f64,
    /// Number of training steps made.
    pub steps: u64,
    /// Number of parameters of both networks together.
    pub parameters: u64,
}

impl ModelInfo {
    /// Refuses the shape of an array whose rows are no samples of this model.
    pub(crate) fn check_shape(&self, name: &str, shape: &[usize]) -> Result<()> {
        // Without axes of its own, a sample is one number.
        let fits = match &shape[1..] {
            [] => self.dimension == 1,
            sample => sample == self.sample_shape || sample == [self.dimension],
        };
        if fits {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{name}.shape is {shape:?}; it must be the number of rows, followed by {} or by the shape of the model's \
             samples, {:?}",
            self.dimension, self.sample_shape
        )))
    }
}

pub(super) struct Inner {
    pub info: ModelInfo,
    pub transport: Arc<Transport>,
    pub placed: Arc<dyn Placed>,
    description: Description,
    pub value_weights: Vec<f32>,
    pub generator_weights: Vec<f32>,
}

/// A trained transport map, immutable and shareable across threads. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Model(pub(super) Arc<Inner>);

impl Model {
    pub(crate) fn new(
        context: &Context,
        description: Description,
        value: Vec<f32>,
        generator: Vec<f32>,
    ) -> Result<Self> {
        let d = description.shift.len();
        let scale = description.scale;
        let bridge = description.bridge.clone();
        let conjugate = Conjugate { divergence: description.divergence, tau: description.tau };
        let (value_network, generator_network) = description.networks().shapes(d)?;
        let constants = Constants {
            shift: description.shift.clone(),
            scale,
            rotation: bridge.rotation.clone(),
            units: bridge.units()?,
            cost: bridge.cost(),
        };
        let transport = Arc::new(Transport {
            value: value_network,
            generator: generator_network,
            conditional: description.conditional(),
            constants,
            axes: bridge.axes(description.sigma)?,
            sigma: description.sigma,
            head: Head { deterministic: description.deterministic },
            conjugate: bridge.conjugate(&conjugate),
            bridge,
        });
        let placed = place(context, &transport, [&value, &generator])?;
        let info = ModelInfo {
            sample_shape: description.sample_shape.clone(),
            dimension: d,
            latent_dimension: description.latent_dimension,
            components: description.components,
            divergence: description.divergence,
            sigma: description.sigma * scale,
            tau: description.tau * scale * scale,
            data_scale: description.common_scale,
            steps: description.steps,
            parameters: (value.len() + generator.len()) as u64,
        };
        Ok(Self(Arc::new(Inner {
            info,
            transport,
            placed,
            description,
            value_weights: value,
            generator_weights: generator,
        })))
    }

    /// Returns whether the value function began with clusters of the target.
    pub(crate) fn has_peaks(&self) -> bool {
        self.0.transport.bridge.peaks.is_some()
    }

    /// Returns what the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// Writes the model as safetensors: a tensor for each matrix of both networks and for its biases, and a JSON
    /// description.
    ///
    /// # Errors
    /// [`crate::Error::Io`]; [`crate::Error::Format`] where a load would refuse the file;
    /// [`crate::Error::OutOfMemory`]. A file that was there before is then untouched.
    pub fn save(&self, path: &Path) -> Result<()> {
        let _inside = float_mode::enter();
        let mut output = Output::new(FileKind::Model, &self.0.description)?;
        let description = &self.0.description;
        let [networks, axes, pictures, layers] = description.specs().versions(!description.bridge.is_even());
        let [eased, peaks, turned] = description.bridge.versions();
        output.needs(&[networks, axes, pictures, layers, eased, peaks, turned, (true, NAMED_LAYERS)]);
        description.bridge.push_axes(&mut output);
        let Transport { value, generator, .. } = &*self.0.transport;
        weights::push(&mut output, "value", &value.layout, &self.0.value_weights);
        weights::push(&mut output, "generator", &generator.layout, &self.0.generator_weights);
        output.save(path)
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`crate::Error::Io`], also for what is not a regular file; [`crate::Error::Format`] for a file that is
    /// truncated, foreign or newer; [`crate::Error::OutOfMemory`].
    pub fn load(context: &Context, path: &Path) -> Result<Self> {
        Self::read(context, Input::open(path, FileKind::Model)?)
    }

    /// Reads a model from the bytes of its file. The bytes are not needed afterwards.
    ///
    /// # Errors
    /// [`crate::Error::Format`] for bytes that are truncated, foreign or newer; [`crate::Error::OutOfMemory`].
    pub fn load_memory(context: &Context, bytes: &[u8]) -> Result<Self> {
        Self::read(context, Input::memory(bytes, FileKind::Model)?)
    }

    fn read(context: &Context, mut input: Input) -> Result<Self> {
        let _inside = float_mode::enter();
        let mut description: Description = input.description()?;
        description.check().map_err(|what| input.unfit(what))?;
        let layouts = description.networks().layouts(description.shift.len()).map_err(|error| input.refusal(error))?;
        let [value, generator] = &layouts;
        let networks = [("value", value), ("generator", generator)];
        for (name, layout) in networks {
            weights::check(&input, name, layout)?;
        }
        description.bridge.read_axes(&mut input, description.rotated)?;
        let [value, generator] = networks.map(|(name, layout)| weights::read(&mut input, name, layout));
        Self::new(context, description, value?, generator?)
    }
}

impl Description {
    fn conditional(&self) -> Conditional {
        Conditional { components: self.components, latent: self.latent_dimension }
    }

    fn specs(&self) -> Specs<'_> {
        let own = [&self.value_network, &self.generator_network];
        Specs::new(self.activation, self.hidden_width, self.hidden_layers, self.squares, own)
    }

    fn networks(&self) -> Networks<'_> {
        let [value, generator] = self.specs().each();
        let bridge = &self.bridge;
        Networks {
            conditional: self.conditional(),
            deterministic: self.deterministic,
            bridge,
            value,
            generator,
            unit: self.scale,
        }
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.specs().check()?;
        if self.components == 0 {
            return Err("components is 0, but must be 1 or more".into());
        }
        self.conditional().check(self.deterministic)?;
        self.specs().check_convolutional(self.deterministic, self.components)?;
        if self.steps > MAX_STEPS {
            return Err(format!("steps is {}, but a training has at most {MAX_STEPS} steps", self.steps));
        }
        checked_dimension(&self.sample_shape, &self.shift, [self.scale, self.common_scale])?;
        self.specs().check_chosen(&self.sample_shape)?;
        let units = self.common_scale / self.scale;
        if !SIGMAS.contains(&(self.sigma / units)) {
            return Err(format!(
                "sigma is {:e}, but must be from {:e} to {:e} times {units:e}",
                self.sigma,
                SIGMAS.start(),
                SIGMAS.end()
            ));
        }
        if !(self.tau.is_finite() && self.tau > 0.0) {
            return Err(format!("tau is {:e}, but must be a finite number above 0", self.tau));
        }
        // sigma in data units is finite, as it is in its range.
        if !(self.tau * self.scale * self.scale).is_finite() {
            return Err(format!("tau and scale {:e} are too large together", self.scale));
        }
        self.bridge.check(&self.shift, self.scale, self.sigma, self.conditional().own_components())
    }
}

/// The range of sigma in units of the data's common scale: that of a training, with room for rounding.
const SIGMAS: std::ops::RangeInclusive<f64> = 0.999e-6..=1.001e3;
/// The range of the ratio of the data's common scale to the scale of what networks see. It is far wider than any
/// training gives.
const SCALE_RATIOS: std::ops::RangeInclusive<f64> = 1e-9..=1e9;
/// The range of the data's common scale. Outside of it results would leave the range of 32-bit numbers.
const SCALES: std::ops::RangeInclusive<f64> = f32::MIN_POSITIVE as f64..=f32::MAX as f64;
/// The largest magnitude of a shift. Means of data are 32-bit numbers, and a shift lies a few spreads from them.
const SHIFTS_END: f64 = 1e6 * f32::MAX as f64;

/// Returns the dimension of a sample, on which a file's shape and normalisation have to agree.
pub(crate) fn checked_dimension(
    shape: &[usize],
    shift: &[f64],
    scales: [f64; 2],
) -> std::result::Result<usize, String> {
    // The axis in front, of the samples themselves, counts too.
    if !(1..MAX_RANK).contains(&shape.len()) {
        return Err(format!("sample_shape has {} axes, but must have from 1 to {}", shape.len(), MAX_RANK - 1));
    }
    let d = shift.len();
    if !(1..=MAX_DIMENSION).contains(&d)
        || shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n)) != Some(d)
    {
        return Err(format!(
            "sample_shape is {shape:?} and shift has {d} numbers, but both must say the same number from 1 to \
             {MAX_DIMENSION}"
        ));
    }
    if let Some(at) = shift.iter().position(|x| !(-SHIFTS_END..=SHIFTS_END).contains(x)) {
        return Err(format!("shift[{at}] is {:e}, but must be from -{SHIFTS_END:e} to {SHIFTS_END:e}", shift[at]));
    }
    let [scale, common] = scales;
    if !SCALES.contains(&common) {
        let (least, most) = (SCALES.start(), SCALES.end());
        return Err(format!("common_scale is {common:e}, but must be from {least:e} to {most:e}"));
    }
    if !(scale.is_finite() && scale > 0.0 && SCALE_RATIOS.contains(&(common / scale))) {
        let (least, most) = (SCALE_RATIOS.start(), SCALE_RATIOS.end());
        return Err(format!(
            "scale is {scale:e}, but common_scale {common:e} must be from {least:e} to {most:e} times it"
        ));
    }
    Ok(d)
}
