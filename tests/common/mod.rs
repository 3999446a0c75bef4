//! What the tests of the C ABI share: the header's names, the built library, and a problem small
//! enough to train at once.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

#[allow(clippy::duplicate_mod, reason = "the simulator has it as well")]
pub mod place;
pub mod programs;
#[cfg(target_os = "linux")]
pub mod simulator;

use std::ffi::{CStr, c_void};
use std::path::PathBuf;
use std::ptr::{null, null_mut};

pub use place::{library_path, root, shared_library};
use sfeuot::abi::*;

/// The functions include/sfeuot.h declares, in its order.
pub fn declared_functions() -> Vec<String> {
    let header = std::fs::read_to_string(root().join("include/sfeuot.h")).expect("the header");
    let lines = header.lines().filter(|line| !line.starts_with('#'));
    let code = lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let names: Vec<String> = code
        .split('(')
        .filter_map(|before| {
            let name = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next()?;
            name.starts_with("sfeuot_").then(|| name.to_owned())
        })
        .collect();
    assert!(names.len() > 30, "the header declares only {names:?}");
    names
}

pub fn last_error() -> String {
    // SAFETY: the function returns a C string of this thread.
    unsafe { CStr::from_ptr(sfeuot_last_error()) }.to_str().expect("UTF-8").to_owned()
}

#[track_caller]
pub fn ok(status: i32) {
    assert_eq!(status, SFEUOT_OK, "{}", last_error());
}

#[track_caller]
pub fn refused(status: i32, expected: i32, part: &str) {
    let text = last_error();
    assert_eq!(status, expected, "{text}");
    assert!(text.contains(part), "{text:?} does not name {part:?}");
}

/// A struct as its `_init` leaves it.
pub fn init<T>(fill: unsafe extern "C" fn(*mut T) -> i32) -> T {
    let mut value = std::mem::MaybeUninit::uninit();
    // SAFETY: there is room for a T, and the function fills all of it.
    unsafe {
        ok(fill(value.as_mut_ptr()));
        value.assume_init()
    }
}

/// A problem of `ROWS` samples in two dimensions, weighted, for networks of a few units. A test may
/// change any field.
pub struct Problem {
    pub config: SfeuotTrainerConfig,
    pub source: Box<Side>,
    pub target: Box<Side>,
}

impl Problem {
    pub fn new() -> Self {
        let mut config = init(sfeuot_trainer_config_init_4);
        config.sigma = 0.5;
        config.hidden_width = 8;
        config.hidden_layers = 2;
        config.batch_sources = 4;
        config.components = 2;
        Self { config, source: Side::new(0.0), target: Side::new(1.0) }
    }

    pub fn create(&self, context: *mut SfeuotContext, trainer: *mut *mut SfeuotTrainer) -> i32 {
        // SAFETY: everything the structs point to lives in `self`, or is what the test broke on purpose.
        unsafe { sfeuot_trainer_create(context, &self.config, &self.source.data, &self.target.data, trainer) }
    }
}

/// A problem for networks of the host's own, with samples of `DIMENSION` numbers and two components.
pub fn own_config() -> SfeuotProblemConfig {
    let mut config = init(sfeuot_problem_config_init);
    (config.sigma, config.dimension, config.components) = (0.5, DIMENSION as u64, 2);
    config
}

/// One live handle of each kind; released when dropped.
pub struct Handles {
    pub context: *mut SfeuotContext,
    pub trainer: *mut SfeuotTrainer,
    pub model: *mut SfeuotModel,
    pub session: *mut SfeuotSession,
    /// Of [`own_config`].
    pub own: *mut SfeuotProblem,
}

impl Handles {
    pub fn new(problem: &Problem) -> Self {
        let mut handles =
            Self { context: null_mut(), trainer: null_mut(), model: null_mut(), session: null_mut(), own: null_mut() };
        let mut config = init(sfeuot_context_config_init_2);
        config.device = SFEUOT_DEVICE_CPU;
        config.threads = 1;
        // SAFETY: the outputs are fields, the inputs handles made here.
        unsafe {
            ok(sfeuot_context_create(&config, &mut handles.context));
            ok(problem.create(handles.context, &mut handles.trainer));
            ok(sfeuot_trainer_model(handles.trainer, &mut handles.model));
            ok(sfeuot_session_create(handles.model, &mut handles.session));
            ok(sfeuot_problem_create(handles.context, &own_config(), &mut handles.own));
        }
        handles
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        // SAFETY: releasing is allowed at any time and in any order.
        unsafe {
            sfeuot_context_release(self.context);
            sfeuot_trainer_release(self.trainer);
            sfeuot_model_release(self.model);
            sfeuot_session_release(self.session);
            sfeuot_problem_release(self.own);
        }
    }
}

/// A folder of its own for each test, emptied first.
pub fn scratch(test: &str) -> PathBuf {
    let folder = place::room().join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the folder is writable");
    folder
}

pub struct Side {
    pub data: SfeuotData,
    pub samples: SfeuotTensor,
    pub weights: SfeuotTensor,
    pub values: Vec<f32>,
    pub shape: [i64; 2],
    pub weight_values: Vec<f64>,
    pub weight_shape: [i64; 2],
    pub sample_shape: [i64; 1],
}

pub const ROWS: usize = 32;
pub const DIMENSION: usize = 2;

impl Side {
    fn new(shift: f32) -> Box<Self> {
        let values = (0..ROWS * DIMENSION).map(|i| shift + (i * 37 % 64) as f32 / 64.0).collect();
        let mut side = Box::new(Self {
            data: init(sfeuot_data_init_3),
            samples: init(sfeuot_tensor_init),
            weights: init(sfeuot_tensor_init),
            values,
            shape: [ROWS as i64, DIMENSION as i64],
            weight_values: (0..ROWS).map(|i| 1.0 + (i % 3) as f64).collect(),
            weight_shape: [ROWS as i64, 1],
            sample_shape: [DIMENSION as i64],
        });
        side.samples.rank = 2;
        side.samples.data = side.values.as_ptr().cast();
        side.samples.shape = side.shape.as_ptr();
        side.weights.rank = 1;
        side.weights.dtype = SFEUOT_DTYPE_F64;
        side.weights.data = side.weight_values.as_ptr().cast();
        side.weights.shape = side.weight_shape.as_ptr();
        side.data.samples = &raw const side.samples;
        side.data.weights = &raw const side.weights;
        side
    }

    pub fn use_callback(&mut self, callback: SfeuotSampleCallback, userdata: *mut c_void) {
        self.data.samples = null();
        self.data.weights = null();
        self.data.sample_callback = callback;
        self.data.sample_userdata = userdata;
        self.data.sample_rank = 1;
        self.data.sample_shape = self.sample_shape.as_ptr();
    }
}

/// `DLManagedTensorVersioned` of DLPack 1.0, written out from its specification.
#[repr(C)]
pub struct DlpackTensor {
    pub major: u32,
    pub minor: u32,
    pub manager_ctx: *mut c_void,
    pub deleter: *mut c_void,
    pub flags: u64,
    pub data: *mut c_void,
    pub device_type: i32,
    pub device_id: i32,
    pub ndim: i32,
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
    pub shape: *mut i64,
    pub strides: *mut i64,
    pub byte_offset: u64,
}

impl DlpackTensor {
    /// 32-bit floats on the CPU, row-major.
    pub fn new(values: &mut [f32], shape: &mut [i64]) -> Self {
        Self {
            major: 1,
            minor: 0,
            manager_ctx: null_mut(),
            deleter: null_mut(),
            flags: 0,
            data: values.as_mut_ptr().cast(),
            device_type: 1,
            device_id: 0,
            ndim: shape.len() as i32,
            code: 2,
            bits: 32,
            lanes: 1,
            shape: shape.as_mut_ptr(),
            strides: null_mut(),
            byte_offset: 0,
        }
    }
}
