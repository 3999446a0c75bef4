//! The C and C++ examples, built with CMake against the library of this build and run as a user would run them.

#[path = "common/place.rs"]
mod place;
#[path = "common/programs.rs"]
mod programs;
#[cfg(target_os = "linux")]
#[path = "common/simulator.rs"]
mod simulator;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use programs::{has, succeeded};

/// The folder of the built programs, or `None`, with a note printed, where CMake is absent and this is not CI. Packed
/// programs are taken as they are.
fn programs() -> Option<&'static Path> {
    static PROGRAMS: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAMS.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    if let Some(packed) = place::packed_examples() {
        return Some(packed);
    }
    if !has("cmake") {
        return None;
    }
    let root = place::root();
    let folder = place::room().join("examples-c");
    // A cached path of an earlier profile's library would test the wrong one.
    let _ = std::fs::remove_file(folder.join("CMakeCache.txt"));
    let configure = Command::new("cmake")
        .arg("-S")
        .arg(root.join("examples-c"))
        .arg("-B")
        .arg(&folder)
        .arg(format!("-DSFEUOT_ROOT={}", root.display()))
        .arg(format!("-DSFEUOT_LIBRARY={}", place::shared_library().display()))
        .arg("-DSFEUOT_EXAMPLES_WERROR=ON")
        .output();
    succeeded("configuring", &configure.expect("cmake starts"));
    let build = Command::new("cmake").arg("--build").arg(&folder).output();
    succeeded("building", &build.expect("cmake starts"));
    Some(folder)
}

fn run(program: &Path, arguments: &[&str], out: Option<&Path>) -> Output {
    let mut command = Command::new(program);
    // Packed programs know their pictures by a path from the repository.
    command.args(arguments).current_dir(place::root());
    if let Some(out) = out {
        command.arg("--out").arg(out);
    }
    command.output().unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()))
}

/// What a failing program said: it must exit with a code of its own, not by a signal, and not write anything.
fn refusal(output: Output, out: &Path) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", output.status);
    assert!(!out.exists(), "a refused run wrote {}", out.display());
    String::from_utf8(output.stderr).expect("messages are UTF-8")
}

/// Width and height from a PNG's header.
fn png_size(path: &Path) -> (u32, u32) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n", "{}", path.display());
    assert_eq!(&bytes[12..16], b"IHDR");
    assert_eq!(&bytes[bytes.len() - 8..bytes.len() - 4], b"IEND", "{} is cut short", path.display());
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    (word(16), word(20))
}

/// Checks the form of a `.cube` file and returns its entries.
fn cube_entries(path: &Path, size: usize) -> Vec<[f32; 3]> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (head, body): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    assert!(head[0].starts_with("TITLE \""));
    assert_eq!(head[1], format!("LUT_3D_SIZE {size}"));
    assert_eq!(head[2..], ["DOMAIN_MIN 0.0 0.0 0.0", "DOMAIN_MAX 1.0 1.0 1.0"]);
    assert_eq!(body.len(), size.pow(3));
    let entry = |line: &str| {
        let numbers: Vec<f32> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
        <[f32; 3]>::try_from(numbers).expect("three numbers a line")
    };
    body.into_iter().map(entry).collect()
}

#[test]
fn color_transfer_writes_pictures_and_a_table() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = programs.join("color_transfer");
    let arguments = ["--steps", "20", "--lut-size", "5", "--seed", "7"];

    let first = folder.path().join("first");
    let stdout = succeeded("color_transfer", &run(&program, &arguments, Some(&first)));
    for name in ["recoloured.png", "contact_sheet.png", "palette.cube"] {
        assert!(stdout.contains(first.join(name).to_str().expect("UTF-8")), "{name} is not named in\n{stdout}");
    }
    let (width, height) = png_size(&place::root().join("examples-c/images/coffee.png"));
    assert_eq!(png_size(&first.join("recoloured.png")), (width, height));
    let sheet = png_size(&first.join("contact_sheet.png"));
    assert!(sheet.0 > 2 * width && sheet.1 > 2 * height);

    let entries = cube_entries(&first.join("palette.cube"), 5);
    assert!(entries.iter().flatten().all(|value| (0.0..=1.0).contains(value)));
    // After so few steps the map is near that between Gaussians, a symmetric matrix with a large diagonal, so each output
    // answers most to its own input: a table with its axes in the wrong order, or a colour space that is left through another door, does not.
    for input in 0..3 {
        let step = |i: usize| (i / 5usize.pow(input) % 5) as f32 - 2.0;
        let answer = |output: usize| -> f32 {
            let terms = entries.iter().enumerate().map(|(i, entry)| step(i) * entry[output]);
            terms.sum()
        };
        let own = answer(input as usize);
        let others = (0..3).filter(|&output| output != input as usize);
        assert!(others.map(answer).all(|other| own > 1.2 * other.abs()), "axis {input}");
    }

    // The same seed gives the same files, whatever ran in between.
    let second = folder.path().join("second");
    succeeded("color_transfer", &run(&program, &arguments, Some(&second)));
    for name in ["recoloured.png", "contact_sheet.png", "palette.cube"] {
        let read = |folder: &Path| std::fs::read(folder.join(name)).expect("a file");
        assert!(read(&first) == read(&second), "{name} differs between two runs");
    }
}

#[test]
fn particle_morph_writes_a_strip_and_an_animation() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = ["--steps", "20", "--particles", "300", "--size", "64"];
    succeeded("particle_morph", &run(&programs.join("particle_morph"), &arguments, Some(folder.path())));
    assert_eq!(png_size(&folder.path().join("morph_strip.png")), (8 * 64, 64));
    assert_eq!(png_size(&folder.path().join("morph.png")), (64, 64));

    // As many frames as the animation's header says, and a frame of data for each.
    let bytes = std::fs::read(folder.path().join("morph.png")).expect("a file");
    let mut kinds = Vec::new();
    let (mut at, mut announced) = (8, 0);
    while at < bytes.len() {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let kind = &bytes[at + 4..at + 8];
        if kind == b"acTL" {
            announced = word(at + 8) as usize;
        }
        kinds.push(kind);
        at += 12 + word(at) as usize;
    }
    let count = |kind: &[u8]| kinds.iter().filter(|&&other| other == kind).count();
    assert!(announced > 6);
    assert_eq!((count(b"fcTL"), count(b"IDAT"), count(b"fdAT")), (announced, 1, announced - 1));
}

#[test]
fn outliers_prints_shares_that_sum_to_one() {
    let Some(programs) = programs() else { return };
    let stdout = succeeded("outliers", &run(&programs.join("outliers"), &["--steps", "20"], None));
    let shares: Vec<f64> = stdout
        .lines()
        .filter(|line| line.contains("mass"))
        .map(|line| line.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).sum())
        .collect();
    assert_eq!(shares.len(), 3, "{stdout}");
    assert!(shares.iter().all(|share| (share - 1.0).abs() < 2e-4), "{stdout}");
}

#[test]
fn bad_input_is_refused_with_a_sentence() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = programs.join("color_transfer");
    let out = folder.path().join("out");
    let refused = |arguments: &[&str]| refusal(run(&program, arguments, Some(&out)), &out);
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path.into_os_string().into_string().expect("UTF-8")
    };

    let text = file("text.png", b"This is not a picture.");
    assert!(refused(&["--source", &text]).contains("text.png is not a PNG file."));
    let photograph = include_bytes!("../examples-c/images/coffee.png");
    let cut = file("cut.png", &photograph[..photograph.len() / 2]);
    assert!(refused(&["--target", &cut]).contains("cut.png"));
    assert!(refused(&["--source", "nowhere.png"]).contains("nowhere.png cannot be opened"));
    assert!(refused(&["--sigma", "0"]).contains("--sigma is \"0\"; it must be"));
    assert!(refused(&["--lut-size", "1"]).contains("from 2 to 256"));
    assert!(refused(&["--space", "cmyk"]).contains("oklab or rgb"));
    assert!(refused(&["--colour", "red"]).contains("--colour"));
}

/// The examples take what the machine has, so they run on a GPU where there is one. The kernels of the simulated one are
/// compiled into a folder, which shows that it was used.
#[cfg(target_os = "linux")]
fn runs_on_a_gpu(name: &str, arguments: &[&str]) {
    let Some(programs) = programs() else { return };
    let driver = simulator::library_path();
    if driver.is_none() && !simulator::real_gpu() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(programs.join(name));
    command.args(arguments).current_dir(place::root()).env("SFEUOT_CACHE_DIR", folder.path().join("cache"));
    if let Some(driver) = &driver {
        command.env("LD_LIBRARY_PATH", driver).env("SFEUOT_SIM_ONLY_COMPILED", "1");
    }
    if name != "outliers" {
        command.arg("--out").arg(folder.path().join("out"));
    }
    let stdout = succeeded(name, &command.output().expect("it starts"));
    assert!(!stdout.is_empty());
    assert!(driver.is_none() || folder.path().join("cache").exists(), "{name} ran on the processor");
}

#[cfg(target_os = "linux")]
#[test]
fn color_transfer_runs_on_a_gpu() {
    runs_on_a_gpu("color_transfer", &["--steps", "2", "--lut-size", "3"]);
}

#[cfg(target_os = "linux")]
#[test]
fn particle_morph_runs_on_a_gpu() {
    runs_on_a_gpu("particle_morph", &["--steps", "2", "--particles", "40", "--size", "32"]);
}

#[cfg(target_os = "linux")]
#[test]
fn outliers_runs_on_a_gpu() {
    runs_on_a_gpu("outliers", &["--steps", "2"]);
}
