//! Runs the processor's kernels at the sizes of a training, for `benches/`. The module exists only with the feature
//! `bench-internals` and is no part of the library's interface.

mod pictures;

pub use pictures::{PictureOp, Pictures};

use crate::device::cpu::net::{CpuGradient, CpuNet};
use crate::device::cpu::optimiser::Optimise;
use crate::device::cpu::simd::{Isa, Real};
use crate::device::cpu::{CpuBlock, CpuNoise};
use crate::device::layout::Layout;
use crate::device::{
    Batch, Bridge, Chosen, Layers, Mat, Method, MixtureLoss, Points, Sums, TauAt, Weighted, Workspace,
};
use crate::euot::conditional::Conditional;
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::euot::generator_step::GeneratorStep;
use crate::euot::value_step::ValueStep;
use crate::formulas::adam::Adam;
use crate::formulas::axes::Axis;
use crate::formulas::{Axes, Clock, Conjugate, Divergence, Head, Tick};
use crate::nn::init::kaiming;
use crate::nn::network::Network;
use crate::rng::{Sequence, Stream};
use crate::train::TrainerConfig;

/// Rows of a block and the generator's form, as in a training with default settings.
const ROWS: usize = 64;
const CONDITIONAL: Conditional = Conditional { components: 8, latent: 0 };
/// Source samples of a block.
const SOURCES: usize = ROWS / CONDITIONAL.components;
/// Index of the value function's layer that is measured for the hidden ones.
const HIDDEN: usize = 1;
/// What an error would say that the memory was for.
const MEMORY: &str = "memory for a benchmark";

/// The operations that can be measured. Layers are those of the value function, on a block of 64 rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// x W + b of a hidden layer, nothing fused.
    Product,
    /// The first layer's inputs, with squares.
    Squares,
    /// x W + b of the first layer, with its activation and two derivatives.
    FirstLayer,
    /// x W + b of a hidden layer, with its activation.
    Activated,
    /// The same with two derivatives.
    ActivatedCurved,
    /// delta W^T times the activation's derivative.
    Backward,
    /// A tangent through a layer.
    Tangent,
    /// Reverse pass through the primal of a tangent.
    TangentBackward,
    /// Gradient of a hidden layer's weights and bias.
    Weights,
    /// The same from two pairs at once.
    WeightsOfTwo,
    /// Points of the bridges.
    Bridge,
    /// Components drawn from the generator's outputs.
    Choose,
    /// Log-density of the mixture with its gradient.
    Mixture,
    /// Noise of a block: endpoint and bridge.
    Noise,
    /// Adam and the moving average, of both networks.
    Optimiser,
    /// A value step of a block, without drawing its noise.
    ValueStep,
    /// A generator step of a block, without drawing its noise.
    GeneratorStep,
}

/// How much an operation computes.
pub enum Work {
    /// Number of floating-point operations in its products; a multiply-add counts as two.
    Flops(u64),
    /// Number of rows, normals or parameters.
    Elements(u64),
}

/// Networks, workspaces and matrices of one size.
pub struct Kernels {
    dimension: usize,
    width: usize,
    isa: Isa,
    head: Head,
    axes: Axes<Vec<f32>>,
    shapes: [Network; 2],
    nets: [CpuNet<f32>; 2],
    gradients: [CpuGradient<f32>; 2],
    /// Weights, average and both moments of the two networks together, before and after an update.
    state: [[Vec<f32>; 4]; 2],
    derivative: Vec<f32>,
    sums: Sums,
    block: CpuBlock<f32>,
    mats: Mats,
    /// Workspace of whole steps.
    steps: CpuBlock<f32>,
}

/// Inputs hold normals; curvatures hold zeros, which they keep however often they are multiplied.
struct Mats {
    states: Mat,
    /// Inputs with their squares.
    seen: Mat,
    ends: Mat,
    drift: Mat,
    hidden: [Mat; 4],
    zeros: Mat,
    x0: Mat,
    raw: Mat,
    noise: CpuNoise,
    outputs: Mat,
    weighted: Weighted,
    time: Mat,
    column: Mat,
    delta: Mat,
}

impl Kernels {
    /// Makes networks for samples of `dimension` numbers with hidden layers of `width` units.
    pub fn new(dimension: usize, width: usize) -> Self {
        Self::on(Isa::detect(), dimension, width)
    }

    /// Makes the same with plain arrays in place of the processor's own vectors.
    pub fn portable(dimension: usize, width: usize) -> Self {
        Self::on(Isa::Portable, dimension, width)
    }

    fn on(isa: Isa, dimension: usize, width: usize) -> Self {
        let Conditional { components, .. } = CONDITIONAL;
        let config = TrainerConfig { hidden_width: width, components, ..TrainerConfig::default() };
        let (value, generator) =
            config.networks(&GaussianBridge::none(dimension).expect(MEMORY), 1.0).shapes(dimension).expect(MEMORY);
        let shapes = [value, generator];
        let weights =
            [(0, 1.0), (1, 0.5)].map(|(i, last)| kaiming(&shapes[i], 0, i as u64, |_| (last, 0.0)).expect(MEMORY));
        let nets = [0, 1].map(|i| {
            let mut net = CpuNet::new(isa, &shapes[i].layout, &shapes[i].centre, true).expect(MEMORY);
            net.pack(&weights[i]);
            net
        });
        let parameters = weights.concat();
        let zeros = || vec![0f32; parameters.len()];
        let state = [0; 2].map(|_| [parameters.clone(), parameters.clone(), zeros(), zeros()]);
        let axis = Axis { sigma: 1.0, rate: 1.0, curvature: 0.1, slope: 0.1 };
        let axes = Axes::new(std::iter::repeat_n(axis, dimension), Clock::EVEN, 1.0, 0.0).expect(MEMORY);
        let mut block = CpuBlock::new(isa);
        let mats = Mats::new(&mut block, dimension, width);
        let mut kernels = Self {
            dimension,
            width,
            isa,
            head: Head { deterministic: false },
            axes,
            gradients: [0, 1].map(|i| CpuGradient::new(&shapes[i].layout).expect(MEMORY)),
            shapes,
            nets,
            derivative: parameters.iter().map(|w| 0.1 * w).collect(),
            state,
            sums: Sums::default(),
            block,
            mats,
            steps: CpuBlock::new(isa),
        };
        let batch = kernels.batch();
        for (i, mat) in
            [batch.input, batch.noise.xi, batch.noise.eta, batch.ends.unwrap_or(batch.input)].into_iter().enumerate()
        {
            kernels.steps.draw_normals(&Sequence::new(0, i as u64, Stream::Init), 0, mat);
        }
        fill_times(&mut kernels.steps, batch.time);
        kernels.steps.draw_uniforms(&Sequence::new(0, 0, Stream::Component), 0, batch.noise.component);
        kernels
    }

    /// The batch's matrices, always at the same place of the workspace.
    fn batch(&mut self) -> Batch<CpuNoise> {
        let (d, steps) = (self.dimension, &mut self.steps);
        steps.reset(0);
        Batch {
            input: steps.scratch(ROWS, d),
            ends: Some(steps.scratch(2 * ROWS, d + 1)),
            noise: CpuNoise {
                xi: steps.scratch(ROWS, d),
                eta: steps.scratch(ROWS, d),
                component: steps.scratch(SOURCES, 1),
            },
            time: steps.scratch(ROWS, Tick::<f32>::NUMBERS),
            first_source: 0,
        }
    }

    /// Returns how much `op` computes.
    pub fn work(&self, op: Op) -> Work {
        let products = |layout: &Layout| layout.layers.iter().map(|l| l.weights().len()).sum::<usize>();
        let [value, generator] = [0, 1].map(|i| products(&self.shapes[i].layout));
        let multiply_adds = match op {
            Op::Product | Op::Activated | Op::ActivatedCurved => self.width * self.width,
            Op::Backward | Op::Tangent | Op::TangentBackward | Op::Weights => self.width * self.width,
            Op::WeightsOfTwo => 2 * self.width * self.width,
            Op::FirstLayer => self.shapes[0].layout.layers[0].weights().len(),
            // The generator sees a source sample once.
            Op::ValueStep => generator / CONDITIONAL.components + (2 * 3 + 6) * value,
            Op::GeneratorStep => 3 * generator / CONDITIONAL.components + 2 * value,
            Op::Squares | Op::Bridge | Op::Choose | Op::Mixture => return Work::Elements(ROWS as u64),
            Op::Noise => return Work::Elements((ROWS * 2 * self.dimension) as u64),
            Op::Optimiser => return Work::Elements(self.derivative.len() as u64),
        };
        Work::Flops((2 * ROWS * multiply_adds) as u64)
    }

    /// Runs `op` once.
    pub fn run(&mut self, op: Op) {
        let [value, _] = &self.nets;
        let (block, m, activation) = (&mut self.block, &self.mats, self.shapes[0].activation);
        let [x, out, slope, other] = m.hidden;
        let bridge = Bridge { x0: m.x0, raw: m.raw, noise: m.noise, time: m.time, which: None };
        match op {
            Op::Product => block.affine(value, HIDDEN, x, out),
            Op::Squares => block.squares(value, m.states, m.seen),
            Op::FirstLayer => block.activated(value, 0, activation, m.seen, out, Some(slope), Some(other)),
            Op::Activated => block.activated(value, HIDDEN, activation, x, out, None, None),
            Op::ActivatedCurved => block.activated(value, HIDDEN, activation, x, out, Some(slope), Some(other)),
            Op::Backward => block.backward(value, HIDDEN, x, slope, out, None),
            Op::Tangent => block.tangent(value, HIDDEN, x, slope, out, m.zeros),
            Op::TangentBackward => block.tangent_backward(value, HIDDEN, x, slope, m.zeros, out),
            Op::Weights => block.gradient(&mut self.gradients[0], HIDDEN, &[(x, slope)], Some(slope)),
            Op::WeightsOfTwo => {
                block.gradient(&mut self.gradients[0], HIDDEN, &[(x, slope), (out, other)], Some(slope))
            }
            Op::Bridge => {
                let points = Points { end: Some(m.ends), state: Some(m.states), drift: Some(m.drift) };
                block.bridge(&self.head, &self.axes, &bridge, &points);
            }
            Op::Choose => block.choose(m.outputs, Some(&m.noise), &Chosen { raw: m.raw, log: None, which: None }),
            Op::Mixture => {
                let (xt, components) = (m.states.columns(0, self.dimension), CONDITIONAL.components);
                let (v, g, weighted) = (m.column, m.drift, Some(m.weighted));
                let (head, axes, delta) = (&self.head, &self.axes, m.delta);
                let bridge = &bridge;
                let loss = MixtureLoss { head, axes, bridge, xt, v, g, components, weighted, delta, scale: 1.0 };
                block.mixture(&loss, &mut self.sums);
            }
            Op::Noise => {
                for (mat, stream) in [(m.noise.xi, Stream::Endpoint), (m.noise.eta, Stream::Bridge)] {
                    block.draw_normals(&Sequence::new(0, 1, stream), 0, mat);
                }
            }
            Op::Optimiser => self.optimise(),
            Op::ValueStep => self.value_step(),
            Op::GeneratorStep => self.generator_step(),
        }
    }

    fn optimise(&mut self) {
        let update = Adam { beta1: 0.5, beta2: 0.99, epsilon: 1e-8 }.update(100, 1e-4, 1.0);
        let [old, new] = &mut self.state;
        let old = old.each_ref().map(Vec::as_slice);
        let new = new.each_mut().map(Vec::as_mut_slice);
        // SAFETY: slices only.
        unsafe {
            f32::dispatch(self.isa, Optimise { update, averaging: 0.998, old, gradient: &self.derivative, new });
        }
    }

    fn value_step(&mut self) {
        let batch = self.batch();
        let [value, generator] = &self.shapes;
        let conjugate = Conjugate { divergence: Divergence::Kl, tau: 1.0 };
        let axes = &self.axes;
        let (conditional, head, scale) = (CONDITIONAL, self.head, 1.0 / ROWS as f64);
        let step = ValueStep {
            value,
            generator,
            conditional,
            head,
            conjugate,
            tau_at: TauAt::CONSTANT,
            penalty: 0.0,
            axes,
            scale,
        };
        let [gradient, _] = &mut self.gradients;
        step.run(&mut self.steps, &self.nets[0], &self.nets[1], &batch, gradient, &mut self.sums);
    }

    fn generator_step(&mut self) {
        let batch = self.batch();
        let [value, generator] = &self.shapes;
        let (conditional, head, scale) = (CONDITIONAL, self.head, 1.0 / ROWS as f64);
        let axes = &self.axes;
        let step = GeneratorStep { value, generator, conditional, head, atoms: false, axes, scale };
        let [_, gradient] = &mut self.gradients;
        step.run(&mut self.steps, &self.nets[0], &self.nets[1], &batch, gradient, &mut self.sums);
    }
}

impl Mats {
    fn new(block: &mut CpuBlock<f32>, dimension: usize, width: usize) -> Self {
        let mut number = 0;
        let mut normals = |cols| {
            number += 1;
            let mat = block.scratch(ROWS, cols);
            block.draw_normals(&Sequence::new(0, number, Stream::Latent), 0, mat);
            mat
        };
        let mats = Self {
            states: normals(dimension + 1),
            seen: normals(2 * dimension + 1),
            ends: normals(dimension + 1),
            drift: normals(dimension),
            hidden: [0; 4].map(|_| normals(width)),
            zeros: normals(width),
            x0: normals(dimension),
            raw: normals(2 * dimension),
            noise: CpuNoise { xi: normals(dimension), eta: normals(dimension), component: normals(1) },
            outputs: normals(CONDITIONAL.components * (2 * dimension + 1)).rows(0, SOURCES),
            weighted: Weighted { log: normals(1), loss: normals(1) },
            time: normals(Tick::<f32>::NUMBERS),
            column: normals(1),
            delta: normals(2 * dimension),
        };
        block.fill(mats.zeros, 0.0);
        fill_times(block, mats.time);
        mats
    }
}

/// One time inside (0, 1) for each source sample.
fn fill_times(block: &mut CpuBlock<f32>, time: Mat) {
    for r in 0..time.rows {
        let tick = Clock::EVEN.at(0.2 + 0.08 * (r / CONDITIONAL.components) as f32);
        block.row_mut(time, r).copy_from_slice(&tick.row());
    }
}
