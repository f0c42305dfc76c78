//! What people get wrong in their first minutes is told in plain words, with the line to write.

use crate::process::{ended, kstar};
use crate::world::Folder;

/// What people write who do not know TOML, the place that is shown, and the whole of what is told them.
const IN_PLAIN_WORDS: &[(&str, &str, &str)] = &[
    (
        "[inverter]\nhost = \"1.2.3.4\"\n",
        "1:1",
        "there may be several of them, so write two brackets: [[inverter]]",
    ),
    (
        "inverter = \"1.2.3.4\"\n",
        "1:12",
        "an inverter has a section of its own; write two lines: [[inverter]] and host = \"1.2.3.4\"",
    ),
    (
        "[tariff]\ncurrency = \"EUR\"\nprice = 0.32\n",
        "1:1",
        "there may be several of them, so write two brackets: [[tariff]]",
    ),
    (
        "[[tariff]]\ncurrency = \"EUR\"\nprice = \"0,32\"\n",
        "3:9",
        "this is a string (`0,32`), expected a number; write price = 0.32, without quotes",
    ),
    (
        "[[tariff]]\ncurrency = \"EUR\"\nprice = 1234,5\n",
        "3:13",
        "a number has a dot in place of the comma: price = 1234.5",
    ),
    (
        "[[tariff]]\ncurrency = \"EUR\"\nprice = .32\n",
        "3:9",
        "a number has a digit before its dot: price = 0.32",
    ),
    (
        "[[inverter]]\nhost = “1.2.3.4”\n",
        "2:8",
        "these are typographic quotes; write straight ones: host = \"1.2.3.4\"",
    ),
    (
        "[[inverter]]\nhost = „1.2.3.4“\n",
        "2:8",
        "these are typographic quotes; write straight ones: host = \"1.2.3.4\"",
    ),
    (
        "[[inverter]]\nhost = 1.2.3.4\n",
        "2:11",
        "a string stands in quotes: host = \"1.2.3.4\"",
    ),
    (
        "[[inverter]]\nhost: \"roof.lan\"\n",
        "2:7",
        "a key and its value stand on both sides of a `=`: host = \"roof.lan\"",
    ),
    (
        "[[inverter]]\nname = 5\n",
        "2:8",
        "this is a whole number (`5`), expected a string in quotes; write name = \"5\"",
    ),
    (
        "[[inverter]]\nsleeps_at_night = yes\n",
        "2:19",
        "write true or false: sleeps_at_night = true",
    ),
    (
        "[[inverter]]\nsleeps_at_night = \"no\"\n",
        "2:19",
        "this is a string (`no`), expected true or false; write sleeps_at_night = false, without quotes",
    ),
    (
        "[collector]\ntries = 0\n",
        "2:9",
        "`0` is not possible here, expected a whole number from 1 on",
    ),
    (
        "[http]\nlisten = 8099\n",
        "2:10",
        "this is a whole number (`8099`), expected a string in quotes; write listen = \"127.0.0.1:8099\"",
    ),
    (
        "[http]\n",
        "1:1",
        "missing field `listen`; write it, like listen = \"127.0.0.1:8099\"",
    ),
    (
        "sinks.sqlite = \"a.db\"\n",
        "1:16",
        "this is a string (`a.db`), expected a section",
    ),
    (
        "[sinks.stdout]\n[sinks.stdout]\n",
        "2:8",
        "this stands here a second time; leave only one of them",
    ),
    (
        "[collector]\npol_interval = \"5s\"\n",
        "2:1",
        "unknown field `pol_interval`, did you mean `poll_interval`? Expected one of `poll_interval`, `timeout`, \
         `tries`, `grace`, `allow_fast_polling`, `discovery_addresses`",
    ),
    (
        "[mqtt]\n",
        "1:2",
        "unknown field `mqtt`, did you mean `sinks.mqtt`? Expected one of `state_dir`, `timezone`, `collector`, \
         `gate`, `meter`, `inverter`, `site`, `sinks`, `http`, `tariff`",
    ),
];

#[test]
fn a_mistake_of_somebody_new_is_told_in_plain_words_with_the_line_to_write() {
    let folder = Folder::new();
    for (text, place, words) in IN_PLAIN_WORDS {
        folder.write("my.toml", text);
        let refused = ended(&mut kstar(folder.path(), ["check", "--config", "my.toml"]));
        let refused = refused.expect_code(2);
        let shown = format!("error: my.toml:{place}: {words}");
        assert_eq!(refused.stderr[0], shown, "{text}");
    }
}

#[test]
fn all_mistakes_of_a_file_are_shown_at_once_and_no_consequences() {
    let folder = Folder::with_config(
        "[collector]\ntriess = 3\ntimeout = \"soon\"\n\
         [[inverter]]\nhost = “1.2.3.4”\nip = \"1.2.3.4\"\n\
         [[inverter]]\nname = \"a b\"\nhost = \"192.0.2.2\"\nap_address = 300\n\
         [[tariff]]\ncurrency = \"EUR\"\nprice = \"0,32\"\n\
         [sinks.stdout]\nfast = true\n[sinks.mqtt]\npassword = \"hunter2\"\nuser = \"u\"\n[http]\nlisten = 8099\n",
    );
    let refused = ended(&mut kstar(folder.path(), ["check"])).expect_code(2);
    let places: Vec<&str> = refused
        .stderr
        .iter()
        .filter_map(|line| {
            line.trim_start_matches("error: ")
                .strip_prefix("kstar.toml:")
        })
        .filter_map(|line| line.split_once(": ").map(|(place, _)| place))
        .collect();
    let all = [
        "2:1", "3:11", "5:8", "6:1", "8:8", "10:14", "13:9", "15:1", "18:1", "20:10", "16:1",
    ];
    assert_eq!(places, all, "{refused:#?}");
    assert!(!refused.err().contains("hunter2"), "{refused:#?}");
}

#[test]
fn what_cannot_be_read_from_a_folder_says_that_it_is_one() {
    let folder = Folder::with_config("[sinks.sqlite]\npath = \"folder\"\n");
    std::fs::create_dir(folder.join("folder")).expect("a folder");
    for (args, code, words) in [
        (&["check", "--config", "folder"][..], 2, "this is a folder"),
        (
            &["report", "day"],
            1,
            "folder is a folder; name a file in it, like folder/history.db",
        ),
        (
            &["backup", "folder"],
            2,
            "folder is a folder; name a file in it",
        ),
        (
            &["import", "folder"],
            1,
            "folder is a folder; name the file in it",
        ),
        (
            &["init", "--yes", "--host", "127.0.0.1:9", "folder"],
            2,
            "folder is a folder; name a file in it, like folder/kstar.toml",
        ),
        (&["simulate", "--replay", "folder"], 1, "Is a directory"),
    ] {
        let refused = ended(&mut kstar(folder.path(), args)).expect_code(code);
        assert!(refused.err().contains(words), "{args:?}: {refused:#?}");
    }
}

#[test]
fn a_number_of_zero_and_a_command_that_there_is_not_are_told_what_is_right() {
    let folder = Folder::with_config("[sinks.stdout]\n");
    for (args, words) in [
        (
            &["check", "--connect", "--polls", "0"][..],
            "write a whole number from 1 on",
        ),
        (&["reprot", "day"], "'report'"),
        (
            &["history", "repiar"],
            "a similar subcommand exists: 'repair'",
        ),
        (&["run", "--deom"], "a similar argument exists: '--demo'"),
    ] {
        let refused = ended(&mut kstar(folder.path(), args)).expect_code(2);
        assert!(refused.err().contains(words), "{args:?}: {refused:#?}");
    }
}

#[test]
fn health_without_http_shows_the_two_lines_to_add() {
    let folder = Folder::with_config("[sinks.stdout]\n");
    let refused = ended(&mut kstar(folder.path(), ["health"])).expect_code(2);
    let shown = refused.err();
    assert!(
        shown.contains("\n    [http]\n    listen = \"127.0.0.1:8099\""),
        "{shown}"
    );
}
