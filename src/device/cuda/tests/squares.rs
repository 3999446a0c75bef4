//! Squares of a network's inputs, forward, reverse and along a direction.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{close, cpu, download, in_two_orders, normals, upload};
use crate::device::cpu::net::CpuNet;
use crate::device::cpu::simd::Isa;
use crate::device::layout::Layout;
use crate::device::{Layers, Workspace};
use crate::formulas::squares::Centre;
use proptest::prelude::*;

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn passes(
        rows in 1usize..100, squares in 1usize..=200, more in 0usize..3, gap in 0usize..4, seed in any::<u64>(), blocks in 1u32..5,
    ) {
        if !available() {
            return Ok(());
        }
        let cols = squares + more;
        let [x, g, w] = [(0, cols), (1, cols + squares), (2, cols)].map(|(s, cols)| normals(seed ^ s, rows * cols));
        let centre = |s| normals(seed ^ s, squares).into_iter().map(|x| f64::from(x * x)).collect::<Vec<_>>();
        let centre = Centre::between(&centre(3), &centre(4)).unwrap();
        let numbers = Buffer::of(&centre.numbers::<f32>().unwrap());
        let net = CpuNet::<f32>::new(Isa::detect(), &Layout::dense(&[cols + centre.count(), 1, 1]), &centre, false).unwrap();
        let mut block = cpu();
        let (xm, gm, wm) = (upload(&mut block, &x, cols), upload(&mut block, &g, cols + squares), upload(&mut block, &w, cols));
        let to = [cols + squares, cols, cols + squares].map(|cols| block.scratch(rows, cols));
        block.squares(&net, xm, to[0]);
        block.squares_reverse(xm, gm, to[1]);
        block.squares_tangent(xm, wm, to[2]);

        let matrix = |values: &[f32], cols: usize| Matrix::of(values, cols, cols + gap);
        let (x, g, w) = (matrix(&x, cols), matrix(&g, cols + squares), matrix(&w, cols));
        let (grid, block_of, shape) = ([blocks, 1, 1], [128, 1, 1], (rows as u32, cols as u32, squares as u32));
        let found = in_two_orders(seed, |order| {
            let out = to.map(|to| Matrix::new(rows, to.cols, to.cols + gap));
            launch("squares_forward", grid, block_of, order, arguments_of![
                &x.data, x.stride as u32, shape.0, shape.1, shape.2, &numbers, &out[0].data, out[0].stride as u32,
            ]);
            for (name, of, out) in [("squares_reverse", &g, &out[1]), ("squares_tangent", &w, &out[2])] {
                launch(name, grid, block_of, order, arguments_of![
                    &x.data, x.stride as u32, &of.data, of.stride as u32, shape.0, shape.1, shape.2, &out.data, out.stride as u32,
                ]);
            }
            out.map(Into::into)
        });
        for ((name, found), to) in ["forward", "reverse", "tangent"].into_iter().zip(&found).zip(to) {
            close(name, &found.values(), &download(&block, to), to.cols);
        }
    }
}
