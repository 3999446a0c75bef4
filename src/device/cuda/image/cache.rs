//! A cache of compiled kernels on the disk. A checksum makes sure that only whole and unchanged files are used.

use crate::error::{Error, Result};
use crate::file::atomic;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the folder of compiled kernels: `$SFEUOT_CACHE_DIR`, else `sfeuot` in the system's folder for such files
/// (`$XDG_CACHE_HOME` or `~/.cache`; on Windows `%LOCALAPPDATA%`). `None` where none of them is set.
pub(super) fn default_folder() -> Option<PathBuf> {
    folder_by(|name| std::env::var_os(name), cfg!(windows))
}

fn folder_by(variable: impl Fn(&str) -> Option<OsString>, windows: bool) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let system = || {
        if windows {
            return folder("LOCALAPPDATA");
        }
        // Relative ones are to be ignored, says the XDG specification.
        let xdg = folder("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        xdg.or_else(|| Some(folder("HOME")?.join(".cache")))
    };
    folder("SFEUOT_CACHE_DIR").or_else(|| Some(system()?.join("sfeuot")))
}

/// One file of the cache: a checksum of key and image, then the image. Its name is its key.
pub(super) struct Entry {
    path: PathBuf,
    key: u64,
}

const CHECKSUM: usize = size_of::<u64>();

impl Entry {
    /// Returns the entry of the image that a compiler of this version makes of `source` with `options`.
    pub(super) fn new(folder: &Path, source: &str, version: (i32, i32), options: &[String]) -> Self {
        let what = format!("{version:?} {options:?} {source}");
        let key = hash(HASH_OF_NOTHING, what.as_bytes());
        Self { path: folder.join(format!("kernels-{key:016x}.bin")), key }
    }

    /// Returns the image, if it is there and whole.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let mut file = fs::read(&self.path).ok()?;
        let checksum = u64::from_le_bytes(*file.first_chunk::<CHECKSUM>()?);
        let image = file.split_off(CHECKSUM);
        (checksum == self.checksum(&image)).then_some(image)
    }

    /// # Errors
    /// `Error::Io`.
    pub(super) fn write(&self, image: &[u8]) -> Result<()> {
        let folder = self.path.parent().expect("an entry lies in a folder");
        fs::create_dir_all(folder).map_err(|source| Error::Io {
            action: "cannot create the folder",
            path: folder.into(),
            source,
        })?;
        atomic::write(&self.path, |file| {
            file.write_all(&self.checksum(image).to_le_bytes())?;
            file.write_all(image)
        })
    }

    fn checksum(&self, image: &[u8]) -> u64 {
        hash(hash(HASH_OF_NOTHING, &self.key.to_le_bytes()), image)
    }
}

const HASH_OF_NOTHING: u64 = 0xCBF2_9CE4_8422_2325;

/// Continues the FNV-1a hash `state` with these bytes.
fn hash(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(folder: &Path, option: &str) -> Entry {
        Entry::new(folder, "source", (13, 0), &[option.into()])
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("made").join("when needed");
        let image: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
        let ours = entry(&folder, "sm_80");
        assert_eq!(ours.read(), None);
        ours.write(&image).unwrap();
        assert_eq!(ours.read().as_ref(), Some(&image));

        let other = entry(&folder, "sm_90");
        assert_ne!(ours.path, other.path);
        assert_eq!(other.read(), None);
        fs::copy(&ours.path, &other.path).unwrap();
        assert_eq!(other.read(), None, "a file of another key");

        let whole = fs::read(&ours.path).unwrap();
        for length in [0, 1, CHECKSUM - 1, CHECKSUM, CHECKSUM + 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&ours.path, &whole[..length]).unwrap();
            assert_eq!(ours.read(), None, "cut to {length} bytes");
        }
        for at in [0, CHECKSUM - 1, CHECKSUM, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&ours.path, &damaged).unwrap();
            assert_eq!(ours.read(), None, "byte {at} damaged");
        }
        ours.write(&image).unwrap();
        assert_eq!(ours.read(), Some(image));
    }

    #[test]
    fn sources_versions_and_options_have_entries_of_their_own() {
        let of = |source, version, option: &str| Entry::new(Path::new("f"), source, version, &[option.into()]).key;
        let keys = [
            of("source", (13, 0), "sm_80"),
            of("sources", (13, 0), "sm_80"),
            of("source", (13, 1), "sm_80"),
            of("source", (13, 0), "sm_86"),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key));
        }
        assert_eq!(keys[0], of("source", (13, 0), "sm_80"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a file");
        fs::write(&file, "").unwrap();
        let error = entry(&file.join("folder"), "sm_80").write(b"image").unwrap_err().to_string();
        assert!(error.contains("a file"), "{error}");
    }

    #[test]
    fn the_folder_follows_the_environment() {
        let by = |variables: &[(&str, &str)], windows| {
            let value = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
            folder_by(value, windows)
        };
        let path = |path: &str| Some(PathBuf::from(path));
        let all =
            [("SFEUOT_CACHE_DIR", "/own"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/home/a"), ("LOCALAPPDATA", "/app")];
        assert_eq!(by(&all, false), path("/own"));
        assert_eq!(by(&all[1..], false), path("/xdg/sfeuot"));
        assert_eq!(by(&all[2..], false), path("/home/a/.cache/sfeuot"));
        assert_eq!(by(&[("XDG_CACHE_HOME", "relative"), ("HOME", "/home/a")], false), path("/home/a/.cache/sfeuot"));
        assert_eq!(by(&[("SFEUOT_CACHE_DIR", ""), ("XDG_CACHE_HOME", "/xdg")], false), path("/xdg/sfeuot"));
        assert_eq!(by(&all, true), path("/own"));
        assert_eq!(by(&all[1..], true), path("/app/sfeuot"));
        assert_eq!(by(&[], false), None);
        assert_eq!(by(&all[1..3], true), None);
    }
}
