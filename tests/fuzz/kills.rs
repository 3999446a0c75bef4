//! A process is killed while it writes files, as by a power failure or an impatient user. The files are whole all the
//! same, old or new, and what was begun does not pile up beside them.

use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sfeuot::abi::*;

use super::Options;
use super::board::Board;
use super::child;
use super::common::{init, last_error, ok};
use super::random::Random;
use super::report::Report;
use super::world::{Side, c_path, folder};

/// Where on the board a child tells that it has read all files and writes now, and how many it has written.
const WRITES: usize = 0;
const WRITTEN: usize = 1;

/// The last one is new in each round.
const NAMES: [&str; 3] = ["checkpoint", "model", "model-new"];

/// Reads what is there, then writes all files so many times, or until it is killed.
fn read_and_write(board: &Board, folder: &Path, times: u64) {
    let path = |name: &str| c_path(&folder.join(name));
    let mut random = Random::new(9);
    let (source, target) =
        (Side::new(&mut random, 50, &[12], false, 0.0), Side::new(&mut random, 50, &[12], false, 0.5));
    let mut context_config: SfeuotContextConfig = init(sfeuot_context_config_init_2);
    (context_config.device, context_config.threads) = (SFEUOT_DEVICE_CPU, 1);
    let mut config: SfeuotTrainerConfig = init(sfeuot_trainer_config_init_4);
    (config.sigma, config.hidden_width, config.batch_sources) = (0.3, 128, 4);
    let (mut context, mut trainer, mut model, mut read) = (null_mut(), null_mut(), null_mut(), null_mut());
    // SAFETY: live handles, structs with what they point to, C strings.
    unsafe {
        ok(sfeuot_context_create(&context_config, &mut context));
        if folder.join("checkpoint").exists() {
            let file = path("checkpoint");
            if sfeuot_trainer_load(context, file.as_ptr(), &source.data, &target.data, &mut trainer) != SFEUOT_OK {
                board.find("a checkpoint cannot be loaded after a kill", &last_error());
                return;
            }
        } else {
            ok(sfeuot_trainer_create(context, &config, &source.data, &target.data, &mut trainer));
        }
        for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
            let file = entry.file_name().into_string().expect("UTF-8");
            if file.starts_with("model") && sfeuot_model_load(context, path(&file).as_ptr(), &mut read) != SFEUOT_OK {
                board.find("a model cannot be loaded after a kill", &last_error());
                return;
            }
        }
        for _ in 0..times {
            child::alive();
            ok(sfeuot_trainer_step(trainer, 1, null_mut()));
            ok(sfeuot_trainer_model(trainer, &mut model));
            board.place[WRITES].store(1, Relaxed);
            for name in NAMES {
                let file = path(name);
                ok(if name == "checkpoint" {
                    sfeuot_trainer_save(trainer, file.as_ptr())
                } else {
                    sfeuot_model_save(model, file.as_ptr())
                });
                board.place[WRITTEN].fetch_add(1, Relaxed);
            }
            ok(sfeuot_model_release(model));
        }
    }
}

/// Names in the folder that no host gave.
fn temporary(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("the folder is there").flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !NAMES.contains(&name.as_str())).collect()
}

/// Returns how many kills.
pub fn attack(options: &Options, report: &mut Report) -> u64 {
    let kills = if options.long { 300 } else { 40 };
    let folder: PathBuf = folder("kills");
    let board = Board::new();
    let mut random = Random::part(options.seed, 0);
    let again = format!("make fuzz ONLY=kills SEED={}", options.seed);
    let mut written = 0;
    for round in 0..kills {
        let _ = std::fs::remove_file(folder.join(NAMES[2]));
        board.place[WRITES].store(0, Relaxed);
        board.place[WRITTEN].store(0, Relaxed);
        let mut writer = child::start(board, None, |board| read_and_write(board, &folder, u64::MAX));
        let files = random.next() % 5;
        while board.place[WRITES].load(Relaxed) == 0 || board.place[WRITTEN].load(Relaxed) < files {
            child::sleep(1);
            match writer.poll() {
                Err(running) => writer = running,
                Ok(end) => {
                    report.take("kills", board, &end, &again);
                    return round;
                }
            }
        }
        std::thread::sleep(Duration::from_micros(random.next() % 10_000));
        writer.kill();
        written += board.place[WRITTEN].load(Relaxed);
        // One for each file, as a kill may follow on another before it was saved again.
        let left = temporary(&folder);
        if left.len() > NAMES.len() {
            let text = format!("{} after {} kills: {left:?}", left.len(), round + 1);
            report.add("kills: temporary files pile up".into(), text, &again);
        }
    }
    let end = child::start(board, None, |board| read_and_write(board, &folder, 1)).wait();
    report.take("kills", board, &end, &again);
    let left = temporary(&folder);
    if !left.is_empty() {
        report.add("kills: temporary files outlive the next save".into(), format!("{left:?}"), &again);
    }
    println!("fuzz kills: {written} files were written in between");
    kills
}
