//! What the methods of a block do where peaks have axes of their own, one after the other as a training does them,
//! against the CPU device. The kernels by themselves are compared elsewhere.

use super::simulator;
use super::support::{alike, close_above, cpu, download, normals, own_axes, ticks, uniforms, upload};
use crate::device::cpu::CpuNoise;
use crate::device::cuda::block::{CudaBlock, CudaNoise};
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::cuda::sums::{CudaSums, TERMS};
use crate::device::gpus::CudaConfig;
use crate::device::{Bridge, Chosen, Mat, MixtureLoss, PeaksTerm, Points, Rows, Sums, Weighted, Workspace};
use crate::formulas::{Axes, Head, Peaks};
use crate::rng::{Sequence, Stream};
use std::sync::Arc;

const SEED: u64 = 7;
const NUMBER: u64 = 3;
const FIRST_SOURCE: usize = 5;
/// Floats of the workspace, and partial sums of a term.
const ROOM: usize = 1 << 20;
const CAPACITY: usize = 256;

#[derive(Clone, Copy)]
struct Problem {
    d: usize,
    peaks: usize,
    components: usize,
    sources: usize,
}

/// Columns of matrices, with their numbers.
type Input = (usize, Vec<f32>);

impl Problem {
    fn rows(&self) -> usize {
        self.sources * self.components
    }

    fn axes(&self) -> Axes<Vec<f32>> {
        let &Self { d, peaks, .. } = self;
        let numbers = |salt, each: usize, factor: f64| -> Vec<f64> {
            normals(SEED ^ salt, each * peaks).iter().map(|&x| factor * f64::from(x)).collect()
        };
        let peaks = Peaks {
            weights: numbers(1, 1, 0.5).into(),
            precisions: numbers(2, d, 0.5).iter().map(|x| x.abs()).collect::<Vec<_>>().into(),
            centres: numbers(3, d, 0.5).into(),
            tilts: numbers(4, d, 0.1).into(),
            axes: Some(own_axes(SEED, d, peaks)),
        };
        alike(SEED, d, 0.8).with_peaks(&peaks).unwrap()
    }

    /// Source samples and the generator's outputs for them; rows' source samples and times; V and its gradient.
    fn inputs(&self, axes: &Axes<Vec<f32>>) -> [Input; 6] {
        let &Self { d, components, sources, .. } = self;
        let (rows, cols) = (self.rows(), components * (2 * d + 1));
        let each = |x: &[f32], cols: usize| x.chunks_exact(cols).flat_map(|row| row.repeat(components)).collect();
        let x0 = normals(SEED ^ 5, sources * d);
        let times = ticks(axes.clock, &uniforms(SEED ^ 6, sources, 0.3, 0.9));
        let outputs = normals(SEED ^ 7, sources * cols).iter().map(|x| 0.3 * x).collect();
        let (of_rows, of_times) = (each(&x0, d), each(&times, 3));
        let [v, g] = [(8, 1), (9, d + 1)].map(|(salt, cols)| (cols, normals(SEED ^ salt, rows * cols)));
        [(d, x0), (cols, outputs), (d, of_rows), (3, of_times), v, g]
    }

    /// Returns what was written, by name.
    fn run<D: Rows>(
        &self,
        device: &mut D,
        axes: &Axes<D::AxisNumbers>,
        noise: D::Noise,
        [sources, outputs, x0, time, v, g]: [Mat; 6],
        sums: &mut D::Sums,
    ) -> Vec<(&'static str, Mat)> {
        let (d, rows, head) = (self.d, self.rows(), Head { deterministic: false });
        device.peaks_plan(axes, sources, outputs);
        let mut written = vec![("outputs", outputs)];
        let (mut raw, mut which, mut state) = (Mat::NONE, Mat::NONE, Mat::NONE);
        let log = device.scratch(rows, 1);
        // Drawn as by the value step, then in turn.
        for drawn in [true, false] {
            (raw, which) = (device.scratch(rows, 2 * d), device.scratch(rows, 1));
            let chosen = Chosen { raw, log: (!drawn).then_some(log), which: Some(which) };
            device.choose(outputs, drawn.then_some(&noise), &chosen);
            let bridge = Bridge { x0, raw, noise, time, which: Some(which) };
            state = device.scratch(rows, d + 1);
            let (end, drift) = (device.scratch(rows, d + 1), device.scratch(rows, d));
            let points = Points { end: Some(end), state: Some(state), drift: Some(drift) };
            device.bridge(&head, axes, &bridge, &points);
            written.extend([("which", which), ("end", end), ("state", state), ("drift", drift)]);
        }
        let xt = state.columns(0, d);
        device.peaks(&PeaksTerm { axes, time: Some(time), x: xt, v: Some(v), g: Some(g) });
        let delta = device.scratch(rows, 2 * d);
        let weighted = Weighted { log, loss: device.scratch(rows, 1) };
        let loss = MixtureLoss {
            head: &head,
            axes,
            bridge: &Bridge { x0, raw, noise, time, which: Some(which) },
            xt,
            v,
            g,
            components: self.components,
            weighted: Some(weighted),
            delta,
            scale: 1.0,
        };
        device.mixture(&loss, sums);
        device.add_components_mean(outputs, 2 * d, axes, sources);
        written.extend([("v", v), ("g", g), ("delta", delta), ("losses", weighted.loss), ("mean", sources)]);
        written
    }

    fn check(&self, gpu: &Arc<Gpu>) {
        let (rows, axes) = (self.rows(), self.axes());
        let inputs = self.inputs(&axes);
        let first_row = (FIRST_SOURCE * self.components) as u64;

        let mut block = cpu();
        let mats = inputs.each_ref().map(|(cols, x)| upload(&mut block, x, *cols));
        let [xi, eta] = [Stream::Endpoint, Stream::Bridge].map(|stream| {
            let to = block.scratch(rows, self.d);
            block.draw_normals(&Sequence::new(SEED, NUMBER, stream), first_row * self.d as u64, to);
            to
        });
        let component = block.scratch(self.sources, 1);
        block.draw_uniforms(&Sequence::new(SEED, NUMBER, Stream::Component), FIRST_SOURCE as u64, component);
        let mut expected_sums = Sums::default();
        let expected = self.run(&mut block, &axes, CpuNoise { xi, eta, component }, mats, &mut expected_sums);

        let numbers = DeviceBuffer::of(gpu, &axes.numbers, "axes").unwrap();
        let mut workspace = DeviceBuffer::<f32>::new(gpu, ROOM, "a workspace").unwrap();
        let losses = DeviceBuffer::of(gpu, &[0f64; CAPACITY * TERMS], "losses").unwrap();
        let mut device = CudaBlock::new(gpu, gpu.stream(), workspace.address(), ROOM);
        let mats = inputs.map(|(cols, x)| {
            let mat = device.scratch(x.len() / cols, cols);
            for (r, row) in x.chunks_exact(cols).enumerate() {
                workspace.upload(mat.offset + r * mat.stride, row).unwrap();
            }
            mat
        });
        let noise = CudaNoise { seed: SEED, counter: 0, number: NUMBER, first_row };
        let mut sums = CudaSums { address: losses.address(), capacity: CAPACITY, counts: [0; TERMS] };
        let found = self.run(&mut device, &axes.at(numbers.address()), noise, mats, &mut sums);
        device.finish().unwrap();

        for ((what, mat), (_, of_cpu)) in found.into_iter().zip(expected) {
            let mut values = vec![0f32; mat.rows * mat.cols];
            for (r, row) in values.chunks_exact_mut(mat.cols).enumerate() {
                workspace.download(mat.offset + r * mat.stride, row).unwrap();
            }
            // Each is computed from what the last one gave, so roundings add up: a hundred times the usual bound.
            close_above(what, &values, &download(&block, of_cpu), mat.cols, |_| 100.0);
        }
        let mut all = vec![0f64; losses.len()];
        losses.download(0, &mut all).unwrap();
        let sum: f64 = all.iter().sum();
        assert!((sum - expected_sums.generator).abs() < 1e-3 * rows as f64, "{sum} {}", expected_sums.generator);
    }
}

#[test]
fn a_block_gives_what_the_cpus_gives() {
    if !simulator::load_with_compiler() {
        return;
    }
    let gpu = Gpu::open(&CudaConfig::default(), &mut |_, _| ()).expect("the GPU that was loaded");
    let _entered = gpu.enter().unwrap();
    for (d, peaks, components, sources) in
        [(2, 3, 5, 7), (3, 1, 4, 3), (16, 8, 8, 4), (17, 17, 20, 2), (33, 3, 16, 3), (64, 32, 40, 2), (5, 8, 4, 3)]
    {
        Problem { d, peaks, components, sources }.check(&gpu);
    }
}
