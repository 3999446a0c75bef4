//! The axes along which a problem is looked at, where these are not the components of a sample.

use crate::numbers::Numbers;
use crate::symmetric::is_orthogonal;
use std::sync::Arc;

/// Orthogonal axes of unit length in the space of samples, as 32-bit numbers. Costs and noise are the same in every
/// direction, so the problem in these axes is the problem itself. A clone shares the numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    dimension: usize,
    /// One axis a row.
    numbers: Arc<Vec<f32>>,
}

impl Rotation {
    /// Takes the axes, one a row of `dimension` numbers.
    pub fn new(dimension: usize, numbers: Vec<f32>) -> Self {
        assert!(numbers.len() == dimension * dimension);
        Self { dimension, numbers: Arc::new(numbers) }
    }

    /// Returns whether the axes have unit length and right angles, to the digits of 32-bit numbers.
    pub fn is_orthogonal(&self) -> bool {
        is_orthogonal(&self.numbers, self.dimension)
    }

    /// Returns how many axes there are, which is the numbers of a sample.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Returns all numbers, by rows.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// Returns all numbers in 64 bits.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn wide(&self) -> crate::error::Result<Vec<f64>> {
        crate::memory::collected("the axes of a bridge", self.numbers.iter().map(|&x| f64::from(x)))
    }

    /// Returns one axis.
    #[inline(always)]
    pub fn axis(&self, j: usize) -> &[f32] {
        &self.numbers[j * self.dimension..][..self.dimension]
    }

    /// Returns the place of a point along each axis.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn turned(&self, x: &[f64]) -> crate::error::Result<Numbers> {
        let along = |axis: &[f32]| axis.iter().zip(x).map(|(a, x)| f64::from(*a) * x).sum();
        Numbers::collect(self.numbers.chunks_exact(self.dimension).map(along))
    }

    /// Returns the point with these places along the axes.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn back(&self, places: &[f64]) -> crate::error::Result<Numbers> {
        let at = |i: usize| places.iter().enumerate().map(|(j, place)| f64::from(self.axis(j)[i]) * place).sum();
        Numbers::collect((0..self.dimension).map(at))
    }
}
