//! Where the file is, and whether it is still the same one.

use std::io;
use std::path::{Path, PathBuf};

/// Whether a file may have this path, as far as its text tells.
pub(crate) fn may_be_file(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    path.file_name().is_some() && !text.ends_with(b"/") && !text.contains(&0)
}

/// The write-ahead log of a file.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// A file beside this one, whose name only ends otherwise.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The file and its write-ahead log, if both are there.
pub(crate) fn files(path: &Path) -> Option<[FileId; 2]> {
    Some([file_id(path).ok()?, file_id(&log_of(path)).ok()?])
}

/// Device and inode: the file itself, whatever name it has.
#[cfg(unix)]
pub(crate) type FileId = (u64, u64);

#[cfg(unix)]
fn file_id(path: &Path) -> io::Result<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Elsewhere an open file cannot be taken away, so that it is enough that there is one.
#[cfg(not(unix))]
pub(crate) type FileId = ();

#[cfg(not(unix))]
fn file_id(path: &Path) -> io::Result<FileId> {
    std::fs::metadata(path).map(drop)
}
