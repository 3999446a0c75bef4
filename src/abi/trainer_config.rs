//! How to train: the problem's numbers, the networks, the optimiser.

use super::arguments::switch;
use super::config::{self, Versioned};
use super::panic::guard;
use super::status::{Failure, Outcome};
use crate::TrainerConfig;

/// Activations, for SfeuotTrainerConfig.activation.
///
/// x sigmoid(x).
pub const SFEUOT_ACTIVATION_SILU: i32 = 0;
/// tanh(x).
pub const SFEUOT_ACTIVATION_TANH: i32 = 1;
/// log(1 + exp(x)).
pub const SFEUOT_ACTIVATION_SOFTPLUS: i32 = 2;

/// Units, for SfeuotTrainerConfig.sigma_units.
///
/// sigma is in data units, tau in data units squared.
pub const SFEUOT_SIGMA_DATA_UNITS: i32 = 0;
/// sigma is a multiple of the common scale the library measures on the samples, tau of that scale's
/// square. The scale is the root mean square, over both sides and all components, of the deviation
/// from the midpoint of the two sides' means; SfeuotModelInfo.data_scale tells it. Where all samples of
/// both sides are one point, a thousand times what 32-bit numbers resolve there takes its place (or
/// sigma in data units, where that is larger), and log_callback is given a warning.
pub const SFEUOT_SIGMA_RELATIVE: i32 = 1;

/// How to make a trainer. Fill it with sfeuot_trainer_config_init, set sigma, then change what you
/// need.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotTrainerConfig {
    /// Set by sfeuot_trainer_config_init.
    pub struct_size: u32,
    /// SFEUOT_DIVERGENCE_*: how the generated distribution may differ from the target. Default
    /// SFEUOT_DIVERGENCE_KL.
    pub divergence: i32,
    /// Noise of the coupling, in sigma_units, 10^-6 to 10^3 times the common scale of the samples. There
    /// is no default: see "Choosing sigma and tau" at the top.
    pub sigma: f64,
    /// Price of leaving mass of the target unmatched, in the square of sigma_units, 10^-90 to 10^90 times
    /// the square of that scale. Default 1.
    pub tau: f64,
    /// SFEUOT_SIGMA_*. Default SFEUOT_SIGMA_RELATIVE, in which the same numbers suit pixels from 0 to 255
    /// and metres.
    pub sigma_units: i32,
    /// SFEUOT_ACTIVATION_*, of both networks. Default SFEUOT_ACTIVATION_SILU.
    pub activation: i32,
    /// Units of each hidden layer, 1 to 4096. 128 does for two or three dimensions, 256 for more.
    /// Default 128.
    pub hidden_width: u32,
    /// Hidden layers of each network, 1 to 16. Default 3.
    pub hidden_layers: u32,
    /// Numbers of noise z the generator sees beside the sample, 0 to 4096. With 0 it gives a source
    /// sample a mixture of `components` Gaussians whose probabilities, means and deviations are all
    /// learnt: the more accurate on the problems measured, and faster to train. With more (8 is a good number) the
    /// network's last layer, which is components x (2 dimension + 1) wide without them, is only
    /// 2 dimension wide: for samples of thousands of numbers, such as images. Default 0.
    pub latent_dimension: u32,
    /// 1 gives the generator no noise of its own beside the latents, and needs latent_dimension to be at
    /// least 1, as suits images; 0 lets it learn one. Default 0.
    pub deterministic: i32,
    /// 1 lets both networks see, beside each number x of a sample, a square of it, less its mean; with x
    /// in units of the common spread it is bent to grow like |x| beyond 3. Value functions of Gaussians and
    /// mixtures are made of squares, and the more numbers a sample has, the more is gained. The first layers
    /// become twice as large. 0 for samples alone. Default 1.
    pub squares: i32,
    /// Source samples of a step, 1 to 2^20. Default 128.
    pub batch_sources: u32,
    /// K, 1 to 4096, and times batch_sources at most 2^24; time grows with both. The Gaussians of the
    /// mixture that a source sample is given, and so about how many clusters its images can fall
    /// into; with latents, how many are drawn for each source sample of a step, where 16 is a good
    /// number. Default 8.
    pub components: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Adam's rate for the generator, > 0, which has to learn faster than the value network. Default
    /// 1e-3.
    pub generator_learning_rate: f64,
    /// Adam's rate for the value network, > 0. Default 3e-4; 1e-4 is slower and safer.
    pub value_learning_rate: f64,
    /// Adam's decay of the mean, in [0, 1). Default 0.5.
    pub adam_beta1: f64,
    /// Adam's decay of the square, in [0, 1). Default 0.99.
    pub adam_beta2: f64,
    /// Decay of the moving average of both networks' weights, in [0, 1); models use the average. It
    /// begins smaller, so that a short training forgets its start. Default 0.998.
    pub ema_decay: f64,
    /// Largest norm of a network's gradient, longer ones are shortened to it; 0 turns that off. In
    /// the units of SfeuotMetrics.value_gradient_norm. Default 0.
    pub gradient_clip: f64,
    /// Steps over which both rates fall along a cosine to decay_floor, where they stay; 0 keeps
    /// them constant. Default 0.
    pub decay_steps: u64,
    /// Final rate as a fraction of the first, in [0, 1]. Default 0.02.
    pub decay_floor: f64,
    /// Seed of everything random. The same seed, data and settings give the same bits on the same
    /// device (on CPUs of the same vector instructions), with any number of threads. Default 0.
    pub seed: u64,
}

// SAFETY: repr(C), struct_size first, plain numbers.
unsafe impl Versioned for SfeuotTrainerConfig {
    const NAME: &'static str = "SfeuotTrainerConfig";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        let core = TrainerConfig::default();
        let count = |n: usize| u32::try_from(n).expect("a default that fits");
        Self {
            struct_size: size_of::<Self>() as u32,
            divergence: core.divergence.into(),
            sigma: core.sigma,
            tau: core.tau,
            sigma_units: core.sigma_units.into(),
            activation: core.activation.into(),
            hidden_width: count(core.hidden_width),
            hidden_layers: count(core.hidden_layers),
            latent_dimension: count(core.latent_dimension),
            deterministic: core.deterministic.into(),
            squares: core.squares.into(),
            batch_sources: count(core.batch_sources),
            components: count(core.components),
            reserved: 0,
            generator_learning_rate: core.generator_learning_rate,
            value_learning_rate: core.value_learning_rate,
            adam_beta1: core.adam_beta1,
            adam_beta2: core.adam_beta2,
            ema_decay: core.ema_decay,
            gradient_clip: core.gradient_clip,
            decay_steps: core.decay_steps,
            decay_floor: core.decay_floor,
            seed: core.seed,
        }
    }
}

impl SfeuotTrainerConfig {
    /// Enums and switches; what the numbers may be is the core's to say.
    pub(super) fn checked(self) -> Outcome<TrainerConfig> {
        if self.reserved != 0 {
            return Err(Failure::argument(format!("config.reserved is {}, but must be 0", self.reserved)));
        }
        Ok(TrainerConfig {
            divergence: self.divergence.try_into()?,
            sigma: self.sigma,
            tau: self.tau,
            sigma_units: self.sigma_units.try_into()?,
            activation: self.activation.try_into()?,
            hidden_width: self.hidden_width as usize,
            hidden_layers: self.hidden_layers as usize,
            latent_dimension: self.latent_dimension as usize,
            deterministic: switch("config.deterministic", self.deterministic)?,
            squares: switch("config.squares", self.squares)?,
            batch_sources: self.batch_sources as usize,
            components: self.components as usize,
            generator_learning_rate: self.generator_learning_rate,
            value_learning_rate: self.value_learning_rate,
            adam_beta1: self.adam_beta1,
            adam_beta2: self.adam_beta2,
            ema_decay: self.ema_decay,
            gradient_clip: self.gradient_clip,
            decay_steps: self.decay_steps,
            decay_floor: self.decay_floor,
            seed: self.seed,
        })
    }
}

/// Fills config with the defaults. sigma has none and has to be set before the config is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_config_init(config: *mut SfeuotTrainerConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_trainer_config_init", || unsafe { config::init(config, "config", SfeuotTrainerConfig::SIZES[0]) })
}
