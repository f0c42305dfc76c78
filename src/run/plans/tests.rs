use proptest::prelude::*;

use super::*;

proptest! {
    /// Names with a number each, which stands for all that is said of them.
    #[test]
    fn what_changes_leads_from_the_one_to_the_other_and_touches_nothing_else(
        before in prop::collection::btree_map(0..8_u8, 0..3_u8, 0..8),
        after in prop::collection::btree_map(0..8_u8, 0..3_u8, 0..8),
    ) {
        let names = |all: &BTreeMap<u8, u8>| all.keys().copied().collect::<BTreeSet<_>>();
        let all = changes(&names(&before), &names(&after), |name| before.get(name) == after.get(name));
        let mut running = before.clone();
        for (name, change) in &all {
            match change {
                Change::Kept => {}
                Change::Stopped => prop_assert!(running.remove(name).is_some()),
                Change::Started => prop_assert!(running.insert(*name, after[name]).is_none()),
                Change::Replaced => {
                    let old = running.insert(*name, after[name]);
                    prop_assert!(old.is_some_and(|old| old != after[name]));
                }
            }
        }
        prop_assert_eq!(&running, &after);
        // The way back is the mirror of it.
        let back = changes(&names(&after), &names(&before), |name| before.get(name) == after.get(name));
        for (name, change) in &all {
            let mirrored = match change {
                Change::Started => Change::Stopped,
                Change::Stopped => Change::Started,
                other => *other,
            };
            prop_assert_eq!(back[name], mirrored);
        }
        // What is so already stays.
        let none = changes(&names(&after), &names(&after), |_| true);
        prop_assert!(none.values().all(|change| *change == Change::Kept));
    }
}

#[cfg(feature = "stdout")]
fn plans(text: &str) -> Plans {
    let source = ConfigFile::new("kstar.toml", text);
    let config = Config::parse(&source).expect("a configuration");
    Plans::new(source, config)
}

#[cfg(all(feature = "stdout", feature = "sqlite"))]
fn all_changes(before: &str, after: &str) -> String {
    let (before, after) = (plans(before), plans(after));
    let changes = before.changes(&after, &before.sink_names());
    let [started, stopped, replaced, kept] = [
        Change::Started,
        Change::Stopped,
        Change::Replaced,
        Change::Kept,
    ]
    .map(|change| changes.listed(change));
    format!("started: {started}; stopped: {stopped}; replaced: {replaced}; kept: {kept}")
}

#[cfg(feature = "stdout")]
const ROOF: &str = "state_dir = '/s'\n[[inverter]]\nname = 'roof'\nhost = '192.0.2.1'\n";
#[cfg(all(feature = "stdout", any(feature = "sqlite", feature = "mqtt")))]
const BARN: &str = "[[inverter]]\nname = 'barn'\nhost = '192.0.2.2'\n";

#[test]
#[cfg(all(feature = "stdout", feature = "sqlite"))]
fn only_what_is_said_otherwise_is_touched() {
    let both = "[sinks.stdout]\n[sinks.sqlite]\n";
    let base = format!("{ROOF}{both}");
    for (before, after, expected) in [
        (
            base.clone(),
            format!("{ROOF}{BARN}{both}"),
            "started: inverter barn; stopped: none; replaced: none; kept: inverter roof, sink sqlite, sink stdout",
        ),
        (
            format!("{ROOF}{BARN}{both}"),
            base.clone(),
            "started: none; stopped: inverter barn; replaced: none; kept: inverter roof, sink sqlite, sink stdout",
        ),
        (
            base.clone(),
            format!("{ROOF}[sinks.stdout]\n[sinks.sqlite]\nkeep_raw = '9d'\n"),
            "started: none; stopped: none; replaced: sink sqlite; kept: inverter roof, sink stdout",
        ),
        (
            base.clone(),
            format!("{ROOF}[sinks.stdout]\n"),
            "started: none; stopped: sink sqlite; replaced: none; kept: inverter roof, sink stdout",
        ),
        // The sums of the history do not depend on so small a difference.
        (
            base.clone(),
            base.replace(
                "[[inverter]]",
                "[collector]\npoll_interval = '9s'\n[[inverter]]",
            ),
            "started: none; stopped: none; replaced: inverter roof; kept: sink sqlite, sink stdout",
        ),
        (
            base.clone(),
            base.replace(
                "[[inverter]]",
                "[collector]\npoll_interval = '5m'\n[[inverter]]",
            ),
            "started: none; stopped: none; replaced: inverter roof, sink sqlite; kept: sink stdout",
        ),
        (
            base.clone(),
            base.replace("[[inverter]]", "[collector]\ngrace = '9s'\n[[inverter]]"),
            "started: none; stopped: none; replaced: none; kept: inverter roof, sink sqlite, sink stdout",
        ),
    ] {
        assert_eq!(
            all_changes(&before, &after),
            expected,
            "{before}\n->\n{after}"
        );
    }
}

#[test]
#[cfg(all(feature = "stdout", feature = "mqtt"))]
fn a_sink_that_shows_inverters_is_replaced_with_their_list_and_with_its_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "one").expect("written");
    let sinks = format!(
        "[sinks.stdout]\n[sinks.mqtt]\nurl = 'mqtt://b'\nusername = 'u'\npassword = {{ file = '{}' }}\n",
        secret.display()
    );
    let before = plans(&format!("{ROOF}{sinks}"));
    let running = before.sink_names();
    let changes = |after: &str| before.changes(&plans(after), &running);
    let more = changes(&format!("{ROOF}{BARN}{sinks}"));
    assert_eq!(more.sinks(Change::Replaced), ["mqtt"]);
    assert_eq!(more.sinks(Change::Kept), ["stdout"]);
    std::fs::write(&secret, "two").expect("written");
    let edited = changes(&format!("{ROOF}{sinks}"));
    assert_eq!(edited.sinks(Change::Replaced), ["mqtt"]);
    assert_eq!(edited.inverters(Change::Kept), [Arc::from("roof")]);
}

#[test]
#[cfg(feature = "stdout")]
fn a_sink_that_has_ended_is_started_again() {
    let text = format!("{ROOF}[sinks.stdout]\n");
    let (before, after) = (plans(&text), plans(&text));
    let changes = before.changes(&after, &BTreeSet::new());
    assert_eq!(changes.sinks(Change::Started), ["stdout"]);
}
