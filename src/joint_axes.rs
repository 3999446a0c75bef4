//! The axes along which several covariances are as near to diagonal as one basis can make them: common principal
//! components (Flury and Gautschi, *An Algorithm for Simultaneous Orthogonal Transformation of Several Positive Definite
//! Symmetric Matrices to Nearly Diagonal Form*, SIAM J. Sci. Stat. Comput. 1986).

use crate::error::Result;
use crate::memory;
use crate::symmetric::Symmetric;

/// How often all pairs of axes are turned, and the angle below which nothing is left to turn.
const SWEEPS: usize = 30;
const ANGLE: f64 = 1e-6;
const MEMORY: &str = "covariances of the samples";

/// The largest number of matrices.
pub(crate) const MOST_MATRICES: usize = 8;

/// A number of each matrix.
type Lanes = [f64; MOST_MATRICES];

/// Symmetric matrices, whose numbers for one place lie beside each other: a turn does the same to all of them.
struct Stack {
    size: usize,
    /// What each matrix counts; nothing where there are fewer.
    shares: Lanes,
    /// For each row, for each column up to the diagonal, a number of each matrix; nothing above.
    numbers: Vec<Lanes>,
}

impl Stack {
    fn of(size: usize, matrices: &[(f64, Symmetric)]) -> Result<Self> {
        let lanes = |number: &dyn Fn(&(f64, Symmetric)) -> f64| {
            let mut lanes = [0.0; MOST_MATRICES];
            lanes.iter_mut().zip(matrices).for_each(|(to, matrix)| *to = number(matrix));
            lanes
        };
        assert!(matrices.len() <= MOST_MATRICES);
        let mut numbers = memory::with_room(MEMORY, size * (size + 1) / 2)?;
        for j in 0..size {
            numbers.extend((0..=j).map(|k| lanes(&|(_, matrix)| matrix.row(j)[k])));
        }
        Ok(Self { size, shares: lanes(&|(share, _)| *share), numbers })
    }

    /// Returns where the numbers of a row and of a column that is not behind it lie.
    fn place(row: usize, column: usize) -> usize {
        row * (row + 1) / 2 + column
    }

    /// Returns these numbers.
    fn at(&self, row: usize, column: usize) -> &Lanes {
        &self.numbers[Self::place(row, column)]
    }

    /// Turns axes j and k < j by the angle with this sine and cosine.
    fn turn(&mut self, [j, k]: [usize; 2], by: [f64; 2]) {
        let [sine, cosine] = by;
        for i in (0..self.size).filter(|&i| i != j && i != k) {
            let places = [j, k].map(|axis| Self::place(axis.max(i), axis.min(i)));
            let [a, b] = self.numbers.get_disjoint_mut(places).expect("two places");
            rotate(a, b, by);
        }
        let places = [Self::place(j, j), Self::place(k, k), Self::place(j, k)];
        let [first, second, both] = self.numbers.get_disjoint_mut(places).expect("three places");
        for m in 0..MOST_MATRICES {
            let (a, b, c) = (first[m], second[m], both[m]);
            let cross = 2.0 * sine * cosine * c;
            first[m] = cosine * cosine * a + sine * sine * b + cross;
            second[m] = sine * sine * a + cosine * cosine * b - cross;
            both[m] = sine * cosine * (b - a) + (cosine * cosine - sine * sine) * c;
        }
    }
}

/// Turns each pair of numbers by the angle with this sine and cosine.
fn rotate(a: &mut [f64], b: &mut [f64], [sine, cosine]: [f64; 2]) {
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (cosine * *a + sine * *b, cosine * *b - sine * *a);
    }
}

/// Returns axes, one a row, that minimise the sum over matrices of this size of share times log(det diag / det) in the
/// axes.
pub(crate) fn joint_axes(n: usize, matrices: &[(f64, Symmetric)]) -> Result<Vec<f64>> {
    let mut turned = Stack::of(n, matrices)?;
    let mut axes = memory::filled(MEMORY, n * n, 0.0)?;
    (0..n).for_each(|j| axes[j * n + j] = 1.0);
    for _ in 0..SWEEPS {
        let mut most = 0f64;
        for j in 1..n {
            for k in 0..j {
                let angle = best_angle(&turned, j, k);
                most = most.max(angle.abs());
                if angle.abs() > 0.1 * ANGLE {
                    let by = [angle.sin(), angle.cos()];
                    turned.turn([j, k], by);
                    let [a, b] = axes.get_disjoint_mut([j * n..j * n + n, k * n..k * n + n]).expect("two axes");
                    rotate(a, b, by);
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
fn best_angle(turned: &Stack, j: usize, k: usize) -> f64 {
    let [first, second, both] = [turned.at(j, j), turned.at(k, k), turned.at(j, k)];
    let tie = first.iter().zip(second).all(|(a, b)| (a - b).abs() <= 1e-9 * (a + b));
    let blocks = turned.shares.iter().zip(first).zip(second).zip(both);
    let mut angle = 0f64;
    for _ in 0..8 {
        let (sine, cosine) = angle.sin_cos();
        let (mut across, mut apart) = (0.0, 0.0);
        for (((share, a), b), c) in blocks.clone() {
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
        let axes = joint_axes(n, &matrices).unwrap();
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
