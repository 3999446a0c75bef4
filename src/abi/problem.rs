//! Problem: a training without its networks, which are the host's.

use std::ffi::c_char;

use super::arguments::{out, switch};
use super::config::{self, Versioned};
use super::context::SfeuotContext;
use super::data::{SfeuotData, read_sides};
use super::enums::{Coded, codes};
use super::exclusive::Exclusive;
use super::handle::{self, Kind, Object};
use super::object_error;
use super::panic::guard;
use super::status::{Failure, Outcome};
use super::trainer_config::SFEUOT_SIGMA_RELATIVE;
use crate::device::exchange::BatchSeed;
use crate::device::training::Half;
use crate::problem::{Problem, ProblemConfig, common_scale};
use crate::rng::MAX_STEPS;
use crate::{Context, Divergence, SigmaUnits};

/// Halves of a training step, for the calls on an SfeuotProblem.
///
/// ---
///
/// The value function's half: the generator is held, and its components are drawn.
pub const SFEUOT_HALF_VALUE: i32 = 0;
/// The generator's half: the value function is held, and each component of a source sample has one
/// row.
pub const SFEUOT_HALF_GENERATOR: i32 = 1;

codes!(Half, "half": SFEUOT_HALF_VALUE => Value, SFEUOT_HALF_GENERATOR => Generator);

/// How to make an SfeuotProblem. Fill it with sfeuot_problem_config_init, set sigma and dimension,
/// then change what you need.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotProblemConfig {
    /// Set by sfeuot_problem_config_init.
    pub struct_size: u32,
    /// SFEUOT_DIVERGENCE_*. Default SFEUOT_DIVERGENCE_KL.
    pub divergence: i32,
    /// Noise of the coupling, in sigma_units: 10^-6 to 10^3 times scale. It has no default;
    /// SfeuotTrainerConfig says how to choose it.
    pub sigma: f64,
    /// Price of leaving mass of the target unmatched, in the square of sigma_units, and for each
    /// number of a sample where they are relative: 10^-90 to 10^90 times the square of scale in all.
    /// Default 1.
    pub tau: f64,
    /// A length in data units: the common scale of the samples, which sfeuot_common_scale measures,
    /// or 1 where your networks see samples with a spread of about 1. 10^-15 to 10^15. Relative
    /// sigma and tau are multiples of it and of its square for each number, and it bounds what a
    /// deviation may be (see SfeuotProblem). Default 1.
    pub scale: f64,
    /// SFEUOT_SIGMA_*. With SFEUOT_SIGMA_DATA_UNITS sigma and tau are in data units whatever scale
    /// is. Default SFEUOT_SIGMA_RELATIVE.
    pub sigma_units: i32,
    /// K, the rows of each source sample, 1 to 4096. Default 8.
    pub components: u32,
    /// d, the numbers of a sample, 1 to 2^20. It has no default.
    pub dimension: u64,
    /// 0 if the generator's network gives a source sample all K components with their logits; 1 if
    /// it gives one component for each of K latents. Default 0.
    pub latents: i32,
    /// 1 if components are points without deviations, which needs latents to be 1; otherwise 0.
    /// Default 0.
    pub deterministic: i32,
}

// SAFETY: repr(C), struct_size first, plain numbers.
unsafe impl Versioned for SfeuotProblemConfig {
    const NAME: &'static str = "SfeuotProblemConfig";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            divergence: Divergence::Kl.into(),
            sigma: f64::NAN,
            tau: 1.0,
            scale: 1.0,
            sigma_units: SFEUOT_SIGMA_RELATIVE,
            components: 8,
            dimension: 0,
            latents: 0,
            deterministic: 0,
        }
    }
}

impl SfeuotProblemConfig {
    fn checked(self) -> Outcome<ProblemConfig> {
        let scale = self.scale;
        let (sigma, tau) = match SigmaUnits::try_from(self.sigma_units)? {
            SigmaUnits::Relative => (self.sigma, self.tau * self.dimension as f64),
            SigmaUnits::Data => (self.sigma / scale, self.tau / (scale * scale)),
        };
        Ok(ProblemConfig {
            divergence: self.divergence.try_into()?,
            sigma,
            tau,
            scale,
            dimension: usize::try_from(self.dimension).unwrap_or(usize::MAX),
            components: self.components as usize,
            latents: switch("config.latents", self.latents)?,
            deterministic: switch("config.deterministic", self.deterministic)?,
        })
    }
}

/// Fills config with the defaults. sigma and dimension have none and have to be set before the
/// config is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_problem_config_init(config: *mut SfeuotProblemConfig) -> i32 {
    // SAFETY: config is NULL or writable.
    guard("sfeuot_problem_config_init", || unsafe { config::init(config, "config", SfeuotProblemConfig::SIZES[0]) })
}

/// A problem for networks of your own: what sfeuot_trainer_step computes beside networks and
/// optimiser, as calls. SfeuotContext says how handles live. One call at a time is inside a problem;
/// another one gets SFEUOT_ERROR_BUSY.
///
/// Your two networks are the value function V(t, x), one number, and the generator. For a source
/// sample x0 of d numbers the generator gives the numbers that the calls know as outputs:
///   latents = 0   K (2 d + 1) numbers: for each component k its displacement m_k - x0 (d numbers)
///                 and l_k (d numbers), one component after the other; then K logits, whose softmax
///                 is the components' probabilities p_k
///   latents = 1   K rows, one for each of K latents z that you draw and pass to the network beside
///                 x0: m_k - x0 (d numbers) and, unless deterministic, l_k (d numbers); p_k = 1 / K
/// x1 given its component is Gaussian with mean m_k and the deviations s_k = sigma / 2 exp(l_k),
/// which stay within [min(e^-6, e^-4 sigma / (2 scale)), max(e^3, e sigma / (2 scale))] times scale,
/// with no gradient outside. A deterministic component is the point m_k. Outputs near zero are
/// therefore a start that suits every problem. A batch has n source samples and n K rows; row
/// i K + k belongs to source sample i. A step has two halves, each with fresh samples and noise:
///
///   The value function's half (SFEUOT_HALF_VALUE): minimise
///       -E[V(1, x1)] + E[Psi*(V(1, y))] + E[<grad V(t, x_t), 1/2 grad V(t, x_t) + b>]
///   1. draw n source samples x0, n K target samples y and n K times t (sfeuot_bridge_times)
///   2. pass the generator; sfeuot_bridge_sample gives x1, x_t and the drift b
///   3. pass V at (1, x1), (1, y) and (t, x_t), and take its gradient g by x_t
///   4. sfeuot_value_loss gives the numbers a_r, c_r and the rows w_r
///   5. step V along the gradient by its weights of
///      sum of a_r V(1, x1_r) + sum of c_r V(1, y_r) + sum of <grad V(t_r, x_t_r), w_r>
///      with a, c and w held constant. The last term is a directional derivative of V: forward
///      mode, or one number made of g that reverse mode differentiates again.
///
///   The generator's half (SFEUOT_HALF_GENERATOR): minimise
///       E[sum of p_k (V(t, x_t) + sigma^2 (log p(x_t | x0) - log N(x_t; x0, sigma^2 t)))]
///   1. draw n source samples x0 and n times t (sfeuot_bridge_times), one for all rows of a sample
///   2. pass the generator; sfeuot_bridge_sample gives x_t, one row for each component
///   3. pass V at (t, x_t), and take its gradient g by x_t
///   4. sfeuot_generator_loss gives the gradient by the generator's outputs, from which you step it
///
/// The generator has to learn the faster of the two: with Adam, rates of 2e-3 and 1e-3 and decays of
/// 0.5 and 0.99 are what sfeuot_trainer_create takes. Its trainings also begin from the plan between
/// Gaussians, unless they are of pictures, and turn the samples to axes that suit them. These calls
/// are of the problem as it is, so bring samples to a mean of about 0 and a spread of about 1
/// yourself.
///
/// Arrays are SfeuotTensors of 32-bit floats without gaps, of any shape with as many numbers, and of
/// a call all lie in host memory or all in the memory of the context's GPU. Outputs are written,
/// although data is a pointer to const; read_only must be 0. They must not overlap anything else.
/// Lengths are in data units, V and losses in data units squared, and g in data units. times always
/// lie in host memory. Each call returns when its results are there: on a GPU it is queued behind
/// the work of the context's stream and then waited for. Bridges have the same bits however a batch
/// is cut into calls, and everything has them for any number of threads. A GPU's results equal the
/// CPU's up to rounding.
///
/// Numbers that are not finite are not refused. Where a loss is not finite, the call gives
/// SFEUOT_ERROR_NOT_FINITE, and the gradients that it wrote must not be used.
///
/// On the CPU a call allocates nothing if one of its kind came before it with no fewer times.
pub struct SfeuotProblem {
    _opaque: [u8; 0],
}

/// The problem as calls share it.
pub(super) struct Shared {
    pub(super) problem: Exclusive<Problem>,
    pub(super) shape: Shape,
}

/// The sizes that arguments are checked by.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) dimension: usize,
    pub(super) components: usize,
    /// Numbers that the generator gives for a source sample.
    pub(super) outputs: usize,
}

impl Object for Shared {
    type Handle = SfeuotProblem;
    const KIND: Kind = Kind::Problem;
}

/// The place in the random streams that arguments name.
pub(super) fn batch_seed(half: i32, seed: u64, step: u64, first_source: u64) -> Outcome<BatchSeed> {
    let half = Half::of(half, "half")?;
    if step >= MAX_STEPS {
        return Err(Failure::argument(format!("step is {step}, but must be below {MAX_STEPS}")));
    }
    Ok(BatchSeed { seed, half, step, first_source })
}

/// Source samples must have numbers for their noise.
pub(super) fn check_sources(first_source: u64, sources: usize, shape: &Shape) -> Outcome<()> {
    // What a row draws is numbered in 64 bits.
    let numbers = (shape.components as u64).saturating_mul(shape.dimension as u64);
    let most = u64::MAX / numbers;
    match first_source.checked_add(sources as u64) {
        Some(end) if end <= most => Ok(()),
        _ => Err(Failure::argument(format!(
            "first_source is {first_source} and the number of sources is {sources}; their sum must be at most {most}"
        ))),
    }
}

/// Makes a problem and takes the memory that its calls on the CPU need; a GPU's is taken in its
/// first calls. Errors: SFEUOT_ERROR_INVALID_ARGUMENT (which names the field),
/// SFEUOT_ERROR_UNSUPPORTED_VERSION, SFEUOT_ERROR_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_problem_create(
    context: *mut SfeuotContext,
    config: *const SfeuotProblemConfig,
    problem: *mut *mut SfeuotProblem,
) -> i32 {
    guard("sfeuot_problem_create", || {
        let context = handle::pin::<Context>(context, "context")?;
        let problem = out(problem, "problem")?;
        // SAFETY: config is NULL or readable.
        let config = unsafe { config::read(config, "config") }?.checked()?;
        let made = Problem::new(&context, &config)?;
        let objective = made.objective();
        let (dimension, components, outputs) = (config.dimension, config.components, objective.outputs());
        let shape = Shape { dimension, components, outputs };
        let created = handle::create(Shared { problem: Exclusive::new("problem", made), shape })?;
        // SAFETY: problem is writable.
        unsafe { problem.write(created) };
        Ok(())
    })
}

/// Copies the sentence of the last call that failed on this problem. See sfeuot_context_error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_problem_error(problem: *mut SfeuotProblem, buffer: *mut c_char, size: usize) -> i32 {
    // SAFETY: buffer is NULL or has room for size bytes.
    guard("sfeuot_problem_error", || unsafe { object_error::copy::<Shared>(problem, "problem", buffer, size) })
}

/// Adds a reference, which needs one more sfeuot_problem_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_problem_retain(problem: *mut SfeuotProblem) -> i32 {
    guard("sfeuot_problem_retain", || handle::retain::<Shared>(problem, "problem"))
}

/// Gives a reference back. With the last one the handle ends, and the problem with it or, when a
/// call is inside it, with that call. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_problem_release(problem: *mut SfeuotProblem) -> i32 {
    guard("sfeuot_problem_release", || handle::release::<Shared>(problem, "problem"))
}

/// Measures the common scale of two sides' samples, in data units: what SFEUOT_SIGMA_RELATIVE of an
/// SfeuotTrainerConfig is a multiple of. Sample callbacks are called during the call only. Errors:
/// SFEUOT_ERROR_INVALID_ARGUMENT, SFEUOT_ERROR_CALLBACK, SFEUOT_ERROR_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_common_scale(
    context: *mut SfeuotContext,
    source: *const SfeuotData,
    target: *const SfeuotData,
    scale: *mut f64,
) -> i32 {
    guard("sfeuot_common_scale", || {
        let context = handle::pin::<Context>(context, "context")?;
        let scale = out(scale, "scale")?;
        let mut weights = Default::default();
        // SAFETY: source, target and what they point to are NULL or readable during the call.
        let (source, target) = unsafe { read_sides(&context, source, target, &mut weights) }?;
        let measured = common_scale(source, target)?;
        // SAFETY: scale is writable.
        unsafe { scale.write(measured) };
        Ok(())
    })
}
