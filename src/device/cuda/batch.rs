//! Draws batches on a GPU: one kernel draws samples, times and latents, and noise is drawn by the kernels that use it.

use super::block::{CudaBlock, CudaNoise};
use super::kernels::BatchDraw;
use super::samples::SideSamples;
use crate::device::draw::{BatchSpec, Draw, Sources};
use crate::device::{Batch, Mat, StepNumber, Workspace};
use crate::formulas::Tick;
use std::ops::Range;

/// Both sides' samples for a step.
#[derive(Clone, Copy)]
pub(crate) struct StepSamples<'a> {
    pub source: &'a SideSamples,
    pub target: &'a SideSamples,
    /// Device address of the step's number.
    pub counter: u64,
}

impl Draw for CudaBlock {
    type Samples<'a> = StepSamples<'a>;

    fn step_of(samples: StepSamples<'_>) -> StepNumber {
        StepNumber::OnDevice(samples.counter)
    }

    fn draw_sources(
        &mut self,
        spec: &BatchSpec,
        samples: StepSamples<'_>,
        sources: Range<usize>,
    ) -> Sources<CudaNoise> {
        let BatchSpec {
            seed, dimension: d, squares: [of_value, of_generator], components, latent, times, clock, ..
        } = *spec;
        let (first_row, rows) = (sources.start * components, sources.len() * components);
        let input = self.scratch_with(rows, d + latent, of_generator);
        let ends = spec.targets.then(|| self.scratch_with(2 * rows, d + 1, of_value));
        let time = self.scratch(rows, Tick::<f32>::NUMBERS);
        let number = spec.half as u64;
        let noise = CudaNoise { seed, counter: samples.counter, number, first_row: first_row as u64 };
        let ((input_at, input_stride), (time_at, time_stride)) = (self.place(input), self.place(time));
        let targets = ends.map_or(Mat::NONE, |ends| ends.rows(rows, 2 * rows));
        let (targets_at, targets_stride) = ends.map_or((0, 0), |_| self.place(targets));
        let (source, source_samples, source_thresholds, source_aliases) = samples.source.arguments();
        let (target, target_samples, target_thresholds, target_aliases) = samples.target.arguments();
        let changes = [samples.source, samples.target].map(SideSamples::changes);
        let [(source_flip, source_crop), (target_flip, target_crop)] =
            changes.map(|changes| changes.map_or((0, 0), |changes| (u32::from(changes.flip), changes.crop)));
        let [height, width] =
            changes.iter().flatten().next().map_or([0; 2], |changes| [changes.height as u32, changes.width as u32]);
        let arguments = BatchDraw {
            source,
            source_samples,
            source_thresholds,
            source_aliases,
            source_flip,
            source_crop,
            target,
            target_samples,
            target_thresholds,
            target_aliases,
            target_flip,
            target_crop,
            height,
            width,
            first_source: sources.start as u64,
            rows: rows as u32,
            each: components as u32,
            d: d as u32,
            latent: latent as u32,
            input: input_at,
            input_stride,
            input_squares: input.squares.count as u32,
            input_centre: input.squares.centre,
            ends: targets_at,
            ends_stride: targets_stride,
            ends_squares: targets.squares.count as u32,
            ends_centre: targets.squares.centre,
            time: time_at,
            time_stride,
            time_repeat: times.repeat as u32,
            half_at_end: u32::from(times.half_at_end),
            low: times.low as f32,
            high: times.high as f32,
            log_range: clock.log_range(),
            ease: clock.ease(),
            seed: noise.seed,
            counter: noise.counter,
            number: noise.number,
        };
        let parts = if ends.is_some() { 4 } else { 3 };
        self.launch_parts((rows * d.max(latent.div_ceil(4))) as u64, parts, &arguments);
        Sources { first_row, batch: Batch { input, ends, noise, time, first_source: sources.start } }
    }

    /// Returns the rows that were drawn with the source samples: a GPU computes all of them at once.
    fn draw_rows(
        &mut self,
        _: &BatchSpec,
        _: StepSamples<'_>,
        sources: &Sources<CudaNoise>,
        rows: Range<usize>,
    ) -> Batch<CudaNoise> {
        assert!(rows == (0..sources.batch.input.rows));
        sources.batch
    }
}
