//! The kernels by name, and how one is launched.

use super::driver::check;
use crate::error::Result;
use cudarc::driver::sys::{self, CUfunction, CUstream};
use std::ffi::{CStr, c_void};
use std::ptr;

macro_rules! kernels {
    ($($variant:ident $name:literal)+) => {
        /// A kernel of cuda/, where its contract stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kernel {
            $($variant),+
        }

        impl Kernel {
            /// Names in the order of the variants.
            pub const NAMES: &[&CStr] = &[$($name),+];
        }
    };
}

kernels! {
    ActionTerms c"action_terms"
    ActivationAdjoint c"activation_adjoint"
    ActivationScale c"activation_scale"
    ActivationSilu c"activation_silu"
    ActivationSoftplus c"activation_softplus"
    ActivationTanh c"activation_tanh"
    BatchDraw c"batch_draw"
    BiasAdd c"bias_add"
    BridgeSample c"bridge_sample"
    BridgeTrajectory c"bridge_trajectory"
    ColumnSums c"column_sums"
    ColumnSumsFinish c"column_sums_finish"
    ComponentsChoose c"components_choose"
    ComponentsFold c"components_fold"
    ComponentsMean c"components_mean"
    DriftExport c"drift_export"
    DualTerms c"dual_terms"
    GradientReduce c"gradient_reduce"
    MeanAccumulate c"mean_accumulate"
    MeanExport c"mean_export"
    Mixture16 c"mixture_16"
    Mixture32 c"mixture_32"
    Mixture64 c"mixture_64"
    MixtureDensity c"mixture_density"
    MixtureGradient c"mixture_gradient"
    OptimiserSettle c"optimiser_settle"
    OptimiserTakeBack c"optimiser_take_back"
    OptimiserUpdate c"optimiser_update"
    PhiloxNormals c"philox_normals"
    ProductAdjoint c"product_adjoint"
    ProductAdjointWide c"product_adjoint_wide"
    ProductAffine c"product_affine"
    ProductAffineWide c"product_affine_wide"
    ProductBackward c"product_backward"
    ProductBackwardWide c"product_backward_wide"
    ProductGradient c"product_gradient"
    ProductGradientWide c"product_gradient_wide"
    ProductSilu c"product_silu"
    ProductSiluWide c"product_silu_wide"
    ProductSoftplus c"product_softplus"
    ProductSoftplusWide c"product_softplus_wide"
    ProductTangent c"product_tangent"
    ProductTangentWide c"product_tangent_wide"
    ProductTanh c"product_tanh"
    ProductTanhWide c"product_tanh_wide"
    ProductTransposed c"product_transposed"
    ProductTransposedWide c"product_transposed_wide"
    RatioExport c"ratio_export"
    RowsExport c"rows_export"
    RowsImport c"rows_import"
    SamplesMeans c"samples_means"
    SamplesNormalise c"samples_normalise"
    SamplesSpreads c"samples_spreads"
    SquaresForward c"squares_forward"
    SquaresReverse c"squares_reverse"
    SquaresTangent c"squares_tangent"
}

/// One argument of a kernel: a number or a device address, of at most 8 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Argument {
    bits: [u8; 8],
    size: usize,
}

macro_rules! arguments {
    ($($t:ty)+) => {$(
        impl From<$t> for Argument {
            fn from(x: $t) -> Self {
                let mut bits = [0; 8];
                bits[..size_of::<$t>()].copy_from_slice(&x.to_ne_bytes());
                Self { bits, size: size_of::<$t>() }
            }
        }
    )+};
}

arguments!(u32 u64 f32 f64);

/// Arguments from whatever can be one, in the order of the kernel's parameters.
macro_rules! arguments_of {
    ($($x:expr),* $(,)?) => { &[$($crate::device::cuda::kernels::Argument::from($x)),*] };
}
pub(crate) use arguments_of;

/// Parameters of a kernel at most.
const MOST_ARGUMENTS: usize = 40;

/// A kernel with its grid, block and arguments.
pub(crate) struct Launch<'a> {
    pub kernel: Kernel,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub arguments: &'a [Argument],
}

impl Launch<'_> {
    /// Queues it on a stream. A context is current, and `function` is this kernel there.
    pub(super) fn queue(&self, function: CUfunction, stream: CUstream) -> Result<()> {
        if cfg!(any(test, debug_assertions)) {
            assert!(fits(function, self.arguments), "the arguments of {:?} differ from its parameters", self.kernel);
        }
        let mut values = [ptr::null_mut::<c_void>(); MOST_ARGUMENTS];
        for (value, argument) in values.iter_mut().zip(self.arguments) {
            // The driver only reads.
            *value = argument.bits.as_ptr().cast_mut().cast();
        }
        let ([x, y, z], [bx, by, bz]) = (self.grid, self.block);
        // SAFETY: one value a parameter, copied by the call; that addresses are right is the caller's concern, as with
        // every operation on device memory.
        let status = unsafe {
            sys::cuLaunchKernel(function, x, y, z, bx, by, bz, 0, stream, values.as_mut_ptr(), ptr::null_mut())
        };
        check(status, || format!("launch {:?}", self.kernel))
    }
}

/// Whether number and sizes of the arguments are those of the parameters, as far as the driver tells (since CUDA 12.4).
fn fits(function: CUfunction, arguments: &[Argument]) -> bool {
    let mut version = 0;
    let (mut offset, mut size) = (0, 0);
    // SAFETY: the driver is ready, and the function alive.
    unsafe {
        sys::cuDriverGetVersion(&mut version);
        if version < 12040 {
            return true;
        }
        let same = |(index, argument): (usize, &Argument)| {
            sys::cuFuncGetParamInfo(function, index, &mut offset, &mut size) == sys::CUresult::CUDA_SUCCESS
                && size == argument.size
        };
        arguments.iter().enumerate().all(same)
            && sys::cuFuncGetParamInfo(function, arguments.len(), &mut offset, &mut size) != sys::CUresult::CUDA_SUCCESS
    }
}
