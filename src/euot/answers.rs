//! The answers of a trained transport about rows, each written once for all devices.

use super::conditional::Conditional;
use super::gaussian_bridge::GaussianBridge;
use super::ticks::tick;
use crate::device::rows::{Constants, PathSteps, Piece, RowSeed};
use crate::device::{Bridge, Mat, PeaksTerm, Points, Rows};
use crate::error::Result;
use crate::formulas::{Axes, Conjugate, Head};
use crate::memory;
use crate::nn::network::Network;
use crate::rng::Stream;

/// A question about rows. Each says what a row of results holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question<'a> {
    /// A sample of the plan for each source sample: d numbers.
    Generate,
    /// The exact mean of x1 for each source sample, where the network gives all components: d numbers.
    Mean,
    /// The mean of x1 for each source sample over this many latents, where the network has some: d numbers.
    MeanOver { latents: usize },
    /// A path from each source sample to its sample of the plan: steps x d numbers.
    Path(PathSteps<&'a [f32]>),
    /// The drift at each state: d numbers.
    Drift { time: f64 },
    /// The density of the transported end marginal relative to the target at each target sample: one number.
    Ratio,
}

/// The kinds of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Generate,
    Mean,
    MeanOver,
    Path,
    Drift,
    Ratio,
}

impl Kind {
    /// How many kinds there are; the last one is named here.
    pub const COUNT: usize = Self::Ratio as usize + 1;
}

impl Question<'_> {
    /// Returns the kind, and what memory depends on beside the number of rows: for one kind and as many rows, a smaller
    /// size takes no more.
    pub fn extent(&self) -> (Kind, usize) {
        match *self {
            Self::Generate => (Kind::Generate, 0),
            Self::Mean => (Kind::Mean, 0),
            Self::MeanOver { latents } => (Kind::MeanOver, latents),
            Self::Path(steps) => (Kind::Path, steps.count),
            Self::Drift { .. } => (Kind::Drift, 0),
            Self::Ratio => (Kind::Ratio, 0),
        }
    }
}

/// A trained transport without the weights of its networks.
pub(crate) struct Transport {
    pub value: Network,
    pub generator: Network,
    pub conditional: Conditional,
    pub bridge: GaussianBridge,
    pub constants: Constants,
    /// The constants of the problem that the networks see.
    pub axes: Axes<Vec<f32>>,
    /// Noise of the normalised problem.
    pub sigma: f64,
    /// How a component is read.
    pub head: Head,
    /// The conjugate, with the tau of the problem that the networks see.
    pub conjugate: Conjugate,
}

impl Transport {
    /// Returns how many numbers a sample has.
    pub fn dimension(&self) -> usize {
        self.constants.shift.len()
    }
}

/// The largest numbers of rows that a device computes at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Number of rows of the networks' inputs.
    pub rows: usize,
    /// Number of latents of one source sample.
    pub latents: usize,
}

/// A transport with its networks on a device.
pub(crate) struct TransportOn<'a, D: Rows> {
    pub transport: &'a Transport,
    pub value: &'a D::Net,
    pub generator: &'a D::Net,
    pub constants: &'a D::Constants,
    pub axes: &'a Axes<D::AxisNumbers>,
    pub limits: Limits,
}

impl<D: Rows> TransportOn<'_, D> {
    /// Returns the largest number of rows of a piece.
    pub fn most_rows(&self, question: &Question<'_>) -> usize {
        match *question {
            Question::MeanOver { latents } => {
                // Many rows with all their latents, or one row with some of its latents after others.
                if latents > self.limits.latents { 1 } else { (self.limits.rows / latents).max(1) }
            }
            _ => self.limits.rows,
        }
    }

    /// Answers for a piece of rows. The memory that the question refers to must not change until the computation is
    /// done.
    pub fn answer(&self, device: &mut D, question: &Question<'_>, piece: &Piece<D::In<'_>>, to: D::Out<'_>) {
        match *question {
            Question::Generate => self.generate(device, piece, to),
            Question::Mean => self.mean_of_components(device, piece, to),
            Question::MeanOver { latents } => self.mean_over_latents(device, piece, latents, to),
            Question::Path(steps) => self.path(device, piece, steps, to),
            Question::Drift { time } => self.drift(device, piece, time, to),
            Question::Ratio => self.ratio(device, piece, to),
        }
    }

    fn generate(&self, device: &mut D, piece: &Piece<D::In<'_>>, to: D::Out<'_>) {
        let end = self.endpoints(device, piece);
        self.export(device, end, false, to);
    }

    /// Computes the exact mean, which a network that gives all components has.
    fn mean_of_components(&self, device: &mut D, piece: &Piece<D::In<'_>>, to: D::Out<'_>) {
        let Transport { generator, head, .. } = self.transport;
        let x = self.input(device, piece.rows, piece.count, 1, piece.seed);
        let outputs = self.transport.conditional.outputs_at(device, generator, self.generator, x, self.axes);
        device.add_components_mean(outputs, head.raw(x.cols), self.axes, x);
        self.export(device, x, false, to);
    }

    /// Computes the mean over the components that `latents` latents give. A row takes that many row numbers of the
    /// noise.
    fn mean_over_latents(&self, device: &mut D, piece: &Piece<D::In<'_>>, latents: usize, to: D::Out<'_>) {
        let d = self.transport.dimension();
        let Piece { rows, count, seed } = *piece;
        let most = latents.min(self.limits.latents);
        assert!(count == 1 || most == latents, "the numbers of a row's latents follow each other");
        let x0 = device.scratch(count, d);
        device.import_seen(self.constants, rows, 1, 0.0, x0, None);
        let sum = device.scratch(count, d);
        let mark = device.mark();
        for done in (0..latents).step_by(most) {
            device.reset(mark);
            let seed = seed.repeated(latents).skip(done);
            let input = self.input(device, rows, count, most.min(latents - done), seed);
            let raw = self.transport.generator.forward(device, self.generator, input);
            device.accumulate(raw, sum, done == 0);
        }
        device.add_mean(x0, sum, latents);
        self.export(device, x0, false, to);
    }

    fn path(&self, device: &mut D, piece: &Piece<D::In<'_>>, steps: PathSteps<&[f32]>, to: D::Out<'_>) {
        let PathSteps { along, spread, count } = steps;
        let steps = PathSteps { along: device.bring(along, count), spread: device.bring(spread, count), count };
        let d = self.transport.dimension();
        let [x0, x1] = [0; 2].map(|_| device.scratch(piece.count, d));
        let end = self.endpoints(device, piece);
        device.turn_back(self.constants, end, x1);
        device.import(self.constants, piece.rows, x0);
        device.export_paths(self.constants, x0, x1, &steps, piece.seed, to);
    }

    fn drift(&self, device: &mut D, piece: &Piece<D::In<'_>>, time: f64, to: D::Out<'_>) {
        let Transport { value, bridge, .. } = self.transport;
        let states = self.states(device, piece, time, bridge.clock_at(time));
        let tape = value.record_hidden(device, self.value, states, false);
        let one = device.ones(piece.count);
        let mut gradient = value.backward_input(device, self.value, &tape, one);
        if gradient.squares.count > 0 {
            let whole = device.scratch(piece.count, states.cols);
            device.squares_reverse(states, gradient.with_squares(), whole);
            gradient = whole;
        }
        let d = self.transport.dimension();
        self.add_peaks(device, states, Some(bridge.clock_at(time)), [None, Some(gradient)]);
        let drift = device.scratch(piece.count, d);
        device.drift(self.constants, gradient, states, time, drift);
        self.export(device, drift, true, to);
    }

    fn ratio(&self, device: &mut D, piece: &Piece<D::In<'_>>, to: D::Out<'_>) {
        let Transport { value, conjugate, .. } = self.transport;
        let states = self.states(device, piece, 1.0, 1.0);
        let v = value.forward(device, self.value, states);
        self.add_peaks(device, states, None, [Some(v), None]);
        device.export_ratio(self.axes, conjugate, states, v, to);
    }

    /// Adds the part that peaks have of V and of its gradient at states at this time of the clock, or at time 1.
    fn add_peaks(&self, device: &mut D, states: Mat, clock: Option<f64>, [v, g]: [Option<Mat>; 2]) {
        if self.axes.peaks > 0 {
            let time = clock.map(|clock| tick(device, self.axes.clock, clock, states.rows));
            let x = states.columns(0, self.transport.dimension());
            device.peaks(&PeaksTerm { axes: self.axes, time, x, v, g });
        }
    }

    /// Returns \[x0', z\], with each source sample `repeat` times. `seed` is the seed of these rows.
    fn input(&self, device: &mut D, rows: D::In<'_>, count: usize, repeat: usize, seed: RowSeed) -> Mat {
        let (d, latent) = (self.transport.dimension(), self.transport.conditional.latent);
        let input = device.scratch(count * repeat, d + latent);
        device.import_seen(self.constants, rows, repeat, 0.0, input.columns(0, d), None);
        if latent > 0 {
            device.row_normals(seed, Stream::Latent, input.columns(d, d + latent));
        }
        input
    }

    /// Returns \[x', s\] for the value function, with the states' time and that of the clock.
    fn states(&self, device: &mut D, piece: &Piece<D::In<'_>>, time: f64, clock: f64) -> Mat {
        let states = device.scratch(piece.count, self.transport.dimension() + 1);
        device.import_seen(self.constants, piece.rows, 1, time, states, Some(clock as f32));
        states
    }

    /// Takes what networks see at time 1, or a drift over the units of its axes, to data units.
    fn export(&self, device: &mut D, x: Mat, direction: bool, to: D::Out<'_>) {
        let back = device.scratch(x.rows, self.transport.dimension());
        device.turn_back(self.constants, x, back);
        device.export(self.constants, back, direction, to);
    }

    /// Returns x1 as networks see it (rows x d).
    fn endpoints(&self, device: &mut D, piece: &Piece<D::In<'_>>) -> Mat {
        let Transport { generator, conditional, head, .. } = self.transport;
        let d = self.transport.dimension();
        let Piece { rows, count, seed } = *piece;
        let input = self.input(device, rows, count, 1, seed);
        let noise = device.endpoint_noise(seed, count, d, conditional.has_own_components());
        let drawn = conditional.draw(device, generator, self.generator, input, 1, &noise, (head.raw(d), self.axes));
        let x0 = input.columns(0, d);
        // Times are not read for endpoints.
        let bridge = Bridge { x0, raw: drawn.raw, noise, time: x0, which: drawn.which };
        let end = device.scratch(count, d + 1);
        device.bridge(head, self.axes, &bridge, &Points { end: Some(end), ..Points::default() });
        end.columns(0, d)
    }
}

/// Room for the steps of a path, kept from one call to the next.
#[derive(Default)]
pub(crate) struct PathBuffer {
    along: Vec<f32>,
    spread: Vec<f32>,
}

impl PathBuffer {
    /// Returns the bridge's steps through ascending times from 0 to 1. Given x at one time and x1 at time 1, x at the
    /// next time is Gaussian.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn through(&mut self, times: &[f64], sigma: f64) -> Result<PathSteps<&[f32]>> {
        let Self { along, spread } = self;
        for steps in [&mut *along, &mut *spread] {
            steps.clear();
            memory::reserve(steps, "the steps of a path", times.len())?;
        }
        let mut now = 0.0;
        for &t in times {
            let before = std::mem::replace(&mut now, t);
            let (passed, rest) = (t - before, 1.0 - before);
            let (share, noise) = if t >= 1.0 {
                (1.0, 0.0)
            } else {
                ((passed / rest) as f32, (sigma * (passed * (1.0 - t) / rest).sqrt()) as f32)
            };
            along.push(share);
            spread.push(noise);
        }
        Ok(PathSteps { along, spread, count: times.len() })
    }
}
