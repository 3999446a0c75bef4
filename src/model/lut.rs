//! Look-up tables of colours: the conditional mean of a model of three numbers on a grid.

use super::session::Session;
use crate::error::{Error, Result};
use crate::{float_mode, memory};

/// Entries of a side.
const SIZES: std::ops::RangeInclusive<usize> = 2..=256;
/// Entries that are computed at a time.
const PIECE: usize = 4096;

/// A table of `size`^3 colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lut {
    /// Entries along each axis, from 2 to 256.
    pub size: usize,
    /// The colour of the first entry.
    pub low: [f64; 3],
    /// The colour of the last entry, each number above that of `low`.
    pub high: [f64; 3],
    /// How many latents the mean is taken over, from 1 to 2^24, where the model has some.
    pub latents: usize,
    /// Seed of these latents.
    pub seed: u64,
    /// They are those of the row of this number for every entry, so that the table is as smooth as the model.
    pub row: u64,
}

/// Which way colours are converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// From the table's colours to the model's data units.
    In,
    /// Back.
    Out,
}

impl Lut {
    /// Checks size and domain.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`].
    pub(crate) fn check(&self) -> Result<()> {
        let Self { size, low, high, .. } = *self;
        if !SIZES.contains(&size) {
            return Err(Error::invalid(format!(
                "size is {size}, but must be from {} to {}",
                SIZES.start(),
                SIZES.end()
            )));
        }
        for (axis, (low, high)) in low.into_iter().zip(high).enumerate() {
            // Written so that NaN is refused too.
            if !(low < high && low.abs().max(high.abs()) <= f64::from(f32::MAX)) {
                return Err(Error::invalid(format!(
                    "low[{axis}] is {low:e} and high[{axis}] {high:e}, but low must be below high, inside the range of 32-bit numbers"
                )));
            }
        }
        Ok(())
    }
}

impl Session {
    /// Writes the conditional mean at every entry of a table to `table`, 3 x size^3 numbers with the first axis innermost, as
    /// .cube files have them. `convert` is given some colours at a time, on their way to the model and back, for models in
    /// another space than the table's.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a model whose samples have other than 3 numbers, for sizes, domains and latents out of
    /// range, and for a table of another length; what [`Self::conditional_mean`] and `convert` report.
    pub fn bake_lut(
        &mut self,
        lut: &Lut,
        convert: &mut dyn FnMut(Conversion, &mut [f32]) -> Result<()>,
        table: &mut [f32],
    ) -> Result<()> {
        let _inside = float_mode::enter();
        let Lut { size, low, high, latents, seed, row } = *lut;
        let (dimension, latent_dimension) = (self.model().info().dimension, self.model().info().latent_dimension);
        if dimension != 3 {
            return Err(Error::invalid(format!(
                "the model's samples have {dimension} numbers, but a look-up table is for samples of 3"
            )));
        }
        lut.check()?;
        self.mean_over(latents)?;
        let entries = size.pow(3);
        if table.len() != 3 * entries {
            return Err(Error::invalid(format!(
                "table has {} numbers, but a table of {size}^3 colours has {}",
                table.len(),
                3 * entries
            )));
        }
        let mut colours = memory::filled("colours of a look-up table", 3 * PIECE.min(entries), 0f32)?;
        let at = |axis: usize, i: usize| {
            let share = (i / size.pow(axis as u32) % size) as f64 / (size - 1) as f64;
            (low[axis] + share * (high[axis] - low[axis])) as f32
        };
        for (piece, out) in table.chunks_mut(3 * PIECE).enumerate() {
            let colours = &mut colours[..out.len()];
            for (i, colour) in colours.chunks_exact_mut(3).enumerate() {
                colour.iter_mut().enumerate().for_each(|(axis, number)| *number = at(axis, piece * PIECE + i));
            }
            float_mode::as_host(|| convert(Conversion::In, colours))?;
            if latent_dimension == 0 {
                self.conditional_mean(colours, latents, seed, row, out)?;
            } else {
                for (colour, out) in colours.chunks_exact(3).zip(out.chunks_exact_mut(3)) {
                    self.conditional_mean(colour, latents, seed, row, out)?;
                }
            }
            float_mode::as_host(|| convert(Conversion::Out, out))?;
        }
        Ok(())
    }
}
