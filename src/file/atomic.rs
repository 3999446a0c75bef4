//! Replacing a file so that every reader, at any moment, finds the old content or the new one, whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::open::check;
use super::temporary::Temporary;
use crate::error::{Error, Result};

/// The largest number of symbolic links that are followed, the same as on Linux.
const MAX_LINKS: usize = 40;

/// Creates or replaces a file as one indivisible act, with what `content` writes.
///
/// The bytes go to a temporary file in the same folder, are flushed to the disk, and take the name of `path` last.
/// Saves of the same file, in any threads and processes, come one after the other; one whose temporary file does not
/// change for a minute is not waited for any longer, and the waiting save fails. A save that is killed may leave its
/// temporary file. The next save removes it at once, or after a minute where the file system has no locks. A new file
/// gets the permissions that plain creation gives, a replaced file keeps its own. A symbolic link is followed, as plain
/// writing would, also to a file that is not there yet. Owner, access control lists and hard links of a replaced file
/// are not carried over.
///
/// # Errors
/// `Error::Io` with the path and the system's reason, also when `path` is a folder, a device or a pipe. What was there
/// is then untouched and no temporary file stays.
pub(crate) fn write(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    replace(path, content).map_err(|source| Error::Io { action: "cannot write", path: path.into(), source })
}

fn replace(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let target = followed(path)?;
    let replaced = match fs::metadata(&target) {
        Ok(found) => {
            // Renaming onto a device or a pipe would put a plain file in its place.
            check(&found)?;
            Some(found.permissions())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let folder = folder_of(&target);
    let name = target.file_name().ok_or(io::ErrorKind::NotFound)?;

    let mut temporary = Temporary::beside(folder, name, replaced.is_some())?;
    content(&mut temporary.file)?;
    if let Some(permissions) = replaced {
        temporary.file.set_permissions(without_special_bits(permissions))?;
    }
    temporary.file.sync_all()?;
    temporary.rename(&target)?;
    flush_folder(folder);
    Ok(())
}

/// Returns the path behind all symbolic links, whether there is a file or not.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_path_buf();
    for _ in 0..=MAX_LINKS {
        match fs::read_link(&target) {
            Ok(link) => target = folder_of(&target).join(link),
            // It is no link. What else may be wrong is found when it is written.
            Err(_) => return Ok(target),
        }
    }
    Err(io::Error::other(format!("it leads through more than {MAX_LINKS} symbolic links")))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn without_special_bits(permissions: fs::Permissions) -> fs::Permissions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::Permissions::from_mode(permissions.mode() & 0o777)
    }
    #[cfg(not(unix))]
    permissions
}

/// Flushes the folder, so that the new name survives a power failure. A refusal is no error: not every file system can,
/// and the file is in place and whole.
fn flush_folder(folder: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
        write(path, |file| file.write_all(bytes))
    }

    fn read(path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

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

    #[test]
    fn writers_of_one_file_come_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.sfeuot");
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let path = &path;
                scope.spawn(move || {
                    for turn in 0..25 {
                        let written = vec![writer; 1000 + 40_000 * usize::from(turn % 3 == 0)];
                        write_atomic(path, &written).unwrap();
                        let seen = read(path).unwrap();
                        assert!(seen.iter().all(|&byte| byte == seen[0]), "a torn file of {} bytes", seen.len());
                        assert!([1000, 41_000].contains(&seen.len()), "a torn file of {} bytes", seen.len());
                    }
                });
            }
        });
        assert_eq!(listing(folder.path()).len(), 1);
    }

    #[test]
    fn a_name_may_have_all_the_bytes_that_a_name_can_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n".repeat(255));
        for content in [&b"first"[..], b"second"] {
            write_atomic(&path, content).unwrap();
            assert_eq!(read(&path).unwrap(), content);
            assert_eq!(listing(folder.path()).len(), 1);
        }
    }

    #[test]
    fn content_that_fails_half_way_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.sfeuot");
        write_atomic(&path, b"old").unwrap();
        let error = write(&path, |file| file.write_all(b"half").and(Err(io::ErrorKind::StorageFull.into())));
        assert!(matches!(error, Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::StorageFull));
        let panicked = std::panic::catch_unwind(|| write(&path, |_| panic!("half way")));
        panicked.expect_err("the panic goes on");
        assert_eq!(listing(folder.path()), BTreeMap::from([(path, Some(b"old".to_vec()))]));
    }

    /// What a temporary file of this target is called.
    fn temporary_name(folder: &Path, target: &str) -> PathBuf {
        let before = listing(folder);
        let _taken = Temporary::beside(folder, target.as_ref(), false).unwrap();
        listing(folder).into_keys().find(|name| !before.contains_key(name)).unwrap()
    }

    #[test]
    fn what_killed_writes_left_is_removed_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let name = temporary_name(folder.path(), "model.sfeuot");
        assert!(listing(folder.path()).is_empty());
        // A folder in the way once made a save take the next name.
        fs::create_dir(&name).unwrap();
        let next = temporary_name(folder.path(), "model.sfeuot");
        fs::remove_dir(&name).unwrap();
        for left in [&[&name][..], &[&next], &[&name, &next]] {
            for name in left {
                fs::write(name, b"half a file").unwrap();
            }
            write_atomic(&folder.path().join("model.sfeuot"), b"new").unwrap();
            assert_eq!(listing(folder.path()).len(), 1, "{left:?} is there");
        }
        assert_ne!(temporary_name(folder.path(), "other.sfeuot"), name, "another target is another file");
    }

    /// Something else under the temporary file's name is neither used nor touched.
    #[cfg(unix)]
    #[test]
    fn a_taken_name_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let name = temporary_name(folder.path(), "model.sfeuot");
        let victim = folder.path().join("victim");
        fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, &name).unwrap();
        fs::create_dir(temporary_name(folder.path(), "model.sfeuot")).unwrap();
        let before = listing(folder.path());
        let path = folder.path().join("model.sfeuot");
        write_atomic(&path, b"new").unwrap();
        let mut after = listing(folder.path());
        assert_eq!(after.remove(&path), Some(Some(b"new".to_vec())));
        assert_eq!(after, before);
        assert!(fs::symlink_metadata(&name).unwrap().is_symlink());
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
        fn a_link_to_what_is_not_there_yet_is_followed() {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            fs::create_dir(root.join("runs")).unwrap();
            symlink("runs/next", root.join("latest")).unwrap();
            symlink(root.join("latest"), root.join("runs").join("again")).unwrap();
            write_atomic(&root.join("runs").join("again"), b"new").unwrap();
            assert_eq!(fs::read(root.join("runs").join("next")).unwrap(), b"new");
            assert!(fs::symlink_metadata(root.join("latest")).unwrap().is_symlink());
            assert_eq!(listing(&root.join("runs")).len(), 2);

            symlink("self", root.join("self")).unwrap();
            symlink("absent/file", root.join("nowhere")).unwrap();
            assert_fails_without_trace(root, &root.join("self"));
            assert_fails_without_trace(root, &root.join("nowhere"));
        }

        #[test]
        fn a_folder_that_may_not_be_written_is_an_error() {
            let folder = tempfile::tempdir().unwrap();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
            // Nothing is forbidden to the administrator.
            if File::create(folder.path().join("probe")).is_err() {
                assert_fails_without_trace(folder.path(), &folder.path().join("model.sfeuot"));
            }
            let error = write_atomic(Path::new("/proc/self/model.sfeuot"), b"new").unwrap_err().to_string();
            assert!(error.starts_with("cannot write '/proc/self/model.sfeuot': "), "{error}");
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
