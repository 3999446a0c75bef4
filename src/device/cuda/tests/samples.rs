//! Samples in device memory: moments, normalised rows, fingerprints and refusals are those of the host, to the bit.

use super::guarded::Buffer;
use super::host::{Argument, arguments_of, available, launch};
use super::support::{cases, normals};
use crate::data::{
    ArrayLayout, Components, DType, Data, DataSource, Gathered, Normalisation, Normalised, Resident, ResidentRows,
    RowBlocks, Sides, TensorView,
};
use crate::error::Result;
use half::{bf16, f16};
use proptest::prelude::*;
use std::rc::Rc;
use std::sync::Arc;

const TYPES: [DType; 5] = [DType::F32, DType::F64, DType::F16, DType::BF16, DType::U8];

/// An array in memory that kernels read, and the host as well.
#[derive(Clone)]
struct Array {
    bytes: Rc<Buffer<u8>>,
    /// Of the element with index 0 on every axis.
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

/// The kernels, launched as `CudaSamples` does but in small pieces and on any number of blocks.
struct OnDevice {
    array: Array,
    /// Blocks of rows in a piece.
    in_piece: usize,
    grid: u32,
    seed: u64,
}

const THREADS: u32 = 64;

impl OnDevice {
    fn run(&self, kernel: &str, grid: u32, components: &Option<Buffer<isize>>, even: isize, more: &[Argument]) {
        let layout = self.array.layout();
        let data = (self.array.bytes.address() + self.array.first) as u64;
        let samples: &mut [Argument] = arguments_of![
            data,
            layout.dtype() as u32,
            layout.between_rows() as u64,
            even as u64,
            components.as_ref(),
            layout.scale(),
            layout.offset(),
        ];
        launch(kernel, [grid, 1, 1], [THREADS, 1, 1], self.seed, &mut [&*samples, more].concat());
    }

    fn components(&self) -> (Option<Buffer<isize>>, isize) {
        match self.array.layout().components().unwrap() {
            Components::Even(distance) => (None, distance),
            Components::Listed(places) => (Some(Buffer::of(&places)), 0),
        }
    }

    fn found(&self) -> Buffer<u64> {
        Buffer::of(&vec![u64::MAX; (self.grid * THREADS / 32) as usize])
    }
}

fn least(found: &Buffer<u64>) -> Option<u64> {
    found.iter().copied().min().filter(|&least| least != u64::MAX)
}

struct Rows(Buffer<f32>);

// SAFETY: whole memory of its own, which no other thread looks at.
unsafe impl Send for Rows {}
// SAFETY: as above.
unsafe impl Sync for Rows {}

impl ResidentRows for Rows {
    fn address(&self) -> u64 {
        self.0.address() as u64
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(&self.0[first..first + out.len()]);
        Ok(())
    }
}

impl Resident for OnDevice {
    fn shape(&self) -> &[usize] {
        &self.array.shape
    }

    fn gather(&self, blocks: &RowBlocks, weights: Option<&[f64]>) -> Result<Gathered> {
        let layout = self.array.layout();
        let (count, dimension) = (layout.count(), layout.dimension());
        let (components, even) = self.components();
        let start = blocks.list.iter().position(|block| block.weight != 0.0);
        let (mean, spread, found) =
            (Buffer::of(&vec![0f64; dimension]), Buffer::of(&vec![0f64; dimension]), self.found());
        for piece in (0..blocks.list.len()).step_by(self.in_piece) {
            let list = Buffer::of(&blocks.list[piece..blocks.list.len().min(piece + self.in_piece)]);
            let first = piece * blocks.rows;
            let rows = (count - first).min(self.in_piece * blocks.rows);
            let weights = weights.map(|weights| Buffer::of(&weights[first..first + rows]));
            let means = Buffer::<f64>::new(list.len() * dimension);
            let start = start.and_then(|start| start.checked_sub(piece)).unwrap_or(usize::MAX);
            let common: &mut [Argument] = arguments_of![
                first as u64,
                rows as u32,
                dimension as u32,
                blocks.rows as u32,
                &list,
                weights.as_ref(),
                &means,
            ];
            let of_means = [&*common, arguments_of![&found]].concat();
            self.run("samples_means", self.grid, &components, even, &of_means);
            let of_spreads = [&*common, arguments_of![start as u32, &mean, &spread]].concat();
            self.run("samples_spreads", dimension.div_ceil(32) as u32, &components, even, &of_spreads);
        }
        Ok(Gathered { mean: mean.to_vec(), spread: spread.to_vec(), not_finite: least(&found) })
    }

    fn normalise(&self, units: &Normalisation) -> Result<Normalised> {
        let layout = self.array.layout();
        let (count, dimension) = (layout.count(), layout.dimension());
        let (components, even) = self.components();
        let rows = Buffer::<f32>::new(count * dimension);
        let (wrong, far, shift) = (self.found(), self.found(), Buffer::of(&units.shift));
        self.run(
            "samples_normalise",
            self.grid,
            &components,
            even,
            arguments_of![count as u32, dimension as u32, &shift, units.scale, &rows, &wrong, &far,],
        );
        Ok(Normalised { rows: Arc::new(Rows(rows)), not_finite: least(&wrong), beyond: least(&far) })
    }

    fn value(&self, number: u64) -> Result<f64> {
        let layout = self.array.layout();
        let dimension = layout.dimension() as u64;
        let place = layout.place((number / dimension) as usize, (number % dimension) as usize);
        let size = layout.dtype().size();
        let at = self.array.first.strict_add_signed(place * size as isize);
        Ok(layout.value(&self.array.bytes[at..at + size]))
    }
}

/// What a trainer sees of both sides, in bits; or the sentence of a refusal.
fn seen(source: Data<'_>, target: Data<'_>, units: Option<&Normalisation>) -> std::result::Result<Vec<u64>, String> {
    let sentence = |error: crate::Error| error.to_string();
    let mut sides = Sides::check(source, target).map_err(sentence)?;
    let mut bits = Vec::new();
    let measured = match units {
        Some(units) => units.clone(),
        None => {
            let measured = sides.measure(None).map_err(sentence)?;
            for side in &measured.spreads {
                bits.extend(side.mean.iter().chain(side.variances.iter()).map(|x| x.to_bits()));
            }
            measured.units
        }
    };
    bits.extend(measured.shift.iter().chain([&measured.scale]).map(|x| x.to_bits()));
    let (source, target) = sides.prepare(&measured, &measured).map_err(sentence)?;
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
        in_piece in 1usize..4, grid in 1u32..4, seed in any::<u64>(), scale in 0.1f64..3.0, offset in -9.0f64..9.0,
        zeros in 0usize..2, bad in prop::option::of((any::<u32>(), prop::sample::select(vec![f64::NAN, f64::INFINITY, 1e300]))),
        resumed in any::<bool>(),
    ) {
        if !available() {
            return Ok(());
        }
        let [n, a, b] = shape;
        let mut values: Vec<f64> = normals(seed, n * a * b).into_iter().map(f64::from).collect();
        if let Some((at, value)) = bad {
            let at = at as usize % values.len();
            values[at] = value;
        }
        let source = array(dtype, shape, order, &values, scale, offset);
        let target = array(DType::F32, [2, a, b], Order::Rows, &values[..1], 1.0, 0.0);
        // A stretch of zeros, longer than a block of rows.
        let from = zeros * n / 3;
        let weights: Vec<f32> = normals(!seed, n).iter().enumerate()
            .map(|(i, x)| if i + 1 < n && (from..2 * from).contains(&i) { 0.0 } else { x.abs() }).collect();
        let weights = weighted.then(|| TensorView::from_f32(&weights, &[n]).unwrap());
        let units = Normalisation { shift: vec![offset; a * b].into(), scale: 0.7 };
        let units = resumed.then_some(&units);
        let host = Data::Array { samples: source.view(), weights: weights.clone() };
        let expected = seen(host, Data::array(target.view()), units);
        let device = OnDevice { array: source.clone(), in_piece, grid, seed };
        let device = Data::Resident { samples: Box::new(device), weights };
        let found = seen(device, Data::array(target.view()), units);
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn short_floats_of_every_exponent_are_read_as_on_the_host() {
    if !available() {
        return;
    }
    for dtype in [DType::F16, DType::BF16] {
        // Those that are infinite or not a number are refused, on the host as well.
        let exponent = if dtype == DType::F16 { 0x7c00 } else { 0x7f80 };
        let bits: Vec<u16> = (0..=u16::MAX).step_by(13).filter(|bits| bits & exponent != exponent).collect();
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_ne_bytes()).collect();
        let shape = vec![bits.len(), 1];
        let bytes = Rc::new(Buffer::of(&bytes));
        let array = Array { bytes, first: 0, dtype, shape, strides: vec![1, 1], scale: 1.0, offset: 0.0 };
        let units = Normalisation { shift: vec![0.0].into(), scale: 1.0 };
        let expected = seen(Data::array(array.view()), Data::array(array.view()), Some(&units));
        let device = OnDevice { array: array.clone(), in_piece: 8, grid: 2, seed: 1 };
        let device = Data::Resident { samples: Box::new(device), weights: None };
        assert!(expected.is_ok() && seen(device, Data::array(array.view()), Some(&units)) == expected);
    }
}

#[test]
fn the_first_of_two_bad_values_is_told_as_the_host_tells_it() {
    if !available() {
        return;
    }
    let units = Normalisation { shift: vec![0.0; 2].into(), scale: 0.5 };
    // Blocks of 2048 rows: a value that is not finite comes first inside one, whatever is before it.
    for [wrong, far] in [[5000, 40], [40, 5000], [100, 60], [4095, 4096], [4096, 4095], [12_001, 12_000]] {
        let mut values: Vec<f64> = normals(3, 14_000).into_iter().map(f64::from).collect();
        (values[wrong], values[far]) = (f64::NEG_INFINITY, -1e39);
        let array = array(DType::F64, [7000, 2, 1], Order::Rows, &values, 1.0, 0.0);
        for units in [None, Some(&units)] {
            let expected = seen(Data::array(array.view()), Data::array(array.view()), units);
            let device = OnDevice { array: array.clone(), in_piece: 2, grid: 3, seed: 1 };
            let device = Data::Resident { samples: Box::new(device), weights: None };
            assert!(expected.is_err());
            assert_eq!(seen(device, Data::array(array.view()), units), expected, "{wrong} {far}");
        }
    }
}
