//! The problem without its networks, on the device of a context.

use super::config::{DeviceNumbers, ProblemConfig};
use super::cpu::CpuProblem;
use super::gpu::GpuProblem;
use crate::context::Context;
use crate::data::{Data, Sides};
use crate::device::Sums;
use crate::device::draw;
use crate::device::exchange::BatchSeed;
use crate::device::training::Half;
use crate::error::{Error, Result};
use crate::euot::halves::times;
use crate::euot::objective::{Objective, PointsTo, SourceRows, StateRows, ValueRows, ValueTo};
use crate::formulas::axes::Axis;
use crate::formulas::{Axes, Clock, Tick};
use crate::rng::Stream;
use crate::{float_mode, memory};

/// See the module.
pub(crate) struct Problem {
    objective: Objective,
    cpu: CpuProblem,
    gpu: Option<GpuProblem>,
    /// What the times of a call carry of the clock.
    ticks: Vec<f32>,
}

/// The terms of the value function's loss, in data units squared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ValueLoss {
    /// E[V(1, x1)] - E[Psi*(V(1, y))].
    pub potential: f64,
    pub action: f64,
    pub value_generated: f64,
    pub value_target: f64,
    pub density_ratio_mean: f64,
    pub matched_share: f64,
}

impl ValueLoss {
    /// L(V), which the value function's loss is minus.
    pub fn dual(&self) -> f64 {
        self.potential - self.action
    }
}

impl Problem {
    /// Makes a problem, and takes the memory that its calls on the processor need.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::OutOfMemory`], [`Error::Device`].
    pub fn new(context: &Context, config: &ProblemConfig) -> Result<Self> {
        let objective = config.objective()?;
        let sigma = config.sigma;
        let axis = Axis { sigma, rate: 1.0, curvature: 0.0, slope: 0.0 };
        let axes = Axes::new(std::iter::repeat_n(axis, objective.dimension), Clock::EVEN, sigma * sigma, 0.0)?;
        let gpu = context.gpu().map(|gpu| GpuProblem::new(gpu, objective, &axes)).transpose()?;
        Ok(Self { objective, cpu: CpuProblem::new(context, objective, axes)?, gpu, ticks: Vec::new() })
    }

    /// The shapes of the problem.
    pub(crate) fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Draws the times that a training of this seed has in one half of a step: one for each row in the value half, one
    /// for each source sample in the generator's.
    pub(crate) fn times(&self, seed: BatchSeed, to: &mut [f32]) {
        let BatchSeed { seed, half, step, first_source } = seed;
        let components = self.objective.conditional.components;
        let spread = times(half, &self.objective.head, self.objective.atoms(), Clock::EVEN, components);
        let start = draw::sequence(seed, half, step, Stream::Time).word(0);
        let each = if half == Half::Value { 1 } else { components };
        let first = first_source.wrapping_mul(components as u64);
        for (i, time) in to.iter_mut().enumerate() {
            *time = spread.at(start, first.wrapping_add((i * each) as u64));
        }
    }

    /// Checks times and keeps what they carry of the clock.
    fn take_times(&mut self, half: Half, times: &[f32]) -> Result<()> {
        const NUMBERS: usize = Tick::<f32>::NUMBERS;
        // A point has no density at its end.
        let points = self.objective.head.deterministic && !(half == Half::Generator && self.objective.atoms());
        let allowed = |time: f32| {
            (if half == Half::Value { time >= 0.0 } else { time > 0.0 })
                && if points { time < 1.0 } else { time <= 1.0 }
        };
        if let Some((place, time)) = times.iter().enumerate().find(|(_, time)| !allowed(**time)) {
            let low = if half == Half::Value { "at least 0" } else { "above 0" };
            let high = if points { "below 1" } else { "at most 1" };
            return Err(Error::invalid(format!("times[{place}] is {time}, but must be {low} and {high}")));
        }
        memory::grow(&mut self.ticks, "the times of a batch", times.len() * NUMBERS, 0.0)?;
        for (to, &time) in self.ticks.chunks_exact_mut(NUMBERS).zip(times) {
            to.copy_from_slice(&Clock::EVEN.at(time).row());
        }
        Ok(())
    }

    /// Draws bridges for numbers of the host. See [`Objective::sample`].
    pub(crate) fn sample(
        &mut self,
        from: &SourceRows<&[f32]>,
        times: &[f32],
        seed: BatchSeed,
        to: PointsTo<&mut [f32]>,
    ) -> Result<()> {
        let _inside = float_mode::enter();
        self.take_times(seed.half, times)?;
        self.cpu.sample(from, &self.ticks, seed, to);
        Ok(())
    }

    /// Computes the value function's loss from numbers of the host. See [`Objective::value`].
    pub(crate) fn value(&mut self, from: &ValueRows<&[f32]>, to: ValueTo<&mut [f32]>) -> Result<ValueLoss> {
        let _inside = float_mode::enter();
        let sums = self.cpu.value(from, to);
        self.value_loss(&sums, from.rows)
    }

    /// Computes the generator's loss from numbers of the host. See [`Objective::generator`].
    pub(crate) fn generator(
        &mut self,
        from: &SourceRows<&[f32]>,
        times: &[f32],
        at: &StateRows<&[f32]>,
        to: &mut [f32],
    ) -> Result<f64> {
        let _inside = float_mode::enter();
        self.take_times(Half::Generator, times)?;
        let sums = self.cpu.generator(from, &self.ticks, at, to);
        self.generator_loss(&sums, from.sources)
    }

    /// Refuses numbers that are not memory of the problem's GPU, or too few. `name` is the argument's.
    pub(crate) fn check_device(&self, name: &str, numbers: DeviceNumbers, count: usize) -> Result<()> {
        match &self.gpu {
            Some(gpu) => gpu.check(name, numbers, count),
            None => Err(Error::invalid(format!(
                "{name} (0x{:x}) is device memory, but the problem's context is on the CPU; make it on a context with a GPU, or pass host memory",
                numbers.address
            ))),
        }
    }

    fn on_gpu(&mut self) -> (&mut GpuProblem, &[f32]) {
        (self.gpu.as_mut().expect("device memory was checked"), &self.ticks)
    }

    /// Does [`Self::sample`] in device memory.
    ///
    /// # Safety
    /// All numbers were checked, and nobody writes them during the call.
    pub(crate) unsafe fn sample_on_device(
        &mut self,
        from: &SourceRows<DeviceNumbers>,
        times: &[f32],
        seed: BatchSeed,
        to: &PointsTo<DeviceNumbers>,
    ) -> Result<()> {
        let _inside = float_mode::enter();
        self.take_times(seed.half, times)?;
        let (gpu, ticks) = self.on_gpu();
        gpu.sample(from, ticks, seed, to)
    }

    /// Does [`Self::value`] in device memory.
    ///
    /// # Safety
    /// As for [`Self::sample_on_device`].
    pub(crate) unsafe fn value_on_device(
        &mut self,
        from: &ValueRows<DeviceNumbers>,
        to: &ValueTo<DeviceNumbers>,
    ) -> Result<ValueLoss> {
        let _inside = float_mode::enter();
        let sums = self.on_gpu().0.value(from, to)?;
        self.value_loss(&sums, from.rows)
    }

    /// Does [`Self::generator`] in device memory.
    ///
    /// # Safety
    /// As for [`Self::sample_on_device`].
    pub(crate) unsafe fn generator_on_device(
        &mut self,
        from: &SourceRows<DeviceNumbers>,
        times: &[f32],
        at: &StateRows<DeviceNumbers>,
        to: DeviceNumbers,
    ) -> Result<f64> {
        let _inside = float_mode::enter();
        self.take_times(Half::Generator, times)?;
        let (gpu, ticks) = self.on_gpu();
        let sums = gpu.generator(from, ticks, at, to)?;
        self.generator_loss(&sums, from.sources)
    }

    /// Returns one unit of V of the kernels in data units squared.
    fn cost(&self) -> f64 {
        self.objective.scale * self.objective.scale
    }

    fn value_loss(&self, sums: &Sums, rows: usize) -> Result<ValueLoss> {
        let (rows, cost) = (rows as f64, self.cost());
        let mean = |sum: f64| sum / rows * cost;
        let loss = ValueLoss {
            potential: mean(sums.generated - sums.conjugate),
            action: mean(sums.action),
            value_generated: mean(sums.generated),
            value_target: mean(sums.target),
            density_ratio_mean: sums.density_ratio / rows,
            matched_share: sums.matched_share(rows),
        };
        finite("the value function's loss", -loss.dual())?;
        Ok(loss)
    }

    fn generator_loss(&self, sums: &Sums, sources: usize) -> Result<f64> {
        let rows = (sources * self.objective.conditional.components) as f64;
        finite("the generator's loss", sums.generator / rows * self.cost())
    }
}

/// Returns the common scale of both sides' samples, of which relative sigma is a multiple.
///
/// # Errors
/// [`Error::InvalidArgument`] for data that are not finite or of different shapes; [`Error::Callback`] for a sampler's
/// failure; [`Error::OutOfMemory`].
pub(crate) fn common_scale(source: Data<'_>, target: Data<'_>) -> Result<f64> {
    let _inside = float_mode::enter();
    Ok(Sides::check(source, target)?.measure(None, false)?.units.scale)
}

/// Refuses a loss that is not finite.
fn finite(what: &str, loss: f64) -> Result<f64> {
    if loss.is_finite() {
        return Ok(loss);
    }
    Err(Error::NotFinite(format!(
        "{what} is {loss}: what the networks gave holds a number that is not finite or too large, so leave out this step or lower the learning rates"
    )))
}
