//! Symmetric matrices of the size of a covariance, in 64 bits: products, functions, and the axes along which they are
//! diagonal.
//!
//! Their memory can be refused, which a library of linear algebra would answer by ending the process.

use crate::error::Result;
use crate::memory;

const MEMORY: &str = "a covariance of the samples";

/// A symmetric matrix with all its numbers, by rows.
#[derive(Clone, Debug)]
pub(crate) struct Symmetric {
    size: usize,
    numbers: Vec<f64>,
}

/// The values of a symmetric matrix along its axes.
#[derive(Debug)]
pub(crate) struct Spectrum {
    pub values: Vec<f64>,
    /// The axes, one a row.
    pub axes: Vec<f64>,
}

impl Symmetric {
    /// Returns the zero matrix.
    pub fn zero(size: usize) -> Result<Self> {
        Ok(Self { size, numbers: memory::filled(MEMORY, size * size, 0.0)? })
    }

    /// Returns the matrix with these numbers along its diagonal and zeros elsewhere.
    pub fn diagonal(values: impl ExactSizeIterator<Item = f64>) -> Result<Self> {
        let mut matrix = Self::zero(values.len())?;
        for (j, value) in values.enumerate() {
            matrix.row_mut(j)[j] = value;
        }
        Ok(matrix)
    }

    /// Returns a copy.
    pub fn copied(&self) -> Result<Self> {
        Ok(Self { size: self.size, numbers: memory::copied(MEMORY, &self.numbers)? })
    }

    /// Number of rows.
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn row(&self, j: usize) -> &[f64] {
        &self.numbers[j * self.size..][..self.size]
    }

    pub fn row_mut(&mut self, j: usize) -> &mut [f64] {
        &mut self.numbers[j * self.size..][..self.size]
    }

    /// Adds `by` x x^T up to the diagonal of each row; [`Self::mirror`] makes the rest of it.
    pub fn add_square(&mut self, by: f64, x: &[f64]) {
        for j in 0..self.size {
            let part = by * x[j];
            self.row_mut(j)[..=j].iter_mut().zip(x).for_each(|(sum, x)| *sum += part * x);
        }
    }

    /// Takes f of the numbers up to the diagonal for both sides of it; `f` is told row, column and number.
    pub fn mirror(&mut self, f: impl Fn(usize, usize, f64) -> f64) {
        for j in 0..self.size {
            for k in 0..=j {
                let value = f(j, k, self.row(j)[k]);
                self.row_mut(j)[k] = value;
                self.row_mut(k)[j] = value;
            }
        }
    }

    /// Returns the numbers along the diagonal.
    pub fn diagonals(&self) -> impl ExactSizeIterator<Item = f64> {
        (0..self.size).map(|j| self.row(j)[j])
    }

    /// Returns the matrix times a vector.
    pub fn times(&self, x: &[f64]) -> Result<Vec<f64>> {
        memory::collected(MEMORY, (0..self.size).map(|j| dot(self.row(j), x)))
    }

    /// Returns R S R^T for this S and a matrix R, given by rows: the matrix in the axes that R's rows are.
    pub fn turned(&self, rows: &[f64]) -> Result<Self> {
        let n = self.size;
        let half = product(rows, &self.numbers, n)?;
        let mut to = Self::zero(n)?;
        to.mirror(|j, k, _| dot(&half[j * n..][..n], &rows[k * n..][..n]));
        Ok(to)
    }

    /// Returns M S M for this S and another symmetric M.
    pub fn between(&self, other: &Self) -> Result<Self> {
        self.turned(&other.numbers)
    }

    /// Returns the solution x of S x = y for a matrix that is positive definite, or None for one that is not.
    pub fn solve(&self, y: &[f64]) -> Result<Option<Vec<f64>>> {
        let n = self.size;
        let mut factor = memory::copied(MEMORY, &self.numbers)?;
        let mut x = memory::copied(MEMORY, y)?;
        for j in 0..n {
            let (above, rest) = factor.split_at_mut(j * n);
            let row = &mut rest[..n];
            for k in 0..j {
                let other = &above[k * n..][..n];
                row[k] = (row[k] - dot(&row[..k], &other[..k])) / other[k];
            }
            let square = row[j] - dot(&row[..j], &row[..j]);
            if square.is_nan() || square <= 0.0 {
                return Ok(None);
            }
            row[j] = square.sqrt();
            x[j] = (x[j] - dot(&row[..j], &x[..j])) / row[j];
        }
        for j in (0..n).rev() {
            x[j] /= factor[j * n + j];
            let value = x[j];
            for (x, factor) in x[..j].iter_mut().zip(&factor[j * n..]) {
                *x -= value * factor;
            }
        }
        Ok(Some(x))
    }

    /// Returns the values along the axes, in any order: Householder's reduction to three diagonals, then the implicit QL
    /// method (Golub and Van Loan, *Matrix Computations*, sections 8.3.1 and 8.3.3). Errors are of the order of the
    /// rounding of the largest value.
    pub fn spectrum(mut self) -> Result<Spectrum> {
        let n = self.size;
        let mut beside = memory::filled(MEMORY, n, 0.0)?;
        let mut scales = memory::filled(MEMORY, n, 0.0)?;
        self.reduce(&mut beside, &mut scales)?;
        let mut values = memory::collected(MEMORY, self.diagonals())?;
        let mut axes = self.reflections(&scales)?;
        beside.rotate_left(1);
        for low in 0..n {
            // Each value takes a few rounds. The limit is far beyond what finite numbers need.
            for _ in 0..100 {
                let split = |j: &usize| beside[*j].abs() <= f64::EPSILON * (values[*j].abs() + values[*j + 1].abs());
                let high = (low..n - 1).find(split).unwrap_or(n - 1);
                if high == low {
                    break;
                }
                chase(&mut values, &mut beside, &mut axes, low, high);
            }
        }
        Ok(Spectrum { values, axes })
    }

    /// Reduces the matrix to three diagonals: its own, and `beside`, whose number j couples j - 1 and j. Row j keeps
    /// the vector of a reflection in front of its diagonal, with half of its square in `scales`.
    fn reduce(&mut self, beside: &mut [f64], scales: &mut [f64]) -> Result<()> {
        let n = self.size;
        let mut image = memory::filled(MEMORY, n, 0.0)?;
        for last in (1..n).rev() {
            let (above, row) = self.numbers.split_at_mut(last * n);
            let u = &mut row[..last];
            let magnitude: f64 = u.iter().map(|x| x.abs()).sum();
            if last == 1 || magnitude == 0.0 {
                beside[last] = u[last - 1];
                continue;
            }
            u.iter_mut().for_each(|x| *x /= magnitude);
            let square = dot(u, u);
            let end = u[last - 1];
            let root = if end >= 0.0 { -square.sqrt() } else { square.sqrt() };
            beside[last] = magnitude * root;
            u[last - 1] = end - root;
            let half = square - end * root;
            scales[last] = half;
            for (j, image) in image[..last].iter_mut().enumerate() {
                *image = dot(&above[j * n..][..last], u) / half;
            }
            let middle = dot(u, &image[..last]) / (2.0 * half);
            image.iter_mut().zip(u.iter()).for_each(|(image, u)| *image -= middle * u);
            for j in 0..last {
                let (by_image, by_u) = (u[j], image[j]);
                let row = &mut above[j * n..][..last];
                for ((x, image), u) in row.iter_mut().zip(&image).zip(u.iter()) {
                    *x -= by_image * image + by_u * u;
                }
            }
        }
        Ok(())
    }

    /// Returns the product of the reflections that [`Self::reduce`] left, one axis a row.
    fn reflections(&self, scales: &[f64]) -> Result<Vec<f64>> {
        let n = self.size;
        let mut axes = memory::filled(MEMORY, n * n, 0.0)?;
        (0..n).for_each(|j| axes[j * n + j] = 1.0);
        for last in 1..n {
            if scales[last] == 0.0 {
                continue;
            }
            let u = &self.row(last)[..last];
            for axis in axes.chunks_exact_mut(n).take(last) {
                let part = dot(&axis[..last], u) / scales[last];
                axis.iter_mut().zip(u).for_each(|(x, u)| *x -= part * u);
            }
        }
        Ok(axes)
    }
}

/// One round of the QL method on `low..=high`, with the rotations of the axes.
fn chase(values: &mut [f64], beside: &mut [f64], axes: &mut [f64], low: usize, high: usize) {
    let n = values.len();
    let gap = (values[low + 1] - values[low]) / (2.0 * beside[low]);
    let mut g = values[high] - values[low] + beside[low] / (gap + gap.hypot(1.0).copysign(gap));
    let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
    for j in (low..high).rev() {
        let (f, b) = (sine * beside[j], cosine * beside[j]);
        let length = f.hypot(g);
        beside[j + 1] = length;
        if length == 0.0 {
            values[j + 1] -= shift;
            beside[high] = 0.0;
            return;
        }
        (sine, cosine) = (f / length, g / length);
        let next = values[j + 1] - shift;
        let part = (values[j] - next) * sine + 2.0 * cosine * b;
        shift = sine * part;
        values[j + 1] = next + shift;
        g = cosine * part - b;
        let (first, second) = axes[j * n..(j + 2) * n].split_at_mut(n);
        for (a, b) in first.iter_mut().zip(second) {
            (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
        }
    }
    values[low] -= shift;
    beside[low] = g;
    beside[high] = 0.0;
}

impl Spectrum {
    /// Returns a copy.
    pub fn copied(&self) -> Result<Self> {
        Ok(Self { values: memory::copied(MEMORY, &self.values)?, axes: memory::copied(MEMORY, &self.axes)? })
    }

    /// Returns the matrix with the same axes and f of each value.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Result<Symmetric> {
        let n = self.values.len();
        let mut to = Symmetric::zero(n)?;
        for (axis, &value) in self.axes.chunks_exact(n).zip(&self.values) {
            let value = f(value);
            for j in 0..n {
                let part = value * axis[j];
                to.row_mut(j).iter_mut().zip(axis).for_each(|(to, x)| *to += part * x);
            }
        }
        Ok(to)
    }
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Lanes that the compiler may add at once.
    let (a_whole, b_whole) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_whole.remainder().iter().zip(b_whole.remainder()).map(|(a, b)| a * b).sum();
    let mut lanes = [0.0; 8];
    for (a, b) in a_whole.zip(b_whole) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// Takes rows of n numbers to other axes, the rows of `axes`.
pub(crate) fn turn_rows(rows: &mut [f64], axes: &[f64], n: usize) -> Result<()> {
    let mut before = memory::filled(MEMORY, n, 0.0)?;
    for row in rows.chunks_exact_mut(n) {
        before.copy_from_slice(row);
        row.iter_mut().zip(axes.chunks_exact(n)).for_each(|(to, axis)| *to = dot(axis, &before));
    }
    Ok(())
}

/// Returns whether n axes of n numbers, one a row, have unit length and right angles, to the digits of 32-bit numbers.
pub(crate) fn is_orthogonal(axes: &[f32], n: usize) -> bool {
    let along = |j: usize, k: usize| -> f64 {
        let pairs = axes[j * n..][..n].iter().zip(&axes[k * n..][..n]);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let right = |j: usize, k: usize| (along(j, k) - f64::from(u8::from(j == k))).abs() < 1e-5;
    (0..n).all(|j| (0..=j).all(|k| right(j, k)))
}

/// Returns the product of two matrices of n x n numbers.
pub(crate) fn product(a: &[f64], b: &[f64], n: usize) -> Result<Vec<f64>> {
    let mut to = memory::filled(MEMORY, n * n, 0.0)?;
    for (to, a) in to.chunks_exact_mut(n).zip(a.chunks_exact(n)) {
        for (&a, b) in a.iter().zip(b.chunks_exact(n)) {
            to.iter_mut().zip(b).for_each(|(to, b)| *to += a * b);
        }
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A symmetric matrix G G^T with columns of very different lengths.
    fn graded(n: usize, seed: u64) -> Symmetric {
        let mut x = vec![0f32; n * n];
        crate::rng::Sequence::new(seed, 0, crate::rng::Stream::Init).normals(0, &mut x);
        let g: Vec<f64> =
            x.iter().enumerate().map(|(i, &x)| f64::from(x) * 10f64.powi(-(((i % n) * 4 / n) as i32))).collect();
        let mut to = Symmetric::zero(n).unwrap();
        for j in 0..n {
            for k in 0..n {
                to.row_mut(j)[k] = dot(&g[j * n..][..n], &g[k * n..][..n]);
            }
        }
        to
    }

    proptest! {
        #[test]
        fn a_matrix_is_its_axes_and_values(n in 1usize..40, seed in any::<u64>()) {
            let matrix = graded(n, seed);
            let spectrum = matrix.copied().unwrap().spectrum().unwrap();
            let again = spectrum.map(|x| x).unwrap();
            let most = matrix.diagonals().sum::<f64>();
            for j in 0..n {
                for k in 0..n {
                    prop_assert!((again.row(j)[k] - matrix.row(j)[k]).abs() < 1e-12 * most * n as f64);
                    let along = dot(&spectrum.axes[j * n..][..n], &spectrum.axes[k * n..][..n]);
                    prop_assert!((along - f64::from(u8::from(j == k))).abs() < 1e-12 * n as f64, "{along}");
                }
            }
            // In its axes the matrix is diagonal.
            let turned = matrix.turned(&spectrum.axes).unwrap();
            for j in 0..n {
                prop_assert!((turned.row(j)[j] - spectrum.values[j]).abs() < 1e-12 * most * n as f64);
            }
        }

        #[test]
        fn a_solution_solves(n in 1usize..20, seed in any::<u64>()) {
            let mut matrix = graded(n, seed);
            (0..n).for_each(|j| matrix.row_mut(j)[j] += 0.1);
            let x: Vec<f64> = (0..n).map(|j| (j as f64).sin()).collect();
            let found = matrix.solve(&matrix.times(&x).unwrap()).unwrap().unwrap();
            prop_assert!(found.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-8), "{found:?}");
            matrix.row_mut(0)[0] = -1.0;
            prop_assert!(matrix.solve(&x).unwrap().is_none());
        }
    }

    #[test]
    fn a_diagonal_matrix_has_its_own_axes() {
        let values = [3.0, 1e-9, 3.0, 0.0];
        let spectrum = Symmetric::diagonal(values.into_iter()).unwrap().spectrum().unwrap();
        assert_eq!(spectrum.values, values);
        assert!((0..4).all(|j| spectrum.axes[j * 4 + j] == 1.0));
    }
}
