//! What the method asks of a device: blocks of rows and a small closed set of operations on them.
//!
//! The mathematics in `euot` and `nn` is written once over [`Device`]. The CPU calls it for one block of rows after
//! another, each small enough to stay in a core's cache; a device that is filled by a whole batch calls it once with
//! all rows. Operations are fused as far as the mathematics allows: every one reads and writes its rows once.

pub mod cpu;
pub mod cuda;
pub mod squares;

use crate::euot::conditional::Weighted;
use crate::euot::divergence::Conjugate;
use cpu::simd::Real;

/// Nonlinearity of the hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum Activation {
    /// a / (1 + e^-a).
    Silu = 0,
    /// Hyperbolic tangent.
    Tanh = 1,
    /// log(1 + e^a).
    Softplus = 2,
}

/// What a network that sees squares ([`squares`]) sees of a matrix, or the gradient by that: columns behind the matrix,
/// where a device takes them along. Whoever writes the matrix writes them, and whoever takes a gradient adds their
/// part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Squares {
    /// 0 where the device does not.
    pub count: usize,
    /// Where the device has their centre.
    pub centre: u64,
}

impl Squares {
    pub const NONE: Self = Self { count: 0, centre: 0 };
}

/// A matrix in a device's workspace, by rows: a handle, valid until the workspace is reset.
#[derive(Clone, Copy, Debug)]
pub struct Mat {
    pub(crate) offset: usize,
    pub(crate) stride: usize,
    /// Some columns or rows of a larger matrix: no operation may write whole vectors to it.
    pub(crate) view: bool,
    /// In the columns behind it.
    pub(crate) squares: Squares,
    /// Rows of the block.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl Mat {
    /// No rows.
    pub const NONE: Self = Self { offset: 0, stride: 0, view: false, squares: Squares::NONE, rows: 0, cols: 0 };

    /// Rows `from..to` of it.
    pub fn rows(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.rows);
        Self { offset: self.offset + from * self.stride, rows: to - from, ..self }
    }

    /// Whether they have no element in common, by where they begin and end.
    pub(crate) fn apart(&self, other: &Self) -> bool {
        let end = |mat: &Self| mat.offset + mat.rows.saturating_sub(1) * mat.stride + mat.cols;
        end(self) <= other.offset || end(other) <= self.offset
    }

    /// Every `step`-th row of it, from the first.
    pub fn every(self, step: usize) -> Self {
        assert!(self.rows.is_multiple_of(step));
        Self { stride: step * self.stride, view: true, rows: self.rows / step, ..self }
    }

    /// Of a generator's outputs: how many components of `raw` numbers and a logit each there are.
    pub(crate) fn components(self, raw: usize) -> usize {
        assert!(self.cols.is_multiple_of(raw + 1));
        self.cols / (raw + 1)
    }

    /// Of a generator's outputs: how many of `rows` each source sample has; all its components where none is drawn.
    pub(crate) fn each(self, rows: Self, components: usize, drawn: bool) -> usize {
        assert!(rows.rows.is_multiple_of(self.rows));
        let each = rows.rows / self.rows;
        assert!(drawn || each == components);
        each
    }

    /// Columns `from..to` of it.
    pub fn columns(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.cols);
        Self { offset: self.offset + from, cols: to - from, view: true, squares: Squares::NONE, ..self }
    }

    /// It and its squares.
    pub(crate) fn with_squares(self) -> Self {
        Self { cols: self.cols + self.squares.count, squares: Squares::NONE, ..self }
    }

    /// All but the last `count` columns, these being its squares.
    pub(crate) fn before_squares(self, squares: Squares) -> Self {
        Self { squares, ..self.columns(0, self.cols - squares.count) }
    }
}

/// Sums over the rows of a block, in the units of the normalised problem.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Of V(1, x1), quadratic part included; so are the next two.
    pub generated: f64,
    /// Of Psi*(V(1, y)).
    pub conjugate: f64,
    /// Of Psi*'(V(1, y)).
    pub density_ratio: f64,
    /// Of 1/2 |grad V|^2 + <grad V, b>, and of the quadratic part of V(1, x1).
    pub action: f64,
    /// Of V(t, x_t) + sigma^2 (log p - log w), each row counting K times its component's probability.
    pub generator: f64,
}

impl Sums {
    /// Adds another block's sums.
    pub fn add(&mut self, other: &Self) {
        self.generated += other.generated;
        self.conjugate += other.conjugate;
        self.density_ratio += other.density_ratio;
        self.action += other.action;
        self.generator += other.generator;
    }
}

/// A quadratic function of a sample: level + sum over j of x_j (curvature / 2 x_j + slope_j). `S` is how a device keeps the
/// slope, d numbers.
#[derive(Clone, Debug)]
pub struct Quadratic<S> {
    /// Of every component alike.
    pub curvature: f64,
    /// At 0.
    pub slope: S,
    /// At 0.
    pub level: f64,
}

/// Gaussian head of the generator: how raw outputs become a mean and a standard deviation.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Noise of the problem, normalised.
    pub sigma: f64,
    /// No standard deviation: the generator is a function of (x0, z).
    pub deterministic: bool,
}

impl Head {
    /// Raw outputs of a component in d dimensions.
    pub fn raw(&self, d: usize) -> usize {
        Self::numbers(d, self.deterministic)
    }

    /// [`Self::raw`] of a head that has no sigma yet.
    pub(crate) fn numbers(d: usize, deterministic: bool) -> usize {
        if deterministic { d } else { 2 * d }
    }

    /// log(0.5 sigma): the standard deviation an untrained network gives.
    pub fn log_std_offset(&self) -> f64 {
        (0.5 * self.sigma).ln()
    }

    /// Range of log s. Both ends leave room around an untrained network's value however small or large sigma is.
    pub fn log_std_range(&self) -> (f64, f64) {
        ((self.log_std_offset() - 4.0).min(-6.0), (self.log_std_offset() + 1.0).max(3.0))
    }
}

/// Components of a group's first half; 0 where the group is not split: a single component has no halves, a deterministic
/// generator needs the gradient of the loss as it stands, and of weighted components none is missing.
pub(crate) fn half_of(head: &Head, weighted: bool, components: usize) -> usize {
    if head.deterministic || weighted { 0 } else { components / 2 }
}

/// Factors of the two estimates of log p by all `components` and by the `part` of the sample's own half, the first
/// less the second: the bias of each is as one over its number, so that of the difference cancels.
pub(crate) fn extrapolation(components: usize, part: usize) -> (f64, f64) {
    if part == components {
        return (1.0, 0.0);
    }
    let rest = (components - part) as f64;
    (components as f64 / rest, part as f64 / rest)
}

/// The inputs that the bridge operations share, one row a sample. `N` is how the device keeps the noise.
#[derive(Clone, Copy, Debug)]
pub struct Bridge<N> {
    /// Source samples (rows x d).
    pub x0: Mat,
    /// Raw outputs of the rows' components (rows x 2 d; rows x d when deterministic): mean as a residual on x0, log-std.
    pub raw: Mat,
    /// Standard normals: xi of the endpoint and eta of the bridge (rows x d each).
    pub noise: N,
    /// Bridge times (rows x 1).
    pub time: Mat,
}

/// Points of the bridges, each computed where it is wanted. The first two are the value function's inputs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Points {
    /// \[x1, 1\] (rows x (d + 1)), x1 = m + s xi.
    pub end: Option<Mat>,
    /// \[x_t, t\] (rows x (d + 1)), x_t = (1 - t) x0 + t x1 + sigma sqrt(t (1 - t)) eta.
    pub state: Option<Mat>,
    /// The mean of the bridge's drift (x1 - x_t) / (1 - t) given x0, the component and x_t, with m its mean as a residual on x0:
    /// m + (s^2 - sigma^2) / (t s^2 + sigma^2 (1 - t)) (x_t - x0 - t m) (rows x d).
    pub drift: Option<Mat>,
}

/// The closed set of operations. `net` and `layer` name weights W (inputs x outputs) and bias b; h, slope and curve
/// are f(a), f'(a), f''(a) of an activation; matrices written are whole scratch matrices, never column views.
pub trait Device {
    /// Element type.
    type Real: Real;
    /// Weights of one network as the device keeps them.
    type Net;
    /// Gradient accumulators of one network.
    type Gradient;
    /// Noise of a block: matrices, or what draws it where it is used.
    type Noise: Copy;
    /// Slope of a quadratic.
    type Slope;
    /// Sums of the loss terms over the rows, or where they are kept.
    type Sums;
    /// Operations may still be reading when later ones begin, so a matrix that a gradient was taken from is not written
    /// again.
    const OVERLAPS: bool;

    /// Does two parts of a step that depend on nothing of each other, side by side where the device can. What follows
    /// may use what the second gave; what the first gave, [`Self::mixture`] may and the end of the half step.
    fn both<S>(
        &mut self,
        state: &mut S,
        first: impl FnOnce(&mut Self, &mut S),
        second: impl FnOnce(&mut Self, &mut S),
    ) {
        first(self, state);
        second(self, state);
    }

    /// A scratch matrix with unspecified contents.
    fn scratch(&mut self, rows: usize, cols: usize) -> Mat;
    /// A scratch matrix that a network will see, with so many squares, with room for them where the device takes them
    /// along.
    fn scratch_seen(&mut self, _net: &Self::Net, rows: usize, cols: usize, _squares: usize) -> Mat {
        self.scratch(rows, cols)
    }
    /// A column of ones, which nobody writes to.
    fn ones(&mut self, rows: usize) -> Mat {
        let one = self.scratch(rows, 1);
        self.fill(one, 1.0);
        one
    }
    /// Sets every element of `to`.
    fn fill(&mut self, to: Mat, value: f64);

    /// to = \[x, s\], s the squares of as many of the first columns as `to` has room for, counted from the network's centre (see
    /// [`squares`]) at the time in the column behind those, or at 0 where there is none. (A latent there does nothing: the centre
    /// of a generator does not change.)
    fn squares(&mut self, net: &Self::Net, x: Mat, to: Mat);
    /// The gradient by x (of the shape of `x`), given `g` by \[x, s\], the time in s held: to = g_x + s' g_s.
    fn squares_reverse(&mut self, x: Mat, g: Mat, to: Mat);
    /// The same for [`Self::action`] and [`Self::mixture`], which add s' g_s themselves where the device takes squares
    /// along.
    fn squares_gradient(&mut self, x: Mat, g: Mat) -> Mat {
        let to = self.scratch(g.rows, x.cols);
        self.squares_reverse(x, g, to);
        to
    }
    /// The tangent of \[x, s\] along `w`, the time in s held: to = \[w, s' w\].
    fn squares_tangent(&mut self, x: Mat, w: Mat, to: Mat);
    /// out = x W + b.
    fn affine(&mut self, net: &Self::Net, layer: usize, x: Mat, out: Mat);
    /// a = x W + b; h = f(a), and where asked slope = f'(a), curve = f''(a).
    #[allow(clippy::too_many_arguments)]
    fn activated(
        &mut self,
        net: &Self::Net,
        layer: usize,
        activation: Activation,
        x: Mat,
        h: Mat,
        slope: Option<Mat>,
        curve: Option<Mat>,
    );
    /// out = delta W^T.
    fn transposed(&mut self, net: &Self::Net, layer: usize, delta: Mat, out: Mat);
    /// p = delta W^T; out = slope * p; where given, curve *= p.
    fn backward(&mut self, net: &Self::Net, layer: usize, delta: Mat, slope: Mat, out: Mat, curve: Option<Mat>);
    /// a' = x' W (the tangent); out = slope * a'; curve *= a'.
    fn tangent(&mut self, net: &Self::Net, layer: usize, xdot: Mat, slope: Mat, out: Mat, curve: Mat);
    /// out = slope * (delta W^T) + curve: reverse through the primal of a tangent.
    fn tangent_backward(&mut self, net: &Self::Net, layer: usize, delta: Mat, slope: Mat, curve: Mat, out: Mat);
    /// Adds sum over pairs of x^T delta to the gradient of W, and the column sums of `bias` to that of b.
    fn gradient(&mut self, gradient: &mut Self::Gradient, layer: usize, pairs: &[(Mat, Mat)], bias: Option<Mat>);

    /// Writes for each row one of the K components that `outputs` (sources x K (raw + 1), see `euot::conditional`) gives its
    /// source sample to `raw` (rows x raw); every source has as many rows. With `noise` components are drawn: those of a
    /// source's rows lie at even distances along its cumulated probabilities, and none has probability 0. Without, a source has K
    /// rows, and takes each component in turn. Where `log` (rows x 1) is given, log(K probability) goes there.
    fn choose(&mut self, outputs: Mat, noise: Option<&Self::Noise>, raw: Mat, log: Option<Mat>);
    /// The gradient by `outputs`, into `to` (of the same shape), given that by the raw outputs of each component in turn
    /// (`delta`) and each row's loss (rows x 1): delta is copied, and logit k of a source gets scale K probability_k (loss_k -
    /// mean loss).
    fn fold(&mut self, outputs: Mat, delta: Mat, loss: Mat, scale: f64, to: Mat);
    /// Points of the bridges, in one pass.
    fn bridge(&mut self, head: &Head, bridge: &Bridge<Self::Noise>, points: &Points);
    /// For V(1, .) = v + quadratic at `ends` = \[x1; y\] (2 rows x d): sums, and in `delta` the derivative of minus the
    /// potential gap by v, -scale for x1 rows and scale Psi*'(V(1, y)) for y rows. v and `delta` are 2 rows x 1.
    #[allow(clippy::too_many_arguments)]
    fn dual(
        &mut self,
        conjugate: &Conjugate,
        quadratic: &Quadratic<Self::Slope>,
        ends: Mat,
        v: Mat,
        delta: Mat,
        scale: f64,
        sums: &mut Self::Sums,
    );
    /// Action sums of b and of the first d of g, the gradient at `x` = \[x_t, t\]; `w` (rows x (d + 1)) = \[scale (g +
    /// b), 0\], a direction in (x, t).
    fn action(&mut self, x: Mat, g: Mat, b: Mat, w: Mat, scale: f64, sums: &mut Self::Sums);
    /// The generator's loss over groups of `components` rows that share an x0: sums V + sigma^2 (log p - log w), log p as
    /// [`extrapolation`] says, and into `delta` (shape of `raw`) scale times its gradient with respect to the raw
    /// outputs, given v = V(t, x_t) and, in the first d of g, grad V(t, x_t): through x_t alone, or where deterministic
    /// through the components of p too. Where `weighted`, which a deterministic generator cannot be,
    /// components count by their probability, in p and in the sum.
    #[allow(clippy::too_many_arguments)]
    fn mixture(
        &mut self,
        head: &Head,
        bridge: &Bridge<Self::Noise>,
        xt: Mat,
        v: Mat,
        g: Mat,
        components: usize,
        weighted: Option<Weighted>,
        delta: Mat,
        scale: f64,
        sums: &mut Self::Sums,
    );
}
