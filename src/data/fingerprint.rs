//! Fingerprints of samples: a checkpoint keeps one of each side to refuse other data on resuming.

use super::resident::DeviceRows;
use crate::error::Result;
use crate::memory;
use std::sync::Arc;

/// A hash of a side's normalised samples, their order and their weights, the same on every machine. That of samples in
/// device memory is made when it is asked for.
pub struct Fingerprint(State);

enum State {
    Known(Option<u64>),
    Pending(DeviceSamples),
}

impl Fingerprint {
    /// That of a sampler, whose samples cannot be told apart.
    pub(super) fn of_sampler() -> Self {
        Self(State::Known(None))
    }

    /// One that is known.
    pub(super) fn known(hash: u64) -> Self {
        Self(State::Known(Some(hash)))
    }

    /// That of samples in device memory.
    pub(super) fn on_device(samples: DeviceSamples) -> Self {
        Self(State::Pending(samples))
    }

    /// The hash; `None` for a sampler. The first call copies samples in device memory to the host, piece by piece.
    ///
    /// # Errors
    /// The device fails, or the host has no memory for a piece.
    pub fn hash(&mut self) -> Result<Option<u64>> {
        match &self.0 {
            State::Known(hash) => Ok(*hash),
            State::Pending(samples) => {
                let hash = Some(samples.hash()?);
                self.0 = State::Known(hash);
                Ok(hash)
            }
        }
    }
}

/// What a fingerprint is made of.
pub(super) struct DeviceSamples {
    pub rows: Arc<dyn DeviceRows>,
    pub numbers: usize,
    pub dimension: usize,
    pub weights: Option<Arc<Vec<f64>>>,
}

/// Numbers that are copied to the host at a time: 4 MiB.
const PIECE: usize = 1 << 20;

impl DeviceSamples {
    /// The hash of the same samples in host memory: copies them there piece by piece.
    fn hash(&self) -> Result<u64> {
        let mut hash = Hash::new(self.dimension, self.numbers);
        let mut piece = memory::filled("a piece of the samples", self.numbers.min(PIECE), 0f32)?;
        for first in (0..self.numbers).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(self.numbers - first)];
            self.rows.read(first, piece)?;
            hash.rows(piece);
        }
        Ok(hash.weights(self.weights.as_ref().map(|weights| &***weights)))
    }
}

/// A hash in the making: FNV-1a over 64-bit words instead of bytes, with the high half folded down so that every
/// bit reaches every other.
pub(super) struct Hash(u64);

impl Hash {
    /// Of samples of `dimension` numbers, so many in all.
    pub fn new(dimension: usize, numbers: usize) -> Self {
        let mut hash = Self(0xCBF2_9CE4_8422_2325);
        hash.mix(dimension as u64);
        hash.mix(numbers as u64);
        hash
    }

    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01B3);
        self.0 ^= self.0 >> 32;
    }

    /// The next numbers, row-major.
    pub fn rows(&mut self, rows: &[f32]) {
        rows.iter().for_each(|row| self.mix(row.to_bits().into()));
    }

    /// The end, behind all numbers.
    pub fn weights(mut self, weights: Option<&[f64]>) -> u64 {
        self.mix(weights.is_some().into());
        weights.unwrap_or_default().iter().for_each(|weight| self.mix(weight.to_bits()));
        self.0
    }

    /// That of all samples.
    pub fn of(rows: &[f32], dimension: usize, weights: Option<&[f64]>) -> u64 {
        let mut hash = Self::new(dimension, rows.len());
        hash.rows(rows);
        hash.weights(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_fingerprint_notices_every_change(
            rows in prop::collection::vec(-2.0f32..2.0, 12), at in 0usize..12, other in -2.0f32..2.0, swap in 1usize..12,
        ) {
            let print = |rows: &[f32], dimension, weights: Option<&[f64]>| {
                Hash::of(rows, dimension, weights)
            };
            let original = print(&rows, 3, None);
            prop_assert_eq!(original, print(&rows, 3, None));
            prop_assert_ne!(original, print(&rows, 4, None));
            prop_assert_ne!(original, print(&rows[..9], 3, None));
            let weighted = print(&rows, 3, Some(&[1.0; 4]));
            prop_assert_ne!(original, weighted);
            prop_assert_ne!(weighted, print(&rows, 3, Some(&[1.0, 1.0, 0.5, 1.0])));
            let mut changed = rows.clone();
            changed[at] = other;
            prop_assert_eq!(changed == rows, print(&changed, 3, None) == original);
            let mut swapped = rows.clone();
            swapped.swap(0, swap);
            prop_assert_eq!(swapped == rows, print(&swapped, 3, None) == original);
        }
    }
}
