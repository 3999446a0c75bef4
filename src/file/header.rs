//! The safetensors frame: an 8-byte little-endian header length, a JSON header, then the tensors' bytes without gaps.
//!
//! Nothing here trusts its input. Offsets are compared with the bytes at hand before they enter any arithmetic, which
//! the safetensors crate's own reader does not do: there, offsets that add up to almost 2^64 overflow.
//! Failures are clauses about the file; the container adds where it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use safetensors::tensor::TensorInfo;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer as _};

/// Bytes of the length prefix.
pub(super) const PREFIX: usize = 8;
/// A header is names, shapes and one description, with 2 d numbers of up to 24 characters and 2 d of up to 10 where samples have
/// d, 2^20 at most: 71 MB. More than this is no file of ours, and parsing it would cost a multiple of its size in memory.
pub(super) const MAX_HEADER: usize = 80 << 20;
const METADATA: &str = "__metadata__";

/// Splits a file into its header text and its data.
pub(super) fn split(bytes: &[u8]) -> Result<(&str, &[u8]), String> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Err(format!("it is {} bytes long, too short to be a safetensors file", bytes.len()));
    };
    let announced = u64::from_le_bytes(*prefix);
    let Some(length) = usize::try_from(announced).ok().filter(|&length| length <= rest.len()) else {
        return Err(format!(
            "it is cut short or not a safetensors file: its first 8 bytes announce a header of {announced} bytes, \
             and {} follow",
            rest.len()
        ));
    };
    if length > MAX_HEADER {
        return Err(format!("its header is {length} bytes long, and at most {MAX_HEADER} are allowed"));
    }
    let (header, data) = rest.split_at(length);
    let header = std::str::from_utf8(header)
        .map_err(|error| format!("it is not a safetensors file: its header is not UTF-8 text ({error})"))?;
    Ok((header, data))
}

/// The `__metadata__` map; empty when the header has none.
///
/// Reads nothing else, so that a file of another kind or of a newer version is recognised as such even when the rest
/// of its header is beyond this version.
pub(super) fn metadata(header: &str) -> Result<BTreeMap<String, String>, String> {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(rename = "__metadata__", default)]
        metadata: Option<BTreeMap<String, String>>,
    }
    let head: Head = serde_json::from_str(header).map_err(not_a_header)?;
    Ok(head.metadata.unwrap_or_default())
}

/// The tensors in the order of their bytes, which are known to cover `data_length` bytes exactly: no gap, no overlap,
/// every range as long as shape and element type ask.
pub(super) fn layout(header: &str, data_length: usize) -> Result<Vec<(String, TensorInfo)>, String> {
    let mut parser = serde_json::Deserializer::from_str(header);
    let mut tensors = parser.deserialize_map(Tensors).map_err(not_a_header)?;
    parser.end().map_err(not_a_header)?;
    tensors.sort_by_key(|(_, info)| info.data_offsets);

    let mut covered = 0;
    for (name, info) in &tensors {
        let (start, end) = info.data_offsets;
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
        let needed = byte_length(info);
        if needed != Some(end - start) {
            return Err(format!(
                "its tensor '{name}' has {} bytes, which does not fit its shape {:?} of {}",
                end - start,
                info.shape,
                info.dtype
            ));
        }
        covered = end;
    }
    if covered != data_length {
        return Err(format!("{} bytes follow its last tensor", data_length - covered));
    }
    Ok(tensors)
}

/// Length prefix and header, padded so that the data starts at a multiple of 8 bytes.
///
/// The keys keep the order given, so equal content is equal bytes.
pub(super) fn encode(metadata: &BTreeMap<&str, &str>, tensors: &[(&str, TensorInfo)]) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; PREFIX];
    let mut json = serde_json::Serializer::new(&mut bytes);
    let written = json.serialize_map(Some(1 + tensors.len())).and_then(|mut map| {
        map.serialize_entry(METADATA, metadata)?;
        for (name, info) in tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    });
    written.map_err(|error| format!("its header cannot be written as JSON: {error}"))?;
    bytes.resize(bytes.len().next_multiple_of(PREFIX), b' ');

    let length = bytes.len() - PREFIX;
    if length > MAX_HEADER {
        return Err(format!("its header would be {length} bytes long, and at most {MAX_HEADER} are allowed"));
    }
    bytes[..PREFIX].copy_from_slice(&(length as u64).to_le_bytes());
    Ok(bytes)
}

/// Bytes that the shape asks for; `None` for more than can be counted or a fraction of a byte.
fn byte_length(info: &TensorInfo) -> Option<usize> {
    let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, &extent| bits.checked_mul(extent))?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

fn not_a_header(error: serde_json::Error) -> String {
    format!("it is not a safetensors file: its header does not parse ({error})")
}

/// Collects the header's entries other than `__metadata__` and refuses a name that comes twice.
struct Tensors;

impl<'de> Visitor<'de> for Tensors {
    type Value = Vec<(String, TensorInfo)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map from tensor names to dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tensors = Vec::new();
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let info = map.next_value::<TensorInfo>()?;
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("the tensor '{name}' comes twice")));
            }
            tensors.push((name, info));
        }
        Ok(tensors)
    }
}
