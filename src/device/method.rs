//! The operations of the method itself: the bridge, the losses, and the losses' gradients by the outputs of a network.
//! None of them knows weights, so a host with networks of its own needs no more than these.

use super::mat::Mat;
use super::workspace::Workspace;
use crate::formulas::{Axes, Conjugate, Head, TauSchedule};

/// Sums over the rows of a block, in the units of the normalised problem.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Sum of V(1, x1). It includes the known part, as the next two do.
    pub generated: f64,
    /// Sum of Psi*(V(1, y)).
    pub conjugate: f64,
    /// Sum of Psi*'(V(1, y)).
    pub density_ratio: f64,
    /// Sum of the squares of Psi*'(V(1, y)).
    pub ratio_squares: f64,
    /// Sum of V(1, y).
    pub target: f64,
    /// Sums of |x1 - x1'|^2 and of |y - y'|^2 over pairs of rows, see [`DualTerm::pair`].
    pub distances: [f64; 2],
    /// Sum of the action's terms ([`ActionTerm`]), and of the known part of V(1, x1).
    pub action: f64,
    /// Sum of V(t, x_t) + noise (log p - log w). Each row counts K times its component's probability.
    pub generator: f64,
}

impl Sums {
    /// Returns the share of so many target rows that is matched: (sum of r)^2 / (n sum of r^2) of the density ratio r, 0
    /// where none is.
    pub fn matched_share(&self, rows: f64) -> f64 {
        let Self { density_ratio, ratio_squares, .. } = *self;
        if ratio_squares > 0.0 { (density_ratio * density_ratio / (rows * ratio_squares)).min(1.0) } else { 0.0 }
    }

    /// Adds another block's sums.
    pub fn add(&mut self, other: &Self) {
        self.generated += other.generated;
        self.conjugate += other.conjugate;
        self.density_ratio += other.density_ratio;
        self.ratio_squares += other.ratio_squares;
        self.target += other.target;
        for (sum, other) in self.distances.iter_mut().zip(other.distances) {
            *sum += other;
        }
        self.action += other.action;
        self.generator += other.generator;
    }
}

/// The inputs that the bridge operations share, with one row for each sample. `N` is the form in which the device keeps
/// the noise.
#[derive(Clone, Copy, Debug)]
pub struct Bridge<N> {
    /// Source samples (rows x d).
    pub x0: Mat,
    /// Raw outputs of the rows' components (rows x 2 d; rows x d when deterministic): mean as a residual on x0,
    /// log-std.
    pub raw: Mat,
    /// Standard normals: xi of the endpoint and eta of the bridge (rows x d each).
    pub noise: N,
    /// Times of the clock ([`Tick`](crate::formulas::Tick), rows x 3).
    pub time: Mat,
    /// Numbers of the rows' components (rows x 1), where peaks have axes of their own: mean and deviations of a component lie along
    /// those of its peak.
    pub which: Option<Mat>,
}

/// Where the components of rows go.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    /// Their raw outputs (rows x raw).
    pub raw: Mat,
    /// log(K probability) (rows x 1).
    pub log: Option<Mat>,
    /// Their numbers (rows x 1).
    pub which: Option<Mat>,
}

impl Chosen {
    /// Returns the components of rows `from..to`.
    pub fn rows(self, from: usize, to: usize) -> Self {
        let of = |mat: Mat| mat.rows(from, to);
        Self { raw: of(self.raw), log: self.log.map(of), which: self.which.map(of) }
    }
}

/// The points of the bridges that are wanted. The first two are inputs of the value function. Along each axis t and sigma
/// are its own, and the t that the value function sees is the clock's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Points {
    /// \[x1, 1\] (rows x (d + 1)), x1 = m + s xi.
    pub end: Option<Mat>,
    /// \[x_t, t\] (rows x (d + 1)), x_t = (1 - t) x0 + t x1 + sigma sqrt(t (1 - t)) eta.
    pub state: Option<Mat>,
    /// The mean of the bridge's drift (x1 - x_t) / (1 - t) given x0, the component and x_t, with m its mean as a
    /// residual on x0: m + (s^2 - sigma^2) / (t s^2 + sigma^2 (1 - t)) (x_t - x0 - t m) (rows x d).
    pub drift: Option<Mat>,
}

/// The weights of components that are not equally likely, and the losses of their rows.
#[derive(Clone, Copy, Debug)]
pub struct Weighted {
    /// Logarithms of K times the probabilities (rows x 1).
    pub log: Mat,
    /// The loss of each row, to be filled (rows x 1).
    pub loss: Mat,
}

impl Weighted {
    /// Returns the weights and losses of rows `from..to`.
    pub fn rows(self, from: usize, to: usize) -> Self {
        Self { log: self.log.rows(from, to), loss: self.loss.rows(from, to) }
    }
}

/// One block of rows of a batch, normalised. Rows of the same source sample follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Batch<N> {
    /// \[x0, z\]: source samples, each repeated for its rows, and latents where there are any.
    pub input: Mat,
    /// For the value step: room for \[x1, 1\] (rows x (d + 1)), and after it target samples as \[y, 1\] (as many).
    pub ends: Option<Mat>,
    /// Endpoint and bridge noise.
    pub noise: N,
    /// Times of the clock ([`Tick`](crate::formulas::Tick), rows x 3).
    pub time: Mat,
    /// Number of the first source sample in the whole batch.
    pub first_source: usize,
}

impl<N: Copy> Batch<N> {
    /// Returns the bridges from these source samples of `dimension` numbers to the generator's outputs `raw` for them, of the components
    /// with the numbers `which` where these count.
    pub fn bridge(&self, dimension: usize, raw: Mat, which: Option<Mat>) -> Bridge<N> {
        Bridge { x0: self.input.columns(0, dimension), raw, noise: self.noise, time: self.time, which }
    }
}

/// The number of the step that is made, from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepNumber {
    /// As the host knows it.
    Known(u64),
    /// The device address where it is when the step is made.
    OnDevice(u64),
}

/// tau at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TauAt {
    pub schedule: TauSchedule,
    pub step: StepNumber,
}

impl TauAt {
    /// That of a tau that stays as it is.
    pub const CONSTANT: Self = Self { schedule: TauSchedule::CONSTANT, step: StepNumber::Known(0) };

    /// Returns it as a multiple of what tau comes to, where the host knows the step.
    ///
    /// # Panics
    /// The number is on the device.
    pub fn factor(&self) -> f64 {
        let StepNumber::Known(step) = self.step else { panic!("the number of the step is on the device") };
        self.schedule.factor(step)
    }
}

/// The terms of the dual at time 1, where V(1, .) = v + the known part, for as many generated samples as target samples.
#[derive(Debug)]
pub struct DualTerm<'a, S> {
    /// Psi*, with the tau that the training comes to.
    pub conjugate: &'a Conjugate,
    /// tau at this step.
    pub tau_at: TauAt,
    /// What V(1, .) has beside the network.
    pub axes: &'a Axes<S>,
    /// \[x1; y\] (2 rows x d).
    pub ends: Mat,
    /// What the network gives at the ends (2 rows x 1).
    pub v: Mat,
    /// Where the derivative of minus the potential gap by v goes (2 rows x 1): -scale for x1 rows, and scale
    /// Psi*'(V(1, y)) for y rows.
    pub delta: Mat,
    /// One over the rows of the whole batch.
    pub scale: f64,
    /// Number of rows of each source sample, which follow each other.
    pub components: usize,
    /// Number of the first source sample in the whole batch.
    pub first_source: usize,
}

impl<S> DualTerm<'_, S> {
    /// Returns the row that makes a pair with row `r`: that of the next source sample, where the number of its own is
    /// even. Both ends of a pair are independent, and it does not matter how a batch was cut into blocks of even
    /// numbers of source samples.
    pub fn pair(&self, r: usize) -> Option<usize> {
        let (even, other) = ((self.first_source + r / self.components).is_multiple_of(2), r + self.components);
        (even && other < self.v.rows / 2).then_some(other)
    }

    /// Returns whether these are the rows of a single source sample, whose pairs lie in another block.
    pub fn is_held(&self) -> bool {
        self.v.rows / 2 == self.components
    }
}

/// The action along the bridges: in each row the sum over axes of t' g (c/2 g + b), where t' is the speed of the axis's
/// time, c its sigma^2 in units of the noise, g the gradient of V and b the drift of the bridge.
#[derive(Debug)]
pub struct ActionTerm<'a, S> {
    /// Noise and times of the axes.
    pub axes: &'a Axes<S>,
    /// Times of the clock (rows x 3).
    pub time: Mat,
    /// The states \[x_t, t\].
    pub x: Mat,
    /// grad V(t, x_t) in the first d columns.
    pub g: Mat,
    /// [`Points::drift`] (rows x d).
    pub b: Mat,
    /// Where the direction in (x, t) along which V's derivative is taken goes (rows x (d + 1)): scale t' (c g + b), and
    /// 0 for t.
    pub w: Mat,
    /// One over the rows of the whole batch, times what a row counts.
    pub scale: f64,
    /// Whether the sum is a part of the dual.
    pub counts: bool,
}

/// The part of V that peaks have ([`crate::formulas::peaks`]), of which there is at least one, at states of the bridges.
#[derive(Debug)]
pub struct PeaksTerm<'a, S> {
    /// Noise and times of the axes, and the peaks.
    pub axes: &'a Axes<S>,
    /// Times of the clock (rows x 3); none where it is 1 in all rows, and no noise is left.
    pub time: Option<Mat>,
    /// The states, in the first d columns.
    pub x: Mat,
    /// Where it is added (rows x 1).
    pub v: Option<Mat>,
    /// Where its gradient by the state is added, in the first d columns.
    pub g: Option<Mat>,
}

/// The generator's loss over groups of rows that share an x0: V + noise (log p - log w), with log p as
/// [`extrapolation`](crate::formulas::head::extrapolation) says.
#[derive(Debug)]
pub struct MixtureLoss<'a, N, S> {
    /// How a component is read.
    pub head: &'a Head,
    /// Noise and times of the axes.
    pub axes: &'a Axes<S>,
    /// The bridges, one a row.
    pub bridge: &'a Bridge<N>,
    /// Their states x_t (rows x d).
    pub xt: Mat,
    /// V(t, x_t) (rows x 1).
    pub v: Mat,
    /// grad V(t, x_t) in the first d columns.
    pub g: Mat,
    /// Rows of a group.
    pub components: usize,
    /// Where components count by their probability, in p and in the sum, which those of a deterministic generator
    /// cannot.
    pub weighted: Option<Weighted>,
    /// Where scale times the gradient by the raw outputs goes (shape of the bridges' raw outputs): through x_t alone, or
    /// for a deterministic generator through the components of p too.
    pub delta: Mat,
    /// One over the rows of the whole batch.
    pub scale: f64,
}

/// The operations of the two losses.
pub trait Method: Workspace {
    /// Noise of a block: matrices, or the place in a random sequence from which kernels draw it.
    type Noise: Copy;
    /// The constants of the axes, in the device's memory.
    type AxisNumbers;
    /// The sums of the loss terms over the rows, or the place where a device keeps them.
    type Sums;

    /// Writes for each row one of the K components that `outputs` (sources x K (raw + 1), see `euot::conditional`)
    /// gives its source sample; every source has as many rows. With `noise` components are drawn:
    /// those of a source's rows lie at even distances along its cumulated probabilities, and none has probability 0.
    /// Without, a source has K rows, and takes each component in turn. The raw outputs of that component, log(K probability)
    /// and its number go where `to` says.
    fn choose(&mut self, outputs: Mat, noise: Option<&Self::Noise>, to: &Chosen);
    /// The gradient by `outputs`, into `to` (of the same shape), given that by the raw outputs of each component in
    /// turn (`delta`) and each row's loss (rows x 1): delta is copied, and logit k of a source gets scale K
    /// probability_k (loss_k - mean loss).
    fn fold(&mut self, outputs: Mat, delta: Mat, loss: Mat, scale: f64, to: Mat);
    /// Adds the part of V that peaks have.
    fn peaks(&mut self, term: &PeaksTerm<'_, Self::AxisNumbers>);
    /// Adds the plan of the peaks to what a generator without latents gives for source samples, `x0` in the first d columns:
    /// `outputs` are sources x K (2 d + 1). Component k has peak k modulo their number, and its share.
    fn peaks_plan(&mut self, axes: &Axes<Self::AxisNumbers>, x0: Mat, outputs: Mat);
    /// Computes the wanted points of the bridges in one pass.
    fn bridge(&mut self, head: &Head, axes: &Axes<Self::AxisNumbers>, bridge: &Bridge<Self::Noise>, points: &Points);
    /// Adds the sums of both sides' terms of the dual, and writes their derivatives.
    fn dual(&mut self, term: &DualTerm<'_, Self::AxisNumbers>, sums: &mut Self::Sums);
    /// Adds the action's sum where it counts, and writes the direction of its gradient.
    fn action(&mut self, term: &ActionTerm<'_, Self::AxisNumbers>, sums: &mut Self::Sums);
    /// Adds the generator's loss, and writes its gradient by the components.
    fn mixture(&mut self, loss: &MixtureLoss<'_, Self::Noise, Self::AxisNumbers>, sums: &mut Self::Sums);
    /// The same for one component without spread in a group, whose raw outputs m are its point less x0: adds V + the
    /// sum over axes of noise / sigma_j^2 t_j/2 m_j^2, and writes scale t_j (g_j + noise / sigma_j^2 m_j).
    fn atoms(&mut self, loss: &MixtureLoss<'_, Self::Noise, Self::AxisNumbers>, sums: &mut Self::Sums);
}
