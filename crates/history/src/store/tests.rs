use kstar_model::catalogue::{Quantity, Value};
use kstar_model::reading::Inverter;
use kstar_model::scalar::Kind;
use kstar_model::time::UnixMillis;
use kstar_sink::testing::{full_reading, reading, readings};
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::*;
use crate::retention::KeepFor;
use crate::schema;

const PATIENCE: Duration = Duration::from_millis(50);

fn settings() -> Settings {
    Settings::new(kstar_model::TimeZone::UTC, Duration::from_secs(5))
}

fn retention() -> Retention {
    Retention {
        samples: KeepFor::Forever,
        ..Retention::default()
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
        refusal(&self.path())
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

/// Why a file at this place cannot be opened.
fn refusal(path: &Path) -> String {
    reason(Store::open(path, PATIENCE, settings(), retention()).map(drop))
}

fn reason(outcome: Result<(), HistoryError>) -> String {
    outcome.unwrap_err().to_string()
}

fn with_attributes(reading: &Reading, serial: Option<&str>, model: Option<&str>) -> Arc<Reading> {
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
        .prepare(
            "SELECT samples FROM bucket_5min_1 WHERE \"begin\" >= ? AND \"begin\" < ? ORDER BY 1",
        )
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
        // Anyone who has the pages in memory notices nothing.
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
    let reason = refusal(&impossible);
    assert!(reason.contains("cannot make the folder"), "{reason}");
    let reason = refusal(place.0.path());
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
    let reason = refusal(Path::new(""));
    assert!(reason.contains("is no path for a file"), "{reason}");
}
