//! Whether numbers are finite, told by their bits at the cost of two integer operations each, in vectors.

/// The largest of some numbers by magnitude, as its bits without the sign: those of infinity and of every NaN are above
/// those of finite numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finite(i32);

impl Finite {
    /// No number yet.
    pub fn new() -> Self {
        Self(0)
    }

    /// One more number.
    #[inline(always)]
    pub fn see(&mut self, x: f32) {
        // Signed, which every processor compares in vectors; the sign bit is off.
        self.0 = self.0.max((x.to_bits() & 0x7fff_ffff) as i32);
    }

    /// Whether all of them were finite.
    #[inline(always)]
    pub fn were(self) -> bool {
        self.0 < f32::INFINITY.to_bits() as i32
    }
}

/// Whether all numbers are finite.
pub(crate) fn all_finite(numbers: &[f32]) -> bool {
    let mut all = Finite::new();
    for &x in numbers {
        all.see(x);
    }
    all.were()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_that_is_not_finite_is_found_wherever_it_is() {
        let finite = [0.0, -0.0, f32::MIN_POSITIVE / 2.0, -1.0, f32::MAX, f32::MIN];
        assert!(all_finite(&[]) && all_finite(&finite));
        for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)] {
            for at in 0..37 {
                let mut numbers: Vec<f32> = (0..37).map(|i| finite[i % finite.len()]).collect();
                numbers[at] = bad;
                assert!(!all_finite(&numbers), "{bad} at {at}");
            }
        }
    }
}
