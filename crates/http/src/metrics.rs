//! `/metrics`: every quantity by the catalogue, and how inverters, sinks and the program are.
//!
//! Names follow from the catalogue: `kstar_`, the quantity's name, its unit as Prometheus wants it (base units: a share
//! and not per cent, joules and not kWh), and `_total` for what counts for life. A mode is a series of 0 or 1 for each of
//! its labels, and so is a set of flags, so that a query finds also what is not so.
//!
//! What an inverter measured goes away when it falls silent: a value that stands still for hours would be taken for a
//! fresh one. Its lifetime counters stay, since they are still right.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use kstar_engine::board::{InverterEntry, Present};
use kstar_engine::overview::{InverterOverview, PollsOverview, SinkOverview};
use kstar_engine::pipeline::gate::rules::Rule;
use kstar_model::catalogue::{Description, Quantity, Role};
use kstar_model::reading::{Shown, fresh_for};
use kstar_model::scalar::Kind;
use kstar_model::scalar::{FlagLabel, ModeLabel};
use kstar_model::time::UnixMillis;
use kstar_model::units::Decimal;
use kstar_sink::event::Reachability;
use kstar_sink::health::{Counts, State as SinkState};

use super::exposition::{Exposition, Sample, Type};
use super::state::State;

/// When the program began to listen.
static START: OnceLock<UnixMillis> = OnceLock::new();

/// Remembers when the program started; what is started again later changes nothing.
pub(super) fn remember_start() {
    START.get_or_init(|| SystemTime::now().into());
}

/// How a quantity is told: its name, unit and scale.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Metric {
    name: String,
    kind: Type,
    /// What a raw value is multiplied with.
    factor: i64,
    /// How many decimals a raw value has more than in its own unit.
    decimals: u8,
}

/// A unit of the catalogue as Prometheus has it: its word there, the factor and the further decimals, and the word that a
/// quantity's name may have for its own unit.
fn unit(symbol: &str) -> Option<(&'static str, i64, u8, &'static str)> {
    Some(match symbol {
        "" => ("", 1, 0, ""),
        "V" => ("volts", 1, 0, "volts"),
        "A" => ("amperes", 1, 0, "amperes"),
        "W" => ("watts", 1, 0, "watts"),
        "Hz" => ("hertz", 1, 0, "hertz"),
        "°C" => ("celsius", 1, 0, "celsius"),
        "%" => ("ratio", 1, 2, "percent"),
        "kWh" => ("joules", 3_600_000, 0, "kwh"),
        "h" => ("seconds", 3600, 0, "hours"),
        "ms" => ("seconds", 1, 3, "ms"),
        _ => return None,
    })
}

impl Metric {
    fn of(quantity: Quantity) -> Self {
        let Description {
            name,
            unit: symbol,
            kind,
            role,
            ..
        } = *quantity.description();
        // A test knows of every unit that the catalogue has.
        let (word, factor, decimals, own) = unit(symbol).unwrap_or_default();
        let lifetime = kind == Kind::Counter && !matches!(role, Role::Today { .. });
        let stem = if lifetime {
            name.strip_suffix("_total").unwrap_or(name)
        } else {
            name
        };
        let ending = |word: &str| !word.is_empty() && stem.ends_with(&format!("_{word}"));
        let stem = if ending(own) {
            stem.get(..stem.len() - own.len() - 1).unwrap_or(stem)
        } else {
            stem
        };
        let (stem, word) = match kind {
            // Seconds since 1970 of the inverter's own clock.
            Kind::Clock => (stem, "seconds"),
            // Bits are a unit of other things.
            Kind::Bits => (stem.strip_suffix("_bits").unwrap_or(stem), "mask"),
            _ => (stem, word),
        };
        let separator = if word.is_empty() { "" } else { "_" };
        Self {
            name: format!("kstar_{stem}{separator}{word}"),
            kind: if lifetime { Type::Counter } else { Type::Gauge },
            factor,
            decimals,
        }
    }

    fn value(&self, raw: i64, decimals: u8) -> Decimal {
        Decimal {
            raw: raw.saturating_mul(self.factor),
            decimals: decimals.saturating_add(self.decimals),
        }
    }
}

/// An inverter with what is known of it at this moment.
struct Seen {
    overview: InverterOverview,
    present: Present,
    /// What was rejected, by reason.
    rejected: BTreeMap<&'static str, u64>,
    /// Which blocks were asked for in vain.
    missing: BTreeMap<&'static str, u64>,
    /// How many connections were opened.
    connections: u64,
    measured: Measured,
}

/// What an inverter, or all together, measured last.
struct Measured {
    name: String,
    newest: Option<Arc<Shown>>,
    /// Whether that is still so.
    fresh: bool,
}

impl Measured {
    /// The raw value of a quantity, if it can be told.
    fn raw(&self, quantity: Quantity, kind: Type) -> Option<i64> {
        let reading = self.newest.as_ref()?;
        if self.fresh || kind == Type::Counter {
            reading.values.raw(quantity)
        } else {
            None
        }
    }

    fn sample<V>(&self, value: V) -> Sample<'_, V> {
        (vec![("inverter", &self.name)], value)
    }
}

impl Seen {
    fn of(entry: &InverterEntry) -> Self {
        let present = entry.present();
        let patience = fresh_for(entry.interval);
        let fresh = present.reachability != Some(Reachability::Silent)
            && present
                .newest
                .as_ref()
                .is_some_and(|(at, _)| at.elapsed() < patience);
        Self {
            overview: entry.into(),
            measured: Measured {
                name: entry.name.to_string(),
                newest: present.newest.as_ref().map(|(_, reading)| reading.clone()),
                fresh,
            },
            present,
            rejected: entry.polls.exchanges.rejected(),
            missing: entry.polls.exchanges.missing(),
            connections: entry.polls.exchanges.connections.load(Ordering::Relaxed),
        }
    }

    /// A value of this inverter.
    fn sample<V>(&self, value: V) -> Sample<'_, V> {
        (vec![("inverter", &self.overview.name)], value)
    }

    /// A value of it that has a further label.
    fn sample_by<'a, V>(
        &'a self,
        key: &'static str,
        (label, value): (&'a str, V),
    ) -> Sample<'a, V> {
        (vec![("inverter", &self.overview.name), (key, label)], value)
    }
}

pub(super) fn all(state: &State) -> String {
    let board = &state.0.sources.board;
    let seen: Vec<Seen> = board
        .inverters()
        .iter()
        .map(|entry| Seen::of(entry))
        .collect();
    let sinks: Vec<SinkOverview> = board
        .sinks()
        .iter()
        .map(|health| SinkOverview::from(&**health))
        .collect();
    let sum = board.site().map(|(_, reading)| Measured {
        name: reading.inverter.name.to_string(),
        newest: Some(reading),
        fresh: true,
    });
    let inverters_measured = seen.iter().map(|seen| &seen.measured);
    let measured: Vec<&Measured> = inverters_measured.chain(&sum).collect();
    let mut out = Exposition::new();
    for quantity in Quantity::ALL {
        tell(*quantity, &measured, &mut out);
    }
    inverters(&seen, &mut out);
    polls(&seen, &mut out);
    sink_states(&sinks, &mut out);
    program(state, &mut out);
    out.end()
}

fn tell(quantity: Quantity, measured: &[&Measured], out: &mut Exposition) {
    let description = quantity.description();
    let metric = Metric::of(quantity);
    let (kind, name, help) = (metric.kind, metric.name.as_str(), description.meaning);
    let present = measured.iter().filter_map(|measured| {
        let raw = measured.raw(quantity, metric.kind)?;
        Some((*measured, raw))
    });
    let series: Vec<(&Measured, String, i64)> = match description.kind {
        Kind::Measurement | Kind::Counter | Kind::Bits | Kind::Clock => {
            let value = |raw| metric.value(raw, description.decimals);
            out.family(
                kind,
                name,
                help,
                present.map(|(measured, raw)| measured.sample(value(raw))),
            );
            return;
        }
        Kind::Mode(labels) => present
            .flat_map(|(measured, raw)| {
                let known = labels.0.iter().map(|(code, _)| i64::from(*code));
                let unknown = labels.find(raw).is_none().then_some(raw);
                known.chain(unknown).map(move |code| {
                    let label = ModeLabel { labels, code }.to_string();
                    (measured, label, i64::from(code == raw))
                })
            })
            .collect(),
        Kind::Flags(labels) => present
            .flat_map(|(measured, raw)| {
                (0..32).filter_map(move |bit| {
                    let set = raw >> bit & 1;
                    (set == 1 || labels.find(i64::from(bit)).is_some())
                        .then(|| (measured, FlagLabel { labels, bit }.to_string(), set))
                })
            })
            .collect(),
    };
    let key = match description.kind {
        Kind::Mode(_) => "state",
        _ => "flag",
    };
    let samples = series.iter().map(|(measured, label, value)| {
        let labels = vec![("inverter", measured.name.as_str()), (key, label)];
        (labels, value)
    });
    out.family(kind, name, help, samples);
}

/// The name and the help of a family, and what it tells of each.
type Told<Of, Value> = (&'static str, &'static str, fn(&Of) -> Value);

fn thousandths(raw: i64) -> Decimal {
    Decimal { raw, decimals: 3 }
}

fn seconds(millis: u64) -> Decimal {
    thousandths(i64::try_from(millis).unwrap_or(i64::MAX))
}

fn inverters(seen: &[Seen], out: &mut Exposition) {
    let known = seen.iter().map(|Seen { overview, .. }| {
        let labels = vec![
            ("inverter", overview.name.as_str()),
            ("host", &overview.host),
            ("serial", overview.serial.as_deref().unwrap_or_default()),
            ("model", overview.model.as_deref().unwrap_or_default()),
        ];
        (labels, 1)
    });
    out.family(
        Type::Info,
        "kstar_inverter",
        "Which inverter it is, and where.",
        known,
    );
    let up = |seen: &Seen| u8::from(seen.present.reachability == Some(Reachability::Online));
    out.family(
        Type::Gauge,
        "kstar_inverter_up",
        "Whether the inverter answers.",
        seen.iter().map(|seen| seen.sample(up(seen))),
    );
    out.family(
        Type::Gauge,
        "kstar_inverter_asleep",
        "Whether the inverter does not answer because it sleeps at night.",
        seen.iter()
            .map(|seen| seen.sample(u8::from(seen.present.asleep))),
    );
    let times: [Told<Seen, Option<Decimal>>; 3] = [
        (
            "kstar_reading_age_seconds",
            "How old the newest reading is.",
            |seen| seen.overview.reading_age_ms.map(seconds),
        ),
        (
            "kstar_reading_timestamp_seconds",
            "When the newest reading was taken, by the collector's clock, in seconds since 1970.",
            |seen| Some(thousandths(seen.present.newest.as_ref()?.1.time?.0)),
        ),
        (
            "kstar_poll_interval_seconds",
            "How often the inverter is asked.",
            |seen| Some(seconds(seen.overview.poll_interval_ms)),
        ),
    ];
    for (name, help, time) in times {
        let known = |seen| Some(Seen::sample(seen, time(seen)?));
        out.family(Type::Gauge, name, help, seen.iter().filter_map(known));
    }
}

fn polls(seen: &[Seen], out: &mut Exposition) {
    out.family(
        Type::Counter,
        "kstar_polls",
        "Polls, by what became of them.",
        seen.iter().flat_map(|seen| {
            let polls = &seen.overview.polls;
            [
                ("answered", polls.answered),
                ("silent", polls.silent),
                ("skipped", polls.skipped),
            ]
            .map(|count| seen.sample_by("outcome", count))
        }),
    );
    let counts: [Told<PollsOverview, u64>; 3] = [
        ("kstar_requests", "Requests sent.", |polls| polls.requests),
        (
            "kstar_requests_unanswered",
            "Requests that nobody answered in time.",
            |polls| polls.unanswered,
        ),
        (
            "kstar_greetings",
            "Greetings sent to find the inverter.",
            |polls| polls.greetings,
        ),
    ];
    for (name, help, count) in counts {
        let counted = |seen: &'_ Seen| count(&seen.overview.polls);
        let samples = seen.iter().map(|seen| seen.sample(counted(seen)));
        out.family(Type::Counter, name, help, samples);
    }
    // Those that never occurred are 0, so that the first one is seen as a change.
    out.family(
        Type::Counter,
        "kstar_datagrams_refused",
        "Datagrams that were no reply to what was asked, by the reason.",
        seen.iter().flat_map(|seen| {
            let reasons = seen.rejected.iter();
            reasons.map(|(reason, count)| seen.sample_by("reason", (*reason, *count)))
        }),
    );
    out.family(
        Type::Counter,
        "kstar_blocks_missing",
        "Optional parts of a poll that were asked for in vain, by their name.",
        seen.iter().flat_map(|seen| {
            let blocks = seen.missing.iter();
            blocks.map(|(block, count)| seen.sample_by("block", (*block, *count)))
        }),
    );
    out.family(
        Type::Counter,
        "kstar_connections",
        "Connections opened to the inverter; 0 where it is asked by datagrams.",
        seen.iter().map(|seen| seen.sample(seen.connections)),
    );
    out.family(
        Type::Counter,
        "kstar_readings",
        "Readings, by what the gate made of them.",
        seen.iter().flat_map(|seen| {
            [
                ("accepted", seen.overview.accepted),
                ("refused", seen.overview.quarantined),
            ]
            .map(|count| seen.sample_by("verdict", count))
        }),
    );
    out.family(
        Type::Counter,
        "kstar_gate_strikes",
        "How often each rule of the gate has struck.",
        seen.iter().flat_map(|seen| {
            Rule::ALL.into_iter().map(|rule| {
                let count = seen.overview.gate.get(rule.name()).copied();
                seen.sample_by("rule", (rule.name(), count.unwrap_or_default()))
            })
        }),
    );
}

fn sink_states(sinks: &[SinkOverview], out: &mut Exposition) {
    let named = |state: &SinkState| match state {
        SinkState::Opening => "opening",
        SinkState::Up => "up",
        SinkState::Down { .. } => "down",
        SinkState::Ended => "ended",
    };
    let by = |sink, key, (label, value)| (vec![("sink", sink), (key, label)], value);
    out.family(
        Type::Gauge,
        "kstar_sink_up",
        "Whether the last delivery arrived.",
        sinks.iter().map(|sink| {
            let up = sink.state == SinkState::Up;
            (vec![("sink", &*sink.name)], u8::from(up))
        }),
    );
    out.family(
        Type::Gauge,
        "kstar_sink_state",
        "How the sink is.",
        sinks.iter().flat_map(|sink| {
            ["opening", "up", "down", "ended"].map(|state| {
                let so = named(&sink.state) == state;
                by(&*sink.name, "state", (state, u64::from(so)))
            })
        }),
    );
    out.family(
        Type::Counter,
        "kstar_sink_readings",
        "Readings, by what the sink made of them.",
        sinks.iter().flat_map(|sink| {
            let counts = &sink.counts;
            [
                ("taken", counts.taken),
                ("delivered", counts.delivered),
                ("replaced", counts.replaced),
                ("dropped", counts.dropped),
                ("rejected", counts.rejected),
                ("missed", counts.missed),
            ]
            .map(|count| by(&*sink.name, "outcome", count))
        }),
    );
    let waiting: [Told<Counts, u64>; 2] = [
        (
            "kstar_sink_queued_readings",
            "Readings that wait, in memory and in the spool.",
            |counts| counts.queued,
        ),
        (
            "kstar_sink_spooled_readings",
            "How many of the readings that wait are in the spool.",
            |counts| counts.spooled,
        ),
    ];
    for (name, help, count) in waiting {
        let samples = sinks
            .iter()
            .map(|sink| (vec![("sink", &*sink.name)], count(&sink.counts)));
        out.family(Type::Gauge, name, help, samples);
    }
}

fn program(state: &State, out: &mut Exposition) {
    let healthy = state.0.watcher.verdict().healthy;
    out.family(
        Type::Gauge,
        "kstar_healthy",
        "Whether /health says that all is well.",
        [(vec![], u8::from(healthy))],
    );
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    out.family(
        Type::Info,
        "kstar_build",
        "Which program it is.",
        [(version, 1)],
    );
    out.family(
        Type::Gauge,
        "process_start_time_seconds",
        "When the program began to listen, in seconds since 1970.",
        START.get().map(|start| (vec![], thousandths(start.0))),
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_scales_follow_from_unit_and_kind() {
        for (quantity, name, kind, raw, value) in [
            (
                Quantity::pv_power,
                "kstar_pv_power_watts",
                Type::Gauge,
                171_054,
                "1710.54",
            ),
            (
                Quantity::grid_voltage,
                "kstar_grid_voltage_volts",
                Type::Gauge,
                2317,
                "231.7",
            ),
            (
                Quantity::battery_soc,
                "kstar_battery_soc_ratio",
                Type::Gauge,
                87,
                "0.87",
            ),
            (
                Quantity::pv_energy_total,
                "kstar_pv_energy_joules",
                Type::Counter,
                1234,
                "4442400",
            ),
            (
                Quantity::pv_energy_today,
                "kstar_pv_energy_today_joules",
                Type::Gauge,
                1234,
                "4442400",
            ),
            (
                Quantity::operating_hours,
                "kstar_operating_seconds",
                Type::Counter,
                2,
                "7200",
            ),
            (
                Quantity::reply_time,
                "kstar_reply_time_seconds",
                Type::Gauge,
                123,
                "0.123",
            ),
            (
                Quantity::battery_mode,
                "kstar_battery_mode",
                Type::Gauge,
                2,
                "2",
            ),
            (
                Quantity::inverter_clock,
                "kstar_inverter_clock_seconds",
                Type::Gauge,
                7,
                "7",
            ),
        ] {
            let metric = Metric::of(quantity);
            assert_eq!((metric.name.as_str(), metric.kind), (name, kind));
            let decimals = quantity.description().decimals;
            assert_eq!(metric.value(raw, decimals).to_string(), value, "{quantity}");
        }
    }

    #[test]
    fn every_quantity_has_a_name_of_its_own_and_a_unit_that_is_known() {
        let mut names = BTreeSet::new();
        for quantity in Quantity::ALL {
            let (word, ..) = unit(quantity.description().unit).expect("a unit");
            let metric = Metric::of(*quantity);
            assert!(metric.name.ends_with(word), "{metric:?}");
            assert!(names.insert(metric.name.clone()), "{metric:?}");
        }
    }
}
