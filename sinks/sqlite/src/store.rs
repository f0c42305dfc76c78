//! The file: opened, widened when the catalogue has grown, written one transaction per batch, closed.
//!
//! A write-ahead log lets others read while this writes, and spares the disk: what is committed is with the operating
//! system at once and on the disk for good each minute. Whatever goes wrong, a batch is in the file as a whole or not
//! at all, and an error says which file and what to do.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use kstar_common::sqlite_file::set_aside;
use kstar_model::reading::Reading;
use kstar_sink::sink::{DeliveryError, OpenError};
use rusqlite::OpenFlags;

use crate::accounts::Origin;
use crate::database::{Database, SetApart};
use crate::failure::Failure;
use crate::retention::Retention;
use crate::settings::Settings;

/// How often what was written is put on the disk for good: what a power cut may cost.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// How often is looked for what need not be kept, unless there is more of it.
const TIDYING: Duration = Duration::from_secs(60 * 60);

/// How long closing waits for others who read, within the second that a sink has.
const PATIENCE_AT_CLOSE: Duration = Duration::from_millis(300);

/// The file, and the way to it while it can be reached.
pub(crate) struct Store {
    path: PathBuf,
    /// How long to wait for another program's lock.
    patience: Duration,
    settings: Settings,
    retention: Retention,
    /// When the last checkpoint was.
    checkpoint: Instant,
    /// When nothing was found that need not be kept.
    tidied: Option<Instant>,
    /// Absent after a failure that only opening again can heal.
    database: Option<Database>,
    /// Whether a file that is not there is made. Not after it was open once: in the place of one that has vanished,
    /// perhaps with its disk, a new one would hide the loss.
    create: OpenFlags,
    /// Whether a damaged file was set aside. Twice within one life of the program is no accident but a broken disk.
    set_aside: bool,
    /// Whether it was said that the upkeep has met damage.
    said_damage: bool,
    /// How many readings had the key of another reading with other values, since the start.
    conflicts: u64,
    note: Note,
}

/// What a store has to say besides, for whoever looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note(Arc<Mutex<Option<String>>>);

impl Note {
    pub(crate) fn get(&self) -> Option<String> {
        self.text().clone()
    }

    fn text(&self) -> MutexGuard<'_, Option<String>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// What it has to say besides, also later.
    pub(crate) fn note(&self) -> Note {
        self.note.clone()
    }

    /// Notes which readings are set apart.
    fn note_apart(&mut self) -> rusqlite::Result<()> {
        let Some(database) = &self.database else {
            return Ok(());
        };
        let all: Vec<String> = database
            .apart()?
            .iter()
            .map(|apart| format!("{} readings of {}", apart.readings, apart.inverter))
            .collect();
        *self.note.text() = (!all.is_empty()).then(|| {
            format!(
                "{} came when the clock was wrong and are set apart; `kstar history repair` shows what can be done",
                all.join(", ")
            )
        });
        Ok(())
    }

    /// Opens the file, or makes it. With a lock that another program holds, a full disk and a failing one it is open as
    /// well: the first delivery tries again.
    pub(crate) fn open(
        path: &Path,
        patience: Duration,
        settings: Settings,
        retention: Retention,
    ) -> Result<Self, OpenError> {
        let path = absolute(path)?;
        if path.is_dir() {
            return Err(OpenError(format!(
                "{0} is a folder; name a file in it, like {0}/history.db",
                path.display()
            )));
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| {
                OpenError(format!(
                    "cannot make the folder {}: {error}; make it for this user, or set another `path`",
                    folder.display()
                ))
            })?;
        }
        let mut store = Self {
            path,
            patience,
            settings,
            retention,
            checkpoint: Instant::now(),
            tidied: None,
            database: None,
            create: OpenFlags::SQLITE_OPEN_CREATE,
            set_aside: false,
            said_damage: false,
            conflicts: 0,
            note: Note::default(),
        };
        let opened = store.database().map(|_| ());
        let opened = match opened {
            Err(failure) if store.set_aside(&failure) => store.database().map(|_| ()),
            other => other,
        };
        match opened {
            // One that was set aside once is not set aside again: the store remembers that.
            Err(failure) if !failure.is_outage() && !store.set_aside => {
                Err(OpenError(failure.explain(&store.path)))
            }
            _ => Ok(store),
        }
    }

    fn database(&mut self) -> Result<&mut Database, Failure> {
        if self.database.is_none() {
            let mut database = Database::open(
                &self.path,
                self.patience,
                self.create,
                &self.settings,
                Origin::LIVE,
            )?;
            database.heed(&self.retention, SystemTime::now().into())?;
            self.database = Some(database);
            self.note_apart()?;
            self.create = OpenFlags::empty();
        }
        self.database.as_mut().ok_or(Failure::Replaced)
    }

    /// Writes readings in one transaction; one that is there already is left as it is.
    pub(crate) fn deliver(&mut self, readings: &[Arc<Reading>]) -> Result<(), DeliveryError> {
        let written = match self.write(readings) {
            Err(failure) if self.set_aside(&failure) => self.write(readings),
            other => other,
        };
        written.map_err(|failure| {
            if !failure.passes() {
                self.database = None;
            }
            DeliveryError::unreachable(failure.explain(&self.path))
        })
    }

    fn write(&mut self, readings: &[Arc<Reading>]) -> Result<(), Failure> {
        let database = self.database()?;
        let written = database.write(readings)?;
        // Asked after the commit: what went into a file that nobody can find is not delivered.
        if !database.is_in_place() {
            return Err(Failure::Replaced);
        }
        for (reading, time) in written.moved {
            self.conflicts += 1;
            let (inverter, of) = (&*reading.inverter.name, reading.time);
            let conflicts = self.conflicts;
            if let Some(time) = time {
                tracing::warn!(
                    sink = "sqlite", inverter, time = %of, conflicts, kept_at = %time,
                    "another reading of this inverter has the same time; this one is kept at the next free millisecond"
                );
            } else {
                tracing::error!(
                    sink = "sqlite", inverter, time = %of, conflicts,
                    "a thousand other readings of this inverter have the same time; this one is dropped. Check the clock"
                );
            }
        }
        let is_apart = !written.apart.is_empty();
        for apart in written.apart {
            let SetApart {
                inverter,
                readings,
                span: (first, last),
            } = apart;
            tracing::error!(
                sink = "sqlite",
                inverter = &*inverter,
                readings,
                %first,
                %last,
                "the clock was wrong when these readings came, more than a day ahead; they are kept and set apart. \
                 `kstar history repair` shows what can be done"
            );
        }
        if is_apart {
            self.note_apart()?;
        }
        Ok(())
    }

    /// Sets a damaged file aside, so that a new one takes what comes: a reading that is not written is lost for good,
    /// while what can be read of the old file stays there for a person to save. Says whether it was done.
    fn set_aside(&mut self, failure: &Failure) -> bool {
        if !failure.is_damage() || self.set_aside {
            return false;
        }
        self.database = None;
        let file = self.path.display();
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let moved = set_aside(&self.path, &now.to_string());
        let reason = failure.explain(&self.path);
        match moved {
            Ok(aside) => {
                let aside = aside.display();
                tracing::error!(
                    sink = "sqlite",
                    reason,
                    "the history is damaged; it is now {aside}, and a new one begins at {file}. \
                     Save what can be read with `sqlite3 {aside} .recover`"
                );
                self.set_aside = true;
                self.create = OpenFlags::SQLITE_OPEN_CREATE;
                true
            }
            Err(error) => {
                tracing::error!(sink = "sqlite", reason, %error, "the damaged history cannot be set aside");
                false
            }
        }
    }

    /// Does what is to be done now and then: puts what was written on the disk for good, sums up and deletes a little.
    pub(crate) fn upkeep(&mut self) {
        let Some(database) = &mut self.database else {
            return;
        };
        if self.checkpoint.elapsed() >= CHECKPOINT {
            self.checkpoint = Instant::now();
            let kept = database.keep_moments().map_err(|error| error.to_string());
            let done = kept.and_then(|()| database.checkpoint());
            // They may have been repaired meanwhile.
            let noted = self.note_apart().map_err(|error| error.to_string());
            if let Err(error) = done.and(noted) {
                // The next delivery says it aloud, if it lasts.
                tracing::debug!(sink = "sqlite", error, "no checkpoint");
            }
        }
        let Some(database) = &mut self.database else {
            return;
        };
        let mut done = database.settle_some().map(|_| ());
        if done.is_ok() && self.tidied.is_none_or(|tidied| tidied.elapsed() >= TIDYING) {
            done = database
                .delete_some(&self.retention)
                .map(|more| self.tidied = (!more).then(Instant::now));
        }
        if let Err(error) = done {
            let failure = Failure::Sqlite(error);
            let reason = failure.explain(&self.path);
            // What is written now may well go to another part of the file, so nobody else would say it.
            if failure.is_damage() && !self.said_damage {
                self.said_damage = true;
                tracing::error!(
                    sink = "sqlite",
                    reason,
                    "cannot sum up or delete what is old"
                );
            } else {
                tracing::debug!(sink = "sqlite", reason, "nothing summed up or deleted");
            }
        }
    }

    /// Empties the write-ahead log into the file and closes it.
    pub(crate) fn close(&mut self) -> Result<(), DeliveryError> {
        let Some(database) = self.database.take() else {
            return Ok(());
        };
        let kept = database.keep_moments();
        let connection = database.into_connection();
        connection
            .busy_timeout(PATIENCE_AT_CLOSE)
            .and(kept)
            // Somebody who reads just now keeps the log alive; nothing is lost by that.
            .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
            .and_then(|()| connection.close().map_err(|(_, error)| error))
            .map_err(|error| DeliveryError::unreachable(Failure::Sqlite(error).explain(&self.path)))
    }
}

/// The place of a file, made absolute: SQLite would take an empty path or `:memory:` for a database that is gone at the
/// end.
fn absolute(path: &Path) -> Result<PathBuf, OpenError> {
    std::path::absolute(path).map_err(|error| {
        OpenError(format!(
            "`{}` is no path for a file: {error}",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::KeepFor;
    use crate::schema;
    use kstar_model::catalogue::{Quantity, Value};
    use kstar_model::reading::Inverter;
    use kstar_model::scalar::Kind;
    use kstar_model::time::UnixMillis;
    use kstar_sink::testing::{full_reading, reading, readings};
    use rusqlite::types::Value as Cell;
    use rusqlite::{Connection, params};
    use tempfile::TempDir;

    const PATIENCE: Duration = Duration::from_millis(50);

    fn settings() -> Settings {
        Settings::new(kstar_sink::TimeZone::UTC, Duration::from_secs(5))
    }

    fn retention() -> Retention {
        Retention {
            samples: KeepFor::Forever,
            five_minutes: KeepFor::Forever,
            hours: KeepFor::Forever,
            days: KeepFor::Forever,
        }
    }

    /// A folder for one test's file.
    struct Place(TempDir);

    impl Place {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("history.db")
        }

        fn store(&self) -> Store {
            Store::open(&self.path(), PATIENCE, settings(), retention()).unwrap()
        }

        fn refusal(&self) -> String {
            match Store::open(&self.path(), PATIENCE, settings(), retention()) {
                Err(OpenError(reason)) => reason,
                Ok(_) => panic!("opened"),
            }
        }

        /// What any SQLite tool would have.
        fn other(&self) -> Connection {
            Connection::open(self.path()).unwrap()
        }

        fn one<T: rusqlite::types::FromSql>(&self, query: &str) -> T {
            self.other().query_row(query, [], |row| row.get(0)).unwrap()
        }

        fn times(&self) -> Vec<i64> {
            let other = self.other();
            let mut query = other
                .prepare("SELECT time FROM readings ORDER BY time")
                .unwrap();
            query
                .query_map([], |row| row.get(0))
                .unwrap()
                .map(Result::unwrap)
                .collect()
        }
    }

    fn reason(outcome: Result<(), DeliveryError>) -> String {
        match outcome {
            Err(DeliveryError::Unreachable { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn with_attributes(
        reading: &Reading,
        serial: Option<&str>,
        model: Option<&str>,
    ) -> Arc<Reading> {
        let inverter = Inverter {
            name: Arc::clone(&reading.inverter.name),
            serial: serial.map(Into::into),
            model: model.map(Into::into),
        };
        Arc::new(Reading {
            inverter: Arc::new(inverter),
            ..reading.clone()
        })
    }

    /// The view against what the reading itself says, value by value.
    #[track_caller]
    fn assert_shown(connection: &Connection, reading: &Reading) {
        let mut query = connection
            .prepare_cached("SELECT * FROM readings WHERE inverter = ? AND time = ?")
            .unwrap();
        let names: Vec<String> = query.column_names().map(str::to_owned).collect();
        let expected: Vec<&str> = ["inverter", "serial", "model", "time", "time_utc"]
            .into_iter()
            .chain(Quantity::ALL.iter().map(|quantity| quantity.name()))
            .collect();
        assert_eq!(names, expected);
        query
            .query_row(params![reading.inverter.name, reading.time.0], |row| {
                assert_eq!(row.get::<_, String>("time_utc")?, reading.time.to_string());
                for quantity in Quantity::ALL {
                    let shown: Cell = row.get(quantity.name())?;
                    let expected = match reading.values.get(*quantity) {
                        None => Cell::Null,
                        Some(Value::Number(number)) if number.decimals == 0 => {
                            Cell::Integer(number.raw)
                        }
                        Some(Value::Number(number)) => Cell::Real(number.to_f64()),
                        Some(text) => Cell::Text(text.to_string()),
                    };
                    assert_eq!(shown, expected, "{quantity}");
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_view_shows_every_value_as_the_reading_has_it() {
        let place = Place::new();
        let readings = readings("roof", 2000);
        place.store().deliver(&readings).unwrap();
        let other = place.other();
        for reading in &readings {
            assert_shown(&other, reading);
        }
    }

    #[test]
    fn the_view_names_every_bit_and_every_code() {
        let place = Place::new();
        let readings: Vec<_> = (0..256)
            .map(|code| {
                let mut reading = Reading::clone(&reading("roof", code));
                for quantity in schema::stored() {
                    let raw = match quantity.description().kind {
                        Kind::Flags(_) => 1 << (code % 32),
                        _ => code,
                    };
                    reading.values.set_raw(quantity, Some(raw));
                }
                reading.values.derive();
                Arc::new(reading)
            })
            .collect();
        place.store().deliver(&readings).unwrap();
        let other = place.other();
        for reading in &readings {
            assert_shown(&other, reading);
        }
    }

    #[test]
    fn the_view_prints_fractions_as_the_json_line_does() {
        let place = Place::new();
        let readings = readings("roof", 30);
        place.store().deliver(&readings).unwrap();
        let other = place.other();
        for reading in &readings {
            for (quantity, value) in reading.values.present() {
                let query = format!("SELECT CAST({quantity} AS TEXT) FROM readings WHERE time = ?");
                let text: String = other
                    .prepare_cached(&query)
                    .unwrap()
                    .query_row([reading.time.0], |row| row.get(0))
                    .unwrap();
                assert_eq!(
                    text.strip_suffix(".0").unwrap_or(&text),
                    value.to_string(),
                    "{quantity}"
                );
            }
        }
    }

    #[test]
    fn several_inverters_stand_in_one_view_and_one_moment() {
        let place = Place::new();
        let mut store = place.store();
        for inverter in ["roof", "barn", "shed"] {
            store
                .deliver(&[full_reading(inverter, 1), full_reading(inverter, 2)])
                .unwrap();
        }
        let other = place.other();
        for inverter in ["roof", "barn", "shed"] {
            assert_shown(&other, &full_reading(inverter, 2));
        }
        assert_eq!(place.times(), [1, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn a_question_about_a_time_span_reads_only_that_span() {
        let place = Place::new();
        let mut store = place.store();
        store
            .deliver(&[reading("roof", 1), reading("barn", 1)])
            .unwrap();
        let other = place.other();
        for question in [
            "SELECT time, pv_power FROM readings WHERE time >= 5",
            "SELECT * FROM readings WHERE inverter = 'roof' AND time BETWEEN 3 AND 5 ORDER BY time",
            "SELECT avg(pv_power) FROM readings WHERE time > 5 GROUP BY time / 60000",
        ] {
            let mut plan = other
                .prepare(&format!("EXPLAIN QUERY PLAN {question}"))
                .unwrap();
            let steps: Vec<String> = plan
                .query_map([], |row| row.get("detail"))
                .unwrap()
                .map(Result::unwrap)
                .filter(|step: &String| step.contains("sample_"))
                .collect();
            assert_eq!(steps.len(), 2, "{question}");
            assert!(
                steps.iter().all(|step| step.starts_with("SEARCH")),
                "{question}: {steps:?}"
            );
        }
    }

    #[test]
    fn serial_and_model_are_the_latest_that_are_known() {
        let place = Place::new();
        let mut store = place.store();
        let plain = reading("roof", 1);
        store.deliver(&[Arc::clone(&plain)]).unwrap();
        store
            .deliver(&[with_attributes(&reading("roof", 2), Some("S1"), None)])
            .unwrap();
        store
            .deliver(&[with_attributes(
                &reading("roof", 3),
                Some("S2"),
                Some("KSE"),
            )])
            .unwrap();
        store.deliver(&[reading("roof", 4)]).unwrap();
        assert_eq!(
            place.one::<String>("SELECT serial || model FROM readings WHERE time = 1"),
            "S2KSE"
        );
        assert_eq!(place.times(), [1, 2, 3, 4]);
    }

    #[test]
    fn another_reading_of_the_same_time_is_kept_at_the_next_free_millisecond_once() {
        let place = Place::new();
        let mut store = place.store();
        let first = full_reading("roof", 1);
        let mut different = Reading::clone(&first);
        different.values.reply_time = None;
        let different = Arc::new(different);
        store
            .deliver(&[Arc::clone(&first), full_reading("roof", 2)])
            .unwrap();
        store.deliver(&[Arc::clone(&first)]).unwrap();
        assert_eq!(store.conflicts, 0);
        for _ in 0..3 {
            store.deliver(&[Arc::clone(&different)]).unwrap();
        }
        assert_eq!(store.conflicts, 1);
        assert_shown(&place.other(), &first);
        let kept = Reading {
            time: UnixMillis(3),
            ..Reading::clone(&different)
        };
        assert_shown(&place.other(), &kept);
        assert_eq!(place.times(), [1, 2, 3]);
    }

    const DAY: i64 = 24 * 60 * 60 * 1000;

    /// 2026-11-29T00:00:00Z.
    const TODAY: i64 = 1_795_910_400_000;

    /// 2036-02-07T06:28:00Z.
    const YEARS_AHEAD: i64 = 2_085_978_480_000;

    #[test]
    fn a_clock_that_is_years_ahead_deletes_nothing_and_spoils_no_sum() {
        let place = Place::new();
        let keep = Retention {
            samples: KeepFor::Span(Duration::from_secs(30 * 86_400)),
            ..retention()
        };
        let open = || Store::open(&place.path(), PATIENCE, settings(), keep.clone()).unwrap();
        let upkeep = |store: &mut Store| {
            for _ in 0..50 {
                store.tidied = None;
                store.upkeep();
            }
        };
        let mut store = open();
        let past = (0..900).map(|step| full_reading("roof", TODAY - 20 * DAY + step * DAY / 45));
        let past: Vec<_> = past.collect();
        for batch in past.chunks(100) {
            store.deliver(batch).unwrap();
        }
        upkeep(&mut store);
        // The program is started anew with a wrong clock, and goes on when that is put right.
        store.close().unwrap();
        let mut store = open();
        for step in 0..1600 {
            let wrong = full_reading("roof", YEARS_AHEAD + step * 100);
            store.deliver(&[wrong]).unwrap();
        }
        upkeep(&mut store);
        assert_eq!(place.times().len(), 2500);
        let now: Vec<_> = (0..90)
            .map(|step| full_reading("roof", TODAY + step * 10_000))
            .collect();
        for reading in &now {
            store.deliver(std::slice::from_ref(reading)).unwrap();
        }
        upkeep(&mut store);
        store.close().unwrap();
        assert_eq!(place.times().len(), 2590);
        let samples: Vec<i64> = place
            .other()
            .prepare("SELECT samples FROM bucket_5min_1 WHERE \"begin\" >= ? AND \"begin\" < ? ORDER BY 1")
            .unwrap()
            .query_map([TODAY, TODAY + DAY], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        // The last five minutes are still open.
        assert_eq!(samples, [30, 30]);
        let trusted: i64 = place.one("SELECT value FROM setting WHERE name = 'trusted'");
        assert!(trusted < TODAY + DAY, "{trusted}");
    }

    #[test]
    fn a_shorter_keep_raw_takes_the_newest_reading_for_the_present_but_not_one_after_the_clock() {
        let place = Place::new();
        let keep = |days: u64| Retention {
            samples: KeepFor::Span(Duration::from_secs(days * 86_400)),
            ..retention()
        };
        let now = UnixMillis::from(SystemTime::now()).0;
        let open = |days| Store::open(&place.path(), PATIENCE, settings(), keep(days)).unwrap();
        let mut store = open(400);
        let times = [
            now - 300 * DAY,
            now - 100 * DAY,
            now - 99 * DAY,
            now - DAY,
            now + 9 * DAY,
        ];
        let readings = times.map(|time| full_reading("roof", time));
        store.deliver(&readings).unwrap();
        store.close().unwrap();
        let mut store = open(30);
        for _ in 0..50 {
            store.tidied = None;
            store.upkeep();
        }
        store.close().unwrap();
        // But for the last one before, which the next bucket begins with.
        assert_eq!(place.times(), times[2..]);
    }

    #[test]
    fn others_read_a_steady_state_while_it_is_written() {
        let place = Place::new();
        let mut store = place.store();
        store.deliver(&[reading("roof", 1)]).unwrap();
        let other = place.other();
        other.execute_batch("BEGIN").unwrap();
        let count = || {
            other
                .query_row("SELECT count(*) FROM readings", [], |row| {
                    row.get::<_, i64>(0)
                })
                .unwrap()
        };
        assert_eq!(count(), 1);
        store.deliver(&[reading("roof", 2)]).unwrap();
        store.database().ok().unwrap().checkpoint().unwrap();
        assert_eq!(count(), 1);
        other.execute_batch("COMMIT").unwrap();
        assert_eq!(count(), 2);
    }

    #[test]
    fn a_lock_is_an_outage_that_names_the_file_and_loses_nothing() {
        let place = Place::new();
        let mut store = place.store();
        let other = place.other();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let reason = reason(store.deliver(&[reading("roof", 1)]));
        assert!(
            reason.contains("history.db is locked by another program"),
            "{reason}"
        );
        other.execute_batch("COMMIT").unwrap();
        store.deliver(&[reading("roof", 1)]).unwrap();
        assert_eq!(place.times(), [1]);
    }

    #[test]
    fn a_lock_at_the_start_is_an_outage_and_no_mistake_of_the_users() {
        let place = Place::new();
        place.store().close().unwrap();
        let other = place.other();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut store = place.store();
        reason(store.deliver(&[reading("roof", 1)]));
        other.execute_batch("COMMIT").unwrap();
        store.deliver(&[reading("roof", 1)]).unwrap();
        assert_eq!(place.times(), [1]);
    }

    #[test]
    fn a_full_disk_keeps_batches_whole_and_goes_on_when_there_is_room() {
        let place = Place::new();
        let mut store = place.store();
        store.deliver(&[full_reading("roof", 0)]).unwrap();
        let limit = |store: &Store, pages: i64| {
            let connection = &store.database.as_ref().unwrap().connection;
            connection
                .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
                .unwrap();
        };
        let pages: i64 = place.one("PRAGMA page_count");
        limit(&store, pages);
        // From a new inverter, so that its table has to be forgotten too.
        let batch: Vec<_> = (1..=200).map(|time| full_reading("barn", time)).collect();
        let reason = reason(store.deliver(&batch));
        assert!(
            reason.starts_with("no room for ") && reason.ends_with("make room on its disk"),
            "{reason}"
        );
        assert_eq!(
            place.times(),
            [0],
            "a batch is there as a whole or not at all"
        );
        limit(&store, 1 << 20);
        store.deliver(&batch).unwrap();
        assert_eq!(place.times(), (0..=200).collect::<Vec<_>>());
    }

    #[cfg(unix)]
    #[test]
    fn what_goes_into_a_file_that_nobody_can_find_is_not_delivered() {
        let place = Place::new();
        let mut store = place.store();
        store.deliver(&[reading("roof", 1)]).unwrap();
        let aside = place.0.path().join("aside.db");
        std::fs::rename(place.path(), &aside).unwrap();
        let gone = reason(store.deliver(&[reading("roof", 2)]));
        assert!(
            gone.contains("history.db is gone or was replaced"),
            "{gone}"
        );
        let still = reason(store.deliver(&[reading("roof", 2)]));
        assert!(still.contains("put it back"), "{still}");
        assert!(!place.path().exists(), "no new file hides the loss");
        std::fs::rename(&aside, place.path()).unwrap();
        store.deliver(&[reading("roof", 2)]).unwrap();
        assert_eq!(place.times(), [1, 2]);
    }

    #[test]
    fn a_column_that_the_file_has_not_yet_is_added() {
        let place = Place::new();
        place.store().deliver(&[full_reading("roof", 1)]).unwrap();
        let narrow =
            "DROP VIEW readings; DROP VIEW sample; ALTER TABLE sample_1 DROP COLUMN load_power";
        place.other().execute_batch(narrow).unwrap();
        place
            .store()
            .deliver(&[full_reading("roof", 2), full_reading("barn", 2)])
            .unwrap();
        let other = place.other();
        assert_shown(&other, &full_reading("roof", 2));
        assert_shown(&other, &full_reading("barn", 2));
        assert_eq!(
            place.one::<i64>("SELECT count(*) FROM readings WHERE load_power IS NULL"),
            1
        );
    }

    #[test]
    fn a_later_versions_column_and_view_do_no_harm() {
        let place = Place::new();
        place.store().deliver(&[full_reading("roof", 1)]).unwrap();
        place
            .other()
            .execute_batch(
                "ALTER TABLE sample_1 ADD COLUMN moon_power INTEGER; UPDATE sample_1 SET moon_power = 7;
                 DROP VIEW sample; CREATE VIEW sample AS SELECT 1 AS inverter, * FROM sample_1;
                 DROP VIEW readings; CREATE VIEW readings AS SELECT time, moon_power FROM sample",
            )
            .unwrap();
        let mut store = place.store();
        store
            .deliver(&[full_reading("roof", 2), full_reading("barn", 3)])
            .unwrap();
        assert_eq!(
            place.one::<i64>("SELECT moon_power FROM readings WHERE time = 1"),
            7
        );
        assert_eq!(place.times(), [1, 2, 3]);
    }

    #[test]
    fn a_file_in_which_nothing_has_to_change_is_opened_without_a_write() {
        let place = Place::new();
        place.store().close().unwrap();
        let before = std::fs::read(place.path()).unwrap();
        place.store().close().unwrap();
        assert!(before == std::fs::read(place.path()).unwrap());
    }

    #[test]
    fn closing_leaves_one_file_with_everything_in_it() {
        let place = Place::new();
        let mut store = place.store();
        store.deliver(&[reading("roof", 1)]).unwrap();
        store.close().unwrap();
        assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 1);
        assert_eq!(place.times(), [1]);
    }

    /// Names of the files in the folder that begin so.
    fn files(place: &Place, begin: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(place.0.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let named = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(begin) && !name.ends_with("-wal") && !name.ends_with("-shm")
        };
        paths.filter(named).collect()
    }

    /// Spoils all of the file but its first page.
    fn spoil(place: &Place) -> Vec<u8> {
        let mut bytes = std::fs::read(place.path()).unwrap();
        bytes[4096..].fill(0xA5);
        std::fs::write(place.path(), &bytes).unwrap();
        bytes
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
        let place = Place::new();
        let mut store = place.store();
        store.deliver(&[full_reading("roof", 1)]).unwrap();
        store.close().unwrap();
        let spoilt = spoil(&place);
        let mut store = place.store();
        store.deliver(&[full_reading("roof", 2)]).unwrap();
        assert_eq!(place.times(), [2]);
        let aside = files(&place, "history.db.damaged-");
        assert_eq!(aside.len(), 1);
        assert!(std::fs::read(&aside[0]).unwrap() == spoilt);
    }

    #[test]
    fn damage_is_set_aside_in_the_middle_too_but_only_once() {
        let place = Place::new();
        let mut store = place.store();
        for time in 1..=2 {
            store.deliver(&[full_reading("roof", time)]).unwrap();
            let connection = &store.database().ok().unwrap().connection;
            connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                .unwrap();
            connection.execute_batch("PRAGMA shrink_memory").unwrap();
            spoil(&place);
            // Whoever has the pages in memory notices nothing.
            let other = place.other();
            other.execute_batch("PRAGMA user_version = 2").unwrap();
        }
        let reason = reason(store.deliver(&[full_reading("roof", 3)]));
        assert!(reason.contains("history.db is damaged"), "{reason}");
        assert!(reason.contains("check its disk"), "{reason}");
        assert_eq!(files(&place, "history.db.damaged-").len(), 1);
        assert_eq!(files(&place, "history.db").len(), 2);
    }

    #[test]
    fn a_later_versions_file_is_refused() {
        let place = Place::new();
        place.store().close().unwrap();
        place
            .other()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        let reason = place.refusal();
        assert!(
            reason.contains("history.db was written by a later version"),
            "{reason}"
        );
        assert!(reason.contains("schema 99, this one knows 3"), "{reason}");
    }

    #[test]
    fn another_programs_database_is_refused_and_left_alone() {
        let place = Place::new();
        place
            .other()
            .execute_batch("CREATE TABLE songs (title TEXT)")
            .unwrap();
        let before = std::fs::read(place.path()).unwrap();
        let reason = place.refusal();
        assert!(
            reason.contains("history.db is another program's database"),
            "{reason}"
        );
        assert!(before == std::fs::read(place.path()).unwrap());
    }

    #[test]
    fn a_file_of_another_kind_is_refused_and_left_alone() {
        let place = Place::new();
        let letter = "Dear Sir or Madam, ".repeat(100);
        std::fs::write(place.path(), &letter).unwrap();
        let reason = place.refusal();
        assert!(
            reason.contains("history.db is no SQLite database; move it away"),
            "{reason}"
        );
        assert_eq!(std::fs::read_to_string(place.path()).unwrap(), letter);
    }

    #[test]
    fn a_missing_folder_is_made_and_an_impossible_one_refused() {
        let place = Place::new();
        let nested = place.0.path().join("a/b/history.db");
        Store::open(&nested, PATIENCE, settings(), retention()).unwrap();
        assert!(nested.exists());
        let impossible = nested.join("c/history.db");
        let Err(OpenError(reason)) = Store::open(&impossible, PATIENCE, settings(), retention())
        else {
            panic!("not refused");
        };
        assert!(reason.contains("cannot make the folder"), "{reason}");
        let Err(OpenError(reason)) = Store::open(place.0.path(), PATIENCE, settings(), retention())
        else {
            panic!("not refused");
        };
        assert!(
            reason.contains("is a folder; name a file in it"),
            "{reason}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_this_user_may_not_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = Place::new();
        place.store().close().unwrap();
        let allow = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        allow(&place.path(), 0o444);
        // Root may write everything, so that there is nothing to refuse.
        if std::fs::OpenOptions::new()
            .append(true)
            .open(place.path())
            .is_err()
        {
            let reason = place.refusal();
            assert!(
                reason.contains("history.db is read-only; let this user write"),
                "{reason}"
            );
            allow(&place.path(), 0o644);
            allow(place.0.path(), 0o555);
            let reason = place.refusal();
            assert!(
                reason.contains("history.db") && reason.contains("folder"),
                "{reason}"
            );
            allow(place.0.path(), 0o755);
        }
    }

    #[test]
    fn a_path_that_sqlite_would_keep_in_memory_is_not_taken() {
        let Err(OpenError(reason)) = Store::open(Path::new(""), PATIENCE, settings(), retention())
        else {
            panic!("not refused");
        };
        assert!(reason.contains("is no path for a file"), "{reason}");
    }
}
