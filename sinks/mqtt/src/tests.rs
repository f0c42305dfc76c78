use std::time::Duration;

use kstar_common::key::Step;

use super::*;

fn context(inverters: &[&str]) -> Context {
    Context {
        inverters: inverters.iter().map(|name| (*name).into()).collect(),
        poll_interval: Duration::from_secs(5),
        state_dir: "/nonexistent".into(),
        zone: kstar_model::TimeZone::UTC,
        version: "0",
    }
}

fn config(text: &str) -> MqttConfig {
    toml::from_str(&format!("url = 'mqtt://broker'\n{text}")).unwrap()
}

fn at(error: &KeyError) -> String {
    let steps = error.path.iter().map(|step| match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    });
    steps.collect::<Vec<_>>().join(".")
}

#[test]
fn a_url_is_enough() {
    let config = config("");
    assert_eq!(
        format!("{config:?}"),
        format!(
            "{:?}",
            MqttConfig::new(Broker::parse("mqtt://broker").unwrap())
        )
    );
    assert_eq!(config.policy().keep, Keep::NewestPerInverter);
    assert_eq!(
        config.destination(&context(&[])),
        "mqtt://broker:1883 below kstar/"
    );
    assert!(config.open(&context(&["roof", "barn"])).is_ok());
}

#[test]
fn what_cannot_work_is_refused_at_its_key_with_what_to_do() {
    for (text, inverters, key, part) in [
        ("prefix = 'a/#'", 1, "prefix", "`+` or `#`"),
        (
            "kstar_sharp_topics = true",
            2,
            "kstar_sharp_topics",
            "there are 2",
        ),
        (
            "kstar_sharp_topics = true\nkstar_sharp_prefix = ''",
            1,
            "kstar_sharp_prefix",
            "is empty",
        ),
        ("interval = '61m'", 1, "interval", "at most \"1h\""),
        (
            "interval = '1m'\n[home_assistant]\nexpire_after = '119s'",
            1,
            "interval",
            "at least twice `interval`",
        ),
        ("client_id = 'a/b'", 1, "client_id", "A-Z"),
        ("password = 'hunter2'", 1, "password", "`username`"),
        ("username = ''", 1, "username", "is empty"),
        ("ca = '/etc/ca.pem'", 1, "ca", "mqtts://"),
        (
            "client_certificate = 'a'\nclient_key = 'b'",
            1,
            "client_certificate",
            "mqtts://",
        ),
        ("client_key = 'b'", 1, "client_key", "set both"),
        (
            "client_certificate = 'a'",
            1,
            "client_certificate",
            "set both",
        ),
        (
            "[home_assistant]\nprefix = '+'",
            1,
            "home_assistant.prefix",
            "no prefix for discovery",
        ),
    ] {
        let error = config(text).validate(inverters).unwrap_err();
        assert_eq!(at(&error), key, "{text}");
        assert!(error.message.contains(part), "{text}: {error}");
        assert!(!error.message.contains("hunter2"), "{error}");
    }
}

#[test]
fn what_is_missing_is_named_at_its_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let own = rcgen::generate_simple_self_signed(["broker".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [ca, key] = ["ca.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&ca, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let [ca, own_key] = [ca, key].map(|path| path.display().to_string());
    for (text, key, part) in [
        (
            "username = 'a'\npassword = { file = '/no/such' }".to_owned(),
            "password",
            "/no/such",
        ),
        ("ca = '/no/such'".to_owned(), "ca", "/no/such"),
        (format!("ca = '{path}'"), "ca", "BEGIN CERTIFICATE"),
        (
            format!("ca = '{ca}'\nclient_certificate = '/no/such'\nclient_key = '{own_key}'"),
            "client_certificate",
            "/no/such",
        ),
        (
            format!("ca = '{ca}'\nclient_certificate = '{ca}'\nclient_key = '/no/such'"),
            "client_key",
            "/no/such",
        ),
    ] {
        let text = format!("url = 'mqtts://broker'\n{text}");
        let config: MqttConfig = toml::from_str(&text).unwrap();
        config.validate(1).unwrap();
        let error = config.resolve().unwrap_err();
        assert_eq!(at(&error), key, "{text}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
    let text = format!(
        "url = 'mqtts://broker'\nca = '{ca}'\nclient_certificate = '{ca}'\nclient_key = '{own_key}'"
    );
    toml::from_str::<MqttConfig>(&text)
        .unwrap()
        .resolve()
        .unwrap();
}

#[test]
fn a_wrong_value_is_told_how_to_be_right() {
    for (text, part) in [
        ("url = 'broker'", "mqtt://HOST"),
        ("url = 'mqtt://u:p@b'", "`username`"),
        ("url = 'mqtt://b'\nqos = 3", "0, 1 or 2"),
        ("url = 'mqtt://b'\ntopics = 'all'", "quantities"),
        ("url = 'mqtt://b'\ncolour = 1", "colour"),
        ("url = 'mqtt://b'\nhome_assistant.colour = 1", "colour"),
        ("", "url"),
    ] {
        let error = toml::from_str::<MqttConfig>(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn the_client_id_comes_from_the_machine_and_is_safe() {
    assert_eq!(default_client_id("pi4"), "kstar-pi4");
    assert_eq!(default_client_id("Büro.lan"), "kstar-B-ro-lan");
    assert_eq!(default_client_id("..."), "kstar");
    assert!(check_client_id(&default_client_id(&"x".repeat(300))).is_ok());
}

#[test]
fn the_password_never_shows() {
    let shown = format!("{:?}", config("username = 'a'\npassword = 'hunter2'"));
    assert!(!shown.contains("hunter2"), "{shown}");
    let settings = config("username = 'a'\npassword = 'hunter2'").settings(Duration::from_secs(5));
    assert!(!format!("{settings:?}").contains("hunter2"));
}
