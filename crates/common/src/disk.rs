//! Disks: whether a folder can be written to, and how much room there is. It blocks.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How much this user can still write to the disk that holds a file or folder, in bytes. Of a place that is not there
/// yet, that of the nearest folder above.
pub fn room(place: &Path) -> io::Result<u64> {
    fs4::available_space(existing(place))
}

/// Makes a file in a folder, writes to it and removes it again. Where the folder is not there yet, in the nearest one
/// above, which it would be made in.
pub fn try_write(folder: &Path) -> io::Result<()> {
    let path = existing(folder).join(format!(".kstar-check-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    let written = file
        .write_all(b"kstar check")
        .and_then(|()| file.sync_all());
    drop::<File>(file);
    std::fs::remove_file(&path).and(written)
}

/// The place itself, or the nearest folder above that is there.
fn existing(place: &Path) -> PathBuf {
    let absolute = std::path::absolute(place).unwrap_or_else(|_| place.to_owned());
    let found = absolute.ancestors().find(|place| place.exists());
    found.map_or(absolute.clone(), Path::to_owned)
}

/// Bytes as people read them: `14.2 GB`.
pub fn text(bytes: u64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB"];
    let mut scale = 1;
    let mut units = units.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if bytes / scale < 1000 {
            break;
        }
        scale *= 1000;
        unit = larger;
    }
    match (scale, bytes / scale) {
        (1, whole) => format!("{whole} {unit}"),
        (_, whole @ ..100) => format!("{whole}.{} {unit}", bytes % scale * 10 / scale),
        (_, whole) => format!("{whole} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_written_to_and_left_as_it_was_also_one_that_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        try_write(folder.path()).unwrap();
        try_write(&folder.path().join("a/b")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(room(&folder.path().join("a/b")).unwrap() > 0);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(try_write(&file).is_err());
    }

    #[test]
    fn bytes_are_read_by_people() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (14_290_000_000, "14.2 GB"),
            (142_900_000, "142 MB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(text(bytes), shown);
        }
    }
}
