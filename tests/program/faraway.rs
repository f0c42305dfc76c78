//! Inverters that are not there, not reachable, or something else.

use crate::process::{Process, ended, kstar, wait_until};
use crate::world::{BOTH_SINKS, Folder, Peer, Roof, closed_port, config};

#[test]
fn a_poll_of_a_wrong_host_fails_and_tells_why() {
    let web = Peer::new(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        .address
        .to_string();
    let echo: &[u8] = &[0xAA, 0x55, 0xB0, 0x7F, 0x01, 0x06, 0x00, 0x02, 0x35];
    let mirror = Peer::new(Some(echo)).address.to_string();
    let mute = Peer::new(None).address.to_string();
    let closed = closed_port().to_string();
    let folder = Folder::with_config("[collector]\ntimeout = \"100ms\"\n");
    for (host, words) in [
        (
            &*web,
            &["no reply within 100ms from ", "what came instead: "][..],
        ),
        (&mirror, &["no reply", "is the host this machine itself?"]),
        (&mute, &["no reply within 100ms from "]),
        (&closed, &["nobody listens at ", "8899"]),
        ("no-such-host.invalid", &["cannot resolve the host name"]),
    ] {
        for what in [&["--json"][..], &["--device"], &["--settings"]] {
            let args = [&["read", "--host", host], what].concat();
            let failed = ended(&mut kstar(folder.path(), args)).expect_code(1);
            assert_eq!(failed.stderr.len(), 1, "{failed:#?}");
            assert!(
                failed.err().starts_with("error: ") && failed.err().contains(host),
                "{failed:#?}"
            );
            for word in words {
                assert!(failed.err().contains(word), "{word}: {failed:#?}");
            }
            assert_eq!(failed.out(), "");
        }
    }
}

#[test]
fn a_host_that_is_none_is_wrong_use() {
    let folder = Folder::new();
    for host in ["", "a b", "roof:0", "roof:port", "http://roof"] {
        let refused = ended(&mut kstar(folder.path(), ["read", "--host", host])).expect_code(2);
        assert!(refused.err().contains("--host"), "{refused:#?}");
    }
}

#[test]
fn a_silent_inverter_is_said_once_asked_on_and_welcomed_when_it_comes() {
    for answer in [None, Some(&b"rubbish"[..])] {
        let peer = Peer::new(answer);
        let folder = Folder::with_config(
            &config(&[peer.address], BOTH_SINKS).replace("\"400ms\"", "\"50ms\""),
        );
        let run = Process::start(&mut kstar(folder.path(), ["run"]));
        let silent = run.wait_for_log("the inverter is silent");
        assert!(silent.contains(&peer.address.to_string()), "{silent}");
        assert_eq!(
            silent.contains("what came instead"),
            answer.is_some(),
            "{silent}"
        );
        // Two whole polls of three tries each, and the beginning of another one.
        let before = peer.asked();
        wait_until("asking on", || peer.asked() > before + 2 * 3);
        let ended = run.stop().expect_code(0);
        assert_eq!(ended.logged("the inverter is silent"), 1, "{ended:#?}");
        assert_eq!(ended.out(), "");
    }
}

#[test]
fn a_name_that_leads_nowhere_is_said_once_and_tried_again() {
    let folder = Folder::with_config(
        "[collector]\npoll_interval = \"50ms\"\nallow_fast_polling = true\ntries = 1\n\
         [[inverter]]\nname = \"roof\"\nhost = \"no-such-host.invalid\"\n[sinks.stdout]\n",
    );
    let args = ["run", "--log-level", "debug"];
    let run = Process::start(&mut kstar(folder.path(), args));
    let silent = run.wait_for_log("the inverter is silent");
    let words = "cannot resolve the host name `no-such-host.invalid`";
    assert!(silent.contains(words), "{silent}");
    run.wait_for_log("looked for the inverter again");
    let ended = run.stop().expect_code(0);
    assert_eq!(ended.logged("the inverter is silent"), 1, "{ended:#?}");
}

#[test]
fn an_inverter_that_comes_later_to_its_address_is_collected() {
    let address = closed_port();
    let folder = Folder::with_config(&config(&[address], BOTH_SINKS));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let silent = run.wait_for_log("the inverter is silent");
    assert!(silent.contains("nobody listens at"), "{silent}");
    let mut roof = Roof::new(0);
    roof.add(kstar_simulator::Config {
        data: address,
        discovery: None,
        ..kstar_simulator::Config::new(1)
    });
    run.wait_for_log("the inverter answers again");
    run.wait_for_printed(1);
    let ended = run.stop().expect_code(0);
    assert_eq!(ended.logged("the inverter is silent"), 1, "{ended:#?}");
}

#[test]
fn one_inverter_that_is_away_does_not_hold_up_the_others() {
    let roof = Roof::new(1);
    let there = roof.host().parse().expect("an address");
    let folder = Folder::with_config(&config(&[closed_port(), there], BOTH_SINKS));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("the inverter is silent");
    let before = run.printed().len();
    run.wait_for_printed(before + 5);
    let ended = run.stop().expect_code(0);
    assert!(
        ended.stdout.iter().all(|line| line.contains("roof2")),
        "{ended:#?}"
    );
}
