//! The work of each half of a training step as a device calls it. The mathematics is in `euot`, over any device. The
//! device decides how many rows it computes at once, and in which memory.

use super::draw::Draw;
use super::layers::Layers;
use super::training::Half;
use crate::formulas::Axes;
use std::ops::Range;

/// A range of a batch's source samples, and the blocks in which they are computed.
pub(crate) struct SourceBlocks<'a> {
    /// Indices of the source samples, which go through the generator at once.
    pub sources: Range<usize>,
    /// Number of source samples of a block, which goes through the value function at once.
    pub block: usize,
    /// Returns whether the rest can be left out. It is called between blocks.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// Returns the number of source samples of a block that has up to `most` of `sources`: an even number or 1 where there
/// are several blocks, so that a pair of them ([`DualTerm::pair`](super::DualTerm::pair)) lies in one block or in two
/// that follow each other.
pub(crate) fn block_of_pairs(most: usize, sources: usize) -> usize {
    if most >= sources { sources } else { (most - most % 2).max(1) }
}

/// The gradient and the loss terms of a half, to which its work is added.
pub(crate) struct HalfTotals<'a, D: Layers + Draw> {
    pub gradient: &'a mut D::Gradient,
    pub sums: &'a mut D::Sums,
}

/// The inputs of a half on a device. `nets` are the value function and the generator, and `axes` holds the constants of
/// the problem.
pub(crate) struct HalfInputs<'a, D: Layers + Draw> {
    pub nets: [&'a D::Net; 2],
    pub axes: &'a Axes<D::AxisNumbers>,
    pub samples: D::Samples<'a>,
}

/// Both halves of a training step over a device.
pub(crate) trait HalfWork<D: Layers + Draw> {
    /// The results of [`Self::begin`] that [`Self::end`] needs.
    type Begun;

    /// Adds the gradient of one half's network and the loss terms of these source samples. A cancelled call leaves a
    /// gradient that must not be used.
    fn carry(
        &self,
        device: &mut D,
        half: Half,
        inputs: &HalfInputs<'_, D>,
        blocks: &SourceBlocks<'_>,
        totals: HalfTotals<'_, D>,
    );

    /// Does the part of the generator's half that does not depend on the value function's weights, for these source
    /// samples.
    fn begin(&self, device: &mut D, inputs: &HalfInputs<'_, D>, sources: Range<usize>) -> Self::Begun;

    /// Does the rest of the generator's half.
    fn end(&self, device: &mut D, inputs: &HalfInputs<'_, D>, begun: &Self::Begun, totals: HalfTotals<'_, D>);
}
