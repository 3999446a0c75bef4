//! A whole life with the library, call by call, for problems of several shapes.

use std::path::PathBuf;
use std::ptr::{null, null_mut};

use sfeuot::abi::*;

use super::allocator;
use super::common::init;
use super::random::Random;
use super::world::{PATTERN, Side, c_path, digest, is_untouched, untouched};

/// A problem whose life takes memory in its own places.
pub struct Shape {
    pub name: &'static str,
    sample_shape: &'static [i64],
    rows: usize,
    weighted: bool,
    configure: fn(&mut SfeuotTrainerConfig),
}

pub const SHAPES: [Shape; 6] = [
    Shape { name: "defaults", sample_shape: &[3], rows: 500, weighted: false, configure: |_| () },
    Shape {
        name: "many numbers",
        sample_shape: &[20, 100],
        rows: 50,
        weighted: true,
        configure: |config| {
            (config.hidden_width, config.batch_sources, config.components) = (8, 6, 4);
            config.gradient_clip = 1.0;
        },
    },
    Shape {
        name: "many samples",
        sample_shape: &[2],
        rows: 20_000,
        weighted: true,
        configure: |config| (config.hidden_width, config.batch_sources, config.components) = (16, 16, 4),
    },
    Shape {
        name: "many components",
        sample_shape: &[2],
        rows: 100,
        weighted: false,
        configure: |config| {
            (config.hidden_width, config.batch_sources, config.components) = (8, 3, 2000);
            config.divergence = SFEUOT_DIVERGENCE_CHI2;
        },
    },
    Shape {
        name: "latents",
        sample_shape: &[5],
        rows: 100,
        weighted: false,
        configure: |config| {
            (config.hidden_width, config.batch_sources, config.latent_dimension) = (24, 20, 3);
            config.divergence = SFEUOT_DIVERGENCE_SOFTPLUS;
        },
    },
    Shape {
        name: "deterministic",
        sample_shape: &[4],
        rows: 100,
        weighted: true,
        configure: |config| {
            (config.hidden_width, config.batch_sources, config.latent_dimension) = (24, 20, 30);
            (config.deterministic, config.squares, config.divergence) = (1, 0, SFEUOT_DIVERGENCE_BALANCED);
        },
    },
];

/// Rows of each session call: more than a block of them.
const ROWS: usize = 70;
const TIMES: [f64; 3] = [0.0, 0.4, 1.0];

/// One host with everything it made.
pub struct Life {
    source: Box<Side>,
    target: Box<Side>,
    config: SfeuotTrainerConfig,
    folder: PathBuf,
    context: *mut SfeuotContext,
    trainer: *mut SfeuotTrainer,
    sampled: *mut SfeuotTrainer,
    loaded: *mut SfeuotTrainer,
    model: *mut SfeuotModel,
    read: *mut SfeuotModel,
    parsed: *mut SfeuotModel,
    session: *mut SfeuotSession,
    file: Vec<u8>,
    out: Vec<f32>,
}

/// What a call did: its status, what of its outputs has to be the same in each life, and whether a failure left them
/// alone.
pub struct Did {
    pub status: i32,
    pub digest: u64,
    pub untouched: bool,
}

pub struct Step {
    pub name: &'static str,
    pub call: fn(&mut Life) -> Did,
}

/// Keeps a handle that was made.
fn made<T>(status: i32, handle: *mut T, place: &mut *mut T) -> Did {
    if status == SFEUOT_OK {
        *place = handle;
    }
    Did { status, digest: 0, untouched: handle.addr() == usize::from_ne_bytes([PATTERN; size_of::<usize>()]) }
}

fn metrics(status: i32, mut metrics: SfeuotMetrics) -> Did {
    let untouched = metrics.step == u64::MAX;
    metrics.steps_per_second = 0.0;
    Did { status, digest: digest(format!("{metrics:?}").as_bytes()), untouched }
}

/// Metrics in which a call's writing shows.
fn blank() -> SfeuotMetrics {
    SfeuotMetrics { step: u64::MAX, ..init(sfeuot_metrics_init_2) }
}

unsafe extern "C-unwind" fn go_on(_: *mut std::ffi::c_void, _: *const SfeuotMetrics) -> i32 {
    SFEUOT_CONTINUE
}

/// A call that writes a file: the whole old one or the whole new one is there, and nothing beside.
fn saved(life: &Life, name: &str, save: impl FnOnce(*const std::ffi::c_char) -> i32) -> Did {
    let path = life.folder.join(name);
    let look = || {
        allocator::unwatched(|| {
            let names = std::fs::read_dir(&life.folder).map_or(0, Iterator::count);
            (names, std::fs::read(&path).ok())
        })
    };
    let before = look();
    let status = save(c_path(&path).as_ptr());
    let after = look();
    Did { status, digest: allocator::unwatched(|| content(after.1.as_deref())), untouched: before == after }
}

/// A digest of a file without the speed of the training, which a checkpoint's metrics hold.
fn content(file: Option<&[u8]>) -> u64 {
    let Some((prefix, rest)) = file.and_then(<[u8]>::split_first_chunk::<8>) else { return 0 };
    // A graph is no safetensors file.
    let Some((header, data)) = rest.split_at_checked(u64::from_le_bytes(*prefix) as usize) else { return digest(rest) };
    let header = String::from_utf8_lossy(header);
    let (before, after) = header.split_once("steps_per_second").unwrap_or((&header, ""));
    let after = after.find([',', '}']).map_or(after, |end| &after[end..]);
    digest(before.as_bytes()) ^ digest(after.trim_end().as_bytes()).rotate_left(1) ^ digest(data).rotate_left(2)
}

fn session(life: &mut Life, call: impl FnOnce(*mut SfeuotSession, *const f32, *mut f32) -> i32) -> Did {
    life.out.fill(untouched());
    let status = call(life.session, life.source.values.as_ptr(), life.out.as_mut_ptr());
    Did { status, digest: digest(super::world::bytes_of(&life.out)), untouched: is_untouched(&life.out) }
}

/// SAFETY of all calls here: the handles are live, the arrays have the sizes that the calls name.
pub const STEPS: [Step; 26] = [
    Step {
        name: "sfeuot_context_create",
        call: |life| {
            let mut config = init(sfeuot_context_config_init_2);
            (config.device, config.threads) = (SFEUOT_DEVICE_CPU, 2);
            let mut context = untouched();
            // SAFETY: as said above.
            let status = unsafe { sfeuot_context_create(&config, &mut context) };
            made(status, context, &mut life.context)
        },
    },
    Step {
        name: "sfeuot_trainer_create (arrays)",
        call: |life| {
            let mut trainer = untouched();
            let (source, target) = (&life.source.data, &life.target.data);
            // SAFETY: as said above.
            let status = unsafe { sfeuot_trainer_create(life.context, &life.config, source, target, &mut trainer) };
            made(status, trainer, &mut life.trainer)
        },
    },
    Step {
        name: "sfeuot_trainer_create (callbacks)",
        call: |life| {
            let mut trainer = untouched();
            let (source, target) = (life.source.as_callback(), life.target.as_callback());
            // SAFETY: as said above.
            let status = unsafe { sfeuot_trainer_create(life.context, &life.config, &source, &target, &mut trainer) };
            made(status, trainer, &mut life.sampled)
        },
    },
    Step {
        name: "sfeuot_trainer_step",
        call: |life| {
            let mut seen = blank();
            // SAFETY: as said above.
            metrics(unsafe { sfeuot_trainer_step(life.trainer, 2, &mut seen) }, seen)
        },
    },
    Step {
        name: "sfeuot_trainer_run (callbacks)",
        call: |life| {
            let mut seen = blank();
            // SAFETY: as said above.
            metrics(unsafe { sfeuot_trainer_run(life.sampled, 2, 1, Some(go_on), null_mut(), &mut seen) }, seen)
        },
    },
    Step {
        name: "sfeuot_trainer_metrics",
        call: |life| {
            let mut seen = blank();
            // SAFETY: as said above.
            metrics(unsafe { sfeuot_trainer_metrics(life.trainer, &mut seen) }, seen)
        },
    },
    Step {
        name: "sfeuot_trainer_memory",
        call: |life| {
            let mut bytes = [u64::MAX; 2];
            let [of_host, of_device] = bytes.each_mut().map(std::ptr::from_mut);
            // SAFETY: as said above.
            let status = unsafe { sfeuot_trainer_memory(life.trainer, of_host, of_device) };
            Did { status, digest: digest(format!("{bytes:?}").as_bytes()), untouched: bytes == [u64::MAX; 2] }
        },
    },
    Step {
        name: "sfeuot_trainer_model",
        call: |life| {
            let mut model = untouched();
            // SAFETY: as said above.
            let status = unsafe { sfeuot_trainer_model(life.trainer, &mut model) };
            made(status, model, &mut life.model)
        },
    },
    Step {
        name: "sfeuot_trainer_save",
        // SAFETY: as said above.
        call: |life| saved(life, "checkpoint", |path| unsafe { sfeuot_trainer_save(life.trainer, path) }),
    },
    Step {
        name: "sfeuot_trainer_save (replaces)",
        // SAFETY: as said above.
        call: |life| saved(life, "checkpoint", |path| unsafe { sfeuot_trainer_save(life.trainer, path) }),
    },
    Step {
        name: "sfeuot_trainer_load",
        call: |life| {
            let mut trainer = untouched();
            let (source, target) = (&life.source.data, &life.target.data);
            let path = c_path(&life.folder.join("checkpoint"));
            // SAFETY: as said above.
            let status = unsafe { sfeuot_trainer_load(life.context, path.as_ptr(), source, target, &mut trainer) };
            made(status, trainer, &mut life.loaded)
        },
    },
    Step {
        name: "sfeuot_trainer_step (of the loaded)",
        call: |life| {
            let mut seen = blank();
            // SAFETY: as said above.
            metrics(unsafe { sfeuot_trainer_step(life.loaded, 1, &mut seen) }, seen)
        },
    },
    Step {
        name: "sfeuot_model_save",
        // SAFETY: as said above.
        call: |life| saved(life, "model", |path| unsafe { sfeuot_model_save(life.model, path) }),
    },
    Step {
        name: "sfeuot_model_export_onnx",
        // SAFETY: as said above.
        call: |life| saved(life, "graph", |path| unsafe { sfeuot_model_export_onnx(life.model, null(), path) }),
    },
    Step {
        name: "sfeuot_model_export_onnx (value)",
        call: |life| {
            let config = SfeuotOnnxConfig { graph: SFEUOT_ONNX_VALUE, ..init(sfeuot_onnx_config_init) };
            // SAFETY: as said above.
            saved(life, "graph", |path| unsafe { sfeuot_model_export_onnx(life.model, &config, path) })
        },
    },
    Step {
        name: "sfeuot_model_load",
        call: |life| {
            let mut model = untouched();
            let path = c_path(&life.folder.join("model"));
            // SAFETY: as said above.
            let status = unsafe { sfeuot_model_load(life.context, path.as_ptr(), &mut model) };
            made(status, model, &mut life.read)
        },
    },
    Step {
        name: "sfeuot_model_load_memory",
        call: |life| {
            if life.file.is_empty() {
                allocator::unwatched(|| life.file = std::fs::read(life.folder.join("model")).expect("it was saved"));
            }
            let (bytes, size) = (life.file.as_ptr().cast(), life.file.len());
            let mut model = untouched();
            // SAFETY: as said above.
            let status = unsafe { sfeuot_model_load_memory(life.context, bytes, size, &mut model) };
            made(status, model, &mut life.parsed)
        },
    },
    Step {
        name: "sfeuot_model_info",
        call: |life| {
            let mut info = SfeuotModelInfo { steps: u64::MAX, ..init(sfeuot_model_info_init) };
            // SAFETY: as said above.
            let status = unsafe { sfeuot_model_info(life.parsed, &mut info) };
            Did { status, digest: digest(format!("{info:?}").as_bytes()), untouched: info.steps == u64::MAX }
        },
    },
    Step {
        name: "sfeuot_session_create",
        call: |life| {
            let mut session = untouched();
            // SAFETY: as said above.
            let status = unsafe { sfeuot_session_create(life.parsed, &mut session) };
            made(status, session, &mut life.session)
        },
    },
    Step {
        name: "sfeuot_session_generate",
        call: |life| {
            // SAFETY: as said above.
            session(life, |session, x, y| unsafe { sfeuot_session_generate(session, x, 3, 1, 0, y) })
        },
    },
    Step {
        name: "sfeuot_session_generate_tensor",
        call: |life| {
            let mut source = SfeuotTensor { ..life.source.samples };
            let shape = [&[ROWS.min(life.source.shape[0] as usize) as i64], &life.source.shape[1..]].concat();
            source.shape = shape.as_ptr();
            session(life, |session, _, y| {
                let generated = SfeuotTensor { data: y.cast(), ..source };
                // SAFETY: as said above.
                unsafe { sfeuot_session_generate_tensor(session, &source, 1, 0, &generated) }
            })
        },
    },
    Step {
        name: "sfeuot_session_conditional_mean",
        call: |life| {
            let rows = life.rows();
            // SAFETY: as said above.
            session(life, |session, x, y| unsafe { sfeuot_session_conditional_mean(session, x, rows, 9, 1, 0, y) })
        },
    },
    Step {
        name: "sfeuot_session_trajectory",
        call: |life| {
            let rows = life.rows();
            session(life, |session, x, y| {
                // SAFETY: as said above.
                unsafe { sfeuot_session_trajectory(session, x, rows, TIMES.as_ptr(), 3, 1, 0, y) }
            })
        },
    },
    Step {
        name: "sfeuot_session_drift",
        call: |life| {
            let rows = life.rows();
            // SAFETY: as said above.
            session(life, |session, x, y| unsafe { sfeuot_session_drift(session, 0.5, x, rows, y) })
        },
    },
    Step {
        name: "sfeuot_session_density_ratio",
        call: |life| {
            let rows = life.rows();
            // SAFETY: as said above.
            session(life, |session, x, y| unsafe { sfeuot_session_density_ratio(session, x, rows, y) })
        },
    },
    Step {
        name: "releases",
        call: |life| {
            // SAFETY: as said above.
            let status = unsafe {
                sfeuot_context_release(life.context)
                    | sfeuot_trainer_release(life.trainer)
                    | sfeuot_trainer_release(life.sampled)
                    | sfeuot_trainer_release(life.loaded)
                    | sfeuot_model_release(life.model)
                    | sfeuot_model_release(life.read)
                    | sfeuot_model_release(life.parsed)
                    | sfeuot_session_release(life.session)
            };
            Did { status, digest: 0, untouched: true }
        },
    },
];

impl Life {
    pub fn new(shape: &Shape, folder: PathBuf) -> Self {
        let mut random = Random::new(1);
        let mut config: SfeuotTrainerConfig = init(sfeuot_trainer_config_init_4);
        config.sigma = 0.3;
        (shape.configure)(&mut config);
        let dimension = shape.sample_shape.iter().product::<i64>() as usize;
        Self {
            source: Side::new(&mut random, shape.rows, shape.sample_shape, shape.weighted, 0.0),
            target: Side::new(&mut random, shape.rows, shape.sample_shape, shape.weighted, 0.7),
            config,
            folder,
            context: null_mut(),
            trainer: null_mut(),
            sampled: null_mut(),
            loaded: null_mut(),
            model: null_mut(),
            read: null_mut(),
            parsed: null_mut(),
            session: null_mut(),
            file: vec![],
            out: vec![0.0; ROWS * TIMES.len() * dimension],
        }
    }

    fn rows(&self) -> u64 {
        self.source.shape[0].min(ROWS as i64) as u64
    }
}
