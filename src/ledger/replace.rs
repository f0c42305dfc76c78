//! Files that are replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Puts a text in the place of a file, so that there is always a whole one.
pub(super) fn replace(path: &Path, text: &str, sync: bool) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    if sync {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&new, path)?;
    if sync && let Some(folder) = path.parent() {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Elsewhere a folder cannot be opened to be synced, and the system sees to it.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
