//! Numbers of samples between data units and normalised units, each computed in 64 bits.

/// Returns a number in data units as networks see it.
#[inline(always)]
pub fn normalised(value: f64, shift: f64, scale: f64) -> f32 {
    ((value - shift) / scale) as f32
}

/// Returns a number that networks see in data units.
#[inline(always)]
pub fn in_data_units(x: f32, shift: f64, scale: f64) -> f32 {
    (f64::from(x) * scale + shift) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_comes_back(value in -1e3f32..1e3, shift in -1e3f64..1e3, scale in 1.0f64..1e3) {
            let back = in_data_units(normalised(f64::from(value), shift, scale), shift, scale);
            prop_assert!((value - back).abs() < 1e-3, "{} {}", value, back);
        }
    }
}
