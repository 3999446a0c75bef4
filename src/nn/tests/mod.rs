//! Every pass of a network, and with it every layer rule, against central differences in f64: random shapes, each
//! activation, any number of outputs; layers that follow each other, and random graphs of them.

mod graphs;

use crate::device::cpu::CpuBlock;
use crate::device::cpu::net::{CpuGradient, CpuNet};
use crate::device::cpu::simd::Isa;
use crate::device::layout::Layout;
use crate::device::{Mat, Workspace};
use crate::formulas::Activation;
use crate::formulas::squares::Centre;
use crate::nn::network::Network;
use crate::rng::{Sequence, Stream};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    network: Network,
    rows: usize,
    weights: Vec<f64>,
    x: Vec<f64>,
    /// Weight of each output in the scalar that is differentiated.
    cotangent: Vec<f64>,
    /// Direction of the input in which a tangent is pushed.
    direction: Vec<f64>,
}

fn normals(seed: u64, n: usize) -> Vec<f64> {
    let mut x = vec![0f32; n];
    Sequence::new(seed, 0, Stream::Init).normals(0, &mut x);
    x.into_iter().map(f64::from).collect()
}

fn problems(outputs: impl Strategy<Value = usize>) -> impl Strategy<Value = Problem> {
    let widths = prop_oneof![
        (1usize..40, 1usize..4).prop_map(|(width, hidden)| vec![width; hidden]),
        proptest::collection::vec(1usize..40, 1..6),
    ];
    let shape = ((1usize..9, 0usize..9), widths, outputs);
    (shape, 1usize..12, 0..Activation::ALL.len(), any::<u64>()).prop_map(
        |(((inputs, squares), hidden, outputs), rows, activation, seed)| {
            let activation = Activation::ALL[activation];
            // The centre does not change with time: passes leave out its part of the derivative by time, which nobody
            // takes.
            let start: Vec<f64> = normals(seed ^ 4, squares.min(inputs)).iter().map(|x| x * x).collect();
            let squares = Centre::between(&start, &start).unwrap();
            let widths = [&[inputs + squares.count()], &hidden[..], &[outputs]].concat();
            let network = Network::new(Layout::dense(&widths), squares, activation);
            Problem::new(network, rows, seed)
        },
    )
}

/// Networks of either form.
fn networks(outputs: impl Strategy<Value = usize> + Clone, generator: bool) -> impl Strategy<Value = Problem> {
    prop_oneof![problems(outputs.clone()), graphs::problems(outputs, generator)]
}

impl Problem {
    fn new(network: Network, rows: usize, seed: u64) -> Self {
        let mut weights = normals(seed, network.layout.len());
        for layer in &network.layout.layers {
            weights[layer.weights()].iter_mut().for_each(|w| *w /= (layer.fan_in() as f64).sqrt());
        }
        let (inputs, outputs) = (network.inputs(), network.outputs());
        Self {
            rows,
            weights,
            x: normals(seed ^ 1, rows * inputs),
            cotangent: normals(seed ^ 2, rows * outputs),
            direction: normals(seed ^ 3, rows * network.differentiated()),
            network,
        }
    }

    fn net(&self) -> CpuNet<f64> {
        let mut net = CpuNet::new(Isa::Portable, &self.network.layout, &self.network.centre, true).unwrap();
        net.pack(&self.weights);
        net
    }

    fn matrix(&self, block: &mut CpuBlock<f64>, values: &[f64]) -> Mat {
        let cols = values.len() / self.rows;
        let mat = block.scratch(self.rows, cols);
        for (r, line) in values.chunks_exact(cols).enumerate() {
            block.row_mut(mat, r).copy_from_slice(line);
        }
        mat
    }

    fn values(&self, block: &CpuBlock<f64>, mat: Mat) -> Vec<f64> {
        (0..self.rows).flat_map(|r| block.row(mat, r).to_vec()).collect()
    }

    /// <cotangent, f(x)>.
    fn scalar(&self) -> f64 {
        let mut block = CpuBlock::new(Isa::Portable);
        let x = self.matrix(&mut block, &self.x);
        let y = self.network.forward(&mut block, &self.net(), x);
        self.values(&block, y).iter().zip(&self.cotangent).map(|(a, b)| a * b).sum()
    }

    /// Numbers of `x` by which a pass differentiates, the first ones of each row.
    fn along(&mut self) -> impl Iterator<Item = &mut f64> {
        let (inputs, sample) = (self.network.inputs(), self.network.differentiated());
        self.x.chunks_exact_mut(inputs).flat_map(move |row| &mut row[..sample])
    }

    /// Gradient of [`Self::scalar`] by the weights and by the input.
    fn gradients(&self) -> (Vec<f64>, Vec<f64>) {
        let mut block = CpuBlock::new(Isa::Portable);
        let net = self.net();
        let x = self.matrix(&mut block, &self.x);
        let delta = self.matrix(&mut block, &self.cotangent);
        let tape = self.network.record(&mut block, &net, x);
        let mut gradient = CpuGradient::new(&self.network.layout).unwrap();
        self.network.backward_parameters(&mut block, &net, &tape, delta, true, &mut gradient);
        let input = self.network.backward_input(&mut block, &net, &tape, delta);
        (gradient.values.to_vec(), self.values(&block, input))
    }

    /// sum over rows of <grad_x V, direction>, and its gradient by the weights.
    fn directional(&self) -> (f64, Vec<f64>) {
        let mut block = CpuBlock::new(Isa::Portable);
        let net = self.net();
        let x = self.matrix(&mut block, &self.x);
        let w = self.matrix(&mut block, &self.direction);
        let tape = self.network.record_hidden(&mut block, &net, x, true);
        let g = self.network.input_gradient(&mut block, &net, &tape);
        let value = self.values(&block, g.value).iter().zip(&self.direction).map(|(a, b)| a * b).sum();
        let mut gradient = CpuGradient::new(&self.network.layout).unwrap();
        self.network.backward_directional(&mut block, &net, &tape, &g, w, &mut gradient);
        (value, gradient.values.to_vec())
    }
}

/// A gradient with respect to one part of a problem, along a few coordinates and a random direction, against a
/// fourth-order central difference: its truncation lies below 1e-8 at a step that rounding still allows.
pub(crate) fn check_gradient<P: Clone>(
    problem: &P,
    gradient: &[f64],
    part: fn(&mut P) -> &mut Vec<f64>,
    scalar: impl Fn(&P) -> f64,
) -> Result<(), TestCaseError> {
    let add = |problem: &mut P, step: &dyn Fn(usize) -> f64| {
        part(problem).iter_mut().enumerate().for_each(|(i, x)| *x += step(i));
    };
    check_derivative(problem, gradient, add, scalar)
}

/// As [`check_gradient`], for a part that `add` moves by a step for each number.
fn check_derivative<P: Clone>(
    problem: &P,
    gradient: &[f64],
    add: impl Fn(&mut P, &dyn Fn(usize) -> f64),
    scalar: impl Fn(&P) -> f64,
) -> Result<(), TestCaseError> {
    let n = gradient.len();
    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    for probe in 0..5 {
        let mut direction = vec![0.0; n];
        if probe == 0 {
            direction = normals(9, n);
            let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
            direction.iter_mut().for_each(|x| *x /= length);
        } else {
            direction[(probe * 7919 + n / 2) % n] = 1.0;
        }
        let at = |h: f64| {
            let mut moved = problem.clone();
            add(&mut moved, &|i| h * direction[i]);
            scalar(&moved)
        };
        let difference = |h: f64| (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
        let exact: f64 = gradient.iter().zip(&direction).map(|(g, e)| g * e).sum();
        let scale = exact.abs().max(norm / (n as f64).sqrt()).max(1e-3);
        // The end of a log-deviation's range is a kink. A shorter difference does not cross it.
        let agrees = |h: f64| (difference(h) - exact).abs() < 1e-6 * scale;
        let found = || [1e-4, 1e-6].map(difference);
        prop_assert!(agrees(1e-4) || agrees(1e-6), "probe {probe}: {:?} against {exact}", found());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reverse_passes(problem in networks(1usize..12, true)) {
        let (weights, input) = problem.gradients();
        check_gradient(&problem, &weights, |p| &mut p.weights, Problem::scalar)?;
        let add = |p: &mut Problem, step: &dyn Fn(usize) -> f64| p.along().enumerate().for_each(|(i, x)| *x += step(i));
        check_derivative(&problem, &input, add, Problem::scalar)?;
    }

    #[test]
    fn reverse_over_a_directional_derivative(problem in networks(Just(1usize), false)) {
        let (value, gradient) = problem.directional();
        // The directional derivative itself, along the input.
        let along = |h: f64| {
            let mut moved = Problem { cotangent: vec![1.0; problem.rows], ..problem.clone() };
            moved.along().zip(&problem.direction).for_each(|(x, e)| *x += h * e);
            moved.scalar()
        };
        let h = 1e-3;
        let difference = (8.0 * (along(h) - along(-h)) - (along(2.0 * h) - along(-2.0 * h))) / (12.0 * h);
        prop_assert!((difference - value).abs() < 1e-6 * value.abs().max(1e-2), "{difference} against {value}");
        check_gradient(&problem, &gradient, |p| &mut p.weights, |p| p.directional().0)?;
    }
}
