//! TLS: whom we trust, and what is said when that does not fit. The server is a real one that speaks TLS.

use std::fs;
use std::path::Path;

use kstar_sink::sink::{Batch, DeliveryError, SinkConfig};
use kstar_sink::testing::full_reading;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::world::{Influxdb, config, context};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for that host, valid in these years.
fn params(host: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params
}

/// A server with a certificate that is made as told: signed by the authority, by itself, or by itself as a CA.
fn server(make: impl FnOnce(&Path, &Authority)) -> Influxdb {
    let tls = "https-enabled = true\nhttps-certificate = \"FOLDER/server.pem\"\nhttps-private-key = \"FOLDER/server.key\"";
    Influxdb::with(tls, |folder| {
        let ours = authority("ours");
        fs::write(folder.join("ca.pem"), ours.pem()).unwrap();
        fs::write(folder.join("foreign.pem"), authority("foreign").pem()).unwrap();
        make(folder, &ours);
    })
}

fn write(folder: &Path, certificate: &rcgen::Certificate, key: &KeyPair) {
    fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}

fn signed(host: &str, years: (i32, i32)) -> Influxdb {
    server(|folder, ours| {
        let key = KeyPair::generate().unwrap();
        write(
            folder,
            &params(host, years).signed_by(&key, ours).unwrap(),
            &key,
        );
    })
}

fn signed_by_itself(is_ca: bool) -> Influxdb {
    server(|folder, _| {
        let key = KeyPair::generate().unwrap();
        let mut params = params("localhost", (2020, 2090));
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        write(folder, &params.self_signed(&key).unwrap(), &key);
    })
}

async fn deliver(influxdb: &Influxdb, lines: &str) -> Result<(), DeliveryError> {
    let lines = lines.replace("FOLDER", influxdb.server.folder.path().to_str().unwrap());
    let mut sink = influxdb.config(&lines).open(&context()).unwrap();
    sink.deliver(&Batch::new(&[full_reading("roof", 1)])).await
}

async fn refused(influxdb: &Influxdb, lines: &str, part: &str) {
    let refused = deliver(influxdb, lines).await;
    let Err(DeliveryError::Refused { reason, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains(part), "{part}: {reason}");
    assert!(reason.contains(&influxdb.url()), "{reason}");
}

const CA: &str = "ca = 'FOLDER/ca.pem'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_certificate_of_our_ca_is_trusted_and_another_is_not() {
    let influxdb = signed("localhost", (2020, 2090));
    influxdb.query("CREATE DATABASE solar").await;
    deliver(&influxdb, CA).await.unwrap();
    assert_eq!(influxdb.points("inverter").await.len(), 1);
    refused(
        &influxdb,
        "ca = 'FOLDER/foreign.pem'",
        "name the right CA with `ca`",
    )
    .await;
    // Nor do the system's roots know it.
    if influxdb.config("").open(&context()).is_ok() {
        refused(&influxdb, "", "name the right CA with `ca`").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_does_not_fit_is_refused_with_what_to_do() {
    for (host, years, part) in [
        ("localhost", (2020, 2024), "has expired; renew it"),
        ("localhost", (2085, 2090), "check this machine's clock"),
        ("elsewhere.example", (2020, 2090), "is for another name"),
    ] {
        refused(&signed(host, years), CA, part).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_signed_by_itself_is_refused_with_what_to_do() {
    refused(&signed_by_itself(false), CA, "signed by itself").await;
    let influxdb = signed_by_itself(true);
    refused(&influxdb, CA, "signed by itself").await;
    refused(&influxdb, "ca = 'FOLDER/server.pem'", "sign another one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_none_are_told_apart() {
    let plain = Influxdb::with("", |_| ());
    let secured = signed("localhost", (2020, 2090));
    let reading = [full_reading("roof", 1)];
    let ca = secured.server.path("ca.pem");
    for (url, lines, part) in [
        (
            plain.url().replace("http:", "https:"),
            format!("ca = '{}'", ca.display()),
            "http://",
        ),
        (
            secured.url().replace("https:", "http:"),
            String::new(),
            "https://",
        ),
    ] {
        let config = config(&format!("url = '{url}'\ndatabase = 'solar'\n{lines}"));
        let mut sink = config.open(&context()).unwrap();
        let error = sink.deliver(&Batch::new(&reading)).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error:?}");
    }
}
