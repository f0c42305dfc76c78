//! `kstar backup`: a copy of the history, also while a collector writes it.

use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use kstar_history::{Backup, History};

use super::shared::background::{flow, in_background};
use super::shared::failure::Failure;
use super::shared::progress::Progress;
use super::shared::stored::HistoryArgs;

/// What `kstar backup` can be told.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// The copy, which must not be there yet
    #[arg(value_name = "FILE")]
    to: PathBuf,
    /// Replace FILE if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    history: HistoryArgs,
}

/// Copies until done or stopped.
pub async fn run(args: BackupArgs, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    in_background(shutdown, move |stop| backup(&args, stop)).await
}

fn backup(args: &BackupArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let (from, to) = (args.history.file()?, &args.to);
    if to.is_dir() {
        return Err(Failure::Usage(format!(
            "{} is a folder; name a file in it",
            to.display()
        )));
    }
    if to.exists() && !args.force {
        return Err(Failure::Usage(format!(
            "{} is there already; name another file, or replace it with --force",
            to.display()
        )));
    }
    if is_same(&from, to) {
        return Err(Failure::Usage(format!(
            "{} is the history itself; name another file",
            to.display()
        )));
    }
    let history = History::open(&from)?;
    let failed =
        |error: io::Error| Failure::Runtime(format!("cannot write {}: {error}", to.display()));
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

/// Removes what an earlier copy has left, if anything.
fn remove(part: &Path) -> io::Result<()> {
    match std::fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    place(one).is_some_and(|one| place(other) == Some(one))
}
