//! A named tensor in memory and its little-endian bytes in a file, on hosts of either byte order.

/// A tensor and the name it is found by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedTensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// Row-major.
    pub(crate) values: Vec<f32>,
}

/// Whole numbers only: bytes after the last one are left out.
pub(super) fn read_f32(le_bytes: &[u8]) -> Vec<f32> {
    le_bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

impl NamedTensor {
    pub(super) fn extend_le_bytes(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.values.iter().flat_map(|v| v.to_le_bytes()));
    }

    pub(super) fn check_finite(&self) -> Result<(), String> {
        match self.values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(format!(
                "its tensor '{}' holds {} at index {index}, and every value must be finite",
                self.name, self.values[index]
            )),
            None => Ok(()),
        }
    }
}
