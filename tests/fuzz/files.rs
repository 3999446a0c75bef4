//! Damaged models and checkpoints: refused with a sentence, or used like any other, in bounded memory.

use std::path::{Path, PathBuf};
use std::ptr::{null_mut, without_provenance_mut as at};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sfeuot::abi::*;

use super::Options;
use super::allocator;
use super::board::Board;
use super::child::{self, Child};
use super::common::{init, ok};
use super::host::{BOARD, Host, find, status_name};
use super::mutations::damaged;
use super::random::Random;
use super::report::Report;
use super::world::{PATTERN, Side, c_path, folder, untouched};

struct Kind {
    sample_shape: &'static [i64],
    configure: fn(&mut SfeuotTrainerConfig),
}

const KINDS: [Kind; 9] = [
    Kind { sample_shape: &[1], configure: |_| () },
    Kind { sample_shape: &[2], configure: |config| (config.divergence, config.squares) = (SFEUOT_DIVERGENCE_CHI2, 0) },
    Kind { sample_shape: &[3], configure: |config| config.divergence = SFEUOT_DIVERGENCE_BALANCED },
    Kind {
        sample_shape: &[4],
        configure: |config| (config.divergence, config.latent_dimension) = (SFEUOT_DIVERGENCE_SOFTPLUS, 2),
    },
    Kind { sample_shape: &[5], configure: |config| (config.deterministic, config.latent_dimension) = (1, 3) },
    Kind { sample_shape: &[64], configure: |_| () },
    Kind { sample_shape: &[4, 4], configure: |config| config.activation = SFEUOT_ACTIVATION_TANH },
    Kind {
        sample_shape: &[2, 1, 3],
        configure: |config| (config.components, config.activation) = (40, SFEUOT_ACTIVATION_SOFTPLUS),
    },
    Kind { sample_shape: &[2], configure: |config| (config.hidden_layers, config.latent_dimension) = (4, 40) },
];

const ROWS: usize = 32;

/// Where on a board a child tells the number of its file and of those before, and is told to end.
const FILE: usize = 0;
const FILES: usize = 1;
const ENOUGH: usize = 2;
const LOADED: usize = 3;

const ADDRESS_SPACE: u64 = 1 << 30;

/// Beyond what is proportional to a refused file: a sentence, a table.
const SMALL: usize = 32 << 10;
/// The same for a loaded one, the smallest layers of which are padded to whole vectors.
const PADDING: usize = 256 << 10;

fn sides(kind: &Kind) -> [Box<Side>; 2] {
    let mut random = Random::new(3);
    [0.0, 0.5].map(|shift| Side::new(&mut random, ROWS, kind.sample_shape, shift > 0.0, shift))
}

fn original(folder: &Path, index: usize, checkpoint: bool) -> PathBuf {
    folder.join(format!("{}-{index}", if checkpoint { "checkpoint" } else { "model" }))
}

fn context() -> *mut SfeuotContext {
    let mut config: SfeuotContextConfig = init(sfeuot_context_config_init_2);
    (config.device, config.threads) = (SFEUOT_DEVICE_CPU, 1);
    let mut context = null_mut();
    // SAFETY: local memory.
    ok(unsafe { sfeuot_context_create(&config, &mut context) });
    context
}

/// Writes a model and a checkpoint of each kind.
fn write_originals(folder: &Path) {
    let context = context();
    for (index, kind) in KINDS.iter().enumerate() {
        let mut config: SfeuotTrainerConfig = init(sfeuot_trainer_config_init_4);
        config.sigma = 0.4;
        (config.hidden_width, config.hidden_layers, config.batch_sources, config.components) = (5, 2, 3, 2);
        (kind.configure)(&mut config);
        let [source, target] = sides(kind);
        let (mut trainer, mut model) = (null_mut(), null_mut());
        // SAFETY: live handles, local memory, C strings.
        unsafe {
            ok(sfeuot_trainer_create(context, &config, &source.data, &target.data, &mut trainer));
            ok(sfeuot_trainer_step(trainer, 3, null_mut()));
            ok(sfeuot_trainer_model(trainer, &mut model));
            ok(sfeuot_trainer_save(trainer, c_path(&original(folder, index, true)).as_ptr()));
            ok(sfeuot_model_save(model, c_path(&original(folder, index, false)).as_ptr()));
            ok(sfeuot_trainer_release(trainer));
            ok(sfeuot_model_release(model));
        }
    }
    // SAFETY: a live handle.
    ok(unsafe { sfeuot_context_release(context) });
}

/// Two processes side by side, each with every second file. Returns how many files.
pub fn attack(options: &Options, report: &mut Report) -> u64 {
    let originals = folder("originals");
    let boards = [Board::new(), Board::new()];
    let end = child::start(boards[0], None, |_| write_originals(&originals)).wait();
    report.take("files", boards[0], &end, "make fuzz ONLY=files");
    if end.code != 0 {
        return 0;
    }
    let begin = |board: &'static Board, first: u64| {
        board.place[ENOUGH].store((options.count == Some(1)).into(), Relaxed);
        let (seed, originals) = (options.seed, &originals);
        child::start(board, Some(ADDRESS_SPACE), move |board| files(board, originals, seed, first))
    };
    let mut children: Vec<Option<Child>> = (0..2).map(|i| Some(begin(boards[i], options.from + i as u64))).collect();
    let start = Instant::now();
    while children.iter().any(Option::is_some) {
        child::sleep(20);
        let files: u64 = boards.iter().map(|board| board.place[FILES].load(Relaxed)).sum();
        let enough = options.count.map_or(start.elapsed() >= options.time, |count| files >= count);
        for (child, board) in children.iter_mut().zip(boards) {
            board.place[ENOUGH].store(enough.into(), Relaxed);
            let Some(running) = child.take() else { continue };
            match running.poll() {
                Err(running) => *child = Some(running),
                Ok(end) => {
                    let file = board.place[FILE].load(Relaxed);
                    let again = format!("make fuzz ONLY=files SEED={} FROM={file} COUNT=1", options.seed);
                    report.take("files", board, &end, &again);
                    *child = (!enough).then(|| begin(board, file + 2));
                }
            }
        }
    }
    let total = |place: usize| boards.iter().map(|board| board.place[place].load(Relaxed)).sum::<u64>();
    println!("fuzz files: {} of them were loaded", total(LOADED));
    total(FILES)
}

/// What a child needs for all its files.
struct Reader {
    context: *mut SfeuotContext,
    sides: Vec<[Box<Side>; 2]>,
    originals: Vec<[Vec<u8>; 2]>,
    folder: PathBuf,
}

fn files(board: &'static Board, originals: &Path, seed: u64, first: u64) {
    let _ = BOARD.set(board);
    let reader = Reader {
        context: context(),
        sides: KINDS.iter().map(sides).collect(),
        originals: (0..KINDS.len())
            .map(|index| [false, true].map(|of| std::fs::read(original(originals, index, of)).expect("it was written")))
            .collect(),
        folder: folder(&format!("files-{}", first % 2)),
    };
    let mut number = first;
    loop {
        board.place[FILE].store(number, Relaxed);
        let leaks = || {
            let before = allocator::held();
            if one(&reader, seed, number) {
                board.place[LOADED].fetch_add(1, Relaxed);
            }
            allocator::held().saturating_sub(before)
        };
        // What only grows may have grown, once.
        if leaks() > 0 && leaks() > 0 {
            let last = leaks();
            if last > 0 {
                find("the use of a damaged file leaves memory behind", &format!("{last} bytes"));
            }
        }
        board.place[FILES].fetch_add(1, Relaxed);
        if !board.found().is_empty() || board.place[ENOUGH].load(Relaxed) == 1 {
            return;
        }
        number += 2;
    }
}

/// Damages a file and uses it; returns whether it was loaded.
fn one(reader: &Reader, seed: u64, number: u64) -> bool {
    let mut random = Random::part(seed, number);
    let kinds = reader.originals.len();
    let (index, other) = (random.below(kinds), random.below(kinds));
    let checkpoint = random.once_in(2);
    let of = usize::from(checkpoint != random.once_in(40));
    let other = &reader.originals[other][random.below(2)];
    let whole = &reader.originals[index][of];
    let sound = random.once_in(30);
    let bytes = if sound { whole.clone() } else { damaged(&mut random, whole, other) };
    // A fault is easier to study with the file at hand.
    let path = reader.folder.join("damaged");
    std::fs::write(&path, &bytes).expect("the folder is writable");
    let mut host = Host::new(random, reader.folder.clone());
    if checkpoint {
        use_checkpoint(reader, &mut host, &path, &bytes, index)
    } else {
        use_model(reader, &mut host, &path, &bytes)
    }
}

/// The bytes that loading may hold at its peak: two copies of the file, and what the header says a model takes.
fn bound(file: &[u8], status: i32) -> usize {
    let header = file.split_first_chunk().map_or(u64::MAX, |(length, _)| u64::from_le_bytes(*length));
    let numbers = file.len().saturating_sub(usize::try_from(header).unwrap_or(usize::MAX));
    2 * file.len() + 10 * (numbers / 4) + if status == SFEUOT_OK { PADDING } else { SMALL }
}

fn check_memory(function: &str, status: i32, peak: usize, file: &[u8], more: usize) {
    let most = bound(file, status) + more;
    if peak > most {
        let text = format!("{peak} bytes for a file of {}, where {most} are allowed", file.len());
        find(&format!("{function} takes more memory than it may ({})", status_name(status)), &text);
    }
}

fn use_model(reader: &Reader, host: &mut Host, path: &Path, bytes: &[u8]) -> bool {
    let mut model: *mut SfeuotModel = untouched();
    let file = c_path(path);
    let from_memory = host.random.once_in(2);
    host.unsure(());
    let name = if from_memory { "sfeuot_model_load_memory" } else { "sfeuot_model_load" };
    let size = bytes.len();
    let documented = [SFEUOT_ERROR_FORMAT];
    let (status, used) = allocator::watch(0, || {
        host.call(name, &documented, format_args!("{size} bytes"), || {
            // SAFETY: a live context, bytes and a C string, a place.
            unsafe {
                if from_memory {
                    sfeuot_model_load_memory(reader.context, bytes.as_ptr().cast(), size, &mut model)
                } else {
                    sfeuot_model_load(reader.context, file.as_ptr(), &mut model)
                }
            }
        })
    });
    check_memory(name, status, used.peak, bytes, 0);
    if status != SFEUOT_OK {
        return false;
    }
    host.keep(super::host::Kind::Model, wild(model.addr()));
    use_sessions(host, model);
    // SAFETY: a live handle.
    host.call("sfeuot_model_release", &[], format_args!(""), || unsafe { sfeuot_model_release(model) });
    true
}

fn wild(address: usize) -> super::host::Held {
    super::host::Held { address, dimension: 1, tame: false, heavy: false, latents: true }
}

/// Everything a session can do, with a few rows.
fn use_sessions(host: &mut Host, model: *mut SfeuotModel) {
    let mut info = SfeuotModelInfo { steps: u64::MAX, ..init(sfeuot_model_info_init) };
    let mut shape = [0i64; 8];
    let mut session: *mut SfeuotSession = null_mut();
    // SAFETY: here and below live handles and local memory of the sizes named.
    unsafe {
        host.call("sfeuot_model_info", &[], format_args!(""), || sfeuot_model_info(model, &mut info));
        host.call("sfeuot_model_sample_shape", &[], format_args!(""), || {
            sfeuot_model_sample_shape(model, 8, shape.as_mut_ptr())
        });
    }
    let numbers = [info.sigma, info.tau, info.data_scale];
    if !numbers.iter().all(|number| number.is_finite() && *number > 0.0) {
        find("a loaded model's info has numbers that are not finite or not above 0", &format!("{info:?}"));
    }
    let rank = info.sample_rank as usize;
    let product = shape.get(..rank).map(|shape| shape.iter().product::<i64>() as u64);
    if rank == 0 || product != Some(info.dimension) {
        find("a loaded model's shape does not fit its dimension", &format!("{info:?}, shape {shape:?}"));
        return;
    }
    host.unsure(());
    // SAFETY: as said above.
    let status = host
        .call("sfeuot_session_create", &[], format_args!(""), || unsafe { sfeuot_session_create(model, &mut session) });
    if status != SFEUOT_OK {
        return;
    }
    let dimension = info.dimension as usize;
    let rows = 3;
    let large = host.random.of(&[0.0f32, 0.0, 1e5, 1e10, 1e20, 1e38]);
    let input: Vec<f32> = (0..rows * dimension).map(|_| host.random.unit() as f32 + large).collect();
    let times = [0.0, 0.3, 1.0];
    let (x, count) = (input.as_ptr(), rows as u64);
    type Call = fn(*mut SfeuotSession, *const f32, u64, &[f64; 3], *mut f32) -> i32;
    let calls: [(&str, usize, Call); 5] = [
        ("sfeuot_session_generate", dimension, |s, x, n, _, y| unsafe { sfeuot_session_generate(s, x, n, 1, 0, y) }),
        ("sfeuot_session_conditional_mean", dimension, |s, x, n, _, y| unsafe {
            sfeuot_session_conditional_mean(s, x, n, 5, 1, 0, y)
        }),
        ("sfeuot_session_trajectory", 3 * dimension, |s, x, n, t, y| unsafe {
            sfeuot_session_trajectory(s, x, n, t.as_ptr(), 3, 1, 0, y)
        }),
        ("sfeuot_session_drift", dimension, |s, x, n, t, y| unsafe { sfeuot_session_drift(s, t[1], x, n, y) }),
        ("sfeuot_session_density_ratio", 1, |s, x, n, _, y| unsafe { sfeuot_session_density_ratio(s, x, n, y) }),
    ];
    for (name, numbers, call) in calls {
        let mut output = vec![f32::from_ne_bytes([PATTERN; 4]); rows * numbers + 8];
        host.unsure(());
        let y = output.as_mut_ptr();
        let status =
            host.call(name, &[], format_args!("numbers of about {large:e}"), || call(session, x, count, &times, y));
        let (written, behind) = output.split_at(rows * numbers);
        host.check_output(name, status, written, behind);
    }
    // SAFETY: as said above.
    host.call("sfeuot_session_release", &[], format_args!(""), || unsafe { sfeuot_session_release(session) });
}

fn use_checkpoint(reader: &Reader, host: &mut Host, path: &Path, bytes: &[u8], index: usize) -> bool {
    let size = bytes.len();
    let [source, target] = &reader.sides[index];
    let mut trainer: *mut SfeuotTrainer = untouched();
    let file = c_path(path);
    host.unsure(());
    let name = "sfeuot_trainer_load";
    let (status, used) = allocator::watch(0, || {
        host.call(name, &[SFEUOT_ERROR_FORMAT], format_args!("{size} bytes, data of {index}"), || {
            // SAFETY: a live context, a C string, structs with what they point to, a place.
            unsafe { sfeuot_trainer_load(reader.context, file.as_ptr(), &source.data, &target.data, &mut trainer) }
        })
    });
    // A trainer takes what docs/guide.md says, whose largest part is that of the batch.
    if status != SFEUOT_OK {
        check_memory(name, status, used.peak, bytes, 16 * size_of_val(&source.values[..]));
        return false;
    }
    step_once(host, trainer);
    let saved = path.with_file_name("saved");
    let again = c_path(&saved);
    host.unsure(());
    let status = host.call("sfeuot_trainer_save", &[SFEUOT_ERROR_IO], format_args!(""), || {
        // SAFETY: a live handle and a C string.
        unsafe { sfeuot_trainer_save(trainer, again.as_ptr()) }
    });
    if status == SFEUOT_OK && host.random.once_in(4) {
        let mut second: *mut SfeuotTrainer = untouched();
        host.unsure(());
        let status = host.call(name, &[], format_args!("what was just saved"), || {
            // SAFETY: as above.
            unsafe { sfeuot_trainer_load(reader.context, again.as_ptr(), &source.data, &target.data, &mut second) }
        });
        if status == SFEUOT_OK {
            // SAFETY: a live handle.
            ok(unsafe { sfeuot_trainer_release(second) });
        } else if status != SFEUOT_ERROR_OUT_OF_MEMORY {
            find("a checkpoint that was saved cannot be loaded", &super::common::last_error());
        }
    }
    let mut model: *mut SfeuotModel = null_mut();
    host.unsure(());
    // SAFETY: a live handle and a place.
    let model_of = || unsafe { sfeuot_trainer_model(trainer, &mut model) };
    if host.call("sfeuot_trainer_model", &[], format_args!(""), model_of) == SFEUOT_OK {
        use_sessions(host, model);
        // SAFETY: a live handle.
        ok(unsafe { sfeuot_model_release(model) });
    }
    // SAFETY: a live handle.
    host.call("sfeuot_trainer_release", &[], format_args!(""), || unsafe { sfeuot_trainer_release(trainer) });
    true
}

/// One step, which another thread cancels when it takes longer than a second.
fn step_once(host: &mut Host, trainer: *mut SfeuotTrainer) {
    let address = trainer.addr();
    let (over, is_over) = mpsc::channel::<()>();
    let mut metrics = SfeuotMetrics { step: u64::MAX, ..init(sfeuot_metrics_init_2) };
    let documented = [SFEUOT_ERROR_DIVERGED, SFEUOT_ERROR_CANCELLED];
    let name = "sfeuot_trainer_step";
    host.unsure(());
    let status = std::thread::scope(|scope| {
        let cancel = move || {
            while is_over.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
                // SAFETY: a live handle.
                unsafe { sfeuot_trainer_cancel(at(address)) };
            }
        };
        let beside = std::thread::Builder::new().spawn_scoped(scope, cancel);
        // SAFETY: a live handle and a local struct.
        let status = host
            .call(name, &documented, format_args!("1"), || unsafe { sfeuot_trainer_step(trainer, 1, &mut metrics) });
        drop(over);
        drop(beside);
        status
    });
    host.check_metrics(name, status, &metrics);
}
