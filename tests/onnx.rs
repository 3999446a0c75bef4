//! Graphs for other programs, without a program that runs them: the file's structure, its operators, inputs and outputs,
//! where it goes, and what is refused. bench/test_onnx.py compares what graphs compute with what sessions do.

mod common;
mod problems;

use std::collections::BTreeSet;
use std::ffi::{CString, c_void};
use std::ptr::{null, null_mut};

use problems::{Clouds, context, forms};
use sfeuot::abi::*;
use sfeuot::*;

/// A field of a message: its number, and a varint or bytes.
#[derive(Clone, Copy, Debug)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Reads a varint off the front.
fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let (first, rest) = bytes.split_first().expect("a varint ends");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << (7 * place);
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(value)
            }
            kind => panic!("a field of kind {kind}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

fn all<'a>(message: &'a [u8], field: u64) -> Vec<&'a [u8]> {
    let of = |(number, value): (u64, Field<'a>)| match value {
        Field::Bytes(bytes) if number == field => Some(bytes),
        _ => None,
    };
    fields(message).into_iter().filter_map(of).collect()
}

fn one(message: &[u8], field: u64) -> &[u8] {
    let found = all(message, field);
    assert_eq!(found.len(), 1, "field {field}");
    found[0]
}

fn numbers(message: &[u8], field: u64) -> Vec<u64> {
    let of = |(number, value)| match value {
        Field::Number(value) if number == field => Some(value),
        _ => None,
    };
    fields(message).into_iter().filter_map(of).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Name and sizes of an input or an output.
type End = (String, Vec<String>);
type Ends = Vec<End>;

/// Name and sizes of an input or an output; the free size is "batch".
fn described(info: &[u8]) -> End {
    let tensor = one(one(info, 2), 1);
    assert_eq!(numbers(tensor, 1), [1], "32-bit floats");
    let size = |dimension: &&[u8]| match numbers(dimension, 1)[..] {
        [size] => size.to_string(),
        _ => text(one(dimension, 2)),
    };
    (text(one(info, 1)), all(one(tensor, 2), 1).iter().map(size).collect())
}

/// Reads a file, checks that every tensor is there before it is used and once, that constants have as many numbers as
/// their sizes say, and returns operators, inputs and outputs.
fn checked(file: &[u8]) -> (BTreeSet<String>, [Ends; 2]) {
    assert_eq!(numbers(file, 1), [7], "the version of the file's form");
    assert_eq!(numbers(one(file, 8), 2), [OPERATOR_SET]);
    let graph = one(file, 7);
    let [inputs, outputs] = [11, 12].map(|field| all(graph, field).into_iter().map(described).collect::<Ends>());
    let mut known: BTreeSet<String> = inputs.iter().map(|(name, _)| name.clone()).collect();
    for constant in all(graph, 5) {
        let size = numbers(constant, 1).iter().product::<u64>() as usize;
        let element = match numbers(constant, 2)[..] {
            [1] => 4,
            [7] => 8,
            ref other => panic!("elements of type {other:?}"),
        };
        assert_eq!(one(constant, 9).len(), size * element);
        assert!(known.insert(text(one(constant, 8))));
    }
    let mut operators = BTreeSet::new();
    for node in all(graph, 1) {
        for input in all(node, 1).into_iter().map(text) {
            assert!(input.is_empty() || known.contains(&input), "{input} is used before it is there");
        }
        assert!(known.insert(text(one(node, 2))));
        operators.insert(text(one(node, 4)));
    }
    assert!(outputs.iter().all(|(name, _)| known.contains(name)));
    (operators, [inputs, outputs])
}

fn written(model: &Model, graph: OnnxGraph) -> Vec<u8> {
    let mut bytes = Vec::new();
    model.write_onnx(graph, &mut bytes).expect("a sound model");
    bytes
}

const MEAN: OnnxGraph = OnnxGraph::Mean { latents: 3, seed: 1, row: 2 };

fn shaped(ends: &[(&str, &[usize])]) -> Ends {
    let sizes = |sizes: &[usize]| {
        std::iter::once("batch".to_owned()).chain(sizes.iter().map(usize::to_string)).collect::<Vec<_>>()
    };
    ends.iter().map(|(name, of)| ((*name).to_owned(), sizes(of))).collect()
}

/// The operators that the guide names.
fn promised() -> BTreeSet<String> {
    let guide = std::fs::read_to_string(common::root().join("docs/guide.md")).expect("the guide");
    let part = guide.split_once("Graphs are made of").expect("the list").1.split_once("\n\n").expect("its end").0;
    let named = part.split('`').skip(1).step_by(2);
    named.filter(|name| name.chars().all(char::is_alphanumeric)).map(str::to_owned).collect()
}

fn pictures(residual: bool, side: usize, levels: usize) -> Model {
    let form = Convolutions { channels: 3, levels, residual, range: Some([-1.0, 2.0]), ..Convolutions::default() };
    let config = TrainerConfig {
        value_network: Some(NetworkSpec::convolutional(form)),
        // With all layers that a generator may have, where pictures are folded less.
        generator_network: Some(NetworkSpec::convolutional(if levels == 1 {
            Convolutions { norm_groups: 3, attention_heads: 1, ..form }
        } else {
            form
        })),
        latent_dimension: 2,
        deterministic: true,
        components: 1,
        ..problems::small()
    };
    let samples = problems::normals(20 * 3 * side * (side + 1), 7);
    let shape = [20, 3, side, side + 1];
    let data = || Data::array(TensorView::from_f64(&samples, &shape).expect("as many numbers"));
    Trainer::new(&context(1), config, data(), data()).expect("a sound problem").model().expect("a model")
}

#[test]
fn graphs_of_every_model_are_sound_and_have_the_operators_that_the_guide_names() {
    let clouds = Clouds::new(3);
    let mut operators = BTreeSet::new();
    let mut check = |model: &Model, deterministic: bool| {
        let info = model.info();
        let sample = &info.sample_shape[..];
        let (found, ends) = checked(&written(model, OnnxGraph::Generate));
        operators.extend(found);
        let latent = [info.latent_dimension];
        let mut inputs = vec![("x0", sample)];
        if info.latent_dimension > 0 {
            inputs.push(("latent", &latent));
        } else if info.components > 1 {
            inputs.push(("component", &[1]));
        }
        let noise = [info.dimension];
        if !deterministic {
            inputs.push(("noise", &noise));
        }
        assert_eq!(ends, [shaped(&inputs), shaped(&[("x1", sample)])]);
        let (found, ends) = checked(&written(model, MEAN));
        operators.extend(found);
        assert_eq!(ends, [shaped(&[("x0", sample)]), shaped(&[("mean", sample)])]);
        let (found, ends) = checked(&written(model, OnnxGraph::Value));
        operators.extend(found);
        let of = [shaped(&[("x", sample), ("t", &[1])]), shaped(&[("value", &[1]), ("drift", sample)])];
        assert_eq!(ends, of);
    };
    for activation in Activation::ALL {
        for form in forms() {
            let deterministic = form.deterministic;
            check(&clouds.model(TrainerConfig { activation, ..form }, 2), deterministic);
        }
    }
    for (residual, side, levels) in [(true, 13, 0), (false, 9, 0), (true, 34, 1)] {
        check(&pictures(residual, side, levels), true);
    }
    // Axes.
    let turned: Vec<f64> =
        problems::normals(600, 5).chunks(2).flat_map(|x| [x[0] + 3.0 * x[1], x[0] - 3.0 * x[1]]).collect();
    let narrow: Vec<f64> = problems::normals(600, 6).chunks(2).flat_map(|x| [x[0] + x[1], 2.0 * x[0] - x[1]]).collect();
    let side = |samples| Data::array(TensorView::from_f64(samples, &[300, 2]).expect("as many numbers"));
    let mut trainer =
        Trainer::new(&context(1), problems::small(), side(&turned), side(&narrow)).expect("a sound problem");
    check(&trainer.model().expect("a model"), false);
    let holds = |model: &Model, text: &[u8]| {
        problems::bytes(model, "onnx_clusters").windows(text.len()).any(|part| part == text)
    };
    for components in [3, 5] {
        let model = problems::clusters(components);
        check(&model, false);
        assert!(holds(&model, b"peaks"), "{components} components");
    }
    for components in [3, 5] {
        let model = problems::own_clusters(components);
        check(&model, false);
        assert!(holds(&model, br#"axes\":true"#), "{components} components");
    }
    assert_eq!(operators, promised());
}

#[test]
fn a_file_is_what_a_writer_gets_and_the_same_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Clouds::new(2).model(problems::small(), 2);
    let path = folder.path().join("mean.onnx");
    for graph in [OnnxGraph::Generate, MEAN, OnnxGraph::Value] {
        model.export_onnx(graph, &path).expect("a folder that can be written to");
        assert_eq!(std::fs::read(&path).expect("the file"), written(&model, graph));
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }
    let before = std::fs::read(&path).expect("the file");
    let refused = model.export_onnx(MEAN, &path.join("inside")).expect_err("no folder");
    assert!(matches!(refused, Error::Io { .. }), "{refused}");
    assert_eq!(std::fs::read(&path).expect("the file"), before);
}

#[test]
fn noise_in_pieces_is_the_noise_of_all_rows() {
    let config = TrainerConfig { latent_dimension: 3, ..problems::small() };
    let model = Clouds::new(2).model(config, 1);
    let of = |first: u64, rows: usize| {
        let (mut latent, mut component, mut noise) = (vec![0.0; 3 * rows], vec![0.0; rows], vec![0.0; 2 * rows]);
        model.noise(7, first, Some(&mut latent), Some(&mut component), Some(&mut noise)).expect("whole rows");
        [latent, component, noise]
    };
    let (all, [first, second]) = (of(5, 9), [of(5, 4), of(9, 5)]);
    for (all, (first, second)) in all.iter().zip(first.iter().zip(&second)) {
        assert_eq!(*all, [&first[..], second].concat());
    }
    assert!(all[1].iter().all(|u| *u > 0.0 && *u <= 1.0));
    let refused = model.noise(7, 0, Some(&mut [0.0; 6]), None, Some(&mut [0.0; 6])).expect_err("2 and 3 rows");
    assert!(refused.to_string().starts_with("noise has 6 numbers"), "{refused}");
}

/// Takes bytes, and from the second call on answers this.
struct Sink {
    bytes: Vec<u8>,
    answer: i32,
}

unsafe extern "C-unwind" fn take(userdata: *mut c_void, bytes: *const c_void, size: usize) -> i32 {
    // SAFETY: the tests pass a Sink, and the library size readable bytes.
    let (sink, bytes) =
        unsafe { (&mut *userdata.cast::<Sink>(), std::slice::from_raw_parts(bytes.cast::<u8>(), size)) };
    let answer = if sink.bytes.is_empty() { 0 } else { sink.answer };
    sink.bytes.extend_from_slice(bytes);
    answer
}

#[test]
fn the_host_says_where_the_graph_goes() {
    let handles = common::Handles::new(&common::Problem::new());
    let model = handles.model;
    let mut sink = Sink { bytes: vec![], answer: 0 };
    let mut config = common::init(sfeuot_onnx_config_init);
    assert_eq!((config.graph, config.latents, config.seed, config.row), (SFEUOT_ONNX_GENERATE, 16, 0, 0));
    let folder = tempfile::tempdir().expect("a folder");
    let path = CString::new(folder.path().join("x.onnx").to_str().expect("UTF-8")).expect("no zero inside");
    // SAFETY: a live handle, structs and strings of this test.
    unsafe {
        common::ok(sfeuot_model_export_onnx(model, null(), path.as_ptr()));
        let neither = sfeuot_model_export_onnx(model, &config, null());
        common::refused(neither, SFEUOT_ERROR_INVALID_ARGUMENT, "path is NULL and so is config.write");
        config.write = Some(take);
        config.userdata = (&raw mut sink).cast();
        let both = sfeuot_model_export_onnx(model, &config, path.as_ptr());
        common::refused(both, SFEUOT_ERROR_INVALID_ARGUMENT, "only one of them may be");
        assert!(sink.bytes.is_empty());
        common::ok(sfeuot_model_export_onnx(model, &config, null()));
        assert_eq!(sink.bytes, std::fs::read(folder.path().join("x.onnx")).expect("the file"));
        (sink.bytes, sink.answer) = (vec![], 7);
        let failed = sfeuot_model_export_onnx(model, &config, null());
        common::refused(failed, SFEUOT_ERROR_CALLBACK, "the write callback returned 7");
        for graph in [-1, 3, i32::MAX] {
            config.graph = graph;
            let status = sfeuot_model_export_onnx(model, &config, null());
            common::refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, &format!("config.graph is {graph}; allowed are"));
        }
        common::ok(sfeuot_model_noise(model, 3, 0, 0, null_mut(), null_mut(), null_mut()));
        let mut list = [0f32; 64];
        let status = sfeuot_model_noise(model, 3, 0, 0, null_mut(), list.as_mut_ptr(), list.as_mut_ptr());
        common::refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "noise overlaps component");
    }
}

#[test]
fn latents_out_of_range_are_refused() {
    let config = TrainerConfig { latent_dimension: 2, ..problems::small() };
    let model = Clouds::new(2).model(config, 1);
    for latents in [0, 4097, usize::MAX] {
        let graph = OnnxGraph::Mean { latents, seed: 0, row: 0 };
        let refused = model.write_onnx(graph, &mut Vec::new()).expect_err("out of range");
        assert_eq!(refused.to_string(), format!("latents is {latents}, but must be from 1 to 4096"));
    }
}
