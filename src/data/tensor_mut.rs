//! Strided arrays of a host that rows are written into.

use super::array_layout::{ArrayLayout, check_length};
use super::dtype::{DType, Element};
use super::footprint::Footprint;
use super::tensor::check_data;
use crate::error::{Error, Result};
use half::{bf16, f16};
use std::marker::PhantomData;

/// A borrowed, strided host array to write into. Its elements get the values that
/// [`TensorView`](super::TensorView) would read: the element for a value is (value - offset) / scale, rounded to the
/// nearest element of its type. What lies beyond the type's range becomes its largest or smallest finite element.
#[derive(Debug)]
pub struct TensorViewMut<'a> {
    data: *mut u8,
    layout: ArrayLayout,
    lifetime: PhantomData<&'a mut [u8]>,
}

// SAFETY: a view writes memory that is its own during 'a, as an exclusive slice does.
unsafe impl Send for TensorViewMut<'_> {}

impl<'a> TensorViewMut<'a> {
    /// Views 32-bit floats, row-major; the product of `shape` must be the length of `data`.
    pub fn from_f32(data: &'a mut [f32], shape: &[usize]) -> Result<Self> {
        Self::from_slice(data, shape)
    }

    /// Views bytes, row-major; the product of `shape` must be the length of `data`.
    pub fn from_u8(data: &'a mut [u8], shape: &[usize]) -> Result<Self> {
        Self::from_slice(data, shape)
    }

    fn from_slice<T: Element>(data: &'a mut [T], shape: &[usize]) -> Result<Self> {
        check_length(shape, data.len())?;
        // SAFETY: the slice holds as many elements of this type as the contiguous shape counts, borrowed for 'a.
        unsafe { Self::from_raw(T::DTYPE, data.as_mut_ptr().cast(), shape, None, 1.0, 0.0) }
    }

    /// Views foreign memory, as [`TensorView::from_raw`](super::TensorView::from_raw) does.
    ///
    /// Errors: those of `TensorView::from_raw`; strides with which two elements share memory, or that do not nest: each
    /// one has to go past all that the nearer ones reach.
    ///
    /// # Safety
    /// Every element that `shape` and `strides` reach from `data` must be writable, and neither read nor written by others
    /// during `'a`. A source of the call that writes here may be the same memory, if sample for sample both have the same
    /// bytes.
    pub unsafe fn from_raw(
        dtype: DType,
        data: *mut u8,
        shape: &[usize],
        strides: Option<&[isize]>,
        scale: f64,
        offset: f64,
    ) -> Result<Self> {
        check_data(dtype, data)?;
        let layout = ArrayLayout::new(dtype, shape, strides, scale, offset)?;
        // What leaves the address space cannot be writable.
        let footprint = Footprint::new(data.addr(), dtype.size(), shape, strides);
        if !footprint.is_some_and(|footprint| footprint.is_separate()) {
            return Err(Error::invalid(format!(
                "strides {:?} let elements of an output share memory over shape {shape:?}, or do not nest; each must go \
                 past all that the smaller ones reach",
                strides.unwrap_or_default()
            )));
        }
        Ok(Self { data, layout, lifetime: PhantomData })
    }

    /// Returns the same array with other factors between elements and values, as
    /// [`TensorView::scaled`](super::TensorView::scaled) does.
    pub fn scaled(self, scale: f64, offset: f64) -> Result<Self> {
        Ok(Self { layout: self.layout.scaled(scale, offset)?, ..self })
    }

    /// Extents, the sample axis first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// Writes whole samples from `first` on: all of `rows`, which are finite.
    pub(crate) fn write_rows(&mut self, first: usize, rows: &[f32]) {
        match self.layout.dtype() {
            DType::F32 => self.write_as::<f32>(first, rows),
            DType::F64 => self.write_as::<f64>(first, rows),
            DType::F16 => self.write_as::<f16>(first, rows),
            DType::BF16 => self.write_as::<bf16>(first, rows),
            DType::U8 => self.write_as::<u8>(first, rows),
        }
    }

    fn write_as<T: Element>(&mut self, first: usize, rows: &[f32]) {
        debug_assert_eq!(T::DTYPE, self.layout.dtype());
        let data = self.data.cast::<T>();
        let (scale, offset) = (self.layout.scale(), self.layout.offset());
        self.layout.for_each_run(first, rows.len() / self.layout.dimension(), |place, stride, numbers| {
            for (k, &value) in rows[numbers].iter().enumerate() {
                // SAFETY: the elements of a run are within `shape`, whose elements `from_raw`'s contract makes writable;
                // `data` is aligned for T and places count whole elements.
                unsafe {
                    data.offset(place + k as isize * stride).write(T::nearest((f64::from(value) - offset) / scale));
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tensor::TensorView;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Into pictures of any layout that nests, and back.
        #[test]
        fn rows_are_read_back_and_nothing_beside_them_is_written(
            (count, channels, height, width) in (1usize..4, 1usize..4, 1usize..4, 1usize..5),
            order in Just([0usize, 1, 2, 3]).prop_shuffle(), gaps in [0isize..3, 0isize..3, 0isize..3, 0isize..3],
            back in [any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()], first in 0usize..4,
        ) {
            let shape = [count, channels, height, width];
            let (mut strides, mut reach, mut start) = ([0isize; 4], 1, 0);
            for axis in order {
                let (bytes, far) = (reach + gaps[axis], shape[axis] as isize - 1);
                strides[axis] = if back[axis] { -bytes } else { bytes };
                start += if back[axis] { bytes * far } else { 0 };
                reach += bytes * far;
            }
            let first = first % count;
            let dimension = channels * height * width;
            let rows: Vec<f32> = (0..(count - first) * dimension).map(|i| (i % 200) as f32 / 2.0 - 20.0).collect();
            let mut bytes = vec![255u8; reach as usize];
            let at = bytes[start as usize..].as_mut_ptr();
            // SAFETY: the layout was made to stay inside the buffer.
            let mut view =
                unsafe { TensorViewMut::from_raw(DType::U8, at, &shape, Some(&strides), 0.5, -20.0) }.unwrap();
            view.write_rows(first, &rows);
            let mut read = vec![0.0; rows.len()];
            // SAFETY: as above.
            let view = unsafe { TensorView::from_raw(DType::U8, at, &shape, Some(&strides), 0.5, -20.0) }.unwrap();
            view.read_rows(first, &mut read);
            prop_assert_eq!(&read, &rows);
            prop_assert_eq!(bytes.iter().filter(|&&byte| byte != 255).count(), rows.len());
        }
    }

    #[test]
    fn elements_are_the_nearest_ones_and_finite() {
        let mut bytes = [0u8; 7];
        let mut view = TensorViewMut::from_u8(&mut bytes, &[1, 7]).unwrap().scaled(1.0 / 127.5, -1.0).unwrap();
        view.write_rows(0, &[-1.0, 1.0, -1.5, 7e9, 0.0, 2.0 / 255.0 - 1.0, -f32::MAX]);
        assert_eq!(bytes, [0, 255, 0, 255, 128, 1, 0]);

        let mut floats = [0f32; 3];
        let view = TensorViewMut::from_f32(&mut floats, &[3, 1]).unwrap();
        view.scaled(1e-30, 0.0).unwrap().write_rows(0, &[1e20, -1e20, 0.25]);
        assert_eq!(floats, [f32::MAX, f32::MIN, 2.5e29]);

        let mut halves = [f16::ZERO; 3];
        let mut view = TensorViewMut::from_slice(&mut halves, &[3]).unwrap();
        view.write_rows(0, &[1e9, -1e9, 0.1]);
        assert_eq!(halves, [f16::MAX, f16::MIN, f16::from_f32(0.1)]);
    }

    #[test]
    fn outputs_with_elements_that_share_memory_are_refused() {
        let mut bytes = [0u8; 64];
        for strides in [[0, 1], [1, 1], [2, 1], [1, 2], [-2, 1]] {
            let at = bytes[32..].as_mut_ptr();
            // SAFETY: refused before anything is written.
            let refused = unsafe { TensorViewMut::from_raw(DType::U8, at, &[4, 3], Some(&strides), 1.0, 0.0) };
            assert!(refused.expect_err("shared").to_string().contains(&format!("strides {strides:?} let")));
        }
    }
}
