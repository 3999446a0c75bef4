//! Tensors as a session takes them: rows of a model's samples, in host memory or on the GPU.

use super::arguments::{Array, array, check_apart};
use super::status::{Failure, Outcome};
use super::tensor::{Count, Memory, SfeuotTensor, Tensor};
use crate::data::{DType, Footprint, TensorView, TensorViewMut};
use crate::{DeviceRows, ModelInfo};

/// Rows of checked shape; their memory is not looked at.
pub(super) struct Rows {
    name: &'static str,
    tensor: Tensor,
    pub(super) rows: usize,
    dimension: usize,
}

impl Rows {
    /// Samples of a model. `name` is the argument's.
    ///
    /// SAFETY: the promise of `Tensor::read` holds.
    pub(super) unsafe fn read(tensor: *const SfeuotTensor, name: &'static str, model: &ModelInfo) -> Outcome<Self> {
        // SAFETY: as promised.
        let tensor = unsafe { Tensor::read(tensor, name, Count::Any) }?;
        model.check_shape(name, &tensor.shape)?;
        let rows = Self { name, rows: tensor.shape[0], dimension: model.dimension, tensor };
        if rows.tensor.memory == Memory::Cuda {
            rows.check_device().map_err(|failure| failure.of(format_args!("{name}.")))?;
        }
        Ok(rows)
    }

    /// Refuses rows that lie in device memory otherwise than kernels read them.
    fn check_device(&self) -> Outcome<()> {
        self.tensor.check_plain("rows in device memory")?;
        let strides = self.tensor.strides.as_deref().unwrap_or_default();
        if !self.is_row_dense() {
            return Err(Failure::argument(format!(
                "strides is {strides:?}; the numbers of a row in device memory must lie one after the other, its last \
                 axis innermost"
            )));
        }
        match self.stride() {
            Some(stride) if stride >= self.dimension => Ok(()),
            _ => Err(Failure::argument(format!(
                "strides is {strides:?}; rows in device memory must be {} numbers apart or more",
                self.dimension
            ))),
        }
    }

    /// Whether the numbers of a row lie one after the other.
    fn is_row_dense(&self) -> bool {
        self.tensor.is_dense_from(1)
    }

    /// Elements from one row to the next; a single row has no distance to another one.
    fn stride(&self) -> Option<usize> {
        match &self.tensor.strides {
            Some(strides) if self.rows > 1 => usize::try_from(strides[0]).ok(),
            _ => Some(self.dimension),
        }
    }

    /// Refuses outputs that may not be written, and those that lie elsewhere than the input or have other rows.
    /// Returns where both lie.
    pub(super) fn check_output(&self, input: &Self) -> Outcome<Memory> {
        self.tensor.check_writable(self.name)?;
        input.tensor.check_same_memory(input.name, &self.tensor, self.name)?;
        if self.rows != input.rows {
            return Err(Failure::argument(format!(
                "{}.shape has {} rows and {}.shape {}; both must have the same number",
                input.name, input.rows, self.name, self.rows
            )));
        }
        Ok(self.tensor.memory)
    }

    /// Refuses rows in device memory, for calls that take none.
    pub(super) fn check_host(&self) -> Outcome<()> {
        match self.tensor.memory {
            Memory::Host => Ok(()),
            Memory::Cuda => Err(Failure::argument(format!(
                "{}.memory is SFEUOT_MEMORY_CUDA ({}); this call takes SFEUOT_MEMORY_HOST ({})",
                self.name,
                i32::from(Memory::Cuda),
                i32::from(Memory::Host)
            ))),
        }
    }

    /// The rows as plain floats of host memory without gaps, where they are that.
    pub(super) fn plain(&self) -> Option<Outcome<Array<f32>>> {
        let Tensor { dtype, scale, offset, data, .. } = self.tensor;
        let plain = dtype == DType::F32 && scale == 1.0 && offset == 0.0;
        let dense = self.is_row_dense() && self.stride() == Some(self.dimension);
        (plain && dense).then(|| array(data.cast(), self.name, self.rows as u64, self.dimension))
    }

    /// Rows of host memory to read.
    ///
    /// SAFETY: every element is readable during `'a`.
    pub(super) unsafe fn host<'a>(&self) -> Outcome<TensorView<'a>> {
        // SAFETY: as promised.
        unsafe { self.tensor.host_view(self.name) }
    }

    /// Rows of host memory to write.
    ///
    /// SAFETY: every element is writable during `'a`, and nobody else touches it, the call's own input excepted.
    pub(super) unsafe fn host_mut<'a>(&self) -> Outcome<TensorViewMut<'a>> {
        // SAFETY: as promised.
        unsafe { self.tensor.host_view_mut(self.name) }
    }

    /// Rows of device memory.
    pub(super) fn device(&self) -> DeviceRows {
        let stride = self.stride().expect("device rows ascend");
        DeviceRows { address: self.tensor.data.addr() as u64, rows: self.rows, stride }
    }

    /// Refuses an output that shares memory with the input, unless row for row both have the same bytes. Rows of both may
    /// take turns in one array. Returns whether both are the same memory.
    pub(super) fn check_apart(&self, input: &Self) -> Outcome<bool> {
        let (ours, theirs) = (self.footprint()?, input.footprint()?);
        // The first rows are the same, and so are the distances to others.
        let same = self.first_row()?.is_same(&input.first_row()?)
            && (self.rows == 1 || self.between().checked_mul(self.size()) == input.between().checked_mul(input.size()));
        if same || ours.is_apart_from(&theirs) {
            return Ok(same);
        }
        Err(Failure::argument(format!(
            "{} overlaps {}; an output must not share memory with an input, unless it is the same rows",
            self.name, input.name
        )))
    }

    /// Refuses an output that shares memory with these rows.
    pub(super) fn check_beside<T>(&self, output: &Array<T>) -> Outcome<()> {
        let span = self.footprint()?;
        check_apart(output.place(), (self.name, span.start()..span.start() + span.bytes()))
    }

    /// The bytes of all rows.
    fn footprint(&self) -> Outcome<Footprint> {
        self.tensor.footprint().ok_or_else(|| self.too_far())
    }

    /// The bytes of the first row.
    fn first_row(&self) -> Outcome<Footprint> {
        let Tensor { shape, strides, dtype, data, .. } = &self.tensor;
        let footprint =
            Footprint::new(data.addr(), dtype.size(), &shape[1..], strides.as_deref().map(|strides| &strides[1..]));
        footprint.ok_or_else(|| self.too_far())
    }

    fn size(&self) -> isize {
        self.tensor.dtype.size() as isize
    }

    /// Elements from one row to the next, whatever their sign.
    fn between(&self) -> isize {
        self.tensor.strides.as_deref().map_or(self.dimension as isize, |strides| strides[0])
    }

    fn too_far(&self) -> Failure {
        Failure::argument(format!(
            "{0}.strides and {0}.shape together leave the address space; lower the number of rows or their distance",
            self.name
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(address: usize, count: usize, stride: usize, name: &'static str) -> Rows {
        let tensor = Tensor {
            dtype: DType::F32,
            memory: Memory::Cuda,
            read_only: false,
            data: std::ptr::without_provenance(address),
            shape: [count, 3].into_iter().collect(),
            strides: Some([stride as isize, 1].into_iter().collect()),
            scale: 1.0,
            offset: 0.0,
        };
        Rows { name, tensor, rows: count, dimension: 3 }
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
