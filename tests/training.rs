//! What a training promises: the same bits for any number of threads and across a checkpoint, independence of the
//! data's units, and that it finds the transport.

mod problems;

use problems::*;
use sfeuot::*;

/// Everything but the speed.
fn timeless(metrics: Metrics) -> Metrics {
    Metrics { steps_per_second: 0.0, ..metrics }
}

fn assert_finite(metrics: &Metrics) {
    let m = metrics;
    for value in [m.dual, m.generator_loss, m.potential, m.action, m.density_ratio_mean] {
        assert!(value.is_finite(), "{m:?}");
    }
    assert!(m.value_gradient_norm > 0.0 && m.generator_gradient_norm > 0.0, "{m:?}");
    assert_eq!(m.dual, -m.value_loss);
}

#[test]
fn any_number_of_threads_gives_the_same_bits_for_any_batch() {
    let clouds = Clouds::new(3);
    for (sources, components) in [(1, 1), (7, 5), (70, 1), (3, 100), (129, 7), (300, 16), (2500, 8)] {
        for form in forms() {
            let train = |threads| {
                let config = TrainerConfig { batch_sources: sources, components, ..form.clone() };
                let mut trainer = clouds.trainer(&context(threads), config);
                let metrics = trainer.step(4).expect("a sound problem");
                assert_finite(&metrics);
                (timeless(metrics), bytes(&trainer.model().unwrap(), "threads"))
            };
            let alone = train(1);
            for threads in 2..=4 {
                assert!(train(threads) == alone, "{sources} x {components}, {threads} threads");
            }
        }
    }
}

#[test]
fn a_training_goes_on_bit_for_bit_from_its_checkpoint_and_in_single_steps() {
    let clouds = Clouds::new(2);
    let weights: Vec<f64> = (0..SAMPLES).map(|i| (i % 5) as f64).collect();
    let weights = || TensorView::from_f64(&weights, &[SAMPLES]).expect("one weight a sample");
    let decay = TrainerConfig { decay_steps: 15, gradient_clip: 0.1, ..small() };
    for (config, weighted) in [(small(), false), (with_latents(), false), (decay.clone(), false), (decay, true)] {
        let data = || {
            let (source, target) = (view(&clouds.source, 2), view(&clouds.target, 2));
            if weighted {
                (Data::weighted(source, weights()), Data::weighted(target, weights()))
            } else {
                (Data::array(source), Data::array(target))
            }
        };
        let start = || {
            let (source, target) = data();
            Trainer::new(&context(1), config.clone(), source, target).expect("a sound problem")
        };
        let mut whole = start();
        let expected = timeless(whole.step(20).expect("a sound problem"));
        let model = bytes(&whole.model().unwrap(), "whole");

        let mut single = start();
        for _ in 0..20 {
            single.step(1).expect("a sound problem");
        }
        assert_eq!(timeless(single.metrics()), expected);
        assert!(bytes(&single.model().unwrap(), "single") == model, "{config:?}");

        let path = scratch("half.checkpoint");
        let mut half = start();
        half.step(10).expect("a sound problem");
        half.save(&path).expect("the target folder is writable");
        let (source, target) = data();
        let mut half = Trainer::load(&context(2), &path, source, target).expect("a good checkpoint");
        assert_eq!(half.metrics().step, 10);
        assert_eq!(*half.config(), config);
        assert_eq!(timeless(half.step(10).expect("a sound problem")), expected);
        assert!(bytes(&half.model().unwrap(), "half") == model, "{config:?}");

        let (_, target) = data();
        let other: Vec<f64> = clouds.source.iter().map(|x| x + 1e-3).collect();
        let refused = Trainer::load(&context(1), &path, array(&other, 2), target).err().expect("other data");
        assert!(matches!(refused, Error::InvalidArgument(_)) && refused.to_string().contains("source"), "{refused}");
    }
}

#[test]
fn the_map_does_not_depend_on_the_units_of_the_data() {
    let clouds = Clouds::new(2);
    let (factor, shift) = (1000.0, 1e4);
    let far = |values: &[f64]| values.iter().map(|x| x * factor + shift).collect::<Vec<_>>();
    let far = Clouds { dimension: 2, source: far(&clouds.source), target: far(&clouds.target) };
    let draw = |clouds: &Clouds, config| {
        let model = clouds.model(config, 30);
        let mut out = vec![0f32; clouds.source.len()];
        let mut session = Session::new(&model).expect("a workspace");
        session.generate(&floats(&clouds.source), 5, 0, &mut out).expect("finite rows");
        (out, model.info().clone())
    };
    let (near, info) = draw(&clouds, small());
    let absolute = TrainerConfig { sigma: 0.5 * factor, tau: factor * factor, ..small() };
    let scale = info.data_scale;
    let relative =
        TrainerConfig { sigma: 0.5 / scale, tau: 0.5 / scale.powi(2), sigma_units: SigmaUnits::Relative, ..small() };
    for config in [absolute, relative] {
        let (out, far_info) = draw(&far, config);
        for (expected, found) in [
            (info.sigma * factor, far_info.sigma),
            (info.tau * factor * factor, far_info.tau),
            (info.data_scale * factor, far_info.data_scale),
        ] {
            assert!((found / expected - 1.0).abs() < 1e-9, "{expected} {found}");
        }
        for (near, found) in near.iter().zip(&out) {
            let expected = f64::from(*near) * factor + shift;
            assert!((f64::from(*found) - expected).abs() < 1e-3 * factor, "{expected} {found}");
        }
    }
}

#[test]
fn bytes_are_the_numbers_they_stand_for() {
    let pixels = |seed| -> Vec<u8> { normals(300, seed).iter().map(|x| (128.0 + 40.0 * x) as u8).collect() };
    let (source, target) = (pixels(1), pixels(2));
    fn data(values: &[u8]) -> Data<'_> {
        let view = TensorView::from_u8(values, &[100, 3]).and_then(|view| view.scaled(1.0 / 255.0, 0.0));
        Data::array(view.expect("whole rows"))
    }
    let config = || TrainerConfig { sigma: 0.1, ..small() };
    let mut of_bytes = Trainer::new(&context(1), config(), data(&source), data(&target)).expect("a sound problem");
    let real = |values: &[u8]| values.iter().map(|&x| f64::from(x) * (1.0 / 255.0)).collect::<Vec<_>>();
    let mut of_reals =
        Clouds { dimension: 3, source: real(&source), target: real(&target) }.trainer(&context(1), config());
    of_bytes.step(5).expect("a sound problem");
    of_reals.step(5).expect("a sound problem");
    assert!(bytes(&of_bytes.model().unwrap(), "u8") == bytes(&of_reals.model().unwrap(), "f64"));
}

#[test]
fn a_weight_counts_as_that_many_samples() {
    // Grids, whose numbers have nothing to do with each other whatever the rows and the columns weigh.
    let grid =
        |shift: f64| -> Vec<f64> { (0..36).flat_map(|i| [f64::from(i / 6) - shift, 0.7 * f64::from(i % 6)]).collect() };
    let weights =
        |rows: [f64; 6], columns: [f64; 6]| -> Vec<f64> { (0..36).map(|i| rows[i / 6] * columns[i % 6]).collect() };
    let (source, target) = (grid(4.0), grid(0.0));
    let source_weights = weights([3.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 2.0]);
    let target_weights = weights([1.0, 1.0, 1.0, 1.0, 2.0, 7.0], [3.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let ones = vec![1.0; 36];
    let repeated = |rows: &[f64], weights: &[f64]| -> Vec<f64> {
        rows.chunks(2).zip(weights).flat_map(|(row, &weight)| row.repeat(weight as usize)).collect()
    };
    // Networks that stay as they are turn a batch's mean into that of a fixed function of the samples. The potential shows
    // whether samples are drawn as the moments say that the training starts from; the dual shows those. Repeated samples tell
    // more of clusters than weighted ones, which a generator with latents does not begin with.
    let still = TrainerConfig {
        divergence: Divergence::Balanced,
        latent_dimension: 1,
        generator_learning_rate: 1e-30,
        value_learning_rate: 1e-30,
        batch_sources: 64,
        ..small()
    };
    let terms = |source: Data<'_>, target: Data<'_>| {
        let mut trainer = Trainer::new(&context(1), still.clone(), source, target).expect("a sound problem");
        let steps: Vec<_> = (0..200).map(|_| trainer.step(1).expect("a sound problem")).collect();
        [moments(steps.iter().map(|m| m.potential)), moments(steps.iter().map(|m| m.dual))]
    };
    let weighted = |ws: &[f64], wt: &[f64]| {
        let weights = |w| TensorView::from_f64(w, &[36]).expect("one weight a sample");
        terms(Data::weighted(view(&source, 2), weights(ws)), Data::weighted(view(&target, 2), weights(wt)))
    };
    let expected = terms(array(&repeated(&source, &source_weights), 2), array(&repeated(&target, &target_weights), 2));
    let found = weighted(&source_weights, &target_weights);
    let error = |(_, variance): (f64, f64)| (2.0 * variance / 200.0).sqrt();
    for (found, expected) in found.into_iter().zip(expected) {
        assert!((found.0 - expected.0).abs() < 4.0 * error(found), "{found:?} {expected:?}");
    }
    for (ws, wt) in [(&ones, &target_weights), (&source_weights, &ones)] {
        let other = weighted(ws, wt)[1];
        assert!(
            (other.0 - expected[1].0).abs() > 8.0 * error(found[1]),
            "the weights made no difference: {other:?} {expected:?}"
        );
    }
}

#[test]
fn every_activation_and_divergence_trains() {
    // Two clouds on the target's side: no Gaussian is near.
    let mut clouds = Clouds::new(2);
    for (i, y) in clouds.target.chunks_exact_mut(2).enumerate() {
        let side = if i % 2 == 0 { 2.0 } else { -2.0 };
        y.iter_mut().for_each(|y| *y = side + 0.3 * (*y - 1.5));
    }
    // Mean squared distance from the nearer cloud's centre.
    let away = |rows: &[f32]| {
        let of = |x: &[f32]| {
            let to = |centre: f64| x.iter().map(|&x| (f64::from(x) - centre).powi(2)).sum::<f64>();
            to(2.0).min(to(-2.0))
        };
        moments(rows.chunks_exact(2).map(of)).0
    };
    let source = floats(&clouds.source);
    let generated = |model: &Model| {
        let mut x1 = vec![0f32; source.len()];
        Session::new(model).and_then(|mut session| session.generate(&source, 3, 0, &mut x1)).expect("finite rows");
        x1
    };
    for activation in Activation::ALL {
        for divergence in Divergence::ALL {
            let config = TrainerConfig {
                activation,
                divergence,
                batch_sources: 32,
                generator_learning_rate: 1e-2,
                value_learning_rate: 3e-3,
                ..small()
            };
            let mut trainer = clouds.trainer(&context(1), config);
            // Balanced, a training begins with both clouds; it must not lose them.
            let before = away(&generated(&trainer.model().expect("a model"))).max(0.1 * away(&source));
            let last = trainer.step(400).expect("a sound problem");
            assert_finite(&last);
            let after = away(&generated(&trainer.model().expect("a model")));
            assert!(after < 0.5 * before, "{activation:?} {divergence:?}: {after} {before}");
            let ratio = last.density_ratio_mean;
            assert!(divergence != Divergence::Balanced || ratio == 1.0, "{ratio}");
        }
    }
}

#[test]
fn a_deterministic_generator_has_no_noise_but_its_latent() {
    let clouds = Clouds::new(2);
    let rows = floats(&clouds.source);
    for deterministic in [true, false] {
        let model = clouds.model(TrainerConfig { deterministic, ..with_latents() }, 20);
        let mut session = Session::new(&model).expect("a workspace");
        let (mut x1, mut mean, mut other) = (vec![0f32; rows.len()], vec![0f32; rows.len()], vec![0f32; rows.len()]);
        session.generate(&rows, 3, 0, &mut x1).expect("finite rows");
        session.generate(&rows, 4, 0, &mut other).expect("finite rows");
        // Over a single latent the mean keeps the latent and leaves the Gaussian out.
        session.conditional_mean(&rows, 1, 3, 0, &mut mean).expect("finite rows");
        let distance = x1.iter().zip(&mean).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert_eq!(distance < 1e-5, deterministic, "{distance}");
        assert_ne!(x1, other, "the latent has no influence");
    }
}

#[test]
fn a_shifted_gaussian_is_learnt() {
    let source = normals(4000, 1);
    let target: Vec<f64> = normals(4000, 2).iter().map(|x| 2.0 + 0.6 * x).collect();
    let config = TrainerConfig {
        divergence: Divergence::Balanced,
        sigma: 0.5,
        sigma_units: SigmaUnits::Data,
        hidden_width: 32,
        hidden_layers: 2,
        batch_sources: 64,
        components: 8,
        generator_learning_rate: 2e-3,
        value_learning_rate: 2e-3,
        ema_decay: 0.99,
        decay_steps: 600,
        ..Default::default()
    };
    let clouds = Clouds { dimension: 1, source, target };
    let model = clouds.model(config, 600);
    let mut session = Session::new(&model).expect("a workspace");
    let mut x1 = vec![0f32; clouds.source.len()];
    session.generate(&floats(&clouds.source), 1, 0, &mut x1).expect("finite rows");
    let (mean, variance) = moments(x1.iter().map(|&x| x.into()));
    let (target_mean, target_variance) = moments(clouds.target.iter().copied());
    assert!((mean - target_mean).abs() < 0.04, "{mean} {target_mean}");
    assert!((variance / target_variance - 1.0).abs() < 0.12, "{variance} {target_variance}");
    // Of N(0, 1) and N(2, 0.36) with sigma 0.5 the Schroedinger bridge has this covariance in closed form.
    let (s, t, e) = (1.0f64, 0.36f64, 0.25f64);
    let expected = 0.5 * ((4.0 * s * t + e * e).sqrt() - e);
    let (source_mean, _) = moments(clouds.source.iter().copied());
    let (covariance, _) =
        moments(clouds.source.iter().zip(&x1).map(|(x0, &x1)| (x0 - source_mean) * (f64::from(x1) - mean)));
    assert!((covariance / expected - 1.0).abs() < 0.08, "{covariance} {expected}");
}

#[test]
fn outliers_of_the_target_get_a_small_density_ratio() {
    let source = normals(1000, 1);
    let target: Vec<f64> =
        normals(1000, 2).iter().enumerate().map(|(i, x)| 0.3 * x + if i % 10 == 0 { 8.0 } else { 1.0 }).collect();
    let config = TrainerConfig {
        sigma: 0.5,
        sigma_units: SigmaUnits::Data,
        tau: 1.0,
        hidden_width: 32,
        batch_sources: 32,
        components: 8,
        generator_learning_rate: 3e-3,
        value_learning_rate: 1e-3,
        ..Default::default()
    };
    let clouds = Clouds { dimension: 1, source, target };
    let mut session = Session::new(&clouds.model(config, 400)).expect("a workspace");
    let mut ratio = vec![0f32; 1000];
    session.density_ratio(&floats(&clouds.target), &mut ratio).expect("finite rows");
    let mean = |outlier: bool| {
        let part = ratio.iter().enumerate().filter(|(i, _)| (i % 10 == 0) == outlier);
        moments(part.map(|(_, &r)| r.into())).0
    };
    let (inliers, outliers) = (mean(false), mean(true));
    assert!((0.7..1.4).contains(&inliers) && outliers < 0.1 * inliers, "{inliers} {outliers}");
}

/// Pixel values and metres: the defaults are relative to the data.
#[test]
fn default_settings_suit_data_of_any_scale() {
    let clouds = Clouds::new(2);
    let ratios = [1.0, 255.0, 1e-3].map(|factor| {
        let scaled = |values: &[f64]| values.iter().map(|x| x * factor).collect::<Vec<f64>>();
        let (source, target) = (scaled(&clouds.source), scaled(&clouds.target));
        let view = |values| TensorView::from_f64(values, &[source.len() / 2, 2]).expect("two columns");
        let config = TrainerConfig { sigma: 0.2, hidden_width: 16, ..TrainerConfig::default() };
        let mut trainer = Trainer::new(&context(2), config, Data::array(view(&source)), Data::array(view(&target)))
            .expect("a sound problem");
        trainer.step(20).expect("a sound problem");
        let metrics = trainer.metrics();
        (metrics.dual / (factor * factor), metrics.density_ratio_mean)
    });
    for (dual, ratio) in ratios {
        assert!((dual - ratios[0].0).abs() < 1e-3 * ratios[0].0.abs(), "{ratios:?}");
        assert!((ratio - ratios[0].1).abs() < 1e-3, "{ratios:?}");
    }
}

/// More than the address space holds: an error, not an abort.
#[test]
fn what_does_not_fit_in_memory_is_refused() {
    let samples: Vec<f32> = (0..2 << 20).map(|i| (i % 7) as f32).collect();
    let data = || Data::array(TensorView::from_f32(&samples, &[2, 1 << 20]).expect("two rows"));
    let config = TrainerConfig { batch_sources: 1, components: 4096, sigma: 0.2, ..TrainerConfig::default() };
    let with_latents = TrainerConfig { latent_dimension: 8, ..config.clone() };
    let error = Trainer::new(&context(1), with_latents, data(), data()).err();
    assert!(matches!(error, Some(Error::OutOfMemory(_))), "{error:?}");
    // A last layer of more outputs than any memory holds is refused by name.
    let error = Trainer::new(&context(1), config, data(), data()).err().expect("too many").to_string();
    assert!(error.starts_with("components is 4096") && error.contains("latent_dimension"), "{error}");
}

#[test]
fn sides_that_no_training_can_have_are_refused_before_a_checkpoint_is_read() {
    let sampler = |shape: &[usize]| Data::sampler(shape, |_: &mut [f32], _: usize, _: usize| Ok(()));
    let path = scratch("absent").join("checkpoint");
    for (source, target, start) in
        [(&[2][..], &[1 << 40][..], "target.sample_shape is [1099511627776]"), (&[2], &[3], "one sample has shape [2]")]
    {
        let refused = Trainer::load(&context(1), &path, sampler(source), sampler(target));
        let text = refused.err().expect("no such training").to_string();
        assert!(text.starts_with(start), "{text}");
    }
}

/// Clusters of the target are there before the first step, with their shares, and files keep them: a training goes on from its
/// checkpoint with the same bits.
#[test]
fn a_training_begins_with_the_clusters_of_its_target() {
    let (source, mut target) = (normals(6000, 8), normals(6000, 9));
    for (row, x) in target.chunks_exact_mut(2).enumerate() {
        let [a, b] = [[-5.0, -3.0], [5.0, -3.0], [5.0, -3.0], [0.0, 6.0]][row % 4];
        (x[0], x[1]) = (0.3 * x[0] + a, 0.3 * x[1] + b);
    }
    let config = TrainerConfig { divergence: Divergence::Balanced, components: 8, ..small() };
    let mut trainer = Trainer::new(&context(1), config, array(&source, 2), array(&target, 2)).expect("a sound problem");
    let model = trainer.model().expect("an untrained one");
    let mut ends = vec![0f32; source.len()];
    Session::new(&model).expect("memory").generate(&floats(&source), 3, 0, &mut ends).expect("sound rows");
    let rows = || ends.chunks_exact(2).map(|x| [f64::from(x[0]), f64::from(x[1])]);
    let near = |[a, b]: [f64; 2]| rows().filter(|[x, y]| (x - a).hypot(y - b) < 1.5).count() as f64 / 3000.0;
    for (place, share) in [([-5.0, -3.0], 0.25), ([5.0, -3.0], 0.5), ([0.0, 6.0], 0.25)] {
        assert!((near(place) - share).abs() < 0.04, "{place:?}: {} of the ends", near(place));
    }
    let file = bytes(&model, "clusters");
    let loaded = Model::load_memory(&context(1), &file).expect("a sound file");
    assert!(bytes(&loaded, "clusters again") == file);
    assert!(String::from_utf8_lossy(&file[..4096]).contains(r#""sfeuot_format_version":"9""#));
    trainer.step(3).expect("a sound problem");
    let path = scratch("clusters.checkpoint");
    trainer.save(&path).expect("a place to write");
    trainer.step(3).expect("a sound problem");
    let mut resumed =
        Trainer::load(&context(1), &path, array(&source, 2), array(&target, 2)).expect("the same samples");
    resumed.step(3).expect("a sound problem");
    assert!(
        bytes(&trainer.model().expect("a model"), "gone on") == bytes(&resumed.model().expect("a model"), "resumed")
    );
}
