//! The graphs of a transport: what goes in and out, and what lies between the networks and data units.

use super::builder::{Attribute, Builder, Tensor};
use super::graph::OnnxGraph;
use super::message::Message;
use super::peaks::PeaksGraph;
use super::{clock, dense, pictures};
use crate::error::Result;
use crate::euot::answers::Transport;
use crate::formulas::axes::Part;
use crate::formulas::head::{LOG_STD_RANGE, LOG_STD_ROOM};
use crate::memory;
use crate::nn::network::Network;
use crate::rng::{Sequence, Stream};

/// What is exported.
pub(crate) struct Exported<'a> {
    pub transport: &'a Transport,
    /// Weights of the value function and of the generator.
    pub weights: [&'a [f32]; 2],
    /// Shape of a sample.
    pub shape: &'a [usize],
}

/// Returns the file of a graph.
///
/// # Errors
/// [`crate::Error::Format`], [`crate::Error::OutOfMemory`].
pub(crate) fn message<'a>(of: &Exported<'a>, graph: OnnxGraph) -> Result<Message<'a>> {
    let mut b = Builder::new();
    let (kind, description) = match graph {
        OnnxGraph::Generate => {
            of.generate(&mut b)?;
            ("generate", "x1: one draw of the plan for each source sample x0. All samples are in data units.")
        }
        OnnxGraph::Mean { latents, seed, row } => {
            of.mean(&mut b, latents, seed, row)?;
            ("mean", "mean: the mean of x1 for each source sample x0. All samples are in data units.")
        }
        OnnxGraph::Value => {
            of.value(&mut b)?;
            (
                "value",
                "value: V(t, x), in data units squared. drift: -grad V(t, x), in data units for each unit of time.",
            )
        }
    };
    b.finish(description, &[("sfeuot_graph", kind)])
}

/// What a generator gives for each row, apart from the source sample that it is added to.
struct Law<'a> {
    /// Rows x K x raw, or rows x raw where there is one component.
    raw: Tensor,
    /// Probabilities, rows x K, where there are several components.
    probabilities: Option<Tensor>,
    /// The components' peaks, where these have axes of their own: the numbers are along them.
    turned: Option<PeaksGraph<'a>>,
}

impl<'a> Exported<'a> {
    fn dimension(&self) -> usize {
        self.transport.dimension()
    }

    /// Adds the source samples, and returns them as networks see them (rows x d).
    fn source(&self, b: &mut Builder<'a>) -> Result<Tensor> {
        let x0 = b.input("x0", self.shape);
        let bridge = &self.transport.bridge;
        let scale = self.transport.constants.scale;
        // The pull moves the centre, so that numbers are small before they are rounded.
        let pull = match &bridge.rotation {
            Some(rotation) => rotation.back(&bridge.pull)?,
            None => bridge.pull.clone(),
        };
        let centre = self.transport.constants.shift.iter().zip(pull.iter()).map(|(shift, pull)| shift - scale * pull);
        let place = self.turned(b, x0, centre)?;
        let factors = bridge.contraction.iter().zip(bridge.unit.iter()).map(|(q, unit)| q / (unit * scale));
        let factors = b.columns(factors)?;
        Ok(b.mul(place, factors))
    }

    /// Returns samples in data units (of any shape) less a centre, along the axes of the problem (rows x d).
    fn turned(
        &self,
        b: &mut Builder<'a>,
        x: Tensor,
        centre: impl ExactSizeIterator<Item = f64> + Clone,
    ) -> Result<Tensor> {
        let d = self.dimension();
        let mut place = if self.shape.len() == 1 { x } else { b.reshape(x, &[d]) };
        let high = |value: f64| f64::from(value as f32);
        let reach = self.transport.constants.scale * 1e-8;
        let rest = centre.clone().any(|value| (value - high(value)).abs() > reach);
        let first = b.columns(centre.clone().map(high))?;
        place = b.sub(place, first);
        if rest {
            // What the first part leaves of the centre in 32 bits.
            let second = b.columns(centre.map(|value| value - high(value)))?;
            place = b.sub(place, second);
        }
        Ok(match self.axes(b)? {
            Some(axes) => b.operator("Gemm", &[place, axes], &[("transB", Attribute::Int(1))]),
            None => place,
        })
    }

    /// Returns the axes of the problem, one a row.
    fn axes(&self, b: &mut Builder<'a>) -> Result<Option<Tensor>> {
        let Some(rotation) = &self.transport.bridge.rotation else { return Ok(None) };
        let numbers = memory::copied("the axes of a problem", rotation.numbers())?;
        Ok(Some(b.constant(&[rotation.dimension(); 2], numbers)))
    }

    /// Makes an output of what networks see at time 1 (rows x d), or of a direction there.
    fn export(&self, b: &mut Builder<'a>, x: Tensor, direction: bool, name: &str) -> Result<()> {
        let constants = &self.transport.constants;
        let lengths = self.transport.bridge.unit.iter().map(|unit| unit * constants.scale);
        let lengths = b.columns(lengths)?;
        let mut place = b.mul(x, lengths);
        if let Some(axes) = self.axes(b)? {
            place = b.plain("MatMul", &[place, axes]);
        }
        if !direction {
            let shift = b.columns(constants.shift.iter().copied())?;
            place = b.add(place, shift);
        }
        b.output(place, name, self.shape);
        Ok(())
    }

    /// Passes the generator.
    fn law(&self, b: &mut Builder<'a>, x0: Tensor, latent: Option<Tensor>) -> Result<Law<'a>> {
        let Transport { generator, conditional, head, .. } = self.transport;
        let (k, raw) = (conditional.components, head.raw(self.dimension()));
        let output = forward(b, generator, self.weights[1], x0, latent, None)?.output();
        if !conditional.has_own_components() {
            return Ok(Law { raw: output, probabilities: None, turned: None });
        }
        let peaks = PeaksGraph::of(b, self.transport)?;
        let plan = match &peaks {
            Some(peaks) => Some(peaks.plan(b, x0, k)?),
            None => None,
        };
        let turned = peaks.filter(PeaksGraph::is_turned);
        let mut numbers = b.slice(output, 1, 0..k * raw);
        if let Some((plan, _)) = plan {
            numbers = b.add(numbers, plan);
        }
        if k == 1 {
            return Ok(Law { raw: numbers, probabilities: None, turned });
        }
        let raw = b.reshape(numbers, &[k, raw]);
        let mut logits = b.slice(output, 1, k * head.raw(self.dimension())..generator.outputs());
        if let Some((_, Some(plan))) = plan {
            logits = b.add(logits, plan);
        }
        let probabilities = b.operator("Softmax", &[logits], &[("axis", Attribute::Int(1))]);
        Ok(Law { raw, probabilities: Some(probabilities), turned })
    }

    fn generate(&self, b: &mut Builder<'a>) -> Result<()> {
        let Transport { conditional, head, axes, .. } = self.transport;
        let (d, k) = (self.dimension(), conditional.components);
        let x0 = self.source(b)?;
        let latent = (conditional.latent > 0).then(|| b.input("latent", &[conditional.latent]));
        let Law { mut raw, probabilities, turned } = self.law(b, x0, latent)?;
        let mut which = None;
        if let Some(probabilities) = probabilities {
            let uniform = b.input("component", &[1]);
            let chosen = chosen(b, probabilities, uniform, k);
            let weight = b.reshape(chosen, &[k, 1]);
            let parts = b.mul(raw, weight);
            raw = b.sum(parts, 1, false);
            which = Some(chosen);
        }
        let mean = if head.deterministic { raw } else { b.slice(raw, 1, 0..d) };
        // Along axes of a component's own, the source sample is added once the rest is turned back.
        let mut x1 = if turned.is_some() { mean } else { b.add(x0, mean) };
        if !head.deterministic {
            let log = b.slice(raw, 1, d..2 * d);
            let offsets = &axes.part(Part::LogStd)[..d];
            let wide = || offsets.iter().map(|&offset| f64::from(offset));
            let offset = b.columns(wide())?;
            let ([least, most], [below, above]) = (LOG_STD_RANGE, LOG_STD_ROOM);
            let low = b.columns(wide().map(|offset| least.min(offset - below)))?;
            let high = b.columns(wide().map(|offset| most.max(offset + above)))?;
            let log = b.add(log, offset);
            let log = b.plain("Max", &[log, low]);
            let log = b.plain("Min", &[log, high]);
            let std = b.plain("Exp", &[log]);
            let noise = b.input("noise", &[d]);
            let spread = b.mul(std, noise);
            x1 = b.add(x1, spread);
        }
        if let Some(peaks) = turned {
            let away = peaks.turned_back(b, x1, which, k);
            x1 = b.add(x0, away);
        }
        self.export(b, x1, false, "x1")
    }

    fn mean(&self, b: &mut Builder<'a>, latents: usize, seed: u64, row: u64) -> Result<()> {
        let Transport { conditional, .. } = self.transport;
        let (d, k) = (self.dimension(), conditional.components);
        let x0 = self.source(b)?;
        if conditional.latent == 0 {
            let Law { raw, probabilities, turned } = self.law(b, x0, None)?;
            let mut mean = b.slice(raw, if probabilities.is_some() { 2 } else { 1 }, 0..d);
            if let Some(probabilities) = probabilities {
                let weight = b.reshape(probabilities, &[k, 1]);
                mean = b.mul(mean, weight);
            }
            mean = match turned {
                Some(peaks) => peaks.sum_turned_back(b, mean, k),
                None if k > 1 => b.sum(mean, 1, false),
                None => mean,
            };
            let x1 = b.add(x0, mean);
            return self.export(b, x1, false, "mean");
        }
        let mut numbers = memory::filled("latents of a graph", latents * conditional.latent, 0.0)?;
        let first = row.wrapping_mul(latents as u64).wrapping_mul(conditional.latent as u64);
        Sequence::new(seed, 0, Stream::Latent).normals(first, &mut numbers);
        let fixed = b.constant(&[1, latents, conditional.latent], numbers);
        // Each row once for each latent, and the latents once for each row.
        let rows = b.reshape(x0, &[1, d]);
        let times = b.list(&[1, latents as i64, 1]);
        let repeated = b.plain("Expand", &[rows, times]);
        let nothing = b.slice(rows, 2, 0..1);
        let nothing = b.times(nothing, 0.0);
        let latent = b.add(nothing, fixed);
        let [repeated, latent] =
            [(repeated, d), (latent, conditional.latent)].map(|(tensor, numbers)| b.reshape(tensor, &[numbers]));
        let Law { raw, .. } = self.law(b, repeated, Some(latent))?;
        let means = b.slice(raw, 1, 0..d);
        let means = b.reshape(means, &[latents, d]);
        let attributes = [("axes", Attribute::Ints(&[1])), ("keepdims", Attribute::Int(0))];
        let mean = b.operator("ReduceMean", &[means], &attributes);
        let x1 = b.add(x0, mean);
        self.export(b, x1, false, "mean")
    }

    /// V = V0 + V' / w: see `euot::gaussian_bridge`, whose letters are used here.
    fn value(&self, b: &mut Builder<'a>) -> Result<()> {
        let Transport { value, bridge, constants, sigma, .. } = self.transport;
        let (d, scale, cost) = (self.dimension(), constants.scale, bridge.cost());
        let (q, h) = (&bridge.contraction, &bridge.pull);
        let x = b.input("x", self.shape);
        let t = b.input("t", &[1]);
        let place = self.turned(b, x, constants.shift.iter().copied())?;
        let x = b.times(place, 1.0 / scale);
        let one = b.number(1.0);
        let rest = b.sub(one, t);
        let contraction = b.columns(q.iter().copied())?;
        let moved = b.mul(t, contraction);
        let divisor = b.add(rest, moved);
        let pull = b.columns(h.iter().copied())?;
        let pulled = b.mul(rest, pull);
        let pulled = b.add(x, pulled);
        let factor = b.columns(q.iter().zip(bridge.unit.iter()).map(|(q, unit)| q / unit))?;
        let seen = b.mul(pulled, factor);
        let seen = b.plain("Div", &[seen, divisor]);
        let clock = clock::read(b, bridge, t, rest);
        let pass = forward(b, value, self.weights[0], seen, Some(clock), Some(clock))?;
        let (mut output, mut gradient) = (pass.output(), None);
        if let Some(peaks) = PeaksGraph::of(b, self.transport)? {
            let left = b.plain("Div", &[rest, divisor]);
            let [value, slope] = peaks.value(b, seen, left)?;
            output = b.add(output, value);
            gradient = Some(slope);
        }

        // V0 in normalised units: a sum over axes of a quadratic over D, of the logarithms, and the level.
        let bend = b.columns(q.iter().map(|q| 0.5 * (1.0 - q)))?;
        let slope = b.columns(q.iter().zip(h.iter()).map(|(q, h)| -q * h))?;
        let end = b.columns(q.iter().zip(h.iter()).map(|(q, h)| -0.5 * q * h * h))?;
        let line = b.mul(bend, x);
        let line = b.add(line, slope);
        let curve = b.mul(line, x);
        let ends = b.mul(rest, end);
        let whole = b.add(curve, ends);
        let terms = b.plain("Div", &[whole, divisor]);
        let quadratic = b.sum(terms, 1, true);
        let logs = b.plain("Log", &[divisor]);
        let logs = b.sum(logs, 1, true);
        // Where all contractions are one, the logarithm is there once.
        let alike = q.iter().all(|&other| other as f32 == q[0] as f32);
        let noise = 0.5 * sigma * sigma;
        let logs = b.times(logs, if alike { noise * d as f64 } else { noise });
        let constant = bridge.level - noise * q.iter().map(|q| q.ln()).sum::<f64>();
        let known = b.add(quadratic, logs);
        let known = b.plus(known, constant);
        let learnt = b.times(output, 1.0 / cost);
        let all = b.add(known, learnt);
        let all = b.times(all, scale * scale);
        b.output(all, "value", &[1]);

        // The drift over the units of the axes, as `export` takes it.
        let learnt = pass.gradient(b, d)?;
        let gradient = gradient.map_or(learnt, |known| b.add(learnt, known));
        let weight = b.columns(q.iter().zip(bridge.unit.iter()).map(|(q, unit)| q / (cost * unit)))?;
        let learnt = b.mul(gradient, weight);
        let bend = b.columns(q.iter().map(|q| 1.0 - q))?;
        let line = b.mul(bend, x);
        let line = b.add(line, slope);
        let rise = b.add(line, learnt);
        let rise = b.plain("Div", &[rise, divisor]);
        let over = b.columns(bridge.unit.iter().map(|unit| -1.0 / unit))?;
        let drift = b.mul(rise, over);
        self.export(b, drift, true, "drift")
    }
}

/// Returns 1 for the component that a uniform number chooses, and 0 for others (rows x K).
fn chosen(b: &mut Builder, probabilities: Tensor, uniform: Tensor, k: usize) -> Tensor {
    let axis = b.whole(1);
    let reached = b.plain("CumSum", &[probabilities, axis]);
    // Rounding may leave the sum beside 1.
    let whole = b.slice(reached, 1, k - 1..k);
    let at = b.mul(uniform, whole);
    let ends = b.slice(reached, 1, 0..k - 1);
    let past = b.plain("Greater", &[at, ends]);
    let past = b.operator("Cast", &[past], &[("to", Attribute::Int(1))]);
    let [first, last] = [[0, 1, 0, 0], [0, 0, 0, 1]].map(|edges| b.list(&edges));
    let one = b.constant(&[], vec![1.0]);
    let before = b.plain("Pad", &[past, first, one]);
    let behind = b.plain("Pad", &[past, last]);
    b.sub(before, behind)
}

/// A pass through a network of either kind.
enum Pass<'n> {
    Dense(dense::Pass<'n>),
    Pictures(pictures::Pass<'n>),
}

fn forward<'a, 'n>(
    b: &mut Builder<'a>,
    network: &'n Network,
    weights: &'a [f32],
    sample: Tensor,
    beside: Option<Tensor>,
    time: Option<Tensor>,
) -> Result<Pass<'n>> {
    Ok(match &network.graph {
        None => Pass::Dense(dense::Pass::forward(b, network, weights, sample, beside, time)?),
        Some(graph) => {
            let beside = beside.expect("networks for pictures see latents or the time");
            Pass::Pictures(pictures::Pass::forward(b, (network, graph), weights, sample, beside)?)
        }
    })
}

impl Pass<'_> {
    fn output(&self) -> Tensor {
        match self {
            Self::Dense(pass) => pass.output,
            Self::Pictures(pass) => pass.output,
        }
    }

    fn gradient(&self, b: &mut Builder, d: usize) -> Result<Tensor> {
        match self {
            Self::Dense(pass) => Ok(pass.gradient(b, d)),
            Self::Pictures(pass) => pass.gradient(b),
        }
    }
}
