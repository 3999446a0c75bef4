//! The drift -grad V(t, x) out of the gradient of the network: that of the known part on top, in the data's units.

use super::frozen::Inner;

/// -grad V(t, x) = -(l grad V'(t', x') + (1 - q) (x - c) - q l h) / D, with x in data units, c and l the normalisation's shift
/// and scale, and the rest as in `euot::gaussian_bridge`. V is a cost, so its gradient scales like a length.
pub(super) struct Drift {
    /// t'.
    pub time: f64,
    /// Units in which the network sees the states: how much of the pull, 1 - t, and the scale, l D / q.
    pub weight: f64,
    pub scale: f64,
    /// Factors of the network's gradient, of x - c and of l h.
    pub factors: [f64; 3],
}

impl Drift {
    /// At time t.
    pub fn new(model: &Inner, time: f64) -> Self {
        let (bridge, scale) = (&model.bridge, model.normalisation.scale);
        let (divisor, moved) = bridge.clock(time);
        Self {
            time: moved,
            weight: 1.0 - time,
            scale: scale * (divisor / bridge.contraction),
            factors: [-scale, bridge.contraction - 1.0, bridge.contraction * scale].map(|factor| factor / divisor),
        }
    }

    /// Component `j` of x', for a state's component `x`.
    pub fn see(&self, model: &Inner, j: usize, x: f32) -> f32 {
        let shift = model.normalisation.shift[j] - model.normalisation.scale * (self.weight * model.bridge.pull[j]);
        ((f64::from(x) - shift) / self.scale) as f32
    }

    /// Component `j`, for a state's component `x` and the network's gradient `g`.
    pub fn at(&self, model: &Inner, j: usize, x: f32, g: f32) -> f32 {
        let [gradient, away, pull] = self.factors;
        let known = away * (f64::from(x) - model.normalisation.shift[j]) + pull * model.bridge.pull[j];
        (gradient * f64::from(g) + known) as f32
    }
}
