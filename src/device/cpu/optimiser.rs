//! One network in training on the processor: its state before and after the last update, the weights arranged for
//! products, and the gradients of the batch's shards, which are reduced in their order.

use super::disjoint::Disjoint;
use super::net::{CpuGradient, CpuNet};
use super::pool::Pool;
use super::simd::{Isa, Kernel, Real, Simd};
use crate::device::Sums;
use crate::device::layout::{Layer, Layout};
use crate::device::training::{HalfOutcome, NetworkState};
use crate::error::Result;
use crate::formulas::adam::Update;
use crate::formulas::squares::Centre;
use crate::memory;

/// Number of parameters that one job reduces.
const CHUNK: usize = 4096;

/// The gradient and the loss terms of one shard.
pub(crate) struct ShardGradient {
    pub gradient: CpuGradient<f32>,
    pub sums: Sums,
}

/// See the module.
pub(crate) struct CpuNetwork {
    isa: Isa,
    layers: Vec<Layer>,
    pub state: NetworkState,
    /// The state before the last update.
    previous: NetworkState,
    pub net: CpuNet<f32>,
    pub shards: Vec<ShardGradient>,
    gradient: Vec<f32>,
    /// Sum of squares of the gradient in each chunk.
    squares: Vec<f64>,
    /// For each layer, whether the last update gave only finite numbers.
    finite: Vec<bool>,
}

impl CpuNetwork {
    /// Returns a network of this layout that sees squares from `centre`, with gradients of `shards` shards.
    pub fn new(isa: Isa, layout: &Layout, centre: &Centre, state: NetworkState, shards: usize) -> Result<Self> {
        const GRADIENT: &str = "a network's gradient";
        let mut net = CpuNet::new(isa, layout, centre, true)?;
        net.pack(&state.weights);
        let shard = |_| Ok(ShardGradient { gradient: CpuGradient::new(layout)?, sums: Sums::default() });
        Ok(Self {
            isa,
            layers: layout.layers.clone(),
            net,
            shards: memory::made(GRADIENT, shards, shard)?,
            gradient: memory::filled(GRADIENT, layout.len(), 0f32)?,
            squares: memory::filled(GRADIENT, layout.len().div_ceil(CHUNK), 0f64)?,
            finite: vec![true; layout.layers.len()],
            previous: state.copied()?,
            state,
        })
    }

    /// Bytes of such a network.
    pub fn bytes(isa: Isa, layout: &Layout, centre: &Centre, shards: usize) -> usize {
        let shard = CpuGradient::<f32>::bytes(layout).saturating_add(size_of::<ShardGradient>());
        let gradients = shard.saturating_mul(shards);
        let layers = layout.layers.len() * (size_of::<Layer>() + size_of::<bool>());
        let squares = layout.len().div_ceil(CHUNK) * size_of::<f64>();
        let own = layout.len().saturating_mul(size_of::<f32>()).saturating_add(squares + layers);
        (2 * NetworkState::bytes(layout.len()))
            .saturating_add(CpuNet::<f32>::bytes(isa, layout, centre, true))
            .saturating_add(gradients)
            .saturating_add(own)
    }

    /// Sums the shards' gradients and losses, in their order.
    pub fn reduce(&mut self, pool: &Pool) -> HalfOutcome {
        let (isa, shards) = (self.isa, &self.shards);
        let len = self.gradient.len();
        let (gradient, squares) = (Disjoint::new(&mut self.gradient), Disjoint::new(&mut self.squares));
        pool.run(len.div_ceil(CHUNK), |chunk, _| {
            let (from, to) = (chunk * CHUNK, len.min((chunk + 1) * CHUNK));
            // SAFETY: chunks do not overlap, and each is one job's.
            let (total, squares) = unsafe { (gradient.part(from, to), squares.one(chunk)) };
            // SAFETY: slices only.
            *squares = unsafe { f32::dispatch(isa, Reduce { total, shards, from }) };
        });
        let mut outcome =
            HalfOutcome { gradient_norm: self.squares.iter().sum::<f64>().sqrt(), ..HalfOutcome::default() };
        for shard in &self.shards {
            outcome.sums.add(&shard.sums);
        }
        outcome
    }

    /// Makes one step of the optimiser and of the moving average, and arranges the weights anew for the products.
    ///
    /// # Errors
    /// A number of the new state that is not finite. The update is made nevertheless.
    pub fn update(&mut self, pool: &Pool, update: Update, averaging: f32) -> std::result::Result<(), f32> {
        // The update goes from one copy of the state to the other, so the one before it costs nothing to keep.
        std::mem::swap(&mut self.state, &mut self.previous);
        let (isa, layers) = (self.isa, &self.layers);
        let (old, gradient) = (&self.previous, &self.gradient);
        let new = Parts::new(&mut self.state);
        let (packed, finite) = (Disjoint::new(&mut self.net.layers), Disjoint::new(&mut self.finite));
        pool.run(layers.len(), |l, _| {
            let (from, to) = (layers[l].parameters().start, layers[l].parameters().end);
            // SAFETY: layers do not overlap, and each is one job's.
            let (mut new, packed, finite) = unsafe { (new.part(from, to), packed.one(l), finite.one(l)) };
            let NetworkState { weights, average, first_moment, second_moment } = old;
            let old = [weights, average, first_moment, second_moment].map(|values| &values[from..to]);
            let gradient = &gradient[from..to];
            let new_parts = new.each_mut().map(|values| &mut **values);
            // SAFETY: slices only.
            *finite = unsafe { f32::dispatch(isa, Optimise { update, averaging, old, gradient, new: new_parts }) };
            packed.pack(new[0]);
        });
        if self.finite.iter().all(|&finite| finite) {
            return Ok(());
        }
        let bad = self.state.parts().into_iter().flatten().copied().find(|x| !x.is_finite());
        Err(bad.unwrap_or(f32::NAN))
    }

    /// Takes the last update back. A second call makes it again.
    pub fn take_back(&mut self) {
        std::mem::swap(&mut self.state, &mut self.previous);
        self.net.pack(&self.state.weights);
    }
}

/// A network's state, shared out to jobs by ranges of the parameter vector.
struct Parts<'a>([Disjoint<'a, f32>; 4]);

impl<'a> Parts<'a> {
    fn new(state: &'a mut NetworkState) -> Self {
        let NetworkState { weights, average, first_moment, second_moment } = state;
        Self([weights, average, first_moment, second_moment].map(|values| Disjoint::new(values)))
    }

    /// Returns weights, average, first and second moment.
    ///
    /// # Safety
    /// As [`Disjoint::part`]: ranges handed out at the same time must not overlap.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, from: usize, to: usize) -> [&mut [f32]; 4] {
        // SAFETY: the caller's.
        self.0.each_ref().map(|values| unsafe { values.part(from, to) })
    }
}

struct Reduce<'a> {
    total: &'a mut [f32],
    shards: &'a [ShardGradient],
    from: usize,
}

impl Kernel<f32> for Reduce<'_> {
    type Output = f64;
    #[inline(always)]
    unsafe fn run<S: Simd<T = f32>>(self) -> f64 {
        let (from, to) = (self.from, self.from + self.total.len());
        self.total.copy_from_slice(&self.shards[0].gradient.values[from..to]);
        for shard in &self.shards[1..] {
            for (sum, g) in self.total.iter_mut().zip(&shard.gradient.values[from..to]) {
                *sum += g;
            }
        }
        // Independent chains, so that the sum has vectors to run in.
        let mut squares = [0f64; 16];
        for part in self.total.chunks(16) {
            for (s, &g) in squares.iter_mut().zip(part) {
                *s += f64::from(g) * f64::from(g);
            }
        }
        squares.iter().sum()
    }
}

/// [`Update::apply`] with the processor's vectors.
pub(crate) struct Optimise<'a> {
    pub update: Update,
    pub averaging: f32,
    pub old: [&'a [f32]; 4],
    pub gradient: &'a [f32],
    pub new: [&'a mut [f32]; 4],
}

impl Kernel<f32> for Optimise<'_> {
    type Output = bool;
    #[inline(always)]
    unsafe fn run<S: Simd<T = f32>>(self) -> bool {
        self.update.apply(self.averaging, self.old, self.gradient, self.new)
    }
}
