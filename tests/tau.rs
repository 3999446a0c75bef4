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
