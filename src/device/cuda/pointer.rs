//! Checks that addresses from the host are memory of the GPU.

use super::gpu::Gpu;
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::c_void;
use std::ptr;

impl Gpu {
    /// Refuses an address of `bytes` bytes that is not memory of this GPU in this context.
    pub fn check_pointer(&self, name: &str, address: u64, bytes: u64) -> Result<()> {
        use sys::CUpointer_attribute::{
            CU_POINTER_ATTRIBUTE_CONTEXT, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, CU_POINTER_ATTRIBUTE_IS_MANAGED,
            CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_RANGE_SIZE, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
        };
        let refuse = |what: String| {
            Err(Error::invalid(format!(
                "{name} (0x{address:x}) {what}; it must be memory of GPU {} ({}), or be passed as host memory",
                self.info.index, self.info.name
            )))
        };
        let (mut kind, mut ordinal) = (0u32, -1i32);
        let (mut start, mut size, mut context) = (0u64, 0usize, ptr::null_mut::<c_void>());
        // Managed memory is every device's and every context's, wherever its pages are.
        let mut managed = 0u32;
        // SAFETY: the output has the type of its attribute.
        let told =
            unsafe { sys::cuPointerGetAttribute((&raw mut managed).cast(), CU_POINTER_ATTRIBUTE_IS_MANAGED, address) };
        let managed = told == CUresult::CUDA_SUCCESS && managed != 0;
        // SAFETY: each output has the type of its attribute.
        let known = managed
            || unsafe {
                sys::cuPointerGetAttribute((&raw mut kind).cast(), CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address)
                    == CUresult::CUDA_SUCCESS
                    && sys::cuPointerGetAttribute(
                        (&raw mut ordinal).cast(),
                        CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                        address,
                    ) == CUresult::CUDA_SUCCESS
            };
        if !known || !(managed || kind == sys::CUmemorytype::CU_MEMORYTYPE_DEVICE as u32) {
            return refuse("is not device memory".into());
        }
        if !managed && ordinal != self.info.index as i32 {
            return refuse(format!("is memory of GPU {ordinal}"));
        }
        // SAFETY: as above. Memory of a pool has no context, and a driver may not know ranges of imported or
        // managed memory.
        unsafe {
            let owned = sys::cuPointerGetAttribute((&raw mut context).cast(), CU_POINTER_ATTRIBUTE_CONTEXT, address);
            let other = !context.is_null() && context != self.context().cast();
            if owned == CUresult::CUDA_SUCCESS && other && !managed {
                return refuse("is memory of another CUDA context".into());
            }
            let ranged =
                sys::cuPointerGetAttribute((&raw mut start).cast(), CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, address)
                    == CUresult::CUDA_SUCCESS
                    && sys::cuPointerGetAttribute((&raw mut size).cast(), CU_POINTER_ATTRIBUTE_RANGE_SIZE, address)
                        == CUresult::CUDA_SUCCESS;
            let room = start.saturating_add(size as u64).saturating_sub(address);
            if ranged && room < bytes {
                return refuse(format!("has {room} bytes up to the end of its allocation, but {bytes} are needed"));
            }
        }
        Ok(())
    }
}
