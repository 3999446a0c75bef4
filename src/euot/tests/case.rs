//! Problems with all their numbers, for the checks: both steps on them, and their losses by plain loops.

use crate::device::cpu::net::{CpuGradient, CpuNet};
use crate::device::cpu::simd::{Isa, Real};
use crate::device::cpu::{CpuBlock, CpuNoise};
use crate::device::{Batch, Mat, Method, PeaksTerm, Sums, TauAt, Workspace};
use crate::euot::conditional::Conditional;
use crate::euot::generator_step::{GeneratorStep, TIME_MIN};
use crate::euot::value_step::{TIME_MAX, ValueStep};
use crate::formulas::axes::{self, Part};
use crate::formulas::head::{extrapolation, log_std_range};
use crate::formulas::peaks;
use crate::formulas::{Axes, Clock, Conjugate, Head, Tick};
use crate::nn::network::Network;

/// A problem with all its numbers, in f64; `T` is what it is computed in.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub d: usize,
    pub sources: usize,
    pub conditional: Conditional,
    pub head: Head,
    /// Whether the generator step takes its single components for points.
    pub atoms: bool,
    pub conjugate: Conjugate,
    /// Weight of the penalty on V's gradient at y.
    pub penalty: f64,
    pub axes: Axes<Vec<f64>>,
    pub value: Network,
    pub generator: Network,
    pub value_weights: Vec<f64>,
    pub generator_weights: Vec<f64>,
    /// One row a source.
    pub x0: Vec<f64>,
    pub y: Vec<f64>,
    pub z: Vec<f64>,
    pub xi: Vec<f64>,
    pub eta: Vec<f64>,
    /// One number a source, uniform in [0, 1]; so is what components are drawn by.
    pub time: Vec<f64>,
    pub component: Vec<f64>,
}

impl Case {
    fn rows(&self) -> usize {
        self.sources * self.conditional.components
    }

    fn batch<T: Real>(&self, block: &mut CpuBlock<T>, time: impl Fn(f64) -> f64) -> Batch<CpuNoise> {
        let rows = self.rows();
        let Conditional { components, latent } = self.conditional;
        let (d, width) = (self.d, self.d + latent);
        let input = block.scratch(rows, width);
        let ends = block.scratch(2 * rows, d + 1);
        let [xi, eta] = [0; 2].map(|_| block.scratch(rows, d));
        let times = block.scratch(rows, Tick::<T>::NUMBERS);
        let component = block.scratch(self.sources, 1);
        // `every` consecutive rows share a line of the values.
        let mut fill = |to: Mat, values: &[f64], every: usize| {
            for r in 0..to.rows {
                for c in 0..to.cols {
                    block.row_mut(to, r)[c] = T::of(values[r / every * to.cols + c]);
                }
            }
        };
        fill(input.columns(0, d), &self.x0, components);
        fill(input.columns(d, width), &self.z, 1);
        let targets = ends.rows(rows, 2 * rows);
        fill(targets.columns(0, d), &self.y, 1);
        fill(targets.columns(d, d + 1), &[1.0], rows);
        fill(xi, &self.xi, 1);
        fill(eta, &self.eta, 1);
        fill(component, &self.component, 1);
        for r in 0..rows {
            let tick = self.axes.clock.at(T::of(time(self.time[r / components])));
            block.row_mut(times, r).copy_from_slice(&tick.row());
        }
        Batch { input, ends: Some(ends), noise: CpuNoise { xi, eta, component }, time: times, first_source: 0 }
    }

    fn nets<T: Real>(&self, isa: Isa) -> [CpuNet<T>; 2] {
        [(&self.value, &self.value_weights), (&self.generator, &self.generator_weights)].map(|(network, weights)| {
            let mut net = CpuNet::new(isa, &network.layout, &network.centre, true).unwrap();
            net.pack(&weights.iter().map(|&w| T::of(w)).collect::<Vec<T>>());
            net
        })
    }

    /// Rows `from..to` of a batch, as a batch of their own.
    fn part<T: Real>(&self, block: &mut CpuBlock<T>, of: &Batch<CpuNoise>, from: usize, to: usize) -> Batch<CpuNoise> {
        let rows = to - from;
        let ends = block.scratch(2 * rows, self.d + 1);
        for r in 0..rows {
            let y = block.row(of.ends.unwrap(), self.rows() + from + r).to_vec();
            block.row_mut(ends, rows + r).copy_from_slice(&y);
        }
        let [xi, eta] = [of.noise.xi, of.noise.eta].map(|noise| noise.rows(from, to));
        let noise = CpuNoise { xi, eta, component: Mat::NONE };
        let first_source = from / self.conditional.components;
        Batch { input: of.input.rows(from, to), ends: Some(ends), noise, time: of.time.rows(from, to), first_source }
    }

    /// What [`Self::value_step`] and [`Self::generator_step`] give, with V passed by some source samples after others,
    /// each time in a workspace full of what was there before.
    pub fn by_parts<T: Real>(&self, isa: Isa) -> [(Sums, Vec<f64>); 2] {
        let mut block = CpuBlock::<T>::new(isa);
        let [value, generator] = self.nets::<T>(isa);
        let mut gradients =
            [&self.value, &self.generator].map(|network| CpuGradient::<T>::new(&network.layout).unwrap());
        for gradient in &mut gradients {
            gradient.values.fill(T::nan());
            gradient.restart();
        }
        let [to_value, to_generator] = &mut gradients;
        let mut sums = [Sums::default(); 2];
        // One source sample at a time, or two.
        let each = (1 + self.d % 2) * self.conditional.components;
        let parts = || (0..self.rows()).step_by(each).map(|from| (from, self.rows().min(from + each)));

        let axes = self.axes.rounded();
        let (step, batch) = (self.value_step_of(&axes), self.batch(&mut block, |t| t * TIME_MAX));
        let drawn = step.draw(&mut block, &generator, batch.input, &batch.noise);
        for (from, to) in parts() {
            let mark = spoil(&mut block);
            let part = self.part(&mut block, &batch, from, to);
            step.carry(&mut block, &value, &part, drawn.rows(from, to), to_value, &mut sums[0]);
            block.reset(mark);
        }

        let (step, batch) =
            (self.generator_step_of(&axes), self.batch(&mut block, |t| TIME_MIN + (1.0 - TIME_MIN) * t));
        let recorded = step.record(&mut block, &generator, batch.input);
        for (from, to) in parts() {
            let mark = spoil(&mut block);
            let part = self.part(&mut block, &batch, from, to);
            step.carry(&mut block, &value, &part, &recorded.components.rows(from, to), &mut sums[1]);
            block.reset(mark);
        }
        step.backward(&mut block, &generator, &recorded, to_generator);
        gradients.iter_mut().for_each(CpuGradient::complete);
        let [to_value, to_generator] = gradients.map(|gradient| gradient.values.iter().map(|g| g.wide()).collect());
        [(sums[0], to_value), (sums[1], to_generator)]
    }

    fn value_step_of<'a, S>(&'a self, axes: &'a Axes<S>) -> ValueStep<'a, S> {
        ValueStep {
            value: &self.value,
            generator: &self.generator,
            conditional: self.conditional,
            head: self.head,
            conjugate: self.conjugate,
            tau_at: TauAt::CONSTANT,
            axes,
            penalty: self.penalty,
            scale: 1.0 / self.rows() as f64,
        }
    }

    fn generator_step_of<'a, S>(&'a self, axes: &'a Axes<S>) -> GeneratorStep<'a, S> {
        GeneratorStep {
            atoms: self.atoms,
            value: &self.value,
            generator: &self.generator,
            conditional: self.conditional,
            head: self.head,
            axes,
            scale: 1.0 / self.rows() as f64,
        }
    }

    /// Loss terms and gradient of the value step.
    pub fn value_step<T: Real>(&self, isa: Isa) -> (Sums, Vec<f64>) {
        let mut block = CpuBlock::<T>::new(isa);
        let [value, generator] = self.nets::<T>(isa);
        let batch = self.batch(&mut block, |t| t * TIME_MAX);
        let mut gradient = CpuGradient::new(&self.value.layout).unwrap();
        let mut sums = Sums::default();
        let axes = self.axes.rounded();
        self.value_step_of(&axes).run(&mut block, &value, &generator, &batch, &mut gradient, &mut sums);
        (sums, gradient.values.iter().map(|g| g.wide()).collect())
    }

    /// The same case without peaks.
    pub fn without_peaks(mut self) -> Self {
        self.axes.numbers.truncate(axes::numbers(self.d));
        (self.axes.peaks, self.axes.turned) = (0, false);
        self
    }

    /// Adds the part of V, or of its gradient, that peaks have at states of these times.
    fn add_peaks(&self, block: &mut CpuBlock<f64>, time: impl Fn(usize) -> f64, x: Mat, [v, g]: [Option<Mat>; 2]) {
        if self.axes.peaks > 0 {
            let ticks = block.scratch(x.rows, Tick::<f64>::NUMBERS);
            for r in 0..x.rows {
                block.row_mut(ticks, r).copy_from_slice(&self.axes.clock.at(time(r)).row());
            }
            block.peaks(&PeaksTerm { axes: &self.axes, time: Some(ticks), x: x.columns(0, self.d), v, g });
        }
    }

    /// Loss terms of the value step, and for each of its ends the sample and V(1, .) there.
    pub fn value_terms(&self) -> (Sums, Vec<(Vec<f64>, f64)>) {
        let mut block = CpuBlock::<f64>::new(Isa::Portable);
        let [value, generator] = self.nets::<f64>(Isa::Portable);
        let batch = self.batch(&mut block, |t| t * TIME_MAX);
        let mut gradient = CpuGradient::new(&self.value.layout).unwrap();
        let mut sums = Sums::default();
        self.value_step_of(&self.axes).run(&mut block, &value, &generator, &batch, &mut gradient, &mut sums);
        let ends = batch.ends.unwrap();
        let v = self.value.record(&mut block, &value, ends).output;
        self.add_peaks(&mut block, |_| 1.0, ends, [Some(v), None]);
        let end = |r: usize| {
            let x = block.row(ends, r)[..self.d].to_vec();
            let known = self.axes.known(&x);
            (x, block.row(v, r)[0] + known)
        };
        (sums, (0..ends.rows).map(end).collect())
    }

    /// Loss terms and gradient of the generator step.
    pub fn generator_step<T: Real>(&self, isa: Isa) -> (Sums, Vec<f64>) {
        let mut block = CpuBlock::<T>::new(isa);
        let [value, generator] = self.nets::<T>(isa);
        let batch = self.batch(&mut block, |t| TIME_MIN + (1.0 - TIME_MIN) * t);
        let mut gradient = CpuGradient::new(&self.generator.layout).unwrap();
        let mut sums = Sums::default();
        let axes = self.axes.rounded();
        self.generator_step_of(&axes).run(&mut block, &value, &generator, &batch, &mut gradient, &mut sums);
        (sums, gradient.values.iter().map(|g| g.wide()).collect())
    }

    /// Whether every place along the cumulated probabilities is so far from a boundary that rounding cannot draw
    /// another component.
    pub fn decided(&self) -> bool {
        if !self.conditional.has_own_components() {
            return true;
        }
        let [.., weight] = self.components();
        let k = self.conditional.components;
        weight.chunks_exact(k).zip(&self.component).all(|(weights, u)| {
            let mut cumulated = 0.0;
            weights[..k - 1].iter().all(|weight| {
                cumulated += weight;
                // Places are j + u, in units of one over K.
                let near = (cumulated - u).rem_euclid(1.0);
                near.min(1.0 - near) > 1e-3
            })
        })
    }

    pub fn value_loss(&self) -> f64 {
        let sums = self.value_step::<f64>(Isa::Portable).0;
        (sums.conjugate - sums.generated + sums.action) / self.rows() as f64 + self.penalty_loss()
    }

    /// The penalty by plain loops over the target samples.
    fn penalty_loss(&self) -> f64 {
        let mut block = CpuBlock::<f64>::new(Isa::Portable);
        let value = &self.nets::<f64>(Isa::Portable)[0];
        let rows = self.rows();
        let ends = self.batch(&mut block, |t| t).ends.unwrap().rows(rows, 2 * rows);
        let tape = self.value.record_hidden(&mut block, value, ends, true);
        let g = self.value.input_gradient(&mut block, value, &tape).value;
        self.add_peaks(&mut block, |_| 1.0, ends, [None, Some(g)]);
        let tick = Clock::new(self.axes.clock.log_range(), 1.0).at(1.0);
        let along = |j: usize| {
            let ([.., speed], sigma): ([f64; 3], _) =
                (tick.along(self.axes.part(Part::Rate)[j]), self.axes.part(Part::Sigma)[j]);
            speed * sigma * sigma / self.axes.noise
        };
        let squares = |r: usize| (0..self.d).map(|j| along(j) * block.row(g, r)[j].powi(2)).sum::<f64>();
        self.penalty * (0..rows).map(|r| 0.5 * squares(r)).sum::<f64>() / rows as f64
    }

    pub fn generator_loss(&self) -> f64 {
        self.generator_step::<f64>(Isa::Portable).0.generator / self.rows() as f64
    }

    /// Bridge time of a row in the generator step.
    fn time_of(&self, row: usize) -> f64 {
        TIME_MIN + (1.0 - TIME_MIN) * self.time[row / self.conditional.components]
    }

    /// Time of axis j for a row in the generator step, what is left of it, and the axis's noise.
    fn along(&self, row: usize, j: usize) -> [f64; 3] {
        let [t, rest, _] = self.axes.clock.at(self.time_of(row)).along(self.axes.part(Part::Rate)[j]);
        [t, rest, self.axes.part(Part::Sigma)[j]]
    }

    /// What a component's mean and variances are along: x, or its places along the component's own axes away from x0.
    fn places(&self, row: usize, component: usize, x: &[f64]) -> Vec<f64> {
        if !self.axes.turned {
            return x.to_vec();
        }
        let x0 = &self.x0[row / self.conditional.components * self.d..][..self.d];
        let along =
            |j| own_axis(&self.axes, component, j).iter().zip(x.iter().zip(x0)).map(|(a, (x, x0))| a * (x - x0)).sum();
        (0..self.d).map(along).collect()
    }

    /// The point with these places.
    fn point(&self, row: usize, component: usize, places: &[f64]) -> Vec<f64> {
        if !self.axes.turned {
            return places.to_vec();
        }
        let mut x = self.x0[row / self.conditional.components * self.d..][..self.d].to_vec();
        for (j, place) in places.iter().enumerate() {
            x.iter_mut().zip(own_axis(&self.axes, component, j)).for_each(|(x, a)| *x += place * a);
        }
        x
    }

    /// Mean and variance of every component of the generator step, rows x d each along what [`Self::places`] says, and K times the
    /// probability of each.
    fn components(&self) -> [Vec<f64>; 3] {
        let mut block = CpuBlock::<f64>::new(Isa::Portable);
        let generator = &self.nets::<f64>(Isa::Portable)[1];
        let batch = self.batch(&mut block, |t| t);
        let (k, width) = (self.conditional.components, self.head.raw(self.d));
        let own = self.conditional.has_own_components();
        let outputs = self.conditional.outputs_at(&mut block, &self.generator, generator, batch.input, &self.axes);
        // Every row of a source sample gives all its components where they are the network's own.
        let raw = |r: usize, i: usize| block.row(outputs, r)[if own { r % k * width + i } else { i }];
        let top = |r: usize| block.row(outputs, r)[k * width..].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let logit = |r: usize, c: usize| if own { (block.row(outputs, r)[k * width + c] - top(r)).exp() } else { 1.0 };
        let weight = |r: usize| k as f64 * logit(r, r % k) / (0..k).map(|c| logit(r, c)).sum::<f64>();
        let element = |i: usize| {
            let (r, j) = (i / self.d, i % self.d);
            let [t, rest, sigma] = self.along(r, j);
            let offset = (0.5 * sigma).ln();
            let (low, high) = log_std_range(offset);
            let s = (raw(r, self.d + j) + offset).clamp(low, high).exp();
            let from = if self.axes.turned { 0.0 } else { self.x0[r / k * self.d + j] };
            (from + t * raw(r, j), t * t * s * s + sigma * sigma * t * rest)
        };
        let (mean, variance) = (0..self.rows() * self.d).map(element).unzip();
        [mean, variance, (0..self.rows()).map(weight).collect()]
    }

    /// The generator's loss by plain loops, as a function of x_t and of how much each row counts: x_t moves with its
    /// own component and keeps its distance from it in standard deviations, while p is the mixture of `held`'s
    /// components.
    pub fn loss_of_samples(&self, held: &Self) -> f64 {
        let (d, k, eps) = (self.d, self.conditional.components, self.axes.noise);
        let [mean, variance, weight] = self.components();
        let [held_mean, held_variance, held_weight] = held.components();
        let value = &self.nets::<f64>(Isa::Portable)[0];
        let mut block = CpuBlock::<f64>::new(Isa::Portable);
        let state = block.scratch(self.rows(), d + 1);
        for r in 0..self.rows() {
            let place = |i: usize| {
                let [t, rest, sigma] = self.along(r, i % d);
                let brown = sigma * sigma * t * rest;
                let own = (held_variance[i] - brown).max(0.0).sqrt();
                let away = own * self.xi[i] + brown.sqrt() * self.eta[i];
                mean[i] + (variance[i] / held_variance[i]).sqrt() * away
            };
            let places: Vec<f64> = (r * d..(r + 1) * d).map(place).collect();
            block.row_mut(state, r)[..d].copy_from_slice(&self.point(r, r % k, &places));
            block.row_mut(state, r)[d] = self.time_of(r);
        }
        let v = self.value.forward(&mut block, value, state);
        self.add_peaks(&mut block, |r| self.time_of(r), state, [Some(v), None]);
        let log_normal = |x: f64, mean: f64, variance: f64| -0.5 * ((x - mean).powi(2) / variance + variance.ln());
        let row = |r: usize| {
            let x = block.row(state, r);
            let first = r / k * k;
            let density = |c: usize| -> f64 {
                let x = self.places(r, c % k, &x[..d]);
                (0..d).map(|j| log_normal(x[j], held_mean[c * d + j], held_variance[c * d + j])).sum()
            };
            let mean_log = |components: std::ops::Range<usize>| {
                let count = components.len() as f64;
                let logs: Vec<f64> = components.map(|c| held_weight[first + c].ln() + density(first + c)).collect();
                let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                top + (logs.into_iter().map(|log| (log - top).exp()).sum::<f64>() / count).ln()
            };
            let half = if self.conditional.has_own_components() { 0 } else { k / 2 };
            let own = if r - first < half { 0..half } else { half..k };
            let (by_all, by_own) = extrapolation(k, own.len());
            let log_p = by_all * mean_log(0..k) - by_own * mean_log(own);
            let log_w: f64 = (0..d)
                .map(|j| {
                    let [t, _, sigma] = self.along(r, j);
                    log_normal(x[j], self.x0[r / k * d + j], sigma * sigma * t)
                })
                .sum();
            weight[r] * (block.row(v, r)[0] + eps * (log_p - log_w))
        };
        (0..self.rows()).map(row).sum::<f64>() / self.rows() as f64
    }
}

/// Fills what is free of a workspace with what must not be read; returns how far it is used.
fn spoil<T: Real>(block: &mut CpuBlock<T>) -> usize {
    let mark = block.mark();
    let free = block.scratch(64, 2048);
    block.fill(free, f64::NAN);
    block.reset(mark);
    mark
}

/// Returns axis j of a component's peak, where these have axes of their own.
pub(super) fn own_axis(axes: &Axes<Vec<f64>>, component: usize, j: usize) -> Vec<f64> {
    let (d, peaks) = (axes.dimension, axes.peaks);
    let start = axes::numbers(d) + peaks::numbers(peaks, d) + component % peaks * peaks::turned_numbers(d);
    (0..d).map(|i| axes.numbers[start + i * peaks::width(d) + j]).collect()
}
