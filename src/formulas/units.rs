//! Numbers of samples between data units, normalised units and those that networks see, each computed in 64 bits.
//!
//! A sample x in data units is (x - shift) / scale in normalised units. Turned by a rotation to the axes of the problem,
//! it is moved along each axis to what networks see at time t (`euot::gaussian_bridge`):
//!
//! x' = q (x + (1 - t) h) / (D l),   D = 1 - t + q t,
//!
//! with the axis's contraction q, pull h and unit l. A source sample is moved at t = 0, a target sample at t = 1.

/// Returns a number in data units in normalised units.
#[inline(always)]
pub fn normalised(value: f64, shift: f64, scale: f64) -> f64 {
    (value - shift) / scale
}

/// Returns a number in normalised units in data units.
#[inline(always)]
pub fn in_data_units(x: f32, shift: f64, scale: f64) -> f32 {
    (f64::from(x) * scale + shift) as f32
}

/// How many numbers an axis has here.
pub const AXIS_UNITS: usize = 3;

/// The units along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AxisUnits {
    /// q.
    pub contraction: f64,
    /// h.
    pub pull: f64,
    /// l.
    pub unit: f64,
}

impl AxisUnits {
    /// Returns D at time t.
    #[inline(always)]
    fn divisor(self, time: f64) -> f64 {
        1.0 - time + self.contraction * time
    }

    /// Returns a number in normalised units as networks see it at time t.
    #[inline(always)]
    pub fn seen(self, x: f64, time: f64) -> f32 {
        let factor = self.contraction / (self.divisor(time) * self.unit);
        ((x + (1.0 - time) * self.pull) * factor) as f32
    }

    /// Returns the drift -dV/dx, in normalised units over l, at a number that networks see at time t. `slope` is the
    /// derivative of the network, one unit of which is `cost` of V.
    ///
    /// V = V0 + V' / cost and dx'/dx = q / (D l), so this is -((1 - q) x - q h + q slope / (cost l)) / D over l.
    #[inline(always)]
    pub fn drift(self, seen: f32, slope: f32, time: f64, cost: f64) -> f32 {
        let Self { contraction, pull, unit } = self;
        let divisor = self.divisor(time);
        let x = f64::from(seen) * (divisor * unit / contraction) - (1.0 - time) * pull;
        let network = contraction * (f64::from(slope) / (cost * unit));
        let rise = (1.0 - contraction) * x - contraction * pull + network;
        (-rise / (divisor * unit)) as f32
    }
}

/// Lanes in which [`along`] adds. A processor's vectors and a GPU's kernels add in the same order.
pub const LANES: usize = 8;

/// Returns the sum of axis_i (x_i - shift_i): a sample's place along an axis, before it is divided by the scale.
#[inline(always)]
pub fn along(axis: &[f32], shifted: impl Fn(usize) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let whole = axis.len() / LANES * LANES;
    for first in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f64::from(axis[first + lane]) * shifted(first + lane);
        }
    }
    for (lane, sum) in lanes.iter_mut().enumerate().take(axis.len() - whole) {
        *sum += f64::from(axis[whole + lane]) * shifted(whole + lane);
    }
    ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_comes_back(value in -1e3f32..1e3, shift in -1e3f64..1e3, scale in 1.0f64..1e3) {
            let back = in_data_units(normalised(f64::from(value), shift, scale) as f32, shift, scale);
            prop_assert!((value - back).abs() < 1e-3, "{} {}", value, back);
        }

        /// Where the network is 0, the drift is that of the known part, (h - g x) / (1 + (1 - t) g) with g = 1/q - 1.
        #[test]
        fn the_drift_has_the_known_part(x in -2.0f64..2.0, q in 0.1f64..3.0, h in -1.0f64..1.0, unit in 0.1f64..3.0, t in 0.0f64..1.0) {
            let axis = AxisUnits { contraction: q, pull: h, unit };
            let g = 1.0 / q - 1.0;
            let expected = (h - g * x) / (1.0 + (1.0 - t) * g) / unit;
            let found = axis.drift(axis.seen(x, t), 0.0, t, 1.0);
            prop_assert!((f64::from(found) - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found} {expected}");
        }
    }
}
