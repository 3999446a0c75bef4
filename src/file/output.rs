//! Writes a model file or a checkpoint tensor by tensor, without a second copy of the weights.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::ser::{SerializeMap as _, Serializer as _};
use serde::{Serialize, de::DeserializeOwned};

use super::atomic;
use super::growing::Growing;
use super::header::{F32, MAX_HEADER, MAX_NAME, MAX_TENSORS, METADATA, PREFIX};
use super::json::{Json, Limits};
use super::kind::{AXES, AXES_OF_PEAKS, FIRST_VERSION, FileKind, Key, cannot_save, not_finite};
use crate::data::Rotation;
use crate::error::{Error, Result};
use crate::formulas::peaks::PeakAxes;
use crate::numbers;

/// Number of bytes that are handed to the system at once. They lie on the stack, which may be small.
const CHUNK: usize = 4096;

/// The content of a file that will be written.
pub(crate) struct Output<'a> {
    kind: FileKind,
    version: u64,
    /// The description, a JSON document.
    description: String,
    tensors: Vec<Tensor<'a>>,
}

struct Tensor<'a> {
    name: String,
    shape: Vec<usize>,
    values: &'a [f32],
}

/// The entry of a tensor in the header.
#[derive(Serialize)]
struct Info<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl<'a> Output<'a> {
    /// Starts a file without tensors.
    ///
    /// The description is read back at once, because JSON has neither NaN nor infinity: a number that became null is
    /// refused here rather than when the file is needed. Finite `f32`, `f64` and 64-bit integers survive bit for bit.
    ///
    /// # Errors
    /// `Error::Format` when the description has no JSON form that reads back as the same type; `Error::OutOfMemory`.
    pub(crate) fn new<T: Serialize + DeserializeOwned>(kind: FileKind, description: &T) -> Result<Self> {
        Ok(Self { kind, version: FIRST_VERSION, description: document(kind, description)?, tensors: Vec::new() })
    }

    /// Says which versions the file's parts need, where it has them. Libraries that do not know the newest of these refuse
    /// the file.
    pub(crate) fn needs(&mut self, parts: &[(bool, u64)]) {
        let needed = parts.iter().filter(|(present, _)| *present).map(|(_, version)| *version);
        self.version = needed.max().unwrap_or(FIRST_VERSION);
    }

    /// Adds the axes of a problem, where they are not the components of a sample.
    pub(crate) fn push_rotation(&mut self, rotation: Option<&'a Rotation>) {
        if let Some(rotation) = rotation {
            self.push_f32(AXES, &[rotation.dimension(); 2], rotation.numbers());
        }
    }

    /// Adds the axes of peaks of samples of `dimension` numbers.
    pub(crate) fn push_peak_axes(&mut self, dimension: usize, axes: &'a PeakAxes) {
        let count = axes.numbers().len() / (dimension * dimension);
        self.push_f32(AXES_OF_PEAKS, &[count, dimension, dimension], axes.numbers());
    }

    /// Adds a tensor of `f32`.
    ///
    /// # Panics
    /// When the name is taken or too long, the shape does not fit the data, or there are too many tensors: a mistake in
    /// this library, never of its user.
    pub(crate) fn push_f32(&mut self, name: impl Into<String>, shape: &[usize], values: &'a [f32]) {
        let (name, length) = (name.into(), values.len());
        assert_eq!(shape.iter().product::<usize>(), length, "tensor '{name}' of shape {shape:?} has {length} values");
        assert!(
            name != METADATA && name.len() <= MAX_NAME / 6 && self.tensors.iter().all(|tensor| tensor.name != name),
            "the tensor name '{name}' is taken or too long"
        );
        assert!(self.tensors.len() < MAX_TENSORS, "a file has at most {MAX_TENSORS} tensors");
        self.tensors.push(Tensor { name, shape: shape.to_vec(), values });
    }

    /// Creates or replaces a file as one indivisible act.
    ///
    /// # Errors
    /// `Error::Format` for a value that is not finite, which a load would refuse: better no new file than one that
    /// replaces a good one and cannot be loaded. Also for a description of more than 80 MiB. `Error::OutOfMemory`;
    /// `Error::Io` with the path. What was there is then untouched.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        self.check()?;
        let header = self.header()?;
        atomic::write(path, |file| self.write(&header, file))
    }

    fn check(&self) -> Result<()> {
        for Tensor { name, values, .. } in &self.tensors {
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(cannot_save(self.kind, not_finite(name, index, values[index])));
            }
        }
        Ok(())
    }

    /// Returns length prefix and header, padded so that the data starts at a multiple of 8 bytes.
    ///
    /// The order is fixed, so equal content gives equal bytes.
    fn header(&self) -> Result<Vec<u8>> {
        let mut text = Growing::new("the header of a file");
        let written = self.write_header(&mut text);
        written.map_err(|error| text.fault(self.kind, error))?;
        let mut bytes = text.into_bytes();
        let length = bytes.len() - PREFIX;
        if length > MAX_HEADER {
            let what = format_args!("its header would be {length} bytes long, and at most {MAX_HEADER} are allowed");
            return Err(cannot_save(self.kind, what));
        }
        bytes[..PREFIX].copy_from_slice(&(length as u64).to_le_bytes());
        Ok(bytes)
    }

    fn write_header(&self, text: &mut Growing) -> io::Result<()> {
        text.write_all(&[0; PREFIX])?;
        let version = self.version.to_string();
        let metadata = BTreeMap::from([
            (Key::Description.name(), self.description.as_str()),
            (Key::Format.name(), self.kind.format()),
            (Key::Version.name(), &version),
        ]);
        let mut json = serde_json::Serializer::new(&mut *text);
        let mut map = json.serialize_map(Some(1 + self.tensors.len()))?;
        map.serialize_entry(METADATA, &metadata)?;
        let mut end = 0;
        for Tensor { name, shape, values } in &self.tensors {
            let start = end;
            end += size_of_val(*values);
            map.serialize_entry(name, &Info { dtype: F32, shape, data_offsets: [start, end] })?;
        }
        map.end()?;
        let length = text.len();
        let padding = &[b' '; PREFIX][..length.next_multiple_of(PREFIX) - length];
        text.write_all(padding)
    }

    fn write(&self, header: &[u8], to: &mut dyn Write) -> io::Result<()> {
        to.write_all(header)?;
        let mut bytes = [0; CHUNK];
        for Tensor { values, .. } in &self.tensors {
            for values in values.chunks(CHUNK / size_of::<f32>()) {
                let bytes = &mut bytes[..size_of_val(values)];
                for (bytes, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                    *bytes = value.to_le_bytes();
                }
                to.write_all(bytes)?;
            }
        }
        Ok(())
    }

    /// Returns the bytes of the file.
    #[cfg(test)]
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        self.check()?;
        let mut bytes = Vec::new();
        self.write(&self.header()?, &mut bytes).expect("memory takes everything");
        Ok(bytes)
    }
}

/// Returns the JSON document of a description, after a check that it reads back.
fn document<T: Serialize + DeserializeOwned>(kind: FileKind, description: &T) -> Result<String> {
    const WHAT: &str = "the description of a file";
    let mut text = Growing::new(WHAT);
    serde_json::to_writer(&mut text, description).map_err(|error| text.fault(kind, error))?;
    let text = String::from_utf8(text.into_bytes()).map_err(|error| unfit(kind, error))?;
    if let Err(error) = serde_json::from_str::<T>(&text) {
        return Err(numbers::refusal(&error).unwrap_or_else(|| unfit(kind, error)));
    }
    let mut ordered = Growing::new(WHAT);
    order(&mut Json::new(&text), &mut ordered).map_err(|error| ordered.fault(kind, error))?;
    String::from_utf8(ordered.into_bytes()).map_err(|error| unfit(kind, error))
}

/// Writes a document of the serialiser anew, with the members of each object in the order of their names. The order of
/// a type's fields may change between versions, but equal content has to give the same file. Objects inside lists stay
/// as they are.
fn order(json: &mut Json, to: &mut dyn Write) -> io::Result<()> {
    const WHOLE: Limits = Limits { depth: 32, token: usize::MAX, items: usize::MAX };
    if !json.is_object() {
        let value = json.value(&WHOLE).map_err(io::Error::other)?;
        return to.write_all(value.as_bytes());
    }
    let mut members = Vec::new();
    let read = json.members(|json, key| {
        members.push((key.written(), json.value(&WHOLE)?));
        Ok(())
    });
    read.map_err(io::Error::other)?;
    members.sort_by_key(|(key, _)| *key);
    let mut separator = "{";
    for (key, value) in members {
        write!(to, "{separator}\"{key}\":")?;
        order(&mut Json::new(value), to)?;
        separator = ",";
    }
    to.write_all(if separator == "{" { b"{}" } else { b"}" })
}

fn unfit(kind: FileKind, error: impl std::fmt::Display) -> Error {
    cannot_save(kind, format_args!("its description does not survive as JSON: {error}"))
}
