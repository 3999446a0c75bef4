//! Both halves of a training step over any device: the rows that each draws, and how gradients are computed from them.
//!
//! Many source samples are drawn and go through the generator together, because its last layer is large for large d and
//! K. Their rows then go through the value function in blocks of the size that the device wants.

use super::conditional::Conditional;
use super::generator_step::{Begun, GeneratorStep, TIME_MAX_DETERMINISTIC, TIME_MIN};
use super::value_step::{TIME_MAX, ValueStep};
use crate::device::draw::{BatchSpec, Draw, Sources, Times};
use crate::device::half_work::{Given, HalfWork, Stretch, Totals};
use crate::device::training::Half;
use crate::device::{Batch, Layers, Squares};
use crate::formulas::{Conjugate, Head, Quadratic};
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
    /// Psi*.
    pub conjugate: Conjugate,
    /// Number of source samples of the whole batch.
    pub sources: usize,
    /// Seed of all random numbers.
    pub seed: u64,
}

/// The generator's half, of which the first part is done for some source samples.
pub(crate) struct BegunGenerator<N> {
    batch: Batch<N>,
    begun: Begun,
}

impl Halves {
    /// Returns the numbers of source and of target samples in a batch.
    pub fn batch_rows(&self) -> [usize; 2] {
        [self.sources, self.sources * self.conditional.components]
    }

    /// Returns what is drawn for a half. `squares` are those that the value function and the generator see.
    fn batch(&self, half: Half, squares: [Squares; 2]) -> BatchSpec {
        let Conditional { components, latent } = self.conditional;
        let times = match half {
            Half::Value => Times { low: 0.0, high: TIME_MAX, repeat: 1 },
            Half::Generator => {
                let high = if self.head.deterministic { TIME_MAX_DETERMINISTIC } else { 1.0 };
                Times { low: TIME_MIN, high, repeat: components }
            }
        };
        BatchSpec {
            seed: self.seed,
            half,
            dimension: self.value.inputs() - 1,
            squares,
            components,
            latent,
            times,
            targets: half == Half::Value,
            uniforms: half == Half::Value && self.conditional.has_own_components(),
        }
    }

    /// Returns one over the number of rows of the whole batch.
    fn scale(&self) -> f64 {
        1.0 / self.batch_rows()[1] as f64
    }

    fn value_step<'a, S>(&'a self, quadratic: &'a Quadratic<S>) -> ValueStep<'a, S> {
        ValueStep {
            value: &self.value,
            generator: &self.generator,
            conditional: self.conditional,
            head: self.head,
            conjugate: self.conjugate,
            quadratic,
            scale: self.scale(),
        }
    }

    fn generator_step(&self) -> GeneratorStep<'_> {
        GeneratorStep {
            value: &self.value,
            generator: &self.generator,
            conditional: self.conditional,
            head: self.head,
            scale: self.scale(),
        }
    }
}

impl<D: Layers + Draw> HalfWork<D> for Halves {
    type Begun = BegunGenerator<D::Noise>;

    fn carry(&self, device: &mut D, half: Half, given: &Given<'_, D>, stretch: &Stretch<'_>, totals: Totals<'_, D>) {
        let ([value, generator], Totals { gradient, sums }) = (given.nets, totals);
        let spec = self.batch(half, given.nets.map(D::squares_seen));
        let sources = device.draw_sources(&spec, given.samples, stretch.sources.clone());
        let drawn = Drawn { spec: &spec, given, sources: &sources, stretch };
        let Batch { input, noise, .. } = &sources.batch;
        match half {
            Half::Value => {
                let step = self.value_step(given.quadratic);
                let raw = step.draw(device, generator, *input, noise);
                drawn.blocks(device, |device, batch, rows| {
                    step.carry(device, value, batch, raw.rows(rows.start, rows.end), gradient, sums);
                });
            }
            Half::Generator => {
                let step = self.generator_step();
                let recorded = step.record(device, generator, *input);
                drawn.blocks(device, |device, batch, rows| {
                    step.carry(device, value, batch, &recorded.components.rows(rows.start, rows.end), sums);
                });
                if !(stretch.cancelled)() {
                    step.backward(device, generator, &recorded, gradient);
                }
            }
        }
    }

    fn begin(&self, device: &mut D, given: &Given<'_, D>, sources: Range<usize>) -> Self::Begun {
        let spec = self.batch(Half::Generator, given.nets.map(D::squares_seen));
        let sources = device.draw_sources(&spec, given.samples, sources);
        let batch = device.draw_rows(&spec, given.samples, &sources, 0..sources.batch.input.rows);
        let begun = self.generator_step().begin(device, given.nets[0], given.nets[1], &batch);
        BegunGenerator { batch, begun }
    }

    fn end(&self, device: &mut D, given: &Given<'_, D>, begun: &Self::Begun, totals: Totals<'_, D>) {
        let ([value, generator], Totals { gradient, sums }) = (given.nets, totals);
        let BegunGenerator { batch, begun } = begun;
        self.generator_step().end(device, value, generator, batch, begun, gradient, sums);
    }
}

/// Source samples that were drawn, with what is needed to draw their rows.
struct Drawn<'a, 'g, D: Layers + Draw> {
    spec: &'a BatchSpec,
    given: &'a Given<'g, D>,
    sources: &'a Sources<D::Noise>,
    stretch: &'a Stretch<'a>,
}

impl<D: Layers + Draw> Drawn<'_, '_, D> {
    /// Calls `carry` for the rows of one block after another. Blocks use the same workspace, unless the matrices of a
    /// block may be read later.
    fn blocks(&self, device: &mut D, mut carry: impl FnMut(&mut D, &Batch<D::Noise>, Range<usize>)) {
        let (rows, block) = (self.sources.batch.input.rows, self.stretch.block * self.spec.components);
        let mark = device.mark();
        for from in (0..rows).step_by(block) {
            if (self.stretch.cancelled)() {
                return;
            }
            let rows = from..rows.min(from + block);
            let batch = device.draw_rows(self.spec, self.given.samples, self.sources, rows.clone());
            carry(device, &batch, rows);
            if !D::OVERLAPS {
                device.reset(mark);
            }
        }
    }
}
