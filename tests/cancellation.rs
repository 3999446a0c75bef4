//! A cancelled step is none: nothing of it is left, and the training goes on with the bits of one that was never cancelled.

mod problems;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use problems::*;
use sfeuot::*;

/// A sampler that goes through fixed numbers, counts its calls, and cancels the trainer in one of them.
struct Stream {
    calls: AtomicUsize,
    cancels_at: usize,
    token: OnceLock<CancelToken>,
}

impl Stream {
    fn new(cancels_at: usize) -> Arc<Self> {
        Arc::new(Self { calls: AtomicUsize::new(0), cancels_at, token: OnceLock::new() })
    }

    fn side(self: &Arc<Self>, shift: f32) -> Data<'static> {
        let stream = Arc::clone(self);
        let numbers = floats(&normals(10_007, 4));
        let mut at = 0;
        Data::sampler(&[2], move |batch: &mut [f32], _: usize, _: usize| {
            for out in batch {
                *out = numbers[at % numbers.len()] + shift;
                at += 1;
            }
            if stream.calls.fetch_add(1, Ordering::Relaxed) == stream.cancels_at
                && let Some(token) = stream.token.get()
            {
                token.cancel();
            }
            Ok(())
        })
    }
}

/// Several jobs for each half of a step.
fn wide() -> TrainerConfig {
    TrainerConfig { batch_sources: 130, ..small() }
}

/// A trainer whose samplers cancel it in one of their calls, counted over both from the making on.
fn with_streams(threads: usize, config: TrainerConfig, cancels_at: usize) -> (Trainer, Arc<Stream>) {
    let stream = Stream::new(cancels_at);
    let sides = (stream.side(0.0), stream.side(2.0));
    let trainer = Trainer::new(&context(threads), config, sides.0, sides.1).expect("a sound problem");
    stream.token.set(trainer.cancel_token()).expect("set once");
    (trainer, stream)
}

fn timeless(metrics: Metrics) -> Metrics {
    Metrics { steps_per_second: 0.0, ..metrics }
}

const STEPS: u64 = 4;
const NEVER: usize = usize::MAX;
/// Two of the making, then three a step: the value half draws both sides, the generator half the source.
const CALLS: usize = 2 + 3 * STEPS as usize;

#[test]
fn a_step_cancelled_in_either_half_is_made_later_with_the_same_samples() {
    for threads in [1, 3] {
        let (mut whole, stream) = with_streams(threads, wide(), NEVER);
        let before: Vec<Vec<u8>> = (0..=STEPS)
            .map(|step| {
                if step > 0 {
                    whole.step(1).expect("a sound problem");
                }
                bytes(&whole.model().expect("a model"), "uncancelled")
            })
            .collect();
        assert_eq!(stream.calls.load(Ordering::Relaxed), CALLS);
        for cancels_at in 2..CALLS {
            let (mut trainer, stream) = with_streams(threads, wide(), cancels_at);
            let done = ((cancels_at - 2) / 3) as u64;
            let error = trainer.step(STEPS).expect_err("it is cancelled");
            assert!(matches!(error, Error::Cancelled { step } if step == done), "call {cancels_at}: {error}");
            assert_eq!(trainer.metrics().step, done);
            let model = trainer.model().expect("a model");
            assert!(bytes(&model, "cancelled") == before[done as usize], "call {cancels_at}: a part of a step stays");
            let metrics = trainer.step(STEPS - done).expect("a cancelled training goes on");
            assert_eq!(timeless(metrics), timeless(whole.metrics()), "call {cancels_at}");
            assert!(bytes(&trainer.model().expect("a model"), "cancelled") == before[STEPS as usize]);
            assert_eq!(stream.calls.load(Ordering::Relaxed), CALLS, "samples were drawn twice");
        }
    }
}

#[test]
fn a_cancelled_training_diverges_as_one_that_was_not() {
    for rates in [(1e4, 3e-4), (1e-3, 1e12), (1e30, 3e-4)] {
        let config = TrainerConfig { generator_learning_rate: rates.0, value_learning_rate: rates.1, ..wide() };
        let end = |cancels_at| {
            let (mut trainer, stream) = with_streams(2, config.clone(), cancels_at);
            let mut cancelled = 0;
            loop {
                match trainer.step(100) {
                    Err(Error::Cancelled { .. }) => cancelled += 1,
                    Err(error @ Error::Diverged { .. }) => {
                        let model = bytes(&trainer.model().expect("a model"), "diverged_after_cancel");
                        let metrics = timeless(trainer.metrics());
                        return (error.to_string(), model, metrics, stream.calls.load(Ordering::Relaxed), cancelled);
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        let (text, model, metrics, calls, _) = end(NEVER);
        for cancels_at in 2..calls {
            let cancelled = end(cancels_at);
            assert_eq!((&cancelled.0, cancelled.2, cancelled.3), (&text, metrics, calls), "call {cancels_at}");
            assert!(cancelled.1 == model, "call {cancels_at}");
            // The call in which it diverges says that rather than that it was cancelled.
            assert!(cancelled.4 <= 1);
        }
    }
}

#[test]
fn a_training_cancelled_at_any_moment_has_the_bits_of_one_that_was_not() {
    let clouds = Clouds::new(3);
    for (threads, form) in [(1, 0), (2, 1), (3, 2)] {
        let config = TrainerConfig { batch_sources: 150, ..forms()[form].clone() };
        let expected = bytes(&clouds.model(config.clone(), 30), "any_moment");
        let mut trainer = clouds.trainer(&context(threads), config);
        let token = trainer.cancel_token();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Later and later, so that some calls make a step or two.
                for pause in (0..).map(|i| i % 60 * 100) {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::sleep(std::time::Duration::from_micros(pause));
                    token.cancel();
                }
            });
            while trainer.metrics().step < 30 {
                let left = 30 - trainer.metrics().step;
                match trainer.step(left) {
                    Ok(metrics) => assert_eq!(metrics.step, 30),
                    Err(Error::Cancelled { step }) => assert_eq!(step, trainer.metrics().step),
                    Err(error) => panic!("{error}"),
                }
            }
            ended.store(true, Ordering::Relaxed);
        });
        assert!(bytes(&trainer.model().expect("a model"), "any_moment") == expected, "{threads} threads");
    }
}

#[test]
fn a_step_that_takes_a_minute_is_left_when_it_is_cancelled() {
    let config = TrainerConfig { batch_sources: 1 << 20, components: 16, ..with_latents() };
    let mut trainer = Clouds::new(2).trainer(&context(2), config);
    let token = trainer.cancel_token();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(50));
                token.cancel();
            }
        });
        let error = trainer.step(1);
        ended.store(true, Ordering::Relaxed);
        assert!(matches!(error, Err(Error::Cancelled { step: 0 })), "{error:?}");
    });
    assert_eq!(trainer.metrics().step, 0);
}
