//! Watches a training for a collapse, which losses do not show: a generator that gives nearly one sample, or a value
//! function that leaves few of the target's samples.

use super::metrics::{matched_share, spread};
use crate::device::Sums;

/// Number of steps over which the sums are taken before they are judged.
const STEPS: u64 = 64;
/// A spread below this is a collapse.
const LEAST_SPREAD: f64 = 0.1;
/// A share of matched samples below this is a collapse, unless it began small. It does so where tau is small against the
/// costs of many numbers, and what fell to less than a tenth has collapsed there too.
const LEAST_SHARE: f64 = 0.05;
const LEAST_OF_FIRST: f64 = 0.1;
/// A first share of fewer rows of a step than these is not known well, unless it is half of them.
const FEW_ROWS: f64 = 10.0;
/// A training has recovered when both are so many times as large.
const RECOVERED: f64 = 2.0;

/// See the module.
#[derive(Default)]
pub(super) struct Watch {
    /// Sums of the value halves of so many steps that have not been judged.
    sums: Sums,
    steps: u64,
    /// The share of matched samples in the steps that were seen first with the tau that stays.
    first_share: Option<f64>,
    /// Whether a collapse was told that the training has not recovered from.
    told: bool,
    /// Whether one was told in this call.
    told_in_call: bool,
}

/// Numbers of a collapse, those that are too small.
#[derive(Debug, PartialEq)]
pub(super) struct Collapse {
    /// Number of steps that they were seen in.
    pub steps: u64,
    /// [`Metrics::spread`](super::Metrics::spread).
    pub spread: Option<f64>,
    /// [`Metrics::matched_share`](super::Metrics::matched_share).
    pub matched_share: Option<f64>,
}

impl Watch {
    /// Begins a call of the host's, in which one collapse may be told.
    pub fn begin_call(&mut self) {
        self.told_in_call = false;
    }

    /// Takes the sums of the value halves of some steps, each of so many rows. Returns a collapse that is to be told. Where tau is
    /// not `settled`, shares are as small or large as it makes them, and say nothing.
    pub fn see(&mut self, sums: &Sums, steps: u64, rows: usize, settled: bool) -> Option<Collapse> {
        if steps == 0 {
            return None;
        }
        if settled {
            self.first_share.get_or_insert_with(|| matched_share(sums, steps as f64 * rows as f64));
        }
        self.sums.add(sums);
        self.steps += steps;
        if self.steps < STEPS {
            return None;
        }
        let (sums, steps) = (std::mem::take(&mut self.sums), std::mem::take(&mut self.steps));
        let (share, spread) = (matched_share(&sums, steps as f64 * rows as f64), spread(&sums));
        let known = self.first_share.filter(|first| *first >= 0.5 || first * rows as f64 >= FEW_ROWS);
        let least_share = known.map_or(0.0, |first| LEAST_SHARE.min(LEAST_OF_FIRST * first));
        let below = |times: f64| Collapse {
            steps,
            spread: spread.filter(|&spread| spread < times * LEAST_SPREAD),
            matched_share: Some(share).filter(|&share| share < times * least_share),
        };
        let any = |collapse: &Collapse| collapse.spread.is_some() || collapse.matched_share.is_some();
        self.told &= any(&below(RECOVERED));
        let collapse = Some(below(1.0)).filter(|collapse| any(collapse) && !self.told && !self.told_in_call);
        self.told |= collapse.is_some();
        self.told_in_call |= collapse.is_some();
        collapse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of rows of a step.
    const ROWS: usize = 64;

    /// Sums of steps that match a share of the rows, all alike, and whose pairs have this spread.
    fn sums(steps: u64, share: f64, spread: f64) -> Sums {
        let rows = (steps as usize * ROWS) as f64;
        Sums {
            density_ratio: rows,
            ratio_squares: rows / share,
            distances: [7.0 * spread * spread, 7.0],
            ..Sums::default()
        }
    }

    #[test]
    fn a_collapse_is_told_once_until_the_training_has_recovered() {
        let mut watch = Watch::default();
        let mut window = |share: f64, spread: f64| {
            let told = (0..STEPS).filter_map(|_| watch.see(&sums(1, share, spread), 1, ROWS, true)).collect::<Vec<_>>();
            watch.begin_call();
            told
        };
        assert_eq!(window(0.9, 1.0), []);
        assert_eq!(window(0.06, 0.11), []);
        let told = window(0.9, 0.05);
        assert!(matches!(told[..], [Collapse { steps: STEPS, spread: Some(_), matched_share: None }]), "{told:?}");
        assert!((told[0].spread.unwrap() - 0.05).abs() < 1e-12);
        // Not again, also where it goes up and down at the limit.
        for (share, spread) in [(0.9, 0.05), (0.9, 0.11), (0.04, 0.09), (0.09, 1.0), (0.9, 0.0)] {
            assert_eq!(window(share, spread), []);
        }
        assert_eq!(window(0.2, 0.5), []);
        let told = window(0.04, 0.5);
        assert!(matches!(told[..], [Collapse { spread: None, matched_share: Some(_), .. }]), "{told:?}");
        assert!((told[0].matched_share.unwrap() - 0.04).abs() < 1e-12);
    }

    #[test]
    fn a_call_tells_one_collapse_and_the_next_call_another() {
        let mut watch = Watch::default();
        let mut see = |share: f64, call: bool| {
            if call {
                watch.begin_call();
            }
            watch.see(&sums(STEPS, share, 1.0), STEPS, ROWS, true).is_some()
        };
        assert!(!see(1.0, true) && see(0.01, true) && !see(1.0, false) && !see(0.01, false) && see(0.01, true));
    }

    /// Where tau is small against the costs, few samples are matched from the start.
    #[test]
    fn a_share_that_began_small_is_told_where_it_falls() {
        let told = |first: f64, then: f64| {
            let mut watch = Watch::default();
            watch.see(&sums(1, first, 1.0), 1, ROWS, true);
            watch.see(&sums(STEPS, then, 1.0), STEPS, ROWS, true).is_some()
        };
        assert!(!told(0.2, 0.03) && told(0.2, 0.01) && !told(0.9, 0.06) && told(0.9, 0.04));
        // Few rows of the first step.
        assert!(!told(0.02, 0.0005));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let mut watch = Watch::default();
        let alone = Sums { distances: [0.0; 2], ..sums(STEPS, 1.0, 1.0) };
        assert_eq!(watch.see(&alone, STEPS, ROWS, true), None);
        assert_eq!(spread(&alone), None);
    }

    /// A tau that rises leaves few samples matched in the beginning. That is no collapse, and not what a later one is measured by.
    #[test]
    fn shares_are_judged_from_where_tau_is_settled() {
        let mut watch = Watch::default();
        let mut told = |share: f64, settled: bool| {
            watch.begin_call();
            watch.see(&sums(STEPS, share, 1.0), STEPS, ROWS, settled).is_some()
        };
        assert!(!told(0.9, false) && !told(0.02, false) && !told(0.002, false), "tau is on its way");
        assert!(!told(0.8, true) && told(0.02, true), "a collapse");
    }
}
