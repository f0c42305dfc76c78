use kstar_common::key::Step;
use kstar_sink::sink::SinkConfig as _;

use super::*;

fn config(text: &str) -> InfluxdbConfig {
    toml::from_str(text).unwrap()
}

const BUCKET: &str = "url = 'http://h'\norg = 'o'\nbucket = 'b'\n";
const DATABASE: &str = "url = 'http://h'\ndatabase = 'd'\n";

#[test]
fn what_may_stand_together_is_taken() {
    for text in [
        BUCKET.to_owned(),
        format!("{BUCKET}token = 't'"),
        DATABASE.to_owned(),
        format!("{DATABASE}username = 'u'\npassword = 'p'\nretention_policy = 'r'"),
        format!("{BUCKET}gzip = true\nmeasurement = 'solar'\ntags = {{ site = 'home' }}"),
        BUCKET.replace("http:", "https:") + "ca = '/no/such'",
    ] {
        config(&text).validate(1).unwrap();
    }
}

#[test]
fn what_cannot_work_is_refused_at_its_key_with_what_to_do() {
    for (text, key, part) in [
        ("url = 'http://h'".to_owned(), "", "not said where"),
        (
            format!("{BUCKET}database = 'd'"),
            "database",
            "exclude each other",
        ),
        (
            "url = 'http://h'\nbucket = 'b'".to_owned(),
            "bucket",
            "any word",
        ),
        (
            format!("{BUCKET}retention_policy = 'r'"),
            "retention_policy",
            "DATABASE/",
        ),
        (
            format!("{BUCKET}username = 'u'\npassword = 'hunter2'"),
            "username",
            "USER:PASSWORD",
        ),
        (
            format!("{BUCKET}token = 'hunter2'\npassword = 'u'"),
            "password",
            "`token`",
        ),
        (format!("{BUCKET}token = ''"), "token", "is empty"),
        (
            format!("{BUCKET}token = \"hunter2\\n\""),
            "token",
            "a line break",
        ),
        (
            format!("{DATABASE}token = 'hunter2'"),
            "token",
            "`username`",
        ),
        (format!("{DATABASE}org = 'o'"), "org", "delete it"),
        (format!("{DATABASE}username = 'u'"), "username", "set both"),
        (
            format!("{DATABASE}password = 'hunter2'"),
            "password",
            "set both",
        ),
        (
            format!("{DATABASE}username = 'a:b'\npassword = 'hunter2'"),
            "username",
            "colon",
        ),
        (
            DATABASE.replace("'d'", "''"),
            "database",
            "`database` is empty",
        ),
        (format!("{BUCKET}ca = '/etc/ca.pem'"), "ca", "https://"),
        (
            format!("{BUCKET}tags = {{ site = 'a', inverter = 'a' }}"),
            "tags.inverter",
            "choose another",
        ),
        (
            format!("{BUCKET}tags.site = \"a\\nb\""),
            "tags.site",
            "a line break",
        ),
        (
            format!("{BUCKET}measurement = ''"),
            "measurement",
            "is empty",
        ),
    ] {
        let error = config(&text).validate(1).unwrap_err();
        let steps = error.path.iter().map(|step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        });
        assert_eq!(steps.collect::<Vec<_>>().join("."), key, "{text}");
        assert!(error.message.contains(part), "{text}: {error}");
        assert!(!error.message.contains("hunter2"), "{text}: {error}");
    }
    let error = toml::from_str::<InfluxdbConfig>(&format!("{BUCKET}colour = 1")).unwrap_err();
    assert!(error.message().contains("retention_policy"), "{error}");
}

#[test]
fn what_is_missing_is_named_at_its_key() {
    let bucket = BUCKET.replace("http:", "https:");
    for (text, key, part) in [
        (
            format!("{BUCKET}token = {{ file = '/no/such' }}"),
            "token",
            "/no/such",
        ),
        (
            format!("{DATABASE}username = 'u'\npassword = {{ env = 'NO_SUCH_VARIABLE' }}"),
            "password",
            "NO_SUCH_VARIABLE",
        ),
        (format!("{bucket}ca = '/no/such'"), "ca", "/no/such"),
    ] {
        let config = config(&text);
        config.validate(1).unwrap();
        let error = config.resolve().unwrap_err();
        assert_eq!(error.path, [Step::from(key)], "{text}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
    config(BUCKET).resolve().unwrap();
}

#[test]
fn a_wrong_url_is_told_how_to_be_right_and_its_password_is_not_shown() {
    let read = |url: &str| Address::try_from(url.to_owned());
    for url in [
        "",
        "localhost:8086",
        "localhost",
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://h/api/v2/write",
        "http://h/write/",
        "http://h?db=hunter2",
        "http://h/#hunter2",
        "http://u:hunter2@h",
        "http://hunter2@h",
        "http://müller",
    ] {
        let error = read(url).unwrap_err();
        assert!(!error.contains("hunter2"), "{url}: {error}");
        assert!(error.contains("write "), "{url}: {error}");
    }
    for (url, shown, endpoint) in [
        ("http://h:8086", "http://h:8086", "http://h:8086/write"),
        ("http://h:8086/", "http://h:8086", "http://h:8086/write"),
        (
            "https://h/influx/",
            "https://h/influx",
            "https://h/influx/write",
        ),
        (
            "http://[::1]:8086",
            "http://[::1]:8086",
            "http://[::1]:8086/write",
        ),
    ] {
        let address = read(url).unwrap();
        assert_eq!(address.to_string(), shown);
        assert_eq!(address.endpoint("/write").as_str(), endpoint);
        assert_eq!(address.has_path(), url.contains("/influx"));
    }
}

#[test]
fn a_secret_never_shows() {
    let token = config(&format!("{BUCKET}token = 'hunter2'"));
    let password = format!("{DATABASE}username = 'u'\npassword = 'hunter2'");
    for config in [token, config(&password)] {
        let plan = config.plan().unwrap();
        let shown = format!("{config:?} {plan:?} {} {}", plan.address, plan.target);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
