//! The drift -grad V(t, x) out of the gradient of the network: that of the known part on top, in the data's units.

use super::gaussian_bridge::GaussianBridge;
use crate::device::rows::{DriftFactors, Units};

/// -grad V(t, x) = -(l grad V'(t', x') + (1 - q) (x - c) - q l h) / D, with x in data units, c and l the
/// normalisation's shift and scale, and the rest as in [`GaussianBridge`]. V is a cost, so its gradient scales like a
/// length.
pub(super) struct Drift {
    /// t'.
    pub time: f64,
    /// Units in which the network sees the states: 1 - t of the pull, and the scale l D / q.
    pub units: Units,
    /// For the network's gradient, x - c and h.
    pub factors: DriftFactors,
}

impl Drift {
    /// At time t; `scale` is l.
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
