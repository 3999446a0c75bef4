//! The transforms of Winograd's minimal filtering F(2 x 2, 3 x 3) (Lavin, Gray, *Fast Algorithms for Convolutional Neural
//! Networks*, 2016): Y = A^T (G g G^T * B^T d B) A, where d are 4 x 4 pixels, g is 3 x 3 taps, Y are 2 x 2 pixels, and * is
//! the product of places. Each is two passes of the transform along a side. The last row of B^T and of A has the other sign
//! than in the paper, so that the adjoint of A has no sign either.
//!
//! The gradient of the taps is the adjoint: G^T (A y A^T * B^T d B) G, where y is the gradient by Y.
//!
//! Rounding costs little. Let u be half the spacing of numbers at 1 (2^-24 in f32), and |g| <= G, |d| <= D and |y| <= E. A
//! result's error is below 64 C (C + 12) u G D for C channels that are read, to first order in u: the absolute values of A^T,
//! G and B^T add up to 8 along a side; a place's sum has C roundings in a row, and the transforms have ten. By the
//! definition, which adds up 9 C terms, the bound is 81 C^2 u G D. The error of a gradient over N squares is below
//! 36 N (N / 32 + 42) u E D: 36 is the square of 6 for the transforms of a gradient, and sums are of 32 squares each.
//! Such bounds are far off: of evenly distributed numbers the root mean square of errors is 2.6e-7 of the results' with 64
//! channels, where 32-bit sums by the definition have 4.1e-7, and 1.2e-7 with 4, where they have 1.0e-7.

use super::simd::Simd;
use crate::device::layout::{Conv, Shape};

/// Places of a transformed square.
pub(super) const PLACES: usize = 16;
/// The place from which a number is added to each of the 2 x 2 pixels.
pub(super) const CENTRE: usize = 5;

/// Returns how many squares of 2 x 2 pixels a picture is cut into.
pub(super) fn squares(shape: Shape) -> usize {
    shape.height.div_ceil(2) * shape.width.div_ceil(2)
}

/// Returns whether a convolution is computed by minimal filtering. With few channels the transforms take more than they save,
/// and in pictures that are one pixel high or wide half of each square lies beyond the edge.
pub(super) fn is_filtered(conv: &Conv) -> bool {
    let Shape { height, width, channels } = conv.from;
    conv.side == 3 && conv.stride == 1 && channels.min(conv.channels) >= 4 && height.min(width) >= 2
}

/// Applies a transform along both sides. It is a macro because a closure would be compiled without the processor's features.
macro_rules! both_sides {
    ($S:ty, $x:expr, $from:literal => $to:literal, |$line:pat_param| $along:expr) => {{
        let x: [[<$S>::V; $from]; $from] = $x;
        let zero = x[0][0];
        let mut half = [[zero; $from]; $to];
        for j in 0..$from {
            let mut line = [zero; $from];
            for i in 0..$from {
                line[i] = x[i][j];
            }
            let $line = line;
            let line: [<$S>::V; $to] = $along;
            for i in 0..$to {
                half[i][j] = line[i];
            }
        }
        let mut all = [[zero; $to]; $to];
        for i in 0..$to {
            let $line = half[i];
            all[i] = $along;
        }
        all
    }};
}

/// Returns B^T d B.
#[inline(always)]
pub(super) unsafe fn pixels<S: Simd>(d: [[S::V; 4]; 4]) -> [[S::V; 4]; 4] {
    // SAFETY: the processor has the features of S, by the caller's contract.
    unsafe { both_sides!(S, d, 4 => 4, |[a, b, c, d]| [S::sub(a, c), S::add(b, c), S::sub(c, b), S::sub(d, b)]) }
}

/// Returns A^T m A.
#[inline(always)]
pub(super) unsafe fn sums<S: Simd>(m: [[S::V; 4]; 4]) -> [[S::V; 2]; 2] {
    // SAFETY: as above.
    unsafe { both_sides!(S, m, 4 => 2, |[a, b, c, d]| [S::add(a, S::add(b, c)), S::add(d, S::sub(b, c))]) }
}

/// Returns A y A^T.
#[inline(always)]
pub(super) unsafe fn deltas<S: Simd>(y: [[S::V; 2]; 2]) -> [[S::V; 4]; 4] {
    // SAFETY: as above.
    unsafe { both_sides!(S, y, 2 => 4, |[a, b]| [a, S::add(a, b), S::sub(a, b), b]) }
}

/// Returns G^T p G.
#[inline(always)]
pub(super) unsafe fn taps<S: Simd>(p: [[S::V; 4]; 4], half: S::V) -> [[S::V; 3]; 3] {
    // SAFETY: as above.
    unsafe {
        both_sides!(S, p, 4 => 3, |[a, b, c, d]| {
            let even = S::mul(half, S::add(b, c));
            [S::add(a, even), S::mul(half, S::sub(b, c)), S::add(even, d)]
        })
    }
}

/// Returns G g G^T.
#[inline(always)]
pub(super) unsafe fn weights<S: Simd>(g: [[S::V; 3]; 3], half: S::V) -> [[S::V; 4]; 4] {
    // SAFETY: as above.
    unsafe {
        both_sides!(S, g, 3 => 4, |[a, b, c]| {
            let (even, odd) = (S::mul(half, S::add(a, c)), S::mul(half, b));
            [a, S::add(even, odd), S::sub(even, odd), c]
        })
    }
}
