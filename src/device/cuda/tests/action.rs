//! The action term.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{close, close_sum, cpu, download, in_two_orders, normals, upload};
use crate::device::{Device, Sums};
use proptest::prelude::*;

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn terms(
        rows in 1usize..100, d in 1usize..=300, aligned in any::<bool>(), gap in 1usize..4, seed in any::<u64>(),
        blocks in 1u32..5, append in any::<bool>(), scale in 1e-4f32..1.0,
    ) {
        if !available() {
            return Ok(());
        }
        let (d, gap) = if aligned { (d.next_multiple_of(4), 4 * gap) } else { (d, gap) };
        let [g, b] = [seed, seed ^ 1].map(|s| normals(s, rows * d));
        let mut block = cpu();
        let (gm, bm, w) = (upload(&mut block, &g, d), upload(&mut block, &b, d), block.scratch(rows, d + 1));
        let mut sums = Sums::default();
        block.action(gm, bm, w, f64::from(scale), &mut sums);
        let expected = download(&block, w.columns(0, d));

        let extra = usize::from(append);
        let [g, b] = [g, b].map(|x| Matrix::of(&x, d, d + gap));
        let [w, action] = in_two_orders(seed, |order| {
            let w = Matrix::new(rows, d + extra, d + gap);
            let action = Buffer::<f64>::new(blocks as usize);
            launch("action_terms", [blocks, 1, 1], [128, 1, 1], order, arguments_of![
                &g.data, g.stride as u32, &b.data, b.stride as u32, &w.data, w.stride as u32, rows as u32, d as u32,
                scale, u32::from(append), &action,
            ]);
            [w.into(), action.into()]
        });
        close_sum("action", action.sum(), sums.action, (rows * d) as f64);
        let values = w.values();
        let inner: Vec<f32> = values.chunks_exact(d + extra).flat_map(|row| row[..d].to_vec()).collect();
        close("w", &inner, &expected, d);
        prop_assert!(!append || values.chunks_exact(d + 1).all(|row| row[d] == 0.0));
    }
}
