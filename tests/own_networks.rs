//! The calls for networks of the host's: what they refuse, that a batch has the same bits however it is cut and shared
//! out, that units are the host's, and that a GPU gives what the CPU gives.

mod common;
mod problems;

use std::ptr::{null, null_mut};

use common::*;
use problems::{floats, normals};
use sfeuot::abi::*;

/// The forms of a problem: latents, deterministic, components.
const FORMS: [(i32, i32, u32); 5] = [(0, 0, 3), (0, 0, 1), (1, 0, 4), (1, 1, 3), (1, 1, 1)];
const SOURCES: usize = 150;

fn context(device: i32, threads: u32) -> *mut SfeuotContext {
    let mut config = init(sfeuot_context_config_init_2);
    (config.device, config.threads) = (device, threads);
    let mut context = null_mut();
    // SAFETY: local input and output.
    ok(unsafe { sfeuot_context_create(&config, &mut context) });
    context
}

/// A problem of a context that it alone keeps.
struct Own {
    problem: *mut SfeuotProblem,
    config: SfeuotProblemConfig,
}

impl Own {
    fn new(context: *mut SfeuotContext, (latents, deterministic, components): (i32, i32, u32), scale: f64) -> Self {
        let mut config = init(sfeuot_problem_config_init);
        (config.latents, config.deterministic, config.components) = (latents, deterministic, components);
        (config.sigma, config.tau, config.dimension, config.scale) = (0.6, 0.16, 5, scale);
        let mut problem = null_mut();
        // SAFETY: a live handle, and local arguments.
        unsafe {
            ok(sfeuot_problem_create(context, &config, &mut problem));
            ok(sfeuot_context_release(context));
        }
        Self { problem, config }
    }

    fn d(&self) -> usize {
        self.config.dimension as usize
    }

    fn k(&self) -> usize {
        self.config.components as usize
    }

    /// Numbers of the generator's outputs for a component.
    fn raw(&self) -> usize {
        if self.config.deterministic == 1 { self.d() } else { 2 * self.d() }
    }

    fn outputs(&self) -> usize {
        self.k() * (self.raw() + usize::from(self.config.latents == 0))
    }

    fn times(&self, half: i32, sources: usize, first: u64) -> Vec<f32> {
        let mut times = vec![f32::NAN; if half == SFEUOT_HALF_VALUE { sources * self.k() } else { sources }];
        // SAFETY: a live handle and an array of this size.
        ok(unsafe { sfeuot_bridge_times(self.problem, half, sources as u64, 9, 4, first, times.as_mut_ptr()) });
        times
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: releasing is allowed at any time.
        unsafe { sfeuot_problem_release(self.problem) };
    }
}

/// Where the arrays of a call lie.
trait Place {
    /// A tensor over a copy of these numbers.
    fn put(&mut self, values: &[f32]) -> SfeuotTensor;
    /// The numbers of a tensor.
    fn get(&self, tensor: &SfeuotTensor) -> Vec<f32>;
}

#[derive(Default)]
struct Host {
    arrays: Vec<Vec<f32>>,
    shapes: Vec<Vec<i64>>,
}

impl Place for Host {
    fn put(&mut self, values: &[f32]) -> SfeuotTensor {
        let (mut array, shape) = (values.to_vec(), vec![values.len() as i64]);
        let mut tensor = init(sfeuot_tensor_init);
        (tensor.data, tensor.rank, tensor.shape) = (array.as_mut_ptr().cast(), 1, shape.as_ptr());
        self.arrays.push(array);
        self.shapes.push(shape);
        tensor
    }

    fn get(&self, tensor: &SfeuotTensor) -> Vec<f32> {
        // SAFETY: the tensor is over one of the arrays.
        unsafe { std::slice::from_raw_parts(tensor.data.cast(), *tensor.shape as usize) }.to_vec()
    }
}

/// Results of both halves, in the order of the header.
#[derive(Debug, PartialEq)]
struct Results {
    arrays: Vec<Vec<f32>>,
    losses: Vec<f64>,
}

impl Own {
    /// Makes all calls for source samples from `first` on. Lengths are multiplied by `unit`.
    fn call(&self, place: &mut dyn Place, first: usize, sources: usize, unit: f32) -> Results {
        let (d, k) = (self.d(), self.k());
        let part = |seed, per_source: usize| {
            floats(&normals(SOURCES * per_source, seed))[first * per_source..][..sources * per_source].to_vec()
        };
        let scaled = |values: Vec<f32>, factor: f32| values.into_iter().map(|x| x * factor).collect::<Vec<f32>>();
        let mut outputs = part(2, self.outputs());
        let means = if self.config.latents == 0 { k } else { 1 };
        for row in outputs.chunks_exact_mut(means * self.raw() + usize::from(self.config.latents == 0) * k) {
            for component in row.chunks_exact_mut(self.raw()).take(means) {
                component[..d].iter_mut().for_each(|mean| *mean *= unit);
            }
        }
        let x0 = place.put(&scaled(part(1, d), unit));
        let outputs = place.put(&outputs);
        let v: Vec<SfeuotTensor> = (3..5).map(|seed| place.put(&scaled(part(seed, k), unit * unit))).collect();
        let g = place.put(&scaled(part(5, k * d), unit));
        let mut room = |count: usize| place.put(&vec![f32::NAN; count]);
        let rows = sources * k;
        let points: Vec<SfeuotTensor> = (0..4).map(|_| room(rows * d)).collect();
        let [end, state, drift, direction] = &points[..] else { unreachable!("four") };
        let by = [room(rows), room(rows)];
        let generator_state = room(rows * d);
        let by_outputs = room(sources * self.outputs());
        let mut loss = init(sfeuot_value_loss_init);
        let mut generator_loss = f64::NAN;
        let [times, generator_times] = [0, 1].map(|half| self.times(half, sources, first as u64));
        // SAFETY: a live handle, and arrays of these sizes.
        unsafe {
            let (times, generator_times) = (times.as_ptr(), generator_times.as_ptr());
            let first = first as u64;
            ok(sfeuot_bridge_sample(self.problem, 0, &x0, &outputs, times, 9, 4, first, end, state, drift));
            ok(sfeuot_value_loss(self.problem, &v[0], &v[1], &g, drift, &by[0], &by[1], direction, &mut loss));
            ok(sfeuot_bridge_sample(
                self.problem,
                1,
                &x0,
                &outputs,
                generator_times,
                9,
                4,
                first,
                null(),
                &generator_state,
                null(),
            ));
            ok(sfeuot_generator_loss(
                self.problem,
                &x0,
                &outputs,
                generator_times,
                &generator_state,
                &v[0],
                &g,
                &by_outputs,
                &mut generator_loss,
            ));
        }
        let arrays =
            points.iter().chain(&by).chain([&generator_state, &by_outputs]).map(|one| place.get(one)).collect();
        let SfeuotValueLoss { value_loss, dual, potential, action, value_generated, value_target, .. } = loss;
        assert_eq!((value_loss, potential - action), (-dual, dual));
        let shares = [loss.density_ratio_mean, loss.matched_share];
        let losses = [potential, action, value_generated, value_target, generator_loss].into_iter().chain(shares);
        Results { arrays, losses: losses.collect() }
    }
}

#[test]
fn a_batch_has_the_same_bits_for_any_threads_and_in_pieces() {
    for form in FORMS {
        let one = Own::new(context(SFEUOT_DEVICE_CPU, 1), form, 1.0);
        let whole = one.call(&mut Host::default(), 0, SOURCES, 1.0);
        assert!(whole.arrays.iter().flatten().all(|x| x.is_finite()), "{form:?}");
        let more = Own::new(context(SFEUOT_DEVICE_CPU, 3), form, 1.0);
        assert_eq!(more.call(&mut Host::default(), 0, SOURCES, 1.0), whole, "{form:?}");
        for (first, count) in [(0, 1), (1, 70), (71, SOURCES - 71)] {
            let piece = more.call(&mut Host::default(), first, count, 1.0);
            // Bridges; gradients are means over the rows of the call.
            for array in [0, 1, 2, 6] {
                let per_source = whole.arrays[array].len() / SOURCES;
                let part = &whole.arrays[array][first * per_source..][..count * per_source];
                assert_eq!(piece.arrays[array], part, "{form:?} {array} from {first}");
            }
            let share = count as f64 / SOURCES as f64;
            for array in [3, 4, 5, 7] {
                let per_source = whole.arrays[array].len() / SOURCES;
                let part = &whole.arrays[array][first * per_source..][..count * per_source];
                for (piece, whole) in piece.arrays[array].iter().zip(part) {
                    let found = f64::from(*piece) * share;
                    assert!((found - f64::from(*whole)).abs() <= 1e-5 * f64::from(whole.abs()) + 1e-9);
                }
            }
        }
    }
}

/// Everything that is a length is as many times as large, and costs the square of that.
#[test]
fn units_are_the_hosts() {
    for form in FORMS {
        let plain = Own::new(context(SFEUOT_DEVICE_CPU, 2), form, 1.0).call(&mut Host::default(), 0, SOURCES, 1.0);
        let own = Own::new(context(SFEUOT_DEVICE_CPU, 2), form, 50.0);
        let large = own.call(&mut Host::default(), 0, SOURCES, 50.0);
        let factors = [50.0, 50.0, 50.0, 50.0, 1.0, 1.0, 50.0];
        for ((plain, large), factor) in plain.arrays.iter().zip(&large.arrays).zip(factors) {
            close(plain.iter().map(|x| x * factor), large.iter().copied(), 1e-4);
        }
        let costs = [2500.0, 2500.0, 2500.0, 2500.0, 2500.0, 1.0, 1.0];
        let expected = plain.losses.iter().zip(costs).map(|(x, cost)| (x * cost) as f32);
        close(expected, large.losses.iter().map(|&x| x as f32), 1e-4);
    }
}

/// Equal up to a part of the expected numbers' root mean square.
#[track_caller]
fn close(expected: impl Iterator<Item = f32> + Clone, found: impl Iterator<Item = f32>, tolerance: f32) {
    let square: f64 = expected.clone().map(|x| f64::from(x) * f64::from(x)).sum();
    let size = (square / expected.clone().count() as f64).sqrt() as f32;
    for (expected, found) in expected.zip(found) {
        assert!((expected - found).abs() <= tolerance * (size + expected.abs()), "{found}, not {expected} of {size}");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let argument = SFEUOT_ERROR_INVALID_ARGUMENT;
    let own = Own::new(context(SFEUOT_DEVICE_CPU, 1), FORMS[0], 1.0);
    let (d, k) = (own.d(), own.k());
    let mut place = Host::default();
    let x0 = place.put(&vec![0.1; 4 * d]);
    let outputs = place.put(&vec![0.1; 4 * own.outputs()]);
    let points = place.put(&vec![0.1; 4 * k * d]);
    let rows = place.put(&vec![0.1; 4 * k]);
    let more = place.put(&vec![0.1; 4 * k * d + 1]);
    let [state, direction, by] = [4 * k * d, 4 * k * d, 4 * k].map(|count| place.put(&vec![0.2; count]));
    let mut times = vec![0.5f32; 4 * k];
    let sample = |half, x0: &SfeuotTensor, outputs: &SfeuotTensor, times: &[f32], end: &SfeuotTensor| {
        // SAFETY: a live handle, and arrays of these sizes.
        unsafe { sfeuot_bridge_sample(own.problem, half, x0, outputs, times.as_ptr(), 1, 0, 0, end, null(), null()) }
    };
    ok(sample(0, &x0, &outputs, &times, &state));
    refused(sample(0, &more, &outputs, &times, &state), argument, "source.shape is [61]");
    refused(sample(0, &points, &outputs, &times, &state), argument, "outputs.shape is [132]");
    refused(sample(0, &x0, &outputs, &times, &more), argument, "end.shape is [61]");
    refused(sample(0, &x0, &outputs, &times, &x0), argument, "end.shape");
    let same = SfeuotTensor { data: x0.data, ..state };
    refused(sample(0, &x0, &outputs, &times, &same), argument, "end overlaps source");
    let kept = SfeuotTensor { read_only: 1, ..state };
    refused(sample(0, &x0, &outputs, &times, &kept), argument, "end.read_only is 1");
    let strides = [2i64];
    let apart = SfeuotTensor { strides: strides.as_ptr(), ..x0 };
    refused(sample(0, &apart, &outputs, &times, &state), argument, "source.strides is [2]");
    refused(sample(0, &SfeuotTensor { scale: 2.0, ..x0 }, &outputs, &times, &state), argument, "source.scale is 2");
    refused(
        sample(0, &SfeuotTensor { dtype: SFEUOT_DTYPE_U8, ..x0 }, &outputs, &times, &state),
        argument,
        "source.dtype is 4",
    );
    let of_gpu = SfeuotTensor { memory: SFEUOT_MEMORY_CUDA, ..x0 };
    refused(sample(0, &of_gpu, &outputs, &times, &state), argument, "all must be SFEUOT_MEMORY_HOST");
    let on_gpu = |tensor: &SfeuotTensor| SfeuotTensor { memory: SFEUOT_MEMORY_CUDA, ..*tensor };
    refused(
        sample(0, &on_gpu(&x0), &on_gpu(&outputs), &times, &on_gpu(&state)),
        argument,
        "but the problem's context is on the CPU",
    );
    for (half, wrong, text) in
        [(0, -0.1, "at least 0"), (0, 1.1, "at most 1"), (1, 0.0, "above 0"), (0, f32::NAN, "NaN")]
    {
        times[2] = wrong;
        refused(sample(half, &x0, &outputs, &times, &state), argument, "times[2] is");
        assert!(last_error().contains(text), "{}", last_error());
    }
    let others = [0; 2].map(|_| place.put(&vec![0.3; 4 * k]));
    let loss = |g: &SfeuotTensor, by: &SfeuotTensor, w: &SfeuotTensor| {
        // SAFETY: a live handle, and arrays of these sizes.
        unsafe { sfeuot_value_loss(own.problem, &rows, &others[0], g, &points, by, &others[1], w, null_mut()) }
    };
    ok(loss(&state, &by, &direction));
    refused(loss(&more, &by, &direction), argument, "gradient.shape is [61]");
    refused(loss(&state, &points, &direction), argument, "by_generated.shape is [60]");
    refused(loss(&state, &others[1], &direction), argument, "by_target overlaps by_generated");
    refused(loss(&state, &by, &points), argument, "direction overlaps drift");
    let mut handle = null_mut();
    let with = |change: fn(&mut SfeuotProblemConfig)| {
        let mut config = own.config;
        change(&mut config);
        config
    };
    let context = context(SFEUOT_DEVICE_CPU, 1);
    for (config, text) in [
        (with(|c| c.sigma = f64::NAN), "sigma is NaN"),
        (with(|c| c.sigma = 1e-9), "sigma is 1e-9 times scale"),
        (with(|c| c.tau = 0.0), "tau is 0e0"),
        (with(|c| c.scale = 0.0), "scale is 0e0"),
        (with(|c| c.sigma_units = 7), "config.sigma_units is 7"),
        (with(|c| c.dimension = 0), "dimension is 0"),
        (with(|c| c.dimension = u64::MAX), "dimension is"),
        (with(|c| c.components = 0), "components is 0"),
        (with(|c| c.latents = 2), "config.latents is 2"),
        (with(|c| c.deterministic = 1), "latents is 0, but must be 1 where deterministic is 1"),
        (with(|c| (c.dimension, c.components) = (1 << 20, 4096)), "components is 4096"),
    ] {
        // SAFETY: a live handle, and local arguments.
        refused(unsafe { sfeuot_problem_create(context, &config, &mut handle) }, argument, text);
        assert!(handle.is_null());
    }
    // SAFETY: a live handle.
    ok(unsafe { sfeuot_context_release(context) });
}

/// A loss that is not finite has a status of its own, and the next call is well.
#[test]
fn a_loss_that_is_not_finite_says_so() {
    let own = Own::new(context(SFEUOT_DEVICE_CPU, 2), FORMS[0], 1.0);
    let (d, rows) = (own.d(), 40 * own.k());
    let mut place = Host::default();
    let mut v = vec![0.1; rows];
    let (good, points) = (place.put(&v), place.put(&vec![0.1; rows * d]));
    v[rows - 1] = f32::NAN;
    let bad = place.put(&v);
    let [drift, w] = [0; 2].map(|_| place.put(&vec![0.0; rows * d]));
    let [by1, by2] = [0; 2].map(|_| place.put(&vec![0.0; rows]));
    let call = |v: &SfeuotTensor| {
        // SAFETY: a live handle, and arrays of these sizes.
        unsafe { sfeuot_value_loss(own.problem, v, &good, &points, &drift, &by1, &by2, &w, null_mut()) }
    };
    refused(call(&bad), SFEUOT_ERROR_NOT_FINITE, "the value function's loss is NaN");
    ok(call(&good));
}

#[test]
fn conjugates_are_those_of_the_header() {
    let tau = 0.7f64;
    let v: Vec<f64> = (-40..60).map(|i| f64::from(i) * 0.1).collect();
    type Formula = fn(f64, f64) -> (f64, f64);
    let formulas: [(i32, Formula); 4] = [
        (SFEUOT_DIVERGENCE_BALANCED, |v, _| (v, 1.0)),
        (SFEUOT_DIVERGENCE_KL, |v, tau| {
            let r = (v / tau).min(8.0);
            (tau * (r.exp() - 1.0) + (v - tau * r) * r.exp(), r.exp())
        }),
        (SFEUOT_DIVERGENCE_CHI2, |v, tau| {
            if v > -2.0 * tau { (v + v * v / (4.0 * tau), 1.0 + v / (2.0 * tau)) } else { (-tau, 0.0) }
        }),
        (SFEUOT_DIVERGENCE_SOFTPLUS, |v, tau| {
            (2.0 * tau * ((v / tau).exp().ln_1p() - 2f64.ln()), 2.0 / (1.0 + (-v / tau).exp()))
        }),
    ];
    for (divergence, formula) in formulas {
        let (mut value, mut ratio) = (vec![f64::NAN; v.len()], vec![f64::NAN; v.len()]);
        let count = v.len() as u64;
        // SAFETY: arrays of this size.
        ok(unsafe { sfeuot_conjugate(divergence, tau, v.as_ptr(), count, value.as_mut_ptr(), ratio.as_mut_ptr()) });
        for ((&v, value), ratio) in v.iter().zip(&value).zip(&ratio) {
            let expected = formula(v, tau);
            assert!((value - expected.0).abs() < 1e-12 * (1.0 + expected.0.abs()), "{divergence} {v}: {value}");
            assert!((ratio - expected.1).abs() < 1e-12 * (1.0 + expected.1), "{divergence} {v}: {ratio}");
        }
        // SAFETY: as above; without results.
        ok(unsafe { sfeuot_conjugate(divergence, tau, v.as_ptr(), count, null_mut(), null_mut()) });
        // SAFETY: no array is looked at.
        ok(unsafe { sfeuot_conjugate(divergence, tau, null(), 0, null_mut(), null_mut()) });
        let status = {
            let out = value.as_mut_ptr();
            // SAFETY: arrays of this size; the call refuses to write.
            unsafe { sfeuot_conjugate(divergence, tau, v.as_ptr(), count, out, out) }
        };
        refused(status, SFEUOT_ERROR_INVALID_ARGUMENT, "ratio overlaps conjugate");
    }
}

/// The scale that is measured is the one that a trainer takes relative sigma as a multiple of.
#[test]
fn the_common_scale_is_the_trainers() {
    let problem = Problem::new();
    let handles = Handles::new(&problem);
    let (mut info, mut scale) = (init(sfeuot_model_info_init), f64::NAN);
    // SAFETY: live handles, and local arguments.
    unsafe {
        ok(sfeuot_model_info(handles.model, &mut info));
        ok(sfeuot_common_scale(handles.context, &problem.source.data, &problem.target.data, &mut scale));
    }
    assert_eq!(scale, info.data_scale);
}

/// A GPU's memory in place of the host's.
#[cfg(target_os = "linux")]
mod gpu {
    use super::*;
    use cudarc::driver::sys;

    #[track_caller]
    fn check(status: sys::CUresult) {
        assert_eq!(status, sys::CUresult::CUDA_SUCCESS);
    }

    #[derive(Default)]
    struct Device {
        arrays: Vec<u64>,
        shapes: Vec<Vec<i64>>,
    }

    impl Place for Device {
        fn put(&mut self, values: &[f32]) -> SfeuotTensor {
            let (mut address, shape) = (0, vec![values.len() as i64]);
            // SAFETY: a context is current; there are as many bytes.
            unsafe {
                check(sys::cuMemAlloc_v2(&mut address, size_of_val(values)));
                check(sys::cuMemcpyHtoD_v2(address, values.as_ptr().cast(), size_of_val(values)));
                check(sys::cuStreamSynchronize(null_mut()));
            }
            let mut tensor = init(sfeuot_tensor_init);
            (tensor.data, tensor.memory) = (std::ptr::without_provenance(address as usize), SFEUOT_MEMORY_CUDA);
            (tensor.rank, tensor.shape) = (1, shape.as_ptr());
            self.arrays.push(address);
            self.shapes.push(shape);
            tensor
        }

        fn get(&self, tensor: &SfeuotTensor) -> Vec<f32> {
            // SAFETY: the tensor is over one of the arrays.
            unsafe {
                let mut values = vec![0f32; *tensor.shape as usize];
                check(sys::cuMemcpyDtoH_v2(
                    values.as_mut_ptr().cast(),
                    tensor.data.addr() as u64,
                    size_of_val(&values[..]),
                ));
                values
            }
        }
    }

    impl Drop for Device {
        fn drop(&mut self) {
            for &address in &self.arrays {
                // SAFETY: allocated above.
                unsafe { sys::cuMemFree_v2(address) };
            }
        }
    }

    #[test]
    fn a_gpu_gives_what_the_cpu_gives() {
        if !simulator::load_with_compiler() {
            return;
        }
        let mut primary = null_mut();
        // SAFETY: local outputs.
        unsafe {
            check(sys::cuInit(0));
            check(sys::cuDevicePrimaryCtxRetain(&mut primary, 0));
            check(sys::cuCtxPushCurrent_v2(primary));
        }
        for (form, scale) in FORMS.into_iter().flat_map(|form| [(form, 1.0), (form, 3.0)]) {
            let cpu = Own::new(context(SFEUOT_DEVICE_CPU, 2), form, scale);
            let expected = cpu.call(&mut Host::default(), 0, SOURCES, scale as f32);
            let own = Own::new(context(SFEUOT_DEVICE_CUDA, 1), form, scale);
            let found = own.call(&mut Device::default(), 0, SOURCES, scale as f32);
            for (expected, found) in expected.arrays.iter().zip(&found.arrays) {
                close(expected.iter().copied(), found.iter().copied(), 1e-5);
            }
            for (expected, found) in expected.losses.iter().zip(&found.losses) {
                assert!((expected - found).abs() <= 1e-5 * (1.0 + expected.abs()), "{found}, not {expected}");
            }
            // Arrays of the host go by the processor there too.
            assert_eq!(own.call(&mut Host::default(), 0, SOURCES, scale as f32), expected);
        }
        // SAFETY: pushed and retained above.
        unsafe {
            sys::cuCtxPopCurrent_v2(&mut null_mut());
            sys::cuDevicePrimaryCtxRelease_v2(0);
        }
    }
}
