//! A process may be killed at any moment of a save: the file is then the old one or the new one, and what is left beside
//! it does not add up.
#![cfg(unix)]

mod problems;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use problems::{Clouds, context, normals, scratch, small};
use sfeuot::*;

const KILLS: usize = 300;
const TARGET: &str = "SFEUOT_TEST_SAVES_TO";

fn temporaries(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).expect("the folder is there");
    names.filter(|name| name.as_ref().expect("a name").file_name() != "model").count()
}

/// The process that is killed: started by the test below, it saves until then.
#[test]
#[ignore = "started by the test that kills it"]
fn saver() {
    let Some(path) = std::env::var_os(TARGET).map(PathBuf::from) else { return };
    let model = Model::load(&context(1), &path).expect("a whole file");
    loop {
        model.save(&path).expect("the folder is writable");
    }
}

fn start(path: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
    command.args(["--exact", "saver", "--ignored", "--nocapture"]).env(TARGET, path);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the test starts itself")
}

#[test]
fn kills_leave_a_whole_file_and_at_most_one_beside_it() {
    let folder = scratch("killed");
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    let path = folder.join("model");
    let model = Clouds::new(2).model(TrainerConfig { hidden_width: 256, ..small() }, 1);
    model.save(&path).expect("the folder is writable");
    let file = std::fs::read(&path).expect("the file was written");
    for (kill, wait) in normals(KILLS, 1).into_iter().enumerate() {
        // Every tenth time two that save to the same file.
        let savers: Vec<_> = (0..1 + usize::from(kill % 10 == 0)).map(|_| start(&path)).collect();
        std::thread::sleep(Duration::from_micros(20_000 + (10_000.0 * wait.abs()) as u64));
        for mut saver in savers {
            saver.kill().expect("it runs until then");
            let status = saver.wait().expect("a child");
            assert_eq!(status.code(), None, "it ended by itself");
        }
        assert!(std::fs::read(&path).expect("the file is there") == file, "kill {kill}");
        assert!(temporaries(&folder) <= 1, "kill {kill}");
    }
    Model::load(&context(1), &path).expect("a whole file");
    model.save(&path).expect("the folder is writable");
    assert_eq!(temporaries(&folder), 0);
    std::fs::remove_dir_all(folder).expect("it is the test's own");
}
