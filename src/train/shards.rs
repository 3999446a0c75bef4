//! How a batch is cut into parts that are computed apart. It depends on the configuration alone, never on threads or
//! devices, so that the sums over the parts, and with them the weights, are the same bits wherever the parts are
//! computed.

use super::plan::Plan;
use crate::euot::halves::Halves;
use std::ops::Range;

/// Source samples that the generator is passed with at once, about, where it sees each of them once: by whole blocks of
/// a shard.
const PASS_SOURCES: usize = 32;
/// Numbers that a pass keeps at most, unless one block keeps more: four megabytes.
const PASS_NUMBERS: usize = 1 << 20;
/// Blocks of a shard at least: a shard costs one gradient to write and to reduce.
const SHARD_BLOCKS: usize = 2;
/// Shards at most: enough for any processor's cores.
const MAX_SHARDS: usize = 64;
/// Parameters that the gradients of all shards of a network hold together at most, unless one shard holds more: half a
/// gigabyte.
const MAX_GRADIENTS: usize = 1 << 27;

/// Parts of a batch, counted in source samples. A shard gives one gradient; the shards' gradients are added up in their
/// order. A shard is carried pass by pass, and a pass block by block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shards {
    /// Source samples of the batch.
    sources: usize,
    /// Source samples of a block, which goes through the value function at once.
    pub block: usize,
    /// Source samples that the generator is passed with at once, a whole number of blocks.
    pub pass: usize,
    /// Source samples of a shard, a whole number of blocks.
    shard: usize,
    /// Number of shards.
    pub count: usize,
}

impl Shards {
    /// Cuts a plan's batch, into blocks of about `rows` rows.
    pub fn new(plan: &Plan, rows: usize) -> Self {
        let Halves { value, generator, conditional, sources, .. } = &plan.halves;
        let sources = *sources;
        let block = (rows / conditional.components).clamp(1, sources);
        let count = sources.div_ceil(block);
        let parameters = value.layout.len().max(generator.layout.len());
        let shards = (MAX_GRADIENTS / parameters).clamp(1, MAX_SHARDS);
        let blocks = count.div_ceil(shards).max(SHARD_BLOCKS);
        let most = (PASS_SOURCES.min(PASS_NUMBERS / numbers_kept(plan)) / block).max(1);
        let passes = if conditional.has_own_components() { blocks.div_ceil(most) } else { blocks };
        let pass = blocks.div_ceil(passes);
        Self { sources, block, pass: pass * block, shard: blocks * block, count: count.div_ceil(blocks) }
    }

    /// The passes of a shard, each as numbers of source samples.
    pub fn passes(&self, shard: usize) -> impl Iterator<Item = Range<usize>> {
        let (start, pass) = (shard * self.shard, self.pass);
        let end = self.sources.min(start + self.shard);
        (start..end).step_by(pass).map(move |from| from..end.min(from + pass))
    }

    /// The longest pass.
    pub fn first_pass(&self) -> Range<usize> {
        0..self.pass.min(self.sources)
    }
}

/// Numbers that a pass keeps of a source sample beside the hidden layers: of each row the sample, the component's raw
/// outputs and the gradient by them; the generator's outputs and the gradient by those.
fn numbers_kept(plan: &Plan) -> usize {
    let Halves { generator, conditional, .. } = &plan.halves;
    let outputs = generator.layout.outputs();
    // A row as wide as the sample and the latent, padding included, at most.
    let narrow = (plan.dimension + conditional.latent).next_multiple_of(32) + 16;
    conditional.components.saturating_mul(6 * narrow).saturating_add(4 * outputs)
}
