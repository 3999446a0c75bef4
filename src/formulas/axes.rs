//! The constants of a problem along each axis of a sample, in the units that networks see.

use super::clock::Clock;
use super::peaks::{MOST_PEAKS, Peaks};
use super::scalar::Scalar;
use crate::error::Result;
use crate::memory;

/// The noise along each axis, and the known part of the value function at time 1:
///
/// V0(1, x) = level + sum over j of x_j (curvature_j / 2 x_j + slope_j).
///
/// `S` is the form in which a device keeps the numbers: [`stride`] of each [`Part`], in their order, and behind them those of
/// the peaks ([`super::peaks`]). Those beyond the last axis repeat it, so that whole vectors can be read.
#[derive(Clone, Debug)]
pub struct Axes<S> {
    pub numbers: S,
    /// Numbers of a sample.
    pub dimension: usize,
    /// How many peaks there are; 0 for none.
    pub peaks: usize,
    /// Whether each peak has axes of its own.
    pub turned: bool,
    /// The times of the axes.
    pub clock: Clock,
    /// The noise in the units of V: sigma^2 of an axis whose lengths have those.
    pub noise: f64,
    /// V0(1, 0).
    pub level: f64,
}

/// How many numbers an axis has beside those of peaks.
const PARTS: usize = 5;

/// Returns the distance from one part's numbers to those of the next.
pub fn stride(d: usize) -> usize {
    d.next_multiple_of(16)
}

/// Returns how many numbers there are without peaks.
pub fn numbers(d: usize) -> usize {
    PARTS * stride(d)
}

/// The constants of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Standard deviation of the noise.
    Sigma = 0,
    /// Logarithm of half of it: log s of an output that is 0.
    LogStd = 1,
    /// Contraction over the largest one, from which [`Clock`] has the axis's time.
    Rate = 2,
    /// Second derivative of V0.
    Curvature = 3,
    /// First derivative of V0 at 0.
    Slope = 4,
}

/// The constants of one axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub sigma: f64,
    pub rate: f64,
    pub curvature: f64,
    pub slope: f64,
}

impl<S> Axes<S> {
    /// Returns the same axes with their numbers elsewhere.
    pub fn at<N>(&self, numbers: N) -> Axes<N> {
        let Self { dimension, peaks, turned, clock, noise, level, .. } = *self;
        Axes { numbers, dimension, peaks, turned, clock, noise, level }
    }
}

impl<T: Scalar> Axes<Vec<T>> {
    /// Returns axes of a sample without their numbers, by which the memory of a computation is told.
    pub fn outline(dimension: usize, peaks: usize) -> Self {
        Self { numbers: Vec::new(), dimension, peaks, turned: false, clock: Clock::EVEN, noise: 0.0, level: 0.0 }
    }

    /// Takes the axes of a sample.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn new(axes: impl ExactSizeIterator<Item = Axis>, clock: Clock, noise: f64, level: f64) -> Result<Self> {
        let d = axes.len();
        let stride = stride(d);
        let mut numbers = memory::filled("the constants of a sample's axes", numbers(d), T::zero())?;
        for (j, Axis { sigma, rate, curvature, slope }) in axes.enumerate() {
            let parts = [sigma, (0.5 * sigma).ln(), rate, curvature, slope];
            for (part, value) in parts.into_iter().enumerate() {
                let last = if j + 1 == d { stride } else { j + 1 };
                numbers[part * stride..][j..last].fill(T::of(value));
            }
        }
        Ok(Self { numbers, dimension: d, peaks: 0, turned: false, clock, noise, level })
    }

    /// Adds peaks of the value function.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn with_peaks(mut self, peaks: &Peaks) -> Result<Self> {
        assert!((1..=MOST_PEAKS).contains(&peaks.count()));
        let table = peaks.table(self.part(Part::Sigma))?;
        memory::reserve(&mut self.numbers, "the peaks of a value function", table.len())?;
        self.numbers.extend(table);
        self.peaks = peaks.count();
        self.turned = peaks.axes.is_some();
        Ok(self)
    }

    /// Returns the numbers of the peaks.
    pub fn peak_numbers(&self) -> &[T] {
        &self.numbers[numbers(self.dimension)..]
    }

    /// Returns the same constants in numbers of another type.
    #[cfg(test)]
    pub fn rounded<U: Scalar>(&self) -> Axes<Vec<U>> {
        let numbers = self.numbers.iter().map(|x| U::of(x.wide())).collect();
        self.at(numbers)
    }

    /// Returns axes without anything known that all have this noise.
    #[cfg(test)]
    pub fn even(d: usize, sigma: f64) -> Self {
        let axis = Axis { sigma, rate: 1.0, curvature: 0.0, slope: 0.0 };
        Self::new(std::iter::repeat_n(axis, d), Clock::EVEN, sigma * sigma, 0.0).unwrap()
    }

    /// Returns one constant of every axis, and the last one's again up to the stride.
    #[inline(always)]
    pub fn part(&self, part: Part) -> &[T] {
        let stride = stride(self.dimension);
        &self.numbers[part as usize * stride..][..stride]
    }

    /// Returns V0(1, x), in 64 bits because conjugates raise it to a power.
    pub fn known(&self, x: &[T]) -> f64 {
        let constants = self.part(Part::Curvature).iter().zip(self.part(Part::Slope));
        x.iter().zip(constants).fold(self.level, |sum, (x, (curvature, slope))| {
            sum + x.wide() * (0.5 * curvature.wide() * x.wide() + slope.wide())
        })
    }
}
