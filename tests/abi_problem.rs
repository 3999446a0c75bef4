//! Every field of a problem, broken in turn: the trainer is not made, and the sentence names the
//! field.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use common::*;
use sfeuot::abi::*;

unsafe extern "C-unwind" fn never(_: *mut c_void, _: *mut f32, _: u64, _: u64) -> i32 {
    1
}

type Break = fn(&mut Problem);

#[rustfmt::skip]
const BROKEN: &[(&str, Break)] = &[
    ("sigma", |p| p.config.sigma = init(sfeuot_trainer_config_init_4).sigma),
    ("sigma", |p| p.config.sigma = 0.0),
    ("sigma", |p| p.config.sigma = -1.0),
    ("sigma", |p| p.config.sigma = f64::NAN),
    ("sigma", |p| p.config.sigma = f64::INFINITY),
    ("tau", |p| p.config.tau = 0.0),
    ("tau", |p| p.config.tau = f64::NAN),
    ("tau_start", |p| p.config.tau_start = 0.0),
    ("tau_start", |p| p.config.tau_start = f64::NAN),
    ("tau_start", |p| (p.config.tau_start, p.config.tau_steps) = (1e-200, 1)),
    ("tau_steps", |p| p.config.tau_start = 0.5),
    ("gradient_penalty", |p| p.config.gradient_penalty = -1.0),
    ("gradient_penalty", |p| p.config.gradient_penalty = f64::NAN),
    ("gradient_penalty", |p| p.config.gradient_penalty = 1001.0),
    ("generator_learning_rate", |p| p.config.generator_learning_rate = -1e-3),
    ("generator_learning_rate", |p| p.config.generator_learning_rate = f64::INFINITY),
    ("value_learning_rate", |p| p.config.value_learning_rate = f64::NAN),
    ("adam_beta1", |p| p.config.adam_beta1 = 1.0),
    ("adam_beta2", |p| p.config.adam_beta2 = -0.1),
    ("adam_beta2", |p| p.config.adam_beta2 = 0.999_999_999),
    ("sigma", |p| p.config.sigma = 1e-20),
    ("sigma", |p| p.config.sigma = 1e20),
    ("ema_decay", |p| p.config.ema_decay = 1.5),
    ("gradient_clip", |p| p.config.gradient_clip = -1.0),
    ("decay_floor", |p| p.config.decay_floor = f64::NAN),
    ("divergence", |p| p.config.divergence = sfeuot::Divergence::ALL.len() as i32),
    ("divergence", |p| p.config.divergence = -1),
    ("activation", |p| p.config.activation = sfeuot::Activation::ALL.len() as i32),
    ("sigma_units", |p| p.config.sigma_units = i32::MIN),
    ("deterministic", |p| p.config.deterministic = 2),
    ("squares", |p| p.config.squares = -1),
    ("reserved", |p| p.config.reserved = 7),
    ("hidden_width", |p| p.config.hidden_width = 0),
    ("hidden_width", |p| p.config.hidden_width = u32::MAX),
    ("hidden_layers", |p| p.config.hidden_layers = 0),
    ("batch_sources", |p| p.config.batch_sources = (1 << 20) + 1),
    ("components", |p| p.config.components = 4097),
    ("latent_dimension", |p| p.config.latent_dimension = 4097),
    ("latent_dimension", |p| (p.config.deterministic, p.config.latent_dimension) = (1, 0)),

    ("source.samples", |p| p.source.data.samples = null()),
    ("target.sample_callback", |p| p.target.data.sample_callback = Some(never)),
    ("target.weights", |p| { p.target.use_callback(Some(never), null_mut()); p.target.data.weights = &raw const p.target.weights }),
    ("source.sample_rank", |p| { p.source.use_callback(Some(never), null_mut()); p.source.data.sample_rank = 0 }),
    ("source.sample_rank", |p| { p.source.use_callback(Some(never), null_mut()); p.source.data.sample_rank = SFEUOT_MAX_RANK }),
    ("source.sample_shape", |p| { p.source.use_callback(Some(never), null_mut()); p.source.data.sample_shape = null() }),
    ("source.sample_shape", |p| { p.source.use_callback(Some(never), null_mut()); p.source.sample_shape[0] = -2 }),

    ("source.samples.struct_size", |p| p.source.samples.struct_size = 0),
    ("source.samples.dtype", |p| p.source.samples.dtype = 5),
    ("source.samples.data", |p| p.source.samples.data = null()),
    ("source.samples.data", |p| p.source.samples.data = p.source.samples.data.wrapping_byte_add(1)),
    ("source.samples.rank", |p| p.source.samples.rank = 0),
    ("source.samples.rank", |p| p.source.samples.rank = SFEUOT_MAX_RANK + 1),
    ("source.samples.shape", |p| p.source.samples.shape = null()),
    ("source.samples.shape", |p| p.source.shape[0] = 0),
    ("source.samples.shape", |p| p.source.shape[1] = -2),
    ("source.samples.shape", |p| p.source.shape = [i64::MAX, 2]),
    ("source.samples.shape", |p| p.source.shape = [1 << 40, 1 << 40]),
    ("target.samples", |p| p.target.samples.scale = f64::NAN),
    ("target.samples", |p| p.target.samples.offset = f64::INFINITY),
    ("target", |p| p.target.values[5] = f32::NAN),
    ("source", |p| p.source.values[63] = f32::NEG_INFINITY),
    ("target", |p| p.target.shape = [64, 1]),

    ("source.samples.memory", |p| p.source.samples.memory = 2),
    ("source.samples.read_only", |p| p.source.samples.read_only = -1),
    ("source.samples.data", |p| p.source.samples.memory = SFEUOT_MEMORY_CUDA),
    ("target.weights.data", |p| p.target.weights.memory = SFEUOT_MEMORY_CUDA),
    ("source.samples.strides", |p| {
        p.source.samples.memory = SFEUOT_MEMORY_CUDA;
        p.source.samples.strides = const { &[i64::MAX, 1] }.as_ptr();
    }),
    ("source.samples.strides", |p| p.source.samples.strides = const { &[i64::MAX, 1] }.as_ptr()),

    ("target.weights.dtype", |p| p.target.weights.dtype = -1),
    ("target.weights.data", |p| p.target.weights.data = null()),
    ("target.weights.rank", |p| p.target.weights.rank = 9),
    ("weights", |p| p.target.weights.rank = 2),
    ("weights", |p| p.target.weight_shape[0] = 31),
    ("weights", |p| p.target.weight_values[3] = -1.0),
    ("weights", |p| p.target.weight_values[3] = f64::NAN),
];

#[test]
fn a_broken_field_is_refused_by_name_and_makes_nothing() {
    let handles = Handles::new(&Problem::new());
    for (i, (field, break_it)) in BROKEN.iter().enumerate() {
        let mut problem = Problem::new();
        break_it(&mut problem);
        let untouched = std::ptr::without_provenance_mut(0xA5A5);
        let mut trainer = untouched;
        let status = problem.create(handles.context, &mut trainer);
        let text = last_error();
        assert_eq!(status, SFEUOT_ERROR_INVALID_ARGUMENT, "entry {i}, {field}: {text}");
        assert!(text.contains(field), "entry {i}, {field}: {text}");
        assert_eq!(trainer, untouched);
    }
}

#[test]
fn enum_refusals_list_what_is_allowed() {
    let handles = Handles::new(&Problem::new());
    let mut problem = Problem::new();
    problem.config.divergence = 99;
    refused(problem.create(handles.context, &mut null_mut()), 1, "99");
    for allowed in ["BALANCED (0)", "KL (1)", "CHI2 (2)", "SOFTPLUS (3)"] {
        assert!(last_error().contains(allowed), "{}", last_error());
    }
    for break_it in [|c: &mut SfeuotContextConfig| c.device = 3, |c: &mut SfeuotContextConfig| c.log_level = -1] {
        let mut config = init(sfeuot_context_config_init_2);
        break_it(&mut config);
        // SAFETY: local input and output.
        refused(unsafe { sfeuot_context_create(&config, &mut null_mut()) }, 1, "allowed are");
    }
}

#[test]
fn every_element_type_and_any_strides_make_a_trainer() {
    let handles = Handles::new(&Problem::new());
    let values = Problem::new().source.values;
    let f64s: Vec<f64> = values.iter().map(|&value| value.into()).collect();
    let f16s: Vec<half::f16> = values.iter().map(|&value| half::f16::from_f32(value)).collect();
    let bf16s: Vec<half::bf16> = values.iter().map(|&value| half::bf16::from_f32(value)).collect();
    let bytes: Vec<u8> = values.iter().map(|value| (value * 255.0) as u8).collect();
    for (dtype, data, scale) in [
        (SFEUOT_DTYPE_F32, values.as_ptr().cast::<c_void>(), 1.0),
        (SFEUOT_DTYPE_F64, f64s.as_ptr().cast(), 1.0),
        (SFEUOT_DTYPE_F16, f16s.as_ptr().cast(), 1.0),
        (SFEUOT_DTYPE_BF16, bf16s.as_ptr().cast(), 1.0),
        (SFEUOT_DTYPE_U8, bytes.as_ptr().cast(), 1.0 / 255.0),
    ] {
        let mut problem = Problem::new();
        problem.source.samples.dtype = dtype;
        problem.source.samples.data = data;
        problem.source.samples.scale = scale;
        let mut trainer = null_mut();
        ok(problem.create(handles.context, &mut trainer));
        // SAFETY: a live handle.
        ok(unsafe { sfeuot_trainer_release(trainer) });
    }
    // Columns first, and rows from the last to the first.
    let rows = ROWS as i64;
    for (strides, start) in [([1, rows], 0), ([-(DIMENSION as i64), 1], (ROWS - 1) * DIMENSION)] {
        let mut problem = Problem::new();
        problem.source.samples.strides = strides.as_ptr();
        problem.source.samples.data = problem.source.values[start..].as_ptr().cast();
        let mut trainer = null_mut();
        ok(problem.create(handles.context, &mut trainer));
        // SAFETY: a live handle.
        ok(unsafe { sfeuot_trainer_release(trainer) });
    }
}

#[test]
fn files_that_are_not_ours_are_told_from_files_that_cannot_be_read() {
    let folder = scratch("problem_files");
    let problem = Problem::new();
    let handles = Handles::new(&problem);
    let c_path =
        |path: &std::path::Path| std::ffi::CString::new(path.to_str().expect("UTF-8")).expect("no zero inside");
    let (checkpoint, model) = (folder.join("checkpoint"), folder.join("model"));
    let (mut a_trainer, mut a_model) = (null_mut(), null_mut());
    // SAFETY: live handles, C strings, local outputs.
    unsafe {
        ok(sfeuot_trainer_save(handles.trainer, c_path(&checkpoint).as_ptr()));
        ok(sfeuot_model_save(handles.model, c_path(&model).as_ptr()));
        for (path, is_model) in [(checkpoint, false), (model, true)] {
            let good = std::fs::read(&path).expect("the file was written");
            for bad in [vec![], good[..good.len() / 2].to_vec(), b"no model at all".to_vec(), vec![0xFF; 4096]] {
                std::fs::write(&path, &bad).expect("the scratch folder is writable");
                let path = c_path(&path);
                let status = if is_model {
                    if !bad.is_empty() {
                        let size = bad.len();
                        let status = sfeuot_model_load_memory(handles.context, bad.as_ptr().cast(), size, &mut a_model);
                        refused(status, SFEUOT_ERROR_FORMAT, "");
                    }
                    sfeuot_model_load(handles.context, path.as_ptr(), &mut a_model)
                } else {
                    let (source, target) = (&problem.source.data, &problem.target.data);
                    sfeuot_trainer_load(handles.context, path.as_ptr(), source, target, &mut a_trainer)
                };
                refused(status, SFEUOT_ERROR_FORMAT, "");
            }
        }
        let folder = c_path(&folder);
        refused(sfeuot_model_load(handles.context, folder.as_ptr(), &mut a_model), SFEUOT_ERROR_IO, "");
        refused(sfeuot_model_save(handles.model, folder.as_ptr()), SFEUOT_ERROR_IO, "");
    }
    assert!(a_trainer.is_null() && a_model.is_null());
}

#[test]
fn session_arrays_may_not_overlap_and_times_must_ascend() {
    let handles = Handles::new(&Problem::new());
    let rows = ROWS as u64;
    let mut buffer = vec![0.25f32; 4 * ROWS * DIMENSION];
    let before = buffer.clone();
    let block = ROWS * DIMENSION;
    let start = buffer.as_mut_ptr();
    let times = [0.0, 0.5];
    let session = handles.session;
    // SAFETY: all arrays lie within the buffer; overlaps are what the calls refuse.
    unsafe {
        for shift in [0, 1, block - 1] {
            let out = start.add(shift);
            let overlap = |status| refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "overlaps");
            if shift > 0 {
                overlap(sfeuot_session_generate(session, start, rows, 0, 0, out));
                overlap(sfeuot_session_generate(session, out, rows, 0, 0, start));
                overlap(sfeuot_session_conditional_mean(session, start, rows, 1, 0, 0, out));
                overlap(sfeuot_session_drift(session, 0.5, start, rows, out));
            }
            overlap(sfeuot_session_trajectory(session, start, rows, times.as_ptr(), 2, 0, 0, out));
            overlap(sfeuot_session_density_ratio(session, start, rows, out));
        }
        let out = start.add(block);
        for bad in [[0.5, 0.25], [-0.1, 0.5], [0.5, 1.5], [f64::NAN, 0.5], [0.5, f64::NAN]] {
            let status = sfeuot_session_trajectory(session, start, rows, bad.as_ptr(), 2, 0, 0, out);
            refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "times");
        }
        assert_eq!(buffer, before);
        ok(sfeuot_session_generate(session, start, rows, 0, 0, out));
    }
    assert!(buffer.iter().all(|value| value.is_finite()));
}

#[test]
fn samples_are_answered_in_place() {
    let handles = Handles::new(&Problem::new());
    let (session, rows) = (handles.session, ROWS as u64);
    let x: Vec<f32> = (0..ROWS * DIMENSION).map(|i| (i as f32 * 0.7).sin()).collect();
    let calls: [&dyn Fn(*const f32, *mut f32) -> i32; 3] = [
        // SAFETY: here and below a live session, and arrays of so many rows.
        &|x, y| unsafe { sfeuot_session_generate(session, x, rows, 3, 5, y) },
        &|x, y| unsafe { sfeuot_session_conditional_mean(session, x, rows, 4, 3, 5, y) },
        &|x, y| unsafe { sfeuot_session_drift(session, 0.5, x, rows, y) },
    ];
    for call in calls {
        let (mut beside, mut place) = (vec![0f32; x.len()], x.clone());
        ok(call(x.as_ptr(), beside.as_mut_ptr()));
        let start = place.as_mut_ptr();
        ok(call(start, start));
        assert_eq!(place, beside);
    }
}
