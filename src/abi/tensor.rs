//! Strided arrays of the host's, in its memory or in that of the GPU.

use std::ffi::c_void;

use super::arguments::switch;
use super::config::{self, Versioned};
use super::panic::guard;
use super::status::{Failure, Outcome};
use crate::Context;
use crate::data::{ArrayLayout, DType, Footprint, PerAxis, Resident, TensorView, TensorViewMut};

/// Element types, for SfeuotTensor.dtype.
///
/// ---
///
/// 32-bit float.
pub const SFEUOT_DTYPE_F32: i32 = 0;
/// 64-bit float.
pub const SFEUOT_DTYPE_F64: i32 = 1;
/// 16-bit float, IEEE 754 binary16.
pub const SFEUOT_DTYPE_F16: i32 = 2;
/// 16-bit float, bfloat16.
pub const SFEUOT_DTYPE_BF16: i32 = 3;
/// Unsigned byte. scale and offset map it to the range you want, such as 1/127.5 and -1 for [-1, 1].
pub const SFEUOT_DTYPE_U8: i32 = 4;

/// Where an array lies, for SfeuotTensor.memory.
///
/// ---
///
/// In the host's memory.
pub const SFEUOT_MEMORY_HOST: i32 = 0;
/// In the memory of the context's GPU, managed memory included. The memory has to belong to the GPU
/// and the CUDA context in use. What cudaMalloc gives belongs to the primary context.
pub const SFEUOT_MEMORY_CUDA: i32 = 1;

/// The most axes a tensor can have, the first one included.
pub const SFEUOT_MAX_RANK: u32 = 8;

/// A strided array of the host's. The first axis counts samples, and the others are the shape of one
/// sample: n points in three dimensions have shape {n, 3}, n colour pictures {n, 3, height, width}.
/// The value of an element is element * scale + offset. "Data units" everywhere in this header are
/// the units of that value.
///
/// The colours of width * height RGBA pixels of one byte a channel, as numbers from 0 to 1:
///   dtype = SFEUOT_DTYPE_U8, rank = 2, shape = {width * height, 3}, strides = {4, 1},
///   scale = 1.0 / 255
/// n pictures of bytes, one after the other, with rows that begin `pitch` bytes apart and colours as
/// numbers from -1 to 1, differ in their strides alone:
///   dtype = SFEUOT_DTYPE_U8, rank = 4, shape = {n, 3, height, width},
///   scale = 1 / 127.5, offset = -1
///   RGB pixels          strides = {height * pitch, 1, pitch, 3}
///   RGBX pixels         strides = {height * pitch, 1, pitch, 4}
///   BGRX pixels         strides = {height * pitch, -1, pitch, 4}, data = the first pixel + 2
///   a plane a channel   strides = {3 * height * pitch, height * pitch, pitch, 1}
///   from bottom to top  strides = {height * pitch, 1, -pitch, 3}, data = the start of the last row
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotTensor {
    /// Set by sfeuot_tensor_init.
    pub struct_size: u32,
    /// SFEUOT_DTYPE_*. Default SFEUOT_DTYPE_F32.
    pub dtype: i32,
    /// The address of element (0, ..., 0), aligned for its type. The library only reads there,
    /// except through the outputs of sessions. The call that takes the tensor says for how long it
    /// reads.
    pub data: *const c_void,
    /// The number of axes, which is the length of shape and of strides: 1 to SFEUOT_MAX_RANK.
    pub rank: u32,
    /// The size of each axis, at least 1. For a session the first one may be 0: there are no rows
    /// then, and data may be NULL.
    pub shape: *const i64,
    /// Elements (not bytes) from one index of an axis to the next. Negative numbers and zero are
    /// allowed. NULL means row-major without gaps. Default NULL.
    pub strides: *const i64,
    /// The factor of each element; finite, not 0. Default 1.
    pub scale: f64,
    /// What is added to each scaled element; finite. Default 0.
    pub offset: f64,
    /// SFEUOT_MEMORY_*: the memory that data is an address in. shape and strides always lie in host
    /// memory. Default SFEUOT_MEMORY_HOST.
    pub memory: i32,
    /// 1 if the memory may not be written, so that the tensor is refused as an output; otherwise 0.
    /// Default 0.
    pub read_only: i32,
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
            memory: SFEUOT_MEMORY_HOST,
            read_only: 0,
        }
    }
}

/// Fills tensor with the defaults: an empty array of 32-bit floats in host memory, scale 1, offset
/// 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_tensor_init(tensor: *mut SfeuotTensor) -> i32 {
    // SAFETY: tensor is NULL or writable.
    guard("sfeuot_tensor_init", || unsafe { config::init(tensor, "tensor", SfeuotTensor::SIZES[0]) })
}

/// Which memory an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    Host,
    Cuda,
}

/// What the first axis may count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    AtLeastOne,
    /// None as well: there is no element then, and `data` may be NULL.
    Any,
}

/// The most bytes of device memory that are copied for one tensor: one that spans more is rather a mistake in its
/// strides, and a host that overcommits its memory would promise the copy and end the process later.
const MOST_COPIED: u64 = 1 << 36;

/// A tensor of the host's with its numbers checked. Its elements are not looked at.
pub(super) struct Tensor {
    pub(super) dtype: DType,
    pub(super) memory: Memory,
    pub(super) read_only: bool,
    /// Aligned, and not NULL unless there is no element.
    pub(super) data: *const c_void,
    pub(super) shape: PerAxis<usize>,
    pub(super) strides: Option<PerAxis<isize>>,
    pub(super) scale: f64,
    pub(super) offset: f64,
}

impl Tensor {
    /// `name` is the argument's.
    ///
    /// SAFETY: `tensor` and its shape and strides are NULL or readable.
    pub(super) unsafe fn read(tensor: *const SfeuotTensor, name: &str, count: Count) -> Outcome<Self> {
        // SAFETY: as promised.
        let tensor = unsafe { config::read(tensor, name) }?;
        // SAFETY: as promised.
        unsafe { Self::checked(&tensor, count) }.map_err(|failure| failure.of(format_args!("{name}.")))
    }

    unsafe fn checked(tensor: &SfeuotTensor, count: Count) -> Outcome<Self> {
        let dtype = DType::try_from(tensor.dtype)?;
        let memory = Memory::try_from(tensor.memory)?;
        let read_only = switch("read_only", tensor.read_only)?;
        // SAFETY: as promised to `read`.
        let shape = unsafe { read_shape(tensor.shape, tensor.rank, SFEUOT_MAX_RANK, count) }?;
        if tensor.data.is_null() && shape[0] > 0 {
            return Err(Failure::null("data"));
        }
        let align = dtype.align();
        if !tensor.data.addr().is_multiple_of(align) {
            return Err(Failure::argument(format!(
                "data ({:p}) is misaligned; its address must be a multiple of {align}",
                tensor.data
            )));
        }
        let strides = if tensor.strides.is_null() {
            None
        } else {
            let too_far = |stride| Failure::argument(format!("strides holds {stride}, which no address reaches"));
            // SAFETY: rank strides are there, as promised to `read`; the rank was checked with the shape.
            Some(unsafe {
                read_numbers(tensor.strides, tensor.rank, |stride| isize::try_from(stride).map_err(|_| too_far(stride)))
            }?)
        };
        let (data, scale, offset) = (tensor.data, tensor.scale, tensor.offset);
        Ok(Self { dtype, memory, read_only, data, shape, strides, scale, offset })
    }

    /// The tensor for the core to read. What lies on the context's GPU is first copied into `copy`, in the order of its
    /// stream.
    ///
    /// SAFETY: every element within the shape is readable during `'a` and written by nobody.
    pub(super) unsafe fn view<'a>(
        &self,
        context: &Context,
        name: &str,
        copy: &'a mut Vec<u64>,
    ) -> Outcome<TensorView<'a>> {
        let data = match self.memory {
            Memory::Host => self.data.cast::<u8>(),
            Memory::Cuda => {
                let small = self.span().filter(|&(_, bytes)| bytes as u64 <= MOST_COPIED);
                let (before, bytes) = small.ok_or_else(|| {
                    Failure::argument(format!(
                        "{name}.strides and {name}.shape span more than {MOST_COPIED} bytes, or leave the address \
                         space; as much is copied from device memory at most"
                    ))
                })?;
                let start = (self.data.addr() - before) as u64;
                *copy = context.read_device(&format!("{name}.data"), start, bytes)?;
                copy.as_ptr().cast::<u8>().wrapping_add(before)
            }
        };
        // SAFETY: as promised; a copy holds every byte that the strides reach.
        unsafe { self.view_at(name, data) }
    }

    /// The tensor's elements, which are in host memory.
    ///
    /// SAFETY: every element within the shape is readable during `'a` and written by nobody.
    pub(super) unsafe fn host_view<'a>(&self, name: &str) -> Outcome<TensorView<'a>> {
        // SAFETY: as promised.
        unsafe { self.view_at(name, self.data.cast()) }
    }

    /// The tensor's elements, of which the first is at `data`.
    ///
    /// SAFETY: every element within the shape is readable from there during `'a` and written by nobody.
    unsafe fn view_at<'a>(&self, name: &str, data: *const u8) -> Outcome<TensorView<'a>> {
        let strides = self.strides.as_deref();
        // SAFETY: as promised.
        unsafe { TensorView::from_raw(self.dtype, data, &self.shape, strides, self.scale, self.offset) }
            .map_err(|error| Failure::from(error).of(format_args!("{name}.")))
    }

    /// The tensor as samples of `side` that stay on the context's GPU, where their memory is.
    ///
    /// SAFETY: every element within the shape is readable during `'a` and written by nobody.
    pub(super) unsafe fn resident<'a>(
        &self,
        context: &Context,
        side: &'static str,
        name: &str,
    ) -> Outcome<Box<dyn Resident + 'a>> {
        let (before, bytes) = self.span().ok_or_else(|| {
            Failure::argument(format!("{name}.strides and {name}.shape together leave the address space"))
        })?;
        let layout = ArrayLayout::new(self.dtype, &self.shape, self.strides.as_deref(), self.scale, self.offset)
            .map_err(|error| Failure::from(error).of(format_args!("{name}.")))?;
        let data = self.data.addr();
        let memory = ((data - before) as u64, bytes);
        // SAFETY: the span is that of the elements within the shape; the rest is promised.
        Ok(unsafe { context.resident(side, &format!("{name}.data"), memory, data as u64, layout) }?)
    }

    /// The tensor's elements in host memory, to be written.
    ///
    /// SAFETY: every element within the shape is writable during `'a`, and nobody else touches it, the input of the call
    /// that writes there excepted.
    pub(super) unsafe fn host_view_mut<'a>(&self, name: &str) -> Outcome<TensorViewMut<'a>> {
        let (data, strides) = (self.data.cast_mut().cast(), self.strides.as_deref());
        // SAFETY: as promised.
        unsafe { TensorViewMut::from_raw(self.dtype, data, &self.shape, strides, self.scale, self.offset) }
            .map_err(|error| Failure::from(error).of(format_args!("{name}.")))
    }

    /// The bytes of the elements; `None` where they leave the address space.
    pub(super) fn footprint(&self) -> Option<Footprint> {
        Footprint::new(self.data.addr(), self.dtype.size(), &self.shape, self.strides.as_deref())
    }

    /// How many bytes before `data` the elements begin, and how many bytes they span; `None` where that leaves the
    /// address space.
    fn span(&self) -> Option<(usize, usize)> {
        self.footprint().map(|footprint| (self.data.addr() - footprint.start(), footprint.bytes()))
    }
}

/// A shape of `rank` numbers, the first of which may be 0 where `count` says so. Errors begin with "rank" or "shape".
///
/// SAFETY: `shape` is NULL or has as many numbers.
pub(super) unsafe fn read_shape(shape: *const i64, rank: u32, most: u32, count: Count) -> Outcome<PerAxis<usize>> {
    if !(1..=most).contains(&rank) {
        return Err(Failure::argument(format!("rank is {rank}; it must lie in 1..={most}")));
    }
    if shape.is_null() {
        return Err(Failure::null("shape"));
    }
    let mut elements = 1usize;
    let mut least = if count == Count::Any { 0 } else { 1 };
    let axis = |size: i64| {
        let least = std::mem::replace(&mut least, 1);
        let axis = usize::try_from(size)
            .ok()
            .filter(|&size| size >= least)
            .ok_or_else(|| Failure::argument(format!("shape holds {size}; every axis must be at least 1")))?;
        // The core turns elements into floats of 8 bytes at most.
        elements = elements.checked_mul(axis.max(1)).filter(|&n| n <= isize::MAX as usize / 8).ok_or_else(|| {
            Failure::argument(format!("shape holds {size}, with which the array exceeds the address space"))
        })?;
        Ok(axis)
    };
    // SAFETY: as promised.
    unsafe { read_numbers(shape, rank, axis) }
}

/// SAFETY: `rank` numbers are readable; it is at most `MAX_RANK`.
unsafe fn read_numbers<T: Copy + Default>(
    numbers: *const i64,
    rank: u32,
    mut convert: impl FnMut(i64) -> Outcome<T>,
) -> Outcome<PerAxis<T>> {
    (0..rank as usize)
        // SAFETY: as promised; unaligned ones do no harm.
        .map(|axis| convert(unsafe { numbers.add(axis).read_unaligned() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::without_provenance;

    fn tensor(address: usize, dtype: i32, shape: &[i64], strides: Option<&[i64]>) -> Tensor {
        let tensor = SfeuotTensor {
            dtype,
            data: without_provenance(address),
            rank: shape.len() as u32,
            shape: shape.as_ptr(),
            strides: strides.map_or(std::ptr::null(), <[i64]>::as_ptr),
            memory: SFEUOT_MEMORY_CUDA,
            ..SfeuotTensor::defaults()
        };
        // SAFETY: shape and strides are there.
        unsafe { Tensor::read(&tensor, "t", Count::AtLeastOne) }.expect("a sound tensor")
    }

    #[test]
    fn a_span_holds_what_the_strides_reach_on_both_sides() {
        let span = |dtype, shape: &[i64], strides: Option<&[i64]>| tensor(1 << 20, dtype, shape, strides).span();
        assert_eq!(span(SFEUOT_DTYPE_F32, &[5, 3], None), Some((0, 60)));
        assert_eq!(span(SFEUOT_DTYPE_F32, &[5, 3], Some(&[3, 1])), Some((0, 60)));
        assert_eq!(span(SFEUOT_DTYPE_F16, &[5, 3], Some(&[-10, 2])), Some((80, 80 + 2 * 5)));
        assert_eq!(span(SFEUOT_DTYPE_F64, &[5, 3], Some(&[-3, -1])), Some((14 * 8, 15 * 8)));
        assert_eq!(span(SFEUOT_DTYPE_U8, &[1000, 3], Some(&[0, 1])), Some((0, 3)));
        assert_eq!(span(SFEUOT_DTYPE_U8, &[1, 1], Some(&[i64::MAX, i64::MIN])), Some((0, 1)));
    }

    #[test]
    fn a_span_beyond_the_address_space_is_none() {
        for (address, shape, strides) in [
            (64usize, [3, 1], [-32, 0]),
            (usize::MAX - 7, [3, 1], [1, 0]),
            (64, [3, 2], [i64::MAX, 1]),
            (64, [2, 2], [i64::MIN, i64::MAX]),
        ] {
            assert_eq!(
                tensor(address, SFEUOT_DTYPE_F32, &shape, Some(&strides)).span(),
                None,
                "{address:#x} {strides:?}"
            );
        }
    }

    #[test]
    fn a_copy_of_more_than_the_limit_is_refused() {
        let config = crate::ContextConfig { device: crate::DeviceKind::Cpu, threads: 1, ..Default::default() };
        let context = Context::new(config).expect("a CPU");
        for (shape, strides, limited) in
            [([2, 2], [-(1 << 33), 1 << 33], true), ([2, 1], [1 << 34, 0], true), ([2, 1], [(1 << 34) - 1, 0], false)]
        {
            let tensor = tensor(1 << 40, SFEUOT_DTYPE_F32, &shape, Some(&strides));
            let mut copy = Vec::new();
            // SAFETY: nothing is read.
            let refused = unsafe { tensor.view(&context, "t", &mut copy) }.expect_err("no GPU");
            assert_eq!(refused.text.starts_with("t.strides and t.shape span more than 68719476736"), limited);
        }
    }

    #[test]
    fn device_memory_of_a_context_on_the_cpu_is_refused_before_it_is_copied() {
        let config = crate::ContextConfig { device: crate::DeviceKind::Cpu, threads: 1, ..Default::default() };
        let context = Context::new(config).expect("a CPU");
        let tensor = tensor(1 << 20, SFEUOT_DTYPE_F32, &[1 << 32], None);
        let mut copy = Vec::new();
        // SAFETY: nothing is read.
        let refused = unsafe { tensor.view(&context, "source.weights", &mut copy) }.expect_err("no GPU");
        assert_eq!(refused.status, super::super::status::SFEUOT_ERROR_INVALID_ARGUMENT);
        assert!(refused.text.starts_with("source.weights.data (0x100000) is device memory"), "{}", refused.text);
    }
}
