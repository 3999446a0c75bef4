//! Training steps on a GPU.
//!
//! A step is captured once as a CUDA graph and replayed: noise, samples, both losses with their gradients, and the
//! optimiser, which finds out by itself whether all is finite and where the rates stand. The host queues as many steps
//! as it is asked for and only then reads what they gave. Where samples come from the host, the two halves are graphs
//! of their own, and the host looks at each before it draws the next batch.

use super::engine::{Cancelled, StepOutcome};
use super::halves::{HalfSteps, Stop, WholeSteps};
use super::plan::Plan;
use super::side::{Samplers, Sets};
use crate::data::{SampleSet, SetSize};
use crate::device::Sums;
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::graph::Graph;
use crate::device::cuda::network::CudaNetwork;
use crate::device::cuda::optimiser::CudaOptimiser;
use crate::device::cuda::report::{Fault, RING, Report};
use crate::device::cuda::samples::SideSamples;
use crate::device::cuda::step::{CudaStep, StepParts};
use crate::device::training::{Half, HalfOutcome, NetworkState};
use crate::error::{Error, Result};
use crate::euot::halves::Halves;
use crate::nn::network::Network;
use std::sync::Arc;

/// See the module.
pub(super) struct GpuEngine {
    gpu: Arc<Gpu>,
    /// The whole step, or its two halves where the host draws. Dropped before the memory that they use.
    graphs: Vec<Graph>,
    step: CudaStep<Halves>,
    /// The value of the step counter on the device.
    counter: u64,
    /// Whether the state on the device could not be read or undone, so that no step may go on from it.
    lost: bool,
}

impl GpuEngine {
    /// Refuses a training, with sets of these sizes or sides that the host draws, that the GPU's memory, or what the host
    /// allows of it, has no room for. Nothing is allocated there.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Device`].
    pub fn check_room(gpu: &Arc<Gpu>, plan: &Plan, sets: [Option<SetSize>; 2]) -> Result<()> {
        let _entered = gpu.enter()?;
        CudaStep::check_room(gpu, parts(gpu, plan, sets)?)
    }

    /// Begins or resumes a training at step `counter` with `networks`, the state of the value function and of the
    /// generator. Arrays are copied to the device and freed here.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the device, or what the host allows of it, is too small; [`Error::Device`].
    pub fn new(gpu: &Arc<Gpu>, plan: &Plan, networks: &[NetworkState; 2], sets: Sets, counter: u64) -> Result<Self> {
        let _entered = gpu.enter()?;
        let _held = gpu.hold_products();
        let sizes = sets.each_ref().map(|set| set.as_ref().map(SampleSet::size));
        let mut step = CudaStep::planned(gpu, parts(gpu, plan, sizes)?)?;
        step.allocate(gpu, networks, sets, counter)?;
        // Once outside of a capture, inside which a driver or cublasLt may not load what it has not used before. With a
        // fault standing the optimiser changes nothing.
        step.optimiser().forbid_updates()?;
        let mut block = step.block(gpu, gpu.stream());
        block.fill_ones();
        step.queue(&mut block, &Half::BOTH);
        block.finish()?;
        step.optimiser().clear_fault()?;
        let capture = |halves: &[Half]| {
            Graph::capture(gpu, |stream, branches| {
                let mut block = step.block(gpu, stream);
                if step.branches(gpu) {
                    block = block.branching(branches);
                }
                step.queue(&mut block, halves);
                block.finish()
            })
        };
        let graphs = if step.drawn_by_host() {
            vec![capture(&[Half::Value])?, capture(&[Half::Generator])?]
        } else {
            vec![capture(&Half::BOTH)?]
        };
        Ok(Self { gpu: Arc::clone(gpu), step, graphs, counter, lost: false })
    }

    /// Queues whole steps; returns whether the call was cancelled before it had queued all of them.
    fn queue(&mut self, steps: u64, cancelled: Cancelled<'_>) -> Result<bool> {
        for _ in 0..steps {
            if cancelled() {
                return Ok(true);
            }
            self.graphs[0].launch()?;
        }
        Ok(false)
    }

    /// Waits for the steps and reads their outcomes. The context is current.
    fn read(&mut self) -> Result<Report> {
        let report = self.step.optimiser().read().inspect_err(|_| self.lost = true)?;
        self.counter = report.counter;
        Ok(report)
    }

    fn check_lost(&self) -> Result<()> {
        if self.lost {
            return Err(Error::Device(
                "the GPU failed while an earlier call read or undid a training step, so what the trainer holds is not known; release it, and load its last checkpoint on a new context".into(),
            ));
        }
        Ok(())
    }
}

/// Returns what a step is made of, with sets of these sizes. A side without a size is drawn by the host. Nothing is
/// allocated.
fn parts(gpu: &Arc<Gpu>, plan: &Plan, [source, target]: [Option<SetSize>; 2]) -> Result<StepParts<Halves>> {
    let Plan { halves, dimension, .. } = plan;
    let place = |network: &Network, name| CudaNetwork::planned(gpu, &network.layout, &network.centre, name);
    let networks = [place(&halves.value, "value function")?, place(&halves.generator, "generator")?];
    let rows = halves.batch_rows();
    Ok(StepParts {
        work: halves.clone(),
        optimiser: CudaOptimiser::planned(gpu, networks, plan.update_rule()),
        axes: plan.axes()?,
        samples: [
            SideSamples::planned(gpu, source, rows[0], *dimension, "source"),
            SideSamples::planned(gpu, target, rows[1], *dimension, "target"),
        ],
        sources: halves.sources,
        components: halves.conditional.components,
    })
}

/// Returns why the step after the last one was not made.
fn stop(report: &Report, fault: Fault) -> Stop {
    match fault.updated {
        None => Stop::NotFinite(report.outcome(fault.half, report.counter)),
        Some(value) => Stop::Overflow(value),
    }
}

impl HalfSteps for GpuEngine {
    fn begin(&mut self, first: u64) -> Result<()> {
        self.check_lost()?;
        if self.counter != first {
            let _entered = self.gpu.enter()?;
            self.step.optimiser().set_counter(first)?;
            self.counter = first;
        }
        Ok(())
    }

    fn whole_steps(&mut self, first: u64, steps: u64, cancelled: Cancelled<'_>) -> Option<Result<WholeSteps>> {
        if self.step.drawn_by_host() {
            return None;
        }
        let gpu = Arc::clone(&self.gpu);
        let made = gpu.enter().and_then(|_entered| {
            // Where a step cannot be queued, those before it are made all the same.
            let queued = self.queue(steps, cancelled);
            let report = self.read()?;
            let end = match queued {
                Ok(true) => Err(Error::Cancelled { step: report.counter }),
                queued => queued.map(drop),
            };
            let made = report.counter - first;
            let outcome = |back: u64| {
                (back <= made).then(|| StepOutcome {
                    value: report.outcome(Half::Value, report.counter - back),
                    generator: report.outcome(Half::Generator, report.counter - back),
                })
            };
            let mut value_sums = Sums::default();
            for step in first..report.counter {
                value_sums.add(&report.outcome(Half::Value, step).sums);
            }
            let stop = report.fault.map(|fault| (fault.half, stop(&report, fault)));
            Ok(WholeSteps { made, outcomes: [outcome(1), outcome(2)], value_sums, stop, end })
        });
        Some(made)
    }

    /// Makes one half with a batch that the host drew. Samplers ran with the host's context current, because they may
    /// use the GPU and make another context current.
    fn half_step(
        &mut self,
        half: Half,
        step: u64,
        samplers: &Samplers,
        _: Cancelled<'_>,
    ) -> std::result::Result<HalfOutcome, Stop> {
        let gpu = Arc::clone(&self.gpu);
        let mut made = || {
            let _entered = gpu.enter()?;
            let [source, target] = samplers.batches();
            self.step.upload(source, target.filter(|_| half == Half::Value))?;
            self.graphs[half as usize].launch()?;
            self.read()
        };
        let report = made().map_err(Stop::Failed)?;
        match report.fault {
            None => Ok(report.outcome(half, step)),
            Some(fault) => Err(stop(&report, fault)),
        }
    }

    fn take_back(&mut self, halves: &[Half]) -> Result<()> {
        if self.lost {
            // Nothing is known to take back; every later call says so.
            return Ok(());
        }
        let gpu = Arc::clone(&self.gpu);
        let undone = gpu.enter().and_then(|_entered| self.step.optimiser().take_back(&gpu, halves));
        undone.inspect_err(|_| self.lost = true)
    }

    fn most_steps(&self) -> u64 {
        RING as u64
    }

    fn state(&mut self) -> Result<[NetworkState; 2]> {
        self.check_lost()?;
        let _entered = self.gpu.enter()?;
        self.step.optimiser().state()
    }

    fn device_bytes(&self) -> u64 {
        self.step.bytes()
    }
}
