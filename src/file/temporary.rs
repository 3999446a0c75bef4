//! The temporary file that new content goes to before it takes the name of its target.
//!
//! Its name follows from the target's, so the next save finds what one that was killed has left, removes it and takes its
//! place. A save that is going on holds a lock on its file, which ends with its process: who gets the lock of a file that
//! still has the name knows that nobody writes it any more. Only who holds it removes or renames the file.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::open::without_waiting;

/// How long a save waits for another one of the same target before it takes a name beside it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(200);
/// Names in which files of killed saves are looked for: as many would have to be killed at once.
const SWEPT: u32 = 4;
/// Names that a save tries at most.
const NAMES: u32 = 1000;
/// Times that a name is found free and taken again at once, by other saves, before the next one is tried.
const TRIES: u32 = 1000;

/// A file that is removed unless it takes its target's name.
pub(super) struct Temporary {
    pub file: File,
    path: PathBuf,
}

impl Temporary {
    /// One in the folder of a target of this name. `private`: nobody but the owner may open it, else whom plain creation
    /// lets.
    pub fn beside(folder: &Path, name: &OsStr, private: bool) -> io::Result<Self> {
        let path = |number: u32| {
            let hash = name.as_encoded_bytes().iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
            });
            // Of a fixed length, so that a target's name may have all the bytes that a name can have.
            folder.join(format!(".sfeuot-{hash:016x}-{number}.tmp"))
        };
        let patience = |number| if number == 0 { PATIENCE } else { Duration::ZERO };
        for number in 0..NAMES {
            if let Some(taken) = Self::take(path(number), private, patience(number))? {
                for other in (0..SWEPT).filter(|&other| other != number) {
                    remove_leftover(&path(other));
                }
                return Ok(taken);
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "too many others are writing it"))
    }

    /// `None` where the name stays another one's.
    fn take(path: PathBuf, private: bool, patience: Duration) -> io::Result<Option<Self>> {
        let start = Instant::now();
        for _ in 0..TRIES {
            match create(&path, private) {
                Ok(file) => match file.try_lock() {
                    Ok(()) if is_at(&file, &path) => return Ok(Some(Self { file, path })),
                    // Another save took it for a leftover before it was locked, and removes it.
                    Ok(()) | Err(TryLockError::WouldBlock) => continue,
                    // Where there are no locks, nobody removes what is not his own.
                    Err(TryLockError::Error(_)) => return Ok(Some(Self { file, path })),
                },
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            loop {
                match remove_leftover(&path) {
                    Name::Free => break,
                    Name::Busy if start.elapsed() < patience => std::thread::sleep(PAUSE),
                    Name::Busy | Name::Foreign => return Ok(None),
                }
            }
        }
        Ok(None)
    }

    /// Gives the file its target's name.
    pub fn rename(self, target: &Path) -> io::Result<()> {
        if !is_at(&self.file, &self.path) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "its temporary file was removed by someone else"));
        }
        fs::rename(&self.path, target)
    }
}

impl Drop for Temporary {
    /// After a rename the name is another file's, or nobody's.
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
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

/// What a name is found to be.
enum Name {
    Free,
    /// A save goes on under it.
    Busy,
    /// Not for us to remove.
    Foreign,
}

/// Removes the file of a save that was killed.
fn remove_leftover(path: &Path) -> Name {
    let fault = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => Name::Free,
        _ => Name::Foreign,
    };
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Name::Foreign,
        Err(error) => return fault(&error),
    }
    // Some file systems lock only what may be written.
    let open = |write| without_waiting(OpenOptions::new().read(true).write(write)).open(path);
    let file = match open(true).or_else(|_| open(false)) {
        Ok(file) => file,
        Err(error) => return fault(&error),
    };
    match file.try_lock() {
        Ok(()) if is_at(&file, path) => fs::remove_file(path).map_or_else(|error| fault(&error), |()| Name::Free),
        // It has been renamed or removed meanwhile.
        Ok(()) => Name::Free,
        Err(TryLockError::WouldBlock) => Name::Busy,
        Err(TryLockError::Error(_)) => Name::Foreign,
    }
}

/// Whether a name is that of an open file.
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
