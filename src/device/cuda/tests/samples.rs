//! Samples in device memory: moments, normalised rows, fingerprints and refusals are those of the host, to the bit.

use super::guarded::Buffer;
use super::simulator;
use super::support::{cases, normals};
use crate::data::{
    ArrayLayout, Augmentation, DType, Data, DataSource, Normalisation, Picks, Resident, Rotation, SeenUnits, Sides,
    TensorView,
};
use crate::device::cuda::block::{MOST_BLOCKS, THREADS};
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::cuda::resident::CudaSamples;
use crate::device::gpus::CudaConfig;
use crate::formulas::units::AxisUnits;
use half::{bf16, f16};
use proptest::prelude::*;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

const TYPES: [DType; 5] = [DType::F32, DType::F64, DType::F16, DType::BF16, DType::U8];

/// An array in memory that kernels read, and the host as well.
#[derive(Clone)]
struct Array {
    bytes: Rc<Buffer<u8>>,
    /// Byte at which the element with index 0 on every axis begins.
    first: usize,
    dtype: DType,
    shape: Vec<usize>,
    strides: Vec<isize>,
    scale: f64,
    offset: f64,
}

impl Array {
    fn view(&self) -> TensorView<'_> {
        let data = self.bytes[self.first..].as_ptr();
        // SAFETY: the buffer holds what the strides reach.
        unsafe { TensorView::from_raw(self.dtype, data, &self.shape, Some(&self.strides), self.scale, self.offset) }
            .unwrap()
    }

    fn layout(&self) -> ArrayLayout {
        ArrayLayout::new(self.dtype, &self.shape, Some(&self.strides), self.scale, self.offset).unwrap()
    }
}

/// The GPU of all tests here, the simulated one but where a real one is wanted; none where neither is there.
fn gpu() -> Option<Arc<Gpu>> {
    static GPU: OnceLock<Option<Arc<Gpu>>> = OnceLock::new();
    let open = || Gpu::open(&CudaConfig::default(), &mut |_, _| ()).expect("the GPU that was loaded");
    GPU.get_or_init(|| simulator::load_with_compiler().then(open)).clone()
}

/// An array's copy in the memory of the GPU.
struct OnDevice {
    gpu: Arc<Gpu>,
    bytes: DeviceBuffer<u8>,
    first: u64,
    layout: ArrayLayout,
}

impl OnDevice {
    fn of(array: &Array, gpu: &Arc<Gpu>) -> Self {
        let _entered = gpu.enter().unwrap();
        let bytes = DeviceBuffer::of(gpu, &array.bytes, "an array").unwrap();
        Self { gpu: Arc::clone(gpu), bytes, first: array.first as u64, layout: array.layout() }
    }

    /// The samples, which must not outlive this.
    fn resident(&self) -> CudaSamples {
        let address = self.bytes.address() + self.first;
        // SAFETY: a copy of the whole array, which lives longer and is written by nobody.
        unsafe { CudaSamples::new(&self.gpu, "source", address, self.layout.clone()) }
    }

    /// As a trainer is given them, measured in pieces of so many rows.
    fn samples<'a>(&'a self, piece: usize, weights: Option<TensorView<'a>>) -> Data<'a> {
        Data::Resident {
            samples: Box::new(self.resident().in_pieces_of(piece)),
            weights,
            augmentation: Augmentation::default(),
        }
    }
}

/// How samples are moved to what networks see: not at all, or along axes, which may be others than the components. What
/// is said to be a rotation need not be one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moved {
    No,
    Along,
    Turned,
}

impl Moved {
    fn units(self, normalised: Normalisation, time: f64) -> SeenUnits {
        let d = normalised.dimension();
        let [contraction, pull, unit] = [11, 12, 13].map(|s| normals(s, if self == Self::No { 0 } else { d }));
        let units = (0..d).map(|j| match self {
            Self::No => AxisUnits { contraction: 1.0, pull: 0.0, unit: 1.0 },
            _ => AxisUnits {
                contraction: f64::from(contraction[j]).exp(),
                pull: pull[j].into(),
                unit: f64::from(0.3 * unit[j]).exp(),
            },
        });
        let rotation = (self == Self::Turned).then(|| Rotation::new(d, normals(14, d * d)));
        SeenUnits { normalised, rotation, units: units.collect(), time }
    }
}

/// What a trainer sees of both sides, in bits; or the sentence of a refusal.
fn seen(
    source: Data<'_>,
    target: Data<'_>,
    units: Option<&Normalisation>,
    moved: Moved,
) -> std::result::Result<Vec<u64>, String> {
    let sentence = |error: crate::Error| error.to_string();
    let mut sides = Sides::check(source, target).map_err(sentence)?;
    let mut bits = Vec::new();
    let measured = match units {
        Some(units) => units.clone(),
        None => {
            let measured = sides.measure(None, false).map_err(sentence)?;
            for side in &measured.spreads {
                bits.extend(side.mean.iter().chain(side.variances.iter()).map(|x| x.to_bits()));
            }
            for all in measured.shapes.iter().flat_map(|shapes| &shapes.covariances) {
                bits.extend((0..all.size()).flat_map(|j| all.row(j)).map(|x| x.to_bits()));
            }
            measured.units
        }
    };
    bits.extend(measured.shift.iter().chain([&measured.scale]).map(|x| x.to_bits()));
    let seen = [0.0, 1.0].map(|time| moved.units(measured.clone(), time));
    let (source, target) = sides.prepare(seen.clone()).map_err(sentence)?;
    for side in [source, target] {
        bits.push(side.fingerprint().hash().unwrap().expect("it was made of an array"));
        match side {
            DataSource::Array(array) => bits.extend(array.rows().iter().map(|x| u64::from(x.to_bits()))),
            DataSource::Resident(resident) => {
                let mut rows = vec![0f32; resident.size().count * resident.dimension()];
                resident.rows().read(0, &mut rows).unwrap();
                bits.extend(rows.iter().map(|x| u64::from(x.to_bits())));
            }
            DataSource::Sampler(_) => unreachable!("it was made of an array"),
        }
    }
    Ok(bits)
}

fn encoded(dtype: DType, value: f64) -> Vec<u8> {
    match dtype {
        DType::F32 => (value as f32).to_ne_bytes().to_vec(),
        DType::F64 => value.to_ne_bytes().to_vec(),
        DType::F16 => f16::from_f64(value).to_ne_bytes().to_vec(),
        DType::BF16 => bf16::from_f64(value).to_ne_bytes().to_vec(),
        DType::U8 => vec![(value * 20.0 + 100.0) as u8],
    }
}

/// How an array's axes follow each other in memory.
#[derive(Clone, Copy, Debug)]
enum Order {
    Rows,
    /// The first axis is the innermost.
    Columns,
    /// From behind, with gaps.
    Backwards,
    /// Samples of several axes of which the first lies inside.
    Swapped,
    /// All samples are the same memory.
    Repeated,
}

/// `shape` has three axes.
fn array(dtype: DType, shape: [usize; 3], order: Order, values: &[f64], scale: f64, offset: f64) -> Array {
    let [n, a, b] = shape.map(|extent| extent as isize);
    let strides = match order {
        Order::Rows => [a * b, b, 1],
        Order::Columns => [1, n, n * a],
        Order::Backwards => [-(2 * a * b + 3), -2 * b, -2],
        Order::Swapped => [a * b, 1, a],
        Order::Repeated => [0, b, 1],
    };
    let size = dtype.size();
    let reach = |stride: isize, extent: isize| stride.unsigned_abs() * (extent as usize - 1);
    let last = reach(strides[0], n) + reach(strides[1], a) + reach(strides[2], b);
    let bytes: Vec<u8> = (0..=last).flat_map(|i| encoded(dtype, values[i % values.len()])).collect();
    let first = if matches!(order, Order::Backwards) { last * size } else { 0 };
    Array {
        bytes: Rc::new(Buffer::of(&bytes)),
        first,
        dtype,
        shape: shape.to_vec(),
        strides: strides.to_vec(),
        scale,
        offset,
    }
}

fn shapes() -> impl Strategy<Value = [usize; 3]> {
    prop_oneof![
        // Blocks of many rows; of a few, with columns for more than one block of threads; of one row.
        4 => (1usize..6000, 1usize..4, 1usize..3),
        3 => (1usize..60, 1usize..6, 1usize..200),
        1 => (1usize..4, 30usize..60, 90usize..110),
    ]
    .prop_map(|(n, a, b)| [n.min(9000 / (a * b)).max(1), a, b])
}

fn orders() -> impl Strategy<Value = Order> {
    use Order::*;
    prop_oneof![3 => Just(Rows), 1 => Just(Columns), 1 => Just(Backwards), 1 => Just(Swapped), 1 => Just(Repeated)]
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn a_trainer_sees_the_hosts_bits(
        shape in shapes(), dtype in prop::sample::select(&TYPES), order in orders(), weighted in any::<bool>(),
        piece in 1usize..10_000, seed in any::<u64>(), scale in 0.1f64..3.0, offset in -9.0f64..9.0,
        zeros in 0usize..3, bad in prop::option::of((any::<u32>(), prop::sample::select(vec![f64::NAN, f64::INFINITY, 1e300]))),
        resumed in any::<bool>(), moved in prop::sample::select(&[Moved::No, Moved::Along, Moved::Turned][..]),
    ) {
        let Some(gpu) = gpu() else { return Ok(()) };
        let [n, a, b] = shape;
        let mut values: Vec<f64> = normals(seed, n * a * b).into_iter().map(f64::from).collect();
        if let Some((at, value)) = bad {
            let at = at as usize % values.len();
            values[at] = value;
        }
        let source = array(dtype, shape, order, &values, scale, offset);
        let target = array(DType::F32, [2, a, b], Order::Rows, &values[..1], 1.0, 0.0);
        // A stretch of zeros, longer than a block of rows where there are many: none, the first ones, or further on.
        let zeros = [0..0, 0..2 * n / 3, n / 3..2 * n / 3][zeros].clone();
        let weights: Vec<f32> = normals(!seed, n).iter().enumerate()
            .map(|(i, x)| if i + 1 < n && zeros.contains(&i) { 0.0 } else { x.abs() }).collect();
        let weights = weighted.then(|| TensorView::from_f32(&weights, &[n]).unwrap());
        let units = Normalisation { shift: vec![offset; a * b].into(), scale: 0.7 };
        let units = resumed.then_some(&units);
        let moved = if moved == Moved::Turned && a * b > 150 { Moved::Along } else { moved };
        let host = Data::Array { samples: source.view(), weights: weights.clone(), augmentation: Augmentation::default() };
        let expected = seen(host, Data::array(target.view()), units, moved);
        let device = OnDevice::of(&source, &gpu);
        let found = seen(device.samples(piece, weights), Data::array(target.view()), units, moved);
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn short_floats_of_every_exponent_are_read_as_on_the_host() {
    let Some(gpu) = gpu() else { return };
    for dtype in [DType::F16, DType::BF16] {
        // Those that are infinite or not a number are refused, on the host as well.
        let exponent = if dtype == DType::F16 { 0x7c00 } else { 0x7f80 };
        let bits: Vec<u16> = (0..=u16::MAX).step_by(13).filter(|bits| bits & exponent != exponent).collect();
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_ne_bytes()).collect();
        let shape = vec![bits.len(), 1];
        let bytes = Rc::new(Buffer::of(&bytes));
        let array = Array { bytes, first: 0, dtype, shape, strides: vec![1, 1], scale: 1.0, offset: 0.0 };
        let units = Normalisation { shift: vec![0.0].into(), scale: 1.0 };
        let expected = seen(Data::array(array.view()), Data::array(array.view()), Some(&units), Moved::No);
        let device = OnDevice::of(&array, &gpu);
        let found = seen(device.samples(1 << 20, None), Data::array(array.view()), Some(&units), Moved::No);
        assert!(expected.is_ok() && found == expected);
    }
}

#[test]
fn the_first_of_two_bad_values_is_told_as_the_host_tells_it() {
    let Some(gpu) = gpu() else { return };
    let units = Normalisation { shift: vec![0.0; 2].into(), scale: 0.5 };
    // Blocks of 2048 rows: a value that is not finite comes first inside one, whatever is before it.
    for [wrong, far] in [[5000, 40], [40, 5000], [100, 60], [4095, 4096], [4096, 4095], [12_001, 12_000]] {
        let mut values: Vec<f64> = normals(3, 14_000).into_iter().map(f64::from).collect();
        (values[wrong], values[far]) = (f64::NEG_INFINITY, -1e39);
        let array = array(DType::F64, [7000, 2, 1], Order::Rows, &values, 1.0, 0.0);
        for (units, moved) in [(None, Moved::No), (Some(&units), Moved::No), (Some(&units), Moved::Turned)] {
            let expected = seen(Data::array(array.view()), Data::array(array.view()), units, moved);
            let device = OnDevice::of(&array, &gpu);
            assert!(expected.is_err());
            let found = seen(device.samples(4096, None), Data::array(array.view()), units, moved);
            assert_eq!(found, expected, "{wrong} {far} {moved:?}");
        }
    }
}

/// The samples' moments and normalised rows on the host and on the GPU, in pieces of so many rows.
#[track_caller]
fn compare(gpu: &Arc<Gpu>, array: &Array, weights: Option<&[f32]>, pieces: impl IntoIterator<Item = usize>) {
    // Which is part of the fingerprints.
    let augmentation = Augmentation { flip: true, crop: 0 };
    let weights = || weights.map(|weights| TensorView::from_f32(weights, &[weights.len()]).unwrap());
    let host = Data::Array { samples: array.view(), weights: weights(), augmentation };
    let expected = seen(host, Data::array(array.view()), None, Moved::No);
    assert!(expected.is_ok(), "{expected:?}");
    let device = OnDevice::of(array, gpu);
    for piece in pieces {
        let found =
            seen(device.samples(piece, weights()).augmented(augmentation), Data::array(array.view()), None, Moved::No);
        assert!(found == expected, "in pieces of {piece} rows");
    }
}

#[test]
fn weights_of_pieces_that_begin_with_zeros_and_end_with_a_short_block_are_the_hosts() {
    let Some(gpu) = gpu() else { return };
    let count = 9000;
    let values: Vec<f64> = normals(5, 2 * count).into_iter().map(f64::from).collect();
    let array = array(DType::F32, [count, 2, 1], Order::Rows, &values, 1.0, 0.0);
    // As `rows_of_block` cuts samples of two numbers.
    let rows = 2048;
    assert!(count > 4 * rows && count % rows != 0);
    // Weights begin within the first block, the second, the third, and the last, which is short.
    for zeros in [0, rows + 1, 2 * rows, count - 1] {
        let weights: Vec<f32> = (0..count).map(|i| if i < zeros { 0.0 } else { (i % 7 + 1) as f32 }).collect();
        compare(&gpu, &array, Some(&weights), [1, 2, 3, 9].map(|blocks| blocks * rows));
    }
}

#[test]
fn more_numbers_than_threads_are_the_hosts() {
    let Some(gpu) = gpu() else { return };
    let dimension = 100_000;
    let values: Vec<f64> = normals(6, 3 * dimension).into_iter().map(f64::from).collect();
    let array = array(DType::F32, [3, dimension, 1], Order::Rows, &values, 1.0, 0.0);
    assert!(3 * dimension > MOST_BLOCKS as usize * THREADS as usize);
    compare(&gpu, &array, None, [1, 3 * dimension]);
}

#[test]
fn picked_samples_are_the_hosts() {
    let Some(gpu) = gpu() else { return };
    let orders = [Order::Rows, Order::Columns, Order::Backwards, Order::Swapped, Order::Rows];
    for (dtype, order) in TYPES.into_iter().zip(orders) {
        let (shape, scale, offset) = ([23, 3, 2], 1.7, -0.3);
        let values: Vec<f64> = normals(7, 200).into_iter().map(f64::from).collect();
        let array = array(dtype, shape, order, &values, scale, offset);
        let (layout, size) = (array.layout(), dtype.size());
        let value = |row: usize, col: usize| {
            let at = array.first.wrapping_add_signed(layout.place(row, col) * size as isize);
            layout.value(&array.bytes[at..at + size])
        };
        let all: Vec<f64> = (0..23 * 6).map(|at| value(at / 6, at % 6)).collect();
        let device = OnDevice::of(&array, &gpu);
        for every in [1, 2, 5, 22, 23] {
            let picks = Picks { every, count: 23 / every };
            let rows = (0..picks.count).map(|stretch| picks.row(stretch));
            let expected: Vec<f64> = rows.flat_map(|row| &all[row * 6..][..6]).copied().collect();
            for piece in [1, 12, 20, 1000] {
                let found = device.resident().in_pieces_of(piece).pick(picks).unwrap();
                assert_eq!(found, expected, "{dtype:?} {order:?}, every {every}, in pieces of {piece} numbers");
            }
        }
    }
}
