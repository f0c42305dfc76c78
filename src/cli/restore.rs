//! `kstar restore`: a backup put in the place of the history.

use std::future::Future;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::Args;
use kstar_history::{Restored, restore};

use super::backup::{is_same, not_a_folder};
use super::shared::background::{flow, in_background};
use super::shared::failure::Failure;
use super::shared::progress::Progress;
use super::shared::stored::HistoryArgs;

/// What `kstar restore` can be told.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The backup, as `kstar backup` has made it
    #[arg(value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    history: HistoryArgs,
}

/// Restores until done or stopped.
pub async fn run(args: RestoreArgs, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    in_background(shutdown, move |stop| put_back(&args, stop)).await
}

fn put_back(args: &RestoreArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let (from, to) = (&args.from, args.history.file()?);
    not_a_folder(from)?;
    if is_same(from, &to) {
        return Err(Failure::Usage(format!(
            "{} is the history itself; name a backup",
            from.display()
        )));
    }
    let progress = Progress::new("restoring", 100);
    let restored = restore(from, &to, &mut |done, total| {
        progress.advance_to(done.saturating_mul(100) / total.max(1));
        flow(stop)
    });
    drop(progress);
    let aside = match restored? {
        Restored::BrokenOff => {
            let message = "stopped; everything is as it was";
            return Err(Failure::Runtime(message.to_owned()));
        }
        Restored::Complete(aside) => aside,
    };
    let mut out = io::stdout();
    writeln!(
        out,
        "{} restored to {}, and checked",
        from.display(),
        to.display()
    )?;
    if let Some(aside) = aside {
        writeln!(
            out,
            "what was there is now {}; delete it once all is well",
            aside.display()
        )?;
    }
    Ok(())
}
