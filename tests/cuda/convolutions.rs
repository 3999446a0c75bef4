//! Trainings of convolutional networks.

use crate::compare::*;
use crate::problems::*;
use crate::simulator;
use sfeuot::*;

const CONVOLUTIONS: Convolutions = Convolutions { channels: 4, ..Convolutions::TINY };

/// Convolutions with odd sides that are padded, and all layers that a generator may have.
#[test]
fn convolutions_of_odd_sides_are_the_cpus() {
    let form = Convolutions { levels: 2, residual: false, range: Some([-3.0, 3.0]), ..CONVOLUTIONS };
    let layers = Convolutions { upsampling: Upsampling::Bilinear, norm_groups: 2, attention_heads: 2, ..form };
    compare_pictures([2, 5, 6], layers, Activation::Silu, 5);
}

/// Convolutions with sides that are folded, of one level.
#[test]
fn convolutions_of_folded_sides_are_the_cpus() {
    let form = Convolutions { levels: 1, range: Some([-1.5, 1.0]), ..CONVOLUTIONS };
    compare_pictures([1, 12, 12], form, Activation::Tanh, 3);
}

/// All layers that a generator may have, in deep networks with a wide last layer.
#[test]
fn convolutions_with_all_layers_are_the_cpus() {
    let form = Convolutions { channels: 6, levels: 3, blocks: 2, norm_groups: 3, attention_heads: 4, ..CONVOLUTIONS };
    compare_pictures([3, 4, 4], form, Activation::Softplus, 34);
}

/// Compares trainings of such networks, a batch in pieces, a checkpoint, and a model's answers.
fn compare_pictures(shape: [usize; 3], form: Convolutions, activation: Activation, rows: usize) {
    if !simulator::load_with_compiler() {
        return;
    }
    let files = format!("cuda_pictures_{rows}");
    let network = |form| Some(NetworkSpec { activation, ..NetworkSpec::convolutional(form) });
    let config = TrainerConfig {
        latent_dimension: 3,
        deterministic: true,
        components: 1,
        batch_sources: rows,
        tau: 20.0,
        tau_start: 0.3,
        tau_steps: 3,
        gradient_penalty: 0.5,
        divergence: Divergence::Softplus,
        value_network: network(Convolutions { norm_groups: 0, attention_heads: 0, ..form }),
        generator_network: network(form),
        ..small()
    };
    let numbers = shape.iter().product();
    let clouds = Clouds::new(numbers);
    let sides = || [&clouds.source, &clouds.target].map(|values| pictures(values, shape));
    let make = |context: &Context| {
        let [source, target] = sides();
        Trainer::new(context, config.clone(), source, target).expect("a sound problem")
    };
    compare_trainings(&make, &by(Products::Auto), 1, 1e-5);
    compare_trainings(&make, &by(Products::Fused), 2, 1e-3);

    // A batch in pieces, whose gradients have other lines.
    let mut whole = make(&with(Products::Auto));
    let limit = whole.memory().1 * 2 / 3;
    let tight = cuda(CudaConfig { memory_limit: limit, products: Products::Fused, ..Default::default() });
    let mut pieces = make(&tight);
    assert!(pieces.memory().1 <= limit && tight.device_memory() == pieces.memory().1);
    let [expected, found] = [&mut whole, &mut pieces].map(|trainer| {
        trainer.step(1).expect("sound");
        tensors(trainer, &files)
    });
    for (name, expected) in &expected {
        assert!(difference(expected, &found[name]) < 1e-4, "{name}");
    }

    // `whole` goes on, and a checkpoint of it from where it is now.
    let context = with(Products::Auto);
    let path = scratch(&format!("{files}.checkpoint"));
    whole.save(&path).expect("the target folder is writable");
    whole.step(1).expect("sound");
    let [source, target] = sides();
    let mut rest = Trainer::load(&context, &path, source, target).expect("good");
    rest.step(1).expect("sound");
    let [whole, rest] = [&mut whole, &mut rest].map(|trainer| trainer.model().expect("it has learnt"));
    assert!(bytes(&whole, &files) == bytes(&rest, &files));
    let x = floats(&normals(numbers * 7, 5));
    let answers = [context, self::context(1)].map(|context| {
        let model = Model::load_memory(&context, &bytes(&whole, &files)).expect("its own file");
        let mut session = Session::new(&model).expect("a workspace");
        let [mut generated, mut mean, mut drift] = [0; 3].map(|_| vec![f32::NAN; x.len()]);
        let mut ratio = vec![f32::NAN; 7];
        session.generate(&x, 3, 0, &mut generated).expect("finite rows");
        session.conditional_mean(&x, 5, 1, 0, &mut mean).expect("finite rows");
        session.drift(0.3, &x, &mut drift).expect("finite rows");
        session.density_ratio(&x, &mut ratio).expect("finite rows");
        [generated, mean, drift, ratio]
    });
    for (gpu, cpu) in answers[0].iter().zip(&answers[1]) {
        assert!(difference(cpu, gpu) < 1e-4);
    }
}
