//! The calls of a session with random arguments.

use std::ptr::{null, without_provenance_mut as at};

use sfeuot::abi::*;

use super::common::init;
use super::host::{Held, Host, Kind, Sound, find, status_name};
use super::operations::Operation;
use super::world::PATTERN;

pub const SESSION_OPERATIONS: &[Operation] =
    &[generate, generate, generate_tensor, bytes, bytes, conditional_mean, trajectory, drift, density_ratio];

/// Numbers behind an output that have to stay as they are.
const BEHIND: usize = 32;

/// Rows for a call, and room for what it gives.
struct Rows {
    held: Held,
    alive: bool,
    rows: u64,
    /// What the library is told.
    claimed: u64,
    /// What `from` points to.
    _input: Vec<f32>,
    output: Vec<f32>,
    length: usize,
    /// Where the library is told that they are.
    from: *const f32,
    to: *mut f32,
}

impl Rows {
    fn new(host: &mut Host, numbers_a_row: impl Fn(usize) -> usize) -> Option<Self> {
        let held = host.handle(Kind::Session);
        let alive = host.sound == Sound::Good;
        if held.heavy || held.dimension > 1 << 12 {
            host.sound = Sound::Good;
            return None;
        }
        let rows = if host.random.once_in(10) { host.random.between(60, 140) } else { host.random.between(1, 9) };
        let mut input: Vec<f32> = (0..rows * held.dimension).map(|_| host.random.unit() as f32 * 3.0 - 1.0).collect();
        if host.random.once_in(20) {
            let large = host.random.of(&[1e38f32, f32::MAX, -f32::MAX, 1e20, 1e9, 1e-40]);
            let one = host.random.below(input.len());
            input[one] = large;
            host.unsure(());
        }
        if host.spoil() {
            let one = host.random.below(input.len());
            input[one] = host.bad_of(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        }
        let length = rows * numbers_a_row(held.dimension);
        let mut output: Vec<f32> = vec![f32::from_ne_bytes([PATTERN; 4]); length + BEHIND];
        let (mut from, mut to) = (input.as_ptr(), output.as_mut_ptr());
        let mut claimed = rows as u64;
        match host.random.below(120) {
            0 => from = host.bad(null()),
            1 => from = host.bad(from.wrapping_byte_add(1)),
            2 => to = host.bad(std::ptr::null_mut()),
            3 => to = host.bad(to.wrapping_byte_add(2)),
            4 => {
                // In place, which is sound where rows keep their length. What was wrong with the other rows is not read.
                from = to.cast_const();
                host.sound = Sound::Unsure;
            }
            5 => claimed = host.bad_of(&[1 << 62, u64::MAX, u64::MAX / 4, 1 << 63]),
            // Nothing to do, whatever the other arguments are.
            6..9 => claimed = 0,
            _ => {}
        }
        if !held.tame {
            host.unsure(());
        }
        Some(Self { held, alive, rows: rows as u64, claimed, _input: input, output, length, from, to })
    }

    /// Without rows a live session does nothing, whatever the other arguments are.
    fn settle(&self, host: &mut Host) {
        if self.claimed == 0 {
            host.sound = if self.alive { Sound::Good } else { Sound::Unsure };
        }
    }

    fn check(&self, host: &Host, function: &str, status: i32) {
        let (written, behind) = self.output.split_at(if self.claimed == 0 { 0 } else { self.length });
        host.check_output(function, status, written, behind);
    }
}

/// The first row's number; its sum with the rows must stay below 2^64.
fn first_row(host: &mut Host, rows: u64) -> u64 {
    match host.random.below(60) {
        0 => host.bad(u64::MAX),
        1 => host.bad(u64::MAX - rows + 1),
        2 => u64::MAX - rows,
        3 => 1 << 63,
        _ => host.random.next() >> 20,
    }
}

fn generate(host: &mut Host) {
    let Some(rows) = Rows::new(host, |dimension| dimension) else { return };
    let (seed, first) = (host.random.next(), first_row(host, rows.rows));
    rows.settle(host);
    let name = "sfeuot_session_generate";
    let status = host.call(name, &[], format_args!("{:#x}, {}, {first}", rows.held.address, rows.claimed), || {
        // SAFETY: here and below whatever number, and arrays of the sizes named, or what is refused.
        unsafe { sfeuot_session_generate(at(rows.held.address), rows.from, rows.claimed, seed, first, rows.to) }
    });
    rows.check(host, name, status);
}

fn generate_tensor(host: &mut Host) {
    let Some(mut rows) = Rows::new(host, |dimension| dimension) else { return };
    let (seed, first) = (host.random.next(), first_row(host, rows.rows));
    let mut source: SfeuotTensor = init(sfeuot_tensor_init);
    let mut shape = [rows.claimed.min(i64::MAX as u64) as i64, rows.held.dimension as i64];
    let mut strides = [rows.held.dimension as i64, 1];
    (source.data, source.rank) = (rows.from.cast(), 2);
    let mut generated = SfeuotTensor { data: rows.to.cast(), ..source };
    let spoilt = if host.random.once_in(2) { &mut source } else { &mut generated };
    match host.random.below(60) {
        0 => spoilt.dtype = host.bad_of(&[5, -1, i32::MAX]),
        1 => spoilt.memory = host.bad_of(&[SFEUOT_MEMORY_CUDA, 2]),
        2 => spoilt.rank = host.bad_of(&[0, 9]),
        3 => spoilt.scale = host.bad_of(&[0.0, f64::NAN, f64::NEG_INFINITY]),
        4 => spoilt.offset = host.bad_of(&[f64::NAN, f64::INFINITY]),
        5 => strides[0] = host.bad_of(&[0, 1 << 61, i64::MIN]),
        6 => strides[1] = host.bad_of(&[0, i64::MAX, i64::MIN]),
        7 => generated.read_only = host.bad(1),
        8 => source.read_only = 1,
        9 => shape[1] = host.bad(shape[1] + 1),
        10 => shape[0] = host.bad_of(&[0, -1, i64::MIN]),
        11 => spoilt.struct_size = host.bad_of(&[0, u32::MAX]),
        _ => {}
    }
    if source.data == generated.data {
        // In place, which is sound.
        host.sound = Sound::Unsure;
    }
    (source.shape, generated.shape) = (shape.as_ptr(), shape.as_ptr());
    (source.strides, generated.strides) = (strides.as_ptr(), strides.as_ptr());
    if rows.claimed == 0 {
        host.unsure(());
    }
    if rows.rows == 1 || rows.held.dimension == 1 || shape[0] == 0 {
        // A distance that is never gone may be allowed, and so may no rows.
        host.sound = if host.sound == Sound::Good { Sound::Good } else { Sound::Unsure };
    }
    if shape[0] == 0 {
        rows.length = 0;
    }
    let name = "sfeuot_session_generate_tensor";
    let status = host.call(name, &[], format_args!("{:#x}, {shape:?}, {first}", rows.held.address), || {
        // SAFETY: as said above.
        unsafe { sfeuot_session_generate_tensor(at(rows.held.address), &source, seed, first, &generated) }
    });
    rows.check(host, name, status);
}

/// A layout of rows of bytes.
struct Bytes {
    strides: [i64; 2],
    /// Where the first number of the first row lies, and how many bytes there are.
    start: usize,
    length: usize,
}

impl Bytes {
    fn new(host: &mut Host, rows: usize, dimension: usize) -> Self {
        let between = host.random.between(1, 4) as i64;
        let far = |extent: usize, stride: i64| (extent as i64 - 1) * stride;
        // Rows one after the other, or their numbers in turn.
        let mut strides = if host.random.once_in(3) {
            [between, far(rows, between) + 1 + host.random.below(3) as i64]
        } else {
            [far(dimension, between) + 1 + host.random.below(9) as i64, between]
        };
        let (mut start, mut length) = (0, 1);
        for (stride, extent) in strides.iter_mut().zip([rows, dimension]) {
            let reach = far(extent, *stride) as usize;
            length += reach;
            if host.random.once_in(3) {
                start += reach;
                *stride = -*stride;
            }
        }
        Self { strides, start, length }
    }

    fn places(&self, rows: usize, dimension: usize) -> impl Iterator<Item = usize> {
        let (start, [far, near]) = (self.start as i64, self.strides);
        (0..rows * dimension)
            .map(move |i| (start + far * (i / dimension) as i64 + near * (i % dimension) as i64) as usize)
    }
}

/// Rows of bytes in layouts of all sorts, into others or in place.
fn bytes(host: &mut Host) {
    let held = host.handle(Kind::Session);
    if held.heavy || held.dimension > 1 << 12 {
        host.sound = Sound::Good;
        return;
    }
    let (rows, dimension) = (host.random.between(1, 7), held.dimension);
    let (from, mut to) = (Bytes::new(host, rows, dimension), Bytes::new(host, rows, dimension));
    let input: Vec<u8> = (0..from.length).map(|_| host.random.next() as u8).collect();
    let mut output = vec![PATTERN; to.length];
    let ratio = host.random.once_in(4);
    let in_place = !ratio && host.random.once_in(4);
    if in_place {
        to = Bytes { strides: from.strides, ..from };
        output.clone_from(&input);
    }
    let (seed, first) = (host.random.next(), first_row(host, rows as u64));
    let mut shape = [rows as i64, dimension as i64];
    let mut source: SfeuotTensor = init(sfeuot_tensor_init);
    (source.dtype, source.rank, source.scale, source.offset) = (SFEUOT_DTYPE_U8, 2, 1.0 / 64.0, -1.0);
    source.data = if in_place { output.as_ptr() } else { input.as_ptr() }.wrapping_add(from.start).cast();
    let mut strides = to.strides;
    let mut generated = SfeuotTensor { data: output.as_ptr().wrapping_add(to.start).cast(), ..source };
    if !ratio {
        match host.random.below(40) {
            0 if dimension > 1 => strides[1] = host.bad(0),
            1 if rows > 1 => strides[0] = host.bad(0),
            2 if rows > 1 && dimension > 1 => strides[0] = host.bad(strides[1]),
            3 => generated.scale = host.bad_of(&[0.0, f64::INFINITY]),
            4 => generated.read_only = host.bad(1),
            5 => generated.memory = host.bad(SFEUOT_MEMORY_CUDA),
            6 => generated.data = host.bad(null()),
            _ => {}
        }
    }
    if host.spoil() {
        shape[1] = host.bad(shape[1] + 1);
    }
    (source.shape, generated.shape) = (shape.as_ptr(), shape.as_ptr());
    (source.strides, generated.strides) = (from.strides.as_ptr(), strides.as_ptr());
    if !held.tame {
        host.unsure(());
    }
    let mut ratios = vec![f32::from_ne_bytes([PATTERN; 4]); rows + BEHIND];
    let before = output.clone();
    let (session, latents) = (at(held.address), host.random.between(1, 9) as u32);
    let (name, mean) = match (ratio, host.random.once_in(2)) {
        (true, _) => ("sfeuot_session_density_ratio_tensor", false),
        (false, true) => ("sfeuot_session_conditional_mean_tensor", true),
        (false, false) => ("sfeuot_session_generate_tensor", false),
    };
    if ratio && host.sound != Sound::Good {
        // The number of the first row is none of its arguments.
        host.sound = Sound::Unsure;
    }
    let arguments = format_args!("{:#x}, {shape:?}, {:?}, {strides:?}, {first}", held.address, from.strides);
    // SAFETY: whatever number, and layouts that stay inside of their buffers, or what is refused.
    let status = host.call(name, &[], arguments, || unsafe {
        if ratio {
            sfeuot_session_density_ratio_tensor(session, &source, ratios.as_mut_ptr())
        } else if mean {
            sfeuot_session_conditional_mean_tensor(session, &source, latents, seed, first, &generated)
        } else {
            sfeuot_session_generate_tensor(session, &source, seed, first, &generated)
        }
    });
    if ratio {
        let (written, behind) = ratios.split_at(rows);
        host.check_output(name, status, written, behind);
        return;
    }
    let mut inside = vec![false; output.len()];
    if status == SFEUOT_OK || status == SFEUOT_ERROR_NOT_FINITE {
        to.places(rows, dimension).for_each(|place| inside[place] = true);
    }
    let changed = (0..output.len()).find(|&i| !inside[i] && output[i] != before[i]);
    if let Some(place) = changed {
        find(&format!("{name} writes beside its output"), &format!("{} at byte {place}", status_name(status)));
    }
}

fn conditional_mean(host: &mut Host) {
    let Some(rows) = Rows::new(host, |dimension| dimension) else { return };
    let (seed, first) = (host.random.next(), first_row(host, rows.rows));
    let latents = match host.random.below(40) {
        0 => host.bad(0),
        1 => host.bad((1 << 24) + 1),
        2 if !rows.held.latents => 1 << 24,
        _ => host.random.between(1, 20) as u32,
    };
    rows.settle(host);
    let name = "sfeuot_session_conditional_mean";
    let status = host.call(name, &[], format_args!("{:#x}, {}, {latents}", rows.held.address, rows.claimed), || {
        let session = at(rows.held.address);
        // SAFETY: as said above.
        unsafe { sfeuot_session_conditional_mean(session, rows.from, rows.claimed, latents, seed, first, rows.to) }
    });
    rows.check(host, name, status);
}

fn trajectory(host: &mut Host) {
    let mut times: Vec<f64> = (0..host.random.between(1, 4)).map(|_| host.random.unit()).collect();
    times.sort_by(f64::total_cmp);
    if host.random.once_in(4) {
        times[0] = 0.0;
    }
    if host.random.once_in(4) {
        *times.last_mut().expect("at least one") = 1.0;
    }
    let count = times.len();
    let Some(mut rows) = Rows::new(host, |dimension| dimension * count) else { return };
    let one = host.random.below(count);
    match host.random.below(60) {
        0 => times[one] = host.bad_of(&[-0.1, 1.0 + 1e-9, f64::NAN, f64::INFINITY]),
        1 if count > 1 => {
            times[0] = 0.9;
            times[1] = host.bad(0.1);
        }
        2 => times[one] = host.unsure(-0.0),
        _ => {}
    }
    let (seed, first) = (host.random.next(), first_row(host, rows.rows));
    let claimed = if host.spoil() && rows.claimed > 0 { host.unsure(0) } else { count as u32 };
    if claimed == 0 {
        // Nothing to do either.
        rows.length = 0;
        host.sound = Sound::Unsure;
    }
    rows.settle(host);
    let name = "sfeuot_session_trajectory";
    let status = host.call(name, &[], format_args!("{:#x}, {}, {times:?}", rows.held.address, rows.claimed), || {
        let (session, times) = (at(rows.held.address), times.as_ptr());
        // SAFETY: as said above.
        unsafe { sfeuot_session_trajectory(session, rows.from, rows.claimed, times, claimed, seed, first, rows.to) }
    });
    rows.check(host, name, status);
}

fn drift(host: &mut Host) {
    let Some(rows) = Rows::new(host, |dimension| dimension) else { return };
    let time = match host.random.below(30) {
        0 => host.bad_of(&[-1e-9, 1.0 + 1e-9, f64::NAN, f64::NEG_INFINITY]),
        1 => 0.0,
        2 => 1.0,
        3 => f64::MIN_POSITIVE,
        _ => host.random.unit(),
    };
    rows.settle(host);
    let name = "sfeuot_session_drift";
    let status = host.call(name, &[], format_args!("{:#x}, {time}, {}", rows.held.address, rows.claimed), || {
        // SAFETY: as said above.
        unsafe { sfeuot_session_drift(at(rows.held.address), time, rows.from, rows.claimed, rows.to) }
    });
    rows.check(host, name, status);
}

fn density_ratio(host: &mut Host) {
    let Some(rows) = Rows::new(host, |_| 1) else { return };
    rows.settle(host);
    let name = "sfeuot_session_density_ratio";
    let status = host.call(name, &[], format_args!("{:#x}, {}", rows.held.address, rows.claimed), || {
        // SAFETY: as said above.
        unsafe { sfeuot_session_density_ratio(at(rows.held.address), rows.from, rows.claimed, rows.to) }
    });
    rows.check(host, name, status);
}
