//! Files that nobody trusts: what a load takes is bounded by the file and by what its header says, and memory that the
//! system refuses is an error. Counted for the whole process, so this file is a program of its own: a test runner's threads
//! allocate when they like.

mod problems;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use problems::{Clouds, array, bytes, context, scratch, small};
use sfeuot::*;

struct Measuring;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Large allocations until one is refused; 0: none is.
static UNTIL_REFUSAL: AtomicUsize = AtomicUsize::new(0);
/// Smaller ones are never refused.
const LARGE: usize = 4097;

impl Measuring {
    fn refuses(size: usize) -> bool {
        size >= LARGE && UNTIL_REFUSAL.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) == Ok(1)
    }

    fn hold(more: usize) {
        PEAK.fetch_max(HELD.fetch_add(more, Relaxed) + more, Relaxed);
    }
}

// SAFETY: the system's allocator does the work, and null is an answer that it may give.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::refuses(layout.size()) {
            return null_mut();
        }
        Self::hold(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Self::refuses(layout.size()) {
            return null_mut();
        }
        Self::hold(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if Self::refuses(size) {
            return null_mut();
        }
        // Both are there while one is copied.
        Self::hold(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// What a call returns, and by how much it held more at its height.
fn measured<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = call();
    (result, PEAK.load(Relaxed) - before)
}

/// Beside what grows with a file: most of it are the entries of up to 4096 tensors.
const LITTLE: usize = 768 << 10;

fn main() {
    let (kept, peak) = measured(|| std::hint::black_box(vec![0u8; 100]).len());
    assert!((kept, peak) == (100, 100), "the allocator does not measure: {peak}");

    bombs();
    println!("what a hostile file takes is bounded by its size: ok");
    weights_are_held_once();
    println!("neither a load nor a save holds a copy of a file: ok");
    refused_memory();
    println!("memory that is refused is an error: ok");
}

/// A file without tensors, and this text in the place of its metadata's values.
fn file(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

fn described(description: &str) -> Vec<u8> {
    let description = description.replace('\\', r"\\").replace('"', "\\\"");
    file(&format!(
        r#"{{"__metadata__":{{"sfeuot_format":"sfeuot-model","sfeuot_format_version":"1","sfeuot_description":"{description}"}}}}"#
    ))
}

/// Files of some megabytes that would be many times as large once they are understood.
fn bombs() {
    const UNITS: usize = 400_000;
    let of_units = |unit: &str| unit.repeat(UNITS);
    let keys: String = (0..UNITS).map(|i| format!(r#""{i}":0,"#)).collect();
    let tensors: String =
        (0..50_000).map(|i| format!(r#","w{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    let metadata = r#""sfeuot_format":"sfeuot-model","sfeuot_format_version":"1","sfeuot_description":"{}""#;
    let descriptions = [
        (
            "objects in objects",
            format!(r#"{{"a":[{}0]}}"#, format!("{}0{},", r#"{"":"#.repeat(100), "}".repeat(100)).repeat(4000)),
        ),
        ("lists in lists", format!("[{}", of_units("["))),
        ("short lists", format!(r#"{{"a":[{}[]]}}"#, of_units("[],"))),
        ("numbers", format!(r#"{{"shift":[{}0]}}"#, of_units("0,"))),
        ("known lists", format!(r#"{{"shift":[{0}0],"sample_shape":[{0}0],"pull":[{0}0]}}"#, of_units("0,"))),
        ("a list of all kinds", format!(r#"{{"a":[{}0]}}"#, of_units(r#"null,"",{},[],"#))),
        ("a long number", format!(r#"{{"scale":{}}}"#, of_units("12345"))),
        ("a long fraction", format!(r#"{{"scale":0.{}}}"#, of_units("12345"))),
        ("a long exponent", format!(r#"{{"scale":1e{}}}"#, of_units("00000"))),
        ("a long word", format!(r#"{{"divergence":"{}"}}"#, of_units("word"))),
        ("a long escaped word", format!(r#"{{"divergence":"{}"}}"#, of_units(r"\n\u0041"))),
        ("a long key", format!(r#"{{"{}":0}}"#, of_units(r"\tkey"))),
        ("many keys", format!(r#"{{{keys}"scale":1}}"#)),
        ("one key many times", format!(r#"{{{}"scale":1}}"#, of_units(r#""scale":1,"#))),
        ("white space", format!("{}{{}}", of_units(" \n"))),
        ("no end", format!(r#"{{"a":"{}"#, of_units("a"))),
    ];
    let headers = [
        ("many metadata", format!(r#"{{"__metadata__":{{{}{metadata}}}}}"#, of_units(r#""key":"value","#))),
        ("large metadata", format!(r#"{{"__metadata__":{{"key":"{}",{metadata}}}}}"#, of_units(r"\n\n"))),
        (
            "one of ours many times",
            format!(r#"{{"__metadata__":{{{}{metadata}}}}}"#, of_units(r#""sfeuot_format":"","#)),
        ),
        ("many tensors", format!(r#"{{"__metadata__":{{{metadata}}}{tensors}}}"#)),
        ("a long name", format!(r#"{{"__metadata__":{{{metadata}}},"{}":0}}"#, of_units("name"))),
        ("a long escaped name", format!(r#"{{"{}":0,"__metadata__":{{{metadata}}}}}"#, of_units(r"\u0041"))),
        ("a long type", format!(r#"{{"__metadata__":{{{metadata}}},"w":{{"dtype":"{}"}}}}"#, of_units("F32"))),
        ("a long shape", format!(r#"{{"__metadata__":{{{metadata}}},"w":{{"shape":[{}0]}}}}"#, of_units("0,"))),
        ("nested entries", format!(r#"{{"w":{},"__metadata__":{{{metadata}}}}}"#, of_units("["))),
        ("white space in a header", format!(r#"{{"__metadata__":{{{metadata}}}{}}}"#, of_units(" \r"))),
        ("nothing but white space", of_units("\t\t\t\t")),
    ];
    let descriptions = descriptions.map(|(name, text)| (name, described(&text)));
    let headers = headers.map(|(name, text)| (name, file(&text)));
    let context = context(1);
    lists_that_tensors_allow(&context);
    for (name, bytes) in descriptions.into_iter().chain(headers) {
        let path = scratch("bomb");
        std::fs::write(&path, &bytes).expect("the target folder is writable");
        let (loaded, peak) = measured(|| Model::load(&context, &path));
        assert_refused(name, loaded);
        assert!(peak <= bytes.len() + LITTLE, "{name}: {peak} for a file of {}", bytes.len());
        let (loaded, peak) = measured(|| Model::load_memory(&context, &bytes));
        assert_refused(name, loaded);
        assert!(peak <= bytes.len() + LITTLE, "{name}: {peak} beside {}", bytes.len());
    }
}

/// A list in memory is four times as large as its text, and there may be four as long as a quarter of the weights.
fn lists_that_tensors_allow(context: &Context) {
    const WEIGHTS: usize = 1 << 20;
    let list = format!("[{}0]", "0,".repeat(WEIGHTS / 4 - 1));
    let description = format!(r#"{{"shift":{list},"bridge":{{"pull":{list},"mean_squares":[{list},{list}]}}}}"#);
    let (dtype, end) = ("F32", 4 * WEIGHTS);
    let metadata = r#""sfeuot_format":"sfeuot-model","sfeuot_format_version":"1""#;
    let mut bytes = file(&format!(
        r#"{{"__metadata__":{{{metadata},"sfeuot_description":{description:?}}},"w":{{"dtype":"{dtype}","shape":[{WEIGHTS}],"data_offsets":[0,{end}]}}}}"#
    ));
    bytes.resize(bytes.len() + end, 0);
    let path = scratch("lists");
    std::fs::write(&path, &bytes).expect("the target folder is writable");
    let (loaded, peak) = measured(|| Model::load(context, &path));
    assert_refused("lists", loaded);
    assert!(peak <= 2 * bytes.len(), "{peak} for a file of {}", bytes.len());
}

fn assert_refused(name: &str, loaded: Result<Model>) {
    match loaded {
        Err(Error::Format(sentence)) => assert!(sentence.len() < 1600, "{name}: {sentence}"),
        Err(error) => panic!("{name}: {error}"),
        Ok(_) => panic!("{name}: it loads"),
    }
}

fn weights_are_held_once() {
    let context = context(1);
    let model = Clouds::new(2).model(TrainerConfig { hidden_width: 512, ..small() }, 0);
    let path = scratch("weights");
    let (saved, peak) = measured(|| model.save(&path));
    saved.expect("the target folder is writable");
    assert!(peak < LITTLE, "a save takes {peak}");
    let before = HELD.load(Relaxed);
    let (loaded, peak) = measured(|| Model::load(&context, &path).expect("a good file"));
    let held = HELD.load(Relaxed) - before;
    assert!(peak < held + LITTLE, "a load takes {peak} for {held}");
    drop(loaded);
}

/// Each of the large allocations of a load and a save is refused once.
fn refused_memory() {
    let context = context(1);
    // Lists of more than LARGE bytes, as JSON and in memory.
    let clouds = Clouds::new(600);
    let mut trainer = clouds.trainer(&context, TrainerConfig { batch_sources: 1, components: 1, ..small() });
    let model = trainer.model().expect("memory");
    let path = scratch("refused");
    let (old, kept) = (bytes(&Clouds::new(2).model(small(), 0), "old"), scratch("kept"));
    std::fs::write(&kept, &old).expect("the target folder is writable");
    let refusals = each_refused("save", || model.save(&kept), |saved| saved.is_ok());
    assert!(refusals >= 3, "{refusals}");
    assert!(std::fs::read(&kept).expect("it is there") != old, "the last one saves");

    // The header, four lists and the tensors; the last value is not a number, so that no model is made of them.
    let mut file = bytes(&model, "large");
    let spoil = |path: &Path, file: &mut Vec<u8>| {
        let end = file.len();
        file[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(path, file).expect("the target folder is writable");
    };
    spoil(&path, &mut file);
    let spoilt = |loaded: &Result<()>| matches!(loaded, Err(Error::Format(text)) if text.contains("NaN"));
    let refusals = each_refused("load", || Model::load(&context, &path).map(drop), spoilt);
    assert!(refusals >= 7, "{refusals}");
    let refusals = each_refused("load_memory", || Model::load_memory(&context, &file).map(drop), spoilt);
    assert!(refusals >= 7, "{refusals}");

    trainer.save(&path).expect("the target folder is writable");
    spoil(&path, &mut std::fs::read(&path).expect("it was written"));
    let (source, target) = (&clouds.source, &clouds.target);
    let load = || Trainer::load(&context, &path, array(source, 600), array(target, 600)).map(drop);
    let refusals = each_refused("Trainer::load", load, spoilt);
    assert!(refusals >= 13, "{refusals}");
}

/// Refuses the first large allocation of a call, then the second, until there are no more; returns their number.
fn each_refused(what: &str, call: impl Fn() -> Result<()>, ended: impl Fn(&Result<()>) -> bool) -> usize {
    for n in 1.. {
        UNTIL_REFUSAL.store(n, Relaxed);
        let result = call();
        if UNTIL_REFUSAL.swap(0, Relaxed) > 0 {
            assert!(ended(&result), "{what}: {result:?}");
            return n - 1;
        }
        assert!(matches!(result, Err(Error::OutOfMemory(_))), "{what}, allocation {n}: {result:?}");
    }
    unreachable!("a call that allocates for ever")
}
