//! `kstar record`: everything that an inverter tells, as a file for the people who teach this program to read it.
//!
//! What tells whose inverter it is does not reach the file; see `private`.

use std::future::Future;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use clap::Args;
use kstar_common::setting::duration;
use kstar_common::wrapping::visible;
use kstar_model::time::UnixMillis;
use kstar_source::error::NoAnswer;
use kstar_source::greeting::GREETINGS;
use kstar_source::recording::{Anatomy, Heard, What};
use kstar_source::source::{AnySource, Block, Source};
use kstar_source::way::KeyValue;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::read::lock;
use super::shared::args::{InverterArgs, OpenedToRecord};
use super::shared::failure::Failure;
use super::shared::recording::{Bytes, Exchange, Header, PassedOver};
use crate::registry::Family;
use private::Replacements;

mod private;

/// What `kstar record` can be told.
#[derive(Args, Clone, Debug)]
pub struct RecordArgs {
    #[command(flatten)]
    inverter: InverterArgs,
    /// The file to write; it must not exist
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How many polls
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    polls: u16,
    /// Ask even though a running collector polls the inverter
    #[arg(long)]
    force: bool,
}

/// Records until all is asked or `shutdown` ends, and writes the file.
pub async fn run(
    args: RecordArgs,
    notes: &mut impl Write,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let path = args.output.display();
    let cannot_write = |error: io::Error| {
        let way_out = match error.kind() {
            _ if args.output.is_dir() => "; it is a folder: name a file in it with -o",
            io::ErrorKind::AlreadyExists => "; it stays as it is: name another file with -o",
            _ => "",
        };
        Failure::Runtime(format!("cannot write {path}: {error}{way_out}"))
    };
    // Before minutes of asking.
    let mut file = std::fs::File::create_new(&args.output).map_err(cannot_write)?;
    let recorded = record(&args, notes, shutdown).await;
    let written = recorded.and_then(|recorded| {
        file.write_all(&recorded.text).map_err(cannot_write)?;
        Ok(recorded)
    });
    match written {
        Ok(recorded) => {
            recorded.tell(&args, notes)?;
            Ok(())
        }
        Err(failure) => {
            drop(file);
            // Nothing of worth is in it.
            std::fs::remove_file(&args.output).map_err(cannot_write)?;
            Err(failure)
        }
    }
}

/// What goes into the file, and what was kept out of it.
struct Recorded {
    text: Vec<u8>,
    exchanges: usize,
    replacements: Replacements,
}

impl Recorded {
    /// Says what was replaced, to the owner alone, and what to do with the file.
    fn tell(&self, args: &RecordArgs, notes: &mut impl Write) -> std::io::Result<()> {
        let path = args.output.display();
        writeln!(
            notes,
            "{path} holds {} exchanges. Replaced in it:",
            self.exchanges
        )?;
        for (what, from, to) in self.replacements.shown() {
            writeln!(notes, "  {what}: {} -> {to}", visible(from))?;
        }
        writeln!(
            notes,
            "`kstar explain --recording {path}` shows what it says. To send it, open an issue of the kind \"Inverter\" and \
             attach the file and a photo of the inverter's display; see docs/recordings.md."
        )
    }
}

async fn record(
    args: &RecordArgs,
    notes: &mut impl Write,
    shutdown: impl Future<Output = ()>,
) -> Result<Recorded, Failure> {
    let OpenedToRecord {
        family,
        config,
        context,
    } = args.inverter.open_to_record().await?;
    let counts = std::sync::Arc::new(config.counts().with_bytes());
    let every = context.interval;
    let mut source = config.open(&context, std::sync::Arc::clone(&counts));
    let failed = |reason: NoAnswer| Failure::Runtime(reason.to_string());
    let line = source.locate().await.map_err(failed)?;
    let _lock = if args.force {
        None
    } else {
        lock(line.address).await?
    };
    writeln!(
        notes,
        "recording {} at {line}: {} polls, one each {}; Ctrl-C ends it sooner",
        family.name(),
        args.polls,
        duration::text(every)
    )?;
    // Other inverters answer a broadcast as well; they are nobody's business.
    counts.take_heard();
    let (began, time) = (Instant::now(), SystemTime::now());
    let mut heard = Vec::new();
    let asked = ask_all(&mut *source, args.polls, every, context.patience, || {
        heard.extend(counts.take_heard());
    });
    let mut shutdown = pin!(shutdown);
    let outcome = tokio::select! {
        outcome = asked => outcome,
        () = &mut shutdown => Ok(()),
    };
    heard.extend(counts.take_heard());
    // What came and was no reply may be just what somebody must see.
    let is_silent = heard.iter().all(|heard| heard.what == What::Sent);
    match outcome {
        Err(reason) if is_silent => return Err(failed(reason)),
        Err(reason) => {
            tracing::warn!(%reason, "there are no values; recording what came all the same");
        }
        Ok(()) if is_silent => {
            return Err(Failure::Runtime("stopped before anything came".to_owned()));
        }
        Ok(()) => {}
    }
    let clock = Clock { began, time };
    let config = turned_out(&*source, family)?.unwrap_or(config);
    let mut replacements = Replacements::default();
    if let IpAddr::V4(address) = line.address.ip() {
        replacements.add_address(address);
    }
    write(&config, family.name(), &heard, clock, replacements)
}

/// How the inverter is reached, if that is another way than the configured one.
fn turned_out(source: &dyn Source, family: Family) -> Result<Option<AnySource>, Failure> {
    let keys = source.turned_out().map(|keys| {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        keys.join("\n")
    });
    let turned_out = keys.map(|keys| family.with_keys(&keys)).transpose();
    turned_out.map_err(Failure::Runtime)
}

/// Asks for everything once, then for values as often as is wanted. A poll that is lost is part of the recording.
async fn ask_all(
    source: &mut dyn Source,
    polls: u16,
    every: Duration,
    patience: kstar_source::exchange::Patience,
    mut after_each: impl FnMut(),
) -> Result<(), NoAnswer> {
    source.survey(patience).await?;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    for poll in 1..polls {
        after_each();
        ticks.tick().await;
        if let Err(reason) = source.poll().await {
            tracing::warn!(poll, %reason, "a poll is lost");
        }
    }
    Ok(())
}

/// The time of day at a moment.
#[derive(Clone, Copy)]
struct Clock {
    began: Instant,
    time: SystemTime,
}

impl Clock {
    fn text(self, at: Instant) -> String {
        let since = at.saturating_duration_since(self.began);
        UnixMillis::from(self.time + since).to_string()
    }
}

/// What the exchange of a greeting is called, as if it were a block.
const GREETED: &str = "greeting";

/// A request that waits for its reply.
struct Asked {
    block: &'static str,
    request: Vec<u8>,
    at: Instant,
}

impl Asked {
    /// What a frame asks for.
    fn of(blocks: &[Block], sent: &Heard) -> Option<Self> {
        let bytes = &sent.bytes;
        let is_in_it =
            |request: &[u8]| bytes.windows(request.len()).any(|window| window == request);
        let block = blocks.iter().find(|block| is_in_it(&block.request));
        let known = block.map(|block| (block.name, block.request.clone()));
        let greeted = || {
            let greeting = GREETINGS.into_iter().find(|greeting| is_in_it(greeting));
            greeting.map(|greeting| (GREETED, greeting.to_vec()))
        };
        let (block, request) = known.or_else(greeted)?;
        let at = sent.at;
        Some(Self { block, request, at })
    }
}

/// Puts what was heard into lines, with everything replaced in them.
fn write(
    config: &AnySource,
    family: &str,
    heard: &[Heard],
    clock: Clock,
    mut replacements: Replacements,
) -> Result<Recorded, Failure> {
    let blocks = config.blocks();
    // All of it first: the first polls hold what only a later reply names.
    let mut anatomies = Vec::new();
    let mut request = Vec::new();
    for one in heard {
        let mut anatomy = Anatomy::default();
        if one.what == What::Sent {
            let asked = Asked::of(&blocks, one);
            request = asked.map(|asked| asked.request).unwrap_or_default();
        } else {
            anatomy = config.anatomy(&request, &one.bytes);
            replacements.learn(&one.bytes, &anatomy);
        }
        anatomies.push(anatomy);
    }
    let mut text = Vec::new();
    put(&mut text, &header(config, family, clock))?;
    let mut waiting: Option<Asked> = None;
    let mut exchanges = 0;
    for (one, anatomy) in heard.iter().zip(&anatomies) {
        let is_reply = one.what == What::Accepted;
        let bytes = replacements.replaced(&one.bytes, anatomy, is_reply);
        match one.what {
            What::Sent => {
                if let Some(asked) = waiting.take() {
                    exchanges += 1;
                    put(&mut text, &exchange(asked, None, clock))?;
                }
                waiting = Asked::of(&blocks, one);
            }
            What::Accepted => {
                let Some(asked) = waiting.take() else {
                    continue;
                };
                // The greeting's answer has no framing.
                let whole = (asked.block == GREETED).then_some(0..bytes.len());
                let payload = whole.or_else(|| anatomy.payload.clone());
                let reply = payload
                    .and_then(|payload| bytes.get(payload))
                    .map(<[u8]>::to_vec);
                exchanges += 1;
                put(
                    &mut text,
                    &exchange(asked, Some((one.at, reply, bytes)), clock),
                )?;
            }
            What::Rejected(reason) => {
                let line = PassedOver {
                    time: clock.text(one.at),
                    passed_over: reason.to_owned(),
                    bytes: Bytes(bytes),
                };
                put(&mut text, &line)?;
            }
        }
    }
    if let Some(asked) = waiting {
        exchanges += 1;
        put(&mut text, &exchange(asked, None, clock))?;
    }
    Ok(Recorded {
        text,
        exchanges,
        replacements,
    })
}

fn put(text: &mut Vec<u8>, line: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

/// A reply: when it came, what it says, and the whole frame.
type Came = (Instant, Option<Vec<u8>>, Vec<u8>);

fn exchange(asked: Asked, came: Option<Came>, clock: Clock) -> Exchange {
    let time = clock.text(asked.at);
    let (took, reply, frame) = match came {
        Some((at, reply, frame)) => {
            let took = at.saturating_duration_since(asked.at).as_millis();
            (u64::try_from(took).ok(), reply, Some(frame))
        }
        None => (None, None, None),
    };
    Exchange {
        time,
        block: asked.block.to_owned(),
        request: Bytes(asked.request),
        reply: reply.map(Bytes),
        frame: frame.map(Bytes),
        took,
    }
}

/// The first line. The serial number of a stick is a key of the configuration too, and does not belong there.
fn header(config: &AnySource, family: &str, clock: Clock) -> Header {
    let keys = config.keys();
    let value = |name| {
        keys.iter()
            .find(|key| key.name == name)
            .map(|key| key.value)
    };
    Header {
        kstar_recording: Header::VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        family: family.to_owned(),
        via: match value("via") {
            Some(KeyValue::Word(via)) => Some(via.to_owned()),
            _ => None,
        },
        unit: match value("unit") {
            Some(KeyValue::Number(unit)) => u8::try_from(unit).ok(),
            _ => None,
        },
        ap_address: match value("ap_address") {
            Some(KeyValue::Byte(address)) => Some(address),
            _ => None,
        },
        time: clock.text(clock.began),
    }
}
