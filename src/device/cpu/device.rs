//! The device traits `Workspace`, `Layers` and `Method` on a worker's workspace.

use super::activations::Rule;
use super::block::{CpuBlock, CpuNoise};
use super::mixture::Mixture;
use super::net::{CpuGradient, CpuNet};
use super::simd::Real;
use super::squares::SquaresOperation;
use crate::device::layout::Shape;
use crate::device::{
    ActionTerm, ActivationRule, Attention, AttentionProduct, Bridge, Chosen, DualTerm, Fixed, Groups, Layers, Maps,
    Mat, Method, MixtureLoss, PeaksTerm, Points, Sums, Workspace,
};
use crate::formulas::{Activation, Axes, Head};

impl<T: Real> Workspace for CpuBlock<T> {
    const OVERLAPS: bool = false;

    fn scratch(&mut self, rows: usize, cols: usize) -> Mat {
        self.allocate(rows, cols)
    }

    fn fill(&mut self, to: Mat, value: f64) {
        for r in 0..to.rows {
            self.row_mut(to, r).fill(T::of(value));
        }
    }

    fn mark(&self) -> usize {
        self.used()
    }

    fn reset(&mut self, mark: usize) {
        self.release(mark);
    }
}

impl<T: Real> Maps for CpuBlock<T> {
    type Net = CpuNet<T>;
    type Gradient = CpuGradient<T>;

    fn map(&mut self, net: &CpuNet<T>, layer: usize, x: Mat, bias: bool, to: Mat) {
        self.layer_map(&net.layers[layer], x, bias, to);
    }

    fn map_reverse(&mut self, net: &CpuNet<T>, layer: usize, delta: Mat, to: Mat, add: bool) {
        self.layer_map_reverse(&net.layers[layer], delta, to, add);
    }

    fn map_gradient(&mut self, gradient: &mut CpuGradient<T>, layer: usize, pairs: &[(Mat, Mat)], bias: Option<Mat>) {
        self.layer_gradient(gradient, layer, pairs, bias);
    }

    fn fixed(&mut self, map: &Fixed, reverse: bool, x: Mat, to: Mat, add: bool) {
        self.fixed_map(map, reverse, x, to, add);
    }

    fn activate(&mut self, activation: Activation, a: Mat, to: Mat) {
        self.activation(activation, Rule::Value, a, to, false);
    }

    fn activate_linear(&mut self, activation: Activation, a: Mat, x: Mat, to: Mat, add: bool) {
        self.activation(activation, Rule::Linear(x), a, to, add);
    }

    fn activate_adjoint(&mut self, activation: Activation, rule: &ActivationRule, to: Mat, add: bool) {
        let ActivationRule { a, tangent, delta, q } = *rule;
        self.activation(activation, Rule::Adjoint { tangent, delta, q }, a, to, add);
    }

    fn modulate(&mut self, shape: Shape, x: Mat, e: Mat, shift: bool, to: Mat, add: bool) {
        self.channels_modulate(shape, x, e, shift, to, add);
    }

    fn modulate_gradient(&mut self, shape: Shape, pairs: &[(Mat, Mat)], shift: Option<Mat>, to: Mat, add: bool) {
        self.channels_gradient(shape, pairs, shift, to, add);
    }

    fn group_norm(&mut self, groups: &Groups, x: Mat, to: Mat) {
        self.norm_of_groups(groups, x, None, to, false);
    }

    fn group_norm_reverse(&mut self, groups: &Groups, x: Mat, delta: Mat, to: Mat, add: bool) {
        self.norm_of_groups(groups, x, Some(delta), to, add);
    }

    fn attention(
        &mut self,
        of: &Attention,
        product: AttentionProduct,
        operands: (Mat, Mat),
        factor: f64,
        to: Mat,
        add: bool,
    ) {
        self.attention_product(of, product, operands, factor, to, add);
    }

    fn softmax(&mut self, length: usize, to: Mat) {
        self.softmax_lines(length, None, to);
    }

    fn softmax_reverse(&mut self, length: usize, weights: Mat, delta: Mat) {
        self.softmax_lines(length, Some(weights), delta);
    }

    fn waves(&mut self, t: Mat, to: Mat) {
        self.time_waves(t, to);
    }
}

impl<T: Real> Layers for CpuBlock<T> {
    fn squares(&mut self, net: &CpuNet<T>, x: Mat, to: Mat) {
        self.squares_operation(SquaresOperation::Forward(&net.centre), x, to);
    }

    fn squares_reverse(&mut self, x: Mat, g: Mat, to: Mat) {
        self.squares_operation(SquaresOperation::Reverse(g), x, to);
    }

    fn squares_tangent(&mut self, x: Mat, w: Mat, to: Mat) {
        self.squares_operation(SquaresOperation::Tangent(w), x, to);
    }

    fn affine(&mut self, net: &CpuNet<T>, layer: usize, x: Mat, out: Mat) {
        self.layer_affine(&net.layers[layer], x, out);
    }

    fn activated(
        &mut self,
        net: &CpuNet<T>,
        layer: usize,
        activation: Activation,
        x: Mat,
        h: Mat,
        slope: Option<Mat>,
        curve: Option<Mat>,
    ) {
        self.layer_activated(&net.layers[layer], activation, x, h, slope, curve);
    }

    fn transposed(&mut self, net: &CpuNet<T>, layer: usize, delta: Mat, out: Mat) {
        self.layer_transposed(&net.layers[layer], delta, out);
    }

    fn backward(&mut self, net: &CpuNet<T>, layer: usize, delta: Mat, slope: Mat, out: Mat, curve: Option<Mat>) {
        self.layer_backward(&net.layers[layer], delta, slope, out, curve);
    }

    fn tangent(&mut self, net: &CpuNet<T>, layer: usize, xdot: Mat, slope: Mat, out: Mat, curve: Mat) {
        self.layer_tangent(&net.layers[layer], xdot, slope, out, curve);
    }

    fn tangent_backward(&mut self, net: &CpuNet<T>, layer: usize, delta: Mat, slope: Mat, curve: Mat, out: Mat) {
        self.layer_tangent_backward(&net.layers[layer], delta, slope, curve, out);
    }

    fn gradient(&mut self, gradient: &mut CpuGradient<T>, layer: usize, pairs: &[(Mat, Mat)], bias: Option<Mat>) {
        self.layer_gradient(gradient, layer, pairs, bias);
    }
}

impl<T: Real> Method for CpuBlock<T> {
    type Noise = CpuNoise;
    type AxisNumbers = Vec<T>;
    type Sums = Sums;

    fn choose(&mut self, outputs: Mat, noise: Option<&CpuNoise>, to: &Chosen) {
        self.components_choose(outputs, noise, to);
    }

    fn fold(&mut self, outputs: Mat, delta: Mat, loss: Mat, scale: f64, to: Mat) {
        self.components_fold(outputs, delta, loss, scale, to);
    }

    fn peaks(&mut self, term: &PeaksTerm<'_, Vec<T>>) {
        if term.axes.turned { self.turned_peaks_term(term) } else { self.peaks_term(term) }
    }

    fn peaks_plan(&mut self, axes: &Axes<Vec<T>>, x0: Mat, outputs: Mat) {
        if axes.turned { self.turned_plan(axes, x0, outputs) } else { self.peaks_plan_of(axes, x0, outputs) }
    }

    fn bridge(&mut self, head: &Head, axes: &Axes<Vec<T>>, bridge: &Bridge<CpuNoise>, points: &Points) {
        if axes.turned {
            self.turned_bridge(head, axes, bridge, points);
        } else {
            self.method_bridge(head, axes, bridge, points);
        }
    }

    fn dual(&mut self, term: &DualTerm<'_, Vec<T>>, sums: &mut Sums) {
        self.method_dual(term, sums);
    }

    fn action(&mut self, term: &ActionTerm<'_, Vec<T>>, sums: &mut Sums) {
        self.method_action(term, sums);
    }

    fn atoms(&mut self, loss: &MixtureLoss<'_, CpuNoise, Vec<T>>, sums: &mut Sums) {
        self.method_atoms(loss, sums);
    }

    fn mixture(&mut self, loss: &MixtureLoss<'_, CpuNoise, Vec<T>>, sums: &mut Sums) {
        let isa = self.isa;
        if loss.axes.turned {
            return self.turned_mixture(loss, sums);
        }
        let kernel = Mixture { block: self, loss, sums };
        // SAFETY: the kernel checks the matrices' extents.
        unsafe { T::dispatch(isa, kernel) }
    }
}
