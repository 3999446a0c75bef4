//! A host that passes its networks itself and takes the bridge and both losses from the calls, against the steps of a
//! training; and what the calls give against central differences.

use super::case::Case;
use super::random::{cases, normals, pictures};
use crate::device::cpu::CpuBlock;
use crate::device::cpu::net::{CpuGradient, CpuNet};
use crate::device::cpu::simd::{Isa, Real};
use crate::device::exchange::BatchSeed;
use crate::device::training::Half;
use crate::device::{Mat, Sums, Workspace, draw};
use crate::euot::generator_step::TIME_MIN;
use crate::euot::objective::{Objective, PointsTo, SourceRows, StateRows, ValueRows, ValueTo};
use crate::euot::value_step::TIME_MAX;
use crate::formulas::{Axes, Clock, Conjugate};
use crate::nn::network::Network;
use crate::rng::Stream;
use proptest::prelude::*;

/// A case with even axes, as a host has it: lengths of its arrays are `scale` times those of the case.
struct Host {
    case: Case,
    objective: Objective,
    seed: u64,
    half: Half,
}

/// Returns the case as the calls take it, with the noise and times of a half that they draw.
fn host(mut case: Case, scale: f64, seed: u64, half: Half) -> Host {
    let sigma = case.axes.noise.sqrt();
    case.axes = Axes::even(case.d, sigma);
    let rows = case.sources * case.conditional.components;
    let noise = |stream, count| {
        let mut x = vec![0f32; count];
        draw::sequence(seed, half, 3, stream).normals(0, &mut x);
        x.into_iter().map(f64::from).collect::<Vec<f64>>()
    };
    case.xi = noise(Stream::Endpoint, rows * case.d);
    case.eta = noise(Stream::Bridge, rows * case.d);
    let mut component = vec![0f32; case.sources];
    draw::sequence(seed, half, 3, Stream::Component).uniforms(0, &mut component);
    case.component = component.into_iter().map(f64::from).collect();
    let objective = Objective {
        dimension: case.d,
        conditional: case.conditional,
        head: case.head,
        conjugate: case.conjugate,
        scale,
    };
    Host { case, objective, seed, half }
}

/// Puts numbers, row after row, into the first columns of a matrix.
fn put<T: Real>(block: &mut CpuBlock<T>, to: Mat, numbers: &[T], cols: usize) {
    for r in 0..to.rows {
        block.row_mut(to, r)[..cols].copy_from_slice(&numbers[r * cols..(r + 1) * cols]);
    }
}

/// Takes the first columns of a matrix, row after row.
fn got<T: Real>(block: &CpuBlock<T>, from: Mat, cols: usize) -> Vec<T> {
    (0..from.rows).flat_map(|r| block.row(from, r)[..cols].to_vec()).collect()
}

fn times<T: Real>(numbers: &[T], factor: f64) -> Vec<T> {
    numbers.iter().map(|x| T::of(x.wide() * factor)).collect()
}

impl Host {
    fn batch_seed(&self) -> BatchSeed {
        BatchSeed { seed: self.seed, half: self.half, step: 3, first_source: 0 }
    }

    fn net<T: Real>(isa: Isa, network: &Network, weights: &[f64]) -> CpuNet<T> {
        let mut net = CpuNet::new(isa, &network.layout, &network.centre, true).unwrap();
        net.pack(&weights.iter().map(|&w| T::of(w)).collect::<Vec<T>>());
        net
    }

    /// Multiplies the means among the generator's outputs, or a gradient by them.
    fn rescale_means<T: Real>(&self, outputs: &mut [T], factor: f64) {
        let (d, raw, own) = (self.case.d, self.case.head.raw(self.case.d), self.case.conditional.has_own_components());
        let line = self.objective.outputs() / self.objective.output_rows();
        for row in outputs.chunks_exact_mut(line) {
            for means in row.chunks_exact_mut(raw).take(if own { self.case.conditional.components } else { 1 }) {
                means[..d].iter_mut().for_each(|x| *x = T::of(x.wide() * factor));
            }
        }
    }

    /// Passes the generator's network over the batch, in a host's layout and units.
    fn generated<T: Real>(&self, block: &mut CpuBlock<T>, net: &CpuNet<T>) -> (crate::nn::network::Tape, Vec<T>) {
        let Case { d, conditional, ref x0, ref z, sources, .. } = self.case;
        let each = self.objective.output_rows();
        let input = block.scratch(sources * each, d + conditional.latent);
        for r in 0..input.rows {
            let row = block.row_mut(input, r);
            for (to, x) in row.iter_mut().zip(x0[r / each * d..][..d].iter().chain(&z[r * conditional.latent..])) {
                *to = T::of(*x);
            }
        }
        let tape = self.case.generator.record(block, net, input);
        let mut outputs = got(block, tape.output, tape.output.cols);
        self.rescale_means(&mut outputs, self.objective.scale);
        (tape, outputs)
    }

    fn ticks<T: Real>(&self) -> Vec<T> {
        let each = self.case.conditional.components;
        let count = self.case.sources * if self.half == Half::Value { each } else { 1 };
        let repeat = if self.half == Half::Value { each } else { 1 };
        (0..count)
            .flat_map(|i| {
                let u = self.case.time[i / repeat];
                let time = if self.half == Half::Value { u * TIME_MAX } else { TIME_MIN + (1.0 - TIME_MIN) * u };
                Clock::EVEN.at(T::of(time)).row()
            })
            .collect()
    }

    /// Rows of V's inputs at places of the host's, each at one time.
    fn inputs<T: Real>(&self, block: &mut CpuBlock<T>, net: &CpuNet<T>, x: &[T], time: impl Fn(usize) -> T) -> Mat {
        let d = self.case.d;
        let input = self.case.value.inputs_of(block, net, x.len() / d);
        put(block, input, &times(x, 1.0 / self.objective.scale), d);
        for r in 0..input.rows {
            block.row_mut(input, r)[d] = time(r);
        }
        input
    }

    fn axes<T: Real>(&self) -> Axes<Vec<T>> {
        self.case.axes.rounded()
    }

    /// Loss terms and the gradient by the value function's weights.
    fn value<T: Real>(&self, isa: Isa) -> (Sums, Vec<f64>) {
        let (mut device, axes) = (CpuBlock::<T>::new(isa), self.axes::<T>());
        let block = &mut device;
        let (case, scale, rows, d) = (&self.case, self.objective.scale, self.case.xi.len() / self.case.d, self.case.d);
        let value = Self::net::<T>(isa, &case.value, &case.value_weights);
        let generator = Self::net::<T>(isa, &case.generator, &case.generator_weights);
        let (_, outputs) = self.generated(block, &generator);
        let x0: Vec<T> = case.x0.iter().map(|&x| T::of(x * scale)).collect();
        let ticks = self.ticks::<T>();
        let mut points = [0; 3].map(|_| vec![T::nan(); rows * d]);
        let [end, state, drift] = &mut points;
        let from = SourceRows { x0: &x0[..], outputs: &outputs[..], sources: case.sources };
        let to = PointsTo { end: Some(&mut end[..]), state: Some(&mut state[..]), drift: Some(&mut drift[..]) };
        self.objective.sample(block, &axes, &from, &ticks[..], self.batch_seed(), to);

        let ends: Vec<T> = end.iter().copied().chain(case.y.iter().map(|&y| T::of(y * scale))).collect();
        let mut gradient = CpuGradient::new(&case.value.layout).unwrap();
        let at_ends = self.inputs(block, &value, &ends, |_| T::one());
        let tape = case.value.record(block, &value, at_ends);
        let v = times(&got(block, tape.output, 1), scale * scale);
        let at_states = self.inputs(block, &value, state, |r| ticks[3 * r]);
        let along = case.value.record_hidden(block, &value, at_states, true);
        let slope = case.value.input_gradient(block, &value, &along);
        let g = times(&got(block, slope.value, d), scale);

        let (mut by_v, mut w) = (vec![T::nan(); 2 * rows], vec![T::nan(); rows * d]);
        let (by_generated, by_target) = by_v.split_at_mut(rows);
        let from = ValueRows { v: [&v[..rows], &v[rows..]], g: &g[..], drift: &drift[..], rows };
        let to = ValueTo { by_v: [by_generated, by_target], direction: &mut w[..] };
        let mut sums = Sums::default();
        self.objective.value(block, &axes, &from, 1.0 / rows as f64, to, &mut sums);

        let delta = block.scratch(2 * rows, 1);
        put(block, delta, &by_v, 1);
        let level = case.conjugate.divergence.is_unbalanced();
        case.value.backward_parameters(block, &value, &tape, delta, level, &mut gradient);
        let direction = case.value.inputs_of(block, &value, rows);
        put(block, direction, &times(&w, 1.0 / scale), d);
        (0..rows).for_each(|r| block.row_mut(direction, r)[d] = T::zero());
        case.value.backward_directional(block, &value, &along, &slope, direction, &mut gradient);
        gradient.complete();
        (sums, gradient.values.iter().map(|g| g.wide()).collect())
    }

    /// The loss and the gradient by the generator's weights.
    fn generator<T: Real>(&self, isa: Isa) -> (Sums, Vec<f64>) {
        let (mut device, axes) = (CpuBlock::<T>::new(isa), self.axes::<T>());
        let block = &mut device;
        let (case, scale, rows, d) = (&self.case, self.objective.scale, self.case.xi.len() / self.case.d, self.case.d);
        let value = Self::net::<T>(isa, &case.value, &case.value_weights);
        let generator = Self::net::<T>(isa, &case.generator, &case.generator_weights);
        let (passed, outputs) = self.generated(block, &generator);
        let x0: Vec<T> = case.x0.iter().map(|&x| T::of(x * scale)).collect();
        let ticks = self.ticks::<T>();
        let mut state = vec![T::nan(); rows * d];
        let from = SourceRows { x0: &x0[..], outputs: &outputs[..], sources: case.sources };
        let to = PointsTo { end: None, state: Some(&mut state[..]), drift: None };
        self.objective.sample(block, &axes, &from, &ticks[..], self.batch_seed(), to);

        let each = case.conditional.components;
        let at_states = self.inputs(block, &value, &state, |r| ticks[3 * (r / each)]);
        let tape = case.value.record(block, &value, at_states);
        let one = block.ones(rows);
        let slope = case.value.backward_input(block, &value, &tape, one);
        let (v, g) = (times(&got(block, tape.output, 1), scale * scale), times(&got(block, slope, d), scale));
        let at = StateRows { state: &state[..], v: &v[..], g: &g[..] };
        let (mut by, mut sums) = (vec![T::nan(); outputs.len()], Sums::default());
        self.objective.generator(block, &axes, &from, &ticks[..], &at, 1.0 / rows as f64, &mut by[..], &mut sums);

        // The host's loss is scale^2 times the training's.
        self.rescale_means(&mut by, scale);
        let delta = block.scratch(passed.output.rows, passed.output.cols);
        put(block, delta, &times(&by, 1.0 / (scale * scale)), delta.cols);
        let mut gradient = CpuGradient::new(&case.generator.layout).unwrap();
        case.generator.backward_parameters(block, &generator, &passed, delta, true, &mut gradient);
        gradient.complete();
        (sums, gradient.values.iter().map(|g| g.wide()).collect())
    }
}

fn agree(
    tolerance: f64,
    (calls, by): (Sums, Vec<f64>),
    (step, expected): (Sums, Vec<f64>),
) -> Result<(), TestCaseError> {
    let terms = |s: Sums| [s.generated, s.conjugate, s.density_ratio, s.ratio_squares, s.target, s.action, s.generator];
    for (call, step) in terms(calls).into_iter().zip(terms(step)) {
        prop_assert!((call - step).abs() <= tolerance * (1.0 + step.abs()), "{call}, not {step}");
    }
    let norm = expected.iter().map(|g| g * g).sum::<f64>().sqrt();
    let error = expected.iter().zip(&by).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    prop_assert!(error <= tolerance * (norm + 1e-2), "error {error} of {norm}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// On the same networks, noise and batch the calls give what a training's steps do, in any units.
    #[test]
    fn the_calls_are_the_steps(case in prop_oneof![2 => cases().prop_map(Case::without_peaks), 1 => pictures()], scaled in any::<bool>(), seed in any::<u64>()) {
        let isa = Isa::detect();
        for half in Half::BOTH {
            let mut host = host(case.clone(), if scaled { 2.5 } else { 1.0 }, seed, half);
            // The calls know a deterministic generator of one component for a point.
            host.case.atoms = host.objective.atoms();
            // A penalty is the host's to add.
            host.case.penalty = 0.0;
            let Host { case, .. } = &host;
            let precise = if scaled { 1e-10 } else { 1e-12 };
            match half {
                Half::Value => {
                    agree(precise, host.value::<f64>(Isa::Portable), case.value_step::<f64>(Isa::Portable))?;
                    if !scaled {
                        agree(1e-5, host.value::<f32>(isa), case.value_step::<f32>(isa))?;
                    }
                }
                Half::Generator => {
                    agree(precise, host.generator::<f64>(Isa::Portable), case.generator_step::<f64>(Isa::Portable))?;
                    if !scaled {
                        agree(1e-5, host.generator::<f32>(isa), case.generator_step::<f32>(isa))?;
                    }
                }
            }
        }
    }

    /// What the value function's loss is to be differentiated by, against central differences.
    #[test]
    fn the_value_loss_has_these_derivatives(
        rows in 1usize..9, d in 1usize..9, tau in 0.3f64..3.0, psi in 0..crate::formulas::Divergence::ALL.len(),
        scale in 0.3f64..3.0, seed in any::<u64>(),
    ) {
        let divergence = crate::formulas::Divergence::ALL[psi];
        let conditional = crate::euot::conditional::Conditional { components: 1, latent: 0 };
        let head = crate::formulas::Head { deterministic: false };
        let objective = Objective { dimension: d, conditional, head, conjugate: Conjugate { divergence, tau }, scale };
        let axes = Axes::even(d, 0.7);
        let random = |stream, n| normals(seed, stream, n);
        let mut at = [
            random(Stream::Init, rows), random(Stream::Latent, rows), random(Stream::Endpoint, rows * d),
        ];
        let drift = random(Stream::Bridge, rows * d);
        let run = |at: &[Vec<f64>; 3]| {
            let mut block = CpuBlock::<f64>::new(Isa::Portable);
            let mut to = at.each_ref().map(|x| vec![f64::NAN; x.len()]);
            let [generated, target, w] = &mut to;
            let from = ValueRows { v: [&at[0][..], &at[1][..]], g: &at[2][..], drift: &drift[..], rows };
            let into = ValueTo { by_v: [&mut generated[..], &mut target[..]], direction: &mut w[..] };
            let mut sums = Sums::default();
            objective.value(&mut block, &axes, &from, 1.0 / rows as f64, into, &mut sums);
            let loss = (sums.conjugate - sums.generated + sums.action) / rows as f64 * scale * scale;
            (loss, to)
        };
        let (_, by) = run(&at);
        for argument in 0..3 {
            for i in 0..at[argument].len() {
                let (h, here) = (1e-5, at[argument][i]);
                let mut moved = |step: f64| {
                    at[argument][i] = here + step;
                    run(&at).0
                };
                let difference = (moved(h) - moved(-h)) / (2.0 * h);
                at[argument][i] = here;
                let found = by[argument][i];
                prop_assert!((found - difference).abs() < 1e-6 * (1.0 + difference.abs()), "{found}, not {difference}");
            }
        }
    }
}
