//! Both losses as calls: what a host with networks of its own differentiates.

use super::arguments::optional_out;
use super::bridge::Sources;
use super::config::{self, Versioned};
use super::handle;
use super::numbers::{Numbers, check_memory};
use super::panic::guard;
use super::problem::{SfeuotProblem, Shared};
use super::tensor::{Memory, SfeuotTensor};
use crate::device::training::Half;
use crate::euot::objective::{StateRows, ValueRows, ValueTo};
use crate::problem::ValueLoss;

/// The value function's loss with its terms, means over the rows of a call. SfeuotMetrics has the
/// same ones of a trainer. Fill it with sfeuot_value_loss_init before sfeuot_value_loss.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotValueLoss {
    /// Set by sfeuot_value_loss_init.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// What the value function minimises: minus dual.
    pub value_loss: f64,
    /// potential - action.
    pub dual: f64,
    /// E[V(1, x1)] - E[Psi*(V(1, y))].
    pub potential: f64,
    /// E[<grad V(t, x_t), 1/2 grad V(t, x_t) + b>].
    pub action: f64,
    /// E[V(1, x1)].
    pub value_generated: f64,
    /// E[V(1, y)].
    pub value_target: f64,
    /// E[Psi*'(V(1, y))], the mean density ratio.
    pub density_ratio_mean: f64,
    /// As SfeuotMetrics.matched_share.
    pub matched_share: f64,
}

// SAFETY: repr(C), struct_size first, plain numbers.
unsafe impl Versioned for SfeuotValueLoss {
    const NAME: &'static str = "SfeuotValueLoss";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            reserved: 0,
            value_loss: 0.0,
            dual: 0.0,
            potential: 0.0,
            action: 0.0,
            value_generated: 0.0,
            value_target: 0.0,
            density_ratio_mean: 0.0,
            matched_share: 0.0,
        }
    }
}

impl From<&ValueLoss> for SfeuotValueLoss {
    fn from(core: &ValueLoss) -> Self {
        let ValueLoss { potential, action, value_generated, value_target, density_ratio_mean, matched_share } = *core;
        Self {
            value_loss: -core.dual(),
            dual: core.dual(),
            potential,
            action,
            value_generated,
            value_target,
            density_ratio_mean,
            matched_share,
            ..Self::defaults()
        }
    }
}

/// Fills loss with zeros and its struct_size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_value_loss_init(loss: *mut SfeuotValueLoss) -> i32 {
    // SAFETY: loss is NULL or writable.
    guard("sfeuot_value_loss_init", || unsafe { config::init(loss, "loss", SfeuotValueLoss::SIZES[0]) })
}

/// Computes the value function's loss over R rows, and what is to be differentiated. R is the rows
/// of the batch, n K, or any other number.
///   generated     R      V(1, x1)
///   target        R      V(1, y)
///   gradient      R x d  g = grad V(t, x_t), the gradient by x
///   drift         R x d  b of sfeuot_bridge_sample
///   by_generated  R      a = -1 / R, the derivative of the loss by V(1, x1)
///   by_target     R      c = Psi*'(V(1, y)) / R, the derivative of the loss by V(1, y)
///   direction     R x d  w = (g + b) / R
///   loss                 the loss and its terms; may be NULL
/// The gradient of the loss by the value function's weights is that of
///   sum of a V(1, x1) + sum of c V(1, y) + sum of <grad V(t, x_t), w>
/// with a, c and w held constant: the last sum has the gradient of the action,
/// 1/R sum of <g, g / 2 + b>, because g is differentiated in it once and not held in w.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_value_loss(
    problem: *mut SfeuotProblem,
    generated: *const SfeuotTensor,
    target: *const SfeuotTensor,
    gradient: *const SfeuotTensor,
    drift: *const SfeuotTensor,
    by_generated: *const SfeuotTensor,
    by_target: *const SfeuotTensor,
    direction: *const SfeuotTensor,
    loss: *mut SfeuotValueLoss,
) -> i32 {
    guard("sfeuot_value_loss", || {
        let shared = handle::pin::<Shared>(problem, "problem")?;
        // SAFETY: loss is NULL or writable.
        let loss = unsafe { config::optional_output(loss, "loss") }?;
        let d = shared.shape.dimension;
        // SAFETY: the tensors and what they point to are NULL or readable.
        let (inputs, outputs) = unsafe {
            (
                [
                    Numbers::read(generated, "generated")?,
                    Numbers::read(target, "target")?,
                    Numbers::read(gradient, "gradient")?,
                    Numbers::read(drift, "drift")?,
                ],
                [
                    Numbers::read(by_generated, "by_generated")?,
                    Numbers::read(by_target, "by_target")?,
                    Numbers::read(direction, "direction")?,
                ],
            )
        };
        let [generated, target, gradient, drift] = &inputs;
        let [by_generated, by_target, direction] = &outputs;
        let rows = generated.count;
        for one in [target, by_generated, by_target] {
            one.check_count(rows, "one for each row of generated")?;
        }
        for each in [gradient, drift, direction] {
            each.check_count(rows.saturating_mul(d), "the problem's dimension for each row of generated")?;
        }
        let memory = check_memory(&inputs.each_ref(), &outputs.each_ref())?;
        let computed = shared.problem.enter(|problem| match memory {
            // SAFETY: all arrays are the host's for the length of the call, and no output overlaps another argument.
            Memory::Host => unsafe {
                let from = ValueRows {
                    v: [generated.host()?, target.host()?],
                    g: gradient.host()?,
                    drift: drift.host()?,
                    rows,
                };
                let by_v = [by_generated.host_mut()?, by_target.host_mut()?];
                Ok(problem.value(&from, ValueTo { by_v, direction: direction.host_mut()? })?)
            },
            Memory::Cuda => {
                inputs.iter().chain(&outputs).try_for_each(|numbers| numbers.check_device(problem))?;
                let v = [generated.device(), target.device()];
                let from = ValueRows { v, g: gradient.device(), drift: drift.device(), rows };
                let by_v = [by_generated.device(), by_target.device()];
                // SAFETY: checked memory of the GPU, which is the call's.
                Ok(unsafe { problem.value_on_device(&from, &ValueTo { by_v, direction: direction.device() }) }?)
            }
        })?;
        if let Some(loss) = loss {
            // SAFETY: loss is writable.
            unsafe { loss.write(&(&computed).into()) };
        }
        Ok(())
    })
}

/// Computes the generator's loss over n source samples, and its gradient by the generator's outputs.
///   source    n x d      x0
///   outputs   of the generator, as SfeuotProblem says
///   times     n numbers in host memory, as for sfeuot_bridge_sample
///   state     n x K x d  x_t of sfeuot_bridge_sample with SFEUOT_HALF_GENERATOR, from these
///                        outputs and times
///   value     n x K      V(t, x_t)
///   gradient  n x K x d  g = grad V(t, x_t), the gradient by x
///   by_outputs           the gradient of the loss, with the shape of outputs
///   loss                 the loss, in data units squared: sigma^2 times a Kullback-Leibler
///                        divergence, up to a constant; may be NULL
/// With F_k = V(t, x_t) + sigma^2 (log p(x_t | x0) - log N(x_t; x0, sigma^2 t)) at component k's
/// x_t, the loss is the mean of sum of p_k F_k over the source samples, where
///   p(x | x0) = sum of p_k N(x; (1 - t) x0 + t m_k, t^2 s_k^2 + sigma^2 t (1 - t)).
/// Its gradient goes through x_t and, for logit k, is p_k (F_k - sum of p_j F_j). What it leaves
/// out, the part through the components of p, is zero on average. With latents p is an estimate
/// from the K components drawn, whose bias of order 1 / K is taken off. A deterministic problem
/// takes the whole gradient; with one component its loss is V(t, x_t) + t / 2 |m - x0|^2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_generator_loss(
    problem: *mut SfeuotProblem,
    source: *const SfeuotTensor,
    outputs: *const SfeuotTensor,
    times: *const f32,
    state: *const SfeuotTensor,
    value: *const SfeuotTensor,
    gradient: *const SfeuotTensor,
    by_outputs: *const SfeuotTensor,
    loss: *mut f64,
) -> i32 {
    guard("sfeuot_generator_loss", || {
        let shared = handle::pin::<Shared>(problem, "problem")?;
        let loss = optional_out(loss, "loss")?;
        let shape = &shared.shape;
        // SAFETY: the tensors and what they point to are NULL or readable.
        let (from, [state, value, gradient, by_outputs]) = unsafe {
            (
                Sources::read(shape, source, outputs, (Half::Generator, times))?,
                [
                    Numbers::read(state, "state")?,
                    Numbers::read(value, "value")?,
                    Numbers::read(gradient, "gradient")?,
                    Numbers::read(by_outputs, "by_outputs")?,
                ],
            )
        };
        let rows = from.count.saturating_mul(shape.components);
        value.check_count(rows, "sources x components")?;
        for each in [&state, &gradient] {
            each.check_count(rows.saturating_mul(shape.dimension), "sources x components x dimension")?;
        }
        by_outputs.check_count(from.outputs.count, "as many as outputs")?;
        by_outputs.check_beside(&from.times)?;
        let inputs = [&from.source, &from.outputs, &state, &value, &gradient];
        let memory = check_memory(&inputs, &[&by_outputs])?;
        let computed = shared.problem.enter(|problem| {
            // SAFETY: times is the host's for the length of the call.
            let times = unsafe { from.times.read() };
            match memory {
                // SAFETY: all arrays are the host's for the length of the call, and the output overlaps no other one.
                Memory::Host => unsafe {
                    let at = StateRows { state: state.host()?, v: value.host()?, g: gradient.host()? };
                    Ok(problem.generator(&from.host()?, times, &at, by_outputs.host_mut()?)?)
                },
                Memory::Cuda => {
                    let all = inputs.iter().copied().chain([&by_outputs]);
                    all.into_iter().try_for_each(|numbers| numbers.check_device(problem))?;
                    let at = StateRows { state: state.device(), v: value.device(), g: gradient.device() };
                    // SAFETY: checked memory of the GPU, which is the call's.
                    Ok(unsafe { problem.generator_on_device(&from.device(), times, &at, by_outputs.device()) }?)
                }
            }
        })?;
        if let Some(loss) = loss {
            // SAFETY: loss is writable.
            unsafe { loss.write(computed) };
        }
        Ok(())
    })
}
