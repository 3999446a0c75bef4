//! Convolutions, their transposes, and the gradients of their weights and biases.

use super::guarded::{Buffer, Matrix};
use super::host::{available, launch_with};
use super::support::{Output, PRECISIONS, close_from, cpu, download, in_two_orders, normals, rounded, upload};
use crate::device::cpu::net::{CpuGradient, CpuNet};
use crate::device::cpu::simd::Isa;
use crate::device::cuda::conv::{by_results, by_takings};
use crate::device::cuda::forms::{CONV_FORWARD, CONV_GRADIENT, CONV_REVERSE, Form, tiles};
use crate::device::cuda::kernels::{Arguments, ConvForward, ConvGradient, ConvReverse};
use crate::device::gpus::Precision;
use crate::device::layout::{Conv, Layout, Map, Shape};
use crate::device::{Maps, Workspace};
use crate::formulas::squares::Centre;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Problem {
    conv: Conv,
    rows: usize,
    gap: usize,
    /// Elements before the weights in the flat vector.
    offset: usize,
    precision: Precision,
    tile: usize,
    seed: u64,
}

fn problems() -> impl Strategy<Value = Problem> {
    let channels = || prop_oneof![2 => 1usize..8, 2 => 1usize..=40, 1 => 60usize..=70];
    let shape = (1usize..9, 1usize..9, channels(), channels());
    let taps = (any::<bool>(), 1usize..=2);
    (shape, taps, 1usize..7, any::<[bool; 2]>(), (0usize..4, 0usize..4), (0usize..3, 0usize..3), any::<u64>()).prop_map(
        |(
            (height, width, channels, outputs),
            (large, stride),
            rows,
            whole,
            (gap, offset),
            (arithmetic, tile),
            seed,
        )| {
            let four = |number: usize, whole: bool| if whole { number.next_multiple_of(4) } else { number };
            let (channels, outputs) = (four(channels, whole[0]), four(outputs, whole[1]));
            // Quads lie on 16 bytes where nothing moves them.
            let (gap, offset) = if whole[0] && seed % 4 > 0 { (4 * gap, 4 * offset) } else { (gap, offset) };
            let from = Shape { height, width, channels };
            let conv = Conv { from, channels: outputs, side: if large { 3 } else { 1 }, stride };
            Problem { conv, rows, gap, offset, precision: PRECISIONS[arithmetic].0, tile, seed }
        },
    )
}

impl Problem {
    fn normals(&self, salt: u64, shape: Shape) -> Vec<f32> {
        normals(self.seed ^ salt, self.rows * shape.numbers())
    }

    /// As a device has it, rows `gap` elements apart, or four with quads.
    fn matrix(&self, values: &[f32], shape: Shape) -> Matrix {
        Matrix::of(values, shape.numbers(), shape.numbers() + self.gap)
    }

    fn layout(&self) -> Layout {
        Layout::of_graph(std::iter::once(Map::Conv(self.conv)))
    }

    fn rounded(&self, x: &[f32]) -> Vec<f32> {
        x.iter().map(|&x| rounded(self.precision, x)).collect()
    }

    /// Launches one of the kernels of a product with m x n results.
    fn launch<A: Arguments>(&self, form: &Form, [m, n]: [usize; 2], splits: usize, order: u64, arguments: &A) {
        let tile = tiles(self.precision)[self.tile];
        let kernel = form.kernel(self.precision, self.tile);
        launch_with(kernel, [tile.count(m, n) as u32, splits as u32, 1], [tile.threads, 1, 1], order, arguments);
    }
}

fn pixels(shape: Shape) -> usize {
    shape.height * shape.width
}

proptest! {
    #![proptest_config(super::support::cases(40))]

    #[test]
    fn both_ways(problem in problems(), with_bias in any::<bool>(), add in any::<bool>()) {
        if !available() {
            return Ok(());
        }
        let Problem { conv, rows, seed, .. } = problem;
        let (from, to, layout) = (conv.from, conv.to(), problem.layout());
        let flat = normals(seed ^ 50, layout.len());
        let mut net = CpuNet::new(Isa::detect(), &layout, &Centre::default(), true).unwrap();
        // Weights are rounded where they are multiplied, and biases are not.
        let mut rounded = flat.clone();
        let weights = layout.layers[0].weights();
        rounded[weights.clone()].copy_from_slice(&problem.rounded(&flat[weights]));
        net.pack(&rounded);
        let [x, delta] = [problem.normals(0, from), problem.normals(1, to)];
        let before = problem.normals(2, from);
        let mut device = cpu();
        let [xm, dm] = [(&x, from), (&delta, to)].map(|(x, s)| upload(&mut device, &problem.rounded(x), s.numbers()));
        let back = upload(&mut device, &before, from.numbers());
        let out = device.scratch(rows, to.numbers());
        device.map(&net, 0, xm, with_bias, out);
        device.map_reverse(&net, 0, dm, back, add);

        let mut weights = vec![f32::NAN; problem.offset];
        weights.extend(&flat);
        let weights = Buffer::of(&weights);
        let w = weights.address() as u64 + 4 * problem.offset as u64;
        let bias = if with_bias { w + 4 * layout.layers[0].weights().len() as u64 } else { 0 };
        let (x, delta) = (problem.matrix(&x, from), problem.matrix(&delta, to));
        let floor = (layout.layers[0].fan_in() as f32).sqrt();
        let [found] = in_two_orders(seed, |order| {
            let out = Matrix::new(rows, to.numbers(), to.numbers() + problem.gap);
            let arguments = ConvForward {
                x: x.data.address() as u64,
                x_stride: x.stride as u32,
                w,
                bias,
                out: out.data.address() as u64,
                out_stride: out.stride as u32,
                conv: by_results(&conv, rows),
            };
            problem.launch(&CONV_FORWARD, [rows * pixels(to), conv.channels], 1, order, &arguments);
            [Output::from(out)]
        });
        close_from("forward", &found.values(), &download(&device, out), to.numbers(), floor);

        let [found] = in_two_orders(seed, |order| {
            let back = problem.matrix(&before, from);
            let arguments = ConvReverse {
                delta: delta.data.address() as u64,
                delta_stride: delta.stride as u32,
                w,
                out: back.data.address() as u64,
                out_stride: back.stride as u32,
                conv: by_takings(&conv, rows),
                add: u32::from(add),
            };
            problem.launch(&CONV_REVERSE, [rows * pixels(from), from.channels], 1, order, &arguments);
            [Output::from(back)]
        });
        let floor = ((conv.taps() * conv.channels) as f32).sqrt();
        close_from("reverse", &found.values(), &download(&device, back), from.numbers(), floor);
    }

    #[test]
    fn gradients(problem in problems(), chunk in 1usize..5, two in any::<bool>(), bias in any::<bool>()) {
        if !available() {
            return Ok(());
        }
        let Problem { conv, rows, seed, .. } = problem;
        let (from, to, layout) = (conv.from, conv.to(), problem.layout());
        let [x, x2] = [0, 1].map(|salt| problem.normals(salt, from));
        let [delta, delta2] = [2, 3].map(|salt| problem.normals(salt, to));
        let mut device = cpu();
        let pairs = [(&x, &delta), (&x2, &delta2)].map(|(x, d)| {
            let [x, d] = [x, d].map(|x| problem.rounded(x));
            (upload(&mut device, &x, from.numbers()), upload(&mut device, &d, to.numbers()))
        });
        let summed = upload(&mut device, &delta, to.numbers());
        let mut expected = CpuGradient::new(&layout).unwrap();
        let used = if two { &pairs[..] } else { &pairs[..1] };
        device.map_gradient(&mut expected, 0, used, bias.then_some(summed));

        let count = layout.len();
        let pitch = if seed % 2 == 0 { count.next_multiple_of(4) } else { count + problem.gap };
        // One line more than there are pictures for, which must be zero.
        let splits = rows.div_ceil(chunk) + 1;
        let [x, x2] = [x, x2].map(|x| problem.matrix(&x, from));
        let [delta, delta2] = [delta, delta2].map(|x| problem.matrix(&x, to));
        let optional = |matrix: &Matrix| if two { matrix.data.address() as u64 } else { 0 };
        let [found] = in_two_orders(seed, |order| {
            let lines = Matrix::new(splits, count, pitch);
            let arguments = ConvGradient {
                x: x.data.address() as u64,
                x_stride: x.stride as u32,
                delta: delta.data.address() as u64,
                delta_stride: delta.stride as u32,
                x2: optional(&x2),
                x2_stride: x2.stride as u32,
                delta2: optional(&delta2),
                delta2_stride: delta2.stride as u32,
                conv: by_results(&conv, rows),
                bias: u32::from(bias),
                chunk: chunk as u32,
                lines: lines.data.address() as u64,
                pitch: pitch as u64,
            };
            problem.launch(&CONV_GRADIENT, [conv.taps() * from.channels, conv.channels], splits, order, &arguments);
            [Output::from(lines)]
        });
        let lines = found.values();
        let sum: Vec<f32> = (0..count).map(|i| lines.iter().skip(i).step_by(count).sum()).collect();
        let terms = rows * pixels(to) * (1 + usize::from(two));
        close_from("gradient", &sum, &expected.values[..count], conv.channels, (terms as f32).sqrt());
        prop_assert!(lines[(splits - 1) * count..].iter().all(|&x| x == 0.0));
    }
}
