//! How to train: the problem's numbers, the networks, the optimiser.

use super::arguments::switch;
use super::config::{self, Versioned};
use super::enums::codes;
use super::network::SfeuotNetwork;
use super::panic::guard;
use super::status::{Failure, Outcome};
use crate::{SigmaUnits, TrainerConfig};
use std::mem::offset_of;
use std::ptr::null;

/// Units, for SfeuotTrainerConfig.sigma_units.
///
/// ---
///
/// sigma is in data units, and tau in data units squared.
pub const SFEUOT_SIGMA_DATA_UNITS: i32 = 0;
/// sigma is a multiple of the common scale that the library measures on the samples, and tau a
/// multiple of that scale's square times the numbers of a sample. Costs are sums over these numbers,
/// so one tau means the same for samples of 2 numbers and of 1000. The scale is the root mean
/// square, over both sides and all components, of the deviation from the midpoint of the two sides'
/// means. SfeuotModelInfo.data_scale tells it. Where all samples of both sides are one point, a
/// thousand times what 32-bit numbers resolve there takes its place (or sigma in data units, where
/// that is larger), and log_callback is given a warning.
pub const SFEUOT_SIGMA_RELATIVE: i32 = 1;

codes!(SigmaUnits, "config.sigma_units":
    SFEUOT_SIGMA_DATA_UNITS => Data, SFEUOT_SIGMA_RELATIVE => Relative);

/// How to make a trainer. Fill it with sfeuot_trainer_config_init, set sigma, then change what you
/// need.
///
/// Choosing sigma. It is the noise of the coupling: it says how widely the samples that one source
/// point is sent to may spread, as a multiple of the data's common scale or, with
/// SFEUOT_SIGMA_DATA_UNITS, in data units. A small sigma approaches a deterministic map and is
/// harder to train. A large sigma blurs, and forgets where a sample came from. Begin with 0.1; 0.05
/// to 0.5 is usual. Solvers that take a weight epsilon of the entropy mean sigma^2 when their cost
/// is 1/2 |x - y|^2, and 2 sigma^2 when it is |x - y|^2.
///
/// Choosing tau. It is the price of leaving mass of the target unmatched, in units of cost, which
/// are those of sigma squared. Every source sample is sent somewhere, so only differences in cost
/// count. A part of the target that costs more than the others by clearly more than tau, as
/// outliers do, gets less mass: with SFEUOT_DIVERGENCE_KL about exp(-difference / tau) of its own.
/// A large tau approaches the balanced problem, which SFEUOT_DIVERGENCE_BALANCED is exactly. A
/// small tau trusts the target less. Begin with 1, relative: the price of one spread of the samples
/// in every number. In data units that is the number of a sample's numbers times the square of their
/// spread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotTrainerConfig {
    /// Set by sfeuot_trainer_config_init.
    pub struct_size: u32,
    /// SFEUOT_DIVERGENCE_*: how the generated distribution may differ from the target. Default
    /// SFEUOT_DIVERGENCE_KL.
    pub divergence: i32,
    /// Noise of the coupling, in sigma_units: 10^-6 to 10^3 times the common scale of the samples.
    /// It has no default; see "Choosing sigma" above.
    pub sigma: f64,
    /// Price of leaving mass of the target unmatched, in the square of sigma_units, and for each
    /// number of a sample where they are relative: 10^-90 to 10^90 times the square of the common
    /// scale in all. Default 1; see "Choosing tau" above.
    pub tau: f64,
    /// SFEUOT_SIGMA_*. Default SFEUOT_SIGMA_RELATIVE, in which the same numbers suit pixels from 0
    /// to 255 and metres.
    pub sigma_units: i32,
    /// SFEUOT_ACTIVATION_*, of both networks. Default SFEUOT_ACTIVATION_SILU.
    pub activation: i32,
    /// Units of each hidden layer, 1 to 4096. 128 is enough for two or three dimensions; take 256
    /// for more. Default 128.
    pub hidden_width: u32,
    /// Hidden layers of each network, 1 to 16. Default 3.
    pub hidden_layers: u32,
    /// Numbers of noise z that the generator sees beside the sample, 0 to 4096. With 0 it gives
    /// each source sample a mixture of `components` Gaussians and learns their probabilities, means
    /// and deviations. This form is the more accurate one on the problems measured, and trains
    /// faster. The network's last layer is then components x (2 dimension + 1) wide. With more
    /// latents (8 is a good number) that layer is only 2 dimension wide, for samples of thousands
    /// of numbers, such as images. Default 0.
    pub latent_dimension: u32,
    /// 1 gives the generator no noise of its own beside the latents, as suits images, and needs
    /// latent_dimension to be at least 1. 0 lets the generator learn its noise. Default 0.
    pub deterministic: i32,
    /// 1 lets both networks see, beside each number x of a sample, a square of x, less its mean.
    /// With x in units of the common spread, the square is bent to grow like |x| beyond 3. Value
    /// functions of Gaussians and mixtures are made of squares; the more numbers a sample has, the
    /// more squares gain. The first layers become twice as large. 0 lets them see samples alone.
    /// Default 1.
    pub squares: i32,
    /// Source samples of a step, up to 2^20. With 0 as many as make 1024 rows with components, but
    /// at most 128; 64 where networks are convolutional. Default 0.
    pub batch_sources: u32,
    /// K, up to 4096; K times batch_sources is limited to 2^24, and time grows with both. A source
    /// sample is given a mixture of K Gaussians, so K is about the number of clusters that its
    /// images can fall into. With latents, K of them are drawn for each source sample of a step,
    /// and 16 is a good number. With 0 it is 16 for samples of up to 4 numbers, 8 for others and
    /// with latents, and 1 where networks are convolutional. A balanced training without latents, of
    /// samples of up to 128 numbers, has 16 or 32 where the target comes apart into more clusters
    /// than these 8 or 16 and there is memory for it; the log says so. Default 0.
    pub components: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Adam's rate for the generator, > 0. The generator has to learn faster than the value
    /// network. Default 2e-3.
    pub generator_learning_rate: f64,
    /// Adam's rate for the value network, > 0. Default 1e-3; 3e-4 is slower and safer.
    pub value_learning_rate: f64,
    /// Adam's decay of the mean, in [0, 1). Default 0.5.
    pub adam_beta1: f64,
    /// Adam's decay of the square, in [0, 1). Default 0.99.
    pub adam_beta2: f64,
    /// Decay of the moving average of both networks' weights, in [0, 1). Models use the average.
    /// The decay begins smaller, so that a short training forgets its start. Default 0.998.
    pub ema_decay: f64,
    /// Largest norm of a network's gradient, in the units of SfeuotMetrics.value_gradient_norm. A
    /// longer gradient is shortened to it; 0 turns that off. Default 0.
    pub gradient_clip: f64,
    /// Steps over which both rates fall along a cosine to decay_floor, where they stay. 0 keeps
    /// them constant. Default 0.
    pub decay_steps: u64,
    /// Final rate as a fraction of the first, in [0, 1]. Default 0.02.
    pub decay_floor: f64,
    /// Seed of all randomness. The same seed, data and settings give the same bits on the same
    /// device (on CPUs with the same vector instructions), with any number of threads. Default 0.
    pub seed: u64,
    /// The value network, or NULL for the one that activation, hidden_width, hidden_layers and
    /// squares describe. Read during the call only. If the two networks differ from each other,
    /// versions of the library that lack this field refuse the files. Default NULL.
    pub value_network: *const SfeuotNetwork,
    /// The same for the generator's network. Default NULL.
    pub generator_network: *const SfeuotNetwork,
    /// tau at the first step, as a multiple of tau: > 0, and together with tau in tau's range. It
    /// then rises or falls to tau, evenly in the logarithm. A training that begins with a smaller
    /// tau, such as 0.1 times its own, meets far parts of the target after the near ones. Balanced
    /// transport ignores it. Where networks are not convolutional, what is known of the value
    /// function before the training has the final tau, so begin less far from it. A model that is
    /// taken before tau_steps are over has the tau of its last step. Default 1.
    pub tau_start: f64,
    /// Steps until tau has its value; 0 keeps it constant, and tau_start must be 1 then. Default 0.
    pub tau_steps: u64,
    /// gamma, from 0 to 1000: gamma/2 |grad V(1, y)|^2, averaged over the target samples y, is added
    /// to the value network's loss, as gradient penalties of discriminators are. It smooths the
    /// value function where few samples tell it, and makes its step about half as long again. It
    /// has no unit. What is known of the value function before the training has no penalty. Between
    /// two sets of pictures begin with 0.01. Default 0: none.
    pub gradient_penalty: f64,
}

// SAFETY: repr(C), struct_size first, plain numbers and pointers.
unsafe impl Versioned for SfeuotTrainerConfig {
    const NAME: &'static str = "SfeuotTrainerConfig";
    const SIZES: &'static [usize] = &[
        offset_of!(Self, value_network),
        offset_of!(Self, tau_start),
        offset_of!(Self, gradient_penalty),
        size_of::<Self>(),
    ];

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
            value_network: null(),
            generator_network: null(),
            tau_start: core.tau_start,
            tau_steps: core.tau_steps,
            gradient_penalty: core.gradient_penalty,
        }
    }
}

impl SfeuotTrainerConfig {
    /// Enums and switches; what the numbers may be is the core's to say.
    ///
    /// SAFETY: `value_network` and `generator_network` are NULL or readable for the `struct_size`
    /// they begin with.
    pub(super) unsafe fn checked(self) -> Outcome<TrainerConfig> {
        if self.reserved != 0 {
            return Err(Failure::argument(format!("config.reserved is {}, but must be 0", self.reserved)));
        }
        // SAFETY: as promised.
        let [value_network, generator_network] = unsafe {
            [
                SfeuotNetwork::read(self.value_network, "config.value_network")?,
                SfeuotNetwork::read(self.generator_network, "config.generator_network")?,
            ]
        };
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
            value_network,
            generator_network,
            tau_start: self.tau_start,
            tau_steps: self.tau_steps,
            gradient_penalty: self.gradient_penalty,
        })
    }
}

/// In C and C++ call this name: a macro below makes it sfeuot_trainer_config_init_4. The symbol
/// itself is for programs that were built when SfeuotTrainerConfig ended with seed, and fills that
/// much of config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_config_init(config: *mut SfeuotTrainerConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_trainer_config_init", || unsafe { config::init(config, "config", SfeuotTrainerConfig::SIZES[0]) })
}

/// As sfeuot_trainer_config_init, for programs that were built when the struct ended with
/// generator_network.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_config_init_2(config: *mut SfeuotTrainerConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_trainer_config_init_2", || unsafe { config::init(config, "config", SfeuotTrainerConfig::SIZES[1]) })
}

/// As sfeuot_trainer_config_init, for programs that were built when the struct ended with tau_steps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_config_init_3(config: *mut SfeuotTrainerConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_trainer_config_init_3", || unsafe { config::init(config, "config", SfeuotTrainerConfig::SIZES[2]) })
}

/// Fills config with the defaults. sigma has none and has to be set before the config is used.
/// Programs that include this header call it as sfeuot_trainer_config_init; whoever looks functions
/// up by name (dlsym, bindings of other languages) needs this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_trainer_config_init_4(config: *mut SfeuotTrainerConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_trainer_config_init_4", || unsafe { config::init(config, "config", SfeuotTrainerConfig::SIZES[3]) })
}
