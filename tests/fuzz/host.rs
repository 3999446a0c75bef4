//! A careless host: the handles it has and had, its random arguments, and what every call of it has to keep.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_void};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use sfeuot::abi::*;

use super::board::Board;
use super::child;
use super::common::last_error;
use super::random::Random;
use super::world::is_untouched;

/// Where findings of this process go.
pub static BOARD: OnceLock<&'static Board> = OnceLock::new();

pub fn find(headline: &str, detail: &str) {
    let board = BOARD.get().expect("a child sets it first");
    let last = board.last();
    let last = last[last.len().saturating_sub(12)..].join("\n    ");
    board.find(headline, &format!("{detail}\n  last calls:\n    {last}"));
}

/// Where on the board the calls that succeed are counted.
pub const SUCCEEDED: usize = 7;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Context,
    Trainer,
    Model,
    Session,
}

pub const KINDS: [Kind; 4] = [Kind::Context, Kind::Trainer, Kind::Model, Kind::Session];

/// A handle that is alive, and what has to be known of it to call it well.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub address: usize,
    /// Numbers of a sample.
    pub dimension: usize,
    /// Whether what it does is known to succeed: samples come from arrays, weights from a training.
    pub tame: bool,
    /// Its steps or calls take too long to be waited for.
    pub heavy: bool,
    pub latents: bool,
}

/// What is known of a call's arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sound {
    Good,
    Unsure,
    Bad,
}

/// What callbacks get as userdata.
pub struct Caller {
    state: AtomicU64,
    /// The trainer that calls, once it is known.
    pub trainer: AtomicUsize,
}

#[derive(Clone)]
pub struct Host {
    pub random: Random,
    pub live: [Vec<Held>; 4],
    pub dead: [Vec<usize>; 4],
    pub callers: Vec<Arc<Caller>>,
    pub folder: PathBuf,
    pub sound: Sound,
    /// Another thread uses the same handles at this moment.
    pub crowded: bool,
    /// How many calls it made.
    pub calls: u64,
}

thread_local! {
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// Calls inside the library at this moment, on all threads.
static CALLS_INSIDE: AtomicUsize = AtomicUsize::new(0);

const GENERAL: [i32; 5] = [
    SFEUOT_OK,
    SFEUOT_ERROR_INVALID_ARGUMENT,
    SFEUOT_ERROR_INVALID_HANDLE,
    SFEUOT_ERROR_UNSUPPORTED_VERSION,
    SFEUOT_ERROR_OUT_OF_MEMORY,
];

const NOT_FINITE: &str = "SFEUOT_ERROR_NOT_FINITE";

pub fn status_name(status: i32) -> &'static str {
    // SAFETY: a constant of the library.
    unsafe { CStr::from_ptr(sfeuot_status_name(status)) }.to_str().expect("UTF-8")
}

impl Host {
    pub fn new(random: Random, folder: PathBuf) -> Self {
        Self {
            random,
            live: Default::default(),
            dead: Default::default(),
            callers: vec![],
            folder,
            sound: Sound::Good,
            crowded: false,
            calls: 0,
        }
    }

    /// True for about one argument in thirty, which is then to be wrong.
    pub fn spoil(&mut self) -> bool {
        self.random.once_in(30)
    }

    pub fn bad<T>(&mut self, value: T) -> T {
        self.sound = Sound::Bad;
        value
    }

    pub fn bad_of<T: Copy>(&mut self, wrong: &[T]) -> T {
        let value = self.random.of(wrong);
        self.bad(value)
    }

    pub fn unsure<T>(&mut self, value: T) -> T {
        if self.sound == Sound::Good {
            self.sound = Sound::Unsure;
        }
        value
    }

    /// A handle of a kind, most often a live one.
    pub fn handle(&mut self, kind: Kind) -> Held {
        let none = |address| Held { address, dimension: 2, tame: false, heavy: false, latents: false };
        if self.spoil() || self.live[kind as usize].is_empty() {
            let other = self.random.of(&KINDS);
            let others = &self.live[other as usize];
            let address = match self.random.below(5) {
                0 if !self.dead[kind as usize].is_empty() => self.random.of(&self.dead[kind as usize]),
                1 if other != kind && !others.is_empty() => self.random.of(others).address,
                2 => self.random.next() as usize,
                3 => self.random.below(4096),
                _ => 0,
            };
            return self.bad(none(address));
        }
        let held = self.random.of(&self.live[kind as usize]);
        // Another thread may have made the very handle that comes out, of rows of another length.
        if self.random.once_in(200) && !self.crowded {
            let flipped = held.address ^ 1 << self.random.below(64);
            let known = self.live[kind as usize].iter().find(|held| held.address == flipped).copied();
            return self.unsure(known.unwrap_or(none(flipped)));
        }
        held
    }

    pub fn keep(&mut self, kind: Kind, held: Held) {
        self.live[kind as usize].push(held);
    }

    /// Forgets one reference of a handle, and the handle with its last.
    pub fn gone(&mut self, kind: Kind, address: usize) {
        let live = &mut self.live[kind as usize];
        if let Some(at) = live.iter().position(|held| held.address == address) {
            live.remove(at);
            if !live.iter().any(|held| held.address == address) {
                self.dead[kind as usize].push(address);
            }
        }
    }

    /// Where an output goes, or where none can.
    pub fn output<T>(&mut self, place: &mut T) -> *mut T {
        if !self.spoil() {
            return place;
        }
        let wrong = if align_of::<T>() > 1 && self.random.once_in(2) {
            std::ptr::from_mut(place).wrapping_byte_add(1)
        } else {
            std::ptr::null_mut()
        };
        self.bad(wrong)
    }

    /// A struct that begins with its size, which may be wrong.
    pub fn sized<T>(&mut self, place: &mut T) -> *mut T {
        if self.spoil() && self.random.once_in(3) {
            return self.bad(std::ptr::null_mut());
        }
        if self.spoil() { self.missized(place) } else { place }
    }

    /// The same where NULL is allowed.
    pub fn optional<T>(&mut self, place: &mut T) -> *mut T {
        match self.random.below(30) {
            0..8 => std::ptr::null_mut(),
            8 => self.missized(place),
            _ => place,
        }
    }

    fn missized<T>(&mut self, place: &mut T) -> *mut T {
        let size = size_of::<T>() as u32;
        let wrong = self.random.of(&[0, 1, 4, size - 1, size + 1, size + 8, u32::MAX, i32::MAX as u32]);
        // SAFETY: the struct begins with its size.
        unsafe { std::ptr::from_mut(place).cast::<u32>().write(wrong) };
        self.bad(place)
    }

    pub fn path(&mut self) -> Option<CString> {
        let name = match self.random.below(40) {
            0 => return self.bad(None),
            1 => return self.bad(Some(c"".into())),
            2 => return self.bad(Some(c"no/such/folder/file".into())),
            3 => return self.bad(Some(c"/dev/full".into())),
            4 => return self.bad(Some(c"/proc/self/mem".into())),
            5 => return self.bad(Some(CString::new("n".repeat(5000)).expect("no zero inside"))),
            6 => return self.bad(Some(CString::new(self.folder.to_str().expect("UTF-8")).expect("no zero inside"))),
            7 => return self.bad(Some(c"\xff\xfe/\x80".into())),
            number => format!("file-{}", number % 6),
        };
        Some(super::world::c_path(&self.folder.join(name)))
    }

    /// A caller for callbacks, which lives as long as the host.
    pub fn caller(&mut self) -> Arc<Caller> {
        let state = AtomicU64::new(self.random.next());
        let caller = Arc::new(Caller { state, trainer: AtomicUsize::new(0) });
        self.callers.push(caller.clone());
        caller
    }

    /// Makes a call and checks what holds for every call. `arguments` are for the reader.
    pub fn call(
        &mut self,
        function: &str,
        documented: &[i32],
        arguments: std::fmt::Arguments<'_>,
        call: impl FnOnce() -> i32,
    ) -> i32 {
        self.calls += 1;
        child::alive();
        let board = BOARD.get().expect("a child sets it first");
        let sound = self.sound;
        let crowd = if self.crowded { " (crowded)" } else { "" };
        board.note(&format!("{function}({arguments}) {sound:?}{crowd}"));
        INSIDE.set(INSIDE.get() + 1);
        CALLS_INSIDE.fetch_add(1, Relaxed);
        let status = call();
        CALLS_INSIDE.fetch_sub(1, Relaxed);
        INSIDE.set(INSIDE.get() - 1);
        if status == SFEUOT_OK {
            board.place[SUCCEEDED].fetch_add(1, Relaxed);
        }
        let name = status_name(status);
        let text = || format!("{function}({arguments}) gives {name}: {}", last_error());
        let busy = function.starts_with("sfeuot_trainer") || function.starts_with("sfeuot_session");
        let expected = GENERAL.contains(&status)
            || documented.contains(&status)
            || busy && status == SFEUOT_ERROR_BUSY
            || function.starts_with("sfeuot_session") && name == NOT_FINITE;
        if !expected {
            find(&format!("{function} has a status that its manual does not name: {name}"), &text());
        }
        if status != SFEUOT_OK {
            if !last_error().starts_with(function) {
                find(&format!("{function} fails with a sentence that does not begin with it"), &text());
            }
            if status == SFEUOT_ERROR_BUSY && !self.crowded && INSIDE.get() == 0 {
                find(&format!("{function} is busy though nothing is inside"), &text());
            }
        }
        match (sound, status) {
            (Sound::Bad, SFEUOT_OK) => find(&format!("{function} takes wrong arguments"), &text()),
            (
                Sound::Good,
                SFEUOT_ERROR_INVALID_ARGUMENT | SFEUOT_ERROR_INVALID_HANDLE | SFEUOT_ERROR_UNSUPPORTED_VERSION,
            ) if !self.crowded => find(&format!("{function} refuses good arguments: {name}"), &text()),
            _ => {}
        }
        self.sound = Sound::Good;
        status
    }

    /// Outputs of a call: written whole and finite on success, left alone on failure.
    pub fn check_output(&self, function: &str, status: i32, written: &[f32], behind: &[f32]) {
        let name = status_name(status);
        if !is_untouched(behind) {
            find(&format!("{function} writes behind its output"), name);
        }
        if status == SFEUOT_OK {
            if let Some(at) = written.iter().position(|value| !value.is_finite()) {
                find(&format!("{function} gives a value that is not finite"), &format!("{} at {at}", written[at]));
            }
            if let Some(at) = written.iter().position(|value| is_untouched(&[*value])) {
                find(&format!("{function} does not write all of its output"), &format!("at {at} of {}", written.len()));
            }
        } else if name == NOT_FINITE {
            // Rows before the one that the sentence names may be there.
            if let Some(at) = written.iter().position(|value| !value.is_finite()) {
                find(&format!("{function} writes a value that is not finite"), &format!("{} at {at}", written[at]));
            }
        } else if status != SFEUOT_ERROR_INTERNAL && status != SFEUOT_ERROR_DEVICE && !is_untouched(written) {
            find(&format!("{function} writes its output and fails with {name}"), &last_error());
        }
    }

    pub fn check_metrics(&self, function: &str, status: i32, metrics: &SfeuotMetrics) {
        if status != SFEUOT_OK {
            if metrics.step != u64::MAX {
                find(&format!("{function} writes metrics and fails with {}", status_name(status)), &last_error());
            }
            return;
        }
        let m = metrics;
        let all = [
            m.dual,
            m.value_loss,
            m.generator_loss,
            m.potential,
            m.action,
            m.value_gradient_norm,
            m.generator_gradient_norm,
            m.density_ratio_mean,
            m.steps_per_second,
            m.value_generated,
            m.value_target,
            m.matched_share,
            m.spread,
        ];
        if !all.iter().all(|value| value.is_finite()) {
            find(&format!("{function} gives metrics that are not finite"), &format!("{m:?}"));
        }
    }
}

impl Caller {
    fn random(&self) -> Random {
        Random::new(self.state.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed))
    }

    /// What a callback may do beside its work.
    fn call_back(&self, random: &mut Random) {
        if INSIDE.get() == 0 {
            find("a callback runs on a thread that made no call", "");
        }
        let trainer: *mut SfeuotTrainer = std::ptr::without_provenance_mut(self.trainer.load(Relaxed));
        if trainer.is_null() || !random.once_in(20) {
            return;
        }
        let mut metrics = super::common::init(sfeuot_metrics_init_2);
        let mut model = std::ptr::null_mut();
        // SAFETY: a handle that may have been released, and local outputs.
        let choice = random.below(4);
        let status = unsafe {
            match choice {
                0 => sfeuot_trainer_metrics(trainer, &mut metrics),
                1 => sfeuot_trainer_step(trainer, 1, std::ptr::null_mut()),
                2 => sfeuot_trainer_model(trainer, &mut model),
                _ => {
                    sfeuot_trainer_cancel(trainer);
                    return;
                }
            }
        };
        // While it tells of progress a trainer is open to whoever asks, but makes no steps.
        let asks = choice == 0 || choice == 2;
        if asks && status == SFEUOT_OK {
            // SAFETY: NULL, or a reference that this function was given.
            unsafe { sfeuot_model_release(model) };
        } else if !matches!(status, SFEUOT_ERROR_BUSY | SFEUOT_ERROR_INVALID_HANDLE) {
            find("a callback gets into its own trainer", status_name(status));
        }
    }
}

pub unsafe extern "C-unwind" fn sample(userdata: *mut c_void, batch: *mut f32, rows: u64, dimension: u64) -> i32 {
    // SAFETY: hosts pass a Caller that outlives the trainer.
    let caller = unsafe { &*userdata.cast::<Caller>() };
    let mut random = caller.random();
    // SAFETY: the batch has room for rows x dimension floats.
    let batch = unsafe { std::slice::from_raw_parts_mut(batch, (rows * dimension) as usize) };
    batch.fill_with(|| random.unit() as f32);
    caller.call_back(&mut random);
    match random.below(60) {
        0 => return random.next() as i32 | 1,
        1 => batch[random.below(batch.len())] = random.of(&[f32::NAN, f32::INFINITY]),
        2 => batch.fill(random.of(&[0.0, 1e38, -1e38, 1e-40])),
        _ => {}
    }
    0
}

pub unsafe extern "C-unwind" fn progress(userdata: *mut c_void, metrics: *const SfeuotMetrics) -> i32 {
    // SAFETY: hosts pass a Caller, and metrics is valid during the callback.
    let (caller, metrics) = unsafe { (&*userdata.cast::<Caller>(), &*metrics) };
    let mut random = caller.random();
    if !metrics.dual.is_finite() || metrics.struct_size as usize != size_of::<SfeuotMetrics>() {
        find("a progress callback gets metrics that are not sound", &format!("{metrics:?}"));
    }
    caller.call_back(&mut random);
    match random.below(12) {
        0 => SFEUOT_STOP,
        1 => random.next() as i32 | 2,
        _ => SFEUOT_CONTINUE,
    }
}

pub unsafe extern "C-unwind" fn log(_: *mut c_void, level: i32, utf8: *const std::ffi::c_char, len: usize) {
    // SAFETY: the text has len bytes.
    let text = unsafe { std::slice::from_raw_parts(utf8.cast::<u8>(), len) };
    if !(SFEUOT_LOG_ERROR..=SFEUOT_LOG_DEBUG).contains(&level) || std::str::from_utf8(text).is_err() || text.is_empty()
    {
        find("a log callback gets an unsound line", &String::from_utf8_lossy(text));
    }
    if CALLS_INSIDE.load(Relaxed) == 0 {
        find("a log callback runs while no call does", &String::from_utf8_lossy(text));
    }
}
