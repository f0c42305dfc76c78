//! Where a command writes to: standard output, or a file that is there as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// A file that is being written, under a temporary name beside the one that it will have.
///
/// What stood under that name stays until the new file is complete; an error or a drop leaves no trace.
pub struct NewFile {
    path: PathBuf,
    /// Absent where the path is a device or a pipe, which nothing may take the place of.
    temporary: Option<PathBuf>,
    writer: BufWriter<File>,
}

impl NewFile {
    /// Begins a file.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        // A link stays one, and what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let is_special = fs::metadata(&path).is_ok_and(|there| !there.is_file());
        let temporary = path.file_name().filter(|_| !is_special).map(|name| {
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}.part", std::process::id()));
            path.with_file_name(hidden)
        });
        let file = match &temporary {
            Some(temporary) => File::create(temporary),
            None => fs::OpenOptions::new().write(true).open(&path),
        };
        let file = file.map_err(|error| cannot_write(&path, &error))?;
        Ok(Self {
            path,
            temporary,
            writer: BufWriter::new(file),
        })
    }

    /// Writes a file that is all there.
    pub fn whole(path: &Path, content: &[u8]) -> Result<(), Failure> {
        let mut file = Self::create(path)?;
        file.write_all(content)
            .map_err(|error| file.failure(&error))?;
        file.complete()
    }

    /// Gives the complete file its name.
    pub fn complete(mut self) -> Result<(), Failure> {
        let done = self.writer.flush().and_then(|()| match &self.temporary {
            Some(temporary) => {
                self.writer.get_ref().sync_all()?;
                fs::rename(temporary, &self.path)
            }
            None => Ok(()),
        });
        done.map_err(|error| cannot_write(&self.path, &error))?;
        self.temporary = None;
        Ok(())
    }

    /// The failure that an error in writing is.
    pub fn failure(&self, error: &io::Error) -> Failure {
        cannot_write(&self.path, error)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What cannot be removed either is left; the error that led here is told already.
            let _ = fs::remove_file(temporary);
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    if path.is_dir() {
        return Failure::Runtime(format!("{} is a folder; name a file in it", path.display()));
    }
    Failure::Runtime(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        fs::write(&path, "old").expect("written");
        let mut file = NewFile::create(&path).expect("a file");
        file.write_all(b"new").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("the old one"), "old");
        file.complete().expect("complete");
        assert_eq!(fs::read_to_string(&path).expect("the new one"), "new");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_file_that_is_given_up_leaves_no_trace() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        let mut file = NewFile::create(&path).expect("a file");
        file.write_all(b"half").expect("written");
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = NewFile::create(Path::new("/no/such/folder/a.csv"))
            .err()
            .expect("no folder");
        assert!(
            error.to_string().contains("/no/such/folder/a.csv"),
            "{error}"
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_device_is_written_to_and_not_replaced() {
        let path = Path::new("/dev/null");
        let mut file = NewFile::create(path).expect("a device");
        file.write_all(b"gone").expect("written");
        file.complete().expect("complete");
        assert!(!fs::metadata(path).expect("still there").is_file());
    }
}
