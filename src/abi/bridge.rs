//! The bridge as a call: where networks of the host's are evaluated.

use super::arguments::{Array, array};
use super::handle;
use super::numbers::{Numbers, check_memory};
use super::panic::guard;
use super::problem::{SfeuotProblem, Shape, Shared, batch_seed, check_sources};
use super::status::{Failure, Outcome};
use super::tensor::{Memory, SfeuotTensor};
use crate::device::training::Half;
use crate::euot::objective::{PointsTo, SourceRows};
use crate::problem::DeviceNumbers;

/// Source samples and what the generator gave for them.
pub(super) struct Sources {
    pub(super) source: Numbers,
    pub(super) outputs: Numbers,
    pub(super) times: Array<f32>,
    pub(super) count: usize,
}

impl Sources {
    /// SAFETY: the tensors are NULL or readable, and so are what they point to.
    pub(super) unsafe fn read(
        shape: &Shape,
        source: *const SfeuotTensor,
        outputs: *const SfeuotTensor,
        (half, times): (Half, *const f32),
    ) -> Outcome<Self> {
        // SAFETY: as promised.
        let (source, outputs) = unsafe { (Numbers::read(source, "source")?, Numbers::read(outputs, "outputs")?) };
        let count = source.rows_of(shape.dimension)?;
        outputs.check_count(
            count.saturating_mul(shape.outputs),
            "what the generator gives for each source sample, as SfeuotProblem says",
        )?;
        let times = times_of(half, times, count as u64, shape)?;
        Ok(Self { source, outputs, times, count })
    }

    /// SAFETY: both are readable during `'a`.
    pub(super) unsafe fn host<'a>(&self) -> Outcome<SourceRows<&'a [f32]>> {
        // SAFETY: as promised.
        unsafe { Ok(SourceRows { x0: self.source.host()?, outputs: self.outputs.host()?, sources: self.count }) }
    }

    /// Their places in device memory.
    pub(super) fn device(&self) -> SourceRows<DeviceNumbers> {
        SourceRows { x0: self.source.device(), outputs: self.outputs.device(), sources: self.count }
    }
}

/// The times of a half: one for each row in the value function's, one for each source sample in the generator's.
fn times_of(half: Half, times: *const f32, sources: u64, shape: &Shape) -> Outcome<Array<f32>> {
    array(times, "times", sources, if half == Half::Value { shape.components } else { 1 })
}

/// Draws the times at which a training's networks are evaluated: together they cover their interval
/// evenly, each is uniform on it. Times of your own are as good.
///   times  in the value function's half sources x components numbers in [0, 0.995]; in the
///          generator's sources numbers in [0.2, 1]. Deterministic problems end at 0.995, except
///          that with one component every second time of the generator's half is 1.
/// They follow from seed, half, step and first_source alone: a batch that is drawn in pieces has the
/// times of one that is drawn at once. step is below 2^53.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_bridge_times(
    problem: *mut SfeuotProblem,
    half: i32,
    sources: u64,
    seed: u64,
    step: u64,
    first_source: u64,
    times: *mut f32,
) -> i32 {
    guard("sfeuot_bridge_times", || {
        let shared = handle::pin::<Shared>(problem, "problem")?;
        let place = batch_seed(half, seed, step, first_source)?;
        let most = isize::MAX as usize / size_of::<f32>() / shared.shape.components;
        let count = usize::try_from(sources).ok().filter(|&count| count <= most).ok_or_else(|| {
            Failure::argument(format!("sources is {sources}, but their times fit into memory for {most} at most"))
        })?;
        check_sources(first_source, count, &shared.shape)?;
        let times = times_of(place.half, times.cast_const(), sources, &shared.shape)?;
        shared.problem.enter(|problem| {
            // SAFETY: times is the host's for the length of the call.
            problem.times(place, unsafe { times.write() });
            Ok(())
        })
    })
}

/// Draws the bridges of n source samples: for each row an end x1, and at its time a state x_t of the
/// Brownian bridge from x0 to x1, with the drift's mean there.
///   source   n x d         x0
///   outputs  of the generator, as SfeuotProblem says
///   times    n x K numbers for SFEUOT_HALF_VALUE, n for SFEUOT_HALF_GENERATOR, in host memory; from
///            0 to 1, for the generator's half above 0. For deterministic problems they are below 1,
///            except in the generator's half with one component
///   end      n x K x d     x1 = m + s xi
///   state    n x K x d     x_t = (1 - t) x0 + t x1 + sigma sqrt(t (1 - t)) eta
///   drift    n x K x d     b = m - x0 + (s^2 - sigma^2) / (t s^2 + sigma^2 (1 - t))
///                          (x_t - (1 - t) x0 - t m), the mean of (x1 - x_t) / (1 - t) given x0, the
///                          component and x_t
/// Each of end, state and drift may be NULL. xi and eta are standard normals.
///
/// With SFEUOT_HALF_VALUE and latents = 0, the component of each row is drawn by the softmax of the
/// logits: the K rows of a source sample take them at even distances along the cumulated
/// probabilities, so component k is taken by K p_k rows to within one. Otherwise row k has component
/// k. The noise follows from seed, half, step and the row's number (first_source + i) K + k alone,
/// and is that of an sfeuot_trainer_step of this seed. step is below 2^53; raise it from batch to
/// batch, and first_source within one that is drawn in pieces.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_bridge_sample(
    problem: *mut SfeuotProblem,
    half: i32,
    source: *const SfeuotTensor,
    outputs: *const SfeuotTensor,
    times: *const f32,
    seed: u64,
    step: u64,
    first_source: u64,
    end: *const SfeuotTensor,
    state: *const SfeuotTensor,
    drift: *const SfeuotTensor,
) -> i32 {
    guard("sfeuot_bridge_sample", || {
        let shared = handle::pin::<Shared>(problem, "problem")?;
        let shape = &shared.shape;
        let place = batch_seed(half, seed, step, first_source)?;
        // SAFETY: the tensors and what they point to are NULL or readable.
        let (from, points) = unsafe {
            let from = Sources::read(shape, source, outputs, (place.half, times))?;
            let read = |tensor, name| Numbers::optional(tensor, name);
            (from, [read(end, "end")?, read(state, "state")?, read(drift, "drift")?])
        };
        for point in points.iter().flatten() {
            let rows = from.count.saturating_mul(shape.components);
            point.check_count(rows.saturating_mul(shape.dimension), "sources x components x dimension")?;
            point.check_beside(&from.times)?;
        }
        check_sources(first_source, from.count, shape)?;
        let inputs = [&from.source, &from.outputs];
        let mut memory = check_memory(&inputs, &[])?;
        for (place, point) in points.iter().enumerate() {
            let others = points[..place].iter().flatten();
            if let Some(point) = point {
                memory = check_memory(&inputs, &[point])?;
                others.into_iter().try_for_each(|other| point.check_apart(other))?;
            }
        }
        shared.problem.enter(|problem| {
            // SAFETY: times is the host's for the length of the call.
            let times = unsafe { from.times.read() };
            let [end, state, drift] = &points;
            match memory {
                // SAFETY: all arrays are the host's for the length of the call, and no output overlaps another argument.
                Memory::Host => unsafe {
                    let write = |point: &Option<Numbers>| point.as_ref().map(|point| point.host_mut()).transpose();
                    let to = PointsTo { end: write(end)?, state: write(state)?, drift: write(drift)? };
                    Ok(problem.sample(&from.host()?, times, place, to)?)
                },
                Memory::Cuda => {
                    for numbers in [&from.source, &from.outputs].into_iter().chain(points.iter().flatten()) {
                        numbers.check_device(problem)?;
                    }
                    let at = |point: &Option<Numbers>| point.as_ref().map(Numbers::device);
                    let to = PointsTo { end: at(end), state: at(state), drift: at(drift) };
                    // SAFETY: checked memory of the GPU, which is the call's.
                    Ok(unsafe { problem.sample_on_device(&from.device(), times, place, &to) }?)
                }
            }
        })
    })
}
