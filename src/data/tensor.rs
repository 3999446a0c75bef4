//! Borrowed, strided arrays of a host, read as 64-bit floats in blocks of rows.

use super::array_layout::{ArrayLayout, check_length};
use super::dtype::{DType, Element};
use super::refusals::not_finite;
use crate::error::{Error, Result};
use crate::memory;
use half::{bf16, f16};
use std::marker::PhantomData;

/// Number of elements that are read at a time, so that a block stays in the first-level cache.
const BLOCK_ELEMENTS: usize = 4096;

/// A borrowed, strided host array; the value of an element is `element * scale + offset`.
///
/// Built from a slice (row-major, contiguous) or, for foreign memory, with [`TensorView::from_raw`]. Errors begin
/// with the name of the field at fault (`shape[1] is 0; ...`), so that a caller can put the argument's name in front.
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    data: *const u8,
    layout: ArrayLayout,
    lifetime: PhantomData<&'a [u8]>,
}

// SAFETY: a view only reads memory that nobody writes during 'a, as a shared slice does.
unsafe impl Send for TensorView<'_> {}
// SAFETY: as above.
unsafe impl Sync for TensorView<'_> {}

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
        check_length(shape, data.len())?;
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
        check_data(dtype, data)?;
        Ok(Self { data, layout: ArrayLayout::new(dtype, shape, strides, scale, offset)?, lifetime: PhantomData })
    }

    /// Returns the same array with the value `element * scale + offset`. An earlier scale and offset are replaced.
    ///
    /// Errors: a `scale` of 0; `scale` or `offset` not finite.
    pub fn scaled(self, scale: f64, offset: f64) -> Result<Self> {
        Ok(Self { layout: self.layout.scaled(scale, offset)?, ..self })
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.layout.dtype()
    }

    /// Extents, the sample axis first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// Number of samples: the extent of the first axis.
    pub fn count(&self) -> usize {
        self.layout.count()
    }

    /// Shape of one sample: the axes after the first, or `[1]` for an array of rank 1.
    pub fn sample_shape(&self) -> &[usize] {
        self.layout.sample_shape()
    }

    /// Numbers in one sample.
    pub fn dimension(&self) -> usize {
        self.layout.dimension()
    }

    /// Returns all values, row-major and contiguous. A value that is not finite is an error that names `argument`, the
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
        let rows = rows_of_block(self.count(), dimension);
        let mut buffer = memory::filled(argument, rows * dimension, 0f64)?;
        for first in (0..self.count()).step_by(rows) {
            let block = &mut buffer[..rows.min(self.count() - first) * dimension];
            self.read(first, block, |value| value);
            if let Some(at) = block.iter().position(|value| !value.is_finite()) {
                return Err(not_finite(argument, block[at], (first * dimension + at) as u64, dimension));
            }
            visit(first, block)?;
        }
        Ok(())
    }

    /// Reads the values of whole samples from `first` on, each rounded to 32 bits, until `rows` is full. A value that 32
    /// bits cannot hold becomes infinite.
    pub(crate) fn read_rows(&self, first: usize, rows: &mut [f32]) {
        self.read(first, rows, |value| value as f32);
    }

    /// Reads whole samples from `first` on until `block` is full of what `keep` makes of their values.
    fn read<V>(&self, first: usize, block: &mut [V], keep: impl Fn(f64) -> V) {
        match self.layout.dtype() {
            DType::F32 => self.read_as::<f32, V>(first, block, keep),
            DType::F64 => self.read_as::<f64, V>(first, block, keep),
            DType::F16 => self.read_as::<f16, V>(first, block, keep),
            DType::BF16 => self.read_as::<bf16, V>(first, block, keep),
            DType::U8 => self.read_as::<u8, V>(first, block, keep),
        }
    }

    /// Does the work of [`Self::read`]. `T` is the type that `dtype` names.
    fn read_as<T: Element, V>(&self, first: usize, block: &mut [V], keep: impl Fn(f64) -> V) {
        debug_assert_eq!(T::DTYPE, self.layout.dtype());
        let data = self.data.cast::<T>();
        let (scale, offset) = (self.layout.scale(), self.layout.offset());
        let value = |element: T| keep(element.widen() * scale + offset);
        self.layout.for_each_run(first, block.len() / self.dimension(), |place, stride, numbers| {
            let run = &mut block[numbers];
            if stride == 1 {
                // SAFETY: the elements of a run are within `shape`, whose elements `from_raw`'s contract makes readable;
                // `data` is aligned for T and places count whole elements.
                let elements = unsafe { std::slice::from_raw_parts(data.offset(place), run.len()) };
                for (out, &element) in run.iter_mut().zip(elements) {
                    *out = value(element);
                }
                return;
            }
            for (k, out) in run.iter_mut().enumerate() {
                // SAFETY: as above.
                *out = value(unsafe { data.offset(place + k as isize * stride).read() });
            }
        });
    }
}

/// Refuses an address that no element can have.
pub(super) fn check_data(dtype: DType, data: *const u8) -> Result<()> {
    if data.is_null() {
        return Err(Error::invalid("data is NULL; it must point at the first element"));
    }
    if !data.addr().is_multiple_of(dtype.align()) {
        return Err(Error::invalid(format!(
            "data is at address {data:?}; for dtype {dtype:?} it must be a multiple of {} bytes",
            dtype.align()
        )));
    }
    Ok(())
}

/// Returns how many rows are read as a block. The last block may have fewer.
pub(super) fn rows_of_block(count: usize, dimension: usize) -> usize {
    (BLOCK_ELEMENTS / dimension).clamp(1, count)
}

#[cfg(test)]
mod tests;
