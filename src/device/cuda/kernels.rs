//! The list of kernels, and their launch.

use super::driver::check;
use crate::error::Result;
use cudarc::driver::sys::{self, CUfunction, CUstream};
use std::ffi::c_void;
use std::ptr;

#[allow(dead_code, reason = "tests alone launch some kernels")]
mod generated {
    use super::{Argument, Arguments, ArgumentsOfOne};
    use std::ffi::CStr;

    // Made by build.rs from the kernels' heads in cuda/: `Kernel`, and a struct of arguments for every kernel.
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

use generated::MOST_ARGUMENTS;
pub(crate) use generated::*;

/// The arguments of a kernel by the names of its parameters. Kernels of one file with the same parameters share a
/// struct, which is named after the first of them.
pub(crate) trait Arguments {
    /// The kernels that take them.
    const KERNELS: &'static [Kernel];
    /// The type of the list, an array.
    type List: AsRef<[Argument]>;

    /// Returns the arguments in the order of the parameters.
    fn list(&self) -> Self::List;
}

/// Arguments that one kernel alone takes.
pub(crate) trait ArgumentsOfOne: Arguments {
    const KERNEL: Kernel = Self::KERNELS[0];
}

/// One argument of a kernel: a number or a device address of up to 8 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Argument {
    bits: [u8; 8],
    size: usize,
}

impl Argument {
    /// Returns its bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> &[u8] {
        &self.bits[..self.size]
    }
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

/// A kernel with its grid, block and arguments.
pub(crate) struct Launch<'a> {
    pub kernel: Kernel,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub arguments: &'a [Argument],
}

impl Launch<'_> {
    /// Queues the kernel on a stream. A context is current, and `function` is this kernel in it.
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

/// Returns whether number and sizes of the arguments are those of the parameters. Drivers tell since CUDA 12.4; with an
/// older one this is true.
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
