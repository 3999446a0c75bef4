//! From a generator's outputs for each source sample to components for its rows, and back. In 64 bits where probabilities
//! are added up: a few numbers a source sample.

use super::block::{CpuBlock, CpuNoise};
use super::simd::Real;
use crate::device::Mat;

/// The probabilities of a source sample's K components, from the logits at the end of its outputs.
#[derive(Clone, Copy)]
struct Probabilities {
    components: usize,
    /// Where the logits begin.
    first: usize,
    top: f64,
    total: f64,
}

impl Probabilities {
    fn new<T: Real>(outputs: &[T], components: usize) -> Self {
        let first = outputs.len() - components;
        // A NaN does not enter the largest; it shows in the total.
        let top = outputs[first..].iter().fold(f64::NEG_INFINITY, |top, logit| top.max(logit.wide()));
        let total = outputs[first..].iter().map(|logit| (logit.wide() - top).exp()).sum();
        Self { components, first, top, total }
    }

    fn of<T: Real>(&self, outputs: &[T], component: usize) -> f64 {
        (outputs[self.first + component].wide() - self.top).exp() / self.total
    }

    /// log(K probability).
    fn log<T: Real>(&self, outputs: &[T], component: usize) -> f64 {
        outputs[self.first + component].wide() - self.top + (self.components as f64 / self.total).ln()
    }
}

/// How many components there are of `raw` numbers and a logit each.
fn count(outputs: Mat, raw: usize) -> usize {
    assert!(outputs.cols.is_multiple_of(raw + 1));
    outputs.cols / (raw + 1)
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn components_choose(&mut self, outputs: Mat, noise: Option<&CpuNoise>, raw: Mat, log: Option<Mat>) {
        let components = count(outputs, raw.cols);
        let each = raw.rows / outputs.rows;
        for source in 0..outputs.rows {
            let probabilities = Probabilities::new(self.row(outputs, source), components);
            let uniform = noise.map(|noise| self.row(noise.component, source)[0].wide());
            let (mut component, mut cumulated) = (0, probabilities.of(self.row(outputs, source), 0));
            for i in 0..each {
                let row = source * each + i;
                match uniform {
                    None => component = i,
                    Some(uniform) => {
                        let at = (i as f64 + uniform) / each as f64;
                        while component + 1 < components && at > cumulated {
                            component += 1;
                            cumulated += probabilities.of(self.row(outputs, source), component);
                        }
                    }
                }
                let (out, line) = self.two_rows(raw, row, outputs, source);
                out.copy_from_slice(&line[component * raw.cols..][..raw.cols]);
                if let Some(log) = log {
                    let weight = probabilities.log(self.row(outputs, source), component);
                    self.row_mut(log, row)[0] = T::of(weight);
                }
            }
        }
    }

    pub(super) fn components_fold(&mut self, outputs: Mat, delta: Mat, loss: Mat, scale: f64, to: Mat) {
        let raw = delta.cols;
        let components = count(outputs, raw);
        for source in 0..outputs.rows {
            let first = source * components;
            let probabilities = Probabilities::new(self.row(outputs, source), components);
            let line = self.row(outputs, source);
            let mean: f64 =
                (0..components).map(|k| probabilities.of(line, k) * self.row(loss, first + k)[0].wide()).sum();
            for k in 0..components {
                let probability = probabilities.of(self.row(outputs, source), k);
                let excess = self.row(loss, first + k)[0].wide() - mean;
                let (out, delta) = self.two_rows(to, source, delta, first + k);
                out[k * raw..(k + 1) * raw].copy_from_slice(delta);
                out[components * raw + k] = T::of(scale * components as f64 * probability * excess);
            }
        }
    }

    /// Adds the mean of x1 - x0 given each source sample, over all its components, to the rows of `to`.
    pub fn components_mean(&mut self, outputs: Mat, raw: usize, to: Mat) {
        let components = count(outputs, raw);
        for source in 0..outputs.rows {
            let probabilities = Probabilities::new(self.row(outputs, source), components);
            for k in 0..components {
                let probability = T::of(probabilities.of(self.row(outputs, source), k));
                let (out, line) = self.two_rows(to, source, outputs, source);
                for (sum, mean) in out.iter_mut().zip(&line[k * raw..]) {
                    *sum = *sum + probability * *mean;
                }
            }
        }
    }
}
