//! Convolutions against plain loops, on every instruction set of this processor.

use crate::device::cpu::net::{CpuGradient, CpuNet};
use crate::device::cpu::simd::{Isa, Real};
use crate::device::cpu::{CpuBlock, conv::tests::plain::Plain};
use crate::device::layout::{Conv, Layout, Map, Shape};
use crate::device::{Maps, Mat, Workspace};
use crate::formulas::squares::Centre;
use crate::rng::{Sequence, Stream, unit};
use proptest::prelude::*;

mod plain {
    //! The definition, number by number.

    use super::*;

    pub(super) struct Plain(pub Conv);

    impl Plain {
        /// Calls `each` with (place in the result, place in what is read, place of the weight).
        pub fn terms(&self, mut each: impl FnMut(usize, usize, usize)) {
            let (conv, to) = (self.0, self.0.to());
            let from = conv.from;
            for (y, x, tap) in (0..to.height)
                .flat_map(|y| (0..to.width).flat_map(move |x| (0..conv.taps()).map(move |tap| (y, x, tap))))
            {
                let read = |at: usize, tap: usize, extent: usize| {
                    (at * conv.stride + tap).checked_sub(conv.side / 2).filter(|&place| place < extent)
                };
                let place = (read(y, tap / conv.side, from.height), read(x, tap % conv.side, from.width));
                let (Some(row), Some(column)) = place else { continue };
                for input in 0..from.channels {
                    for output in 0..conv.channels {
                        each(
                            (y * to.width + x) * conv.channels + output,
                            (row * from.width + column) * from.channels + input,
                            (tap * from.channels + input) * conv.channels + output,
                        );
                    }
                }
            }
        }

        pub fn forward(&self, weights: &[f64], bias: &[f64], x: &[f64], to: &mut [f64]) {
            to.iter_mut().enumerate().for_each(|(i, to)| *to = bias[i % bias.len()]);
            self.terms(|out, from, weight| to[out] += weights[weight] * x[from]);
        }

        pub fn reverse(&self, weights: &[f64], delta: &[f64], to: &mut [f64]) {
            self.terms(|out, from, weight| to[from] += weights[weight] * delta[out]);
        }

        pub fn gradient(&self, x: &[f64], delta: &[f64], to: &mut [f64]) {
            self.terms(|out, from, weight| to[weight] += x[from] * delta[out]);
        }
    }
}

fn normals(seed: u64, n: usize) -> Vec<f64> {
    let mut x = vec![0f32; n];
    Sequence::new(seed, 0, Stream::Init).normals(0, &mut x);
    x.into_iter().map(f64::from).collect()
}

fn convolutions() -> impl Strategy<Value = Conv> {
    let channels = || prop_oneof![30 => 1usize..9, 10 => 15usize..41, 1 => 63usize..70];
    (1usize..10, 1usize..10, channels(), channels(), any::<bool>(), 1usize..3).prop_map(
        |(height, width, inputs, channels, wide, stride)| {
            let side = if wide { 3 } else { 1 };
            Conv { from: Shape { height, width, channels: inputs }, channels, side, stride }
        },
    )
}

/// Columns before pictures.
const BEFORE: usize = 32;

/// Pictures in a workspace, between numbers that must be neither used nor written.
fn upload<T: Real>(block: &mut CpuBlock<T>, values: &[f64], pictures: usize) -> Mat {
    let cols = values.len() / pictures;
    let tape = block.scratch(pictures, 2 * BEFORE + cols.next_multiple_of(Mat::PART));
    block.fill(tape, f64::NAN);
    let mat = tape.part(BEFORE, cols);
    for (r, line) in values.chunks_exact(cols).enumerate() {
        block.row_mut(mat, r).iter_mut().zip(line).for_each(|(to, &x)| *to = T::of(x));
    }
    mat
}

/// Returns whether the numbers around pictures are as they were.
fn is_alone<T: Real>(block: &CpuBlock<T>, mat: Mat) -> bool {
    let tape = Mat { offset: mat.offset - BEFORE, cols: mat.stride, ..mat };
    (0..mat.rows).all(|r| {
        let (before, behind) =
            (&block.row(tape, r)[..BEFORE], &block.row(tape, r)[BEFORE + mat.cols..2 * BEFORE + mat.cols]);
        before.iter().chain(behind).all(|x| x.wide().is_nan())
    })
}

fn close<T: Real>(
    name: &str,
    found: impl Iterator<Item = T>,
    expected: &[f64],
    bound: f64,
) -> Result<(), TestCaseError> {
    let largest = expected.iter().fold(1.0f64, |most, x| most.max(x.abs()));
    for (found, expected) in found.zip(expected) {
        prop_assert!((found.wide() - expected).abs() <= bound * largest, "{name}: {} for {expected}", found.wide());
    }
    Ok(())
}

fn inner<T: Real>(a: &[T], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.wide() * b).sum()
}

fn check<T: Real>(conv: Conv, pictures: usize, seed: u64, isa: Isa, bound: f64) -> Result<(), TestCaseError> {
    let (plain, layout) = (Plain(conv), Layout::of_graph(std::iter::once(Map::Conv(conv))));
    let (takes, gives) = (conv.from.numbers(), conv.to().numbers());
    let parameters = normals(seed, layout.len());
    let (weights, bias) = parameters.split_at(layout.layers[0].weights().len());
    let [x, more] = [1, 2].map(|s| normals(seed ^ s, pictures * takes));
    let [delta, further] = [3, 4].map(|s| normals(seed ^ s, pictures * gives));

    let mut net = CpuNet::<T>::new(isa, &layout, &Centre::default(), true).unwrap();
    net.pack(&parameters.iter().map(|&w| T::of(w)).collect::<Vec<_>>());
    let mut block = CpuBlock::<T>::new(isa);
    let [x_mat, more_mat] = [&x, &more].map(|values| upload(&mut block, values, pictures));
    let [delta_mat, further_mat, out] = [&delta, &further, &further].map(|values| upload(&mut block, values, pictures));
    let values =
        |block: &CpuBlock<T>, mat: Mat| (0..pictures).flat_map(|r| block.row(mat, r).to_vec()).collect::<Vec<_>>();
    let mut expected = vec![0.0; pictures * gives];
    let none = vec![0.0; conv.channels];
    let mut along = 0.0;
    for (with, bias) in [(true, bias), (false, &none)] {
        block.map(&net, 0, x_mat, with, out);
        for (x, to) in x.chunks_exact(takes).zip(expected.chunks_exact_mut(gives)) {
            plain.forward(weights, bias, x, to);
        }
        let found = values(&block, out);
        along = inner(&found, &delta);
        close("forward", found.into_iter(), &expected, bound)?;
    }

    let to = upload(&mut block, &more, pictures);
    for add in [true, false] {
        block.map_reverse(&net, 0, delta_mat, to, add);
        let mut expected = if add { more.clone() } else { vec![0.0; more.len()] };
        for (delta, to) in delta.chunks_exact(gives).zip(expected.chunks_exact_mut(takes)) {
            plain.reverse(weights, delta, to);
        }
        let found = values(&block, to);
        if !add {
            let size = x.iter().zip(&expected).map(|(x, g)| (x * g).abs()).sum::<f64>().max(1.0);
            prop_assert!((inner(&found, &x) - along).abs() <= bound * size, "{} for {along}", inner(&found, &x));
        }
        close("reverse", found.into_iter(), &expected, bound)?;
    }

    prop_assert!(is_alone(&block, out) && is_alone(&block, to));

    let mut gradient = CpuGradient::<T>::new(&layout).unwrap();
    gradient.values.fill(T::nan());
    gradient.restart();
    block.map_gradient(&mut gradient, 0, &[(x_mat, delta_mat)], Some(delta_mat));
    block.map_gradient(&mut gradient, 0, &[(x_mat, further_mat), (more_mat, delta_mat)], Some(further_mat));
    gradient.complete();
    let mut expected = vec![0.0; layout.len()];
    let (to, of_bias) = expected.split_at_mut(weights.len());
    for (x, delta) in [(&x, &delta), (&x, &further), (&more, &delta)] {
        for (x, delta) in x.chunks_exact(takes).zip(delta.chunks_exact(gives)) {
            plain.gradient(x, delta, to);
        }
    }
    for (i, x) in delta.iter().enumerate().chain(further.iter().enumerate()) {
        of_bias[i % conv.channels] += x;
    }
    close("gradient", gradient.values.iter().copied(), &expected, bound)
}

fn check_everywhere(conv: Conv, pictures: usize, seed: u64) -> Result<(), TestCaseError> {
    check::<f64>(conv, pictures, seed, Isa::Portable, 1e-12)?;
    Isa::available().iter().try_for_each(|&isa| check::<f32>(conv, pictures, seed, isa, 3e-5))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn passes_are_those_of_the_definition(conv in convolutions(), pictures in 1usize..5, seed in any::<u64>()) {
        check_everywhere(conv, pictures, seed)?;
    }
}

/// A convolution of 3 x 3 taps.
fn three([height, width]: [usize; 2], inputs: usize, channels: usize) -> Conv {
    Conv { from: Shape { height, width, channels: inputs }, channels, side: 3, stride: 1 }
}

/// Where minimal filtering begins, and where its squares, groups of squares, vectors and parts of channels end.
#[test]
fn passes_at_the_edges_of_minimal_filtering_are_those_of_the_definition() {
    let cases = [
        // Pictures of one pixel or one row are not filtered, nor those of three channels.
        (three([1, 1], 5, 7), 3),
        (three([1, 9], 8, 4), 2),
        (three([9, 1], 4, 8), 1),
        (three([4, 4], 3, 40), 2),
        (three([4, 4], 40, 3), 2),
        // The smallest that are, one of them and so many that groups of squares of both kinds are full, and just more.
        (three([2, 2], 4, 4), 1),
        (three([2, 3], 4, 5), 1),
        (three([3, 2], 17, 4), 2),
        (three([3, 3], 16, 33), 1),
        (three([2, 2], 8, 8), 16),
        (three([2, 2], 8, 8), 17),
        (three([2, 2], 7, 9), 24),
        (three([2, 2], 7, 9), 25),
        (three([2, 2], 9, 31), 32),
        (three([2, 2], 31, 9), 33),
        // Several parts of channels, whose last one is narrow.
        (three([5, 8], 64, 65), 1),
        (three([4, 7], 65, 64), 2),
        (three([7, 4], 130, 6), 2),
        (three([6, 6], 5, 129), 2),
        (three([5, 5], 97, 81), 2),
    ];
    for (conv, pictures) in cases {
        check_everywhere(conv, pictures, 7).unwrap_or_else(|error| panic!("{conv:?}, {pictures} pictures: {error}"));
    }
}

/// A session's answers have the same bits however many rows it is given at a time.
#[test]
fn a_picture_has_the_same_bits_among_others_and_alone() {
    let (conv, pictures) = (three([5, 6], 9, 20), 7);
    let layout = Layout::of_graph(std::iter::once(Map::Conv(conv)));
    let weights: Vec<f32> = normals(1, layout.len()).into_iter().map(|w| w as f32).collect();
    let [x, delta] = [conv.from, conv.to()].map(|shape| normals(2, pictures * shape.numbers()));
    for &isa in Isa::available() {
        let mut net = CpuNet::<f32>::new(isa, &layout, &Centre::default(), true).unwrap();
        net.pack(&weights);
        let mut block = CpuBlock::<f32>::new(isa);
        let [x, delta] = [&x, &delta].map(|values| upload(&mut block, values, pictures));
        let [alone, together] = [1, pictures].map(|at_a_time| {
            let [to, back] = [conv.to(), conv.from].map(|shape| block.scratch(pictures, shape.numbers()));
            for first in (0..pictures).step_by(at_a_time) {
                let rows = |mat: Mat| mat.rows(first, first + at_a_time);
                block.map(&net, 0, rows(x), true, rows(to));
                block.map_reverse(&net, 0, rows(delta), rows(back), false);
            }
            [to, back].map(|mat| (0..pictures).flat_map(|r| block.row(mat, r).to_vec()).collect::<Vec<f32>>())
        });
        assert!(alone == together, "{isa:?}");
    }
}

/// Numbers between -1 and 1.
fn uniform(seed: u64, n: usize) -> Vec<f64> {
    let sequence = Sequence::new(seed, 0, Stream::Init);
    (0..n as u64).map(|i| f64::from(2.0 * unit(sequence.word(i)) - 1.0)).collect()
}

/// Returns the largest error, and the mean square of errors as a part of the mean square of the numbers.
fn errors(found: &[f32], expected: &[f64]) -> [f64; 2] {
    let square = |x: f64| x * x;
    let differences = || found.iter().zip(expected).map(|(&found, expected)| f64::from(found) - expected);
    let largest = differences().fold(0.0, |most, x| x.abs().max(most));
    [largest, differences().map(square).sum::<f64>() / expected.iter().copied().map(square).sum::<f64>()]
}

/// The bounds that `winograd_transforms` states, and what errors are beside those of the definition in 32-bit numbers.
#[test]
fn rounding_stays_within_its_bounds() {
    let unit = f64::from(f32::EPSILON) / 2.0;
    for (inputs, outputs, side, pictures) in [(4, 4, 9, 3), (33, 64, 8, 2), (64, 32, 16, 2), (130, 9, 6, 2)] {
        let conv = three([side, side], inputs, outputs);
        let (plain, layout) = (Plain(conv), Layout::of_graph(std::iter::once(Map::Conv(conv))));
        let mut parameters = uniform(1, layout.len());
        parameters[layout.layers[0].biases()].fill(0.0);
        let (weights, bias) = parameters.split_at(layout.layers[0].weights().len());
        let (x, delta) = (uniform(2, pictures * conv.from.numbers()), uniform(3, pictures * conv.to().numbers()));
        let lines = || x.chunks_exact(conv.from.numbers()).zip(delta.chunks_exact(conv.to().numbers()));
        let mut expected = [vec![0.0; delta.len()], vec![0.0; x.len()], vec![0.0; weights.len()]];
        let [forward, reverse, gradient] = &mut expected;
        let results = forward.chunks_exact_mut(conv.to().numbers()).zip(reverse.chunks_exact_mut(conv.from.numbers()));
        for ((x, delta), (forward, reverse)) in lines().zip(results) {
            plain.forward(weights, bias, x, forward);
            plain.reverse(weights, delta, reverse);
            plain.gradient(x, delta, gradient);
        }
        let mut rounded = vec![0f32; delta.len()];
        for ((x, _), to) in lines().zip(rounded.chunks_exact_mut(conv.to().numbers())) {
            plain.terms(|out, from, weight| to[out] = (weights[weight] as f32).mul_add(x[from] as f32, to[out]));
        }
        let [_, by_definition] = errors(&rounded, &expected[0]);

        let squares = (pictures * side.div_ceil(2).pow(2)) as f64;
        let chain = |channels: usize| 64.0 * (channels + 12) as f64 * channels as f64;
        let bounds = [chain(inputs), chain(outputs), 36.0 * squares * (squares / 32.0 + 42.0)];
        for &isa in Isa::available() {
            let mut net = CpuNet::<f32>::new(isa, &layout, &Centre::default(), true).unwrap();
            net.pack(&parameters.iter().map(|&w| w as f32).collect::<Vec<_>>());
            let mut block = CpuBlock::<f32>::new(isa);
            let [x, delta] = [&x, &delta].map(|values| upload(&mut block, values, pictures));
            let [to, back] = [conv.to(), conv.from].map(|shape| block.scratch(pictures, shape.numbers()));
            block.map(&net, 0, x, false, to);
            block.map_reverse(&net, 0, delta, back, false);
            let mut gradient = CpuGradient::<f32>::new(&layout).unwrap();
            gradient.restart();
            block.map_gradient(&mut gradient, 0, &[(x, delta)], None);
            gradient.complete();
            let rows = |mat: Mat| (0..pictures).flat_map(|r| block.row(mat, r).to_vec()).collect::<Vec<f32>>();
            let found = [rows(to), rows(back), gradient.values[..weights.len()].to_vec()];
            for ((found, expected), bound) in found.iter().zip(&expected).zip(bounds) {
                let [largest, square] = errors(found, expected);
                assert!(largest < bound * unit, "{conv:?}, {isa:?}: {largest:e}, bound {:e}", bound * unit);
                assert!(square.sqrt() < 5e-7, "{conv:?}, {isa:?}: {:e}", square.sqrt());
            }
            let [_, square] = errors(&found[0], &expected[0]);
            assert!(square < 2.0 * by_definition, "{conv:?}, {isa:?}: {square:e} beside {by_definition:e}");
        }
    }
}
