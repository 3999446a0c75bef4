//! Saving, loading and taking apart: what goes in comes out bit for bit, or is refused by name.

use proptest::prelude::*;
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::json;

use super::{Description, assert_same, assert_says, description, f32_tensor, model_with, small};
use crate::file::container::{Container, Kind};
use crate::file::header::MAX_HEADER;

fn finite() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |value| value.is_finite())
}

proptest! {
    #[test]
    fn a_round_trip_is_exact(
        tensors in prop::collection::btree_map(
            "\\PC{0,12}",
            (prop::collection::vec(0usize..4, 0..4), prop::collection::vec(finite(), 27)),
            0..6,
        ),
        sigma in any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite()),
        rate in finite(),
        step in any::<u64>(),
        name in any::<String>(),
        checkpoint in any::<bool>(),
    ) {
        let kind = if checkpoint { Kind::Checkpoint } else { Kind::Model };
        let written = Description { sigma, rate, step, name };
        let mut container = Container::new(kind, &written).unwrap();
        let mut reversed = container.clone();
        for (name, (shape, values)) in &tensors {
            container.push_f32(name, shape, &values[..shape.iter().product()]);
        }
        reversed.tensors = container.tensors.iter().rev().cloned().collect();

        let bytes = container.to_bytes().unwrap();
        let mut read = Container::from_bytes(&bytes, kind, "memory").unwrap();
        assert_same(&container, &read);
        assert_same(&container, &Container::from_bytes(&reversed.to_bytes().unwrap(), kind, "memory").unwrap());
        prop_assert_eq!(&bytes, &container.clone().to_bytes().unwrap(), "equal content, equal bytes");

        let described: Description = read.description().unwrap();
        prop_assert_eq!(described.sigma.to_bits(), sigma.to_bits());
        prop_assert_eq!(described.rate.to_bits(), rate.to_bits());
        prop_assert_eq!(described, written);

        let foreign = SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(foreign.len(), tensors.len());
        for (name, (shape, values)) in &tensors {
            let tensor = foreign.tensor(name).unwrap();
            prop_assert_eq!(tensor.shape(), &shape[..]);
            let offset = tensor.data().as_ptr() as usize - bytes.as_ptr() as usize;
            prop_assert_eq!(offset % 4, 0, "aligned in the file");
            let bits: Vec<_> = read.take_f32(name, shape).unwrap().into_iter().map(f32::to_bits).collect();
            prop_assert!(bits.into_iter().eq(values.iter().take(shape.iter().product()).map(|v| v.to_bits())));
        }
        prop_assert!(read.tensors.is_empty());
    }
}

#[test]
fn values_that_are_not_finite_are_refused_on_both_ways() {
    let written = small(Kind::Model);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut container = written.clone();
        container.push_f32("bias", &[3], &[0.0, 1.0, bad]);
        let error = container.to_bytes().unwrap_err().to_string();
        assert!(error.contains("'bias'") && error.contains("index 2") && error.contains("model"), "{error}");

        let data = [0.0f32, bad].map(f32::to_le_bytes).concat();
        let shown = bad.to_string();
        assert_says(&model_with(json!({"w": f32_tensor(&[2], 0, 8)}), &data), &["'w'", "index 1", &shown]);
    }
    let description = Description { sigma: f64::NAN, ..description() };
    let error = Container::new(Kind::Checkpoint, &description).unwrap_err().to_string();
    assert!(error.contains("training checkpoint") && error.contains("description"), "{error}");
}

#[test]
fn a_description_beyond_the_header_limit_is_refused_when_saving() {
    let container = Container::new(Kind::Model, &"x".repeat(MAX_HEADER)).unwrap();
    let error = container.to_bytes().unwrap_err().to_string();
    assert!(error.contains(&MAX_HEADER.to_string()), "{error}");
}

#[test]
fn taking_what_is_not_there_says_what_is() {
    let bytes = small(Kind::Model).to_bytes().unwrap();
    let mut container = Container::from_bytes(&bytes, Kind::Model, "some/file").unwrap();
    let says = |error: crate::Error, words: &[&str]| {
        let sentence = error.to_string();
        assert!(matches!(error, crate::Error::Format(_)));
        for word in ["some/file"].iter().chain(words) {
            assert!(sentence.contains(word), "'{word}' is not in: {sentence}");
        }
    };
    says(container.take_f32("bias", &[2]).unwrap_err(), &["no tensor 'bias'"]);
    says(container.take_f32("weight", &[3, 2]).unwrap_err(), &["'weight'", "[2, 3]", "[3, 2]"]);
    assert_eq!(container.take_f32("weight", &[2, 3]).unwrap().len(), 6, "a refusal takes nothing");
    says(container.take_f32("weight", &[2, 3]).unwrap_err(), &["no tensor 'weight'"]);

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Other {
        tau: f64,
    }
    says(container.description::<Other>().unwrap_err(), &["description", "tau"]);
    assert_eq!(container.description::<Description>().unwrap(), description());
}
