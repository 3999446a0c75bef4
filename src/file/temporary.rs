//! The temporary file that new content goes to before it takes the name of its target.
//!
//! Its name follows from the target's, so saves of one target meet there: each waits until the one before has ended,
//! and removes the file of one that was killed. A save holds a lock on its file, which ends with its process: a save
//! that gets the lock of a file that still has the name knows that nobody writes it any more. Only the holder of the
//! lock removes or renames the file.
//!
//! A lock does not tell whether its holder is stopped. So a save that waits gives up when the other's file has not
//! changed for long. Some network mounts and files of other users have no lock to ask for. There, a file that has not
//! changed for long counts as left by a killed save and is removed. If its save goes on nevertheless, it finds the file
//! gone and fails.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::open::without_waiting;

/// How long a save waits for another one whose file does not change. The other one may be stopped, or the disk may be
/// busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// The shortest and the longest time between two looks at a file.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(20)];
/// The number of names that a save tries. It takes the next one where a name belongs to something that no save has made
/// or may remove.
const NAMES: u32 = 4;
/// How often a save makes its file anew when another save has taken it for a leftover.
const TRIES: u32 = 1000;

/// A file that is removed unless it takes its target's name.
pub(super) struct Temporary {
    pub file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    /// Makes the file in the folder of a target of this name. With `private` only the owner may open it, otherwise
    /// everyone whom plain creation lets.
    pub fn beside(folder: &Path, name: &OsStr, private: bool) -> io::Result<Self> {
        for number in 0..NAMES {
            if let Some(taken) = Self::take(named(folder, name, number), private, PATIENCE)? {
                for other in (0..NAMES).filter(|&other| other != number) {
                    let _ = remove_leftover(&named(folder, name, other));
                }
                return Ok(taken);
            }
        }
        let what =
            format!("{} and the names after it are taken by what is not to be removed", shown(&named(folder, name, 0)));
        Err(io::Error::new(io::ErrorKind::AlreadyExists, what))
    }

    /// Makes the file at `path` after waiting for other saves. Returns `None` where something else has the name.
    fn take(path: PathBuf, private: bool, patience: Duration) -> io::Result<Option<Self>> {
        let mut stillness = Stillness::default();
        let mut lost = 0;
        loop {
            match create(&path, private) {
                Ok(file) => {
                    match file.try_lock() {
                        Ok(()) if is_at(&file, &path) => return Ok(Some(Self::new(file, path))),
                        // Another save took it for a leftover before it was locked, and removes it.
                        Ok(()) | Err(TryLockError::WouldBlock) => lost += 1,
                        // Where there are no locks, nobody removes it soon.
                        Err(TryLockError::Error(_)) => return Ok(Some(Self::new(file, path))),
                    }
                    if lost == TRIES {
                        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "too many others are writing it"));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            let mut name = remove_leftover(&path);
            if let Name::Locked(found) | Name::Unknown(found) = &name {
                let still = stillness.of(found, Instant::now());
                if still < patience {
                    std::thread::sleep((still / 16).clamp(PAUSES[0], PAUSES[1]));
                    continue;
                }
                if let Name::Locked(_) = name {
                    return Err(unmoved(&path, still));
                }
                name = remove(&path);
            }
            if let Name::Foreign = name {
                return Ok(None);
            }
        }
    }

    fn new(file: File, path: PathBuf) -> Self {
        Self { file, path, renamed: false }
    }

    /// Gives the file its target's name.
    pub fn rename(mut self, target: &Path) -> io::Result<()> {
        if !is_at(&self.file, &self.path) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "its temporary file was removed by someone else"));
        }
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    /// Removes the file, unless it was renamed: the name is then another file's, or nobody's.
    fn drop(&mut self) {
        if !self.renamed && is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns the path of a temporary file beside a target. The length of its name is fixed, so that a target may have the
/// longest name that is allowed.
fn named(folder: &Path, target: &OsStr, number: u32) -> PathBuf {
    let hash = target
        .as_encoded_bytes()
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    folder.join(format!(".sfeuot-{hash:016x}-{number}.tmp"))
}

/// Returns the file's name for an error that names the target, beside which it lies.
fn shown(path: &Path) -> String {
    format!("'{}' beside it", path.file_name().unwrap_or_default().display())
}

fn unmoved(path: &Path, still: Duration) -> io::Error {
    let (file, seconds) = (shown(path), still.as_secs());
    let what =
        format!("another process is writing it, and {file}, its new content, has not changed for {seconds} seconds");
    io::Error::new(io::ErrorKind::ResourceBusy, what)
}

/// Measures how long a file has been unchanged.
#[derive(Default)]
struct Stillness {
    seen: Option<(u64, Option<SystemTime>, Instant)>,
}

impl Stillness {
    fn of(&mut self, found: &Metadata, now: Instant) -> Duration {
        let (length, changed) = (found.len(), found.modified().ok());
        match self.seen {
            Some((seen_length, seen_changed, since)) if (seen_length, seen_changed) == (length, changed) => now - since,
            _ => {
                self.seen = Some((length, changed, now));
                Duration::ZERO
            }
        }
    }
}

fn create(path: &Path, private: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // The system takes the umask off this mode, never adds to it: the file is at no moment more open than it may be.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if private { 0o600 } else { 0o666 });
    #[cfg(not(unix))]
    let _ = private;
    options.write(true).create_new(true).open(path)
}

/// What stands under a name.
enum Name {
    Free,
    /// A save that is going on.
    Locked(Metadata),
    /// A save that may be going on; there is no lock to ask for.
    Unknown(Metadata),
    /// Something that is no save's, or that this process may not remove.
    Foreign,
}

/// Removes the file of a save that was killed.
fn remove_leftover(path: &Path) -> Name {
    let found = match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => found,
        Ok(_) => return Name::Foreign,
        Err(error) => return unremoved(&error),
    };
    // Some file systems lock only what may be written.
    let open = |write| without_waiting(OpenOptions::new().read(true).write(write)).open(path);
    let lock = match open(true).or_else(|_| open(false)) {
        Ok(file) => file.try_lock().map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Name::Free,
        Err(error) => Err(TryLockError::Error(error)),
    };
    match lock {
        Ok(file) if is_at(&file, path) => remove(path),
        // It has been renamed or removed meanwhile.
        Ok(_) => Name::Free,
        Err(TryLockError::WouldBlock) => Name::Locked(found),
        Err(TryLockError::Error(_)) => Name::Unknown(found),
    }
}

fn remove(path: &Path) -> Name {
    fs::remove_file(path).map_or_else(|error| unremoved(&error), |()| Name::Free)
}

fn unremoved(error: &io::Error) -> Name {
    match error.kind() {
        io::ErrorKind::NotFound => Name::Free,
        _ => Name::Foreign,
    }
}

/// Returns whether `path` is the name of an open file.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let place = |found: &fs::Metadata| (found.dev(), found.ino());
        matches!((file.metadata(), fs::symlink_metadata(path)), (Ok(a), Ok(b)) if place(&a) == place(&b))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn other_save(path: &Path) -> File {
        let file = create(path, false).unwrap();
        file.lock().unwrap();
        file
    }

    #[test]
    fn a_save_that_is_stopped_is_an_error_and_its_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = named(folder.path(), "model.sfeuot".as_ref(), 0);
        let other = other_save(&path);
        let Err(error) = Temporary::take(path.clone(), false, Duration::from_millis(20)) else {
            panic!("it is another's");
        };
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().starts_with("another process is writing it, and '.sfeuot-"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(is_at(&other, &path));
        drop(other);
        assert!(Temporary::take(path, false, Duration::ZERO).unwrap().is_some(), "a lock ends with its process");
    }

    #[test]
    fn a_save_waits_for_the_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.sfeuot");
        let first = Temporary::beside(folder.path(), "model.sfeuot".as_ref(), false).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let mut second = Temporary::beside(folder.path(), "model.sfeuot".as_ref(), false).unwrap();
                assert_eq!(fs::read(&target).unwrap(), b"", "the first one has ended");
                second.file.write_all(b"second").unwrap();
                second.rename(&target).unwrap();
            });
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            first.rename(&target).unwrap();
            second.join().unwrap();
        });
        assert_eq!(fs::read(&target).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_still_from_its_last_change_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (mut stillness, start) = (Stillness::default(), Instant::now());
        let mut seen = |content: &[u8], seconds| {
            if !content.is_empty() {
                fs::write(&path, content).unwrap();
            }
            stillness.of(&fs::metadata(&path).unwrap(), start + Duration::from_secs(seconds)).as_secs()
        };
        assert_eq!([seen(b"a", 0), seen(b"", 50), seen(b"ab", 59), seen(b"", 100), seen(b"", 119)], [0, 50, 0, 41, 60]);
    }

    /// The administrator may open every file.
    #[cfg(unix)]
    #[test]
    fn a_file_whose_lock_cannot_be_asked_for_is_left_over_once_it_is_still() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = named(folder.path(), "model.sfeuot".as_ref(), 0);
        fs::write(&path, b"half a file").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        let taken = Temporary::take(path, false, Duration::from_millis(20)).unwrap().expect("it is removed");
        assert_eq!(taken.file.metadata().unwrap().len(), 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_save_whose_file_was_taken_for_a_leftover_fails_and_harms_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.sfeuot");
        let slow = Temporary::beside(folder.path(), "model.sfeuot".as_ref(), false).unwrap();
        fs::remove_file(&slow.path).unwrap();
        let next = Temporary::beside(folder.path(), "model.sfeuot".as_ref(), false).unwrap();
        if cfg!(unix) {
            assert_eq!(slow.rename(&target).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        next.rename(&target).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
