//! Plain arrays and flat samplers as a side's samples, each set by one call.

use std::ffi::c_void;

use super::arguments::{array, at_least_one};
use super::callbacks::SfeuotSampleCallback;
use super::config::{self, Versioned as _};
use super::data::SfeuotData;
use super::panic::guard;
use super::status::{Failure, Outcome};
use super::tensor::{SFEUOT_DTYPE_F32, SFEUOT_DTYPE_U8};

/// Takes `change` of the defaults, and keeps the weights, flip and crop.
///
/// SAFETY: `data` is NULL or readable and writable for the `struct_size` it begins with.
unsafe fn set(data: *mut SfeuotData, change: impl FnOnce(&mut SfeuotData)) -> Outcome<()> {
    // SAFETY: as promised.
    let before = unsafe { config::read(data.cast_const(), "data") }?;
    let whole = SfeuotData::defaults();
    let least = SfeuotData::SIZES[1] as u32;
    if before.struct_size < least {
        return Err(Failure::argument(format!(
            "data.struct_size is {}, but rows need a SfeuotData of {} bytes: fill it by sfeuot_data_init_3, which C and \
             C++ call as sfeuot_data_init",
            before.struct_size, least
        )));
    }
    let SfeuotData { weights, flip, crop, .. } = before;
    let mut after = SfeuotData { weights, flip, crop, ..whole };
    change(&mut after);
    // SAFETY: as promised.
    unsafe { config::output(data, "data")?.write(&after) };
    Ok(())
}

/// Makes rows of numbers the samples of data, which sfeuot_data_init has filled: rows x dimension
/// 32-bit floats in host memory, one sample after the other without gaps. It takes the place of
/// samples, rows and callback that were set before and leaves the weights. Nothing is copied yet:
/// sfeuot_trainer_create reads the numbers, and they have to stay until it returns.
///   rows       1 to 2^32 - 1
///   dimension  1 to 2^20
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_data_set_rows(
    data: *mut SfeuotData,
    samples: *const f32,
    rows: u64,
    dimension: u64,
) -> i32 {
    guard("sfeuot_data_set_rows", || {
        check(samples, rows, dimension)?;
        let samples: *const c_void = samples.cast();
        // SAFETY: data is NULL or readable and writable.
        unsafe { set(data, |data| rows_of(data, samples, SFEUOT_DTYPE_F32, [rows, dimension], [1.0, 0.0])) }
    })
}

/// Does the same for rows of bytes, such as pixels. The value of a byte is byte * scale + offset.
///   scale   finite and not 0, such as 1.0 / 255
///   offset  finite
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_data_set_bytes(
    data: *mut SfeuotData,
    samples: *const u8,
    rows: u64,
    dimension: u64,
    scale: f64,
    offset: f64,
) -> i32 {
    guard("sfeuot_data_set_bytes", || {
        check(samples, rows, dimension)?;
        if !(scale.is_finite() && scale != 0.0) {
            return Err(Failure::argument(format!("scale is {scale}; it must be finite and not zero")));
        }
        if !offset.is_finite() {
            return Err(Failure::argument(format!("offset is {offset}; it must be finite")));
        }
        let samples: *const c_void = samples.cast();
        // SAFETY: data is NULL or readable and writable.
        unsafe { set(data, |data| rows_of(data, samples, SFEUOT_DTYPE_U8, [rows, dimension], [scale, offset])) }
    })
}

/// Makes a callback the samples of data, which sfeuot_data_init has filled: it draws samples of
/// dimension numbers. It takes the place of samples, rows, callback and weights that were set
/// before.
///   callback   not NULL
///   userdata   passed to callback; it has to live as long as the trainer
///   dimension  1 to 2^20
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_data_set_sampler(
    data: *mut SfeuotData,
    callback: SfeuotSampleCallback,
    userdata: *mut c_void,
    dimension: u64,
) -> i32 {
    guard("sfeuot_data_set_sampler", || {
        if callback.is_none() {
            return Err(Failure::null("callback"));
        }
        at_least_one("dimension", dimension)?;
        let change = |data: &mut SfeuotData| {
            let (sample_callback, sample_userdata) = (callback, userdata);
            let (weights, row_dimension) = (std::ptr::null(), dimension);
            *data = SfeuotData { sample_callback, sample_userdata, weights, row_dimension, ..*data };
        };
        // SAFETY: data is NULL or readable and writable.
        unsafe { set(data, change) }
    })
}

/// What can be said of rows without their side; the core has the other limits.
fn check<T>(samples: *const T, rows: u64, dimension: u64) -> Outcome<()> {
    at_least_one("rows", rows)?;
    at_least_one("dimension", dimension)?;
    let bytes = rows.checked_mul(dimension).and_then(|numbers| numbers.checked_mul(size_of::<T>() as u64));
    if bytes.is_none_or(|bytes| bytes > isize::MAX as u64) {
        return Err(Failure::argument(format!(
            "rows is {rows} and dimension is {dimension}; so many numbers exceed the address space"
        )));
    }
    array(samples, "samples", rows, dimension as usize).map(drop)
}

fn rows_of(
    data: &mut SfeuotData,
    rows: *const c_void,
    row_dtype: i32,
    [row_count, row_dimension]: [u64; 2],
    [row_scale, row_offset]: [f64; 2],
) {
    *data = SfeuotData { rows, row_dtype, row_count, row_dimension, row_scale, row_offset, ..*data };
}
