//! The end of a half step: norm, clipping, update, average, and what happens when something is not finite.

use super::guarded::Buffer;
use super::host::{arguments_of, available, launch};
use super::support::{close, normals};
use crate::TrainerConfig;
use crate::device::cuda::sums::TERMS;
use crate::formulas::adam::Adam;
use proptest::prelude::*;

const BLOCKS: u32 = 3;
const CAPACITY: usize = 8;
const EPSILON: f32 = 1e-8;
/// Outcomes kept.
const RING: usize = 3;
/// Numbers of an outcome: the terms, the gradient's norm, and the factor it was clipped by.
const OUTCOME: usize = TERMS + 2;

/// A network's state and everything the three kernels keep, as on a device.
struct Optimiser {
    config: TrainerConfig,
    state: [Buffer<f32>; 4],
    previous: Option<Buffer<f32>>,
    pitch: usize,
    gradient: Buffer<f32>,
    /// Partial sums of the terms: [`TERMS`] times [`CAPACITY`].
    terms: Buffer<f64>,
    squares: Buffer<f64>,
    outcome: Buffer<f64>,
    plan: Buffer<u64>,
    sizes: Buffer<f64>,
    counter: Buffer<u64>,
    fault: Buffer<u64>,
}

impl Optimiser {
    /// `pitch` elements from one array of the previous state to the next; 0 for none.
    fn new(n: usize, seed: u64, config: TrainerConfig, pitch: usize) -> Self {
        let weights = normals(seed, n);
        let zeros = vec![0f32; n];
        Self {
            config,
            state: [&weights, &zeros, &zeros, &weights].map(|x| Buffer::of(x)),
            previous: (pitch > 0).then(|| Buffer::new(4 * pitch)),
            pitch,
            gradient: Buffer::new(n),
            terms: Buffer::of(&[0.25; TERMS * CAPACITY]),
            squares: Buffer::new(BLOCKS as usize),
            outcome: Buffer::new(RING * OUTCOME),
            plan: Buffer::new(TERMS + 2),
            sizes: Buffer::new(BLOCKS as usize),
            counter: Buffer::of(&[0]),
            fault: Buffer::of(&[0; 3]),
        }
    }

    fn step(&mut self, gradient: &[f32], half: u32, checked: u32, rate: f64, order: u64) {
        self.gradient.copy_from_slice(gradient);
        let n = gradient.len() as u64;
        let c = &self.config;
        // Nothing added to what is there; one block more plans.
        launch(
            "gradient_reduce",
            [BLOCKS + 1, 1, 1],
            [64, 1, 1],
            order,
            arguments_of![
                0u64,
                0u64,
                0u32,
                &self.gradient,
                n,
                1u32,
                &self.squares,
                &self.terms,
                CAPACITY as u32,
                1u32,
                2u32,
                3u32,
                CAPACITY as u32,
                checked,
                &self.counter,
                rate,
                f64::from(c.adam_beta1 as f32).ln(),
                f64::from(c.adam_beta2 as f32).ln(),
                c.ema_decay,
                c.decay_steps,
                c.decay_floor,
                &self.fault,
                &self.plan,
            ],
        );
        let [weights, first, second, average] = &self.state;
        launch(
            "optimiser_update",
            [BLOCKS, 1, 1],
            [64, 1, 1],
            order,
            arguments_of![
                weights,
                &self.gradient,
                first,
                second,
                average,
                n,
                c.adam_beta1 as f32,
                c.adam_beta2 as f32,
                EPSILON,
                self.previous.as_ref(),
                self.pitch as u64,
                &self.plan,
                &self.squares,
                BLOCKS,
                c.gradient_clip,
                &self.sizes,
            ],
        );
        launch(
            "optimiser_settle",
            [1; 3],
            [64, 1, 1],
            order,
            arguments_of![
                &self.plan,
                &self.squares,
                BLOCKS,
                c.gradient_clip,
                &self.sizes,
                BLOCKS,
                half,
                checked,
                &self.counter,
                1u32,
                &self.outcome,
                RING as u32,
                &self.fault,
            ],
        );
    }

    fn take_back(&mut self, order: u64) {
        let [weights, first, second, average] = &self.state;
        let (n, pitch) = (weights.len() as u64, self.pitch as u64);
        let previous = self.previous.as_ref();
        launch(
            "optimiser_take_back",
            [BLOCKS, 1, 1],
            [64, 1, 1],
            order,
            arguments_of![weights, average, first, second, n, previous, pitch],
        );
    }

    /// The numbers that `optimiser_settle` wrote for a step.
    fn outcome(&self, step: u64) -> &[f64] {
        &self.outcome[OUTCOME * (step as usize % RING)..][..OUTCOME]
    }

    fn bits(&self) -> Vec<Vec<u32>> {
        self.state.iter().map(|x| x.iter().map(|x| x.to_bits()).collect()).collect()
    }
}

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn steps_are_the_engines(
        n in 1usize..2000, seed in any::<u64>(), clip in prop_oneof![Just(0.0), 0.1f64..50.0],
        decay_steps in 0u64..5, beta1 in prop_oneof![Just(0.0), 0.1f64..0.95], size in 1e-3f32..10.0,
        keep in any::<bool>(), gap in 0usize..8,
    ) {
        if !available() {
            return Ok(());
        }
        let config = TrainerConfig {
            gradient_clip: clip, decay_steps, adam_beta1: beta1, ema_decay: 0.3, ..TrainerConfig::default()
        };
        let adam = Adam { beta1: beta1 as f32, beta2: config.adam_beta2 as f32, epsilon: EPSILON };
        let pitch = if keep { n + gap } else { 0 };
        let mut device = Optimiser::new(n, seed, config.clone(), pitch);
        let mut other = Optimiser::new(n, seed, config.clone(), pitch);
        let mut weights = normals(seed, n);
        let (mut first, mut second, mut average) = (vec![0f32; n], vec![0f32; n], weights.clone());
        for step in 0..6u64 {
            let gradient: Vec<f32> = normals(seed ^ (step + 1), n).iter().map(|x| x * size).collect();
            let norm = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
            let factor = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
            let rate = 1e-2;
            let update = adam.update(step + 1, rate * config.rate_factor(step), factor);
            let old = [weights.clone(), average.clone(), first.clone(), second.clone()];
            let old = [&old[0][..], &old[1], &old[2], &old[3]];
            let new = [&mut weights[..], &mut average, &mut first, &mut second];
            update.apply(config.averaging(step) as f32, old, &gradient, new);
            let before = device.bits();
            device.step(&gradient, 1, 3, rate, seed);
            if keep {
                // Back, and forth again.
                let after = device.bits();
                device.take_back(seed);
                prop_assert_eq!(device.bits(), before);
                device.counter[0] = step;
                device.step(&gradient, 1, 3, rate, seed);
                prop_assert_eq!(device.bits(), after);
            }
            other.step(&gradient, 1, 3, rate, !seed);
            let outcome = device.outcome(step);
            prop_assert!((outcome[TERMS] - norm).abs() <= 1e-12 * norm);
            prop_assert!((outcome[TERMS + 1] - factor).abs() <= 1e-12 * factor);
            prop_assert_eq!(&outcome[..TERMS], &[0.25, 0.5, 0.75, 2.0, 2.0, 2.0, 2.0, 2.0][..]);
            if let Some(last) = step.checked_sub(1) {
                prop_assert_eq!(&device.outcome(last)[..TERMS], &outcome[..TERMS]);
            }
            prop_assert_eq!(device.counter[0], step + 1);
        }
        prop_assert_eq!(device.bits(), other.bits());
        prop_assert_eq!(device.fault[0] as u32, 0);
        for (i, (what, expected)) in
            [("weights", &weights), ("first", &first), ("second", &second), ("average", &average)].into_iter().enumerate()
        {
            close(what, &device.state[i], expected, n);
        }
    }

    /// The first thing that is not finite, or cannot be squared, stops everything from there on and is kept.
    #[test]
    fn a_fault_stops_all_updates(
        n in 1usize..300, seed in any::<u64>(), place in any::<prop::sample::Index>(), term in 0..=TERMS,
        bad in prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(-2e18)],
    ) {
        if !available() {
            return Ok(());
        }
        let pitch = n.next_multiple_of(4);
        let mut device = Optimiser::new(n, seed, TrainerConfig::default(), pitch);
        let good = normals(seed ^ 1, n);
        device.step(&good, 1, 3, 1e-2, seed);
        device.step(&good, 2, 1, 1e-2, seed);
        let before = device.bits();
        let bits = |x: &Option<Buffer<f32>>| x.iter().flat_map(|x| x.iter().map(|x| x.to_bits())).collect::<Vec<_>>();
        let previous = bits(&device.previous);
        let mut gradient = good.clone();
        if term == TERMS {
            gradient[place.index(n)] = bad;
        } else {
            device.terms[term * CAPACITY] = f64::from(bad);
        }
        // A term that is reported but not checked does no harm; nor does one that is large.
        let harmful = term == TERMS || (term < 3 && !bad.is_finite());
        device.step(&gradient, 1, 3, 1e-2, seed);
        prop_assert_eq!(device.bits() == before, harmful);
        prop_assert_eq!(device.counter[0], if harmful { 2 } else { 3 });
        device.terms.fill(0.25);
        device.step(&good, 2, 1, 1e-2, seed);
        if harmful {
            prop_assert_eq!(device.bits(), before);
            prop_assert_eq!(bits(&device.previous), previous);
            let parts = [device.fault[0] as u32, (device.fault[0] >> 32) as u32];
            prop_assert_eq!(parts, [1, term as u32]);
            prop_assert_eq!(device.fault[1], 2);
            let value = f64::from_bits(device.fault[2]);
            prop_assert!(!value.is_finite() || (term == TERMS && value > 1e18));
        } else {
            prop_assert_eq!(device.fault[0] as u32, 0);
        }
    }

    /// A state that an update leaves with numbers that are not finite is told, and nothing is updated any more until it
    /// is taken back.
    #[test]
    fn an_update_that_overflows_is_a_fault(
        n in 1usize..300, seed in any::<u64>(), place in any::<prop::sample::Index>(), part in 0usize..5,
    ) {
        if !available() {
            return Ok(());
        }
        let mut device = Optimiser::new(n, seed, TrainerConfig::default(), n.next_multiple_of(4));
        let good = normals(seed ^ 1, n);
        device.step(&good, 1, 3, 1e-2, seed);
        // A part of the state that overflows by itself, or the weights by their rate.
        let place = place.index(n);
        let mut gradient = good.clone();
        let mut rate = 1e-2;
        match part {
            0 => device.state[0][place] = f32::INFINITY,
            1 => device.state[1][place] = f32::NAN,
            2 => device.state[2][place] = f32::INFINITY,
            3 => device.state[3][place] = f32::NEG_INFINITY,
            _ => {
                gradient[place] = 1e3;
                rate = 3e38;
            }
        }
        let before = device.bits();
        device.step(&gradient, 2, 1, rate, seed);
        let parts = [device.fault[0] as u32, (device.fault[0] >> 32) as u32];
        prop_assert_eq!(parts, [2, TERMS as u32 + 1]);
        prop_assert_eq!((device.fault[1], device.counter[0]), (1, 1));
        prop_assert!(!f64::from_bits(device.fault[2]).is_finite());
        let after = device.bits();
        device.step(&good, 1, 3, 1e-2, seed);
        prop_assert!(device.bits() == after && device.counter[0] == 1);
        device.take_back(seed);
        prop_assert_eq!(device.bits(), before);
    }
}
