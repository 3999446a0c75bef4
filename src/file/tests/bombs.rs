//! Descriptions and headers that are small to write and large to understand are refused before they are understood.
//! tests/file_memory.rs measures what that takes.

use serde::Deserialize;
use serde_json::json;

use super::{assert_says, content, f32_tensor, file, metadata, model_with, with_metadata};
use crate::file::header::{MAX_NAME, MAX_TENSORS};
use crate::file::input::Input;
use crate::file::kind::FileKind;

fn described(description: &str) -> Vec<u8> {
    let mut metadata = metadata();
    metadata["sfeuot_description"] = description.into();
    with_metadata(metadata)
}

#[test]
fn a_description_beyond_any_of_ours_is_refused() {
    let unit = "x".repeat(100_000);
    for (description, words) in [
        ("[".repeat(100_000), "inside each other"),
        (r#"{"":"#.repeat(100_000), "inside each other"),
        (format!(r#"{{"sigma":{}}}"#, "1".repeat(100_000)), "100000 bytes"),
        (format!(r#"{{"sigma":0.{}}}"#, "1".repeat(100_000)), "100002 bytes"),
        (format!(r#"{{"sigma":1e{}}}"#, "0".repeat(100_000)), "100002 bytes"),
        (format!(r#"{{"{unit}":1}}"#), "100000 bytes"),
        (format!(r#"{{"name":"{unit}"}}"#), "100000 bytes"),
        (format!(r#"{{"name":"{}"}}"#, r"\u0041".repeat(100_000)), "600000 bytes"),
        (format!("[{}0]", "0,".repeat(100_000)), "more than 64 numbers"),
        (format!(r#"{{"other":[{}0]}}"#, "[],".repeat(100_000)), "more than 64"),
    ] {
        assert_says(&described(&description), &[words]);
    }
    // White space and members that nobody asked for are passed over.
    assert!(content(&described(&format!("{}{{}}", " ".repeat(100_000))), FileKind::Model).is_ok());
    #[derive(Deserialize)]
    struct Known {
        sigma: f64,
    }
    let many: String = (0..100_000).map(|i| format!(r#""{i}":0,"#)).collect();
    let bytes = described(&format!(r#"{{{many}"sigma":0.5}}"#));
    assert_eq!(Input::memory(&bytes, FileKind::Model).unwrap().description::<Known>().unwrap().sigma, 0.5);
    let twice = described(r#"{"sigma":1,"sigma":2}"#);
    let error = Input::memory(&twice, FileKind::Model).unwrap().description::<Known>().err().unwrap().to_string();
    assert!(error.contains("duplicate field `sigma`"), "{error}");
    let huge = described(r#"{"sigma":1e999}"#);
    let error = Input::memory(&huge, FileKind::Model).unwrap().description::<Known>().err().unwrap().to_string();
    assert!(error.contains("number out of range"), "{error}");
}

/// Lists are as long as the tensors let them be, since a sample is never larger than a network that sees it.
#[test]
fn lists_are_bounded_by_the_tensors() {
    let list = |numbers: usize, weights: usize| {
        let bytes = 4 * weights as u64;
        let mut header = json!({"w": f32_tensor(&[weights as u64], 0, bytes)});
        header["__metadata__"] = metadata();
        header["__metadata__"]["sfeuot_description"] = format!("[{}0]", "0,".repeat(numbers - 1)).into();
        file(&header.to_string(), &vec![0; bytes as usize])
    };
    assert!(content(&list(100, 400), FileKind::Model).is_ok());
    assert_says(&list(101, 400), &["more than 100 numbers"]);
}

#[test]
fn headers_beyond_any_of_ours_are_refused() {
    let entry = |i: usize| (format!("w{i}"), f32_tensor(&[0], 0, 0));
    let tensors = |n: usize| serde_json::Value::Object((0..n).map(entry).collect());
    assert_eq!(content(&model_with(tensors(MAX_TENSORS), &[]), FileKind::Model).unwrap().tensors.len(), MAX_TENSORS);
    assert_says(&model_with(tensors(MAX_TENSORS + 1), &[]), &["more than 4096 tensors"]);
    let named = |length: usize| model_with(json!({"n".repeat(length): f32_tensor(&[0], 0, 0)}), &[]);
    assert!(content(&named(MAX_NAME), FileKind::Model).is_ok());
    assert_says(&named(MAX_NAME + 1), &["'nnn", "more than 256 bytes"]);
    assert_says(&model_with(json!({"w": f32_tensor(&[1; 9], 0, 4)}), &[0; 4]), &["more than 8 axes"]);
    assert_says(&model_with(json!({"w": f32_tensor(&[1; 100_000], 0, 4)}), &[0; 4]), &["more than 8 axes"]);
    let unknown = json!({"w": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0], "x".repeat(100_000): 1}});
    assert_says(&model_with(unknown, &[]), &["unknown field 'xxx"]);
    for offsets in [json!([0]), json!([0, 0, 0]), json!([0, -1]), json!([0, 0.5]), json!("0"), json!([0, 1e30])] {
        let tensor = json!({"w": {"dtype": "F32", "shape": [0], "data_offsets": offsets}});
        assert_says(&model_with(tensor, &[]), &["not a safetensors file"]);
    }
    // Metadata of other tools are passed over, however long and many.
    let mut many = metadata();
    for i in 0..10_000 {
        many[format!("other{i}")] = "x".repeat(100).into();
    }
    many["x".repeat(100_000)] = "\n".repeat(100_000).into();
    assert!(content(&with_metadata(many), FileKind::Model).is_ok());
    let mut number = metadata();
    number["other"] = 1.into();
    assert_says(&with_metadata(number), &["not a safetensors file"]);
}
