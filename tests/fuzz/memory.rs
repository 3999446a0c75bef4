//! Every allocation of a whole life is refused once: the call says OUT_OF_MEMORY, changes nothing and leaves nothing
//! behind, and the same call then gives the bits of a life that nothing disturbed.

use std::sync::atomic::Ordering::Relaxed;

use sfeuot::abi::*;

use super::Options;
use super::allocator;
use super::board::Board;
use super::child;
use super::common::last_error;
use super::life::{Did, Life, SHAPES, STEPS, Shape, Step};
use super::random::Random;
use super::report::Report;
use super::world::folder;

/// Where on the board a disturbed life tells its step, the number of the allocation that is refused, and how many were.
const STEP: usize = 0;
const NUMBER: usize = 1;
const TRIED: usize = 2;

/// A life in which nothing is refused: what each step gave, and how many allocations it made.
struct Truth {
    digests: Vec<u64>,
    allocations: Vec<u64>,
}

/// The truth of a shape, from a child.
fn truth(shape: &'static Shape, report: &mut Report) -> Option<Truth> {
    let (digests, allocations) = (Board::new(), Board::new());
    let end = child::start(digests, None, |_| {
        let mut life = Life::new(shape, folder("memory"));
        for step in &STEPS {
            child::alive();
            let (did, used) = allocator::watch(0, || (step.call)(&mut life));
            digests.note(&format!("{}", did.digest));
            allocations.note(&format!("{}", used.allocations));
            if did.status != SFEUOT_OK {
                digests.find("an undisturbed call fails", &format!("{}: {}", step.name, last_error()));
                return;
            }
        }
    })
    .wait();
    report.take("memory", digests, &end, &again(shape));
    let numbers = |board: &Board| board.last().iter().map(|line| line.parse().expect("a number")).collect::<Vec<u64>>();
    let truth = Truth { digests: numbers(digests), allocations: numbers(allocations) };
    (end.code == 0 && truth.digests.len() == STEPS.len()).then_some(truth)
}

fn again(shape: &Shape) -> String {
    format!("make fuzz ONLY=memory (shape \"{}\")", shape.name)
}

/// Attacks every shape. Returns how many allocations were refused.
pub fn attack(options: &Options, report: &mut Report) -> u64 {
    let mut refused = 0;
    for shape in &SHAPES {
        let Some(truth) = truth(shape, report) else { continue };
        let board = Board::new();
        // A library that often ends here has been told enough of in a short run.
        for _ in 0..if options.long { usize::MAX } else { 10 } {
            let before = board.place[TRIED].load(Relaxed);
            let end = child::start(board, None, |board| disturbed(shape, &truth, board, options)).wait();
            report.take("memory", board, &end, &again(shape));
            if end.code == 0 || board.place[TRIED].load(Relaxed) == before {
                break;
            }
            // The next child goes on behind what ended this one.
            board.place[NUMBER].fetch_add(1, Relaxed);
        }
        refused += board.place[TRIED].load(Relaxed);
    }
    refused
}

/// A life in which each allocation is refused once, from the place on the board on.
fn disturbed(shape: &Shape, truth: &Truth, board: &Board, options: &Options) {
    let (first_step, first_number) = (board.place[STEP].load(Relaxed), board.place[NUMBER].load(Relaxed).max(1));
    let mut life = Life::new(shape, folder("memory"));
    for (index, step) in STEPS.iter().enumerate() {
        let mut done = None;
        if index as u64 >= first_step {
            let from = if index as u64 == first_step { first_number } else { 1 };
            board.place[STEP].store(index as u64, Relaxed);
            let mut numbers = numbers(options, truth.allocations[index], index).into_iter();
            while done.is_none()
                && let Some(number) = numbers.next()
            {
                if number >= from {
                    done = refuse(step, number, &mut life, board);
                }
            }
        }
        child::alive();
        board.note(step.name);
        let did = done.unwrap_or_else(|| (step.call)(&mut life));
        if did.status != SFEUOT_OK {
            board.find(&format!("{} fails after a refusal", step.name), &last_error());
            return;
        }
        if did.digest != truth.digests[index] {
            board.find(&format!("{} gives other bits after a refusal", step.name), shape.name);
        }
    }
    board.place[STEP].store(STEPS.len() as u64, Relaxed);
}

/// Which allocations of a step are refused: all of them, or some.
fn numbers(options: &Options, count: u64, step: usize) -> Vec<u64> {
    const SOME: u64 = 8;
    if options.long || count <= SOME {
        return (1..=count).collect();
    }
    let mut random = Random::part(options.seed, step as u64);
    let mut some: Vec<u64> = (0..SOME).map(|_| 1 + random.next() % count).chain([1, count]).collect();
    some.sort_unstable();
    some.dedup();
    some
}

/// How often a refused call may leave more behind.
const PATIENCE: u32 = 64;

/// Makes a step's call with one allocation refused. Returns what it did when it took place all the same.
fn refuse(step: &Step, number: u64, life: &mut Life, board: &Board) -> Option<Did> {
    board.place[NUMBER].store(number, Relaxed);
    board.place[TRIED].fetch_add(1, Relaxed);
    for patience in (0..PATIENCE).rev() {
        child::alive();
        board.note(&format!("{}, allocation {number} refused", step.name));
        let before = allocator::held();
        let (did, used) = allocator::watch(number, || (step.call)(life));
        let grown = allocator::held().saturating_sub(before);
        if used.allocations < number {
            // It makes fewer than the first time.
            return (did.status == SFEUOT_OK).then_some(did);
        }
        let text = || format!("allocation {number}: {}", last_error());
        if did.status == SFEUOT_OK {
            board.find(&format!("{} succeeds though an allocation was refused", step.name), &text());
            return Some(did);
        }
        if did.status != SFEUOT_ERROR_OUT_OF_MEMORY {
            let status = did.status;
            board.find(&format!("{} has status {status} when an allocation is refused", step.name), &text());
        }
        if !did.untouched {
            board.find(&format!("{} writes an output though an allocation was refused", step.name), &text());
        }
        // What a call has taken before the refusal may serve the next one, but not for ever.
        if grown == 0 {
            break;
        }
        if patience == 0 {
            board.find(
                &format!("{} leaks when an allocation is refused", step.name),
                &format!("{grown} bytes, {}", text()),
            );
        }
    }
    None
}
