//! Passes through a graph: forward, reverse, and the reverse pass over a directional derivative.
//!
//! For V' = <grad_x V, w>, a node y = f(x) with the tangent y' = f'(x) x' gives the adjoint of the primal q_x += f'(x)^T
//! q_y + (the derivative of <delta_y, f'(x) x'> by x), where delta_y is the gradient of V by y, which is also that of V'
//! by y'. A linear node has no second part for what it takes; for its weights it is x'^T delta_y.

use super::graph::{Graph, MAX_NODES, Op};
use crate::device::{ActivationRule, AttentionProduct, Fixed, Maps, Mat, Workspace};

/// Which nodes a reverse pass goes to.
enum Along<'a, G> {
    /// Those that depend on weights, whose gradient is added here; that of the last layer's bias only with the flag.
    Weights(&'a mut G, bool),
    /// Those that depend on the sample.
    Sample,
}

/// Of operations without a tangent.
const GENERATOR_ALONE: &str = "a generator alone has it";

/// A copy is a product with 1.
const COPY: Fixed = Fixed::Times(1.0);

impl Graph {
    /// Computes all nodes of the input `x`, each where `place` says, and returns the output times the factor.
    fn compute<D: Maps>(&self, device: &mut D, net: &D::Net, x: Mat, place: impl Fn(usize) -> Mat) -> Mat {
        for (n, node) in self.nodes.iter().enumerate() {
            let ([a, b], to) = (node.from.map(&place), place(n));
            match node.op {
                Op::Sample => device.fixed(&COPY, false, x.columns(0, self.sample), to, false),
                Op::Beside(from, until) => device.fixed(&COPY, false, x.columns(from, until), to, false),
                Op::Waves => device.waves(x.columns(self.sample, self.inputs), to),
                Op::Layer(layer) => device.map(net, layer, a, true, to),
                Op::Activate(activation) => device.activate(activation, a, to),
                Op::Fixed(map, reverse) => device.fixed(&map, reverse, a, to, false),
                Op::Add => {
                    device.fixed(&COPY, false, a, to, false);
                    device.fixed(&COPY, false, b, to, true);
                }
                Op::Join(..) => {
                    for (map, part) in joins(node.op).iter().zip([a, b]) {
                        device.fixed(map, false, part, to, false);
                    }
                }
                Op::Modulate(shape) => device.modulate(shape, a, b, true, to, false),
                Op::GroupNorm(groups) => device.group_norm(&groups, a, to),
                Op::AttentionWeights(of) => {
                    device.attention(&of, AttentionProduct::Scores, (a, b), of.scale(), to, false);
                    device.softmax(of.positions(), to);
                }
                Op::Attend(of) => device.attention(&of, AttentionProduct::Mix, (a, b), 1.0, to, false),
            }
        }
        self.out(device, place(self.output()))
    }

    /// Returns the factor times the last node.
    fn out<D: Maps>(&self, device: &mut D, last: Mat) -> Mat {
        let to = device.scratch(last.rows, last.cols);
        device.fixed(&Fixed::Times(self.factor), false, last, to, false);
        to
    }

    /// Returns the output for `x` and keeps nothing for a reverse pass.
    pub fn forward<D: Maps>(&self, device: &mut D, net: &D::Net, x: Mat) -> Mat {
        let rows = device.scratch(x.rows, self.widths()[1]);
        self.compute(device, net, x, |node| self.passing(rows, node))
    }

    /// Returns the values of all nodes, and the output.
    pub fn record<D: Maps>(&self, device: &mut D, net: &D::Net, x: Mat) -> [Mat; 2] {
        let values = self.tape(device, x.rows);
        let output = self.compute(device, net, x, |node| self.kept(values, node));
        [values, output]
    }

    fn tape<D: Workspace>(&self, device: &mut D, rows: usize) -> Mat {
        device.scratch(rows, self.widths()[0])
    }

    /// Adds the gradient of the weights, given that of the output.
    pub fn backward_parameters<D: Maps>(
        &self,
        device: &mut D,
        net: &D::Net,
        values: Mat,
        delta: Mat,
        output_bias: bool,
        gradient: &mut D::Gradient,
    ) {
        self.reverse(device, net, values, delta, &mut Along::Weights(gradient, output_bias));
    }

    /// Returns the gradient by the sample, and by every node that depends on it.
    pub fn backward_sample<D: Maps>(&self, device: &mut D, net: &D::Net, values: Mat, delta: Mat) -> [Mat; 2] {
        let deltas = self.reverse(device, net, values, delta, &mut Along::Sample);
        let to = device.scratch(delta.rows, self.sample);
        device.fixed(&COPY, false, self.kept(deltas, 0), to, false);
        [to, deltas]
    }

    /// Returns the gradients by the nodes on the way.
    fn reverse<D: Maps>(
        &self,
        device: &mut D,
        net: &D::Net,
        values: Mat,
        delta: Mat,
        along: &mut Along<'_, D::Gradient>,
    ) -> Mat {
        let deltas = self.tape(device, delta.rows);
        let on_the_way = |n: usize, along: &Along<'_, D::Gradient>| match along {
            Along::Weights(..) => self.nodes[n].learns,
            Along::Sample => self.nodes[n].moves,
        };
        let mut written = [false; MAX_NODES];
        device.fixed(&Fixed::Times(self.factor), false, delta, self.kept(deltas, self.output()), false);
        written[self.output()] = true;
        for (n, node) in self.nodes.iter().enumerate().rev() {
            // What leads to no output has no gradient.
            if !written[n] || !on_the_way(n, along) {
                continue;
            }
            let (value, delta) = (|node| self.kept(values, node), self.kept(deltas, n));
            let [a, b] = node.from;
            // Returns where the gradient by a node goes, and whether something is there.
            let mut to = |node: usize, along: &Along<'_, D::Gradient>| {
                (node < n && on_the_way(node, along))
                    .then(|| (self.kept(deltas, node), std::mem::replace(&mut written[node], true)))
            };
            match node.op {
                Op::Sample | Op::Beside(..) | Op::Waves => {}
                Op::Layer(layer) => {
                    if let Along::Weights(gradient, output_bias) = along {
                        let bias = (n < self.output() || *output_bias).then_some(delta);
                        device.map_gradient(gradient, layer, &[(value(a), delta)], bias);
                    }
                    if let Some((to, add)) = to(a, along) {
                        device.map_reverse(net, layer, delta, to, add);
                    }
                }
                Op::Activate(activation) => {
                    if let Some((to, add)) = to(a, along) {
                        device.activate_linear(activation, value(a), delta, to, add);
                    }
                }
                Op::Modulate(shape) => {
                    if let Some((to, add)) = to(a, along) {
                        device.modulate(shape, delta, value(b), false, to, add);
                    }
                    if let Some((to, add)) = to(b, along) {
                        device.modulate_gradient(shape, &[(value(a), delta)], Some(delta), to, add);
                    }
                }
                Op::GroupNorm(groups) => {
                    if let Some((to, add)) = to(a, along) {
                        device.group_norm_reverse(&groups, value(a), delta, to, add);
                    }
                }
                Op::AttentionWeights(of) => {
                    device.softmax_reverse(of.positions(), value(n), delta);
                    let products = [(a, b, AttentionProduct::Mix), (b, a, AttentionProduct::MixTransposed)];
                    for (node, other, product) in products {
                        if let Some((to, add)) = to(node, along) {
                            device.attention(&of, product, (delta, value(other)), of.scale(), to, add);
                        }
                    }
                }
                Op::Attend(of) => {
                    if let Some((to, add)) = to(a, along) {
                        device.attention(&of, AttentionProduct::Scores, (delta, value(b)), 1.0, to, add);
                    }
                    if let Some((to, add)) = to(b, along) {
                        device.attention(&of, AttentionProduct::MixTransposed, (value(a), delta), 1.0, to, add);
                    }
                }
                _ => {
                    for (part, (map, reverse)) in plain(node.op).into_iter().flatten().enumerate() {
                        if let Some((to, add)) = to(node.from[part], along) {
                            device.fixed(&map, !reverse, delta, to, add);
                        }
                    }
                }
            }
        }
        deltas
    }

    /// Adds the gradient by the weights of sum over rows of <grad_x V, w>, with w (rows x sample, or more columns) held
    /// constant. `deltas` are the gradients of V by nodes, as [`Self::backward_sample`] gives them.
    pub fn backward_directional<D: Maps>(
        &self,
        device: &mut D,
        net: &D::Net,
        values: Mat,
        deltas: Mat,
        w: Mat,
        gradient: &mut D::Gradient,
    ) {
        let tangents = self.tangents(device, net, values, w);
        let adjoints = self.tape(device, w.rows);
        let [value, tangent, adjoint, delta] =
            [values, tangents, adjoints, deltas].map(|tape| move |node: usize| self.kept(tape, node));
        // Whether the adjoint of a node is other than zero, and written.
        let mut written = [false; MAX_NODES];
        for (n, node) in self.nodes.iter().enumerate().rev().filter(|(_, node)| node.learns) {
            let q = written[n].then(|| adjoint(n));
            let [a, b] = node.from;
            let moves = |node: usize| self.nodes[node].moves;
            let mut to = |node: usize| {
                (node < n && self.nodes[node].learns)
                    .then(|| (adjoint(node), std::mem::replace(&mut written[node], true)))
            };
            match node.op {
                Op::Sample | Op::Beside(..) | Op::Waves => {}
                Op::Layer(layer) => {
                    let (primal, along) = (q.map(|q| (value(a), q)), moves(a).then(|| (tangent(a), delta(n))));
                    match (primal, along) {
                        (Some(first), Some(second)) => device.map_gradient(gradient, layer, &[first, second], q),
                        (Some(pair), None) | (None, Some(pair)) => device.map_gradient(gradient, layer, &[pair], q),
                        (None, None) => {}
                    }
                    if let Some((q, (to, add))) = q.and_then(|q| Some((q, to(a)?))) {
                        device.map_reverse(net, layer, q, to, add);
                    }
                }
                Op::Activate(activation) if moves(a) => {
                    if let Some((to, add)) = to(a) {
                        let rule = ActivationRule { a: value(a), tangent: tangent(a), delta: delta(n), q };
                        device.activate_adjoint(activation, &rule, to, add);
                    }
                }
                Op::Activate(activation) => {
                    if let Some((q, (to, add))) = q.and_then(|q| Some((q, to(a)?))) {
                        device.activate_linear(activation, value(a), q, to, add);
                    }
                }
                Op::Modulate(shape) => {
                    if let Some((q, (to, add))) = q.and_then(|q| Some((q, to(a)?))) {
                        device.modulate(shape, q, value(b), false, to, add);
                    }
                    let (primal, along) = (q.map(|q| (value(a), q)), moves(a).then(|| (tangent(a), delta(n))));
                    if let (true, Some((to, add))) = (primal.is_some() || along.is_some(), to(b)) {
                        match (primal, along) {
                            (Some(first), Some(second)) => {
                                device.modulate_gradient(shape, &[first, second], q, to, add);
                            }
                            (Some(pair), None) | (None, Some(pair)) => {
                                device.modulate_gradient(shape, &[pair], q, to, add);
                            }
                            (None, None) => {}
                        }
                    }
                }
                Op::GroupNorm(_) | Op::AttentionWeights(_) | Op::Attend(_) => unreachable!("{GENERATOR_ALONE}"),
                _ => {
                    let Some(q) = q else { continue };
                    for (part, (map, reverse)) in plain(node.op).into_iter().flatten().enumerate() {
                        if let Some((to, add)) = to(node.from[part]) {
                            device.fixed(&map, !reverse, q, to, add);
                        }
                    }
                }
            }
        }
    }

    /// Returns the tangents of the nodes that depend on the sample, along `w`.
    fn tangents<D: Maps>(&self, device: &mut D, net: &D::Net, values: Mat, w: Mat) -> Mat {
        let tangents = self.tape(device, w.rows);
        for (n, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.moves) {
            let ([a, b], to) = (node.from, self.kept(tangents, n));
            let (value, tangent) = (|node| self.kept(values, node), |node| self.kept(tangents, node));
            match node.op {
                Op::Sample => device.fixed(&COPY, false, w.columns(0, self.sample), to, false),
                Op::Layer(layer) => device.map(net, layer, tangent(a), false, to),
                Op::Activate(activation) => device.activate_linear(activation, value(a), tangent(a), to, false),
                Op::Modulate(shape) => device.modulate(shape, tangent(a), value(b), false, to, false),
                Op::Beside(..) | Op::Waves => unreachable!("nodes beside the sample do not depend on it"),
                Op::GroupNorm(_) | Op::AttentionWeights(_) | Op::Attend(_) => unreachable!("{GENERATOR_ALONE}"),
                Op::Fixed(..) | Op::Add | Op::Join(..) => {
                    let still = |node: usize| !self.nodes[node].moves;
                    let joins = matches!(node.op, Op::Join(..));
                    if joins && (still(a) || still(b)) {
                        device.fill(to, 0.0);
                    }
                    let mut add = false;
                    for (part, (map, reverse)) in plain(node.op).into_iter().flatten().enumerate() {
                        if !still(node.from[part]) {
                            device.fixed(&map, reverse, tangent(node.from[part]), to, add);
                            add = !joins;
                        }
                    }
                }
            }
        }
        tangents
    }
}

/// Returns the maps of which an operation without weights is the sum, one for each node that it takes, each with whether
/// it is transposed.
fn plain(op: Op) -> [Option<(Fixed, bool)>; 2] {
    match op {
        Op::Fixed(map, reverse) => [Some((map, reverse)), None],
        Op::Add => [Some((COPY, false)); 2],
        Op::Join(..) => joins(op).map(|map| Some((map, false))),
        _ => [None; 2],
    }
}

/// Returns the maps of a join's two parts.
fn joins(op: Op) -> [Fixed; 2] {
    let Op::Join(a, b) = op else { unreachable!("only a join has parts") };
    let of = a.channels + b.channels;
    [Fixed::Join { part: a, first: 0, of }, Fixed::Join { part: b, first: a.channels, of }]
}
