//! How many clusters samples have, told by doubling their number.

use super::clusters::Clusters;
use super::split::Split;
use crate::error::Result;

/// The part of the last gain that the next may be at most, where the last was one. Of clusters the gain ends once there are
/// enough; of a curve, which they tile, twice as many gain less and less.
const END: f64 = 0.1;

/// What twice as many clusters tell.
pub(crate) enum Doubled {
    /// There are enough.
    Enough,
    /// More are likelier, these.
    More(Clusters),
    /// Clusters do not tell what the samples are.
    Tiles,
}

/// Numbers of clusters that are doubled one after the other.
#[derive(Default)]
pub(crate) struct Doubling {
    /// What the last doubling gained.
    gained: Option<f64>,
}

impl Doubling {
    /// Fits twice as many clusters as these.
    pub fn next(&mut self, clusters: &Clusters, split: &Split) -> Result<Doubled> {
        let count = 2 * clusters.shares().len();
        let twice = Clusters::fit(split, count)?;
        let gain = twice.likelihood - clusters.likelihood;
        let before = self.gained.replace(gain);
        // Few samples have fewer.
        if gain >= split.least_gain() && twice.shares().len() == count {
            return Ok(Doubled::More(twice));
        }
        Ok(if before.is_some_and(|before| gain > END * before) { Doubled::Tiles } else { Doubled::Enough })
    }
}
