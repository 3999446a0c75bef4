//! What a user of model files and checkpoints relies on: exact round trips, and a clear sentence for every bad file.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::container::{Container, Kind};

mod exchange;
mod hostile;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Description {
    sigma: f64,
    rate: f32,
    step: u64,
    name: String,
}

fn description() -> Description {
    Description { sigma: 0.1, rate: 3e-4, step: u64::MAX, name: "palette \"1\"\u{e9}\n".into() }
}

/// Small enough to try every byte of, with a scalar and an empty tensor.
fn small(kind: Kind) -> Container {
    let mut container = Container::new(kind, &description()).unwrap();
    container.push_f32("weight", &[2, 3], &[1.5, -0.0, 1e-45, f32::MAX, -7.25, 0.0]);
    container.push_f32("rate", &[], &[3e-4]);
    container.push_f32("empty", &[0, 4], &[]);
    container
}

/// A file with this header text and data, whatever they say.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn model_with(tensors: serde_json::Value, data: &[u8]) -> Vec<u8> {
    let mut header = tensors;
    header["__metadata__"] = json!({"format": "sfeuot-model", "format_version": "1", "description": "{}"});
    file(&header.to_string(), data)
}

fn with_metadata(metadata: serde_json::Value) -> Vec<u8> {
    file(&json!({ "__metadata__": metadata }).to_string(), &[])
}

fn f32_tensor(shape: &[u64], start: u64, end: u64) -> serde_json::Value {
    json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]})
}

/// Every tensor by name, values as bits so that -0 and 0 differ.
fn content(container: &Container) -> BTreeMap<String, (Vec<usize>, Vec<u32>)> {
    let tensors = container.tensors.iter().map(|tensor| {
        (tensor.name.clone(), (tensor.shape.clone(), tensor.values.iter().map(|v| v.to_bits()).collect()))
    });
    tensors.collect()
}

fn assert_same(left: &Container, right: &Container) {
    assert_eq!(left.kind, right.kind);
    assert_eq!(left.description, right.description);
    assert_eq!(content(left), content(right));
}

/// Either a sentence that names the file, or a container that is valid in itself and that safetensors reads as well.
fn assert_refused_or_valid(bytes: &[u8]) {
    match Container::from_bytes(bytes, Kind::Model, "some/file") {
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.starts_with("cannot load from 'some/file': "), "{sentence}");
            assert!(sentence.len() < 500 && !sentence.contains(char::is_control), "{sentence:?}");
        }
        Ok(container) => {
            let again = Container::from_bytes(&container.to_bytes().unwrap(), Kind::Model, "memory").unwrap();
            assert_same(&container, &again);
            assert_eq!(SafeTensors::deserialize(bytes).unwrap().len(), container.tensors.len());
        }
    }
}

#[track_caller]
fn assert_says(bytes: &[u8], words: &[&str]) {
    let sentence = Container::from_bytes(bytes, Kind::Model, "some/file").unwrap_err().to_string();
    for word in ["some/file"].iter().chain(words) {
        assert!(sentence.contains(word), "'{word}' is not in: {sentence}");
    }
}
