//! Fingerprints of samples: a checkpoint keeps one of each side to refuse other data on resuming.

use super::augmentation::Changes;
use super::resident::ResidentRows;
use crate::error::Result;
use crate::memory;
use std::sync::Arc;

/// A hash of a side's normalised samples, their order, their weights and how they are changed, the same on every machine. For samples in
/// device memory it is computed on the first request.
pub struct Fingerprint(State);

enum State {
    Known(Option<u64>),
    Pending(DeviceSamples),
}

impl Fingerprint {
    /// Returns the fingerprint of a sampler, which has no hash.
    pub(super) fn of_sampler() -> Self {
        Self(State::Known(None))
    }

    /// Returns the fingerprint with a known hash.
    pub(super) fn known(hash: u64) -> Self {
        Self(State::Known(Some(hash)))
    }

    /// Returns the fingerprint of samples in device memory.
    pub(super) fn on_device(samples: DeviceSamples) -> Self {
        Self(State::Pending(samples))
    }

    /// Returns the hash, or `None` for a sampler. The first call copies samples in device memory to the host, piece by
    /// piece.
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

/// Samples in device memory that have not been hashed yet.
pub(super) struct DeviceSamples {
    pub rows: Arc<dyn ResidentRows>,
    pub numbers: usize,
    pub dimension: usize,
    pub weights: Option<Arc<Vec<f64>>>,
    pub changes: Option<Changes>,
}

/// Numbers that are copied to the host at a time: 4 MiB.
const PIECE: usize = 1 << 20;

impl DeviceSamples {
    /// Returns the hash that the same samples have in host memory. Copies them there piece by piece.
    fn hash(&self) -> Result<u64> {
        let mut hash = Hash::new(self.dimension, self.numbers);
        let mut piece = memory::filled("a piece of the samples", self.numbers.min(PIECE), 0f32)?;
        for first in (0..self.numbers).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(self.numbers - first)];
            self.rows.read(first, piece)?;
            hash.rows(piece);
        }
        hash.changes(self.changes);
        Ok(hash.weights(self.weights.as_ref().map(|weights| &***weights)))
    }
}

/// A hash that is being computed: FNV-1a over 64-bit words instead of bytes. The high half is folded down so that every
/// bit reaches every other.
pub(super) struct Hash(u64);

impl Hash {
    /// Starts the hash of `numbers` numbers in all, in samples of `dimension`.
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

    /// Adds the next numbers, row-major.
    pub fn rows(&mut self, rows: &[f32]) {
        rows.iter().for_each(|row| self.mix(row.to_bits().into()));
    }

    /// Adds how pictures are changed, after all numbers. Where they stay as they are, the hash does as well.
    pub fn changes(&mut self, changes: Option<Changes>) {
        if let Some(Changes { height, width, flip, crop }) = changes {
            [height as u64, width as u64, flip.into(), crop.into()].into_iter().for_each(|word| self.mix(word));
        }
    }

    /// Adds the weights after everything else and returns the hash.
    pub fn weights(mut self, weights: Option<&[f64]>) -> u64 {
        self.mix(weights.is_some().into());
        weights.unwrap_or_default().iter().for_each(|weight| self.mix(weight.to_bits()));
        self.0
    }

    /// Returns the hash of all samples.
    pub fn of(rows: &[f32], dimension: usize, weights: Option<&[f64]>, changes: Option<Changes>) -> u64 {
        let mut hash = Self::new(dimension, rows.len());
        hash.rows(rows);
        hash.changes(changes);
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
                Hash::of(rows, dimension, weights, None)
            };
            let original = print(&rows, 3, None);
            prop_assert_eq!(original, print(&rows, 3, None));
            prop_assert_ne!(original, print(&rows, 4, None));
            prop_assert_ne!(original, print(&rows[..9], 3, None));
            let weighted = print(&rows, 3, Some(&[1.0; 4]));
            prop_assert_ne!(original, weighted);
            prop_assert_ne!(weighted, print(&rows, 3, Some(&[1.0, 1.0, 0.5, 1.0])));
            let moved = |flip, crop| {
                let changes = Changes { height: 1, width: 3, flip, crop };
                Hash::of(&rows, 3, None, Some(changes))
            };
            let all = [original, moved(true, 0), moved(false, 1), moved(true, 1)];
            prop_assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])));
            let mut changed = rows.clone();
            changed[at] = other;
            prop_assert_eq!(changed == rows, print(&changed, 3, None) == original);
            let mut swapped = rows.clone();
            swapped.swap(0, swap);
            prop_assert_eq!(swapped == rows, print(&swapped, 3, None) == original);
        }
    }
}
