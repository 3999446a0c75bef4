//! Reading a file, and replacing one so that every reader, at any moment, finds the old content or the new one, whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Reads a whole file.
///
/// # Errors
/// `Error::Io` with the path and the system's reason.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::Io { action: "cannot read", path: path.into(), source })
}

/// Creates or replaces a file as one indivisible act.
///
/// The bytes go to a temporary file in the same folder, are flushed to the disk, and take the name of `path` last. A new
/// file gets the permissions that plain creation gives, a replaced file keeps its own. A symbolic link is followed, as
/// plain writing would. Owner, access control lists and hard links of a replaced file are not carried over.
///
/// # Errors
/// `Error::Io` with the path and the system's reason, also when `path` is a folder, a device or a pipe. What was there
/// is then untouched and no temporary file stays.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes).map_err(|source| Error::Io { action: "cannot write", path: path.into(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target: PathBuf = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let replaced = fs::metadata(&target).ok();
    match &replaced {
        Some(file) if file.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        // Renaming onto a device or a pipe would put a plain file in its place.
        Some(file) if !file.is_file() => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        _ => {}
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };

    let mut temporary = create_beside(folder, replaced.as_ref())?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(&target).map_err(|refused| refused.error)?;
    flush_folder(folder);
    Ok(())
}

/// A temporary file that deletes itself unless persisted, with the permissions of `replaced` or of plain creation.
fn create_beside(folder: &Path, replaced: Option<&fs::Metadata>) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sfeuot-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = replaced.map(|file| file.permissions().mode() & 0o777);
        // The system takes the umask off the mode of a creation, never adds to it: the file is at no moment more open
        // than it may be, and the bits that the replaced file had beyond the umask come back before any byte is written.
        builder.permissions(fs::Permissions::from_mode(mode.unwrap_or(0o666)));
        let temporary = builder.tempfile_in(folder)?;
        if let Some(mode) = mode {
            temporary.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        }
        Ok(temporary)
    }
    #[cfg(not(unix))]
    {
        let _ = replaced;
        builder.tempfile_in(folder)
    }
}

/// Asks that the new name survive a power failure. Not every file system can, and the file is already in place and
/// whole, so a refusal is no failure of the write.
fn flush_folder(folder: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Names and content of everything in a folder; `None` for what is not a plain file.
    fn listing(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), path.is_file().then(|| fs::read(&path).unwrap()))).collect()
    }

    fn assert_fails_without_trace(folder: &Path, path: &Path) {
        let before = listing(folder);
        let error = write_atomic(path, b"new").unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if named == path), "{error}");
        assert!(error.to_string().starts_with("cannot write '"), "{error}");
        assert_eq!(listing(folder), before);
    }

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.sfeuot");
        for content in [&b"first, longer"[..], b"second", b""] {
            write_atomic(&path, content).unwrap();
            assert_eq!(read(&path).unwrap(), content);
            assert_eq!(listing(folder.path()).len(), 1);
        }
    }

    #[test]
    fn a_failed_write_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join("kept"), b"old").unwrap();
        fs::create_dir(root.join("folder")).unwrap();
        assert_fails_without_trace(root, &root.join("missing").join("model.sfeuot"));
        assert_fails_without_trace(root, &root.join("kept").join("model.sfeuot"));
        assert_fails_without_trace(root, &root.join("folder"));
        // Fails only when the finished temporary file is to take this name.
        assert_fails_without_trace(root, &root.join("n".repeat(300)));
        assert_fails_without_trace(root, Path::new(""));
    }

    #[test]
    fn reading_what_is_not_there_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent.sfeuot");
        let error = read(&path).unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound));
        assert!(error.to_string().contains("absent.sfeuot"), "{error}");
    }

    #[test]
    fn readers_see_the_old_or_the_new_content_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.sfeuot");
        let (short, long) = (vec![1u8; 1000], vec![2u8; 300_000]);
        write_atomic(&path, &short).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for turn in 0..40 {
                    write_atomic(&path, if turn % 2 == 0 { &long } else { &short }).unwrap();
                }
            });
            while !writer.is_finished() {
                let seen = fs::read(&path).unwrap();
                assert!(seen == short || seen == long, "a torn file of {} bytes", seen.len());
            }
        });
    }

    #[cfg(unix)]
    mod unix {
        use super::*;
        use std::io::Read as _;
        use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};

        fn mode(path: &Path) -> u32 {
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        }

        #[test]
        fn permissions_are_those_of_plain_creation_or_of_the_replaced_file() {
            let folder = tempfile::tempdir().unwrap();
            let (plain, ours) = (folder.path().join("plain"), folder.path().join("ours"));
            File::create(&plain).unwrap();
            write_atomic(&ours, b"new").unwrap();
            assert_eq!(mode(&ours), mode(&plain));
            for kept in [0o600, 0o640, 0o666, 0o444] {
                fs::set_permissions(&ours, fs::Permissions::from_mode(kept)).unwrap();
                write_atomic(&ours, b"newer").unwrap();
                assert_eq!(mode(&ours), kept);
            }
        }

        #[test]
        fn an_open_file_keeps_its_content_when_replaced() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.sfeuot");
            write_atomic(&path, b"old").unwrap();
            let mut open = File::open(&path).unwrap();
            write_atomic(&path, b"new content").unwrap();
            let mut seen = Vec::new();
            open.read_to_end(&mut seen).unwrap();
            assert_eq!(seen, b"old");
            assert_eq!(read(&path).unwrap(), b"new content");
        }

        #[test]
        fn a_symbolic_link_stays_and_its_file_is_replaced() {
            let folder = tempfile::tempdir().unwrap();
            let (file, link) = (folder.path().join("run-3"), folder.path().join("latest"));
            fs::write(&file, b"old").unwrap();
            symlink("run-3", &link).unwrap();
            write_atomic(&link, b"new").unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(read(&file).unwrap(), b"new");
        }

        #[test]
        fn what_is_not_a_regular_file_is_never_replaced() {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("socket");
            let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            assert_fails_without_trace(folder.path(), &socket);
            assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
        }
    }
}
