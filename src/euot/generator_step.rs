//! Generator step: match the bridge marginals that the value function prescribes,
//!
//! G(theta) = E_t\[V(t, x_t) + noise (log p_theta(x_t | x0) - log N(x_t; x0, diag sigma_j^2 t_j))\],
//!
//! where p_theta(x_t | x0) is the mixture of the Gaussian bridge marginals of the K components of x0. There is one
//! sample for each component. Along each axis t_j and sigma_j are its own. G equals noise E_t KL(p_theta(x_t | x0) ||
//! p_V(x_t | x0)) up to a constant.
//!
//! theta enters through x_t, through the probabilities p_k that weigh the samples, and through the mixture q inside the
//! logarithm. The last part, E\[d/dtheta log q(x) at x = x_t\] = d/dtheta of the integral of q, is zero on average. It
//! is noise and is left out. The rest is zero in every row where q = p_V, not only on average ("sticking the landing":
//! Roeder, Wu, Duvenaud, NeurIPS 2017). For the derivative, x_t is its mean plus a multiple of its standard deviation
//! sqrt(t_j^2 s^2 + sigma_j^2 t_j (1 - t_j)).
//!
//! With latents, components are equally likely and q is an estimate. A mixture of K components that has the sample's
//! own among them overstates log p. The excess depends on where the components lie, so it moves the optimum, to first
//! order in proportion to one over K. Extrapolation takes this order off: with n components in the sample's half of the
//! group, log p = K / (K - n) log p_K - n / (K - n) log p_n. Given the latents of either estimate x_t is a sample of
//! its q (for odd K, where the halves count differently, on average over latents), so the part through q is left out
//! there too.
//!
//! One point m for each x0, a component without spread, has p_theta(x_t | x0) = N((1 - t) x0 + t m, sigma^2 t (1 - t)),
//! so G = E_t\[V(t, x_t)\] + t/2 |m - x0|^2 up to a constant, at t = 1 too. There the boundary terms of the dual are, so
//! half of the rows are at t = 1 ([`Method::atoms`]): V(1, .) would rise where no other time looks.
//!
//! A deterministic generator cannot reach p_V, and its components are sharp near t = 1, where the two parts cancel. Its
//! gradient is that of the whole of G.

use super::conditional::{Components, Conditional, RecordedComponents};
use crate::device::{Batch, Layers, Mat, Method, MixtureLoss, PeaksTerm, Points};
use crate::formulas::{Axes, Head};
use crate::nn::network::Network;

/// Times of the clock in the generator step are uniform from here to 1.
pub const TIME_MIN: f64 = 0.2;

/// Times of a deterministic generator, whose axes all have one time, end here. Its bridge marginal at t = 1 is a point and has no density.
pub const TIME_MAX_DETERMINISTIC: f64 = 0.995;

/// The generator's pass of a step that was begun by [`GeneratorStep::begin`].
pub(crate) struct GeneratorPass {
    of: RecordedComponents,
    state: Mat,
}

/// A generator step, without its rows.
pub struct GeneratorStep<'a, S> {
    /// V(t, x), inputs \[x, t\], one output.
    pub value: &'a Network,
    /// The generator.
    pub generator: &'a Network,
    /// The form of its outputs. K consecutive rows share x0 and t.
    pub conditional: Conditional,
    /// How a component is read.
    pub head: Head,
    /// Whether the loss is that of points in closed form.
    pub atoms: bool,
    /// Noise and times of the axes.
    pub axes: &'a Axes<S>,
    /// One over the rows of the whole batch.
    pub scale: f64,
}

impl<S> GeneratorStep<'_, S> {
    fn dimension(&self) -> usize {
        self.value.inputs() - 1
    }

    /// Adds the gradient of G for these rows to `gradient`, and the loss to `sums`.
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
        let begun = self.begin(device, value, generator, batch);
        self.end(device, value, generator, batch, &begun, gradient, sums);
    }

    /// Does the part of the step that does not depend on the value function's weights.
    pub(crate) fn begin<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        value: &D::Net,
        generator: &D::Net,
        batch: &Batch<D::Noise>,
    ) -> GeneratorPass {
        let of = self.record(device, generator, batch.input);
        let state = self.state(device, value, batch, &of.components);
        GeneratorPass { of, state }
    }

    /// Does the rest of the step.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn end<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        value: &D::Net,
        generator: &D::Net,
        batch: &Batch<D::Noise>,
        GeneratorPass { of, state }: &GeneratorPass,
        gradient: &mut D::Gradient,
        sums: &mut D::Sums,
    ) {
        self.weigh(device, value, batch, &of.components, *state, sums);
        self.backward(device, generator, of, gradient);
    }

    /// Computes the components of these source samples and keeps them for the reverse pass.
    pub(crate) fn record<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        generator: &D::Net,
        input: Mat,
    ) -> RecordedComponents {
        let raw = self.head.raw(self.dimension());
        self.conditional.record(device, self.generator, generator, input, (raw, self.axes))
    }

    /// Adds the loss of rows to `sums`, and writes its gradient by their components.
    pub(crate) fn carry<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        value: &D::Net,
        batch: &Batch<D::Noise>,
        of: &Components,
        sums: &mut D::Sums,
    ) {
        let state = self.state(device, value, batch, of);
        self.weigh(device, value, batch, of, state, sums);
    }

    /// Returns \[x_t, t\] of rows.
    fn state<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        value: &D::Net,
        batch: &Batch<D::Noise>,
        of: &Components,
    ) -> Mat {
        let state = self.value.inputs_of(device, value, batch.input.rows);
        let bridge = batch.bridge(self.dimension(), of.raw, of.which);
        device.bridge(&self.head, self.axes, &bridge, &Points { state: Some(state), ..Points::default() });
        state
    }

    /// Does [`Self::carry`] for rows at `state`.
    fn weigh<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        value: &D::Net,
        batch: &Batch<D::Noise>,
        of: &Components,
        state: Mat,
        sums: &mut D::Sums,
    ) {
        let d = self.dimension();
        let bridge = batch.bridge(d, of.raw, of.which);
        let tape = self.value.record_hidden(device, value, state, false);
        let (mut v, mut g) = (Mat::NONE, Mat::NONE);
        device.both(
            &mut (&mut v, &mut g),
            |device, (v, _)| **v = self.value.output(device, value, &tape),
            |device, (_, g)| {
                let one = device.ones(state.rows);
                **g = self.value.backward_input(device, value, &tape, one);
            },
        );

        if self.axes.peaks > 0 {
            let x = state.columns(0, d);
            device.peaks(&PeaksTerm { axes: self.axes, time: Some(batch.time), x, v: Some(v), g: Some(g) });
        }
        let loss = MixtureLoss {
            head: &self.head,
            axes: self.axes,
            bridge: &bridge,
            xt: state.columns(0, d),
            v,
            g,
            components: self.conditional.components,
            weighted: of.weighted,
            delta: of.delta,
            scale: self.scale,
        };
        if self.atoms { device.atoms(&loss, sums) } else { device.mixture(&loss, sums) }
    }

    /// Adds the gradient of the generator's parameters, once the gradient by all components of `of` is known.
    pub(crate) fn backward<D: Layers + Method<AxisNumbers = S>>(
        &self,
        device: &mut D,
        generator: &D::Net,
        of: &RecordedComponents,
        gradient: &mut D::Gradient,
    ) {
        of.backward(device, self.generator, generator, self.scale, gradient);
    }
}
