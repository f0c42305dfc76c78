//! TLS: whom we trust, who we are, and what is said when that does not fit.

use std::fs;
use std::path::Path;

use kstar_sink::testing::full_reading;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::world::{Mosquitto, Running, config, context};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a certificate and its key.
fn issue(folder: &Path, file: &str, host: &str, until: i32, authority: &Authority) {
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    fs::write(folder.join(format!("{file}.pem")), certificate.pem()).unwrap();
    fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

const TLS: &str = "allow_anonymous true\ncafile FOLDER/ca.pem\ncertfile FOLDER/server.pem\nkeyfile FOLDER/server.key";

/// A broker whose certificate is for that host and valid until that year.
pub(crate) fn secured(lines: &str, host: &str, until: i32) -> Mosquitto {
    Mosquitto::prepared(&format!("{TLS}\n{lines}"), |folder| {
        let ours = authority("ours");
        fs::write(folder.join("ca.pem"), ours.pem()).unwrap();
        fs::write(folder.join("foreign.pem"), authority("foreign").pem()).unwrap();
        issue(folder, "server", host, until, &ours);
        issue(folder, "client", "kstar", 2090, &ours);
    })
}

fn start(broker: &Mosquitto, ca: &str, lines: &str) -> Running {
    let lines = format!("ca = '{}'\n{lines}", broker.path(ca).display());
    let url = format!("mqtts://localhost:{}", broker.port);
    let running = Running::start(
        &config(&url, &lines),
        &context(&["roof"], broker.folder.path()),
    );
    running.send(full_reading("roof", 1));
    running
}

pub(crate) fn identity(broker: &Mosquitto) -> String {
    format!(
        "client_certificate = '{}'\nclient_key = '{}'",
        broker.path("client.pem").display(),
        broker.path("client.key").display()
    )
}

async fn reason(running: Running, part: &str) {
    let reason = running.down().await;
    assert!(reason.contains(part), "{part}: {reason}");
    assert!(reason.contains("mqtts://localhost:"), "{reason}");
    running.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_a_certificate_of_our_ca_is_trusted_and_another_is_not() {
    let broker = secured("", "localhost", 2090);
    let running = start(&broker, "ca.pem", "");
    running.delivered(1).await;
    running.end().await;
    reason(
        start(&broker, "foreign.pem", ""),
        "name the right CA with `ca`",
    )
    .await;
    // Nor do the system's roots know it.
    let url = format!("mqtts://localhost:{}", broker.port);
    let context = context(&["roof"], broker.folder.path());
    if let Ok(sink) = kstar_sink::sink::SinkConfig::open(&config(&url, ""), &context) {
        let running = Running::of(sink, &config(&url, ""));
        running.send(full_reading("roof", 1));
        reason(running, "name the right CA with `ca`").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_named_and_works_once_it_is_renewed() {
    let mut broker = Mosquitto::prepared(TLS, |folder| {
        let ours = authority("ours");
        fs::write(folder.join("ca.pem"), ours.pem()).unwrap();
        issue(folder, "server", "localhost", 2024, &ours);
        issue(folder, "renewed", "localhost", 2090, &ours);
    });
    let running = start(&broker, "ca.pem", "");
    let reason = running.down().await;
    assert!(reason.contains("has expired"), "{reason}");
    broker.kill();
    for kind in ["pem", "key"] {
        let renewed = broker.path(&format!("renewed.{kind}"));
        fs::copy(renewed, broker.path(&format!("server.{kind}"))).unwrap();
    }
    broker.start();
    running.delivered(1).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_is_not_accepted() {
    let broker = secured("", "elsewhere.example", 2090);
    reason(start(&broker, "ca.pem", ""), "is for another name").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_wants_a_certificate_of_ours_gets_it() {
    let broker = secured("require_certificate true", "localhost", 2090);
    reason(start(&broker, "ca.pem", ""), "`client_certificate`").await;
    let running = start(&broker, "ca.pem", &identity(&broker));
    running.delivered(1).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_none_are_told_apart() {
    let plain = Mosquitto::open();
    let folder = tempfile::tempdir().unwrap();
    let context = context(&["roof"], folder.path());
    fs::write(folder.path().join("ca.pem"), authority("ours").pem()).unwrap();
    let lines = format!("ca = '{}'", folder.path().join("ca.pem").display());
    let url = format!("mqtts://localhost:{}", plain.port);
    let running = Running::start(&config(&url, &lines), &context);
    running.send(full_reading("roof", 1));
    let why = running.down().await;
    assert!(why.contains("mqtts://localhost"), "{why}");
    running.kill().await;

    let secured = secured("", "localhost", 2090);
    let running = Running::start(&secured.config(""), &context);
    running.send(full_reading("roof", 1));
    let why = running.down().await;
    assert!(why.contains("mqtts://"), "{why}");
    running.kill().await;
}
