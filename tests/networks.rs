//! The value network and the generator may differ: such trainings run, go on bit for bit from their checkpoints, and give
//! models that save and load. Where they do not differ, files have the bytes they always had.

mod common;
mod problems;

use std::path::Path;
use std::ptr::{null, null_mut};

use common::{Handles, Problem, init, ok, refused};
use problems::*;
use serde_json::{Value, json};
use sfeuot::abi::*;
use sfeuot::*;

/// Networks that have nothing in common.
fn differing() -> [NetworkSpec; 2] {
    let value =
        NetworkSpec { hidden_width: 33, hidden_layers: 3, activation: Activation::Tanh, ..NetworkSpec::default() };
    let generator = NetworkSpec { hidden_width: 9, hidden_layers: 1, squares: false, ..NetworkSpec::default() };
    [value, generator]
}

fn with_networks(form: TrainerConfig, [value, generator]: [NetworkSpec; 2]) -> TrainerConfig {
    TrainerConfig { value_network: Some(value), generator_network: Some(generator), ..form }
}

/// What the flat fields of a config say.
fn flat(config: &TrainerConfig) -> NetworkSpec {
    NetworkSpec {
        kind: NetworkKind::Perceptron,
        convolutions: None,
        activation: config.activation,
        hidden_width: config.hidden_width,
        hidden_layers: config.hidden_layers,
        squares: config.squares,
    }
}

fn perceptron(widths: &[usize]) -> usize {
    widths.windows(2).map(|ends| (ends[0] + 1) * ends[1]).sum()
}

/// All that a session answers.
fn answers(model: &Model) -> Vec<f32> {
    let x = floats(&normals(2 * 11, 5));
    let mut session = Session::new(model).expect("a workspace");
    let [mut generated, mut mean, mut drift] = [0; 3].map(|_| vec![f32::NAN; x.len()]);
    let mut ratio = vec![f32::NAN; x.len() / 2];
    session.generate(&x, 3, 0, &mut generated).expect("finite rows");
    session.conditional_mean(&x, 3, 1, 0, &mut mean).expect("finite rows");
    session.drift(0.3, &x, &mut drift).expect("finite rows");
    session.density_ratio(&x, &mut ratio).expect("finite rows");
    [generated, mean, drift, ratio].concat()
}

fn saved(trainer: &mut Trainer, name: &str) -> Vec<u8> {
    let path = scratch(name);
    trainer.save(&path).expect("the target folder is writable");
    std::fs::read(path).expect("it was written")
}

/// The metadata of a file, and its description.
fn said(file: &[u8]) -> (Value, Value) {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    let metadata = header["__metadata__"].clone();
    let description = serde_json::from_str(metadata["sfeuot_description"].as_str().expect("a text")).expect("JSON");
    (metadata, description)
}

/// The file with another description and format version.
fn saying(file: &[u8], description: &Value, version: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let mut header: Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    header["__metadata__"]["sfeuot_description"] = description.to_string().into();
    header["__metadata__"]["sfeuot_format_version"] = version.into();
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + length..]].concat()
}

fn load(clouds: &Clouds, path: &Path, threads: usize) -> Result<Trainer> {
    Trainer::load(&context(threads), path, array(&clouds.source, 2), array(&clouds.target, 2))
}

#[test]
fn networks_that_differ_train_and_go_on_bit_for_bit() {
    let clouds = Clouds::new(2);
    for form in forms() {
        let config = with_networks(form, differing());
        let mut whole = clouds.trainer(&context(1), config.clone());
        whole.step(12).expect("sound");
        let mut half = clouds.trainer(&context(2), config.clone());
        half.step(5).expect("sound");
        let path = scratch("differing.checkpoint");
        half.save(&path).expect("the target folder is writable");
        let mut rest = load(&clouds, &path, 1).expect("good");
        assert_eq!(rest.config(), &config);
        rest.step(7).expect("sound");
        assert_eq!(
            Metrics { steps_per_second: 0.0, ..rest.metrics() },
            Metrics { steps_per_second: 0.0, ..whole.metrics() }
        );
        let model = whole.model().expect("it has learnt");
        assert!(bytes(&rest.model().expect("it has learnt"), "rest") == bytes(&model, "whole"), "{config:?}");

        let [d, k, z] = [2, config.components, config.latent_dimension];
        let raw = if config.deterministic { d } else { 2 * d };
        let outputs = if z == 0 { k * (raw + 1) } else { raw };
        // Squares of the sample's two numbers in the value network alone.
        let expected = perceptron(&[d + 1 + d, 33, 33, 33, 1]) + perceptron(&[d + z, 9, outputs]);
        assert_eq!(model.info().parameters, expected as u64);
        let again = Model::load_memory(&context(1), &bytes(&model, "again")).expect("its own file");
        assert_eq!(again.info(), model.info());
        let (before, after) = (answers(&model), answers(&again));
        assert!(before.iter().all(|x| x.is_finite()) && before == after, "{config:?}");
    }
}

#[test]
fn one_network_of_its_own_leaves_the_other_to_the_flat_fields() {
    let clouds = Clouds::new(2);
    let [value, generator] = differing();
    let both = [flat(&small()), generator];
    let alone = TrainerConfig { generator_network: Some(both[1].clone()), ..small() };
    let expected = clouds.model(with_networks(small(), both), 3);
    assert!(bytes(&clouds.model(alone, 3), "alone") == bytes(&expected, "both"));
    let alone = TrainerConfig { value_network: Some(value), ..small() };
    assert_eq!(said(&bytes(&clouds.model(alone, 3), "value")).1["generator_network"], Value::Null);
}

/// A file names the networks only where they are not what its other fields say. A checkpoint has the oldest version that
/// knows all of it, and a model the one whose weights are a tensor for each layer.
#[test]
fn files_say_what_is_new_only_where_it_is() {
    let clouds = Clouds::new(2);
    let files = |config: TrainerConfig| {
        let mut trainer = clouds.trainer(&context(1), config);
        trainer.step(1).expect("sound");
        let model = bytes(&trainer.model().expect("it has learnt"), "said");
        [(saved(&mut trainer, "said.checkpoint"), "/config", "3"), (model, "", "5")]
    };
    // Samples of few numbers have axes of their own, which version 3 has.
    let same = with_networks(small(), [flat(&small()), flat(&small())]);
    for ((plain, at, version), (same, ..)) in files(small()).into_iter().zip(files(same)) {
        let (metadata, description) = said(&plain);
        assert_eq!(metadata["sfeuot_format_version"], version);
        for name in ["value_network", "generator_network"] {
            assert!(description.pointer(&format!("{at}/{name}")).is_none(), "{name}");
        }
        // A checkpoint keeps the time of its steps.
        let untimed = |mut description: Value| {
            description.pointer_mut("/metrics/steps_per_second").map(Value::take);
            description
        };
        let (other, same) = said(&same);
        assert_eq!(other["sfeuot_format_version"], version);
        assert_eq!(untimed(same), untimed(description));
    }
    for (file, at, version) in files(with_networks(small(), differing())) {
        let (metadata, description) = said(&file);
        assert_eq!(metadata["sfeuot_format_version"], version);
        let value = &description.pointer(&format!("{at}/value_network")).expect("it differs");
        let expected = json!({
            "kind": "perceptron", "activation": "tanh", "hidden_width": 33, "hidden_layers": 3, "squares": true
        });
        assert_eq!(**value, expected);
    }
    // Those of many numbers have one spread for all, which the first version has.
    let long = Clouds::new(513);
    for (config, version) in [(small(), "1"), (with_networks(small(), differing()), "2")] {
        let mut trainer = long.trainer(&context(1), config);
        assert_eq!(said(&saved(&mut trainer, "long.checkpoint")).0["sfeuot_format_version"], version);
        let model = bytes(&trainer.model().expect("it may be untrained"), "long");
        Model::load_memory(&context(1), &model).expect("a sound model");
    }
}

#[test]
fn a_network_out_of_range_is_refused_by_name() {
    let clouds = Clouds::new(2);
    let config = with_networks(small(), differing());
    let mut trainer = clouds.trainer(&context(1), config.clone());
    let (checkpoint, model) = (saved(&mut trainer, "hostile.checkpoint"), bytes(&trainer.model().unwrap(), "hostile"));
    let path = scratch("hostile.checkpoint");
    let bad = [
        ("value_network/hidden_width", json!(0), "value_network.hidden_width is 0, but must be from 1 to 4096"),
        ("generator_network/hidden_width", json!(1u64 << 40), "generator_network.hidden_width is 1099511627776"),
        (
            "generator_network/hidden_layers",
            json!(17),
            "generator_network.hidden_layers is 17, but must be from 1 to 16",
        ),
        ("value_network/hidden_width", json!(32), "'value"),
        ("generator_network/squares", json!(true), "'generator"),
        ("value_network/kind", json!("other"), "other"),
        ("value_network/activation", json!(1), "description"),
        ("value_network", json!([]), "description"),
        ("value_network", json!(null), "'value"),
    ];
    for (field, value, part) in bad {
        let changed = |file: &[u8], at: &str| {
            let (_, mut description) = said(file);
            *description.pointer_mut(&format!("{at}/{field}")).expect("it is there") = value.clone();
            saying(file, &description, "3")
        };
        std::fs::write(&path, changed(&checkpoint, "/config")).expect("the target folder is writable");
        for refusal in [
            load(&clouds, &path, 1).map(drop).expect_err(part),
            Model::load_memory(&context(1), &changed(&model, "")).map(drop).expect_err(part),
        ] {
            assert!(matches!(&refusal, Error::Format(text) if text.contains(part)), "{field}: {refusal:?}");
        }
    }
    let newer = Model::load_memory(&context(1), &saying(&model, &said(&model).1, "99")).map(drop);
    assert!(matches!(&newer, Err(Error::Format(text)) if text.contains("format version 99")), "{newer:?}");
    let network = NetworkSpec { hidden_width: 5000, ..NetworkSpec::default() };
    let refused = TrainerConfig { value_network: Some(network), ..small() }.validate().expect_err("too wide");
    assert!(refused.to_string().contains("value_network.hidden_width is 5000, but must be from 1 to 4096"));
}

/// A network of C.
fn network(change: impl FnOnce(&mut SfeuotNetwork)) -> SfeuotNetwork {
    let mut network = init(sfeuot_network_init_3);
    change(&mut network);
    network
}

fn parameters(problem: &Problem) -> u64 {
    let handles = Handles::new(problem);
    let mut info = init(sfeuot_model_info_init);
    // SAFETY: a live handle and a local output.
    unsafe {
        ok(sfeuot_trainer_step(handles.trainer, 2, null_mut()));
        ok(sfeuot_model_info(handles.model, &mut info));
    }
    info.parameters
}

#[test]
fn c_gives_each_network_its_own_struct() {
    let value = network(|network| (network.hidden_width, network.hidden_layers) = (12, 1));
    let generator = network(|network| (network.hidden_width, network.hidden_layers, network.squares) = (5, 2, 0));
    let mut problem = Problem::new();
    // Two components of a mean, a deviation each, and a logit, for samples of two numbers.
    let outputs = 2 * (2 * 2 + 1);
    let flat = [perceptron(&[3 + 2, 8, 8, 1]), perceptron(&[2 + 2, 8, 8, outputs])];
    let own = [perceptron(&[3 + 2, 12, 1]), perceptron(&[2, 5, 5, outputs])];
    for (pointers, expected) in [
        ([null(), null()], flat[0] + flat[1]),
        ([&raw const value, null()], own[0] + flat[1]),
        ([null(), &raw const generator], flat[0] + own[1]),
        ([&raw const value, &raw const generator], own[0] + own[1]),
    ] {
        [problem.config.value_network, problem.config.generator_network] = pointers;
        assert_eq!(parameters(&problem), expected as u64);
    }
}

#[test]
fn c_refuses_a_wrong_network_by_name() {
    let handles = Handles::new(&Problem::new());
    type Change = fn(&mut SfeuotNetwork);
    let wrong: [(Change, i32, &str); 7] = [
        (|n| n.hidden_width = 0, 1, "value_network.hidden_width is 0, but must be from 1 to 4096"),
        (|n| n.hidden_layers = 17, 1, "value_network.hidden_layers is 17"),
        (|n| n.activation = 9, 1, "config.value_network.activation is 9; allowed are SFEUOT_ACTIVATION_SILU (0)"),
        (|n| n.squares = 2, 1, "config.value_network.squares is 2"),
        (|n| n.kind = 5, 1, "config.value_network.kind is 5"),
        (|n| n.struct_size = 0, 1, "config.value_network.struct_size is 0"),
        (|n| n.struct_size = 68, SFEUOT_ERROR_UNSUPPORTED_VERSION, "config.value_network.struct_size is 68"),
    ];
    for (change, status, part) in wrong {
        let bad = network(change);
        let mut problem = Problem::new();
        problem.config.value_network = &bad;
        refused(problem.create(handles.context, &mut null_mut()), status, part);
        (problem.config.value_network, problem.config.generator_network) = (null(), &bad);
        refused(problem.create(handles.context, &mut null_mut()), status, &part.replace("value", "generator"));
    }
}

/// A program of before networks could differ has a shorter struct, which its `_init` fills and nothing else.
#[test]
fn the_struct_of_an_older_program_is_filled_and_read_as_far_as_it_goes() {
    const BEFORE: usize = 136;
    let mut problem = Problem::new();
    let junk: *const SfeuotNetwork = std::ptr::without_provenance(0xA5A5);
    let config = &mut problem.config;
    (config.value_network, config.generator_network) = (junk, junk);
    // SAFETY: room for more than the function fills.
    ok(unsafe { sfeuot_trainer_config_init(config) });
    assert_eq!((config.struct_size as usize, config.value_network, config.generator_network), (BEFORE, junk, junk));
    let fresh = init(sfeuot_trainer_config_init_4);
    assert_eq!((config.hidden_width, config.seed, config.ema_decay), (fresh.hidden_width, fresh.seed, fresh.ema_decay));
    (config.sigma, config.hidden_width, config.hidden_layers, config.batch_sources) = (0.5, 8, 2, 4);
    config.components = 2;
    assert_eq!(parameters(&problem), parameters(&Problem::new()));
}

/// Another reader of the format finds a matrix and biases of each layer, by name and shape; the same numbers in one tensor for
/// each network, as older files have them, are the same model.
#[test]
fn a_model_file_has_a_named_tensor_for_each_matrix() {
    let clouds = Clouds::new(2);
    let model = clouds.model(with_networks(small(), differing()), 3);
    let file = bytes(&model, "named");
    let tensors = safetensors::SafeTensors::deserialize(&file).expect("another reader");
    let names = |network: &str| {
        let all = tensors.names();
        let mut of: Vec<_> = all.into_iter().filter(|name| name.starts_with(network)).map(str::to_owned).collect();
        of.sort();
        of
    };
    let mut total = 0;
    let mut flat = std::collections::BTreeMap::new();
    for network in ["value", "generator"] {
        let count = names(&format!("{network}.")).len();
        let mut values = vec![];
        let mut before = None;
        for layer in 0..count / 2 {
            let [weight, bias] =
                ["weight", "bias"].map(|part| tensors.tensor(&format!("{network}.{layer}.{part}")).expect(part));
            let &[inputs, outputs] = weight.shape() else { panic!("{:?}", weight.shape()) };
            assert!(before.is_none_or(|before| before == inputs), "{network} {layer}");
            assert_eq!(bias.shape(), [outputs]);
            before = Some(outputs);
            total += inputs * outputs + outputs;
            values.extend_from_slice(weight.data());
            values.extend_from_slice(bias.data());
        }
        flat.insert(network, values);
    }
    assert_eq!(total as u64, model.info().parameters);
    if let Ok(axes) = tensors.tensor("axes") {
        flat.insert("axes", axes.data().to_vec());
    }

    let mut header = json!({"__metadata__": said(&file).0});
    header["__metadata__"]["sfeuot_format_version"] = "3".into();
    let mut data = vec![];
    for (name, values) in &flat {
        let shape = if *name == "axes" { vec![2, 2] } else { vec![values.len() / 4] };
        let offsets = [data.len(), data.len() + values.len()];
        header[name] = json!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
        data.extend_from_slice(values);
    }
    let header = header.to_string();
    let older = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    let read = Model::load_memory(&context(1), &older).expect("an older file");
    assert!(bytes(&read, "named") == file, "the same model");
}
