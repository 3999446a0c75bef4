//! Saving, loading and taking apart: what goes in comes out bit for bit, or is refused by name.

use proptest::prelude::*;
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::json;

use super::{Description, assert_says, content, description, f32_tensor, model_with, small};
use crate::file::header::MAX_HEADER;
use crate::file::input::Input;
use crate::file::kind::FileKind;
use crate::file::output::Output;

fn finite() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |value| value.is_finite())
}

proptest! {
    #[test]
    fn a_round_trip_is_exact(
        tensors in prop::collection::btree_map(
            "\\PC{0,10}",
            (prop::collection::vec(0usize..4, 0..4), prop::collection::vec(finite(), 27)),
            0..6,
        ),
        sigma in any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite()),
        rate in finite(),
        step in any::<u64>(),
        name in any::<String>(),
        checkpoint in any::<bool>(),
    ) {
        let kind = if checkpoint { FileKind::Checkpoint } else { FileKind::Model };
        let written = Description { sigma, rate, step, name };
        let bytes = |reversed: bool| {
            let mut output = Output::new(kind, &written).unwrap();
            let mut tensors: Vec<_> = tensors.iter().collect();
            if reversed {
                tensors.reverse();
            }
            for (name, (shape, values)) in tensors {
                output.push_f32(name, shape, &values[..shape.iter().product()]);
            }
            output.to_bytes().unwrap()
        };
        let (bytes, reversed) = (bytes(false), bytes(true));
        prop_assert_eq!(content(&bytes, kind).unwrap(), content(&reversed, kind).unwrap());

        let mut read = Input::memory(&bytes, kind).unwrap();
        let described: Description = read.description().unwrap();
        prop_assert_eq!(described.sigma.to_bits(), sigma.to_bits());
        prop_assert_eq!(described.rate.to_bits(), rate.to_bits());
        prop_assert_eq!(described, written);

        let foreign = SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(foreign.len(), tensors.len());
        prop_assert_eq!(read.tensors().len(), tensors.len());
        for (name, (shape, values)) in &tensors {
            let tensor = foreign.tensor(name).unwrap();
            prop_assert_eq!(tensor.shape(), &shape[..]);
            let offset = tensor.data().as_ptr() as usize - bytes.as_ptr() as usize;
            prop_assert_eq!(offset % 4, 0, "aligned in the file");
            let bits: Vec<_> = read.f32(name, shape).unwrap().into_iter().map(f32::to_bits).collect();
            prop_assert!(bits.into_iter().eq(values.iter().take(shape.iter().product()).map(|v| v.to_bits())));
        }
    }
}

/// The order of the fields of a type is not that of a file: equal content is equal bytes, whatever the type looks like.
#[test]
fn equal_content_is_these_bytes() {
    let mut output = Output::new(FileKind::Model, &super::description()).unwrap();
    output.push_f32("w", &[1], &[1.0]);
    let header = concat!(
        r#"{"__metadata__":{"sfeuot_description":"{\"name\":\"palette \\\"1\\\"é\\n\",\"rate\":0.0003,\"sigma\":0.1,"#,
        r#"\"step\":18446744073709551615}","sfeuot_format":"sfeuot-model","sfeuot_format_version":"1"},"#,
        r#""w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
    );
    let bytes = output.to_bytes().unwrap();
    assert_eq!(bytes[..8], (header.len().next_multiple_of(8) as u64).to_le_bytes());
    assert_eq!(std::str::from_utf8(&bytes[8..bytes.len() - 4]).unwrap().trim_end(), header);
    assert_eq!(bytes[bytes.len() - 4..], 1f32.to_le_bytes());

    let nested = json!({"b": {"z": 1, "a": [[], {}]}, "a": {}});
    let text = r#"{"a":{},"b":{"a":[[],{}],"z":1}}"#.replace('"', "\\\"");
    let bytes = Output::new(FileKind::Model, &nested).unwrap().to_bytes().unwrap();
    assert!(std::str::from_utf8(&bytes[8..]).unwrap().contains(&text));
}

/// Tensors longer than what is read and written at once.
#[test]
fn large_tensors_come_back_from_a_file_and_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    let values: Vec<f32> = (0..10_007).map(|i| i as f32 * 0.25).collect();
    let mut output = Output::new(FileKind::Model, &description()).unwrap();
    output.push_f32("first", &[10_007], &values);
    output.push_f32("second", &[3], &[1.0, 2.0, 3.0]);
    output.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes, output.to_bytes().unwrap());
    for mut input in [Input::open(&path, FileKind::Model).unwrap(), Input::memory(&bytes, FileKind::Model).unwrap()] {
        assert_eq!(input.f32("second", &[3]).unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(input.f32("first", &[10_007]).unwrap(), values);
        assert_eq!(input.description::<Description>().unwrap(), description());
    }
}

#[test]
fn values_that_are_not_finite_are_refused_on_both_ways() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let values = [0.0, 1.0, bad];
        let mut output = Output::new(FileKind::Model, &description()).unwrap();
        output.push_f32("bias", &[3], &values);
        let error = output.to_bytes().unwrap_err().to_string();
        assert!(error.contains("'bias'") && error.contains("index 2") && error.contains("model"), "{error}");

        let data = [0.0f32, bad].map(f32::to_le_bytes).concat();
        let shown = bad.to_string();
        assert_says(&model_with(json!({"w": f32_tensor(&[2], 0, 8)}), &data), &["'w'", "index 1", &shown]);
    }
    let description = Description { sigma: f64::NAN, ..description() };
    let error = Output::new(FileKind::Checkpoint, &description).err().unwrap().to_string();
    assert!(error.contains("training checkpoint") && error.contains("description"), "{error}");
}

#[test]
fn a_description_beyond_the_header_limit_is_refused_when_saving() {
    let output = Output::new(FileKind::Model, &"x".repeat(MAX_HEADER)).unwrap();
    let error = output.to_bytes().unwrap_err().to_string();
    assert!(error.contains(&MAX_HEADER.to_string()), "{error}");
}

#[test]
fn taking_what_is_not_there_says_what_is() {
    let bytes = small(FileKind::Model);
    let mut input = Input::memory(&bytes, FileKind::Model).unwrap();
    let says = |error: crate::Error, words: &[&str]| {
        let sentence = error.to_string();
        assert!(matches!(error, crate::Error::Format(_)));
        for word in ["'memory'"].iter().chain(words) {
            assert!(sentence.contains(word), "'{word}' is not in: {sentence}");
        }
    };
    says(input.f32("bias", &[2]).unwrap_err(), &["no tensor 'bias'"]);
    says(input.check("bias", &[2]).unwrap_err(), &["no tensor 'bias'"]);
    says(input.f32("weight", &[3, 2]).unwrap_err(), &["'weight'", "[2, 3]", "[3, 2]"]);
    input.check("weight", &[2, 3]).unwrap();
    assert_eq!(input.f32("weight", &[2, 3]).unwrap().len(), 6);

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Other {
        tau: f64,
    }
    says(input.description::<Other>().unwrap_err(), &["description", "tau"]);
}
