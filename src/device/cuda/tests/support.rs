//! What the kernels' tests share: inputs, the CPU device's side, and the comparison.

use super::guarded::{Buffer, Matrix};
use super::host;
use crate::device::cpu::CpuBlock;
use crate::device::cpu::simd::Isa;
use crate::device::gpus::Precision;
use crate::device::{Mat, Workspace};
use crate::formulas::axes::Axis;
use crate::formulas::peaks::{PeakAxes, Peaks};
use crate::formulas::squares::{Centre, square};
use crate::formulas::{Axes, Clock};
use crate::rng::{Sequence, Stream};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// Bound on the difference to the CPU device, relative to the largest number of the row.
pub const TOLERANCE: f32 = 1e-5;

/// So many cases, or SFEUOT_TEST_CASES where that is fewer: under compute-sanitizer a launch takes a hundred times as
/// long. SFEUOT_TEST_TIMES=1000 makes it a thousand times as many, to see what fails once in a thousand runs.
pub fn cases(wanted: u32) -> Config {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u32>().unwrap_or_else(|_| panic!("{name} is {text}, which is no number")))
    };
    let most = number("SFEUOT_TEST_CASES").unwrap_or(wanted).clamp(1, wanted);
    let config = Config::with_cases(most.saturating_mul(number("SFEUOT_TEST_TIMES").unwrap_or(1).max(1)));
    if std::env::var_os(host::OTHER_KERNELS).is_none() {
        return config;
    }
    // Those kernels are wrong on purpose: what they fail on need be neither small nor kept.
    Config { max_shrink_iters: 0, failure_persistence: None, ..config }
}

pub fn normals(seed: u64, n: usize) -> Vec<f32> {
    let mut x = vec![0f32; n];
    Sequence::new(seed, 0, Stream::Init).normals(0, &mut x);
    x
}

/// Numbers in (low, high].
pub fn uniforms(seed: u64, n: usize, low: f32, high: f32) -> Vec<f32> {
    let mut x = vec![0f32; n];
    Sequence::new(seed, 1, Stream::Init).uniforms(0, &mut x);
    x.into_iter().map(|u| low + (high - low) * u).collect()
}

/// Every arithmetic of products, with what stands in the names of its kernels.
pub const PRECISIONS: [(Precision, &str); 3] =
    [(Precision::F32, ""), (Precision::Tf32, "_tf32"), (Precision::Bf16, "_bf16")];

/// The number that a product multiplies in the place of `x`.
pub fn rounded(precision: Precision, x: f32) -> f32 {
    let bits = x.to_bits();
    match precision {
        Precision::F32 => x,
        _ if !x.is_finite() => x,
        // To the nearest of 11 bits, ties away from zero, and of 8 bits, ties to even.
        Precision::Tf32 => f32::from_bits((bits + 0x1000) & !0x1FFF),
        Precision::Bf16 => f32::from_bits((bits + 0x7FFF + (bits >> 16 & 1)) & !0xFFFF),
    }
}

/// The most that rounding changes a number by, relative to it.
pub fn unit_of(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 0.0,
        Precision::Tf32 => 1.0 / 2048.0,
        Precision::Bf16 => 1.0 / 256.0,
    }
}

pub fn cpu() -> CpuBlock<f32> {
    CpuBlock::new(Isa::detect())
}

pub fn upload(block: &mut CpuBlock<f32>, values: &[f32], cols: usize) -> Mat {
    let mat = block.scratch(values.len() / cols, cols);
    for (r, line) in values.chunks_exact(cols).enumerate() {
        block.row_mut(mat, r).copy_from_slice(line);
    }
    mat
}

pub fn download(block: &CpuBlock<f32>, mat: Mat) -> Vec<f32> {
    (0..mat.rows).flat_map(|r| block.row(mat, r).to_vec()).collect()
}

pub fn close(what: &str, found: &[f32], expected: &[f32], cols: usize) {
    close_from(what, found, expected, cols, 1e-30);
}

/// As [`close`], where numbers below `floor` are differences of ones that large.
pub fn close_from(what: &str, found: &[f32], expected: &[f32], cols: usize, floor: f32) {
    close_above(what, found, expected, cols, |_| floor);
}

/// As [`close`], where each of `terms` is what one term of the expected numbers is without the others, or how large it
/// is: the bound is relative to the largest of them too, as a sum of few numbers may be nearly zero by chance.
pub fn close_terms(what: &str, found: &[f32], expected: &[f32], cols: usize, terms: &[Vec<f32>]) {
    let largest = |r: usize| {
        let rows = terms.iter().map(|term| &term[r * cols..(r + 1) * cols]);
        rows.flatten().fold(1e-30, |a: f32, b| a.max(b.abs()))
    };
    close_above(what, found, expected, cols, largest);
}

/// As [`close_from`] with a floor for each row.
pub fn close_above(what: &str, found: &[f32], expected: &[f32], cols: usize, floor: impl Fn(usize) -> f32) {
    assert_eq!(found.len(), expected.len());
    for (r, (found, expected)) in found.chunks_exact(cols).zip(expected.chunks_exact(cols)).enumerate() {
        let scale = expected.iter().fold(floor(r), |a, b| a.max(b.abs()));
        for (c, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((a - b).abs() <= TOLERANCE * scale, "{what} row {r}, column {c}: {a}, expected {b}");
        }
    }
}

/// Two sums, one of float terms in some order, whose absolute values add up to about `scale`.
pub fn close_sum(what: &str, found: f64, expected: f64, scale: f64) {
    let tolerance = f64::from(TOLERANCE) * scale.abs().max(expected.abs());
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected}");
}

/// The squares of some columns of rows that lie `cols` apart, as a network sees them: their centre, and what they are
/// at each row's time.
pub fn squares_of(
    seed: u64,
    x: &[f32],
    cols: usize,
    count: usize,
    time: impl Fn(usize) -> f32,
) -> (Vec<f32>, Vec<f32>) {
    let spread = |s| normals(seed ^ s, count).into_iter().map(|x| f64::from(x * x)).collect::<Vec<_>>();
    let centre: Vec<f32> = Centre::between(&spread(8), &spread(9)).unwrap().numbers().unwrap();
    let rows = x.chunks_exact(cols).enumerate();
    let of_row = |(r, row): (usize, &[f32])| {
        let at = |(j, &x): (usize, &f32)| square(x) - (centre[j] + time(r) * centre[count + j]);
        row[..count].iter().enumerate().map(at).collect::<Vec<_>>()
    };
    let squares = rows.flat_map(of_row).collect();
    (centre, squares)
}

/// Columns `from..to` of rows of `cols` numbers.
pub fn columns(x: &[f32], cols: usize, from: usize, to: usize) -> Vec<f32> {
    x.chunks_exact(cols).flat_map(|row| row[from..to].to_vec()).collect()
}

/// Axes of noise around `sigma`, whose square is the noise, with a known part and times of their own; or in one case of
/// four all alike.
pub fn axes(seed: u64, d: usize, sigma: f64) -> Axes<Vec<f32>> {
    if seed.is_multiple_of(4) {
        return Axes::even(d, sigma);
    }
    let [spread, curvature, slope] = [20, 21, 22].map(|s| normals(seed ^ s, d));
    let late = uniforms(seed ^ 23, d + 1, 0.0, 1.0);
    let range = 9.0 * f64::from(late[d]);
    let axis = |j: usize| Axis {
        sigma: sigma * f64::from(0.4 * spread[j].clamp(-2.0, 2.0)).exp(),
        // The first axis is the fastest, and the last the slowest.
        rate: (-range
            * if j == 0 {
                0.0
            } else if j + 1 == d {
                1.0
            } else {
                f64::from(late[j])
            })
        .exp(),
        curvature: 0.3 * f64::from(curvature[j]),
        slope: f64::from(slope[j]),
    };
    Axes::new((0..d).map(axis), Clock::new(range, 1.0 / (1 + d % 3) as f64), sigma * sigma, 0.25).unwrap()
}

/// Axes that all have the noise `sigma` and a time, which may be another than the clock's.
pub fn alike(seed: u64, d: usize, sigma: f64) -> Axes<Vec<f32>> {
    let range = 3.0 * f64::from(uniforms(seed ^ 23, 1, 0.0, 1.0)[0]);
    let axis = Axis { sigma, rate: (-0.5 * range).exp(), curvature: 0.0, slope: 0.0 };
    Axes::new(std::iter::repeat_n(axis, d), Clock::new(range, 1.0 / (1 + d % 3) as f64), sigma * sigma, 0.25).unwrap()
}

/// Orthogonal axes of peaks: three reflections of those of the problem.
pub fn own_axes(seed: u64, d: usize, peaks: usize) -> PeakAxes {
    let of_peak = |k: usize| {
        let mut axes = vec![0f64; d * d];
        (0..d).for_each(|j| axes[j * d + j] = 1.0);
        for mirror in normals(seed ^ (50 + k as u64), 3 * d).chunks_exact(d) {
            let square: f64 = mirror.iter().map(|&x| f64::from(x).powi(2)).sum();
            for axis in axes.chunks_exact_mut(d) {
                let along: f64 = axis.iter().zip(mirror).map(|(a, &x)| a * f64::from(x)).sum();
                axis.iter_mut().zip(mirror).for_each(|(a, &x)| *a -= 2.0 * along / square * f64::from(x));
            }
        }
        axes.into_iter().map(|x| x as f32)
    };
    PeakAxes::new((0..peaks).flat_map(of_peak).collect())
}

/// Flat peaks that have axes of their own, for what does not depend on more of them.
pub fn turned(seed: u64, d: usize, sigma: f64, peaks: usize) -> Axes<Vec<f32>> {
    let [weights, precisions, centres, tilts] = [1, d, d, d].map(|each| vec![0.0; each * peaks].into());
    let peaks = Peaks { weights, precisions, centres, tilts, axes: Some(own_axes(seed, d, peaks)) };
    alike(seed, d, sigma).with_peaks(&peaks).unwrap()
}

/// Dimensions below, on and above a vector of axes, and half and all of a warp's numbers.
pub fn turned_dimensions() -> impl Strategy<Value = usize> {
    prop_oneof![proptest::sample::select(vec![2, 3, 16, 17, 33, 64]), 1usize..=64]
}

pub fn turned_counts() -> impl Strategy<Value = usize> {
    proptest::sample::select(vec![1, 3, 8, 17, 32])
}

/// Rows of times of the clock.
pub fn ticks(clock: Clock, times: &[f32]) -> Vec<f32> {
    times.iter().flat_map(|&time| clock.at(time).row()).collect()
}

/// What a kernel wrote.
pub enum Output {
    Matrix(Matrix),
    Doubles(Buffer<f64>),
}

impl Output {
    pub fn values(&self) -> Vec<f32> {
        match self {
            Self::Matrix(matrix) => matrix.values(),
            Self::Doubles(_) => panic!("doubles"),
        }
    }

    pub fn sum(&self) -> f64 {
        match self {
            Self::Matrix(_) => panic!("a matrix"),
            Self::Doubles(doubles) => doubles.iter().sum(),
        }
    }

    fn bits(&self) -> Vec<u64> {
        match self {
            Self::Matrix(matrix) => {
                matrix.check_gaps();
                matrix.values().iter().map(|x| x.to_bits().into()).collect()
            }
            Self::Doubles(doubles) => doubles.iter().map(|x| x.to_bits()).collect(),
        }
    }
}

impl From<Matrix> for Output {
    fn from(matrix: Matrix) -> Self {
        Self::Matrix(matrix)
    }
}

impl From<Buffer<f64>> for Output {
    fn from(doubles: Buffer<f64>) -> Self {
        Self::Doubles(doubles)
    }
}

/// Runs with two orders of the threads; the outputs must agree in every bit, and gaps between rows be left alone.
pub fn in_two_orders<const N: usize>(seed: u64, run: impl Fn(u64) -> [Output; N]) -> [Output; N] {
    let (first, second) = (run(seed), run(!seed));
    for (i, (a, b)) in first.iter().zip(&second).enumerate() {
        assert!(a.bits() == b.bits(), "output {i} depends on the order of threads");
    }
    first
}
