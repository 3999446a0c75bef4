//! Training steps on a GPU.
//!
//! A step is captured once as a CUDA graph and replayed: noise, samples, both losses with their gradients, and the
//! optimiser, which finds out by itself whether all is finite and where the rates stand. The host queues as many steps
//! as it is asked for and only then reads what they gave. Where samples come from the host, the two halves are graphs of
//! their own, and the host looks at each before it draws the next batch.

use super::cuda_report::{COUNTER, FAULT, NO_UPDATE, REPORT, RING, Report};
use super::cuda_step::{BOTH, CudaStep};
use super::engine::{Advance, Cancelled, Engine, Half, NetworkState, StepOutcome, overflow};
use super::plan::Plan;
use super::side::Sides;
use crate::data::DataSource;
use crate::device::cuda::block::CudaBlock;
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::graph::Graph;
use crate::device::cuda::memory::DeviceBuffer;
use crate::error::{Error, Result};
use std::sync::Arc;

/// See the module.
pub(crate) struct CudaEngine {
    gpu: Arc<Gpu>,
    /// The whole step, or its two halves where the host draws. Dropped before the memory that they use.
    graphs: Vec<Graph>,
    step: CudaStep,
    /// What the device's counter stands at.
    counter: u64,
    /// The last step went well, and both networks have what came before it.
    can_take_back: bool,
    /// What the device holds could not be read or undone, so that nothing may go on from it.
    lost: bool,
    /// Held for the graphs.
    _workspace: DeviceBuffer<f32>,
}

impl CudaEngine {
    /// Takes up a training at `networks`, the value function's and the generator's state, step `counter`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the device, or what the host allows of it, is too small; [`Error::Device`].
    pub fn new(
        gpu: &Arc<Gpu>,
        plan: Plan,
        networks: &[NetworkState; 2],
        sides: &[&DataSource; 2],
        counter: u64,
    ) -> Result<Self> {
        let _entered = gpu.enter()?;
        let _held = gpu.hold_products();
        let (mut step, workspace) = CudaStep::new(gpu, plan, networks, sides, counter)?;
        let room = workspace.len();
        // Once outside of a capture, inside which a driver or cublasLt may not load what it has not used before. With a fault
        // standing the optimiser changes nothing.
        step.report.store(FAULT, &[u64::from(NO_UPDATE), 0, 0])?;
        let mut block = step.prepare(CudaBlock::new(gpu, gpu.stream(), workspace.address(), room));
        block.fill_ones();
        step.queue(&mut block, &BOTH);
        block.finish()?;
        step.report.store(FAULT, &[0; 3])?;
        let branched = step.branches(gpu);
        let capture = |halves: &[Half]| {
            Graph::capture(gpu, |stream, branches| {
                let mut block = step.prepare(CudaBlock::new(gpu, stream, workspace.address(), room));
                if branched {
                    block = block.branching(branches);
                }
                step.queue(&mut block, halves);
                block.finish()
            })
        };
        let graphs = if step.drawn_by_host() {
            vec![capture(&[Half::Value])?, capture(&[Half::Generator])?]
        } else {
            vec![capture(&BOTH)?]
        };
        Ok(Self {
            gpu: Arc::clone(gpu),
            step,
            graphs,
            counter,
            can_take_back: false,
            lost: false,
            _workspace: workspace,
        })
    }

    /// Queues whole steps.
    fn queue_steps(&mut self, steps: u64, cancelled: &dyn Fn() -> bool) -> Result<bool> {
        for _ in 0..steps {
            if cancelled() {
                return Ok(true);
            }
            self.graphs[0].launch()?;
        }
        Ok(false)
    }

    /// One step, half by half, each with a batch that the host draws. What fails in the second half undoes the first.
    ///
    /// Samplers run with the host's context current, as they may use the GPU and make another one current.
    fn step_with_host(&mut self, sides: &mut Sides) -> Result<Report> {
        let gpu = Arc::clone(&self.gpu);
        let (source, target) = (sides.source.draw()?, sides.target.draw()?);
        let entered = gpu.enter()?;
        self.step.source.upload(source)?;
        self.step.target.upload(target)?;
        self.graphs[0].launch()?;
        let report = self.read()?;
        if report.fault.is_some() {
            return Ok(report);
        }
        drop(entered);
        let drawn = sides.source.draw();
        let _entered = gpu.enter().inspect_err(|_| self.lost = true)?;
        let queued = drawn.and_then(|batch| self.step.source.upload(batch)).and_then(|()| self.graphs[1].launch());
        if let Err(error) = queued {
            self.can_take_back = false;
            self.take_back(&[Half::Value])?;
            return Err(error);
        }
        self.read()
    }

    /// Waits, and reads what the steps gave. The context is current.
    fn read(&mut self) -> Result<Report> {
        let mut numbers = vec![0u64; REPORT];
        self.step.report.download(0, &mut numbers).inspect_err(|_| self.lost = true)?;
        Ok(Report::of(numbers))
    }

    /// Undoes the last update of these halves, and lets training go on after a fault.
    fn take_back(&mut self, halves: &[Half]) -> Result<()> {
        self.undo(halves).inspect_err(|_| self.lost = true)
    }

    fn undo(&mut self, halves: &[Half]) -> Result<()> {
        let gpu = Arc::clone(&self.gpu);
        let _entered = gpu.enter()?;
        let mut block = CudaBlock::new(&gpu, gpu.stream(), 0, 0);
        for half in halves {
            self.step.network(*half).take_back(&mut block);
        }
        block.finish()?;
        self.step.report.store(FAULT, &[0; 3])
    }

    fn check_lost(&self) -> Result<()> {
        if self.lost {
            return Err(Error::Device(
                "the GPU failed while an earlier call read or undid a training step, so what the trainer holds is not known; release it, and load its last checkpoint on a new context".into(),
            ));
        }
        Ok(())
    }

    fn set_counter(&mut self, step: u64) -> Result<()> {
        if self.counter != step {
            self.step.report.store(COUNTER, &[step])?;
            self.counter = step;
        }
        Ok(())
    }

    /// What the report says of the steps since `first`.
    fn account(&mut self, first: u64, report: &Report, advance: &mut Advance) -> Result<()> {
        self.counter = report.counter;
        for step in first.max(report.counter.saturating_sub(2))..report.counter {
            advance.count(StepOutcome {
                value: report.outcome(Half::Value, step),
                generator: report.outcome(Half::Generator, step),
            });
        }
        advance.made = report.counter - first;
        self.can_take_back |= advance.made > 0;
        let Some(fault) = report.fault else {
            return Ok(());
        };
        let can_take_back = std::mem::take(&mut self.can_take_back);
        match (fault.half, fault.updated) {
            (Half::Value, None) if can_take_back => {
                advance.taken_back = true;
                self.take_back(&BOTH)?;
            }
            // Nothing before it to go back to.
            (Half::Value, None) => self.take_back(&[])?,
            (Half::Value, Some(_)) | (Half::Generator, None) => self.take_back(&[Half::Value])?,
            (Half::Generator, Some(_)) => self.take_back(&BOTH)?,
        }
        match fault.updated {
            None => report.outcome(fault.half, report.counter).check(fault.half, report.counter),
            Some(value) => Err(overflow(fault.half, report.counter, value)),
        }
    }

    fn run(
        &mut self,
        first: u64,
        steps: u64,
        sides: &mut Sides,
        cancelled: &dyn Fn() -> bool,
        advance: &mut Advance,
    ) -> Result<()> {
        self.check_lost()?;
        let gpu = Arc::clone(&self.gpu);
        let entered = gpu.enter()?;
        self.set_counter(first)?;
        if self.graphs.len() == 1 {
            // Where a step cannot be queued, those before it are made all the same.
            let queued = self.queue_steps(steps, cancelled);
            let report = self.read()?;
            self.account(first, &report, advance)?;
            return if queued? { Err(Error::Cancelled { step: self.counter }) } else { Ok(()) };
        }
        drop(entered);
        for step in first..first + steps {
            if cancelled() {
                return Err(Error::Cancelled { step });
            }
            let report = self.step_with_host(sides)?;
            self.account(first, &report, advance)?;
        }
        Ok(())
    }
}

impl Engine for CudaEngine {
    fn advance(&mut self, first: u64, steps: u64, sides: &mut Sides, cancelled: Cancelled<'_>) -> Advance {
        let mut advance = Advance::new();
        advance.end = self.run(first, steps, sides, cancelled, &mut advance);
        advance
    }

    fn most_steps(&self) -> u64 {
        RING as u64
    }

    fn state(&mut self) -> Result<[NetworkState; 2]> {
        self.check_lost()?;
        let _entered = self.gpu.enter()?;
        Ok([self.step.value.state()?, self.step.generator.state()?])
    }
}
