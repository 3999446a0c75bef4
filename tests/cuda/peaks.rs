//! Trainings whose value function has peaks, and sessions with their models.

use crate::compare::*;
use crate::problems::*;
use crate::simulator;
use sfeuot::*;

fn balanced(components: usize) -> TrainerConfig {
    TrainerConfig { divergence: Divergence::Balanced, components, ..small() }
}

/// The same with enough noise between clusters that are far apart.
fn noisy(components: usize) -> TrainerConfig {
    TrainerConfig { sigma: 2.0, ..balanced(components) }
}

/// How many peaks the bridge of a model's file has.
fn peaks(model: &Model, test: &str) -> usize {
    bridge(model, test)["peaks"]["weights"].as_array().map_or(0, Vec::len)
}

/// Whether these have axes of their own.
fn are_turned(model: &Model, test: &str) -> bool {
    bridge(model, test)["peaks"]["axes"] == true
}

fn bridge(model: &Model, test: &str) -> serde_json::Value {
    let file = bytes(model, test);
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    let description = header["__metadata__"]["sfeuot_description"].as_str().expect("a description");
    let mut description: serde_json::Value = serde_json::from_str(description).expect("a description");
    description["bridge"].take()
}

/// Up to 16 peaks, which half a warp takes, and more; more components than peaks; with the penalty, whose time is one for
/// all rows.
#[test]
fn a_step_with_peaks_is_the_cpus() {
    if !simulator::load_with_compiler() {
        return;
    }
    for (dimension, clusters, components, gradient_penalty) in
        [(2, 3, 5, 0.0), (2, 3, 20, 0.1), (5, 3, 3, 0.0), (2, 2, 70, 0.0), (3, 24, 32, 0.1)]
    {
        let clouds = Clouds::clustered(dimension, clusters);
        let config = TrainerConfig { gradient_penalty, ..balanced(components) };
        let model = clouds.trainer(&context(1), config.clone()).model().expect("a model");
        let found = peaks(&model, "peaks");
        println!("{found} peaks, {components} components");
        assert!(found > if clusters > 16 { 16 } else { 1 } && found <= components, "{found} peaks");
        for products in BOTH {
            // The generator begins near the plan of the peaks, where what it could gain is a small difference of large
            // terms: on the CPU alone, sigma moved by its last bit moves that gradient by 1e-3.
            compare(&clouds, &config, products, 1, 3e-4);
            // The value function's has no such difference.
            let [expected, found] = [context(1), with(products)].map(|context| {
                let mut trainer = clouds.trainer(&context, config.clone());
                trainer.step(1).expect("sound");
                tensors(&mut trainer, "value_with_peaks")
            });
            for name in ["value.first_moment", "value.second_moment"] {
                let apart = difference(&expected[name], &found[name]);
                assert!(apart < 1e-5, "{name}: {apart:e}, {components} components");
            }
        }
    }
}

/// The same where peaks have axes of their own: more components than peaks, more than half a warp of peaks, and more axes than a
/// vector has.
#[test]
fn a_step_with_axes_of_peaks_is_the_cpus() {
    if !simulator::load_with_compiler() {
        return;
    }
    // With more axes more terms differ in the generator's gradient, see above.
    for (dimension, clusters, components, gradient_penalty, within) in
        [(2, 3, 5, 0.0, 3e-4), (3, 3, 40, 0.1, 3e-4), (17, 2, 3, 0.0, 1e-2)]
    {
        let clouds = Clouds::stretched(dimension, clusters);
        let config = TrainerConfig { gradient_penalty, ..noisy(components) };
        let model = clouds.trainer(&context(1), config.clone()).model().expect("a model");
        assert!(are_turned(&model, "turned"), "{dimension} numbers");
        for products in BOTH {
            compare(&clouds, &config, products, 1, within);
        }
    }
    compare(&Clouds::stretched(2, 3), &noisy(5), Products::Fused, 30, 1e-3);
}

#[test]
fn sessions_with_axes_of_peaks_give_what_the_cpus_give() {
    if !simulator::load_with_compiler() {
        return;
    }
    for (dimension, clusters, components) in [(2, 3, 5), (5, 3, 9)] {
        let path = scratch(&format!("turned{dimension}.model"));
        let model = Clouds::stretched(dimension, clusters).model(noisy(components), 20);
        assert!(are_turned(&model, "turned_session"));
        model.save(&path).expect("writable");
        let on_gpu = Model::load(&with(Products::Auto), &path).expect("a good file");
        compare_sessions(&[model, on_gpu], dimension, 2e-5);
    }
}

#[test]
fn fifty_steps_with_peaks_are_the_cpus() {
    if !simulator::load_with_compiler() {
        return;
    }
    for products in BOTH {
        compare(&Clouds::clustered(2, 3), &balanced(5), products, 50, 1e-3);
    }
}

#[test]
fn sessions_with_peaks_give_what_the_cpus_give() {
    if !simulator::load_with_compiler() {
        return;
    }
    for (dimension, clusters, components) in [(2, 3, 5), (3, 2, 9), (6, 24, 32)] {
        let path = scratch(&format!("peaks{dimension}.model"));
        let model = Clouds::clustered(dimension, clusters).model(balanced(components), 20);
        assert!(peaks(&model, "peaks_of_session") > 1);
        model.save(&path).expect("writable");
        let on_gpu = Model::load(&with(Products::Auto), &path).expect("a good file");
        compare_sessions(&[model, on_gpu], dimension, 2e-5);
    }
}

/// The graph of a step has branches, and what peaks add to V waits for V.
#[test]
fn steps_with_peaks_repeat_their_bits() {
    if !simulator::load_with_compiler() {
        return;
    }
    let (context, clouds) = (with(Products::Fused), Clouds::clustered(2, 3));
    let run = || {
        let mut trainer = clouds.trainer(&context, balanced(5));
        trainer.step(5).expect("sound");
        let model = trainer.model().expect("sound");
        assert!(peaks(&model, "peaks_again") > 1);
        bytes(&model, "steps_with_peaks")
    };
    assert!(run() == run());
}

/// The numbers of the peaks are a part of it.
#[test]
fn a_training_with_peaks_takes_the_memory_that_it_tells() {
    if !simulator::load_with_compiler() {
        return;
    }
    for clouds in [Clouds::clustered(2, 3), Clouds::stretched(3, 3)] {
        tells_its_memory(&clouds);
    }
}

fn tells_its_memory(clouds: &Clouds) {
    let open = |memory_limit| cuda(CudaConfig { memory_limit, ..by(Products::Fused) });
    let context = open(0);
    let mut trainer = clouds.trainer(&context, noisy(20));
    trainer.step(1).expect("sound");
    let (_, told) = trainer.memory();
    assert_eq!(context.device_memory(), told);
    let tight = open(told);
    let mut same = clouds.trainer(&tight, noisy(20));
    same.step(1).expect("sound");
    assert_eq!((same.memory().1, tight.device_memory()), (told, told));
}
