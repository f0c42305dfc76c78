//! An inverter that sleeps at night: its own history shows when that is.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};

use crate::modules::free_ip;
use crate::past::Past;
use crate::process::{Process, ended, kstar};
use crate::world::Folder;

/// A zone where it is about noon, so that no span around now goes over midnight.
fn zone_of_noon() -> String {
    let hour = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    // The names of these zones count westwards.
    match 12 - hour {
        0 => "Etc/GMT".to_owned(),
        east @ 1.. => format!("Etc/GMT-{east}"),
        west => format!("Etc/GMT+{}", -west),
    }
}

#[test]
fn started_at_night_it_is_asleep_by_its_history_and_all_is_well() {
    let zone = zone_of_noon();
    let today = Timestamp::now().in_tz(&zone).expect("a zone").date();
    let folder = Folder::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let nobody = free_ip();
    folder.write(
        "kstar.toml",
        format!(
            "state_dir = \"state\"\ntimezone = \"{zone}\"\n\
             [collector]\npoll_interval = \"50ms\"\nallow_fast_polling = true\ntimeout = \"400ms\"\n\
             [[inverter]]\nname = \"roof\"\nhost = \"{nobody}\"\nsleeps_at_night = true\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\n[sinks.sqlite]\npath = \"history.db\"\n"
        ),
    );
    let past = Past {
        zone: &zone,
        first: today - 6.days(),
        days: 5,
        every: Duration::from_secs(240),
        pause: Some([8.0, 16.0]),
        ..Past::default()
    };
    past.write(&folder.join("history.db"));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("the inverter is asleep until it answers again");
    let health = ended(&mut kstar(folder.path(), ["health", "--json"])).expect_code(0);
    assert!(health.out().contains("\"healthy\":true"), "{health:#?}");
    assert!(
        health
            .out()
            .contains("\"part\":\"inverter roof\",\"reason\":\"it is asleep"),
        "{health:#?}"
    );
    run.stop().expect_code(0);
}
