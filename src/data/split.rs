//! Samples by which something is fitted, and those that are held back to tell how well.

use super::picks::picked;
use crate::error::Result;
use crate::lanes::{ROWS, Rows};
use crate::memory;
use crate::rng::{Sequence, Stream};
use crate::symmetric::turn_rows;
use std::ops::Range;

const MEMORY: &str = "samples that are fitted";
/// See [`Split::copied_rows`].
const FEW: usize = 1 << 15;
const FOR_A_NUMBER: usize = 192;

/// The log-likelihood by which a description of samples has to be better, for each sample that was held back and for all of
/// them together, as of few samples any is by chance.
const LEAST: f64 = 0.02;
const LEAST_OF_ALL: f64 = 10.0;

/// Samples, half of which are fitted while the others tell how well. Which are which is drawn, as classes of samples may
/// take turns.
#[derive(Debug)]
pub(crate) struct Split {
    dimension: usize,
    rows: Vec<f64>,
    weights: Vec<f64>,
    held: Vec<bool>,
}

impl Split {
    /// Takes rows of `dimension` numbers with their weights, all of which are fitted.
    pub fn of_fitted(dimension: usize, rows: Vec<f64>, weights: Vec<f64>) -> Result<Self> {
        assert!(rows.len() == dimension * weights.len());
        let held = memory::filled(MEMORY, weights.len(), false)?;
        Ok(Self { dimension, rows, weights, held })
    }

    /// Returns how many samples of so many numbers are enough for a copy by which clusters are told.
    pub fn copied_rows(dimension: usize) -> usize {
        FEW.max(FOR_A_NUMBER * dimension)
    }

    /// Returns the same samples, half of which are held back.
    pub fn halved(mut self) -> Self {
        self.held.iter_mut().enumerate().for_each(|(row, held)| *held = Self::holds(row));
        self
    }

    /// Moves and scales each number: x_j becomes factor_j (x_j + shift_j).
    pub fn rescale(&mut self, of: impl Fn(usize) -> [f64; 2]) {
        for row in self.rows.chunks_exact_mut(self.dimension) {
            for (j, x) in row.iter_mut().enumerate() {
                let [factor, shift] = of(j);
                *x = factor * (*x + shift);
            }
        }
    }

    /// Returns how many samples there are.
    pub fn rows(&self) -> usize {
        self.weights.len()
    }

    /// Returns how many numbers a sample has.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Returns whether a row is held back.
    pub fn holds(row: usize) -> bool {
        Sequence::new(0, 1, Stream::Init).block(row as u64)[0] % 2 == 1
    }

    /// Returns the samples in other axes, the rows of `axes`.
    pub fn turned(&self, axes: &[f64]) -> Result<Self> {
        let [rows, weights] = [&self.rows, &self.weights].map(|numbers| memory::copied(MEMORY, numbers));
        let held = memory::copied(MEMORY, &self.held)?;
        let mut turned = Self { dimension: self.dimension, rows: rows?, weights: weights?, held };
        turned.turn(axes)?;
        Ok(turned)
    }

    /// Takes the samples to other axes, the rows of `axes`.
    pub fn turn(&mut self, axes: &[f64]) -> Result<()> {
        turn_rows(&mut self.rows, axes, self.dimension)
    }

    /// Returns these numbers of the samples, or of some of them where they are more than `most`.
    pub fn columns(&self, of: &[usize], most: usize) -> Result<Self> {
        let count = self.weights.len();
        let every = count.div_ceil(most).max(1);
        let mut rows = memory::with_room(MEMORY, count.div_ceil(every) * of.len())?;
        let mut weights = memory::with_room(MEMORY, count.div_ceil(every))?;
        let mut held = memory::with_room(MEMORY, count.div_ceil(every))?;
        for row in picked(count, every) {
            rows.extend(of.iter().map(|&j| self.rows[row * self.dimension + j]));
            weights.push(self.weights[row]);
            held.push(self.held[row]);
        }
        Ok(Self { dimension: of.len(), rows, weights, held })
    }

    /// Returns the number of rows of equal weight that tell as much as this half does (Kish 1965).
    pub fn effective(&self, held: bool) -> f64 {
        let add = |[sum, squares]: [f64; 2], (_, w): (&[f64], f64)| [sum + w, squares + w * w];
        let [sum, squares] = self.half(held).fold([0.0; 2], add);
        if squares > 0.0 { sum * sum / squares } else { 0.0 }
    }

    /// Returns the rows of either half with their weights: those that are held back, or those that are fitted.
    pub fn half(&self, held: bool) -> impl Iterator<Item = (&[f64], f64)> + Clone {
        self.half_among(held, 0..self.rows())
    }

    /// Returns those of them that are among some rows.
    fn half_among(&self, held: bool, among: Range<usize>) -> impl Iterator<Item = (&[f64], f64)> + Clone {
        let numbers = among.start * self.dimension..among.end * self.dimension;
        let rows = self.rows[numbers].chunks_exact(self.dimension).zip(self.weights[among.clone()].iter().copied());
        let of = rows.zip(&self.held[among]).filter(move |((_, weight), own)| **own == held && *weight > 0.0);
        of.map(|(row, _)| row)
    }

    /// Returns the same rows, several at a time. Behind the last, there are rows of no weight.
    pub fn blocks(&self, held: bool) -> impl Iterator<Item = (Rows<'_>, [f64; ROWS])> {
        self.blocks_among(held, 0..self.rows())
    }

    /// Returns those of them that are among some rows, several at a time.
    pub fn blocks_among(&self, held: bool, among: Range<usize>) -> impl Iterator<Item = (Rows<'_>, [f64; ROWS])> {
        let mut rows = self.half_among(held, among);
        std::iter::from_fn(move || {
            let (first, weight) = rows.next()?;
            let (mut block, mut weights) = ([first; ROWS], [0.0; ROWS]);
            weights[0] = weight;
            for (at, (row, weight)) in (1..ROWS).zip(rows.by_ref()) {
                (block[at], weights[at]) = (row, weight);
            }
            Some((block, weights))
        })
    }

    /// Returns the log-likelihood of a sample by which a description of these has to be better than a simpler one.
    pub fn least_gain(&self) -> f64 {
        LEAST + LEAST_OF_ALL / self.effective(true)
    }

    /// Returns whether both halves have samples of some weight, so that likelihoods mean something.
    pub fn is_told(&self) -> bool {
        [false, true].into_iter().all(|held| self.half(held).count() > 1)
    }
}
