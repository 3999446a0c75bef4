//! What calls ask of a tensor's description, in the same words for all of them.

use super::status::{Failure, Outcome};
use super::tensor::{Memory, Tensor};
use crate::data::DType;

impl Tensor {
    /// Refuses numbers of another type than 32-bit floats, and those that are not as they are; `what` names them.
    pub(super) fn check_plain(&self, what: &str) -> Outcome<()> {
        let Self { dtype, scale, offset, .. } = *self;
        if dtype != DType::F32 {
            return Err(Failure::argument(format!(
                "dtype is {}; {what} are SFEUOT_DTYPE_F32 ({})",
                i32::from(dtype),
                i32::from(DType::F32)
            )));
        }
        if scale != 1.0 || offset != 0.0 {
            return Err(Failure::argument(format!(
                "scale is {scale} and offset is {offset}; {what} are taken as they are, so they must be 1 and 0"
            )));
        }
        Ok(())
    }

    /// Whether the numbers of all axes from this one on lie one after the other, the last axis innermost.
    pub(super) fn is_dense_from(&self, axis: usize) -> bool {
        let Some(strides) = &self.strides else { return true };
        let mut dense = 1;
        self.shape[axis..].iter().zip(&strides[axis..]).rev().all(|(&size, &stride)| {
            let fits = size <= 1 || stride == dense;
            dense *= size as isize;
            fits
        })
    }

    /// Refuses an output that may not be written. `name` is the argument's, as everywhere here.
    pub(super) fn check_writable(&self, name: &str) -> Outcome<()> {
        if self.read_only {
            return Err(Failure::argument(format!(
                "{name}.read_only is 1, but the call writes there; pass memory that may be written"
            )));
        }
        Ok(())
    }

    /// Refuses arguments of one call that lie in different memories.
    pub(super) fn check_same_memory(&self, name: &str, other: &Self, other_name: &str) -> Outcome<()> {
        if self.memory == other.memory {
            return Ok(());
        }
        Err(Failure::argument(format!(
            "{name}.memory is {} and {other_name}.memory is {}; all must be SFEUOT_MEMORY_HOST ({}) or all SFEUOT_MEMORY_CUDA ({})",
            i32::from(self.memory),
            i32::from(other.memory),
            i32::from(Memory::Host),
            i32::from(Memory::Cuda)
        )))
    }
}
