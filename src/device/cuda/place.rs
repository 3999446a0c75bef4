//! The device and CUDA context that follow from what a host asks for on a GPU.

use super::current::push;
use super::driver::{self, check, describe};
use crate::device::gpus::{CudaConfig, CudaDevice, DeviceInfo};
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUcontext, CUdevice, CUresult, CUstream};
use std::ptr;

/// `CU_STREAM_LEGACY` and `CU_STREAM_PER_THREAD`.
const LEGACY_STREAM: usize = 1;
const PER_THREAD_STREAM: usize = 2;
/// The device and context that a configuration names.
pub(super) struct NamedContext {
    pub info: DeviceInfo,
    pub context: CUcontext,
    /// The device whose primary context it is. That context was retained and has to be released.
    pub primary: Option<CUdevice>,
}

impl NamedContext {
    /// Returns the context that a configuration names, or the first device's primary context.
    pub fn find(config: &CudaConfig) -> Result<Self> {
        let asked = match config.device {
            CudaDevice::First => None,
            CudaDevice::Index(index) => Some(index as usize),
            CudaDevice::Uuid(uuid) => {
                let devices = driver::devices()?;
                let place = devices.iter().position(|d| d.uuid == uuid);
                Some(place.ok_or_else(|| {
                    Error::UnsupportedDevice(format!(
                        "cuda_uuid is {}, but {}",
                        driver::uuid_text(&uuid),
                        present(&devices)
                    ))
                })?)
            }
        };
        if let Some(context) = Self::context_of_host(config)? {
            let place = Self::of_context(context)?;
            if let Some(asked) = asked
                && asked != place.info.index as usize
            {
                return Err(Error::invalid(format!(
                    "the CUDA context or stream that was given is on GPU {}, but GPU {asked} was asked for",
                    place.info.index
                )));
            }
            return Ok(place);
        }
        let index = asked.unwrap_or(0);
        let devices = driver::devices()?;
        if index >= devices.len() {
            return Err(Error::UnsupportedDevice(format!("cuda_device is {index}, but {}", present(&devices))));
        }
        let device = driver::device(index as i32)?;
        let info = devices[index].clone();
        let mut context = ptr::null_mut();
        // SAFETY: a device of the driver's.
        let status = unsafe { sys::cuDevicePrimaryCtxRetain(&mut context, device) };
        check(status, || format!("take the primary CUDA context of GPU {index}"))?;
        Ok(Self { info, context, primary: Some(device) })
    }

    /// Returns the host's context, or the one of its stream, if it has given either.
    fn context_of_host(config: &CudaConfig) -> Result<Option<CUcontext>> {
        if config.stream.0.addr() == PER_THREAD_STREAM {
            return Err(Error::invalid(
                "cuda_stream is CUDA's default stream per thread (2), which is another one on each thread, while all work of a context has one order; it must be a stream made by cuStreamCreate or cudaStreamCreate, the legacy default stream (1), or NULL",
            ));
        }
        if !config.context.0.is_null() {
            return Ok(Some(config.context.0.cast()));
        }
        let stream = config.stream.0;
        if stream.is_null() {
            return Ok(None);
        }
        if stream.addr() == LEGACY_STREAM {
            return Err(Error::invalid(
                "cuda_stream is CUDA's legacy default stream (1), which has no context of its own; it must come with cuda_context, or be a stream made by cuStreamCreate or cudaStreamCreate, or NULL",
            ));
        }
        match Self::context_of_stream(stream.cast())? {
            Ok(context) => Ok(Some(context)),
            Err(status) => Err(Error::invalid(format!(
                "cuda_stream ({stream:p}) is not a stream: the driver reports {}",
                describe(status)
            ))),
        }
    }

    /// Returns a stream's context. The driver may want some context to be current for this question, and the host's
    /// thread may have none.
    fn context_of_stream(stream: CUstream) -> Result<std::result::Result<CUcontext, CUresult>> {
        let ask = || {
            let mut context = ptr::null_mut();
            // SAFETY: the host promises a live stream.
            match unsafe { sys::cuStreamGetCtx(stream, &mut context) } {
                CUresult::CUDA_SUCCESS => Ok(context),
                status => Err(status),
            }
        };
        match ask() {
            Err(CUresult::CUDA_ERROR_INVALID_CONTEXT) => {}
            answer => return Ok(answer),
        }
        let (device, mut any) = (driver::device(0)?, ptr::null_mut());
        // SAFETY: a device of the driver's; released below, once.
        let status = unsafe { sys::cuDevicePrimaryCtxRetain(&mut any, device) };
        check(status, || "take the primary CUDA context of GPU 0".into())?;
        let answer = push(any).map(|_entered| ask());
        // SAFETY: retained above.
        unsafe { sys::cuDevicePrimaryCtxRelease_v2(device) };
        answer
    }

    fn of_context(context: CUcontext) -> Result<Self> {
        let _entered = push(context).map_err(|error| {
            Error::invalid(format!("cuda_context ({context:p}) is not a CUDA context that can be used: {error}"))
        })?;
        let mut device = 0;
        // SAFETY: a context is current.
        check(unsafe { sys::cuCtxGetDevice(&mut device) }, || "ask a CUDA context for its device".into())?;
        let mut count = 0;
        // SAFETY: the driver is ready.
        check(unsafe { sys::cuDeviceGetCount(&mut count) }, || "count the GPUs".into())?;
        let index = (0..count).find(|&index| driver::device(index).is_ok_and(|d| d == device)).unwrap_or(0);
        Ok(Self { info: driver::info(device, index)?, context, primary: None })
    }
}

/// "the driver shows 2 GPUs: 0 (name, GPU-...), 1 (...)".
fn present(devices: &[DeviceInfo]) -> String {
    let list: Vec<String> =
        devices.iter().map(|d| format!("{} ({}, {})", d.index, d.name, driver::uuid_text(&d.uuid))).collect();
    match devices.len() {
        0 => "the driver shows no GPU".into(),
        n => format!("the driver shows {n}: {}", list.join(", ")),
    }
}
