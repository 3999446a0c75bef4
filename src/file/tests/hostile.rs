//! Damaged, foreign, newer and hostile files: never a panic, always a sentence that says what is wrong.

use proptest::prelude::*;
use serde_json::json;

use super::{assert_refused_or_valid, assert_says, content, f32_tensor, file, model_with, small, with_metadata};
use crate::file::header::MAX_HEADER;
use crate::file::kind::{FORMAT_VERSION, FileKind};

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_refused_or_valid(&bytes);
        let framed = [&(bytes.len() as u64).to_le_bytes(), &bytes[..]].concat();
        assert_refused_or_valid(&framed);
    }

    #[test]
    fn spliced_files_are_refused_or_valid(
        splices in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    ) {
        let original = small(FileKind::Model);
        let mut header = original[8..].to_vec();
        for (from, to, length) in splices {
            let from = from.index(original.len() - 8);
            let piece = &original[8 + from..][..length.index(original.len() - 8 - from).min(40)];
            let to = to.index(header.len());
            header.splice(to..to, piece.iter().copied());
        }
        // Keep the length prefix true, so that the damage reaches the JSON parser and the layout checks.
        let data = 24 + 4;
        let length = (header.len() - data) as u64;
        assert_refused_or_valid(&[&length.to_le_bytes(), &header[..]].concat());
    }

    #[test]
    fn arbitrary_layouts_are_refused_or_valid(
        tensors in prop::collection::vec((prop::collection::vec(extent(), 0..3), extent(), extent()), 0..4),
        data in prop::collection::vec(0u8..100, 0..40),
    ) {
        let named = tensors.iter().enumerate().map(|(i, (shape, start, end))| (i.to_string(), f32_tensor(shape, *start, *end)));
        assert_refused_or_valid(&model_with(serde_json::Value::Object(named.collect()), &data));
    }
}

/// Extents and offsets that are likely to fit together, or to overflow.
fn extent() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => (0u64..7).prop_map(|n| 4 * n),
        3 => 0u64..4,
        1 => any::<u64>(),
        1 => (0u32..64).prop_map(|shift| 1 << shift),
        1 => (0u64..16).prop_map(|below| u64::MAX - below),
    ]
}

#[test]
fn every_prefix_is_refused() {
    let bytes = small(FileKind::Model);
    for length in 0..bytes.len() {
        assert!(content(&bytes[..length], FileKind::Model).is_err(), "{length} bytes");
        assert_refused_or_valid(&bytes[..length]);
    }
}

#[test]
fn every_changed_byte_is_refused_or_valid() {
    let original = small(FileKind::Model);
    assert_refused_or_valid(&original);
    for index in 0..original.len() {
        let mut bytes = original.clone();
        for change in 1..=255 {
            bytes[index] = original[index] ^ change;
            assert_refused_or_valid(&bytes);
            assert!(index >= 8 || content(&bytes, FileKind::Model).is_err());
        }
    }
}

#[test]
fn files_of_another_kind_or_version_say_what_they_are() {
    let model = small(FileKind::Model);
    let error = content(&model, FileKind::Checkpoint).unwrap_err().to_string();
    assert_eq!(error, "cannot load from 'memory': it is a sfeuot model where a training checkpoint is expected");
    let checkpoint = small(FileKind::Checkpoint);
    assert_says(&checkpoint, &["is a sfeuot training checkpoint", "a model is expected"]);

    assert_says(&with_metadata(json!({"format": "pt"})), &["safetensors file of format 'pt'", "sfeuot model"]);
    assert_says(&with_metadata(json!({"sfeuot_format": "a\u{0}b"})), &["a\\u{0}b"]);
    assert_says(&with_metadata(json!({"format": "x".repeat(100_000)})), &["xxx...', where"]);
    assert_says(&file("{}", &[]), &["no 'sfeuot_format'", "sfeuot model"]);
    let foreign = safetensors::serialize(
        [("w", safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, vec![2], &[0; 4]).unwrap())],
        None,
    );
    assert_says(&foreign.unwrap(), &["no 'sfeuot_format'"]);

    // A newer file is recognised as such whatever else has changed in it.
    let newer = json!({
        "__metadata__": {"sfeuot_format": "sfeuot-model", "sfeuot_format_version": (FORMAT_VERSION + 6).to_string()},
        "weight": {"dtype": "F2048", "packed": true},
    });
    assert_says(
        &file(&newer.to_string(), &[]),
        &[&format!("format version {}", FORMAT_VERSION + 6), &format!("up to {FORMAT_VERSION}")],
    );
    for version in ["", "0", "-1", "1.0", "one"] {
        let metadata =
            json!({"sfeuot_format": "sfeuot-model", "sfeuot_format_version": version, "sfeuot_description": "{}"});
        assert_says(&with_metadata(metadata), &["format_version", &format!("'{version}'")]);
    }
}

#[test]
fn damaged_frames_say_what_is_wrong() {
    assert_says(&[1, 2, 3], &["3 bytes", "too short"]);
    assert_says(&[0xff; 20], &["18446744073709551615 bytes", "12 follow"]);
    assert_says(b"\x89PNG\r\n\x1a\n and then an image", &["not a safetensors file"]);
    assert_says(&file("[1, 2]", &[]), &["not a safetensors file"]);
    assert_says(&file(&"[".repeat(100_000), &[]), &["not a safetensors file"]);
    assert_says(&file("{} {}", &[]), &["not a safetensors file"]);
    assert_says(&[&3u64.to_le_bytes()[..], b"\xff\xff\xff"].concat(), &["not UTF-8"]);
    assert_says(&file(&" ".repeat(MAX_HEADER + 1), &[]), &[&MAX_HEADER.to_string()]);
    assert_says(&model_with(json!({"w": {"dtype": "F32"}}), &[]), &["no shape"]);
    assert_says(
        &model_with(json!({"w": {"dtype": "x".repeat(100_000), "shape": [], "data_offsets": [0, 0]}}), &[]),
        &["'w'", "xxx...", "only F32"],
    );
    for bad in ["", "{", "1 2", &"[".repeat(100_000)] {
        let metadata =
            json!({"sfeuot_format": "sfeuot-model", "sfeuot_format_version": "1", "sfeuot_description": bad});
        assert_says(&with_metadata(metadata), &["description is not JSON of this library"]);
    }
    assert_says(
        &with_metadata(json!({"sfeuot_format": "sfeuot-model", "sfeuot_format_version": "1"})),
        &["no 'sfeuot_description'"],
    );
}

#[test]
fn damaged_layouts_name_the_tensor() {
    let tensors = |tensors| model_with(tensors, &[0; 16]);
    assert_says(&tensors(json!({"w": f32_tensor(&[3], 0, 12)})), &["4 bytes follow"]);
    assert_says(&tensors(json!({"w": f32_tensor(&[5], 0, 20)})), &["'w'", "byte 20", "16 bytes"]);
    assert_says(&tensors(json!({"v": f32_tensor(&[2], 0, 8), "w": f32_tensor(&[3], 4, 16)})), &["'w'", "overlap"]);
    assert_says(&tensors(json!({"v": f32_tensor(&[1], 0, 4), "w": f32_tensor(&[2], 8, 16)})), &["'w'", "gaps"]);
    assert_says(&tensors(json!({"w": f32_tensor(&[4], 16, 0)})), &["'w'"]);
    assert_says(&tensors(json!({"w": f32_tensor(&[2, 3], 0, 16)})), &["'w'", "16 bytes", "[2, 3]", "F32"]);
    assert_says(&tensors(json!({"w": f32_tensor(&[1 << 40, 1 << 40], 0, 16)})), &["'w'", "shape"]);
    assert_says(
        &tensors(json!({"w": {"dtype": "F16", "shape": [8], "data_offsets": [0, 16]}})),
        &["'w'", "F16", "only F32"],
    );
    let twice = file(
        r#"{"__metadata__":{"sfeuot_format":"sfeuot-model","sfeuot_format_version":"1","sfeuot_description":"{}"},
            "w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        &[0; 4],
    );
    assert_says(&twice, &["'w' comes twice"]);

    // Consecutive ranges, each as long as its shape asks, that end just below 2^64.
    let step = (1u64 << 61) - 4;
    let huge = (0..8).map(|i| (format!("w{i}"), f32_tensor(&[step / 4], i * step, (i + 1) * step)));
    let mut huge: serde_json::Map<_, _> = huge.collect();
    huge.insert("last".into(), f32_tensor(&[7], 8 * step, 8 * step + 28));
    assert_says(&tensors(serde_json::Value::Object(huge)), &["'w0'", "16 bytes long"]);
}
