//! Borrowed, strided arrays of a host, read as 64-bit floats in blocks of rows.

use super::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::memory;
use half::{bf16, f16};
use std::marker::PhantomData;

/// Most axes a [`TensorView`] may have, the sample axis included.
pub const MAX_RANK: usize = 8;

/// Elements read at a time, so that a block stays in the first-level cache.
const BLOCK_ELEMENTS: usize = 4096;

/// A borrowed, strided host array; the value of an element is `element * scale + offset`.
///
/// Built from a slice (row-major, contiguous) or, for foreign memory, with [`TensorView::from_raw`]. Errors begin
/// with the name of the field at fault (`shape[1] is 0; ...`), so that a caller can put the argument's name in front.
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    dtype: DType,
    data: *const u8,
    shape: Vec<usize>,
    /// In elements, one per axis.
    strides: Vec<isize>,
    scale: f64,
    offset: f64,
    lifetime: PhantomData<&'a [u8]>,
}

// SAFETY: a view only reads memory that nobody writes during 'a, as a shared slice does.
unsafe impl Send for TensorView<'_> {}
// SAFETY: as above.
unsafe impl Sync for TensorView<'_> {}

/// One axis inside a sample, after axes that follow each other in memory have been joined.
#[derive(Clone, Copy)]
struct Axis {
    extent: usize,
    stride: isize,
}

impl<'a> TensorView<'a> {
    /// Views 32-bit floats, row-major; the product of `shape` must be the length of `data`.
    pub fn from_f32(data: &'a [f32], shape: &[usize]) -> Result<Self> {
        Self::from_slice(data, shape)
    }

    /// Views 64-bit floats, row-major; the product of `shape` must be the length of `data`.
    pub fn from_f64(data: &'a [f64], shape: &[usize]) -> Result<Self> {
        Self::from_slice(data, shape)
    }

    /// Views 16-bit floats, row-major; the product of `shape` must be the length of `data`.
    pub fn from_f16(data: &'a [f16], shape: &[usize]) -> Result<Self> {
        Self::from_slice(data, shape)
    }

    /// Views bfloat16 numbers, row-major; the product of `shape` must be the length of `data`.
    pub fn from_bf16(data: &'a [bf16], shape: &[usize]) -> Result<Self> {
        Self::from_slice(data, shape)
    }

    /// Views bytes, row-major; the product of `shape` must be the length of `data`.
    pub fn from_u8(data: &'a [u8], shape: &[usize]) -> Result<Self> {
        Self::from_slice(data, shape)
    }

    fn from_slice<T: Element>(data: &'a [T], shape: &[usize]) -> Result<Self> {
        let count = element_count(shape)?;
        if count != data.len() {
            return Err(Error::invalid(format!(
                "shape {shape:?} counts {count} elements, but data has {}; the two must agree",
                data.len()
            )));
        }
        // SAFETY: the slice holds as many elements of this type as the contiguous shape counts, borrowed for 'a.
        unsafe { Self::from_raw(T::DTYPE, data.as_ptr().cast(), shape, None, 1.0, 0.0) }
    }

    /// Views foreign memory. `data` points at the element with index 0 on every axis; `strides` are in elements, one
    /// per axis, and may be negative or zero; `None` means row-major and contiguous.
    ///
    /// Errors: `data` NULL or not aligned for `dtype`, a rank outside 1 to 8, an extent of 0, a number of strides
    /// other than the rank, sizes that overflow the address space, a `scale` of 0, `scale` or `offset` not finite.
    ///
    /// # Safety
    /// Every element that `shape` and `strides` reach from `data` must be readable, initialised and not written to
    /// during `'a`.
    pub unsafe fn from_raw(
        dtype: DType,
        data: *const u8,
        shape: &[usize],
        strides: Option<&[isize]>,
        scale: f64,
        offset: f64,
    ) -> Result<Self> {
        if data.is_null() {
            return Err(Error::invalid("data is NULL; it must point at the first element"));
        }
        if !data.addr().is_multiple_of(dtype.align()) {
            return Err(Error::invalid(format!(
                "data is at address {data:?}; for dtype {dtype:?} it must be a multiple of {} bytes",
                dtype.align()
            )));
        }
        element_count(shape)?;
        let strides = match strides {
            Some(strides) => checked_strides(dtype, shape, strides)?,
            None => contiguous_strides(shape),
        };
        Self { dtype, data, shape: shape.to_vec(), strides, scale: 1.0, offset: 0.0, lifetime: PhantomData }
            .scaled(scale, offset)
    }

    /// The same array with the value `element * scale + offset`, replacing an earlier scale and offset.
    ///
    /// Errors: a `scale` of 0; `scale` or `offset` not finite.
    pub fn scaled(mut self, scale: f64, offset: f64) -> Result<Self> {
        if !scale.is_finite() || scale == 0.0 {
            return Err(Error::invalid(format!("scale is {scale}; it must be finite and not zero")));
        }
        if !offset.is_finite() {
            return Err(Error::invalid(format!("offset is {offset}; it must be finite")));
        }
        self.scale = scale;
        self.offset = offset;
        Ok(self)
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents, the sample axis first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of samples: the extent of the first axis.
    pub fn count(&self) -> usize {
        self.shape[0]
    }

    /// Shape of one sample: the axes after the first, or `[1]` for an array of rank 1.
    pub fn sample_shape(&self) -> &[usize] {
        sample_shape(&self.shape)
    }

    /// Numbers in one sample.
    pub fn dimension(&self) -> usize {
        self.sample_shape().iter().product()
    }

    /// All values, row-major and contiguous. A value that is not finite is an error that names `argument`, the
    /// sample and the component.
    pub fn to_f64(&self, argument: &str) -> Result<Vec<f64>> {
        let mut values = memory::with_room(argument, self.count() * self.dimension())?;
        self.for_each_block(argument, |_, block| {
            values.extend_from_slice(block);
            Ok(())
        })?;
        Ok(values)
    }

    /// Calls `visit(first, block)` for consecutive blocks of whole rows, where `block` is rows x dimension and begins
    /// with sample `first`. A value that is not finite is an error as in [`TensorView::to_f64`].
    pub(super) fn for_each_block(
        &self,
        argument: &str,
        mut visit: impl FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let dimension = self.dimension();
        let axes = self.joined_sample_axes();
        let rows = (BLOCK_ELEMENTS / dimension).clamp(1, self.count());
        let mut buffer = memory::filled(argument, rows * dimension, 0f64)?;
        for first in (0..self.count()).step_by(rows) {
            let block = &mut buffer[..rows.min(self.count() - first) * dimension];
            match self.dtype {
                DType::F32 => self.read::<f32>(&axes, first, block),
                DType::F64 => self.read::<f64>(&axes, first, block),
                DType::F16 => self.read::<f16>(&axes, first, block),
                DType::BF16 => self.read::<bf16>(&axes, first, block),
                DType::U8 => self.read::<u8>(&axes, first, block),
            }
            if let Some(at) = block.iter().position(|value| !value.is_finite()) {
                return Err(Error::invalid(format!(
                    "{argument} holds {} at sample {}, component {}; every value must be finite",
                    block[at],
                    first + at / dimension,
                    at % dimension
                )));
            }
            visit(first, block)?;
        }
        Ok(())
    }

    /// The axes inside a sample with those joined that are evenly spaced as one: a contiguous sample has one axis.
    fn joined_sample_axes(&self) -> Vec<Axis> {
        let mut joined: Vec<Axis> = Vec::with_capacity(MAX_RANK);
        for (&extent, &stride) in self.shape[1..].iter().zip(&self.strides[1..]) {
            let axis = Axis { extent, stride };
            match joined.last_mut() {
                _ if extent == 1 => {}
                Some(outer) if stride.checked_mul(extent as isize) == Some(outer.stride) => {
                    outer.extent *= extent;
                    outer.stride = stride;
                }
                _ => joined.push(axis),
            }
        }
        if joined.is_empty() {
            joined.push(Axis { extent: 1, stride: 1 });
        }
        joined
    }

    /// Reads whole rows from sample `first` on until `block` is full. `T` must be the type `dtype` names.
    fn read<T: Element>(&self, axes: &[Axis], first: usize, block: &mut [f64]) {
        debug_assert_eq!(T::DTYPE, self.dtype);
        let data = self.data.cast::<T>();
        let value = |element: T| element.widen() * self.scale + self.offset;
        let dimension = self.dimension();
        let (inner, outer) = axes.split_last().expect("a sample has at least one axis");

        if outer.is_empty() && inner.stride == 1 && self.strides[0] == dimension as isize {
            // SAFETY: the rows from `first` on lie one after the other, and `from_raw`'s contract covers them.
            let elements = unsafe { std::slice::from_raw_parts(data.add(first * dimension), block.len()) };
            for (out, &element) in block.iter_mut().zip(elements) {
                *out = value(element);
            }
            return;
        }
        for (row, out) in block.chunks_exact_mut(dimension).enumerate() {
            let mut at = match first + row {
                0 => 0,
                sample => sample as isize * self.strides[0],
            };
            let mut counter = [0usize; MAX_RANK];
            for run in out.chunks_exact_mut(inner.extent) {
                for (k, out) in run.iter_mut().enumerate() {
                    // SAFETY: the index is within `shape`, whose elements `from_raw`'s contract makes readable;
                    // `data` is aligned for T and strides count whole elements.
                    *out = value(unsafe { data.offset(at + k as isize * inner.stride).read() });
                }
                for (count, axis) in counter.iter_mut().zip(outer).rev() {
                    if *count + 1 < axis.extent {
                        *count += 1;
                        at += axis.stride;
                        break;
                    }
                    at -= axis.stride * *count as isize;
                    *count = 0;
                }
            }
        }
    }
}

/// Number of elements of a shape; an error unless its rank is 1 to 8, no extent is 0 and all of it is addressable.
fn element_count(shape: &[usize]) -> Result<usize> {
    if shape.is_empty() || shape.len() > MAX_RANK {
        return Err(Error::invalid(format!("shape has {} axes; it must have 1 to {MAX_RANK}", shape.len())));
    }
    if let Some(axis) = shape.iter().position(|&extent| extent == 0) {
        return Err(Error::invalid(format!("shape[{axis}] is 0; every extent must be at least 1")));
    }
    // Eight bytes a number, whatever the type: values are widened while they are read.
    let bytes =
        shape.iter().try_fold(8usize, |bytes, &n| bytes.checked_mul(n)).filter(|&bytes| isize::try_from(bytes).is_ok());
    match bytes {
        Some(_) => Ok(shape.iter().product()),
        None => Err(Error::invalid(format!(
            "shape {shape:?} counts more elements than can be addressed; its product must fit into memory"
        ))),
    }
}

fn contiguous_strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as isize;
    }
    strides
}

/// The strides, with those of axes of extent 1 (never stepped along, so any number will do) set to 0.
fn checked_strides(dtype: DType, shape: &[usize], strides: &[isize]) -> Result<Vec<isize>> {
    if strides.len() != shape.len() {
        return Err(Error::invalid(format!(
            "strides has {} numbers; it must have one per axis of shape, {}",
            strides.len(),
            shape.len()
        )));
    }
    let reach = shape
        .iter()
        .zip(strides)
        .try_fold(1usize, |reach, (&n, s)| reach.checked_add(s.unsigned_abs().checked_mul(n - 1)?));
    match reach.and_then(|reach| isize::try_from(reach.checked_mul(dtype.size())?).ok()) {
        Some(_) => Ok(shape.iter().zip(strides).map(|(&n, &s)| if n == 1 { 0 } else { s }).collect()),
        None => Err(Error::invalid(format!(
            "strides {strides:?} reach further than memory can be addressed over shape {shape:?}; they count elements"
        ))),
    }
}

/// Shape of one sample of an array: the axes after the first, or `[1]` for an array of rank 1.
pub(crate) fn sample_shape(array: &[usize]) -> &[usize] {
    match &array[1..] {
        [] => &[1],
        shape => shape,
    }
}

#[cfg(test)]
mod tests;
