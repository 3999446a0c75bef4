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
        tau: 0.5,
        latent_dimension: 3,
        deterministic: true,
        components: 1,
        batch_sources: 12,
        generator_learning_rate: 2e-3,
        value_learning_rate: 7e-4,
        value_network: Some(NetworkSpec::convolutional(Convolutions { norm_groups: 0, attention_heads: 0, ..form })),
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
    let upsampling = Upsampling::Bilinear;
    for form in [
        form(),
        Convolutions { residual: false, norm_groups: 3, ..form() },
        Convolutions { range: Some([-2.0, 3.0]), attention_heads: 2, ..form() },
        Convolutions { residual: false, range: Some([-2.0, 3.0]), upsampling, ..form() },
    ] {
        let config = config(form);
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

/// Pictures of bytes as imaging programs hold them: 4 bytes a pixel, of which the last two are not the model's, and rows
/// with some bytes behind them.
mod bytes_of {
    use super::{NUMBERS, SHAPE};

    pub const COUNT: usize = 5;
    pub const PITCH: usize = 4 * SHAPE[2] + 9;
    pub const LENGTH: usize = COUNT * SHAPE[1] * PITCH;
    pub const STRIDES: [isize; 4] = [(SHAPE[1] * PITCH) as isize, 1, PITCH as isize, 4];

    /// Where the numbers of all pictures lie, in the order of a sample's numbers.
    pub fn places() -> impl Iterator<Item = usize> {
        (0..COUNT * NUMBERS).map(|i| {
            let [_, height, width] = SHAPE;
            let (picture, channel) = (i / NUMBERS, i / (height * width) % SHAPE[0]);
            picture * height * PITCH + i / width % height * PITCH + 4 * (i % width) + channel
        })
    }
}

const SCALE: f64 = 1.0 / 127.5;
const OFFSET: f64 = -1.0;

fn shape_of(count: usize) -> [usize; 4] {
    [count, SHAPE[0], SHAPE[1], SHAPE[2]]
}

fn seen(bytes: &[u8], start: usize, count: usize, strides: [isize; 4]) -> TensorView<'_> {
    let data = bytes[start..].as_ptr();
    // SAFETY: the layouts of this test stay inside of their bytes.
    unsafe { TensorView::from_raw(DType::U8, data, &shape_of(count), Some(&strides), SCALE, OFFSET) }.expect("sound")
}

fn filled(bytes: &mut [u8], start: usize, count: usize, strides: [isize; 4]) -> TensorViewMut<'_> {
    let data = bytes[start..].as_mut_ptr();
    // SAFETY: as above.
    unsafe { TensorViewMut::from_raw(DType::U8, data, &shape_of(count), Some(&strides), SCALE, OFFSET) }.expect("sound")
}

#[test]
fn pictures_of_bytes_are_translated_where_they_lie() {
    use bytes_of::*;
    let mut trainer = Pictures::new().trainer(1, config(form())).expect("sound");
    trainer.step(3).expect("sound");
    let mut session = Session::new(&trainer.model().expect("it has learnt")).expect("a workspace");
    let input: Vec<u8> = (0..LENGTH).map(|i| (i * 89 % 251) as u8).collect();

    // By hand: floats in planes, and the nearest bytes of what comes back.
    let numbers = |bytes: &[u8]| -> Vec<f32> {
        places().map(|place| (f64::from(bytes[place]) * SCALE + OFFSET) as f32).collect()
    };
    let planes = numbers(&input);
    let (mut drawn, mut mean, mut ratio) = (vec![0.0; planes.len()], vec![0.0; planes.len()], vec![0.0; COUNT]);
    session.generate(&planes, 3, 7, &mut drawn).expect("finite rows");
    session.conditional_mean(&planes, 4, 3, 7, &mut mean).expect("finite rows");
    session.density_ratio(&planes, &mut ratio).expect("finite rows");
    let expected = |values: &[f32], around: &[u8]| {
        let mut bytes = around.to_vec();
        for (place, &value) in places().zip(values) {
            bytes[place] = ((f64::from(value) - OFFSET) / SCALE).round().clamp(0.0, 255.0) as u8;
        }
        bytes
    };

    let pattern = vec![0xA5; LENGTH];
    let mut output = pattern.clone();
    let source = seen(&input, 0, COUNT, STRIDES);
    session.generate_tensor(&source, 3, 7, &mut filled(&mut output, 0, COUNT, STRIDES)).expect("sound");
    assert!(output == expected(&drawn, &pattern));
    session.conditional_mean_tensor(&source, 4, 3, 7, &mut filled(&mut output, 0, COUNT, STRIDES)).expect("sound");
    assert!(output == expected(&mean, &pattern));
    let mut given = vec![0.0; COUNT];
    session.density_ratio_tensor(&source, &mut given).expect("sound");
    assert_eq!(given, ratio);

    // One picture a call.
    output.fill(0xA5);
    for picture in 0..COUNT {
        let start = picture * SHAPE[1] * PITCH;
        let source = seen(&input, start, 1, STRIDES);
        let mut to = filled(&mut output, start, 1, STRIDES);
        session.generate_tensor(&source, 3, 7 + picture as u64, &mut to).expect("sound");
    }
    assert!(output == expected(&drawn, &pattern));

    // In place; what is not the model's stays.
    let mut both = input.clone();
    let data = both.as_mut_ptr();
    // SAFETY: the layout stays inside of the bytes, and both have the same bytes row for row.
    let (source, mut to) = unsafe {
        (
            TensorView::from_raw(DType::U8, data, &shape_of(COUNT), Some(&STRIDES), SCALE, OFFSET).expect("sound"),
            TensorViewMut::from_raw(DType::U8, data, &shape_of(COUNT), Some(&STRIDES), SCALE, OFFSET).expect("sound"),
        )
    };
    session.generate_tensor(&source, 3, 7, &mut to).expect("sound");
    assert!(both == expected(&drawn, &input));

    // The channels in the other order, and rows from bottom to top: the same bytes at other places.
    let [picture, _, row, pixel] = STRIDES;
    let turned = [picture, -1, -row, pixel];
    let start = (SHAPE[1] - 1) * PITCH + 1;
    let place = |place: usize| {
        let (above, beside) = (place / PITCH, place % PITCH);
        let (picture, line) = (above / SHAPE[1], above % SHAPE[1]);
        (picture * SHAPE[1] + SHAPE[1] - 1 - line) * PITCH + (beside ^ 1)
    };
    let mut other = vec![0u8; LENGTH];
    places().for_each(|from| other[place(from)] = input[from]);
    output.fill(0xA5);
    let source = seen(&other, start, COUNT, turned);
    session.generate_tensor(&source, 3, 7, &mut filled(&mut output, start, COUNT, turned)).expect("sound");
    let upright = expected(&drawn, &pattern);
    assert!(places().all(|from| output[place(from)] == upright[from]));

    // Planes of floats with padded rows come out as they are.
    let (wide, [channels, height, width]) = (SHAPE[2] + 3, SHAPE);
    let mut floats = vec![9f32; COUNT * channels * height * wide];
    let strides = [channels * height * wide, height * wide, wide, 1].map(|stride| stride as isize);
    let data = floats.as_mut_ptr().cast();
    // SAFETY: the layout stays inside of the floats.
    let mut to = unsafe { TensorViewMut::from_raw(DType::F32, data, &shape_of(COUNT), Some(&strides), 1.0, 0.0) }
        .expect("sound");
    session.generate_tensor(&seen(&input, 0, COUNT, STRIDES), 3, 7, &mut to).expect("sound");
    let rows: Vec<f32> = floats.chunks_exact(wide).flat_map(|row| row[..width].to_vec()).collect();
    assert!(rows == drawn && floats.chunks_exact(wide).all(|row| row[width..] == [9.0; 3]));

    // Shapes that are no pictures of the model.
    let flat = TensorView::from_u8(&input[..2 * NUMBERS], &[2, SHAPE[1], SHAPE[2], SHAPE[0]]).expect("a shape");
    let mut ratios = [0.0; 2];
    let refused = session.density_ratio_tensor(&flat, &mut ratios).expect_err("channels last").to_string();
    assert!(refused.contains("target.shape is [2, 9, 6, 2]") && refused.contains("[2, 9, 6]"), "{refused}");
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
    let deep = NetworkSpec::convolutional(Convolutions { levels: 6, ..form() });
    for (name, config) in [
        ("value_network", TrainerConfig { value_network: Some(deep.clone()), ..config(form()) }),
        ("generator_network", TrainerConfig { generator_network: Some(deep.clone()), ..config(form()) }),
    ] {
        let refused = refusal(config, &whole);
        assert!(
            refused.contains(&format!("{name}.levels is 6, but pictures of 9 x 6 pixels have at most 3")),
            "{refused}"
        );
    }
    let without = TrainerConfig { latent_dimension: 0, ..config(form()) };
    assert!(refusal(without, &whole).contains("latent_dimension is 0, but must be from 1 to 4096"));
    let perceptron = NetworkSpec { convolutions: Some(form()), ..NetworkSpec::default() };
    let mixed = TrainerConfig { value_network: Some(perceptron), ..small() };
    assert!(refusal(mixed, &whole).contains("value_network.convolutions are for a convolutional network"));
}

/// The two networks may have different channels, levels, blocks and activations.
#[test]
fn networks_of_different_forms_train_and_answer() {
    let samples = Pictures::new();
    let network = |form: Convolutions, activation| Some(NetworkSpec { activation, ..NetworkSpec::convolutional(form) });
    let config = TrainerConfig {
        value_network: network(Convolutions { channels: 4, levels: 1, blocks: 2, ..form() }, Activation::Tanh),
        generator_network: network(Convolutions { channels: 9, levels: 3, ..form() }, Activation::Softplus),
        ..config(form())
    };
    let mut trainer = samples.trainer(2, config).expect("sound");
    trainer.step(3).expect("sound");
    let model = trainer.model().expect("it has learnt");
    let again = Model::load_memory(&context(1), &bytes(&model, "forms")).expect("its own file");
    let rows = &samples.source[..3 * NUMBERS];
    let answered = answers(&again, rows);
    assert!(answered.iter().all(|x| x.is_finite()) && answered == answers(&model, rows));
}

/// A picture is answered with the same bits alone and among others.
#[test]
fn answers_do_not_depend_on_the_number_of_rows() {
    let samples = Pictures::new();
    let mut trainer = samples.trainer(1, config(form())).expect("sound");
    trainer.step(2).expect("sound");
    let mut session = Session::new(&trainer.model().expect("it has learnt")).expect("a workspace");
    let count = 19;
    let rows = &samples.source[..count * NUMBERS];
    let mut answer = |at_a_time: usize| {
        let mut out = [vec![0f32; rows.len()], vec![0f32; rows.len()]];
        for (i, x) in rows.chunks(at_a_time * NUMBERS).enumerate() {
            let first = i * at_a_time * NUMBERS;
            let [generated, drift] = out.each_mut().map(|out| &mut out[first..first + x.len()]);
            session.generate(x, 5, (i * at_a_time) as u64, generated).expect("finite rows");
            session.drift(0.6, x, drift).expect("finite rows");
        }
        out
    };
    let whole = answer(count);
    assert!([1, 2, 5].into_iter().all(|at_a_time| answer(at_a_time) == whole));
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

    let samples = Pictures::new();
    let path = scratch("unsound.checkpoint");
    let load = |file: &[u8]| {
        std::fs::write(&path, file).expect("the target folder is writable");
        Trainer::load(&context(1), &path, pictures(&samples.source), pictures(&samples.target))
    };
    trainer.save(&path).expect("the target folder is writable");
    let file = std::fs::read(&path).expect("it was written");
    let of_checkpoints = [
        (r#"\"kind\":\"convolutional\""#, r#"\"kind\":\"perceptron\"   "#),
        (r#"\"latent_dimension\":3"#, r#"\"latent_dimension\":0"#),
    ];
    for (said, instead) in changes.into_iter().chain(of_checkpoints) {
        let changed = replaced(&file, said.as_bytes(), instead.as_bytes());
        let Err(error) = load(&changed) else { panic!("{instead} was taken") };
        assert!(matches!(error, Error::Format(_)), "{instead}: {error}");
    }
    load(&file).expect("its own file");
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
