//! The database of kstar.sharp, as readings.
//!
//! It has one row for each half minute, with local times. What it says of the sum of both strings and of the battery's
//! power is kept as it was told, since the currents that would give it are not there, or rounded otherwise.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use kstar_model::catalogue::Values;
use kstar_model::scalar::Scalar;
use kstar_model::time::UnixMillis;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

/// Rows this far from another one, in milliseconds, are its neighbours: one or the other is missing between them.
const NEAR: i64 = 10 * 60 * 1000;

/// A clock that falls by more, in milliseconds, was set back an hour; by less, it was only put right.
const SET_BACK: i64 = 2 * 60 * 1000;

/// How many rows of the hour that comes twice are looked at together: more than two hours have.
const HELD: usize = 100_000;

/// How many of the rows that are left out are shown.
const EXAMPLES: usize = 3;

const QUERY: &str = "SELECT RecordedDateTime, TempCelcius, ETotal, EToday, PVPower, PV1Volt, PV2Volt, LoadPower, \
                     Bat1Charge, Bat1Power, Bat1Voltage, Bat1Amp, GridPower FROM InverterDataGranular ORDER BY Id";

/// A database of kstar.sharp.
pub struct OldHistory {
    path: PathBuf,
    connection: Connection,
    zone: TimeZone,
}

/// The file cannot be read as one; the text says why, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OldHistoryError(String);

#[derive(Clone, Debug)]
pub struct OldReading {
    /// When it was recorded.
    pub time: UnixMillis,
    pub values: Values,
}

/// Rows that are no readings, for one reason.
#[derive(Clone, Debug)]
pub struct LeftOut {
    pub why: &'static str,
    /// How many there are.
    pub count: u64,
    /// The times of the first.
    pub examples: Vec<String>,
}

impl OldHistory {
    /// Opens the database of a machine in that zone, to read it.
    pub fn open(path: &Path, zone: TimeZone) -> Result<Self, OldHistoryError> {
        let old = |error: rusqlite::Error| unusable(path, &error);
        if !path.exists() {
            return Err(OldHistoryError(format!("there is no {}", path.display())));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(old)?;
        connection.prepare(QUERY).map_err(old)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            zone,
        })
    }

    /// How many rows it has.
    pub fn rows(&self) -> Result<u64, OldHistoryError> {
        self.connection
            .query_row("SELECT count(*) FROM InverterDataGranular", [], |row| {
                row.get::<_, i64>(0)
            })
            .map(i64::unsigned_abs)
            .map_err(|error| unusable(&self.path, &error))
    }

    /// Its readings in the order in which they were recorded, until there are no more or `each` breaks off; gives what
    /// is left out.
    pub fn each(
        &self,
        each: &mut dyn FnMut(OldReading) -> ControlFlow<()>,
    ) -> Result<Vec<LeftOut>, OldHistoryError> {
        let mut times = LocalTimes::new(&self.zone);
        let mut read = || {
            let mut statement = self.connection.prepare(QUERY)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let text = match row.get_ref(0)? {
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    other => format!("{other:?}"),
                };
                if times.add(&text, values(row)?, each).is_break() {
                    return Ok(());
                }
            }
            let _ = times.settle(None, each);
            Ok(())
        };
        read().map_err(|error| unusable(&self.path, &error))?;
        Ok(times.left_out)
    }
}

fn unusable(path: &Path, error: &rusqlite::Error) -> OldHistoryError {
    if path.is_dir() {
        return OldHistoryError(format!(
            "{} is a folder; name the file in it that kstar.sharp wrote",
            path.display()
        ));
    }
    OldHistoryError(format!(
        "cannot read {} as a database of kstar.sharp: {error}; name the file that holds its table InverterDataGranular",
        path.display()
    ))
}

/// What a row says, in our signs and resolutions.
fn values(row: &Row<'_>) -> rusqlite::Result<Values> {
    let number = |index: usize| -> rusqlite::Result<Option<f64>> {
        Ok(match row.get_ref(index)? {
            #[expect(
                clippy::cast_precision_loss,
                reason = "what is that large is no measurement"
            )]
            ValueRef::Integer(number) => Some(number as f64),
            ValueRef::Real(number) => Some(number),
            ValueRef::Text(text) => std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok()),
            ValueRef::Null | ValueRef::Blob(_) => None,
        })
    };
    let battery_power = number(9)?;
    // Its current has no sign of its own everywhere.
    let battery_current = number(11)?.map(|current| match battery_power {
        Some(power) if power != 0.0 => current.abs().copysign(power),
        _ => current,
    });
    let mut values = Values {
        inverter_temperature: scalar(number(1)?),
        energy_total: scalar(number(2)?),
        energy_today: scalar(number(3)?),
        pv_power: scalar(number(4)?),
        pv1_voltage: scalar(number(5)?),
        pv2_voltage: scalar(number(6)?),
        load_power: scalar(number(7)?),
        battery_soc: scalar(number(8)?),
        battery_power: scalar(battery_power),
        battery_voltage: scalar(number(10)?),
        battery_current: scalar(battery_current),
        grid_power: scalar(number(12)?),
        ..Values::default()
    };
    values.derive();
    Ok(values)
}

/// A number in the unit of a quantity; none if that cannot hold it.
fn scalar<T: Scalar>(number: Option<f64>) -> Option<T> {
    let raw = (number? * 10_f64.powi(T::DECIMALS.into())).round();
    // Within these, and no NaN.
    if !(-1e15..=1e15).contains(&raw) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within bounds, and rounded"
    )]
    T::from_raw(raw as i64)
}

/// Local times as moments, by their order where a time comes twice.
struct LocalTimes<'a> {
    zone: &'a TimeZone,
    /// The last reading that was given.
    last: Option<i64>,
    /// Rows of an hour that comes twice: with both moments that each may be.
    held: Vec<(String, [i64; 2], Values)>,
    left_out: Vec<LeftOut>,
}

impl<'a> LocalTimes<'a> {
    fn new(zone: &'a TimeZone) -> Self {
        Self {
            zone,
            last: None,
            held: Vec::new(),
            left_out: Vec::new(),
        }
    }

    fn add(
        &mut self,
        text: &str,
        values: Values,
        each: &mut dyn FnMut(OldReading) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let moment = text
            .parse::<DateTime>()
            .map(|local| self.zone.to_ambiguous_timestamp(local));
        let Ok(moment) = moment else {
            self.leave_out("the time cannot be read", text);
            return ControlFlow::Continue(());
        };
        match moment.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                let Ok(moment) = moment.unambiguous() else {
                    self.leave_out("the time cannot be read", text);
                    return ControlFlow::Continue(());
                };
                let time = moment.as_millisecond();
                self.settle(Some(time), each)?;
                self.give(time, values, each)
            }
            AmbiguousOffset::Gap { .. } => {
                let why = "there is no such local time, since clocks were put forward; was the zone another one?";
                self.leave_out(why, text);
                ControlFlow::Continue(())
            }
            AmbiguousOffset::Fold { .. } => {
                let at = |moment: Result<Timestamp, _>| moment.map(Timestamp::as_millisecond);
                if let (Ok(earlier), Ok(later)) = (at(moment.earlier()), at(moment.later())) {
                    self.held.push((text.to_owned(), [earlier, later], values));
                }
                if self.held.len() == HELD {
                    return self.settle(None, each);
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// Decides on the rows that are held, before the next one.
    fn settle(
        &mut self,
        next: Option<i64>,
        each: &mut dyn FnMut(OldReading) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let held = std::mem::take(&mut self.held);
        let (Some((_, first, _)), Some((_, last, _))) = (held.first(), held.last()) else {
            return ControlFlow::Continue(());
        };
        let near = |earlier: Option<i64>, later: Option<i64>| {
            let apart = later.zip(earlier).map(|(later, earlier)| later - earlier);
            apart.is_some_and(|apart| (0..=NEAR).contains(&apart))
        };
        let falls = held
            .iter()
            .zip(held.iter().skip(1))
            .position(|((_, [before, _], _), (_, [after, _], _))| before - after > SET_BACK);
        // How many of them are in the first of both hours.
        let in_first = match falls {
            Some(index) => index + 1,
            None if near(self.last, Some(first[0])) => held.len(),
            None if near(Some(last[1]), next) => 0,
            None => {
                for (text, ..) in held {
                    let why = "the local time came twice, and no row beside it tells which it is";
                    self.leave_out(why, &text);
                }
                return ControlFlow::Continue(());
            }
        };
        for (index, (_, [earlier, later], values)) in held.into_iter().enumerate() {
            let time = if index < in_first { earlier } else { later };
            self.give(time, values, each)?;
        }
        ControlFlow::Continue(())
    }

    fn give(
        &mut self,
        time: i64,
        values: Values,
        each: &mut dyn FnMut(OldReading) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.last = Some(time);
        each(OldReading {
            time: UnixMillis(time),
            values,
        })
    }

    fn leave_out(&mut self, why: &'static str, text: &str) {
        let known = self.left_out.iter_mut().find(|left| left.why == why);
        match known {
            Some(left) => {
                left.count += 1;
                if left.examples.len() < EXAMPLES {
                    left.examples.push(text.to_owned());
                }
            }
            None => self.left_out.push(LeftOut {
                why,
                count: 1,
                examples: vec![text.to_owned()],
            }),
        }
    }
}
