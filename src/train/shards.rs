//! Cuts a batch into parts that are computed apart. The cut depends on the configuration alone, never on threads or
//! devices. So the sums over the parts, and with them the weights, have the same bits wherever the parts are computed.

use super::plan::Plan;
use crate::device::half_work::block_of_pairs;
use crate::euot::halves::Halves;
use std::ops::Range;

/// About how many source samples go through the generator at once, where it sees each of them once. The number is
/// rounded to whole blocks of a shard.
const PASS_SOURCES: usize = 32;
/// The largest count of numbers that a pass keeps: four megabytes. One block may keep more.
const PASS_NUMBERS: usize = 1 << 20;
/// The least number of blocks of a shard, because each shard costs one gradient to write and to reduce.
const SHARD_BLOCKS: usize = 2;
/// The largest number of shards: enough for any processor's cores.
const MAX_SHARDS: usize = 64;
/// The largest count of numbers in the gradients of all shards of a network: half a gigabyte. One shard may hold more.
const MAX_GRADIENTS: usize = 1 << 27;

/// The parts of a batch, counted in source samples. A shard gives one gradient, and the shards' gradients are added up
/// in their order. A shard is computed pass by pass, and a pass block by block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shards {
    /// Number of source samples of the batch.
    sources: usize,
    /// Number of source samples of a block, which goes through the value function at once.
    pub block: usize,
    /// Number of source samples of a pass, which goes through the generator at once: a whole number of blocks.
    pub pass: usize,
    /// Number of source samples of a shard: a whole number of blocks.
    shard: usize,
    /// Number of shards.
    pub count: usize,
}

impl Shards {
    /// Cuts a plan's batch into blocks of about `rows` rows.
    pub fn new(plan: &Plan, rows: usize) -> Self {
        let Halves { value, generator, conditional, sources, .. } = &plan.halves;
        let sources = *sources;
        let block = block_of_pairs(rows / conditional.components, sources);
        let count = sources.div_ceil(block);
        let parameters = value.layout.len().max(generator.layout.len());
        let shards = (MAX_GRADIENTS / parameters).clamp(1, MAX_SHARDS);
        let mut blocks = count.div_ceil(shards).max(SHARD_BLOCKS);
        if block == 1 {
            // Its pairs of source samples lie in neighbouring blocks.
            blocks = blocks.next_multiple_of(2);
        }
        let most = (PASS_SOURCES.min(PASS_NUMBERS / numbers_kept(plan)) / block).max(1);
        let passes = if conditional.has_own_components() { blocks.div_ceil(most) } else { blocks };
        let pass = blocks.div_ceil(passes);
        Self { sources, block, pass: pass * block, shard: blocks * block, count: count.div_ceil(blocks) }
    }

    /// Returns the passes of a shard, each as a range of source samples.
    pub fn passes(&self, shard: usize) -> impl Iterator<Item = Range<usize>> {
        let (start, pass) = (shard * self.shard, self.pass);
        let end = self.sources.min(start + self.shard);
        (start..end).step_by(pass).map(move |from| from..end.min(from + pass))
    }

    /// Returns the longest pass.
    pub fn first_pass(&self) -> Range<usize> {
        0..self.pass.min(self.sources)
    }
}

/// Returns how many numbers a pass keeps for a source sample beside the hidden layers: for each row the sample, the
/// component's raw outputs and the gradient by these, and once the generator's outputs and the gradient by those.
fn numbers_kept(plan: &Plan) -> usize {
    let Halves { generator, conditional, .. } = &plan.halves;
    let outputs = generator.outputs();
    // A row as wide as the sample and the latent, padding included, at most.
    let narrow = (plan.dimension + conditional.latent).next_multiple_of(32) + 16;
    conditional.components.saturating_mul(6 * narrow).saturating_add(4 * outputs)
}
