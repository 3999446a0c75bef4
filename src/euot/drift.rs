//! Makes the drift -grad V(t, x), in the data's units, from the gradient of the network and that of the known part.

use super::gaussian_bridge::GaussianBridge;
use crate::device::rows::{DriftFactors, Units};

/// -grad V(t, x) = -(l grad V'(t', x') + (1 - q) (x - c) - q l h) / D, with x in data units, c and l the
/// normalisation's shift and scale, and the rest as in [`GaussianBridge`]. V is a cost, so its gradient scales like a
/// length.
pub(super) struct Drift {
    /// t'.
    pub time: f64,
    /// Units in which the network sees the states: 1 - t times the pull is added, and the scale is l D / q.
    pub units: Units,
    /// Factors of the network's gradient, of x - c and of h.
    pub factors: DriftFactors,
}

impl Drift {
    /// Returns the drift at time t. `scale` is l.
    pub fn new(bridge: &GaussianBridge, scale: f64, time: f64) -> Self {
        let (divisor, moved) = bridge.clock(time);
        Self {
            time: moved,
            units: Units { pull: 1.0 - time, scale: scale * (divisor / bridge.contraction) },
            factors: DriftFactors {
                gradient: -scale / divisor,
                away: (bridge.contraction - 1.0) / divisor,
                pull: bridge.contraction * scale / divisor,
            },
        }
    }
}
