//! Matrices on a device: making them, giving them back, and filling them with a constant.

use super::mat::Mat;

/// A device's memory for one computation, and the order of its operations. An operation writes whole scratch matrices,
/// never column views, unless it says otherwise.
pub trait Workspace {
    /// Whether operations may still be reading when later ones begin. A matrix that a gradient was taken from is not
    /// written again then.
    const OVERLAPS: bool;

    /// Does two parts of a step that depend on nothing of each other, side by side where the device can. Whatever
    /// follows may use what the second gave. Only [`Method::mixture`](super::Method::mixture),
    /// [`Method::atoms`](super::Method::atoms), [`Method::peaks`](super::Method::peaks) of both V and its gradient, and
    /// the end of the half step may use what the first gave.
    fn both<S>(
        &mut self,
        state: &mut S,
        first: impl FnOnce(&mut Self, &mut S),
        second: impl FnOnce(&mut Self, &mut S),
    ) {
        first(self, state);
        second(self, state);
    }

    /// Returns a scratch matrix with unspecified contents.
    fn scratch(&mut self, rows: usize, cols: usize) -> Mat;
    /// Returns a column of ones, which no operation may write.
    fn ones(&mut self, rows: usize) -> Mat {
        let one = self.scratch(rows, 1);
        self.fill(one, 1.0);
        one
    }
    /// Sets every element of `to`.
    fn fill(&mut self, to: Mat, value: f64);

    /// Returns how far the workspace is used, for [`Self::reset`].
    fn mark(&self) -> usize;
    /// Gives back every matrix that was made since the mark; mark 0 is the empty workspace.
    fn reset(&mut self, mark: usize);
}
