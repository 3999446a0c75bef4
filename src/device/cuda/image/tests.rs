use super::nvrtc::{Nvrtc, Target};
use super::*;
use std::fs;
use std::path::PathBuf;

/// Whether NVRTC can be asked; prints why not.
fn available() -> bool {
    match Nvrtc::load((8, 6)) {
        Ok(_) => true,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none() || !cfg!(target_os = "linux"), "{why}");
            eprintln!("Skipped: {why}.");
            false
        }
    }
}

/// Compiles with an empty cache, and takes it from there.
fn fresh(capability: (u32, u32), precision: Precision) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut messages = Vec::new();
    let mut log = |level, text: &str| messages.push((level, text.to_owned()));
    let image = compiled(capability, precision, Some(folder.path()), &mut log).unwrap();
    assert_eq!(compiled(capability, precision, Some(folder.path()), &mut log).unwrap(), image);
    let [(LogLevel::Info, made), (LogLevel::Debug, taken)] = &messages[..] else { panic!("{messages:?}") };
    assert!(made.contains("by NVRTC") && taken.contains("taken from the cache"), "{messages:?}");
    image
}

#[test]
fn the_embedded_image_is_a_fatbin() {
    match embedded() {
        Some(image) => {
            assert_eq!(image[..4], 0xBA55_ED50u32.to_le_bytes());
            assert_eq!(image.as_ptr().addr() % 16, 0);
        }
        None => eprintln!("Skipped: this library was built without nvcc."),
    }
}

#[test]
fn the_source_holds_every_kernel_and_includes_nothing() {
    let kernels = |text: &str| text.matches("extern \"C\" __global__").count();
    let folder = crate::device::cuda::tests::simulator::place::root().join("cuda");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "cu" || extension == "cuh") {
            count += kernels(&fs::read_to_string(&path).unwrap());
            let line = format!("#line 1 \"{}\"\n", path.file_name().unwrap().to_str().unwrap());
            assert_eq!(SOURCE.matches(&line).count(), 1, "{}", path.display());
        }
    }
    assert!(count > 0);
    assert_eq!(kernels(SOURCE), count);
    let included: Vec<&str> = SOURCE.lines().filter(|line| line.contains("#include")).collect();
    assert_eq!(included, ["#include \"host/host.h\""], "only what the host's build alone sees");
}

#[test]
fn nvrtc_makes_machine_code_for_what_it_knows() {
    if !available() {
        return;
    }
    // nvcc makes that of the same text for all of these, in every arithmetic.
    let image = fresh((7, 5), Precision::F32);
    assert_eq!(image[..4], *b"\x7fELF");
    for kernel in ["philox_normals", "mixture_64", "optimiser_update"] {
        assert!(image.windows(kernel.len()).any(|part| part == kernel.as_bytes()), "{kernel}");
    }
}

#[test]
fn nvrtc_makes_ptx_for_what_is_newer() {
    if !available() {
        return;
    }
    for precision in [Precision::Tf32, Precision::Bf16] {
        let image = fresh((12, 9), precision);
        let text = std::str::from_utf8(&image).unwrap();
        assert!(text.contains(".target sm_12") && text.contains(".entry philox_normals"));
        assert!(text.ends_with('\0'));
    }
}

/// What [`kept`] returns and says where a compiler makes `image`; the compiler is the one thing here that is slow.
fn kept_in(folder: &Path, image: &[u8]) -> (Vec<u8>, Vec<(LogLevel, String)>) {
    let mut messages = Vec::new();
    let entry = cache::Entry::new(folder, SOURCE, (13, 0), &["sm_80".into()]);
    let compile = || Ok((image.to_vec(), "by a compiler".into()));
    let image =
        kept(Some(entry), "sm_80", compile, &mut |level, text| messages.push((level, text.to_owned()))).unwrap();
    (image, messages)
}

#[test]
fn a_second_call_takes_the_cache_unless_it_is_damaged() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cache");
    let made = (LogLevel::Info, "kernels compiled for sm_80 by a compiler".to_owned());
    let taken = (LogLevel::Debug, "kernels for sm_80 taken from the cache".to_owned());
    assert_eq!(kept_in(&folder, b"one"), (b"one".to_vec(), vec![made.clone()]));
    let files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    assert_eq!(kept_in(&folder, b"two"), (b"one".to_vec(), vec![taken.clone()]));

    let whole = fs::read(file).unwrap();
    fs::write(file, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(kept_in(&folder, b"one"), (b"one".to_vec(), vec![made]));
    assert_eq!(fs::read(file).unwrap(), whole, "replaced");
}

#[test]
fn a_cache_that_cannot_be_written_is_a_message() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (image, messages) = kept_in(file.path(), b"one");
    assert_eq!(image, b"one");
    assert!(messages.iter().any(|(level, text)| *level == LogLevel::Info && text.contains("not kept")), "{messages:?}");
}

#[test]
fn a_compiler_that_fails_leaves_nothing_in_the_cache() {
    let root = tempfile::tempdir().unwrap();
    let entry = cache::Entry::new(root.path(), SOURCE, (13, 0), &[]);
    let fails = || Err(crate::Error::UnsupportedDevice("it does not compile".into()));
    assert!(kept(Some(entry), "sm_80", fails, &mut |_, _| {}).is_err());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn errors_name_the_file_and_the_line() {
    if !available() {
        return;
    }
    let compiler = Nvrtc::load((8, 0)).unwrap();
    let target = Target::Machine(80);
    let source = "#line 7 \"broken.cuh\"\nthis is no kernel;\n";
    let error = compiler.compile(source, target, &target.options(Precision::F32)).unwrap_err();
    assert!(matches!(error, crate::Error::UnsupportedDevice(_)));
    let error = error.to_string();
    assert!(error.contains("broken.cuh(7)") && error.contains("sm_80") && !error.contains('\n'), "{error}");
}
