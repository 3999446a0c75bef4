//! Tests whether numbers are finite by their bits. This takes two integer operations a number, in vectors.

/// The largest magnitude seen so far, as the bits of a float without its sign. These bits, read as an integer, are
/// larger for infinity and every NaN than for any finite number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finite(i32);

impl Finite {
    /// Starts with no number seen.
    pub fn new() -> Self {
        Self(0)
    }

    /// Takes one more number into account.
    #[inline(always)]
    pub fn see(&mut self, x: f32) {
        // Signed, which every processor compares in vectors; the sign bit is off.
        self.0 = self.0.max((x.to_bits() & 0x7fff_ffff) as i32);
    }

    /// Returns whether all numbers seen were finite.
    #[inline(always)]
    pub fn were(self) -> bool {
        self.0 < f32::INFINITY.to_bits() as i32
    }
}

/// Returns whether all numbers are finite.
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
