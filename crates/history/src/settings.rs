//! What the file says of the program that writes it, so that whoever asks it draws the same buckets.

use std::time::Duration;

use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};
use kstar_common::zone;
use kstar_model::TimeZone;
use kstar_model::counted::longest_gap;
use kstar_model::time::millis;
use rusqlite::{Connection, OptionalExtension as _};

use crate::moments::Moments;

/// What the buckets of a history depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The zone whose midnights part the days.
    pub(crate) zone: TimeZone,
    /// Samples that follow one another by at most this, in milliseconds, cover the time between them.
    pub(crate) longest_gap: i64,
    /// From when on samples are set apart: more than a day after what the collector's clock says now, they are of a time
    /// when it was wrong.
    pub(crate) apart: i64,
}

impl Settings {
    /// Those of a collector with this zone and interval between two polls.
    pub fn new(zone: TimeZone, poll_interval: Duration) -> Self {
        Self {
            zone,
            longest_gap: millis(longest_gap(poll_interval)),
            apart: i64::MAX,
        }
    }

    /// How long nothing must have come from another collector that has written the newest sample of an inverter before
    /// this one writes its own.
    pub(crate) fn patience_with_rivals(&self) -> Duration {
        Duration::from_millis(self.longest_gap.unsigned_abs())
    }

    /// Writes down what has changed; says whether the zone has.
    pub(crate) fn keep(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut replace = connection.prepare(
            "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2
             WHERE value IS NOT ?2",
        )?;
        // A zone that the system has without telling its name is the system's for whoever asks here, too.
        let zone = DateTimePrinter::new()
            .time_zone_to_string(&self.zone)
            .unwrap_or_default();
        replace.execute(("longest_gap", self.longest_gap))?;
        Ok(replace.execute(("zone", zone))? > 0)
    }

    /// What a file says.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut settings = Self::default();
        let mut select = connection.prepare("SELECT value FROM setting WHERE name = ?")?;
        let zone: Option<String> = select.query_row(["zone"], |row| row.get(0)).optional()?;
        // An unnamed one is the system's.
        if let Some(zone) = zone
            && let Ok(zone) = DateTimeParser::new().parse_time_zone(&zone)
        {
            settings.zone = zone;
        }
        let longest_gap = select
            .query_row(["longest_gap"], |row| row.get(0))
            .optional()?;
        if let Some(longest_gap) = longest_gap {
            settings.longest_gap = longest_gap;
        }
        settings.apart = Moments::read(connection)?.apart();
        Ok(settings)
    }
}

/// The system's zone and the usual poll interval.
impl Default for Settings {
    fn default() -> Self {
        Self::new(zone::system().unwrap_or(TimeZone::UTC), Duration::ZERO)
    }
}
