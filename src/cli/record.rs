//! `kstar record`: everything that an inverter tells, as a file for the people who teach this program to read it.
//!
//! What tells whose inverter it is does not reach the file; see [`private`].

use std::future::Future;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use clap::Args;
use kstar_common::setting::duration;
use kstar_model::time::UnixMillis;
use kstar_source::error::NoAnswer;
use kstar_source::greeting::GREETINGS;
use kstar_source::recording::{Anatomy, Heard, What};
use kstar_source::source::{AnySource, Source};
use kstar_source::way::KeyValue;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::read::lock;
use super::shared::args::{InverterArgs, OpenedToRecord};
use super::shared::failure::Failure;
use super::shared::recording::{Bytes, Exchange, Header, PassedOver};
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
pub async fn run(args: RecordArgs, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    let path = args.output.display();
    let cannot_write = |error| Failure::Runtime(format!("cannot write {path}: {error}"));
    // Before minutes of asking.
    let mut file = std::fs::File::create_new(&args.output).map_err(cannot_write)?;
    let recorded = record(&args, shutdown).await;
    let written = recorded.and_then(|recorded| {
        file.write_all(&recorded.text).map_err(cannot_write)?;
        Ok(recorded)
    });
    match written {
        Ok(recorded) => {
            recorded.tell(&args);
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
    fn tell(&self, args: &RecordArgs) {
        let path = args.output.display();
        eprintln!("{path} holds {} exchanges. Replaced in it:", self.exchanges);
        for (what, from, to) in self.replacements.shown() {
            eprintln!("  {what}: {from} -> {to}");
        }
        eprintln!(
            "`kstar explain --recording {path}` shows what it says. To send it, open an issue of the kind \"Inverter\" and \
             attach the file and a photo of the inverter's display; see docs/recordings.md."
        );
    }
}

async fn record(
    args: &RecordArgs,
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
    eprintln!(
        "recording {} at {line}: {} polls, one each {}; Ctrl-C ends it sooner",
        family.name(),
        args.polls,
        duration::text(every)
    );
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
    if let Err(reason) = outcome {
        // What came and was no reply may be just what somebody must see.
        if heard.iter().all(|heard| heard.what == What::Sent) {
            return Err(failed(reason));
        }
        tracing::warn!(%reason, "there are no values; recording what came all the same");
    }
    let clock = Clock { began, time };
    let config = match source.turned_out() {
        Some(keys) => {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            let turned_out = family.with_keys(&keys.join("\n"));
            turned_out.map_err(Failure::Runtime)?
        }
        None => config,
    };
    let mut replacements = Replacements::default();
    if let IpAddr::V4(address) = line.address.ip() {
        replacements.add_address(address);
    }
    write(&config, family.name(), &heard, clock, replacements)
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

/// A request that waits for its reply.
struct Asked {
    block: &'static str,
    request: Vec<u8>,
    at: Instant,
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
    let asked_for = |heard: &Heard| {
        let sent = &heard.bytes;
        let in_it = |request: &[u8]| sent.windows(request.len()).any(|window| window == request);
        let block = blocks.iter().find(|block| in_it(&block.request));
        let known = block.map(|block| (block.name, block.request.clone()));
        let greeted = || {
            let greeting = GREETINGS.into_iter().find(|greeting| in_it(greeting));
            greeting.map(|greeting| ("greeting", greeting.to_vec()))
        };
        known.or_else(greeted).map(|(block, request)| Asked {
            block,
            request,
            at: heard.at,
        })
    };
    // All of it first: the first polls hold what only a later reply names.
    let mut anatomies = Vec::new();
    let mut request = Vec::new();
    for one in heard {
        let anatomy = if one.what == What::Sent {
            request = asked_for(one)
                .map(|asked| asked.request)
                .unwrap_or_default();
            Anatomy::default()
        } else {
            let anatomy = config.anatomy(&request, &one.bytes);
            replacements.learn(&one.bytes, &anatomy);
            anatomy
        };
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
                waiting = asked_for(one);
            }
            What::Accepted => {
                let Some(asked) = waiting.take() else {
                    continue;
                };
                // The greeting's answer has no framing.
                let whole = (asked.block == "greeting").then_some(0..bytes.len());
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
