//! Mistakes in the configuration: each ends with status 2 and shows its place and the way out.

use crate::process::{ended, kstar};
use crate::world::{Folder, kstar_without_privileges};

/// A mistake, the place that is shown and what is said about it.
const MISTAKES: &[(&str, &str, &[&str])] = &[
    ("[sinks.stdout", "1:14", &["]"]),
    ("sinks = 1\n", "1:9", &["expected"]),
    (
        "[sinks.stdout]\n[sink]\n",
        "2:2",
        &[
            "unknown field `sink`",
            "`state_dir`",
            "`collector`",
            "`inverter`",
            "`sinks`",
        ],
    ),
    (
        "[sinks.sqlitee]\n",
        "1:8",
        &["unknown field `sqlitee`", "`stdout`", "`sqlite`"],
    ),
    (
        "[sinks.stdout]\ncolour = true\n",
        "2:1",
        &["unknown field `colour`", "`delivery`"],
    ),
    (
        "[sinks.sqlite]\nfile = \"a.db\"\n",
        "2:1",
        &["unknown field `file`", "`path`", "`delivery`"],
    ),
    (
        "[sinks.sqlite.delivery]\nqueu = 5\n",
        "2:1",
        &["unknown field `queu`", "`queue`", "`batch`", "`timeout`"],
    ),
    (
        "[sinks.sqlite.delivery]\nqueue = 0\n",
        "2:9",
        &["a whole number from 1 on"],
    ),
    (
        "[sinks.sqlite]\ndelivery.batch = -1\n",
        "2:18",
        &["a whole number from 1 on"],
    ),
    (
        "[sinks.sqlite]\ndelivery.timeout = \"1h\"\n",
        "2:20",
        &["shorter than the grace of 10s"],
    ),
    ("[collector]\npoll_interval = 5\n", "2:17", &["\"5s\""]),
    ("[collector]\npoll_interval = \"5\"\n", "2:17", &["\"5s\""]),
    (
        "[collector]\npoll_interval = \"100ms\"\n",
        "2:17",
        &["allow_fast_polling"],
    ),
    (
        "[collector]\ntries = 0\n",
        "2:9",
        &["a whole number from 1 on"],
    ),
    (
        "[collector]\ninterval = \"5s\"\n",
        "2:1",
        &["unknown field `interval`", "`poll_interval`"],
    ),
    (
        "[[inverter]]\nname = \"a b\"\n",
        "2:8",
        &["A-Z a-z 0-9 _ -"],
    ),
    (
        "[[inverter]]\nhost = \"roof:0\"\n",
        "2:8",
        &["from 1 to 65535"],
    ),
    (
        "[[inverter]]\nap_address = 300\n",
        "2:14",
        &["0xB0", "0xC0"],
    ),
    (
        "[[inverter]]\nip = \"192.0.2.1\"\n",
        "2:1",
        &["unknown field `ip`", "`name`", "`host`", "`ap_address`"],
    ),
    (
        "[[inverter]]\nname = \"a\"\nhost = \"192.0.2.1\"\n[[inverter]]\nname = \"a\"\nhost = \"192.0.2.2\"\n",
        "5:8",
        &["both named `a`"],
    ),
    (
        "[[inverter]]\nname = \"a\"\nhost = \"192.0.2.1\"\n[[inverter]]\nname = \"b\"\nhost = \"192.0.2.1\"\n",
        "6:8",
        &["two pollers disturb each other"],
    ),
    (
        "[[inverter]]\nname = \"a\"\n[[inverter]]\nname = \"b\"\n",
        "1:1",
        &["each needs a host", "kstar discover"],
    ),
];

#[test]
fn each_mistake_is_shown_with_its_place_and_what_is_right() {
    let folder = Folder::new();
    for (text, place, words) in MISTAKES {
        folder.write("my.toml", text);
        for command in ["run", "check", "read"] {
            let args = [command, "--config", "my.toml"];
            let refused = ended(&mut kstar(folder.path(), args)).expect_code(2);
            let shown = refused.err();
            assert!(
                shown.starts_with(&format!("error: my.toml:{place}: ")),
                "{shown}"
            );
            for word in *words {
                assert!(shown.contains(word), "{word}: {shown}");
            }
            // The line itself, and a mark below the place.
            let (line, column) = place.split_once(':').expect("two numbers");
            let line: usize = line.parse().expect("a number");
            let column: usize = column.parse().expect("a number");
            let quoted = text.lines().nth(line - 1).expect("a line");
            assert_eq!(refused.stderr[2], format!("{line} | {quoted}"), "{shown}");
            let mark = refused.stderr[3].find('^').expect("a mark");
            assert_eq!(mark, "1 | ".len() + column - 1, "{shown}");
            assert_eq!(refused.out(), "");
        }
    }
}

#[test]
fn a_configuration_without_any_sink_collects_for_nobody() {
    let folder = Folder::with_config("[[inverter]]\nhost = \"192.0.2.1\"\n");
    for command in ["run", "check"] {
        let refused = ended(&mut kstar(folder.path(), [command])).expect_code(2);
        let shown = refused.err();
        assert!(shown.contains("kstar.toml: no sink is enabled"), "{shown}");
        assert!(shown.contains("[sinks.sqlite]"), "{shown}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let folder = Folder::new();
    folder.write("bytes.toml", b"# \xC3\xA9\nstate_dir = \"\xFF\"\n");
    for (path, words) in [
        (
            "missing.toml",
            "missing.toml: cannot read the configuration: No such file",
        ),
        (".", ".: cannot read the configuration: Is a directory"),
        ("bytes.toml", "bytes.toml:2:14: this is not UTF-8"),
    ] {
        for how in ["argument", "environment"] {
            let mut command = kstar(folder.path(), ["check"]);
            match how {
                "argument" => command.args(["--config", path]),
                _ => command.env("KSTAR_CONFIG", path),
            };
            let refused = ended(&mut command).expect_code(2);
            assert!(refused.err().contains(words), "{refused:#?}");
        }
    }

    folder.write("kstar.toml", "[sinks.stdout]\n");
    let secret = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    let path = folder.join("kstar.toml");
    std::fs::set_permissions(&path, secret).expect("permissions");
    let mut command = kstar_without_privileges(&folder, &["check"]);
    if std::fs::metadata(&path).is_ok_and(|file| std::os::unix::fs::MetadataExt::uid(&file) != 0) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        std::fs::set_permissions(&path, mode).expect("permissions");
    }
    let refused = ended(&mut command).expect_code(2);
    assert!(
        refused
            .err()
            .contains("kstar.toml: cannot read the configuration: Permission denied"),
        "{refused:#?}"
    );
}
