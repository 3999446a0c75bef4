//! Paths that lead to anything but a file of ours.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use super::{all, content, description, small};
use crate::error::Error;
use crate::file::input::Input;
use crate::file::kind::FileKind;
use crate::file::output::Output;

fn refusal(path: &Path) -> Error {
    Input::open(path, FileKind::Model).err().expect("it is no model")
}

#[track_caller]
fn assert_not_read(path: &Path, reason: &str) {
    let error = refusal(path);
    assert!(matches!(&error, Error::Io { path: named, .. } if named == path), "{error}");
    let sentence = error.to_string();
    assert!(sentence.starts_with("cannot read '") && sentence.ends_with(reason), "{sentence}");
}

#[test]
fn what_is_absent_or_a_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert_not_read(folder.path(), "is a directory");
    assert_not_read(&folder.path().join("absent"), "(os error 2)");
    assert_not_read(Path::new(""), "(os error 2)");
}

#[cfg(unix)]
#[test]
fn devices_pipes_and_sockets_are_refused_at_once() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let [pipe, socket] = ["pipe", "socket"].map(|name| folder.path().join(name));
    let name = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&pipe, &socket, Path::new("/dev/null"), Path::new("/dev/zero"), Path::new("/dev/full")] {
        assert_not_read(path, "it is not a regular file");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(path, &link).unwrap();
        assert_not_read(&link, "it is not a regular file");
        fs::remove_file(&link).unwrap();
        let saved = Output::new(FileKind::Model, &description()).unwrap().save(path).unwrap_err().to_string();
        assert!(saved.ends_with("it is not a regular file"), "{saved}");
    }
}

/// The length of a file says nothing about its content.
#[test]
fn a_huge_file_without_content_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    let sparse = |start: &[u8]| {
        let mut file = File::create(&path).unwrap();
        file.write_all(start).unwrap();
        file.set_len(40 << 30).unwrap();
        let error = refusal(&path).to_string();
        drop(file);
        error
    };
    let error = sparse(&[]);
    assert!(error.contains("not a safetensors file"), "{error}");
    let error = sparse(&(30u64 << 30).to_le_bytes());
    assert!(error.contains("header is 32212254720 bytes long"), "{error}");
    let error = sparse(&small(FileKind::Model));
    assert!(error.contains("bytes follow its last tensor"), "{error}");
}

#[test]
fn a_file_that_changes_while_it_is_read_ends_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changing");
    let bytes = small(FileKind::Model);
    fs::write(&path, &bytes).unwrap();
    let input = Input::open(&path, FileKind::Model).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 - 28).unwrap();
    let error = all(input).unwrap_err();
    assert!(matches!(error, Error::Format(_)) && error.to_string().contains("cut short while it was read"), "{error}");

    fs::write(&path, &bytes).unwrap();
    let input = Input::open(&path, FileKind::Model).unwrap();
    File::options().append(true).open(&path).unwrap().write_all(&[1; 10_000]).unwrap();
    assert_eq!(all(input).unwrap(), content(&bytes, FileKind::Model).unwrap());
}

#[test]
fn a_reason_follows_even_the_longest_path() {
    let long = Path::new("/").join(vec!["x".repeat(200); 15].join("/")).join("end");
    let saved = Output::new(FileKind::Model, &description()).unwrap().save(&long).unwrap_err();
    for (error, action) in [(refusal(&long), "cannot read '/xxx"), (saved, "cannot write '/xxx")] {
        let sentence = error.to_string();
        assert!(sentence.starts_with(action) && sentence.contains("xxx/end': "), "{sentence}");
        assert!(sentence.len() < 1200, "{}", sentence.len());
    }
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join(vec!["x".repeat(200); 10].join("/"));
    fs::create_dir_all(&deep).unwrap();
    let path = deep.join("damaged");
    fs::write(&path, "damaged").unwrap();
    let sentence = refusal(&path).to_string();
    assert!(sentence.contains("/damaged': it is 7 bytes long") && sentence.len() < 1200, "{sentence}");
}
