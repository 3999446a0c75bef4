//! Misuse of every function, from one table: each argument in turn is replaced by everything that
//! is wrong for its kind, and the call has to refuse with the right status, a sentence that names
//! the argument, and untouched outputs.

mod common;

use std::ffi::{CString, c_void};
use std::ptr::{null_mut, with_exposed_provenance_mut as at};

use Arg::*;
use common::*;
use sfeuot::abi::*;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Context,
    Trainer,
    Model,
    Session,
    Problem,
}

const KINDS: [Kind; 5] = [Kind::Context, Kind::Trainer, Kind::Model, Kind::Session, Kind::Problem];

/// One argument: a good value as a machine word, and by its kind what is wrong.
#[derive(Clone)]
enum Arg {
    /// A live handle.
    Handle(Kind),
    /// The same for release, to which NULL is nothing.
    Released(Kind),
    /// A pointer that must not be NULL, with the alignment it needs.
    Input(usize, usize),
    /// A struct that begins with its size; optional or not, output or not.
    Struct { word: usize, size: usize, optional: bool, output: bool },
    /// Memory for a result of so many bytes, alignment, optional or not.
    Output(usize, usize, bool),
    /// A number, and numbers that are refused.
    Number(u64, Vec<u64>),
    /// A path to a file.
    Path(usize),
    /// Anything goes.
    Free(u64),
}

struct Case {
    name: &'static str,
    args: Vec<(&'static str, Arg)>,
    call: fn(&[usize]) -> i32,
}

fn float(word: usize) -> f64 {
    f64::from_bits(word as u64)
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn word<T>(pointer: *const T) -> usize {
    pointer.expose_provenance()
}

/// `case!(function(argument: kind, ...) |w| call)` with the words of the arguments as `w`.
macro_rules! case {
    ($function:ident($($name:ident: $arg:expr),*) |$w:ident| $($pass:expr),*) => {
        Case {
            name: stringify!($function),
            args: vec![$((stringify!($name), $arg)),*],
            // SAFETY: the words are good ones, but for the one a test broke on purpose.
            call: |$w| unsafe { $function($($pass),*) },
        }
    };
}

fn some<T>(value: &mut T) -> Arg {
    Struct { word: word(value), size: size_of::<T>(), optional: false, output: false }
}

fn result<T>(value: &mut T, optional: bool) -> Arg {
    Struct { word: word(value), size: size_of::<T>(), optional, output: true }
}

/// What the good arguments point to.
struct World {
    problem: Problem,
    context_config: SfeuotContextConfig,
    session_config: SfeuotSessionConfig,
    metrics: SfeuotMetrics,
    info: SfeuotModelInfo,
    onnx: SfeuotOnnxConfig,
    lut: SfeuotLutConfig,
    device_info: SfeuotDeviceInfo,
    tensor: SfeuotTensor,
    data: SfeuotData,
    generated: SfeuotTensor,
    dlpack: DlpackTensor,
    floats: Vec<f32>,
    times: [f64; 3],
    file: Vec<u8>,
    checkpoint: CString,
    model: CString,
    written: CString,
    own: Own,
}

/// What networks of the host's give and are given, for a problem of two components.
struct Own {
    config: SfeuotProblemConfig,
    loss: SfeuotValueLoss,
    times: Vec<f32>,
    _values: Vec<Vec<f32>>,
    _shapes: Vec<[i64; 1]>,
    tensors: Vec<SfeuotTensor>,
}

const OF_OUTPUTS: [usize; 2] = [0, 1];
const OF_POINTS: [usize; 5] = [2, 3, 4, 5, 6];
const OF_ROWS: [usize; 4] = [7, 8, 9, 10];

impl Own {
    fn new() -> Self {
        let (rows, outputs) = (2 * ROWS, 2 * (2 * DIMENSION + 1) * ROWS);
        let sizes = [[outputs; 2].as_slice(), &[rows * DIMENSION; 5], &[rows; 4]].concat();
        let values: Vec<Vec<f32>> = sizes.iter().map(|&size| vec![0.1; size]).collect();
        let shapes: Vec<[i64; 1]> = sizes.iter().map(|&size| [size as i64]).collect();
        let tensor = |(values, shape): (&Vec<f32>, &[i64; 1])| SfeuotTensor {
            data: values.as_ptr().cast(),
            rank: 1,
            shape: shape.as_ptr(),
            ..init(sfeuot_tensor_init)
        };
        let tensors = values.iter().zip(&shapes).map(tensor).collect();
        Self {
            config: own_config(),
            loss: init(sfeuot_value_loss_init),
            times: vec![0.5; rows],
            _values: values,
            _shapes: shapes,
            tensors,
        }
    }
}

fn cases(w: &mut World) -> Vec<Case> {
    use Kind::*;
    let init = |size| Output(size, 1, false);
    let handle_out = Output(size_of::<usize>(), size_of::<usize>(), false);
    let floats = Input(word(w.floats.as_ptr()), align_of::<f32>());
    let rows_bad = vec![1 << 60, 1 << 62, u64::MAX];
    let rows = Number(ROWS as u64, rows_bad);
    let first = Number(5, vec![u64::MAX, u64::MAX - ROWS as u64 + 1]);
    let out = |numbers: usize| Output(numbers * 4, 4, false);
    let block = ROWS * DIMENSION;
    let (source, target) = (some(&mut w.problem.source.data), some(&mut w.problem.target.data));
    let problem = || Handle(Problem);
    let [outputs, by_outputs] = OF_OUTPUTS.map(|i| some(&mut w.own.tensors[i]));
    let [end, state, drift, gradient, direction] = OF_POINTS.map(|i| some(&mut w.own.tensors[i]));
    let [generated, at_target, by_generated, by_target] = OF_ROWS.map(|i| some(&mut w.own.tensors[i]));
    let optional = |arg: &Arg| match *arg {
        Struct { word, size, .. } => Struct { word, size, optional: true, output: false },
        _ => unreachable!("a struct"),
    };
    let half = Number(0, vec![2, u64::MAX]);
    let step = Number(1, vec![1 << 53, u64::MAX]);
    let own_times = Input(word(w.own.times.as_ptr()), align_of::<f32>());
    let x0 = some(&mut w.problem.source.samples);
    vec![
        case!(sfeuot_problem_config_init(config: init(size_of::<SfeuotProblemConfig>())) |w| at(w[0])),
        case!(sfeuot_value_loss_init(loss: init(size_of::<SfeuotValueLoss>())) |w| at(w[0])),
        case!(sfeuot_problem_create(
            context: Handle(Context), config: some(&mut w.own.config), problem: handle_out.clone()
        ) |w| at(w[0]), at(w[1]), at(w[2])),
        case!(sfeuot_problem_error(
            problem: problem(), buffer: Output(64, 1, false), size: Number(64, vec![0, u64::MAX])
        ) |w| at(w[0]), at(w[1]), w[2]),
        case!(sfeuot_problem_retain(problem: problem()) |w| at(w[0])),
        case!(sfeuot_problem_release(problem: Released(Problem)) |w| at(w[0])),
        case!(sfeuot_common_scale(
            context: Handle(Context), source: source.clone(), target: target.clone(), scale: Output(8, 8, false)
        ) |w| at(w[0]), at(w[1]), at(w[2]), at(w[3])),
        case!(sfeuot_bridge_times(
            problem: problem(), half: half.clone(), sources: rows.clone(), seed: Free(3), step: step.clone(),
            first_source: first.clone(), times: out(2 * ROWS)
        ) |w| at(w[0]), w[1] as i32, w[2] as u64, w[3] as u64, w[4] as u64, w[5] as u64, at(w[6])),
        case!(sfeuot_bridge_sample(
            problem: problem(), half: half, source: x0.clone(), outputs: outputs.clone(), times: own_times.clone(),
            seed: Free(3), step: step, first_source: first.clone(), end: optional(&end), state: optional(&state),
            drift: optional(&drift)
        ) |w| at(w[0]), w[1] as i32, at(w[2]), at(w[3]), at(w[4]), w[5] as u64, w[6] as u64, w[7] as u64, at(w[8]), at(w[9]), at(w[10])),
        case!(sfeuot_value_loss(
            problem: problem(), generated: generated.clone(), target: at_target, gradient: gradient.clone(), drift: drift,
            by_generated: by_generated, by_target: by_target, direction: direction, loss: result(&mut w.own.loss, true)
        ) |w| at(w[0]), at(w[1]), at(w[2]), at(w[3]), at(w[4]), at(w[5]), at(w[6]), at(w[7]), at(w[8])),
        case!(sfeuot_generator_loss(
            problem: problem(), source: x0, outputs: outputs, times: own_times, state: state, value: generated,
            gradient: gradient, by_outputs: by_outputs, loss: Output(8, 8, true)
        ) |w| at(w[0]), at(w[1]), at(w[2]), at(w[3]), at(w[4]), at(w[5]), at(w[6]), at(w[7]), at(w[8])),
        case!(sfeuot_conjugate(
            divergence: Number(1, vec![4, u64::MAX]),
            tau: Number(1f64.to_bits(), bits(&[0.0, -1.0, f64::NAN, f64::INFINITY])), v: Input(word(&w.times), 8),
            count: Number(3, vec![1 << 60, 1 << 62, u64::MAX]), conjugate: Output(24, 8, true), ratio: Output(24, 8, true)
        ) |w| w[0] as i32, float(w[1]), at(w[2]), w[3] as u64, at(w[4]), at(w[5])),
        case!(sfeuot_context_config_init(config: init(72)) |w| at(w[0])),
        case!(sfeuot_context_config_init_2(config: init(size_of::<SfeuotContextConfig>())) |w| at(w[0])),
        case!(sfeuot_tensor_init(tensor: init(size_of::<SfeuotTensor>())) |w| at(w[0])),
        case!(sfeuot_data_init(data: init(48)) |w| at(w[0])),
        case!(sfeuot_data_init_2(data: init(96)) |w| at(w[0])),
        case!(sfeuot_data_init_3(data: init(size_of::<SfeuotData>())) |w| at(w[0])),
        case!(sfeuot_data_set_rows(
            data: some(&mut w.data), samples: floats.clone(), rows: Number(ROWS as u64, vec![0, 1 << 60, u64::MAX]),
            dimension: Number(DIMENSION as u64, vec![0, 1 << 60, u64::MAX])
        ) |w| at(w[0]), at(w[1]), w[2] as u64, w[3] as u64),
        case!(sfeuot_data_set_bytes(
            data: some(&mut w.data), samples: Input(word(w.file.as_ptr()), 1),
            rows: Number(ROWS as u64, vec![0, u64::MAX]), dimension: Number(DIMENSION as u64, vec![0, u64::MAX]),
            scale: Number(1f64.to_bits(), bits(&[0.0, f64::NAN, f64::INFINITY])),
            offset: Number(0, bits(&[f64::NAN, f64::INFINITY]))
        ) |w| at(w[0]), at(w[1]), w[2] as u64, w[3] as u64, float(w[4]), float(w[5])),
        case!(sfeuot_data_set_sampler(
            data: some(&mut w.data), callback: Free(0), userdata: Free(0), dimension: Number(2, vec![0])
        ) |w| at(w[0]), Some(draws), at(w[2]), w[3] as u64),
        case!(sfeuot_metrics_init(metrics: init(88)) |w| at(w[0])),
        case!(sfeuot_metrics_init_2(metrics: init(size_of::<SfeuotMetrics>())) |w| at(w[0])),
        case!(sfeuot_model_info_init(info: init(size_of::<SfeuotModelInfo>())) |w| at(w[0])),
        case!(sfeuot_onnx_config_init(config: init(size_of::<SfeuotOnnxConfig>())) |w| at(w[0])),
        case!(sfeuot_trainer_config_init(config: init(136)) |w| at(w[0])),
        case!(sfeuot_trainer_config_init_2(config: init(152)) |w| at(w[0])),
        case!(sfeuot_trainer_config_init_3(config: init(168)) |w| at(w[0])),
        case!(sfeuot_trainer_config_init_4(config: init(size_of::<SfeuotTrainerConfig>())) |w| at(w[0])),
        case!(sfeuot_network_init(network: init(size_of::<SfeuotNetwork>())) |w| at(w[0])),
        case!(sfeuot_network_init_2(network: init(48)) |w| at(w[0])),
        case!(sfeuot_network_init_3(network: init(size_of::<SfeuotNetwork>())) |w| at(w[0])),
        case!(sfeuot_device_info_init(info: init(size_of::<SfeuotDeviceInfo>())) |w| at(w[0])),
        case!(sfeuot_tensor_from_dlpack(
            dlpack: Input(word(&w.dlpack), 8), tensor: some(&mut w.tensor)
        ) |w| at::<c_void>(w[0]), at(w[1])),
        case!(sfeuot_cuda_device_count(count: Output(4, 4, false)) |w| at(w[0])),
        case!(sfeuot_cuda_device_info(
            index: Number(0, vec![u32::MAX.into()]), info: result(&mut w.device_info, false)
        ) |w| w[0] as u32, at(w[1])),
        case!(sfeuot_context_create(
            config: Struct { word: word(&w.context_config), size: size_of::<SfeuotContextConfig>(), optional: true, output: false },
            context: handle_out.clone()
        ) |w| at(w[0]), at(w[1])),
        case!(sfeuot_context_threads(context: Handle(Context), threads: Output(4, 4, false)) |w| at(w[0]), at(w[1])),
        case!(sfeuot_context_device(context: Handle(Context), device: Output(4, 4, false)) |w| at(w[0]), at(w[1])),
        case!(sfeuot_context_device_info(
            context: Handle(Context), info: result(&mut w.device_info, false)
        ) |w| at(w[0]), at(w[1])),
        case!(sfeuot_context_device_memory(
            context: Handle(Context), bytes: Output(8, 8, false)
        ) |w| at(w[0]), at(w[1])),
        case!(sfeuot_context_cuda_stream(
            context: Handle(Context), stream: handle_out.clone()
        ) |w| at(w[0]), at(w[1])),
        case!(sfeuot_context_synchronize(context: Handle(Context)) |w| at(w[0])),
        case!(sfeuot_context_error(
            context: Handle(Context), buffer: Output(64, 1, false), size: Number(64, vec![0, u64::MAX])
        ) |w| at(w[0]), at(w[1]), w[2]),
        case!(sfeuot_context_retain(context: Handle(Context)) |w| at(w[0])),
        case!(sfeuot_context_release(context: Released(Context)) |w| at(w[0])),
        case!(sfeuot_trainer_create(
            context: Handle(Context), config: some(&mut w.problem.config), source: source.clone(), target: target.clone(),
            trainer: handle_out.clone()
        ) |w| at(w[0]), at(w[1]), at(w[2]), at(w[3]), at(w[4])),
        case!(sfeuot_trainer_step(
            trainer: Handle(Trainer), steps: Number(1, vec![0]), metrics: result(&mut w.metrics, true)
        ) |w| at(w[0]), w[1] as u64, at(w[2])),
        case!(sfeuot_trainer_run(
            trainer: Handle(Trainer), steps: Number(2, vec![0]), every: Number(1, vec![0]), progress: Free(0),
            userdata: Free(0), metrics: result(&mut w.metrics, true)
        ) |w| at(w[0]), w[1] as u64, w[2] as u64, Some(keep_going), at(w[4]), at(w[5])),
        case!(sfeuot_trainer_run_for(
            trainer: Handle(Trainer),
            milliseconds: Number(1f64.to_bits(), bits(&[0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX])),
            steps_done: Output(8, 8, true), metrics: result(&mut w.metrics, true)
        ) |w| at(w[0]), float(w[1]), at(w[2]), at(w[3])),
        case!(sfeuot_trainer_cancel(trainer: Handle(Trainer)) |w| at(w[0])),
        case!(sfeuot_trainer_metrics(
            trainer: Handle(Trainer), metrics: result(&mut w.metrics, false)
        ) |w| at(w[0]), at(w[1])),
        case!(sfeuot_trainer_memory(
            trainer: Handle(Trainer), host_bytes: Output(8, 8, true), device_bytes: Output(8, 8, true)
        ) |w| at(w[0]), at(w[1]), at(w[2])),
        case!(sfeuot_trainer_model(trainer: Handle(Trainer), model: handle_out.clone()) |w| at(w[0]), at(w[1])),
        case!(sfeuot_trainer_model_wait(
            trainer: Handle(Trainer),
            milliseconds: Number(1f64.to_bits(), bits(&[-1.0, f64::NAN, f64::INFINITY, f64::MAX])),
            model: handle_out.clone()
        ) |w| at(w[0]), float(w[1]), at(w[2])),
        case!(sfeuot_trainer_save(
            trainer: Handle(Trainer), path: Path(word(w.written.as_ptr()))
        ) |w| at(w[0]), at(w[1])),
        case!(sfeuot_trainer_load(
            context: Handle(Context), path: Path(word(w.checkpoint.as_ptr())), source: source, target: target,
            trainer: handle_out.clone()
        ) |w| at(w[0]), at(w[1]), at(w[2]), at(w[3]), at(w[4])),
        case!(sfeuot_trainer_error(
            trainer: Handle(Trainer), buffer: Output(64, 1, false), size: Number(64, vec![0, u64::MAX])
        ) |w| at(w[0]), at(w[1]), w[2]),
        case!(sfeuot_trainer_retain(trainer: Handle(Trainer)) |w| at(w[0])),
        case!(sfeuot_trainer_release(trainer: Released(Trainer)) |w| at(w[0])),
        case!(sfeuot_model_save(model: Handle(Model), path: Path(word(w.written.as_ptr()))) |w| at(w[0]), at(w[1])),
        case!(sfeuot_model_load(
            context: Handle(Context), path: Path(word(w.model.as_ptr())), model: handle_out.clone()
        ) |w| at(w[0]), at(w[1]), at(w[2])),
        case!(sfeuot_model_load_memory(
            context: Handle(Context), bytes: Input(word(w.file.as_ptr()), 1), size: Number(w.file.len() as u64, vec![0]),
            model: handle_out.clone()
        ) |w| at(w[0]), at::<c_void>(w[1]), w[2], at(w[3])),
        case!(sfeuot_model_info(model: Handle(Model), info: result(&mut w.info, false)) |w| at(w[0]), at(w[1])),
        case!(sfeuot_model_sample_shape(
            model: Handle(Model), capacity: Number(SFEUOT_MAX_RANK.into(), vec![0]), shape: Output(64, 8, false)
        ) |w| at(w[0]), w[1] as u32, at(w[2])),
        case!(sfeuot_model_error(
            model: Handle(Model), buffer: Output(64, 1, false), size: Number(64, vec![0, u64::MAX])
        ) |w| at(w[0]), at(w[1]), w[2]),
        case!(sfeuot_model_retain(model: Handle(Model)) |w| at(w[0])),
        case!(sfeuot_model_release(model: Released(Model)) |w| at(w[0])),
        case!(sfeuot_model_export_onnx(
            model: Handle(Model),
            config: Struct { word: word(&w.onnx), size: size_of::<SfeuotOnnxConfig>(), optional: true, output: false },
            path: Path(word(w.written.as_ptr()))
        ) |w| at(w[0]), at(w[1]), at(w[2])),
        case!(sfeuot_model_noise(
            model: Handle(Model), rows: rows.clone(), seed: Free(3), first_row: first.clone(), latent: Output(0, 4, true),
            component: Output(ROWS * 4, 4, true), noise: Output(block * 4, 4, true)
        ) |w| at(w[0]), w[1] as u64, w[2] as u64, w[3] as u64, at(w[4]), at(w[5]), at(w[6])),
        case!(sfeuot_session_config_init(config: init(size_of::<SfeuotSessionConfig>())) |w| at(w[0])),
        case!(sfeuot_session_create(model: Handle(Model), session: handle_out.clone()) |w| at(w[0]), at(w[1])),
        case!(sfeuot_session_create_with(
            model: Handle(Model),
            config: Struct { word: word(&w.session_config), size: size_of::<SfeuotSessionConfig>(), optional: true, output: false },
            session: handle_out
        ) |w| at(w[0]), at(w[1]), at(w[2])),
        case!(sfeuot_session_generate(
            session: Handle(Session), source: floats.clone(), rows: rows.clone(), seed: Free(3), first_row: first.clone(),
            generated: out(block)
        ) |w| at(w[0]), at(w[1]), w[2] as u64, w[3] as u64, w[4] as u64, at(w[5])),
        case!(sfeuot_session_generate_tensor(
            session: Handle(Session), source: some(&mut w.problem.source.samples), seed: Free(3), first_row: first.clone(),
            generated: some(&mut w.generated)
        ) |w| at(w[0]), at(w[1]), w[2] as u64, w[3] as u64, at(w[4])),
        case!(sfeuot_session_conditional_mean(
            session: Handle(Session), source: floats.clone(), rows: rows.clone(), latents: Number(2, vec![0]),
            seed: Free(3), first_row: first.clone(), mean: out(block)
        ) |w| at(w[0]), at(w[1]), w[2] as u64, w[3] as u32, w[4] as u64, w[5] as u64, at(w[6])),
        case!(sfeuot_session_conditional_mean_tensor(
            session: Handle(Session), source: some(&mut w.problem.source.samples), latents: Number(2, vec![0]),
            seed: Free(3), first_row: first.clone(), mean: some(&mut w.generated)
        ) |w| at(w[0]), at(w[1]), w[2] as u32, w[3] as u64, w[4] as u64, at(w[5])),
        case!(sfeuot_session_trajectory(
            session: Handle(Session), source: floats.clone(), rows: rows.clone(), times: Input(word(&w.times), 8),
            time_count: Number(3, vec![]), seed: Free(3), first_row: first, path: out(3 * block)
        ) |w| at(w[0]), at(w[1]), w[2] as u64, at(w[3]), w[4] as u32, w[5] as u64, w[6] as u64, at(w[7])),
        case!(sfeuot_session_drift(
            session: Handle(Session),
            time: Number(0.5f64.to_bits(), bits(&[-0.1, 1.1, f64::NAN, f64::INFINITY])),
            state: floats.clone(), rows: rows.clone(), drift: out(block)
        ) |w| at(w[0]), float(w[1]), at(w[2]), w[3] as u64, at(w[4])),
        case!(sfeuot_session_density_ratio(
            session: Handle(Session), target: floats, rows: rows, ratio: out(ROWS)
        ) |w| at(w[0]), at(w[1]), w[2] as u64, at(w[3])),
        case!(sfeuot_session_density_ratio_tensor(
            session: Handle(Session), target: some(&mut w.problem.target.samples), ratio: out(ROWS)
        ) |w| at(w[0]), at(w[1]), at(w[2])),
        case!(sfeuot_lut_config_init(config: init(size_of::<SfeuotLutConfig>())) |w| at(w[0])),
        case!(sfeuot_session_bake_lut(
            session: Handle(Session),
            config: Struct { word: word(&w.lut), size: size_of::<SfeuotLutConfig>(), optional: true, output: false },
            table: Output(3 * 27 * 4, 4, false)
        ) |w| at(w[0]), at(w[1]), at(w[2])),
        case!(sfeuot_session_error(
            session: Handle(Session), buffer: Output(64, 1, false), size: Number(64, vec![0, u64::MAX])
        ) |w| at(w[0]), at(w[1]), w[2]),
        case!(sfeuot_session_retain(session: Handle(Session)) |w| at(w[0])),
        case!(sfeuot_session_release(session: Released(Session)) |w| at(w[0])),
    ]
}

unsafe extern "C-unwind" fn keep_going(_: *mut c_void, _: *const SfeuotMetrics) -> i32 {
    SFEUOT_CONTINUE
}

unsafe extern "C-unwind" fn draws(_: *mut c_void, _: *mut f32, _: u64, _: u64) -> i32 {
    0
}

/// Functions that tell about a GPU, which is an error where there is none, or take a model of three numbers, which is none here.
const OF_ANOTHER_WORLD: [&str; 3] =
    ["sfeuot_cuda_device_info", "sfeuot_context_device_info", "sfeuot_session_bake_lut"];

/// Functions that take no argument or any.
const CANNOT_FAIL: [&str; 4] = ["sfeuot_version", "sfeuot_abi_version", "sfeuot_last_error", "sfeuot_status_name"];

struct Bench {
    live: Handles,
    dead: [usize; 5],
}

impl Bench {
    fn live(&self, kind: Kind) -> usize {
        match kind {
            Kind::Context => word(self.live.context),
            Kind::Trainer => word(self.live.trainer),
            Kind::Model => word(self.live.model),
            Kind::Session => word(self.live.session),
            Kind::Problem => word(self.live.own),
        }
    }

    /// Every wrong value of `arg` with the status it deserves. Structs get their size broken by
    /// `run`.
    fn wrong(&self, arg: &Arg) -> Vec<(usize, i32)> {
        let argument = SFEUOT_ERROR_INVALID_ARGUMENT;
        match arg {
            Handle(kind) | Released(kind) => {
                let good = self.live(*kind);
                let mut wrong = vec![(self.dead[*kind as usize], SFEUOT_ERROR_INVALID_HANDLE)];
                if matches!(arg, Handle(_)) {
                    wrong.push((0, argument));
                }
                let others = KINDS.into_iter();
                let foreign = [&raw const good as usize, 1, 3, usize::MAX, good ^ 1, good ^ (1 << 30), good | 1 << 47];
                wrong.extend(
                    others
                        .filter(|other| other != kind)
                        .map(|other| self.live(other))
                        .chain(foreign)
                        .map(|word| (word, SFEUOT_ERROR_INVALID_HANDLE)),
                );
                wrong
            }
            Input(word, align) => {
                let mut wrong = vec![(0, argument)];
                wrong.extend((*align > 1).then_some((word + 1, argument)));
                wrong
            }
            Output(_, align, optional) => {
                let mut wrong = Vec::new();
                wrong.extend((!optional).then_some((0, argument)));
                wrong.extend((*align > 1).then_some((OUTPUTS + 1, argument)));
                wrong
            }
            Struct { optional, .. } => {
                if *optional {
                    vec![]
                } else {
                    vec![(0, argument)]
                }
            }
            Number(_, bad) => bad.iter().map(|&number| (number as usize, argument)).collect(),
            Path(_) => vec![
                (0, argument),
                (word(c"".as_ptr()), argument),
                (word(c"no/such/folder/file".as_ptr()), SFEUOT_ERROR_IO),
            ],
            Free(_) => vec![],
        }
    }
}

/// Stands for "the output's own address": replaced when the buffers are known.
const OUTPUTS: usize = usize::MAX / 2;
const PATTERN: u8 = 0xA5;

/// Calls with argument `broken` replaced, and checks the refusal. `None` calls with all arguments
/// good.
fn run(bench: &Bench, case: &Case, broken: Option<(usize, usize, i32)>) -> Vec<usize> {
    // u64 for the alignment of whatever the output holds.
    let mut outputs: Vec<Vec<u64>> = case
        .args
        .iter()
        .map(|(_, arg)| match arg {
            Output(bytes, ..) => vec![u64::from_ne_bytes([PATTERN; 8]); bytes.div_ceil(8)],
            _ => vec![],
        })
        .collect();
    let mut words: Vec<usize> = case
        .args
        .iter()
        .zip(&mut outputs)
        .map(|((_, arg), output)| match arg {
            Handle(kind) | Released(kind) => bench.live(*kind),
            Input(word, _) | Struct { word, .. } | Path(word) => *word,
            Output(..) => output.as_mut_ptr().expose_provenance(),
            Number(number, _) | Free(number) => *number as usize,
        })
        .collect();
    if let Some((index, value, _)) = broken {
        words[index] = if value == OUTPUTS + 1 { words[index] + 1 } else { value };
    }
    let structs: Vec<(usize, Vec<u8>)> = case
        .args
        .iter()
        .filter_map(|(_, arg)| match arg {
            Struct { word, size, output: true, .. } => Some((*word, snapshot(*word, *size))),
            _ => None,
        })
        .collect();

    let status = (case.call)(&words);

    let Some((index, value, expected)) = broken else {
        if status == SFEUOT_ERROR_INVALID_ARGUMENT && OF_ANOTHER_WORLD.contains(&case.name) {
            return vec![];
        }
        assert_eq!(status, SFEUOT_OK, "{} with good arguments: {}", case.name, last_error());
        return outputs.into_iter().flatten().map(|word| word as usize).collect();
    };
    let (text, name) = (last_error(), case.args[index].0);
    let what = format!("{} with {name} = {value:#x}: {text}", case.name);
    assert_eq!(status, expected, "{what}");
    assert!(text.starts_with(&format!("{}: ", case.name)), "{what}");
    assert!(expected == SFEUOT_ERROR_IO || text.contains(name), "{what}");
    assert!(text.len() > case.name.len() + 10, "{what}");
    for output in outputs.iter().flatten() {
        assert_eq!(output.to_ne_bytes(), [PATTERN; 8], "an output was touched: {what}");
    }
    for (word, before) in structs {
        assert_eq!(snapshot(word, before.len()), before, "an output was touched: {what}");
    }
    vec![]
}

fn snapshot(word: usize, size: usize) -> Vec<u8> {
    // SAFETY: the word is the address of a struct of that size in the test's World; it has no padding.
    unsafe { std::slice::from_raw_parts(at::<u8>(word), size) }.to_vec()
}

#[test]
fn every_function_refuses_every_wrong_argument() {
    let folder = scratch("misuse");
    let c_path = |name: &str| CString::new(folder.join(name).to_str().expect("UTF-8")).expect("no zero inside");
    let problem = Problem::new();
    let gone = Handles::new(&problem);
    let dead = [word(gone.context), word(gone.trainer), word(gone.model), word(gone.session), word(gone.own)];
    drop(gone);
    let (mut dlpack_values, mut dlpack_shape) = ([0f32; 6], [3, 2]);
    let mut written = vec![0f32; ROWS * DIMENSION];
    let mut world = World {
        context_config: init(sfeuot_context_config_init_2),
        session_config: init(sfeuot_session_config_init),
        metrics: init(sfeuot_metrics_init_2),
        info: init(sfeuot_model_info_init),
        onnx: init(sfeuot_onnx_config_init),
        lut: SfeuotLutConfig { size: 3, ..init(sfeuot_lut_config_init) },
        device_info: init(sfeuot_device_info_init),
        tensor: init(sfeuot_tensor_init),
        data: init(sfeuot_data_init_3),
        generated: init(sfeuot_tensor_init),
        dlpack: DlpackTensor::new(&mut dlpack_values, &mut dlpack_shape),
        floats: (0..ROWS * DIMENSION).map(|i| i as f32 / 64.0).collect(),
        times: [0.0, 0.5, 1.0],
        file: vec![],
        checkpoint: c_path("checkpoint"),
        model: c_path("model"),
        written: c_path("written"),
        own: Own::new(),
        problem,
    };
    world.context_config.device = SFEUOT_DEVICE_CPU;
    world.generated.data = written.as_mut_ptr().cast();
    world.generated.rank = 2;
    world.generated.shape = world.problem.source.shape.as_ptr();
    let bench = Bench { live: Handles::new(&world.problem), dead };
    // SAFETY: live handles and C strings.
    unsafe {
        ok(sfeuot_trainer_save(bench.live.trainer, world.checkpoint.as_ptr()));
        ok(sfeuot_model_save(bench.live.model, world.model.as_ptr()));
    }
    world.file = std::fs::read(folder.join("model")).expect("the model was written");

    let cases = cases(&mut world);
    let mut covered: Vec<&str> = cases.iter().map(|case| case.name).chain(CANNOT_FAIL).collect();
    let mut declared = declared_functions();
    covered.sort_unstable();
    declared.sort_unstable();
    assert_eq!(covered, declared, "the table and the header differ");

    for case in &cases {
        // A release gives the reference of a retain back, so the live handles outlast both.
        let live = |kind| bench.live(kind);
        let noun_made = match case.name {
            "sfeuot_context_create" => Some(Kind::Context),
            "sfeuot_trainer_create" | "sfeuot_trainer_load" => Some(Kind::Trainer),
            "sfeuot_trainer_model" | "sfeuot_trainer_model_wait" | "sfeuot_model_load" | "sfeuot_model_load_memory" => {
                Some(Kind::Model)
            }
            "sfeuot_session_create" | "sfeuot_session_create_with" => Some(Kind::Session),
            "sfeuot_problem_create" => Some(Kind::Problem),
            _ => None,
        };
        if let [(_, Released(kind))] = case.args[..] {
            retain(kind, live(kind));
        }
        let made = run(&bench, case, None);
        if let Some(kind) = noun_made {
            release(kind, made[0]);
        } else if let [(_, Handle(kind))] = case.args[..]
            && case.name.ends_with("_retain")
        {
            release(kind, live(kind));
        }

        for (index, (_, arg)) in case.args.iter().enumerate() {
            for (value, expected) in bench.wrong(arg) {
                run(&bench, case, Some((index, value, expected)));
            }
            if let Struct { word, size, .. } = *arg {
                let size_field: *mut u32 = at(word);
                let size = u32::try_from(size).expect("a small struct");
                for wild in [0, 1, 4, size - 1, size + 1, size + 8, 0xA5A5_A5A5, u32::MAX] {
                    let expected =
                        if wild > size { SFEUOT_ERROR_UNSUPPORTED_VERSION } else { SFEUOT_ERROR_INVALID_ARGUMENT };
                    // SAFETY: the field belongs to the test's World.
                    unsafe { size_field.write(wild) };
                    run(&bench, case, Some((index, word, expected)));
                    assert!(last_error().contains(&format!("struct_size is {wild}")), "{}", last_error());
                }
                // SAFETY: as above.
                unsafe { size_field.write(size) };
            }
        }
    }
    // Nothing that was refused has hurt a handle.
    for case in cases.iter().filter(|case| case.name.starts_with("sfeuot_session_g")) {
        run(&bench, case, None);
    }
    assert!(!folder.join("no").exists());
}

fn retain(kind: Kind, handle: usize) {
    // SAFETY: a live handle.
    ok(unsafe {
        match kind {
            Kind::Context => sfeuot_context_retain(at(handle)),
            Kind::Trainer => sfeuot_trainer_retain(at(handle)),
            Kind::Model => sfeuot_model_retain(at(handle)),
            Kind::Session => sfeuot_session_retain(at(handle)),
            Kind::Problem => sfeuot_problem_retain(at(handle)),
        }
    });
}

fn release(kind: Kind, handle: usize) {
    // SAFETY: a live handle.
    ok(unsafe {
        match kind {
            Kind::Context => sfeuot_context_release(at(handle)),
            Kind::Trainer => sfeuot_trainer_release(at(handle)),
            Kind::Model => sfeuot_model_release(at(handle)),
            Kind::Session => sfeuot_session_release(at(handle)),
            Kind::Problem => sfeuot_problem_release(at(handle)),
        }
    });
}

#[test]
fn null_is_nothing_to_release_and_every_status_has_a_name() {
    // SAFETY: NULL is allowed; a name is a C string.
    unsafe {
        ok(sfeuot_context_release(null_mut()));
        ok(sfeuot_trainer_release(null_mut()));
        ok(sfeuot_model_release(null_mut()));
        ok(sfeuot_session_release(null_mut()));
        ok(sfeuot_problem_release(null_mut()));
        let name = |status| std::ffi::CStr::from_ptr(sfeuot_status_name(status)).to_str().expect("UTF-8");
        let header = std::fs::read_to_string(root().join("include/sfeuot.h")).expect("the header");
        let statuses = header
            .lines()
            .filter_map(|line| line.strip_prefix("#define "))
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| *name == "SFEUOT_OK" || name.starts_with("SFEUOT_ERROR_"));
        let mut count = 0;
        for (macro_name, number) in statuses {
            assert_eq!(name(number.parse().expect("a number")), macro_name);
            count += 1;
        }
        assert_eq!(count, 15);
        for unknown in [-1, count, i32::MIN, i32::MAX] {
            assert_eq!(name(unknown), "unknown status");
        }
    }
}
