//! Value step: the gradient of minus the dual along the bridges of the current generator,
//!
//! L(V) = E\[V(1, x1)\] - E\[Psi*(V(1, y))\] - E_t\[1/2 |grad V(t, x_t)|^2 + <grad V(t, x_t), b_t>\].
//!
//! The action term's gradient is that of <grad V(t, x_t), w> with w = grad V + b_t held constant: a reverse pass over
//! one directional derivative, no second-order differentiation.

use super::Batch;
use super::divergence::Conjugate;
use crate::device::{Bridge, Device, Head, Sums};
use crate::nn::mlp::Mlp;

/// Bridge times of the value step are uniform below this: b_t has infinite variance at t = 1.
pub const TIME_MAX: f64 = 0.995;

/// What a value step needs beside its rows.
pub struct ValueStep<'a> {
    /// V(t, x), inputs \[x, t\], one output.
    pub value: &'a Mlp,
    /// Generator, inputs \[x0, z\].
    pub generator: &'a Mlp,
    /// How its outputs are read.
    pub head: Head,
    /// Psi*.
    pub conjugate: Conjugate,
    /// One over the rows of the whole batch.
    pub scale: f64,
}

impl ValueStep<'_> {
    /// Adds the gradient of minus L for these rows to `gradient`, and the loss terms to `sums`.
    pub fn run<D: Device>(
        &self,
        device: &mut D,
        value: &D::Net,
        generator: &D::Net,
        batch: &Batch,
        gradient: &mut D::Gradient,
        sums: &mut Sums,
    ) {
        let d = batch.x0.cols;
        let rows = batch.x0.rows;
        let raw = super::generator_raw(self.generator, device, generator, batch);
        let bridge = Bridge { x0: batch.x0, raw, xi: batch.xi, eta: batch.eta, time: batch.time };

        let ends = device.scratch(2 * rows, d + 1);
        device.endpoint(&self.head, &bridge, ends.rows(0, rows).columns(0, d));
        device.copy(batch.y, ends.rows(rows, 2 * rows).columns(0, d));
        device.fill(ends.columns(d, d + 1), 1.0);
        let tape = self.value.record(device, value, ends, false);
        let delta = device.scratch(2 * rows, 1);
        device.dual(&self.conjugate, tape.output, delta, self.scale, sums);
        self.value.backward_parameters(device, value, &tape, delta, gradient);

        let state = device.scratch(rows, d + 1);
        let drift = device.scratch(rows, d);
        device.bridge(&self.head, &bridge, state.columns(0, d), Some(drift));
        device.copy(batch.time, state.columns(d, d + 1));
        let tape = self.value.record(device, value, state, true);
        let g = self.value.input_gradient(device, value, &tape);
        let w = device.scratch(rows, d + 1);
        device.action(g.value.columns(0, d), drift, w.columns(0, d), self.scale, sums);
        device.fill(w.columns(d, d + 1), 0.0);
        self.value.backward_directional(device, value, &tape, &g, w, gradient);
    }
}
