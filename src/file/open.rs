//! Opening a file to read it, whatever its name turns out to be.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// A regular file and its length. Nothing else is opened for long, and none makes the call wait: a pipe that nobody
/// writes to would, and a device may have no end.
pub(super) fn regular(path: &Path) -> io::Result<(File, u64)> {
    // Before it is opened, which alone may do something to a device.
    check(&fs::metadata(path)?)?;
    let file = without_waiting(OpenOptions::new().read(true)).open(path)?;
    // It may have become another one in between.
    let opened = file.metadata()?;
    check(&opened)?;
    Ok((file, opened.len()))
}

/// What makes an open return at once.
pub(super) fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

/// An error unless it is a regular file.
pub(super) fn check(found: &fs::Metadata) -> io::Result<()> {
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(())
}
