//! Computes a session's answers on the processor, piece by piece. After the first call of a size nothing is allocated.
//!
//! Threads take pieces of rows of their own, as long as there are some for all. Of the pictures that are left, one after the
//! other is computed by all threads together, each of which takes a part of every layer.

use super::fault::FirstFault;
use super::pieces::{DeviceRows, Pieces, Placed};
use super::results::Results;
use crate::device::Workspace;
use crate::device::cpu::disjoint::Disjoint;
use crate::device::cpu::net::CpuNet;
use crate::device::cpu::pool::Pool;
use crate::device::cpu::simd::Isa;
use crate::device::cpu::{CpuBlock, Crew, Measure, Sizes};
use crate::device::layout::Map;
use crate::device::rows::{Piece, RowSeed};
use crate::error::{Error, Result};
use crate::euot::answers::{Kind, Limits, Question, Transport, TransportOn};
use crate::memory;
use crate::nn::network::Network;
use std::ops::Range;
use std::sync::Arc;

/// The largest number of rows computed at a time: their activations stay in a core's cache.
const MOST_ROWS: usize = 64;
/// The largest count of the generator's outputs, of results, and of numbers of a tape of pictures, held at a time: a
/// megabyte. One row may have more.
const MOST_OUTPUTS: usize = 1 << 18;

/// The least number of multiply-adds in a piece of rows of a thread: it takes longer than a thread takes to begin.
const LEAST_WORK: usize = 1 << 20;
/// The number of pictures for each thread from which on all threads take pictures of their own to the end: what is left over
/// is then too little to be shared.
const MANY: usize = 8;

/// A model on the processor.
pub(super) struct CpuModel {
    pool: Arc<Pool>,
    transport: Arc<Transport>,
    isa: Isa,
    value: CpuNet<f32>,
    generator: CpuNet<f32>,
    limits: Limits,
}

impl CpuModel {
    /// Arranges the weights of the value function and of the generator for products.
    pub fn new(
        isa: Isa,
        pool: &Arc<Pool>,
        transport: &Arc<Transport>,
        [value, generator]: [&[f32]; 2],
    ) -> Result<Self> {
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
            pool: Arc::clone(pool),
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
    /// Returns how many multiply-adds a row of this question takes, about.
    fn work(&self, question: &Question<'_>) -> usize {
        let of = |network: &Network| -> usize {
            let products = network.layout.layers.iter().map(|layer| match layer.map {
                Map::Dense { inputs, outputs } => inputs * outputs,
                Map::Conv(conv) => conv.to().numbers() * conv.taps() * conv.from.channels,
            });
            products.fold(0, usize::saturating_add)
        };
        let Transport { value, generator, .. } = &*self.transport;
        match *question {
            Question::Ratio => of(value),
            Question::Drift { .. } => of(value).saturating_mul(2),
            Question::MeanOver { latents } => of(generator).saturating_mul(latents),
            Question::Generate | Question::Mean | Question::Path(_) => of(generator),
        }
    }

    /// Returns how the rows of some results are shared among so many threads.
    fn shares(&self, question: &Question<'_>, rows: usize, per_row: usize, threads: usize) -> Shares {
        let most = self.on_block().most_rows(question);
        let whole = most.min((MOST_OUTPUTS / per_row).max(1)).min(rows);
        let least = (LEAST_WORK / self.work(question).max(1)).clamp(1, whole);
        // As many pieces for each thread, and as few as there may be.
        let each = rows.div_ceil(whole.saturating_mul(threads));
        let piece = rows.div_ceil(each.saturating_mul(threads)).max(least);
        let pictures = self.transport.generator.graph.is_some();
        let apart = match threads {
            1 => 0,
            _ if pictures && rows < MANY * threads => rows - rows % threads,
            _ if rows > piece => rows,
            _ => 0,
        };
        let together = if threads > 1 && pictures { 1 } else { whole };
        Shares { piece, apart, together, workers: apart.div_ceil(piece).min(threads) }
    }
}

/// How rows are shared among threads.
struct Shares {
    /// Number of the first rows, of which threads take pieces of their own, and the size of those.
    apart: usize,
    piece: usize,
    /// How many threads do.
    workers: usize,
    /// The size of pieces of which all threads compute a part.
    together: usize,
}

impl Placed for CpuModel {
    fn pieces(self: Arc<Self>, threads: usize) -> Result<Box<dyn Pieces>> {
        let threads = if threads == 0 { self.pool.threads() } else { threads.min(self.pool.threads()) };
        let crew = (threads > 1).then(|| Crew::new(&self.pool, threads).map(Arc::new)).transpose()?;
        let alone = if threads > 1 { threads } else { 0 };
        Ok(Box::new(CpuPieces {
            alone: memory::made("the threads of a session", alone, |_| Ok(Worker::new(&self, None)))?,
            together: Worker::new(&self, crew.clone()),
            crew,
            model: self,
        }))
    }
}

/// The workspaces of a session.
struct CpuPieces {
    model: Arc<CpuModel>,
    /// The threads that a call has, where those are several.
    crew: Option<Arc<Crew>>,
    /// One for each thread, for pieces of its own.
    alone: Vec<Worker>,
    /// For pieces of which all threads compute a part.
    together: Worker,
}

/// A workspace.
struct Worker {
    block: CpuBlock<f32>,
    /// For each kind of question and each number of rows, one more than the largest size that the workspace has room
    /// for, or 0 where it has been measured for none.
    room: [[usize; MOST_ROWS + 1]; Kind::COUNT],
    /// Results that have not been delivered yet.
    results: Vec<f32>,
}

impl Worker {
    fn new(model: &CpuModel, crew: Option<Arc<Crew>>) -> Self {
        let block = CpuBlock::shared(model.isa, crew);
        Self { block, room: [[0; MOST_ROWS + 1]; Kind::COUNT], results: Vec::new() }
    }

    /// Makes room for a piece of `count` rows, so that nothing is allocated once a call has begun. What there is room
    /// for once is not measured again, whichever calls come between: fewer rows, or a smaller size, take no more
    /// memory.
    fn make_room(&mut self, model: &CpuModel, question: &Question<'_>, count: usize, per_row: usize) -> Result<()> {
        let (kind, size) = question.extent();
        if self.room[kind as usize][count] <= size {
            let piece = Piece { rows: (), count, seed: RowSeed::NONE };
            let sizes = Measure::of(|measure| model.measured().answer(measure, question, &piece, ()));
            let beside = [&model.transport.value, &model.transport.generator]
                .map(|network| Sizes::beside(&network.layout, false));
            self.block.reserve(sizes.max(beside[0]).max(beside[1]))?;
            for known in &mut self.room[kind as usize][..=count] {
                *known = (*known).max(size.saturating_add(1));
            }
        }
        memory::grow(&mut self.results, "results of a session", count * per_row, 0.0)
    }

    /// Computes some rows and delivers them.
    ///
    /// # Safety
    /// Nobody else delivers these rows at the same time.
    unsafe fn answer(
        &mut self,
        model: &CpuModel,
        question: &Question<'_>,
        seed: RowSeed,
        rows: Range<usize>,
        results: &Results<'_>,
    ) -> Result<()> {
        let part = Piece { rows: results.source(rows.clone()), count: rows.len(), seed: seed.skip(rows.start) };
        let computed = &mut self.results[..rows.len() * results.per_row()];
        self.block.reset(0);
        model.on_block().answer(&mut self.block, question, &part, computed);
        // SAFETY: the caller's promise.
        unsafe { results.write(rows.start, computed) }
    }
}

impl Pieces for CpuPieces {
    fn answer(&mut self, question: &Question<'_>, seed: RowSeed, results: &mut Results<'_>) -> Result<()> {
        let Self { model, crew, alone, together } = self;
        let (rows, per_row) = (results.rows(), results.per_row());
        let threads = crew.as_ref().map_or(1, |crew| crew.threads());
        let shares = model.shares(question, rows, per_row, threads);
        let alone = &mut alone[..shares.workers];
        for worker in &mut *alone {
            worker.make_room(model, question, shares.piece, per_row)?;
        }
        if shares.apart < rows {
            together.make_room(model, question, shares.together, per_row)?;
        }
        let results = &*results;
        if let Some(crew) = crew.as_ref().filter(|_| shares.apart > 0) {
            let (fault, workers) = (FirstFault::default(), Disjoint::new(alone));
            let jobs = shares.apart.div_ceil(shares.piece);
            crew.in_order(shares.workers, jobs, |number, thread| {
                let from = number * shares.piece;
                let piece = from..shares.apart.min(from + shares.piece);
                // SAFETY: a thread has one job at a time, and jobs have rows of their own.
                fault.unless_before(number, || unsafe {
                    workers.one(thread).answer(model, question, seed, piece, results)
                });
            });
            fault.end()?;
        }
        if let Some(crew) = crew.as_ref().filter(|_| shares.apart < rows && model.transport.generator.graph.is_some()) {
            crew.wake();
        }
        for from in (shares.apart..rows).step_by(shares.together) {
            let piece = from..rows.min(from + shares.together);
            // SAFETY: nobody else is here.
            unsafe { together.answer(model, question, seed, piece, results)? };
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
