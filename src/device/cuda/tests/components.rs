//! Components for the rows of source samples, and the gradient back to the outputs that they came from.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{
    Output, close, close_from, cpu, download, in_two_orders, normals, turned, turned_counts, turned_dimensions,
    uniforms, upload,
};
use crate::device::cpu::CpuNoise;
use crate::device::{Chosen, Mat, Method, Workspace};
use crate::formulas::Axes;
use crate::rng::{Sequence, Stream};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    sources: usize,
    components: usize,
    d: usize,
    gap: usize,
    /// How far the logits spread: from all alike to one that takes all.
    spread: f32,
    /// The last component has no probability.
    dead: bool,
    first_source: u64,
    seed: u64,
}

impl Problem {
    fn raw(&self) -> usize {
        2 * self.d
    }

    fn outputs(&self) -> Vec<f32> {
        let cols = self.components * (self.raw() + 1);
        let mut outputs = normals(self.seed, self.sources * cols);
        for line in outputs.chunks_exact_mut(cols) {
            line[self.components * self.raw()..].iter_mut().for_each(|logit| *logit *= self.spread);
            if self.dead && self.components > 1 {
                line[cols - 1] = -1e3;
            }
        }
        outputs
    }

    fn matrix(&self, values: &[f32], cols: usize) -> Matrix {
        Matrix::of(values, cols, cols + self.gap)
    }

    fn choose(&self, each: usize, drawn: bool) {
        let (rows, raw, cols) = (self.sources * each, self.raw(), self.components * (self.raw() + 1));
        let (values, step) = (self.outputs(), 5u64);
        let mut block = cpu();
        let outputs = upload(&mut block, &values, cols);
        let component = block.scratch(self.sources, 1);
        block.draw_uniforms(&Sequence::new(self.seed, step, Stream::Component), self.first_source, component);
        let noise = CpuNoise { xi: Mat::NONE, eta: Mat::NONE, component };
        let (to, [log, which]) = (block.scratch(rows, raw), [0; 2].map(|_| block.scratch(rows, 1)));
        block.choose(outputs, drawn.then_some(&noise), &Chosen { raw: to, log: Some(log), which: Some(which) });

        let from = self.matrix(&values, cols);
        // Where they are not wanted they are not written.
        let numbered = !self.seed.is_multiple_of(3);
        let [out, weights, numbers]: [Output; 3] = in_two_orders(self.seed, |order| {
            let out = Matrix::new(rows, raw, raw + self.gap);
            let [weights, numbers] = [0; 2].map(|_| Matrix::new(rows, 1, 1));
            let mut arguments = Vec::from(arguments_of![
                &from.data,
                from.stride as u32,
                self.sources as u32,
                each as u32,
                self.components as u32,
                raw as u32,
                u32::from(drawn),
                self.seed,
                0u64,
                step,
                self.first_source,
                &out.data,
                out.stride as u32,
                &weights.data,
                numbered.then_some(&numbers.data),
            ]);
            launch("components_choose", [2, 1, 1], [64, 1, 1], order, &mut arguments);
            [out.into(), weights.into(), numbers.into()]
        });
        assert_eq!(out.values(), download(&block, to));
        if numbered {
            assert_eq!(numbers.values(), download(&block, which));
        }
        close_from("log-weights", &weights.values(), &download(&block, log), 1, 1.0);
    }

    fn fold(&self) {
        let (rows, raw, cols) = (self.sources * self.components, self.raw(), self.components * (self.raw() + 1));
        let values = self.outputs();
        let (delta, loss) = (normals(self.seed ^ 1, rows * raw), normals(self.seed ^ 2, rows));
        let scale = 1.0 / rows as f64;
        let mut block = cpu();
        let [outputs, by_raw, losses] =
            [(&values, cols), (&delta, raw), (&loss, 1)].map(|(values, cols)| upload(&mut block, values, cols));
        let to = block.scratch(self.sources, cols);
        block.fold(outputs, by_raw, losses, scale, to);

        let (from, delta) = (self.matrix(&values, cols), self.matrix(&delta, raw));
        let losses = Buffer::of(&loss);
        let [found]: [Output; 1] = in_two_orders(self.seed, |order| {
            let out = Matrix::new(self.sources, cols, cols + self.gap);
            let mut arguments = Vec::from(arguments_of![
                &from.data,
                from.stride as u32,
                self.sources as u32,
                self.components as u32,
                raw as u32,
                &delta.data,
                delta.stride as u32,
                &losses,
                scale,
                &out.data,
                out.stride as u32,
            ]);
            launch("components_fold", [2, 1, 1], [64, 1, 1], order, &mut arguments);
            [out.into()]
        });
        close("fold", &found.values(), &download(&block, to), cols);
    }

    /// Compares the means, of components along the axes of so many peaks, or of none.
    fn mean(&self, peaks: Option<usize>) {
        let (raw, cols) = (self.raw(), self.components * (self.raw() + 1));
        let (values, x0) = (self.outputs(), uniforms(self.seed, self.sources * self.d, -1.0, 1.0));
        let axes = peaks.map_or_else(|| Axes::even(self.d, 1.0), |peaks| turned(self.seed, self.d, 1.0, peaks));
        let mut block = cpu();
        let (outputs, to) = (upload(&mut block, &values, cols), upload(&mut block, &x0, self.d));
        block.components_mean(outputs, raw, &axes, to);

        let (from, numbers) = (self.matrix(&values, cols), Buffer::of(&axes.numbers));
        let [found]: [Output; 1] = in_two_orders(self.seed, |order| {
            let out = self.matrix(&x0, self.d);
            let mut arguments = Vec::from(arguments_of![
                &from.data,
                from.stride as u32,
                self.sources as u32,
                self.components as u32,
                raw as u32,
                self.d as u32,
            ]);
            if let Some(peaks) = peaks {
                arguments.extend(Vec::from(arguments_of![&numbers, peaks as u32]));
            }
            arguments.extend(Vec::from(arguments_of![&out.data, out.stride as u32]));
            let kernel = if peaks.is_some() { "components_mean_turned" } else { "components_mean" };
            launch(kernel, [2, 1, 1], [64, 1, 1], order, &mut arguments);
            [out.into()]
        });
        close_from("mean", &found.values(), &download(&block, to), self.d, 1.0);
    }
}

fn problems() -> impl Strategy<Value = Problem> {
    (1usize..12, 1usize..80, 1usize..40, 0usize..4, 0f32..30.0, any::<bool>(), any::<u64>()).prop_map(
        |(sources, components, d, gap, spread, dead, seed)| {
            let first_source = if seed.is_multiple_of(2) { seed % 100 } else { u64::MAX - seed % 5 };
            Problem { sources, components, d, gap, spread, dead, first_source, seed }
        },
    )
}

proptest! {
    #![proptest_config(super::support::cases(24))]

    #[test]
    fn chosen_in_turn(problem in problems()) {
        if available() {
            problem.choose(problem.components, false);
        }
    }

    #[test]
    fn drawn(problem in problems(), each in 1usize..20) {
        if available() {
            problem.choose(each, true);
        }
    }

    #[test]
    fn folded(problem in problems()) {
        if available() {
            problem.fold();
        }
    }

    #[test]
    fn averaged(problem in problems()) {
        if available() {
            problem.mean(None);
        }
    }

    #[test]
    fn averaged_along_own_axes(problem in problems(), d in turned_dimensions(), peaks in turned_counts()) {
        if available() {
            Problem { d, ..problem }.mean(Some(peaks));
        }
    }
}
