//! Takes the components of rows from a generator's outputs for their source samples, and gradients back. Probabilities
//! are added up in 64 bits, which are a few numbers for each source sample.

use super::block::{CpuBlock, CpuNoise};
use super::simd::Real;
use crate::device::{Chosen, Mat};
use crate::formulas::Axes;
use crate::formulas::peaks::{MOST_PEAKS, MOST_TURNED};

/// The probabilities of a source sample's K components, computed from the logits at the end of its outputs.
#[derive(Clone, Copy)]
struct Probabilities {
    components: usize,
    /// Index of the first logit.
    first: usize,
    top: f64,
    total: f64,
}

impl Probabilities {
    fn new<T: Real>(outputs: &[T], components: usize) -> Self {
        let first = outputs.len() - components;
        // A NaN does not enter the largest; it shows in the total, and so in every probability.
        let top = outputs[first..].iter().fold(f64::NEG_INFINITY, |top, logit| top.max(logit.wide()));
        let total = outputs[first..].iter().map(|logit| (logit.wide() - top).exp()).sum();
        Self { components, first, top, total }
    }

    fn of<T: Real>(&self, outputs: &[T], component: usize) -> f64 {
        (outputs[self.first + component].wide() - self.top).exp() / self.total
    }

    /// Returns log(K probability).
    fn log<T: Real>(&self, outputs: &[T], component: usize) -> f64 {
        outputs[self.first + component].wide() - self.top + (self.components as f64 / self.total).ln()
    }
}

impl<T: Real> CpuBlock<T> {
    pub(super) fn components_choose(&mut self, outputs: Mat, noise: Option<&CpuNoise>, to: &Chosen) {
        let Chosen { raw, log, which } = *to;
        let components = outputs.components(raw.cols);
        let each = outputs.each(raw, components, noise.is_some());
        for source in 0..outputs.rows {
            let probabilities = Probabilities::new(self.row(outputs, source), components);
            let uniform = noise.map(|noise| self.row(noise.component, source)[0].wide());
            let (mut reached, mut cumulated) = (0, probabilities.of(self.row(outputs, source), 0));
            for i in 0..each {
                let row = source * each + i;
                let mut component = i;
                if let Some(uniform) = uniform {
                    let at = (i as f64 + uniform) / each as f64;
                    while reached + 1 < components && at > cumulated {
                        reached += 1;
                        cumulated += probabilities.of(self.row(outputs, source), reached);
                    }
                    component = reached;
                    // Rounding may leave the sum below 1, and the last components with no probability.
                    while component > 0 && probabilities.of(self.row(outputs, source), component) == 0.0 {
                        component -= 1;
                    }
                }
                let (out, line) = self.two_rows(raw, row, outputs, source);
                out.copy_from_slice(&line[component * raw.cols..][..raw.cols]);
                if let Some(which) = which {
                    self.row_mut(which, row)[0] = T::of(component as f64);
                }
                if let Some(log) = log {
                    let weight = probabilities.log(self.row(outputs, source), component);
                    self.row_mut(log, row)[0] = T::of(weight);
                }
            }
        }
    }

    pub(super) fn components_fold(&mut self, outputs: Mat, delta: Mat, loss: Mat, scale: f64, to: Mat) {
        let raw = delta.cols;
        let components = outputs.components(raw);
        outputs.each(delta, components, false);
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

    /// Adds to each row of `to` the mean of x1 - x0 over all components of its source sample.
    pub fn components_mean(&mut self, outputs: Mat, raw: usize, axes: &Axes<Vec<T>>, to: Mat) {
        let components = outputs.components(raw);
        for source in 0..outputs.rows {
            let probabilities = Probabilities::new(self.row(outputs, source), components);
            let mut turned = [[T::zero(); MOST_TURNED]; MOST_PEAKS];
            for k in 0..components {
                let probability = T::of(probabilities.of(self.row(outputs, source), k));
                let (out, line) = self.two_rows(to, source, outputs, source);
                let out = if axes.turned { &mut turned[k % axes.peaks][..to.cols] } else { out };
                for (sum, mean) in out.iter_mut().zip(&line[k * raw..]) {
                    *sum = *sum + probability * *mean;
                }
            }
            if axes.turned {
                self.add_across(axes, &turned[..axes.peaks], to, source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::simd::Isa;
    use crate::device::{Method, Workspace};

    /// Components of one number: 0, 1, .. with these logits; what `each` rows take at u.
    fn taken(logits: &[f64], each: usize, u: f64) -> Vec<f64> {
        let mut block = CpuBlock::<f64>::new(Isa::Portable);
        let outputs = block.scratch(1, 2 * logits.len());
        let numbers = (0..logits.len()).map(|k| k as f64).chain(logits.iter().copied());
        block.row_mut(outputs, 0).iter_mut().zip(numbers).for_each(|(to, x)| *to = x);
        let (component, raw) = (block.scratch(1, 1), block.scratch(each, 1));
        block.row_mut(component, 0)[0] = u;
        let noise = CpuNoise { xi: Mat::NONE, eta: Mat::NONE, component };
        block.choose(outputs, Some(&noise), &Chosen { raw, log: None, which: None });
        (0..each).map(|row| block.row(raw, row)[0]).collect()
    }

    #[test]
    fn rows_follow_the_probabilities() {
        let logits = [0.5f64.ln(), 0.25f64.ln(), 0.25f64.ln()];
        assert_eq!(taken(&logits, 4, 0.5), [0.0, 0.0, 1.0, 2.0]);
        assert_eq!(taken(&logits, 1, 0.6), [1.0]);
        assert_eq!(taken(&logits, 1, 1e-9), [0.0]);
    }

    #[test]
    fn what_has_no_probability_is_never_drawn() {
        // Seven sevenths may fall short of 1 in floats; the last two have no part in it.
        let logits = [&[0.1; 7][..], &[-1e3, -1e4]].concat();
        for u in [1e-9, 0.5, 1.0] {
            assert!(taken(&logits, 5, u).iter().all(|&k| k < 7.0));
        }
        assert_eq!(taken(&logits, 1, 1.0), [6.0]);
    }
}
