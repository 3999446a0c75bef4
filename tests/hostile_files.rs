//! A file says nothing that a training could not have left: every field out of its range is refused by name when the file
//! is loaded, and no counter ends a training that way.

mod problems;

use std::path::Path;

use problems::{Clouds, array, bytes, context, scratch, small};
use serde_json::{Value, json};
use sfeuot::*;

const MOST_STEPS: u64 = 1 << 53;

/// The file with one field of its description changed.
fn with(file: &[u8], field: &str, value: Value) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let mut header: Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    let text = &mut header["__metadata__"]["sfeuot_description"];
    let mut description: Value = serde_json::from_str(text.as_str().expect("a text")).expect("a description");
    match (description.pointer_mut(field), field.rsplit_once('/')) {
        (Some(place), _) => *place = value,
        // Left out where it is the default.
        (None, Some((of, name @ ("tau_start" | "gradient_penalty")))) => {
            description[of.trim_start_matches('/')][name] = value
        }
        _ => panic!("{field} is not there"),
    }
    *text = description.to_string().into();
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + length..]].concat()
}

/// What a field may not be, in models and in checkpoints.
fn of_both() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/sample_shape", json!([]), "sample_shape has 0 axes"),
        ("/sample_shape", json!([1, 1, 1, 1, 1, 1, 1, 2]), "sample_shape has 8 axes"),
        ("/sample_shape", json!([3]), "sample_shape is [3]"),
        ("/sample_shape", json!([2, 0]), "sample_shape is [2, 0]"),
        ("/sample_shape", json!([1u64 << 32, 1u64 << 32]), "sample_shape"),
        ("/sample_shape", json!([-2]), "description"),
        ("/sample_shape", json!([2.0]), "description"),
        ("/sample_shape", json!(2), "description"),
        ("/shift", json!([0.0]), "shift has 1 number"),
        ("/shift", json!([0.0, null]), "description"),
        ("/shift", json!([0.0, "1"]), "description"),
        ("/shift", json!([0.0, -1e308]), "shift[1] is -1e308"),
        ("/scale", json!(0.0), "scale is 0"),
        ("/scale", json!(-1.0), "scale is -1"),
        ("/scale", json!(5e-324), "scale is 5e-324"),
        ("/scale", json!(1e300), "scale is 1e300"),
        ("/common_scale", json!(0.0), "common_scale is 0"),
        ("/common_scale", json!(1e-300), "common_scale is 1e-300"),
        ("/common_scale", json!(1e39), "common_scale is 1e39"),
        ("/bridge/contractions", json!([0.0, 1.0]), "contraction that is not from 1e-12 to 1e12"),
        ("/bridge/contractions", json!([1.0, 2e12]), "contraction that is not from 1e-12 to 1e12"),
        ("/bridge/contractions", json!([1.0]), "bridge.contractions has 1 number"),
        ("/bridge/contractions", json!(null), "bridge has to have either"),
        ("/bridge/units", json!([0.0, 1.0]), "unit of 0"),
        ("/bridge/units", json!([1.0, 1.0, 1.0]), "bridge.units has 3 numbers"),
        ("/bridge/units", json!(null), "bridge has to have either"),
        ("/bridge/pull", json!([0.0, 0.0, 0.0]), "bridge.pull has 3"),
        ("/bridge/pull", json!([1e300, 0.0]), "too large"),
        ("/bridge/mean_squares", json!([[1.0, 1.0]]), "description"),
        ("/bridge/mean_squares/1", json!([1.0, -1.0]), "bridge.mean_squares"),
        ("/bridge/level", json!(1e300), "too large"),
    ]
}

fn of_models() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/steps", json!(MOST_STEPS + 1), "steps is 9007199254740993"),
        ("/steps", json!(u64::MAX), "steps is 18446744073709551615"),
        ("/steps", json!(-1), "description"),
        ("/sigma", json!(0.0), "sigma is 0"),
        ("/sigma", json!(1e9), "sigma is 1e9"),
        ("/tau", json!(0.0), "tau is 0"),
        ("/hidden_width", json!(0), "hidden_width is 0"),
        ("/hidden_width", json!(5000), "hidden_width is 5000"),
        ("/hidden_layers", json!(17), "hidden_layers is 17"),
        ("/components", json!(4097), "components is 4097"),
        ("/latent_dimension", json!(4097), "latent_dimension is 4097"),
        ("/deterministic", json!(true), "latent_dimension is 0"),
        ("/divergence", json!("other"), "other"),
        ("/activation", json!(1), "description"),
    ]
}

fn of_checkpoints() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/metrics/step", json!(MOST_STEPS + 1), "metrics.step is 9007199254740993"),
        ("/metrics/step", json!(u64::MAX), "metrics.step is 18446744073709551615"),
        ("/metrics/steps_per_second", json!(-1.0), "metrics.steps_per_second is -1"),
        ("/metrics/value_gradient_norm", json!(-1.0), "metrics.value_gradient_norm is -1"),
        ("/metrics/dual", json!(null), "description"),
        ("/config/sigma", json!(0.0), "sigma is 0"),
        ("/config/sigma", json!(1e9), "sigma is"),
        ("/config/tau", json!(-1.0), "tau is -1"),
        ("/config/tau_start", json!(0.0), "tau_start is 0"),
        ("/config/tau_start", json!(0.1), "tau_steps is 0"),
        ("/config/gradient_penalty", json!(-1.0), "gradient_penalty is -1"),
        ("/config/hidden_width", json!(1u64 << 40), "hidden_width is 1099511627776"),
        ("/config/hidden_width", json!(21), "'value.weights' has shape"),
        ("/config/batch_sources", json!(0), "batch_sources is 0"),
        ("/config/batch_sources", json!(1 << 21), "batch_sources is 2097152"),
        ("/config/components", json!(0), "components is 0"),
        ("/config/adam_beta1", json!(1.0), "adam_beta1 is 1"),
        ("/config/ema_decay", json!(-0.5), "ema_decay is -0.5"),
        ("/config/decay_floor", json!(2.0), "decay_floor is 2"),
        ("/config/gradient_clip", json!(-1.0), "gradient_clip is -1"),
        ("/config/value_learning_rate", json!(0.0), "value_learning_rate is 0"),
        ("/config/seed", json!(-1), "description"),
        ("/fingerprints", json!([1]), "description"),
    ]
}

fn assert_refused(field: &str, part: &str, loaded: Result<()>) {
    match loaded {
        Err(Error::Format(sentence)) => assert!(sentence.contains(part), "{field}: {sentence}"),
        other => panic!("{field}: {other:?}"),
    }
}

#[test]
fn a_model_that_no_training_made_is_refused() {
    let file = bytes(&Clouds::new(2).model(small(), 1), "hostile");
    for (field, value, part) in of_both().into_iter().chain(of_models()) {
        let changed = with(&file, field, value);
        assert_refused(field, part, Model::load_memory(&context(1), &changed).map(drop));
    }
    let same = with(&file, "/steps", json!(MOST_STEPS));
    assert_eq!(Model::load_memory(&context(1), &same).expect("the last step").info().steps, MOST_STEPS);
    let axes = with(&file, "/sample_shape", json!([1, 1, 2, 1, 1, 1, 1]));
    assert_eq!(Model::load_memory(&context(1), &axes).expect("as many as data have").info().sample_shape.len(), 7);
}

fn load(clouds: &Clouds, path: &Path) -> Result<Trainer> {
    Trainer::load(&context(1), path, array(&clouds.source, 2), array(&clouds.target, 2))
}

#[test]
fn a_checkpoint_that_no_training_left_is_refused() {
    let clouds = Clouds::new(2);
    let path = scratch("hostile.checkpoint");
    clouds.trainer(&context(1), small()).save(&path).expect("the target folder is writable");
    let file = std::fs::read(&path).expect("it was written");
    for (field, value, part) in of_both().into_iter().chain(of_checkpoints()) {
        std::fs::write(&path, with(&file, field, value)).expect("the target folder is writable");
        assert_refused(field, part, load(&clouds, &path).map(drop));
    }
    // The last number is a mean of squares.
    let mut negative = file.clone();
    let end = negative.len();
    negative[end - 4..].copy_from_slice(&(-1f32).to_le_bytes());
    std::fs::write(&path, negative).expect("the target folder is writable");
    assert_refused("second_moment", "'generator.second_moment' holds -1", load(&clouds, &path).map(drop));
}

/// The last step is made, the one after it is refused, and nothing wraps around or goes on for ever.
#[test]
fn a_training_ends_with_the_last_step_that_can_be_counted() {
    let clouds = Clouds::new(2);
    let path = scratch("last.checkpoint");
    let mut trainer = clouds.trainer(&context(1), small());
    trainer.step(1).expect("a sound problem");
    trainer.save(&path).expect("the target folder is writable");
    let file = std::fs::read(&path).expect("it was written");
    for call in 0..3 {
        std::fs::write(&path, with(&file, "/metrics/step", json!(MOST_STEPS - 2))).expect("writable");
        let mut trainer = load(&clouds, &path).expect("a training that is not at its end");
        assert_eq!(trainer.step(1).expect("a step").step, MOST_STEPS - 1);
        let ended = match call {
            0 => trainer.step(u64::MAX),
            1 => trainer.run(u64::MAX, u64::MAX, &mut |_| Control::Continue),
            _ => trainer.run_for(std::time::Duration::MAX).map(|(_, metrics)| metrics),
        };
        assert!(matches!(&ended, Err(Error::InvalidArgument(text)) if text.contains("9007199254740992")), "{ended:?}");
        assert_eq!(trainer.metrics().step, MOST_STEPS, "the last one was made");
        trainer.save(&path).expect("the target folder is writable");
        let mut again = load(&clouds, &path).expect("a training at its end");
        assert!(matches!(again.step(1), Err(Error::InvalidArgument(_))));
        assert_eq!(again.model().expect("it has learnt").info().steps, MOST_STEPS);
    }
}
