//! Sessions: a workspace in which one thread calls a model on the model's device. On the processor, calls take no lock.
//! A call allocates nothing if one of its kind came before it with as many latents and times and no fewer rows.

use super::model::{Inner, Model};
use super::pieces::{DeviceRows, Pieces};
use super::results::{HostRows, Results};
use super::staging::Staging;
use crate::context::MAX_THREADS;
use crate::data::{TensorView, TensorViewMut};
use crate::device::rows::RowSeed;
use crate::error::{Error, Result};
use crate::euot::answers::{PathBuffer, Question};
use crate::float_mode;
use crate::memory;
use std::sync::Arc;

/// The largest distance of a row from the data, in units of the data's scale. It is far beyond any use, and far below
/// what overflows inside a network.
const FARTHEST: f64 = 1e9;

/// How to make a [`Session`].
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The most threads that work on a call, with the calling one: some of the context's that the model was made on, up to
    /// [`MAX_THREADS`]. A context that has fewer gives what it has, and 0 takes all of them. Default 1: calls leave all
    /// other cores alone. Results are the same bits for any number. While another call or a training works with the context's
    /// threads, a call works on the calling one alone rather than wait. It is ignored where the model is on a GPU.
    pub threads: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { threads: 1 }
    }
}

/// A workspace for calling a model from one thread.
///
/// Rows are samples, row-major, in the data's units. Noise is a function of (seed, row number): the same seed gives the
/// same bits, and rows drawn in pieces (with `first_row` the number of the first one) equal rows drawn at once. On a
/// GPU they are equal up to rounding, because sums there depend on the number of rows. By this rounding, about one row
/// in a million draws another component of its mixture.
///
/// A call without rows does nothing. Only finite numbers are written. Absurd weights or rows far from the samples may
/// give a result that is not finite: the call then fails with [`Error::NotFinite`], and rows before that one may be
/// written, on several threads some behind it as well.
pub struct Session {
    model: Arc<Inner>,
    pieces: Box<dyn Pieces>,
    steps: PathBuffer,
    staging: Staging,
}

impl Session {
    /// Makes a workspace whose calls work on the calling thread alone.
    ///
    /// # Errors
    /// None at present.
    pub fn new(model: &Model) -> Result<Self> {
        Self::with_config(model, &SessionConfig::default())
    }

    /// Makes a workspace.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more than [`MAX_THREADS`] threads; [`Error::OutOfMemory`].
    pub fn with_config(model: &Model, config: &SessionConfig) -> Result<Self> {
        if config.threads > MAX_THREADS {
            return Err(Error::invalid(format!(
                "threads is {}, but must be at most {MAX_THREADS}, or 0 for all of the context's",
                config.threads
            )));
        }
        let pieces = Arc::clone(&model.0.placed).pieces(config.threads)?;
        Ok(Self { model: Arc::clone(&model.0), pieces, steps: PathBuffer::default(), staging: Staging::default() })
    }

    /// The session's model.
    pub fn model(&self) -> Model {
        Model(Arc::clone(&self.model))
    }

    /// Generates in one step: for each source sample x0, one sample x1 of the plan given x0. `source` and `generated`
    /// are rows x dimension, in data units.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for lengths that are not a multiple of the dimension or differ, and for an input that
    /// is not finite; nothing is written then. [`Error::NotFinite`].
    pub fn generate(&mut self, source: &[f32], seed: u64, first_row: u64, generated: &mut [f32]) -> Result<()> {
        let _inside = float_mode::enter();
        let d = self.model.info.dimension;
        let input = check_rows(&self.model, "source", 0, source)?;
        check_length("generated", generated.len(), source.len())?;
        if source.is_empty() {
            return Ok(());
        }
        let mut results = Results::new("generated", generated, d, input);
        self.pieces.answer(&Question::Generate, RowSeed { seed, first_row }, &mut results)
    }

    /// Does [`Self::generate`] from one strided array into another, of any element types, such as pictures of bytes. The
    /// shape of both is the number of rows, followed by the dimension or by the shape of a sample. The two may be the
    /// same memory, if row for row they have the same bytes.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn generate_tensor(
        &mut self,
        source: &TensorView<'_>,
        seed: u64,
        first_row: u64,
        generated: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        self.carry(&Question::Generate, ("source", source), RowSeed { seed, first_row }, ("generated", generated))
    }

    /// Does [`Self::generate`] from device memory into device memory, in the order of the context's stream. The work is
    /// queued when this returns, and finished when the stream has come past it. Neither inputs nor results are checked:
    /// a row that is not finite gives a result that is not finite. The two may be the same memory.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the model is on the processor, for addresses that are not memory of its GPU in
    /// its context or too small, and for numbers of rows that differ; [`Error::OutOfMemory`], [`Error::Device`].
    ///
    /// # Safety
    /// Both stay allocated until the work is done, and nothing else writes them meanwhile but in the stream's order.
    pub unsafe fn generate_on_device(
        &mut self,
        source: DeviceRows,
        seed: u64,
        first_row: u64,
        generated: DeviceRows,
    ) -> Result<()> {
        let _inside = float_mode::enter();
        let d = self.model.info.dimension;
        if source.rows != generated.rows {
            return Err(Error::invalid(format!(
                "source has {} rows and generated {}, but both must have the same number",
                source.rows, generated.rows
            )));
        }
        if source.rows == 0 {
            return Ok(());
        }
        for (name, rows) in [("source", source), ("generated", generated)] {
            // Kernels take the distance as 32 bits.
            if rows.stride < d || u32::try_from(rows.stride).is_err() {
                return Err(Error::invalid(format!(
                    "{name} has rows {} numbers apart, but they must be at least the dimension {d} and at most {} apart",
                    rows.stride,
                    u32::MAX
                )));
            }
            if rows.rows.checked_mul(rows.stride * size_of::<f32>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
                return Err(Error::invalid(format!(
                    "{name} has {} rows, {} numbers apart, which is more than can be addressed",
                    rows.rows, rows.stride
                )));
            }
            if !rows.address.is_multiple_of(align_of::<f32>() as u64) {
                return Err(Error::invalid(format!(
                    "{name} (0x{:x}) is misaligned; its address must be a multiple of {}",
                    rows.address,
                    align_of::<f32>()
                )));
            }
        }
        self.pieces.generate_on_device(source, RowSeed { seed, first_row }, generated)
    }

    /// Writes the mean of x1 given each x0. It is exact for a model without latents, for which `latents`, `seed` and
    /// `first_row` change nothing. Otherwise it is the mean over `latents` draws of z, with the Gaussian part averaged
    /// exactly. `source` and `mean` are rows x dimension, in data units.
    ///
    /// # Errors
    /// As [`Self::generate`]; `latents` of zero or above 2^24.
    pub fn conditional_mean(
        &mut self,
        source: &[f32],
        latents: usize,
        seed: u64,
        first_row: u64,
        mean: &mut [f32],
    ) -> Result<()> {
        let _inside = float_mode::enter();
        let d = self.model.info.dimension;
        let input = check_rows(&self.model, "source", 0, source)?;
        check_length("mean", mean.len(), source.len())?;
        let question = self.mean_over(latents)?;
        if source.is_empty() {
            return Ok(());
        }
        let mut results = Results::new("mean", mean, d, input);
        self.pieces.answer(&question, RowSeed { seed, first_row }, &mut results)
    }

    /// Does [`Self::conditional_mean`] for strided arrays, as [`Self::generate_tensor`] does for draws.
    ///
    /// # Errors
    /// As [`Self::conditional_mean`].
    pub fn conditional_mean_tensor(
        &mut self,
        source: &TensorView<'_>,
        latents: usize,
        seed: u64,
        first_row: u64,
        mean: &mut TensorViewMut<'_>,
    ) -> Result<()> {
        let question = self.mean_over(latents)?;
        self.carry(&question, ("source", source), RowSeed { seed, first_row }, ("mean", mean))
    }

    /// Writes a path for each x0. x1 is what [`Self::generate`] draws for the same seed and row, and the path is one
    /// Brownian bridge between them, taken at the ascending `times`. At time 0 it is x0 and at time 1 x1, bit for bit.
    /// `source` is rows x dimension and `path` rows x times x dimension, in data units. Without times nothing is done.
    ///
    /// # Errors
    /// As [`Self::generate`]; times that are not in \[0, 1\] or not ascending.
    pub fn trajectory(
        &mut self,
        source: &[f32],
        times: &[f64],
        seed: u64,
        first_row: u64,
        path: &mut [f32],
    ) -> Result<()> {
        let _inside = float_mode::enter();
        let d = self.model.info.dimension;
        let input = check_rows(&self.model, "source", 0, source)?;
        let rows = input.count();
        let mut last = 0.0;
        for (i, &t) in times.iter().enumerate() {
            if !(0.0..=1.0).contains(&t) || t < last {
                return Err(Error::invalid(format!(
                    "times[{i}] is {t}, but times must ascend from 0 to 1 and this one lie in [{last}, 1]"
                )));
            }
            last = t;
        }
        let line =
            times.len().checked_mul(d).filter(|line| line.checked_mul(rows).is_some()).ok_or_else(|| {
                Error::invalid(format!("times has {} entries, too many for {rows} rows", times.len()))
            })?;
        check_length("path", path.len(), rows * line)?;
        if path.is_empty() {
            return Ok(());
        }
        let steps = self.steps.through(times, self.model.transport.sigma)?;
        let mut results = Results::paths("path", path, times, input);
        self.pieces.answer(&Question::Path(steps), RowSeed { seed, first_row }, &mut results)
    }

    /// Writes the optimal drift -grad V(t, x) at states x, in data units per unit of time. `state` and `drift` are rows
    /// x dimension.
    ///
    /// # Errors
    /// A time outside \[0, 1\]; otherwise as [`Self::generate`].
    pub fn drift(&mut self, time: f64, state: &[f32], drift: &mut [f32]) -> Result<()> {
        let _inside = float_mode::enter();
        let d = self.model.info.dimension;
        let question = drift_at(time)?;
        let input = check_rows(&self.model, "state", 0, state)?;
        check_length("drift", drift.len(), state.len())?;
        if state.is_empty() {
            return Ok(());
        }
        let mut results = Results::new("drift", drift, d, input);
        self.pieces.answer(&question, RowSeed::NONE, &mut results)
    }

    /// Does [`Self::drift`] for strided arrays, as [`Self::generate_tensor`] does for draws.
    ///
    /// # Errors
    /// As [`Self::drift`].
    pub fn drift_tensor(&mut self, time: f64, state: &TensorView<'_>, drift: &mut TensorViewMut<'_>) -> Result<()> {
        self.carry(&drift_at(time)?, ("state", state), RowSeed::NONE, ("drift", drift))
    }

    /// Writes Psi*'(V(1, y)), the density of the transported end marginal with respect to the target, at target samples
    /// y. It is small where the target holds outliers, and 1 everywhere when balanced. `target` is rows x dimension in
    /// data units, `ratio` has one number a row.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn density_ratio(&mut self, target: &[f32], ratio: &mut [f32]) -> Result<()> {
        let _inside = float_mode::enter();
        let input = check_rows(&self.model, "target", 0, target)?;
        check_length("ratio", ratio.len(), input.count())?;
        if target.is_empty() {
            return Ok(());
        }
        let mut results = Results::new("ratio", ratio, 1, input);
        self.pieces.answer(&Question::Ratio, RowSeed::NONE, &mut results)
    }

    /// Does [`Self::density_ratio`] for the rows of a strided array, whose shape is as in [`Self::generate_tensor`].
    ///
    /// # Errors
    /// As [`Self::density_ratio`].
    pub fn density_ratio_tensor(&mut self, target: &TensorView<'_>, ratio: &mut [f32]) -> Result<()> {
        let _inside = float_mode::enter();
        let Self { model, pieces, staging, .. } = self;
        model.info.check_shape("target", target.shape())?;
        check_length("ratio", ratio.len(), target.count())?;
        staging.read("target", target, |first, rows| check_rows(model, "target", first, rows).map(drop))?;
        staging.carry("target", target, |_, input| {
            let out = &mut ratio[input.first..][..input.count()];
            pieces.answer(&Question::Ratio, RowSeed::NONE, &mut Results::new("ratio", out, 1, input))
        })
    }

    /// Answers for the rows of one strided array with samples in another one, each with its name.
    fn carry(
        &mut self,
        question: &Question<'_>,
        (from, source): (&'static str, &TensorView<'_>),
        seed: RowSeed,
        (name, samples): (&'static str, &mut TensorViewMut<'_>),
    ) -> Result<()> {
        let _inside = float_mode::enter();
        let Self { model, pieces, staging, .. } = self;
        model.info.check_shape(from, source.shape())?;
        model.info.check_shape(name, samples.shape())?;
        if samples.shape()[0] != source.count() {
            return Err(Error::invalid(format!(
                "{from} has {} rows and {name} {}, but both must have the same number",
                source.count(),
                samples.shape()[0]
            )));
        }
        staging.read(from, source, |first, rows| check_rows(model, from, first, rows).map(drop))?;
        staging.carry(from, source, |results, input| {
            let numbers = input.rows.len();
            memory::grow(results, "results of a session", numbers, 0.0)?;
            let out = &mut results[..numbers];
            pieces.answer(question, seed.skip(input.first), &mut Results::new(name, out, input.dimension, input))?;
            samples.write_rows(input.first, out);
            Ok(())
        })
    }

    /// Returns what a mean over so many latents asks for.
    pub(super) fn mean_over(&self, latents: usize) -> Result<Question<'static>> {
        if latents == 0 || latents > 1 << 24 {
            return Err(Error::invalid(format!("latents is {latents}, but must be from 1 to {}", 1 << 24)));
        }
        let exact = self.model.transport.conditional.has_own_components();
        Ok(if exact { Question::Mean } else { Question::MeanOver { latents } })
    }
}

/// Returns what a drift at this time asks for.
fn drift_at(time: f64) -> Result<Question<'static>> {
    if !(0.0..=1.0).contains(&time) {
        return Err(Error::invalid(format!("time is {time}, but must lie in [0, 1]")));
    }
    Ok(Question::Drift { time })
}

/// Returns the rows of `x`, of which the first has the number `first` in its call. Every value must be finite and near
/// enough to the data to be computed with.
fn check_rows<'a>(model: &Inner, name: &'static str, first: usize, x: &'a [f32]) -> Result<HostRows<'a>> {
    let d = model.info.dimension;
    if !x.len().is_multiple_of(d) {
        return Err(Error::invalid(format!("{name} has {} numbers, but must hold whole rows of {d}", x.len())));
    }
    let constants = &model.transport.constants;
    for (r, row) in x.chunks_exact(d).enumerate() {
        for (j, (&x, shift)) in row.iter().zip(constants.shift.iter()).enumerate() {
            // A NaN is not below the limit either.
            let near = ((f64::from(x) - shift) / constants.scale).abs() <= FARTHEST;
            if !near {
                return Err(Error::invalid(format!(
                    "{name} row {}, number {j} is {x:e}, but must be finite and within {FARTHEST:e} times the scale {:e} of the samples around their centre",
                    first + r,
                    constants.scale
                )));
            }
        }
    }
    Ok(HostRows { name, rows: x, dimension: d, first })
}

fn check_length(name: &str, len: usize, expected: usize) -> Result<()> {
    if len != expected {
        return Err(Error::invalid(format!("{name} has room for {len} numbers, but must have room for {expected}")));
    }
    Ok(())
}
