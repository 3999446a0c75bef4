//! What a session computes of a piece of rows, written once for a workspace and for what measures one.

use super::frozen::Inner;
use crate::device::cpu::{CpuNoise, Measure, Sizes, Written};
use crate::device::{Bridge, Mat, Points};
use crate::rng::{Sequence, Stream};

/// What a call computes, for which the workspace needs room.
#[derive(Clone, Copy)]
pub(super) enum Work {
    Endpoints,
    Mean,
    Drift,
    Ratio,
}

impl Work {
    /// How many kinds there are.
    pub const KINDS: usize = Self::Ratio as usize + 1;

    /// What it takes of a workspace for so many rows.
    pub fn sizes(self, model: &Inner, rows: usize) -> Sizes {
        Measure::of(|measure| match self {
            Self::Endpoints => drop(endpoints(measure, model, &(), [].into_iter(), rows, 0, 0)),
            Self::Mean => {
                let input = input(measure, model, [].into_iter(), rows, 0, 0);
                model.generator.forward(measure, &(), input);
            }
            Self::Drift => {
                let input = states(measure, model, [].into_iter(), rows, 0.0, |_, x| x);
                gradient(measure, model, &(), input);
            }
            Self::Ratio => {
                let input = states(measure, model, [].into_iter(), rows, 1.0, |_, x| x);
                model.value.forward(measure, &(), input);
            }
        })
    }
}

/// [x', t'] for the value function: what it `sees` of each component's value, for each of `rows` states.
pub(super) fn states<'a, W: Written>(
    block: &mut W,
    model: &Inner,
    states: impl Iterator<Item = &'a [f32]>,
    rows: usize,
    time: f64,
    sees: impl Fn(usize, f32) -> f32,
) -> Mat {
    let d = model.info.dimension;
    block.reset(0);
    let input = block.scratch(rows, d + 1);
    block.write(0, |block| {
        for (r, x) in states.enumerate() {
            let row = block.row_mut(input, r);
            for (j, (to, &x)) in row.iter_mut().zip(x).enumerate() {
                *to = sees(j, x);
            }
            row[d] = time as f32;
        }
    });
    input
}

/// The value function's gradient by its inputs.
pub(super) fn gradient<W: Written>(block: &mut W, model: &Inner, net: &W::Net, input: Mat) -> Mat {
    let tape = model.value.record(block, net, input);
    let one = block.scratch(input.rows, 1);
    block.fill(one, 1.0);
    model.value.backward_input(block, net, &tape, one)
}

/// [x0', z] for `rows` source samples; `first` is the number of the first one.
pub(super) fn input<'a, W: Written>(
    block: &mut W,
    model: &Inner,
    source: impl Iterator<Item = &'a [f32]>,
    rows: usize,
    seed: u64,
    first: u64,
) -> Mat {
    let (d, latent) = (model.info.dimension, model.info.latent_dimension);
    block.reset(0);
    let input = block.scratch(rows, d + latent);
    block.write(rows * latent, |block| {
        for (r, x) in source.enumerate() {
            model.source_units.apply(x, &mut block.row_mut(input, r)[..d]);
        }
        if latent > 0 {
            let z = input.columns(d, d + latent);
            block.draw_normals(&Sequence::new(seed, 0, Stream::Latent), first.wrapping_mul(latent as u64), z);
        }
    });
    input
}

/// Normalised endpoints for `rows` source samples (rows x d).
pub(super) fn endpoints<'a, W: Written>(
    block: &mut W,
    model: &Inner,
    net: &W::Net,
    source: impl Iterator<Item = &'a [f32]>,
    rows: usize,
    seed: u64,
    first: u64,
) -> Mat {
    let d = model.info.dimension;
    let input = input(block, model, source, rows, seed, first);
    let xi = block.scratch(rows, d);
    block.write(rows * d, |block| {
        block.draw_normals(&Sequence::new(seed, 0, Stream::Endpoint), first.wrapping_mul(d as u64), xi);
    });
    let mut component = Mat::NONE;
    if model.conditional.own() {
        component = block.scratch(rows, 1);
        block.write(0, |block| {
            block.draw_uniforms(&Sequence::new(seed, 0, Stream::Component), first, component);
        });
    }
    // Neither bridge noise nor times are read for endpoints.
    let noise = CpuNoise { xi, eta: xi, component };
    let raw = model.conditional.draw(block, &model.generator, net, input, 1, &noise, model.head.raw(d));
    let bridge = Bridge { x0: input.columns(0, d), raw, noise, time: xi };
    let end = block.scratch(rows, d + 1);
    block.bridge(&model.head, &bridge, &Points { end: Some(end), ..Points::default() });
    end.columns(0, d)
}
