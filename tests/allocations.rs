//! A step of a training allocates nothing, a call of a session nothing once it has run: a host can make them inside a
//! frame or an audio callback. And what is released gives all its memory back. Counted on all threads, so this file is a
//! program of its own: a test runner's threads allocate when they like.

mod common;
#[path = "common/counting.rs"]
mod counting;
mod problems;

use std::ptr::null_mut;

use counting::{allocations, held};
use problems::{Clouds, context, floats, forms};
use sfeuot::abi::*;
use sfeuot::*;

#[track_caller]
fn allocates_nothing(what: &str, call: impl FnOnce()) {
    let before = allocations();
    call();
    assert_eq!(allocations() - before, 0, "allocations in {what}");
}

fn main() {
    let before = allocations();
    drop(std::hint::black_box(vec![0u8; 100]));
    assert!(allocations() > before, "the allocator does not count");

    training_steps();
    session_calls();
    calls_from_c();
    calls_of_own_networks();
    println!("a steady state allocates nothing: ok");
    lifetimes();
    println!("what is released leaves nothing: ok");
}

/// Context, trainer, model and session, used and released, as often as one likes.
fn lifetimes() {
    let clouds = Clouds::new(2);
    let x = floats(&problems::normals(2 * ROWS, 5));
    let mut out = vec![0f32; 2 * ROWS];
    for form in forms() {
        let mut held_after = |times: usize| {
            for _ in 0..times {
                let mut trainer = clouds.trainer(&context(3), form.clone());
                trainer.step(2).expect("a sound problem");
                let mut session = Session::new(&trainer.model().expect("a model")).expect("a workspace");
                session.generate(&x, 1, 0, &mut out).expect("finite rows");
            }
            held()
        };
        let before = held_after(3);
        assert_eq!(held_after(30).wrapping_sub(before) as isize, 0, "bytes held after 30 lifetimes");
    }
    let problem = common::Problem::new();
    let held_after = |times: usize| {
        for _ in 0..times {
            let handles = common::Handles::new(&problem);
            // SAFETY: a live handle; no metrics are wanted.
            common::ok(unsafe { sfeuot_trainer_step(handles.trainer, 2, null_mut()) });
        }
        held()
    };
    // The table of handles grows to what was alive at once.
    let before = held_after(3);
    assert_eq!(held_after(30).wrapping_sub(before) as isize, 0, "bytes held after 30 lifetimes of handles");
}

/// Convolutional networks.
fn of_pictures() -> TrainerConfig {
    let network = NetworkSpec::convolutional(Convolutions { channels: 5, ..Convolutions::default() });
    TrainerConfig {
        value_network: Some(network.clone()),
        generator_network: Some(network),
        latent_dimension: 2,
        deterministic: true,
        components: 1,
        ..problems::small()
    }
}

fn training_steps() {
    let clouds = Clouds::new(3);
    let pictures = problems::normals(20 * 80, 7);
    for threads in [1, 2, 4] {
        for form in forms().into_iter().chain([of_pictures()]) {
            let config = TrainerConfig { decay_steps: 50, ..form };
            let context = context(threads);
            let make = |config: TrainerConfig| {
                if config.generator_network.is_none() {
                    return clouds.trainer(&context, config);
                }
                let side = || Data::array(TensorView::from_f64(&pictures, &[20, 8, 10]).expect("as many numbers"));
                Trainer::new(&context, config, side(), side()).expect("a sound problem")
            };
            // Threads that start allocate a little; after a step of any training they have.
            make(config.clone()).step(1).expect("a sound problem");
            let mut trainer = make(config);
            // The first step as well: all memory is asked for when the trainer is made.
            allocates_nothing("Trainer::step", || {
                for _ in 0..20 {
                    trainer.step(1).expect("a sound problem");
                }
            });
        }
    }
}

const ROWS: usize = 150;
const TIMES: [f64; 3] = [0.0, 0.4, 1.0];

type SessionCall<'a> = dyn Fn(&mut Session, usize, &mut [f32]) -> Result<()> + 'a;

fn session_calls() {
    let clouds = Clouds::new(2);
    for form in forms() {
        calls_of(&clouds.model(form, 2), 2);
    }
    let pictures = problems::normals(20 * 80, 7);
    let side = || Data::array(TensorView::from_f64(&pictures, &[20, 8, 10]).expect("as many numbers"));
    let mut trainer = Trainer::new(&context(2), of_pictures(), side(), side()).expect("a sound problem");
    trainer.step(2).expect("a sound problem");
    let of_pictures = trainer.model().expect("a model");
    calls_of(&of_pictures, 80);
    for threads in [2, 3] {
        on_threads(&clouds.trainer(&context(threads), forms()[0].clone()).model().expect("a model"), 2, threads);
        on_threads(&of_pictures, 80, threads);
    }
}

/// Calls on several threads, after a call of the same number of rows.
fn on_threads(model: &Model, d: usize, threads: usize) {
    let x = floats(&problems::normals(d * ROWS, 5));
    let mut out = vec![0f32; 3 * d * ROWS];
    let mut session = Session::with_config(model, &SessionConfig { threads }).expect("a workspace");
    for rows in [ROWS, 1, 64, 3] {
        let mut calls = || {
            session.generate(&x[..d * rows], 1, 0, &mut out[..d * rows]).expect("finite rows");
            session.conditional_mean(&x[..d * rows], 9, 1, 0, &mut out[..d * rows]).expect("finite rows");
            session.trajectory(&x[..d * rows], &TIMES, 1, 0, &mut out[..3 * d * rows]).expect("finite rows");
            session.drift(0.5, &x[..d * rows], &mut out[..d * rows]).expect("finite rows");
            session.density_ratio(&x[..d * rows], &mut out[..rows]).expect("finite rows");
        };
        calls();
        allocates_nothing("calls on several threads", calls);
    }
}

/// The calls of a session whose samples have `d` numbers.
fn calls_of(model: &Model, d: usize) {
    let x = floats(&problems::normals(d * ROWS, 5));
    let mut out = vec![0f32; 3 * d * ROWS];
    let mut session = Session::new(model).expect("a workspace");
    let calls: [(&str, &SessionCall); 7] = [
        ("generate", &|session, rows, out| session.generate(&x[..d * rows], 1, 0, &mut out[..d * rows])),
        ("conditional_mean", &|session, rows, out| {
            session.conditional_mean(&x[..d * rows], 9, 1, 0, &mut out[..d * rows])
        }),
        ("conditional_mean over more latents", &|session, rows, out| {
            session.conditional_mean(&x[..d * rows], 200, 1, 0, &mut out[..d * rows])
        }),
        ("trajectory", &|session, rows, out| {
            session.trajectory(&x[..d * rows], &TIMES, 1, 0, &mut out[..3 * d * rows])
        }),
        ("trajectory through fewer times", &|session, rows, out| {
            session.trajectory(&x[..d * rows], &TIMES[..1], 1, 0, &mut out[..d * rows])
        }),
        ("drift", &|session, rows, out| session.drift(0.5, &x[..d * rows], &mut out[..d * rows])),
        ("density_ratio", &|session, rows, out| session.density_ratio(&x[..d * rows], &mut out[..rows])),
    ];
    // One block of rows is all a session ever holds: after it, more rows need no more memory.
    for (name, call) in &calls {
        call(&mut session, 64, &mut out).expect(name);
    }
    for (name, call) in &calls {
        for rows in [1, 64, ROWS] {
            allocates_nothing(name, || call(&mut session, rows, &mut out).expect("finite rows"));
        }
    }
}

fn calls_from_c() {
    let handles = common::Handles::new(&common::Problem::new());
    let (trainer, session) = (handles.trainer, handles.session);
    let x = floats(&problems::normals(2 * ROWS, 5));
    let mut out = vec![0f32; 6 * ROWS];
    let mut metrics = common::init(sfeuot_metrics_init_2);
    let (x, y, times, rows) = (x.as_ptr(), out.as_mut_ptr(), TIMES.as_ptr(), ROWS as u64);
    let (shape, strides) = ([ROWS as i64, 2], [2, 1]);
    let mut source = common::init(sfeuot_tensor_init);
    (source.data, source.rank, source.shape, source.strides) = (x.cast(), 2, shape.as_ptr(), strides.as_ptr());
    let generated = SfeuotTensor { data: y.cast(), ..source };
    let (mut bytes, apart) = (vec![100u8; 4 * ROWS], [4, 2]);
    let mut pixels = SfeuotTensor { data: bytes.as_mut_ptr().cast(), strides: apart.as_ptr(), ..source };
    (pixels.dtype, pixels.scale) = (SFEUOT_DTYPE_U8, 0.01);
    let mut calls: [(&str, &mut dyn FnMut() -> i32); 12] = [
        // SAFETY: here and below live handles, and arrays of the sizes the calls name.
        ("step", &mut || unsafe { sfeuot_trainer_step(trainer, 1, &mut metrics) }),
        ("run", &mut || unsafe { sfeuot_trainer_run(trainer, 2, 1, None, null_mut(), null_mut()) }),
        ("run_for", &mut || unsafe { sfeuot_trainer_run_for(trainer, 0.1, null_mut(), null_mut()) }),
        ("generate", &mut || unsafe { sfeuot_session_generate(session, x, rows, 1, 0, y) }),
        ("generate_tensor", &mut || unsafe { sfeuot_session_generate_tensor(session, &source, 1, 0, &generated) }),
        ("generate_tensor of bytes", &mut || unsafe {
            sfeuot_session_generate_tensor(session, &pixels, 1, 0, &pixels)
        }),
        ("conditional_mean_tensor of bytes", &mut || unsafe {
            sfeuot_session_conditional_mean_tensor(session, &pixels, 9, 1, 0, &pixels)
        }),
        ("density_ratio_tensor of bytes", &mut || unsafe { sfeuot_session_density_ratio_tensor(session, &pixels, y) }),
        ("conditional_mean", &mut || unsafe { sfeuot_session_conditional_mean(session, x, rows, 9, 1, 0, y) }),
        ("trajectory", &mut || unsafe { sfeuot_session_trajectory(session, x, rows, times, 3, 1, 0, y) }),
        ("drift", &mut || unsafe { sfeuot_session_drift(session, 0.5, x, rows, y) }),
        ("density_ratio", &mut || unsafe { sfeuot_session_density_ratio(session, x, rows, y) }),
    ];
    for (_, call) in &mut calls {
        common::ok(call());
    }
    for (name, call) in &mut calls {
        allocates_nothing(name, || assert_eq!(call(), SFEUOT_OK));
    }
}

/// The calls for networks of the host's, with batches that fill several blocks.
fn calls_of_own_networks() {
    const SOURCES: usize = 300;
    let handles = common::Handles::new(&common::Problem::new());
    let mut config = common::own_config();
    let mut problem = null_mut();
    for (latents, deterministic) in [(0, 0), (1, 0), (1, 1)] {
        (config.latents, config.deterministic) = (latents, deterministic);
        // SAFETY: a live handle, and local arguments.
        common::ok(unsafe { sfeuot_problem_create(handles.context, &config, &mut problem) });
        let outputs = SOURCES * 2 * if latents == 0 { 5 } else { 4 - 2 * deterministic as usize };
        let normals = |count, seed| floats(&problems::normals(count, seed));
        let mut arrays = [(2 * SOURCES, 1), (outputs, 2)].map(|(count, seed)| normals(count, seed)).to_vec();
        arrays.extend((3..8).map(|seed| normals(4 * SOURCES, seed)));
        arrays.extend((8..12).map(|seed| normals(2 * SOURCES, seed)));
        arrays.push(normals(outputs, 12));
        let shapes: Vec<[i64; 1]> = arrays.iter().map(|values| [values.len() as i64]).collect();
        let mut tensors = Vec::new();
        for (values, shape) in arrays.iter_mut().zip(&shapes) {
            let mut tensor = common::init(sfeuot_tensor_init);
            (tensor.data, tensor.rank, tensor.shape) = (values.as_mut_ptr().cast(), 1, shape.as_ptr());
            tensors.push(tensor);
        }
        let [x0, outputs, end, state, drift, g, w, v1, v2, by1, by2, by_outputs] = &tensors[..] else {
            unreachable!("twelve arrays")
        };
        let mut times = vec![0f32; 2 * SOURCES];
        let times = times.as_mut_ptr();
        let mut loss = common::init(sfeuot_value_loss_init);
        let n = SOURCES as u64;
        let mut calls: [(&str, &mut dyn FnMut() -> i32); 6] = [
            // SAFETY: here and below a live handle, and arrays of the sizes that the calls name.
            ("bridge_times", &mut || unsafe { sfeuot_bridge_times(problem, 0, n, 1, 2, 0, times) }),
            ("bridge_sample", &mut || unsafe {
                sfeuot_bridge_sample(problem, 0, x0, outputs, times, 1, 2, 0, end, state, drift)
            }),
            ("value_loss", &mut || unsafe { sfeuot_value_loss(problem, v1, v2, g, drift, by1, by2, w, &mut loss) }),
            ("bridge_times of the generator", &mut || unsafe { sfeuot_bridge_times(problem, 1, n, 1, 2, 0, times) }),
            ("bridge_sample of the generator", &mut || unsafe {
                sfeuot_bridge_sample(problem, 1, x0, outputs, times, 1, 2, 0, end, state, drift)
            }),
            ("generator_loss", &mut || unsafe {
                sfeuot_generator_loss(problem, x0, outputs, times, state, v1, g, by_outputs, null_mut())
            }),
        ];
        for (_, call) in &mut calls {
            common::ok(call());
        }
        for (name, call) in &mut calls {
            allocates_nothing(name, || assert_eq!(call(), SFEUOT_OK));
        }
        // SAFETY: a live handle.
        common::ok(unsafe { sfeuot_problem_release(problem) });
    }
}
