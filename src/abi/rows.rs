//! Tensors as a session takes them: rows of 32-bit floats, in host memory or on the GPU.

use std::ffi::c_void;

use super::arguments::{Array, array};
use super::status::{Failure, Outcome};
use super::tensor::{Count, Memory, SfeuotTensor, Tensor};
use crate::data::DType;
use crate::{DeviceRows, ModelInfo};

/// Rows of checked shape and layout; their memory is not looked at.
pub(super) struct Rows {
    name: &'static str,
    memory: Memory,
    read_only: bool,
    data: *const c_void,
    pub(super) rows: usize,
    dimension: usize,
    /// Floats from one row to the next.
    stride: usize,
}

impl Rows {
    /// Samples of a model. `name` is the argument's.
    ///
    /// SAFETY: the promise of `Tensor::read` holds.
    pub(super) unsafe fn read(tensor: *const SfeuotTensor, name: &'static str, model: &ModelInfo) -> Outcome<Self> {
        // SAFETY: as promised.
        let tensor = unsafe { Tensor::read(tensor, name, Count::Any) }?;
        Self::of(&tensor, name, model).map_err(|failure| failure.of(format_args!("{name}.")))
    }

    fn of(tensor: &Tensor, name: &'static str, model: &ModelInfo) -> Outcome<Self> {
        if tensor.dtype != DType::F32 {
            return Err(Failure::argument(format!(
                "dtype is {}; rows of a session are SFEUOT_DTYPE_F32 ({})",
                i32::from(tensor.dtype),
                i32::from(DType::F32)
            )));
        }
        if tensor.scale != 1.0 || tensor.offset != 0.0 {
            return Err(Failure::argument(format!(
                "scale is {} and offset is {}; rows of a session are in data units, so they must be 1 and 0",
                tensor.scale, tensor.offset
            )));
        }
        let (shape, dimension) = (&*tensor.shape, model.dimension);
        let sample = &shape[1..];
        // Without axes of its own, a sample is one number.
        let fits = sample == model.sample_shape || sample == [dimension] || (sample.is_empty() && dimension == 1);
        if !fits {
            return Err(Failure::argument(format!(
                "shape is {shape:?}; it must be the number of rows, followed by {dimension} or by the shape of the \
                 model's samples, {:?}",
                model.sample_shape
            )));
        }
        let rows = shape[0];
        let Some(strides) = tensor.strides.as_deref() else {
            return Ok(Self::new(tensor, name, dimension, dimension));
        };
        let mut dense = 1;
        for (&size, &stride) in sample.iter().zip(&strides[1..]).rev() {
            if size > 1 && stride != dense {
                return Err(Failure::argument(format!(
                    "strides is {strides:?}; the numbers of one row must lie one after the other, its last axis innermost"
                )));
            }
            dense *= size as isize;
        }
        // A single row has no distance to another one.
        let stride = if rows <= 1 { Some(dimension) } else { usize::try_from(strides[0]).ok() };
        match (tensor.memory, stride) {
            (Memory::Host, Some(stride)) if stride == dimension => Ok(Self::new(tensor, name, dimension, stride)),
            (Memory::Host, _) => Err(Failure::argument(format!(
                "strides is {strides:?}; rows in host memory must lie one after the other, {dimension} numbers apart"
            ))),
            (Memory::Cuda, Some(stride)) if stride >= dimension => Ok(Self::new(tensor, name, dimension, stride)),
            (Memory::Cuda, _) => Err(Failure::argument(format!(
                "strides is {strides:?}; rows in device memory must be {dimension} numbers apart or more"
            ))),
        }
    }

    fn new(tensor: &Tensor, name: &'static str, dimension: usize, stride: usize) -> Self {
        let Tensor { memory, read_only, data, ref shape, .. } = *tensor;
        Self { name, memory, read_only, data, rows: shape[0], dimension, stride }
    }

    /// Refuses outputs that may not be written, and those that lie elsewhere than the input or have other rows.
    /// Returns where both lie.
    pub(super) fn check_output(&self, input: &Self) -> Outcome<Memory> {
        if self.read_only {
            return Err(Failure::argument(format!(
                "{}.read_only is 1, but the call writes there; pass memory that may be written",
                self.name
            )));
        }
        if self.memory != input.memory {
            return Err(Failure::argument(format!(
                "{}.memory is {} and {}.memory is {}; both must be SFEUOT_MEMORY_HOST ({}) or both SFEUOT_MEMORY_CUDA ({})",
                input.name,
                i32::from(input.memory),
                self.name,
                i32::from(self.memory),
                i32::from(Memory::Host),
                i32::from(Memory::Cuda)
            )));
        }
        if self.rows != input.rows {
            return Err(Failure::argument(format!(
                "{}.shape has {} rows and {}.shape {}; both must have the same number",
                input.name, input.rows, self.name, self.rows
            )));
        }
        Ok(self.memory)
    }

    /// Rows of host memory.
    pub(super) fn host(&self) -> Outcome<Array<f32>> {
        array(self.data.cast(), self.name, self.rows as u64, self.dimension)
    }

    /// Rows of device memory.
    pub(super) fn device(&self) -> DeviceRows {
        DeviceRows { address: self.data.addr() as u64, rows: self.rows, stride: self.stride }
    }

    /// Refuses device rows that share memory with others, unless each is the very row of the input. Rows of both may
    /// take turns in one array.
    pub(super) fn check_apart(&self, input: &Self) -> Outcome<()> {
        let number = size_of::<f32>();
        let row = self.dimension * number;
        let bytes = |rows: &Self| (rows.rows - 1).checked_mul(rows.stride * number)?.checked_add(row);
        let end = |rows: &Self| rows.data.addr().checked_add(bytes(rows)?);
        let (Some(ours), Some(theirs)) = (end(self), end(input)) else {
            return Err(Failure::argument(format!(
                "{} or {} leaves the address space; lower the number of rows or their distance",
                input.name, self.name
            )));
        };
        let (a, b) = (self.data.addr(), input.data.addr());
        let same = a == b && self.stride == input.stride;
        let take_turns = self.stride == input.stride && {
            let shift = a.abs_diff(b) % (self.stride * number);
            shift >= row && self.stride * number - shift >= row
        };
        if same || take_turns || a >= theirs || b >= ours {
            return Ok(());
        }
        Err(Failure::argument(format!(
            "{} overlaps {}; an output must not share memory with an input, unless it is the same rows",
            self.name, input.name
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(address: usize, count: usize, stride: usize, name: &'static str) -> Rows {
        let data = std::ptr::without_provenance(address);
        Rows { name, memory: Memory::Cuda, read_only: false, data, rows: count, dimension: 3, stride }
    }

    #[test]
    fn device_rows_may_be_the_same_or_take_turns_but_not_overlap() {
        let apart = |a: (usize, usize), b: (usize, usize)| {
            rows(a.0, 10, a.1, "generated").check_apart(&rows(b.0, 10, b.1, "source")).is_ok()
        };
        for stride in [3, 4, 7] {
            assert!(apart((400, stride), (400, stride)), "the same rows");
            assert!(
                !apart((400, stride), (404, stride)) && !apart((404, stride), (400, stride)),
                "shifted by a number"
            );
            let end = 9 * stride * 4 + 12;
            assert!(apart((400 + end, stride), (400, stride)) && apart((400, stride), (400 + end, stride)), "behind");
            assert!(!apart((400, stride), (400 + end - 4, stride)), "one number in common");
        }
        assert!(
            apart((400, 6), (412, 6)) && apart((412, 6), (400, 6)) && apart((412, 7), (400, 7)),
            "columns of one array"
        );
        assert!(!apart((400, 6), (408, 6)) && !apart((400, 5), (412, 5)), "columns that overlap");
        assert!(!apart((400, 6), (400, 3)), "other distances");
        assert!(!apart((usize::MAX - 63, 3), (400, 3)), "beyond the end");
    }
}
