//! Samples as the host hands them over: strided arrays, or a callback.

use std::ffi::c_void;

use super::callbacks::{SfeuotSampleCallback, sampler};
use super::config::{self, Versioned};
use super::panic::guard;
use super::status::{Failure, Outcome};
use super::tensor::{Count, SFEUOT_MAX_RANK, SfeuotTensor, Tensor, read_shape};
use crate::Context;
use crate::data::{Data, check_samples};

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
    /// The samples; all values finite. They are copied before the call returns, device memory in the
    /// order of the context's stream: whatever its elements span (up to 2^36 bytes), through the
    /// host. NULL with sample_callback.
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

/// Fills data with the defaults: neither samples nor a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_data_init(data: *mut SfeuotData) -> i32 {
    // SAFETY: data is NULL or writable.
    guard("sfeuot_data_init", || unsafe { config::init(data, "data", SfeuotData::SIZES[0]) })
}

/// What one side has on the GPU, copied for the length of a call.
#[derive(Default)]
pub(super) struct Copies {
    samples: Vec<u64>,
    weights: Vec<u64>,
}

/// One side as the core takes it. `side` is the argument's name.
///
/// SAFETY: `data` and what it points to are valid during `'a` as the header says.
pub(super) unsafe fn read_side<'a>(
    context: &Context,
    data: *const SfeuotData,
    side: &'static str,
    copies: &'a mut Copies,
) -> Outcome<Data<'a>> {
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
            // SAFETY: as promised.
            let shape =
                unsafe { read_shape(data.sample_shape, data.sample_rank, SFEUOT_MAX_RANK - 1, Count::AtLeastOne) };
            let sample_shape = shape.map_err(|failure| failure.of(format_args!("{side}.sample_")))?;
            Ok(Data::Sampler { sample_shape: sample_shape.to_vec(), sampler })
        }
        (false, None) => {
            // SAFETY: as promised.
            let read = |tensor, name: &str| unsafe { Tensor::read(tensor, name, Count::AtLeastOne) };
            let (samples_name, weights_name) = (format!("{side}.samples"), format!("{side}.weights"));
            let samples = read(data.samples, &samples_name)?;
            let weights = (!data.weights.is_null()).then(|| read(data.weights, &weights_name)).transpose()?;
            // Before anything is copied from a device.
            let dimension = samples.shape[1..].iter().try_fold(1usize, |all, &n| all.checked_mul(n));
            check_samples(side, samples.shape[0], dimension)?;
            // SAFETY: as promised.
            let samples = unsafe { samples.view(context, &samples_name, &mut copies.samples) }?;
            let copy = &mut copies.weights;
            // SAFETY: as promised.
            let weights = weights.map(|weights| unsafe { weights.view(context, &weights_name, copy) }).transpose()?;
            Ok(Data::Array { samples, weights })
        }
    }
}
