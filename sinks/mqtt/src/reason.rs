//! What went wrong, as one line for people: what happened, where, and what to do. The same trouble gives the same
//! line each time, so that it is logged once.

use std::io::{self, ErrorKind};

use rumqttc::{ConnectReturnCode, ConnectionError, StateError, TlsError, mqttbytes};
use rustls::{AlertDescription, CertificateError};

use crate::settings::Settings;

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// Whether only somebody's hand can fix it, so that there is no hurry to try again.
    pub(crate) slow: bool,
}

impl Failure {
    pub(crate) fn soon(reason: String) -> Self {
        Self {
            reason,
            slow: false,
        }
    }

    pub(crate) fn slow(reason: String) -> Self {
        Self { reason, slow: true }
    }
}

/// Why no connection came about.
pub(crate) fn of_connecting(error: &ConnectionError, settings: &Settings) -> Failure {
    let broker = &settings.broker;
    match error {
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => Failure::soon(format!(
            "{broker} does not answer; check that an MQTT broker listens there and that no firewall is in the way"
        )),
        ConnectionError::ConnectionRefused(code) => of_refusal(*code, settings),
        ConnectionError::Tls(error) => of_tls(error, settings),
        ConnectionError::MqttState(StateError::ConnectionAborted) => hung_up(settings),
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        ) => match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                hung_up(settings)
            }
            // What the reader of packets says when the stream ended in the midst of one.
            _ if error.to_string() == "bytes remaining on stream" => not_mqtt(settings),
            _ => of_io(error, settings),
        },
        ConnectionError::NotConnAck(_)
        | ConnectionError::MqttState(StateError::Deserialization(_)) => not_mqtt(settings),
        other => Failure::soon(format!("cannot connect to {broker}: {other}")),
    }
}

/// Whether it was the broker that has ended a connection. Which error that makes depends on what we were doing.
pub(crate) fn is_closed(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::MqttState(StateError::ConnectionAborted) => true,
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        ) => matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}

/// Why a connection that had come about has ended.
pub(crate) fn of_losing(error: &ConnectionError, settings: &Settings) -> Failure {
    let broker = &settings.broker;
    Failure::soon(match error {
        error if is_closed(error) => format!(
            "{broker} has closed the connection; if that goes on, look at its log, and check that no other client has the id `{}`",
            settings.topics.client_id
        ),
        ConnectionError::NetworkTimeout
        | ConnectionError::FlushTimeout
        | ConnectionError::MqttState(StateError::AwaitPingResp | StateError::CollisionTimeout) => {
            no_longer_answers(settings)
        }
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        ) => return of_io(error, settings),
        other => format!("the connection to {broker} has broken: {other}"),
    })
}

/// The broker has closed the connection while an announcement was on its way to it.
pub(crate) fn of_announcing(topic: &str, size: usize, settings: &Settings) -> Failure {
    Failure::soon(format!(
        "{} has closed the connection while it was sent {topic} for Home Assistant, {size} bytes, which may be more than it takes",
        settings.broker
    ))
}

/// The broker has our messages and does not acknowledge them.
pub(crate) fn no_longer_answers(settings: &Settings) -> String {
    format!(
        "{} no longer answers; check that it is not overloaded and that the network is up",
        settings.broker
    )
}

fn hung_up(settings: &Settings) -> Failure {
    let broker = &settings.broker;
    Failure::soon(format!(
        "{broker} closes the connection before it answers; {}",
        if broker.tls {
            "check that this port speaks MQTT with TLS"
        } else {
            "check that this port speaks MQTT without TLS, or write mqtts://"
        }
    ))
}

fn not_mqtt(settings: &Settings) -> Failure {
    Failure::soon(format!(
        "what answers at {} is no MQTT broker; check host and port, and whether it wants TLS",
        settings.broker
    ))
}

fn of_refusal(code: ConnectReturnCode, settings: &Settings) -> Failure {
    let (broker, id) = (&settings.broker, &settings.topics.client_id);
    let who = match &settings.username {
        Some(user) => format!("the user `{user}` or the password"),
        None => "a client without user and password".to_owned(),
    };
    match code {
        ConnectReturnCode::BadUserNamePassword => Failure::slow(format!(
            "{broker} refuses {who}; fix it there or in `username` and `password`"
        )),
        // Also what Mosquitto says of a wrong password, and of a client id that it does not like.
        ConnectReturnCode::NotAuthorized => Failure::slow(format!(
            "{broker} refuses {who} (or the client id `{id}`); fix it there or in `username` and `password`"
        )),
        ConnectReturnCode::BadClientId => Failure::slow(format!(
            "{broker} refuses the client id `{id}`; set another one with `client_id`"
        )),
        ConnectReturnCode::ServiceUnavailable => {
            Failure::soon(format!("{broker} says that it is unavailable for now"))
        }
        ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::Success => Failure::slow(
            format!("{broker} does not speak MQTT 3.1.1; switch that on in the broker"),
        ),
    }
}

fn of_io(error: &io::Error, settings: &Settings) -> Failure {
    if let Some(error) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        return of_rustls(error, settings);
    }
    let broker = &settings.broker;
    let text = error.to_string();
    Failure::soon(match error.kind() {
        // The standard library has no kind of its own for it.
        _ if text.starts_with("failed to lookup address") => format!(
            "the name `{}` of the broker does not resolve; check `url` and the name server",
            broker.host
        ),
        ErrorKind::ConnectionRefused => format!(
            "{broker} refuses the connection; check that the broker runs and listens on that port"
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            format!("there is no way to {broker}; check the network")
        }
        ErrorKind::TimedOut => format!(
            "{broker} does not answer; check that an MQTT broker listens there and that no firewall is in the way"
        ),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            format!("{broker} has broken off the connection; look at its log if that goes on")
        }
        _ => format!("the connection to {broker} has failed: {text}"),
    })
}

fn of_tls(error: &TlsError, settings: &Settings) -> Failure {
    match error {
        TlsError::Io(error) => of_io(error, settings),
        TlsError::TLS(error) => of_rustls(error, settings),
        other => Failure::slow(format!("no TLS with {}: {other}", settings.broker)),
    }
}

fn of_rustls(error: &rustls::Error, settings: &Settings) -> Failure {
    let broker = &settings.broker;
    let reason = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => format!(
                "the certificate of {broker} is signed by nobody we trust; name the right CA with `ca`"
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
                "the certificate of {broker} has expired; renew it on the broker, and check this machine's clock"
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {broker} is not valid yet; check this machine's clock")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "the certificate of {broker} is for another name; write the name that is in it in `url`"
                )
            }
            other => format!("the certificate of {broker} is not accepted: {other}"),
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        ) => format!(
            "{broker} wants a certificate of ours; set `client_certificate` and `client_key`"
        ),
        rustls::Error::AlertReceived(alert) => format!(
            "{broker} refuses TLS with us ({alert:?}); check `client_certificate` and `client_key`, and its log"
        ),
        rustls::Error::InvalidMessage(_) => {
            format!("{broker} does not speak TLS on that port; check the port, or write mqtt://")
        }
        other => format!("no TLS with {broker}: {other}"),
    };
    Failure::slow(reason)
}
