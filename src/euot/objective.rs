//! The method without its layers: the bridge and both losses for networks of a host's own, over any device.
//!
//! The host passes its networks, and hands over what they gave. It is given where they are to be evaluated, and what
//! it has to differentiate: the loss's derivative by each output of a network, and for the action the direction w of
//! the directional derivative <grad V(t, x_t), w> (`euot::value_step`). Axes are those of a sample and all alike, and
//! nothing of V is known beside the network.
//!
//! Numbers of the host are in data units. A length is divided by `scale` on its way in, and a cost by its square.

use super::conditional::Conditional;
use crate::device::exchange::{BatchSeed, Exchange};
use crate::device::training::Half;
use crate::device::{ActionTerm, Bridge, Chosen, DualTerm, Mat, MixtureLoss, Points, TauAt, Weighted};
use crate::formulas::{Axes, Clock, Conjugate, Head, Tick};

/// The problem without its networks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objective {
    pub dimension: usize,
    /// The form of the generator's outputs.
    pub conditional: Conditional,
    /// How a component is read.
    pub head: Head,
    /// Psi*, with tau in units of the square of `scale`.
    pub conjugate: Conjugate,
    /// The length in data units that is 1 in the kernels.
    pub scale: f64,
}

/// What a batch of source samples has beside what networks give.
#[derive(Clone, Copy)]
pub(crate) struct SourceRows<F> {
    /// Source samples (sources x d).
    pub x0: F,
    /// What the generator's network gave (sources x K (raw + 1), or rows x raw with latents).
    pub outputs: F,
    /// Number of source samples.
    pub sources: usize,
}

/// Where points of the bridges go.
pub(crate) struct PointsTo<I> {
    /// x1 (rows x d).
    pub end: Option<I>,
    /// x_t (rows x d).
    pub state: Option<I>,
    /// The drift's mean (rows x d).
    pub drift: Option<I>,
}

/// What the value function gave.
#[derive(Clone, Copy)]
pub(crate) struct ValueRows<F> {
    /// V(1, x1) and V(1, y), rows of each.
    pub v: [F; 2],
    /// grad V(t, x_t) (rows x d).
    pub g: F,
    /// The drift's mean (rows x d).
    pub drift: F,
    pub rows: usize,
}

/// Where the value function's part of the gradient goes.
pub(crate) struct ValueTo<I> {
    /// The derivatives of the loss by V(1, x1) and by V(1, y), rows of each.
    pub by_v: [I; 2],
    /// w (rows x d).
    pub direction: I,
}

/// What the value function gave at the generator's bridges.
#[derive(Clone, Copy)]
pub(crate) struct StateRows<F> {
    /// x_t (rows x d).
    pub state: F,
    /// V(t, x_t) (rows x 1).
    pub v: F,
    /// grad V(t, x_t) (rows x d).
    pub g: F,
}

impl Objective {
    /// Whether the generator's single component is a point, whose loss is known in closed form.
    pub fn atoms(&self) -> bool {
        self.head.deterministic && self.conditional.components == 1
    }

    /// Returns the numbers that the generator's network gives for each source sample.
    pub fn outputs(&self) -> usize {
        let Conditional { components, .. } = self.conditional;
        let raw = self.head.raw(self.dimension);
        components * if self.conditional.has_own_components() { raw + 1 } else { raw }
    }

    /// Returns the rows in which a source sample's outputs lie: one where the network gives all its components.
    pub fn output_rows(&self) -> usize {
        if self.conditional.has_own_components() { 1 } else { self.conditional.components }
    }

    /// Returns the factors that bring a length, and a cost, to the kernels.
    fn factors(&self) -> [f64; 2] {
        [1.0 / self.scale, 1.0 / (self.scale * self.scale)]
    }

    fn rows(&self, sources: usize) -> usize {
        sources * self.conditional.components
    }

    /// Takes what the generator's network gave.
    fn take_outputs<D: Exchange>(&self, device: &mut D, from: D::From<'_>, sources: usize) -> Mat {
        let each = self.output_rows();
        let outputs = device.scratch(sources * each, self.outputs() / each);
        device.take(from, 1.0, 1, outputs);
        self.rescale_means(device, outputs, self.factors()[0]);
        outputs
    }

    /// Multiplies the means among the generator's outputs, or the gradient by them.
    fn rescale_means<D: Exchange>(&self, device: &mut D, outputs: Mat, factor: f64) {
        if factor != 1.0 {
            let raw = self.head.raw(self.dimension);
            let means = if self.conditional.has_own_components() { self.conditional.components } else { 1 };
            for k in 0..means {
                device.rescale(outputs.columns(k * raw, k * raw + self.dimension), factor);
            }
        }
    }

    /// Takes source samples, each for its rows.
    fn take_sources<D: Exchange>(&self, device: &mut D, from: D::From<'_>, sources: usize) -> Mat {
        let x0 = device.scratch(self.rows(sources), self.dimension);
        device.take(from, self.factors()[0], self.conditional.components, x0);
        x0
    }

    /// Takes the times of so many rows.
    fn take_ticks<D: Exchange>(&self, device: &mut D, from: D::From<'_>, rows: usize, repeat: usize) -> Mat {
        let ticks = device.scratch(rows, Tick::<f32>::NUMBERS);
        device.take(from, 1.0, repeat, ticks);
        ticks
    }

    /// Returns what a row at time 1 carries of the clock. Where all axes have its time, the time's speed is 1 in every row.
    fn end<D: Exchange>(&self, device: &mut D) -> Mat {
        let [time, against, pace] = Clock::EVEN.at(1.0f64).row();
        let end = device.scratch(1, Tick::<f32>::NUMBERS);
        for (number, value) in [time, against, pace].into_iter().enumerate() {
            device.fill(end.columns(number, number + 1), value);
        }
        end
    }

    /// Draws the bridges of source samples. In the value half the component of each row is drawn by its probability; in
    /// the generator's half the rows of a source sample take each component in turn. `ticks` is what times carry of the
    /// clock (x 3): one for each row in the value half, one for each source sample in the generator's.
    pub fn sample<D: Exchange>(
        &self,
        device: &mut D,
        axes: &Axes<D::AxisNumbers>,
        from: &SourceRows<D::From<'_>>,
        ticks: D::From<'_>,
        seed: BatchSeed,
        to: PointsTo<D::Into<'_>>,
    ) {
        let (rows, d, each) = (self.rows(from.sources), self.dimension, self.conditional.components);
        let draws = seed.half == Half::Value && self.conditional.has_own_components();
        let x0 = self.take_sources(device, from.x0, from.sources);
        let outputs = self.take_outputs(device, from.outputs, from.sources);
        let time = self.take_ticks(device, ticks, rows, if seed.half == Half::Value { 1 } else { each });
        let noise = device.noise(seed, rows, d, each, draws);
        let mut raw = outputs;
        if self.conditional.has_own_components() {
            raw = device.scratch(rows, self.head.raw(d));
            device.choose(outputs, draws.then_some(&noise), &Chosen { raw, log: None, which: None });
        }
        let mut room = |wanted: bool, cols| wanted.then(|| device.scratch(rows, cols));
        let points = Points {
            end: room(to.end.is_some(), d + 1),
            state: room(to.state.is_some(), d + 1),
            drift: room(to.drift.is_some(), d),
        };
        device.bridge(&self.head, axes, &Bridge { x0, raw, noise, time, which: None }, &points);
        for (computed, to) in [(points.end, to.end), (points.state, to.state), (points.drift, to.drift)] {
            if let (Some(computed), Some(to)) = (computed, to) {
                device.give(computed.columns(0, d), self.scale, to);
            }
        }
    }

    /// Adds the terms of the value function's loss to `sums`, and writes what is to be differentiated. `share` is one
    /// over the rows of the whole batch.
    pub fn value<D: Exchange>(
        &self,
        device: &mut D,
        axes: &Axes<D::AxisNumbers>,
        from: &ValueRows<D::From<'_>>,
        share: f64,
        to: ValueTo<D::Into<'_>>,
        sums: &mut D::Sums,
    ) {
        let (rows, d, [length, cost]) = (from.rows, self.dimension, self.factors());
        let (v, delta) = (device.scratch(2 * rows, 1), device.scratch(2 * rows, 1));
        let sides = [(0, rows), (rows, 2 * rows)];
        for ((first, last), from) in sides.into_iter().zip(from.v) {
            device.take(from, cost, 1, v.rows(first, last));
        }
        let term = DualTerm {
            conjugate: &self.conjugate,
            tau_at: TauAt::CONSTANT,
            axes,
            // Nothing is known of V at the ends, whose distances nobody asks for.
            ends: Mat { rows: 2 * rows, cols: 0, ..v },
            v,
            delta,
            scale: share,
            components: rows + 1,
            first_source: 0,
        };
        device.dual(&term, sums);
        for ((first, last), to) in sides.into_iter().zip(to.by_v) {
            device.give(delta.rows(first, last), 1.0, to);
        }

        let [g, b] = [from.g, from.drift].map(|from| {
            let mat = device.scratch(rows, d);
            device.take(from, length, 1, mat);
            mat
        });
        let w = device.scratch(rows, d + 1);
        let end = self.end(device);
        let time = Mat { stride: 0, rows, ..end };
        device.action(&ActionTerm { axes, time, x: w, g, b, w, scale: share, counts: true }, sums);
        device.give(w.columns(0, d), self.scale, to.direction);
    }

    /// Adds the generator's loss to `sums`, and writes its gradient by the outputs of the generator's network. `ticks` has
    /// one time for each source sample.
    #[allow(clippy::too_many_arguments)]
    pub fn generator<D: Exchange>(
        &self,
        device: &mut D,
        axes: &Axes<D::AxisNumbers>,
        from: &SourceRows<D::From<'_>>,
        ticks: D::From<'_>,
        at: &StateRows<D::From<'_>>,
        share: f64,
        to: D::Into<'_>,
        sums: &mut D::Sums,
    ) {
        let (rows, d, components) = (self.rows(from.sources), self.dimension, self.conditional.components);
        let [length, cost] = self.factors();
        let x0 = self.take_sources(device, from.x0, from.sources);
        let outputs = self.take_outputs(device, from.outputs, from.sources);
        let time = self.take_ticks(device, ticks, rows, components);
        let mut taken = |from, factor, cols| {
            let mat = device.scratch(rows, cols);
            device.take(from, factor, 1, mat);
            mat
        };
        let (xt, v, g) = (taken(at.state, length, d), taken(at.v, cost, 1), taken(at.g, length, d));
        let raw = self.head.raw(d);
        let delta = device.scratch(rows, raw);
        let (mut own, mut weighted) = (outputs, None);
        if self.conditional.has_own_components() {
            let weights = Weighted { log: device.scratch(rows, 1), loss: device.scratch(rows, 1) };
            own = device.scratch(rows, raw);
            device.choose(outputs, None, &Chosen { raw: own, log: Some(weights.log), which: None });
            weighted = Some(weights);
        }
        let bridge = Bridge { x0, raw: own, noise: device.no_noise(), time, which: None };
        let loss = MixtureLoss {
            head: &self.head,
            axes,
            bridge: &bridge,
            xt,
            v,
            g,
            components,
            weighted,
            delta,
            scale: share,
        };
        if self.atoms() {
            device.atoms(&loss, sums)
        } else {
            device.mixture(&loss, sums)
        }
        let mut gradient = delta;
        if let Some(weighted) = weighted {
            gradient = device.scratch(outputs.rows, outputs.cols);
            device.fold(outputs, delta, weighted.loss, share, gradient);
        }
        self.rescale_means(device, gradient, length);
        device.give(gradient, 1.0 / cost, to);
    }
}
