//! This machine: the state folder, the clock, the time zone.

use std::io::ErrorKind;
use std::path::Path;

use kstar_common::disk;
use kstar_common::finding::Finding;
use kstar_common::zone;
use kstar_model::TimeZone;

use crate::pipeline::ledger::lock::StateLock;
use crate::pipeline::stamp::WallClock;

/// With less than this the next log file may fill the disk.
const LITTLE_ROOM: u64 = 50_000_000;

/// Where systemd's own time synchronisation keeps what it knows.
const TIMESYNC: &str = "/run/systemd/timesync";

/// Looks at the state folder, the clock, and the time zone of the configuration. It blocks.
pub fn look(folder: &Path, zone: Option<&TimeZone>, clock: WallClock) -> Vec<Finding> {
    let mut findings = vec![state_folder(folder)];
    findings.extend(other_collector(folder));
    findings.push(clock_by(clock, Path::new(TIMESYNC)));
    findings.push(time_zone(zone));
    findings
}

fn state_folder(folder: &Path) -> Finding {
    let about = "state folder";
    let folder = &std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let place = folder.display();
    if let Err(error) = disk::try_write(folder) {
        let said = format!("{place} cannot be written to: {error}");
        return match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Finding::wrong(about, said, "make room on its disk")
            }
            _ => Finding::wrong(
                about,
                said,
                "let this user write to it, or set `state_dir` to another folder",
            ),
        };
    }
    match disk::room(folder) {
        Ok(room) if room < LITTLE_ROOM => Finding::note(
            about,
            format!("only {} left on the disk of {place}", disk::text(room)),
            "make room on its disk",
        ),
        Ok(room) => Finding::good(
            about,
            format!("{place} is writable, {} left on its disk", disk::text(room)),
        ),
        Err(_) => Finding::good(about, format!("{place} is writable")),
    }
}

/// The collector that runs with the folder, if there is one.
fn other_collector(folder: &Path) -> Option<Finding> {
    // Taking the lock makes a folder that is missing.
    if !folder.is_dir() {
        return None;
    }
    let held = StateLock::take(folder).err()?;
    Some(Finding::note(
        "collector",
        format!(
            "process {} runs with this state folder",
            held.pid.as_deref().unwrap_or("(unknown)")
        ),
        "nothing, if that is your collector; a second one needs a `state_dir` of its own",
    ))
}

fn clock_by(clock: WallClock, timesync: &Path) -> Finding {
    let about = "clock";
    let Some(now) = clock.now() else {
        return Finding::wrong(
            about,
            "it is not set: it shows a time before this program was made",
            "set it, or let it be set by the network: `timedatectl set-ntp true`; readings wait until then",
        );
    };
    if timesync.join("synchronized").exists() {
        Finding::good(about, format!("{now}, synchronised by the network"))
    } else if timesync.is_dir() {
        Finding::note(
            about,
            format!("{now}, not synchronised by the network since the start of this machine"),
            "`timedatectl timesync-status` tells why; a clock that is wrong gives readings a wrong time",
        )
    } else {
        Finding::good(
            about,
            format!("{now}; whether it is synchronised does not show here"),
        )
    }
}

fn time_zone(configured: Option<&TimeZone>) -> Finding {
    let about = "time zone";
    let system = zone::system().ok();
    let now = jiff::Timestamp::now();
    let name = |zone: &TimeZone| zone.iana_name().unwrap_or("one without a name").to_owned();
    match (configured, &system) {
        (Some(ours), Some(theirs)) if ours.to_offset(now) != theirs.to_offset(now) => {
            Finding::note(
                about,
                format!(
                    "days end at midnight of {}, and the system's zone is {}",
                    name(ours),
                    name(theirs)
                ),
                "change `timezone` if that is not meant",
            )
        }
        (Some(zone), _) | (None, Some(zone)) => {
            Finding::good(about, format!("days end at midnight of {}", name(zone)))
        }
        (None, None) => Finding::note(
            about,
            "the system does not tell its time zone, so days end at midnight UTC",
            "set `timezone`, like \"Europe/London\"",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use kstar_common::finding::Verdict;

    use super::*;

    #[test]
    fn a_clock_that_is_not_set_is_wrong_and_one_that_is_may_be_synchronised() {
        let folder = tempfile::tempdir().expect("a folder");
        let timesync = folder.path().join("timesync");
        let unset = clock_by(WallClock(|| UNIX_EPOCH + Duration::from_secs(5)), &timesync);
        assert_eq!(unset.verdict, Verdict::Wrong);
        assert!(unset.fix.expect("a fix").contains("timedatectl set-ntp"));
        let set = || clock_by(WallClock(SystemTime::now), &timesync);
        assert_eq!(set().verdict, Verdict::Good);
        assert!(set().said.contains("does not show"));
        std::fs::create_dir(&timesync).expect("a folder");
        assert_eq!(set().verdict, Verdict::Note);
        std::fs::write(timesync.join("synchronized"), "").expect("a file");
        assert!(set().said.ends_with("synchronised by the network"));
    }
}
