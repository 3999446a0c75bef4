//! No call that succeeds comes with a number that is not finite: not a training step, whatever its settings, not a model, and
//! not a session, whatever weights its model has. Samples of any scale train or are refused by a sentence, and one point is
//! carried onto itself.

mod problems;

use std::sync::{Arc, Mutex};

use problems::*;
use sfeuot::*;

/// A step must not leave what cannot be saved or called.
#[test]
fn a_step_whose_new_weights_are_not_finite_is_not_taken() {
    let clouds = Clouds::new(2);
    let rates = [(1e300, 3e-4), (1e39, 1e-3), (1e-3, 1e39), (1e300, 1e300)];
    for (generator_learning_rate, value_learning_rate) in rates {
        for threads in [1, 3] {
            let config = TrainerConfig { generator_learning_rate, value_learning_rate, ..small() };
            let mut trainer = clouds.trainer(&context(threads), config);
            let start = bytes(&trainer.model().unwrap(), "overflow_start");
            for _ in 0..2 {
                let error = trainer.step(3).expect_err("rates beyond 32 bits");
                assert!(matches!(error, Error::Diverged { step: 1, .. }), "{error}");
                assert!(error.to_string().contains("a new weight"), "{error}");
                assert_eq!(trainer.metrics(), Metrics::default());
            }
            let model = trainer.model().unwrap();
            assert!(bytes(&model, "overflow_after") == start, "the step left something behind");
            let path = scratch("overflow.checkpoint");
            trainer.save(&path).expect("finite weights are saved");
            Trainer::load(&context(1), &path, array(&clouds.source, 2), array(&clouds.target, 2)).expect("a good file");
            every_call_is_finite(&mut Session::new(&model).expect("a workspace"), &[0.5, -1.0], true);
        }
    }
}

/// The steps before an overflow stay, and a training goes on from them: here with weights that a checkpoint took along.
#[test]
fn a_step_before_an_overflow_stays() {
    let clouds = Clouds::new(2);
    let mut trainer = clouds.trainer(&context(1), small());
    let before = trainer.step(5).expect("a sound problem");
    let model = bytes(&trainer.model().unwrap(), "went_before");
    let path = scratch("overflow_later.checkpoint");
    trainer.save(&path).expect("the target folder is writable");
    let file = std::fs::read(&path).expect("it was written");
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header = String::from_utf8(file[8..8 + length].to_vec()).expect("a header is text");
    let from = "generator_learning_rate\\\":0.002";
    assert!(header.contains(from), "{header}");
    let header = header.replace(from, "generator_learning_rate\\\":1e300");
    std::fs::write(&path, [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + length..]].concat())
        .expect("the target folder is writable");
    let mut trainer =
        Trainer::load(&context(1), &path, array(&clouds.source, 2), array(&clouds.target, 2)).expect("a good file");
    let error = trainer.step(1).expect_err("a rate beyond 32 bits");
    assert!(matches!(error, Error::Diverged { step: 6, .. }), "{error}");
    assert_eq!(trainer.metrics(), before);
    assert!(bytes(&trainer.model().unwrap(), "went_on") == model);
}

/// Every call on these rows: finite numbers alone, or the error that says so. Returns how many succeeded.
fn every_call_is_finite(session: &mut Session, x: &[f32], all: bool) -> usize {
    const UNTOUCHED: f32 = 7.25;
    let d = session.model().info().dimension;
    let rows = x.len() / d;
    let mut succeeded = 0;
    let mut check = |call: &str, size: usize, run: &mut dyn FnMut(&mut [f32]) -> Result<()>| {
        let mut out = vec![UNTOUCHED; size];
        match run(&mut out) {
            Ok(()) => {
                succeeded += 1;
                assert!(out.iter().all(|x| x.is_finite()), "{call} succeeded with {out:?}");
            }
            Err(Error::NotFinite(text)) if !all => {
                assert!(out.iter().all(|&x| x == UNTOUCHED), "{call} failed and wrote {out:?}");
                for part in [" row ", "number ", " is ", "["] {
                    assert!(text.contains(part), "{call}: {text}");
                }
            }
            Err(error) => panic!("{call}: {error}"),
        }
    };
    check("generate", rows * d, &mut |out| session.generate(x, 3, 5, out));
    check("conditional_mean", rows * d, &mut |out| session.conditional_mean(x, 4, 3, 5, out));
    check("trajectory", 3 * rows * d, &mut |out| session.trajectory(x, &[0.0, 0.4, 1.0], 3, 5, out));
    check("drift", rows * d, &mut |out| session.drift(0.7, x, out));
    check("drift at the end", rows * d, &mut |out| session.drift(1.0, x, out));
    check("density_ratio", rows, &mut |out| session.density_ratio(x, out));
    succeeded
}

#[test]
fn whatever_weights_a_model_has_success_means_finite_numbers() {
    let clouds = Clouds::new(2);
    let x = [0.25f32, -1.0, 3.0, 0.5, 1e7, -1e8, 4e8, 1e-30];
    let (mut failed, mut succeeded) = (0, 0);
    for (f, form) in forms().into_iter().enumerate() {
        for divergence in Divergence::ALL {
            let file = bytes(&clouds.model(TrainerConfig { divergence, ..form.clone() }, 5), "weights");
            let mut random = normals(1 << 14, f as u64).into_iter().cycle();
            let mut next = move || random.next().expect("it never ends");
            let mutations: [&mut dyn FnMut(usize, f32) -> f32; 6] = [
                &mut |_, _| 1e38,
                &mut |i, _| if i % 2 == 0 { 3.4e38 } else { -3.4e38 },
                &mut |i, x| if i % 97 == 3 { 1e38 } else { x },
                &mut |_, x| x * 1e20,
                &mut |_, x| x * 1e-30,
                &mut |_, x| x * (10.0 * next()).exp() as f32,
            ];
            for mutation in mutations {
                let model = Model::load_memory(&context(1), &changed(&file, mutation)).expect("finite weights");
                let mut session = Session::new(&model).expect("a workspace");
                for row in x.chunks(2).chain([&x[..]]) {
                    let calls = every_call_is_finite(&mut session, row, false);
                    succeeded += calls;
                    failed += 6 - calls;
                }
            }
        }
    }
    assert!(failed > 100 && succeeded > 100, "{failed} {succeeded}: one of both is not tested");
}

/// A long call writes rows in order up to a fault, and none that is not finite.
#[test]
fn a_fault_far_into_a_call_leaves_finite_rows() {
    let mut session = Session::new(&Clouds::new(2).model(small(), 5)).expect("a workspace");
    // Steep enough that far rows overflow and near ones do not.
    let file = changed(&bytes(&session.model(), "steep"), |_, x| x * 3e11);
    let steep = Model::load_memory(&context(1), &file).expect("finite weights");
    let near = vec![0.5f32; 2];
    let mut out = vec![0f32; 2];
    let good = Session::new(&steep).expect("a workspace").generate(&near, 1, 0, &mut out).is_ok();
    assert!(good, "near rows overflow as well");
    let (rows, bad) = (500, 321);
    let mut x = near.repeat(rows);
    x[2 * bad..2 * bad + 2].fill(4e8);
    let mut whole = vec![7.25f32; 2 * rows];
    let mut session_of_steep = Session::new(&steep).expect("a workspace");
    let text = session_of_steep.generate(&x, 1, 0, &mut whole).expect_err("row 321 overflows").to_string();
    assert!(text.contains("row 321, number") && text.contains("[400000000.0, 400000000.0]"), "{text}");
    assert!(whole.iter().all(|x| x.is_finite()));
    assert!(whole[2 * bad..].iter().all(|&x| x == 7.25), "rows from the fault on were written");
    session.generate(&x, 1, 0, &mut whole).expect("a sound model");
}

/// Samples as large and as small as 32-bit numbers are, with noise and prices from the smallest to the largest: each trains to
/// finite metrics and a model whose numbers are finite, or is refused by a sentence.
#[test]
fn settings_in_range_train_or_are_refused_by_a_sentence() {
    let base = Clouds::new(2);
    let (mut trained, mut refused) = (0, 0);
    for scale in [1e-37, 1e-20, 1.0, 1e20, 1e37] {
        for sigma in [1e-300, 1e-6, 0.1, 1e3, 1e300] {
            for tau in [1e-300, 1e-12, 1.0, 1e12, 1e300] {
                for divergence in Divergence::ALL {
                    for sigma_units in [SigmaUnits::Relative, SigmaUnits::Data] {
                        let config = TrainerConfig { sigma, tau, divergence, sigma_units, hidden_width: 8, ..small() };
                        let scaled = |values: &[f64]| values.iter().map(|x| x * scale).collect::<Vec<_>>();
                        let (source, target) = (scaled(&base.source), scaled(&base.target));
                        let about = format!("{scale:e} {sigma:e} {tau:e} {divergence:?} {sigma_units:?}");
                        match Trainer::new(&context(1), config, array(&source, 2), array(&target, 2)) {
                            Ok(mut trainer) => {
                                trained += 1;
                                trains_to_finite_numbers(&mut trainer, &floats(&source[..8]), &about);
                            }
                            Err(Error::InvalidArgument(text)) => {
                                refused += 1;
                                assert!(
                                    text.starts_with("sigma is ") || text.starts_with("tau is "),
                                    "{about}: {text}"
                                );
                            }
                            Err(error) => panic!("{about}: {error}"),
                        }
                    }
                }
            }
        }
    }
    assert!(trained > 200 && refused > 200, "{trained} {refused}");
}

fn trains_to_finite_numbers(trainer: &mut Trainer, x: &[f32], about: &str) {
    let metrics = match trainer.step(2) {
        Ok(metrics) => metrics,
        Err(Error::Diverged { .. }) => trainer.metrics(),
        Err(error) => panic!("{about}: {error}"),
    };
    let Metrics { step: _, dual, value_loss, generator_loss, potential, action, .. } = metrics;
    let Metrics { value_gradient_norm, generator_gradient_norm, density_ratio_mean, steps_per_second, .. } = metrics;
    let costs = [dual, value_loss, generator_loss, potential, action];
    let Metrics { value_generated, value_target, matched_share, spread, .. } = metrics;
    let others = [value_gradient_norm, generator_gradient_norm, density_ratio_mean, steps_per_second];
    let ends = [value_generated, value_target, matched_share, spread];
    assert!(costs.iter().chain(&others).chain(&ends).all(|x| x.is_finite()), "{about}: {metrics:?}");
    let model = trainer.model().expect("finite weights");
    let info = model.info();
    assert!([info.sigma, info.tau, info.data_scale].iter().all(|x| x.is_finite()), "{about}: {info:?}");
    let path = scratch("scales.model");
    model.save(&path).unwrap_or_else(|error| panic!("{about}: {error}"));
    assert_eq!(Model::load(&context(1), &path).expect("a good file").info(), info, "{about}");
    every_call_is_finite(&mut Session::new(&model).expect("a workspace"), x, false);
}

/// What a model says of itself is finite too.
#[test]
fn a_file_whose_numbers_are_not_finite_in_data_units_is_refused() {
    let clouds = Clouds::new(2);
    let far = |values: &[f64]| values.iter().map(|x| x * 1e4).collect::<Vec<_>>();
    let clouds = Clouds { source: far(&clouds.source), target: far(&clouds.target), ..clouds };
    let config = TrainerConfig { sigma: 0.5, sigma_units: SigmaUnits::Relative, ..small() };
    let file = bytes(&clouds.model(config, 1), "large");
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header = String::from_utf8(file[8..8 + length].to_vec()).expect("a header is text");
    for (name, sentence) in [("sigma", "sigma is 1e306, but must be from"), ("tau", "tau and scale")] {
        let field = format!("\\\"{name}\\\":");
        let from = header.find(&field).expect("it is described") + field.len();
        let to = from + header[from..].find([',', '}']).expect("a number ends");
        let header = format!("{}1e306{}", &header[..from], &header[to..]);
        let changed = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + length..]].concat();
        let error = Model::load_memory(&context(1), &changed).err().expect(name).to_string();
        assert!(error.contains(sentence), "{error}");
    }
}

#[test]
fn samples_beyond_computing_are_named() {
    let good = [1.0, 2.0, 3.0, 4.0];
    for (bad, scale, offset) in [([1.0, 2.0, 3.0, 1e300], 1e300, 0.0), ([1.0, 1e308, 3.0, 4.0], 1.0, 1e308)] {
        let view = view(&bad, 2).scaled(scale, offset).expect("finite numbers");
        let error =
            Trainer::new(&context(1), small(), array(&good, 2), Data::array(view)).err().expect("beyond 32 bits");
        assert!(error.to_string().contains("target.samples"), "{error}");
    }
}

/// Both sides one colour: the answer is the identity, without noise to speak of where sigma is relative to a scale of 0.
#[test]
fn one_point_is_carried_onto_itself() {
    let points: [[f64; 3]; 6] =
        [[0.5; 3], [0.0; 3], [1.0 / 255.0, 0.1, 0.7], [255.0, 0.0, 10.0], [-1e30, 1e30, 1e30], [1e-20, -2e-20, 0.0]];
    for point in points {
        for count in [1, 40] {
            for sigma_units in [SigmaUnits::Relative, SigmaUnits::Data] {
                for divergence in Divergence::ALL {
                    let magnitude = point.iter().fold(0.0f64, |most, x| most.max(x.abs()));
                    let sigma = match sigma_units {
                        SigmaUnits::Relative => 0.1,
                        SigmaUnits::Data => 0.02 * if magnitude > 0.0 { magnitude } else { 1.0 },
                    };
                    let tau = if sigma_units == SigmaUnits::Data { sigma * sigma } else { 1.0 };
                    let config = TrainerConfig { sigma, sigma_units, divergence, tau, ..small() };
                    let (source, target) = (point.repeat(count), point.repeat(2 * count));
                    let mut trainer = Trainer::new(&context(1), config, array(&source, 3), array(&target, 3))
                        .unwrap_or_else(|error| panic!("{point:?} {sigma_units:?}: {error}"));
                    trainer.step(40).unwrap_or_else(|error| panic!("{point:?} {sigma_units:?}: {error}"));
                    let model = trainer.model().unwrap();
                    let mut session = Session::new(&model).expect("a workspace");
                    let x = floats(&point.repeat(20));
                    every_call_is_finite(&mut session, &x, true);
                    let mut x1 = vec![0f32; x.len()];
                    session.generate(&x, 1, 0, &mut x1).expect("the point itself");
                    let about = f64::from(f32::EPSILON) * magnitude + 1e-2 * model.info().sigma;
                    for (x1, x) in x1.iter().zip(&x) {
                        let off = (f64::from(*x1) - f64::from(*x)).abs();
                        assert!(off <= about, "{point:?} {sigma_units:?} {divergence:?}: {x} became {x1}");
                    }
                    if sigma_units == SigmaUnits::Relative {
                        assert!(model.info().sigma <= 2e-5 * magnitude.max(if magnitude > 0.0 { 0.0 } else { 1.0 }));
                    }
                    let mut ratio = vec![0f32; 20];
                    session.density_ratio(&x, &mut ratio).expect("the point itself");
                    assert!(ratio.iter().all(|r| (r - 1.0).abs() < 0.1), "{point:?} {sigma_units:?}: {ratio:?}");
                }
            }
        }
    }
}

#[test]
fn one_point_is_told_in_the_log() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&log);
    let config = ContextConfig {
        device: DeviceKind::Cpu,
        threads: 1,
        log: Some(Box::new(move |level, text: &str| kept.lock().expect("no panic").push((level, text.to_owned())))),
        ..Default::default()
    };
    let context = Context::new(config).expect("the processor is always there");
    let point = [0.25; 4];
    let relative = TrainerConfig { sigma_units: SigmaUnits::Relative, ..small() };
    Trainer::new(&context, relative, array(&point, 2), array(&point, 2)).expect("one point trains");
    let lines = log.lock().expect("no panic");
    let warned =
        |(level, text): &(LogLevel, String)| *level == LogLevel::Warn && text.contains("one and the same point");
    assert_eq!(lines.iter().filter(|line| warned(line)).count(), 1, "{lines:?}");
}

#[test]
fn sides_of_one_point_each_and_constant_components_train() {
    let cloud = normals(200, 3);
    let flat: Vec<f64> = cloud.chunks(2).flat_map(|x| [x[0], 7.0]).collect();
    let moved: Vec<f64> = flat.chunks(2).flat_map(|x| [x[0] + 3.0, 7.0]).collect();
    let config = TrainerConfig { sigma: 0.1, sigma_units: SigmaUnits::Relative, ..small() };
    // Sides and, where the target is one point, that point.
    type Case<'a> = (&'a [f64], &'a [f64], Option<[f64; 2]>);
    let cases: [Case<'_>; 5] = [
        (&[1.0, 2.0], &[3.0, 5.0], Some([3.0, 5.0])),
        (&[-1.0; 20], &[1.0; 10], Some([1.0; 2])),
        (&cloud, &[4.0, -4.0], Some([4.0, -4.0])),
        (&[4.0, -4.0], &cloud, None),
        (&flat, &moved, None),
    ];
    for (source, target, point) in cases {
        let mut trainer =
            Trainer::new(&context(1), config.clone(), array(source, 2), array(target, 2)).expect("a sound problem");
        trainer.step(60).expect("a sound problem");
        let model = trainer.model().unwrap();
        let mut session = Session::new(&model).expect("a workspace");
        let x = floats(&source[..source.len().min(60)]);
        every_call_is_finite(&mut session, &x, true);
        let Some(point) = point else { continue };
        let mut x1 = vec![0f32; x.len()];
        session.generate(&x, 1, 0, &mut x1).expect("finite rows");
        for x1 in x1.chunks(2) {
            for (x1, expected) in x1.iter().zip(point) {
                assert!((f64::from(*x1) - expected).abs() < 0.05 * model.info().sigma, "{x1} {expected}");
            }
        }
    }
}

/// Far from 0 as well, where a sample does not come back from the networks' units bit for bit.
#[test]
fn a_path_at_time_0_is_its_source_and_at_time_1_what_is_generated() {
    for (offset, form) in [0.0, 100.0, 1e4, 1e6].into_iter().zip(forms().into_iter().cycle()) {
        let far = |values: &[f64]| values.iter().map(|x| x + offset).collect::<Vec<_>>();
        let clouds = Clouds::new(3);
        let clouds = Clouds { source: far(&clouds.source), target: far(&clouds.target), ..clouds };
        let mut session = Session::new(&clouds.model(form, 10)).expect("a workspace");
        let x = floats(&clouds.source);
        let mut x1 = vec![0f32; x.len()];
        session.generate(&x, 4, 9, &mut x1).expect("finite rows");
        for times in [&[0.0, 0.5, 1.0][..], &[0.0], &[-0.0, 0.0, 1.0], &[0.0, 0.0, 0.0, 1e-300, 1.0, 1.0]] {
            let mut path = vec![0f32; x.len() * times.len()];
            session.trajectory(&x, times, 4, 9, &mut path).expect("finite rows");
            for (r, path) in path.chunks(3 * times.len()).enumerate() {
                for (&t, point) in times.iter().zip(path.chunks(3)) {
                    let row = 3 * r..3 * r + 3;
                    match t {
                        0.0 => assert_eq!(point, &x[row], "offset {offset}"),
                        1.0 => assert_eq!(point, &x1[row], "offset {offset}"),
                        _ => {}
                    }
                }
            }
        }
    }
}

#[test]
fn a_call_without_rows_does_nothing() {
    let mut session = Session::new(&Clouds::new(2).model(small(), 1)).expect("a workspace");
    session.generate(&[], 0, 0, &mut []).expect("no rows");
    session.conditional_mean(&[], 1, 0, 0, &mut []).expect("no rows");
    session.trajectory(&[], &[0.5], 0, 0, &mut []).expect("no rows");
    session.trajectory(&[0.5, 0.5], &[], 0, 0, &mut []).expect("no times");
    session.drift(0.5, &[], &mut []).expect("no rows");
    session.density_ratio(&[], &mut []).expect("no rows");
}
