//! A file that one process at a time holds locked, with the process id in it. The lock goes with the process, however that
//! ends; the file goes with it too, unless the process was killed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A file that one process at a time holds; dropping it gives it back.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
}

/// Another process holds it.
#[derive(Debug)]
pub struct Holder {
    /// Its process id, if it has written that.
    pub pid: Option<String>,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // While it is still locked: anyone who has opened it meanwhile then finds that it is not the one at its place.
        // A file of another user stays, as does one that someone has put there instead.
        if cfg!(unix) && is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl LockFile {
    /// Takes it, which is made if it is missing; where there can be no lock, that is logged, and `None`. Blocks.
    pub fn take(path: PathBuf) -> Result<Option<Self>, Holder> {
        let mut file = loop {
            let mut file = match open(&path) {
                Ok(file) => file,
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "no lock file; going on without");
                    return Ok(None);
                }
            };
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => break file,
                // Its last holder has removed it between our opening and locking it.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut pid = String::new();
                    let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
                    return Err(Holder {
                        pid: known.then(|| pid.trim().to_owned()),
                    });
                }
                Err(TryLockError::Error(error)) => {
                    tracing::debug!(path = %path.display(), %error, "no locks on this file system; going on without");
                    return Ok(None);
                }
            }
        };
        let_everybody_look(&file);
        // Only for the message that others show; a file of another user holds the lock just as well.
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::debug!(path = %path.display(), %error, "cannot write the process id into the lock file");
        }
        Ok(Some(Self { file, path }))
    }
}

/// Who cannot open the file cannot see that it is locked, so it is for everybody to read, whatever the umask of a
/// service keeps to itself.
#[cfg(unix)]
fn let_everybody_look(file: &File) {
    use std::os::unix::fs::PermissionsExt as _;
    // A file of another user stays as that one has made it.
    let _ = file.set_permissions(std::fs::Permissions::from_mode(0o644));
}

#[cfg(not(unix))]
fn let_everybody_look(_file: &File) {}

/// Whether the file at that place is this one.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => id(ours) == id(there),
        _ => false,
    }
}

/// Elsewhere the file is never removed.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

/// Opens a lock file, which is made if it is missing. Its folder may be for everybody, so that it could be a link to a file
/// of somebody else, which must not be emptied, or something that hangs anyone who opens it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    not_elsewhere(&mut options);
    let for_reading = options.clone();
    let for_writing = options.write(true).create(true).truncate(false).open(path);
    let file = for_writing.or_else(|error| for_reading.open(path).map_err(|_| error))?;
    if is_another(&file.metadata()?) {
        return Err(io::Error::other(
            "it is no plain file, or has another name as well",
        ));
    }
    Ok(file)
}

/// Follows no link, and does not wait for anyone who has the other end of a pipe.
#[cfg(unix)]
fn not_elsewhere(options: &mut OpenOptions) {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed());
}

#[cfg(not(unix))]
fn not_elsewhere(_options: &mut OpenOptions) {}

#[cfg(unix)]
fn is_another(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    !metadata.is_file() || metadata.nlink() > 1
}

#[cfg(not(unix))]
fn is_another(metadata: &std::fs::Metadata) -> bool {
    !metadata.is_file()
}
