//! The numbers that a host sees of a step.

use crate::device::Sums;
use crate::rng::MAX_STEPS;

/// State of a training after its last step. Costs are in the data's units squared.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Metrics {
    /// Steps done since the trainer was made.
    pub step: u64,
    /// L(V, theta) on the last batch: potential - action. At the optimum it is the value of the dynamic problem, E int
    /// 1/2 |u|^2 dt + D_Psi, with u the drift.
    pub dual: f64,
    /// What the value step minimises: minus `dual`.
    pub value_loss: f64,
    /// G(theta) on the last batch: sigma^2 times a Kullback-Leibler divergence, up to a constant.
    pub generator_loss: f64,
    /// E\[V(1, x1)\] - E\[Psi*(V(1, y))\]; at the optimum D_Psi of the end marginal.
    pub potential: f64,
    /// E_t\[1/2 |grad V|^2 + <grad V, b>\]; at the optimum minus the kinetic energy.
    pub action: f64,
    /// Norm of the value function's gradient before clipping, in units of the problem that the networks see.
    pub value_gradient_norm: f64,
    /// Norm of the generator's gradient before clipping, in units of the problem that the networks see.
    pub generator_gradient_norm: f64,
    /// E\[Psi*'(V(1, y))\] over the target: 1 when the masses agree.
    pub density_ratio_mean: f64,
    /// Speed over the last call that trained.
    pub steps_per_second: f64,
    /// E\[V(1, x1)\] over generated samples.
    #[serde(default)]
    pub value_generated: f64,
    /// E\[V(1, y)\] over the target.
    #[serde(default)]
    pub value_target: f64,
    /// (sum of r)^2 / (n sum of r^2) of the density ratio r at the n target samples of the last batch: the share of them
    /// that is matched, from 1 / n to 1, or 0 where none is.
    #[serde(default)]
    pub matched_share: f64,
    /// How much generated samples vary, relative to the target's, in the units that networks see: the root of sum |x1 -
    /// x1'|^2 / sum |y - y'|^2 over pairs of the last batch. 1 where they vary as the target does, near 0 where the
    /// generator has collapsed, and 0 where it is not known: a batch of one source sample has no pair, and one point
    /// does not vary.
    #[serde(default)]
    pub spread: f64,
}

/// Returns [`Metrics::matched_share`] of so many rows.
pub(super) fn matched_share(sums: &Sums, rows: f64) -> f64 {
    sums.matched_share(rows)
}

/// Returns [`Metrics::spread`], `None` where it is not known.
pub(super) fn spread(sums: &Sums) -> Option<f64> {
    let [generated, target] = sums.distances;
    (target > 0.0).then(|| (generated / target).sqrt().min(f64::MAX))
}

impl Metrics {
    /// Checks metrics that were read from a file.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.step > MAX_STEPS {
            return Err(format!("metrics.step is {}, but a training has at most {MAX_STEPS} steps", self.step));
        }
        let Self { value_gradient_norm, generator_gradient_norm, density_ratio_mean, steps_per_second, .. } = *self;
        let Self { value_generated, value_target, matched_share, spread, .. } = *self;
        for (name, x) in [
            ("value_gradient_norm", value_gradient_norm),
            ("generator_gradient_norm", generator_gradient_norm),
            ("density_ratio_mean", density_ratio_mean),
            ("steps_per_second", steps_per_second),
            ("matched_share", matched_share),
            ("spread", spread),
        ] {
            if x < 0.0 {
                return Err(format!("metrics.{name} is {x:e}, but must be at least 0"));
            }
        }
        let numbers = [self.dual, self.value_loss, self.generator_loss, self.potential, self.action];
        let all = numbers.into_iter().chain([value_gradient_norm, generator_gradient_norm, density_ratio_mean]);
        if all.chain([steps_per_second, value_generated, value_target, matched_share, spread]).any(|x| !x.is_finite()) {
            return Err("metrics has a number that is not finite".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::CpuBlock;
    use crate::device::cpu::simd::Isa;
    use crate::device::{DualTerm, Method, TauAt, Workspace};
    use crate::formulas::{Axes, Conjugate, Divergence};
    use std::ops::Range;

    const D: usize = 11;
    const COMPONENTS: usize = 3;

    /// Adds the sums of rows of these source samples. Every number of target sample r is r times `step`, and that of the
    /// generated one is so many times as large. `value` is V(1, y) of target sample r.
    fn add(
        sums: &mut Sums,
        block: &mut CpuBlock<f32>,
        sources: Range<usize>,
        times: f32,
        value: impl Fn(usize) -> f32,
    ) {
        block.reset(0);
        let rows = sources.len() * COMPONENTS;
        let (ends, v, delta) = (block.scratch(2 * rows, D), block.scratch(2 * rows, 1), block.scratch(2 * rows, 1));
        for r in 0..rows {
            let number = sources.start * COMPONENTS + r;
            block.row_mut(ends, r).fill(0.5 * times * number as f32);
            block.row_mut(ends, rows + r).fill(0.5 * number as f32);
            block.row_mut(v, r).fill(0.0);
            block.row_mut(v, rows + r).fill(value(number));
        }
        let conjugate = &Conjugate { divergence: Divergence::Kl, tau: 1.0 };
        let axes = &Axes::even(D, 1.0);
        let first_source = sources.start;
        let term = DualTerm {
            conjugate,
            tau_at: TauAt::CONSTANT,
            axes,
            ends,
            v,
            delta,
            scale: 1.0,
            components: COMPONENTS,
            first_source,
        };
        block.dual(&term, sums);
    }

    /// Half of the target's samples have the density ratio 2, the others none; and generated samples vary half as much.
    /// However the batch is cut, the numbers are the same.
    #[test]
    fn made_up_rows_have_the_spread_and_the_share_that_they_were_made_with() {
        const SOURCES: usize = 10;
        let value = |r: usize| if r.is_multiple_of(2) { 2f32.ln() } else { f32::NEG_INFINITY };
        let rows = (SOURCES * COMPONENTS) as f64;
        let mut block = CpuBlock::new(Isa::detect());
        let mut found = Vec::new();
        for cut in [1, 2, 4, SOURCES] {
            let mut sums = Sums::default();
            for from in (0..SOURCES).step_by(cut) {
                add(&mut sums, &mut block, from..SOURCES.min(from + cut), 0.5, value);
            }
            assert!((matched_share(&sums, rows) - 0.5).abs() < 1e-6);
            assert!((spread(&sums).unwrap() - 0.5).abs() < 1e-6);
            // Numbers of the rows of a pair are 3 apart.
            let pairs = (SOURCES / 2 * COMPONENTS) as f64;
            assert!((sums.distances[1] - pairs * D as f64 * 1.5 * 1.5).abs() < 1e-4);
            assert_eq!(sums.target, f64::NEG_INFINITY);
            found.push(sums.distances);
        }
        assert!(found.iter().all(|distances| *distances == found[0]), "{found:?}");
    }

    #[test]
    fn one_point_has_no_spread_and_one_source_sample_no_pair() {
        let mut block = CpuBlock::new(Isa::detect());
        let mut sums = Sums::default();
        add(&mut sums, &mut block, 0..4, 0.0, |_| 0.0);
        assert_eq!(spread(&sums), Some(0.0));
        assert!((matched_share(&sums, 12.0) - 1.0).abs() < 1e-12);
        let mut alone = Sums::default();
        add(&mut alone, &mut block, 0..1, 1.0, |_| 0.0);
        assert_eq!(spread(&alone), None);
        // The last of an odd number of source samples, and one that follows another batch's.
        add(&mut alone, &mut block, 2..3, 1.0, |_| 0.0);
        add(&mut alone, &mut block, 1..2, 1.0, |_| 0.0);
        assert_eq!(spread(&alone), None);
    }

    #[test]
    fn shares_and_spreads_stay_in_their_ranges() {
        for matched in 1..=10 {
            let ratio = |i: usize| if i < matched { 3.0 } else { 0.0 };
            let total = |power: i32| (0..10).map(|i| f64::powi(ratio(i), power)).sum::<f64>();
            let sums = Sums { density_ratio: total(1), ratio_squares: total(2), ..Sums::default() };
            assert!((matched_share(&sums, 10.0) - matched as f64 / 10.0).abs() < 1e-12);
        }
        assert_eq!(matched_share(&Sums::default(), 10.0), 0.0);
        assert_eq!(spread(&Sums { distances: [9.0, 4.0], ..Sums::default() }), Some(1.5));
        assert_eq!(spread(&Sums { distances: [f64::MAX, 1e-300], ..Sums::default() }), Some(f64::MAX));
    }
}
