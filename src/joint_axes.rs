//! The axes along which several covariances are as near to diagonal as one basis can make them: common principal
//! components (Flury and Gautschi, *An Algorithm for Simultaneous Orthogonal Transformation of Several Positive Definite
//! Symmetric Matrices to Nearly Diagonal Form*, SIAM J. Sci. Stat. Comput. 1986).

use crate::error::Result;
use crate::memory;
use crate::symmetric::Symmetric;

/// How often all pairs of axes are turned, and the angle below which nothing is left to turn.
const SWEEPS: usize = 30;
const ANGLE: f64 = 1e-6;

/// Returns axes, one a row, that minimise the sum over matrices of share times log(det diag / det) in the axes. They
/// begin at `axes`.
pub(crate) fn joint_axes(matrices: &[(f64, Symmetric)], mut axes: Vec<f64>) -> Result<Vec<f64>> {
    let Some(n) = matrices.first().map(|(_, matrix)| matrix.size()) else { return Ok(axes) };
    let mut turned = memory::with_room("covariances of the samples", matrices.len())?;
    for (share, matrix) in matrices {
        turned.push((*share, matrix.turned(&axes)?));
    }
    for _ in 0..SWEEPS {
        let mut most = 0f64;
        for j in 1..n {
            for k in 0..j {
                let angle = best_angle(&turned, j, k);
                most = most.max(angle.abs());
                if angle.abs() > 0.1 * ANGLE {
                    turn(&mut turned, &mut axes, [j, k], angle);
                }
            }
        }
        if most < ANGLE {
            break;
        }
    }
    Ok(axes)
}

/// Returns the angle by which axes j and k have to be turned: the principal axis of the mean of the matrices' blocks,
/// each weighed by how far apart its variances along both axes are, told anew a few times.
fn best_angle(matrices: &[(f64, Symmetric)], j: usize, k: usize) -> f64 {
    let mut angle = 0f64;
    let tie = matrices.iter().all(|(_, matrix)| {
        let (a, b) = (matrix.row(j)[j], matrix.row(k)[k]);
        (a - b).abs() <= 1e-9 * (a + b)
    });
    for _ in 0..8 {
        let (sine, cosine) = angle.sin_cos();
        let (mut across, mut apart) = (0.0, 0.0);
        for (share, matrix) in matrices {
            let (a, b, c) = (matrix.row(j)[j], matrix.row(k)[k], matrix.row(j)[k]);
            let first = cosine * cosine * a + sine * sine * b + 2.0 * sine * cosine * c;
            let second = sine * sine * a + cosine * cosine * b - 2.0 * sine * cosine * c;
            if first > 0.0 && second > 0.0 {
                // Where both variances are the same in all matrices, each counts by its share: else a tie would stay.
                let weight = share * if tie { 1.0 } else { (first - second) / (first * second) };
                across += weight * c;
                apart += weight * (a - b);
            }
        }
        if across == 0.0 && apart == 0.0 {
            return angle;
        }
        // The angle at which the mean block is diagonal, nearest to none.
        let next = 0.5 * (2.0 * across).atan2(apart);
        let next = if next > std::f64::consts::FRAC_PI_4 {
            next - std::f64::consts::FRAC_PI_2
        } else if next < -std::f64::consts::FRAC_PI_4 {
            next + std::f64::consts::FRAC_PI_2
        } else {
            next
        };
        if (next - angle).abs() < 1e-9 {
            return next;
        }
        angle = next;
    }
    angle
}

/// Turns axes j and k by an angle.
fn turn(matrices: &mut [(f64, Symmetric)], axes: &mut [f64], [j, k]: [usize; 2], angle: f64) {
    let (sine, cosine) = angle.sin_cos();
    let rotate = |a: &mut f64, b: &mut f64| (*a, *b) = (cosine * *a + sine * *b, cosine * *b - sine * *a);
    for (_, matrix) in matrices {
        let n = matrix.size();
        for i in 0..n {
            let row = matrix.row_mut(i);
            let (low, high) = row.split_at_mut(j);
            rotate(&mut high[0], &mut low[k]);
        }
        let (low, high) = matrix.rows_mut(k, j);
        high.iter_mut().zip(low).for_each(|(a, b)| rotate(a, b));
    }
    let n = axes.len().isqrt();
    let (low, high) = axes.split_at_mut(j * n);
    high[..n].iter_mut().zip(&mut low[k * n..][..n]).for_each(|(a, b)| rotate(a, b));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Matrices that one basis makes diagonal are made diagonal.
    #[test]
    fn common_axes_are_found() {
        let n = 12;
        let mut seed = Symmetric::zero(n).unwrap();
        for j in 0..n {
            for k in 0..n {
                seed.row_mut(j)[k] = ((j * k + j + k) as f64 * 0.37).sin();
            }
        }
        let basis = seed.spectrum().unwrap();
        let matrices: Vec<_> = (0..4)
            .map(|m| {
                let of = crate::symmetric::Spectrum {
                    values: (0..n).map(|j| 0.5 + ((m * 7 + j * 3) % 11) as f64 / 10.0).collect(),
                    axes: basis.axes.clone(),
                };
                (0.25, of.map(|x| x).unwrap())
            })
            .collect();
        let identity: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect();
        let axes = joint_axes(&matrices, identity).unwrap();
        for (_, matrix) in &matrices {
            let turned = matrix.turned(&axes).unwrap();
            for j in 0..n {
                for k in 0..j {
                    assert!(turned.row(j)[k].abs() < 1e-5, "{j} {k} {}", turned.row(j)[k]);
                }
            }
        }
    }
}
