//! Operations on pictures without weights, activations by themselves, channels' scales, waves, and atoms.

use super::guarded::{Buffer, Matrix};
use super::host::{available, launch_with};
use super::support::{
    Output, axes, close, close_from, close_sum, cpu, download, in_two_orders, normals, ticks, uniforms, upload,
};
use crate::device::cpu::CpuNoise;
use crate::device::cuda::kernels::{
    ApplyAdjointSilu, ApplyLinearSilu, ApplySilu, AtomsTerms, Kernel, Modulate, ModulateGradient, Waves,
};
use crate::device::cuda::maps::{MapLaunch, map_launch, over_pixels};
use crate::device::layout::Shape;
use crate::device::{ActivationRule, Bridge, Fixed, Maps, Mat, Method, MixtureLoss, Sums, Workspace};
use crate::formulas::{Activation, Head};
use proptest::prelude::*;

/// Kernels of each activation: its value, the linear rule and the adjoint rule.
const APPLIED: [(Activation, [Kernel; 3]); 3] = [
    (Activation::Silu, [Kernel::ApplySilu, Kernel::ApplyLinearSilu, Kernel::ApplyAdjointSilu]),
    (Activation::Tanh, [Kernel::ApplyTanh, Kernel::ApplyLinearTanh, Kernel::ApplyAdjointTanh]),
    (Activation::Softplus, [Kernel::ApplySoftplus, Kernel::ApplyLinearSoftplus, Kernel::ApplyAdjointSoftplus]),
];

fn place(matrix: &Matrix) -> (u64, u32) {
    (matrix.data.address() as u64, matrix.stride as u32)
}

/// A matrix with gaps between the rows, which allow quads where the columns do and `gap` is a multiple of four.
fn matrix(values: &[f32], cols: usize, gap: usize) -> Matrix {
    Matrix::of(values, cols, cols + gap)
}

fn shapes() -> impl Strategy<Value = Shape> {
    let channels = prop_oneof![1usize..=9, (1usize..=4).prop_map(|four| 4 * four), Just(140usize)];
    (1usize..=4, 1usize..=5, channels).prop_map(|(height, width, channels)| Shape { height, width, channels })
}

/// Every kind of map.
fn maps() -> impl Strategy<Value = Fixed> {
    (0usize..9, shapes(), 0usize..4, 0usize..4).prop_map(|(kind, shape, one, two)| {
        let fine = Shape { height: 2 * shape.height, width: 2 * shape.width, ..shape };
        match kind {
            0 => Fixed::Times(-1.5),
            1 => Fixed::Interleave(shape),
            2 => Fixed::Pool(fine),
            3 => Fixed::Enlarge(shape),
            4 => Fixed::Fold(fine),
            5 => Fixed::Pad { part: shape, to: [shape.height + one, shape.width + two] },
            6 => Fixed::Sum(shape),
            7 => Fixed::Bilinear(shape),
            _ => Fixed::Join { part: shape, first: 2 * one, of: shape.channels + 2 * (one + two) },
        }
    })
}

proptest! {
    #![proptest_config(super::support::cases(200))]

    #[test]
    fn fixed(
        map in maps(), reverse in any::<bool>(), add in any::<bool>(), rows in 1usize..6, gap in 0usize..3,
        aligned in any::<bool>(), blocks in 1u32..4, seed in any::<u64>(),
    ) {
        if !available() {
            return Ok(());
        }
        let gap = if aligned { 4 * gap } else { gap };
        let [takes, gives] = map.ends().unwrap_or([37; 2]);
        let [from, to] = if reverse { [gives, takes] } else { [takes, gives] };
        let (x, before) = (normals(seed, rows * from), normals(!seed, rows * to));
        let mut device = cpu();
        let [xm, expected] = [(&x, from), (&before, to)].map(|(x, cols)| upload(&mut device, x, cols));
        device.fixed(&map, reverse, xm, expected, add);
        let x = matrix(&x, from, gap);
        let [found] = in_two_orders(seed, |order| {
            let mut out = matrix(&before, to, gap);
            if matches!(map, Fixed::Pad { .. }) && !reverse && !add {
                // The device clears it.
                out = matrix(&vec![0.0; rows * to], to, gap);
            }
            match map_launch(&map, reverse, (place(&x), from), place(&out), rows, add) {
                MapLaunch::Copies(threads, arguments) => {
                    assert!(threads > 0);
                    launch_with(Kernel::MapCopy, [blocks, 1, 1], [64, 1, 1], order, &arguments);
                }
                MapLaunch::Quads(_, arguments) => {
                    launch_with(Kernel::MapQuads, [blocks, 1, 1], [64, 1, 1], order, &arguments);
                }
                MapLaunch::Bilinear(_, arguments) => {
                    launch_with(Kernel::MapBilinear, [blocks, 1, 1], [64, 1, 1], order, &arguments);
                }
                MapLaunch::Sums(grid, block, arguments) => {
                    launch_with(Kernel::MapSums, [grid, 1, 1], block, order, &arguments);
                }
            }
            [Output::from(out)]
        });
        close_from("map", &found.values(), &download(&device, expected), to, 1.0);
    }

    #[test]
    fn applied(
        rows in 1usize..20, cols in 1usize..60, gap in 0usize..3, aligned in any::<bool>(), add in any::<bool>(),
        still in any::<bool>(), kind in 0usize..3, blocks in 1u32..4, seed in any::<u64>(),
    ) {
        if !available() {
            return Ok(());
        }
        let (cols, gap) = if aligned { (4 * cols, 4 * gap) } else { (cols, gap) };
        let values = [0, 1, 2, 3, 4].map(|salt| normals(seed ^ salt, rows * cols));
        let (activation, [value, linear, adjoint]) = APPLIED[kind];
        let mut device = cpu();
        let [a, x, tangent, q, before] = values.each_ref().map(|x| upload(&mut device, x, cols));
        let plain = device.scratch(rows, cols);
        device.activate(activation, a, plain);
        let rule = ActivationRule { a, tangent, delta: x, q: (!still).then_some(q) };
        let bent = upload(&mut device, &values[4], cols);
        device.activate_adjoint(activation, &rule, bent, add);
        device.activate_linear(activation, a, x, before, add);

        let of = values.each_ref().map(|x| matrix(x, cols, gap));
        let [(a, a_stride), (x, x_stride), (tangent, tangent_stride), (q, q_stride), _] = of.each_ref().map(place);
        let (rows, cols, add) = (rows as u32, cols as u32, u32::from(add));
        let found = in_two_orders(seed, |order| {
            let outs = [0; 3].map(|_| matrix(&values[4], cols as usize, gap));
            let (grid, block) = ([blocks, 1, 1], [64, 1, 1]);
            let [(to, to_stride), scaled, bent] = outs.each_ref().map(place);
            launch_with(value, grid, block, order, &ApplySilu { a, a_stride, to, to_stride, rows, cols });
            let (to, to_stride) = scaled;
            let arguments = ApplyLinearSilu { a, a_stride, x, x_stride, to, to_stride, rows, cols, add };
            launch_with(linear, grid, block, order, &arguments);
            let (to, to_stride) = bent;
            let arguments = ApplyAdjointSilu {
                a, a_stride, tangent, tangent_stride, delta: x, delta_stride: x_stride,
                q: if still { 0 } else { q }, q_stride, to, to_stride, rows, cols, add,
            };
            launch_with(adjoint, grid, block, order, &arguments);
            outs.map(Output::from)
        });
        for (found, expected) in found.iter().zip([plain, before, bent]) {
            close_from("activation", &found.values(), &download(&device, expected), cols as usize, 1.0);
        }
    }

    #[test]
    fn modulated(
        shape in shapes(), rows in 1usize..6, gap in 0usize..3, aligned in any::<bool>(), form in 0usize..3,
        two in any::<bool>(), shifted in any::<bool>(), blocks in 1u32..4, seed in any::<u64>(),
    ) {
        if !available() {
            return Ok(());
        }
        let gap = if aligned { 4 * gap } else { gap };
        let (cols, both) = (shape.numbers(), 2 * shape.channels);
        // Shifted; not; added to what is there.
        let (shift, add) = (form == 0, form == 2);
        let values = [0, 1, 2, 3].map(|salt| normals(seed ^ salt, rows * cols));
        let [e, sums] = [4, 5].map(|salt| normals(seed ^ salt, rows * both));
        let mut device = cpu();
        let [x, q, x2, q2] = values.each_ref().map(|x| upload(&mut device, x, cols));
        let [em, sm] = [&e, &sums].map(|e| upload(&mut device, e, both));
        let out = upload(&mut device, &values[1], cols);
        device.modulate(shape, x, em, shift, out, add);
        let pairs = [(x, q), (x2, q2)];
        device.modulate_gradient(shape, &pairs[..1 + usize::from(two)], shifted.then_some(q), sm, add);

        let of = values.each_ref().map(|x| matrix(x, cols, gap));
        let e = matrix(&e, both, gap);
        let [(x, x_stride), (q, q_stride), (x2, x2_stride), (q2, q2_stride)] = of.each_ref().map(place);
        let (pixels, channels) = ((shape.height * shape.width) as u32, shape.channels as u32);
        let [found, found_sums] = in_two_orders(seed, |order| {
            let (out, to_sums) = (matrix(&values[1], cols, gap), matrix(&sums, both, gap));
            let ((to, to_stride), (e, e_stride)) = (place(&out), place(&e));
            let arguments = Modulate {
                x, x_stride, e, e_stride, shift: u32::from(shift), to, to_stride, rows: rows as u32, pixels, channels,
                add: u32::from(add),
            };
            launch_with(Kernel::Modulate, [blocks, 1, 1], [64, 1, 1], order, &arguments);
            let (groups, block) = over_pixels(shape.channels);
            let (to, to_stride) = place(&to_sums);
            let arguments = ModulateGradient {
                x, x_stride, q, q_stride, x2: if two { x2 } else { 0 }, x2_stride, q2: if two { q2 } else { 0 },
                q2_stride, shift: if shifted { q } else { 0 }, shift_stride: q_stride, pixels, channels, groups, to,
                to_stride, add: u32::from(add),
            };
            launch_with(Kernel::ModulateGradient, [rows as u32 * groups, 1, 1], block, order, &arguments);
            [Output::from(out), Output::from(to_sums)]
        });
        close_from("modulated", &found.values(), &download(&device, out), cols, 1.0);
        close_from("gradient", &found_sums.values(), &download(&device, sm), both, (pixels as f32).sqrt());
    }

    #[test]
    fn waves_and_atoms(
        rows in 1usize..60, d in 1usize..=120, aligned in any::<bool>(), gap in 0usize..3, seed in any::<u64>(),
        blocks in 1u32..5, scale in 1e-4f32..1.0, sigma in 0.05f64..2.0,
    ) {
        if !available() {
            return Ok(());
        }
        let (d, gap) = if aligned { (d.next_multiple_of(4), 4 * gap) } else { (d, gap) };
        let [raw, g] = [0, 1].map(|salt| normals(seed ^ salt, rows * d));
        let v = normals(seed ^ 2, rows);
        let axes = axes(seed, d, sigma);
        let t = uniforms(seed ^ 3, rows, 0.0, 1.0);
        let times = ticks(axes.clock, &t);
        let mut device = cpu();
        let [rm, gm] = [&raw, &g].map(|x| upload(&mut device, x, d));
        let [vm, tm, time] = [(&v, 1), (&t, 1), (&times, 3)].map(|(x, cols)| upload(&mut device, x, cols));
        let (seen, delta) = (device.scratch(rows, 3), device.scratch(rows, d));
        device.waves(tm, seen);
        let noise = CpuNoise { xi: Mat::NONE, eta: Mat::NONE, component: Mat::NONE };
        let bridge = Bridge { x0: rm, raw: rm, noise, time, which: None };
        let loss = MixtureLoss {
            head: &Head { deterministic: true },
            axes: &axes,
            bridge: &bridge,
            xt: rm,
            v: vm,
            g: gm,
            components: 1,
            weighted: None,
            delta,
            scale: f64::from(scale),
        };
        let mut sums = Sums::default();
        device.atoms(&loss, &mut sums);

        let (raw, g, v, t) = (matrix(&raw, d, gap), matrix(&g, d, gap), matrix(&v, 1, gap), matrix(&t, 1, gap));
        let (time, numbers) = (matrix(&times, 3, gap), Buffer::of(&axes.numbers));
        let [found_waves, found, losses] = in_two_orders(seed, |order| {
            let (waves, delta) = (Matrix::new(rows, 3, 3 + gap), Matrix::new(rows, d, d + gap));
            let losses = Buffer::<f64>::new(blocks as usize);
            let (grid, block) = ([blocks, 1, 1], [128, 1, 1]);
            let ((t, t_stride), (to, to_stride)) = (place(&t), place(&waves));
            launch_with(Kernel::Waves, grid, block, order, &Waves { t, t_stride, to, to_stride, rows: rows as u32 });
            let ((raw, raw_stride), (g, g_stride), (v, v_stride)) = (place(&raw), place(&g), place(&v));
            let ((time, time_stride), (to, delta_stride)) = (place(&time), place(&delta));
            let arguments = AtomsTerms {
                axes: numbers.address() as u64,
                noise: axes.noise as f32,
                time, time_stride, raw, raw_stride, v, v_stride, g, g_stride, rows: rows as u32, d: d as u32, scale,
                delta: to, delta_stride, losses: losses.address() as u64,
            };
            launch_with(Kernel::AtomsTerms, grid, block, order, &arguments);
            [Output::from(waves), Output::from(delta), Output::from(losses)]
        });
        close_from("waves", &found_waves.values(), &download(&device, seen), 3, 1.0);
        close("delta", &found.values(), &download(&device, delta), d);
        close_sum("loss", losses.sum(), sums.generator, sums.generator.abs() + rows as f64);
    }
}
