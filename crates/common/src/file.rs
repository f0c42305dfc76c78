//! Files that are replaced as a whole, so that a crash leaves the old one or the new one, and whether a file is still the
//! same one. It blocks.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Puts this in the place of a file. With `sync` it is on the disk for good afterwards, name and all.
pub fn replace(path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    if sync {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) if sync => sync_folder(folder),
        _ => Ok(()),
    }
}

/// Puts the names in a folder on the disk for good. Where the system is not Unix a folder cannot be opened for that, and
/// the system sees to it.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Device and inode: the file itself, whatever name it has.
#[cfg(unix)]
pub type FileId = (u64, u64);

/// Which file has this name.
#[cfg(unix)]
pub fn file_id(path: &Path) -> io::Result<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Elsewhere an open file cannot be taken away, so that it is enough that there is one.
#[cfg(not(unix))]
pub type FileId = ();

/// Which file has this name.
#[cfg(not(unix))]
pub fn file_id(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        for (content, sync) in [("longer than what follows", false), ("new", true)] {
            replace(&path, content.as_bytes(), sync).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::create_dir(folder.path().join("record.new")).unwrap();
        replace(&path, b"lost", true).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }
}
