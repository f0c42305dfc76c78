//! Mistakes in the configuration: each ends with status 2, and what it names and is not there with 1; both show the
//! place and the way out.

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

/// A section of each sink that is in order, whose lines 1 and 2 these are; what is wrong follows.
const MQTT: &str = "[sinks.mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n";
const MQTTS: &str = "[sinks.mqtt]\nurl = \"mqtts://127.0.0.1:1\"\n";
const INFLUXDB: &str =
    "[sinks.influxdb]\nurl = \"http://127.0.0.1:1\"\norg = \"o\"\nbucket = \"b\"\n";
const DATABASE: &str = "[sinks.influxdb]\nurl = \"http://127.0.0.1:1\"\ndatabase = \"d\"\n";
const HTTP: &str = "[sinks.stdout]\n[http]\nlisten = \"127.0.0.1:0\"\n";

/// What stands in the text alone: a section and what is wrong in it, the place that is shown, what is marked there, and
/// what is said.
const IN_THE_TEXT: &[(&str, &str, &str, &str, &str)] = &[
    (
        MQTT,
        "prefix = \"solar/#\"\n",
        "3:10",
        "\"solar/#\"",
        "`+` or `#`",
    ),
    (
        "[sinks.mqtt]\n",
        "url = \"mqtt://me:hunter2@127.0.0.1\"\n",
        "2:7",
        "\"mqtt://***@127.0.0.1\"",
        "set `username` and `password`",
    ),
    (
        "[sinks.influxdb]\ndatabase = \"d\"\n",
        "url = \"http://me:hunter2@127.0.0.1\"\n",
        "3:7",
        "\"http://***@127.0.0.1\"",
        "`username` and `password`",
    ),
    (MQTT, "client_id = \"a/b\"\n", "3:13", "\"a/b\"", "A-Z"),
    (
        MQTT,
        "password = \"hunter2\"\n",
        "3:12",
        "***",
        "`password` without `username`",
    ),
    (MQTT, "username = \"\"\n", "3:12", "\"\"", "is empty"),
    (
        MQTTS,
        "client_certificate = \"a.pem\"\n",
        "3:22",
        "\"a.pem\"",
        "without `client_key`",
    ),
    (
        MQTTS,
        "client_key = \"a.pem\"\n",
        "3:14",
        "\"a.pem\"",
        "without `client_certificate`",
    ),
    (
        MQTT,
        "username = \"u\"\npassword = \"hunter2\"\nca = \"ca.pem\"\n",
        "5:6",
        "\"ca.pem\"",
        "write mqtts://",
    ),
    (
        MQTT,
        "client_certificate = \"a.pem\"\nclient_key = \"a.pem\"\n",
        "3:22",
        "\"a.pem\"",
        "write mqtts://",
    ),
    (
        INFLUXDB,
        "ca = \"ca.pem\"\n",
        "5:6",
        "\"ca.pem\"",
        "write https://",
    ),
    (
        MQTT,
        "kstar_sharp_topics = true\n\
         [[inverter]]\nname = \"a\"\nhost = \"192.0.2.1\"\n[[inverter]]\nname = \"b\"\nhost = \"192.0.2.2\"\n",
        "3:22",
        "true",
        "there are 2",
    ),
    (
        MQTT,
        "kstar_sharp_topics = true\nkstar_sharp_prefix = \"/a\"\n",
        "4:22",
        "\"/a\"",
        "begins or ends with a `/`",
    ),
    (
        MQTT,
        "[sinks.mqtt.home_assistant]\nprefix = \"#\"\n",
        "4:10",
        "\"#\"",
        "no prefix for discovery",
    ),
    (
        DATABASE,
        "measurement = \"#a\"\n",
        "4:15",
        "\"#a\"",
        "makes a comment",
    ),
    (
        DATABASE,
        "\n[sinks.influxdb.tags]\nsite = \"home\"\ninverter = \"roof\"\n",
        "7:12",
        "\"roof\"",
        "choose another name",
    ),
    (
        DATABASE,
        "tags = { site = \"home\", \"pv_power\" = \"1\" }\n",
        "4:38",
        "\"1\"",
        "the name of a quantity",
    ),
    (DATABASE, "org = \"o\"\n", "4:7", "\"o\"", "delete it"),
    (
        DATABASE,
        "username = \"u\"\n",
        "4:12",
        "\"u\"",
        "belong together",
    ),
    (
        DATABASE,
        "token = \"hunter2\"\n",
        "4:9",
        "***",
        "`token` goes with `bucket`",
    ),
    (
        INFLUXDB,
        "token = \"hunter2\\n\"\n",
        "5:9",
        "***",
        "a line break",
    ),
    (
        "",
        "[sinks.influxdb]\nurl = \"http://127.0.0.1:1\"\n",
        "1:1",
        "[sinks.influxdb]",
        "not said where the points go",
    ),
    (
        "[sinks.sqlite]\n",
        "path = \"history/\"\n",
        "2:8",
        "\"history/\"",
        "no path of a file",
    ),
    (
        "[sinks.sqlite]\n",
        "path = \"\"\n",
        "2:8",
        "\"\"",
        "no path of a file",
    ),
    (
        "state_dir = \"a\\u0000b\"\n",
        "[sinks.stdout]\n",
        "1:13",
        "\"a\\u0000b\"",
        "no path of a folder",
    ),
    (
        "[collector]\ngrace = \"4s\"\n",
        "[sinks.stdout]\n",
        "2:9",
        "\"4s\"",
        "the time-out of a delivery",
    ),
    (HTTP, "token = \"\"\n", "4:9", "***", "is empty"),
    (
        HTTP,
        "token = \"hunter 2\"\n",
        "4:9",
        "***",
        "holds a space",
    ),
    (HTTP, "token = 4711\n", "4:9", "***", "in quotes"),
    (
        HTTP,
        "token = { env = \"\" }\n",
        "4:9",
        "{ env = \"\" }",
        "cannot name an environment variable",
    ),
    (
        HTTP,
        "token = { credential = \"../token\" }\n",
        "4:9",
        "{ credential = \"../token\" }",
        "cannot name a credential",
    ),
    // What does not show is shown, and the mark stands below it all the same.
    (
        "[sinks.stdout]\n[[inverter]]\n",
        "host = \"ro\u{200b}of.lan\" # \u{a0}\n",
        "3:8",
        "\"ro\\u{200b}of.lan\"",
        "`ro\\u{200b}of.lan` is no host",
    ),
    (
        "[sinks.stdout]\n",
        "\"\u{feff}colour\" = 1\n",
        "2:1",
        "\"\\u{feff}colour\"",
        "unknown field `\\u{feff}colour`",
    ),
    (
        "[sinks.mqtt]\n",
        "url = \"mqtt://bro\u{200b}ker\"\n",
        "2:7",
        "\"mqtt://bro\\u{200b}ker\"",
        "a sign that does not show",
    ),
    ("[sinks.stdout]\n", "a\u{a0}= 1\n", "2:2", "\\u{a0}", ""),
    // A secret is not shown, whatever is wrong around it.
    (
        "[sinks.mqtt]\n",
        "pasword = \"hunter2\"\n",
        "2:1",
        "pasword",
        "unknown field `pasword`",
    ),
];

/// What the text names and that is not there, with the same parts.
const NOT_THERE: &[(&str, &str, &str, &str, &str)] = &[
    (
        MQTT,
        "username = \"u\"\npassword = { file = \"no.txt\" }\n",
        "4:12",
        "{ file = \"no.txt\" }",
        "cannot read the secret in no.txt: No such file",
    ),
    (
        MQTT,
        "username = \"u\"\npassword = { env = \"NOT_SET\" }\n",
        "4:12",
        "{ env = \"NOT_SET\" }",
        "NOT_SET, which should hold a secret, is not set",
    ),
    (
        MQTT,
        "username = \"u\"\npassword = { env = \"EMPTY\" }\n",
        "4:12",
        "{ env = \"EMPTY\" }",
        "EMPTY, which should hold a secret, is empty",
    ),
    (
        MQTT,
        "username = \"u\"\npassword = { credential = \"no\" }\n",
        "4:12",
        "{ credential = \"no\" }",
        "LoadCredential=no:PATH",
    ),
    (
        MQTTS,
        "ca = \"no.pem\"\n",
        "3:6",
        "\"no.pem\"",
        "cannot read certificates in no.pem",
    ),
    (
        MQTTS,
        "ca = \"kstar.toml\"\n",
        "3:6",
        "\"kstar.toml\"",
        "no certificate in kstar.toml",
    ),
    (
        INFLUXDB,
        "token = { env = \"NOT_SET\" }\n",
        "5:9",
        "{ env = \"NOT_SET\" }",
        "NOT_SET",
    ),
    (
        DATABASE,
        "username = \"u\"\npassword = { file = \"no.txt\" }\n",
        "5:12",
        "{ file = \"no.txt\" }",
        "no.txt",
    ),
    (
        "[sinks.influxdb]\nurl = \"https://127.0.0.1:1\"\ndatabase = \"d\"\n",
        "ca = \"no.pem\"\n",
        "4:6",
        "\"no.pem\"",
        "no.pem",
    ),
    (
        HTTP,
        "token = { credential = \"no\" }\n",
        "4:9",
        "{ credential = \"no\" }",
        "cannot read the credential `no`",
    ),
    (
        HTTP,
        "token = { env = \"SPACED\" }\n",
        "4:9",
        "{ env = \"SPACED\" }",
        "holds a space",
    ),
];

#[test]
fn check_and_run_refuse_the_same_with_the_same_code_at_the_same_key() {
    let folder = Folder::new();
    std::fs::create_dir(folder.join("credentials")).expect("a folder");
    let cases = IN_THE_TEXT.iter().map(|case| (case, 2));
    let cases = cases.chain(NOT_THERE.iter().map(|case| (case, 1)));
    for ((section, rest, place, marked, words), code) in cases {
        let text = format!("{section}{rest}");
        folder.write("kstar.toml", &text);
        let refused = ["check", "run"].map(|command| {
            let mut command = kstar(folder.path(), [command]);
            command
                .env("EMPTY", "\n")
                .env("SPACED", "hunter 2")
                .env("CREDENTIALS_DIRECTORY", folder.join("credentials"));
            ended(&mut command).expect_code(code)
        });
        let shown = refused[0].err();
        assert_eq!(shown, refused[1].err(), "{text}");
        assert!(
            shown.starts_with(&format!("error: kstar.toml:{place}: ")),
            "{text}: {shown}"
        );
        assert!(shown.contains(words), "{text}: {shown}");
        assert!(
            !shown.contains("hunter") && !shown.contains("4711"),
            "{shown}"
        );
        let [line, marks] = [2, 3].map(|number| refused[0].stderr[number].chars());
        let under: String = line
            .zip(marks.chain(std::iter::repeat(' ')))
            .filter_map(|(letter, mark)| (mark == '^').then_some(letter))
            .collect();
        assert_eq!(under, *marked, "{text}: {shown}");
    }
    assert!(!folder.join("state").exists());
}

#[test]
fn a_secret_that_is_not_there_is_a_finding_among_others() {
    let text =
        format!("{MQTT}username = \"u\"\npassword = {{ file = \"no.txt\" }}\n[sinks.stdout]\n");
    let folder = Folder::with_config(&format!("state_dir = \"state\"\n{text}"));
    let args = ["check", "--connect", "--polls", "1"];
    let found = ended(kstar(folder.path(), args).env("KSTAR_HOST", "127.0.0.1:9")).expect_code(1);
    let said = found.out();
    assert!(
        said.contains("configuration: kstar.toml:5:12: cannot read the secret in no.txt"),
        "{found:#?}"
    );
    assert!(said.contains("sink stdout"), "{found:#?}");
}

#[test]
fn a_line_break_behind_a_secret_is_not_part_of_it_wherever_it_stands() {
    let folder = Folder::new();
    for (content, code) in [("word", 0), ("word\n", 0), ("word\r\n\n", 0), ("word ", 1)] {
        folder.write("secret", content);
        for place in [
            "env = \"SECRET\"",
            "file = \"secret\"",
            "credential = \"secret\"",
        ] {
            folder.write("kstar.toml", format!("{HTTP}token = {{ {place} }}\n"));
            let mut command = kstar(folder.path(), ["check"]);
            command.env("SECRET", content);
            command.env("CREDENTIALS_DIRECTORY", folder.path());
            ended(&mut command).expect_code(code);
        }
    }
}
