//! Trainings that begin with clusters of the target: a component for each, where the host leaves their number open.

mod problems;

use problems::{array, bytes, context, normals, scratch, small};
use sfeuot::*;

const D: usize = 6;

/// Samples of so many Gaussians with spreads of their own along each number, which take turns.
fn gaussians(count: usize, rows: usize) -> Vec<f64> {
    let wave = |k: usize, j: usize| ((3.7 * k as f64 + 1.3) * (j as f64 + 1.0)).sin();
    let noise = normals(rows * D, 5);
    let number = |(i, z): (usize, f64)| {
        let (k, j) = (i / D % count, i % D);
        4.0 * wave(k, j) + z * 0.4 * wave(k + 50, j).exp()
    };
    noise.into_iter().enumerate().map(number).collect()
}

fn trainer(target: &[f64], components: usize, batch_sources: usize) -> Trainer {
    let config = TrainerConfig { divergence: Divergence::Balanced, components, batch_sources, ..small() };
    let source = normals(20_000 * D, 1);
    Trainer::new(&context(1), config, array(&source, D), array(target, D)).expect("a sound problem")
}

/// Returns the largest difference between shares of the clusters that a trainer's model makes before the first step and theirs.
fn share_off(trainer: &mut Trainer, clusters: usize, target: &[f64]) -> f64 {
    let nearest = |row: &[f64]| -> usize {
        let away = |k: usize| -> f64 {
            let mean = |j: usize| 4.0 * ((3.7 * k as f64 + 1.3) * (j as f64 + 1.0)).sin();
            row.iter().enumerate().map(|(j, x)| (x - mean(j)).powi(2)).sum()
        };
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
    // None where there is no end of clusters.
    let curve: Vec<f64> = (0..240_000)
        .map(|i| {
            let (row, j) = (i / D, i % D);
            (0.001 * row as f64 * (1.0 + j as f64)).sin() + 0.02 * ((i * 7919 % 1000) as f64 / 1000.0)
        })
        .collect();
    assert_eq!(trainer(&curve, 0, 0).config().components, 8);
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
