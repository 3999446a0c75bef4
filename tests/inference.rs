//! What a model and its sessions promise: noise by (seed, row) alone, paths that are Brownian bridges to the generated
//! ends, a drift and a density ratio of one value function, and the same bits from every copy of a model.

mod problems;

use std::sync::LazyLock;

use problems::*;
use sfeuot::*;

static MODEL: LazyLock<Model> = LazyLock::new(|| Clouds::new(2).model(small(), 60));
static WITH_LATENTS: LazyLock<Model> = LazyLock::new(|| Clouds::new(2).model(with_latents(), 60));

fn session() -> Session {
    Session::new(&MODEL).expect("a workspace")
}

/// 150 rows, so that blocks are full and not.
fn rows() -> Vec<f32> {
    floats(&normals(300, 9))
}

/// The outputs of every call, for comparison by bits.
fn everything(session: &mut Session) -> Vec<Vec<f32>> {
    let x = rows();
    let (mut x1, mut mean, mut drift) = (vec![0f32; 300], vec![0f32; 300], vec![0f32; 300]);
    let (mut path, mut ratio) = (vec![0f32; 900], vec![0f32; 150]);
    session.generate(&x, 7, 1, &mut x1).expect("finite rows");
    session.conditional_mean(&x, 70, 7, 1, &mut mean).expect("finite rows");
    session.trajectory(&x, &[0.1, 0.6, 1.0], 7, 1, &mut path).expect("finite rows");
    session.drift(0.3, &x, &mut drift).expect("finite rows");
    session.density_ratio(&x, &mut ratio).expect("finite rows");
    vec![x1, mean, path, drift, ratio]
}

#[test]
fn noise_is_a_function_of_seed_and_row() {
    for model in [&MODEL, &WITH_LATENTS] {
        noise_is_a_function_of_seed_and_row_for(model);
    }
}

fn noise_is_a_function_of_seed_and_row_for(model: &Model) {
    let (x, times) = (rows(), [0.0, 0.25, 1.0]);
    let mut session = Session::new(model).expect("a workspace");
    let mut call = |x: &[f32], seed, first_row| {
        let mut out = [vec![0f32; x.len()], vec![0f32; x.len()], vec![0f32; 3 * x.len()]];
        session.generate(x, seed, first_row, &mut out[0]).expect("finite rows");
        session.conditional_mean(x, 3, seed, first_row, &mut out[1]).expect("finite rows");
        session.trajectory(x, &times, seed, first_row, &mut out[2]).expect("finite rows");
        out
    };
    let whole = call(&x, 1, 1000);
    let mut pieces = [vec![], vec![], vec![]];
    let mut from = 0;
    for size in [1, 64, 17, 68] {
        let piece = call(&x[2 * from..2 * (from + size)], 1, 1000 + from as u64);
        pieces.iter_mut().zip(piece).for_each(|(all, piece)| all.extend(piece));
        from += size;
    }
    assert!(pieces == whole);
    for (seed, row) in [(2, 1000), (1, 1001)] {
        for (i, (other, whole)) in call(&x, seed, row).iter().zip(&whole).enumerate() {
            // The conditional mean has no noise where the generator has no latents.
            assert_eq!(other == whole, i == 1 && model.info().latent_dimension == 0);
        }
    }
    // Rows with the same x0 get independent draws; the last row's number may wrap.
    let same = call(&[0.5; 4], 1, u64::MAX);
    assert_ne!(same[0][..2], same[0][2..]);
}

#[test]
fn a_path_starts_at_its_source_and_ends_where_generate_does() {
    let x = rows();
    let mut session = session();
    let (mut x1, mut path) = (vec![0f32; 300], vec![0f32; 1500]);
    session.generate(&x, 3, 8, &mut x1).expect("finite rows");
    session.trajectory(&x, &[0.0, 0.0, 0.5, 1.0, 1.0], 3, 8, &mut path).expect("finite rows");
    for (r, path) in path.chunks_exact(10).enumerate() {
        for k in 0..2 {
            let (start, end) = (x[2 * r + k], x1[2 * r + k]);
            assert!(path[k] == start && path[2 + k] == start, "{path:?} {start}");
            assert_eq!(path[6 + k], end);
            assert_eq!(path[8 + k], end);
        }
    }
}

#[test]
fn a_path_between_its_ends_is_a_brownian_bridge() {
    const ROWS: usize = 20_000;
    const TIMES: [f64; 4] = [0.1, 0.35, 0.6, 0.9];
    let x0 = [0.3f32, -1.0];
    let mut session = session();
    let (mut x1, mut path) = (vec![0f32; 2 * ROWS], vec![0f32; 8 * ROWS]);
    session.generate(&x0.repeat(ROWS), 5, 0, &mut x1).expect("finite rows");
    session.trajectory(&x0.repeat(ROWS), &TIMES, 5, 0, &mut path).expect("finite rows");
    let residual = |row: usize, i: usize, k: usize| {
        let line = (1.0 - TIMES[i]) * f64::from(x0[k]) + TIMES[i] * f64::from(x1[2 * row + k]);
        f64::from(path[8 * row + 2 * i + k]) - line
    };
    let mean = |f: &dyn Fn(usize) -> f64| moments((0..ROWS).map(f)).0;
    let variance = MODEL.info().sigma.powi(2);
    assert_eq!(MODEL.info().sigma, 0.5);
    for (j, &t) in TIMES.iter().enumerate() {
        for k in 0..2 {
            assert!(mean(&|row| residual(row, j, k)).abs() < 0.01);
            let end = mean(&|row| residual(row, j, k) * f64::from(x1[2 * row + k]));
            assert!(end.abs() < 0.01, "depends on the end: {end}");
            for (i, &s) in TIMES[..=j].iter().enumerate() {
                let found = mean(&|row| residual(row, i, k) * residual(row, j, k));
                let expected = variance * s * (1.0 - t);
                assert!((found - expected).abs() < 0.03 * variance * 0.25, "{s} {t}: {found} {expected}");
            }
        }
        let across = mean(&|row| residual(row, j, 0) * residual(row, j, 1));
        assert!(across.abs() < 0.03 * variance * 0.25, "{across}");
    }
}

#[test]
fn the_drift_is_the_gradient_that_the_density_ratio_shows() {
    let tau = 2.0;
    // Near the target, where no conjugate is at the end of its range.
    let x: Vec<f32> = rows().iter().map(|x| 1.5 + 0.6 * x).collect();
    for divergence in Divergence::ALL {
        let model = Clouds::new(2).model(TrainerConfig { divergence, tau, ..small() }, 60);
        let mut session = Session::new(&model).expect("a workspace");
        // V(1, y) from its Psi*'.
        let value = |ratio: f32| {
            let ratio = f64::from(ratio);
            match divergence {
                Divergence::Kl => tau * ratio.ln(),
                Divergence::Chi2 => 2.0 * tau * (ratio - 1.0),
                Divergence::Softplus => -tau * (2.0 / ratio - 1.0).ln(),
                Divergence::Balanced => unreachable!("its ratio is 1 whatever the value"),
            }
        };
        let mut drift = vec![0f32; 300];
        session.drift(1.0, &x, &mut drift).expect("finite rows");
        assert!(drift.iter().any(|g| g.abs() > 0.1), "a flat value function shows nothing");
        for k in 0..2 {
            let h = 0.02f32;
            let mut shifted = |by: f32| {
                let mut y = x.clone();
                y.chunks_exact_mut(2).for_each(|y| y[k] += by);
                let mut ratio = vec![0f32; 150];
                session.density_ratio(&y, &mut ratio).expect("finite rows");
                ratio
            };
            for (r, (up, down)) in shifted(h).into_iter().zip(shifted(-h)).enumerate() {
                if divergence == Divergence::Balanced {
                    assert_eq!((up, down), (1.0, 1.0));
                    continue;
                }
                let expected = -(value(up) - value(down)) / f64::from(2.0 * h);
                let found = f64::from(drift[2 * r + k]);
                assert!((found - expected).abs() < 2e-3 * (1.0 + expected.abs()), "{divergence:?} {found} {expected}");
            }
        }
    }
}

#[test]
fn a_value_function_with_peaks_has_a_drift_from_the_first_time_to_the_last() {
    let mut session = Session::new(&clusters(3)).expect("a workspace");
    let [mut start, mut early, mut end] = [(); 3].map(|()| vec![0f32; 300]);
    for (time, drift) in [(0.0, &mut start), (1e-5, &mut early), (1.0, &mut end)] {
        session.drift(time, &rows(), drift).expect("finite rows");
    }
    assert!(end.iter().all(|x| x.is_finite()));
    for (start, early) in start.iter().zip(&early) {
        assert!((start - early).abs() < 2e-3 * (1.0 + start.abs()), "{start} {early}");
    }
}

#[test]
fn the_conditional_mean_is_the_mean_of_what_is_generated() {
    const DRAWS: usize = 20_000;
    for (model, x0) in [(&MODEL, [0.0f32, 0.0]), (&MODEL, [1.5, -2.0]), (&WITH_LATENTS, [0.5, 0.5])] {
        let mut session = Session::new(model).expect("a workspace");
        let mut x1 = vec![0f32; 2 * DRAWS];
        session.generate(&x0.repeat(DRAWS), 2, 0, &mut x1).expect("finite rows");
        let mut mean = [0f32; 2];
        session.conditional_mean(&x0, DRAWS, 3, 0, &mut mean).expect("finite rows");
        for k in 0..2 {
            let (expected, variance) = moments(x1.iter().skip(k).step_by(2).map(|&x| x.into()));
            let error = (2.0 * variance / DRAWS as f64).sqrt();
            assert!((f64::from(mean[k]) - expected).abs() < 4.0 * error, "{mean:?} {expected} {error}");
        }
    }
}

#[test]
fn every_copy_of_a_model_gives_the_same_bits() {
    let expected = everything(&mut session());
    let path = scratch("copy.model");
    MODEL.save(&path).expect("the target folder is writable");
    let file = std::fs::read(&path).expect("the file was written");
    let loaded = [
        Model::load(&context(1), &path).expect("a good file"),
        Model::load_memory(&context(3), &file).expect("a good file"),
    ];
    for model in loaded {
        assert_eq!(model.info(), MODEL.info());
        let mut session = Session::new(&model).expect("a workspace");
        assert!(everything(&mut session) == expected);
        assert!(everything(&mut session) == expected, "a session remembers nothing");
        assert!(bytes(&model, "again") == file);
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| everything(&mut session()))).collect();
        for thread in threads {
            assert!(thread.join().expect("no panic") == expected);
        }
    });
}

#[test]
fn a_sample_keeps_its_shape() {
    let values = floats(&normals(240, 4));
    let view = || TensorView::from_f32(&values, &[20, 2, 3, 2]).expect("whole rows");
    let mut trainer =
        Trainer::new(&context(1), small(), Data::array(view()), Data::array(view())).expect("a sound problem");
    trainer.step(3).expect("a sound problem");
    let model = trainer.model().unwrap();
    let info = model.info();
    assert_eq!((&info.sample_shape[..], info.dimension, info.steps), (&[2, 3, 2][..], 12, 3));
    // Both networks: (12 + 1, 20, 20, 1) and (12, 20, 20, 5 (2 * 12 + 1)), weights and biases.
    assert_eq!(info.parameters, (25 * 20 + 20 + 420 + 21) + (24 * 20 + 20 + 420 + 20 * 125 + 125));
    assert_eq!((info.latent_dimension, info.components), (0, 5));
    let loaded = Model::load_memory(&context(1), &bytes(&model, "shape")).expect("a good file");
    assert_eq!(loaded.info(), info);
    let mut out = vec![0f32; 240];
    Session::new(&loaded).expect("a workspace").generate(&values, 0, 0, &mut out).expect("finite rows");
    assert!(out.iter().all(|x| x.is_finite()));
}

/// A description is read without trust: what the weights do not fit, or no training makes, is named.
#[test]
fn a_file_that_describes_no_generator_is_refused() {
    let file = bytes(&MODEL, "described");
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header = String::from_utf8(file[8..8 + length].to_vec()).expect("a header is text");
    for (from, to, part) in [
        ("components\\\":5", "components\\\":0", "components is 0"),
        ("components\\\":5", "components\\\":4", "generator"),
        ("squares\\\":true", "squares\\\":false", "value"),
        ("mean_squares\\\":[[", "mean_squares\\\":[[1.0,", "bridge.mean_squares"),
        ("deterministic\\\":false", "deterministic\\\":true ", "latent_dimension is 0"),
    ] {
        assert!(header.contains(from), "{header}");
        let header = header.replace(from, to);
        let changed = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[8 + length..]].concat();
        let error = Model::load_memory(&context(1), &changed).err().expect(to);
        assert!(matches!(error, Error::Format(_)) && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_refused_call_writes_nothing_and_names_the_argument() {
    let mut session = session();
    let good = [0.5f32, 1.0];
    let bad = [0.5, f32::NAN];
    let mut out = [7f32; 4];
    let mut one = [7f32; 1];
    let refusals = [
        ("generated", session.generate(&[], 0, 0, &mut out)),
        ("source", session.generate(&good[..1], 0, 0, &mut out)),
        ("source", session.generate(&bad, 0, 0, &mut out[..2])),
        ("generated", session.generate(&good, 0, 0, &mut out)),
        ("latents", session.conditional_mean(&good, 0, 0, 0, &mut out[..2])),
        ("mean", session.conditional_mean(&good, 1, 0, 0, &mut out)),
        ("path", session.trajectory(&good, &[], 0, 0, &mut out)),
        ("times[1]", session.trajectory(&good, &[0.5, 0.4], 0, 0, &mut out)),
        ("times[1]", session.trajectory(&good, &[0.5, 1.1], 0, 0, &mut out)),
        ("times[0]", session.trajectory(&good, &[f64::NAN, 1.0], 0, 0, &mut out)),
        ("path", session.trajectory(&good, &[0.5], 0, 0, &mut out)),
        ("source", session.trajectory(&bad, &[0.5, 0.6], 0, 0, &mut out)),
        ("time", session.drift(-0.1, &good, &mut out[..2])),
        ("time", session.drift(f64::NAN, &good, &mut out[..2])),
        ("state", session.drift(0.5, &bad, &mut out[..2])),
        ("drift", session.drift(0.5, &good, &mut out[..1])),
        ("target", session.density_ratio(&bad, &mut one)),
        ("ratio", session.density_ratio(&good, &mut out)),
    ];
    for (name, refusal) in refusals {
        let error = refusal.expect_err(name);
        assert!(matches!(error, Error::InvalidArgument(_)) && error.to_string().starts_with(name), "{name}: {error}");
    }
    assert_eq!((out, one), ([7.0; 4], [7.0]));
}

#[test]
fn rows_beyond_computing_are_refused_and_nothing_is_written() {
    let mut session = Session::new(&MODEL).expect("a workspace");
    for far in [f32::NAN, f32::INFINITY, 3e38, -3e38] {
        let x = [0.5, 0.5, 0.5, far];
        let mut out = [7f32; 4];
        let errors = [
            session.generate(&x, 1, 0, &mut out),
            session.conditional_mean(&x, 3, 1, 0, &mut out),
            session.trajectory(&x, &[0.5], 1, 0, &mut out),
            session.drift(0.5, &x, &mut out),
            session.density_ratio(&x, &mut out[..2]),
        ];
        for error in errors {
            let text = error.expect_err("out of range").to_string();
            assert!(text.contains("row 1, number 1"), "{text}");
        }
        assert_eq!(out, [7f32; 4]);
    }
}
