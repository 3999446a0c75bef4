//! What a user of model files and checkpoints relies on: exact round trips, and a clear sentence for every bad file.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::input::Input;
use super::kind::FileKind;
use super::output::Output;
use crate::error::Result;

mod bombs;
mod exchange;
mod hostile;
mod other_tools;
mod paths;

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
fn small(kind: FileKind) -> Vec<u8> {
    with_tensors(kind, &[])
}

/// The same with more tensors.
fn with_tensors(kind: FileKind, more: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let mut output = Output::new(kind, &description()).unwrap();
    output.push_f32("weight", &[2, 3], &[1.5, -0.0, 1e-45, f32::MAX, -7.25, 0.0]);
    output.push_f32("rate", &[], &[3e-4]);
    output.push_f32("empty", &[0, 4], &[]);
    for (name, shape, values) in more {
        output.push_f32(*name, shape, values);
    }
    output.to_bytes().unwrap()
}

/// A file with this header text and data, whatever they say.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn metadata() -> Value {
    json!({"sfeuot_format": "sfeuot-model", "sfeuot_format_version": "1", "sfeuot_description": "{}"})
}

fn model_with(tensors: Value, data: &[u8]) -> Vec<u8> {
    let mut header = tensors;
    header["__metadata__"] = metadata();
    file(&header.to_string(), data)
}

fn with_metadata(metadata: Value) -> Vec<u8> {
    file(&json!({ "__metadata__": metadata }).to_string(), &[])
}

fn f32_tensor(shape: &[u64], start: u64, end: u64) -> Value {
    json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]})
}

/// All that a file holds, values as bits so that -0 and 0 differ.
#[derive(Debug, PartialEq)]
struct Content {
    description: Value,
    tensors: BTreeMap<String, (Vec<usize>, Vec<u32>)>,
}

fn content(bytes: &[u8], kind: FileKind) -> Result<Content> {
    all(Input::memory(bytes, kind)?)
}

fn all(mut input: Input) -> Result<Content> {
    let description = input.description()?;
    let mut tensors = BTreeMap::new();
    for (name, shape) in input.tensors() {
        let values = input.f32(&name, &shape)?;
        tensors.insert(name, (shape, values.into_iter().map(f32::to_bits).collect()));
    }
    Ok(Content { description, tensors })
}

/// Either a sentence that names the file, or content that is valid in itself and that safetensors reads as well.
fn assert_refused_or_valid(bytes: &[u8]) {
    match content(bytes, FileKind::Model) {
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.starts_with("cannot load from 'memory': "), "{sentence}");
            assert!(sentence.len() < 500 && !sentence.contains(char::is_control), "{sentence:?}");
        }
        Ok(content) => assert_eq!(SafeTensors::deserialize(bytes).unwrap().len(), content.tensors.len()),
    }
}

#[track_caller]
fn assert_says(bytes: &[u8], words: &[&str]) {
    let sentence = content(bytes, FileKind::Model).unwrap_err().to_string();
    for word in ["'memory'"].iter().chain(words) {
        assert!(sentence.contains(word), "'{word}' is not in: {sentence}");
    }
}
