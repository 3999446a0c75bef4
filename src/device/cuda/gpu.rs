//! A GPU in use: a CUDA context with the library's kernels in it, the stream that all work runs on, and an account of
//! the memory taken.

use super::account::Account;
use super::current::{Entered, push};
use super::driver::{self, check, describe, dotted};
use super::image;
use super::kernels::{Kernel, Launch};
use super::place::NamedContext;
use super::product::{Library, PlanGuard};
use super::stream::new_stream;
use crate::device::gpus::{CudaConfig, DeviceInfo, Precision, Products};
use crate::device::layout::Layer;
use crate::error::{Error, Result};
use crate::log::LogLevel;
use crate::process;
use cudarc::driver::sys::{self, CUcontext, CUdevice, CUfunction, CUmodule, CUresult, CUstream};
use std::ffi::CStr;
use std::ptr;
use std::sync::Arc;

/// The widest hidden layer for which networks use the library's fused kernels. On an H200 these take 0.35 to 1.00 of
/// cublasLt's time for a step up to 256 units, whatever the batch, and 0.78 for 512 units and 1024 rows (bench/README.md).
/// How many numbers a network takes and gives makes no difference.
const MOST_FUSED: usize = 512;

/// The least compute capability whose tensor cores multiply TF32 and BF16. The kernels of these are compiled for no other.
const LEAST_TENSOR: (u32, u32) = (8, 0);

/// See the module.
pub(crate) struct Gpu {
    /// Generation of the process that opened it. Its handles are useless in another process.
    generation: u32,
    context: CUcontext,
    /// The device whose primary context the library has retained.
    primary: Option<CUdevice>,
    stream: CUstream,
    owns_stream: bool,
    module: CUmodule,
    functions: Vec<CUfunction>,
    pub(super) info: DeviceInfo,
    pub(super) account: Account,
    pub(super) library: Library,
    products: Products,
    precision: Precision,
}

// SAFETY: driver handles may be used from any thread once their context is current, which `enter` sees to; what is not
// safe to share (the product library's cache) has a lock of its own.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl Gpu {
    /// Opens a device.
    ///
    /// # Errors
    /// [`Error::UnsupportedDevice`] without a driver or such a device, and where no kernel image runs on it;
    /// [`Error::InvalidArgument`] for a stream that is not of the context.
    pub fn open(config: &CudaConfig, log: &mut dyn FnMut(LogLevel, &str)) -> Result<Arc<Self>> {
        driver::require()?;
        let place = NamedContext::find(config)?;
        check_precision(config.precision, &place.info)?;
        let account = Account::new(config.memory_limit, &place.info.name);
        // From here on a failure gives back what was taken.
        let mut gpu = Self {
            generation: process::generation(),
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
            precision: config.precision,
        };
        let entered = push(gpu.context)?;
        gpu.set_stream(config.stream.0.cast())?;
        gpu.load(log)?;
        if config.products != Products::Fused {
            gpu.library = Library::find(config.precision, log)?;
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
            &format!(
                "device CUDA {index}, {name}, compute capability {major}.{minor}, {}, products in {:?}",
                gpu.library, gpu.precision
            ),
        );
        Ok(Arc::new(gpu))
    }

    /// Returns the description of the GPU.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Returns the context in use.
    pub(super) fn context(&self) -> CUcontext {
        self.context
    }

    /// The account of the memory taken.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Refuses a training that takes `bytes` beside `shared` that it takes for others too, where they are more than
    /// `memory_limit` leaves or the GPU has.
    pub(super) fn check_room(&self, bytes: u64, shared: u64) -> Result<()> {
        let (used, limit, memory) = (self.account.used(), self.account.limit(), self.info.memory);
        if bytes.saturating_add(shared).saturating_add(used) <= limit.min(memory) {
            return Ok(());
        }
        let more_than = if limit <= memory {
            format!("memory_limit, {limit}")
        } else {
            format!("the {memory} that it has, whatever memory_limit allows")
        };
        Err(Error::OutOfMemory(format!(
            "a training of this size takes {bytes} bytes of the memory of GPU {} ({}); with {} for what the context has or shares, that is more than {more_than}; make the networks, batch_sources or components smaller, pass fewer samples, or raise memory_limit",
            self.info.index,
            self.info.name,
            used.saturating_add(shared)
        )))
    }

    /// Makes its context current until the guard is dropped.
    ///
    /// # Errors
    /// [`Error::Device`] when the driver refuses, and, without asking it, in a process forked since the device was
    /// opened.
    pub fn enter(&self) -> Result<Entered<'_>> {
        if self.generation != process::generation() {
            return Err(driver::left_by_fork());
        }
        push(self.context)
    }

    /// Returns the arithmetic of products.
    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns the stream of all work.
    pub fn stream(&self) -> CUstream {
        self.stream
    }

    /// Returns whether each layer of a network is one kernel, rather than a product of cublasLt with kernels around it.
    /// So are those of networks with convolutions, whose products gather what they multiply.
    pub(super) fn fuses(&self, layers: &[Layer]) -> bool {
        if layers.iter().any(Layer::is_convolution) {
            return true;
        }
        let widest = layers.iter().skip(1).map(|layer| layer.inputs()).max().unwrap_or(0);
        match self.products {
            Products::Auto => widest <= MOST_FUSED || !self.library.is_there(),
            Products::Fused => true,
            Products::CublasLt => false,
        }
    }

    /// Keeps the plans of products until the guard is dropped. It is held from the first run of some work until its
    /// capture has ended, because cublasLt cannot make plans inside a capture.
    pub fn hold_products(&self) -> PlanGuard<'_> {
        self.library.hold()
    }

    /// Waits until all work of the stream is done. The context is current.
    pub fn synchronise(&self) -> Result<()> {
        // SAFETY: a live stream.
        check(unsafe { sys::cuStreamSynchronize(self.stream) }, || "finish the work on the GPU".into())
    }

    /// Returns a kernel by name. The context is current.
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
            let compiled =
                image::compiled((major, minor), self.precision, None, log).map_err(|e| unusable(e.to_string()))?;
            self.module = load_module(&compiled)
                .map_err(|status| unusable(format!("the one compiled here with {}", describe(status))))?;
        }
        self.functions = Kernel::NAMES.iter().map(|name| self.function(name)).collect::<Result<_>>()?;
        Ok(())
    }
}

/// Refuses an arithmetic that the GPU's tensor cores do not know.
fn check_precision(precision: Precision, info: &DeviceInfo) -> Result<()> {
    let (major, minor) = info.capability;
    if !precision.rounds() || info.capability >= LEAST_TENSOR {
        return Ok(());
    }
    Err(Error::UnsupportedDevice(format!(
        "cuda_precision asks for {}, which GPU {} ({}) does not multiply: it has compute capability {major}.{minor}, and {}.{} is the least; use F32",
        format!("{precision:?}").to_uppercase(),
        info.index,
        info.name,
        LEAST_TENSOR.0,
        LEAST_TENSOR.1
    )))
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if self.generation != process::generation() {
            // The library's plans have only their host memory here, too.
            std::mem::forget(std::mem::replace(&mut self.library, Library::none()));
            return;
        }
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

fn load_module(image: &[u8]) -> std::result::Result<CUmodule, CUresult> {
    let mut module = ptr::null_mut();
    // SAFETY: a whole image, which says its own length.
    match unsafe { sys::cuModuleLoadData(&mut module, image.as_ptr().cast()) } {
        CUresult::CUDA_SUCCESS => Ok(module),
        status => Err(status),
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("info", &self.info).finish_non_exhaustive()
    }
}
