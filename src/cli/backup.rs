//! `kstar backup`: a copy of the history, also while a collector writes it.

use std::future::Future;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use jiff::Timestamp;
use kstar_history::{Backup, History};

use super::shared::args::from_one_on;
use super::shared::background::{flow, in_background};
use super::shared::failure::Failure;
use super::shared::progress::Progress;
use super::shared::stored::HistoryArgs;

/// What a copy in a folder is called: by the time at which it was made.
const NAME: &str = "kstar-%Y-%m-%dT%H%M%SZ.db";

/// What `kstar backup` can be told.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// The copy, which must not be there yet
    #[arg(value_name = "FILE", required_unless_present = "into")]
    to: Option<PathBuf>,
    /// Replace FILE if it is there
    #[arg(long)]
    force: bool,
    /// Make a copy in this folder, named by the present time, and delete the oldest ones there
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["to", "force"])]
    into: Option<PathBuf>,
    /// How many copies stay in the folder
    #[arg(long, value_name = "NUMBER", default_value = "14", requires = "into", value_parser = from_one_on::<NonZeroUsize>)]
    keep: NonZeroUsize,
    #[command(flatten)]
    history: HistoryArgs,
}

/// Copies until done or stopped.
pub async fn run(args: BackupArgs, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    in_background(shutdown, move |stop| backup(&args, stop)).await
}

fn backup(args: &BackupArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let from = args.history.file()?;
    let Some(folder) = &args.into else {
        let to = args.to.as_deref().unwrap_or(Path::new(""));
        return copy(&from, to, args.force, stop);
    };
    std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    let name = Timestamp::now().strftime(NAME).to_string();
    copy(&from, &folder.join(name), false, stop)?;
    // Only once there is a new one.
    delete_oldest(folder, args.keep.get()).map_err(|error| cannot_write(folder, &error))
}

fn copy(from: &Path, to: &Path, force: bool, stop: &AtomicBool) -> Result<(), Failure> {
    not_a_folder(to)?;
    if to.exists() && !force {
        return Err(Failure::Usage(format!(
            "{} is there already; name another file, or replace it with --force",
            to.display()
        )));
    }
    if is_same(from, to) {
        return Err(Failure::Usage(format!(
            "{} is the history itself; name another file",
            to.display()
        )));
    }
    let history = History::open(from)?;
    let failed = |error: io::Error| cannot_write(to, &error);
    // Under another name until it is whole. In the same folder, since a rename cannot leave its disk.
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = to.with_file_name(name);
    remove(&part).map_err(failed)?;
    let progress = Progress::new("copying", 100);
    let copied = history.backup(&part, &mut |done, total| {
        progress.advance_to(done.saturating_mul(100) / total.max(1));
        flow(stop)
    });
    drop(progress);
    match copied {
        Ok(Backup::Complete) => std::fs::rename(&part, to).map_err(failed)?,
        Ok(Backup::BrokenOff) => {
            remove(&part).map_err(failed)?;
            return Err(Failure::Runtime("stopped; nothing was written".to_owned()));
        }
        Err(error) => {
            remove(&part).map_err(failed)?;
            return Err(error.into());
        }
    }
    let size = std::fs::metadata(to).map_err(failed)?.len();
    writeln!(
        io::stdout(),
        "{} copied to {}, {size} bytes, and checked",
        from.display(),
        to.display()
    )?;
    Ok(())
}

/// Deletes all but the newest copies of a folder. Whatever has another name is not ours and stays.
fn delete_oldest(folder: &Path, keep: usize) -> io::Result<()> {
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(is_copy) {
            copies.push(path);
        }
    }
    // The names sort as the times do.
    copies.sort();
    let old = copies.len().saturating_sub(keep);
    for copy in copies.into_iter().take(old) {
        std::fs::remove_file(&copy)?;
        writeln!(io::stdout(), "{} deleted: {keep} are kept", copy.display())?;
    }
    Ok(())
}

fn is_copy(name: &str) -> bool {
    jiff::fmt::strtime::parse(NAME, name).is_ok()
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Runtime(format!("cannot write {}: {error}", path.display()))
}

/// Fails where a folder is named in place of a file.
pub(super) fn not_a_folder(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure::Usage(format!(
            "{} is a folder; name a file in it",
            path.display()
        )));
    }
    Ok(())
}

/// Removes what an earlier copy has left, if anything.
fn remove(part: &Path) -> io::Result<()> {
    match std::fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    place(one).is_some_and(|one| place(other) == Some(one))
}
