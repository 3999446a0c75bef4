//! The trainer, which a host runs step by step, for a number of steps, or for a time.

use super::advice;
use super::cancel::CancelToken;
use super::checkpoint::{self, State};
use super::config::TrainerConfig;
use super::devices;
use super::engine::{Engine, StepOutcome};
use super::host_memory::HostMemory;
use super::log;
use super::metrics::{self, Metrics};
use super::plan::{NormalisedProblem, Plan, most_peaks, outline, plan};
use super::watch::Watch;
use crate::context::Context;
use crate::data::{self, Augmentation, Data, DataSource, Fingerprint};
use crate::device::training::NetworkState;
use crate::error::{Error, Result};
use crate::euot::initial;
use crate::euot::picked::PeakCounts;
use crate::formulas::peaks::{MOST_PEAKS, MOST_TURNED};
use crate::model::Model;
use crate::nn::init::kaiming;
use crate::rng::MAX_STEPS;
use crate::{float_mode, quote};
use std::path::Path;

/// A training: problem, networks and data on a context's device.
///
/// ```
/// use sfeuot::{Context, Data, TensorView, Trainer, TrainerConfig};
/// # fn main() -> sfeuot::Result<()> {
/// let source: Vec<f32> = (0..200).map(|i| (i as f32 * 0.37).sin()).collect();
/// let target: Vec<f32> = (0..200).map(|i| 5.0 + (i as f32 * 0.11).cos()).collect();
/// let context = Context::new(Default::default())?;
/// let config = TrainerConfig { sigma: 0.5, hidden_width: 32, ..Default::default() };
/// let mut trainer = Trainer::new(
///     &context,
///     config,
///     Data::array(TensorView::from_f32(&source, &[100, 2])?),
///     Data::array(TensorView::from_f32(&target, &[100, 2])?),
/// )?;
/// let metrics = trainer.step(3)?;
/// assert_eq!(metrics.step, 3);
/// # Ok(())
/// # }
/// ```
pub struct Trainer {
    context: Context,
    config: TrainerConfig,
    sample_shape: Vec<usize>,
    frame: NormalisedProblem,
    plan: Plan,
    engine: Box<dyn Engine>,
    memory: HostMemory,
    /// Hashes of source and target, where they are arrays.
    fingerprints: [Fingerprint; 2],
    metrics: Metrics,
    /// Metrics of the step before the last, while the engine can take the last one back.
    previous: Option<Metrics>,
    watch: Watch,
    cancel: CancelToken,
}

/// Refuses pictures that are drawn mirrored or moved where networks see each pixel in units of its own.
fn check_augmentation(config: &TrainerConfig, source: &Data<'_>, target: &Data<'_>) -> Result<()> {
    for (side, data) in [("source", source), ("target", target)] {
        let Augmentation { flip, crop } = data.augmentation();
        if (flip || crop > 0) && !config.is_convolutional() {
            let set = if flip { "flip is 1".to_owned() } else { format!("crop is {crop}") };
            return Err(Error::invalid(format!(
                "{side}.{set}, but must be 0 where value_network and generator_network are not convolutional"
            )));
        }
    }
    Ok(())
}

/// A configuration with nothing left open, and the memory that its training takes.
struct Form {
    config: TrainerConfig,
    memory: HostMemory,
}

/// Returns the form of a configuration for these samples, and behind it those with twice and four times the components, where the
/// host leaves these open, as many as peaks there may be, and there is room. Nothing is allocated and no sample read.
fn forms(context: &Context, given: &TrainerConfig, sides: &data::Sides<'_, '_>) -> Result<Vec<Form>> {
    let of = |config: TrainerConfig| -> Result<Form> {
        let memory = devices::room(context, &config, sides)?;
        Ok(Form { config, memory })
    };
    let shape = sides.sample_shape();
    let usual = given.clone().of_samples(shape)?;
    let mut forms = vec![of(usual.clone())?];
    let open = given.components == 0 && most_peaks(&usual, shape.iter().product(), MOST_PEAKS).is_some();
    let mut components = 2 * usual.components;
    while open && components <= MOST_PEAKS {
        let more = TrainerConfig { components, ..given.clone() };
        let Ok(form) = more.validate().and_then(|()| more.of_samples(shape)).and_then(of) else { break };
        forms.push(form);
        components *= 2;
    }
    Ok(forms)
}

impl Trainer {
    /// Copies the data, measures their common scale and makes the initial networks.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a configuration out of range, and for data that are not finite or of different
    /// shapes on the two sides; [`Error::OutOfMemory`] for a training that the system, or the GPU within the context's
    /// `memory_limit`, has no memory for, before a sample is read; [`Error::Callback`] for a sampler's failure.
    pub fn new(context: &Context, config: TrainerConfig, source: Data<'_>, target: Data<'_>) -> Result<Self> {
        let _inside = float_mode::enter();
        config.validate()?;
        check_augmentation(&config, &source, &target)?;
        let mut sides = data::Sides::check(source, target)?;
        let sample_shape = sides.sample_shape().to_vec();
        let forms = forms(context, &config, &sides)?;
        let usual = forms[0].config.clone();
        let most = forms.last().map_or(0, |form| form.config.components);
        let peaks = most_peaks(&usual, sample_shape.iter().product(), most)
            .map(|counts| PeakCounts { counts, turned: sample_shape.iter().product::<usize>() <= MOST_TURNED });
        advice::before_reading(context, &usual, &sample_shape, sides.sizes());
        let measured = sides.measure(usual.length(), peaks.is_some())?;
        log::one_point(context, &usual, &measured);
        advice::one_length(context, &usual, &measured);
        let heaviest = measured.shapes.as_ref().map(|shapes| shapes.heaviest);
        let (frame, choice) = NormalisedProblem::new(&usual, measured, peaks, context.pool())?;
        log::axes(context, &frame, choice, heaviest);
        let found = frame.bridge.peaks.as_ref().map_or(0, |peaks| peaks.count());
        let form = forms.into_iter().find(|form| form.config.components >= found);
        let Form { config, memory } = form.expect("no more peaks than the most components");
        let plan = plan(&config, &frame)?;
        let data = sides.prepare(frame.seen()?)?;
        let Plan { halves, dimension, .. } = &plan;
        let axes = plan.axes()?;
        let outputs = initial::Outputs::new(halves.conditional, halves.head, *dimension, &axes, config.seed)?;
        let networks = [
            NetworkState::new(kaiming(&halves.value, config.seed, 0, |_| initial::value(&axes))?)?,
            NetworkState::new(kaiming(&halves.generator, config.seed, 1, |output| outputs.of(output))?)?,
        ];
        let state = State { config, sample_shape, frame, metrics: Metrics::default(), networks };
        let data = <[DataSource; 2]>::from(data);
        let fingerprints = data.each_ref().map(DataSource::fingerprint);
        Self::assemble(context, state, plan, memory, data, fingerprints)
    }

    fn assemble(
        context: &Context,
        state: State,
        plan: Plan,
        memory: HostMemory,
        data: [DataSource; 2],
        fingerprints: [Fingerprint; 2],
    ) -> Result<Self> {
        let State { config, sample_shape, frame, metrics, networks } = state;
        // What no outline knows.
        let memory = HostMemory { kept: memory.kept.saturating_add(frame.bridge.own_axes_bytes()), ..memory };
        log::measured(context, &config, &frame);
        advice::problem(context, &frame, config.tau_start);
        Ok(Self {
            context: context.clone(),
            engine: devices::engine(context, plan.clone(), networks, data, metrics.step)?,
            config,
            sample_shape,
            frame,
            plan,
            memory,
            fingerprints,
            metrics,
            previous: None,
            watch: Watch::default(),
            cancel: CancelToken::default(),
        })
    }

    /// Makes as many of `steps` steps (1 or more) as the engine makes at once, and returns how many those were.
    pub(super) fn advance(&mut self, steps: u64) -> Result<u64> {
        let left = MAX_STEPS - self.metrics.step;
        if left == 0 {
            return Err(Error::invalid(format!(
                "steps must be 0 now: the trainer has made all of the {MAX_STEPS} steps that a training can have"
            )));
        }
        let steps = steps.min(self.engine.most_steps()).min(left);
        let token = &self.cancel;
        let cancelled = || token.is_cancelled();
        let advance = self.engine.advance(self.metrics.step, steps, &cancelled);
        let first = self.metrics.step;
        let [last, before] = advance.outcomes;
        if let Some(last) = last {
            self.previous = Some(match before {
                Some(before) => self.observed(first + advance.made - 1, &before),
                None => self.metrics,
            });
            self.metrics = self.observed(first + advance.made, &last);
        }
        if advance.taken_back
            && let Some(previous) = self.previous
        {
            self.metrics = previous;
        }
        if let Some(collapse) =
            self.watch.see(&advance.value_sums, advance.made, self.config.batch_rows(), first >= self.config.tau_steps)
        {
            log::collapse(&self.context, &collapse);
        }
        advance.end?;
        Ok(advance.made)
    }

    /// Begins a call that trains.
    pub(super) fn begin_call(&mut self) {
        self.watch.begin_call();
    }

    /// Says how fast the steps of a call are.
    pub(super) fn tell_speed(&mut self, steps_per_second: f64) {
        self.metrics.steps_per_second = steps_per_second;
    }

    /// Returns the metrics after `step` steps.
    fn observed(&self, step: u64, StepOutcome { value, generator }: &StepOutcome) -> Metrics {
        let rows = self.config.batch_rows() as f64;
        let bridge = &self.plan.bridge;
        // V is a cost, and costs scale with the square of lengths; the networks' is larger by the bridge's factor.
        let cost = self.frame.normalisation.scale.powi(2) / (rows * bridge.cost());
        let potential = (value.sums.generated - value.sums.conjugate) * cost;
        // The known part's own action is how much it gains from start to end.
        let action = (value.sums.action - rows * bridge.start) * cost;
        let dual = potential - action;
        Metrics {
            step,
            dual,
            value_loss: -dual,
            generator_loss: generator.sums.generator * cost,
            potential,
            action,
            value_gradient_norm: value.gradient_norm,
            generator_gradient_norm: generator.gradient_norm,
            density_ratio_mean: value.sums.density_ratio / rows,
            steps_per_second: self.metrics.steps_per_second,
            value_generated: value.sums.generated * cost,
            // Psi* and its derivative are finite where V is not.
            value_target: (value.sums.target * cost).clamp(f64::MIN, f64::MAX),
            matched_share: metrics::matched_share(&value.sums, rows),
            spread: metrics::spread(&value.sums).unwrap_or(0.0),
        }
    }

    /// Returns a handle that cancels this trainer's calls.
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Returns the metrics after the last step.
    pub fn metrics(&self) -> Metrics {
        self.metrics
    }

    /// Returns the configuration of the trainer.
    pub fn config(&self) -> &TrainerConfig {
        &self.config
    }

    /// Returns the bytes that the training takes of the host's and of a GPU's memory, as computed before they were
    /// allocated: networks, workspaces, samples and batches. Small parts that do not grow with the configuration are
    /// left out, and so are memory that the context's trainings share, models and checkpoints, and what measuring and
    /// copying the samples takes before anything else is allocated. A creation that finds no room for them is refused.
    pub fn memory(&self) -> (u64, u64) {
        (self.memory.kept as u64, self.engine.device_bytes())
    }

    /// Returns a copy of the averaged networks for inference, which is independent of the trainer.
    ///
    /// # Errors
    /// [`Error::Device`] and [`Error::OutOfMemory`] on a GPU; none on the processor.
    pub fn model(&mut self) -> Result<Model> {
        let model = self.copied()?;
        Self::tell_of(&self.context, &model);
        Ok(model)
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Tells the log of a model that knows nothing.
    pub(crate) fn tell_of(context: &Context, model: &Model) {
        advice::untrained(context, model.info().steps, model.has_peaks());
    }

    /// Returns the model of [`Self::model`] and writes nothing to the log, whose sink may call back.
    pub(crate) fn copied(&mut self) -> Result<Model> {
        let _inside = float_mode::enter();
        let (sigma, conjugate) = self.frame.problem();
        // tau at the step which the value function learnt from last.
        let factor = match self.config.divergence.is_unbalanced() {
            true => self.config.tau_schedule().factor(self.metrics.step.saturating_sub(1)),
            false => 1.0,
        };
        let [value, generator] = self.engine.state()?;
        let [value_network, generator_network] = self.config.specs().differing();
        Model::new(
            &self.context,
            crate::model::Description {
                divergence: self.config.divergence,
                tau: conjugate.tau * factor,
                sigma,
                activation: self.config.activation,
                hidden_width: self.config.hidden_width,
                hidden_layers: self.config.hidden_layers,
                latent_dimension: self.config.latent_dimension,
                components: self.config.components,
                deterministic: self.config.deterministic,
                squares: self.config.squares,
                sample_shape: self.sample_shape.clone(),
                shift: self.frame.normalisation.shift.clone(),
                scale: self.frame.normalisation.scale,
                common_scale: self.frame.common_scale,
                bridge: self.plan.bridge.clone(),
                rotated: self.plan.bridge.rotation.is_some(),
                steps: self.metrics.step,
                value_network,
                generator_network,
            },
            value.average,
            generator.average,
        )
    }

    /// Writes a checkpoint: everything but the data that a training needs to go on bit for bit.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] where a load would refuse the file, [`Error::OutOfMemory`], [`Error::Device`].
    /// A file that was there before is then untouched.
    pub fn save(&mut self, path: &Path) -> Result<()> {
        let _inside = float_mode::enter();
        let state = State {
            config: self.config.clone(),
            sample_shape: self.sample_shape.clone(),
            frame: self.frame.clone(),
            metrics: self.metrics,
            networks: self.engine.state()?,
        };
        let [source, target] = &mut self.fingerprints;
        checkpoint::save(path, state, [source.hash()?, target.hash()?])
    }

    /// Resumes a training from a checkpoint with the same data. Arrays must hold the same numbers, and the host has to
    /// put its samplers where they were.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] for a file that is truncated, foreign or newer, [`Error::InvalidArgument`]
    /// for other data than the training began with.
    pub fn load(context: &Context, path: &Path, source: Data<'_>, target: Data<'_>) -> Result<Self> {
        let _inside = float_mode::enter();
        // Before anything is read into memory.
        data::Sides::check_limits(&source, &target)?;
        let (state, fingerprints) = checkpoint::load(path)?;
        check_augmentation(&state.config, &source, &target)?;
        let sides = data::Sides::check(source, target)?;
        if sides.sample_shape() != state.sample_shape {
            return Err(Error::invalid(format!(
                "source.samples has samples of shape {:?}, but the checkpoint '{}' was trained on {:?}",
                sides.sample_shape(),
                quote::path(path),
                state.sample_shape
            )));
        }
        let units = &state.frame.normalisation;
        let outline = outline(&state.config, units.dimension())?;
        let memory = devices::host_memory(context, &outline, &sides, sides.bytes_while_prepared());
        devices::check_room(context, &outline, &sides)?;
        // As long as a sample where that is long, and of no more use.
        drop(outline);
        let data = <[DataSource; 2]>::from(sides.prepare(state.frame.seen()?)?);
        let mut found = data.each_ref().map(DataSource::fingerprint);
        for ((side, found), expected) in ["source", "target"].into_iter().zip(&mut found).zip(fingerprints) {
            if found.hash()? != expected {
                return Err(Error::invalid(format!(
                    "{side} holds other samples or weights, or another flip or crop, than the checkpoint '{}' was trained on; to train a model on new data, make a new trainer",
                    quote::path(path)
                )));
            }
        }
        // Not for a checkpoint of other data. The arrays have been copied by now.
        memory.ask(state.config.sizes(), &state.sample_shape, memory.copies)?;
        let plan = plan(&state.config, &state.frame)?;
        Self::assemble(context, state, plan, memory, data, found)
    }
}
