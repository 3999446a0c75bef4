//! Samples as the host hands them over: strided arrays, or a callback.

use std::ffi::c_void;

use super::callbacks::{SfeuotSampleCallback, sampler};
use super::config::{self, Versioned};
use super::panic::guard;
use super::status::{Failure, Outcome};
use super::tensor::{Count, Memory, SFEUOT_MAX_RANK, SfeuotTensor, Tensor, read_shape};
use crate::Context;
use crate::data::{
    Data, PerAxis, Sampler, check_sample_shape, check_sample_shapes, check_samples, check_weights, sample_shape,
};

/// One side of the problem, the source or the target: either an array of samples, or a callback that
/// draws fresh ones. Both sides have samples of the same shape.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotData {
    /// Set by sfeuot_data_init.
    pub struct_size: u32,
    /// With sample_callback: how many axes one sample has, 1 to SFEUOT_MAX_RANK - 1. Ignored with
    /// samples.
    pub sample_rank: u32,
    /// The samples: up to 2^32 - 1 of up to 2^20 numbers each, all finite. They are copied before
    /// the call returns. Device memory is read where it lies, in the order of the context's stream.
    /// NULL with sample_callback.
    pub samples: *const SfeuotTensor,
    /// How often each sample is drawn, relative to the others: a tensor of rank 1 with one number
    /// for each sample, finite, >= 0, not all zero. Only ratios matter, as the total mass is 1 on
    /// both sides. It is copied as well, from device memory all that its elements span, up to 2^36
    /// bytes. NULL draws all alike. Only with samples.
    pub weights: *const SfeuotTensor,
    /// Draws samples whenever the trainer needs some. NULL with samples.
    pub sample_callback: SfeuotSampleCallback,
    /// Passed to sample_callback. It has to live as long as the trainer.
    pub sample_userdata: *mut c_void,
    /// With sample_callback: the shape of one sample, sample_rank numbers, which are copied. Ignored
    /// with samples.
    pub sample_shape: *const i64,
}

// SAFETY: repr(C), struct_size first; the callback is an Option, for which NULL is a value, and the host vouches for
// others.
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

/// Both sides as the core takes them. Everything that their structs say is checked before the context is asked for
/// anything in device memory. Samples in device memory stay there; weights in device memory are copied into `weights`,
/// the source's first, and are read there.
///
/// SAFETY: `source`, `target` and what they point to are valid during `'a` as the header says.
pub(super) unsafe fn read_sides<'a>(
    context: &Context,
    source: *const SfeuotData,
    target: *const SfeuotData,
    weights: &'a mut [Vec<u64>; 2],
) -> Outcome<(Data<'a>, Data<'a>)> {
    let [source_weights, target_weights] = weights;
    // SAFETY: as promised.
    let (source, target) = unsafe { (Side::read(source, "source")?, Side::read(target, "target")?) };
    check_sample_shapes(source.sample_shape(), target.sample_shape())?;
    // SAFETY: as promised.
    unsafe { Ok((source.data(context, source_weights)?, target.data(context, target_weights)?)) }
}

/// One side, `side` being the argument's name, of which no element has been read.
struct Side {
    side: &'static str,
    input: Input,
}

#[expect(clippy::large_enum_variant, reason = "two of them, on the stack")]
enum Input {
    Array { samples: Tensor, weights: Option<Tensor> },
    Sampler { shape: PerAxis<usize>, sampler: Box<dyn Sampler> },
}

impl Side {
    /// SAFETY: `data` and what it points to are NULL or readable, but for the elements of its arrays.
    unsafe fn read(data: *const SfeuotData, side: &'static str) -> Outcome<Self> {
        // SAFETY: as promised.
        let data = unsafe { config::read(data, side) }?;
        let sampler = sampler(side, data.sample_callback, data.sample_userdata);
        let input = match (data.samples.is_null(), sampler) {
            (true, None) => {
                return Err(Failure::argument(format!(
                    "{side}.samples and {side}.sample_callback are both NULL; one of them must be set"
                )));
            }
            (false, Some(_)) => {
                return Err(Failure::argument(format!(
                    "{side}.samples and {side}.sample_callback are both set; only one of them may be"
                )));
            }
            (true, Some(_)) if !data.weights.is_null() => {
                return Err(Failure::argument(format!(
                    "{side}.weights is set together with {side}.sample_callback; weights belong to samples"
                )));
            }
            (true, Some(sampler)) => {
                // SAFETY: as promised.
                let shape =
                    unsafe { read_shape(data.sample_shape, data.sample_rank, SFEUOT_MAX_RANK - 1, Count::AtLeastOne) };
                let shape = shape.map_err(|failure| failure.of(format_args!("{side}.sample_")))?;
                check_sample_shape(side, &shape)?;
                Input::Sampler { shape, sampler }
            }
            (false, None) => {
                // SAFETY: as promised.
                let read = |tensor, name: &str| unsafe { Tensor::read(tensor, name, Count::AtLeastOne) };
                let samples = read(data.samples, &format!("{side}.samples"))?;
                let name = format!("{side}.weights");
                let weights = (!data.weights.is_null()).then(|| read(data.weights, &name)).transpose()?;
                let count = samples.shape[0];
                let dimension = samples.shape[1..].iter().try_fold(1usize, |all, &n| all.checked_mul(n));
                check_samples(side, count, dimension)?;
                if let Some(weights) = &weights {
                    check_weights(&weights.shape, count, &name)?;
                }
                Input::Array { samples, weights }
            }
        };
        Ok(Self { side, input })
    }

    fn sample_shape(&self) -> &[usize] {
        match &self.input {
            Input::Array { samples, .. } => sample_shape(&samples.shape),
            Input::Sampler { shape, .. } => shape,
        }
    }

    /// The side as the core takes it. Weights in device memory are copied into `copy`.
    ///
    /// SAFETY: the elements of its arrays are valid during `'a` as the header says.
    unsafe fn data<'a>(self, context: &Context, copy: &'a mut Vec<u64>) -> Outcome<Data<'a>> {
        let (samples, weights) = match self.input {
            Input::Sampler { shape, sampler } => return Ok(Data::Sampler { sample_shape: shape.to_vec(), sampler }),
            Input::Array { samples, weights } => (samples, weights),
        };
        let [name, weights_name] = ["samples", "weights"].map(|name| format!("{}.{name}", self.side));
        // SAFETY: as promised.
        let view = |weights: Tensor, copy| unsafe { weights.view(context, &weights_name, copy) };
        match samples.memory {
            Memory::Host => {
                // SAFETY: as promised.
                let samples = unsafe { samples.host_view(&name) }?;
                Ok(Data::Array { samples, weights: weights.map(|weights| view(weights, copy)).transpose()? })
            }
            Memory::Cuda => {
                // SAFETY: as promised.
                let samples = unsafe { samples.resident(context, self.side, &name) }?;
                Ok(Data::Resident { samples, weights: weights.map(|weights| view(weights, copy)).transpose()? })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::tensor::{SFEUOT_DTYPE_F32, SFEUOT_MEMORY_CUDA};
    use std::ptr::without_provenance;

    fn samples(shape: &[i64]) -> SfeuotTensor {
        SfeuotTensor {
            dtype: SFEUOT_DTYPE_F32,
            memory: SFEUOT_MEMORY_CUDA,
            data: without_provenance(1 << 20),
            rank: shape.len() as u32,
            shape: shape.as_ptr(),
            ..SfeuotTensor::defaults()
        }
    }

    fn side(samples: &SfeuotTensor, weights: Option<&SfeuotTensor>) -> SfeuotData {
        SfeuotData { samples, weights: weights.map_or(std::ptr::null(), |weights| weights), ..SfeuotData::defaults() }
    }

    /// On the processor device memory itself is refused, so what is refused before it has another sentence.
    #[test]
    fn both_sides_are_checked_before_device_memory_of_either_is_looked_at() {
        let config = crate::ContextConfig { device: crate::DeviceKind::Cpu, threads: 1, ..Default::default() };
        let context = Context::new(config).expect("a CPU");
        let text = |source: &SfeuotData, target: *const SfeuotData| {
            let mut weights = Default::default();
            // SAFETY: the structs are there; no element is read.
            let sides = unsafe { read_sides(&context, source, target, &mut weights) };
            sides.err().expect("nothing of it can be read").text
        };
        let (three, four, wide) = (samples(&[5, 3]), samples(&[5, 4]), samples(&[5, 1 << 40]));
        let weights = samples(&[4]);
        let source = side(&three, None);
        assert!(text(&source, std::ptr::null()).starts_with("target is NULL"));
        assert!(text(&source, &SfeuotData::defaults()).starts_with("target.samples and target.sample_callback"));
        assert!(text(&source, &side(&wide, None)).starts_with("target.samples has samples of"));
        assert!(text(&source, &side(&four, None)).starts_with("one sample has shape [3]"));
        assert!(text(&source, &side(&three, Some(&weights))).starts_with("target.weights has shape [4]"));
        assert!(text(&source, &side(&three, None)).starts_with("source.samples.data (0x100000) is device memory"));
    }
}
