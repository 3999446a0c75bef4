//! Draws batches into a worker's workspace: source samples for a whole pass of the generator, and noise, times and
//! target samples of their rows block by block.

use super::block::{CpuBlock, CpuNoise};
use super::measure::Measure;
use crate::data::{ArraySource, Changes};
use crate::device::draw::{self, BatchSpec, Draw, Sources};
use crate::device::{Batch, Mat, StepNumber, Workspace};
use crate::formulas::Tick;
use crate::rng::{Sequence, Stream};
use std::ops::Range;

/// One side's samples for a step.
#[derive(Clone, Copy)]
pub(crate) enum SideSamples<'a> {
    /// All samples of a set, from which each row draws one.
    Array(&'a ArraySource),
    /// A batch: one normalised sample for each place, by rows.
    Batch(&'a [f32]),
}

/// Both sides' samples for a step.
#[derive(Clone, Copy)]
pub(crate) struct StepSamples<'a> {
    pub source: SideSamples<'a>,
    /// The target's samples. Not read where none are drawn.
    pub target: SideSamples<'a>,
    /// The step's number, from 0.
    pub step: u64,
}

/// One sample of a batch, and how it is changed.
struct Drawn<'a> {
    sample: &'a [f32],
    change: Option<(&'a Changes, [u32; 4])>,
}

impl Drawn<'_> {
    fn write(&self, to: &mut [f32]) {
        match self.change {
            None => to.copy_from_slice(self.sample),
            Some((changes, words)) => changes.apply(words, self.sample, to),
        }
    }
}

impl<'a> SideSamples<'a> {
    /// Returns the sample at a place of the batch, by the sequences that select one and change it.
    fn at(self, [index, change]: &[Sequence; 2], place: usize, dimension: usize) -> Drawn<'a> {
        match self {
            Self::Array(array) => {
                let number = 2 * place as u64;
                let word = index.block(number / 4);
                let at = (number % 4) as usize;
                Drawn {
                    sample: array.row(array.draw(word[at], word[at + 1]) as usize),
                    change: array.changes().map(|changes| (changes, change.block(place as u64))),
                }
            }
            Self::Batch(rows) => Drawn { sample: &rows[place * dimension..(place + 1) * dimension], change: None },
        }
    }
}

/// Returns the random sequence of a stream from which one half of a step draws.
fn sequence(spec: &BatchSpec, step: u64, stream: Stream) -> Sequence {
    draw::sequence(spec.seed, spec.half, step, stream)
}

/// Makes matrices for source samples.
fn room_for_sources<D: Workspace>(device: &mut D, spec: &BatchSpec, sources: &Range<usize>) -> Sources<CpuNoise> {
    let input = device.scratch(sources.len() * spec.components, spec.dimension + spec.latent);
    let component = if spec.uniforms { device.scratch(sources.len(), 1) } else { Mat::NONE };
    let noise = CpuNoise { xi: Mat::NONE, eta: Mat::NONE, component };
    let batch = Batch { input, ends: None, noise, time: Mat::NONE, first_source: sources.start };
    Sources { first_row: sources.start * spec.components, batch }
}

/// Makes matrices for noise, times and target samples of rows.
fn room_for_rows<D: Workspace>(
    device: &mut D,
    spec: &BatchSpec,
    sources: &Sources<CpuNoise>,
    rows: &Range<usize>,
) -> Batch<CpuNoise> {
    let (count, d) = (rows.len(), spec.dimension);
    let ends = spec.targets.then(|| device.scratch(2 * count, d + 1));
    let time = device.scratch(count, Tick::<f32>::NUMBERS);
    let noise = CpuNoise { xi: device.scratch(count, d), eta: device.scratch(count, d), component: Mat::NONE };
    let first_source = sources.batch.first_source + rows.start / spec.components;
    Batch { input: sources.batch.input.rows(rows.start, rows.end), ends, noise, time, first_source }
}

impl Draw for CpuBlock<f32> {
    type Samples<'a> = StepSamples<'a>;

    fn step_of(samples: StepSamples<'_>) -> StepNumber {
        StepNumber::Known(samples.step)
    }

    fn draw_sources(&mut self, spec: &BatchSpec, samples: StepSamples<'_>, sources: Range<usize>) -> Sources<CpuNoise> {
        let drawn = room_for_sources(self, spec, &sources);
        let BatchSpec { dimension, components, latent, .. } = *spec;
        let Batch { input, noise, .. } = drawn.batch;
        let choice = [Stream::SourceIndex, Stream::SourceChange].map(|stream| sequence(spec, samples.step, stream));
        for (i, place) in sources.clone().enumerate() {
            let drawn = samples.source.at(&choice, place, dimension);
            for r in i * components..(i + 1) * components {
                drawn.write(&mut self.row_mut(input, r)[..dimension]);
            }
        }
        if latent > 0 {
            let z = input.columns(dimension, dimension + latent);
            let first = (drawn.first_row * latent) as u64;
            self.draw_normals(&sequence(spec, samples.step, Stream::Latent), first, z);
        }
        let uniforms = sequence(spec, samples.step, Stream::Component);
        self.draw_uniforms(&uniforms, sources.start as u64, noise.component);
        drawn
    }

    fn draw_rows(
        &mut self,
        spec: &BatchSpec,
        samples: StepSamples<'_>,
        sources: &Sources<CpuNoise>,
        rows: Range<usize>,
    ) -> Batch<CpuNoise> {
        let batch = room_for_rows(self, spec, sources, &rows);
        let (first, count, d) = (sources.first_row + rows.start, rows.len(), spec.dimension);
        if let Some(ends) = batch.ends {
            let choice = [Stream::TargetIndex, Stream::TargetChange].map(|stream| sequence(spec, samples.step, stream));
            for r in 0..count {
                let row = self.row_mut(ends, count + r);
                samples.target.at(&choice, first + r, d).write(&mut row[..d]);
                row[d] = 1.0;
            }
        }
        let start = sequence(spec, samples.step, Stream::Time).word(0);
        for r in 0..count {
            let time = spec.times.at(start, (first + r) as u64);
            self.row_mut(batch.time, r).copy_from_slice(&spec.clock.at(time).row());
        }
        for (stream, to) in [(Stream::Endpoint, batch.noise.xi), (Stream::Bridge, batch.noise.eta)] {
            self.draw_normals(&sequence(spec, samples.step, stream), (first * d) as u64, to);
        }
        batch
    }
}

impl Draw for Measure {
    type Samples<'a> = ();

    fn step_of((): ()) -> StepNumber {
        StepNumber::Known(0)
    }

    fn draw_sources(&mut self, spec: &BatchSpec, (): (), sources: Range<usize>) -> Sources<CpuNoise> {
        self.draws(sources.len() * spec.components * spec.latent);
        room_for_sources(self, spec, &sources)
    }

    fn draw_rows(
        &mut self,
        spec: &BatchSpec,
        (): (),
        sources: &Sources<CpuNoise>,
        rows: Range<usize>,
    ) -> Batch<CpuNoise> {
        self.draws(rows.len() * spec.dimension);
        room_for_rows(self, spec, sources, &rows)
    }
}
