//! A look at the file for somebody who waits: whether it is ours, whole and free, and for how long the disk has room.
//! It blocks. Nothing in the file is changed, and a collector that writes to it just now goes on.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use kstar_common::disk;
use kstar_common::finding::Finding;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::apart::apart_of;
use crate::failure::Failure;
use crate::place::holders;
use crate::retention::KeepFor;
use crate::schema;
use crate::settings::Settings;
use crate::widen::inverters;

/// How long another program's lock is waited for: longer than a collector needs for a batch.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How long the file is looked through for damage.
const READING_PATIENCE: Duration = Duration::from_secs(5);

/// What a reading of a KSE takes of the disk with its share of the sums, as `tests/size.rs` measures it.
const READING_BYTES: u64 = 138;

/// Less room than for so many days is worth a word.
const FEW_DAYS: u64 = 30;

/// Looks at the file. For how long there is room follows from how long readings of how many inverters are kept, and from
/// the time between two.
pub fn look(path: &Path, kept: KeepFor, inverters: usize, poll_interval: Duration) -> Vec<Finding> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut findings = if path.is_dir() {
        vec![Finding::wrong(
            "file",
            format!("{} is a folder", path.display()),
            format!("name a file in it, like {}/history.db", path.display()),
        )]
    } else if path.exists() {
        look_into(&path)
    } else {
        vec![look_at_folder(&path)]
    };
    findings.extend(room(&path, kept, inverters, poll_interval));
    findings
}

fn look_at_folder(path: &Path) -> Finding {
    let folder = path.parent().unwrap_or(path);
    match disk::try_write(folder) {
        Ok(()) => Finding::good(
            "file",
            format!("{} is not there yet and can be made", path.display()),
        ),
        Err(error) => Finding::wrong(
            "file",
            format!("{} cannot be made: {error}", path.display()),
            format!(
                "let this user write to {}, or set another `path`",
                folder.display()
            ),
        ),
    }
}

fn look_into(path: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(failure) = look_deeper(path, &mut findings) {
        findings.push(if failure.is_lock() {
            let holders = processes(&holders(path).unwrap_or_default());
            Finding::wrong(
                "lock",
                format!("{} is locked by {holders}", path.display()),
                "end that program or wait for it",
            )
        } else {
            Finding::failed("file", &failure.explain(path))
        });
    }
    findings
}

fn look_deeper(path: &Path, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_PATIENCE)?;
    let version = schema::OWNER.check(&connection)?;
    if connection.is_readonly("main")? {
        return Err(Failure::read_only());
    }
    // Takes the right to write, as a batch does, and gives it back.
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?;
    let known = if connection.table_exists(None, "inverter")? {
        inverters(&connection)?.len()
    } else {
        0
    };
    let size = std::fs::metadata(path).map_or(0, |file| file.len());
    findings.push(Finding::good(
        "file",
        format!(
            "{} is writable and ours (schema {version}), {} of {known} {}",
            path.display(),
            disk::text(size),
            if known == 1 { "inverter" } else { "inverters" },
        ),
    ));
    if version == schema::OWNER.version {
        for (_, apart) in apart_of(&connection, Settings::read(&connection)?.apart)? {
            let (first, last) = apart.span;
            findings.push(Finding::note(
                "clock",
                format!(
                    "{} readings of {} came when the clock was wrong ({first} to {last}) and are set apart",
                    apart.readings, apart.inverter
                ),
                "look at `kstar history repair`",
            ));
        }
    }
    findings.push(whole(&connection, path)?);
    drop(connection);
    let holders = holders(path).unwrap_or_default();
    findings.push(Finding::good(
        "lock",
        if holders.is_empty() {
            "no other program has it open".to_owned()
        } else {
            format!("also open in {}, which hinders nobody", processes(&holders))
        },
    ));
    Ok(())
}

/// Whether the file is whole, as far as that shows within the time.
fn whole(connection: &Connection, path: &Path) -> Result<Finding, Failure> {
    let interrupt = connection.get_interrupt_handle();
    let (done, waiting) = sync_channel::<()>(0);
    std::thread::spawn(move || {
        if waiting.recv_timeout(READING_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let checked = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    drop(done);
    match checked {
        Ok(said) if said == "ok" => Ok(Finding::good("integrity", "no damage found")),
        Ok(said) => Ok(Finding::wrong(
            "integrity",
            format!("{} is damaged: {}", path.display(), said.replace('\n', " ")),
            format!(
                "stop the collector, move the file away, and save what can be read with `sqlite3 {} .recover`",
                path.display()
            ),
        )),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(Finding::good(
                "integrity",
                "no damage found in the first seconds; `PRAGMA integrity_check` looks at all of it",
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// How long the room on the disk lasts.
fn room(path: &Path, kept: KeepFor, inverters: usize, poll_interval: Duration) -> Option<Finding> {
    let room = disk::room(path).ok()?;
    let inverters = inverters.max(1);
    let interval = poll_interval.max(Duration::from_millis(1));
    let a_day = Duration::from_secs(86_400).as_millis() / interval.as_millis();
    let a_day = u64::try_from(a_day).unwrap_or(u64::MAX).max(1);
    let a_day = a_day.saturating_mul(READING_BYTES * inverters as u64);
    let days = room / a_day;
    if let KeepFor::Span(kept) = kept
        && let kept = kept.as_secs() / 86_400
        && days > kept.max(FEW_DAYS)
    {
        return Some(Finding::good(
            "space",
            format!(
                "{} left on its disk; the {kept} days of readings that are kept take about {}",
                disk::text(room),
                disk::text(a_day.saturating_mul(kept))
            ),
        ));
    }
    let said = format!(
        "{} left on its disk, at {} a day about {}",
        disk::text(room),
        disk::text(a_day),
        match days {
            0 => "less than a day".to_owned(),
            1..730 => format!("{days} days"),
            // Nobody plans further ahead.
            _ => format!("{} years", (days / 365).min(100)),
        }
    );
    Some(match days {
        0 => Finding::wrong(
            "space",
            said,
            "make room, or set `path` to a file on a larger disk",
        ),
        1..FEW_DAYS => Finding::note(
            "space",
            said,
            "make room, raise `poll_interval`, or set `path` to a file on a larger disk",
        ),
        _ => Finding::good("space", said),
    })
}

fn processes(holders: &[String]) -> String {
    if holders.is_empty() {
        return "another program".to_owned();
    }
    holders.join(", ")
}
