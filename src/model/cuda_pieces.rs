//! Computes a session's answers on a GPU. Host rows are copied there and back in pieces that fit, and the call waits
//! for them. Rows in device memory are read where they lie, in the order of the context's stream.

use super::pieces::{DeviceRows, Pieces, Placed};
use super::results::Results;
use crate::device::cuda::block::CudaBlock;
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::rows::{CudaConstants, CudaRows};
use crate::device::cuda::weights::CudaWeights;
use crate::device::cuda::workspace::CudaWorkspace;
use crate::device::rows::{Piece, RowSeed};
use crate::device::{Mat, Rows, Workspace};
use crate::error::Result;
use crate::euot::answers::{Limits, Question, Transport, TransportOn};
use crate::memory;
use crate::nn::network::Network;
use std::sync::Arc;

/// The largest number of rows computed at a time: enough to fill any GPU.
const MOST_ROWS: usize = 1 << 16;
/// The largest workspace of a piece, in floats: 256 megabytes. A single row may take more.
const MOST_FLOATS: usize = 1 << 26;
/// The largest count of results copied to the host at a time: four megabytes. A single row may have more.
const MOST_RESULTS: usize = 1 << 20;

/// A model on a GPU.
pub(super) struct CudaModel {
    gpu: Arc<Gpu>,
    transport: Arc<Transport>,
    value: CudaWeights,
    generator: CudaWeights,
    constants: CudaConstants,
    limits: Limits,
}

impl CudaModel {
    /// Copies the value function's and the generator's weights to the GPU.
    pub fn new(gpu: &Arc<Gpu>, transport: &Arc<Transport>, [value, generator]: [&[f32]; 2]) -> Result<Self> {
        let _entered = gpu.enter()?;
        let held =
            |network: &Network, weights, name| CudaWeights::new(gpu, &network.layout, &network.centre, weights, name);
        // A generator's pass takes about four times as many floats a row.
        let floats = match &transport.generator.graph {
            Some(graph) => graph.widths()[1],
            None => 4 * transport.generator.layout.layers[0].outputs(),
        };
        let latents = MOST_ROWS.min((MOST_FLOATS / floats).max(1));
        Ok(Self {
            value: held(&transport.value, value, "value function")?,
            generator: held(&transport.generator, generator, "generator")?,
            constants: CudaConstants::new(gpu, &transport.constants, &transport.axes)?,
            gpu: Arc::clone(gpu),
            transport: Arc::clone(transport),
            limits: Limits { rows: MOST_ROWS, latents },
        })
    }

    fn on_block(&self) -> TransportOn<'_, CudaBlock> {
        TransportOn {
            transport: &self.transport,
            value: self.value.net(),
            generator: self.generator.net(),
            constants: &self.constants,
            axes: self.constants.axes(),
            limits: self.limits,
        }
    }
}

impl Placed for CudaModel {
    fn pieces(self: Arc<Self>, _: usize) -> Result<Box<dyn Pieces>> {
        let workspace = CudaWorkspace::new(&self.gpu, "the workspace of a session");
        Ok(Box::new(CudaPieces { model: self, workspace, results: Vec::new() }))
    }
}

/// A workspace on a GPU for one thread.
struct CudaPieces {
    model: Arc<CudaModel>,
    workspace: CudaWorkspace,
    /// Results on the host that have not been delivered yet.
    results: Vec<f32>,
}

impl CudaPieces {
    /// Copies computed rows to the host and delivers them.
    fn deliver(&mut self, computed: Mat, results: &mut Results<'_>) -> Result<()> {
        let most = carried(computed.rows / results.per_row(), results.per_row());
        for from in (0..computed.rows).step_by(most) {
            let held = &mut self.results[..most.min(computed.rows - from)];
            self.workspace.download(computed, from, held)?;
            results.deliver(held)?;
        }
        Ok(())
    }
}

/// Returns how many numbers of `rows` rows of results are copied to the host at a time.
fn carried(rows: usize, per_row: usize) -> usize {
    rows.min((MOST_RESULTS / per_row).max(1)) * per_row
}

impl Pieces for CudaPieces {
    fn answer(&mut self, question: &Question<'_>, seed: RowSeed, results: &mut Results<'_>) -> Result<()> {
        let model = Arc::clone(&self.model);
        let (model, d) = (model.on_block(), model.transport.dimension());
        let (rows, per_row) = (results.rows(), results.per_row());
        let gpu = Arc::clone(self.workspace.gpu());
        let _entered = gpu.enter()?;
        // Dense rows of results, as a column.
        let work = |block: &mut CudaBlock, source: &[f32], seed| {
            let count = source.len() / d;
            let piece = Piece { rows: block.bring(source, d), count, seed };
            let computed = block.scratch(count * per_row, 1);
            let to = CudaRows { address: block.address(computed), stride: per_row };
            model.answer(block, question, &piece, to);
            computed
        };
        let piece = self.workspace.fit(rows.min(model.most_rows(question)), MOST_FLOATS, |block, piece| {
            work(block, results.source(0..piece), seed);
        })?;
        // Before work is queued: a refusal leaves nothing behind that reads the host's rows.
        memory::grow(&mut self.results, "results of a session", carried(piece, per_row), 0.0)?;
        for from in (0..rows).step_by(piece) {
            let mut block = self.workspace.block();
            let source = results.source(from..rows.min(from + piece));
            let computed = work(&mut block, source, seed.skip(from));
            let done = block.finish().and_then(|()| self.deliver(computed, results));
            // Rows in pinned memory are read when the stream comes to them: not after the call.
            done.inspect_err(|_| drop(gpu.synchronise()))?;
        }
        Ok(())
    }

    fn generate_on_device(&mut self, source: DeviceRows, seed: RowSeed, generated: DeviceRows) -> Result<()> {
        let model = Arc::clone(&self.model);
        let (model, d) = (model.on_block(), model.transport.dimension());
        let gpu = Arc::clone(self.workspace.gpu());
        let _entered = gpu.enter()?;
        for (name, rows) in [("source", source), ("generated", generated)] {
            let numbers = (rows.rows - 1) * rows.stride + d;
            gpu.check_pointer(name, rows.address, (numbers * size_of::<f32>()) as u64)?;
        }
        let at = |rows: DeviceRows, from: usize| CudaRows {
            address: rows.address + (from * rows.stride * size_of::<f32>()) as u64,
            stride: rows.stride,
        };
        let work = |block: &mut CudaBlock, from, count| {
            let piece = Piece { rows: at(source, from), count, seed: seed.skip(from) };
            model.answer(block, &Question::Generate, &piece, at(generated, from));
        };
        let piece = self.workspace.fit(
            source.rows.min(model.most_rows(&Question::Generate)),
            MOST_FLOATS,
            |block, piece| work(block, 0, piece),
        )?;
        for from in (0..source.rows).step_by(piece) {
            let mut block = self.workspace.block();
            work(&mut block, from, piece.min(source.rows - from));
            block.finish()?;
        }
        Ok(())
    }
}
