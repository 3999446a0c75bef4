//! Element types of host arrays.

use half::{bf16, f16};

/// Element type of a host array; the numbers are those of the C ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum DType {
    /// 32-bit IEEE 754.
    F32 = 0,
    /// 64-bit IEEE 754.
    F64 = 1,
    /// 16-bit IEEE 754.
    F16 = 2,
    /// The upper half of a 32-bit float.
    BF16 = 3,
    /// Unsigned byte, 0 to 255 before `scale` and `offset`.
    U8 = 4,
}

impl DType {
    /// Size of one element in bytes, which is also its alignment.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::F64 => size_of::<f64>(),
            Self::F16 => size_of::<f16>(),
            Self::BF16 => size_of::<bf16>(),
            Self::U8 => size_of::<u8>(),
        }
    }

    pub(crate) fn align(self) -> usize {
        match self {
            Self::F32 => align_of::<f32>(),
            Self::F64 => align_of::<f64>(),
            Self::F16 => align_of::<f16>(),
            Self::BF16 => align_of::<bf16>(),
            Self::U8 => align_of::<u8>(),
        }
    }
}

/// An element that a view can read.
pub(super) trait Element: Copy {
    const DTYPE: DType;
    /// Widens the element, exactly for every type.
    fn widen(self) -> f64;
    /// Returns the element nearest to a number that is not NaN. What lies beyond the type's range becomes its largest or
    /// smallest finite element.
    fn nearest(value: f64) -> Self;
}

macro_rules! element {
    ($type:ty, $dtype:ident, $value:ident => $nearest:expr) => {
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
            fn widen(self) -> f64 {
                f64::from(self)
            }
            fn nearest($value: f64) -> Self {
                $nearest
            }
        }
    };
}
element!(f32, F32, value => (value as f32).clamp(f32::MIN, f32::MAX));
element!(f64, F64, value => value.clamp(f64::MIN, f64::MAX));
element!(f16, F16, value => f16::from_f64(value).clamp(f16::MIN, f16::MAX));
element!(bf16, BF16, value => bf16::from_f64(value).clamp(bf16::MIN, bf16::MAX));
// The conversion keeps to the range by itself.
element!(u8, U8, value => value.round() as u8);
