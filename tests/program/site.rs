//! All inverters together, as one more: to whom it is told, and that it is gone while one of them is.

use serde_json::Value;

use crate::http::Served;
use crate::mqtt::{Broker, messages};
use crate::process::wait_until;
use crate::world::{Folder, Roof, readings, rows};

/// The newest readings, by inverter.
fn latest(served: &Served) -> Vec<(String, Value)> {
    let readings: Vec<Value> =
        serde_json::from_str(&served.get("/api/v1/readings/latest").body).expect("JSON");
    readings
        .into_iter()
        .map(|reading| {
            (
                reading["inverter"].as_str().expect("a name").to_owned(),
                reading,
            )
        })
        .collect()
}

fn of(served: &Served, name: &str) -> Option<Value> {
    let mut all = latest(served).into_iter();
    all.find(|(inverter, _)| inverter == name)
        .map(|(_, reading)| reading)
}

#[test]
fn two_inverters_are_a_house_until_one_falls_silent() {
    let (mut roof, broker) = (Roof::new(2), Broker::start());
    let listener = broker.listen();
    let sections = format!(
        "[site]\nenabled = true\n[sinks.stdout]\n[sinks.sqlite]\npath = \"history.db\"\n[http]\nlisten = \
         \"127.0.0.1:0\"\n[sinks.mqtt]\nurl = \"{}\"\n",
        broker.url()
    );
    let folder = Folder::with_config(&roof.config(&sections));
    let history = folder.join("history.db");
    let served = Served::in_folder(folder);
    wait_until("a sum", || of(&served, "site").is_some());

    // The sum is that of readings which may have changed since it was made.
    let power = |reading: &Value| reading["load_power"].as_f64().expect("a load");
    wait_until("a sum of what both tell", || {
        let all = latest(&served);
        let [one, other, site] = &all[..] else {
            return false;
        };
        let sum = power(&one.1) + power(&other.1);
        assert_eq!(site.0, "site");
        (power(&site.1) - sum).abs() < 0.01
    });
    let site = of(&served, "site").expect("a sum");
    assert!(
        site.get("grid_voltage").is_none() && site.get("battery_soc").is_none(),
        "{site}"
    );
    let metrics = served.get("/metrics").body;
    assert!(
        metrics.contains("kstar_load_power_watts{inverter=\"site\"}"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("kstar_inverter_up{inverter=\"site\"}"),
        "{metrics}"
    );
    let told = |topic: &str| {
        messages(&listener.printed())
            .remove(topic)
            .map(|(_, _, payload)| payload)
    };
    let status = |payload: &str| told("kstar/site/status").as_deref() == Some(payload);
    wait_until("it is online", || status("online"));
    wait_until("its state", || told("kstar/site/state").is_some());
    wait_until("Home Assistant knows it", || {
        let mut topics = messages(&listener.printed()).into_keys();
        topics.any(|topic| topic.starts_with("homeassistant/device/") && topic.contains("site"))
    });

    // One is gone: so is the house, and the other goes on.
    roof.take_first();
    wait_until("no sum", || of(&served, "site").is_none());
    wait_until("it is offline", || status("offline"));
    assert!(of(&served, "roof2").is_some());
    assert!(!served.get("/metrics").body.contains("inverter=\"site\""));

    // It is never kept, and whoever wants every reading has each inverter's.
    let printed = readings(&served.process.printed());
    assert!(printed.iter().all(|reading| reading["inverter"] != "site"));
    let kept = rows(&crate::world::open(&history));
    assert!(!kept.is_empty() && kept.iter().all(|row| row["inverter"] != "site"));
    served.process.stop().expect_code(0);
}

#[test]
fn a_house_that_is_not_asked_for_is_not_told() {
    let roof = Roof::new(2);
    let served = Served::by(&roof, "[sinks.stdout]\n[http]\nlisten = \"127.0.0.1:0\"\n");
    wait_until("both tell", || latest(&served).len() == 2);
    served.process.wait_for_printed(20);
    assert!(of(&served, "site").is_none());
    assert!(!served.get("/metrics").body.contains("inverter=\"site\""));
    // The page shows it all the same.
    let page = crate::http::Answer::to(
        served.address,
        "GET",
        "/",
        &[&format!("Host: {}", served.address), "Accept: text/html"],
    );
    assert!(page.body.contains("Whole house"), "{}", page.body);
}
