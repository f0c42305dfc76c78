//! What is announced, taken back, migrated and cleared, over time and over starts.

use std::fs;

use kstar_model::catalogue::Quantity;
use kstar_sink::testing::full_reading;
use proptest::prelude::*;

use super::home::Home;
use super::*;

const POWER: Quantity = Quantity::pv_power;
const SOC: Quantity = Quantity::battery_soc;
const ERRORS: Quantity = Quantity::errors;

const FORMS: [Form; 2] = [Form::Device, Form::Entity];

/// Readings five seconds apart.
fn observe(
    discovery: &mut Discovery,
    home: &mut Home,
    after: i64,
    count: i64,
    quantities: &[Quantity],
) {
    for index in 0..count {
        home.take(&discovery.observe(&reading("roof", after + index * 5000, quantities)));
    }
}

fn entities(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_reading_without_anything_new_is_known_by_a_look_and_any_other_is_not() {
    for form in [Form::Device, Form::Entity, Form::Off] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut discovery = start(form, &["roof"], folder.path());
        let usual = reading("roof", 5000, &[POWER, SOC]);
        discovery.observe(&reading("roof", 0, &[POWER, SOC]));
        assert!(discovery.knows_all_of(&usual));
        assert_eq!(discovery.observe(&usual), []);
        let total = reading("roof", 10_000, &[POWER, SOC, Quantity::energy_total]);
        assert!(!discovery.knows_all_of(&total), "a total is retained");
        assert!(!discovery.knows_all_of(&reading("other", 10_000, &[POWER])));
        if form == Form::Off {
            continue;
        }
        let less = reading("roof", 10_000, &[POWER]);
        assert!(!discovery.knows_all_of(&less));
        discovery.observe(&less);
        let again = reading("roof", 15_000, &[POWER, SOC]);
        assert!(
            !discovery.knows_all_of(&again),
            "an absence is to be forgotten"
        );
        discovery.observe(&again);
        assert!(discovery.knows_all_of(&reading("roof", 20_000, &[POWER, SOC])));
        drop(discovery);
        let mut discovery = start(form, &["roof"], folder.path());
        assert!(!discovery.knows_all_of(&usual), "nothing is confirmed yet");
        discovery.observe(&usual);
        assert!(discovery.knows_all_of(&again));
    }
}

#[test]
fn only_what_was_sent_is_announced_and_only_when_it_is_new() {
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut discovery = start(form, &["roof"], folder.path());
        assert_eq!(discovery.all(), []);
        let mut home = Home::default();
        home.take(&discovery.observe(&reading("roof", 0, &[POWER])));
        assert_eq!(home.entities(), ["sensor.kstar_roof.pv_power"]);
        assert_eq!(discovery.observe(&reading("roof", 5000, &[POWER])), []);
        home.take(&discovery.observe(&reading("roof", 10_000, &[POWER, ERRORS])));
        assert_eq!(
            home.entities(),
            [
                "binary_sensor.kstar_roof.errors_problem",
                "sensor.kstar_roof.errors",
                "sensor.kstar_roof.pv_power"
            ]
        );
        let before = home.retained.clone();
        home.take(&discovery.all());
        assert_eq!(home.retained, before, "said again, it is the same");
    }
}

#[test]
fn what_is_missing_for_a_day_is_taken_back_and_not_before() {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let mut discovery = start(form, &["roof"], folder.path());
        observe(&mut discovery, &mut home, 0, 1, &[POWER, ERRORS]);
        observe(&mut discovery, &mut home, 5000, 100, &[POWER]);
        observe(&mut discovery, &mut home, DAY, 1, &[POWER]);
        assert_eq!(home.removals.len(), 0, "{form:?}: a day less five seconds");
        observe(&mut discovery, &mut home, DAY + 5000, 1, &[POWER]);
        assert_eq!(home.entities(), ["sensor.kstar_roof.pv_power"]);
        assert_eq!(home.removals.len(), 2);
        observe(&mut discovery, &mut home, 2 * DAY, 1, &[POWER, ERRORS]);
        assert_eq!(home.entities().len(), 3, "{form:?}: it is back");
        discovery.settled();
        home.take(&discovery.all());
        assert_eq!(home.entities().len(), 3);
    }
}

#[test]
fn a_day_of_silence_and_one_reading_take_nothing_back() {
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let mut discovery = start(form, &["roof"], folder.path());
        observe(&mut discovery, &mut home, 0, 1, &[POWER, SOC]);
        observe(&mut discovery, &mut home, 5000, 1, &[POWER]);
        observe(&mut discovery, &mut home, 90_000_000, 11 - 1, &[POWER]);
        assert_eq!(home.removals.len(), 0);
        observe(&mut discovery, &mut home, 90_060_000, 1, &[POWER, SOC]);
        observe(&mut discovery, &mut home, 90_065_000, 100, &[POWER]);
        assert_eq!(home.removals.len(), 0, "seen again, the day begins anew");
    }
}

#[test]
fn what_a_new_start_does_not_see_again_is_taken_back_after_twelve_readings() {
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let mut discovery = start(form, &["roof"], folder.path());
        observe(&mut discovery, &mut home, 0, 1, &[POWER, SOC, ERRORS]);
        discovery.settled();

        let mut discovery = start(form, &["roof"], folder.path());
        home.take(&discovery.all());
        observe(&mut discovery, &mut home, 10_000, 11, &[POWER, SOC]);
        let twice = reading("roof", 10_000 + 10 * 5000, &[POWER, SOC]);
        assert_eq!(
            discovery.observe(&twice),
            [],
            "the same reading counts once"
        );
        assert_eq!(home.removals.len(), 0, "{form:?}");
        observe(&mut discovery, &mut home, 65_000, 1, &[POWER]);
        assert_eq!(
            home.entities(),
            [
                "sensor.kstar_roof.battery_soc",
                "sensor.kstar_roof.pv_power"
            ],
            "{form:?}: what this start has seen stays for its day"
        );
        observe(&mut discovery, &mut home, 70_000, 100, &[POWER]);
        assert_eq!(home.entities().len(), 2);
    }
}

#[test]
fn a_removed_component_is_named_by_its_platform_alone_and_then_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut discovery = start(Form::Device, &["roof"], folder.path());
    discovery.observe(&reading("roof", 0, &[POWER, SOC]));
    drop(discovery);
    let mut discovery = start(Form::Device, &["roof"], folder.path());
    let mut messages = Vec::new();
    for index in 1..=12 {
        messages = discovery.observe(&reading("roof", index * 5000, &[POWER]));
    }
    let components: Vec<serde_json::Value> = messages
        .iter()
        .map(|message| {
            let payload: serde_json::Value = serde_json::from_str(&message.payload).expect("JSON");
            payload["components"]["battery_soc"].clone()
        })
        .collect();
    assert_eq!(
        components,
        [
            serde_json::json!({ "platform": "sensor" }),
            serde_json::Value::Null
        ]
    );
    assert_eq!(discovery.all(), messages, "until it is acknowledged");
    drop(discovery);
    let mut discovery = start(Form::Device, &["roof"], folder.path());
    assert_eq!(discovery.all(), messages, "over a start too");
    discovery.settled();
    assert_eq!(discovery.all().len(), 1);
}

#[test]
fn when_nothing_is_left_the_device_is_cleared() {
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let mut discovery = start(form, &["roof"], folder.path());
        observe(&mut discovery, &mut home, 0, 1, &[POWER]);
        let mut discovery = start(form, &["roof"], folder.path());
        observe(&mut discovery, &mut home, 5000, 12, &[]);
        assert_eq!(home.topics(), Vec::<&str>::new());
        observe(&mut discovery, &mut home, 100_000, 1, &[POWER]);
        home.take(&discovery.all());
        assert_eq!(home.entities(), ["sensor.kstar_roof.pv_power"]);
    }
}

#[test]
fn switching_the_form_keeps_every_entity_and_leaves_no_topic() {
    for (from, to) in [(Form::Device, Form::Entity), (Form::Entity, Form::Device)] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let mut discovery = start(from, &["roof", "barn"], folder.path());
        for name in ["roof", "barn"] {
            home.take(&discovery.observe(&full_reading(name, BEGIN)));
        }
        discovery.settled();
        let (entities, topics) = (home.entities(), home.retained.clone());

        let mut discovery = start(to, &["roof", "barn"], folder.path());
        let messages = discovery.all();
        home.take(&messages);
        assert_eq!(home.entities(), entities, "{from:?} to {to:?}");
        assert_eq!(home.removals.len(), 0, "{from:?} to {to:?}");
        assert_eq!(home.conflicts.len(), 0, "{from:?} to {to:?}");
        assert!(
            topics
                .keys()
                .all(|topic| !home.retained.contains_key(topic)),
            "{from:?} to {to:?}"
        );
        // Not acknowledged, so a new start says it again; once it is, nothing old is mentioned any more.
        assert_eq!(start(to, &["roof", "barn"], folder.path()).all(), messages);
        discovery.settled();
        assert!(
            start(to, &["roof", "barn"], folder.path())
                .all()
                .iter()
                .all(|message| !topics.contains_key(&message.topic))
        );
        // And back again.
        home.take(&start(from, &["roof", "barn"], folder.path()).all());
        assert_eq!(home.entities(), entities);
        assert_eq!(home.removals.len(), 0);
        assert_eq!(home.conflicts.len(), 0);
        assert_eq!(home.retained, topics);
    }
}

#[test]
fn a_smaller_configuration_another_prefix_or_none_leaves_no_leftovers() {
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let mut discovery = start(form, &["roof", "barn"], folder.path());
        for name in ["roof", "barn"] {
            home.take(&discovery.observe(&full_reading(name, BEGIN)));
        }
        discovery.settled();

        let mut discovery = start(form, &["roof"], folder.path());
        home.take(&discovery.all());
        discovery.settled();
        assert!(home.topics().iter().all(|topic| !topic.contains("barn")));
        assert!(!home.topics().is_empty());

        let elsewhere = HomeAssistantSettings {
            prefix: "ha".to_owned(),
            ..settings(form)
        };
        let mut discovery = Discovery::new(
            &elsewhere,
            topics("one"),
            &context(&["roof"], folder.path()),
        );
        let mut old_home = Home::default();
        old_home.retained.clone_from(&home.retained);
        old_home.take(&discovery.all());
        assert!(
            old_home
                .topics()
                .iter()
                .all(|topic| topic.starts_with("ha/"))
                && !old_home.topics().is_empty()
        );
        discovery.settled();

        let mut discovery = start(Form::Off, &["roof"], folder.path());
        old_home.take(&discovery.all());
        assert_eq!(old_home.topics(), Vec::<&str>::new());
        assert_eq!(discovery.observe(&full_reading("roof", BEGIN)), []);
        discovery.settled();
        assert_eq!(start(Form::Off, &["roof"], folder.path()).all(), []);
    }
}

#[test]
fn what_could_not_be_cleared_yet_is_cleared_by_a_later_start() {
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let mut discovery = start(form, &["roof"], folder.path());
        home.take(&discovery.observe(&full_reading("roof", BEGIN)));
        drop(discovery);
        // Two starts during which the broker is away.
        drop(start(Form::Off, &["roof"], folder.path()));
        drop(start(form, &["barn"], folder.path()));
        home.take(&start(form, &[], folder.path()).all());
        assert_eq!(home.topics(), Vec::<&str>::new(), "{form:?}");
    }
}

#[test]
fn two_collectors_on_one_broker_leave_each_other_alone() {
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let with = |client_id: &str, inverters: &[&str]| {
            Discovery::new(
                &settings(form),
                topics(client_id),
                &context(inverters, folder.path()),
            )
        };
        // Client ids that differ only where a file's name might not.
        home.take(&with("One", &["roof"]).observe(&reading("roof", 0, &[POWER])));
        home.take(&with("one", &["barn"]).observe(&reading("barn", 0, &[POWER])));
        home.take(&with("One", &[]).all());
        assert_eq!(home.entities(), ["sensor.kstar_barn.pv_power"]);
        home.take(&with("one", &["barn"]).all());
        assert_eq!(home.entities(), ["sensor.kstar_barn.pv_power"]);
    }
}

#[test]
fn a_serial_that_becomes_known_is_told_once_and_kept() {
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut discovery = start(form, &["roof"], folder.path());
        discovery.observe(&reading("roof", 0, &[POWER, ERRORS]));
        let mut known = reading("roof", 5000, &[POWER, ERRORS]);
        known.inverter = Arc::new(Inverter {
            name: "roof".into(),
            serial: Some("1234".into()),
            model: Some("GW5048".into()),
        });
        let told = discovery.observe(&known);
        assert_eq!(told, discovery.all(), "every payload names the device");
        assert!(told.iter().all(
            |message| message.payload.contains(r#""serial_number":"1234""#)
                && message.payload.contains(r#""manufacturer":"GoodWe""#)
        ));
        assert_eq!(discovery.observe(&known), []);
        let unknown = reading("roof", 10_000, &[POWER, ERRORS]);
        assert_eq!(discovery.observe(&unknown), []);
        let mut discovery = start(form, &["roof"], folder.path());
        assert_eq!(discovery.all(), told, "a new start knows it at once");
        assert_eq!(discovery.observe(&unknown), []);
    }
}

#[test]
fn a_damaged_record_is_begun_anew() {
    for damage in [
        "",
        "{",
        "[]",
        r#"{"version":9,"client_id":"one","inverters":{},"leftovers":[]}"#,
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mqtt-home-assistant-one.json");
        fs::write(&path, damage).expect("written");
        let mut discovery = start(Form::Device, &["roof"], folder.path());
        assert_eq!(discovery.all(), []);
        let told = discovery.observe(&reading("roof", 0, &[POWER]));
        assert_eq!(start(Form::Device, &["roof"], folder.path()).all(), told);
    }
}

#[test]
fn a_record_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let no_folder = folder.path().join("file");
    fs::write(&no_folder, "").expect("written");
    let mut discovery = start(Form::Device, &["roof"], &no_folder);
    assert_eq!(discovery.observe(&reading("roof", 0, &[POWER])).len(), 1);
}

/// The sink's own topics that are cleared by these messages.
fn own_cleared(messages: &[crate::message::Message]) -> Vec<&str> {
    messages
        .iter()
        .filter(|message| message.payload.is_empty() && message.topic.starts_with("kstar/"))
        .map(|message| message.topic.as_str())
        .collect()
}

#[test]
fn the_sinks_own_retained_topics_go_with_their_inverter_or_their_prefix() {
    const TOTAL: Quantity = Quantity::energy_total;
    for form in [Form::Device, Form::Entity, Form::Off] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut discovery = start(form, &["roof", "barn"], folder.path());
        for name in ["roof", "barn"] {
            discovery.observe(&reading(name, 0, &[POWER]));
            discovery.observe(&reading(name, 5000, &[POWER, TOTAL]));
        }
        discovery.settled();
        let same = start(form, &["roof", "barn"], folder.path());
        assert_eq!(own_cleared(&same.all()), Vec::<&str>::new());

        let mut smaller = start(form, &["roof"], folder.path());
        // Only Home Assistant is told when the last reading came.
        let with_last = |mut topics: Vec<&'static str>, last| {
            if form != Form::Off {
                topics.insert(topics.len() - 1, last);
            }
            topics
        };
        assert_eq!(
            own_cleared(&smaller.all()),
            with_last(
                vec!["kstar/barn/energy_total", "kstar/barn/status"],
                "kstar/barn/last_reading"
            ),
            "{form:?}"
        );
        smaller.settled();
        assert_eq!(own_cleared(&smaller.all()), Vec::<&str>::new());

        let json = Topics {
            per_quantity: false,
            ..topics("one")
        };
        let json = Discovery::new(&settings(form), json, &context(&["roof"], folder.path()));
        assert_eq!(own_cleared(&json.all()), ["kstar/roof/energy_total"]);

        let elsewhere = Topics {
            prefix: "solar".to_owned(),
            ..topics("one")
        };
        let elsewhere = Discovery::new(
            &settings(form),
            elsewhere,
            &context(&["roof"], folder.path()),
        );
        assert_eq!(
            own_cleared(&elsewhere.all()),
            with_last(
                vec![
                    "kstar/roof/energy_total",
                    "kstar/collector/one/status",
                    "kstar/roof/status"
                ],
                "kstar/roof/last_reading"
            ),
            "{form:?}: what the start before could not clear comes first"
        );
        // Back again before anything was cleared: only what comes again is spared.
        let mut back = start(form, &["roof"], folder.path());
        back.observe(&reading("roof", 10_000, &[POWER, TOTAL]));
        assert_eq!(own_cleared(&back.all()), Vec::<&str>::new(), "{form:?}");
    }
}

#[test]
fn a_total_that_is_taken_back_leaves_no_retained_value() {
    const TOTAL: Quantity = Quantity::energy_total;
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        start(form, &["roof"], folder.path()).observe(&reading("roof", 0, &[POWER, TOTAL]));
        let mut discovery = start(form, &["roof"], folder.path());
        let mut messages = Vec::new();
        for index in 1..=12 {
            messages = discovery.observe(&reading("roof", index * 5000, &[POWER]));
        }
        assert_eq!(own_cleared(&messages), ["kstar/roof/energy_total"]);
        discovery.observe(&reading("roof", 100_000, &[POWER, TOTAL]));
        assert_eq!(own_cleared(&discovery.all()), Vec::<&str>::new());
    }
}

/// A newer version's record may name what this one does not know.
#[test]
fn a_component_that_is_no_longer_known_is_removed() {
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let mut discovery = start(form, &["roof"], folder.path());
        home.take(&discovery.observe(&reading("roof", 0, &[POWER, SOC])));
        drop(discovery);
        let rename = |text: &str| text.replace("battery_soc", "no_such_quantity");
        let retained = std::mem::take(&mut home).retained;
        for payload in retained {
            home.take(&[crate::message::Message {
                topic: rename(&payload.0),
                payload: rename(&payload.1),
                retain: true,
            }]);
        }
        let path = folder.path().join("mqtt-home-assistant-one.json");
        let record = fs::read_to_string(&path).expect("a record");
        fs::write(&path, rename(&record)).expect("written");
        home.take(&start(form, &["roof"], folder.path()).all());
        assert_eq!(
            home.entities(),
            entities(&["sensor.kstar_roof.pv_power"]),
            "{form:?}"
        );
    }
}

#[test]
fn the_first_of_two_like_named_inverters_keeps_the_plain_entity_ids() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["a-b", "a_b", "roof", "roof_load"];
    let mut discovery = start(Form::Device, &names, folder.path());
    let ids: Vec<String> = names
        .iter()
        .map(|name| {
            let messages = discovery.observe(&reading(name, 0, &[Quantity::energy_today]));
            let payload: serde_json::Value =
                serde_json::from_str(&messages[0].payload).expect("JSON");
            payload["components"]["energy_today"]["default_entity_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(
        ids,
        [
            "sensor.a_b_energy_today",
            "sensor.a_b_2_energy_today",
            "sensor.roof_energy_today",
            "sensor.roof_load_2_energy_today"
        ]
    );
}

/// What may happen to a collector and its connection.
#[derive(Clone, Debug)]
enum Step {
    /// A reading of one of two inverters.
    Read(bool, Vec<usize>),
    /// A start with this form, with both inverters or one. So much of what is said then arrives.
    Start(Form, bool, usize),
    /// The collector tells of itself, with one sink or two.
    Collector(bool),
    /// The price is told, if there is one.
    Price(bool),
    /// The connection is there again.
    Connect,
    /// The connection is gone.
    Disconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let form = prop_oneof![Just(Form::Device), Just(Form::Entity), Just(Form::Off)];
    prop_oneof![
        4 => (any::<bool>(), prop::collection::vec(0..6_usize, 0..6))
            .prop_map(|(first, set)| Step::Read(first, set)),
        2 => (form, any::<bool>(), 0..40_usize)
            .prop_map(|(form, both, arrives)| Step::Start(form, both, arrives)),
        1 => any::<bool>().prop_map(Step::Collector),
        1 => any::<bool>().prop_map(Step::Price),
        1 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Over any starts, switches and outages, in the middle of what is said too: no entity is announced on two topics
    /// at once, and in the end Home Assistant has what the last start announces and the broker nothing else.
    #[test]
    fn nothing_is_left_behind_whatever_happens(steps in prop::collection::vec(step(), 1..25)) {
        const SOME: [Quantity; 6] = [
            POWER,
            SOC,
            ERRORS,
            Quantity::energy_today,
            Quantity::load_energy_today,
            Quantity::bms_errors,
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let mut discovery = start(Form::Device, &["roof", "barn"], folder.path());
        let mut connected = true;
        for (index, step) in steps.iter().enumerate() {
            match step {
                Step::Read(first, set) => {
                    let name = if *first { "roof" } else { "barn" };
                    let quantities: Vec<Quantity> = set.iter().map(|index| SOME[*index]).collect();
                    let after = i64::try_from(index).expect("small") * 5000;
                    // An inverter that was taken out of the configuration sends nothing any more.
                    if discovery.devices.contains_key(name) {
                        let messages = discovery.observe(&reading(name, after, &quantities));
                        if connected {
                            home.take(&messages);
                            discovery.settled();
                        }
                    }
                }
                Step::Start(form, both, arrives) => {
                    let names: &[&str] = if *both { &["roof", "barn"] } else { &["roof"] };
                    discovery = start(*form, names, folder.path());
                    let messages = discovery.all();
                    home.take(&messages[..messages.len().min(*arrives)]);
                    connected = messages.len() <= *arrives;
                    if connected {
                        discovery.settled();
                    }
                }
                Step::Collector(both) => {
                    let sinks: &[&str] = if *both { &["mqtt", "sqlite"] } else { &["mqtt"] };
                    let messages = discovery.collector(&collector(None, sinks));
                    if connected {
                        home.take(&messages);
                        discovery.settled();
                    }
                }
                Step::Price(is_known) => {
                    let messages = discovery.price(&price(is_known.then_some("EUR")));
                    if connected {
                        home.take(&messages);
                        discovery.settled();
                    }
                }
                Step::Connect => {
                    home.take(&discovery.all());
                    discovery.settled();
                    connected = true;
                }
                Step::Disconnect => connected = false,
            }
        }
        // Each start is told of it.
        discovery.collector(&collector(None, &["mqtt"]));
        home.take(&discovery.all());
        let mut fresh = Home::default();
        fresh.take(&discovery.all());
        prop_assert_eq!(home.entities(), fresh.entities());
        prop_assert_eq!(&home.retained, &fresh.retained);
        discovery.settled();
        home.take(&start(Form::Off, &[], folder.path()).all());
        prop_assert_eq!(home.topics(), Vec::<&str>::new());
    }
}
