//! Arrays of 32-bit floats without gaps, in host memory or on the GPU: what networks of the host's give and are given.

use std::ops::Range;

use super::arguments::{Array, array, check_apart};
use super::status::{Failure, Outcome};
use super::tensor::{Count, Memory, SfeuotTensor, Tensor};
use crate::problem::{DeviceNumbers, Problem};

/// Numbers of checked layout; their memory is not looked at.
pub(super) struct Numbers {
    name: &'static str,
    tensor: Tensor,
    /// How many there are.
    pub(super) count: usize,
}

impl Numbers {
    /// `name` is the argument's.
    ///
    /// SAFETY: the promise of `Tensor::read` holds.
    pub(super) unsafe fn read(tensor: *const SfeuotTensor, name: &'static str) -> Outcome<Self> {
        // SAFETY: as promised.
        let tensor = unsafe { Tensor::read(tensor, name, Count::AtLeastOne) }?;
        let count = tensor.shape.iter().product();
        let numbers = Self { name, tensor, count };
        numbers.check_layout().map_err(|failure| failure.of(format_args!("{name}.")))?;
        Ok(numbers)
    }

    /// As [`Self::read`], for an output that the host may leave away.
    ///
    /// SAFETY: as there.
    pub(super) unsafe fn optional(tensor: *const SfeuotTensor, name: &'static str) -> Outcome<Option<Self>> {
        // SAFETY: as promised.
        if tensor.is_null() { Ok(None) } else { unsafe { Self::read(tensor, name) }.map(Some) }
    }

    fn check_layout(&self) -> Outcome<()> {
        self.tensor.check_plain("numbers of this call")?;
        if !self.tensor.is_dense_from(0) {
            return Err(Failure::argument(format!(
                "strides is {:?}; this call takes numbers that lie one after the other, the last axis innermost",
                self.tensor.strides.as_deref().unwrap_or_default()
            )));
        }
        Ok(())
    }

    /// Refuses another count than `expected`, whose meaning `what` says.
    pub(super) fn check_count(&self, expected: usize, what: &str) -> Outcome<()> {
        if self.count == expected {
            return Ok(());
        }
        Err(Failure::argument(format!(
            "{}.shape is {:?}, {} numbers, but must have {expected}: {what}",
            self.name, &*self.tensor.shape, self.count
        )))
    }

    /// Returns how many rows of so many numbers there are.
    pub(super) fn rows_of(&self, numbers: usize) -> Outcome<usize> {
        if self.count.is_multiple_of(numbers) {
            return Ok(self.count / numbers);
        }
        Err(Failure::argument(format!(
            "{}.shape is {:?}, {} numbers, but must have a multiple of the problem's dimension {numbers}",
            self.name, &*self.tensor.shape, self.count
        )))
    }

    fn bytes(&self) -> Range<usize> {
        let start = self.tensor.data.addr();
        start..start.saturating_add(self.count * size_of::<f32>())
    }

    /// Refuses an output that shares memory with another argument.
    pub(super) fn check_apart(&self, other: &Self) -> Outcome<()> {
        check_apart((self.name, self.bytes()), (other.name, other.bytes()))
    }

    /// Refuses an output that shares memory with an array of the host's.
    pub(super) fn check_beside<T>(&self, array: &Array<T>) -> Outcome<()> {
        if self.tensor.memory == Memory::Host { check_apart((self.name, self.bytes()), array.place()) } else { Ok(()) }
    }

    /// The numbers in host memory, to be read.
    ///
    /// SAFETY: they are readable during `'a`.
    pub(super) unsafe fn host<'a>(&self) -> Outcome<&'a [f32]> {
        let array = array::<f32>(self.tensor.data.cast(), self.name, self.count as u64, 1)?;
        // SAFETY: as promised.
        Ok(unsafe { array.read() })
    }

    /// The numbers in host memory, to be written.
    ///
    /// SAFETY: they are writable during `'a`, and nobody else touches them.
    pub(super) unsafe fn host_mut<'a>(&self) -> Outcome<&'a mut [f32]> {
        let array = array::<f32>(self.tensor.data.cast(), self.name, self.count as u64, 1)?;
        // SAFETY: as promised.
        Ok(unsafe { array.write() })
    }

    /// Refuses numbers that are not memory of the problem's GPU.
    pub(super) fn check_device(&self, problem: &Problem) -> Outcome<()> {
        Ok(problem.check_device(&format!("{}.data", self.name), self.device(), self.count)?)
    }

    /// Their place in device memory.
    pub(super) fn device(&self) -> DeviceNumbers {
        DeviceNumbers { address: self.tensor.data.addr() as u64 }
    }
}

/// Refuses outputs that may not be written, and those that share memory with an input or with each other. Returns the
/// memory in which all of them lie.
pub(super) fn check_memory(inputs: &[&Numbers], outputs: &[&Numbers]) -> Outcome<Memory> {
    let first = inputs[0];
    for other in inputs[1..].iter().chain(outputs) {
        first.tensor.check_same_memory(first.name, &other.tensor, other.name)?;
    }
    for (place, output) in outputs.iter().enumerate() {
        output.tensor.check_writable(output.name)?;
        for other in inputs.iter().chain(&outputs[..place]) {
            output.check_apart(other)?;
        }
    }
    Ok(first.tensor.memory)
}
