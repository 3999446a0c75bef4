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

/// What color_transfer writes.
const COLOUR_FILES: [&str; 6] =
    ["recoloured.png", "drawn.png", "contact_sheet.png", "shares.png", "palette.cube", "palette_hald.png"];

#[test]
fn color_transfer_writes_pictures_and_a_table() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = programs.join("color_transfer");
    let arguments = ["--steps", "20", "--lut-size", "5", "--seed", "7", "--pair"];

    let first = folder.path().join("first");
    let stdout = succeeded("color_transfer", &run(&program, &arguments, Some(&first)));
    for name in COLOUR_FILES {
        assert!(stdout.contains(first.join(name).to_str().expect("UTF-8")), "{name} is not named in\n{stdout}");
    }
    let (width, height) = png_size(&place::root().join("examples-c/images/coffee.png"));
    assert_eq!(png_size(&first.join("recoloured.png")), (width, height));
    assert_eq!(png_size(&first.join("drawn.png")), (width, height));
    assert_eq!(png_size(&first.join("palette_hald.png")), (216, 216));
    let sheet = png_size(&first.join("contact_sheet.png"));
    assert!(sheet.0 > 2 * width && sheet.1 > 2 * height);
    assert_eq!(png_size(&first.join("shares.png")), (2 * width + 8, height));

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
    for name in COLOUR_FILES {
        let read = |folder: &Path| std::fs::read(folder.join(name)).expect("a file");
        assert!(read(&first) == read(&second), "{name} differs between two runs");
    }
}

#[test]
fn color_transfer_saves_its_model_and_writes_tables_alone() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (out, model) = (folder.path().join("out"), folder.path().join("model.safetensors"));
    let mut arguments = vec!["--steps", "5", "--lut-size", "3", "--hald-level", "2", "--lut-only"];
    arguments.extend(["--divergence", "chi2", "--tau", "0.5", "--space", "rgb"]);
    arguments.extend(["--save-model", model.to_str().expect("UTF-8")]);
    succeeded("color_transfer", &run(&programs.join("color_transfer"), &arguments, Some(&out)));
    let mut written: Vec<_> =
        std::fs::read_dir(&out).expect("the folder").map(|entry| entry.unwrap().file_name()).collect();
    written.sort();
    assert_eq!(written, ["palette.cube", "palette_hald.png"]);
    assert_eq!(png_size(&out.join("palette_hald.png")), (8, 8));
    let context = sfeuot::Context::new(Default::default()).expect("the processor is always there");
    let info = sfeuot::Model::load(&context, &model).expect("a sound model").info().clone();
    assert_eq!((info.dimension, info.divergence), (3, sfeuot::Divergence::Chi2));
}

/// Pixels of a picture, 3 bytes each, as ffmpeg decodes it, behind a filter.
fn pixels(path: &Path, filter: &str) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(path).args(["-vf", filter, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
    let output = command.output().expect("ffmpeg starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The ratio of the range of bytes to the difference of two pictures, in decibels.
fn decibels(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
    let mean = a.iter().zip(b).map(square).sum::<f64>() / a.len() as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
}

/// Whether a tool that only this test needs is there. It is not among those that CI has to have.
fn finds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Grading programs that load the tables give the session's conditional mean, which is what recoloured.png is.
#[test]
fn other_programs_apply_the_tables_as_the_session_recolours() {
    let Some(programs) = programs() else { return };
    if !finds(Command::new("ffmpeg").arg("-version")) {
        return eprintln!("skipped: ffmpeg, by which pictures are compared, is not installed");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = place::root().join("examples-c/images/coffee.png");
    let arguments = ["--steps", "300", "--lut-size", "33", "--hald-level", "6"];
    let out = folder.path();
    succeeded("color_transfer", &run(&programs.join("color_transfer"), &arguments, Some(out)));
    let (cube, hald, mean) =
        (out.join("palette.cube"), out.join("palette_hald.png"), pixels(&out.join("recoloured.png"), "null"));
    let mut found = vec![];
    for interpolation in ["trilinear", "tetrahedral"] {
        let filter = format!("format=gbrp16,lut3d=file={}:interp={interpolation}", cube.display());
        found.push((format!("ffmpeg lut3d, {interpolation}"), decibels(&pixels(&source, &filter), &mean)));
    }
    if finds(Command::new("convert").arg("-version")) {
        let mut command = Command::new("convert");
        command.arg(&source).arg(&hald).args(["-hald-clut", "-depth", "8", "rgb:-"]);
        let output = command.output().expect("convert starts");
        if output.status.success() {
            found.push(("ImageMagick -hald-clut".into(), decibels(&output.stdout, &mean)));
        }
    }
    let python = std::env::var_os("SFEUOT_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    if finds(Command::new(&python).args(["-c", "import numpy, PyOpenColorIO"])) {
        let raw = out.join("source.rgb");
        std::fs::write(&raw, pixels(&source, "null")).expect("the temporary folder is writable");
        let output =
            Command::new(&python).args(["-c", OPEN_COLOUR]).arg(&raw).arg(&cube).output().expect("Python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        found.push(("OpenColorIO".into(), decibels(&output.stdout, &mean)));
    }
    println!("{found:.1?}");

    // The same photograph from a JPEG file, where the program reads these.
    let jpeg = out.join("source.jpg");
    succeeded(
        "ffmpeg",
        &Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&source).arg(&jpeg).output().expect("it starts"),
    );
    let arguments = ["--steps", "1", "--lut-size", "2", "--lut-only", "--source", jpeg.to_str().expect("UTF-8")];
    let read = run(&programs.join("color_transfer"), &arguments, Some(out));
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success() || said.contains("built without libjpeg"), "{said}");
    for (program, decibels) in found {
        assert!(decibels >= 45.0, "{program}: {decibels:.1} dB");
    }
}

/// Applies a .cube file to raw bytes by OpenColorIO.
const OPEN_COLOUR: &str = "
import sys, numpy, PyOpenColorIO as ocio
pixels = numpy.fromfile(sys.argv[1], numpy.uint8).astype(numpy.float32) / 255
transform = ocio.FileTransform(sys.argv[2], interpolation=ocio.INTERP_TETRAHEDRAL)
ocio.Config.CreateRaw().getProcessor(transform).getDefaultCPUProcessor().applyRGB(pixels)
sys.stdout.buffer.write(numpy.rint(numpy.clip(pixels, 0, 1) * 255).astype(numpy.uint8).tobytes())
";

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
fn own_network_prints_what_both_trainings_come_to() {
    let Some(programs) = programs() else { return };
    let arguments = ["--steps", "10", "--width", "16"];
    let stdout = succeeded("own_network", &run(&programs.join("own_network"), &arguments, None));
    let rows: Vec<Vec<f64>> = stdout
        .lines()
        .skip(1)
        .map(|line| line[22..].split_whitespace().map(|number| number.parse().expect("a number")).collect())
        .collect();
    assert_eq!(rows.len(), 2, "{stdout}");
    for row in rows {
        let [dual, potential, action, ratio, distance] = row[..] else { panic!("five numbers in\n{stdout}") };
        assert!((dual - (potential - action)).abs() < 2e-4, "{stdout}");
        assert!(ratio > 0.0 && distance > 0.0, "{stdout}");
    }
    // The same seed gives the same numbers.
    assert_eq!(stdout, succeeded("own_network", &run(&programs.join("own_network"), &arguments, None)));
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

/// Few steps of small networks.
const FEW: [&str; 10] = ["--steps", "3", "--batch", "4", "--latents", "4", "--preset", "tiny", "--size", "8"];

/// An IDX file of grey pictures, each of one shade.
fn idx(count: u8, side: u8) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, side, 0, 0, 0, side];
    bytes.extend((0..count).flat_map(|shade| vec![20 * shade; usize::from(side).pow(2)]));
    bytes
}

#[test]
fn train_images_draws_out_of_noise_and_goes_on_from_a_checkpoint() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = programs.join("train_images");
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let names = ["grid.png", "target.png", "model.safetensors"];

    let stdout = succeeded("train_images", &run(&program, &FEW, Some(&first)));
    for name in names {
        assert!(stdout.contains(first.join(name).to_str().expect("UTF-8")), "{name} is not named in\n{stdout}");
    }
    // 8 x 8 pictures of 8 x 8 pixels, which are enlarged eight times.
    assert_eq!(png_size(&first.join("grid.png")), (2 + 8 * 66, 2 + 8 * 66));

    // Other layers of the generator, and a penalty on the value network's slope.
    let layers =
        ["--upsampling", "bilinear", "--norm-groups", "4", "--attention-heads", "2", "--gradient-penalty", "1"];
    let layers = [&FEW[..], &layers].concat();
    succeeded("train_images", &run(&program, &layers, Some(&folder.path().join("layers"))));

    // The same seed gives the same files. How often a grid is written changes nothing.
    let checkpoint = folder.path().join("checkpoint").into_os_string().into_string().expect("UTF-8");
    let with_checkpoint = [&FEW[..], &["--seconds", "1e-9", "--checkpoint", &checkpoint]].concat();
    succeeded("train_images", &run(&program, &with_checkpoint, Some(&second)));
    for name in names {
        let read = |folder: &Path| std::fs::read(folder.join(name)).expect("a file");
        assert!(read(&first) == read(&second), "{name} differs between two runs");
    }

    let refused = run(&program, &with_checkpoint, Some(&folder.path().join("third")));
    assert!(refusal(refused, &folder.path().join("third")).contains("has 3 steps behind it"));
    // In one go and in two: the noise goes on where it was.
    let kept = std::fs::read(&checkpoint).expect("a file");
    let go_on = |steps: &str, out: &Path| {
        let arguments = [&with_checkpoint[..], &["--steps", steps]].concat();
        succeeded("train_images", &run(&program, &arguments, Some(out)))
    };
    let stdout = go_on("5", &first);
    assert!(stdout.contains("goes on after 3 steps") && stdout.contains("steps to take: 2"), "{stdout}");
    std::fs::write(&checkpoint, kept).expect("a file");
    go_on("4", &second);
    go_on("5", &second);
    let model = |folder: &Path| std::fs::read(folder.join("model.safetensors")).expect("a file");
    assert!(model(&first) == model(&second), "the models differ");
}

#[test]
fn train_images_takes_folders_and_idx_files() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = programs.join("train_images");
    let out = folder.path().join("out");
    let file = folder.path().join("pictures");
    std::fs::write(&file, idx(9, 12)).expect("a file");
    let path = file.to_str().expect("UTF-8");

    // Between a folder of coloured pictures and a file of grey ones, which get colours then.
    let pairs = [&FEW[..], &["--source", "examples-c/images", "--target", path, "--flip", "--crop", "1"]].concat();
    let stdout = succeeded("train_images", &run(&program, &pairs, Some(&out)));
    assert!(stdout.contains("9 pictures of 3 x 8 x 8"), "{stdout}");

    // From noise with the pictures' covariance, in a time, and out of a packed file.
    let mut packed = path;
    let name = format!("{path}.gz");
    if has("gzip") {
        succeeded("gzip", &Command::new("gzip").arg(&file).output().expect("gzip starts"));
        packed = &name;
    }
    let noise = [&FEW[..], &["--target", packed, "--noise", "pictures", "--minutes", "1e-6"]].concat();
    let stdout = succeeded("train_images", &run(&program, &noise, Some(&out)));
    assert!(stdout.contains("9 pictures of 1 x 8 x 8, steps to take: 1"), "{stdout}");
}

/// A PNG file of RGB bytes that are not compressed.
fn png(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
        })
    };
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], content: &[u8]| {
        let body = [kind, content].concat();
        file.extend((content.len() as u32).to_be_bytes());
        file.extend(&body);
        file.extend(crc(&body).to_be_bytes());
    };
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    head.extend([8, 2, 0, 0, 0]);
    chunk(b"IHDR", &head);
    let rows: Vec<u8> =
        rgb.chunks_exact(3 * width as usize).flat_map(|row| std::iter::once(0).chain(row.iter().copied())).collect();
    let length = u16::try_from(rows.len()).expect("one block");
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in &rows {
        a = (a + u32::from(byte)) % 65521;
        b = (b + a) % 65521;
    }
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
    stream.extend(&rows);
    stream.extend((b << 16 | a).to_be_bytes());
    chunk(b"IDAT", &stream);
    chunk(b"IEND", &[]);
    file
}

/// Writes pictures of 10 x 9 pixels, coloured or grey, into a new folder.
fn picture_folder(folder: &Path, count: u32, coloured: bool) -> String {
    std::fs::create_dir(folder).expect("a folder");
    for i in 0..count {
        std::fs::write(folder.join(format!("{i}.png")), small_picture(i, coloured)).expect("a file");
    }
    folder.to_str().expect("UTF-8").to_owned()
}

fn small_picture(i: u32, coloured: bool) -> Vec<u8> {
    let shades = (0..90).map(|p| (i * 31 + p * (i + 2)) as u8);
    let rgb: Vec<u8> = shades.flat_map(|shade| if coloured { [shade, shade / 2, 90] } else { [shade; 3] }).collect();
    png(10, 9, &rgb)
}

#[test]
fn train_images_streams_the_same_pictures_with_any_number_of_decoders() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = programs.join("train_images");
    let path = |name: &str| folder.path().join(name).into_os_string().into_string().expect("UTF-8");
    let coloured = picture_folder(&folder.path().join("coloured"), 5, true);
    let grey = picture_folder(&folder.path().join("grey"), 7, false);
    let train = |out: &str, more: &[&str]| {
        let out = folder.path().join(out);
        let stdout = succeeded("train_images", &run(&program, &joined(&FEW, more), Some(&out)));
        (stdout, std::fs::read(out.join("model.safetensors")).expect("a file"))
    };

    // Out of noise, and between a grey folder and a coloured one, mirrored and moved.
    let from_noise = ["--target", &grey, "--stream"];
    let pairs = ["--source", &grey, "--target", &coloured, "--stream", "--flip", "--crop", "2"];
    for (arguments, said) in [(&from_noise[..], "7 pictures of 1 x 8 x 8"), (&pairs, "5 pictures of 3 x 8 x 8")] {
        let (stdout, one) = train("one", &joined(arguments, &["--decoders", "1"]));
        assert!(stdout.contains(said), "{stdout}");
        let (_, three) = train("three", &joined(arguments, &["--decoders", "3"]));
        assert!(one == three, "the number of decoders changes the model of {arguments:?}");
    }
    let (_, moved) = train("moved", &joined(&from_noise, &["--flip", "--crop", "2"]));
    assert!(moved != train("plain", &from_noise).1, "--flip and --crop change nothing");

    // In one go and in two, the second one behind a trial of the speed: both sides go on where they were.
    let checkpoint = path("checkpoint");
    let kept = joined(&pairs, &["--checkpoint", &checkpoint]);
    train("first", &kept);
    let after_three = std::fs::read(&checkpoint).expect("a file");
    let (_, at_once) = train("first", &joined(&kept, &["--steps", "5"]));
    std::fs::write(&checkpoint, after_three).expect("a file");
    train("second", &joined(&kept, &["--steps", "4"]));
    let (stdout, in_two) = train("second", &joined(&kept, &["--minutes", "1e-6", "--decoders", "5"]));
    assert!(stdout.contains("goes on after 4 steps") && stdout.contains("steps to take: 1"), "{stdout}");
    assert!(at_once == in_two, "the models differ");
}

/// What a training says of a folder whose picture 3 becomes another file while it goes on.
#[cfg(unix)]
fn streamed_until(programs: &Path, coloured: bool, other: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let pictures = picture_folder(&folder.path().join("pictures"), 5, coloured);
    let mut command = Command::new(programs.join("train_images"));
    command.args(FEW).args(["--steps", "1000000000", "--stream", "--decoders", "3", "--target", &pictures]);
    command.arg("--out").arg(&out).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut program = command.spawn().expect("it starts");
    while !out.join("model.safetensors").exists() && program.try_wait().expect("it was started").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let file = folder.path().join("other");
    std::fs::write(&file, other).expect("a file");
    std::fs::rename(&file, Path::new(&pictures).join("3.png")).expect("it is replaced");
    let output = program.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", output.status);
    String::from_utf8(output.stderr).expect("messages are UTF-8")
}

#[cfg(unix)]
#[test]
fn train_images_names_the_streamed_file_that_it_cannot_take() {
    let Some(programs) = programs() else { return };
    let whole = small_picture(3, true);
    let cut = streamed_until(programs, true, &whole[..whole.len() / 2]);
    assert!(cut.contains("3.png: libpng reports"), "{cut}");
    let text = streamed_until(programs, true, b"This is not a picture.");
    assert!(text.contains("3.png is not a PNG file."), "{text}");
    let colours = streamed_until(programs, false, &whole);
    assert!(colours.contains("3.png has colours, but the 5 pictures that were looked at"), "{colours}");
}

/// Runs a program with bytes on its standard input.
fn fed(program: &Path, arguments: &[&str], input: &[u8]) -> Output {
    use std::io::Write as _;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(place::root());
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    // A program that refuses its arguments reads nothing.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn joined<'a>(first: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [first, more].concat()
}

#[test]
fn translate_image_gives_the_same_for_a_picture_a_folder_and_frames() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).into_os_string().into_string().expect("UTF-8");
    let program = programs.join("translate_image");

    // Two folders of made-up pictures: shades of red, and brighter ones of blue.
    const SIDE: u32 = 8;
    let picture = |i: u32, blue: bool| -> Vec<u8> {
        let pixels = (0..SIDE * SIDE).map(|p| {
            let shade = (i * 40 + p * 7 % 90) as u8;
            if blue { [30, shade / 2, 130 + shade / 3] } else { [60 + shade / 2, shade, 20] }
        });
        pixels.flatten().collect()
    };
    for (name, blue) in [("red", false), ("blue", true)] {
        std::fs::create_dir(path(name)).expect("a folder");
        for i in 0..3 {
            let file = folder.path().join(name).join(format!("{i}.png"));
            std::fs::write(file, png(SIDE, SIDE, &picture(i, blue))).expect("a file");
        }
    }
    let out = folder.path().join("trained");
    let [red, blue] = ["red", "blue"].map(path);
    let pairs = [&FEW[..], &["--source", &red, "--target", &blue]].concat();
    succeeded("train_images", &run(&programs.join("train_images"), &pairs, Some(&out)));
    let model = path("trained/model.safetensors");

    for how in [&["--seed", "5"][..], &["--seed", "5", "--mean", "--latents", "3"]] {
        let chosen = joined(&["--model", &model], how);
        // Frames: as many bytes as came in, and another picture.
        let frames = [picture(0, false), picture(2, false)].concat();
        let output = fed(&program, &joined(&chosen, &["--raw", "8x8"]), &frames);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stderr).contains("2 frames of 8 x 8 pixels"));
        let raw = output.stdout;
        assert!(raw.len() == frames.len() && raw != frames);

        // The folder and the single picture: the same files, whose pixels are those of the frames.
        let several = path("several");
        let stdout =
            succeeded("a folder", &run(&program, &joined(&chosen, &["--input", &red, "--output", &several]), None));
        assert_eq!(stdout.lines().count(), 3, "{stdout}");
        let written = |name: &str| std::fs::read(folder.path().join(name)).expect("a file");
        for (frame, i) in raw.chunks_exact(3 * 64).zip([0, 2]) {
            let single = path("single.png");
            let from = path(&format!("red/{i}.png"));
            succeeded("a picture", &run(&program, &joined(&chosen, &["--input", &from, "--output", &single]), None));
            assert!(written("single.png") == written(&format!("several/{i}.png")), "picture {i}");
            assert!(unpacked(&written("single.png")).is_none_or(|rgb| rgb == frame), "picture {i}");
        }
    }

    // JPEG files among them, where the programs read these.
    let (mixed, as_png) = (path("mixed"), path("as png"));
    std::fs::create_dir(&mixed).expect("a folder");
    std::fs::copy(path("red/0.png"), path("mixed/0.png")).expect("a file");
    std::fs::write(path("mixed/shades.JPG"), include_bytes!("fixtures/shades.jpg")).expect("a file");
    let output = run(&program, &["--model", &model, "--input", &mixed, "--output", &as_png], None);
    if String::from_utf8_lossy(&output.stderr).contains("built without libjpeg") {
        println!("JPEG files are left out: the examples were built without libjpeg.");
    } else {
        let stdout = succeeded("a folder", &output);
        assert!(stdout.lines().eq(["0.png", "shades.JPG.png"].map(|name| path(&format!("as png/{name}")))), "{stdout}");
        let pairs = [&FEW[..], &["--source", &red, "--target", &mixed]].concat();
        succeeded("train_images", &run(&programs.join("train_images"), &pairs, Some(&out)));
    }

    // Another size needs --resize. A picture of the right size stays as it is.
    let chosen = ["--model", &model];
    let coffee = "examples-c/images/coffee.png";
    let large = path("large.png");
    let refused = run(&program, &joined(&chosen, &["--input", coffee, "--output", &large]), None);
    let text = refusal(refused, Path::new(&large));
    assert!(text.contains("coffee.png has") && text.contains("have 8 x 8; --resize"), "{text}");
    succeeded("resized", &run(&program, &joined(&chosen, &["--input", coffee, "--output", &large, "--resize"]), None));
    assert_eq!(png_size(Path::new(&large)), (8, 8));
    let wide: Vec<u8> = picture(1, false).chunks_exact(3).flat_map(|pixel| [pixel, pixel].concat()).collect();
    let enlarged: Vec<u8> = wide.chunks_exact(6 * 8).flat_map(|row| [row, row].concat()).collect();
    let raw = |size: &str, bytes: &[u8]| {
        let output = fed(&program, &joined(&chosen, &["--raw", size, "--resize"]), bytes);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(raw("16x16", &enlarged), raw("8x8", &picture(1, false)));

    // What is wrong is told by a sentence.
    let says = |arguments: &[&str], input: &[u8], part: &str| {
        let output = fed(&program, arguments, input);
        let text = String::from_utf8(output.stderr).expect("messages are UTF-8");
        assert!(output.status.code() == Some(1) && text.contains(part), "{text}");
    };
    says(&joined(&chosen, &["--raw", "8x8"]), &[7; 3 * 64 + 5], "Frame 1 ends after 5 of 192 bytes");
    says(&joined(&chosen, &["--raw", "9x8"]), &[7; 3 * 72], "Frame 0 has 9 x 8 pixels");
    says(&joined(&chosen, &["--raw", "8"]), &[], "--raw is \"8\"; it must be WIDTHxHEIGHT");
    says(&joined(&chosen, &["--raw", "8x8", "--input", coffee]), &[], "or --raw alone");
    says(&joined(&chosen, &["--input", coffee, "--output", coffee]), &[], "name another one");
    says(&["--input", coffee, "--output", &large], &[], "--model is missing");
    says(&["--model", "nowhere", "--raw", "8x8"], &[], "nowhere");
}

/// The RGB bytes of a PNG file of one IDAT chunk, or `None` where there is no gzip to unpack them.
fn unpacked(file: &[u8]) -> Option<Vec<u8>> {
    if !has("gzip") {
        return None;
    }
    let at = file.windows(4).position(|kind| kind == b"IDAT").expect("pixels");
    let length = u32::from_be_bytes(file[at - 4..at].try_into().expect("4 bytes")) as usize;
    // The stream lies behind two bytes and before four. gzip misses the checksum of its own format, and tells so after
    // it has written all.
    let stream = &file[at + 6..at + length];
    let packed = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], stream, &[0; 8]].concat();
    let rows = fed(Path::new("gzip"), &["-dc"], &packed).stdout;
    let (width, height) = (
        u32::from_be_bytes(file[16..20].try_into().expect("4 bytes")) as usize,
        u32::from_be_bytes(file[20..24].try_into().expect("4 bytes")) as usize,
    );
    let line = 3 * width;
    assert_eq!(rows.len(), height * (1 + line));
    let mut rgb = vec![0u8; height * line];
    for (y, row) in rows.chunks_exact(1 + line).enumerate() {
        for x in 0..line {
            let left = if x >= 3 { rgb[y * line + x - 3] } else { 0 };
            let above = if y > 0 { rgb[(y - 1) * line + x] } else { 0 };
            let corner = if x >= 3 && y > 0 { rgb[(y - 1) * line + x - 3] } else { 0 };
            let [a, b, c] = [left, above, corner].map(i32::from);
            let predicted = match row[0] {
                0 => 0,
                1 => left,
                2 => above,
                3 => ((a + b) / 2) as u8,
                _ => {
                    let estimate = a + b - c;
                    let distances = [a, b, c].map(|x| (estimate - x).abs());
                    if distances[0] <= distances[1] && distances[0] <= distances[2] {
                        left
                    } else if distances[1] <= distances[2] {
                        above
                    } else {
                        corner
                    }
                }
            };
            rgb[y * line + x] = row[1 + x].wrapping_add(predicted);
        }
    }
    Some(rgb)
}

#[cfg(unix)]
#[test]
fn train_images_keeps_what_it_learnt_when_it_is_interrupted() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(programs.join("train_images"));
    command.args(FEW).args(["--steps", "1000000000", "--out"]).arg(folder.path());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let program = command.spawn().expect("it starts");
    // Written by then: the first grid, for which the training pauses. Its end is told by the model beside it.
    let model = folder.path().join("model.safetensors");
    while !model.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    succeeded("kill", &Command::new("kill").args(["-INT", &program.id().to_string()]).output().expect("kill starts"));
    let stdout = succeeded("train_images", &program.wait_with_output().expect("it ends"));
    assert!(stdout.contains("model.safetensors"), "{stdout}");
}

#[test]
fn bad_input_is_refused_with_a_sentence() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let refused_by = |name: &str, arguments: &[&str]| refusal(run(&programs.join(name), arguments, Some(&out)), &out);
    let refused = |arguments: &[&str]| refused_by("color_transfer", arguments);
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
    let jpeg = file("cut.jpg", b"\xff\xd8\xff\xe0 and no more");
    let said = refused(&["--source", &jpeg]);
    assert!(said.contains("cut.jpg") && (said.contains("libjpeg")), "{said}");
    assert!(refused(&["--divergence", "tv"]).contains("balanced, kl, chi2 or softplus"));
    assert!(refused(&["--source", "nowhere.png"]).contains("nowhere.png cannot be opened"));
    assert!(refused(&["--sigma", "0"]).contains("--sigma is \"0\"; it must be"));
    assert!(refused(&["--lut-size", "1"]).contains("from 2 to 256"));
    assert!(refused(&["--space", "cmyk"]).contains("oklab or rgb"));
    assert!(refused(&["--colour", "red"]).contains("--colour"));

    let refused = |arguments: &[&str]| refused_by("train_images", arguments);
    assert!(refused(&["--target", "nowhere"]).contains("nowhere cannot be opened"));
    assert!(refused(&["--target", &text]).contains("text.png is not an IDX file."));
    assert!(refused(&["--target", "src"]).contains("src holds no PNG or JPEG pictures."));
    assert!(refused(&["--target", "examples-c/images", "--size", "1000"]).contains("pictures are made smaller only"));
    let pictures = idx(9, 12);
    let cut = file("cut.idx", &pictures[..pictures.len() - 1]);
    assert!(refused(&["--target", &cut, "--size", "8"]).contains("picture 9 of 9 cannot be read"));
    let labels = file("labels.idx", &[0, 0, 8, 1, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(refused(&["--target", &labels]).contains("not of type 8 on 1"));
    let empty = file("empty.idx", &pictures.iter().map(|_| 0).collect::<Vec<u8>>());
    assert!(refused(&["--target", &empty]).contains("not of type 0 on 0"));
    let said = refused(&["--target", "examples-c/images", "--source", "discs", "--size", "8", "--stream"]);
    assert!(
        said.contains("--source is \"discs\"; with --stream it must be a folder of PNG or JPEG pictures."),
        "{said}"
    );
    assert!(refused(&["--stream"]).contains("--target is \"shapes\"; with --stream it must be a folder"));
    let crop = ["--target", "examples-c/images", "--size", "8", "--crop", "8", "--stream"];
    assert!(refused(&crop).contains("--crop is 8; it must be less than --size, which is 8."));
    let damaged = folder.path().join("damaged");
    picture_folder(&damaged, 5, true);
    std::fs::write(damaged.join("4.png"), b"This is not a picture.").expect("a file");
    for how in [&["--size", "8"][..], &["--size", "8", "--stream"]] {
        let said = refused(&joined(&["--target", damaged.to_str().expect("UTF-8")], how));
        assert!(said.contains("4.png is not a PNG file."), "{said}");
    }
    for decoders in ["0", "65"] {
        let sentence = format!("--decoders is \"{decoders}\"; it must be a whole number from 1 to 64.");
        assert!(refused(&["--decoders", decoders]).contains(&sentence));
    }
    for penalty in ["-1", "1001", "nan", "much"] {
        let sentence = format!("--gradient-penalty is \"{penalty}\"; it must be a number from 0 to 1000.");
        assert!(refused(&["--gradient-penalty", penalty]).contains(&sentence));
    }
    assert!(refused(&["--preset", "huge"]).contains("it must be auto, tiny, small or base."));
    assert!(refused(&["--norm-groups", "3"]).contains("norm_groups is 3, but must be 0 or divide the 32 channels"));
    assert!(refused(&["--ema", "1"]).contains("ema_decay is 1"));
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
    let folder = tempfile::tempdir().expect("a temporary folder");
    let picture = |name: &str, from: u8| {
        let colours: Vec<u8> = (0..20u8 * 12).flat_map(|i| [from, i, from ^ i]).collect();
        let path = folder.path().join(name);
        std::fs::write(&path, png(20, 12, &colours)).expect("it is written");
        path.into_os_string().into_string().expect("UTF-8")
    };
    let (source, target) = (picture("source.png", 40), picture("target.png", 90));
    let small = ["--lut-size", "3", "--hald-level", "2"];
    runs_on_a_gpu("color_transfer", &joined(&["--steps", "2", "--source", &source, "--target", &target], &small));
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
