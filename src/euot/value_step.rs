//! Value step: the gradient of minus the dual along the bridges of the current generator,
//!
//! L(V) = E\[V(1, x1)\] - E\[Psi*(V(1, y))\] - E_t\[sum over j of t_j' d_j V(t, x_t) (c_j/2 d_j V(t, x_t) + b_tj)\],
//!
//! where t is the clock's time, t_j' the speed of an axis's time t_j, sigma_j its noise, and c_j = sigma_j^2 over the
//! problem's noise. With axes that are alike t_j' = c_j = 1.
//!
//! The drift (x1 - x_t) / (1 - t) of the bridge to x1 has a variance that grows without bound towards t = 1. Only its
//! mean given x_t counts, and given x0 and the component that is known: x1 and x_t are jointly Gaussian. So b_t here is
//! E\[(x1 - x_t) / (1 - t) | x0, k, x_t\] = m - x0 + (s^2 - sigma^2) / (t s^2 + sigma^2 (1 - t)) (x_t - (1 - t) x0 - t
//! m): the same L, hence the same expected gradient, without that noise (Rao-Blackwell).
//!
//! The action term's gradient is that of <grad V(t, x_t), w> with w_j = t_j' (c_j d_j V + b_tj) held constant: a reverse pass over
//! one directional derivative, no second-order differentiation.
//!
//! A penalty gamma on V's gradient at the target samples y is the same pass at (1, y) with b = 0: gamma E\[sum over j of t_j' c_j/2
//! (d_j V(1, y))^2\] is added to minus L (Roth, Lucchi, Nowozin, Hofmann 2017; R1 of Mescheder, Geiger, Nowozin 2018).

use super::conditional::Conditional;
use super::ticks::tick;
use crate::device::{ActionTerm, Batch, Chosen, DualTerm, Layers, Mat, Method, PeaksTerm, Points, TauAt};
use crate::formulas::{Axes, Conjugate, Head};
use crate::nn::network::Network;

/// Times of the clock in the value step are uniform up to where the time along the slowest axis is this. Beyond it b_t would be large: for small s it grows like 1 /
/// sqrt(1 - t).
pub const TIME_MAX: f64 = 0.995;

/// A value step, without its rows.
pub struct ValueStep<'a, S> {
    /// V(t, x), inputs \[x, t\], one output.
    pub value: &'a Network,
    /// The generator.
    pub generator: &'a Network,
    /// The form of its outputs.
    pub conditional: Conditional,
    /// How a component is read.
    pub head: Head,
    /// Psi*, with the tau that the training comes to.
    pub conjugate: Conjugate,
    /// tau at this step.
    pub tau_at: TauAt,
    /// Noise and times of the axes, and the known part of V(1, .) beside the network.
    pub axes: &'a Axes<S>,
    /// gamma, the weight of the penalty on V's gradient at the target samples; 0 for none.
    pub penalty: f64,
    /// One over the rows of the whole batch.
    pub scale: f64,
}

/// Rows at which V's gradient counts: states, their times and drifts, and the weight of each row.
struct Along {
    state: Mat,
    time: Mat,
    drift: Mat,
    scale: f64,
    /// Whether the terms are a part of the dual.
    counts: bool,
}

impl<S> ValueStep<'_, S> {
    fn dimension(&self) -> usize {
        self.value.inputs() - 1
    }

    /// Adds the gradient of minus L for these rows to `gradient`, and the loss terms to `sums`.
    #[cfg(any(test, feature = "bench-internals"))]
    pub fn run<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        value: &D::Net,
        generator: &D::Net,
        batch: &Batch<D::Noise>,
        gradient: &mut D::Gradient,
        sums: &mut D::Sums,
    ) {
        let drawn = self.draw(device, generator, batch.input, &batch.noise);
        self.carry(device, value, batch, drawn, gradient, sums);
    }

    /// Returns the component that is drawn for each row of `input`.
    pub fn draw<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        generator: &D::Net,
        input: Mat,
        noise: &D::Noise,
    ) -> Chosen {
        let (each, raw) = (self.conditional.components, self.head.raw(self.dimension()));
        self.conditional.draw(device, self.generator, generator, input, each, noise, (raw, self.axes))
    }

    /// Does the step for rows whose components have been drawn.
    pub fn carry<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        value: &D::Net,
        batch: &Batch<D::Noise>,
        drawn: Chosen,
        gradient: &mut D::Gradient,
        sums: &mut D::Sums,
    ) {
        let rows = batch.input.rows;
        let d = self.dimension();
        let ends = batch.ends.expect("a value step's batch has target samples");
        let (state, drift) = (self.value.inputs_of(device, value, rows), device.scratch(rows, d));
        let points = Points { end: Some(ends.rows(0, rows)), state: Some(state), drift: Some(drift) };
        device.bridge(&self.head, self.axes, &batch.bridge(d, drawn.raw, drawn.which), &points);

        let ends_part = |device: &mut D, (gradient, sums): &mut (&mut D::Gradient, &mut D::Sums)| {
            let tape = self.value.record(device, value, ends);
            let delta = device.scratch(2 * rows, 1);
            let at = ends.columns(0, d);
            if self.axes.peaks > 0 {
                device.peaks(&PeaksTerm { axes: self.axes, time: None, x: at, v: Some(tape.output), g: None });
            }
            let term = DualTerm {
                conjugate: &self.conjugate,
                tau_at: self.tau_at,
                axes: self.axes,
                ends: at,
                v: tape.output,
                delta,
                scale: self.scale,
                components: self.conditional.components,
                first_source: batch.first_source,
            };
            device.dual(&term, sums);
            // Balanced transport leaves the level of V free: the gradient of its bias is zero, of which rounding would
            // leave a remainder that Adam makes into whole steps.
            let level = self.conjugate.divergence.is_unbalanced();
            self.value.backward_parameters(device, value, &tape, delta, level, gradient);
        };
        let action_part = |device: &mut D, (gradient, sums): &mut (&mut D::Gradient, &mut D::Sums)| {
            let along = Along { state, time: batch.time, drift, scale: self.scale, counts: true };
            self.add_action(device, value, &along, gradient, sums);
            if self.penalty > 0.0 {
                self.add_penalty(device, value, ends.rows(rows, 2 * rows), gradient, sums);
            }
        };
        device.both(&mut (gradient, sums), ends_part, action_part);
    }

    /// Adds the terms of the action at these rows, and their gradient.
    fn add_action<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        value: &D::Net,
        along: &Along,
        gradient: &mut D::Gradient,
        sums: &mut D::Sums,
    ) {
        let Along { state, time, drift, scale, counts } = *along;
        let mark = device.mark();
        let tape = self.value.record_hidden(device, value, state, true);
        let g = self.value.input_gradient(device, value, &tape);
        if self.axes.peaks > 0 {
            let x = state.columns(0, self.dimension());
            device.peaks(&PeaksTerm { axes: self.axes, time: Some(time), x, v: None, g: Some(g.value) });
        }
        let w = self.value.inputs_of(device, value, state.rows);
        let term = ActionTerm { axes: self.axes, time, x: state, g: g.value, b: drift, w, scale, counts };
        device.action(&term, sums);
        self.value.backward_directional(device, value, &tape, &g, w, gradient);
        if !D::OVERLAPS {
            device.reset(mark);
        }
    }

    /// Adds the gradient of the penalty at the target samples \[y, 1\].
    fn add_penalty<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        value: &D::Net,
        targets: Mat,
        gradient: &mut D::Gradient,
        sums: &mut D::Sums,
    ) {
        // At the speeds of a clock that does not slow down: the gradient counts alike with any.
        let time = tick(device, self.axes.clock.without_ease(), 1.0, targets.rows);
        let drift = device.scratch(1, self.dimension());
        device.fill(drift, 0.0);
        let drift = Mat { rows: targets.rows, stride: 0, ..drift };
        let along = Along { state: targets, time, drift, scale: self.penalty * self.scale, counts: false };
        self.add_action(device, value, &along, gradient, sums);
    }
}
