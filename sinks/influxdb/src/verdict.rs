//! What an answer means, or that there was none: what follows from it, and one line for people that says what
//! happened, where, and what to do.

use std::error::Error;
use std::io::{self, ErrorKind};

use kstar_sink::sink::DeliveryError;
use rustls::CertificateError;
use serde::Deserialize;

use crate::answer::Answer;
use crate::config::{Credentials, Plan, Target};
use crate::http::Failure;

/// How much of what the server says is shown.
const LONGEST_TEXT: usize = 300;

/// What follows from an answer. The secret is what the server must not make us show.
pub(crate) fn of_answer(
    answer: &Answer,
    plan: &Plan,
    secret: Option<&str>,
) -> Result<(), DeliveryError> {
    let Answer {
        status,
        text,
        location,
        retry_after,
        date: _,
    } = answer;
    let (address, target) = (&plan.address, &plan.target);
    let said = said(text, secret);
    let is_page = text.trim_start().starts_with('<');
    let refused = |reason: String| Err(DeliveryError::refused(reason));
    match status.as_u16() {
        204 => Ok(()),
        400 | 422 if is_page || text.contains("HTTP request to an HTTPS server") => {
            refused(format!(
                "what answers at {address} is not InfluxDB, or wants TLS ({status}{said}); check the port, or write https://"
            ))
        }
        400 | 422 => Err(DeliveryError::Rejected {
            reason: format!(
                "{address} takes no such point ({status}{said}){}",
                fix(text)
            ),
        }),
        413 => Err(DeliveryError::TooLarge {
            reason: format!(
                "{address} takes no request of that size; lower `delivery.batch`, or raise its limit"
            ),
        }),
        401 => refused(match &plan.credentials {
            Credentials::Nobody => {
                format!("{address} wants to know who writes; set {}", keys(target))
            }
            _ => format!(
                "{address} does not know us ({status}{said}); fix {}",
                keys(target)
            ),
        }),
        403 => refused(format!(
            "{address} does not let us write to the {target} ({status}{said}); give us that right there, or fix {}",
            keys(target)
        )),
        404 => refused(of_not_found(text, plan, &said)),
        300..=399 => refused(format!(
            "{address} sends us elsewhere ({status}{}); write into `url` where it should go",
            location.as_deref().map_or(String::new(), |place| format!(
                " to {}",
                shown(place, secret)
            ))
        )),
        500 if text.contains("retention policy not found") => refused(format!(
            "{address} has no {target}; create the retention policy, or fix `retention_policy`"
        )),
        408 | 425 | 429 | 500..=599 => Err(DeliveryError::Unreachable {
            reason: match status.as_u16() {
                429 => format!("{address} wants fewer requests ({status}{said})"),
                _ => {
                    format!("{address} cannot take anything now ({status}{said}); look at its log")
                }
            },
            retry_after: *retry_after,
        }),
        _ => refused(format!(
            "what answers at {address} is not the write endpoint of InfluxDB ({status}{said}); check `url`, and proxies on the way"
        )),
    }
}

/// The keys that say who we are.
fn keys(target: &Target) -> &'static str {
    match target {
        Target::Bucket { .. } => "`token`",
        Target::Database { .. } => "`username` and `password`",
    }
}

fn of_not_found(text: &str, plan: &Plan, said: &str) -> String {
    let (address, target) = (&plan.address, &plan.target);
    // InfluxDB says what it did not find in JSON; who has no such endpoint does not.
    let knows_endpoint = serde_json::from_str::<Complaint>(text).is_ok();
    match target {
        Target::Bucket { .. } if knows_endpoint => format!(
            "{address} has no {target} (404{said}); create it there, or fix `org` and `bucket`"
        ),
        Target::Bucket { .. } => format!(
            "{address} has no /api/v2/write; if it is InfluxDB before 1.8, set `database` instead of `org` and `bucket`, else check `url`"
        ),
        Target::Database { database, .. } if knows_endpoint => format!(
            "{address} has no {target} (404{said}); create it with: influx -execute 'CREATE DATABASE \"{database}\"'"
        ),
        Target::Database { .. } => format!(
            "{address} has no /write; if it is InfluxDB 2, set `org`, `bucket` and `token` instead of `database`, else check `url`"
        ),
    }
}

/// What to do about a point that is not taken, where that is known.
fn fix(text: &str) -> &'static str {
    if text.contains("field type conflict") || text.contains("invalid column type") {
        "; something else has written that field with another type: give the collector another `measurement`, or delete the old one"
    } else if text.contains("retention policy") {
        "; it is older than the server keeps points"
    } else {
        ""
    }
}

/// What InfluxDB says in JSON: 1 has `error`, 2 `message`, 3 either, with details of lines.
#[derive(Deserialize)]
struct Complaint {
    #[serde(alias = "error")]
    message: String,
    #[serde(default)]
    data: serde_json::Value,
}

/// What the server says, to be put behind the status; nothing where it says nothing of use.
fn said(text: &str, secret: Option<&str>) -> String {
    let said = match serde_json::from_str::<Complaint>(text) {
        Ok(Complaint { message, data }) => {
            let detail = match &data {
                serde_json::Value::Array(lines) => lines.first().unwrap_or(&data),
                other => other,
            };
            match detail
                .get("error_message")
                .and_then(|detail| detail.as_str())
            {
                Some(detail) => format!("{message}: {detail}"),
                None => message,
            }
        }
        Err(_) if text.trim_start().starts_with('<') => "a web page".to_owned(),
        Err(_) => text.to_owned(),
    };
    match shown(&said, secret).as_str() {
        "" => String::new(),
        said => format!(": {said}"),
    }
}

/// A text of somebody else's, as it may stand in a log: short, on one line, and without our secret.
fn shown(text: &str, secret: Option<&str>) -> String {
    let text = match secret {
        Some(secret) => text.replace(secret, "(secret)"),
        None => text.to_owned(),
    };
    let words = text
        .split(|letter: char| letter.is_whitespace() || letter.is_control())
        .filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// What follows from there being no answer.
pub(crate) fn of_transport(failure: &Failure, plan: &Plan) -> DeliveryError {
    let address = &plan.address;
    match failure {
        Failure::NotConnected => DeliveryError::unreachable(format!(
            "{address} does not answer; check that the server is on and that no firewall is in the way"
        )),
        Failure::NotAnswered => DeliveryError::unreachable(format!(
            "{address} has not answered in time; check that the server is not overloaded, or raise `delivery.timeout`"
        )),
        Failure::Broken(error) => of_error(&**error, plan),
    }
}

/// What follows from the first cause that says something of use.
fn of_error(error: &(dyn Error + 'static), plan: &Plan) -> DeliveryError {
    let address = &plan.address;
    let mut cause = error;
    loop {
        if let Some(mut error) = cause.downcast_ref::<io::Error>() {
            // One may be wrapped in another, and the chain of sources leads past it.
            let mut inner = error.get_ref();
            while let Some(next) = inner.and_then(|inner| inner.downcast_ref::<io::Error>()) {
                (error, inner) = (next, next.get_ref());
            }
            if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return of_tls(tls, plan);
            }
            if let Some(reason) = of_io(error, plan) {
                return DeliveryError::unreachable(reason);
            }
        }
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    // The innermost cause: those around it name the URL.
    DeliveryError::unreachable(format!(
        "{address} has broken off the request ({cause}); check that InfluxDB listens there, and its log"
    ))
}

fn of_io(error: &io::Error, plan: &Plan) -> Option<String> {
    let address = &plan.address;
    Some(match error.kind() {
        // The standard library has no kind of its own for it.
        _ if error.to_string().starts_with("failed to lookup address") => format!(
            "the name `{}` of the server does not resolve; check `url` and the name server",
            address.host()
        ),
        ErrorKind::ConnectionRefused => format!(
            "{address} refuses the connection; check that InfluxDB runs and listens on that port"
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            format!("there is no way to {address}; check the network")
        }
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            let tls = if address.is_secure() {
                "without TLS: then write http://"
            } else {
                "with TLS: then write https://"
            };
            format!("{address} has broken off the connection; look at its log, or it is {tls}")
        }
        _ => return None,
    })
}

fn of_tls(error: &rustls::Error, plan: &Plan) -> DeliveryError {
    let address = &plan.address;
    let reason = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => format!(
                "the certificate of {address} is signed by itself or by somebody whom we do not trust; name the right CA with `ca`"
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
                "the certificate of {address} has expired; renew it on the server, and check this machine's clock"
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {address} is not valid yet; check this machine's clock")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "the certificate of {address} is for another name; write the name that is in it into `url`"
                )
            }
            CertificateError::Other(problem)
                if problem.to_string().contains("CaUsedAsEndEntity") =>
            {
                format!(
                    "the certificate of {address} is signed by itself as a CA; let that CA sign another one for the server, and name the CA with `ca`"
                )
            }
            other => format!("the certificate of {address} is not accepted ({other:?})"),
        },
        rustls::Error::InvalidMessage(_) => {
            format!("{address} does not speak TLS on that port; check the port, or write http://")
        }
        other => format!("no TLS with {address} ({other})"),
    };
    DeliveryError::refused(reason)
}
