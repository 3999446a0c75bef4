//! What other tools may do to a file of ours when they read and write it, and what an older version wrote.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::{assert_says, content, file, small, with_metadata};
use crate::file::kind::FileKind;

/// Text and data of a file.
fn parts(bytes: &[u8]) -> (Value, &[u8]) {
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), &bytes[8 + length..])
}

/// Such a tool keeps the metadata but for `format`, and puts everything into an order of its own.
#[test]
fn a_file_that_was_read_and_written_anew_loads() {
    let ours = small(FileKind::Model);
    let (_, metadata) = SafeTensors::read_metadata(&ours).unwrap();
    let mut metadata: HashMap<_, _> = metadata.metadata().clone().unwrap();
    metadata.insert("format".into(), "pt".into());
    metadata.insert("format_version".into(), "of something else".into());
    metadata.insert("description".into(), "a picture".into());
    let tensors = SafeTensors::deserialize(&ours).unwrap();
    let again = safetensors::serialize(tensors.tensors(), Some(metadata)).unwrap();
    assert_ne!(again, ours);
    assert_eq!(content(&again, FileKind::Model).unwrap(), content(&ours, FileKind::Model).unwrap());
}

#[test]
fn white_space_and_escapes_of_a_header_carry_no_meaning() {
    let ours = small(FileKind::Model);
    let (header, data) = parts(&ours);
    let pretty = format!(" \n{}\t  ", serde_json::to_string_pretty(&header).unwrap());
    let escaped: String =
        header.to_string().chars().map(|c| if c == 's' { r"\u0073".into() } else { c.to_string() }).collect();
    for text in [pretty, escaped, header.to_string().replace('\u{e9}', r"\u00E9")] {
        assert_eq!(
            content(&file(&text, data), FileKind::Model).unwrap(),
            content(&ours, FileKind::Model).unwrap(),
            "{text}"
        );
    }
}

#[test]
fn tensors_of_another_type_are_named() {
    let ours = small(FileKind::Model);
    let (_, metadata) = SafeTensors::read_metadata(&ours).unwrap();
    for (dtype, size) in [(Dtype::F16, 2), (Dtype::BF16, 2), (Dtype::F64, 8), (Dtype::I8, 1)] {
        let bytes = vec![0; 3 * size];
        let tensor = TensorView::new(dtype, vec![3], &bytes).unwrap();
        let halved = safetensors::serialize([("weight", tensor)], metadata.metadata().clone()).unwrap();
        assert_says(&halved, &["'weight'", &format!("type {dtype}"), "only F32"]);
    }
}

/// The names of metadata before they were our own.
#[test]
fn files_with_the_older_names_load() {
    for kind in [FileKind::Model, FileKind::Checkpoint] {
        let ours = small(kind);
        let (mut header, data) = parts(&ours);
        let metadata = header["__metadata__"].take();
        let older =
            metadata.as_object().unwrap().iter().map(|(key, value)| (key.replace("sfeuot_", ""), value.clone()));
        header["__metadata__"] = Value::Object(older.collect());
        let older = file(&header.to_string(), data);
        assert_eq!(content(&older, kind).unwrap(), content(&ours, kind).unwrap());
    }
    assert_says(&with_metadata(json!({"format": "sfeuot-checkpoint"})), &["training checkpoint where a model"]);
    let newer = json!({"format": "sfeuot-model", "format_version": "11"});
    assert_says(&with_metadata(newer), &["format version 11"]);
}

#[test]
fn metadata_that_come_twice_are_refused() {
    let twice = r#"{"__metadata__":{"sfeuot_format":"sfeuot-model","sfeuot_f\u006frmat":"sfeuot-checkpoint"}}"#;
    assert_says(&file(twice, &[]), &["'sfeuot_format' comes twice"]);
    let maps = r#"{"__metadata__":
        {"sfeuot_format":"sfeuot-model","sfeuot_format_version":"1","sfeuot_description":"{}"},
        "__metadata__":{}}"#;
    assert_says(&file(maps, &[]), &["'__metadata__' comes twice"]);
}
