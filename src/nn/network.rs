//! Passes over a network's layers: forward, reverse, and the reverse pass over a directional derivative.
//!
//! With layers a_l = h_(l-1) W_l + b_l, h_l = f(a_l) and a linear output, the reverse pass from an output gradient
//! gives p_l = dV/dh_l and delta_l = dV/da_l = f'(a_l) p_l. For V' = <grad_x V, w> the tangents are
//! a'_l = h'_(l-1) W_l, h'_l = f'(a_l) a'_l, h'_0 = w. Since V' is linear in the tangents with the very Jacobian of V,
//! its derivative with respect to a'_l *is* delta_l: that half of the reverse pass over the tangent comes free. What
//! remains is the adjoint of the primal, c_l = f'(a_l) (c_(l+1) W^T) + f''(a_l) p_l a'_l, and
//! dV'/dW_l = h_(l-1)^T c_l + h'_(l-1)^T delta_l.
//!
//! Layers may differ in width.
//!
//! A network may also see the squares of its first inputs ([`crate::formulas::squares`]): the first layer then has [x,
//! s] for x, the gradient by x is g_x + s' g_s, and the tangent along w is [w, s' w].

use super::graph::Graph;
use crate::device::layout::{Layout, MAX_HIDDEN};
use crate::device::{Layers, Mat, Workspace};
use crate::formulas::Activation;
use crate::formulas::squares::Centre;

/// A network's layers, activation and squares; the device keeps its weights.
#[derive(Clone, Debug)]
pub struct Network {
    /// Layers and where their weights lie. The first has the squares behind the inputs.
    pub layout: Layout,
    /// Nonlinearity behind every layer but the last. A graph names it node by node.
    pub activation: Activation,
    /// Centre of the first inputs' squares, which the network sees too; without numbers it sees none.
    pub centre: Centre,
    /// How the layers meet where they do not follow each other. Passes are those of the graph then.
    pub graph: Option<Graph>,
}

type Rows = [Mat; MAX_HIDDEN];

/// What a forward pass leaves for the reverse passes.
pub struct Tape {
    input: Mat,
    /// The inputs with their squares; the values of all nodes of a graph.
    seen: Mat,
    h: Rows,
    slope: Rows,
    curve: Rows,
    /// The network's output, unless only what leads there was recorded.
    pub output: Mat,
}

impl Network {
    /// The first layer of `layout` takes the inputs and as many squares as `centre` has numbers.
    pub fn new(layout: Layout, centre: Centre, activation: Activation) -> Self {
        assert!(2 * centre.count() <= layout.inputs());
        Self { layout, activation, centre, graph: None }
    }

    /// Returns a network of layers that form a graph with nodes of this nonlinearity.
    pub fn of_graph(layout: Layout, graph: Graph, activation: Activation) -> Self {
        Self { layout, activation, centre: Centre::default(), graph: Some(graph) }
    }

    /// Returns how many numbers an input has without squares.
    pub fn inputs(&self) -> usize {
        self.graph.as_ref().map_or_else(|| self.layout.inputs() - self.centre.count(), |graph| graph.inputs)
    }

    /// Returns how many numbers of an input the passes differentiate by, from the first on.
    #[cfg(test)]
    pub fn differentiated(&self) -> usize {
        self.graph.as_ref().map_or_else(|| self.inputs(), |graph| graph.sample)
    }

    /// Returns how many numbers an output has.
    pub fn outputs(&self) -> usize {
        self.graph.as_ref().map_or_else(|| self.layout.outputs(), Graph::outputs)
    }

    /// Returns a new matrix for inputs.
    pub fn inputs_of<D: Layers>(&self, device: &mut D, net: &D::Net, rows: usize) -> Mat {
        device.scratch_seen(net, rows, self.inputs())
    }

    /// Returns what the first layer sees of `x`.
    fn seen<D: Layers>(&self, device: &mut D, net: &D::Net, x: Mat) -> Mat {
        if self.centre.count() == x.squares.count {
            return x.with_squares();
        }
        let to = device.scratch(x.rows, x.cols + self.centre.count());
        device.squares(net, x, to);
        to
    }

    /// Returns the gradient by the input, given the gradient `g` by what the first layer saw.
    fn input_of<D: Layers>(&self, device: &mut D, tape: &Tape, g: Mat) -> Mat {
        if self.centre.count() == 0 { g } else { device.squares_gradient(tape.input, g) }
    }

    fn hidden(&self) -> usize {
        self.layout.hidden()
    }

    /// Returns a new matrix for what layer `l` gives.
    fn outputs_of<D: Workspace>(&self, device: &mut D, rows: usize, l: usize) -> Mat {
        device.scratch(rows, self.layout.layers[l].outputs())
    }

    /// Returns two matrices that hidden layers write in turn.
    fn buffers<D: Workspace>(&self, device: &mut D, rows: usize) -> [Mat; 2] {
        [0, 1].map(|l| self.outputs_of(device, rows, l.min(self.hidden() - 1)))
    }

    /// Returns the one of the two `buffers` for hidden layer `l`. It is a new matrix where the layer that wrote it last
    /// has another width.
    fn in_turn<D: Workspace>(&self, device: &mut D, buffers: &mut [Mat; 2], l: usize) -> Mat {
        let buffer = &mut buffers[l % 2];
        if buffer.cols != self.layout.layers[l].outputs() {
            *buffer = self.outputs_of(device, buffer.rows, l);
        }
        *buffer
    }

    /// Returns the output for `x` and keeps nothing for a reverse pass.
    pub fn forward<D: Layers>(&self, device: &mut D, net: &D::Net, x: Mat) -> Mat {
        if let Some(graph) = &self.graph {
            return graph.forward(device, net, x);
        }
        let mut buffers = self.buffers(device, x.rows);
        let output = self.outputs_of(device, x.rows, self.hidden());
        let mut h = self.seen(device, net, x);
        for l in 0..self.hidden() {
            let out = self.in_turn(device, &mut buffers, l);
            device.activated(net, l, self.activation, h, out, None, None);
            h = out;
        }
        device.affine(net, self.hidden(), h, output);
        output
    }

    /// Makes a forward pass that keeps the first derivatives of the activations.
    pub fn record<D: Layers>(&self, device: &mut D, net: &D::Net, x: Mat) -> Tape {
        let mut tape = self.record_hidden(device, net, x, false);
        if self.graph.is_none() {
            tape.output = self.output(device, net, &tape);
        }
        tape
    }

    /// As [`Self::record`] without the output, and with `curvature` keeping the second derivatives too.
    pub fn record_hidden<D: Layers>(&self, device: &mut D, net: &D::Net, x: Mat, curvature: bool) -> Tape {
        let (seen, output) = match &self.graph {
            Some(graph) => graph.record(device, net, x).into(),
            None => (self.seen(device, net, x), Mat::NONE),
        };
        let mut tape = Tape {
            input: x,
            seen,
            h: [Mat::NONE; MAX_HIDDEN],
            slope: [Mat::NONE; MAX_HIDDEN],
            curve: [Mat::NONE; MAX_HIDDEN],
            output,
        };
        if self.graph.is_some() {
            return tape;
        }
        let mut h = tape.seen;
        for l in 0..self.hidden() {
            tape.h[l] = self.outputs_of(device, x.rows, l);
            tape.slope[l] = self.outputs_of(device, x.rows, l);
            let curve = curvature.then(|| self.outputs_of(device, x.rows, l));
            device.activated(net, l, self.activation, h, tape.h[l], Some(tape.slope[l]), curve);
            tape.curve[l] = curve.unwrap_or(Mat::NONE);
            h = tape.h[l];
        }
        tape
    }

    /// Returns the output that a tape leads to.
    pub fn output<D: Layers>(&self, device: &mut D, net: &D::Net, tape: &Tape) -> Mat {
        if self.graph.is_some() {
            return tape.output;
        }
        let h = tape.h[self.hidden() - 1];
        let output = self.outputs_of(device, h.rows, self.hidden());
        device.affine(net, self.hidden(), h, output);
        output
    }

    /// Reverse pass from the output's gradient `delta`, adding to the parameters' gradient; to that of the output's
    /// bias only with `output_bias`.
    pub fn backward_parameters<D: Layers>(
        &self,
        device: &mut D,
        net: &D::Net,
        tape: &Tape,
        delta: Mat,
        output_bias: bool,
        gradient: &mut D::Gradient,
    ) {
        if let Some(graph) = &self.graph {
            return graph.backward_parameters(device, net, tape.seen, delta, output_bias, gradient);
        }
        let mut buffers = [None; 2];
        let mut delta = delta;
        for l in (0..=self.hidden()).rev() {
            let x = if l == 0 { tape.seen } else { tape.h[l - 1] };
            let bias = (l < self.hidden() || output_bias).then_some(delta);
            device.gradient(gradient, l, &[(x, delta)], bias);
            if l > 0 {
                let out = self.kept(device, delta.rows, l - 1, &mut buffers[l % 2]);
                device.backward(net, l, delta, tape.slope[l - 1], out, None);
                delta = out;
            }
        }
    }

    /// Returns a matrix for hidden layer `l` that a gradient will be taken from. It is `before`, the matrix of two layers
    /// earlier, if that has this width and the device no longer reads it.
    fn kept<D: Layers>(&self, device: &mut D, rows: usize, l: usize, before: &mut Option<Mat>) -> Mat {
        match *before {
            Some(mat) if !D::OVERLAPS && mat.cols == self.layout.layers[l].outputs() => mat,
            _ => *before.insert(self.outputs_of(device, rows, l)),
        }
    }

    /// Reverse pass from the output's gradient `delta` to the input, as [`Layers::squares_gradient`] leaves it; in a graph
    /// to the sample in the input.
    pub fn backward_input<D: Layers>(&self, device: &mut D, net: &D::Net, tape: &Tape, delta: Mat) -> Mat {
        if let Some(graph) = &self.graph {
            return graph.backward_sample(device, net, tape.seen, delta)[0];
        }
        let mut buffers = self.buffers(device, delta.rows);
        let mut delta = delta;
        for l in (1..=self.hidden()).rev() {
            let out = self.in_turn(device, &mut buffers, l - 1);
            device.backward(net, l, delta, tape.slope[l - 1], out, None);
            delta = out;
        }
        let input = device.scratch(delta.rows, self.layout.inputs());
        device.transposed(net, 0, delta, input);
        self.input_of(device, tape, input)
    }

    /// Gradient of a scalar output with respect to the input, kept so that [`Self::backward_directional`] can follow:
    /// the tape (recorded with curvature) then holds f'' p in place of f''.
    pub fn input_gradient<D: Layers>(&self, device: &mut D, net: &D::Net, tape: &Tape) -> InputGradient {
        let one = device.ones(tape.input.rows);
        let mut deltas = [Mat::NONE; MAX_HIDDEN];
        if let Some(graph) = &self.graph {
            let [value, kept] = graph.backward_sample(device, net, tape.seen, one);
            deltas[0] = kept;
            return InputGradient { value, one, deltas };
        }
        let mut delta = one;
        for l in (1..=self.hidden()).rev() {
            deltas[l - 1] = self.outputs_of(device, delta.rows, l - 1);
            device.backward(net, l, delta, tape.slope[l - 1], deltas[l - 1], Some(tape.curve[l - 1]));
            delta = deltas[l - 1];
        }
        let value = device.scratch(delta.rows, self.layout.inputs());
        device.transposed(net, 0, delta, value);
        let value = self.input_of(device, tape, value);
        InputGradient { value, one, deltas }
    }

    /// Adds the parameters' gradient of sum over rows of <grad_x V, w>, with w held constant.
    pub fn backward_directional<D: Layers>(
        &self,
        device: &mut D,
        net: &D::Net,
        tape: &Tape,
        input_gradient: &InputGradient,
        w: Mat,
        gradient: &mut D::Gradient,
    ) {
        if let Some(graph) = &self.graph {
            return graph.backward_directional(device, net, tape.seen, input_gradient.deltas[0], w, gradient);
        }
        let hidden = self.hidden();
        let mut tangents = [Mat::NONE; MAX_HIDDEN];
        let mut direction = w.with_squares();
        if self.centre.count() > w.squares.count {
            direction = device.scratch(w.rows, tape.seen.cols);
            device.squares_tangent(tape.input, w, direction);
        }
        let mut tangent = direction;
        for l in 0..hidden {
            tangents[l] = self.outputs_of(device, w.rows, l);
            device.tangent(net, l, tangent, tape.slope[l], tangents[l], tape.curve[l]);
            tangent = tangents[l];
        }
        device.gradient(gradient, hidden, &[(tangent, input_gradient.one)], None);
        // The output layer is linear, so the last hidden layer's adjoint is the curvature term alone.
        let mut buffers = [None; 2];
        let mut adjoint = tape.curve[hidden - 1];
        for l in (0..hidden).rev() {
            let (x, xdot) = if l == 0 { (tape.seen, direction) } else { (tape.h[l - 1], tangents[l - 1]) };
            device.gradient(gradient, l, &[(x, adjoint), (xdot, input_gradient.deltas[l])], Some(adjoint));
            if l > 0 {
                let out = self.kept(device, w.rows, l - 1, &mut buffers[l % 2]);
                device.tangent_backward(net, l, adjoint, tape.slope[l - 1], tape.curve[l - 1], out);
                adjoint = out;
            }
        }
    }
}

/// dV/dx and what it was computed through.
pub struct InputGradient {
    /// rows x inputs, as [`Layers::squares_gradient`] leaves it; of a graph rows x numbers of a sample.
    pub value: Mat,
    one: Mat,
    /// Gradients by what hidden layers compute; of a graph the first has those by all nodes.
    deltas: Rows,
}
