//! `kstar rename`: what is kept under a name goes on under another one.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::meter::kept;
use crate::mqtt::{Broker, messages};
use crate::process::{Process, ended, kstar, service, wait_until};
use crate::world::{BOTH_SINKS, Folder, Roof, rows};

/// What Home Assistant knows the inverters by.
const BOTH: [&str; 2] = ["kstar_roof1", "kstar_roof2"];

/// What Home Assistant has been told of entities, as soon as it knows one of each of these inverters: their state topics by
/// unique id.
fn entities(broker: &Broker, nodes: [&str; 2]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    wait_until("the announcements", || {
        // Who has just subscribed may not have heard all yet.
        found = announced(broker);
        nodes
            .iter()
            .all(|node| found.contains_key(&format!("{node}-pv_power")))
    });
    found
}

fn announced(broker: &Broker) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (topic, (_, _, payload)) in messages(&broker.listen().printed()) {
        if !topic.starts_with("homeassistant/device/kstar_") || payload.is_empty() {
            continue;
        }
        let config: Value = serde_json::from_str(&payload).expect("JSON");
        let components = config["components"].as_object().expect("components");
        for component in components.values() {
            let text = |key: &str| component[key].as_str().expect("a text").to_owned();
            found.insert(text("unique_id"), text("state_topic"));
        }
    }
    found
}

#[test]
fn counters_history_and_entities_go_on_under_another_name() {
    let (roof, broker) = (Roof::new(2), Broker::start());
    let mqtt = format!(
        "[sinks.mqtt]\nurl = \"{}\"\nclient_id = \"test\"\n",
        broker.url()
    );
    let config = roof.config(&format!("{BOTH_SINKS}{mqtt}"));
    let folder = Folder::with_config(&config);
    let rename = |args: &[&str]| ended(&mut kstar(folder.path(), [&["rename"], args].concat()));
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"mqtt\"");
    run.wait_for_printed(20);
    entities(&broker, BOTH);

    let held = rename(&["roof1", "south"]).expect_code(1).err();
    for words in [
        "a collector runs with",
        "stop it, rename, and start it again",
        "Nothing was changed",
    ] {
        assert!(held.contains(words), "{held}");
    }
    run.stop().expect_code(0);
    let before = entities(&broker, BOTH);
    let counted = kept(&folder, "roof1");
    let readings = rows(&folder.history()).len();

    for (args, words) in [
        (["roof3", "south"], "there are: roof1, roof2"),
        (["roof1", "roof2"], "another inverter is named `roof2`"),
        (["roof1", "roof1"], "has that name already"),
        (["roof1", "a/b"], "cannot name an inverter"),
    ] {
        let said = rename(&args).expect_code(2).err();
        assert!(said.contains(words), "{said}");
    }

    let said = rename(&["roof1", "south"]).expect_code(0).out();
    let first = "from roof1 to south: the energy counters, the history in history.db, what Home Assistant knows it by";
    assert!(said.contains(first), "{said}");
    let line = config
        .lines()
        .position(|line| line == "name = \"roof1\"")
        .expect("it is there");
    let change = format!("kstar.toml, line {}, to: name = \"south\"", line + 1);
    assert!(said.contains(&change), "{said}");
    // The same again does no harm.
    let again = rename(&["roof1", "south"]).expect_code(0).out();
    assert!(
        again.contains("nothing is kept under the name roof1"),
        "{again}"
    );

    folder.write(
        "kstar.toml",
        config.replace("name = \"roof1\"", "name = \"south\""),
    );
    assert_eq!(kept(&folder, "south"), counted);
    assert!(kept(&folder, "roof1").is_empty());
    let kept_readings = rows(&folder.history());
    assert_eq!(kept_readings.len(), readings);
    assert!(kept_readings.iter().all(|row| row["inverter"] != "roof1"));

    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"mqtt\"");
    let mut after = BTreeMap::new();
    wait_until("the new topics", || {
        after = entities(&broker, BOTH);
        after["kstar_roof1-pv_power"] == "kstar/south/pv_power"
    });
    // The ids are the same, and none has a topic of the old name.
    assert!(before.keys().eq(after.keys()));
    let is_old = |topic: &String| topic.starts_with("kstar/roof1/");
    assert!(!after.values().any(is_old));
    wait_until("the old topics are cleared", || {
        let kept = messages(&broker.listen().printed());
        !kept.keys().any(|topic| topic.starts_with("kstar/roof1/"))
    });
    run.stop().expect_code(0);

    // Another inverter that gets the old name is another one for Home Assistant too.
    let third = config.replace("name = \"roof2\"", "name = \"roof1\"");
    folder.write(
        "kstar.toml",
        third.replacen("name = \"roof1\"", "name = \"south\"", 1),
    );
    let run = Process::start(&mut service(folder.path(), ["run"]));
    let apart = entities(&broker, ["kstar_roof1", "kstar_roof1_2"]);
    assert_eq!(apart["kstar_roof1_2-pv_power"], "kstar/roof1/pv_power");
    assert_eq!(apart["kstar_roof1-pv_power"], "kstar/south/pv_power");
    run.stop().expect_code(0);
}

#[test]
fn what_is_kept_under_both_names_is_not_mixed() {
    let roof = Roof::new(1);
    let config = roof.config(BOTH_SINKS);
    let folder = Folder::with_config(&config);
    for name in ["roof1", "south"] {
        folder.write(
            "kstar.toml",
            config.replace("name = \"roof1\"", &format!("name = \"{name}\"")),
        );
        let run = Process::start(&mut service(folder.path(), ["run"]));
        run.wait_for_printed(5);
        run.stop().expect_code(0);
    }
    let counted = ["roof1", "south"].map(|name| kept(&folder, name));
    let said = ended(&mut kstar(folder.path(), ["rename", "roof1", "south"]))
        .expect_code(1)
        .err();
    assert!(
        said.contains("the two cannot be told apart afterwards"),
        "{said}"
    );
    assert_eq!(["roof1", "south"].map(|name| kept(&folder, name)), counted);
}
