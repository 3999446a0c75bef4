//! The safetensors frame: an 8-byte little-endian header length, a JSON header, then the tensors' bytes without gaps.
//!
//! Nothing here trusts its input. The parts of a header that are kept have size limits, and offsets are compared with
//! the file's length before they enter any arithmetic. An error is a clause about the file, and the caller adds the
//! file's name.

use super::json::{Json, Limits, Parsed, Text};
use super::kind::{FileKind, Key};

/// Bytes of the length prefix.
pub(super) const PREFIX: usize = 8;
/// The longest header, in bytes. A header has names, shapes and one description. For samples of d numbers, the
/// description has 2 d numbers of up to 24 characters and 2 d of up to 10. With the largest d, 2^20, these are 71 MB. Peaks
/// have up to 12,320 numbers more.
pub(super) const MAX_HEADER: usize = 80 << 20;
/// The largest number of tensors. A model has two for each layer of two networks, whose graphs have at most 1024 nodes.
pub(super) const MAX_TENSORS: usize = 4096;
/// The largest number of axes of a tensor. The library's own have up to 4.
const MAX_AXES: usize = 8;
/// The longest name of a tensor, in bytes with escapes.
pub(super) const MAX_NAME: usize = 256;
pub(super) const METADATA: &str = "__metadata__";
/// The only element type.
pub(super) const F32: &str = "F32";

/// Limits of values that are skipped. Only their depth is bounded, because another tool may have put anything there.
const ANYTHING: Limits = Limits { depth: 32, token: usize::MAX, items: usize::MAX };

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub name: String,
    pub shape: Vec<usize>,
    /// The first byte of the tensor, counted from the end of the header.
    pub start: u64,
    pub end: u64,
}

/// Returns the header's length, given a file's first bytes and its length.
pub(super) fn length(prefix: [u8; PREFIX], file: u64) -> Parsed<usize> {
    let announced = u64::from_le_bytes(prefix);
    let follow = file - PREFIX as u64;
    if announced > follow {
        return Err(format!(
            "it is cut short or not a safetensors file: its first 8 bytes announce a header of {announced} bytes, \
             and {follow} follow"
        ));
    }
    if announced > MAX_HEADER as u64 {
        return Err(format!("its header is {announced} bytes long, and at most {MAX_HEADER} are allowed"));
    }
    Ok(announced as usize)
}

/// Returns the header's text.
pub(super) fn text(bytes: &[u8]) -> Parsed<&str> {
    std::str::from_utf8(bytes)
        .map_err(|error| format!("it is not a safetensors file: its header is not UTF-8 text ({error})"))
}

/// The metadata that the library knows, in the order of [`Key::ALL`].
pub(super) struct Metadata<'a>([Option<Text<'a>>; Key::ALL.len()]);

impl<'a> Metadata<'a> {
    /// Reads the metadata and nothing else. A file of another kind or of a newer version is then recognised even when
    /// this version cannot read the rest of its header.
    pub fn read(header: &'a str) -> Parsed<Self> {
        let mut found = [None; Key::ALL.len()];
        let mut json = Json::new(header);
        let read = json.members(|json, name| {
            if !name.is(METADATA) {
                return json.value(&ANYTHING).map(drop);
            }
            if json.null() {
                return Ok(());
            }
            json.members(|json, name| {
                let value = json.string()?;
                if let Some(key) = Key::ALL.iter().position(|key| name.is(key)) {
                    once(&mut found[key], value, Key::ALL[key])?;
                }
                Ok(())
            })
        });
        read.and_then(|()| json.end()).map_err(not_a_header)?;
        Ok(Self(found))
    }

    /// Returns the value of a key under its present or its former name.
    pub fn get(&self, key: Key) -> Option<Text<'a>> {
        let [now, before] = key.places();
        self.0[now].or(self.0[before])
    }

    /// Returns the file's kind, if its metadata name one.
    pub fn kind(&self) -> Option<FileKind> {
        let format = self.get(Key::Format)?;
        FileKind::ALL.into_iter().find(|kind| format.is(kind.format()))
    }
}

/// Returns the tensors in the order of their bytes. They cover `data_length` bytes exactly: there is no gap and no
/// overlap, and every range has the length that the shape asks for.
pub(super) fn layout(header: &str, data_length: u64) -> Parsed<Vec<Entry>> {
    let mut tensors: Vec<Entry> = Vec::new();
    // A clause about the file; those of the parser need to be told what it parsed.
    let mut fault = None;
    let mut json = Json::new(header);
    let mut metadata = None;
    let read = json.members(|json, name| {
        if name.is(METADATA) {
            once(&mut metadata, (), METADATA)?;
            return json.value(&ANYTHING).map(drop);
        }
        let mut stop = |what| {
            fault = Some(what);
            Err(String::new())
        };
        let Some(name) = name.within(MAX_NAME) else {
            return stop(format!("its tensor '{}' has a name of more than {MAX_NAME} bytes", name.beginning()));
        };
        if tensors.len() == MAX_TENSORS {
            return stop(format!("it has more than {MAX_TENSORS} tensors"));
        }
        if tensors.iter().any(|tensor| tensor.name == name) {
            return stop(format!("its tensor '{name}' comes twice"));
        }
        let (dtype, shape, [start, end]) = tensor(json)?;
        if !dtype.is(F32) {
            let dtype = dtype.beginning();
            return stop(format!("its tensor '{name}' is of type {dtype}, and only {F32} is used"));
        }
        tensors.push(Entry { name, shape, start, end });
        Ok(())
    });
    let read = read.and_then(|()| json.end());
    if let Some(fault) = fault {
        return Err(fault);
    }
    read.map_err(not_a_header)?;
    tensors.sort_by_key(|tensor| (tensor.start, tensor.end));

    let mut covered = 0;
    for Entry { name, shape, start, end } in &tensors {
        let (start, end) = (*start, *end);
        if end > data_length {
            return Err(format!(
                "its tensor '{name}' ends at byte {end} of the data, and the data is {data_length} bytes long"
            ));
        }
        if start != covered || end < start {
            return Err(format!(
                "its tensor '{name}' claims the data's bytes {start} to {end} where byte {covered} comes next: tensors \
                 may neither overlap nor leave gaps"
            ));
        }
        let needed = shape.iter().try_fold(size_of::<f32>() as u64, |bytes, &axis| bytes.checked_mul(axis as u64));
        if needed != Some(end - start) {
            return Err(format!(
                "its tensor '{name}' has {} bytes, which does not fit its shape {shape:?} of {F32}",
                end - start
            ));
        }
        covered = end;
    }
    if covered != data_length {
        return Err(format!("{} bytes follow its last tensor", data_length - covered));
    }
    Ok(tensors)
}

/// Returns type, shape and range of a tensor.
fn tensor<'a>(json: &mut Json<'a>) -> Parsed<(Text<'a>, Vec<usize>, [u64; 2])> {
    let (mut dtype, mut shape, mut range) = (None, None, None);
    json.members(|json, field| {
        if field.is("dtype") {
            return once(&mut dtype, json.string()?, "dtype");
        }
        if field.is("shape") {
            let mut axes = Vec::new();
            json.items(|json| {
                if axes.len() == MAX_AXES {
                    return Err(format!("a shape has more than {MAX_AXES} axes"));
                }
                let axis = json.whole()?;
                axes.push(usize::try_from(axis).map_err(|_| format!("a shape has an axis of {axis}"))?);
                Ok(())
            })?;
            return once(&mut shape, axes, "shape");
        }
        if field.is("data_offsets") {
            let mut offsets = [0; 2];
            let mut count = 0;
            json.items(|json| {
                let offset = json.whole()?;
                *offsets.get_mut(count).ok_or("data_offsets has more than 2 numbers")? = offset;
                count += 1;
                Ok(())
            })?;
            if count < 2 {
                return Err("data_offsets has less than 2 numbers".into());
            }
            return once(&mut range, offsets, "data_offsets");
        }
        Err(format!("a tensor has the unknown field '{}'", field.beginning()))
    })?;
    let absent = |field: &str| format!("a tensor has no {field}");
    Ok((
        dtype.ok_or_else(|| absent("dtype"))?,
        shape.ok_or_else(|| absent("shape"))?,
        range.ok_or_else(|| absent("data_offsets"))?,
    ))
}

/// Fills `place`, or refuses a second value.
fn once<T>(place: &mut Option<T>, value: T, name: &str) -> Parsed<()> {
    if place.replace(value).is_some() { Err(format!("'{name}' comes twice")) } else { Ok(()) }
}

fn not_a_header(error: String) -> String {
    format!("it is not a safetensors file: its header does not parse ({error})")
}
