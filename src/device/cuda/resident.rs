//! Samples in the memory of the GPU, measured and normalised by kernels where they lie (cuda/samples.cu).

use super::block::{CudaBlock, THREADS, blocks_over};
use super::gpu::Gpu;
use super::kernels::{PieceParameters, SamplesMeans, SamplesNormalise, SamplesParameters, SamplesPick, SamplesSpreads};
use super::memory::DeviceBuffer;
use super::rows::CudaUnits;
use crate::data::{
    ArrayLayout, Components, Gathered, Normalisation, Normalised, Picks, Resident, ResidentRows, RowBlock, RowBlocks,
    SeenUnits,
};
use crate::error::Result;
use crate::memory;
use std::sync::Arc;

/// The number that a warp leaves when it has found nothing.
const NOTHING: u64 = u64::MAX;
/// The largest number of rows of a piece, of means of its blocks, and of numbers that are picked: 8 MiB of either. Moments are
/// gathered and samples picked piece by piece.
const PIECE: usize = 1 << 20;
/// Number of components of a block of samples_spreads (cuda/samples.cu).
const SPREAD_COLUMNS: usize = 32;

/// One side's samples in the memory of a GPU.
pub(crate) struct CudaSamples {
    gpu: Arc<Gpu>,
    /// "source" or "target".
    side: &'static str,
    /// Address of the element with index 0 on every axis.
    address: u64,
    layout: ArrayLayout,
    /// As [`PIECE`].
    piece: usize,
}

impl Gpu {
    /// Returns samples in its memory, as [`CudaSamples::new`] does.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn resident<'a>(
        self: &Arc<Self>,
        side: &'static str,
        address: u64,
        layout: ArrayLayout,
    ) -> Box<dyn Resident + 'a> {
        // SAFETY: promised.
        Box::new(unsafe { CudaSamples::new(self, side, address, layout) })
    }
}

impl CudaSamples {
    /// Returns the samples of a side ("source" or "target") whose element with index 0 on every axis is at `address`.
    ///
    /// # Safety
    /// As long as this lives, every element that the layout reaches from `address` is memory that kernels of the GPU may
    /// read, and nobody writes it.
    pub unsafe fn new(gpu: &Arc<Gpu>, side: &'static str, address: u64, layout: ArrayLayout) -> Self {
        Self { gpu: Arc::clone(gpu), side, address, layout, piece: PIECE }
    }

    /// Gathers moments in pieces of at most so many rows, and means of so many blocks.
    #[cfg(test)]
    pub fn in_pieces_of(self, piece: usize) -> Self {
        Self { piece, ..self }
    }

    /// Returns the samples as kernels take them.
    fn for_kernels(&self, what: &str) -> Result<KernelSamples<'_>> {
        let (between_components, components) = match self.layout.components()? {
            Components::Even(distance) => (distance, None),
            Components::Listed(places) => (0, Some(DeviceBuffer::of(&self.gpu, &places, what)?)),
        };
        Ok(KernelSamples { of: self, between_components, components })
    }
}

/// Samples as kernels take them, with a list of where their components lie.
struct KernelSamples<'a> {
    of: &'a CudaSamples,
    between_components: isize,
    components: Option<DeviceBuffer<isize>>,
}

impl KernelSamples<'_> {
    fn parameters(&self) -> SamplesParameters {
        let CudaSamples { address, layout, .. } = self.of;
        SamplesParameters {
            data: *address,
            dtype: layout.dtype() as u32,
            between_rows: layout.between_rows() as u64,
            between_components: self.between_components as u64,
            components: self.components.as_ref().map_or(0, DeviceBuffer::address),
            scale: layout.scale(),
            offset: layout.offset(),
        }
    }
}

/// The answers of the warps of launches over some elements: a number from each warp for each of `N` questions.
struct Found<const N: usize>(DeviceBuffer<u64>);

impl<const N: usize> Found<N> {
    /// Starts with no answer.
    fn nothing(gpu: &Arc<Gpu>, elements: usize, what: &str) -> Result<Self> {
        let warps = (blocks_over(elements as u64) * THREADS / 32) as usize;
        Ok(Self(DeviceBuffer::of(gpu, &memory::filled(what, N * warps, NOTHING)?, what)?))
    }

    /// Returns the address to which warps write their answers to a question.
    fn address(&self, question: usize) -> u64 {
        self.0.at(question * self.0.len() / N)
    }

    /// Waits for the stream and returns the least answer to each question.
    fn least(&self, what: &str) -> Result<[Option<u64>; N]> {
        let mut numbers = memory::filled(what, self.0.len(), NOTHING)?;
        self.0.download(0, &mut numbers)?;
        let mut each = numbers.chunks_exact(numbers.len() / N);
        let mut least = || each.next()?.iter().copied().min();
        Ok(std::array::from_fn(|_| least().filter(|&number| number != NOTHING)))
    }
}

impl Resident for CudaSamples {
    fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    fn gather(&self, blocks: &RowBlocks, weights: Option<&[f64]>) -> Result<Gathered> {
        let gpu = &self.gpu;
        let _entered = gpu.enter()?;
        let what = &format!("the moments of the {}'s samples", self.side);
        let (count, dimension) = (self.layout.count(), self.layout.dimension());
        let in_piece = (self.piece / dimension.max(blocks.rows)).clamp(1, blocks.list.len());
        let list = DeviceBuffer::<RowBlock>::of(gpu, &blocks.list, what)?;
        let mut weight = match weights {
            Some(_) => Some(DeviceBuffer::<f64>::new(gpu, count.min(in_piece * blocks.rows), what)?),
            None => None,
        };
        let means = DeviceBuffer::<f64>::new(gpu, in_piece * dimension, what)?;
        let zeros = || {
            let mut buffer = DeviceBuffer::<f64>::planned(gpu, dimension);
            buffer.allocate_zeroed(what).map(|()| buffer)
        };
        let (mean, spread) = (zeros()?, zeros()?);
        let found = Found::<1>::nothing(gpu, means.len(), what)?;
        let (samples, mut block) = (self.for_kernels(what)?, CudaBlock::new(gpu, gpu.stream(), 0, 0));
        let samples = samples.parameters();
        let start = blocks.list.iter().position(|block| block.weight != 0.0);
        for piece in (0..blocks.list.len()).step_by(in_piece) {
            let first = piece * blocks.rows;
            let rows = (count - first).min(in_piece * blocks.rows);
            if let (Some(buffer), Some(weights)) = (&mut weight, weights) {
                buffer.upload(0, &weights[first..first + rows])?;
            }
            // In another piece where it is no block of this one.
            let start = start.and_then(|start| start.checked_sub(piece)).unwrap_or(in_piece).min(in_piece);
            let piece = PieceParameters {
                first: first as u64,
                rows: rows as u32,
                d: dimension as u32,
                block_rows: blocks.rows as u32,
                blocks: list.at(piece),
                weights: weight.as_ref().map_or(0, DeviceBuffer::address),
                means: means.address(),
            };
            let elements = rows.div_ceil(blocks.rows) * dimension;
            block.launch_over(elements as u64, &SamplesMeans { samples, piece, not_finite: found.address(0) });
            let (start, mean, spread) = (start as u32, mean.address(), spread.address());
            let groups = dimension.div_ceil(SPREAD_COLUMNS) as u32;
            block.launch([groups, 1, 1], [THREADS, 1, 1], &SamplesSpreads { samples, piece, start, mean, spread });
        }
        block.finish()?;
        let [not_finite] = found.least(what)?;
        let read = |buffer: &DeviceBuffer<f64>| {
            let mut numbers = memory::filled(what, dimension, 0f64)?;
            buffer.download(0, &mut numbers).map(|()| numbers)
        };
        Ok(Gathered { mean: read(&mean)?, spread: read(&spread)?, not_finite })
    }

    fn normalise(&self, units: &SeenUnits) -> Result<Normalised> {
        let gpu = &self.gpu;
        let _entered = gpu.enter()?;
        let what = &format!("the samples of the {}", self.side);
        let (count, dimension) = (self.layout.count(), self.layout.dimension());
        let rows = DeviceBuffer::<f32>::new(gpu, count * dimension, what)?;
        let (samples, mut block) = (self.for_kernels(what)?, CudaBlock::new(gpu, gpu.stream(), 0, 0));
        let SeenUnits { normalised: Normalisation { shift, scale }, rotation, units, time } = units;
        let shift = DeviceBuffer::of(gpu, shift, what)?;
        let moved = CudaUnits::new(gpu, rotation.as_ref(), units, what)?;
        let found = Found::<2>::nothing(gpu, rows.len(), what)?;
        let arguments = SamplesNormalise {
            samples: samples.parameters(),
            rows: count as u32,
            d: dimension as u32,
            shift: shift.address(),
            length: *scale,
            turned: moved.turned(),
            units: moved.address(),
            time: *time,
            out: rows.address(),
            not_finite: found.address(0),
            beyond: found.address(1),
        };
        block.launch_over((count * dimension) as u64, &arguments);
        block.finish()?;
        let [not_finite, beyond] = found.least(what)?;
        Ok(Normalised { rows: Arc::new(NormalisedRows { gpu: Arc::clone(gpu), rows }), not_finite, beyond })
    }

    fn pick(&self, Picks { every, count }: Picks) -> Result<Vec<f64>> {
        let gpu = &self.gpu;
        let _entered = gpu.enter()?;
        let what = &format!("the covariance of the {}'s samples", self.side);
        let dimension = self.layout.dimension();
        assert!(count * every <= self.layout.count());
        let mut values = memory::filled(what, count * dimension, 0f64)?;
        let in_piece = (self.piece / dimension).clamp(1, count.max(1));
        let picked = DeviceBuffer::<f64>::new(gpu, in_piece * dimension, what)?;
        let (samples, mut block) = (self.for_kernels(what)?, CudaBlock::new(gpu, gpu.stream(), 0, 0));
        for (piece, values) in values.chunks_mut(in_piece * dimension).enumerate() {
            let arguments = SamplesPick {
                samples: samples.parameters(),
                every: every as u64,
                first: (piece * in_piece) as u64,
                rows: (values.len() / dimension) as u32,
                d: dimension as u32,
                out: picked.address(),
            };
            block.launch_over(values.len() as u64, &arguments);
            block.finish()?;
            picked.download(0, values)?;
        }
        Ok(values)
    }

    fn value(&self, number: u64) -> Result<f64> {
        let dimension = self.layout.dimension() as u64;
        let place = self.layout.place((number / dimension) as usize, (number % dimension) as usize);
        let size = self.layout.dtype().size();
        let mut element = [0; 8];
        let element = &mut element[..size];
        let _entered = self.gpu.enter()?;
        self.gpu.read(self.address.wrapping_add_signed((place * size as isize) as i64), element)?;
        Ok(self.layout.value(element))
    }
}

/// Normalised samples in a buffer of their own.
struct NormalisedRows {
    gpu: Arc<Gpu>,
    rows: DeviceBuffer<f32>,
}

impl ResidentRows for NormalisedRows {
    fn address(&self) -> u64 {
        self.rows.address()
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<()> {
        let _entered = self.gpu.enter()?;
        self.rows.download(first, out)
    }
}
