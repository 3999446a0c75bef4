//! Divergences D_Psi(rho | nu) = int Psi(d rho / d nu) d nu through their conjugates Psi*.

/// How the end marginal is tied to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum Divergence {
    /// Equality of marginals: the Schroedinger bridge.
    Balanced = 0,
    /// tau KL(rho | nu).
    Kl = 1,
    /// tau times Pearson's chi-squared.
    Chi2 = 2,
    /// The conjugate is a centred softplus: density ratios stay below 2.
    Softplus = 3,
}

impl Divergence {
    /// Every divergence, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Balanced, Self::Kl, Self::Chi2, Self::Softplus];

    /// Whether the masses of the target may be left unmatched, so that tau counts and V has a level of its own.
    pub fn is_unbalanced(self) -> bool {
        self != Self::Balanced
    }

    /// Whether the density ratio is e^(v / tau) itself, not only to first order: the mass of a Gaussian target is then
    /// known in closed form, and the start's level with it.
    pub fn has_exponential_ratio(self) -> bool {
        match self {
            Self::Kl => true,
            Self::Balanced | Self::Chi2 | Self::Softplus => false,
        }
    }

    /// Returns the softness s, the second derivative of Psi* at 0. To first order in v, every density ratio Psi*'(v)
    /// equals e^(v s), the ratio of KL. s is 0 for balanced transport.
    pub fn softness(self, tau: f64) -> f64 {
        match self {
            Self::Balanced => 0.0,
            Self::Kl => 1.0 / tau,
            Self::Chi2 | Self::Softplus => 0.5 / tau,
        }
    }
}

/// The conjugate Psi* of a divergence. Its derivative is the density ratio. Psi* never decreases, Psi*(0) = 0 and
/// Psi*'(0) = 1.
#[derive(Clone, Copy, Debug)]
pub struct Conjugate {
    /// The divergence.
    pub divergence: Divergence,
    /// The divergence's weight, in units of the cost.
    pub tau: f64,
}

/// KL is continued linearly (C1) where v / tau exceeds this: e^v would overflow soon after, and a ratio beyond e^8
/// is a target sample that no amount of mass reaches.
pub const KL_LINEAR_FROM: f64 = 8.0;

impl Conjugate {
    /// Returns (Psi*(v), Psi*'(v)).
    pub fn evaluate(&self, v: f64) -> (f64, f64) {
        let tau = self.tau;
        let r = v / tau;
        match self.divergence {
            Divergence::Balanced => (v, 1.0),
            Divergence::Kl => {
                // Comparisons rather than min and max, which would swallow a NaN.
                let beyond = if r > KL_LINEAR_FROM { r - KL_LINEAR_FROM } else { 0.0 };
                let r = r - beyond;
                let slope = r.exp();
                (tau * (r.exp_m1() + slope * beyond), slope)
            }
            Divergence::Chi2 => {
                if r > -2.0 {
                    (v + 0.25 * v * r, 1.0 + 0.5 * r)
                } else if r.is_nan() {
                    (v, v)
                } else {
                    (-tau, 0.0)
                }
            }
            Divergence::Softplus => {
                let s = 1.0 / (1.0 + (-r).exp());
                (2.0 * tau * (r.max(0.0) + (-r.abs()).exp().ln_1p() - std::f64::consts::LN_2), 2.0 * s)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn derivative_matches_and_never_falls(v in -30.0..30.0f64, tau in 0.1..10.0f64) {
            for divergence in Divergence::ALL {
                let c = Conjugate { divergence, tau };
                let h = 1e-6 * tau;
                let difference = (c.evaluate(v + h).0 - c.evaluate(v - h).0) / (2.0 * h);
                let (_, slope) = c.evaluate(v);
                prop_assert!((difference - slope).abs() < 1e-5 * (1.0 + slope), "{divergence:?} {v} {tau}: {difference} {slope}");
                prop_assert!(slope >= 0.0);
                prop_assert!(c.evaluate(v + 0.1).1 >= slope);
            }
        }
    }

    #[test]
    fn softness_is_the_ratios_slope_at_zero() {
        for divergence in Divergence::ALL {
            let (tau, h) = (0.7, 1e-5);
            let c = Conjugate { divergence, tau };
            let slope = (c.evaluate(h).1 - c.evaluate(-h).1) / (2.0 * h);
            assert!((slope - divergence.softness(tau)).abs() < 1e-8, "{divergence:?}: {slope}");
        }
    }

    #[test]
    fn all_are_in_the_order_of_their_numbers() {
        for (number, divergence) in Divergence::ALL.into_iter().enumerate() {
            assert_eq!(divergence as usize, number);
        }
    }

    #[test]
    fn normalised_at_zero_and_finite_far_out() {
        for divergence in Divergence::ALL {
            let c = Conjugate { divergence, tau: 0.7 };
            assert_eq!(c.evaluate(0.0), (0.0, 1.0));
            for v in [-1e30, 1e30] {
                let (value, slope) = c.evaluate(v);
                assert!(value.is_finite() || divergence == Divergence::Chi2, "{divergence:?} {v}");
                assert!(!slope.is_nan());
            }
            assert!(c.evaluate(f64::NAN).0.is_nan());
        }
    }
}
