//! The GPUs of this machine.

use std::ffi::c_char;

use super::arguments::out;
use super::config::{self, Versioned};
use super::panic::guard;
use super::status::Failure;
use crate::{DeviceInfo, devices};

/// What a GPU is. Fill it with sfeuot_device_info_init before sfeuot_cuda_device_info or
/// sfeuot_context_device_info.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotDeviceInfo {
    /// Set by sfeuot_device_info_init.
    pub struct_size: u32,
    /// The GPU's number among those that the driver shows, from 0. CUDA_VISIBLE_DEVICES changes it.
    pub index: u32,
    /// The newest CUDA version that the driver supports: 1000 times its major number plus 10 times
    /// its minor number, such as 12040 for 12.4.
    pub driver_version: u32,
    /// Compute capability, major number.
    pub capability_major: u32,
    /// Compute capability, minor number.
    pub capability_minor: u32,
    /// Zero.
    pub reserved: u32,
    /// Bytes of the GPU's memory.
    pub memory: u64,
    /// The GPU's UUID. It is the same in every process and under every numbering.
    pub uuid: [u8; 16],
    /// The driver's name for the GPU: UTF-8 that ends with a zero, cut where it is longer.
    pub name: [c_char; 256],
}

// SAFETY: repr(C), struct_size first, plain numbers.
unsafe impl Versioned for SfeuotDeviceInfo {
    const NAME: &'static str = "SfeuotDeviceInfo";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            index: 0,
            driver_version: 0,
            capability_major: 0,
            capability_minor: 0,
            reserved: 0,
            memory: 0,
            uuid: [0; 16],
            name: [0; 256],
        }
    }
}

impl From<&DeviceInfo> for SfeuotDeviceInfo {
    fn from(core: &DeviceInfo) -> Self {
        let mut name = [0; 256];
        let mut end = core.name.len().min(name.len() - 1);
        while !core.name.is_char_boundary(end) {
            end -= 1;
        }
        for (to, &byte) in name.iter_mut().zip(&core.name.as_bytes()[..end]) {
            *to = byte as c_char;
        }
        Self {
            index: core.index,
            driver_version: core.driver_version,
            capability_major: core.capability.0,
            capability_minor: core.capability.1,
            memory: core.memory,
            uuid: core.uuid,
            name,
            ..Self::defaults()
        }
    }
}

/// Fills info with zeros and its struct_size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_device_info_init(info: *mut SfeuotDeviceInfo) -> i32 {
    // SAFETY: info is NULL or writable.
    guard("sfeuot_device_info_init", || unsafe { config::init(info, "info", SfeuotDeviceInfo::SIZES[0]) })
}

/// Writes how many GPUs the NVIDIA driver shows. That is 0 where there is no driver or the driver is
/// too old; sfeuot_context_create with SFEUOT_DEVICE_CUDA says which of these it is. Errors:
/// SFEUOT_ERROR_DEVICE when a GPU does not answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_cuda_device_count(count: *mut u32) -> i32 {
    guard("sfeuot_cuda_device_count", || {
        let count = out(count, "count")?;
        let present = devices()?.len() as u32;
        // SAFETY: count is writable.
        unsafe { count.write(present) };
        Ok(())
    })
}

/// Writes what the GPU with number index is. index lies below the count of sfeuot_cuda_device_count.
/// Errors: SFEUOT_ERROR_DEVICE when a GPU does not answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_cuda_device_info(index: u32, info: *mut SfeuotDeviceInfo) -> i32 {
    guard("sfeuot_cuda_device_info", || {
        // SAFETY: info is NULL or writable.
        let info = unsafe { config::output(info, "info") }?;
        let present = devices()?;
        let Some(device) = present.get(index as usize) else {
            return Err(Failure::argument(match present.len() {
                0 => format!("index is {index}, but the system shows no NVIDIA GPU, or has no driver that does"),
                n => format!("index is {index}; the driver shows {n} GPUs, so it must lie in 0..{n}"),
            }));
        };
        // SAFETY: info is writable.
        unsafe { info.write(&device.into()) };
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_at_a_character_and_ends_with_a_zero() {
        for (name, length) in
            [(String::new(), 0), ("GPU".into(), 3), ("\u{3c3}".repeat(200), 254), ("x".repeat(300), 255)]
        {
            let core = DeviceInfo {
                index: 2,
                name,
                uuid: [7; 16],
                capability: (8, 9),
                memory: 1 << 40,
                driver_version: 12040,
            };
            let info = SfeuotDeviceInfo::from(&core);
            let bytes = info.name.map(|c| c as u8);
            assert_eq!(bytes[..length], core.name.as_bytes()[..length]);
            assert!(bytes[length..].iter().all(|&byte| byte == 0));
            assert_eq!((info.index, info.capability_major, info.capability_minor, info.uuid), (2, 8, 9, [7; 16]));
            assert_eq!((info.memory, info.driver_version), (1 << 40, 12040));
        }
    }
}
