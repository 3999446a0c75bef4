//! Times, indices and rows of a batch.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{in_two_orders, normals};
use crate::data::{Data, DataSource, TensorView, prepare};
use crate::rng::{Sequence, Stream, unit};
use proptest::prelude::*;

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn times_are_the_engines(
        rows in 1usize..300, repeat in 1usize..20, seed in any::<u64>(), counter in 0u64..1 << 40, half in 0u64..2,
    ) {
        if !available() {
            return Ok(());
        }
        let (low, high) = (0.2f32, 0.995f32);
        let start = Sequence::new(seed, 2 * counter + half, Stream::Time).word(0);
        let expected: Vec<f32> = (0..rows)
            .map(|r| {
                let word = start.wrapping_add(0x9E37_79B9u32.wrapping_mul((r / repeat) as u32));
                low + (high - low) * unit(word)
            })
            .collect();
        let counter = Buffer::of(&[counter]);
        let [out] = in_two_orders(seed, |order| {
            let out = Matrix::new(1, rows, rows);
            launch("batch_times", [2, 1, 1], [64, 1, 1], order, arguments_of![
                &out.data, rows as u32, repeat as u32, low, high, seed, &counter, half,
            ]);
            [out.into()]
        });
        prop_assert_eq!(out.values(), expected);
    }

    #[test]
    fn drawn_rows_are_the_engines(
        samples in 1usize..40, d in 1usize..40, aligned in any::<bool>(), weighted in any::<bool>(), count in 1usize..60,
        repeat in 1usize..6, gap in 1usize..4, seed in any::<u64>(), number in 0u64..1 << 40, append in any::<bool>(),
    ) {
        if !available() {
            return Ok(());
        }
        let (d, gap) = if aligned { (4 * d, 4 * gap) } else { (d, gap) };
        let values = normals(seed, samples * d);
        let weights: Vec<f32> = normals(seed ^ 1, samples).iter().map(|x| x.abs()).collect();
        let side = || {
            let view = TensorView::from_f32(&values, &[samples, d]).unwrap();
            let weights = TensorView::from_f32(&weights, &[samples]).unwrap();
            if weighted { Data::weighted(view, weights) } else { Data::array(view) }
        };
        let prepared = prepare(side(), side());
        // A single point has no scale to normalise by.
        let Ok((DataSource::Array(array), ..)) = prepared else { return Ok(()) };

        let sequence = Sequence::new(seed, number, Stream::TargetIndex);
        let rows = count * repeat;
        let expected: Vec<f32> = (0..rows)
            .flat_map(|r| {
                let word = |i: u64| sequence.word(2 * (r / repeat) as u64 + i);
                array.row(array.draw(word(0), word(1)) as usize).to_vec()
            })
            .collect();
        let table = array.alias_table().map(|t| (Buffer::of(t.thresholds()), Buffer::of(t.aliases())));
        let indices = Buffer::<u32>::new(count);
        launch("batch_indices", [2, 1, 1], [32, 1, 1], seed, arguments_of![
            &indices, count as u32, samples as u32, table.as_ref().map(|t| &t.0), table.as_ref().map(|t| &t.1), seed,
            0u64, number, Stream::TargetIndex as u32,
        ]);
        let set = Matrix::of(array.rows(), d, d);
        let extra = usize::from(append);
        let [out] = in_two_orders(seed, |order| {
            let out = Matrix::new(rows, d + extra, d + gap);
            launch("batch_gather", [3, 1, 1], [64, 1, 1], order, arguments_of![
                &set.data, d as u32, &indices, repeat as u32, &out.data, out.stride as u32, rows as u32, d as u32,
                u32::from(append), 1f32,
            ]);
            [out.into()]
        });
        for (row, expected) in out.values().chunks_exact(d + extra).zip(expected.chunks_exact(d)) {
            prop_assert_eq!(&row[..d], expected);
            prop_assert!(!append || row[d] == 1.0);
        }
        // Rows of a host come without indices.
        let out = Matrix::new(samples * repeat, d, d);
        launch("batch_gather", [3, 1, 1], [64, 1, 1], seed, arguments_of![
            &set.data, d as u32, 0u64, repeat as u32, &out.data, d as u32, out.rows as u32, d as u32, 0u32, 0f32,
        ]);
        for r in 0..out.rows {
            prop_assert_eq!(out.row(r), set.row(r / repeat));
        }
    }
}
