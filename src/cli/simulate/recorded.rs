//! What is played in place of what is simulated: files of datagrams, or a recording of `kstar record`.

use clap::ValueEnum;
use kstar_simulator::encode::Request;
use kstar_simulator::modbus::playback::Playback;
use kstar_simulator::replay::Replay;

use super::modbus::ViaName;
use super::{FamilyName, SimulateArgs};
use crate::cli::shared::failure::Failure;
use crate::cli::shared::recording::Recording;

/// What is played.
pub(super) enum Played {
    /// Nothing: all is simulated.
    Nothing,
    /// Datagrams of AA55.
    Aa55(Replay),
    /// A machine that speaks Modbus.
    Modbus(Machine),
}

/// A recorded machine.
#[derive(Clone)]
pub(super) struct Machine {
    pub(super) family: FamilyName,
    pub(super) via: Option<ViaName>,
    pub(super) unit: Option<u8>,
    pub(super) playback: Playback,
}

/// Reads what the arguments name.
pub(super) fn read(args: &SimulateArgs) -> Result<Played, Failure> {
    let recording = match args.replay.as_slice() {
        [] => return Ok(Played::Nothing),
        [one] if Recording::is_one(one) => Recording::read(one)?,
        paths if paths.iter().any(|path| Recording::is_one(path)) => {
            let problem = "a recording of `kstar record` is played alone; name one file";
            return Err(Failure::Usage(problem.to_owned()));
        }
        paths => {
            let read = Replay::read(paths);
            let replay = read.map_err(|error| Failure::Runtime(error.to_string()))?;
            return Ok(Played::Aa55(if args.readdress {
                replay.readdressed()
            } else {
                replay
            }));
        }
    };
    let header = &recording.header;
    let known = FamilyName::from_str(&header.family, false);
    let family = known.map_err(|_| {
        Failure::Runtime(format!(
            "the recording is of the family `{}`, which cannot be simulated",
            header.family
        ))
    })?;
    if args.family != FamilyName::default() && args.family != family {
        let problem = format!("the recording is of the family {}", header.family);
        return Err(Failure::Usage(problem + "; leave out --family"));
    }
    if family == FamilyName::Kse {
        let replay = aa55(&recording);
        let replay = replay.ok_or_else(|| nothing("no running data"))?;
        // Anyone who asks it now need not ask as it was asked then.
        return Ok(Played::Aa55(replay.readdressed()));
    }
    let mut playback = Playback::default();
    for reply in recording.replies() {
        playback.add(&reply.request, reply.reply.as_deref().unwrap_or_default());
    }
    if playback.is_empty() {
        return Err(nothing("no reply"));
    }
    let via = header.via.as_deref();
    Ok(Played::Modbus(Machine {
        family,
        via: via.and_then(|via| ViaName::from_str(via, false).ok()),
        unit: header.unit,
        playback,
    }))
}

fn nothing(what: &str) -> Failure {
    Failure::Runtime(format!(
        "the recording holds {what}; there is nothing to play"
    ))
}

/// The frames of each request; of those that hardly change the last one.
fn aa55(recording: &Recording) -> Option<Replay> {
    let mut running = Vec::new();
    let mut others = Vec::new();
    for reply in recording.replies() {
        let Some((request, _)) = Request::parse(&reply.request) else {
            continue;
        };
        let Some(datagram) = reply.reply else {
            continue;
        };
        match request {
            Request::Running => running.push(datagram),
            other => others.push((other, datagram)),
        }
    }
    Some(Replay::of(running)?.with(others))
}
