//! A look at the broker: each thing that can be wrong is told with what fixes it, and is good once it is fixed.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use kstar_common::finding::{Finding, Verdict};
use kstar_sink::sink::SinkConfig;
use kstar_sink::testing::full_reading;
use kstar_sink_mqtt::MqttConfig;

use super::trust::{identity, secured};
use super::world::{Mosquitto, Running, config, context, retained};

async fn probe(config: &MqttConfig) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    let findings = config.probe(&context(&["roof"], folder.path())).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    findings
}

#[track_caller]
fn about<'a>(findings: &'a [Finding], about: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.about == about);
    found.unwrap_or_else(|| panic!("nothing about {about} in {findings:#?}"))
}

/// It says so, it names a fix, and it is explained in the documentation.
#[track_caller]
fn assert_said(findings: &[Finding], subject: &str, verdict: Verdict, words: &str, fix: &str) {
    let finding = about(findings, subject);
    assert_eq!(finding.verdict, verdict, "{findings:#?}");
    assert!(finding.said.contains(words), "{words}: {finding:#?}");
    let named = finding.fix.as_deref().unwrap_or_default();
    assert!(named.contains(fix), "{fix}: {finding:#?}");
    let page = include_str!("../../../../docs/troubleshooting.md");
    assert!(
        page.contains(words),
        "docs/troubleshooting.md lacks: {words}"
    );
}

#[track_caller]
fn assert_wrong(findings: &[Finding], about: &str, words: &str, fix: &str) {
    assert_said(findings, about, Verdict::Wrong, words, fix);
}

#[track_caller]
fn assert_all_good(findings: &[Finding]) {
    let all = findings
        .iter()
        .all(|finding| finding.verdict == Verdict::Good);
    assert!(all && findings.len() > 2, "{findings:#?}");
}

/// A password file with one user.
fn password(folder: &Path, user: &str, password: &str) {
    let status = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(folder.join("passwords"))
        .args([user, password])
        .status()
        .expect("mosquitto is installed; tests/all.sh does that");
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_refused_until_it_is_right() {
    let broker = Mosquitto::prepared(
        "allow_anonymous false\npassword_file FOLDER/passwords",
        |folder| password(folder, "kstar", "right"),
    );
    let refused = probe(&broker.config("")).await;
    assert_wrong(
        &refused,
        "login",
        "refuses a client without user and password",
        "`username`",
    );
    let refused = probe(&broker.config("username = 'kstar'\npassword = 'hunter2'")).await;
    assert_wrong(&refused, "login", "refuses the user", "`password`");
    assert!(!format!("{refused:?}").contains("hunter2"));
    assert_all_good(&probe(&broker.config("username = 'kstar'\npassword = 'right'")).await);
    let missing = broker.config("username = 'kstar'\npassword = { file = '/no/such' }");
    let missing = probe(&missing).await;
    assert_eq!(about(&missing, "login").verdict, Verdict::Wrong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_rules_that_throw_away_what_is_published_are_noticed() {
    let rules = |rules: &'static str| {
        Mosquitto::prepared(
            "allow_anonymous true\nacl_file FOLDER/rules",
            move |folder| {
                std::fs::write(folder.join("rules"), rules).unwrap();
            },
        )
    };
    let closed = rules("topic read #\n");
    let findings = probe(&closed.config("")).await;
    let words = "throws away what is published";
    assert_wrong(&findings, "publishing", words, "write to kstar/#");
    assert_wrong(&findings, "announcing", words, "write to homeassistant/#");
    // Who may write, but not read, can do all that is needed but hear Home Assistant.
    let writable = rules("topic write kstar/#\ntopic write homeassistant/#\n");
    let findings = probe(&writable.config("")).await;
    assert_eq!(about(&findings, "publishing").verdict, Verdict::Good);
    assert_eq!(about(&findings, "announcing").verdict, Verdict::Good);
    let open = rules("topic readwrite #\n");
    assert_all_good(&probe(&open.config("")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_that_is_too_large_is_noticed_and_leaves_nothing() {
    for limit in [
        "max_packet_size 2000",
        "max_packet_size 8000",
        "message_size_limit 2000",
        "message_size_limit 8000",
    ] {
        let broker = Mosquitto::with(&format!("allow_anonymous true\n{limit}"));
        let findings = probe(&broker.config("")).await;
        assert_eq!(about(&findings, "publishing").verdict, Verdict::Good);
        let words = "is larger than the broker takes";
        let fix = "`discovery = \"entity\"`";
        assert_wrong(&findings, "announcing", words, fix);
        if let Some(bytes) = limit.strip_prefix("max_packet_size ") {
            let said = &about(&findings, "announcing").said;
            assert!(said.contains(bytes), "{said}");
        }
        assert_all_good(&probe(&broker.config("home_assistant.discovery = 'entity'")).await);
        assert!(retained(broker.port).await.is_empty(), "{limit}");
    }
    let open = Mosquitto::open();
    assert_all_good(&probe(&open.config("")).await);
    assert!(retained(open.port).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_home_assistant_says_is_heard_and_nothing_is_left_at_the_broker() {
    let broker = Mosquitto::open();
    assert!(
        about(&probe(&broker.config("")).await, "Home Assistant")
            .said
            .contains("holds nothing, as is usual")
    );
    let say = |word: &str| {
        let status = Command::new("mosquitto_pub")
            .args([
                "-h",
                "127.0.0.1",
                "-r",
                "-t",
                "homeassistant/status",
                "-m",
                word,
                "-p",
            ])
            .arg(broker.port.to_string())
            .status()
            .expect("mosquitto-clients is installed; tests/all.sh does that");
        assert!(status.success());
    };
    say("offline");
    let findings = probe(&broker.config("")).await;
    assert_said(
        &findings,
        "Home Assistant",
        Verdict::Note,
        "is not there",
        "start it",
    );
    say("online");
    assert_all_good(&probe(&broker.config("")).await);
    let left: Vec<String> = retained(broker.port).await.into_keys().collect();
    assert_eq!(left, ["homeassistant/status"]);
    let off = probe(&broker.config("[home_assistant]\ndiscovery = 'off'")).await;
    assert!(off.iter().all(|finding| finding.about != "Home Assistant"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_runs_is_not_thrown_out() {
    let broker = Mosquitto::open();
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&broker.config(""), &context(&["roof"], folder.path()));
    running.send(full_reading("roof", 1));
    running.delivered(1).await;
    assert_all_good(&probe(&broker.config("")).await);
    running.send(full_reading("roof", 2));
    running.delivered(2).await;
    let log = broker.log();
    assert_eq!(log.matches(" as kstar-test (").count(), 1, "{log}");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_certificates_are_told_by_name() {
    let look = async |broker: &Mosquitto, lines: &str| {
        let url = format!("mqtts://localhost:{}", broker.port);
        probe(&config(&url, lines)).await
    };
    let ca = |broker: &Mosquitto, file: &str| format!("ca = '{}'\n", broker.path(file).display());
    let broker = secured("", "localhost", 2090);
    assert_all_good(&look(&broker, &ca(&broker, "ca.pem")).await);
    let findings = look(&broker, &ca(&broker, "foreign.pem")).await;
    assert_wrong(&findings, "TLS", "is signed by nobody we trust", "`ca`");
    let findings = look(&broker, &ca(&broker, "missing.pem")).await;
    assert_eq!(about(&findings, "section").verdict, Verdict::Wrong);
    let expired = secured("", "localhost", 2024);
    let findings = look(&expired, &ca(&expired, "ca.pem")).await;
    assert_wrong(&findings, "TLS", "has expired", "renew it");
    let elsewhere = secured("", "elsewhere.example", 2090);
    let findings = look(&elsewhere, &ca(&elsewhere, "ca.pem")).await;
    assert_wrong(&findings, "TLS", "is for another name", "`url`");
    let strict = secured("require_certificate true", "localhost", 2090);
    let findings = look(&strict, &ca(&strict, "ca.pem")).await;
    assert_wrong(
        &findings,
        "TLS",
        "wants a certificate of ours",
        "`client_certificate`",
    );
    let ours = format!("{}{}", ca(&strict, "ca.pem"), identity(&strict));
    assert_all_good(&look(&strict, &ours).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_broker_is_told() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", deaf.local_addr().unwrap());
    let findings = probe(&config(&url, "")).await;
    assert_eq!(about(&findings, "connection").verdict, Verdict::Good);
    assert_wrong(
        &findings,
        "protocol",
        "does not answer",
        "MQTT broker listens there",
    );
    drop(deaf);
    let findings = probe(&config(&url, "")).await;
    assert_wrong(
        &findings,
        "connection",
        "refuses the connection",
        "broker runs",
    );
}
