//! Both halves of a training step over any device: the rows that each draws, and how gradients are computed from them.
//!
//! Many source samples are drawn and go through the generator together, because its last layer is large for large d and
//! K. Their rows then go through the value function in blocks of the size that the device wants.

use super::conditional::Conditional;
use super::generator_step::{GeneratorPass, GeneratorStep, TIME_MAX_DETERMINISTIC, TIME_MIN};
use super::value_step::{TIME_MAX, ValueStep};
use crate::device::draw::{BatchSpec, Draw, Sources, Times};
use crate::device::half_work::{HalfInputs, HalfTotals, HalfWork, SourceBlocks};
use crate::device::training::Half;
use crate::device::{Batch, Layers, Squares, StepNumber, TauAt};
use crate::formulas::{Axes, Clock, Conjugate, Head, TauSchedule};
use crate::nn::network::Network;
use std::ops::Range;

/// What both halves of every step have in common: the networks, the problem and the batch.
#[derive(Clone, Debug)]
pub(crate) struct Halves {
    /// V(t, x).
    pub value: Network,
    pub generator: Network,
    /// The form of the generator's outputs.
    pub conditional: Conditional,
    /// How a component is read.
    pub head: Head,
    /// Psi*, with the tau that the training comes to.
    pub conjugate: Conjugate,
    /// How tau comes to it.
    pub tau_schedule: TauSchedule,
    /// The weight of the penalty on V's gradient at the target samples; 0 for none.
    pub penalty: f64,
    /// Whether the generator's single component is a point, whose loss is known in closed form up to t = 1, where half of
    /// the generator's rows are.
    pub atoms: bool,
    /// The times of the axes.
    pub clock: Clock,
    /// Number of source samples of the whole batch.
    pub sources: usize,
    /// Seed of all random numbers.
    pub seed: u64,
}

/// Returns the times of the rows of a half. `components` rows of a source sample follow each other.
pub(crate) fn times(half: Half, head: &Head, atoms: bool, clock: Clock, components: usize) -> Times {
    match half {
        Half::Value => {
            // A clock that slows down comes to the end later.
            let high = clock.of_slowest(TIME_MAX).max(TIME_MAX);
            Times { low: 0.0, high, repeat: 1, half_at_end: false }
        }
        Half::Generator => {
            let high = if head.deterministic && !atoms { TIME_MAX_DETERMINISTIC } else { 1.0 };
            Times { low: TIME_MIN, high, repeat: components, half_at_end: atoms }
        }
    }
}

/// The generator's half, of which the first part is done for some source samples.
pub(crate) struct BegunGenerator<N> {
    batch: Batch<N>,
    begun: GeneratorPass,
}

impl Halves {
    /// Returns the numbers of source and of target samples in a batch.
    pub fn batch_rows(&self) -> [usize; 2] {
        [self.sources, self.sources * self.conditional.components]
    }

    /// Returns what is drawn for a half. `squares` are those that the value function and the generator see.
    fn batch(&self, half: Half, squares: [Squares; 2]) -> BatchSpec {
        let Conditional { components, latent } = self.conditional;
        let times = times(half, &self.head, self.atoms, self.clock, components);
        BatchSpec {
            seed: self.seed,
            half,
            dimension: self.value.inputs() - 1,
            squares,
            components,
            latent,
            times,
            clock: self.clock,
            targets: half == Half::Value,
            uniforms: half == Half::Value && self.conditional.has_own_components(),
        }
    }

    /// Returns one over the number of rows of the whole batch.
    fn scale(&self) -> f64 {
        1.0 / self.batch_rows()[1] as f64
    }

    fn value_step<'a, S>(&'a self, axes: &'a Axes<S>, step: StepNumber) -> ValueStep<'a, S> {
        ValueStep {
            value: &self.value,
            generator: &self.generator,
            conditional: self.conditional,
            head: self.head,
            conjugate: self.conjugate,
            tau_at: TauAt { schedule: self.tau_schedule, step },
            axes,
            penalty: self.penalty,
            scale: self.scale(),
        }
    }

    fn generator_step<'a, S>(&'a self, axes: &'a Axes<S>) -> GeneratorStep<'a, S> {
        GeneratorStep {
            value: &self.value,
            generator: &self.generator,
            conditional: self.conditional,
            head: self.head,
            atoms: self.atoms,
            axes,
            scale: self.scale(),
        }
    }
}

impl<D: Layers + Draw> HalfWork<D> for Halves {
    type Begun = BegunGenerator<D::Noise>;

    fn carry(
        &self,
        device: &mut D,
        half: Half,
        inputs: &HalfInputs<'_, D>,
        blocks: &SourceBlocks<'_>,
        totals: HalfTotals<'_, D>,
    ) {
        let (spec, [value, generator], HalfTotals { gradient, sums }) =
            (self.batch(half, inputs.nets.map(D::squares_seen)), inputs.nets, totals);
        let sources = device.draw_sources(&spec, inputs.samples, blocks.sources.clone());
        let drawn = Drawn { spec: &spec, inputs, sources: &sources, blocks };
        let Batch { input, noise, .. } = &sources.batch;
        match half {
            Half::Value => {
                let step = self.value_step(inputs.axes, D::step_of(inputs.samples));
                let components = step.draw(device, generator, *input, noise);
                drawn.blocks(device, |device, batch, rows| {
                    step.carry(device, value, batch, components.rows(rows.start, rows.end), gradient, sums);
                });
            }
            Half::Generator => {
                let step = self.generator_step(inputs.axes);
                let recorded = step.record(device, generator, *input);
                drawn.blocks(device, |device, batch, rows| {
                    step.carry(device, value, batch, &recorded.components.rows(rows.start, rows.end), sums);
                });
                if !(blocks.cancelled)() {
                    step.backward(device, generator, &recorded, gradient);
                }
            }
        }
    }

    fn begin(&self, device: &mut D, inputs: &HalfInputs<'_, D>, sources: Range<usize>) -> Self::Begun {
        let spec = self.batch(Half::Generator, inputs.nets.map(D::squares_seen));
        let sources = device.draw_sources(&spec, inputs.samples, sources);
        let batch = device.draw_rows(&spec, inputs.samples, &sources, 0..sources.batch.input.rows);
        let begun = self.generator_step(inputs.axes).begin(device, inputs.nets[0], inputs.nets[1], &batch);
        BegunGenerator { batch, begun }
    }

    fn end(&self, device: &mut D, inputs: &HalfInputs<'_, D>, begun: &Self::Begun, totals: HalfTotals<'_, D>) {
        let ([value, generator], HalfTotals { gradient, sums }) = (inputs.nets, totals);
        let BegunGenerator { batch, begun } = begun;
        self.generator_step(inputs.axes).end(device, value, generator, batch, begun, gradient, sums);
    }
}

/// Source samples that were drawn, with what is needed to draw their rows.
struct Drawn<'a, 'g, D: Layers + Draw> {
    spec: &'a BatchSpec,
    inputs: &'a HalfInputs<'g, D>,
    sources: &'a Sources<D::Noise>,
    blocks: &'a SourceBlocks<'a>,
}

impl<D: Layers + Draw> Drawn<'_, '_, D> {
    /// Calls `carry` for the rows of one block after another. Blocks use the same workspace, unless the matrices of a
    /// block may be read later.
    fn blocks(&self, device: &mut D, mut carry: impl FnMut(&mut D, &Batch<D::Noise>, Range<usize>)) {
        let (rows, block) = (self.sources.batch.input.rows, self.blocks.block * self.spec.components);
        let mark = device.mark();
        for from in (0..rows).step_by(block) {
            if (self.blocks.cancelled)() {
                return;
            }
            let rows = from..rows.min(from + block);
            let batch = device.draw_rows(self.spec, self.inputs.samples, self.sources, rows.clone());
            carry(device, &batch, rows);
            if !D::OVERLAPS {
                device.reset(mark);
            }
        }
    }
}
