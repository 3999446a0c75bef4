//! The action term.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{axes, close_sum, close_terms, cpu, download, in_two_orders, normals, ticks, uniforms, upload};
use crate::device::{ActionTerm, Layers, Method, Sums, Workspace};
use proptest::prelude::*;

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn terms(
        rows in 1usize..100, d in 1usize..=300, aligned in any::<bool>(), gap in 1usize..4, seed in any::<u64>(),
        blocks in 1u32..5, append in any::<bool>(), squared in any::<bool>(), scale in 1e-4f32..1.0,
        sigma in 0.05f64..2.0,
    ) {
        if !available() {
            return Ok(());
        }
        // Strides are multiples of four where d is: with a column more, what lies between the rows is the rest of four.
        let d = if aligned { d.next_multiple_of(4) } else { d };
        let stride = |cols: usize| if aligned { (cols + gap).next_multiple_of(4) } else { cols + gap };
        // With squares behind them there is always a time, which the tangent has no component along.
        let (squares, append) = if squared { (d, true) } else { (0, append) };
        let [x, g, b] = [(2, d + 1), (0, d + 1 + squares), (1, d)].map(|(s, cols)| normals(seed ^ s, rows * cols));
        let axes = axes(seed, d, sigma);
        let times = ticks(axes.clock, &uniforms(seed ^ 3, rows, 0.0, 0.995));
        let mut block = cpu();
        let cols = d + usize::from(append) + squares;
        let mut sums = Sums::default();
        let mut of_cpu = |g: &[f32], b: &[f32]| {
            let (xm, bm) = (upload(&mut block, &x, d + 1), upload(&mut block, b, d));
            let (mut gm, w) = (upload(&mut block, g, d + 1 + squares), block.scratch(rows, d + 1));
            if squared {
                gm = block.squares_gradient(xm, gm);
            }
            let time = upload(&mut block, &times, 3);
            let term = ActionTerm { axes: &axes, time, x: xm, g: gm, b: bm, w, scale: f64::from(scale), counts: true };
            sums = Sums::default();
            block.action(&term, &mut sums);
            let mut direction = w;
            if squared {
                direction = block.scratch(rows, d + 1 + squares);
                block.squares_tangent(xm, w, direction);
            }
            download(&block, direction.columns(0, cols))
        };
        // The gradient by the samples, the one by their squares, the drift.
        let part = |squares_alone: bool| -> Vec<f32> {
            let cols = d + 1 + squares;
            g.iter().enumerate().map(|(i, &x)| if (i % cols > d) == squares_alone { x } else { 0.0 }).collect()
        };
        let [no_g, no_b] = [g.len(), b.len()].map(|n| vec![0.0; n]);
        let terms = [of_cpu(&part(false), &no_b), of_cpu(&part(true), &no_b), of_cpu(&no_g, &b)];
        let expected = of_cpu(&g, &b);

        let [x, g, b] = [(x, d + 1), (g, d + 1 + squares), (b, d)].map(|(x, cols)| Matrix::of(&x, cols, stride(cols)));
        let (time, numbers) = (Matrix::of(&times, 3, stride(3)), Buffer::of(&axes.numbers));
        let [w, action] = in_two_orders(seed, |order| {
            let w = Matrix::new(rows, cols, stride(cols));
            let action = Buffer::<f64>::new(blocks as usize);
            launch("action_terms", [blocks, 1, 1], [128, 1, 1], order, arguments_of![
                &numbers, axes.noise as f32, &time.data, time.stride as u32,
                &x.data, x.stride as u32, &g.data, g.stride as u32, &b.data, b.stride as u32, &w.data, w.stride as u32,
                rows as u32, d as u32, squares as u32, scale, u32::from(append), &action,
            ]);
            [w.into(), action.into()]
        });
        close_sum("action", action.sum(), sums.action, (rows * d) as f64);
        close_terms("w", &w.values(), &expected, cols, &terms);
        prop_assert!(!append || w.values().chunks_exact(cols).all(|row| row[d] == 0.0));
    }
}
