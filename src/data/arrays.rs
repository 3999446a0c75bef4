//! Views of the `ndarray` crate's arrays: their numbers are read and written where they lie, by their strides.

use super::dtype::{DType, Element as _};
use super::tensor::TensorView;
use super::tensor_mut::TensorViewMut;
use crate::error::{Error, Result};
use half::{bf16, f16};
use ndarray::{ArrayView, ArrayViewMut, Dimension};

macro_rules! views {
    ($($type:ty)+) => {$(
        impl<'a, D: Dimension> TryFrom<ArrayView<'a, $type, D>> for TensorView<'a> {
            type Error = Error;

            /// Views the array's numbers, the first axis of which counts samples.
            ///
            /// # Errors
            /// [`Error::InvalidArgument`] for an array without axes or numbers, or with more axes than
            /// [`MAX_RANK`](crate::MAX_RANK).
            fn try_from(array: ArrayView<'a, $type, D>) -> Result<Self> {
                let (dtype, data): (DType, *const u8) = (<$type>::DTYPE, array.as_ptr().cast());
                // SAFETY: the array has these elements for 'a, and nobody writes them.
                unsafe { Self::from_raw(dtype, data, array.shape(), Some(array.strides()), 1.0, 0.0) }
            }
        }

        impl<'a, D: Dimension> TryFrom<ArrayViewMut<'a, $type, D>> for TensorViewMut<'a> {
            type Error = Error;

            /// Views the array's places, the first axis of which counts rows.
            ///
            /// # Errors
            /// As for [`TensorView`]; strides that do not nest.
            fn try_from(mut array: ArrayViewMut<'a, $type, D>) -> Result<Self> {
                let (dtype, data): (DType, *mut u8) = (<$type>::DTYPE, array.as_mut_ptr().cast());
                // SAFETY: the array has these elements for 'a, and nobody else touches them.
                unsafe { Self::from_raw(dtype, data, array.shape(), Some(array.strides()), 1.0, 0.0) }
            }
        }
    )+};
}
views!(f32 f64 f16 bf16 u8);

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, s};

    #[test]
    fn views_have_the_numbers_of_the_array_whatever_its_strides() {
        let array = Array::from_shape_fn((4, 3), |(i, j)| (10 * i + j) as f32);
        let numbers = |view: ArrayView<f32, _>| {
            let dense: Vec<f64> = view.iter().map(|&x: &f32| f64::from(x)).collect();
            (TensorView::try_from(view).unwrap().to_f64("x").unwrap(), dense)
        };
        for view in [array.view(), array.t(), array.slice(s![..;-1, 1..]), array.slice(s![1..;2, ..;-2])] {
            let (read, dense) = numbers(view);
            assert_eq!(read, dense);
        }
        let mut to = Array::<f64, _>::zeros((3, 8));
        let mut part = TensorViewMut::try_from(to.slice_mut(s![.., 1..;3])).unwrap();
        part.write_rows(0, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!(to.row(1).to_vec(), [0.0, 4.0, 0.0, 0.0, 5.0, 0.0, 0.0, 6.0]);
        assert_eq!(to.sum(), 45.0);
    }

    #[test]
    fn arrays_without_numbers_are_refused() {
        let empty = Array::<f32, _>::zeros((0, 3));
        assert!(TensorView::try_from(empty.view()).unwrap_err().to_string().contains("shape[0] is 0"));
        let point = ndarray::arr0(1f32);
        assert!(TensorView::try_from(point.view()).is_err());
    }
}
