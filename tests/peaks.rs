//! Trainings that begin with clusters of the target: a component for each, where the host leaves their number open.

mod problems;

use problems::{array, bytes, context, normals, scratch, small};
use sfeuot::*;

const D: usize = 6;

fn wave(k: usize, j: usize) -> f64 {
    ((3.7 * k as f64 + 1.3) * (j as f64 + 1.0)).sin()
}

/// Samples of so many Gaussians with spreads of their own along each number, which take turns.
fn gaussians(count: usize, rows: usize) -> Vec<f64> {
    let number = |(i, z): (usize, f64)| {
        let (k, j) = (i / D % count, i % D);
        4.0 * wave(k, j) + z * 0.4 * wave(k + 50, j).exp()
    };
    normals(rows * D, 5).into_iter().enumerate().map(number).collect()
}

fn with(config: TrainerConfig, d: usize, target: Data<'_>) -> Trainer {
    let source = normals(20_000 * d, 1);
    Trainer::new(&context(1), config, array(&source, d), target).expect("a sound problem")
}

fn trainer(target: &[f64], components: usize, batch_sources: usize) -> Trainer {
    let config = TrainerConfig { divergence: Divergence::Balanced, components, batch_sources, ..small() };
    with(config, D, array(target, D))
}

/// Returns the largest difference between shares of the clusters that a trainer's model makes before the first step and theirs.
fn share_off(trainer: &mut Trainer, clusters: usize, target: &[f64]) -> f64 {
    let nearest = |row: &[f64]| -> usize {
        let away = |k: usize| -> f64 { row.iter().enumerate().map(|(j, x)| (x - 4.0 * wave(k, j)).powi(2)).sum() };
        (0..clusters).min_by(|a, b| away(*a).total_cmp(&away(*b))).expect("some")
    };
    let shares = |rows: &[f64]| {
        let mut shares = vec![0.0; clusters];
        rows.chunks_exact(D).for_each(|row| shares[nearest(row)] += D as f64 / rows.len() as f64);
        shares
    };
    let model = trainer.model().expect("an untrained one");
    let mut session = Session::new(&model).expect("a session");
    let rows = 10_000;
    let x0: Vec<f32> = normals(rows * D, 9).into_iter().map(|x| x as f32).collect();
    let mut x1 = vec![0f32; rows * D];
    session.generate(&x0, 3, 0, &mut x1).expect("finite");
    let made: Vec<f64> = x1.into_iter().map(f64::from).collect();
    shares(&made).iter().zip(shares(target)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn more_clusters_than_components_are_usual_have_one_each() {
    for (clusters, components) in [(5, 8), (12, 16), (24, 32)] {
        let target = gaussians(clusters, 40_000);
        let mut open = trainer(&target, 0, 0);
        assert_eq!((open.config().components, open.config().batch_sources), (components, 1024 / components.max(8)));
        let off = share_off(&mut open, clusters, &target);
        assert!(off < 0.01, "{clusters} clusters: a share is off by {off}");
        // The same training as one that says how many.
        let mut said = trainer(&target, components, 1024 / components);
        assert_eq!(open.memory(), said.memory());
        for trainer in [&mut open, &mut said] {
            trainer.step(2).expect("finite");
        }
        assert!(bytes(&open.model().expect("a model"), "open") == bytes(&said.model().expect("a model"), "said"));
    }
}

#[test]
fn components_that_are_given_stay() {
    let target = gaussians(12, 40_000);
    assert_eq!(trainer(&target, 8, 0).config().components, 8);
    let open = trainer(&target, 0, 9);
    assert_eq!((open.config().components, open.config().batch_sources), (16, 9));
    let open = TrainerConfig { divergence: Divergence::Balanced, components: 0, ..small() };
    let forms = [
        TrainerConfig { divergence: Divergence::Kl, ..open.clone() },
        TrainerConfig { latent_dimension: 2, ..open.clone() },
    ];
    for config in forms {
        assert_eq!(with(config, D, array(&target, D)).config().components, 8);
    }
    // As many as few samples tell.
    assert_eq!(with(open, D, array(&gaussians(12, 300), D)).config().components, 8);
}

/// What a file says of the peaks' own axes.
fn has_own_axes(model: &Model) -> bool {
    String::from_utf8_lossy(&bytes(model, "axes")).contains("axes\\\":true")
}

/// Curves are tiled along them, or take no more components than usual, and thin ones have no peaks, however many along the
/// numbers of a sample would describe them better.
#[test]
fn curves_are_tiled_along_them() {
    for (d, usual) in [(2, 16), (6, 8)] {
        for width in [0.01, 0.03, 0.1, 0.3] {
            let number = |(i, z): (usize, f64)| {
                let turn = (i / d) as f64 * 0.618_033_988_749_895 % 1.0 * std::f64::consts::TAU;
                [turn.cos(), turn.sin(), (2.0 * turn).cos()][i % d % 3] + width * z
            };
            let target: Vec<f64> = normals(20_000 * d, 3).into_iter().enumerate().map(number).collect();
            let config = TrainerConfig { divergence: Divergence::Balanced, components: 0, ..small() };
            let mut trainer = with(config, d, array(&target, d));
            let components = trainer.config().components;
            let model = trainer.model().expect("an untrained one");
            if has_own_axes(&model) {
                continue;
            }
            assert_eq!(components, usual, "width {width}");
            let file = bytes(&model, "curve");
            // As many as usual may be enough for a wide one.
            assert!(
                width > 0.2 || !String::from_utf8_lossy(&file).contains("\\\"peaks\\\""),
                "width {width} in {d} numbers"
            );
        }
    }
}

/// Samples of three Gaussians, each with spreads from 0.2 to 1 along axes of its own, which take turns.
fn in_own_axes(rows: usize) -> Vec<f64> {
    let mut target = normals(rows * 3, 5);
    for (row, x) in target.chunks_exact_mut(3).enumerate() {
        let k = row % 3;
        for (spread, x) in [0.2, 0.5, 1.0].into_iter().zip(x.iter_mut()) {
            *x *= spread;
        }
        for (i, j, angle) in [(0, 1, 0.5 + k as f64), (1, 2, 0.9 - 0.8 * k as f64), (0, 2, 0.4 * k as f64)] {
            let (sine, cosine) = f64::sin_cos(angle);
            (x[i], x[j]) = (cosine * x[i] - sine * x[j], sine * x[i] + cosine * x[j]);
        }
        x.iter_mut().enumerate().for_each(|(j, x)| *x += 2.5 * wave(k, j));
    }
    target
}

/// What a training begins with has the covariances of its clusters, which none along shared axes has, and steps leave them.
#[test]
fn clusters_with_axes_of_their_own_have_components_along_these() {
    let rows = 30_000;
    let target = in_own_axes(rows);
    let config =
        TrainerConfig { divergence: Divergence::Balanced, sigma: 1.0, sigma_units: SigmaUnits::Data, ..small() };
    let mut trainer = with(config, 3, array(&target, 3));
    for steps in [0, 30] {
        if steps > 0 {
            trainer.step(steps).expect("finite");
        }
        let model = trainer.model().expect("a model");
        assert!(has_own_axes(&model));
        let mut session = Session::new(&model).expect("a session");
        let x0: Vec<f32> = normals(rows * 3, 9).into_iter().map(|x| x as f32).collect();
        let mut x1 = vec![0f32; rows * 3];
        session.generate(&x0, 3, 0, &mut x1).expect("finite");
        let made: Vec<f64> = x1.into_iter().map(f64::from).collect();
        for k in 0..3 {
            let [made, expected] = [&made, &target].map(|samples| moments_near(samples, k));
            for (made, expected) in made.iter().zip(&expected) {
                assert!((made - expected).abs() < 0.06, "cluster {k} after {steps} steps: {made} and {expected}");
            }
        }
        // The mean of what is generated for one sample is the mean that is told.
        let mut mean = [0f32; 3];
        session.conditional_mean(&x0[..3], 1, 0, 0, &mut mean).expect("components that are all known");
        let same: Vec<f32> = (0..rows).flat_map(|_| x0[..3].to_vec()).collect();
        let mut drawn = vec![0f32; rows * 3];
        session.generate(&same, 4, 0, &mut drawn).expect("finite");
        for (j, mean) in mean.into_iter().enumerate() {
            let drawn = drawn.iter().skip(j).step_by(3).map(|&x| f64::from(x)).sum::<f64>() / rows as f64;
            assert!((drawn - f64::from(mean)).abs() < 0.05, "{drawn} and {mean}");
        }
    }
}

/// Share, mean and second moments of the samples that are nearest to a cluster.
fn moments_near(samples: &[f64], cluster: usize) -> Vec<f64> {
    let away =
        |row: &[f64], k: usize| -> f64 { row.iter().enumerate().map(|(j, x)| (x - 2.5 * wave(k, j)).powi(2)).sum() };
    let near = |row: &&[f64]| (0..3).all(|k| away(row, cluster) <= away(row, k));
    let own: Vec<&[f64]> = samples.chunks_exact(3).filter(near).collect();
    let count = own.len() as f64;
    let mean: Vec<f64> = (0..3).map(|j| own.iter().map(|row| row[j]).sum::<f64>() / count).collect();
    let mut moments = vec![3.0 * count / samples.len() as f64];
    for i in 0..3 {
        for j in 0..3 {
            moments.push(own.iter().map(|row| (row[i] - mean[i]) * (row[j] - mean[j])).sum::<f64>() / count);
        }
    }
    moments.extend(mean);
    moments
}

#[test]
fn files_keep_axes_of_peaks() {
    let (source, target) = (normals(20_000 * 3, 1), in_own_axes(20_000));
    let config = TrainerConfig { divergence: Divergence::Balanced, ..small() };
    let mut first = with(config, 3, array(&target, 3));
    let path = scratch("own_axes_checkpoint");
    first.save(&path).expect("written");
    let mut second = Trainer::load(&context(1), &path, array(&source, 3), array(&target, 3)).expect("the same samples");
    assert_eq!(first.memory(), second.memory());
    for trainer in [&mut first, &mut second] {
        trainer.step(2).expect("finite");
    }
    let [first, second] = [&mut first, &mut second].map(|trainer| trainer.model().expect("a model"));
    let file = bytes(&first, "first");
    assert!(has_own_axes(&first) && file == bytes(&second, "second"));
    let read = Model::load_memory(&context(1), &file).expect("a model's file");
    let made = [&first, &read].map(|model| {
        let mut x1 = [0f32; 30];
        let x0: Vec<f32> = normals(30, 4).into_iter().map(|x| x as f32).collect();
        Session::new(model).expect("a session").generate(&x0, 3, 0, &mut x1).expect("finite");
        x1
    });
    assert_eq!(made[0], made[1]);
    // Axes that are no rotation are refused.
    let mut bent = file.clone();
    let header = 8 + u64::from_le_bytes(bent[..8].try_into().expect("8 bytes")) as usize;
    let text = String::from_utf8_lossy(&bent[8..header]).into_owned();
    let place = text.find("\"peaks.axes\"").expect("a tensor of axes");
    let from: usize = text[place..]
        .split("\"data_offsets\":[")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .and_then(|from| from.parse().ok())
        .expect("an offset");
    bent[header + from..header + from + 4].copy_from_slice(&2f32.to_le_bytes());
    let error = Model::load_memory(&context(1), &bent).map(drop).expect_err("bent axes");
    assert!(error.to_string().contains("peaks.axes"), "{error}");
}

/// Where hardly any sample has a weight, some of what is told by parts of the samples has none.
#[test]
fn samples_of_which_few_have_weights_can_be_measured() {
    let target = gaussians(3, 20_000);
    for mask in 0..20 {
        let weights: Vec<f64> = (0..20_000)
            .map(|row: u64| {
                let drawn = (row + 20_000 * mask).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
                f64::from(u8::from(drawn.is_multiple_of(2000)))
            })
            .collect();
        for divergence in [Divergence::Kl, Divergence::Balanced] {
            let weights = TensorView::from_f64(&weights, &[20_000]).expect("as many");
            let config = TrainerConfig { divergence, components: 0, ..small() };
            with(config, D, Data::weighted(problems::view(&target, D), weights));
        }
    }
}

#[test]
fn a_checkpoint_keeps_how_many_were_taken() {
    let target = gaussians(12, 20_000);
    let mut first = trainer(&target, 0, 0);
    let path = scratch("peaks_checkpoint");
    first.save(&path).expect("written");
    let source = normals(20_000 * D, 1);
    let mut second = Trainer::load(&context(1), &path, array(&source, D), array(&target, D)).expect("the same samples");
    assert_eq!(second.config().components, 16);
    assert_eq!(first.memory(), second.memory());
    for trainer in [&mut first, &mut second] {
        trainer.step(2).expect("finite");
    }
    assert!(bytes(&first.model().expect("a model"), "first") == bytes(&second.model().expect("a model"), "second"));
}
