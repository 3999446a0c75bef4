//! Random calls of the whole interface, in sequences that each begin with nothing and end with nothing left.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::Options;
use super::allocator;
use super::board::Board;
use super::child::{self, Child, alive};
use super::host::{BOARD, Host, KINDS, SUCCEEDED, find};
use super::operations::{MAKERS, OPERATIONS, release_all};
use super::random::Random;
use super::report::Report;
use super::sessions::SESSION_OPERATIONS;
use super::world::folder;

const CALLS_A_SEQUENCE: usize = 400;
/// Address space beyond that of the program: enough for all that is small, too little for the largest.
const ADDRESS_SPACE: u64 = 700 << 20;

/// Where on a board a child tells its sequence and its calls, and is told to end.
const SEQUENCE: usize = 0;
const CALLS: usize = 1;
const ENOUGH: usize = 2;

/// Two processes side by side, the one with the even sequences, the other with the odd ones. Returns how many calls.
pub fn attack(options: &Options, report: &mut Report) -> u64 {
    let boards = [Board::new(), Board::new()];
    let begin = |board: &'static Board, first: u64| {
        board.place[ENOUGH].store((options.count == Some(1)).into(), Relaxed);
        let seed = options.seed;
        child::start(board, Some(ADDRESS_SPACE), move |board| sequences(board, seed, first))
    };
    let mut children: Vec<Option<Child>> = (0..2).map(|i| Some(begin(boards[i], options.from + i as u64))).collect();
    let start = Instant::now();
    while children.iter().any(Option::is_some) {
        child::sleep(20);
        let calls: u64 = boards.iter().map(|board| board.place[CALLS].load(Relaxed)).sum();
        let enough = options.count.map_or(start.elapsed() >= options.time, |count| calls >= count);
        for (child, board) in children.iter_mut().zip(boards) {
            board.place[ENOUGH].store(enough.into(), Relaxed);
            let Some(running) = child.take() else { continue };
            let end = match running.poll() {
                Ok(end) => end,
                Err(running) => {
                    *child = Some(running);
                    continue;
                }
            };
            let sequence = board.place[SEQUENCE].load(Relaxed);
            let again = format!("make fuzz ONLY=calls SEED={} FROM={sequence} COUNT=1", options.seed);
            report.take("calls", board, &end, &again);
            if !enough {
                *child = Some(begin(board, sequence + 2));
            }
        }
    }
    let total = |place: usize| boards.iter().map(|board| board.place[place].load(Relaxed)).sum::<u64>();
    println!("fuzz calls: {} of them succeeded", total(SUCCEEDED));
    total(CALLS)
}

fn sequences(board: &'static Board, seed: u64, first: u64) {
    let _ = BOARD.set(board);
    let mut number = first;
    loop {
        board.place[SEQUENCE].store(number, Relaxed);
        // A sequence that leaves memory behind does so each time; a table that only grows does so once.
        let leaks = |_| {
            let before = (allocator::held(), descriptors());
            board.place[CALLS].fetch_add(sequence(seed, number), Relaxed);
            let after = (allocator::held(), descriptors());
            (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1))
        };
        if leaks(0) != (0, 0) && leaks(1) != (0, 0) {
            let last = leaks(2);
            if last != (0, 0) {
                find(
                    "a sequence leaves something behind",
                    &format!("sequence {number}: (bytes, descriptors) {last:?}"),
                );
            }
        }
        if !board.found().is_empty() || board.place[ENOUGH].load(Relaxed) == 1 {
            return;
        }
        number += 2;
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// One sequence; returns its calls.
fn sequence(seed: u64, number: u64) -> u64 {
    let folder = folder(&format!("calls-{}", number % 2));
    let mut host = Host::new(Random::part(seed, number), folder);
    for _ in 0..CALLS_A_SEQUENCE {
        if host.random.once_in(60) {
            crowd(&mut host);
        } else {
            one(&mut host);
        }
    }
    release_all(&mut host);
    alive();
    // A thread that was told to end may take a moment.
    for patience in (0..100).rev() {
        if threads() == 1 {
            break;
        }
        if patience == 0 {
            find("threads are left when everything was released", &format!("{} threads", threads()));
        }
        child::sleep(10);
    }
    let left = std::fs::read_dir(&host.folder).map(|entries| {
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with("file-"))
            .collect::<Vec<_>>()
    });
    if let Ok(left) = left
        && !left.is_empty()
    {
        find("files are left that the host did not name", &format!("{left:?}"));
    }
    host.calls
}

fn one(host: &mut Host) {
    // Calls on nothing are soon all known.
    if let Some(kind) = KINDS.into_iter().find(|&kind| host.live[kind as usize].is_empty())
        && !host.random.once_in(5)
    {
        return (MAKERS[kind as usize])(host);
    }
    let sessions = host.random.once_in(3);
    let operations = if sessions { SESSION_OPERATIONS } else { OPERATIONS };
    (host.random.of(operations))(host);
}

/// Two threads with the same handles, each for a few calls.
fn crowd(host: &mut Host) {
    let mut others = [host.clone(), host.clone()];
    for (part, other) in others.iter_mut().enumerate() {
        other.random = Random::part(host.random.next(), part as u64);
        other.crowded = true;
        other.calls = 0;
    }
    std::thread::scope(|scope| {
        let [first, second] = &mut others;
        let beside = std::thread::Builder::new().spawn_scoped(scope, || (0..4).for_each(|_| one(second)));
        (0..4).for_each(|_| one(first));
        drop(beside);
    });
    // Both know what they made and what they released; together they know what is alive.
    for kind in KINDS {
        let count = |host: &Host, address| {
            host.live[kind as usize].iter().filter(|held| held.address == address).count() as isize
        };
        let (mut seen, mut live, mut dead) = (vec![], vec![], vec![]);
        for held in others.iter().chain([&*host]).flat_map(|host| &host.live[kind as usize]) {
            if seen.contains(&held.address) {
                continue;
            }
            seen.push(held.address);
            let before = count(host, held.address);
            let now = others.iter().map(|other| count(other, held.address) - before).sum::<isize>() + before;
            live.extend((0..now).map(|_| *held));
            if now <= 0 {
                dead.push(held.address);
            }
        }
        host.live[kind as usize] = live;
        host.dead[kind as usize].extend(dead);
    }
    for other in others {
        host.calls += other.calls;
        for caller in other.callers {
            if !host.callers.iter().any(|known| std::sync::Arc::ptr_eq(known, &caller)) {
                host.callers.push(caller);
            }
        }
    }
}
