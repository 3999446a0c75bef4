//! The configuration of a trainer.

use super::batch;
use crate::error::{Error, Result};
use crate::euot::conditional::Conditional;
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::euot::networks::Networks;
use crate::formulas::{Activation, Divergence, TauSchedule};
use crate::nn::spec::{GENERATOR, NetworkSpec, Specs, VALUE};
use serde::{Deserialize, Serialize};

/// The largest weight of the penalty on V's gradient.
const MOST_PENALTY: f64 = 1000.0;

/// Units in which sigma and tau are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum SigmaUnits {
    /// sigma in the data's units, tau in their square (the units of the cost).
    Data = 0,
    /// sigma as a multiple of the data's common scale (the root mean square, over both sides and all components, of
    /// the distance to the common centre), tau as a multiple of that scale's square times the numbers of a sample: the
    /// cost sums over them, so one tau means the same for samples of any dimension. Where all samples are one point,
    /// that scale is a thousand times what 32-bit numbers resolve there, so there is no noise to speak of.
    Relative = 1,
}

/// Problem, networks and optimiser of a trainer. [`Default`] fills everything but sigma.
///
/// sigma is the amount of noise: the coupling minimises E\[1/2 |x1 - x0|^2\] minus sigma^2 times an entropy, so small
/// values approach a deterministic map (and need more steps), large ones an independent coupling. tau is the price of
/// deviating from the target's masses, in units of the cost. All source mass goes somewhere, so differences count: a
/// part of the target that costs more than the others by clearly more than tau gets less mass (with KL about
/// e^(-difference / tau) of its own); large values approach balanced transport.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerConfig {
    /// How the end marginal is tied to the target. Default KL.
    pub divergence: Divergence,
    /// Noise of the dynamic problem, > 0; a length in `sigma_units`. The default of 0 has to be replaced.
    pub sigma: f64,
    /// Weight of the divergence, > 0, in the square of `sigma_units`, for each number of a sample where they are relative;
    /// balanced transport ignores it. Default 1.
    pub tau: f64,
    /// tau at the first step, as a multiple of `tau`, > 0. It rises or falls to `tau` evenly in the logarithm over `tau_steps`
    /// steps. A model that is taken before has the tau of its last step. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub tau_start: f64,
    /// Steps until tau has its value. 0, the default, keeps it constant, and `tau_start` must be 1 then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tau_steps: u64,
    /// Units of sigma and tau. Default relative.
    pub sigma_units: SigmaUnits,
    /// Nonlinearity of the hidden layers of both networks. Default SiLU.
    pub activation: Activation,
    /// Units of each hidden layer, 1 to 4096. Default 128.
    pub hidden_width: usize,
    /// Hidden layers, 1 to 16. Default 3.
    pub hidden_layers: usize,
    /// Numbers of the generator's latent z, 0 to 4096. With 0, the default, the generator gives a source sample a
    /// mixture of `components` Gaussians whose probabilities, means and standard deviations are all learnt; with more
    /// the family of mixtures is not bounded by `components`, but the training is less accurate.
    pub latent_dimension: usize,
    /// Whether the generator has no standard deviations and is a function of (x0, z). `latent_dimension` must not be 0
    /// then. Default false.
    pub deterministic: bool,
    /// Whether both networks see the square of each number x of a sample, less its mean, beside x. With x in units of
    /// the common spread, the square is bent to grow like |x| beyond 3. Potentials of Gaussians and mixtures are made
    /// of squares. It costs a first layer twice as large. Default true.
    pub squares: bool,
    /// Source samples in a batch, up to 2^20. With 0, the default, as many as give 1024 rows with `components`, and up to
    /// 128; 64 where networks are convolutional.
    pub batch_sources: usize,
    /// K, up to 4096: the number of Gaussians in the mixture that x1 is drawn from, given x0. With latents, the number
    /// of latents drawn for each source sample in a batch. K times batch_sources is up to 2^24. With 0, the default, 16 for
    /// samples of up to 4 numbers, 8 for others and with latents, 1 where networks are convolutional. A balanced training
    /// without latents, of samples of up to 128 numbers, then has 16 or 32 where it begins with more clusters of the target than
    /// that and there is room.
    pub components: usize,
    /// Learning rate of the generator, > 0. It solves the inner problem and must be the faster one. Default 2e-3.
    pub generator_learning_rate: f64,
    /// Learning rate of the value function, > 0. Default 1e-3.
    pub value_learning_rate: f64,
    /// Adam's decay of the first moment, in [0, 1). Default 0.5.
    pub adam_beta1: f64,
    /// Adam's decay of the second moment, in [0, 1). Default 0.99.
    pub adam_beta2: f64,
    /// Decay of the weights' exponential moving average, in [0, 1); the average starts with shorter memory.
    /// Default 0.998.
    pub ema_decay: f64,
    /// Largest norm of a network's gradient in the problem that the networks see, longer ones are shortened to it; 0,
    /// the default, leaves them as they are.
    pub gradient_clip: f64,
    /// gamma: gamma/2 |grad V(1, y)|^2, averaged over the target samples, is added to the value function's loss. From 0, the
    /// default, which leaves it out, to 1000. It has no unit.
    #[serde(default, skip_serializing_if = "is_none")]
    pub gradient_penalty: f64,
    /// Steps over which both rates fall along a half cosine; 0, the default, keeps them constant.
    pub decay_steps: u64,
    /// The rates at the end of the fall, as a fraction of those at the start, in [0, 1]. Default 0.02.
    pub decay_floor: f64,
    /// Seed of all random numbers. Default 0.
    pub seed: u64,
    /// The value network, where it differs from what `activation`, `hidden_width`, `hidden_layers` and `squares` say.
    /// Default None. Versions of the library without this field cannot read files with such a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_network: Option<NetworkSpec>,
    /// The generator's network, where it differs. Default None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_network: Option<NetworkSpec>,
}

fn one() -> f64 {
    1.0
}

fn is_one(x: &f64) -> bool {
    *x == 1.0
}

fn is_none(x: &f64) -> bool {
    *x == 0.0
}

fn is_zero(x: &u64) -> bool {
    *x == 0
}

impl Default for TrainerConfig {
    fn default() -> Self {
        let NetworkSpec { kind: _, activation, hidden_width, hidden_layers, squares, convolutions: _ } =
            NetworkSpec::default();
        Self {
            divergence: Divergence::Kl,
            sigma: 0.0,
            tau: 1.0,
            tau_start: 1.0,
            tau_steps: 0,
            sigma_units: SigmaUnits::Relative,
            activation,
            hidden_width,
            hidden_layers,
            latent_dimension: 0,
            deterministic: false,
            squares,
            batch_sources: 0,
            components: 0,
            generator_learning_rate: 2e-3,
            value_learning_rate: 1e-3,
            adam_beta1: 0.5,
            adam_beta2: 0.99,
            ema_decay: 0.998,
            gradient_clip: 0.0,
            gradient_penalty: 0.0,
            decay_steps: 0,
            decay_floor: 0.02,
            seed: 0,
            value_network: None,
            generator_network: None,
        }
    }
}

impl TrainerConfig {
    /// # Errors
    /// The first field out of its range, with its value and the range.
    pub fn validate(&self) -> Result<()> {
        let positive = |name: &str, x: f64| {
            if x.is_finite() && x > 0.0 {
                return Ok(());
            }
            Err(Error::invalid(format!("{name} is {x}, but must be a finite number above 0")))
        };
        let fraction = |name: &str, x: f64, end: &str, closed: bool| {
            // Rounded to 32 bits, in which the optimiser computes, the open end must not be reached.
            if (x >= 0.0 && (x as f32) < 1.0) || (closed && x == 1.0) {
                return Ok(());
            }
            Err(Error::invalid(format!("{name} is {x}, but must be in [0, 1{end}")))
        };
        if self.sigma == 0.0 {
            return Err(Error::invalid(
                "sigma is 0: it has no default and must be set to a finite number above 0, such as 0.1",
            ));
        }
        positive("sigma", self.sigma)?;
        positive("tau", self.tau)?;
        positive("tau_start", self.tau_start)?;
        if self.tau_steps == 0 && self.tau_start != 1.0 {
            return Err(Error::invalid(format!(
                "tau_start is {}, but tau_steps is 0: say in how many steps tau comes to its value, or leave tau_start at 1",
                self.tau_start
            )));
        }
        self.specs().check().map_err(Error::invalid)?;
        self.conditional().check(self.deterministic).map_err(Error::invalid)?;
        self.specs().check_convolutional(self.deterministic, self.components).map_err(Error::invalid)?;
        if self.batch_sources > 1 << 20 {
            return Err(Error::invalid(format!(
                "batch_sources is {}, but must be at most {}, or 0 for what suits the samples",
                self.batch_sources,
                1 << 20
            )));
        }
        if self.batch_rows() > 1 << 24 {
            return Err(Error::invalid(format!(
                "batch_sources times components is {}, but must be at most {}",
                self.batch_rows(),
                1 << 24
            )));
        }
        positive("generator_learning_rate", self.generator_learning_rate)?;
        positive("value_learning_rate", self.value_learning_rate)?;
        fraction("adam_beta1", self.adam_beta1, ")", false)?;
        fraction("adam_beta2", self.adam_beta2, ")", false)?;
        fraction("ema_decay", self.ema_decay, ")", false)?;
        if !(self.gradient_clip.is_finite() && self.gradient_clip >= 0.0) {
            return Err(Error::invalid(format!(
                "gradient_clip is {}, but must be a finite number above 0, or 0 for none",
                self.gradient_clip
            )));
        }
        if !(0.0..=MOST_PENALTY).contains(&self.gradient_penalty) {
            return Err(Error::invalid(format!(
                "gradient_penalty is {}, but must be from 0, for none, to {MOST_PENALTY}",
                self.gradient_penalty
            )));
        }
        fraction("decay_floor", self.decay_floor, "]", true)
    }

    /// Returns how tau comes to its value.
    pub(crate) fn tau_schedule(&self) -> TauSchedule {
        TauSchedule { log_start: self.tau_start.ln(), steps: self.tau_steps }
    }

    /// Returns the configuration with networks and a batch for samples of this shape.
    ///
    /// # Errors
    /// Convolutional networks for samples that are no pictures.
    pub(crate) fn of_samples(mut self, shape: &[usize]) -> Result<Self> {
        for (spec, prefix) in [(&mut self.value_network, VALUE), (&mut self.generator_network, GENERATOR)] {
            if let Some(spec) = spec {
                *spec = spec.of_samples(shape, prefix).map_err(Error::invalid)?;
            }
        }
        let dimension = shape.iter().fold(1, |all: usize, &side| all.saturating_mul(side));
        let samples =
            batch::Samples { dimension, pictures: self.is_convolutional(), latents: self.latent_dimension > 0 };
        [self.components, self.batch_sources] = batch::chosen(self.components, self.batch_sources, &samples);
        Ok(self)
    }

    /// Checks that nothing is left to be chosen for samples of this shape, for a configuration from a file.
    ///
    /// # Errors
    /// A sentence that names what is at fault.
    pub(crate) fn check_chosen(&self, shape: &[usize]) -> std::result::Result<(), String> {
        for (name, value) in [("components", self.components), ("batch_sources", self.batch_sources)] {
            if value == 0 {
                return Err(format!("{name} is 0, but must be 1 or more"));
            }
        }
        self.specs().check_chosen(shape)
    }

    /// Returns whether the networks are convolutional, for a configuration that is sound.
    pub(crate) fn is_convolutional(&self) -> bool {
        self.specs().convolutional().unwrap_or(false)
    }

    /// Returns the names of the fields that decide how much memory a step takes.
    pub(crate) fn sizes(&self) -> &'static str {
        if self.is_convolutional() {
            "channels, levels and blocks of the networks, batch_sources"
        } else {
            "hidden_width, hidden_layers, batch_sources, components"
        }
    }

    /// Returns a length that the problem has before there are samples, if any.
    pub(crate) fn length(&self) -> Option<f64> {
        match self.sigma_units {
            SigmaUnits::Data => Some(self.sigma),
            SigmaUnits::Relative => None,
        }
    }

    /// Returns the form of the generator's law given x0.
    pub(crate) fn conditional(&self) -> Conditional {
        Conditional { components: self.components, latent: self.latent_dimension }
    }

    /// Returns the descriptions of both networks.
    pub(crate) fn specs(&self) -> Specs<'_> {
        let own = [&self.value_network, &self.generator_network];
        Specs::new(self.activation, self.hidden_width, self.hidden_layers, self.squares, own)
    }

    /// Returns the shapes of both networks for this known bridge.
    /// One of their units is `unit` in data units.
    pub(crate) fn networks<'a>(&self, bridge: &'a GaussianBridge, unit: f64) -> Networks<'a> {
        let [value, generator] = self.specs().each();
        Networks { conditional: self.conditional(), deterministic: self.deterministic, bridge, value, generator, unit }
    }

    /// Returns the number of rows of a batch; 0 as long as its size is not chosen.
    pub fn batch_rows(&self) -> usize {
        self.batch_sources * self.components
    }

    /// Returns the factor of both learning rates at `step`, counted from 0.
    pub(crate) fn rate_factor(&self, step: u64) -> f64 {
        if self.decay_steps == 0 {
            return 1.0;
        }
        let progress = (step as f64 / self.decay_steps as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        self.decay_floor + (1.0 - self.decay_floor) * cosine
    }

    /// Returns the moving average's decay at `step`, counted from 0. The memory is short at first, so that a short
    /// training is not averaged with its start.
    pub(crate) fn averaging(&self, step: u64) -> f64 {
        let step = step as f64;
        self.ema_decay.min((1.0 + step) / (10.0 + step))
    }
}
