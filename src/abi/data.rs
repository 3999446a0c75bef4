//! Samples as the host hands them over: strided arrays, or a callback.

use std::ffi::c_void;

use super::callbacks::{SfeuotSampleCallback, sampler};
use super::config::{self, Versioned};
use super::panic::guard;
use super::status::{Failure, Outcome};
use crate::data::{DType, Data, TensorView};

/// Element types, for SfeuotTensor.dtype.
///
/// 32-bit float.
pub const SFEUOT_DTYPE_F32: i32 = 0;
/// 64-bit float.
pub const SFEUOT_DTYPE_F64: i32 = 1;
/// 16-bit float, IEEE 754 binary16.
pub const SFEUOT_DTYPE_F16: i32 = 2;
/// 16-bit float, bfloat16.
pub const SFEUOT_DTYPE_BF16: i32 = 3;
/// Unsigned byte; scale and offset bring it where you want it, such as 1/127.5 and -1 for [-1, 1].
pub const SFEUOT_DTYPE_U8: i32 = 4;

/// The most axes a tensor can have, the first one included.
pub const SFEUOT_MAX_RANK: u32 = 8;

/// A strided array of the host's. The first axis counts samples, the others are the shape of one
/// sample: n points in three dimensions have shape {n, 3}, n colour pictures {n, 3, height, width}.
/// The value of an element is element * scale + offset; "data units" everywhere in this header are
/// the units of that value.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotTensor {
    /// Set by sfeuot_tensor_init.
    pub struct_size: u32,
    /// SFEUOT_DTYPE_*. Default SFEUOT_DTYPE_F32.
    pub dtype: i32,
    /// Element (0, ..., 0), aligned for its type. Only read, and only during the call the tensor is
    /// passed to.
    pub data: *const c_void,
    /// How many axes: length of shape and of strides, 1 to SFEUOT_MAX_RANK.
    pub rank: u32,
    /// Size of each axis, at least 1.
    pub shape: *const i64,
    /// Elements (not bytes) from one index of an axis to the next; negative and zero are allowed.
    /// NULL: row-major without gaps. Default NULL.
    pub strides: *const i64,
    /// Finite. Default 1.
    pub scale: f64,
    /// Finite. Default 0.
    pub offset: f64,
}

/// One side of the problem, the source or the target: either samples, or a callback that draws
/// fresh ones.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotData {
    /// Set by sfeuot_data_init.
    pub struct_size: u32,
    /// With sample_callback: how many axes one sample has, 1 to SFEUOT_MAX_RANK - 1. Otherwise
    /// ignored.
    pub sample_rank: u32,
    /// The samples; all values finite. They are copied before the call returns. NULL with
    /// sample_callback.
    pub samples: *const SfeuotTensor,
    /// How often each sample is drawn, relative to the others: rank 1, as long as samples has rows,
    /// finite, >= 0, not all zero. Copied as well. NULL: all alike. Only with samples.
    pub weights: *const SfeuotTensor,
    /// Draws samples whenever the trainer needs some. NULL with samples.
    pub sample_callback: SfeuotSampleCallback,
    /// Passed to sample_callback; has to live as long as the trainer.
    pub sample_userdata: *mut c_void,
    /// With sample_callback: the shape of one sample, sample_rank numbers, copied. Otherwise
    /// ignored.
    pub sample_shape: *const i64,
}

// SAFETY: repr(C), struct_size first, plain numbers and pointers.
unsafe impl Versioned for SfeuotTensor {
    const NAME: &'static str = "SfeuotTensor";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            dtype: SFEUOT_DTYPE_F32,
            data: std::ptr::null(),
            rank: 0,
            shape: std::ptr::null(),
            strides: std::ptr::null(),
            scale: 1.0,
            offset: 0.0,
        }
    }
}

// SAFETY: repr(C), struct_size first; the callback is an Option, for which NULL is a value, and the host vouches for others.
unsafe impl Versioned for SfeuotData {
    const NAME: &'static str = "SfeuotData";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            sample_rank: 0,
            samples: std::ptr::null(),
            weights: std::ptr::null(),
            sample_callback: None,
            sample_userdata: std::ptr::null_mut(),
            sample_shape: std::ptr::null(),
        }
    }
}

/// Fills tensor with the defaults: an empty array of 32-bit floats, scale 1, offset 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_tensor_init(tensor: *mut SfeuotTensor) -> i32 {
    // SAFETY: tensor is NULL or writable.
    guard("sfeuot_tensor_init", || unsafe { config::init(tensor, "tensor", SfeuotTensor::SIZES[0]) })
}

/// Fills data with the defaults: neither samples nor a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_data_init(data: *mut SfeuotData) -> i32 {
    // SAFETY: data is NULL or writable.
    guard("sfeuot_data_init", || unsafe { config::init(data, "data", SfeuotData::SIZES[0]) })
}

/// One side as the core takes it. `side` is the argument's name.
///
/// SAFETY: `data` and what it points to are valid during `'a` as the header says.
pub(super) unsafe fn read_side<'a>(data: *const SfeuotData, side: &'static str) -> Outcome<Data<'a>> {
    // SAFETY: as promised.
    let data = unsafe { config::read(data, side) }?;
    let sampler = sampler(side, data.sample_callback, data.sample_userdata);
    match (data.samples.is_null(), sampler) {
        (true, None) => Err(Failure::argument(format!(
            "{side}.samples and {side}.sample_callback are both NULL; one of them must be set"
        ))),
        (false, Some(_)) => Err(Failure::argument(format!(
            "{side}.samples and {side}.sample_callback are both set; only one of them may be"
        ))),
        (true, Some(_)) if !data.weights.is_null() => Err(Failure::argument(format!(
            "{side}.weights is set together with {side}.sample_callback; weights belong to samples"
        ))),
        (true, Some(sampler)) => {
            let (rank, most) = (data.sample_rank, SFEUOT_MAX_RANK - 1);
            // SAFETY: as promised.
            let sample_shape = unsafe { read_shape(data.sample_shape, rank, most, &format!("{side}.sample_")) }?;
            Ok(Data::Sampler { sample_shape, sampler })
        }
        (false, None) => {
            // SAFETY: as promised.
            let samples = unsafe { read_tensor(data.samples, &format!("{side}.samples")) }?;
            let weights = if data.weights.is_null() {
                None
            } else {
                // SAFETY: as promised.
                Some(unsafe { read_tensor(data.weights, &format!("{side}.weights")) }?)
            };
            Ok(Data::Array { samples, weights })
        }
    }
}

unsafe fn read_tensor<'a>(tensor: *const SfeuotTensor, name: &str) -> Outcome<TensorView<'a>> {
    // SAFETY: as promised to `read_side`.
    let tensor = unsafe { config::read(tensor, name) }?;
    let of_tensor = |failure: Failure| Failure::new(failure.status, format!("{name}.{}", failure.text));
    let dtype = DType::try_from(tensor.dtype).map_err(|error| of_tensor(error.into()))?;
    if tensor.data.is_null() {
        return Err(Failure::null(&format!("{name}.data")));
    }
    let align = match dtype {
        DType::F32 => align_of::<f32>(),
        DType::F64 => align_of::<f64>(),
        DType::F16 | DType::BF16 => align_of::<u16>(),
        DType::U8 => 1,
    };
    if !tensor.data.addr().is_multiple_of(align) {
        return Err(Failure::argument(format!(
            "{name}.data ({:p}) is misaligned; its address must be a multiple of {align}",
            tensor.data
        )));
    }
    // SAFETY: as promised to `read_side`.
    let shape = unsafe { read_shape(tensor.shape, tensor.rank, SFEUOT_MAX_RANK, &format!("{name}.")) }?;
    let strides = if tensor.strides.is_null() {
        None
    } else {
        // SAFETY: rank strides are there, as promised to `read_side`; the rank was checked with the shape.
        let strides = unsafe { read_numbers(tensor.strides, tensor.rank) };
        let too_far =
            |stride: i64| Failure::argument(format!("{name}.strides holds {stride}, which no address reaches"));
        Some(strides.map(|stride| isize::try_from(stride).map_err(|_| too_far(stride))).collect::<Outcome<Vec<_>>>()?)
    };
    let data = tensor.data.cast();
    // SAFETY: every index within the shape is readable during the call, as promised to `read_side`.
    unsafe { TensorView::from_raw(dtype, data, &shape, strides.as_deref(), tensor.scale, tensor.offset) }
        .map_err(|error| of_tensor(error.into()))
}

/// A shape of `rank` numbers; `prefix` comes before "rank" and "shape" in the sentences.
unsafe fn read_shape(shape: *const i64, rank: u32, most: u32, prefix: &str) -> Outcome<Vec<usize>> {
    if !(1..=most).contains(&rank) {
        return Err(Failure::argument(format!("{prefix}rank is {rank}; it must lie in 1..={most}")));
    }
    if shape.is_null() {
        return Err(Failure::null(&format!("{prefix}shape")));
    }
    let mut elements = 1usize;
    // SAFETY: rank numbers are there, as promised to `read_side`.
    unsafe { read_numbers(shape, rank) }
        .map(|size| {
            let axis = usize::try_from(size).ok().filter(|&size| size > 0).ok_or_else(|| {
                Failure::argument(format!("{prefix}shape holds {size}; every axis must be at least 1"))
            })?;
            // The core turns elements into floats of 8 bytes at most.
            elements = elements.checked_mul(axis).filter(|&n| n <= isize::MAX as usize / 8).ok_or_else(|| {
                Failure::argument(format!("{prefix}shape holds {size}, with which the array exceeds the address space"))
            })?;
            Ok(axis)
        })
        .collect()
}

unsafe fn read_numbers(numbers: *const i64, count: u32) -> impl Iterator<Item = i64> {
    // SAFETY: `count` numbers are readable; unaligned ones do no harm.
    (0..count as usize).map(move |i| unsafe { numbers.add(i).read_unaligned() })
}
