//! A relative tau means the same whatever the number of a sample's numbers, and files keep the tau that they were written
//! with.

mod problems;

use problems::{context, floats, normals, scratch, small};
use serde_json::{Value, json};
use sfeuot::*;

const ROWS: usize = 600;

/// A standard normal source, and a target of which one half lies about 1 and the other one about -1.5 in every number.
struct Halves {
    d: usize,
    source: Vec<f64>,
    target: Vec<f64>,
}

impl Halves {
    fn new(d: usize) -> Self {
        let noise = normals(2 * ROWS * d, 1);
        let (source, around) = noise.split_at(ROWS * d);
        let target =
            around.iter().enumerate().map(|(i, e)| 0.1 * e + if (i / d).is_multiple_of(2) { 1.0 } else { -1.5 });
        Self { d, source: source.to_vec(), target: target.collect() }
    }

    fn data<'a>(&self, values: &'a [f64]) -> Data<'a> {
        Data::array(TensorView::from_f64(values, &[ROWS, self.d]).expect("as many numbers"))
    }

    fn trainer(&self, config: TrainerConfig) -> Trainer {
        Trainer::new(&context(1), config, self.data(&self.source), self.data(&self.target)).expect("a sound problem")
    }

    /// The share of draws that are nearer to the far half.
    fn far(&self, model: &Model) -> f64 {
        let mut draws = vec![0f32; ROWS * self.d];
        let mut session = Session::new(model).expect("a workspace");
        session.generate(&floats(&self.source), 3, 0, &mut draws).expect("finite rows");
        let far = draws.chunks(self.d).filter(|x| x.iter().sum::<f32>() < -0.25 * self.d as f32);
        far.count() as f64 / ROWS as f64
    }
}

fn relative(tau: f64) -> TrainerConfig {
    TrainerConfig { sigma: 0.3, tau, sigma_units: SigmaUnits::Relative, hidden_width: 32, ..small() }
}

#[test]
fn a_relative_tau_leaves_the_far_half_as_much_in_many_numbers_as_in_few() {
    let share = |d: usize, steps: u64| {
        let halves = Halves::new(d);
        let config = TrainerConfig { batch_sources: 32, generator_learning_rate: 2e-3, ..relative(1.0) };
        let mut trainer = halves.trainer(config);
        trainer.step(steps).expect("sound");
        halves.far(&trainer.model().expect("it has learnt"))
    };
    let (few, many) = (share(2, 300), share(16, 300));
    println!("the far half gets {few:.3} at d = 2 and {many:.3} at d = 16");
    assert!((0.34..0.50).contains(&few) && (0.34..0.50).contains(&many), "{few} {many}");
    assert!((few - many).abs() < 0.08, "{few} {many}");
}

#[test]
fn a_relative_tau_counts_for_each_number_and_one_in_data_units_does_not() {
    for d in [1, 3, 16] {
        let halves = Halves::new(d);
        let info = halves.trainer(relative(0.7)).model().expect("it may be untrained").info().clone();
        let expected = 0.7 * d as f64 * info.data_scale.powi(2);
        assert!((info.tau / expected - 1.0).abs() < 1e-9, "{d}: {} {expected}", info.tau);
        let config = TrainerConfig { sigma_units: SigmaUnits::Data, ..relative(0.7) };
        let info = halves.trainer(config).model().expect("it may be untrained").info().clone();
        assert!((info.tau / 0.7 - 1.0).abs() < 1e-9, "{d}: {}", info.tau);
    }
}

/// The description of a checkpoint, and the file with another one.
fn description(file: &[u8]) -> Value {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    serde_json::from_str(header["__metadata__"]["sfeuot_description"].as_str().expect("a text")).expect("JSON")
}

fn describing(file: &[u8], description: &Value) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let mut header: Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    header["__metadata__"]["sfeuot_description"] = description.to_string().into();
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &file[8 + length..]].concat()
}

/// Earlier versions of the library, for which a relative tau was a multiple of the common scale's square, wrote that number. A
/// checkpoint still has it, so that either version reads the other's.
#[test]
fn a_checkpoint_means_what_it_meant_before() {
    let d = 3;
    let halves = Halves::new(d);
    let path = scratch("tau.checkpoint");
    let mut trainer = halves.trainer(relative(0.7));
    trainer.step(3).expect("sound");
    trainer.save(&path).expect("the target folder is writable");
    let file = std::fs::read(&path).expect("it was saved");
    let mut described = description(&file);
    let product = described["config"]["tau"].as_f64().expect("a number");
    assert_eq!(product, 0.7 * d as f64);

    let load = || Trainer::load(&context(1), &path, halves.data(&halves.source), halves.data(&halves.target));
    let mut read = load().expect("a sound file");
    let info = |trainer: &mut Trainer| trainer.model().expect("it has learnt").info().clone();
    assert_eq!(info(&mut read).tau, info(&mut trainer).tau);
    // Saving and loading changes no bit, however often.
    for _ in 0..3 {
        read.save(&path).expect("the target folder is writable");
        read = load().expect("a sound file");
    }
    assert_eq!(description(&std::fs::read(&path).expect("it was saved"))["config"]["tau"], json!(product));

    described["config"]["tau"] = json!(1.0);
    std::fs::write(&path, describing(&file, &described)).expect("the target folder is writable");
    let info = info(&mut load().expect("a sound file"));
    assert!((info.tau / info.data_scale.powi(2) - 1.0).abs() < 1e-9, "{}", info.tau);
}

fn weights(trainer: &mut Trainer) -> Vec<u8> {
    problems::bytes(&trainer.model().expect("it has learnt"), "tau_schedule")
}

/// A tau that rises counts where mass may stay unmatched, until its steps are over, and a training goes on with it bit for bit.
#[test]
fn tau_comes_to_its_value_over_the_steps() {
    let halves = Halves::new(2);
    let of = |divergence, tau_start, tau_steps| {
        let mut trainer = halves.trainer(TrainerConfig { divergence, tau_start, tau_steps, ..relative(1.0) });
        trainer.step(6).expect("sound");
        trainer
    };
    let trained = |divergence, tau_start, tau_steps| weights(&mut of(divergence, tau_start, tau_steps));
    let (kl, balanced) = (Divergence::Kl, Divergence::Balanced);
    let constant = trained(kl, 1.0, 0);
    assert!(constant == trained(kl, 1.0, 9));
    let rising = [1, 3, 9].map(|steps| trained(kl, 0.1, steps));
    assert!(rising.iter().all(|file| *file != constant) && rising[0] != rising[1] && rising[1] != rising[2]);
    assert!(trained(balanced, 0.1, 9) == trained(balanced, 1.0, 0));

    let mut half = halves.trainer(TrainerConfig { divergence: kl, tau_start: 0.1, tau_steps: 9, ..relative(1.0) });
    half.step(2).expect("sound");
    let path = scratch("tau_schedule.checkpoint");
    half.save(&path).expect("the target folder is writable");
    let load = Trainer::load(&context(1), &path, halves.data(&halves.source), halves.data(&halves.target));
    let mut rest = load.expect("a sound file");
    rest.step(4).expect("sound");
    assert!(weights(&mut rest) == rising[2]);
}

/// Where nothing is known of V before the training, the first step is that of a training whose tau is the first one.
#[test]
fn the_first_step_has_the_first_tau() {
    let halves = Halves::new(16);
    let form = Convolutions { channels: 4, levels: 1, ..Convolutions::default() };
    let first = |tau, tau_start, tau_steps| {
        let network = Some(NetworkSpec::convolutional(form));
        let (value_network, generator_network) = (network.clone(), network);
        let pictures = TrainerConfig {
            deterministic: true,
            latent_dimension: 2,
            components: 1,
            batch_sources: 8,
            ..relative(tau)
        };
        let config = TrainerConfig { tau_start, tau_steps, value_network, generator_network, ..pictures };
        let data = |values| Data::array(TensorView::from_f64(values, &[ROWS, 1, 4, 4]).expect("pictures of 4 x 4"));
        let mut trainer = Trainer::new(&context(1), config, data(&halves.source), data(&halves.target)).expect("sound");
        trainer.step(1).expect("sound");
        let Metrics { dual, potential, value_gradient_norm, density_ratio_mean, .. } = trainer.metrics();
        [dual, potential, value_gradient_norm, density_ratio_mean]
    };
    let ends = [first(0.5, 1.0, 0), first(8.0, 0.0625, 4)];
    assert!(ends[0].iter().zip(ends[1]).all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs()), "{ends:?}");
    assert!((first(8.0, 1.0, 0)[3] - ends[0][3]).abs() > 1e-4);
}
