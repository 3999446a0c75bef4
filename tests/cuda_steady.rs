//! What a training on a GPU does again and again: it waits seldom, takes no more memory, leaves nothing queued, and
//! gives the same bits whoever works beside it and in whatever order the device does what no edge of a graph keeps
//! apart. On the simulated driver, whose counters tell.
#![cfg(target_os = "linux")]

mod problems;
#[path = "common/simulator.rs"]
mod simulator;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::process::Output;

use problems::*;
use sfeuot::*;

fn child(test: &str, settings: &[(&str, &str)]) -> Option<Output> {
    let output = simulator::in_child(test, settings)?;
    assert!(output.status.success(), "{settings:?}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(output)
}

fn with(products: Products) -> Context {
    let cuda = CudaConfig { products, ..Default::default() };
    Context::new(ContextConfig { device: DeviceKind::Cuda, cuda, ..Default::default() }).expect("a GPU")
}

fn tiny() -> TrainerConfig {
    TrainerConfig { hidden_width: 8, batch_sources: 3, components: 2, ..small() }
}

/// How often `work` waits for the device.
fn waits<R>(work: impl FnOnce() -> Result<R>) -> i32 {
    let before = simulator::synchronisations();
    work().expect("sound");
    simulator::synchronisations() - before
}

#[test]
fn steps_wait_once_in_thirty_two_and_take_no_memory() {
    if !simulator::alone_and_simulated("steps_wait_once_in_thirty_two_and_take_no_memory", &[]) {
        return;
    }
    for products in [Products::Fused, Products::CublasLt] {
        let context = with(products);
        let mut trainer = Clouds::new(2).trainer(&context, tiny());
        let one = waits(|| trainer.step(1));
        assert!(one > 0);
        let state = || (simulator::live(), context.device_memory());
        let before = state();
        for steps in [2, 31, 32, 33, 64, 500] {
            let found = waits(|| trainer.step(steps));
            assert_eq!(found, one * steps.div_ceil(32) as i32, "{steps} steps");
            assert_eq!(state(), before, "{steps} steps");
        }
        for (steps, every) in [(60, 10), (35, 10), (9, 1), (100, 50)] {
            let mut told = 0;
            let mut count = |_: &Metrics| {
                told += 1;
                Control::Continue
            };
            let found = waits(|| trainer.run(steps, every, &mut count));
            assert_eq!(told, steps.div_ceil(every), "{steps} by {every}");
            let pieces = steps / every * every.div_ceil(32) + (steps % every).div_ceil(32);
            assert_eq!(found, one * pieces as i32, "{steps} by {every}");
        }
        assert_eq!(state(), before);
        // A model and a session take what they need once, and give it back.
        let x = floats(&normals(2 * 50, 3));
        let mut out = vec![0.0; x.len()];
        let mut session = Session::new(&trainer.model().expect("sound")).expect("a workspace");
        session.generate(&x, 1, 0, &mut out).expect("sound");
        session.generate(&x[..6], 1, 0, &mut out[..6]).expect("sound");
        let with_session = state();
        for seed in 0..20 {
            session.generate(&x, seed, 0, &mut out).expect("sound");
            session.generate(&x[..6], seed, 0, &mut out[..6]).expect("sound");
        }
        assert_eq!(state(), with_session);
        drop(session);
        assert_eq!(state().1, before.1);
    }
}

#[test]
fn rows_of_ever_other_numbers_take_bounded_memory() {
    if !simulator::alone_and_simulated("rows_of_ever_other_numbers_take_bounded_memory", &[]) {
        return;
    }
    let context = with(Products::CublasLt);
    let model = Clouds::new(1).trainer(&context, tiny()).model().expect("sound");
    let mut session = Session::new(&model).expect("a workspace");
    let x = vec![0.5; 800];
    let mut out = x.clone();
    let before = simulator::live();
    // Each number of rows is other products, each of which cublasLt plans with four objects.
    for rows in 1..=x.len() {
        session.generate(&x[..rows], 1, 0, &mut out[..rows]).expect("sound");
    }
    let more = simulator::live() - before;
    assert!(more <= 4 * 1024, "{more} objects");
    let mut again = vec![0.0; 3];
    session.generate(&x[..3], 1, 0, &mut again).expect("sound");
    assert_eq!(again, out[..3]);
}

#[test]
fn a_run_that_ends_early_leaves_nothing_queued() {
    if !simulator::alone_and_simulated("a_run_that_ends_early_leaves_nothing_queued", &[]) {
        return;
    }
    let (context, clouds) = (with(Products::Fused), Clouds::new(2));
    let mut trainer = clouds.trainer(&context, tiny());
    let nothing_queued = |after: &str| {
        let ran = simulator::launches();
        context.synchronise().expect("sound");
        assert_eq!(simulator::launches(), ran, "after {after}");
    };
    trainer.run(100, 7, &mut |_| Control::Stop).expect_err("it stops");
    nothing_queued("a progress function that stops");
    for queued in [0, 5] {
        simulator::fail_after(c"cuGraphLaunch", queued, 999);
        trainer.step(20).expect_err("a launch fails");
        nothing_queued("a failed launch");
    }
    let token = trainer.cancel_token();
    let cancelled = std::thread::scope(|scope| {
        let (told, begun) = std::sync::mpsc::channel();
        scope.spawn(move || {
            begun.recv().expect("the run begins");
            token.cancel();
        });
        trainer.run(1_000_000, 40, &mut |_| {
            let _ = told.send(());
            Control::Continue
        })
    });
    assert!(matches!(cancelled, Err(Error::Cancelled { .. })));
    nothing_queued("a cancellation");
    // Rates that spoil the weights at once.
    let wild = TrainerConfig { value_learning_rate: 1e30, generator_learning_rate: 1e30, ..tiny() };
    let mut trainer = clouds.trainer(&context, wild);
    let failure = trainer.step(30).expect_err("it diverges");
    assert!(matches!(failure, Error::Diverged { .. }), "{failure}");
    trainer.model().expect("its last weights");
}

/// Bits of a training from its beginning, and of rows drawn from its model.
fn results(context: &Context, config: &TrainerConfig, steps: u64, name: &str) -> (Vec<u8>, Vec<u32>) {
    let mut trainer = Clouds::new(2).trainer(context, config.clone());
    trainer.run(steps, 5, &mut |_| Control::Continue).expect("sound");
    let model = trainer.model().expect("sound");
    let mut session = Session::new(&model).expect("a workspace");
    let x = floats(&normals(2 * 40, 3));
    let [mut generated, mut mean, mut drift] = [0; 3].map(|_| vec![0.0; x.len()]);
    let mut ratio = vec![0.0; x.len() / 2];
    session.generate(&x, 1, 0, &mut generated).expect("sound");
    session.conditional_mean(&x, 7, 1, 0, &mut mean).expect("sound");
    session.drift(0.4, &x, &mut drift).expect("sound");
    session.density_ratio(&x, &mut ratio).expect("sound");
    let bits = generated.iter().chain(&mean).chain(&drift).chain(&ratio).map(|x| x.to_bits()).collect();
    (bytes(&model, name), bits)
}

#[test]
fn those_who_share_a_context_get_what_they_get_alone() {
    if !simulator::load_with_compiler() {
        return;
    }
    for products in [Products::Fused, Products::CublasLt] {
        let context = with(products);
        let configs = [
            TrainerConfig { seed: 1, ..small() },
            TrainerConfig { seed: 2, components: 20, batch_sources: 2, ..small() },
        ];
        let expected = [0, 1].map(|i| results(&context, &configs[i], 12, &format!("alone{i}")));
        let model = Clouds::new(2).model(tiny(), 3);
        let path = scratch("shared.model");
        model.save(&path).expect("writable");
        let draw = || {
            let mut session = Session::new(&Model::load(&context, &path).expect("good")).expect("a workspace");
            let mut out = Vec::new();
            // Ever more rows, for which it takes ever more memory.
            for rows in [1, 10, 40] {
                let x = floats(&normals(2 * rows, 3));
                let mut generated = vec![0.0; x.len()];
                session.generate(&x, 1, 0, &mut generated).expect("sound");
                out.extend(generated.iter().map(|x| x.to_bits()));
            }
            out
        };
        let drawn = draw();
        let taken = context.device_memory();
        std::thread::scope(|scope| {
            let trainings = [0, 1].map(|i| {
                let (context, config) = (&context, &configs[i]);
                scope.spawn(move || results(context, config, 12, &format!("beside{i}")))
            });
            let drawing = scope.spawn(|| (0..10).map(|_| draw()).collect::<Vec<_>>());
            for (i, (training, expected)) in trainings.into_iter().zip(&expected).enumerate() {
                assert!(training.join().expect("no panic") == *expected, "trainer {i}, {products:?}");
            }
            assert!(drawing.join().expect("no panic").iter().all(|found| *found == drawn), "{products:?}");
        });
        assert_eq!(context.device_memory(), taken);
    }
}

#[test]
fn bits_do_not_depend_on_what_the_device_does_first() {
    let test = "bits_do_not_depend_on_what_the_device_does_first";
    if !simulator::simulated() || !simulator::load_with_compiler() {
        return;
    }
    let run = |seed: &str| child(test, &[("SFEUOT_SIM_SEED", seed)]);
    let Some(first) = run("1") else {
        for products in [Products::Fused, Products::CublasLt] {
            let context = with(products);
            for (sources, components) in [(7, 5), (3, 20), (2, 70)] {
                for (number, form) in forms().into_iter().enumerate() {
                    let config = TrainerConfig {
                        batch_sources: sources,
                        components,
                        divergence: if form.deterministic { Divergence::Balanced } else { Divergence::Kl },
                        gradient_clip: 1.0,
                        hidden_layers: 3,
                        ..form
                    };
                    let mut hash = DefaultHasher::new();
                    let seed = std::env::var("SFEUOT_SIM_SEED").expect("set by the parent");
                    results(&context, &config, 4, &format!("seed{seed}")).hash(&mut hash);
                    println!("bits {products:?} {components} {number} {:x}", hash.finish());
                }
            }
        }
        return;
    };
    let bits = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter_map(|line| line.split_once("bits ").map(|(_, bits)| bits.to_owned())).collect::<Vec<_>>()
    };
    let expected = bits(&first);
    assert_eq!(expected.len(), 18, "{expected:?}");
    for seed in ["2", "3", "4", "5"] {
        assert_eq!(bits(&run(seed).expect("this is the parent")), expected, "seed {seed}");
    }
}
