//! Damage to a file: to its bytes, its length, the JSON of its header and description, and the numbers of its tensors.

use serde_json::{Map, Value, json};

use super::random::Random;

/// A file of the safetensors format taken apart. What is done to a part stays in the file as a whole.
struct Parts {
    header: Value,
    description: Value,
    /// In place of the description, which JSON's own types cannot spoil in every way.
    text: Option<String>,
    data: Vec<u8>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (prefix, rest) = bytes.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*prefix)).ok()?;
        let (header, data) = rest.split_at_checked(length)?;
        let header: Value = serde_json::from_slice(header).ok()?;
        let description = serde_json::from_str(header["__metadata__"]["description"].as_str()?).ok()?;
        Some(Self { header, description, text: None, data: data.to_vec() })
    }

    fn whole(mut self) -> Vec<u8> {
        let text = self.text.unwrap_or_else(|| self.description.to_string());
        if let Some(metadata) = self.header["__metadata__"].as_object_mut()
            && let Some(description) = metadata.get_mut("description")
        {
            *description = text.into();
        }
        let header = self.header.to_string();
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &self.data].concat()
    }
}

const NUMBERS: [&str; 34] = [
    "0",
    "-0.0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "64",
    "65",
    "1024",
    "4096",
    "4097",
    "1048576",
    "1048577",
    "16777216",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e-5",
    "1e-9",
    "1e-30",
    "1e-45",
    "1e-300",
    "5e-324",
    "1e-400",
    "1e9",
    "1e20",
    "3.4028235e38",
    "1e39",
    "1.7976931348623157e308",
    "1e400",
    "-1e300",
];

/// A damaged copy of `file`; parts of `other` may be in it.
pub fn damaged(random: &mut Random, file: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..random.of(&[1, 1, 1, 2, 3]) {
        bytes = match Parts::of(&bytes).filter(|_| !random.once_in(4)) {
            Some(parts) => inside(random, parts, other),
            None => outside(random, bytes, other),
        };
    }
    bytes
}

/// Damage that does not care what the bytes mean.
fn outside(random: &mut Random, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return other.to_vec();
    }
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => bytes.extend((0..random.between(1, 100)).map(|i| i as u8)),
        2 if bytes.len() >= 8 => {
            let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
            let by = random.between(1, 9) as u64;
            let wrong =
                [length.wrapping_add(by), length.wrapping_sub(by), random.next(), u64::MAX, 0, 80 << 20, 1 << 63];
            bytes[..8].copy_from_slice(&random.of(&wrong).to_le_bytes());
        }
        3 => {
            // A piece of another file over this one, or into it.
            let from = random.below(other.len());
            let piece = &other[from..][..random.below(other.len() - from).min(400)];
            let at = random.below(bytes.len());
            let over = if random.once_in(2) { (at + piece.len()).min(bytes.len()) } else { at };
            bytes.splice(at..over, piece.iter().copied());
        }
        4 => bytes = other.to_vec(),
        5 => bytes = [&bytes[..random.below(bytes.len())], &other[random.below(other.len())..]].concat(),
        _ => {
            for _ in 0..random.between(1, 8) {
                // Most files are short headers before many numbers.
                let end = if random.once_in(2) { bytes.len().min(2000) } else { bytes.len() };
                let at = random.below(end);
                bytes[at] = match random.below(3) {
                    0 => bytes[at] ^ 1 << random.below(8),
                    1 => random.next() as u8,
                    _ => random.of(b"0123456789-+eE.,:[]{}\"\\ntf\x00\xff"),
                };
            }
        }
    }
    bytes
}

/// Damage to what the bytes mean.
fn inside(random: &mut Random, mut parts: Parts, other: &[u8]) -> Vec<u8> {
    match random.below(16) {
        0 | 1 => numbers(random, &mut parts.data),
        2 if random.once_in(8) => bulk(random, &mut parts),
        2 => {
            // The data or the description of another file.
            if let Some(other) = Parts::of(other) {
                match random.below(3) {
                    0 => parts.data = other.data,
                    1 => parts.description = other.description,
                    _ => parts.header = other.header,
                }
            }
        }
        3 | 4 => {
            let mut header = std::mem::take(&mut parts.header);
            node(random, &mut header);
            parts.header = header;
        }
        5 => {
            // A key twice.
            let text = parts.description.to_string();
            if let Some(map) = parts.description.as_object()
                && let Some((key, value)) = map.iter().nth(random.below(map.len()))
            {
                parts.text = Some(format!("{{{}:{value},{}", json!(key), &text[1..]));
            }
        }
        6..11 => {
            // A number that JSON has and its types may not.
            let text = parts.description.to_string();
            parts.text = Some(other_number(random, &text));
        }
        _ => node(random, &mut parts.description),
    }
    parts.whole()
}

/// Text that costs a parser most for each of its bytes.
fn bulk(random: &mut Random, parts: &mut Parts) {
    let times = random.of(&[3_000, 30_000]);
    let text = parts.description.to_string();
    let more = match random.below(6) {
        0 => format!("\"a\":[{}0]", "{\"\":{\"\":{\"\":{\"\":0}}}},".repeat(times / 4)),
        1 => format!("\"a\":[{}0]", "[[[[]]]],".repeat(times)),
        2 => format!("\"a\":[{}0]", "0,".repeat(times)),
        3 => (0..times).map(|i| format!("\"{i}\":{{}},")).collect::<String>() + "\"a\":0",
        4 => {
            let numbers = "1.5e-7,".repeat(times);
            parts.text = Some(text.replacen("\"shift\":[", &format!("\"shift\":[{numbers}"), 1));
            return;
        }
        _ => {
            // Tensors that hold nothing.
            if let Some(header) = parts.header.as_object_mut() {
                header.extend(
                    (0..times)
                        .map(|i| (format!("t{i}"), json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}))),
                );
            }
            return;
        }
    };
    parts.text = Some(format!("{{{more},{}", &text[1..]));
}

/// Puts another number in the place of one.
fn other_number(random: &mut Random, text: &str) -> String {
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let starts: Vec<usize> = text
        .char_indices()
        .filter(|&(at, c)| (c.is_ascii_digit() || c == '-') && text[..at].ends_with([':', ',', '[']))
        .map(|(at, _)| at)
        .collect();
    if starts.is_empty() {
        return text.to_owned();
    }
    let start = random.of(&starts);
    let end = text[start..].find(|c| !numeric(c)).map_or(text.len(), |length| start + length);
    format!("{}{}{}", &text[..start], random.pick(&NUMBERS), &text[end..])
}

/// Damages one node of a tree, wherever it is.
fn node(random: &mut Random, value: &mut Value) {
    let go_deeper = !random.once_in(4);
    match value {
        Value::Object(map) if go_deeper && !map.is_empty() => {
            let at = random.below(map.len());
            if let Some((_, child)) = map.iter_mut().nth(at) {
                node(random, child);
            }
        }
        Value::Array(list) if go_deeper && !list.is_empty() => {
            let at = random.below(list.len());
            node(random, &mut list[at]);
        }
        Value::Object(map) => keys(random, map),
        Value::Array(list) => match random.below(4) {
            0 => list.clear(),
            1 => drop(list.pop()),
            2 => list.extend(list.first().cloned()),
            _ => {
                for _ in 0..random.of(&[1, 10, 3000]) {
                    list.push(random.of(&[0.0, 1.0, 1e300, -3.5]).into());
                }
            }
        },
        _ => *value = replacement(random),
    }
}

fn keys(random: &mut Random, map: &mut Map<String, Value>) {
    let Some(key) = map.keys().nth(random.below(map.len())).cloned() else { return };
    match random.below(4) {
        0 => drop(map.remove(&key)),
        1 => {
            if let Some(value) = map.remove(&key) {
                map.insert(format!("{key}{}", random.pick(&["x", "", " ", "\u{0}"])), value);
            }
        }
        2 => drop(map.insert("unknown".into(), replacement(random))),
        _ => drop(map.insert(key, replacement(random))),
    }
}

fn replacement(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!([]),
        3 => json!({}),
        4 => json!(random.pick(&["", "Kl", "kl", "Chi2", "Silu", "F32", "F64", "\u{0}", "nan", "1"])),
        5 => {
            let mut nested = json!(0);
            for _ in 0..random.of(&[3, 100, 126]) {
                nested = json!([nested]);
            }
            nested
        }
        _ => serde_json::from_str(random.pick(&NUMBERS)).unwrap_or(json!(-1)),
    }
}

const VALUES: [f32; 16] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    1e38,
    -1e38,
    1e30,
    1e19,
    -1e10,
    1e5,
    f32::MIN_POSITIVE,
    1e-45,
    -1e-40,
    0.0,
    -0.0,
];

/// Sets numbers of the tensors: one, some, or all.
fn numbers(random: &mut Random, data: &mut [u8]) {
    let count = data.len() / 4;
    if count == 0 {
        return;
    }
    // Numbers that are not finite are refused as such; the finite ones go further.
    let value = if random.once_in(6) { random.of(&VALUES) } else { random.of(&VALUES[3..]) };
    let mut set = |at: usize| data[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
    match random.below(4) {
        0 => set(random.below(count)),
        1 => (0..count).for_each(set),
        2 => {
            let from = random.below(count);
            (from..(from + random.between(1, 200)).min(count)).for_each(set);
        }
        _ => {
            for _ in 0..random.between(1, 50) {
                set(random.below(count));
            }
        }
    }
}
