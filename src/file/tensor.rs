//! A named tensor in memory and its little-endian bytes in a file, on hosts of either byte order.

use safetensors::Dtype;

/// Elements of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TensorData {
    F32(Vec<f32>),
    U64(Vec<u64>),
}

impl TensorData {
    pub(super) fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::U64(_) => Dtype::U64,
        }
    }

    pub(super) fn byte_length(&self) -> usize {
        match self {
            Self::F32(values) => size_of_val(&values[..]),
            Self::U64(values) => size_of_val(&values[..]),
        }
    }

    /// `None` for an element type that these files do not use.
    pub(super) fn from_le_bytes(dtype: Dtype, bytes: &[u8]) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())),
            Dtype::U64 => Some(Self::U64(bytes.as_chunks().0.iter().map(|&b| u64::from_le_bytes(b)).collect())),
            _ => None,
        }
    }

    pub(super) fn extend_le_bytes(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::F32(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Self::U64(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        }
    }
}

/// A tensor and the name it is found by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedTensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: TensorData,
}

impl NamedTensor {
    pub(super) fn check_finite(&self) -> Result<(), String> {
        let TensorData::F32(values) = &self.data else {
            return Ok(());
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(format!(
                "its tensor '{}' holds {} at index {index}, and every value must be finite",
                self.name, values[index]
            )),
            None => Ok(()),
        }
    }
}
