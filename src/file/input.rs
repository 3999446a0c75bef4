//! Reading a model file or a checkpoint that nobody trusts: the header first, then tensor by tensor from the file into
//! the vectors that are asked for, so that a file and a copy of it are never in memory at once.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::header::{self, Entry, Metadata, PREFIX};
use super::json::{self, Json, Limits};
use super::kind::{AXES, AXES_OF_PEAKS, FORMAT_VERSION, FileKind, Key, cannot_load, not_finite};
use super::open;
use crate::data::{MOST_AXES, Rotation};
use crate::error::{Error, Result};
use crate::formulas::peaks::PeakAxes;
use crate::symmetric::is_orthogonal;
use crate::{memory, numbers, quote};

/// Number of bytes that are read at once. They lie on the stack, which may be small.
const CHUNK: usize = 4096;
/// Limits of a description: the depth of lists and objects inside each other, and the bytes of a key, a word or a
/// number. The parser behind them keeps each of these whole in memory.
const DEPTH: usize = 8;
const TOKEN: usize = 256;

/// A file of a known kind and version whose layout is sound.
pub(crate) struct Input<'a> {
    source: Source<'a>,
    description: Vec<u8>,
    tensors: Vec<Entry>,
    /// Where the tensors' bytes begin.
    data: u64,
}

enum Source<'a> {
    Memory(&'a [u8]),
    File { file: File, path: &'a Path },
}

impl<'a> Input<'a> {
    /// Opens a file and reads its header alone.
    ///
    /// # Errors
    /// `Error::Io` with the path, also for what is not a regular file; `Error::Format` when it is cut short, not
    /// safetensors, of another kind than `expected`, or of a newer version; `Error::OutOfMemory`.
    pub(crate) fn open(path: &'a Path, expected: FileKind) -> Result<Self> {
        let refused = |source| Error::Io { action: "cannot read", path: path.into(), source };
        let (file, length) = open::regular(path).map_err(refused)?;
        Self::begin(Source::File { file, path }, length, expected)
    }

    /// Reads the header of a file whose bytes are in memory.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn memory(bytes: &'a [u8], expected: FileKind) -> Result<Self> {
        Self::begin(Source::Memory(bytes), bytes.len() as u64, expected)
    }

    fn begin(mut source: Source<'a>, length: u64, expected: FileKind) -> Result<Self> {
        if length < PREFIX as u64 {
            let what = format_args!("it is {length} bytes long, too short to be a safetensors file");
            return Err(cannot_load(&source.origin(), what));
        }
        let mut prefix = [0; PREFIX];
        source.read(0, &mut prefix)?;
        let header = header::length(prefix, length).map_err(|what| cannot_load(&source.origin(), what))?;
        let data = PREFIX as u64 + header as u64;
        let (description, tensors) = match &mut source {
            Source::Memory(bytes) => {
                let header = &bytes[PREFIX..][..header];
                let (description, tensors) = parse(header, length - data, expected, MEMORY)?;
                (memory::copied(DESCRIPTION, &header[description])?, tensors)
            }
            Source::File { path, .. } => {
                let path = *path;
                let mut bytes = memory::filled("the header of a file", header, 0)?;
                source.read(PREFIX as u64, &mut bytes)?;
                let (description, tensors) = parse(&bytes, length - data, expected, &quote::path(path))?;
                let end = description.end - description.start;
                bytes.copy_within(description, 0);
                bytes.truncate(end);
                (bytes, tensors)
            }
        };
        Ok(Self { source, description, tensors, data })
    }

    /// Takes the description, as a type of the caller's. Its lists may have a quarter of the count of numbers in all
    /// tensors: no network has less than four weights for each number of a sample.
    ///
    /// # Errors
    /// `Error::Format` when it is not JSON, a field is missing or of another type, or anything in it is longer than in
    /// any description that the library writes; `Error::OutOfMemory`.
    pub(crate) fn description<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut text = std::mem::take(&mut self.description);
        json::unescape(&mut text);
        let items = self.tensors.last().map_or(0, |tensor| tensor.end / 4 / size_of::<f32>() as u64);
        let limits =
            Limits { depth: DEPTH, token: TOKEN, items: items.clamp(64, numbers::MAX_DIMENSION as u64) as usize };
        let unfit = |what| self.unfit(format_args!("its description is not JSON of this library ({what})"));
        let text = std::str::from_utf8(&text).map_err(|error| unfit(error.to_string()))?;
        let mut json = Json::new(text);
        json.value(&limits).and_then(|_| json.end()).map_err(unfit)?;
        serde_json::from_str(text).map_err(|error| match numbers::refusal(&error) {
            Some(refusal) => refusal,
            None => self.unfit(format_args!("its description does not fit: {error}")),
        })
    }

    /// Checks that there is a tensor of this name and shape.
    ///
    /// # Errors
    /// `Error::Format`.
    pub(crate) fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.find(name, shape).map(drop)
    }

    /// Reads the axes of a problem with samples of `dimension` numbers, if the file has some.
    ///
    /// # Errors
    /// As [`Self::f32`].
    pub(crate) fn rotation(&mut self, has: bool, dimension: usize) -> Result<Option<Rotation>> {
        if !has {
            return Ok(None);
        }
        if dimension > MOST_AXES {
            return Err(self.unfit(format_args!(
                "it has axes for samples of {dimension} numbers, but only samples of up to {MOST_AXES} have axes of their own"
            )));
        }
        let rotation = Rotation::new(dimension, self.f32(AXES, &[dimension, dimension])?);
        if !rotation.is_orthogonal() {
            return Err(self.unfit(format_args!(
                "its tensor '{AXES}' has rows that are not of unit length and at right angles to each other"
            )));
        }
        Ok(Some(rotation))
    }

    /// Reads the axes that so many peaks of samples of `dimension` numbers have of their own.
    ///
    /// # Errors
    /// As [`Self::f32`].
    pub(crate) fn peak_axes(&mut self, count: usize, dimension: usize) -> Result<PeakAxes> {
        let axes = PeakAxes::new(self.f32(AXES_OF_PEAKS, &[count, dimension, dimension])?);
        if axes.each(dimension).any(|axes| !is_orthogonal(axes, dimension)) {
            return Err(self.unfit(format_args!(
                "its tensor '{AXES_OF_PEAKS}' has rows that are not of unit length and at right angles to the others of their peak"
            )));
        }
        Ok(axes)
    }

    /// Reads a tensor of `f32`.
    ///
    /// # Errors
    /// `Error::Format` when there is none of this name, it has another shape, or holds a value that is not finite;
    /// `Error::Io`, `Error::OutOfMemory`.
    pub(crate) fn f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        self.append_f32(name, shape, &mut values)?;
        Ok(values)
    }

    /// Reads a tensor of `f32` behind what `values` has.
    ///
    /// # Errors
    /// As [`Self::f32`].
    pub(crate) fn append_f32(&mut self, name: &str, shape: &[usize], values: &mut Vec<f32>) -> Result<()> {
        let Entry { start, end, .. } = *self.find(name, shape)?;
        // No tensor is larger than the file, so it can be counted; on a small host it cannot be held.
        let length = usize::try_from((end - start) / size_of::<f32>() as u64)
            .map_err(|_| Error::OutOfMemory(format!("the system has no memory for the tensor '{name}'")))?;
        let first = values.len();
        memory::reserve(values, "a tensor of a file", length)?;
        let mut at = self.data + start;
        let mut chunk = [0; CHUNK];
        while values.len() - first < length {
            let bytes = size_of::<f32>() * (first + length - values.len());
            let chunk = &mut chunk[..bytes.min(CHUNK)];
            self.source.read(at, chunk)?;
            at += chunk.len() as u64;
            values.extend(chunk.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        }
        match values[first..].iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(index) => Err(self.unfit(not_finite(name, index, values[first + index]))),
        }
    }

    /// Returns whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.iter().any(|tensor| tensor.name == name)
    }

    /// Returns the error that the file cannot be loaded because of `what`. It says where the file came from.
    pub(crate) fn unfit(&self, what: impl std::fmt::Display) -> Error {
        cannot_load(&self.source.origin(), what)
    }

    /// Returns the error for what a check of the description found. An argument out of range is the file's fault, not
    /// the host's.
    pub(crate) fn refusal(&self, error: Error) -> Error {
        match error {
            Error::InvalidArgument(what) => self.unfit(what),
            other => other,
        }
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<&Entry> {
        let Some(tensor) = self.tensors.iter().find(|tensor| tensor.name == name) else {
            return Err(self.unfit(format_args!("it has no tensor '{name}'")));
        };
        if tensor.shape != shape {
            let what = format_args!("its tensor '{name}' has shape {:?} where {shape:?} is expected", tensor.shape);
            return Err(self.unfit(what));
        }
        Ok(tensor)
    }

    /// Returns names and shapes of all tensors.
    #[cfg(test)]
    pub(super) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        self.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect()
    }
}

const MEMORY: &str = "memory";
const DESCRIPTION: &str = "the description in a file";

impl Source<'_> {
    fn origin(&self) -> String {
        match self {
            Self::Memory(_) => MEMORY.into(),
            Self::File { path, .. } => quote::path(path),
        }
    }

    /// Fills `bytes` from byte `at` of the file on. When it was opened, the file was long enough.
    fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<()> {
        match self {
            Self::Memory(from) => bytes.copy_from_slice(&from[at as usize..][..bytes.len()]),
            Self::File { file, path } => {
                let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(bytes));
                read.map_err(|source| match source.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        cannot_load(&quote::path(path), "it was cut short while it was read")
                    }
                    _ => Error::Io { action: "cannot read", path: path.to_path_buf(), source },
                })?;
            }
        }
        Ok(())
    }
}

/// Returns where the description stands in the header, and the tensors.
fn parse(header: &[u8], data: u64, expected: FileKind, origin: &str) -> Result<(std::ops::Range<usize>, Vec<Entry>)> {
    let parse = || {
        let text = header::text(header)?;
        let metadata = Metadata::read(text)?;
        check_kind(&metadata, expected)?;
        check_version(&metadata)?;
        let description = metadata.get(Key::Description);
        let description = description.ok_or_else(|| format!("its metadata has no '{}'", Key::Description.name()))?;
        let tensors = header::layout(text, data)?;
        let start = description.written().as_ptr() as usize - text.as_ptr() as usize;
        Ok((start..start + description.written().len(), tensors))
    };
    parse().map_err(|what: String| cannot_load(origin, what))
}

fn check_kind(metadata: &Metadata, expected: FileKind) -> std::result::Result<(), String> {
    let wanted = expected.noun();
    match (metadata.kind(), metadata.get(Key::Format)) {
        (Some(kind), _) if kind == expected => Ok(()),
        (Some(kind), _) => Err(format!("it is a sfeuot {} where a {wanted} is expected", kind.noun())),
        (None, Some(format)) => Err(format!(
            "it is a safetensors file of format '{}', where a sfeuot {wanted} is expected",
            format.beginning()
        )),
        (None, None) => Err(format!(
            "it is a safetensors file whose metadata name no '{}', where a sfeuot {wanted} is expected",
            Key::Format.name()
        )),
    }
}

fn check_version(metadata: &Metadata) -> std::result::Result<(), String> {
    let text = metadata.get(Key::Version).map_or(String::new(), |version| version.beginning());
    match text.parse::<u64>() {
        Ok(version) if version > FORMAT_VERSION => Err(format!(
            "it has format version {version}, and this version of the library reads up to {FORMAT_VERSION}; a \
             newer one is needed"
        )),
        Ok(1..) => Ok(()),
        _ => Err(format!("its {} is '{text}', which must be a whole number from 1 on", Key::Version.name())),
    }
}
