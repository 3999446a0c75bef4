//! Convolutional networks: they train on pictures, go on bit for bit, save, load and answer; what is no picture is
//! refused by a sentence.

mod problems;

use problems::*;
use sfeuot::*;
use std::sync::{Arc, Mutex};

/// Pictures with two channels and odd sides: waves along rows, which in the target are brighter and have more contrast.
struct Pictures {
    source: Vec<f32>,
    target: Vec<f32>,
}

const SHAPE: [usize; 3] = [2, 9, 6];
const NUMBERS: usize = 2 * 9 * 6;
const COUNT: usize = 60;

fn wave(phase: f64, contrast: f64, light: f64, noise: &[f64]) -> Vec<f32> {
    let [_, height, width] = SHAPE;
    let at = |i: usize| light + contrast * (phase + (i / width % height) as f64).sin();
    noise.iter().enumerate().map(|(i, e)| (at(i) + 0.1 * e) as f32).collect()
}

impl Pictures {
    fn new() -> Self {
        let noise = normals(2 * COUNT * NUMBERS, 3);
        let of = |contrast: f64, light: f64, noise: &[f64]| {
            let pictures = noise.chunks_exact(NUMBERS).enumerate();
            pictures.flat_map(|(place, noise)| wave(place as f64, contrast, light, noise)).collect()
        };
        let (first, second) = noise.split_at(COUNT * NUMBERS);
        Self { source: of(0.4, 0.0, first), target: of(0.8, 1.0, second) }
    }

    fn trainer(&self, threads: usize, config: TrainerConfig) -> Result<Trainer> {
        Trainer::new(&context(threads), config, pictures(&self.source), pictures(&self.target))
    }
}

fn pictures(samples: &[f32]) -> Data<'_> {
    Data::array(TensorView::from_f32(samples, &[COUNT, SHAPE[0], SHAPE[1], SHAPE[2]]).expect("a shape of the samples"))
}

fn config(form: Convolutions) -> TrainerConfig {
    TrainerConfig {
        divergence: Divergence::Softplus,
        sigma: 0.5,
        tau: 50.0,
        latent_dimension: 3,
        deterministic: true,
        components: 1,
        batch_sources: 12,
        generator_learning_rate: 2e-3,
        value_learning_rate: 7e-4,
        value_network: Some(NetworkSpec::convolutional(form)),
        generator_network: Some(NetworkSpec::convolutional(form)),
        ..TrainerConfig::default()
    }
}

fn form() -> Convolutions {
    Convolutions { channels: 6, levels: 2, ..Convolutions::default() }
}

fn answers(model: &Model, rows: &[f32]) -> Vec<f32> {
    let mut session = Session::new(model).expect("a workspace");
    let [mut generated, mut mean, mut drift] = [0; 3].map(|_| vec![f32::NAN; rows.len()]);
    let mut ratio = vec![f32::NAN; rows.len() / NUMBERS];
    session.generate(rows, 3, 0, &mut generated).expect("finite rows");
    session.conditional_mean(rows, 3, 1, 0, &mut mean).expect("finite rows");
    session.drift(0.3, rows, &mut drift).expect("finite rows");
    session.density_ratio(rows, &mut ratio).expect("finite rows");
    [generated, mean, drift, ratio].concat()
}

#[test]
fn a_training_goes_on_bit_for_bit_and_its_model_answers() {
    let pictures_of = Pictures::new();
    for (residual, range) in [(true, None), (false, None), (true, Some([-2.0, 3.0])), (false, Some([-2.0, 3.0]))] {
        let config = config(Convolutions { residual, range, ..form() });
        let mut whole = pictures_of.trainer(1, config.clone()).expect("sound");
        whole.step(6).expect("sound");
        let mut half = pictures_of.trainer(2, config).expect("sound");
        half.step(2).expect("sound");
        let path = scratch("pictures.checkpoint");
        half.save(&path).expect("the target folder is writable");
        let mut rest = Trainer::load(&context(1), &path, pictures(&pictures_of.source), pictures(&pictures_of.target))
            .expect("good");
        assert_eq!(rest.config(), half.config());
        rest.step(4).expect("sound");
        let model = whole.model().expect("it has learnt");
        assert!(bytes(&rest.model().expect("it has learnt"), "rest") == bytes(&model, "whole"));

        let again = Model::load_memory(&context(1), &bytes(&model, "again")).expect("its own file");
        assert_eq!(again.info(), model.info());
        let rows = &pictures_of.source[..7 * NUMBERS];
        let (before, after) = (answers(&model, rows), answers(&again, rows));
        assert!(before.iter().all(|x| x.is_finite()) && before == after);
    }
}

/// The generator takes on the target's light and contrast, and keeps which picture it came from.
#[test]
fn a_translation_learns_the_target() {
    let samples = Pictures::new();
    let mut trainer = samples.trainer(2, TrainerConfig { decay_steps: 400, ..config(form()) }).expect("sound");
    trainer.step(400).expect("sound");
    let mut session = Session::new(&trainer.model().expect("it has learnt")).expect("a workspace");
    let mut made = vec![0.0; samples.source.len()];
    session.generate(&samples.source, 1, 0, &mut made).expect("finite rows");
    let mean = |x: &[f32]| x.iter().sum::<f32>() / x.len() as f32;
    let product = |x: &[f32], y: &[f32]| {
        let (a, b) = (mean(x), mean(y));
        x.iter().zip(y).map(|(x, y)| (x - a) * (y - b)).sum::<f32>() / x.len() as f32
    };
    let [light, contrast] = [mean(&made), product(&made, &made).sqrt()];
    let correlation = product(&made, &samples.source) / (contrast * product(&samples.source, &samples.source).sqrt());
    assert!((light - 1.0).abs() < 0.2 && (contrast - 0.57).abs() < 0.15, "light {light}, contrast {contrast}");
    assert!(correlation > 0.8, "correlation {correlation}");
}

/// Trains in three calls of 96 steps. Returns the metrics after them, and the warnings in the log.
fn trained(config: TrainerConfig) -> (Metrics, Vec<String>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let context = ContextConfig {
        device: DeviceKind::Cpu,
        threads: 2,
        log_level: LogLevel::Warn,
        log: Some(Box::new(move |_, text: &str| sink.lock().expect("no panic").push(text.to_owned()))),
        ..Default::default()
    };
    let context = Context::new(context).expect("the processor is always there");
    let samples = Pictures::new();
    let mut trainer =
        Trainer::new(&context, config, pictures(&samples.source), pictures(&samples.target)).expect("sound");
    for _ in 0..3 {
        trainer.step(96).expect("finite numbers");
    }
    let told = lines.lock().expect("no panic").clone();
    (trainer.metrics(), told)
}

/// A generator whose first steps are so large that it gives the end of its range everywhere, for every picture.
#[test]
fn a_collapse_is_told_once_and_a_good_training_says_nothing() {
    let good = config(Convolutions { residual: false, range: Some([-2.0, 3.0]), ..form() });
    let (metrics, told) = trained(TrainerConfig { generator_learning_rate: 0.1, ..good.clone() });
    assert!(metrics.spread < 0.1, "{metrics:?}");
    assert!(told.len() == 1 && told[0].contains("for every source sample"), "{told:?}");
    let (metrics, told) = trained(good);
    assert!(metrics.spread > 0.3 && metrics.matched_share > 0.5, "{metrics:?}");
    assert!(told.is_empty(), "{told:?}");
}

/// A generator with a range gives nothing beyond it, whatever the source sample is, and begins near the source's numbers
/// where it changes pictures.
#[test]
fn a_range_holds() {
    let samples = Pictures::new();
    let (low, high) = (-0.5f32, 1.0f32);
    for residual in [true, false] {
        let range = Some([f64::from(low), f64::from(high)]);
        let mut trainer = samples.trainer(1, config(Convolutions { residual, range, ..form() })).expect("sound");
        let mut rows = samples.source[..3 * NUMBERS].to_vec();
        let answer = |trainer: &mut Trainer, rows: &[f32]| {
            let mut made = vec![f32::NAN; rows.len()];
            let mut session = Session::new(&trainer.model().expect("it has networks")).expect("a workspace");
            session.generate(rows, 1, 0, &mut made).expect("finite rows");
            made
        };
        let begun = answer(&mut trainer, &rows);
        let off =
            rows.iter().zip(&begun).map(|(x, y)| (x.clamp(low, high) - y).powi(2)).sum::<f32>() / rows.len() as f32;
        assert!(!residual || off < 0.1, "begins {off} from the source");
        trainer.step(20).expect("sound");
        rows.iter_mut().enumerate().for_each(|(i, x)| *x += if i % 2 == 0 { 50.0 } else { -50.0 });
        let beyond = 1e-5;
        assert!(answer(&mut trainer, &rows).iter().all(|x| (low - beyond..=high + beyond).contains(x)));
    }
}

#[test]
fn what_is_no_picture_is_refused() {
    let samples = Pictures::new();
    let refusal = |config: TrainerConfig, shape: &[usize]| {
        let side = || Data::array(TensorView::from_f32(&samples.source, shape).expect("a shape of the samples"));
        match Trainer::new(&context(1), config, side(), side()) {
            Ok(_) => panic!("{shape:?} was taken"),
            Err(error) => error.to_string(),
        }
    };
    let whole = [COUNT, SHAPE[0], SHAPE[1], SHAPE[2]];
    let flat = refusal(config(form()), &[COUNT, NUMBERS]);
    assert!(flat.contains("[108]") && flat.contains("[channels, height, width]"), "{flat}");
    let uneven = TrainerConfig { components: 8, ..config(form()) };
    assert!(refusal(uneven, &whole).contains("components is 8, but must be 1"));
    let spread = TrainerConfig { deterministic: false, ..config(form()) };
    assert!(refusal(spread, &whole).contains("deterministic is 0, but must be 1"));
    let one = TrainerConfig { generator_network: None, ..config(form()) };
    assert!(refusal(one, &whole).contains("must both be convolutional"));
    let wide = config(Convolutions { channels: 1025, ..form() });
    assert!(refusal(wide, &whole).contains("value_network.channels is 1025, but must be from 0 to 1024"));
    for range in [[1.0, 1.0], [2.0, -2.0], [0.0, f64::NAN], [-1e39, 0.0]] {
        let ranged = refusal(config(Convolutions { range: Some(range), ..form() }), &whole);
        assert!(ranged.contains("value_network.range is from"), "{ranged}");
    }
    let deep = config(Convolutions { levels: 6, ..form() });
    assert!(refusal(deep, &whole).contains("levels is 6, but pictures of 9 x 6 pixels have at most 3"));
}

/// Whatever a file says of its networks, a load ends in a model or in a sentence.
#[test]
fn a_file_with_an_unsound_network_is_refused() {
    let form = Convolutions { range: Some([-2.0, 3.0]), ..form() };
    let mut trainer = Pictures::new().trainer(1, config(form)).expect("sound");
    let file = bytes(&trainer.model().expect("it has networks"), "unsound");
    // Texts of one length, so that the file's offsets stay.
    let changes = [
        (r#"\"channels\":6"#, r#"\"channels\":0"#),
        (r#"\"levels\":2"#, r#"\"levels\":0"#),
        (r#"\"levels\":2"#, r#"\"levels\":5"#),
        (r#"\"levels\":2"#, r#"\"levels\":9"#),
        (r#"\"blocks\":1"#, r#"\"blocks\":0"#),
        (r#"\"blocks\":1"#, r#"\"blocks\":8"#),
        (r#"\"picture\":[2,9,6]"#, r#"\"picture\":[2,9,7]"#),
        (r#"\"picture\":[2,9,6]"#, r#"\"picture\":[2,6,9]"#),
        (r#"\"picture\":[2,9,6]"#, r#"\"picture\":[0,0,0]"#),
        (r#"\"range\":[-2.0,3.0]"#, r#"\"range\":[-2.0,-40]"#),
        (r#"\"deterministic\":true"#, r#"\"deterministic\":null"#),
        (r#"\"components\":1"#, r#"\"components\":2"#),
    ];
    for (said, instead) in changes {
        let changed = replaced(&file, said.as_bytes(), instead.as_bytes());
        let Err(error) = Model::load_memory(&context(1), &changed) else { panic!("{instead} was taken") };
        assert!(matches!(error, Error::Format(_)), "{instead}: {error}");
    }
    Model::load_memory(&context(1), &file).expect("its own file");
}

fn replaced(file: &[u8], said: &[u8], instead: &[u8]) -> Vec<u8> {
    let mut changed = file.to_vec();
    let mut found = false;
    for at in 0..=changed.len() - said.len() {
        if changed[at..].starts_with(said) {
            changed[at..at + instead.len()].copy_from_slice(instead);
            found = true;
        }
    }
    assert!(found && said.len() == instead.len(), "{}", String::from_utf8_lossy(said));
    changed
}
