//! Files that are replaced as a whole: a crash leaves the old one or the new one. It blocks.

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
