//! Where the file is, and whether it is still the same one.

use std::path::{Path, PathBuf};

use kstar_common::file::{FileId, file_id};
use kstar_common::sqlite_file::beside;

/// Whether a file may have this path, as far as its text tells.
pub fn may_be_file(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    path.file_name().is_some() && !text.ends_with(b"/") && !text.contains(&0)
}

/// The write-ahead log of a file.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The file and its write-ahead log, if both are there.
pub(crate) fn files(path: &Path) -> Option<[FileId; 2]> {
    Some([file_id(path).ok()?, file_id(&log_of(path)).ok()?])
}

/// Which other processes hold locks on the file or on the index of its write-ahead log, if the system tells.
#[cfg(target_os = "linux")]
pub fn holders(path: &Path) -> Option<Vec<String>> {
    use std::os::unix::fs::MetadataExt as _;
    let files: Vec<u64> = [path.to_owned(), beside(path, "-shm")]
        .iter()
        .filter_map(|path| Some(std::fs::metadata(path).ok()?.ino()))
        .collect();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let mut holders: Vec<u32> = locks
        .lines()
        .filter_map(|line| {
            // `1: POSIX  ADVISORY  WRITE 3568 08:01:1311 0 EOF`: process, then device and inode.
            let mut words = line.split_whitespace().skip(4);
            let (process, file) = (words.next()?.parse().ok()?, words.next()?);
            let inode = file.rsplit(':').next()?.parse().ok()?;
            files.contains(&inode).then_some(process)
        })
        .filter(|process| *process != std::process::id())
        .collect();
    holders.sort_unstable();
    holders.dedup();
    let named = holders.iter().map(|process| {
        let name = std::fs::read_to_string(format!("/proc/{process}/comm"));
        match name {
            Ok(name) => format!("process {process} ({})", name.trim_end()),
            Err(_) => format!("process {process}"),
        }
    });
    Some(named.collect())
}

/// The same where the system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn holders(_path: &Path) -> Option<Vec<String>> {
    None
}

/// Whether another process of this program has the file open, as far as the system tells.
pub(crate) fn is_open_in_another_of_us(path: &Path) -> bool {
    let Ok(name) = std::fs::read_to_string("/proc/self/comm") else {
        return false;
    };
    let ours = format!("({})", name.trim_end());
    let holders = holders(path).unwrap_or_default();
    holders.iter().any(|holder| holder.ends_with(&ours))
}
