//! The file format of models and checkpoints: safetensors, plus a JSON description of everything that is not a tensor.
//!
//! The header's `__metadata__` map holds
//!
//! | key | value |
//! |---|---|
//! | `format` | `sfeuot-model` or `sfeuot-checkpoint` |
//! | `format_version` | a whole number as text, now `1` |
//! | `description` | one JSON document |
//!
//! Tensors are row-major and little-endian, element type F32. Equal content gives equal bytes.

use std::collections::BTreeMap;

use safetensors::{Dtype, tensor::TensorInfo};
use serde::{Serialize, de::DeserializeOwned};

use super::header;
pub(crate) use super::tensor::NamedTensor;
use super::tensor::read_f32;
use crate::{Error, Result};

/// The version written, and the newest one read. Raise it when an older reader would misunderstand the file.
pub(crate) const FORMAT_VERSION: u64 = 1;
/// Messages quote what a file says about itself; a hostile file must not make them long.
const MAX_MESSAGE: usize = 400;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A frozen generator and value function.
    Model,
    /// Everything a training run needs to go on bit for bit.
    Checkpoint,
}

impl Kind {
    fn format(self) -> &'static str {
        match self {
            Self::Model => "sfeuot-model",
            Self::Checkpoint => "sfeuot-checkpoint",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Checkpoint => "training checkpoint",
        }
    }
}

/// The content of a model file or a checkpoint. The order of the tensors carries no meaning.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) kind: Kind,
    pub(crate) description: serde_json::Value,
    pub(crate) tensors: Vec<NamedTensor>,
    /// Where the bytes came from, for messages.
    origin: String,
}

impl Container {
    /// Starts a container without tensors.
    ///
    /// The description is read back at once, because JSON has neither NaN nor infinity: a number that became null is
    /// refused here rather than when the file is needed. Finite `f32`, `f64` and 64-bit integers survive bit for bit.
    ///
    /// # Errors
    /// `Error::Format` when the description has no JSON form that reads back as the same type.
    pub(crate) fn new<T: Serialize + DeserializeOwned>(kind: Kind, description: &T) -> Result<Self> {
        let unfit = |error| cannot_save(kind, format_args!("its description does not survive as JSON: {error}"));
        let description = serde_json::to_value(description).map_err(unfit)?;
        T::deserialize(&description).map_err(unfit)?;
        Ok(Self { kind, description, tensors: Vec::new(), origin: "memory".into() })
    }

    /// Adds a tensor of `f32`.
    ///
    /// # Panics
    /// When the name is taken or the shape does not fit the data: a mistake in this library, never of its user.
    pub(crate) fn push_f32(&mut self, name: impl Into<String>, shape: &[usize], values: &[f32]) {
        let (name, length) = (name.into(), values.len());
        assert_eq!(shape.iter().product::<usize>(), length, "tensor '{name}' of shape {shape:?} has {length} values");
        assert!(
            name != "__metadata__" && self.tensors.iter().all(|tensor| tensor.name != name),
            "the tensor name '{name}' is taken"
        );
        self.tensors.push(NamedTensor { name, shape: shape.to_vec(), values: values.to_vec() });
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// `Error::Format` for a value that is not finite, which [`Self::from_bytes`] would refuse: better no new file than
    /// one that replaces a good one and cannot be loaded. Also for a description of more than 80 MiB.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let fail = |what: String| cannot_save(self.kind, what);
        for tensor in &self.tensors {
            tensor.check_finite().map_err(fail)?;
        }
        let mut end = 0;
        let infos: Vec<_> = self
            .tensors
            .iter()
            .map(|tensor| {
                let start = end;
                end += size_of_val(&tensor.values[..]);
                let info = TensorInfo { dtype: Dtype::F32, shape: tensor.shape.clone(), data_offsets: (start, end) };
                (tensor.name.as_str(), info)
            })
            .collect();
        let version = FORMAT_VERSION.to_string();
        let description = self.description.to_string();
        let metadata = BTreeMap::from([
            ("format", self.kind.format()),
            ("format_version", &version),
            ("description", &description),
        ]);
        let mut bytes = header::encode(&metadata, &infos).map_err(fail)?;
        bytes.reserve_exact(end);
        for tensor in &self.tensors {
            tensor.extend_le_bytes(&mut bytes);
        }
        Ok(bytes)
    }

    /// Reads a whole file. `origin` names it in messages: its path, or "memory".
    ///
    /// Any bytes may be given; memory stays within a small multiple of their number. What the description says is not
    /// checked: take the tensors, which fails on a wrong shape, before allocating anything whose size it names.
    ///
    /// # Errors
    /// `Error::Format` when the bytes are cut short, not safetensors, of another kind than `expected`, of a newer
    /// version, or hold a value that is not finite.
    pub(crate) fn from_bytes(bytes: &[u8], expected: Kind, origin: &str) -> Result<Self> {
        let fail = |what: String| cannot_load(origin, what);
        let (header, data) = header::split(bytes).map_err(fail)?;
        let metadata = header::metadata(header).map_err(fail)?;
        check_kind(&metadata, expected).map_err(fail)?;
        check_version(&metadata).map_err(fail)?;
        let description =
            metadata.get("description").ok_or_else(|| fail("its metadata has no 'description'".into()))?;
        let description =
            serde_json::from_str(description).map_err(|error| fail(format!("its description is not JSON: {error}")))?;

        let mut tensors = Vec::new();
        for (name, info) in header::layout(header, data.len()).map_err(fail)? {
            let bytes = &data[info.data_offsets.0..info.data_offsets.1];
            if info.dtype != Dtype::F32 {
                return Err(fail(format!("its tensor '{name}' is of type {}, and only F32 is used", info.dtype)));
            }
            let tensor = NamedTensor { name, shape: info.shape, values: read_f32(bytes) };
            tensor.check_finite().map_err(fail)?;
            tensors.push(tensor);
        }
        Ok(Self { kind: expected, description, tensors, origin: origin.into() })
    }

    /// The description as a type of the caller's.
    ///
    /// # Errors
    /// `Error::Format` when a field is missing or of another type.
    pub(crate) fn description<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.description)
            .map_err(|error| cannot_load(&self.origin, format_args!("its description does not fit: {error}")))
    }

    /// Moves a tensor of `f32` out.
    ///
    /// # Errors
    /// `Error::Format` when there is none of this name, or it has another shape; it then stays.
    pub(crate) fn take_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let fail = |what: String| cannot_load(&self.origin, what);
        let Some(index) = self.tensors.iter().position(|tensor| tensor.name == name) else {
            return Err(fail(format!("it has no tensor '{name}'")));
        };
        let tensor = &self.tensors[index];
        if tensor.shape != shape {
            return Err(fail(format!("its tensor '{name}' has shape {:?} where {shape:?} is expected", tensor.shape)));
        }
        Ok(self.tensors.swap_remove(index).values)
    }
}

fn check_kind(metadata: &BTreeMap<String, String>, expected: Kind) -> std::result::Result<(), String> {
    let wanted = expected.noun();
    let Some(format) = metadata.get("format") else {
        return Err(format!(
            "it is a safetensors file whose metadata names no 'format', where a sfeuot {wanted} is expected"
        ));
    };
    match [Kind::Model, Kind::Checkpoint].into_iter().find(|kind| kind.format() == format) {
        Some(kind) if kind == expected => Ok(()),
        Some(kind) => Err(format!("it is a sfeuot {} where a {wanted} is expected", kind.noun())),
        None => Err(format!("it is a safetensors file of format '{format}', where a sfeuot {wanted} is expected")),
    }
}

fn check_version(metadata: &BTreeMap<String, String>) -> std::result::Result<(), String> {
    let text = metadata.get("format_version").map_or("", String::as_str);
    match text.parse::<u64>() {
        Ok(version) if version > FORMAT_VERSION => Err(format!(
            "it has format version {version}, and this version of the library reads up to {FORMAT_VERSION}; a newer one \
             is needed"
        )),
        Ok(1..) => Ok(()),
        _ => Err(format!("its format_version is '{text}', which must be a whole number from 1 on")),
    }
}

fn cannot_load(origin: &str, what: impl std::fmt::Display) -> Error {
    Error::Format(format!("cannot load from '{origin}': {}", presentable(&what.to_string())))
}

fn cannot_save(kind: Kind, what: impl std::fmt::Display) -> Error {
    Error::Format(format!("cannot save the {}: {}", kind.noun(), presentable(&what.to_string())))
}

/// Text that may quote a file, made fit for a log line and a C string: short, and without control characters.
fn presentable(text: &str) -> String {
    let mut clean = String::new();
    for character in text.chars() {
        if clean.len() >= MAX_MESSAGE {
            clean.push_str("...");
            break;
        }
        if character.is_control() {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}
