//! The optimiser on a GPU: both networks in training, and the numbers from which the device itself decides whether all
//! is finite, and computes the learning rates. The host reads none of them between steps.

use super::block::{CudaBlock, MOST_BLOCKS, THREADS};
use super::gpu::Gpu;
use super::gradient::CudaGradient;
use super::kernels::{OptimiserSettle, UpdateParameters};
use super::memory::DeviceBuffer;
use super::network::CudaNetwork;
use super::report::{COUNTER, FAULT, NO_UPDATE, OUTCOMES, REPORT, RING, Report, number_of};
use super::sums::{CudaSums, DENSITY_RATIO, TERMS};
use crate::device::training::{Half, NetworkState, UpdateRule};
use crate::error::Result;
use std::sync::Arc;

/// The largest number of partial sums of a gradient's square.
const MOST_SQUARES: usize = 256;
/// Size of an update's plan in numbers of 8 bytes: the sums, and four numbers of 4 bytes.
const PLANNED: usize = TERMS + 2;
/// A number of partial sums larger than any, for a block that measures how many there are.
const MEASURED_CAPACITY: usize = 1 << 40;

/// See the module.
pub(crate) struct CudaOptimiser {
    /// The value function and the generator.
    networks: [CudaNetwork; 2],
    rule: UpdateRule,
    report: DeviceBuffer<u64>,
    /// Partial sums of the loss terms.
    terms: DeviceBuffer<f64>,
    /// Number of partial sums of each term that there is room for.
    capacity: usize,
    /// Partial sums of the gradient's square.
    squares: DeviceBuffer<f64>,
    /// Partial sums of the size of an updated state.
    sizes: DeviceBuffer<f64>,
    /// The plan of an update: a few numbers.
    planned: DeviceBuffer<u64>,
}

impl CudaOptimiser {
    /// Plans an optimiser that updates these networks by this rule. Nothing is allocated before [`Self::allocate`].
    pub fn planned(gpu: &Arc<Gpu>, networks: [CudaNetwork; 2], rule: UpdateRule) -> Self {
        Self {
            networks,
            rule,
            report: DeviceBuffer::planned(gpu, REPORT),
            terms: DeviceBuffer::planned(gpu, 0),
            capacity: MEASURED_CAPACITY,
            squares: DeviceBuffer::planned(gpu, MOST_SQUARES),
            sizes: DeviceBuffer::planned(gpu, MOST_BLOCKS as usize),
            planned: DeviceBuffer::planned(gpu, PLANNED),
        }
    }

    /// Plans room for `capacity` partial sums of each loss term. `None` is for a block that measures how many there
    /// are.
    pub fn plan_sums(&mut self, gpu: &Arc<Gpu>, capacity: Option<usize>) {
        self.capacity = capacity.unwrap_or(MEASURED_CAPACITY);
        self.terms = DeviceBuffer::planned(gpu, TERMS * capacity.unwrap_or(0));
    }

    /// Returns the bytes of `capacity` partial sums of each term.
    pub fn bytes_of_sums(capacity: usize) -> u64 {
        (capacity * TERMS * size_of::<f64>()) as u64
    }

    /// Allocates the memory except that of the loss terms, and begins or resumes a training at step `counter`. The
    /// context is current here and in every other method.
    pub fn allocate(&mut self, states: &[NetworkState; 2], counter: u64) -> Result<()> {
        self.report.allocate_zeroed("the steps' outcomes")?;
        self.report.store(COUNTER, &[counter])?;
        for (network, state) in self.networks.iter_mut().zip(states) {
            network.allocate(state)?;
        }
        self.squares.allocate("the gradient's norm")?;
        self.sizes.allocate("the optimiser's check")?;
        self.planned.allocate_zeroed("the optimiser's plan")
    }

    /// Allocates the memory of the loss terms.
    pub fn allocate_sums(&mut self) -> Result<()> {
        self.terms.allocate("the loss terms")
    }

    /// Returns the bytes of device memory without those of the loss terms.
    pub fn bytes(&self) -> u64 {
        let networks: u64 = self.networks.iter().map(CudaNetwork::bytes).sum();
        networks + self.report.bytes() + self.squares.bytes() + self.sizes.bytes() + self.planned.bytes()
    }

    pub fn network(&self, half: Half) -> &CudaNetwork {
        &self.networks[half as usize]
    }

    /// Returns the device address of the step counter.
    pub fn counter(&self) -> u64 {
        self.report.at(COUNTER)
    }

    /// Returns the room for a half's loss terms.
    pub fn sums(&self) -> CudaSums {
        CudaSums { address: self.terms.address(), capacity: self.capacity, counts: [0; TERMS] }
    }

    /// Queues the sum of the lines of a piece that is not a half's last one. With `accumulate` it is added to what is
    /// there.
    pub fn add(&self, block: &mut CudaBlock, half: Half, lines: &CudaGradient, accumulate: bool, sums: &CudaSums) {
        lines.reduce(block, self.network(half).gradient(), accumulate, 0, self.update_plan(half, sums));
    }

    /// Queues the sum of the last lines of a half's gradient, its norm, and the plan of the update from the loss terms.
    /// Returns how many partial sums the norm has.
    pub fn reduce(
        &self,
        block: &mut CudaBlock,
        half: Half,
        lines: &CudaGradient,
        accumulate: bool,
        sums: &CudaSums,
    ) -> u32 {
        let plan = self.update_plan(half, sums);
        lines.reduce(block, self.network(half).gradient(), accumulate, self.squares.address(), plan)
    }

    /// Returns the kernel parameters that plan a half's update from the partial sums of the loss terms.
    fn update_plan(&self, half: Half, sums: &CudaSums) -> UpdateParameters {
        let UpdateRule { adam, rates, decay_steps, decay_floor, ema_decay, .. } = self.rule;
        let counts = sums.counts.map(|count| count as u32);
        assert!(counts[DENSITY_RATIO..].iter().all(|&count| count == counts[DENSITY_RATIO]));
        UpdateParameters {
            terms: self.terms.address(),
            capacity: sums.capacity as u32,
            count0: counts[0],
            count1: counts[1],
            count2: counts[2],
            count3: counts[DENSITY_RATIO],
            checked: checked(half),
            counter: self.counter(),
            rate: rates[half as usize],
            log_beta1: f64::from(adam.beta1).ln(),
            log_beta2: f64::from(adam.beta2).ln(),
            ema_decay,
            decay_steps,
            decay_floor,
            fault: self.report.at(FAULT),
            plan: self.planned.address(),
        }
    }

    /// Queues the update of a half's network from a gradient whose square has `squares` partial sums. The record of its
    /// outcome is queued beside the work that follows.
    pub fn update(&self, block: &mut CudaBlock, half: Half, squares: u32) {
        let (plan, clip) = (self.planned.address(), self.rule.clip);
        let partials = (self.squares.address(), squares);
        let network = self.network(half);
        let sizes = network.update(block, &self.rule.adam, plan, partials, clip, self.sizes.address());
        let arguments = OptimiserSettle {
            plan,
            squares: partials.0,
            square_count: partials.1,
            clip,
            sizes: self.sizes.address(),
            size_count: sizes,
            half: number_of(half),
            checked: checked(half),
            counter: self.counter(),
            advance: u32::from(half == Half::Generator),
            outcome: self.report.at(OUTCOMES[half as usize]),
            ring: RING as u32,
            fault: self.report.at(FAULT),
        };
        block.aside(|block| block.launch([1, 1, 1], [THREADS, 1, 1], &arguments));
    }

    /// Keeps the optimiser from updating anything until [`Self::clear_fault`].
    pub fn forbid_updates(&mut self) -> Result<()> {
        self.report.store(FAULT, &[u64::from(NO_UPDATE), 0, 0])
    }

    /// Lets training go on after a fault.
    pub fn clear_fault(&mut self) -> Result<()> {
        self.report.store(FAULT, &[0; 3])
    }

    /// Sets the step's number.
    pub fn set_counter(&mut self, step: u64) -> Result<()> {
        self.report.store(COUNTER, &[step])
    }

    /// Waits for the steps and reads their outcomes.
    pub fn read(&self) -> Result<Report> {
        let mut numbers = vec![0u64; REPORT];
        self.report.download(0, &mut numbers)?;
        Ok(Report::of(numbers))
    }

    /// Undoes the last update of these halves, and lets training go on after a fault.
    pub fn take_back(&mut self, gpu: &Arc<Gpu>, halves: &[Half]) -> Result<()> {
        let mut block = CudaBlock::new(gpu, gpu.stream(), 0, 0);
        for half in halves {
            self.network(*half).take_back(&mut block);
        }
        block.finish()?;
        self.clear_fault()
    }

    /// Returns the state of the value function and of the generator.
    pub fn state(&self) -> Result<[NetworkState; 2]> {
        let [value, generator] = &self.networks;
        Ok([value.state()?, generator.state()?])
    }
}

/// Returns how many loss terms of a half must be finite.
fn checked(half: Half) -> u32 {
    match half {
        Half::Value => 3,
        Half::Generator => 1,
    }
}
