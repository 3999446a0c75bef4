//! Contexts of many threads where the address space ends in the midst of starting them: each is made, or refused by a
//! status.

use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

use sfeuot::abi::*;

use super::Options;
use super::board::Board;
use super::child;
use super::common::{init, last_error};
use super::random::Random;
use super::report::Report;

const THREADS: u32 = 40;
/// Address space in which hardly one thread starts, and the doublings of it until all of them do.
const LEAST: f64 = (1 << 20) as f64;
const DOUBLINGS: f64 = 12.0;
/// Contexts in a short run, and in a long one.
const SOME: u64 = 60;
const MANY: u64 = 2000;

/// Seconds after which a child counts as hanging: it does next to nothing.
const PATIENCE: u32 = 30;

/// Where on the board a child tells that it was refused a context.
const REFUSED: usize = 0;

/// Returns how many contexts were refused.
pub fn attack(options: &Options, report: &mut Report) -> u64 {
    let board = Board::new();
    let mut refused = 0;
    let most = if options.long { MANY } else { SOME };
    let count = options.count.map_or(most, |count| count.min(most));
    for number in options.from..options.from + count {
        let room = LEAST * (DOUBLINGS * Random::part(options.seed, number).unit()).exp2();
        let end = child::start(board, Some(room as u64), create).wait();
        let again = format!("make fuzz ONLY=threads SEED={} FROM={number} COUNT=1", options.seed);
        report.take("threads", board, &end, &again);
        refused += board.place[REFUSED].swap(0, Relaxed);
    }
    refused
}

fn create(board: &'static Board) {
    child::alive_for(PATIENCE);
    // SAFETY: places of this function.
    unsafe {
        let mut config = init(sfeuot_context_config_init_2);
        (config.device, config.threads) = (SFEUOT_DEVICE_CPU, THREADS);
        let mut context = null_mut();
        board.note("sfeuot_context_create");
        match sfeuot_context_create(&config, &mut context) {
            SFEUOT_OK => drop(sfeuot_context_release(context)),
            SFEUOT_ERROR_OUT_OF_MEMORY | SFEUOT_ERROR_UNSUPPORTED_DEVICE => {
                board.place[REFUSED].fetch_add(1, Relaxed);
                if !context.is_null() {
                    board.find("a refused call writes its output", "sfeuot_context_create");
                }
            }
            status => board.find(&format!("sfeuot_context_create has status {status}"), &last_error()),
        }
    }
}
