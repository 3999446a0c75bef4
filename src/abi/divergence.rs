//! Divergences as C has them: constants, and what they mean to the core.

use super::enums::codes;
use crate::Divergence;

/// Divergences, for SfeuotTrainerConfig.divergence. v is the value function at time 1, and the
/// density ratio is the derivative of the conjugate.
///
/// ---
///
/// No mass may be left unmatched: both marginals are met, outliers included (the Schroedinger
/// bridge). tau has no meaning.
pub const SFEUOT_DIVERGENCE_BALANCED: i32 = 0;
/// Kullback-Leibler: the conjugate is tau (exp(v / tau) - 1) and the density ratio exp(v / tau). The
/// conjugate is continued linearly past v / tau = 8, so the ratio never exceeds exp(8).
pub const SFEUOT_DIVERGENCE_KL: i32 = 1;
/// Chi squared: the conjugate is v + v^2 / (4 tau) above v = -2 tau and -tau below. The ratio can
/// become exactly 0.
pub const SFEUOT_DIVERGENCE_CHI2: i32 = 2;
/// Softplus: the conjugate is 2 tau (log(1 + exp(v / tau)) - log 2). The ratio stays below 2.
pub const SFEUOT_DIVERGENCE_SOFTPLUS: i32 = 3;

codes!(Divergence, "config.divergence":
    SFEUOT_DIVERGENCE_BALANCED => Balanced, SFEUOT_DIVERGENCE_KL => Kl, SFEUOT_DIVERGENCE_CHI2 => Chi2,
    SFEUOT_DIVERGENCE_SOFTPLUS => Softplus);

#[cfg(test)]
mod tests {
    use super::*;

    /// The names and numbers of the header's divergences.
    fn declared() -> Vec<(&'static str, i32)> {
        let define = |line: &'static str| {
            let (name, number) = line.strip_prefix("#define SFEUOT_DIVERGENCE_")?.split_once(' ')?;
            Some((name, number.parse().expect("a whole number")))
        };
        include_str!("../../include/sfeuot.h").lines().filter_map(define).collect()
    }

    #[test]
    fn the_header_has_one_constant_for_every_divergence() {
        let expected: Vec<_> =
            Divergence::ALL.into_iter().map(|each| (format!("{each:?}").to_uppercase(), each as i32)).collect();
        let found: Vec<_> = declared().into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_constant_becomes_its_divergence_and_back() {
        for (divergence, (name, number)) in Divergence::ALL.into_iter().zip(declared()) {
            assert_eq!(Divergence::try_from(number).ok(), Some(divergence), "{name}");
            assert_eq!(i32::from(divergence), number, "{name}");
        }
        let refused = Divergence::try_from(Divergence::ALL.len() as i32).expect_err("there are no more").to_string();
        for (name, number) in declared() {
            assert!(refused.contains(&format!("SFEUOT_DIVERGENCE_{name} ({number})")), "{refused}");
        }
    }
}
