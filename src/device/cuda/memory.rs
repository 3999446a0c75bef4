//! Device memory.

use super::driver::check;
use super::gpu::Gpu;
use crate::error::Result;
use cudarc::driver::sys;
use std::marker::PhantomData;
use std::sync::Arc;

/// `len` elements of device memory, unspecified until written. A planned buffer has address 0 until it is allocated.
/// Every call needs the GPU's context to be current, except the drop, which makes it current itself.
pub(crate) struct DeviceBuffer<T> {
    gpu: Arc<Gpu>,
    address: u64,
    len: usize,
    element: PhantomData<T>,
}

impl<T> DeviceBuffer<T> {
    fn bytes_of(len: usize) -> usize {
        // The driver refuses to allocate nothing.
        (len * size_of::<T>()).max(1)
    }

    /// Returns the bytes that the account counts for it.
    pub fn bytes(&self) -> u64 {
        Self::bytes_of(self.len) as u64
    }
}

impl<T: Copy> DeviceBuffer<T> {
    /// Allocates the buffer. `what` names it in errors, such as "the samples of the source".
    pub fn new(gpu: &Arc<Gpu>, len: usize, what: &str) -> Result<Self> {
        let mut buffer = Self::planned(gpu, len);
        buffer.allocate(what)?;
        Ok(buffer)
    }

    /// Plans a buffer without memory, so that sizes can be added up before anything is allocated.
    pub fn planned(gpu: &Arc<Gpu>, len: usize) -> Self {
        Self { gpu: Arc::clone(gpu), address: 0, len, element: PhantomData }
    }

    /// Allocates the memory that was planned. `what` names it in errors.
    pub fn allocate(&mut self, what: &str) -> Result<()> {
        assert!(self.address == 0);
        let (gpu, bytes) = (&self.gpu, Self::bytes_of(self.len));
        gpu.account.take(bytes as u64, what)?;
        let mut address = 0;
        // SAFETY: a context is current.
        let status = unsafe { sys::cuMemAlloc_v2(&mut address, bytes) };
        check(status, || {
            format!("take {bytes} bytes of the memory of GPU {} ({}) for {what}", gpu.info.index, gpu.info.name)
        })
        .inspect_err(|_| gpu.account.give(bytes as u64))?;
        self.address = address;
        Ok(())
    }

    /// Allocates a buffer with these values, which are copied before the call returns.
    pub fn of(gpu: &Arc<Gpu>, values: &[T], what: &str) -> Result<Self> {
        let mut buffer = Self::planned(gpu, values.len());
        buffer.allocate_with(values, what)?;
        Ok(buffer)
    }

    /// Allocates the memory that was planned, and copies these values to it before the call returns.
    pub fn allocate_with(&mut self, values: &[T], what: &str) -> Result<()> {
        assert!(values.len() == self.len);
        self.allocate(what)?;
        self.upload(0, values)?;
        self.gpu.synchronise()
    }

    /// Allocates the memory that was planned, and queues zeros for it on the stream.
    pub fn allocate_zeroed(&mut self, what: &str) -> Result<()> {
        self.allocate(what)?;
        // SAFETY: the buffer's own memory.
        let status = unsafe { sys::cuMemsetD8Async(self.address, 0, self.len * size_of::<T>(), self.gpu.stream()) };
        check(status, || format!("clear {what}"))
    }

    /// Returns the address of the first element.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Returns the address of element `index`, which may be the one past the end.
    pub fn at(&self, index: usize) -> u64 {
        assert!(index <= self.len);
        self.address + (index * size_of::<T>()) as u64
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Writes elements from `first` on, in the order of the stream. The driver may read `values` after this returns, so
    /// they must not change until the stream was waited for.
    pub fn upload(&mut self, first: usize, values: &[T]) -> Result<()> {
        assert!(first + values.len() <= self.len);
        // SAFETY: inside the buffer; the values stay by contract.
        let status = unsafe {
            sys::cuMemcpyHtoDAsync_v2(self.at(first), values.as_ptr().cast(), size_of_val(values), self.gpu.stream())
        };
        check(status, || "copy to the GPU".into())
    }

    /// Waits for the stream and reads elements from `first` on.
    pub fn download(&self, first: usize, values: &mut [T]) -> Result<()> {
        assert!(first + values.len() <= self.len);
        let bytes = size_of_val(values);
        // SAFETY: inside the buffer; the values stay borrowed until the stream is done.
        let status =
            unsafe { sys::cuMemcpyDtoHAsync_v2(values.as_mut_ptr().cast(), self.at(first), bytes, self.gpu.stream()) };
        let queued = check(status, || "copy from the GPU".into());
        self.gpu.synchronise().and(queued)
    }
}

impl DeviceBuffer<u64> {
    /// Writes elements from `first` on, in the order of the stream. `values` may change once this returns.
    pub fn store(&mut self, first: usize, values: &[u64]) -> Result<()> {
        assert!(first + values.len() <= self.len);
        for (index, value) in values.iter().enumerate() {
            for (half, bits) in [*value as u32, (*value >> 32) as u32].into_iter().enumerate() {
                let address = self.at(first + index) + 4 * half as u64;
                // SAFETY: inside the buffer. Devices are little-endian, as are all hosts they have.
                let status = unsafe { sys::cuMemsetD32Async(address, bits, 1, self.gpu.stream()) };
                check(status, || "write to the GPU".into())?;
            }
        }
        Ok(())
    }
}

impl<T> Drop for DeviceBuffer<T> {
    fn drop(&mut self) {
        if self.address == 0 {
            return;
        }
        if let Ok(_entered) = self.gpu.enter() {
            // The driver need not wait for work that is queued on it.
            let _ = self.gpu.synchronise();
            // SAFETY: allocated by us; nothing uses it any more.
            unsafe { sys::cuMemFree_v2(self.address) };
        }
        self.gpu.account.give(self.bytes());
    }
}
