//! Samples as the host hands them over: strided arrays, or a callback.

use std::ffi::c_void;
use std::mem::offset_of;

use super::arguments::switch;
use super::callbacks::{SfeuotSampleCallback, sampler};
use super::config::{self, Versioned};
use super::panic::guard;
use super::status::{Failure, Outcome};
use super::tensor::{Count, Memory, SFEUOT_DTYPE_F32, SFEUOT_MAX_RANK, SfeuotTensor, Tensor, read_shape};
use crate::Context;
use crate::data::{
    Augmentation, Data, PerAxis, Sampler, check_sample_shape, check_sample_shapes, check_samples, check_weights,
    sample_shape,
};

/// One side of the problem, the source or the target: either an array of samples, or a callback that
/// draws fresh ones. Both sides have samples of the same shape. Rows of numbers one after the other
/// are set by one call, sfeuot_data_set_rows; arrays of any type, layout and place are tensors.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotData {
    /// Set by sfeuot_data_init.
    pub struct_size: u32,
    /// With sample_callback: how many axes one sample has, 1 to SFEUOT_MAX_RANK - 1, or 0 where it
    /// has row_dimension numbers. Ignored with samples.
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
    /// The samples as rows without gaps in host memory, row_count x row_dimension elements, in place
    /// of samples: sfeuot_data_set_rows sets them. They are copied before the call returns. NULL
    /// with samples or sample_callback.
    pub rows: *const c_void,
    /// With rows: the number of samples.
    pub row_count: u64,
    /// With rows, or with sample_callback where sample_rank is 0: the numbers of one sample.
    pub row_dimension: u64,
    /// With rows: SFEUOT_DTYPE_*.
    pub row_dtype: i32,
    /// Always 0.
    pub reserved: u32,
    /// With rows: the value of an element is element * row_scale + row_offset. Default 1.
    pub row_scale: f64,
    /// See row_scale. Default 0.
    pub row_offset: f64,
    /// 1: a picture, a sample of the shape { channels, height, width } or { height, width }, is
    /// drawn mirrored, left to right, half of the time. Which one is a function of the seed, the
    /// step and its place in the batch. Only with samples, and where networks are convolutional.
    /// All pixels of a channel then lie about one centre, so the common scale that sigma and tau
    /// are relative to is that about the channel's mean. Default 0.
    pub flip: i32,
    /// The most pixels by which a picture is moved up or down, and to either side, whenever it is
    /// drawn, less than the pixels of the shorter side; those of its edge are repeated. Under the
    /// same conditions as flip. A training that is resumed needs the same flip and crop. Default 0.
    pub crop: u32,
}

// SAFETY: repr(C), struct_size first; the callback is an Option, for which NULL is a value, and the host vouches for
// others.
unsafe impl Versioned for SfeuotData {
    const NAME: &'static str = "SfeuotData";
    const SIZES: &'static [usize] = &[offset_of!(Self, rows), offset_of!(Self, flip), size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            sample_rank: 0,
            samples: std::ptr::null(),
            weights: std::ptr::null(),
            sample_callback: None,
            sample_userdata: std::ptr::null_mut(),
            sample_shape: std::ptr::null(),
            rows: std::ptr::null(),
            row_count: 0,
            row_dimension: 0,
            row_dtype: SFEUOT_DTYPE_F32,
            reserved: 0,
            row_scale: 1.0,
            row_offset: 0.0,
            flip: 0,
            crop: 0,
        }
    }
}

/// Fills data with the defaults: neither samples nor a callback.
///
/// In C and C++ call this name: a macro below makes it sfeuot_data_init_3. The symbol itself is for
/// programs that were built when the struct ended with sample_shape, and fills no more than that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_data_init(data: *mut SfeuotData) -> i32 {
    // SAFETY: data is NULL or writable.
    guard("sfeuot_data_init", || unsafe { config::init(data, "data", SfeuotData::SIZES[0]) })
}

/// As sfeuot_data_init, for programs that were built when the struct ended with row_offset.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_data_init_2(data: *mut SfeuotData) -> i32 {
    // SAFETY: data is NULL or writable.
    guard("sfeuot_data_init_2", || unsafe { config::init(data, "data", SfeuotData::SIZES[1]) })
}

/// The function that sfeuot_data_init names in C and C++. Bindings to other languages call it
/// themselves, with a struct as the header has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_data_init_3(data: *mut SfeuotData) -> i32 {
    // SAFETY: data is NULL or writable.
    guard("sfeuot_data_init_3", || unsafe { config::init(data, "data", SfeuotData::SIZES[2]) })
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
    Array { samples: Tensor, weights: Option<Tensor>, augmentation: Augmentation },
    Sampler { shape: PerAxis<usize>, sampler: Box<dyn Sampler> },
}

impl Side {
    /// SAFETY: `data` and what it points to are NULL or readable, but for the elements of its arrays.
    unsafe fn read(data: *const SfeuotData, side: &'static str) -> Outcome<Self> {
        // SAFETY: as promised.
        let data = unsafe { config::read(data, side) }?;
        let sampler = sampler(side, data.sample_callback, data.sample_userdata);
        let augmentation = Augmentation { flip: switch(&format!("{side}.flip"), data.flip)?, crop: data.crop };
        let both = |a: &str, b: &str| {
            Err(Failure::argument(format!("{side}.{a} and {side}.{b} are both set; only one of them may be")))
        };
        if !data.samples.is_null() && !data.rows.is_null() {
            return both("samples", "rows");
        }
        let array = if data.rows.is_null() { "samples" } else { "rows" };
        let has_array = !(data.samples.is_null() && data.rows.is_null());
        let input = match (has_array, sampler) {
            (false, None) => {
                return Err(Failure::argument(format!(
                    "{side}.samples and {side}.sample_callback are both NULL, and so is {side}.rows; one of them must \
                     be set"
                )));
            }
            (true, Some(_)) => return both(array, "sample_callback"),
            (false, Some(_)) if !data.weights.is_null() => {
                return Err(Failure::argument(format!(
                    "{side}.weights is set together with {side}.sample_callback; weights belong to samples"
                )));
            }
            (false, Some(_)) if augmentation != Augmentation::default() => {
                return Err(Failure::argument(format!(
                    "{side}.{} is set together with {side}.sample_callback, which draws samples as it wants them",
                    if augmentation.flip { "flip" } else { "crop" }
                )));
            }
            (false, Some(sampler)) => {
                let flat = i64::try_from(data.row_dimension).unwrap_or(i64::MAX);
                let (shape, rank): (*const i64, u32) = match data.sample_rank {
                    0 if flat > 0 => (&flat, 1),
                    rank => (data.sample_shape, rank),
                };
                // SAFETY: as promised.
                let shape = unsafe { read_shape(shape, rank, SFEUOT_MAX_RANK - 1, Count::AtLeastOne) };
                let shape = shape.map_err(|failure| failure.of(format_args!("{side}.sample_")))?;
                check_sample_shape(side, &shape)?;
                Input::Sampler { shape, sampler }
            }
            (true, None) => {
                // SAFETY: as promised.
                let read = |tensor, name: &str| unsafe { Tensor::read(tensor, name, Count::AtLeastOne) };
                let shape = [data.row_count, data.row_dimension].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
                let rows = SfeuotTensor {
                    dtype: data.row_dtype,
                    data: data.rows,
                    rank: 2,
                    shape: shape.as_ptr(),
                    scale: data.row_scale,
                    offset: data.row_offset,
                    ..SfeuotTensor::defaults()
                };
                let tensor = if data.rows.is_null() { data.samples } else { &rows };
                let samples = read(tensor, &format!("{side}.{array}"))?;
                let name = format!("{side}.weights");
                let weights = (!data.weights.is_null()).then(|| read(data.weights, &name)).transpose()?;
                let count = samples.shape[0];
                let dimension = samples.shape[1..].iter().try_fold(1usize, |all, &n| all.checked_mul(n));
                check_samples(side, count, dimension)?;
                if let Some(weights) = &weights {
                    check_weights(&weights.shape, count, &name)?;
                }
                augmentation.of_samples(side, sample_shape(&samples.shape))?;
                Input::Array { samples, weights, augmentation }
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
        let (samples, weights, augmentation) = match self.input {
            Input::Sampler { shape, sampler } => return Ok(Data::Sampler { sample_shape: shape.to_vec(), sampler }),
            Input::Array { samples, weights, augmentation } => (samples, weights, augmentation),
        };
        let [name, weights_name] = ["samples", "weights"].map(|name| format!("{}.{name}", self.side));
        // SAFETY: as promised.
        let view = |weights: Tensor, copy| unsafe { weights.view(context, &weights_name, copy) };
        match samples.memory {
            Memory::Host => {
                // SAFETY: as promised.
                let samples = unsafe { samples.host_view(&name) }?;
                let weights = weights.map(|weights| view(weights, copy)).transpose()?;
                Ok(Data::Array { samples, weights, augmentation })
            }
            Memory::Cuda => {
                // SAFETY: as promised.
                let samples = unsafe { samples.resident(context, self.side, &name) }?;
                let weights = weights.map(|weights| view(weights, copy)).transpose()?;
                Ok(Data::Resident { samples, weights, augmentation })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::tensor::SFEUOT_MEMORY_CUDA;
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
