//! The rows of a batch, drawn as on the CPU.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{cases, close_from, columns, in_two_orders, normals, squares_of};
use crate::data::{ArraySource, Changes, Data, DataSource, SeenUnits, Sides, TensorView};
use crate::formulas::Clock;
use crate::formulas::units::AxisUnits;
use crate::rng::{Sequence, Stream, unit};
use proptest::prelude::*;

/// A side's samples on the device, and as the CPU draws from them.
struct Side {
    array: ArraySource,
    rows: Buffer<f32>,
    table: Option<(Buffer<u32>, Buffer<u32>)>,
    drawn_by_host: bool,
    streams: [Stream; 2],
    /// How pictures are changed, where the device draws.
    changes: Option<Changes>,
}

impl Side {
    fn samples(&self) -> u32 {
        if self.drawn_by_host { 0 } else { self.array.size().count as u32 }
    }

    /// Sample number `number` of the batch.
    fn row(&self, seed: u64, step: u64, number: u64) -> Vec<f32> {
        let index = if self.drawn_by_host {
            number as u32
        } else {
            let sequence = Sequence::new(seed, step, self.streams[0]);
            self.array.draw(sequence.word(2 * number), sequence.word(2 * number + 1))
        };
        let mut row = self.array.row(index as usize).to_vec();
        if let Some(changes) = self.changes {
            changes.apply(Sequence::new(seed, step, self.streams[1]).block(number), &row.clone(), &mut row);
        }
        row
    }

    fn flip_and_crop(&self) -> [u32; 2] {
        self.changes.map_or([0; 2], |changes| [changes.flip.into(), changes.crop])
    }
}

/// Both sides.
fn sides(
    seed: u64,
    samples: usize,
    d: usize,
    weighted: bool,
    drawn_by_host: [bool; 2],
    changes: [Option<Changes>; 2],
) -> [Side; 2] {
    let values = [seed, seed ^ 1].map(|seed| normals(seed, samples * d));
    let weights: Vec<f32> = normals(seed ^ 2, samples).iter().map(|x| x.abs()).collect();
    let data = |side: usize| {
        let view = TensorView::from_f32(&values[side], &[samples, d]).unwrap();
        let weights = TensorView::from_f32(&weights, &[samples]).unwrap();
        if weighted { Data::weighted(view, weights) } else { Data::array(view) }
    };
    let mut sides = Sides::check(data(0), data(1)).unwrap();
    let normalised = sides.measure(None, false).unwrap().units;
    let units = vec![AxisUnits { contraction: 1.0, pull: 0.0, unit: 1.0 }; d];
    let seen = SeenUnits { normalised, rotation: None, units, time: 0.0 };
    let (source, target) = sides.prepare([seen.clone(), seen]).unwrap();
    let side = |data: DataSource, drawn_by_host: bool, streams, changes: Option<Changes>| {
        let DataSource::Array(array) = data else { unreachable!("it was made of an array") };
        let table = array.alias_table().map(|t| (Buffer::of(t.thresholds()), Buffer::of(t.aliases())));
        let changes = changes.filter(|_| !drawn_by_host);
        Side { rows: Buffer::of(array.rows()), table, drawn_by_host, streams, changes, array }
    };
    [
        side(source, drawn_by_host[0], [Stream::SourceIndex, Stream::SourceChange], changes[0]),
        side(target, drawn_by_host[1], [Stream::TargetIndex, Stream::TargetChange], changes[1]),
    ]
}

/// Times to the bit, and their odds up to one, where expm1 may differ in its last.
fn same_times(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let away = a.to_bits().abs_diff(b.to_bits());
        assert!(away <= u32::from(i % 3 != 0), "number {} of a time: {a}, expected {b}", i % 3);
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn rows_are_the_engines(
        (sources, latents, first) in (1usize..12, 1usize..8, 0usize..20), (d, latent) in (1usize..40, 0usize..12),
        aligned in any::<bool>(), weighted in any::<bool>(), by_host in any::<[bool; 2]>(), gap in 1usize..4,
        seed in any::<u64>(), counter in 0u64..1 << 40, half in 0u64..2, targets in any::<bool>(),
        a_time_each in any::<bool>(), half_at_end in any::<bool>(), squared in any::<bool>(), log_range in prop_oneof![Just(0.0), 1e-3f64..25.0],
        ease in prop_oneof![Just(1.0), 0.01f64..1.0],
        (flip, crop, height) in (any::<[bool; 2]>(), any::<[u32; 2]>(), 1usize..7),
    ) {
        if !available() {
            return Ok(());
        }
        let (d, gap) = if aligned { (4 * d, 4 * gap) } else { (d, gap) };
        let (rows, repeat) = (sources * latents, if a_time_each { 1 } else { latents });
        // As many samples as the host would have drawn.
        let samples = (first + sources) * latents;
        // Some channels of pictures, where the numbers allow it.
        let height = if d % height == 0 { height } else { 1 };
        let channels = [3, 2].into_iter().find(|channels| d / height % channels == 0).unwrap_or(1);
        let width = d / height / channels;
        let most = height.min(width) as u32;
        let changes = [0, 1].map(|i| Changes { height, width, flip: flip[i], crop: crop[i] % most });
        let changes = changes.map(|changes| Some(changes).filter(|changes| changes.flip || changes.crop > 0));
        let [source, target] = sides(seed, samples, d, weighted, by_host, changes);
        let step = 2 * counter + half;
        let (low, high, clock) = (0.2f32, 0.995f32, Clock::new(log_range, ease));

        let z = {
            let mut z = vec![0f32; rows * latent];
            Sequence::new(seed, step, Stream::Latent).normals((first * latents * latent) as u64, &mut z);
            z
        };
        let start = Sequence::new(seed, step, Stream::Time).word(0);
        let number = |r: usize| (first * latents + r) as u64;
        let mut expected = [Vec::new(), Vec::new(), Vec::new()];
        for r in 0..rows {
            expected[0].extend(source.row(seed, step, number(r) / latents as u64));
            expected[0].extend(&z[r * latent..(r + 1) * latent]);
            expected[1].extend(target.row(seed, step, number(r)));
            expected[1].push(1.0);
            let index = number(r) / repeat as u64;
            let place = if half_at_end { index / 2 } else { index };
            let word = start.wrapping_add(0x9E37_79B9u32.wrapping_mul(place as u32));
            let at_end = half_at_end && index % 2 == 1;
            expected[2].extend(clock.at(if at_end { high } else { low + (high - low) * unit(word) }).row());
        }

        let squares = if squared { d } else { 0 };
        let (of_input, input_squares) = squares_of(seed, &expected[0], d + latent, squares, |_| 0.0);
        let (of_ends, ends_squares) = squares_of(!seed, &expected[1], d + 1, squares, |_| 1.0);
        let [of_input, of_ends] = [of_input, of_ends].map(|centre| Buffer::of(&centre));
        let counter = Buffer::of(&[counter]);
        let table = |side: &Side| {
            let [thresholds, aliases] = match &side.table {
                Some((thresholds, aliases)) => [thresholds.address(), aliases.address()],
                None => [0; 2],
            };
            [thresholds as u64, aliases as u64]
        };
        let ([source_thresholds, source_aliases], [target_thresholds, target_aliases]) = (table(&source), table(&target));
        let ([source_flip, source_crop], [target_flip, target_crop]) = (source.flip_and_crop(), target.flip_and_crop());
        let found = in_two_orders(seed, |order| {
            let input = Matrix::new(rows, d + latent + squares, d + latent + squares + gap);
            let ends = Matrix::new(rows, d + 1 + squares, d + 1 + squares + gap);
            let time = Matrix::new(rows, 3, 3 + gap);
            launch("batch_draw", [2, if targets { 4 } else { 3 }, 1], [64, 1, 1], order, arguments_of![
                &source.rows, source.samples(), source_thresholds, source_aliases, source_flip, source_crop,
                &target.rows, target.samples(), target_thresholds, target_aliases, target_flip, target_crop,
                height as u32, width as u32, first as u64, rows as u32, latents as u32, d as u32, latent as u32,
                &input.data, input.stride as u32, squares as u32, &of_input, &ends.data, ends.stride as u32,
                squares as u32, &of_ends, &time.data, time.stride as u32, repeat as u32,
                u32::from(half_at_end), low, high, log_range, ease, seed, &counter, half,
            ]);
            [input.into(), ends.into(), time.into()]
        });
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            if i == 1 && !targets {
                prop_assert!(found.values().iter().all(|x| x.is_nan()), "targets are written");
            } else {
                let values = found.values();
                let (cols, rest) = [(d + latent, squares), (d + 1, squares), (3, 0)][i];
                let values_inside = columns(&values, cols + rest, 0, cols);
                if i == 2 && (log_range > 0.0 || ease < 1.0) {
                    same_times(&values_inside, expected);
                } else {
                    prop_assert_eq!(&values_inside, expected, "part {}", i);
                }
                if rest > 0 {
                    let found = columns(&values, cols + rest, cols, cols + rest);
                    let expected = [&input_squares, &ends_squares][i];
                    close_from("squares", &found, expected, squares, 1.0);
                }
            }
        }
    }
}
