//! The operations of a session beside networks and method: they take rows in data units in, draw noise for them, and
//! give results in data units out.

use super::layers::Layers;
use super::mat::Mat;
use super::method::Method;
use crate::data::Rotation;
use crate::formulas::units::AxisUnits;
use crate::formulas::{Axes, Conjugate};
use crate::numbers::Numbers;
use crate::rng::Stream;

/// The seed of consecutive rows. Their noise is a function of it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSeed {
    /// Other seeds give other noise.
    pub seed: u64,
    /// Number of the first row.
    pub first_row: u64,
}

impl RowSeed {
    /// For a computation that draws no noise.
    pub const NONE: Self = Self { seed: 0, first_row: 0 };

    /// Returns the seed of the same rows without the first `rows`.
    pub fn skip(self, rows: usize) -> Self {
        Self { first_row: self.first_row.wrapping_add(rows as u64), ..self }
    }

    /// Returns the seed of `count` rows in place of each row.
    pub fn repeated(self, count: usize) -> Self {
        Self { first_row: self.first_element(count), ..self }
    }

    /// Returns the number of the first row's first element in a sequence from which each row takes `count` elements.
    pub fn first_element(self, count: usize) -> u64 {
        self.first_row.wrapping_mul(count as u64)
    }
}

/// The rows in data units that a device computes at a time. `G` says where they are.
#[derive(Clone, Copy, Debug)]
pub struct Piece<G> {
    /// The place of the first row.
    pub rows: G,
    /// Number of rows, 1 or more.
    pub count: usize,
    /// The seed of their noise.
    pub seed: RowSeed,
}

/// The constants of a model beside its networks, in host memory.
#[derive(Clone, Debug)]
pub struct Constants {
    /// The point in data units that is 0 in normalised units, one number a component.
    pub shift: Numbers,
    /// The length in data units that is 1 in normalised units.
    pub scale: f64,
    /// The axes of the problem; None where these are the components of a sample.
    pub rotation: Option<Rotation>,
    /// Units along each axis.
    pub units: Vec<AxisUnits>,
    /// One unit of V in normalised units, as a factor of what the value function gives.
    pub cost: f64,
}

/// The steps of a path through ascending times: step i takes x to x + along_i (x1 - x) + spread_i eta_i with a standard
/// normal eta_i, and with along 1 and spread 0 to x1 itself. `G` says where the numbers are.
#[derive(Clone, Copy, Debug)]
pub struct PathSteps<G> {
    /// One number for each time.
    pub along: G,
    /// One number for each time.
    pub spread: G,
    /// Number of times.
    pub count: usize,
}

/// Operations that take rows in and out. A matrix of samples has one row for each, with the d numbers of the sample in
/// its first columns.
pub trait Rows: Layers + Method {
    /// The place where a device reads rows in data units.
    type In<'a>: Copy;
    /// The place to which results go, in data units, row after row.
    type Out<'a>;
    /// [`Constants`] in the form in which the device keeps them.
    type Constants;

    /// Brings numbers of the host, `per_row` a row, to where the device reads them. The host's memory must not change
    /// until the computation is done.
    fn bring<'a>(&mut self, numbers: &'a [f32], per_row: usize) -> Self::In<'a>;

    /// Writes rows in normalised units (rows x d).
    fn import(&mut self, constants: &Self::Constants, from: Self::In<'_>, to: Mat);

    /// Writes rows as networks see them at time t to the first d columns of `to`, each `repeat` times, and with `value`
    /// that number into the column behind them.
    fn import_seen(
        &mut self,
        constants: &Self::Constants,
        from: Self::In<'_>,
        repeat: usize,
        time: f64,
        to: Mat,
        value: Option<f32>,
    );

    /// Fills `to`, which may be some columns of a matrix, with the standard normals that `stream` has for these rows.
    fn row_normals(&mut self, seed: RowSeed, stream: Stream, to: Mat);

    /// Returns the noise for the endpoints of `rows` rows of d numbers, and with `chooses` also for the choice of a
    /// mixture's component. It has no bridge noise.
    fn endpoint_noise(&mut self, seed: RowSeed, rows: usize, d: usize, chooses: bool) -> Self::Noise;

    /// Takes rows that networks see at time 1, or a drift over the units of its axes, back to the components of a
    /// sample, in normalised units (rows x d).
    fn turn_back(&mut self, constants: &Self::Constants, x: Mat, to: Mat);

    /// Takes normalised rows (rows x d) to data units: places, or the directions from one place to another.
    fn export(&mut self, constants: &Self::Constants, x: Mat, direction: bool, to: Self::Out<'_>);

    /// Adds to each row of `to` (rows x d) the mean over its components in `outputs`. A component has `raw` numbers,
    /// and the first d of them are its mean as a residual, along the axes of its peak where these have axes of their own.
    fn add_components_mean(&mut self, outputs: Mat, raw: usize, axes: &Axes<Self::AxisNumbers>, to: Mat);

    /// Adds to each row of `sum` (rows x d) the first d numbers of its rows of `raw`, which are equally many for each.
    /// With `start` the sum begins at 0.
    fn accumulate(&mut self, raw: Mat, sum: Mat, start: bool);

    /// Adds sum / count to `x0`; both are rows x d.
    fn add_mean(&mut self, x0: Mat, sum: Mat, count: usize);

    /// Writes the paths from the rows of `x0` to those of `x1` (normalised, rows x d) in data units, rows x times x d.
    /// `x0` may be written to.
    fn export_paths(
        &mut self,
        constants: &Self::Constants,
        x0: Mat,
        x1: Mat,
        steps: &PathSteps<Self::In<'_>>,
        seed: RowSeed,
        to: Self::Out<'_>,
    );

    /// Writes the drift at the first d columns of `states`, which networks see at time t, over the units of its axes
    /// (rows x d), given a network's gradient in the first d columns of `gradient`.
    fn drift(&mut self, constants: &Self::Constants, gradient: Mat, states: Mat, time: f64, to: Mat);

    /// Writes Psi*'(v + the known part of V(1, .)) at the first d columns of `states`; `v` is rows x 1, and the result
    /// has one number a row.
    fn export_ratio(
        &mut self,
        axes: &Axes<Self::AxisNumbers>,
        conjugate: &Conjugate,
        states: Mat,
        v: Mat,
        to: Self::Out<'_>,
    );
}
