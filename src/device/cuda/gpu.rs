//! A GPU in use: a CUDA context with the library's kernels in it, the stream that all work runs on, and an account of
//! the memory taken.

use super::driver::{self, DeviceInfo, check, describe, dotted};
use super::image;
use super::kernels::{Kernel, Launch};
use super::memory::Account;
use super::product::Library;
use crate::context::LogLevel;
use crate::error::{Error, Result};
use crate::nn::layout::Layer;
use cudarc::driver::sys::{self, CUcontext, CUdevice, CUfunction, CUmodule, CUresult, CUstream, CUstreamCaptureMode};
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

/// `CU_STREAM_LEGACY` and `CU_STREAM_PER_THREAD`.
const LEGACY_STREAM: usize = 1;
const PER_THREAD_STREAM: usize = 2;
/// Networks whose layers have at most as many units on either side are fused.
const MOST_FUSED: usize = 256;

/// Which GPU, and whose context and stream.
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
    /// Bytes of device memory to take at most; 0 for no limit but the device's. What the driver needs for the CUDA
    /// context and its code is not counted.
    pub memory_limit: u64,
    /// Who multiplies matrices.
    pub products: Products,
}

/// Who multiplies matrices on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum Products {
    /// The library's fused kernels for networks of up to 256 units a layer, cublasLt for larger ones where it is
    /// installed.
    #[default]
    Auto = 0,
    /// The library's fused kernels for all.
    Fused = 1,
    /// cublasLt for all; it has to be installed.
    CublasLt = 2,
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

/// See the module.
pub(crate) struct Gpu {
    context: CUcontext,
    /// Retained by us.
    primary: Option<CUdevice>,
    stream: CUstream,
    owns_stream: bool,
    module: CUmodule,
    functions: Vec<CUfunction>,
    pub(super) info: DeviceInfo,
    pub(super) account: Account,
    pub(super) library: Library,
    products: Products,
}

// SAFETY: driver handles may be used from any thread once their context is current, which `enter` sees to; what is not
// safe to share (the product library's cache) has a lock of its own.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

/// The GPU's context is current on this thread, and no capture of another thread forbids its calls; what was before comes
/// back when this is dropped.
pub(crate) struct Entered<'a> {
    gpu: PhantomData<&'a Gpu>,
    mode: CUstreamCaptureMode,
    /// Contexts are current for a thread.
    thread: PhantomData<*const ()>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut context = ptr::null_mut();
        // SAFETY: pushed by `enter`. A failure of earlier work may be reported here; the next call reports it again.
        unsafe {
            sys::cuThreadExchangeStreamCaptureMode(&mut self.mode);
            sys::cuCtxPopCurrent_v2(&mut context);
        }
    }
}

fn push(context: CUcontext) -> Result<Entered<'static>> {
    // SAFETY: a live context: ours, or the host's by its promise.
    check(unsafe { sys::cuCtxPushCurrent_v2(context) }, || "make the CUDA context current".into())?;
    // A capture that a host has begun in global mode would forbid every other thread to allocate.
    let mut entered = Entered { gpu: PhantomData, mode: THREAD_LOCAL, thread: PhantomData };
    // SAFETY: exchanges this thread's mode for the one that is there.
    unsafe { sys::cuThreadExchangeStreamCaptureMode(&mut entered.mode) };
    Ok(entered)
}

const THREAD_LOCAL: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;

impl Gpu {
    /// Opens a device.
    ///
    /// # Errors
    /// [`Error::UnsupportedDevice`] without a driver or such a device, and where no kernel image runs on it;
    /// [`Error::InvalidArgument`] for a stream that is not of the context.
    pub fn open(config: &CudaConfig, log: &mut dyn FnMut(LogLevel, &str)) -> Result<Arc<Self>> {
        driver::require()?;
        let place = Place::find(config)?;
        let account = Account::new(config.memory_limit, &place.info.name);
        // From here on a failure gives back what was taken.
        let mut gpu = Self {
            context: place.context,
            primary: place.primary,
            stream: ptr::null_mut(),
            owns_stream: false,
            module: ptr::null_mut(),
            functions: Vec::new(),
            info: place.info,
            account,
            library: Library::none(),
            products: config.products,
        };
        let entered = push(gpu.context)?;
        gpu.set_stream(config.stream.0.cast())?;
        gpu.load(log)?;
        if config.products != Products::Fused {
            gpu.library = Library::find(log)?;
        }
        if config.products == Products::CublasLt && !gpu.library.is_there() {
            return Err(Error::UnsupportedDevice(
                "cuda_products asks for cublasLt, but the system has no usable library libcublasLt; install it, or use AUTO or FUSED".into(),
            ));
        }
        drop(entered);
        let DeviceInfo { index, name, capability: (major, minor), .. } = &gpu.info;
        log(
            LogLevel::Info,
            &format!("device CUDA {index}, {name}, compute capability {major}.{minor}, {}", gpu.library),
        );
        Ok(Arc::new(gpu))
    }

    /// What it is.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Of the memory taken.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Makes its context current until the guard is dropped.
    pub fn enter(&self) -> Result<Entered<'_>> {
        push(self.context)
    }

    /// The stream of all work.
    pub fn stream(&self) -> CUstream {
        self.stream
    }

    /// Whether a network's layers are one kernel each, rather than cublasLt's products with kernels around them.
    pub(super) fn fuses(&self, layers: &[Layer]) -> bool {
        let widest = layers.iter().map(|layer| layer.inputs.max(layer.outputs)).max().unwrap_or(0);
        match self.products {
            Products::Auto => widest <= MOST_FUSED || !self.library.is_there(),
            Products::Fused => true,
            Products::CublasLt => false,
        }
    }

    /// Waits until the stream has run out of work. The context is current.
    pub fn synchronise(&self) -> Result<()> {
        // SAFETY: a live stream.
        check(unsafe { sys::cuStreamSynchronize(self.stream) }, || "finish the work on the GPU".into())
    }

    /// A kernel by name. The context is current.
    pub(super) fn function(&self, name: &CStr) -> Result<CUfunction> {
        let mut function = ptr::null_mut();
        // SAFETY: a live module.
        let status = unsafe { sys::cuModuleGetFunction(&mut function, self.module, name.as_ptr()) };
        check(status, || format!("find the kernel {}", name.to_string_lossy()))?;
        Ok(function)
    }

    /// Queues a kernel on a stream. The context is current.
    pub(super) fn launch(&self, stream: CUstream, launch: &Launch<'_>) -> Result<()> {
        launch.queue(self.functions[launch.kernel as usize], stream)
    }

    /// Fills `bytes` from checked memory, after all work queued so far. The context is current.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: the address was checked; `bytes` outlives the wait.
        let status = unsafe { sys::cuMemcpyDtoHAsync_v2(bytes.as_mut_ptr().cast(), address, bytes.len(), self.stream) };
        let queued = check(status, || "copy from the GPU".into());
        self.synchronise().and(queued)
    }

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
        // Managed memory is every device's, wherever its pages are.
        let mut managed = 0u32;
        // SAFETY: the output has the type of its attribute.
        let told =
            unsafe { sys::cuPointerGetAttribute((&raw mut managed).cast(), CU_POINTER_ATTRIBUTE_IS_MANAGED, address) };
        if told == CUresult::CUDA_SUCCESS && managed != 0 {
            return Ok(());
        }
        // SAFETY: each output has the type of its attribute.
        let known = unsafe {
            sys::cuPointerGetAttribute((&raw mut kind).cast(), CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address)
                == CUresult::CUDA_SUCCESS
                && sys::cuPointerGetAttribute((&raw mut ordinal).cast(), CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address)
                    == CUresult::CUDA_SUCCESS
        };
        if !known || kind != sys::CUmemorytype::CU_MEMORYTYPE_DEVICE as u32 {
            return refuse("is not device memory".into());
        }
        if ordinal != self.info.index as i32 {
            return refuse(format!("is memory of GPU {ordinal}"));
        }
        // SAFETY: as above. Memory of a pool has no context, and an older driver may not know ranges of imported memory.
        unsafe {
            let owned = sys::cuPointerGetAttribute((&raw mut context).cast(), CU_POINTER_ATTRIBUTE_CONTEXT, address);
            if owned == CUresult::CUDA_SUCCESS && !context.is_null() && context != self.context.cast() {
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

    fn set_stream(&mut self, stream: CUstream) -> Result<()> {
        if stream.is_null() {
            self.stream = new_stream()?;
            self.owns_stream = true;
            return Ok(());
        }
        let mut owner = ptr::null_mut();
        // SAFETY: the host promises a live stream.
        let status = unsafe { sys::cuStreamGetCtx(stream, &mut owner) };
        if status != CUresult::CUDA_SUCCESS {
            return Err(Error::invalid(format!(
                "cuda_stream ({stream:p}) is not a stream of the CUDA context: the driver reports {}",
                describe(status)
            )));
        }
        if owner != self.context {
            return Err(Error::invalid(format!(
                "cuda_stream ({stream:p}) belongs to the CUDA context {owner:p}, but must belong to the one in use, {:p}, on GPU {} ({})",
                self.context, self.info.index, self.info.name
            )));
        }
        self.stream = stream;
        Ok(())
    }

    /// Loads the kernels: the embedded image where the driver takes it, else one compiled here.
    fn load(&mut self, log: &mut dyn FnMut(LogLevel, &str)) -> Result<()> {
        let mut refusal = "this build of the library has no kernel image embedded".to_owned();
        if let Some(embedded) = image::embedded() {
            match load_module(embedded) {
                Ok(module) => self.module = module,
                Err(status) => {
                    refusal = format!("the driver refuses the embedded kernel image with {}", describe(status));
                }
            }
        }
        if self.module.is_null() {
            log(LogLevel::Info, &format!("{refusal}; compiling the kernels"));
            let (major, minor) = self.info.capability;
            let unusable = |why: String| {
                Error::UnsupportedDevice(format!(
                    "GPU {} ({}, compute capability {major}.{minor}, driver for CUDA {}) cannot be used: {refusal}, and {why}",
                    self.info.index,
                    self.info.name,
                    dotted(self.info.driver_version as i32)
                ))
            };
            let compiled = image::compiled((major, minor), None, log).map_err(|e| unusable(e.to_string()))?;
            self.module = load_module(&compiled)
                .map_err(|status| unusable(format!("the one compiled here with {}", describe(status))))?;
        }
        self.functions = Kernel::NAMES.iter().map(|name| self.function(name)).collect::<Result<_>>()?;
        Ok(())
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if let Ok(_entered) = push(self.context) {
            // The driver need not wait for work that is queued.
            if !self.stream.is_null() {
                let _ = self.synchronise();
            }
            self.library.release(&self.account);
            // SAFETY: each was made by us, once, and nothing uses it any more.
            unsafe {
                if !self.module.is_null() {
                    sys::cuModuleUnload(self.module);
                }
                if self.owns_stream {
                    sys::cuStreamDestroy_v2(self.stream);
                }
            }
        }
        if let Some(device) = self.primary {
            // SAFETY: retained by us, once.
            unsafe { sys::cuDevicePrimaryCtxRelease_v2(device) };
        }
    }
}

/// A stream that waits for no other. A context is current.
pub(super) fn new_stream() -> Result<CUstream> {
    let mut stream = ptr::null_mut();
    let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
    // SAFETY: a context is current.
    check(unsafe { sys::cuStreamCreate(&mut stream, flags) }, || "make a stream".into())?;
    Ok(stream)
}

fn load_module(image: &[u8]) -> std::result::Result<CUmodule, CUresult> {
    let mut module = ptr::null_mut();
    // SAFETY: a whole image, which says its own length.
    match unsafe { sys::cuModuleLoadData(&mut module, image.as_ptr().cast()) } {
        CUresult::CUDA_SUCCESS => Ok(module),
        status => Err(status),
    }
}

/// The device and context that a configuration names.
struct Place {
    info: DeviceInfo,
    context: CUcontext,
    primary: Option<CUdevice>,
}

impl Place {
    fn find(config: &CudaConfig) -> Result<Self> {
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

    /// The host's context, or the one of its stream.
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

    /// Asks for a stream's context. The driver may want some context to be current for that, and the host's thread may
    /// have none.
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

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("info", &self.info).finish_non_exhaustive()
    }
}
