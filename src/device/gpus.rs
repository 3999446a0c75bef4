//! What a host asks for on a GPU, and what it is told of the GPUs that are there.

use std::ffi::c_void;
use std::ptr;

/// The choice of a GPU, and of a CUDA context and stream.
#[derive(Clone, Debug, Default)]
pub struct CudaConfig {
    /// The device. Ignored, but for a check that it is the same, where `context` or `stream` is given.
    pub device: CudaDevice,
    /// A `CUcontext` of the host's to work in, which must outlive everything made from the context; null: the
    /// device's primary context.
    pub context: HostHandle,
    /// A `CUstream` of the host's for all work, which must outlive everything made from the context; null: a stream of
    /// the library's own.
    pub stream: HostHandle,
    /// The largest number of bytes of device memory to take; 0 for no limit but the device's. Memory that the driver
    /// needs for the CUDA context and its code is not counted.
    pub memory_limit: u64,
    /// The library that multiplies matrices.
    pub products: Products,
    /// The arithmetic of their products.
    pub precision: Precision,
}

impl CudaConfig {
    /// Returns whether it names a GPU.
    pub(crate) fn names_a_gpu(&self) -> bool {
        self.device != CudaDevice::First || !self.context.0.is_null() || !self.stream.0.is_null()
    }
}

/// The library that multiplies matrices on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum Products {
    /// The library's fused kernels for hidden layers of up to 512 units, cublasLt for larger ones where it is
    /// installed.
    #[default]
    Auto = 0,
    /// The library's fused kernels for all.
    Fused = 1,
    /// cublasLt for all; it has to be installed.
    CublasLt = 2,
}

/// The arithmetic of products of matrices on a GPU. Sums, weights and all else have 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum Precision {
    /// Numbers as they are.
    #[default]
    F32 = 0,
    /// On tensor cores, numbers rounded to 11 bits.
    Tf32 = 1,
    /// On tensor cores, numbers rounded to 8 bits.
    Bf16 = 2,
}

impl Precision {
    /// Returns whether tensor cores multiply.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "the CUDA device alone asks"))]
    pub(crate) fn rounds(self) -> bool {
        self != Self::F32
    }
}

/// A device by its number or its UUID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CudaDevice {
    /// The first one.
    #[default]
    First,
    /// By number, from 0, in the driver's order.
    Index(u32),
    /// By UUID.
    Uuid([u8; 16]),
}

/// A pointer of the host's driver API; null for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostHandle(pub *mut c_void);

impl Default for HostHandle {
    fn default() -> Self {
        Self(ptr::null_mut())
    }
}

// SAFETY: driver handles may be used from any thread; that they stay alive is the host's promise.
unsafe impl Send for HostHandle {}
// SAFETY: as above.
unsafe impl Sync for HostHandle {}

/// A GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its number among the devices that the driver shows, from 0; `CUDA_VISIBLE_DEVICES` changes it.
    pub index: u32,
    /// Its name in the driver.
    pub name: String,
    /// Its UUID, which is the same in every process and under every numbering.
    pub uuid: [u8; 16],
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// Bytes of its memory.
    pub memory: u64,
    /// The newest CUDA version that its driver supports: 1000 times the major one plus 10 times the minor one.
    pub driver_version: u32,
}
