//! What Gaussians have of samples, several rows and several Gaussians at a time: numbers of eight Gaussians lie side by side.

use crate::vectors::with_vectors;

/// Samples that are read together, so that sums need not wait for each other, and Gaussians that are.
pub(crate) const ROWS: usize = 4;
pub(crate) const LANES: usize = 8;

pub(crate) type Rows<'a> = [&'a [f64]; ROWS];

/// Returns the place of Gaussian k's number at axis j: groups of lanes x axes x lanes.
pub(crate) fn place(k: usize, j: usize, d: usize) -> usize {
    (k / LANES * d + j) * LANES + k % LANES
}

/// Returns the number of Gaussians with their padding.
pub(crate) fn padded(count: usize) -> usize {
    count.next_multiple_of(LANES)
}

/// Adds term(x_j, first_jk, second_jk) over all j to number k of each row, rows x Gaussians with their padding. To be called in a
/// function of [`with_vectors`].
#[inline(always)]
pub(crate) fn add_terms(
    rows: &Rows,
    [firsts, seconds]: [&[f64]; 2],
    to: &mut [f64],
    term: impl Fn(f64, f64, f64) -> f64,
) {
    let (d, row) = (rows[0].len(), to.len() / ROWS);
    let groups = firsts.chunks_exact(d * LANES).zip(seconds.chunks_exact(d * LANES));
    for (group, (firsts, seconds)) in groups.enumerate() {
        let mut sums = [[0.0; LANES]; ROWS];
        let along = firsts.as_chunks::<LANES>().0.iter().zip(seconds.as_chunks::<LANES>().0);
        for (j, (firsts, seconds)) in along.enumerate() {
            let column: [f64; ROWS] = std::array::from_fn(|row| rows[row][j]);
            for (sums, x) in sums.iter_mut().zip(column) {
                for ((sum, first), second) in sums.iter_mut().zip(firsts).zip(seconds) {
                    *sum += term(x, *first, *second);
                }
            }
        }
        for (to, sums) in to.chunks_exact_mut(row).zip(&sums) {
            let own = &mut to[group * LANES..][..LANES];
            own.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
        }
    }
}

/// Replaces logarithms by the part that each has of the sum of their exponentials, and returns the logarithm of that sum.
pub(crate) fn divide(logs: &mut [f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    raise(logs, top);
    let sum: f64 = logs.iter().sum();
    logs.iter_mut().for_each(|part| *part /= sum);
    top + sum.ln()
}

with_vectors! {
    /// Replaces each x by e^(x - top).
    fn raise(numbers: &mut [f64], top: f64) {
        numbers.iter_mut().for_each(|x| *x = exponential(*x - top));
    }
}

/// Exponents from which on an exponential is taken as 0.
const LEAST: f64 = -700.0;
/// Added to a number below 2^51 and taken off again, it leaves the nearest whole number. The last bits of the sum are that whole number.
const WHOLE: f64 = 1.5 * (1u64 << 52) as f64;
/// The logarithm of 2 in two parts, of which the first has few bits, so that its product with a whole number is exact.
const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
/// One over each factorial from that of 12 down.
const FACTORIALS: [f64; 13] = {
    let mut of = [1.0; 13];
    let mut k = 1;
    while k < 13 {
        of[12 - k] = of[13 - k] / k as f64;
        k += 1;
    }
    of
};

/// Returns e^x for x up to 0, to the last bit or two, by operations of which compilers make vectors.
#[inline(always)]
fn exponential(x: f64) -> f64 {
    let shifted = x * std::f64::consts::LOG2_E + WHOLE;
    let whole = shifted - WHOLE;
    let rest = x - whole * LN_2[0] - whole * LN_2[1];
    let series = FACTORIALS.iter().fold(0.0, |sum, factor| sum * rest + factor);
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    if x < LEAST { 0.0 } else { series * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_library() {
        for at in 0..70_000 {
            let x = -0.01 * f64::from(at) + 1e-5 * f64::from(at % 7);
            let mut found = [x.min(0.0)];
            raise(&mut found, 0.0);
            let expected = x.min(0.0).exp();
            assert!((found[0] - expected).abs() <= 5e-16 * expected, "e^{x}: {} and {expected}", found[0]);
        }
        let mut numbers = [f64::NEG_INFINITY, -1e300, -750.0, f64::NAN, 0.0];
        raise(&mut numbers, 0.0);
        assert!(numbers[..3] == [0.0; 3] && numbers[3].is_nan() && numbers[4] == 1.0);
    }

    #[test]
    fn parts_are_of_one() {
        let mut logs = [3.0f64.ln() - 400.0, -400.0, f64::NEG_INFINITY];
        assert!((divide(&mut logs) - (4.0f64.ln() - 400.0)).abs() < 1e-12);
        for (found, expected) in logs.into_iter().zip([0.75, 0.25, 0.0]) {
            assert!((found - expected).abs() < 1e-15, "{found} and {expected}");
        }
    }
}
