//! Computes a session's answers on the processor, piece by piece. After the first call of a size nothing is allocated.

use super::pieces::{DeviceRows, Pieces, Placed};
use super::results::Results;
use crate::device::Workspace;
use crate::device::cpu::net::CpuNet;
use crate::device::cpu::simd::Isa;
use crate::device::cpu::{CpuBlock, Measure, Sizes};
use crate::device::rows::{Piece, RowSeed};
use crate::error::{Error, Result};
use crate::euot::answers::{Kind, Limits, Question, Transport, TransportOn};
use crate::memory;
use crate::nn::network::Network;
use std::sync::Arc;

/// The largest number of rows computed at a time: their activations stay in a core's cache.
const MOST_ROWS: usize = 64;
/// The largest count of the generator's outputs, of results, and of numbers of a tape of pictures, held at a time: a
/// megabyte. One row may have more.
const MOST_OUTPUTS: usize = 1 << 18;

/// A model on the processor.
pub(super) struct CpuModel {
    transport: Arc<Transport>,
    isa: Isa,
    value: CpuNet<f32>,
    generator: CpuNet<f32>,
    limits: Limits,
}

impl CpuModel {
    /// Arranges the weights of the value function and of the generator for products.
    pub fn new(isa: Isa, transport: &Arc<Transport>, [value, generator]: [&[f32]; 2]) -> Result<Self> {
        let pack = |network: &Network, weights: &[f32], reverse| {
            let mut net = CpuNet::new(isa, &network.layout, &network.centre, reverse)?;
            net.pack(weights);
            Ok::<_, Error>(net)
        };
        let width = |network: &Network, of: usize| network.graph.as_ref().map_or(0, |graph| graph.widths()[of]);
        // Gradients of V need all of its tape.
        let tape = width(&transport.value, 0).max(width(&transport.generator, 1));
        let rows = (MOST_OUTPUTS / transport.generator.outputs().max(tape)).clamp(1, MOST_ROWS);
        Ok(Self {
            value: pack(&transport.value, value, true)?,
            generator: pack(&transport.generator, generator, false)?,
            transport: Arc::clone(transport),
            isa,
            limits: Limits { rows, latents: rows },
        })
    }

    fn on_block(&self) -> TransportOn<'_, CpuBlock<f32>> {
        let Self { transport, value, generator, limits, .. } = self;
        let Transport { constants, axes, .. } = &**transport;
        TransportOn { transport, value, generator, constants, axes, limits: *limits }
    }

    fn measured(&self) -> TransportOn<'_, Measure> {
        let (transport, limits) = (&*self.transport, self.limits);
        TransportOn { transport, value: &(), generator: &(), constants: &(), axes: &transport.axes, limits }
    }
}

impl Placed for CpuModel {
    fn pieces(self: Arc<Self>) -> Box<dyn Pieces> {
        let block = CpuBlock::new(self.isa);
        Box::new(CpuPieces { model: self, block, room: [[0; MOST_ROWS + 1]; Kind::COUNT], results: Vec::new() })
    }
}

/// A workspace on the processor for one thread.
struct CpuPieces {
    model: Arc<CpuModel>,
    block: CpuBlock<f32>,
    /// For each kind of question and each number of rows, one more than the largest size that the workspace has room
    /// for, or 0 where it has been measured for none.
    room: [[usize; MOST_ROWS + 1]; Kind::COUNT],
    /// Results that have not been delivered yet.
    results: Vec<f32>,
}

impl CpuPieces {
    /// Makes room for a piece of `count` rows, so that nothing is allocated once a call has begun. What there is room
    /// for once is not measured again, whichever calls come between: fewer rows, or a smaller size, take no more
    /// memory.
    fn make_room(&mut self, question: &Question<'_>, count: usize) -> Result<()> {
        let (kind, size) = question.extent();
        if self.room[kind as usize][count] <= size {
            let piece = Piece { rows: (), count, seed: RowSeed::NONE };
            let sizes = Measure::of(|measure| self.model.measured().answer(measure, question, &piece, ()));
            let beside = [&self.model.transport.value, &self.model.transport.generator]
                .map(|network| Sizes::beside(&network.layout, false));
            self.block.reserve(sizes.max(beside[0]).max(beside[1]))?;
            for known in &mut self.room[kind as usize][..=count] {
                *known = (*known).max(size.saturating_add(1));
            }
        }
        Ok(())
    }
}

impl Pieces for CpuPieces {
    fn answer(&mut self, question: &Question<'_>, seed: RowSeed, results: &mut Results<'_>) -> Result<()> {
        let (rows, per_row) = (results.rows(), results.per_row());
        let most = self.model.on_block().most_rows(question);
        let piece = most.min((MOST_OUTPUTS / per_row).max(1)).min(rows);
        self.make_room(question, piece)?;
        memory::grow(&mut self.results, "results of a session", piece * per_row, 0.0)?;
        let Self { model, block, results: held, .. } = self;
        for from in (0..rows).step_by(piece) {
            let count = piece.min(rows - from);
            let part = Piece { rows: results.source(from..from + count), count, seed: seed.skip(from) };
            let computed = &mut held[..count * per_row];
            block.reset(0);
            model.on_block().answer(block, question, &part, computed);
            results.deliver(computed)?;
        }
        Ok(())
    }

    fn generate_on_device(&mut self, source: DeviceRows, _: RowSeed, generated: DeviceRows) -> Result<()> {
        Err(Error::invalid(format!(
            "source (0x{:x}) and generated (0x{:x}) are device memory, but the session's model is on the CPU; make it on a context with a GPU, or pass host memory",
            source.address, generated.address
        )))
    }
}
