//! The operations by which a host with networks of its own hands over their results and takes what it differentiates.

use super::mat::Mat;
use super::method::Method;
use super::training::Half;

/// The place in the random sequences from which the bridges of a batch draw. A training of the same seed draws the same
/// numbers for the same rows of the same step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSeed {
    pub seed: u64,
    pub half: Half,
    /// Number of the step, from 0.
    pub step: u64,
    /// Number of the first source sample in the whole batch.
    pub first_source: u64,
}

impl BatchSeed {
    /// Returns the seed of the same batch without its first `sources` source samples.
    pub fn skip(self, sources: usize) -> Self {
        Self { first_source: self.first_source.wrapping_add(sources as u64), ..self }
    }
}

/// See the module. Rows follow each other without gaps where the host has them.
pub(crate) trait Exchange: Method {
    /// The place of numbers that the host hands over.
    type From<'a>: Copy;
    /// The place to which results go.
    type Into<'a>;

    /// Writes each of the host's rows times `factor` to `repeat` rows of `to`, which may be some columns of a matrix.
    fn take(&mut self, from: Self::From<'_>, factor: f64, repeat: usize, to: Mat);
    /// Multiplies a matrix, which may be some columns of a larger one.
    fn rescale(&mut self, mat: Mat, factor: f64);
    /// Gives the host a matrix times `factor`.
    fn give(&mut self, from: Mat, factor: f64, to: Self::Into<'_>);
    /// Returns the noise of rows of d numbers, of which `each` belong to a source sample, and with `chooses` also what
    /// selects their components.
    fn noise(&mut self, seed: BatchSeed, rows: usize, d: usize, each: usize, chooses: bool) -> Self::Noise;
    /// Returns a noise that nobody reads.
    fn no_noise(&self) -> Self::Noise;
}
