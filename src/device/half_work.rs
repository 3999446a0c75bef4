//! What a device computes of each half of a training step. The mathematics is written above, over any device; a device
//! decides which rows it carries at once, and in which memory.

use super::draw::Draw;
use super::layers::Layers;
use super::training::Half;
use crate::formulas::Quadratic;
use std::ops::Range;

/// Some source samples of a batch, and how they are carried.
pub(crate) struct Stretch<'a> {
    /// Numbers of the source samples, which the generator is passed with at once.
    pub sources: Range<usize>,
    /// Source samples of a block, which goes through the value function at once.
    pub block: usize,
    /// Whether the rest can be left out. Asked between blocks.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// Where a half's gradient and its loss terms go.
pub(crate) struct Totals<'a, D: Layers + Draw> {
    pub gradient: &'a mut D::Gradient,
    pub sums: &'a mut D::Sums,
}

/// The problem as a device is given it: `nets` are the value function and the generator, and `quadratic` is what V(1,
/// .) has beside its network.
pub(crate) struct Given<'a, D: Layers + Draw> {
    pub nets: [&'a D::Net; 2],
    pub quadratic: &'a Quadratic<D::Slope>,
    pub samples: D::Samples<'a>,
}

/// Both halves of a training step over a device.
pub(crate) trait HalfWork<D: Layers + Draw> {
    /// What [`Self::begin`] leaves for [`Self::end`].
    type Begun;

    /// Adds the gradient of one half's network and the loss terms of these source samples. What was cancelled leaves a
    /// gradient that is of no use.
    fn carry(&self, device: &mut D, half: Half, given: &Given<'_, D>, stretch: &Stretch<'_>, totals: Totals<'_, D>);

    /// The part of the generator's half that the value function's weights have no part in, for these source samples.
    fn begin(&self, device: &mut D, given: &Given<'_, D>, sources: Range<usize>) -> Self::Begun;

    /// The rest of the generator's half.
    fn end(&self, device: &mut D, given: &Given<'_, D>, begun: &Self::Begun, totals: Totals<'_, D>);
}
