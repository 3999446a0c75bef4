//! Training steps on the processor.
//!
//! A batch is cut into blocks of rows that fit a core's cache, and blocks into equal runs, the slots. A slot is a job
//! for any thread: it draws its rows' noise and samples, carries block after block through both networks and adds up a
//! gradient of its own. Gradients are then reduced in slot order. Cuts depend on the batch alone, so weights are
//! bitwise equal for any number of threads.

use super::engine::{Engine, Half, HalfStep, NetworkState, Outcome, Plan, Side};
use crate::context::Context;
use crate::device::cpu::CpuBlock;
use crate::device::cpu::net::{CpuGradient, CpuNet, PackedLayer};
use crate::device::cpu::simd::{Kernel, Real, Simd};
use crate::device::{Device, Mat, Sums};
use crate::euot::Batch;
use crate::euot::generator_step::{GeneratorStep, TIME_MAX_DETERMINISTIC, TIME_MIN};
use crate::euot::value_step::{TIME_MAX, ValueStep};
use crate::nn::adam::Update;
use crate::nn::layout::Layout;
use crate::rng::{Sequence, Stream};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rows of a block when a width-128 network is carried: its tape then takes half of a megabyte of cache.
const BLOCK_ROWS: usize = 64;
/// Slots are as many as there are pairs of blocks, up to this: enough for any processor's cores, and a bound on the
/// memory for gradients.
const MAX_SLOTS: usize = 64;
/// Parameters reduced by one job.
const CHUNK: usize = 8192;

struct Slot {
    gradient: CpuGradient<f32>,
    sums: Sums,
}

struct Worker {
    block: CpuBlock<f32>,
    noise: Vec<f32>,
}

/// One layer's share of a network's state; a job of the update.
struct LayerState {
    packed: Mutex<PackedState>,
}

struct PackedState {
    weights: Vec<f32>,
    average: Vec<f32>,
    first_moment: Vec<f32>,
    second_moment: Vec<f32>,
}

struct Network {
    layers: Vec<LayerState>,
    net: CpuNet<f32>,
    slots: Vec<Mutex<Slot>>,
    /// Sum over slots, by chunks.
    gradient: Vec<Mutex<Chunk>>,
    /// The same, whole.
    total: Vec<f32>,
}

struct Chunk {
    values: Vec<f32>,
    squares: f64,
}

/// See the module.
pub(crate) struct CpuEngine {
    context: Context,
    plan: Plan,
    value: Network,
    generator: Network,
    workers: Vec<Mutex<Worker>>,
    block_sources: usize,
    blocks_per_slot: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
