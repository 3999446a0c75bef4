//! Matrix products by cublasLt, where the system has it.
//!
//! The plan of a product (descriptors, layouts, the algorithm that the library's heuristic picks) is made once for each
//! shape and kept. Only algorithms whose sums have a fixed order are used, so equal products give equal bits on one GPU
//! and library version.

use super::account::Account;
use super::driver::check;
use super::quiet;
use crate::device::gpus::Precision;
use crate::error::{Error, Result};
use crate::log::LogLevel;
use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t, cublasLtMatmulDescAttributes_t as DescAttribute,
    cublasLtMatmulPreferenceAttributes_t as PreferenceAttribute, cudaDataType,
};
use cudarc::driver::sys::{self as driver_sys, CUstream};
use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Bytes of scratch memory that the library may use. Its documentation recommends this size for the newest devices.
const WORKSPACE: usize = 32 << 20;

/// The largest number of plans that are kept. A training has some dozens. Sessions that are called with ever new
/// numbers of rows have ever new products.
const MOST_PLANS: usize = 1024;

/// The oldest version of the library whose functions have the arguments that this file passes.
const OLDEST_LIBRARY: usize = 11000;

/// An operand or result, row-major.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub address: u64,
    pub stride: usize,
    /// Whether it is stored transposed.
    pub transposed: bool,
}

/// C (m x n) = A (m x k) B (k x n), added to what is there where `accumulate`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Operand,
    pub b: Operand,
    pub c: Operand,
    pub accumulate: bool,
}

/// The properties of a product that its plan depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    shape: [usize; 3],
    strides: [usize; 3],
    transposed: [bool; 2],
    /// The alignment of the addresses: powers of two that divide them.
    alignment: [u32; 3],
}

impl Product {
    /// Returns a product for which every library has an algorithm.
    fn probe() -> Self {
        let operand = Operand { address: 0, stride: 64, transposed: false };
        Self { m: 64, n: 64, k: 64, a: operand, b: operand, c: operand, accumulate: false }
    }

    fn key(&self) -> Key {
        let operands = [self.a, self.b, self.c];
        Key {
            shape: [self.m, self.n, self.k],
            strides: operands.map(|o| o.stride),
            transposed: [self.a.transposed, self.b.transposed],
            alignment: operands.map(|o| 1 << o.address.trailing_zeros().min(8)),
        }
    }
}

/// cublasLt, if it is there.
pub(crate) struct Library(Option<Mutex<Lt>>);

struct Lt {
    handle: sys::cublasLtHandle_t,
    precision: Precision,
    plans: HashMap<Key, ProductPlan>,
    /// Number of guards that captures of products hold. No plan may be dropped until there are none.
    holders: usize,
    /// Address of the scratch memory, once a product was prepared.
    workspace: Option<u64>,
}

impl Library {
    /// Returns the state without cublasLt.
    pub fn none() -> Self {
        Self(None)
    }

    /// Looks for cublasLt, whose products are of this arithmetic. A context is current.
    pub fn find(precision: Precision, log: &mut dyn FnMut(LogLevel, &str)) -> Result<Self> {
        // SAFETY: loads a library by its well-known names.
        if !unsafe { sys::is_culib_present() } {
            log(LogLevel::Info, "cublasLt was not found; matrix products are the library's own");
            return Ok(Self(None));
        }
        let usable = || {
            // SAFETY: the library is there.
            let version = unsafe { sys::cublasLtGetVersion() };
            if version < OLDEST_LIBRARY {
                return Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED));
            }
            let _quiet = quiet::spoiling();
            let handle = result::create_handle()?;
            // One of another generation than the driver has algorithms for nothing.
            ProductPlan::new(handle, precision, &Product::probe()).map(|_| handle).inspect_err(|_| {
                // SAFETY: made above.
                let _ = unsafe { result::destroy_handle(handle) };
            })
        };
        match usable() {
            Ok(handle) => {
                let lt = Lt { handle, precision, plans: HashMap::new(), holders: 0, workspace: None };
                Ok(Self(Some(Mutex::new(lt))))
            }
            Err(CublasError(status)) => {
                log(
                    LogLevel::Warn,
                    &format!("cublasLt cannot be used ({status:?}); matrix products are the library's own"),
                );
                Ok(Self(None))
            }
        }
    }

    /// Returns whether cublasLt is there.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Bytes of the GPU's memory that the first product is going to take; 0 after it, and where the library is not there.
    pub fn bytes_to_take(&self) -> u64 {
        if self.is_there() && self.with(|lt| lt.workspace.is_none()) { WORKSPACE as u64 } else { 0 }
    }

    /// Keeps every plan, those to come too, until what it returns is dropped: inside a capture none can be made again.
    pub fn hold(&self) -> PlanGuard<'_> {
        self.change_holders(|holders| holders + 1);
        PlanGuard(self)
    }

    fn change_holders(&self, to: impl FnOnce(usize) -> usize) {
        if self.is_there() {
            self.with(|lt| lt.holders = to(lt.holders));
        }
    }

    /// Makes the plan and the memory of a product, so that it can be captured afterwards. The context is current.
    pub fn prepare(&self, account: &Account, product: &Product) -> Result<()> {
        self.with(|lt| lt.plan(account, product).map(|_| ()))
    }

    /// Queues a product. The context is current.
    pub fn multiply(&self, account: &Account, stream: CUstream, product: &Product) -> Result<()> {
        self.with(|lt| {
            let (handle, workspace) = (lt.handle, lt.workspace);
            let plan = lt.plan(account, product)?;
            let (one, beta) = (1f32, f32::from(u8::from(product.accumulate)));
            // By columns, C^T = B^T A^T: the second operand comes first.
            // SAFETY: shapes and strides are the plan's; that the addresses hold as much is the caller's concern.
            let status = unsafe {
                sys::cublasLtMatmul(
                    handle,
                    plan.descriptor,
                    (&raw const one).cast(),
                    product.b.address as *const c_void,
                    plan.layouts[1],
                    product.a.address as *const c_void,
                    plan.layouts[0],
                    (&raw const beta).cast(),
                    product.c.address as *const c_void,
                    plan.layouts[2],
                    product.c.address as *mut c_void,
                    plan.layouts[2],
                    &plan.algorithm,
                    workspace.unwrap_or(0) as *mut c_void,
                    if workspace.is_some() { WORKSPACE } else { 0 },
                    stream.cast(),
                )
            };
            status.result().map_err(|error| failed("multiply", product, error))
        })
    }

    fn with<R>(&self, work: impl FnOnce(&mut Lt) -> R) -> R {
        let lt = self.0.as_ref().expect("asked `is_there` first");
        work(&mut lt.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Frees everything. The context is current, and no more product is queued.
    pub fn release(&mut self, account: &Account) {
        let Some(lt) = self.0.take() else {
            return;
        };
        let lt = lt.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(lt.plans);
        let _quiet = quiet::spoiling();
        // SAFETY: each was made once by us; freeing waits for what is queued.
        unsafe {
            if let Some(workspace) = lt.workspace {
                driver_sys::cuMemFree_v2(workspace);
                account.give(WORKSPACE as u64);
            }
            let _ = result::destroy_handle(lt.handle);
        }
    }
}

/// Keeps the plans of products: see [`Library::hold`].
pub(crate) struct PlanGuard<'a>(&'a Library);

impl Drop for PlanGuard<'_> {
    fn drop(&mut self) {
        self.0.change_holders(|holders| holders - 1);
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_there() {
            return f.write_str("no cublasLt");
        }
        // SAFETY: the library is there.
        let version = unsafe { sys::cublasLtGetVersion() };
        // Counted in thousands before CUDA 12.
        let major = if version < 100_000 { 1000 } else { 10_000 };
        write!(f, "cublasLt {}.{}.{}", version / major, version % major / 100, version % 100)
    }
}

/// The descriptors of one shape, and the layouts of A, B and C.
struct ProductPlan {
    descriptor: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Drop for ProductPlan {
    fn drop(&mut self) {
        // SAFETY: made by us, once; null where making failed.
        unsafe {
            for layout in self.layouts.into_iter().filter(|layout| !layout.is_null()) {
                let _ = result::destroy_matrix_layout(layout);
            }
            if !self.descriptor.is_null() {
                let _ = result::destroy_matmul_desc(self.descriptor);
            }
        }
    }
}

impl Lt {
    fn plan(&mut self, account: &Account, product: &Product) -> Result<&ProductPlan> {
        let key = product.key();
        if !self.plans.contains_key(&key) {
            self.take_workspace(account)?;
            let plan = ProductPlan::new(self.handle, self.precision, product)
                .map_err(|error| failed("plan", product, error))?;
            if self.plans.len() >= MOST_PLANS && self.holders == 0 {
                // What was queued or captured does not need them.
                self.plans.clear();
            }
            self.plans.insert(key, plan);
        }
        Ok(&self.plans[&key])
    }

    fn take_workspace(&mut self, account: &Account) -> Result<()> {
        if self.workspace.is_some() {
            return Ok(());
        }
        let what = "the workspace of cublasLt";
        account.take(WORKSPACE as u64, what)?;
        let mut address = 0;
        // SAFETY: a context is current.
        check(unsafe { driver_sys::cuMemAlloc_v2(&mut address, WORKSPACE) }, || {
            format!("take {WORKSPACE} bytes for {what}")
        })
        .inspect_err(|_| account.give(WORKSPACE as u64))?;
        self.workspace = Some(address);
        Ok(())
    }
}

impl ProductPlan {
    fn new(
        handle: sys::cublasLtHandle_t,
        precision: Precision,
        product: &Product,
    ) -> std::result::Result<Self, CublasError> {
        let &Product { m, n, k, a, b, c, .. } = product;
        let real = cudaDataType::CUDA_R_32F;
        let compute = match precision {
            Precision::F32 => cublasComputeType_t::CUBLAS_COMPUTE_32F,
            Precision::Tf32 => cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            Precision::Bf16 => cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_16BF,
        };
        let mut plan = Self {
            descriptor: result::create_matmul_desc(compute, real)?,
            layouts: [ptr::null_mut(); 3],
            // SAFETY: plain numbers, overwritten below.
            algorithm: unsafe { std::mem::zeroed() },
        };
        // By columns every matrix is its transpose: rows and columns as stored, exchanged.
        let layout = |rows: usize, cols: usize, operand: Operand| {
            let (rows, cols) = if operand.transposed { (cols, rows) } else { (rows, cols) };
            result::create_matrix_layout(real, cols as u64, rows as u64, operand.stride as i64)
        };
        plan.layouts[0] = layout(m, k, a)?;
        plan.layouts[1] = layout(k, n, b)?;
        plan.layouts[2] = layout(m, n, c)?;
        for (attribute, operand) in
            [(DescAttribute::CUBLASLT_MATMUL_DESC_TRANSA, b), (DescAttribute::CUBLASLT_MATMUL_DESC_TRANSB, a)]
        {
            // CUBLAS_OP_N and CUBLAS_OP_T.
            let transpose = i32::from(operand.transposed);
            // SAFETY: a live descriptor and a value of the attribute's type.
            unsafe {
                result::set_matmul_desc_attribute(
                    plan.descriptor,
                    attribute,
                    (&raw const transpose).cast(),
                    size_of::<i32>(),
                )?;
            }
        }
        let preference = result::create_matmul_pref()?;
        let found = plan.search(handle, preference, product);
        // SAFETY: made above.
        unsafe { result::destroy_matmul_pref(preference)? };
        plan.algorithm = found?;
        Ok(plan)
    }

    fn search(
        &self,
        handle: sys::cublasLtHandle_t,
        preference: sys::cublasLtMatmulPreference_t,
        product: &Product,
    ) -> std::result::Result<sys::cublasLtMatmulAlgo_t, CublasError> {
        use PreferenceAttribute as P;
        let [align_a, align_b, align_c] = product.key().alignment;
        let schemes = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
        // SAFETY: a live preference and values of the attributes' types.
        unsafe {
            let bytes = WORKSPACE;
            let attribute = P::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            result::set_matmul_pref_attribute(preference, attribute, (&raw const bytes).cast(), size_of::<usize>())?;
            for (attribute, value) in [
                (P::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes),
                // The library's A is our B.
                (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, align_b),
                (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, align_a),
                (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, align_c),
                (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, align_c),
            ] {
                result::set_matmul_pref_attribute(preference, attribute, (&raw const value).cast(), size_of::<u32>())?;
            }
            let [a, b, c] = self.layouts;
            Ok(result::get_matmul_algo_heuristic(handle, self.descriptor, b, a, c, c, preference)?.algo)
        }
    }
}

fn failed(doing: &str, product: &Product, CublasError(status): CublasError) -> Error {
    let Product { m, n, k, .. } = product;
    Error::Device(format!("cannot {doing} a product of {m} x {k} and {k} x {n}: cublasLt reports {status:?}"))
}
