//! What a training says that it takes of the host's memory is what it takes, within 5 %, while it is made and while it
//! trains. Counted on all threads, so this file is a program of its own: a test runner's threads allocate when they like.

#[path = "common/counting.rs"]
mod counting;
mod problems;

use counting::{held, peak, peak_from_here};
use problems::{context, small, with_latents};
use sfeuot::*;

/// How a side hands its samples over.
#[derive(Clone, Copy, Debug)]
enum Samples {
    Array(usize),
    Weighted(usize),
    Sampler,
}
use Samples::{Array, Sampler, Weighted};

struct Shape {
    config: TrainerConfig,
    dimension: usize,
    threads: usize,
    sides: [Samples; 2],
}

/// Numbers of a side, and its weights.
struct Side {
    samples: Samples,
    numbers: Vec<f32>,
    weights: Vec<f32>,
}

impl Side {
    fn new(samples: Samples, dimension: usize) -> Self {
        let (numbers, weights) = match samples {
            Array(count) => (count * dimension, 0),
            Weighted(count) => (count * dimension, count),
            Sampler => (0, 0),
        };
        let numbers = (0..numbers).map(|i| (i as f32 * 0.37).sin()).collect();
        Self { samples, numbers, weights: (0..weights).map(|i| (i % 7) as f32).collect() }
    }

    fn data(&self, dimension: usize, pictures: bool) -> Data<'_> {
        let side = dimension.isqrt();
        let shape = if pictures { vec![side, side] } else { vec![dimension] };
        let array =
            |count| TensorView::from_f32(&self.numbers, &[&[count], &shape[..]].concat()).expect("as many numbers");
        match self.samples {
            Array(count) => Data::array(array(count)),
            Weighted(count) => {
                let weights = TensorView::from_f32(&self.weights, &[count]).expect("as many weights");
                Data::weighted(array(count), weights)
            }
            Sampler => Data::sampler(&shape, |batch: &mut [f32], _: usize, _: usize| {
                for (i, x) in batch.iter_mut().enumerate() {
                    *x = (i as f32 * 0.37).sin();
                }
                Ok(())
            }),
        }
    }
}

/// A training of convolutional networks.
fn of_pictures(channels: usize, blocks: usize, batch_sources: usize) -> TrainerConfig {
    let network = NetworkSpec::convolutional(Convolutions { channels, blocks, ..Convolutions::default() });
    TrainerConfig {
        value_network: Some(network.clone()),
        generator_network: Some(network),
        latent_dimension: 8,
        deterministic: true,
        components: 1,
        batch_sources,
        ..small()
    }
}

/// What creation takes while both sides are measured and copied, by the header, before anything else is taken.
fn reading(sides: [Samples; 2], dimension: usize, balanced: bool) -> usize {
    let batch = 12 * (dimension * 4096).min(1 << 20);
    let (mut copied, mut batches) = (0, 0);
    let counts = sides.map(|samples| {
        let (count, own, of_batch) = match samples {
            Array(count) => (count, 4 * count * dimension, 0),
            Weighted(count) => (count, count * (4 * dimension + 40), 0),
            Sampler => (4096, batch, batch),
        };
        copied += own;
        batches += of_batch;
        count
    });
    if dimension > 512 {
        return copied;
    }
    // One of each stretch of samples.
    let kept = |most: usize| counts.map(|count| count / count.div_ceil(most));
    let [source, target] = kept(65_536.min(4_194_304 / dimension));
    let choosing = target.min(32_768.min(2_097_152 / dimension));
    let many = if balanced { kept(262_144).into_iter().sum() } else { 0 };
    let rows = target + many + (source + choosing).max(3 * choosing);
    copied.max(batches + rows * (8 * dimension + 9))
}

fn balanced(config: TrainerConfig) -> TrainerConfig {
    TrainerConfig { divergence: Divergence::Balanced, ..config }
}

fn shapes() -> Vec<Shape> {
    let own = |hidden_width, hidden_layers, activation| {
        Some(NetworkSpec { hidden_width, hidden_layers, activation, ..NetworkSpec::default() })
    };
    let shape = |dimension, threads, sides, config| Shape { config, dimension, threads, sides };
    let of = |hidden_width, hidden_layers, batch_sources, components| TrainerConfig {
        hidden_width,
        hidden_layers,
        batch_sources,
        components,
        ..small()
    };
    vec![
        // The smallest, where objects of a fixed size count for most.
        shape(1, 1, [Array(100), Array(100)], of(32, 1, 1, 1)),
        shape(1, 8, [Sampler, Sampler], of(32, 2, 1, 1)),
        shape(1, 2, [Array(50), Sampler], of(16, 1, 4096, 1)),
        // The default.
        shape(2, 1, [Array(1000), Array(1000)], TrainerConfig { sigma: 0.5, ..TrainerConfig::default() }),
        shape(2, 2, [Array(200_000), Weighted(300_000)], of(128, 3, 256, 4)),
        shape(1, 1, [Weighted(400_000), Weighted(100_000)], of(32, 2, 64, 1)),
        shape(2, 8, [Sampler, Array(5000)], of(128, 3, 4096, 8)),
        shape(2, 2, [Array(10), Array(10)], of(1024, 3, 8, 64)),
        shape(64, 8, [Sampler, Sampler], of(128, 2, 512, 4)),
        shape(64, 2, [Weighted(20_000), Array(9)], TrainerConfig { squares: false, ..of(32, 2, 33, 64) }),
        shape(64, 1, [Array(1000), Array(1000)], TrainerConfig { hidden_width: 128, components: 8, ..with_latents() }),
        shape(7, 3, [Array(100), Array(100)], TrainerConfig { components: 70, squares: false, ..small() }),
        shape(
            2,
            2,
            [Array(100), Array(100)],
            TrainerConfig { deterministic: true, batch_sources: 300, components: 16, ..with_latents() },
        ),
        // Odd numbers of everything, and the deepest networks.
        shape(300, 3, [Weighted(777), Sampler], of(201, 5, 71, 13)),
        shape(17, 5, [Array(33), Array(44)], TrainerConfig { hidden_width: 77, components: 3, ..with_latents() }),
        shape(1025, 2, [Sampler, Weighted(50)], of(65, 16, 3, 1)),
        shape(3072, 2, [Array(200), Array(300)], of(128, 3, 16, 2)),
        shape(3072, 8, [Sampler, Sampler], of(32, 2, 8, 1)),
        shape(
            3072,
            1,
            [Sampler, Array(500)],
            TrainerConfig { hidden_width: 64, latent_dimension: 32, batch_sources: 32, components: 4, ..small() },
        ),
        // Those that keep samples to fit peaks to, which take more than anything else.
        shape(2, 1, [Array(300_000), Array(1000)], balanced(of(16, 1, 8, 4))),
        shape(64, 2, [Array(100_000), Weighted(20_000)], balanced(of(32, 2, 33, 3))),
        shape(128, 1, [Sampler, Array(40_000)], balanced(of(32, 1, 8, 8))),
        shape(64, 1, [Sampler, Array(32_768)], balanced(of(32, 1, 8, 8))),
        shape(64, 1, [Array(65_536), Array(65_536)], of(32, 1, 8, 8)),
        shape(256, 2, [Array(300), Array(300)], of_pictures(24, 1, 40)),
        shape(784, 1, [Sampler, Array(100)], of_pictures(16, 2, 9)),
        shape(
            5,
            2,
            [Array(1000), Array(1000)],
            TrainerConfig {
                value_network: own(1024, 2, Activation::Tanh),
                generator_network: own(32, 4, Activation::Silu),
                ..of(128, 2, 256, 8)
            },
        ),
        shape(
            64,
            8,
            [Sampler, Array(1000)],
            TrainerConfig {
                value_network: own(32, 1, Activation::Silu),
                generator_network: own(300, 3, Activation::Tanh),
                ..of(128, 2, 100, 3)
            },
        ),
    ]
}

fn main() {
    let mut wrong = 0;
    println!(
        "{:>5} {:>5} {:>3} {:>6} {:>4} {:>3} {:<36} {:>12} {:>12} {:>7} {:>12} {:>7}",
        "d", "width", "l", "batch", "K", "thr", "samples", "told", "held", "off", "peak", "beyond"
    );
    for Shape { config, dimension, threads, sides } in shapes() {
        let context = context(threads);
        let given = sides.map(|side| Side::new(side, dimension));
        let make = |config: TrainerConfig| {
            let pictures = config.generator_network.as_ref().is_some_and(|spec| spec.convolutions.is_some());
            let [source, target] = given.each_ref().map(|side| side.data(dimension, pictures));
            Trainer::new(&context, config, source, target).expect("a sound problem")
        };
        // Threads that start hold a little; after a step of any training they have.
        make(small()).step(1).expect("finite");
        let before = held();
        peak_from_here();
        let mut trainer = make(config.clone());
        let most = peak().wrapping_sub(before) as f64;
        trainer.step(3).expect("finite");
        let held = held().wrapping_sub(before) as f64;
        let (told, of_device) = trainer.memory();
        assert_eq!(of_device, 0);
        let told = told as f64;
        let before_all = reading(sides, dimension, config.divergence == Divergence::Balanced) as f64;
        let (off, beyond) = ((told - held) / held, most / told.max(before_all) - 1.0);
        let samples = format!("{:?} {:?}", sides[0], sides[1]);
        println!(
            "{dimension:>5} {:>5} {:>3} {:>6} {:>4} {threads:>3} {samples:<36} {told:>12} {held:>12} {:>6.2}% {most:>12} {:>6.2}%",
            config.hidden_width,
            config.hidden_layers,
            config.batch_sources,
            config.components,
            100.0 * off,
            100.0 * beyond
        );
        wrong += usize::from(off.abs() > 0.05) + usize::from(beyond > 0.05);
    }
    assert_eq!(wrong, 0, "numbers off by more than 5 %");
    println!("a training takes the memory that it tells: ok");
}
