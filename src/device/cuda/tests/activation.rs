//! Bias, activation, its derivatives, the reverse rules and the column sums.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use super::support::{Output, close, close_from, close_terms, cpu, download, in_two_orders, normals, upload};
use crate::device::cpu::net::CpuNet;
use crate::device::cpu::simd::Isa;
use crate::device::layout::Layout;
use crate::device::{Layers, Workspace};
use crate::formulas::Activation;
use crate::formulas::squares::Centre;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Shape {
    rows: usize,
    cols: usize,
    stride: usize,
    chunk: usize,
    block: [u32; 3],
    columns: u32,
    seed: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1usize..90, 1usize..=300, any::<bool>(), 0usize..4, 1usize..40, 0u32..6, 1u32..4, any::<u64>()).prop_map(
        |(rows, cols, aligned, gap, chunk, lanes, columns, seed)| {
            let (cols, gap) = if aligned { (cols.next_multiple_of(4), 4 * gap) } else { (cols, gap) };
            let x = 8 << lanes;
            Shape { rows, cols, stride: cols + gap, chunk, block: [x, 256 / x, 1], columns, seed }
        },
    )
}

impl Shape {
    fn grid(&self) -> [u32; 3] {
        [self.columns, self.rows.div_ceil(self.chunk) as u32, 1]
    }

    fn normals(&self, salt: u64) -> Vec<f32> {
        normals(self.seed ^ salt, self.rows * self.cols)
    }

    fn matrix(&self, values: &[f32]) -> Matrix {
        Matrix::of(values, self.cols, self.stride)
    }

    /// A layer whose product is the identity, so that the CPU device's fused operations show their epilogues.
    fn identity(&self, bias: &[f32]) -> CpuNet<f32> {
        let n = self.cols;
        let layout = Layout::dense(&[n, n, n, 1]);
        let layer = layout.layers[1];
        let mut weights = vec![0f32; layout.len()];
        for i in 0..n {
            weights[layer.offset + i * n + i] = 1.0;
        }
        weights[layer.biases()].copy_from_slice(bias);
        let mut net = CpuNet::new(Isa::detect(), &layout, &Centre::default(), true).unwrap();
        net.pack(&weights);
        net
    }

    /// The tiles' sums, finished, against those of the columns; as a matrix of one row.
    fn finish(&self, sums: &Matrix, expected: &[f32], what: &str) {
        let before = normals(self.seed ^ 99, self.cols);
        for accumulate in [false, true] {
            let [out] = in_two_orders(self.seed, |order| {
                let out = Matrix::of(&before, self.cols, self.cols);
                launch(
                    "column_sums_finish",
                    [self.cols.div_ceil(32) as u32, 1, 1],
                    [32, 1 + (self.seed % 32) as u32, 1],
                    order,
                    arguments_of![&sums.data, sums.rows as u32, self.cols as u32, &out.data, u32::from(accumulate)],
                );
                [out.into()]
            });
            let total: Vec<f32> = (0..self.cols)
                .map(|c| {
                    let column = expected.iter().skip(c).step_by(self.cols);
                    let sum: f64 = column.map(|&x| f64::from(x)).sum();
                    (sum + if accumulate { f64::from(before[c]) } else { 0.0 }) as f32
                })
                .collect();
            close(what, &out.values(), &total, self.cols);
        }
    }

    fn sums(&self) -> Matrix {
        Matrix::new(self.rows.div_ceil(self.chunk), self.cols, self.cols)
    }
}

fn matrix(output: Output) -> Matrix {
    match output {
        Output::Matrix(matrix) => matrix,
        Output::Doubles(_) => unreachable!(),
    }
}

proptest! {
    #![proptest_config(super::support::cases(32))]

    #[test]
    fn activations(shape in shapes(), spread in 0.1f32..20.0, kind in 0usize..3) {
        if !available() {
            return Ok(());
        }
        let Shape { rows, cols, stride, chunk, block, seed, .. } = shape;
        let (kind, kernel) = [
            (Activation::Silu, "activation_silu"),
            (Activation::Tanh, "activation_tanh"),
            (Activation::Softplus, "activation_softplus"),
        ][kind];
        let x: Vec<f32> = shape.normals(0).iter().map(|x| x * spread).collect();
        let bias = normals(seed ^ 7, cols);
        let mut device = cpu();
        let input = upload(&mut device, &x, cols);
        let [h, slope, curve, plain] = [0; 4].map(|_| device.scratch(rows, cols));
        let net = shape.identity(&bias);
        device.activated(&net, 1, kind, input, h, Some(slope), Some(curve));
        for i in 0..rows {
            for j in 0..cols {
                device.row_mut(plain, i)[j] = x[i * cols + j] + bias[j];
            }
        }
        let bias = Buffer::of(&bias);
        for derivatives in 0..3 {
            let found = in_two_orders(seed, |order| {
                let h = shape.matrix(&x);
                let [slope, curve] = [0; 2].map(|_| Matrix::new(rows, cols, stride));
                launch(kernel, shape.grid(), block, order, arguments_of![
                    &h.data, stride as u32, &bias, (derivatives > 0).then_some(&slope.data), stride as u32,
                    (derivatives > 1).then_some(&curve.data), stride as u32, rows as u32, cols as u32, chunk as u32,
                ]);
                [h.into(), slope.into(), curve.into()]
            });
            // Derivatives far out are differences of numbers near one.
            close_from("h", &found[0].values(), &download(&device, h), cols, 1.0);
            for (i, (what, mat)) in [("slope", slope), ("curve", curve)].into_iter().enumerate() {
                if i < derivatives {
                    close_from(what, &found[i + 1].values(), &download(&device, mat), cols, 1.0);
                } else {
                    prop_assert!(found[i + 1].values().iter().all(|x| x.is_nan()));
                }
            }
        }
        let [found] = in_two_orders(seed, |order| {
            let h = shape.matrix(&x);
            launch("bias_add", shape.grid(), block, order, arguments_of![
                &h.data, stride as u32, &bias, rows as u32, cols as u32, chunk as u32,
            ]);
            [h.into()]
        });
        close("affine", &found.values(), &download(&device, plain), cols);
    }

    #[test]
    fn reverse_rules(shape in shapes(), with_curve in any::<bool>(), sum_curve in any::<bool>(), summed in any::<bool>()) {
        if !available() {
            return Ok(());
        }
        let Shape { rows, cols, stride, chunk, block, seed, .. } = shape;
        let [p, slope, curve] = [1, 2, 3].map(|salt| shape.normals(salt));
        let net = shape.identity(&vec![0.0; cols]);
        let mut device = cpu();
        let [pm, sm, cm] = [&p, &slope, &curve].map(|x| upload(&mut device, x, cols));
        let [back, adjoint] = [0; 2].map(|_| device.scratch(rows, cols));
        device.tangent_backward(&net, 1, pm, sm, cm, adjoint);
        device.backward(&net, 1, pm, sm, back, with_curve.then_some(cm));
        let (back, bent, adjoint) =
            (download(&device, back), download(&device, cm), download(&device, adjoint));

        let slope = shape.matrix(&slope);
        let sum_curve = sum_curve && with_curve;
        let [found, found_curve, sums] = in_two_orders(seed, |order| {
            let (p, bend, sums) = (shape.matrix(&p), shape.matrix(&curve), shape.sums());
            launch("activation_scale", shape.grid(), block, order, arguments_of![
                &p.data, stride as u32, &slope.data, stride as u32, with_curve.then_some(&bend.data), stride as u32,
                rows as u32, cols as u32, chunk as u32, summed.then_some(&sums.data), u32::from(sum_curve),
            ]);
            [p.into(), bend.into(), sums.into()]
        });
        close("backward", &found.values(), &back, cols);
        close("curve", &found_curve.values(), &bent, cols);
        if summed {
            shape.finish(&matrix(sums), if sum_curve { &bent } else { &back }, "bias gradient");
        }

        let curve_in = shape.matrix(&curve);
        let [found, sums] = in_two_orders(seed, |order| {
            let (p, sums) = (shape.matrix(&p), shape.sums());
            launch("activation_adjoint", shape.grid(), block, order, arguments_of![
                &p.data, stride as u32, &slope.data, stride as u32, &curve_in.data, stride as u32, rows as u32,
                cols as u32, chunk as u32, summed.then_some(&sums.data),
            ]);
            [p.into(), sums.into()]
        });
        close_terms("adjoint", &found.values(), &adjoint, cols, std::slice::from_ref(&curve));
        if summed {
            shape.finish(&matrix(sums), &adjoint, "bias gradient of the adjoint");
        }

        let x = shape.matrix(&p);
        let [sums] = in_two_orders(seed, |order| {
            let sums = shape.sums();
            launch("column_sums", shape.grid(), block, order, arguments_of![
                &x.data, stride as u32, rows as u32, cols as u32, chunk as u32, &sums.data,
            ]);
            [sums.into()]
        });
        shape.finish(&matrix(sums), &p, "column sums");
    }
}
