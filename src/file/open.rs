//! Opens files for reading, and refuses names that are not regular files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a regular file and returns it with its length in bytes. Everything else is refused at once: a pipe without a
/// writer would make the call wait, and a device may have no end.
pub(super) fn regular(path: &Path) -> io::Result<(File, u64)> {
    // Before it is opened, which alone may do something to a device.
    check(&fs::metadata(path)?)?;
    let file = without_waiting(OpenOptions::new().read(true)).open(path)?;
    // It may have become another one in between.
    let opened = file.metadata()?;
    check(&opened)?;
    Ok((file, opened.len()))
}

/// Sets the option that makes an open return at once.
pub(super) fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

/// Checks that `found` is a regular file.
pub(super) fn check(found: &fs::Metadata) -> io::Result<()> {
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(())
}
