//! Enums travel as int32 and are validated here, never transmuted.

use super::tensor::*;
use super::trainer_config::*;
use super::{callbacks::*, context::*};
use crate::data::DType;
use crate::{Activation, DeviceKind, LogLevel, Products, SigmaUnits};

/// `TryFrom<i32>` whose refusal lists what is allowed, and the way back.
macro_rules! codes {
    ($type:ident, $field:literal: $($constant:ident => $variant:ident),+) => {
        impl TryFrom<i32> for $type {
            type Error = crate::error::Error;

            fn try_from(code: i32) -> Result<Self, crate::error::Error> {
                match code {
                    $($constant => Ok(Self::$variant),)+
                    _ => {
                        let allowed = [$(format!("{} ({})", stringify!($constant), $constant)),+].join(", ");
                        Err(crate::error::Error::invalid(format!("{} is {code}; allowed are {allowed}", $field)))
                    }
                }
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
codes!(LogLevel, "config.log_level":
    SFEUOT_LOG_ERROR => Error, SFEUOT_LOG_WARN => Warn, SFEUOT_LOG_INFO => Info, SFEUOT_LOG_DEBUG => Debug);
codes!(DType, "dtype":
    SFEUOT_DTYPE_F32 => F32, SFEUOT_DTYPE_F64 => F64, SFEUOT_DTYPE_F16 => F16, SFEUOT_DTYPE_BF16 => BF16,
    SFEUOT_DTYPE_U8 => U8);
codes!(Memory, "memory":
    SFEUOT_MEMORY_HOST => Host, SFEUOT_MEMORY_CUDA => Cuda);
codes!(Activation, "config.activation":
    SFEUOT_ACTIVATION_SILU => Silu, SFEUOT_ACTIVATION_TANH => Tanh, SFEUOT_ACTIVATION_SOFTPLUS => Softplus);
codes!(SigmaUnits, "config.sigma_units":
    SFEUOT_SIGMA_DATA_UNITS => Data, SFEUOT_SIGMA_RELATIVE => Relative);
