//! Rates of the kernels on a GPU, beside what its memory gives to a plain copy in the same run and what its arithmetic
//! could do. Prints one JSON line each:
//!
//! ```text
//! bytes, operations   a launch's, as the kernel's contract in cuda/ counts them
//! microseconds        median of the runs
//! bound               "memory" or "arithmetic": whichever takes longer at full rate
//! share               of that rate; operations are held against two a lane and cycle, as if all were multiply-adds
//! ```

use crate::device::cuda::block::{CudaBlock, CudaNoise};
use crate::device::cuda::driver;
use crate::device::cuda::gpu::Gpu;
use crate::device::cuda::kernels::{
    ActivationScale, ActivationSilu, GradientReduce, Kernel, OptimiserUpdate, UpdateParameters,
};
use crate::device::cuda::memory::DeviceBuffer;
use crate::device::cuda::sums::{CudaSums, TERMS};
use crate::device::gpus::{CudaConfig, Products};
use crate::device::{Bridge, Chosen, Mat, Method, MixtureLoss, PeaksTerm, Points, Weighted, Workspace};
use crate::error::Result;
use crate::formulas::peaks::width;
use crate::formulas::{Axes, Head, Peaks, Tick};
use crate::rng::Stream;
use cudarc::driver::sys::{self, CUdevice_attribute};
use std::ptr;
use std::sync::Arc;

/// Launches between two events, and how often that is measured.
const LAUNCHES: usize = 10;
const RUNS: usize = 7;
/// Bytes of the copy.
const COPIED: usize = 1 << 30;
/// Floats that one kernel's matrices take at most: more than any cache, less than any GPU's memory.
const ROOM: usize = 1 << 28;
/// Components of all samples together.
const ELEMENTS: usize = 1 << 24;

struct Bench {
    gpu: Arc<Gpu>,
    block: CudaBlock,
    /// Per second.
    copied: f64,
    operations: f64,
}

impl Bench {
    /// Median microseconds of a launch.
    fn time(&mut self, mut work: impl FnMut(&mut CudaBlock)) -> f64 {
        let mut runs: Vec<f64> = (0..=RUNS)
            .map(|_| {
                // SAFETY: the context is current, the stream alive, and the events are destroyed after their last use.
                unsafe {
                    let [mut begin, mut end] = [ptr::null_mut(); 2];
                    ok(sys::cuEventCreate(&mut begin, 0));
                    ok(sys::cuEventCreate(&mut end, 0));
                    ok(sys::cuEventRecord(begin, self.gpu.stream()));
                    (0..LAUNCHES).for_each(|_| work(&mut self.block));
                    ok(sys::cuEventRecord(end, self.gpu.stream()));
                    ok(sys::cuEventSynchronize(end));
                    let mut milliseconds = 0.0;
                    ok(sys::cuEventElapsedTime_v2(&mut milliseconds, begin, end));
                    ok(sys::cuEventDestroy_v2(begin));
                    ok(sys::cuEventDestroy_v2(end));
                    f64::from(milliseconds) * 1e3 / LAUNCHES as f64
                }
            })
            // The first run warms up.
            .skip(1)
            .collect();
        self.block.finish().expect("the kernels run");
        runs.sort_by(f64::total_cmp);
        runs[RUNS / 2]
    }

    fn report(&mut self, kernel: &str, size: &str, bytes: f64, operations: f64, work: impl FnMut(&mut CudaBlock)) {
        let microseconds = self.time(work);
        let (memory, arithmetic) = (bytes / self.copied * 1e6, operations / self.operations * 1e6);
        let bound = if memory >= arithmetic { "memory" } else { "arithmetic" };
        println!(
            "{{\"kernel\": \"{kernel}\", \"size\": \"{size}\", \"bytes\": {bytes:.0}, \"operations\": {operations:.0}, \
             \"microseconds\": {microseconds:.2}, \"gigabytes_per_second\": {:.1}, \"copy_share\": {:.4}, \
             \"bound\": \"{bound}\", \"share\": {:.4}}}",
            bytes / microseconds / 1e3,
            memory / microseconds,
            memory.max(arithmetic) / microseconds
        );
    }

    /// Standard normals.
    fn normals(&mut self, rows: usize, cols: usize) -> Mat {
        let mat = self.block.scratch(rows, cols);
        self.block.normals(&noise(), Stream::Init, 0, mat);
        mat
    }
}

fn ok(status: sys::CUresult) {
    driver::check(status, || "measure".into()).expect("a sound GPU");
}

fn noise() -> CudaNoise {
    CudaNoise { seed: 7, counter: 0, number: 0, first_row: 0 }
}

fn attribute(device: i32, which: CUdevice_attribute) -> f64 {
    let mut value = 0;
    // SAFETY: the driver is ready.
    ok(unsafe { sys::cuDeviceGetAttribute(&mut value, which, device) });
    f64::from(value)
}

/// Operations a second of all lanes, a multiply-add being two, at the highest clock.
fn arithmetic(gpu: &Gpu) -> Result<f64> {
    use CUdevice_attribute::{CU_DEVICE_ATTRIBUTE_CLOCK_RATE, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT};
    let device = driver::device(gpu.info().index as i32)?;
    let lanes = match gpu.info().capability {
        (7, _) | (8, 0) => 64.0,
        _ => 128.0,
    };
    let kilohertz = attribute(device, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
    Ok(2e3 * lanes * kilohertz * attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT))
}

fn zeroed<T: Copy>(bench: &Bench, len: usize) -> Result<DeviceBuffer<T>> {
    let mut buffer = DeviceBuffer::planned(&bench.gpu, len);
    buffer.allocate_zeroed("zeros")?;
    Ok(buffer)
}

fn copies(bench: &mut Bench) -> Result<()> {
    let (from, to) = (zeroed::<u8>(bench, COPIED)?, zeroed::<u8>(bench, COPIED)?);
    let stream = bench.gpu.stream();
    let microseconds = bench.time(|_| {
        // SAFETY: two buffers of that size, which outlive the run.
        ok(unsafe { sys::cuMemcpyDtoDAsync_v2(to.address(), from.address(), COPIED, stream) });
    });
    bench.copied = 2.0 * COPIED as f64 / microseconds * 1e6;
    println!(
        "{{\"kernel\": \"copy\", \"size\": \"{COPIED} bytes\", \"bytes\": {}, \"microseconds\": {microseconds:.2}, \
         \"gigabytes_per_second\": {:.1}, \"operations_per_second\": {:.4e}}}",
        2 * COPIED,
        bench.copied / 1e9,
        bench.operations
    );
    Ok(())
}

const HEAD: Head = Head { deterministic: false };

/// Axes that are all alike, with the memory of their numbers.
fn axes(bench: &Bench, d: usize) -> Result<(DeviceBuffer<f32>, Axes<u64>)> {
    held(bench, &Axes::even(d, 1.0))
}

fn held(bench: &Bench, axes: &Axes<Vec<f32>>) -> Result<(DeviceBuffer<f32>, Axes<u64>)> {
    let numbers = DeviceBuffer::of(&bench.gpu, &axes.numbers, "the axes")?;
    let axes = axes.at(numbers.address());
    Ok((numbers, axes))
}

/// x1, x_t and drift of a batch: 12 bytes an element read, 12 written.
fn bridges(bench: &mut Bench, d: usize) -> Result<()> {
    let rows = ELEMENTS / d;
    let mark = bench.block.mark();
    let (x0, raw) = (bench.normals(rows, d), bench.normals(rows, 2 * d));
    let [end, state] = [0; 2].map(|_| bench.block.scratch(rows, d + 1));
    let drift = bench.block.scratch(rows, d);
    let time = bench.block.scratch(rows, Tick::<f32>::NUMBERS);
    bench.block.fill(time, 0.5);
    let (_numbers, axes) = axes(bench, d)?;
    let bridge = Bridge { x0, raw, noise: noise(), time, which: None };
    let points = Points { end: Some(end), state: Some(state), drift: Some(drift) };
    let elements = ELEMENTS as f64;
    bench.report("bridge_sample", &format!("d {d}"), 24.0 * elements, 115.0 * elements, |block| {
        block.bridge(&HEAD, &axes, &bridge, &points);
    });
    bench.block.reset(mark);
    Ok(())
}

/// Forward and backward of a batch's mixtures: 20 bytes an element read, 8 written, 6 K operations.
fn mixtures(bench: &mut Bench, d: usize, components: usize, weighted: bool) -> Result<()> {
    let rows = ELEMENTS / d;
    let mark = bench.block.mark();
    let (x0, raw, xt) = (bench.normals(rows, d), bench.normals(rows, 2 * d), bench.normals(rows, d));
    let (g, v) = (bench.normals(rows, d), bench.normals(rows, 1));
    let (time, delta) = (bench.block.scratch(rows, Tick::<f32>::NUMBERS), bench.block.scratch(rows, 2 * d));
    bench.block.fill(time, 0.5);
    let (_numbers, axes) = axes(bench, d)?;
    let losses = DeviceBuffer::<f64>::new(&bench.gpu, rows / components, "losses")?;
    let bridge = Bridge { x0, raw, noise: noise(), time, which: None };
    let elements = ELEMENTS as f64;
    let operations = 6.0 * (components * ELEMENTS) as f64;
    let by = Weighted { log: bench.normals(rows, 1), loss: bench.block.scratch(rows, 1) };
    let by = weighted.then_some(by);
    let name = if weighted { "mixture, weighted" } else { "mixture" };
    bench.report(name, &format!("K {components}, d {d}"), 28.0 * elements, operations, |block| {
        let mut sums = CudaSums { address: losses.address(), capacity: losses.len(), counts: [0; TERMS] };
        let scale = 1.0 / rows as f64;
        let (head, axes, bridge) = (&HEAD, &axes, &bridge);
        let loss = MixtureLoss { head, axes, bridge, xt, v, g, components, weighted: by, delta, scale };
        block.mixture(&loss, &mut sums);
    });
    bench.block.reset(mark);
    Ok(())
}

/// Components drawn for the rows of source samples, and a gradient folded back: 4 bytes a number read and written each.
fn components(bench: &mut Bench, d: usize, components: usize) {
    let (rows, raw) = (ELEMENTS / d, 2 * d);
    let mark = bench.block.mark();
    let outputs = bench.normals(rows / components, components * (raw + 1));
    let (to, losses) = (bench.normals(rows, raw), bench.normals(rows, 1));
    let folded = bench.block.scratch(outputs.rows, outputs.cols);
    let (what, bytes) = (format!("K {components}, d {d}"), 16.0 * ELEMENTS as f64);
    let noise = noise();
    let chosen = Chosen { raw: to, log: None, which: None };
    bench.report("components_choose", &what, bytes, 0.0, |block| block.choose(outputs, Some(&noise), &chosen));
    bench.report("components_fold", &what, bytes, 0.0, |block| block.fold(outputs, to, losses, 1.0, folded));
    bench.block.reset(mark);
}

/// V and gradient that peaks add to a batch's: 4 bytes an element read, and 4 read and written; 23 operations for each lane
/// of the peaks. And their plan: 8 bytes read and written for each axis of a component, with 16 operations.
fn peaks(bench: &mut Bench, d: usize, count: usize) -> Result<()> {
    const COMPONENTS: usize = 8;
    let rows = ELEMENTS / d;
    let mark = bench.block.mark();
    let (x, v, g) = (bench.normals(rows, d), bench.normals(rows, 1), bench.normals(rows, d));
    let outputs = bench.normals(rows / COMPONENTS, COMPONENTS * (2 * d + 1));
    let time = bench.block.scratch(rows, Tick::<f32>::NUMBERS);
    bench.block.fill(time, 0.5);
    let [weights, precisions, centres, tilts] =
        [(1, 0.0), (d, 1.0), (d, 0.0), (d, 0.0)].map(|(each, value)| vec![value; each * count].into());
    let peaks = Peaks { weights, precisions, centres, tilts, axes: None };
    let (_numbers, axes) = held(bench, &Axes::even(d, 1.0).with_peaks(&peaks)?)?;
    let (size, elements) = (format!("{count} peaks, d {d}"), ELEMENTS as f64);
    let operations = 23.0 * (width(count) * ELEMENTS) as f64;
    bench.report("peaks_add", &size, 12.0 * elements, operations, |block| {
        block.peaks(&PeaksTerm { axes: &axes, time: Some(time), x, v: Some(v), g: Some(g) });
    });
    bench.report("peaks_plan", &size, 16.0 * elements, 16.0 * elements, |block| {
        block.peaks_plan(&axes, x.rows(0, rows / COMPONENTS), outputs);
    });
    bench.block.reset(mark);
    Ok(())
}

/// Adam with the moving average, applied: 20 bytes a parameter read, 16 written. And the sum of a gradient's
/// contributions with its squares: 4 bytes a parameter and line read, 4 written.
fn optimiser(bench: &mut Bench) -> Result<()> {
    let mark = bench.block.mark();
    let n = ELEMENTS;
    let state = [0; 5].map(|_| bench.normals(n, 1));
    bench.block.fill(state[3], 1.0);
    let [weights, gradient, first, second, average] = state.map(|mat| bench.block.address(mat));
    // After the sums: rate, correction of the second moment, averaging, and that the update is made.
    let plan = [1e-3f32, 1.0, 0.998].map(f32::to_bits);
    let plan = DeviceBuffer::of(&bench.gpu, &[&[0; 2 * TERMS], &plan[..], &[1]].concat(), "the plan")?;
    let partials = zeroed::<f64>(bench, 1 << 16)?;
    let size = format!("{n} parameters");
    let parameters = n as f64;
    bench.report("optimiser_update", &size, 36.0 * parameters, 20.0 * parameters, |block| {
        let arguments = OptimiserUpdate {
            weights,
            gradient,
            first,
            second,
            average,
            n: n as u64,
            beta1: 0.5,
            beta2: 0.99,
            epsilon: 1e-8,
            previous: 0,
            pitch: 0,
            plan: plan.address(),
            squares: partials.address(),
            square_count: 256,
            clip: 0.0,
            sizes: partials.at(256),
        };
        block.launch_over(n as u64 / 4, &arguments);
    });
    const LINES: usize = 8;
    let pitch = n / LINES;
    let (size, sums) = (format!("{LINES} x {pitch}"), pitch as f64);
    bench.report("gradient_reduce", &size, 36.0 * sums, 10.0 * sums, |block| {
        // The plan's block: no terms, counter and fault 0.
        let zeros = partials.at(1 << 15);
        let update = UpdateParameters {
            terms: zeros,
            capacity: 0,
            count0: 0,
            count1: 0,
            count2: 0,
            count3: 0,
            checked: 0,
            counter: zeros,
            rate: 1e-3,
            log_beta1: 0.5f64.ln(),
            log_beta2: 0.99f64.ln(),
            ema_decay: 0.998,
            decay_steps: 0,
            decay_floor: 0.0,
            fault: zeros,
            plan: plan.address(),
        };
        let arguments = GradientReduce {
            lines: gradient,
            pitch: pitch as u64,
            count: LINES as u32,
            gradient: weights,
            n: pitch as u64,
            accumulate: 0,
            squares: partials.address(),
            update,
        };
        block.launch_over(pitch as u64 / 4, &arguments);
    });
    bench.block.reset(mark);
    Ok(())
}

/// Around a product of width 256: h in place and both derivatives, or the reverse rule with its curve.
fn activations(bench: &mut Bench) {
    const WIDTH: usize = 256;
    // As layers.rs launches them: 32 threads of four columns, eight rows a pass, tiles of 32 rows or as few as 1024.
    let rows = 2 * ELEMENTS / WIDTH;
    let chunk = 32.max(rows.div_ceil(1024));
    let (grid, block) = ([(WIDTH / 128) as u32, rows.div_ceil(chunk) as u32, 1], [32, 8, 1]);
    let mark = bench.block.mark();
    let (h, bias) = (bench.normals(rows, WIDTH), bench.normals(WIDTH, 1));
    let (slope, curve) = (bench.normals(rows, WIDTH), bench.normals(rows, WIDTH));
    let bias = bench.block.address(bias);
    let [(h, h_stride), (slope, slope_stride), (curve, curve_stride)] =
        [h, slope, curve].map(|mat| bench.block.place(mat));
    let (rows, cols, chunk) = (rows as u32, WIDTH as u32, chunk as u32);
    let elements = f64::from(rows * cols);
    let size = format!("{rows} x {cols}");
    for (name, kernel) in [
        ("activation_silu", Kernel::ActivationSilu),
        ("activation_tanh", Kernel::ActivationTanh),
        ("activation_softplus", Kernel::ActivationSoftplus),
    ] {
        bench.report(name, &size, 16.0 * elements, 20.0 * elements, |device| {
            let arguments =
                ActivationSilu { h, h_stride, bias, slope, slope_stride, curve, curve_stride, rows, cols, chunk };
            device.launch_as(kernel, grid, block, &arguments);
        });
    }
    bench.report("activation_scale", &size, 20.0 * elements, 2.0 * elements, |device| {
        let arguments = ActivationScale {
            p: h,
            p_stride: h_stride,
            slope,
            slope_stride,
            curve,
            curve_stride,
            rows,
            cols,
            chunk,
            sums: 0,
            sum_curve: 0,
        };
        device.launch(grid, block, &arguments);
    });
    bench.block.reset(mark);
}

#[test]
#[ignore = "measures a GPU: scripts/gpu-check"]
fn rates() -> Result<()> {
    let config = CudaConfig { products: Products::Fused, ..Default::default() };
    let gpu = Gpu::open(&config, &mut |_, line| println!("{line}"))?;
    let _entered = gpu.enter()?;
    let workspace = DeviceBuffer::<f32>::new(&gpu, ROOM, "the matrices")?;
    let block = CudaBlock::new(&gpu, gpu.stream(), workspace.address(), ROOM);
    let operations = arithmetic(&gpu)?;
    let mut bench = Bench { gpu: Arc::clone(&gpu), block, copied: 0.0, operations };
    copies(&mut bench)?;
    for d in [16, 64] {
        bridges(&mut bench, d)?;
    }
    for (d, components, weighted) in
        [(16, 8, true), (64, 8, true), (16, 16, false), (64, 16, false), (16, 64, false), (64, 64, false)]
    {
        mixtures(&mut bench, d, components, weighted)?;
    }
    for d in [16, 64] {
        components(&mut bench, d, 8);
    }
    for (d, count) in [(16, 8), (64, 8), (64, 32)] {
        peaks(&mut bench, d, count)?;
    }
    optimiser(&mut bench)?;
    activations(&mut bench);
    Ok(())
}
