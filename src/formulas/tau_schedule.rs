//! tau over a training.

/// How tau comes to its value: from `start` times it, evenly in the logarithm, over the first `steps` steps. A small tau leaves much
/// of the target unmatched, and a large one little, so a training that begins with a small one meets the far parts of the target
/// when it knows the near ones. Choi, Choi, Kang, "Analyzing and Improving Optimal-Transport-based Adversarial Networks", ICLR 2024,
/// schedule this weight for generators of pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TauSchedule {
    /// The logarithm of `start`.
    pub log_start: f64,
    /// Steps until tau has its value; 0 where it always has.
    pub steps: u64,
}

impl TauSchedule {
    /// A tau that stays as it is.
    pub const CONSTANT: Self = Self { log_start: 0.0, steps: 0 };

    /// Returns tau at a step, numbered from 0, as a multiple of its value.
    pub fn factor(&self, step: u64) -> f64 {
        if step >= self.steps {
            return 1.0;
        }
        (self.log_start * (1.0 - step as f64 / self.steps as f64)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tau_comes_to_its_value_evenly_in_the_logarithm() {
        let schedule = TauSchedule { log_start: 0.01f64.ln(), steps: 4 };
        for (step, expected) in [(0, 0.01), (2, 0.1), (4, 1.0), (5, 1.0), (u64::MAX, 1.0)] {
            assert!((schedule.factor(step) - expected).abs() < 1e-12, "step {step}");
        }
        assert_eq!(TauSchedule::CONSTANT.factor(0), 1.0);
    }
}
