//! A value function whose exponential is a sum of Gaussian peaks. It solves the equation of the value
//! function in closed form, and so does its plan (as in Korotin, Gushchin, Burnaev, *Light Schroedinger Bridge*, ICLR 2024,
//! whose potentials are these).
//!
//! With the noise n_j = sigma_j^2 (1 - t_j) that is left along axis j and z_j = x_j - centre_kj,
//!
//! V(s, x) = -noise log sum over k of w_k prod over j of (1 + p n_j)^(-1/2) exp(-(p z_j^2 - 2 h z_j - n_j h^2) / (2 (1 + p n_j))),
//!
//! where p and h are the precision and the tilt of peak k along axis j. A precision of 0 is a peak that is flat or, with a
//! tilt, an exponential; it may be negative down to -1 / sigma_j^2. Given x0, x1 comes from peak k with the share that it has
//! of the sum at time 0, and then with the mean x0 - sigma^2 (p z - h) / (1 + p sigma^2) and the variance
//! sigma^2 / (1 + p sigma^2) along each axis.
//!
//! The axes are those of the problem or, where noise and time are the same along all of these, axes that each peak has of its
//! own. x_j is then the place along axis j of peak k.

use super::scalar::Scalar;
use crate::error::Result;
use crate::memory;
use crate::numbers::Numbers;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

const MEMORY: &str = "the peaks of a value function";
/// The largest number of peaks, so that each has a lane of a GPU's warp.
pub const MOST_PEAKS: usize = 32;
/// The largest dimension of samples whose value function has peaks.
pub const MOST_DIMENSION: usize = 128;
/// The largest dimension of samples whose peaks have axes of their own, of which each peak has this number squared.
pub const MOST_TURNED: usize = 64;
/// Peaks, and axes of their own, are padded to a multiple of this, so that whole vectors can be read.
const LANES: usize = 16;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// Logarithms of w.
    pub weights: Numbers,
    /// Peaks x axes.
    pub precisions: Numbers,
    pub centres: Numbers,
    pub tilts: Numbers,
    /// Where each peak has axes of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axes: Option<PeakAxes>,
}

/// Orthogonal axes of each peak, as 32-bit numbers: peaks x axes x d. A clone shares the numbers. A description says only that they
/// are there; a file has them as a tensor.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PeakAxes(Arc<Vec<f32>>);

impl PeakAxes {
    /// Takes the axes, peaks x axes x d.
    pub fn new(numbers: Vec<f32>) -> Self {
        Self(Arc::new(numbers))
    }

    /// Returns all numbers.
    pub fn numbers(&self) -> &[f32] {
        &self.0
    }

    /// Returns the axes of each peak of samples of d numbers.
    pub fn each(&self, d: usize) -> impl Iterator<Item = &[f32]> + Clone {
        self.0.chunks_exact(d * d)
    }
}

impl Serialize for PeakAxes {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.serialize_bool(true)
    }
}

impl<'de> Deserialize<'de> for PeakAxes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        match bool::deserialize(from)? {
            true => Ok(Self::default()),
            false => Err(serde::de::Error::custom("axes of peaks must be true or left out")),
        }
    }
}

/// The numbers of the peaks at an axis, as devices keep them: for each axis `width` of each, and behind the last axis those
/// of [`Whole`]. Behind these, where peaks have axes of their own, each peak has a matrix of `width(d)` columns, axis j of its own in
/// column j: d rows with the axes, and one for each of its parts along them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Precision = 0,
    Centre = 1,
    Tilt = 2,
    /// log(s / sigma) of x1 given x0.
    LogStd = 3,
}

/// How many numbers a peak has at an axis.
pub const PARTS: usize = 4;

/// The numbers of the peaks themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// log w.
    Weight = 0,
    /// log w and the sum over axes of log(s / sigma).
    WeightAtStart = 1,
}

const WHOLES: usize = 2;
/// Bounds of the numbers of peaks, of their exponents at about 1 from 0, and of 1 + p sigma^2. Shares are exponentials of
/// differences of such exponents, of which 32-bit numbers have the hundredths up to there.
const LARGEST: f64 = 1e12;
const HIGHEST: f64 = 1e5;
pub const FACTORS: std::ops::RangeInclusive<f64> = 1e-2..=1e4;
/// The part by which the noise may differ from axis to axis where it is the same.
const SAME_NOISE: f64 = 1e-6;
/// log w where there is padding.
const NOTHING: f64 = -1e30;

/// Returns the distance from one number of the peaks to the next.
pub const fn width(count: usize) -> usize {
    count.next_multiple_of(LANES)
}

/// Returns how many numbers so many peaks have along d axes.
pub fn numbers(count: usize, d: usize) -> usize {
    width(count) * (PARTS * d + WHOLES)
}

/// Returns how many numbers a peak has beside those for axes of its own.
pub fn turned_numbers(d: usize) -> usize {
    (d + PARTS) * width(d)
}

impl Peaks {
    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.weights.len()
    }

    /// Checks peaks for this noise along each axis and a generator with so many components. An error is what is said of the
    /// peaks.
    pub fn check(
        &self,
        noises: impl ExactSizeIterator<Item = f64> + Clone,
        components: usize,
    ) -> std::result::Result<(), String> {
        let (count, d, most) = (self.count(), noises.len(), MOST_PEAKS.min(components));
        if !(1..=most).contains(&count) {
            return Err(format!("are {count}, but must be from 1 to {most}"));
        }
        if d > MOST_DIMENSION {
            return Err(format!("are of samples of {d} numbers, but may be of up to {MOST_DIMENSION}"));
        }
        for (name, numbers) in [("precisions", &self.precisions), ("centres", &self.centres), ("tilts", &self.tilts)] {
            if numbers.len() != count * d {
                return Err(format!(
                    "have {} {name}, but {count} peaks along {d} axes have {}",
                    numbers.len(),
                    count * d
                ));
            }
        }
        let numbers = [&self.weights, &self.precisions, &self.centres, &self.tilts];
        if let Some(number) =
            numbers.into_iter().flat_map(|numbers| numbers.iter()).find(|x| x.is_nan() || x.abs() >= LARGEST)
        {
            return Err(format!("have the number {number:e}, but all must lie within {LARGEST:e} of 0"));
        }
        if self.axes.is_some() {
            check_axes(noises.clone())?;
        }
        let tilts = self.tilts.iter().zip(noises.clone().cycle());
        let heights = self.precisions.iter().zip(self.centres.iter()).map(|(p, c)| p.abs() * (1.0 + c * c));
        if let Some(height) = tilts.map(|(tilt, noise)| tilt * tilt * noise).chain(heights).find(|x| *x >= HIGHEST) {
            return Err(format!("have an exponent of {height:e}, but all must be below {HIGHEST:e}"));
        }
        let factors = self.precisions.iter().zip(noises.cycle()).map(|(precision, noise)| 1.0 + precision * noise);
        match factors.into_iter().find(|factor| !FACTORS.contains(factor)) {
            None => Ok(()),
            Some(factor) => Err(format!(
                "have a precision that is {:e} over its axis's noise, but it must be from {:e} to {:e} over it",
                factor - 1.0,
                FACTORS.start() - 1.0,
                FACTORS.end() - 1.0
            )),
        }
    }

    /// Returns the numbers that devices keep, for this noise along each axis (or more numbers behind).
    pub fn table<T: Scalar>(&self, sigma: &[T]) -> Result<Vec<T>> {
        let (count, width) = (self.count(), width(self.count()));
        let d = self.precisions.len() / count;
        let behind = if self.axes.is_some() { count * turned_numbers(d) } else { 0 };
        let mut table = memory::filled(MEMORY, numbers(count, d) + behind, T::zero())?;
        let end = PARTS * d * width;
        for k in 0..width {
            let Some(&weight) = self.weights.get(k) else {
                (0..WHOLES).for_each(|whole| table[end + whole * width + k] = T::of(NOTHING));
                continue;
            };
            let mut at_start = weight;
            for j in 0..d {
                let at = k * d + j;
                let log_std = -0.5 * (self.precisions[at] * sigma[j].wide().powi(2)).ln_1p();
                at_start += log_std;
                let parts = [self.precisions[at], self.centres[at], self.tilts[at], log_std];
                for (part, value) in parts.into_iter().enumerate() {
                    table[(PARTS * j + part) * width + k] = T::of(value);
                }
            }
            table[end + k] = T::of(weight);
            table[end + width + k] = T::of(at_start);
        }
        if let Some(axes) = &self.axes {
            self.tabulate_axes(axes, d, &mut table);
        }
        Ok(table)
    }

    /// Writes each peak's own axes and what it has along them behind the numbers of all.
    fn tabulate_axes<T: Scalar>(&self, axes: &PeakAxes, d: usize, table: &mut [T]) {
        let (count, stride) = (self.count(), width(d));
        let (known, behind) = table.split_at_mut(numbers(count, d));
        for (k, (of, axes)) in behind.chunks_exact_mut(turned_numbers(d)).zip(axes.each(d)).enumerate() {
            for (j, axis) in axes.chunks_exact(d).enumerate() {
                for (i, x) in axis.iter().enumerate() {
                    of[i * stride + j] = T::of(f64::from(*x));
                }
                for part in 0..PARTS {
                    of[(d + part) * stride + j] = known[(PARTS * j + part) * width(count) + k];
                }
            }
        }
    }
}

/// Checks that peaks may have axes of their own where the axes of the problem have this noise.
fn check_axes(mut noises: impl ExactSizeIterator<Item = f64>) -> std::result::Result<(), String> {
    let d = noises.len();
    if d > MOST_TURNED {
        return Err(format!(
            "have axes of their own for samples of {d} numbers, but may have them for up to {MOST_TURNED}"
        ));
    }
    let first = noises.next().unwrap_or(1.0);
    match noises.find(|noise| (noise / first - 1.0).abs() > SAME_NOISE) {
        None => Ok(()),
        Some(noise) => Err(format!(
            "have axes of their own, for which the noise must be the same along all axes of the problem, but it is {first:e} and {noise:e}"
        )),
    }
}

/// Returns the numbers of one part at axis j.
#[inline(always)]
pub fn part<T>(table: &[T], width: usize, j: usize, part: Part) -> &[T] {
    &table[(PARTS * j + part as usize) * width..][..width]
}

/// Returns the numbers of the peaks themselves.
#[inline(always)]
pub fn whole<T>(table: &[T], width: usize, d: usize, whole: Whole) -> &[T] {
    &table[(PARTS * d + whole as usize) * width..][..width]
}
