//! What a host is told about a training.

use super::config::{self, Versioned};
use super::panic::guard;
use crate::Metrics;
use std::mem::offset_of;

/// What the last step saw. Fill it with sfeuot_metrics_init before the first use; every call
/// rewrites it whole. u is the drift, V the value function. The values are estimates from one batch:
/// average them.
///
/// Where the source is a sampler, dual and action carry a constant of relative size 1 / sqrt(4096
/// dimension), from the 4096 samples that its moments were measured on. Averages do not remove it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotMetrics {
    /// Set by sfeuot_metrics_init.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Steps done since the trainer was made, those before a checkpoint included.
    pub step: u64,
    /// The dual objective potential - action on the last batch, in units of cost (data units
    /// squared). It settles at the problem's value, E of the integral of 1/2 |u|^2 over time plus
    /// D(pi1 | nu). That is not the mean of 1/2 |x0 - x1|^2.
    pub dual: f64,
    /// -dual, which the value step minimises.
    pub value_loss: f64,
    /// What the generator step minimises: sigma^2 times a Kullback-Leibler divergence, up to a
    /// constant, in units of cost.
    pub generator_loss: f64,
    /// E[V(1, x1)] over generated x1 minus E[Psi*(V(1, y))] over the target, in units of cost. It
    /// settles at D(pi1 | nu), which is 0 when balanced.
    pub potential: f64,
    /// E[1/2 |grad V|^2 + grad V . b] along the bridges, where b is their drift, in units of cost.
    /// It settles at minus the kinetic energy, E of the integral of 1/2 |u|^2 over time.
    pub action: f64,
    /// Norm of the value network's gradient, before clipping, in units of the problem that the
    /// networks see: the source is moved, and both sides lie around 0 with a spread of 1.
    pub value_gradient_norm: f64,
    /// Norm of the generator's gradient, before clipping, in the same units.
    pub generator_gradient_norm: f64,
    /// Mean density ratio over the target. It is 1 when the masses agree, which they do at the end
    /// of a training.
    pub density_ratio_mean: f64,
    /// Training steps per second of the last call that trained.
    pub steps_per_second: f64,
    /// E[V(1, x1)] over generated x1, in units of cost.
    pub value_generated: f64,
    /// E[V(1, y)] over the target, in units of cost. When balanced, only its difference from
    /// value_generated has a meaning.
    pub value_target: f64,
    /// The share of the target's samples that is matched, from 0 to 1: (sum of r)^2 / (n sum of
    /// r^2) of the density ratio r at the n samples of the batch. It is 1 when balanced, and
    /// small from the start where tau is small against the costs. Where it falls to less than a
    /// tenth, the value function has mostly collapsed onto few samples.
    pub matched_share: f64,
    /// How much generated samples vary, relative to the target's, in the units that the networks
    /// see: the root of E|x1 - x1'|^2 / E|y - y'|^2 over pairs of the batch. Near 1 is good, and
    /// near 0 the generator has collapsed. It is 0 where it is not known, as with batch_sources = 1.
    pub spread: f64,
}

// SAFETY: repr(C), struct_size first, plain numbers; 88 is the end of steps_per_second.
unsafe impl Versioned for SfeuotMetrics {
    const NAME: &'static str = "SfeuotMetrics";
    const SIZES: &'static [usize] = &[offset_of!(Self, value_generated), size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            reserved: 0,
            step: 0,
            dual: 0.0,
            value_loss: 0.0,
            generator_loss: 0.0,
            potential: 0.0,
            action: 0.0,
            value_gradient_norm: 0.0,
            generator_gradient_norm: 0.0,
            density_ratio_mean: 0.0,
            steps_per_second: 0.0,
            value_generated: 0.0,
            value_target: 0.0,
            matched_share: 0.0,
            spread: 0.0,
        }
    }
}

impl From<&Metrics> for SfeuotMetrics {
    fn from(core: &Metrics) -> Self {
        Self {
            step: core.step,
            dual: core.dual,
            value_loss: core.value_loss,
            generator_loss: core.generator_loss,
            potential: core.potential,
            action: core.action,
            value_gradient_norm: core.value_gradient_norm,
            generator_gradient_norm: core.generator_gradient_norm,
            density_ratio_mean: core.density_ratio_mean,
            steps_per_second: core.steps_per_second,
            value_generated: core.value_generated,
            value_target: core.value_target,
            matched_share: core.matched_share,
            spread: core.spread,
            ..Self::defaults()
        }
    }
}

/// In C and C++ call this name: a macro below makes it sfeuot_metrics_init_2. The symbol itself is
/// for programs that were built when SfeuotMetrics ended with steps_per_second, and fills that much
/// of metrics.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_metrics_init(metrics: *mut SfeuotMetrics) -> i32 {
    // SAFETY: metrics is NULL or writable.
    guard("sfeuot_metrics_init", || unsafe { config::init(metrics, "metrics", SfeuotMetrics::SIZES[0]) })
}

/// Fills metrics with zeros and its struct_size. Programs that include this header call it as
/// sfeuot_metrics_init; whoever looks functions up by name (dlsym, bindings of other languages)
/// needs this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_metrics_init_2(metrics: *mut SfeuotMetrics) -> i32 {
    // SAFETY: metrics is NULL or writable.
    guard("sfeuot_metrics_init_2", || unsafe { config::init(metrics, "metrics", SfeuotMetrics::SIZES[1]) })
}
