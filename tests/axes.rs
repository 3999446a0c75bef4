//! Samples as users have them: correlated, of unequal scale, clustered in axes of their own. What must hold before any
//! training, whatever the axes, and what the log says of them.

mod problems;

use std::sync::{Arc, Mutex};

use problems::{Clouds, array, bytes, context, normals, scratch, small};
use sfeuot::*;

/// Rows of independent normals taken through a matrix, by rows, and moved.
fn correlated(rows: usize, matrix: &[f64], mean: &[f64], seed: u64) -> Vec<f64> {
    let d = mean.len();
    let noise = normals(rows * d, seed);
    let row = |z: &[f64]| -> Vec<f64> {
        (0..d).map(|j| mean[j] + (0..d).map(|k| matrix[j * d + k] * z[k]).sum::<f64>()).collect()
    };
    noise.chunks(d).flat_map(row).collect()
}

fn mean_of(rows: &[f64], d: usize) -> Vec<f64> {
    let count = (rows.len() / d) as f64;
    (0..d).map(|j| rows.iter().skip(j).step_by(d).sum::<f64>() / count).collect()
}

fn covariance(a: &[f64], b: &[f64], d: usize) -> Vec<f64> {
    let (x, y) = (mean_of(a, d), mean_of(b, d));
    let count = (a.len() / d) as f64;
    let pair = |i: usize| -> f64 {
        let rows = a.chunks(d).zip(b.chunks(d));
        rows.map(|(a, b)| (a[i / d] - x[i / d]) * (b[i % d] - y[i % d])).sum::<f64>() / count
    };
    (0..d * d).map(pair).collect()
}

fn wide(rows: &[f32]) -> Vec<f64> {
    rows.iter().map(|&x| f64::from(x)).collect()
}

fn balanced(sigma: f64) -> TrainerConfig {
    TrainerConfig { divergence: Divergence::Balanced, sigma, ..small() }
}

const ROWS: usize = 20_000;

/// A matrix with lengths 2 and `thin` along axes at 30 degrees.
fn needle_of(thin: f64) -> [f64; 4] {
    let (sine, cosine) = 30f64.to_radians().sin_cos();
    [2.0 * cosine, -thin * sine, 2.0 * sine, thin * cosine]
}

fn needle() -> [f64; 4] {
    needle_of(0.02)
}

/// The plan between correlated Gaussians needs no training: the end has the target's moments, and with the source it has the
/// covariance of the closed form (Janati et al., NeurIPS 2020), in every unit of the data.
#[test]
fn correlated_gaussians_are_right_before_the_first_step() {
    for (unit, thin) in [(1.0, 0.02), (1e6, 0.02), (1.0, 2e-4)] {
        let sigma: f64 = 0.5;
        let source = normals(2 * ROWS, 1);
        let target = correlated(ROWS, &needle_of(thin), &[3.0, -1.0], 2);
        let scaled = |rows: &[f64]| -> Vec<f64> { rows.iter().map(|x| unit * x).collect() };
        let (x, y) = (scaled(&source), scaled(&target));
        let mut trainer =
            Trainer::new(&context(1), balanced(sigma * unit), array(&x, 2), array(&y, 2)).expect("a sound problem");
        let mut session = Session::new(&trainer.model().expect("an untrained one")).expect("memory");
        let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let mut end = vec![0f32; x.len()];
        session.generate(&x, 3, 0, &mut end).expect("sound rows");
        let end: Vec<f64> = wide(&end).iter().map(|x| x / unit).collect();
        let [found, expected] = [&end, &target].map(|rows| (mean_of(rows, 2), covariance(rows, rows, 2)));
        let spread = 2.0;
        for j in 0..2 {
            assert!((found.0[j] - expected.0[j]).abs() < 0.05 * spread, "{found:?} {expected:?}");
        }
        // Along the thin axis, which an error of a hundredth of the long one would hide.
        let (sine, cosine) = 30f64.to_radians().sin_cos();
        let along = |c: &[f64], [a, b]: [f64; 2]| a * a * c[0] + a * b * (c[1] + c[2]) + b * b * c[3];
        for axis in [[cosine, sine], [-sine, cosine]] {
            let ratio = along(&found.1, axis) / along(&expected.1, axis);
            assert!((ratio - 1.0).abs() < 0.1, "{ratio} along {axis:?}");
            // Q has the eigenvalue q along the axis of a variance b: q^2 + sigma^2 q = b.
            let (b, s) = (along(&expected.1, axis), sigma * sigma);
            let q = 0.5 * ((s * s + 4.0 * b).sqrt() - s);
            let with_source = along(&covariance(&source, &end, 2), axis);
            // A sample's correlation with the source is told to one over the root of their number.
            let told = (q + b.sqrt() / (ROWS as f64).sqrt()) * 0.1 + 3.0 * b.sqrt() / (ROWS as f64).sqrt();
            assert!((with_source - q).abs() < told, "{with_source} {q}");
        }
    }
}

/// Numbers of samples whose scales differ by 10^4 all keep their spread.
#[test]
fn a_small_number_is_not_lost_beside_a_large_one() {
    let scales = [1.0, 1e4];
    let scaled = |rows: &[f64]| -> Vec<f64> { rows.iter().enumerate().map(|(i, x)| scales[i % 2] * x).collect() };
    let (source, target) =
        (scaled(&normals(2 * ROWS, 1)), scaled(&correlated(ROWS, &[0.7, 0.0, 0.0, 1.3], &[3.0, 1.0], 2)));
    let config = TrainerConfig { sigma: 0.1, sigma_units: SigmaUnits::Relative, ..balanced(0.1) };
    let mut trainer = Trainer::new(&context(1), config, array(&source, 2), array(&target, 2)).expect("a sound problem");
    for steps in [0, 50] {
        trainer.step(steps).expect("a sound problem");
        let mut session = Session::new(&trainer.model().expect("a model")).expect("memory");
        let x: Vec<f32> = source.iter().map(|&x| x as f32).collect();
        let mut end = vec![0f32; x.len()];
        session.generate(&x, 3, 0, &mut end).expect("sound rows");
        let [found, expected] = [&wide(&end), &target].map(|rows| covariance(rows, rows, 2));
        for j in [0, 3] {
            assert!((found[j] / expected[j] - 1.0).abs() < 0.2, "{found:?} {expected:?} after {steps} steps");
        }
    }
}

/// What is finer than the noise is seen in the last moments of the narrowest column's time alone. A library that does not look
/// there makes one broad heap of two modes.
#[test]
fn a_column_that_is_narrow_beside_another_shows_its_modes() {
    let modes = |rows: usize, seed: u64| -> Vec<f64> {
        // Neighbouring seeds give the same numbers, moved by one.
        let (noise, side) = (normals(rows, seed * 1_000_000), normals(rows, (seed + 1) * 1_000_000));
        // Three rows of five are on the left.
        noise.iter().zip(&side).map(|(noise, side)| if *side < 0.2533 { -1.5 } else { 1.5 } + 0.3 * noise).collect()
    };
    let source: Vec<f64> = normals(2 * ROWS, 1).chunks(2).flat_map(|x| [x[0], 100.0 * x[1]]).collect();
    let target: Vec<f64> = modes(ROWS, 2).iter().zip(&modes(ROWS, 4)).flat_map(|(x, y)| [*x, 100.0 * y]).collect();
    let config = TrainerConfig {
        sigma: 0.1,
        sigma_units: SigmaUnits::Relative,
        hidden_width: 64,
        hidden_layers: 3,
        batch_sources: 64,
        components: 16,
        decay_steps: 1000,
        ..balanced(0.1)
    };
    let mut trainer = Trainer::new(&context(2), config, array(&source, 2), array(&target, 2)).expect("a sound problem");
    trainer.step(1000).expect("a sound problem");
    let model = trainer.model().expect("a model");
    let mut session = Session::new(&model).expect("memory");
    let x: Vec<f32> = source.iter().map(|&x| x as f32).collect();
    let mut end = vec![0f32; x.len()];
    session.generate(&x, 3, 0, &mut end).expect("sound rows");
    for (column, unit) in [(0, 1.0), (1, 100.0)] {
        let share = |inside: &dyn Fn(f32) -> bool| {
            end.iter().skip(column).step_by(2).filter(|&&x| inside(x / unit)).count() as f64 / ROWS as f64
        };
        let (left, between) = (share(&|x| x < 0.0), share(&|x| x.abs() < 0.75));
        assert!((left - 0.6).abs() < 0.08, "column {column} has {left} on the left");
        assert!(between < 0.1, "column {column} has {between} between its modes, where the target has 0.01");
    }

    // A file keeps clock and peaks: a model read from it has the same drift on the way.
    let path = scratch("narrow.model");
    model.save(&path).expect("the target folder is writable");
    let text = String::from_utf8_lossy(&std::fs::read(&path).expect("it was just written")).into_owned();
    assert!(text.contains(r#""sfeuot_format_version":"9""#), "older libraries have to refuse it");
    let read = Model::load(&context(1), &path).expect("it was just written");
    let mut again = Session::new(&read).expect("memory");
    let drift = |session: &mut Session| {
        let mut out = vec![0f32; 20];
        session.drift(0.9, &x[..20], &mut out).expect("sound rows");
        out
    };
    assert_eq!(drift(&mut session), drift(&mut again));
}

#[test]
fn a_path_begins_at_its_source_and_ends_at_what_is_generated() {
    let target = correlated(ROWS, &needle(), &[3.0, -1.0], 2);
    let source = normals(2 * ROWS, 1);
    let mut trainer =
        Trainer::new(&context(1), balanced(0.5), array(&source, 2), array(&target, 2)).expect("a sound problem");
    trainer.step(3).expect("a sound problem");
    let mut session = Session::new(&trainer.model().expect("a model")).expect("memory");
    let x: Vec<f32> = source[..200].iter().map(|&x| x as f32).collect();
    let (mut end, mut path) = (vec![0f32; 200], vec![0f32; 600]);
    session.generate(&x, 3, 0, &mut end).expect("sound rows");
    session.trajectory(&x, &[0.0, 0.5, 1.0], 3, 0, &mut path).expect("sound rows");
    for (r, path) in path.chunks(6).enumerate() {
        for j in 0..2 {
            assert!((path[j] - x[2 * r + j]).abs() < 1e-5 * (1.0 + path[j].abs()), "{path:?}");
            assert!((path[4 + j] - end[2 * r + j]).abs() < 1e-5 * (1.0 + path[4 + j].abs()), "{path:?}");
        }
    }
    // The drift is the gradient of one function of the state: its derivatives across are alike.
    let step = 1e-2f32;
    let at = [0.3f32, -0.2];
    let states = [at[0] + step, at[1], at[0] - step, at[1], at[0], at[1] + step, at[0], at[1] - step];
    let mut drift = [0f32; 8];
    session.drift(0.6, &states, &mut drift).expect("sound states");
    let [across, other] = [(drift[1] - drift[3]) / (2.0 * step), (drift[4] - drift[6]) / (2.0 * step)];
    assert!((across - other).abs() < 0.02 * (1.0 + across.abs()), "{across} {other}");
}

/// A model and a checkpoint keep the axes: what was loaded answers and goes on with the same bits.
#[test]
fn axes_are_kept_in_files() {
    let clouds =
        Clouds { dimension: 2, source: normals(2 * ROWS, 1), target: correlated(ROWS, &needle(), &[3.0, -1.0], 2) };
    let mut trainer = clouds.trainer(&context(1), small());
    trainer.step(2).expect("a sound problem");
    let path = scratch("axes.checkpoint");
    trainer.save(&path).expect("the target folder is writable");
    let (source, target) = (array(&clouds.source, 2), array(&clouds.target, 2));
    let mut again = Trainer::load(&context(1), &path, source, target).expect("its own file");
    for trainer in [&mut trainer, &mut again] {
        trainer.step(2).expect("a sound problem");
    }
    let model = trainer.model().expect("a model");
    let file = bytes(&model, "axes");
    assert!(file == bytes(&again.model().expect("a model"), "axes"));
    let loaded = Model::load_memory(&context(1), &file).expect("its own file");
    let x: Vec<f32> = clouds.source[..64].iter().map(|&x| x as f32).collect();
    let answers = |model: &Model| {
        let mut session = Session::new(model).expect("memory");
        let mut out = vec![0f32; 5 * 64 + 32];
        let (whole, ratio) = out.split_at_mut(5 * 64);
        session.generate(&x, 3, 0, &mut whole[..64]).expect("sound rows");
        session.conditional_mean(&x, 1, 3, 0, &mut whole[64..128]).expect("sound rows");
        session.drift(0.4, &x, &mut whole[128..192]).expect("sound rows");
        session.trajectory(&x, &[0.5, 1.0], 3, 0, &mut whole[192..]).expect("sound rows");
        session.density_ratio(&x, ratio).expect("sound rows");
        out
    };
    assert!(answers(&model) == answers(&loaded));
    // Axes that are none are refused: the tensor comes first.
    let mut bent = file.clone();
    let at = 8 + u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    bent[at..at + 4].copy_from_slice(&3f32.to_le_bytes());
    let refused = Model::load_memory(&context(1), &bent).map(drop).expect_err("no rotation").to_string();
    assert!(refused.contains("'axes' has rows that are not of unit length"), "{refused}");
}

/// A context, and what its log says.
fn heard() -> (Context, Arc<Mutex<String>>) {
    let lines = Arc::new(Mutex::new(String::new()));
    let to = Arc::clone(&lines);
    let config = ContextConfig {
        device: DeviceKind::Cpu,
        threads: 1,
        log_level: LogLevel::Info,
        log: Some(Box::new(move |_: LogLevel, text: &str| {
            to.lock().expect("no panic").push_str(&format!("{text}\n"));
        })),
        ..Default::default()
    };
    (Context::new(config).expect("the processor is always there"), lines)
}

/// The axes of a problem, as the log tells them.
fn told(source: &[f64], target: &[f64], d: usize) -> String {
    let (context, lines) = heard();
    Trainer::new(&context, balanced(0.5), array(source, d), array(target, d)).expect("a sound problem");
    let lines = lines.lock().expect("no panic");
    lines.clone()
}

/// Two clusters along the diagonal, with these matrices.
fn clusters(matrices: [[f64; 4]; 2]) -> Vec<f64> {
    let halves = [0, 1].map(|side| {
        let place = if side == 0 { -6.0 } else { 6.0 };
        correlated(ROWS / 2, &matrices[side], &[place, place], 7 + side as u64)
    });
    halves[0].chunks(2).zip(halves[1].chunks(2)).flat_map(|(a, b)| [a, b].concat()).collect()
}

#[test]
fn the_log_says_which_axes_were_taken() {
    let source = normals(2 * ROWS, 1);
    let along_numbers = clusters([[1.0, 0.0, 0.0, 0.2], [0.2, 0.0, 0.0, 1.0]]);
    let text = told(&source, &along_numbers, 2);
    assert!(text.contains("axes are the numbers of a sample"), "{text}");
    let needle = correlated(ROWS, &needle(), &[0.0; 2], 2);
    assert!(told(&source, &needle, 2).contains("axes are those of the plan between Gaussians"));
    assert!(told(&source, &normals(2 * ROWS, 9), 2).contains("axes are the numbers of a sample"));
    // At 30 degrees, with the clusters along another direction, so that the pooled samples do not have these axes.
    let (sine, cosine) = 30f64.to_radians().sin_cos();
    let turned = |a: f64, b: f64| [a * cosine, -b * sine, a * sine, b * cosine];
    let text = told(&source, &clusters([turned(1.0, 0.1), turned(0.1, 1.0)]), 2);
    assert!(text.contains("axes are those that clusters of the target share"), "{text}");
}

/// Axes that clusters share are found however many clusters there are, also where these take turns, and as all samples tell
/// them: along them the squares of correlations within a cluster are below a share of 8192 samples where there are 48,000, and below
/// one of 65,536 where there are 240,000.
#[test]
fn shared_axes_are_as_precise_as_the_samples() {
    let d = 6;
    // A reflection makes axes that are none of a sample's, and along each a cluster has a spread of its own.
    let along: Vec<f64> = (0..d).map(|j| (j as f64 + 1.0).sqrt()).collect();
    let square: f64 = along.iter().map(|x| x * x).sum();
    let axis = |j: usize, k: usize| f64::from(u8::from(j == k)) - 2.0 * along[j] * along[k] / square;
    let spread = |cluster: usize, j: usize| ((3.7 * cluster as f64 + 1.3) * (j as f64 + 1.0)).sin().exp() * 0.5;
    for (clusters, rows, chance) in [2, 3, 4, 5, 6, 8, 12]
        .map(|k| (k, 48_000, 1.0 / 8192.0))
        .into_iter()
        .chain([3, 7].map(|k| (k, 240_000, 1.0 / 65_536.0)))
    {
        let rows = rows / clusters * clusters;
        let part = |cluster: usize| {
            let matrix: Vec<f64> = (0..d * d).map(|i| axis(i / d, i % d) * spread(cluster, i % d)).collect();
            let mean: Vec<f64> = (0..d).map(|j| if j < 4 { 6.0 * (cluster >> j & 1) as f64 } else { 0.0 }).collect();
            correlated(rows / clusters, &matrix, &mean, 7 + cluster as u64)
        };
        let parts: Vec<Vec<f64>> = (0..clusters).map(part).collect();
        let row = |r: usize| parts[r % clusters][r / clusters * d..][..d].iter().copied();
        let target: Vec<f64> = (0..rows).flat_map(row).collect();
        let source = normals(1000 * d, 1);
        let mut trainer =
            Trainer::new(&context(1), balanced(0.5), array(&source, d), array(&target, d)).expect("a sound problem");
        let file = bytes(&trainer.model().expect("an untrained one"), "shared_axes");
        let tensors = safetensors::SafeTensors::deserialize(&file).expect("a safetensors file");
        let numbers = tensors.tensor("axes").expect("axes of their own").data().to_vec();
        let numbers = numbers.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        let axes: Vec<f64> = numbers.collect();
        // The true covariances in the axes that were found.
        let mut sum = 0.0;
        for cluster in 0..clusters {
            let found = |a: usize, b: usize| -> f64 {
                let on = |row: usize, j: usize| (0..d).map(|k| axes[row * d + k] * axis(k, j)).sum::<f64>();
                (0..d).map(|j| on(a, j) * on(b, j) * spread(cluster, j).powi(2)).sum()
            };
            for (a, b) in (0..d).flat_map(|a| (0..a).map(move |b| (a, b))) {
                sum += found(a, b).powi(2) / (found(a, a) * found(b, b));
            }
        }
        let mean = sum / (clusters * d * (d - 1) / 2) as f64;
        assert!(mean < chance, "{clusters} clusters of {rows} samples: {mean:e}, where {chance:e} is chance");
    }
}

#[test]
fn heavy_tails_are_warned_of() {
    let source = normals(2 * ROWS, 1);
    let heavy: Vec<f64> = normals(2 * ROWS, 2).iter().map(|x| x.exp() * x.exp()).collect();
    let text = told(&source, &heavy, 2);
    assert!(text.contains("of target.samples has heavy tails") && text.contains("logarithm"), "{text}");
    assert!(!told(&source, &normals(2 * ROWS, 3), 2).contains("heavy tails"));
}

/// What the log warns of in a problem of these two sides, before and after its first model.
fn advised(config: TrainerConfig, source: &[f64], target: &[f64], d: usize) -> String {
    let (context, lines) = heard();
    let mut trainer = Trainer::new(&context, config, array(source, d), array(target, d)).expect("a sound problem");
    trainer.model().expect("memory for it");
    let lines = lines.lock().expect("no panic");
    lines.clone()
}

#[test]
fn settings_and_samples_that_are_likely_not_meant_are_warned_of() {
    let (source, target) = (normals(64, 1), normals(64, 2));
    let advice = |config, d| advised(config, &source, &target, d);
    let text = advice(balanced(0.5), 2);
    assert!(text.contains("before the first training step"), "{text}");
    for other in ["fewer than numbers", "matching of points", "hardly depends", "one length"] {
        assert!(!text.contains(other), "{text}");
    }
    let wide = TrainerConfig { sigma_units: SigmaUnits::Relative, ..balanced(4.0) };
    assert!(advice(wide, 2).contains("sigma is 4.0 times"));
    let text = advice(balanced(0.5), 16);
    assert!(
        text.contains("source.samples are 4 samples of 16 numbers") && text.contains("matching of points"),
        "{text}"
    );
    let large = normals(2048, 3);
    assert!(advised(balanced(0.5), &large, &large, 2048).contains("dense layers"));
    // Where axes have lengths of their own, columns may differ; where all have one, they may not.
    let thin: Vec<f64> =
        normals(2 * 4096, 4).iter().enumerate().map(|(i, x)| if i % 2 == 0 { *x } else { 1e-3 * x }).collect();
    let point = TrainerConfig { deterministic: true, latent_dimension: 2, ..balanced(0.5) };
    assert!(!advised(balanced(0.5), &thin, &thin, 2).contains("one length"));
    let text = advised(point, &thin, &thin, 2);
    assert!(text.contains("component 0 varies") && text.contains("component 1"), "{text}");
}

/// A model that was written before problems had axes of their own answers as it did then.
#[test]
fn a_model_of_the_first_version_answers_as_it_did() {
    let folder = problems::fixtures();
    let file = std::fs::read(folder.join("model_version_1.safetensors")).expect("a fixture");
    let answers: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("model_version_1.json")).expect("a fixture")).expect("JSON");
    let of = |name: &str| -> Vec<f32> {
        answers[name].as_array().expect(name).iter().map(|x| x.as_f64().expect(name) as f32).collect()
    };
    let mut session = Session::new(&Model::load_memory(&context(1), &file).expect("version 1")).expect("memory");
    let x = of("x");
    let (mut generated, mut drift, mut ratio) = (vec![0f32; 16], vec![0f32; 16], vec![0f32; 8]);
    session.generate(&x, 9, 0, &mut generated).expect("sound rows");
    session.drift(0.4, &x, &mut drift).expect("sound rows");
    session.density_ratio(&x, &mut ratio).expect("sound rows");
    for (name, found) in [("generated", generated), ("drift", drift), ("ratio", ratio)] {
        for (found, expected) in found.iter().zip(of(name)) {
            assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{name}: {found} {expected}");
        }
    }
}
