//! Where clusters begin: at samples drawn by their squared distance from those before, of several the one that leaves the least
//! (k-means++, Arthur and Vassilvitskii 2007, with greedy choice).

use super::moments::LEAST_VARIANCE;
use super::split::Split;
use crate::error::Result;
use crate::memory;
use crate::rng::{Sequence, Stream, unit};

const MEMORY: &str = "a mixture fitted to the samples";

/// Returns so many samples of the first half, or fewer where all others are like these, for samples with these variances.
pub(super) fn starts(split: &Split, count: usize, variances: &[f64]) -> Result<Vec<f64>> {
    let inverses = memory::collected(MEMORY, variances.iter().map(|variance| 1.0 / variance.max(LEAST_VARIANCE)))?;
    let mut means = memory::with_room(MEMORY, count * split.dimension())?;
    let mut nearest = memory::filled(MEMORY, split.half(false).count(), f64::INFINITY)?;
    let sequence = Sequence::new(0, 0, Stream::Init);
    for cluster in 0..count {
        let weight = |w: f64, near: f64| if cluster == 0 { w } else { w * near };
        let sum: f64 = split.half(false).zip(&nearest).map(|((_, w), near)| weight(w, *near)).sum();
        if sum == 0.0 {
            break;
        }
        let draws = sequence.block(cluster as u64).map(|draw| f64::from(unit(draw)) * sum);
        let mut best: Option<(f64, &[f64])> = None;
        for place in &draws[..if cluster == 0 { 1 } else { draws.len() }] {
            let mut upto = 0.0;
            let before = split.half(false).zip(&nearest).take_while(|((_, w), near)| {
                upto += weight(*w, **near);
                upto < *place
            });
            let chosen = before.count().min(nearest.len().saturating_sub(1));
            let Some((row, _)) = split.half(false).nth(chosen) else { break };
            let left = |((x, w), near): ((&[f64], f64), &f64)| w * near.min(square(x, row, &inverses));
            let left = split.half(false).zip(&nearest).map(left).sum();
            if best.is_none_or(|(least, _)| left < least) {
                best = Some((left, row));
            }
        }
        let Some((_, row)) = best else { break };
        means.extend_from_slice(row);
        for ((x, _), near) in split.half(false).zip(&mut nearest) {
            *near = near.min(square(x, row, &inverses));
        }
    }
    Ok(means)
}

/// Returns the squared distance in standard deviations.
fn square(x: &[f64], mean: &[f64], inverse: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    let parts = x.chunks(4).zip(mean.chunks(4)).zip(inverse.chunks(4));
    for ((x, mean), inverse) in parts {
        for (((lane, x), mean), inverse) in lanes.iter_mut().zip(x).zip(mean).zip(inverse) {
            *lane += (x - mean) * (x - mean) * inverse;
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}
