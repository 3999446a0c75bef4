//! How a training runs and ends: by steps, by time, with progress, cancelled, failing or diverging; whole steps or none.

mod problems;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use problems::*;
use sfeuot::*;

#[test]
fn a_divergence_is_named_and_leaves_the_last_good_weights() {
    let clouds = Clouds::new(2);
    for (generator, value) in [(1e30, 3e-4), (1e-3, 1e30), (1e30, 1e30), (1e-3, 1e12), (1e4, 3e-4)] {
        let config = TrainerConfig { generator_learning_rate: generator, value_learning_rate: value, ..small() };
        let mut trainer = clouds.trainer(&context(2), config.clone());
        let error = trainer.step(100).expect_err("no training survives such rates");
        let Error::Diverged { step, term, value } = &error else { panic!("{error}") };
        let text = error.to_string();
        assert!(text.contains(&format!("step {step}")) && text.contains(term), "{text}");
        assert!(!value.is_finite() || value.abs() > 1e15, "{text}");
        let kept = trainer.metrics().step;
        assert!(kept < *step, "{kept}: {text}");

        // Exactly the weights of a training of so many steps, and good ones.
        let model = trainer.model().unwrap();
        assert_eq!(bytes(&model, "diverged"), bytes(&clouds.model(config, kept), "good"), "{text}");
        let mut session = Session::new(&model).expect("a workspace");
        let rows = floats(&clouds.target);
        let (mut out, mut ratio) = (vec![f32::NAN; rows.len()], vec![f32::NAN; SAMPLES]);
        session.generate(&rows, 0, 0, &mut out).expect("finite rows");
        assert!(out.iter().all(|x| x.is_finite()), "{text}");
        session.drift(0.5, &rows, &mut out).expect("finite rows");
        assert!(out.iter().all(|x| x.is_finite()), "{text}");
        session.density_ratio(&rows, &mut ratio).expect("finite rows");
        assert!(ratio.iter().all(|x| x.is_finite()), "{text}");
        trainer.save(&scratch("diverged.checkpoint")).expect("finite weights");
        let again = trainer.step(100).expect_err("nothing has changed");
        assert_eq!(again.to_string(), text);
    }
}

#[test]
fn a_failing_sampler_leaves_whole_steps_and_the_training_goes_on() {
    // Every batch of a side is the same one, so that a step can be drawn again.
    let train = |failing: [u64; 2]| {
        let side = |shift: f64, fails_at: u64| {
            let rows = floats(&normals(2 * 4096, 3));
            let mut call = 0;
            Data::sampler(&[2], move |batch: &mut [f32], _: usize, _: usize| {
                call += 1;
                if call == fails_at {
                    return Err("the disk is full".to_owned());
                }
                for (out, x) in batch.iter_mut().zip(&rows) {
                    *out = x + shift as f32;
                }
                Ok(())
            })
        };
        let (source, target) = (side(0.0, failing[0]), side(2.0, failing[1]));
        let mut trainer = Trainer::new(&context(1), small(), source, target).expect("a sound problem");
        let mut failures = 0;
        while trainer.metrics().step < 6 {
            if let Err(error) = trainer.step(1) {
                let text = error.to_string();
                assert!(matches!(error, Error::Callback(_)) && text.contains("the disk is full"), "{text}");
                assert!(text.contains("source") || text.contains("target"), "{text}");
                failures += 1;
            }
        }
        (failures, bytes(&trainer.model().unwrap(), "sampler"))
    };
    let (failures, expected) = train([0, 0]);
    assert_eq!(failures, 0);
    // The first call measures the scale; each half of a step then draws sources, the first one targets too.
    for failing in [[4, 0], [5, 0], [0, 4], [7, 5]] {
        let (failures, model) = train(failing);
        assert_eq!(failures, failing.iter().filter(|&&call| call > 0).count());
        assert!(model == expected, "calls {failing:?} failed");
    }
}

#[test]
fn a_run_is_cancelled_from_another_thread_and_keeps_its_steps() {
    let mut trainer = Clouds::new(2).trainer(&context(2), small());
    let token = trainer.cancel_token();
    token.cancel();
    trainer.step(1).expect("a cancellation without a call is forgotten");
    let mut last = 0;
    let (started, has_started) = mpsc::channel();
    std::thread::scope(|scope| {
        let token = &token;
        scope.spawn(move || {
            has_started.recv().expect("the run makes steps");
            token.cancel();
        });
        let error = trainer.run(u64::MAX, 1, &mut |metrics| {
            last = metrics.step;
            // Nobody listens any more once the run is to end.
            let _ = started.send(());
            Control::Continue
        });
        assert!(matches!(error, Err(Error::Cancelled { step }) if step == last), "{error:?}");
    });
    assert_eq!(trainer.metrics().step, last);
    let stopped = trainer.run(100, 3, &mut |_| Control::Stop);
    assert!(matches!(stopped, Err(Error::Cancelled { step }) if step == last + 3), "{stopped:?}");

    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A cancellation counts from the moment the call has begun, so it is repeated until the call ends.
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                token.cancel();
                std::thread::yield_now();
            }
        });
        let hour = trainer.run_for(Duration::from_secs(3600));
        ended.store(true, Ordering::Relaxed);
        assert!(matches!(hour, Err(Error::Cancelled { .. })), "{hour:?}");
    });
    trainer.step(1).expect("a cancelled training can go on");
}

#[test]
fn a_time_budget_makes_at_least_one_step() {
    let mut trainer = Clouds::new(2).trainer(&context(1), small());
    let (steps, metrics) = trainer.run_for(Duration::ZERO).expect("a sound problem");
    assert!(steps >= 1 && metrics.step == steps && metrics.steps_per_second > 0.0);
    let (more, metrics) = trainer.run_for(Duration::from_millis(20)).expect("a sound problem");
    assert!(more >= 1 && metrics.step == steps + more);
    assert_eq!(trainer.metrics(), metrics);
}

#[test]
fn progress_is_told_every_so_many_steps_and_after_the_last() {
    let mut trainer = Clouds::new(1).trainer(&context(1), small());
    let mut told = Vec::new();
    let last = trainer.run(8, 3, &mut |metrics| {
        told.push(*metrics);
        Control::Continue
    });
    assert_eq!(told.iter().map(|metrics| metrics.step).collect::<Vec<_>>(), [3, 6, 8]);
    assert_eq!(last.expect("a sound problem"), told[2]);
}
