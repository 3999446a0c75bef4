//! Checks of the two steps: gradients against central differences in f64 over random problems, and agreement of every
//! instruction set. The same code runs in f32 in production.

use super::Batch;
use super::divergence::{Conjugate, Divergence};
use super::generator_step::{GeneratorStep, TIME_MIN};
use super::value_step::{TIME_MAX, ValueStep};
use crate::device::cpu::net::{CpuGradient, CpuNet};
use crate::device::cpu::simd::{Isa, Real};
use crate::device::cpu::{CpuBlock, CpuNoise};
use crate::device::{Activation, Device, Head, Mat, Sums};
use crate::nn::checks::check_gradient;
use crate::nn::layout::Layout;
use crate::nn::mlp::Mlp;
use crate::rng::{Sequence, Stream};
use proptest::prelude::*;

/// A problem with all its numbers, in f64; `T` is what it is computed in.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub d: usize,
    pub latent: usize,
    pub sources: usize,
    pub latents: usize,
    pub head: Head,
    pub conjugate: Conjugate,
    pub value: Mlp,
    pub generator: Mlp,
    pub value_weights: Vec<f64>,
    pub generator_weights: Vec<f64>,
    /// One row a source.
    pub x0: Vec<f64>,
    pub y: Vec<f64>,
    pub z: Vec<f64>,
    pub xi: Vec<f64>,
    pub eta: Vec<f64>,
    /// One number a source, uniform in [0, 1].
    pub time: Vec<f64>,
}

impl Case {
    fn rows(&self) -> usize {
        self.sources * self.latents
    }

    fn batch<T: Real>(&self, block: &mut CpuBlock<T>, time: impl Fn(f64) -> f64) -> Batch<CpuNoise> {
        let rows = self.rows();
        let (d, width) = (self.d, self.d + self.latent);
        let input = block.scratch(rows, width);
        let ends = block.scratch(2 * rows, d + 1);
        let [xi, eta] = [0; 2].map(|_| block.scratch(rows, d));
        let times = block.scratch(rows, 1);
        // `every` consecutive rows share a line of the values.
        let mut fill = |to: Mat, values: &[f64], every: usize| {
            for r in 0..rows {
                for c in 0..to.cols {
                    block.row_mut(to, r)[c] = T::of(values[r / every * to.cols + c]);
                }
            }
        };
        fill(input.columns(0, d), &self.x0, self.latents);
        fill(input.columns(d, width), &self.z, 1);
        let targets = ends.rows(rows, 2 * rows);
        fill(targets.columns(0, d), &self.y, 1);
        fill(targets.columns(d, d + 1), &[1.0], rows);
        fill(xi, &self.xi, 1);
        fill(eta, &self.eta, 1);
        fill(times, &self.time.iter().map(|&t| time(t)).collect::<Vec<_>>(), self.latents);
        Batch { input, ends: Some(ends), noise: CpuNoise { xi, eta }, time: times }
    }

    fn nets<T: Real>(&self, isa: Isa) -> [CpuNet<T>; 2] {
        [(&self.value, &self.value_weights), (&self.generator, &self.generator_weights)].map(|(mlp, weights)| {
            let mut net = CpuNet::new(isa, &mlp.layout, true);
            net.pack(&weights.iter().map(|&w| T::of(w)).collect::<Vec<T>>());
            net
        })
    }

    /// Loss terms and gradient of the value step.
    pub fn value_step<T: Real>(&self, isa: Isa) -> (Sums, Vec<f64>) {
        let mut block = CpuBlock::<T>::new(isa);
        let [value, generator] = self.nets::<T>(isa);
        let batch = self.batch(&mut block, |t| t * TIME_MAX);
        let mut gradient = CpuGradient::new(&self.value.layout);
        let mut sums = Sums::default();
        let step = ValueStep {
            value: &self.value,
            generator: &self.generator,
            head: self.head,
            conjugate: self.conjugate,
            scale: 1.0 / self.rows() as f64,
        };
        step.run(&mut block, &value, &generator, &batch, &mut gradient, &mut sums);
        (sums, gradient.values.iter().map(|g| g.wide()).collect())
    }

    /// Loss terms and gradient of the generator step.
    pub fn generator_step<T: Real>(&self, isa: Isa) -> (Sums, Vec<f64>) {
        let mut block = CpuBlock::<T>::new(isa);
        let [value, generator] = self.nets::<T>(isa);
        let batch = self.batch(&mut block, |t| TIME_MIN + (1.0 - TIME_MIN) * t);
        let mut gradient = CpuGradient::new(&self.generator.layout);
        let mut sums = Sums::default();
        let step = GeneratorStep {
            value: &self.value,
            generator: &self.generator,
            head: self.head,
            latents: self.latents,
            scale: 1.0 / self.rows() as f64,
        };
        step.run(&mut block, &value, &generator, &batch, &mut gradient, &mut sums);
        (sums, gradient.values.iter().map(|g| g.wide()).collect())
    }

    fn value_loss(&self) -> f64 {
        let sums = self.value_step::<f64>(Isa::Portable).0;
        (sums.conjugate - sums.generated + sums.action) / self.rows() as f64
    }

    fn generator_loss(&self) -> f64 {
        self.generator_step::<f64>(Isa::Portable).0.generator / self.rows() as f64
    }
}

fn normals(seed: u64, stream: Stream, n: usize) -> Vec<f64> {
    let mut x = vec![0f32; n];
    Sequence::new(seed, 0, stream).normals(0, &mut x);
    x.into_iter().map(f64::from).collect()
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1usize..6, 1usize..5, 1usize..4, 1usize..19, 1usize..4, 1usize..40);
    let problem = (0.05f64..2.0, 0.3f64..3.0, 0usize..4, 0usize..3, any::<bool>(), any::<u64>());
    (sizes, problem).prop_map(
        |((d, latent, sources, latents, hidden, width), (sigma, tau, psi, act, deterministic, seed))| {
            let activation = [Activation::Silu, Activation::Tanh, Activation::Softplus][act];
            let divergence = [Divergence::Balanced, Divergence::Kl, Divergence::Chi2, Divergence::Softplus][psi];
            let mlp = |inputs, outputs| Mlp { layout: Layout::new(inputs, width, hidden, outputs), activation };
            let value = mlp(d + 1, 1);
            let generator = mlp(d + latent, if deterministic { d } else { 2 * d });
            let weights = |mlp: &Mlp, stream| {
                let mut w = normals(seed, stream, mlp.layout.len());
                for layer in &mlp.layout.layers {
                    w[layer.offset..layer.bias()].iter_mut().for_each(|x| *x /= (layer.inputs as f64).sqrt());
                }
                w
            };
            let rows = sources * latents;
            let mut time = vec![0f32; sources];
            Sequence::new(seed, 0, Stream::Time).uniforms(0, &mut time);
            Case {
                d,
                latent,
                sources,
                latents,
                head: Head { sigma, deterministic },
                conjugate: Conjugate { divergence, tau },
                value_weights: weights(&value, Stream::Init),
                generator_weights: weights(&generator, Stream::SourceIndex),
                value,
                generator,
                x0: normals(seed ^ 1, Stream::Init, sources * d),
                y: normals(seed ^ 2, Stream::Init, rows * d),
                z: normals(seed, Stream::Latent, rows * latent),
                xi: normals(seed, Stream::Endpoint, rows * d),
                eta: normals(seed, Stream::Bridge, rows * d),
                time: time.into_iter().map(|t| f64::from(t) * 0.98).collect(),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn value_step_gradient(case in cases()) {
        let gradient = case.value_step::<f64>(Isa::Portable).1;
        check_gradient(&case, &gradient, |c| &mut c.value_weights, Case::value_loss)?;
    }

    #[test]
    fn generator_step_gradient(case in cases()) {
        let gradient = case.generator_step::<f64>(Isa::Portable).1;
        check_gradient(&case, &gradient, |c| &mut c.generator_weights, Case::generator_loss)?;
    }

    /// f32 on every instruction set of this processor against f64.
    #[test]
    fn instruction_sets_agree(case in cases()) {
        let exact = [case.value_step::<f64>(Isa::Portable).1, case.generator_step::<f64>(Isa::Portable).1];
        let sets: &[Isa] = match Isa::detect() {
            Isa::Avx512 => &[Isa::Avx512, Isa::Avx2, Isa::Portable],
            Isa::Avx2 => &[Isa::Avx2, Isa::Portable],
            Isa::Portable => &[Isa::Portable],
        };
        for &isa in sets {
            let single = [case.value_step::<f32>(isa).1, case.generator_step::<f32>(isa).1];
            for (exact, single) in exact.iter().zip(&single) {
                let norm = exact.iter().map(|g| g * g).sum::<f64>().sqrt();
                let error = exact.iter().zip(single).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
                prop_assert!(error < 3e-4 * (norm + 1e-2), "{isa:?}: error {error} of {norm}");
            }
        }
    }
}
