//! Pictures that are drawn mirrored and moved: which ones is a function of the seed and the step alone, and where that changes
//! nothing the training is the same.

mod problems;

use problems::*;
use sfeuot::*;

const SHAPE: [usize; 3] = [2, 6, 8];
const NUMBERS: usize = 2 * 6 * 8;
const COUNT: usize = 20;
const FLIP: Augmentation = Augmentation { flip: true, crop: 0 };
const CROP: Augmentation = Augmentation { flip: false, crop: 2 };
const BOTH: Augmentation = Augmentation { flip: true, crop: 2 };

/// Pictures of one brightness each for source and target, with noise of this size on every pixel.
fn samples(noise: f64) -> [Vec<f32>; 2] {
    [(0.0, 7), (1.0, 8)].map(|(light, seed)| {
        let (levels, pixels) = (normals(COUNT, seed), normals(COUNT * NUMBERS, seed + 2));
        pixels.iter().enumerate().map(|(i, x)| (light + 0.4 * levels[i / NUMBERS] + noise * x) as f32).collect()
    })
}

fn pictures(samples: &[f32], augmentation: Augmentation) -> Data<'_> {
    let shape = [COUNT, SHAPE[0], SHAPE[1], SHAPE[2]];
    Data::array(TensorView::from_f32(samples, &shape).expect("a shape of the samples")).augmented(augmentation)
}

fn config(range: Option<[f64; 2]>) -> TrainerConfig {
    let form = Convolutions { channels: 4, levels: 1, range, ..Convolutions::default() };
    TrainerConfig {
        divergence: Divergence::Softplus,
        sigma: 0.5,
        tau: 0.5,
        latent_dimension: 2,
        deterministic: true,
        components: 1,
        batch_sources: 8,
        value_network: Some(NetworkSpec::convolutional(form)),
        generator_network: Some(NetworkSpec::convolutional(form)),
        ..TrainerConfig::default()
    }
}

fn trained(
    threads: usize,
    range: Option<[f64; 2]>,
    samples: &[Vec<f32>; 2],
    augmentations: [Augmentation; 2],
) -> Trainer {
    let [source, target] = [0, 1].map(|side| pictures(&samples[side], augmentations[side]));
    let mut trainer = Trainer::new(&context(threads), config(range), source, target).expect("sound");
    trainer.step(3).expect("sound");
    trainer
}

fn model(trainer: &mut Trainer, file: &str) -> Vec<u8> {
    bytes(&trainer.model().expect("it has learnt"), file)
}

#[test]
fn where_it_changes_nothing_the_training_is_the_same_and_elsewhere_each_side_matters() {
    let range = Some([-3.0, 4.0]);
    let (even, uneven) = (samples(0.0), samples(0.3));
    let of = |samples, augmentations| model(&mut trained(1, range, samples, augmentations), "augmentation_sides");
    let plain = Augmentation::default();
    assert!(of(&even, [BOTH; 2]) == of(&even, [plain; 2]), "pictures of one brightness are what they were");
    let all = [[plain; 2], [FLIP, plain], [plain, FLIP], [CROP, plain], [plain, CROP], [BOTH; 2]];
    let all = all.map(|augmentations| of(&uneven, augmentations));
    assert!((0..all.len()).all(|i| (0..i).all(|j| all[i] != all[j])));
}

#[test]
fn bits_depend_on_neither_threads_nor_interruptions() {
    let samples = samples(0.3);
    let mut whole = trained(1, None, &samples, [BOTH, FLIP]);
    whole.step(3).expect("sound");
    let mut half = trained(2, None, &samples, [BOTH, FLIP]);
    let path = scratch("augmentation.checkpoint");
    half.save(&path).expect("the target folder is writable");
    let load = |augmentations: [Augmentation; 2]| {
        let [source, target] = [0, 1].map(|side| pictures(&samples[side], augmentations[side]));
        Trainer::load(&context(2), &path, source, target)
    };
    let mut rest = load([BOTH, FLIP]).expect("good");
    rest.step(3).expect("sound");
    assert!(model(&mut whole, "augmentation_bits") == model(&mut rest, "augmentation_bits"));

    let other = load([BOTH, CROP]).err().expect("other data");
    assert!(other.to_string().contains("target"), "{other}");
}

#[test]
fn networks_that_see_each_pixel_in_units_of_its_own_refuse_it() {
    let samples = samples(0.3);
    let perceptrons = TrainerConfig { value_network: None, generator_network: None, ..config(None) };
    let [source, target] = [pictures(&samples[0], FLIP), pictures(&samples[1], Augmentation::default())];
    let refused = Trainer::new(&context(1), perceptrons, source, target).err().expect("perceptrons");
    assert!(refused.to_string().contains("source.flip is 1, but must be 0 where"), "{refused}");
}
