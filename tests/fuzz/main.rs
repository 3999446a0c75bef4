//! An attack on the library: random calls, damaged files, refused memory, and kills while files are written. Short in
//! `make test`, as long as one likes in `make fuzz`. The library runs in child processes, so that its end, its silence
//! and what it prints are findings like any other. The contract is that of the header, for every host however
//! careless.

mod allocator;
mod board;
mod calls;
mod child;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod host;
mod kills;
mod life;
mod memory;
mod models;
mod mutations;
mod operations;
mod random;
mod report;
mod requests;
mod sessions;
mod threads;
mod trainers;
mod world;

use std::time::{Duration, Instant};

use report::Report;

/// What the command line and the environment ask for.
pub struct Options {
    /// All there is to try, rather than some.
    pub long: bool,
    pub seed: u64,
    /// For each part that could go on for ever.
    pub time: Duration,
    /// Calls or files, for each of these parts; the time is no limit then.
    pub count: Option<u64>,
    /// The first sequence of calls, or the first file.
    pub from: u64,
}

struct Part {
    name: &'static str,
    attack: fn(&Options, &mut Report) -> u64,
    of: &'static str,
}

const PARTS: [Part; 5] = [
    Part { name: "calls", attack: calls::attack, of: "calls" },
    Part { name: "files", attack: files::attack, of: "files" },
    Part { name: "kills", attack: kills::attack, of: "kills" },
    Part { name: "memory", attack: memory::attack, of: "allocations refused" },
    Part { name: "threads", attack: threads::attack, of: "contexts refused" },
];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, and must be a whole number")))
}

fn main() {
    // SAFETY: this process has one thread.
    unsafe {
        // What is attacked here is the CPU; a device has memory of its own.
        std::env::set_var("CUDA_VISIBLE_DEVICES", "-1");
        // The children print backtraces themselves; what std prints holds a lock that they need.
        std::env::set_var("RUST_BACKTRACE", "0");
    }
    let only = std::env::var("SFEUOT_FUZZ_ONLY").unwrap_or_default();
    let seconds = number("SFEUOT_FUZZ_SECONDS");
    let count = number("SFEUOT_FUZZ_COUNT");
    let from = number("SFEUOT_FUZZ_FROM").unwrap_or(0);
    let own_seed = number("SFEUOT_FUZZ_SEED");
    let long = seconds.is_some() || count.is_some();
    // The fixed seed finds what it found before; the other one may find more.
    let seeds = if long { vec![own_seed.unwrap_or(1)] } else { [1].into_iter().chain(own_seed).collect() };
    let mut report = Report::default();
    for seed in seeds {
        for part in PARTS.iter().filter(|part| only.split(',').any(|name| name.is_empty() || name == part.name)) {
            let begin = Instant::now();
            let options = Options { long, seed, time: Duration::from_secs(seconds.unwrap_or(4)), count, from };
            let done = (part.attack)(&options, &mut report);
            println!("fuzz {} (seed {seed}): {done} {} in {:.1} s", part.name, part.of, begin.elapsed().as_secs_f64());
        }
    }
    report.sum_up();
    if !report.is_clean() {
        std::process::exit(1);
    }
}
