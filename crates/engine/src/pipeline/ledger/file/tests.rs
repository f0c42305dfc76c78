use kstar_model::counted::AccountId;
use proptest::prelude::*;

use super::super::quarantine;
use super::*;
use crate::pipeline::meter::counters::Flow;

const NAMES: [&str; 2] = ["roof", "garage"];

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn open(folder: &tempfile::TempDir) -> LedgerFile {
    LedgerFile::open(folder.path()).expect("a ledger")
}

fn account(thousandths: u64) -> Account {
    let mut account = Account::default();
    account.current.meter.set(Flow::Pv, thousandths);
    account.id = AccountId(7);
    account
}

fn count_of(ledger: &mut LedgerFile, name: &str, thousandths: u64) {
    *ledger.account_mut(name) = account(thousandths);
    assert!(ledger.write());
    assert_eq!(ledger.trouble(), None);
}

fn count(ledger: &mut LedgerFile, thousandths: u64) {
    count_of(ledger, "roof", thousandths);
}

fn counted(folder: &tempfile::TempDir) -> Option<i64> {
    let ledger = open(folder);
    let account = ledger.accounts().get("roof")?;
    Some(account.current.meter.totals.of(Flow::Pv).published())
}

fn bytes_of(folder: &tempfile::TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).expect("a file")
}

fn put(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) {
    fs::write(folder.path().join(name), bytes).expect("written");
}

/// A file as an older program wrote it, which knew of no accounts.
fn of_form(version: u32, written: u64, thousandths: u64) -> String {
    let inverters = Accounts::from([("roof".to_owned(), account(thousandths))]);
    let content = serde_json::value::to_raw_value(&Content { written, inverters });
    let text = content.expect("JSON").get().to_owned();
    let text = text.replace(",\"id\":7,\"sequence\":0", "");
    let content = RawValue::from_string(text).expect("JSON");
    let crc32 = sum(version, &content);
    format!("{{\"version\":{version},\"crc32\":\"{crc32}\",\"content\":{content}}}\n")
}

#[test]
fn files_of_the_form_before_get_accounts_which_they_keep_once_they_are_written() {
    let folder = folder();
    for name in BASES {
        put(&folder, name, of_form(2, 3, 5).as_bytes());
    }
    put(&folder, LOG, of_form(2, 4, 6).as_bytes());
    let mut ledger = open(&folder);
    let found = ledger.accounts()["roof"].clone();
    assert_ne!(found.id, AccountId::default());
    let expected = account(6);
    assert_eq!(found.current.meter, expected.current.meter);
    ledger.account_mut("roof");
    assert!(ledger.write());
    assert_eq!(open(&folder).accounts()["roof"], found);
    // The program that wrote them knows nothing of accounts, and must refuse.
    for name in BASES {
        assert!(bytes_of(&folder, name).starts_with(b"{\"version\":3,"));
    }
}

#[test]
fn a_file_of_a_form_that_is_no_longer_read_is_left_alone() {
    let folder = folder();
    let text = of_form(1, 3, 5);
    put(&folder, BASES[0], text.as_bytes());
    let error = LedgerFile::open(folder.path()).expect_err("too old");
    assert!(
        error.to_string().contains("a much earlier version"),
        "{error}"
    );
    assert_eq!(bytes_of(&folder, BASES[0]), text.as_bytes());
}

#[test]
fn what_was_written_is_found_again() {
    let folder = folder();
    assert_eq!(counted(&folder), None);
    let mut ledger = open(&folder);
    for thousandths in [1, 2, 3] {
        count(&mut ledger, thousandths);
        assert_eq!(
            counted(&folder),
            Some(i64::try_from(thousandths).expect("small"))
        );
    }
    count(&mut open(&folder), 4);
    assert_eq!(counted(&folder), Some(4));
    assert_eq!(
        bytes_of(&folder, LOG).split(|byte| *byte == b'\n').count(),
        4
    );
}

#[test]
fn what_was_refused_is_kept_at_once_or_with_the_next_sync() {
    let folder = folder();
    let mut ledger = open(&folder);
    let refuse = |ledger: &mut LedgerFile, reason: &str| {
        ledger.quarantine(&[Refused {
            time: String::new(),
            inverter: "roof".to_owned(),
            reason: reason.to_owned(),
            datagram: String::new(),
        }]);
    };
    let kept = || {
        let kept = quarantine::read(folder.path()).expect("a list").into_iter();
        kept.map(|refused| refused.reason).collect::<Vec<_>>()
    };
    refuse(&mut ledger, "first");
    assert_eq!(kept(), ["first"]);
    refuse(&mut ledger, "second");
    refuse(&mut ledger, "third");
    assert_eq!(kept(), ["first"], "the file is not written each time");
    ledger.sync();
    assert_eq!(kept(), ["first", "second", "third"]);
    assert_eq!(ledger.trouble(), None);
}

#[test]
fn whatever_is_damaged_of_a_base_the_other_takes_its_place_and_nothing_is_thrown_away() {
    for (damaged_one, aside) in BASES.into_iter().zip(["meter", "meter.fallback"]) {
        let folder = folder();
        let mut ledger = open(&folder);
        count(&mut ledger, 5);
        // Another one is in the log, so that this one comes from a base.
        count_of(&mut ledger, "garage", 7);
        let whole = bytes_of(&folder, damaged_one);
        for place in 0..whole.len() - 1 {
            for bit in [1, 2, 4] {
                let mut damaged = whole.clone();
                damaged[place] ^= bit;
                put(&folder, damaged_one, &damaged);
                assert_eq!(counted(&folder), Some(5), "byte {place}");
                assert_eq!(bytes_of(&folder, &format!("{aside}.damaged")), damaged);
            }
        }
        for length in [0, 1, whole.len() / 2, whole.len() - 3] {
            put(&folder, damaged_one, &whole[..length]);
            assert_eq!(counted(&folder), Some(5), "cut to {length}");
        }
        // The next to write fixes it.
        count_of(&mut open(&folder), "garage", 8);
        assert_eq!(bytes_of(&folder, BASES[0]), bytes_of(&folder, BASES[1]));
        assert_eq!(bytes_of(&folder, LOG), b"");
    }
}

#[test]
fn without_any_base_what_is_in_the_log_still_counts() {
    let folder = folder();
    let mut ledger = open(&folder);
    count(&mut ledger, 5);
    count(&mut ledger, 6);
    for base in BASES {
        put(&folder, base, b"{");
    }
    assert_eq!(counted(&folder), Some(6));
}

#[test]
fn a_log_that_is_cut_anywhere_costs_what_was_cut_off_and_is_gone_on_from() {
    let folder = folder();
    let mut ledger = open(&folder);
    for thousandths in 1..=4 {
        count(&mut ledger, thousandths);
    }
    // The first made the base.
    let whole = bytes_of(&folder, LOG);
    let base = bytes_of(&folder, BASES[0]);
    // Around the end of each line, and here and there.
    let lengths = (0..=whole.len()).filter(|length| {
        length % 61 == 0
            || (length.saturating_sub(1)..length + 2).any(|place| whole.get(place) == Some(&b'\n'))
    });
    for length in lengths {
        for end in [&b""[..], b"\0\0\0", b"{\"version\""] {
            put(&folder, LOG, &[&whole[..length], end].concat());
            for name in BASES {
                put(&folder, name, &base);
            }
            let lines = whole[..length].split(|byte| *byte == b'\n').count() - 1;
            let left = 1 + i64::try_from(lines).expect("small");
            assert_eq!(counted(&folder), Some(left), "cut to {length}");
            count(&mut open(&folder), 9);
            assert_eq!(counted(&folder), Some(9), "cut to {length}");
        }
    }
}

#[test]
fn a_log_from_before_that_comes_back_changes_nothing() {
    let folder = folder();
    let mut ledger = open(&folder);
    for thousandths in [5, 6, 7] {
        count(&mut ledger, thousandths);
    }
    let old = bytes_of(&folder, LOG);
    count(&mut ledger, 8);
    ledger.rebase().expect("written");
    // Its being emptied was not on the disk yet.
    put(&folder, LOG, &old);
    assert_eq!(counted(&folder), Some(8));
    count(&mut open(&folder), 9);
    assert_eq!(counted(&folder), Some(9));
}

#[test]
fn a_log_that_is_long_is_put_into_the_base() {
    let folder = folder();
    let mut ledger = open(&folder);
    let length = || fs::metadata(folder.path().join(LOG)).expect("a log").len();
    let mut thousandths = 0;
    let mut count_until = |ledger: &mut LedgerFile, least: u64| {
        loop {
            thousandths += 1;
            count(ledger, thousandths);
            if length() >= least {
                break;
            }
        }
    };
    count_until(&mut ledger, LONG_LOG / 2);
    ledger.sync();
    assert!(length() >= LONG_LOG / 2);
    count_until(&mut ledger, LONG_LOG);
    ledger.sync();
    assert_eq!(length(), 0);
    count_until(&mut ledger, LONGEST_LOG);
    count(&mut ledger, 1_000_000);
    assert_eq!(length(), 0);
    assert_eq!(counted(&folder), Some(1_000_000));
}

#[test]
fn a_log_that_somebody_removes_is_begun_anew_and_nothing_is_lost() {
    let folder = folder();
    let mut ledger = open(&folder);
    for thousandths in [5, 6, 7] {
        count(&mut ledger, thousandths);
        fs::remove_file(folder.path().join(LOG)).expect("removed");
    }
    assert_eq!(counted(&folder), Some(7));
    for name in BASES {
        fs::remove_file(folder.path().join(name)).expect("removed");
    }
    assert_eq!(counted(&folder), None);
}

#[test]
fn a_later_versions_file_is_refused_and_left_alone() {
    for name in [BASES[0], BASES[1], LOG] {
        let folder = folder();
        let mut ledger = open(&folder);
        count(&mut ledger, 5);
        count(&mut ledger, 6);
        let text = String::from_utf8(bytes_of(&folder, name)).expect("text");
        let envelope: Envelope = serde_json::from_str(&text).expect("an envelope");
        let later = text
            .replace("\"version\":3", "\"version\":4")
            .replace(&envelope.crc32, &sum(4, envelope.content));
        put(&folder, name, later.as_bytes());
        let error = LedgerFile::open(folder.path()).expect_err("too new");
        assert!(error.to_string().contains("later version"), "{error}");
        assert_eq!(bytes_of(&folder, name), later.as_bytes());
    }
}

#[test]
fn a_folder_that_is_none_is_survived_and_comes_back() {
    let folder = folder();
    let place = folder.path().join("state");
    fs::write(&place, "a file in its place").expect("written");
    // Not there, as far as reading goes: nothing is lost by beginning.
    let Err(LedgerError::Unreadable { .. }) = LedgerFile::open(&place) else {
        panic!("a file is no folder");
    };
    fs::remove_file(&place).expect("removed");
    let mut ledger = LedgerFile::open(&place).expect("a ledger");
    for thousandths in [7, 8] {
        // Once before there was a folder, and once after.
        let _ = fs::remove_dir_all(&place);
        fs::write(&place, "a file in its place").expect("written");
        *ledger.account_mut("roof") = account(thousandths);
        assert!(!ledger.write());
        assert!(ledger.trouble.is_some());
        fs::remove_file(&place).expect("removed");
        assert!(ledger.write());
        assert_eq!(ledger.trouble, None);
        let again = LedgerFile::open(&place).expect("a ledger");
        assert_eq!(again.accounts()["roof"], account(thousandths));
    }
}

/// What happens to a ledger.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Sync,
    Rebase,
    Reopen,
}

/// What happens to a file of it.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Gone,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..NAMES.len()).prop_map(Step::Write),
        1 => Just(Step::Sync),
        1 => Just(Step::Rebase),
        1 => Just(Step::Reopen),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        4 => (any::<prop::sample::Index>(), 0..8_u8).prop_map(|(place, bit)| Damage::Flip(place, bit)),
        1 => Just(Damage::Gone),
    ]
}

proptest! {
    #[test]
    fn whichever_file_is_damaged_what_is_found_was_written_and_a_base_costs_nothing(
        steps in prop::collection::vec(step(), 1..40),
        file in 0..3_usize,
        damage in damage(),
    ) {
        let folder = folder();
        let mut ledger = open(&folder);
        // All that was written under each name, and how much of it is in the base.
        let mut written = [vec![], vec![]];
        let mut in_base = [0, 0];
        let mut next = 1;
        for step in steps {
            match step {
                Step::Write(name) => {
                    count_of(&mut ledger, NAMES[name], next);
                    written[name].push(account(next));
                    next += 1;
                }
                Step::Sync => ledger.sync(),
                Step::Rebase => ledger.rebase().expect("written"),
                Step::Reopen => ledger = open(&folder),
            }
            if ledger.log == Some(0) {
                in_base = [0, 1].map(|name: usize| written[name].len());
            }
        }
        drop(ledger);
        let name = [BASES[0], BASES[1], LOG][file];
        let path = folder.path().join(name);
        if let Ok(mut bytes) = fs::read(&path) {
            match damage {
                Damage::Cut(length) => bytes.truncate(length.index(bytes.len() + 1)),
                Damage::Flip(place, bit) if !bytes.is_empty() => {
                    let place = place.index(bytes.len());
                    bytes[place] ^= 1 << bit;
                }
                Damage::Flip(..) | Damage::Gone => {}
            }
            if let Damage::Gone = damage {
                fs::remove_file(&path).expect("removed");
            } else {
                put(&folder, name, &bytes);
            }
        }
        let found = open(&folder);
        for ((name, written), in_base) in NAMES.into_iter().zip(&written).zip(in_base) {
            let place = match found.accounts().get(name) {
                None => 0,
                Some(account) => {
                    let place = written.iter().position(|one| one == account);
                    1 + place.expect("what was written once")
                }
            };
            prop_assert!(place >= in_base, "{name}: {place} of {}", written.len());
            if file < 2 {
                prop_assert_eq!(place, written.len(), "{}", name);
            }
        }
    }
}
