//! What the CUDA device promises: the CPU's training and inference up to rounding, its own bits again and again, no
//! wait inside a step, an account of its memory, and sentences where a GPU cannot be used. Runs on the simulated
//! driver, or with SFEUOT_TEST_REAL_GPU on a real one.
#![cfg(target_os = "linux")]

mod compare;
mod convolutions;
mod hosts;
mod peaks;
#[path = "../problems/mod.rs"]
mod problems;
#[path = "../common/simulator.rs"]
mod simulator;

use compare::*;
use problems::*;
use sfeuot::*;

/// All of this on the strict build, in two processes: a simulated GPU does one thing after the other.
#[test]
fn all_steps_hold_as_a_gpu_computes() {
    if std::env::var_os("SFEUOT_SIM_STRICT").is_none() {
        simulator::strictly("a_step", &[]);
    }
}

#[test]
fn all_the_rest_holds_as_a_gpu_computes() {
    if std::env::var_os("SFEUOT_SIM_STRICT").is_none() {
        simulator::strictly("", &["a_step", "as_a_gpu_computes"]);
    }
}

#[test]
fn a_step_is_the_cpus() {
    if !simulator::load_with_compiler() {
        return;
    }
    let clouds = Clouds::new(3);
    for products in BOTH {
        let [own, latents, deterministic] = forms();
        for (sources, components, form) in [
            (7, 5, &own),
            (1, 1, &own),
            (2, 70, &own),
            (7, 5, &latents),
            (1, 1, &deterministic),
            (3, 20, &latents),
            (2, 70, &latents),
            (5, 9, &deterministic),
        ] {
            for divergence in Divergence::ALL {
                let activation = Activation::ALL[sources % Activation::ALL.len()];
                let config =
                    TrainerConfig { batch_sources: sources, components, divergence, activation, ..form.clone() };
                compare(&clouds, &config, products, 1, 1e-5);
            }
        }
    }
    for dimension in [1, 8, 33] {
        compare(&Clouds::new(dimension), &small(), Products::Fused, 1, 1e-5);
    }
}

/// The value network wide enough for cublasLt, the generator small, and the other way around.
#[test]
fn networks_that_differ_are_the_cpus() {
    if !simulator::load_with_compiler() {
        return;
    }
    let (clouds, many) = (Clouds::new(2), Clouds::new(40));
    let large = NetworkSpec { hidden_width: 520, hidden_layers: 1, ..NetworkSpec::default() };
    let little =
        NetworkSpec { hidden_width: 9, activation: Activation::Tanh, squares: false, ..NetworkSpec::default() };
    for form in forms() {
        for [value, generator] in [[&large, &little], [&little, &large]] {
            let (value_network, generator_network) = (Some(value.clone()), Some(generator.clone()));
            let config = TrainerConfig { value_network, generator_network, ..form.clone() };
            for products in [Products::Fused, Products::CublasLt, Products::Auto] {
                compare(&clouds, &config, products, 1, 1e-5);
            }
            // One network sees squares from a centre of 80 numbers, and the other has none.
            compare(&many, &config, Products::Fused, 1, 1e-5);
            let context = with(Products::Auto);
            let mut whole = clouds.trainer(&context, config.clone());
            whole.step(4).expect("sound");
            let mut half = clouds.trainer(&context, config);
            half.step(2).expect("sound");
            let path = scratch("cuda_differing.checkpoint");
            half.save(&path).expect("the target folder is writable");
            let mut rest =
                Trainer::load(&context, &path, array(&clouds.source, 2), array(&clouds.target, 2)).expect("good");
            rest.step(2).expect("sound");
            let [whole, rest] = [&mut whole, &mut rest].map(|trainer| trainer.model().expect("it has learnt"));
            assert!(bytes(&whole, "cuda_one") == bytes(&rest, "cuda_two"));
            let x = floats(&normals(2 * 23, 5));
            let answers = [context, self::context(1)].map(|context| {
                let model = Model::load_memory(&context, &bytes(&whole, "cuda_moves")).expect("its own file");
                let mut session = Session::new(&model).expect("a workspace");
                let [mut generated, mut drift] = [0; 2].map(|_| vec![f32::NAN; x.len()]);
                session.generate(&x, 3, 0, &mut generated).expect("finite rows");
                session.drift(0.3, &x, &mut drift).expect("finite rows");
                [generated, drift]
            });
            for (gpu, cpu) in answers[0].iter().zip(&answers[1]) {
                assert!(difference(cpu, gpu) < 1e-4);
            }
        }
    }
}

/// Tensor cores round. Metrics and weights lose two units of their arithmetic by it, and gradients, which went through
/// more products, ten times as much.
#[test]
fn a_step_on_tensor_cores_is_the_cpus() {
    if !simulator::load_with_compiler() {
        return;
    }
    let (clouds, colours) = (Clouds::new(3), Clouds::new(3 * 4 * 4));
    let form = Convolutions { channels: 6, levels: 2, blocks: 1, ..Convolutions::default() };
    let network = NetworkSpec::convolutional(form);
    let convolutional = TrainerConfig {
        latent_dimension: 3,
        deterministic: true,
        components: 1,
        batch_sources: 5,
        value_network: Some(network.clone()),
        generator_network: Some(network),
        ..small()
    };
    for (precision, unit) in [(Precision::Tf32, 1.0 / 2048.0), (Precision::Bf16, 1.0 / 256.0)] {
        for products in BOTH {
            let on = CudaConfig { precision, ..by(products) };
            for config in forms() {
                compare_trainings(&|context| clouds.trainer(context, config.clone()), &on, 1, 2.0 * unit);
            }
            let make = |context: &Context| {
                let [source, target] = [&colours.source, &colours.target].map(|values| pictures(values, [3, 4, 4]));
                Trainer::new(context, convolutional.clone(), source, target).expect("a sound problem")
            };
            compare_trainings(&make, &on, 1, 2.0 * unit);
            // Nothing that a step rounds depends on anything but the step.
            let run = |on| tensors(&mut stepped(make(&cuda(on)), 2), "tensor_cores");
            let found = run(on.clone());
            assert!(run(on.clone()) == found, "{on:?}");
            // It is the tensor cores' arithmetic.
            assert!(run(by(products)) != found, "{on:?}");
        }
    }
}

fn stepped(mut trainer: Trainer, steps: u64) -> Trainer {
    trainer.step(steps).expect("sound");
    trainer
}

#[test]
fn two_hundred_steps_are_the_cpus() {
    if !simulator::load_with_compiler() {
        return;
    }
    let config = TrainerConfig { gradient_clip: 0.5, decay_steps: 150, ..small() };
    for products in BOTH {
        compare(&Clouds::new(2), &config, products, 200, 1e-3);
        compare(&Clouds::new(2), &TrainerConfig { latent_dimension: 3, ..config.clone() }, products, 200, 1e-3);
    }
}

/// Short, and in device memory alone: scripts/gpu-check lets compute-sanitizer watch this test.
#[test]
fn a_few_fused_steps_of_every_form_repeat_their_bits() {
    if !simulator::load_with_compiler() {
        return;
    }
    let (context, clouds) = (with(Products::Fused), Clouds::new(2));
    let x = floats(&normals(2 * 23, 5));
    for form in forms() {
        let config = TrainerConfig { batch_sources: 7, components: 5, gradient_clip: 0.5, ..form };
        let run = || {
            let mut trainer = clouds.trainer(&context, config.clone());
            trainer.step(3).expect("sound");
            let model = trainer.model().expect("sound");
            let mut session = Session::new(&model).expect("a workspace");
            let [mut generated, mut mean, mut drift] = [0; 3].map(|_| vec![f32::NAN; x.len()]);
            let mut ratio = vec![f32::NAN; x.len() / 2];
            session.generate(&x, 3, 0, &mut generated).expect("finite rows");
            session.conditional_mean(&x, 3, 1, 0, &mut mean).expect("finite rows");
            session.drift(0.3, &x, &mut drift).expect("finite rows");
            session.density_ratio(&x, &mut ratio).expect("finite rows");
            let rows = [generated, mean, drift, ratio].concat();
            assert!(rows.iter().all(|x| x.is_finite()), "{config:?}");
            (bytes(&model, "few_steps"), rows)
        };
        assert!(run() == run(), "{config:?}");
    }
}

fn weighted(clouds: &Clouds, weights: &[f64]) -> [Trainer; 2] {
    [context(1), with(Products::Auto)].map(|context| {
        let weights = || TensorView::from_f64(weights, &[weights.len()]).expect("one weight a sample");
        let (source, target) = (view(&clouds.source, clouds.dimension), view(&clouds.target, clouds.dimension));
        let (source, target) = (Data::weighted(source, weights()), Data::weighted(target, weights()));
        Trainer::new(&context, small(), source, target).expect("a sound problem")
    })
}

#[test]
fn weighted_samples_are_drawn_as_on_the_cpu() {
    if !simulator::load_with_compiler() {
        return;
    }
    let weights: Vec<f64> = (0..SAMPLES).map(|i| (i % 4) as f64).collect();
    let [mut cpu, mut gpu] = weighted(&Clouds::new(2), &weights);
    cpu.step(3).expect("sound");
    gpu.step(3).expect("sound");
    let (expected, found) = (tensors(&mut cpu, "weighted_cpu"), tensors(&mut gpu, "weighted_gpu"));
    for (name, expected) in expected.iter().filter(|(name, _)| name.ends_with("weights")) {
        assert!(difference(expected, &found[name]) < 1e-4, "{name}");
    }
}

#[test]
fn equal_trainings_are_equal_bits_however_they_are_cut() {
    if !simulator::load_with_compiler() {
        return;
    }
    let clouds = Clouds::new(2);
    let config = TrainerConfig { decay_steps: 60, ..small() };
    for products in BOTH {
        let context = with(products);
        let mut whole = clouds.trainer(&context, config.clone());
        let expected = Metrics { steps_per_second: 0.0, ..whole.step(75).expect("sound") };
        let model = bytes(&whole.model().unwrap(), "cuda_whole");

        let mut pieces = clouds.trainer(&context, config.clone());
        let mut seen = Vec::new();
        pieces
            .run(40, 7, &mut |metrics| {
                seen.push(metrics.step);
                Control::Continue
            })
            .expect("sound");
        assert_eq!(seen, [7, 14, 21, 28, 35, 40]);
        let path = scratch("cuda_half.checkpoint");
        pieces.save(&path).expect("the target folder is writable");
        let mut rest =
            Trainer::load(&context, &path, array(&clouds.source, 2), array(&clouds.target, 2)).expect("good");
        rest.step(1).expect("sound");
        let found = Metrics { steps_per_second: 0.0, ..rest.step(34).expect("sound") };
        assert_eq!(found, expected, "{products:?}");
        assert!(bytes(&rest.model().unwrap(), "cuda_rest") == model, "{products:?}");
    }
}

#[test]
fn a_checkpoint_moves_between_devices() {
    if !simulator::load_with_compiler() {
        return;
    }
    let clouds = Clouds::new(2);
    let path = scratch("moving.checkpoint");
    let mut cpu = clouds.trainer(&context(1), small());
    cpu.step(10).expect("sound");
    cpu.save(&path).expect("writable");
    let mut gpu =
        Trainer::load(&with(Products::Auto), &path, array(&clouds.source, 2), array(&clouds.target, 2)).expect("good");
    assert_eq!(gpu.metrics().step, 10);
    let expected = cpu.step(5).expect("sound");
    let found = gpu.step(5).expect("sound");
    assert!((expected.dual - found.dual).abs() < 1e-3 * expected.action.abs(), "{found:?}, expected {expected:?}");
}

#[test]
fn a_batch_that_does_not_fit_is_carried_in_pieces() {
    // Alone: the graph that is looked at is the last one of the process.
    let test = "a_batch_that_does_not_fit_is_carried_in_pieces";
    if !simulator::load_with_compiler() || !simulator::alone(test, &[]) {
        return;
    }
    let clouds = Clouds::new(2);
    let config = TrainerConfig { batch_sources: 64, components: 8, ..small() };
    let free = with(Products::Fused);
    let mut whole = clouds.trainer(&free, config.clone());
    let taken = free.device_memory();
    assert!(taken > 0);
    // Each half draws once for each piece of the batch. A real driver shows no graph.
    let is_in_pieces = |expected: bool| {
        if !simulator::real_gpu() {
            let draws = simulator::graph().lines().filter(|line| line.starts_with("batch_draw")).count();
            assert_eq!(draws > 2, expected, "{draws} draws");
        }
    };
    is_in_pieces(false);
    let limit = taken / 2;
    let tight = cuda(CudaConfig { products: Products::Fused, memory_limit: limit, ..Default::default() });
    let mut pieces = clouds.trainer(&tight, config.clone());
    assert!(tight.device_memory() <= limit);
    is_in_pieces(true);
    whole.step(1).expect("sound");
    pieces.step(1).expect("sound");
    let (expected, found) = (tensors(&mut whole, "pieces_whole"), tensors(&mut pieces, "pieces"));
    for (name, expected) in &expected {
        assert!(difference(expected, &found[name]) < 1e-4, "{name}");
    }

    let tiny = cuda(CudaConfig { memory_limit: 10_000, ..Default::default() });
    let refused =
        Trainer::new(&tiny, config, array(&clouds.source, 2), array(&clouds.target, 2)).err().expect("no room");
    assert!(matches!(refused, Error::OutOfMemory(_)), "{refused}");
    assert!(refused.to_string().contains("memory_limit"), "{refused}");
    assert_eq!(tiny.device_memory(), 0);
    drop(pieces);
    assert_eq!(tight.device_memory(), 0);
}

/// A model trained a little on the CPU, and the same on the GPU.
fn models(dimension: usize, config: TrainerConfig) -> [Model; 2] {
    let path = scratch(&format!("same{dimension}.model"));
    let model = Clouds::new(dimension).model(config, 20);
    model.save(&path).expect("writable");
    [model, Model::load(&with(Products::Auto), &path).expect("a good file")]
}

#[test]
fn sessions_give_what_the_cpus_give() {
    if !simulator::load_with_compiler() {
        return;
    }
    let [own, latents, deterministic] = forms();
    for (dimension, form) in [(1, &own), (8, &own), (3, &deterministic), (8, &latents)] {
        let pair = models(dimension, form.clone());
        compare_sessions(&pair, dimension, 2e-5);
        let mut gpu = Session::new(&pair[1]).expect("a workspace");
        let spoilt = vec![f32::NAN; dimension];
        let refused = gpu.generate(&spoilt, 0, 0, &mut vec![0.0; dimension]).expect_err("not finite");
        assert!(matches!(refused, Error::InvalidArgument(_)), "{refused}");
    }
}

/// Whatever weights a model has, a call that succeeds wrote finite numbers, and one that fails none that is not.
#[test]
fn results_that_are_not_finite_are_an_error_as_on_the_cpu() {
    if !simulator::load_with_compiler() {
        return;
    }
    let file = changed(&bytes(&Clouds::new(2).model(small(), 2), "absurd"), |_, _| 1e38);
    let model = Model::load_memory(&with(Products::Fused), &file).expect("finite weights");
    let mut session = Session::new(&model).expect("a workspace");
    let x = [0.5f32, -0.25, 1.0, 2.0];
    let mut out = [7.25f32; 8];
    let failures = [
        session.generate(&x, 1, 0, &mut out[..4]),
        session.conditional_mean(&x, 1, 1, 0, &mut out[..4]),
        session.trajectory(&x, &[0.0, 0.5], 1, 0, &mut out),
        session.drift(0.5, &x, &mut out[..4]),
        session.density_ratio(&x, &mut out[..2]),
    ];
    assert!(failures[0].is_err() && failures[2].is_err(), "{failures:?}");
    for failure in failures {
        assert!(matches!(failure, Ok(()) | Err(Error::NotFinite(_))), "{failure:?}");
    }
    assert!(out.iter().all(|x| x.is_finite()), "{out:?}");
}

#[test]
fn a_divergence_is_taken_back_as_on_the_cpu() {
    if !simulator::load_with_compiler() {
        return;
    }
    let clouds = Clouds::new(2);
    // Rates at which weights overflow after a few steps.
    for (value_learning_rate, generator_learning_rate) in [(1e12, 1e-3), (1e-3, 1e15), (1e30, 1e30)] {
        let config = TrainerConfig { value_learning_rate, generator_learning_rate, ..small() };
        let ruin = |context: &Context| {
            let mut trainer = clouds.trainer(context, config.clone());
            let failure = trainer.step(50).expect_err("it diverges");
            let finite = tensors(&mut trainer, "ruined").values().flatten().all(|x| x.is_finite());
            (failure.to_string(), trainer.metrics().step, finite, trainer.step(1).is_err())
        };
        let (cpu, gpu) = (ruin(&context(1)), ruin(&with(Products::Fused)));
        // The sentence ends with a value that differs by rounding; the step and the term come before it.
        let head = |text: &str| text.split(" is ").next().unwrap_or_default().to_owned();
        assert_eq!((head(&gpu.0), gpu.1, gpu.2), (head(&cpu.0), cpu.1, cpu.2), "{gpu:?}, expected {cpu:?}");
        assert!(gpu.2, "weights stay finite");
    }
}
