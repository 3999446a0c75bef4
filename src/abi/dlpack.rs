//! Views of DLPack tensors: <https://dmlc.github.io/dlpack/latest/>. The structs are those of its versions 1.x, written
//! out from the specification.

use std::ffi::c_void;

use super::arguments::check_pointer;
use super::config::{self, Versioned};
use super::panic::guard;
use super::status::{Failure, Outcome};
use super::tensor::*;

/// The layout of a `DLManagedTensorVersioned` belongs to its major version; a minor one only adds values.
const MAJOR_VERSION: u32 = 1;

const READ_ONLY: u64 = 1;

const DEVICE_CPU: i32 = 1;
const DEVICE_CUDA: i32 = 2;
const DEVICE_CUDA_HOST: i32 = 3;
const DEVICE_CUDA_MANAGED: i32 = 13;

const CODE_UINT: u8 = 1;
const CODE_FLOAT: u8 = 2;
const CODE_BFLOAT: u8 = 4;

/// `DLPackVersion`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Version {
    major: u32,
    minor: u32,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
#[derive(Clone, Copy)]
struct ManagedTensor {
    version: Version,
    manager_ctx: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut ManagedTensor)>,
    flags: u64,
    tensor: PlainTensor,
}

/// `DLTensor`.
#[repr(C)]
#[derive(Clone, Copy)]
struct PlainTensor {
    data: *mut c_void,
    device: Device,
    ndim: i32,
    dtype: DataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// `DLDevice`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Device {
    device_type: i32,
    device_id: i32,
}

/// `DLDataType`.
#[repr(C)]
#[derive(Clone, Copy)]
struct DataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(ManagedTensor, flags) == 24 && offset_of!(ManagedTensor, tensor) == 32);
    assert!(offset_of!(PlainTensor, ndim) == 16 && offset_of!(PlainTensor, dtype) == 20);
    assert!(offset_of!(PlainTensor, shape) == 24 && offset_of!(PlainTensor, byte_offset) == 40);
    assert!(size_of::<ManagedTensor>() == 80);
};

/// Makes tensor, which sfeuot_tensor_init has filled, a view of a DLPack tensor. It gets the DLPack
/// tensor's elements, shape, strides, memory and read_only, with scale 1 and offset 0. dlpack points
/// to a DLManagedTensorVersioned of DLPack 1.x, which the capsule "dltensor_versioned" of Python's
/// __dlpack__(max_version=(1, 0)) holds. Nothing is copied and nothing taken over: the DLPack tensor
/// has to live while the view is used, and the host calls its deleter afterwards.
///
/// Its elements are float of 16, 32 or 64 bits, bfloat of 16 or uint of 8, one lane each. It has 1
/// to SFEUOT_MAX_RANK axes of at least 1, but the first axis may be 0. It lies on kDLCPU,
/// kDLCUDAHost, kDLCUDA or kDLCUDAManaged. Anything else is SFEUOT_ERROR_INVALID_ARGUMENT. On which
/// GPU device memory lies is checked where the view is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_tensor_from_dlpack(dlpack: *const c_void, tensor: *mut SfeuotTensor) -> i32 {
    guard("sfeuot_tensor_from_dlpack", || {
        // SAFETY: tensor is NULL or writable.
        let tensor = unsafe { config::output(tensor, "tensor") }?;
        // SAFETY: dlpack is NULL or a DLPack tensor.
        let view = unsafe { view(dlpack) }?;
        // SAFETY: tensor is writable.
        unsafe { tensor.write(&view) };
        Ok(())
    })
}

/// SAFETY: `dlpack` is NULL or points to a `DLManagedTensorVersioned`, of whatever version.
unsafe fn view(dlpack: *const c_void) -> Outcome<SfeuotTensor> {
    check_pointer(dlpack.cast::<ManagedTensor>(), "dlpack")?;
    // SAFETY: every version begins with its number, as promised.
    let version = unsafe { dlpack.cast::<Version>().read() };
    if version.major != MAJOR_VERSION {
        return Err(Failure::argument(format!(
            "dlpack has version {}.{}; a DLManagedTensorVersioned of version {MAJOR_VERSION}.x is needed",
            version.major, version.minor
        )));
    }
    // SAFETY: the layout of this version, as promised.
    let managed = unsafe { dlpack.cast::<ManagedTensor>().read() };
    let tensor = managed.tensor;
    let memory = match tensor.device.device_type {
        DEVICE_CPU | DEVICE_CUDA_HOST => SFEUOT_MEMORY_HOST,
        DEVICE_CUDA | DEVICE_CUDA_MANAGED => SFEUOT_MEMORY_CUDA,
        other => {
            return Err(Failure::argument(format!(
                "dlpack is on a device of type {other}; allowed are kDLCPU ({DEVICE_CPU}), kDLCUDA ({DEVICE_CUDA}), \
                 kDLCUDAHost ({DEVICE_CUDA_HOST}) and kDLCUDAManaged ({DEVICE_CUDA_MANAGED})"
            )));
        }
    };
    let DataType { code, bits, lanes } = tensor.dtype;
    let dtype = match (code, bits, lanes) {
        (CODE_FLOAT, 32, 1) => SFEUOT_DTYPE_F32,
        (CODE_FLOAT, 64, 1) => SFEUOT_DTYPE_F64,
        (CODE_FLOAT, 16, 1) => SFEUOT_DTYPE_F16,
        (CODE_BFLOAT, 16, 1) => SFEUOT_DTYPE_BF16,
        (CODE_UINT, 8, 1) => SFEUOT_DTYPE_U8,
        _ => {
            return Err(Failure::argument(format!(
                "dlpack has elements of type code {code}, {bits} bits and {lanes} lanes; allowed are one lane of float \
                 ({CODE_FLOAT}) with 16, 32 or 64 bits, bfloat ({CODE_BFLOAT}) with 16, and uint ({CODE_UINT}) with 8"
            )));
        }
    };
    let rank =
        u32::try_from(tensor.ndim).ok().filter(|rank| (1..=SFEUOT_MAX_RANK).contains(rank)).ok_or_else(|| {
            Failure::argument(format!("dlpack.ndim is {}; it must lie in 1..={SFEUOT_MAX_RANK}", tensor.ndim))
        })?;
    // SAFETY: ndim sizes are there, as promised.
    let shape = unsafe { read_shape(tensor.shape, rank, SFEUOT_MAX_RANK, Count::Any) }
        .map_err(|failure| failure.of(format_args!("dlpack.")))?;
    if tensor.data.is_null() && shape[0] > 0 {
        return Err(Failure::null("dlpack.data"));
    }
    let offset =
        usize::try_from(tensor.byte_offset).ok().filter(|&bytes| tensor.data.addr().checked_add(bytes).is_some());
    let offset = offset.ok_or_else(|| {
        Failure::argument(format!("dlpack.byte_offset is {}, which leaves the address space", tensor.byte_offset))
    })?;
    Ok(SfeuotTensor {
        dtype,
        data: tensor.data.wrapping_byte_add(offset),
        rank,
        shape: tensor.shape,
        strides: tensor.strides,
        memory,
        read_only: i32::from(managed.flags & READ_ONLY != 0),
        ..SfeuotTensor::defaults()
    })
}
