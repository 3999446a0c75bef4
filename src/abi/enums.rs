//! Enums travel as int32 and are validated here, never transmuted.

use super::tensor::*;
use super::{callbacks::*, context::*};
use crate::data::DType;
use crate::{DeviceKind, LogLevel, Precision, Products};

/// An enum that C passes as a number.
pub(super) trait Coded: Sized {
    /// The value that `code` stands for; a refusal names the argument and lists what is allowed.
    fn of(code: i32, argument: &str) -> Result<Self, crate::error::Error>;
}

/// [`Coded`], `TryFrom<i32>` for the argument that most often holds such a number, and the way back.
macro_rules! codes {
    ($type:ident, $field:literal: $($constant:ident => $variant:ident),+) => {
        impl $crate::abi::enums::Coded for $type {
            fn of(code: i32, argument: &str) -> Result<Self, $crate::error::Error> {
                match code {
                    $($constant => Ok(Self::$variant),)+
                    _ => {
                        let allowed = [$(format!("{} ({})", stringify!($constant), $constant)),+].join(", ");
                        Err($crate::error::Error::invalid(format!("{argument} is {code}; allowed are {allowed}")))
                    }
                }
            }
        }

        impl TryFrom<i32> for $type {
            type Error = $crate::error::Error;

            fn try_from(code: i32) -> Result<Self, $crate::error::Error> {
                <Self as $crate::abi::enums::Coded>::of(code, $field)
            }
        }

        impl From<$type> for i32 {
            fn from(value: $type) -> i32 {
                match value {
                    $($type::$variant => $constant,)+
                }
            }
        }
    };
}
pub(super) use codes;

codes!(DeviceKind, "config.device":
    SFEUOT_DEVICE_AUTO => Auto, SFEUOT_DEVICE_CPU => Cpu, SFEUOT_DEVICE_CUDA => Cuda);
codes!(Products, "config.cuda_products":
    SFEUOT_PRODUCTS_AUTO => Auto, SFEUOT_PRODUCTS_FUSED => Fused, SFEUOT_PRODUCTS_CUBLASLT => CublasLt);
codes!(Precision, "config.cuda_precision":
    SFEUOT_PRECISION_F32 => F32, SFEUOT_PRECISION_TF32 => Tf32, SFEUOT_PRECISION_BF16 => Bf16);
codes!(LogLevel, "config.log_level":
    SFEUOT_LOG_ERROR => Error, SFEUOT_LOG_WARN => Warn, SFEUOT_LOG_INFO => Info, SFEUOT_LOG_DEBUG => Debug);
codes!(DType, "dtype":
    SFEUOT_DTYPE_F32 => F32, SFEUOT_DTYPE_F64 => F64, SFEUOT_DTYPE_F16 => F16, SFEUOT_DTYPE_BF16 => BF16,
    SFEUOT_DTYPE_U8 => U8);
codes!(Memory, "memory":
    SFEUOT_MEMORY_HOST => Host, SFEUOT_MEMORY_CUDA => Cuda);
