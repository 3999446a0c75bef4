//! Quadratic forms of samples, each along axes of its own, and the part that each has of every sample: Gaussians with
//! all their covariances.

use crate::data::{Clusters, Split};
use crate::device::cpu::pool::Pool;
use crate::error::Result;
use crate::lanes::{ROWS, Rows, divide, padded};
use crate::memory;
use crate::symmetric::Symmetric;
use crate::vectors::with_vectors;
use std::ops::Range;
use std::sync::Mutex;

const MEMORY: &str = "Gaussians fitted to the samples";
/// Axes that are read together; rows of a form's matrix are padded to a multiple of it.
const WIDE: usize = 16;
/// The part of a sample below which it does not count for a form.
const NOTHING: f64 = 1e-6;
/// Parts of the samples that threads take. Sums do not depend on how many threads there are.
const JOBS: usize = 8;

/// See the module.
pub(crate) struct Forms {
    dimension: usize,
    constants: Vec<f64>,
    /// Of each form a matrix with an axis in each column, d x padded, and behind it the factors of the squares and of
    /// the places along each axis.
    numbers: Vec<f64>,
}

/// What forms have of some of the samples, as sums, and the parts of a block's rows.
struct Sums {
    parts: Vec<f64>,
    shares: Vec<f64>,
    means: Vec<f64>,
    squares: Vec<f64>,
    log: f64,
    all: f64,
}

/// What forms have of samples.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The share of all samples.
    pub shares: Vec<f64>,
    /// Forms x d.
    pub means: Vec<f64>,
    pub covariances: Vec<Symmetric>,
    /// Mean over the samples of the logarithm of the sum of the forms' exponentials.
    pub log: f64,
    /// The number of samples of equal weight that tell as much.
    pub effective: f64,
}

with_vectors! {
    /// Adds a form of each row to a number of each.
    fn add_form(rows: &Rows, form: &[f64], to: &mut [f64; ROWS]) {
        let d = rows[0].len();
        let padded = d.next_multiple_of(WIDE);
        let (matrix, factors) = form.split_at(d * padded);
        let (squares, slopes) = factors.split_at(padded);
        for first in (0..padded).step_by(WIDE) {
            let mut places = [[0.0; WIDE]; ROWS];
            for i in 0..d {
                let line: &[f64; WIDE] = matrix[i * padded + first..].first_chunk().expect("whole lines");
                for (places, row) in places.iter_mut().zip(rows) {
                    let x = row[i];
                    places.iter_mut().zip(line).for_each(|(place, axis)| *place += x * axis);
                }
            }
            let factors = squares[first..][..WIDE].iter().zip(&slopes[first..][..WIDE]);
            for (at, (square, slope)) in factors.enumerate() {
                for (to, places) in to.iter_mut().zip(&places) {
                    *to += places[at] * (places[at] * square + slope);
                }
            }
        }
    }
}

with_vectors! {
    /// Adds `by` x x^T up to the diagonal of each row of d numbers.
    fn add_square(by: f64, x: &[f64], numbers: &mut [f64]) {
        for (j, row) in numbers.chunks_exact_mut(x.len()).enumerate() {
            let part = by * x[j];
            row[..=j].iter_mut().zip(x).for_each(|(sum, x)| *sum += part * x);
        }
    }
}

impl Forms {
    /// Returns `count` forms that are nothing.
    pub fn new(dimension: usize, count: usize) -> Result<Self> {
        let numbers = (dimension + 2) * dimension.next_multiple_of(WIDE);
        Ok(Self {
            dimension,
            constants: memory::filled(MEMORY, count, f64::NEG_INFINITY)?,
            numbers: memory::filled(MEMORY, count * numbers, 0.0)?,
        })
    }

    /// Sets form k to a constant and, for the place along each of these axes, one a row, a square and a slope.
    pub fn set(&mut self, k: usize, constant: f64, axes: &[f64], along: impl Fn(usize) -> [f64; 2]) {
        let d = self.dimension;
        let padded = d.next_multiple_of(WIDE);
        let form = &mut self.numbers[k * (d + 2) * padded..][..(d + 2) * padded];
        for (j, axis) in axes.chunks_exact(d).enumerate() {
            axis.iter().enumerate().for_each(|(i, x)| form[i * padded + j] = *x);
            let [square, slope] = along(j);
            form[d * padded + j] = square;
            form[(d + 1) * padded + j] = slope;
        }
        self.constants[k] = constant;
    }

    /// Writes the part that each form has of each row, rows x forms with their padding, and returns the logarithm of
    /// each row's sum.
    fn divide(&self, rows: &Rows, parts: &mut [f64]) -> [f64; ROWS] {
        let (count, row) = (self.constants.len(), parts.len() / ROWS);
        let each = self.numbers.len() / count;
        for (k, (form, constant)) in self.numbers.chunks_exact(each).zip(&self.constants).enumerate() {
            let mut logs = [*constant; ROWS];
            add_form(rows, form, &mut logs);
            logs.iter().enumerate().for_each(|(at, log)| parts[at * row + k] = *log);
        }
        let mut logs = [0.0; ROWS];
        logs.iter_mut().zip(parts.chunks_exact_mut(row)).for_each(|(log, parts)| *log = divide(&mut parts[..count]));
        logs
    }

    /// Returns what the forms have of the samples that are fitted.
    pub fn parts(&self, samples: &Split, pool: &Pool) -> Result<Parts> {
        Parts::measured(self.constants.len(), samples, pool, |rows, parts| self.divide(rows, parts))
    }

    /// Returns the mean over the samples that are fitted of the products of the parts that two forms have of one.
    pub fn overlaps(&self, samples: &Split, pool: &Pool) -> Result<Symmetric> {
        let count = self.constants.len();
        let zero = || Sums::of_overlaps(count);
        let sums = in_jobs(zero, samples, pool, |rows, sums| {
            for (block, weights) in samples.blocks_among(false, rows) {
                self.divide(&block, &mut sums.parts);
                for (parts, w) in sums.parts.chunks_exact(padded(count)).zip(weights) {
                    sums.all += w;
                    add_square(w, &parts[..count], &mut sums.squares);
                }
            }
        })?;
        let mut overlaps = Symmetric::zero(count)?;
        overlaps.mirror(|i, j, _| sums.squares[i * count + j] / sums.all);
        Ok(overlaps)
    }

    /// Returns the mean logarithm over the samples held back.
    pub fn likelihood(&self, samples: &Split, pool: &Pool) -> Result<f64> {
        let zero = || Sums::zero(self.constants.len(), 0);
        let sums = in_jobs(zero, samples, pool, |rows, sums| {
            for (block, weights) in samples.blocks_among(true, rows) {
                for (log, w) in self.divide(&block, &mut sums.parts).into_iter().zip(weights) {
                    sums.log += w * log;
                    sums.all += w;
                }
            }
        })?;
        Ok(sums.log / sums.all)
    }
}

/// Returns the sums of all jobs, each of which adds what forms have of some rows to sums that are `zero`.
fn in_jobs(
    zero: impl Fn() -> Result<Sums>,
    samples: &Split,
    pool: &Pool,
    add: impl Fn(Range<usize>, &mut Sums) + Sync,
) -> Result<Sums> {
    let jobs = memory::made(MEMORY, JOBS, |_| zero().map(Mutex::new))?;
    let rows = samples.rows();
    pool.run(JOBS, |job, _| {
        let mut sums = jobs[job].lock().expect("a job has its sums to itself");
        add(rows * job / JOBS..rows * (job + 1) / JOBS, &mut sums);
    });
    let mut all = zero()?;
    jobs.into_iter().for_each(|job| all.add(&job.into_inner().expect("the jobs are done")));
    Ok(all)
}

impl Sums {
    fn zero(count: usize, d: usize) -> Result<Self> {
        let zeros = |length| memory::filled(MEMORY, length, 0.0);
        Ok(Self {
            parts: zeros(ROWS * padded(count))?,
            shares: zeros(count)?,
            means: zeros(count * d)?,
            squares: zeros(count * d * d)?,
            log: 0.0,
            all: 0.0,
        })
    }

    /// Has room for the products of the parts of so many forms in place of a sample's numbers.
    fn of_overlaps(count: usize) -> Result<Self> {
        Ok(Self { squares: memory::filled(MEMORY, count * count, 0.0)?, ..Self::zero(count, 0)? })
    }

    fn add(&mut self, other: &Self) {
        let each =
            [(&mut self.shares, &other.shares), (&mut self.means, &other.means), (&mut self.squares, &other.squares)];
        for (to, from) in each {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        self.log += other.log;
        self.all += other.all;
    }

    /// Adds the rows of a block, whose parts are known, with these weights and logarithms.
    fn add_block(&mut self, rows: &Rows, weights: [f64; ROWS], logs: [f64; ROWS]) {
        let d = rows[0].len();
        let count = self.shares.len();
        let each = logs.into_iter().zip(weights).zip(rows).zip(self.parts.chunks_exact(padded(count)));
        for (((log, w), x), parts) in each.filter(|(((_, w), _), _)| *w > 0.0) {
            self.log += w * log;
            self.all += w;
            for (k, part) in parts[..count].iter().enumerate() {
                self.shares[k] += w * part;
                if *part < NOTHING {
                    continue;
                }
                self.means[k * d..][..d].iter_mut().zip(*x).for_each(|(sum, x)| *sum += w * part * x);
                add_square(w * part, x, &mut self.squares[k * d * d..][..d * d]);
            }
        }
    }
}

impl Parts {
    /// Returns what clusters of independent numbers have of the samples that are fitted.
    pub fn of_clusters(samples: &Split, clusters: &Clusters, pool: &Pool) -> Result<Self> {
        Self::measured(clusters.shares().len(), samples, pool, |rows, parts| clusters.posterior(rows, parts))
    }

    /// Measures the samples that are fitted, of which `tell` writes the part of each of `count`, rows x count with
    /// their padding, and returns logarithms to average.
    pub fn measured(
        count: usize,
        samples: &Split,
        pool: &Pool,
        tell: impl Fn(&Rows, &mut [f64]) -> [f64; ROWS] + Sync,
    ) -> Result<Self> {
        let d = samples.dimension();
        let zero = || Sums::zero(count, d);
        let sums = in_jobs(zero, samples, pool, |rows, sums| {
            for (block, weights) in samples.blocks_among(false, rows) {
                let logs = tell(&block, &mut sums.parts);
                sums.add_block(&block, weights, logs);
            }
        })?;
        let Sums { mut shares, mut means, squares, log, all, .. } = sums;
        let mut covariances = memory::with_room(MEMORY, count)?;
        for (k, squares) in squares.chunks_exact(d * d).enumerate() {
            let share = if shares[k] > 0.0 { shares[k] } else { 1.0 };
            let mean = &mut means[k * d..][..d];
            mean.iter_mut().for_each(|mean| *mean /= share);
            let mut covariance = Symmetric::zero(d)?;
            covariance.mirror(|i, j, _| squares[i * d + j] / share - mean[i] * mean[j]);
            covariances.push(covariance);
        }
        shares.iter_mut().for_each(|share| *share /= all);
        Ok(Self { shares, means, covariances, log: log / all, effective: samples.effective(false) })
    }

    /// Returns the mean of one form's samples.
    pub fn mean(&self, k: usize) -> &[f64] {
        let d = self.means.len() / self.shares.len();
        &self.means[k * d..][..d]
    }

    /// Returns the covariance of all samples.
    pub fn covariance(&self) -> Result<Symmetric> {
        let d = self.covariances[0].size();
        let mut middle = memory::filled(MEMORY, d, 0.0)?;
        for (k, share) in self.shares.iter().enumerate() {
            middle.iter_mut().zip(self.mean(k)).for_each(|(sum, x)| *sum += share * x);
        }
        let mut all = Symmetric::zero(d)?;
        for (k, (share, covariance)) in self.shares.iter().zip(&self.covariances).enumerate() {
            let away = memory::collected(MEMORY, self.mean(k).iter().zip(&middle).map(|(x, middle)| x - middle))?;
            for i in 0..d {
                let each = covariance.row(i).iter().zip(&away);
                all.row_mut(i).iter_mut().zip(each).for_each(|(sum, (x, y))| *sum += share * (x + away[i] * y));
            }
        }
        Ok(all)
    }

    /// Returns the mean over the samples of the largest variance along any axis of the form that has them.
    pub fn longest(&self) -> Result<f64> {
        let mut sum = 0.0;
        for (share, covariance) in self.shares.iter().zip(&self.covariances) {
            sum += share * covariance.copied()?.spectrum()?.values.into_iter().fold(0.0, f64::max);
        }
        Ok(sum)
    }

    /// Returns about how many samples a form has.
    pub fn samples(&self, k: usize) -> f64 {
        self.shares[k] * self.effective
    }
}
