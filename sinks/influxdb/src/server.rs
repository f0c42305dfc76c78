//! The server: requests go out here, and nowhere else.
//!
//! A plain write to a bucket is done by influxdb2. Its path is fixed, it compresses nothing that we give it, it does
//! not know `/write`, and it drops the headers of an answer. So where there is a path or a database, where the body
//! is compressed, and as long as the last delivery failed (to see `Retry-After` and where a redirect leads), the same
//! request is made with the HTTP client below it. Both are set up alike: HTTP/1, no redirect, no proxy of the
//! environment, a time for connecting and one for the whole.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use influxdb2::api::write::TimestampPrecision;
use influxdb2::{ClientBuilder, RequestError};
use kstar_sink::sink::DeliveryError;
use reqwest::header;
use reqwest::redirect::Policy;
use reqwest::{Body, Client};

use crate::answer::Answer;
use crate::config::{Credentials, Plan, Target};
use crate::verdict;

/// The part of a delivery's time that connecting may take.
const CONNECTING: f64 = 0.5;

/// The server and how it is written to.
pub(crate) struct Server {
    settings: Settings,
    connection: Option<Connection>,
    /// Whether the last delivery failed.
    troubled: bool,
}

/// What a server needs to know beside the section.
pub(crate) struct Settings {
    pub(crate) plan: Plan,
    pub(crate) tls: Option<rustls::ClientConfig>,
    /// How long a request may take.
    pub(crate) patience: Duration,
    pub(crate) version: &'static str,
}

/// The clients, with the secret as it was when they were made.
pub(crate) struct Connection {
    http: Client,
    /// For a bucket at the root of its host.
    influxdb2: Option<influxdb2::Client>,
    pub(crate) secret: Option<String>,
}

impl Server {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            connection: None,
            troubled: false,
        }
    }

    /// Writes lines; `Ok` means that the server has all of them.
    pub(crate) async fn write(&mut self, lines: String) -> Result<(), DeliveryError> {
        let outcome = self.request(lines).await;
        self.troubled = outcome.is_err();
        if let Err(DeliveryError::Refused { .. }) = outcome {
            // The secret is fetched anew with the next try: whoever mends its file need not restart the program.
            self.connection = None;
        }
        outcome
    }

    async fn request(&mut self, lines: String) -> Result<(), DeliveryError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::new(&self.settings).await?),
        };
        let plan = &self.settings.plan;
        let body = if plan.gzip {
            compressed(lines).await?
        } else {
            lines.into()
        };
        let answer = match (&connection.influxdb2, &plan.target) {
            (Some(client), Target::Bucket { org, bucket }) if !self.troubled => {
                let precision = TimestampPrecision::Milliseconds;
                let written = client
                    .write_line_protocol_with_precision(org, bucket, body, precision)
                    .await;
                match written {
                    Ok(()) => return Ok(()),
                    Err(RequestError::Http { status, text }) => {
                        Ok(Answer::without_headers(status, text))
                    }
                    Err(RequestError::ReqwestProcessing { source }) => Err(source),
                    Err(other) => return Err(DeliveryError::unreachable(other.to_string())),
                }
            }
            _ => connection.post(plan, body).await,
        };
        match answer {
            Ok(answer) => verdict::of_answer(&answer, plan, connection.secret.as_deref()),
            Err(error) => Err(verdict::of_transport(&error, plan)),
        }
    }
}

impl Settings {
    fn builder(&self) -> reqwest::ClientBuilder {
        let builder = Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .user_agent(format!("kstar-collector/{}", self.version))
            .pool_max_idle_per_host(1)
            .connect_timeout(self.patience.mul_f64(CONNECTING))
            .timeout(self.patience);
        match &self.tls {
            Some(tls) => builder.use_preconfigured_tls(tls.clone()),
            None => builder,
        }
    }
}

impl Connection {
    pub(crate) async fn new(settings: &Settings) -> Result<Self, DeliveryError> {
        let plan = &settings.plan;
        let credentials = plan.credentials.clone();
        let secret = tokio::task::spawn_blocking(move || credentials.reveal())
            .await
            .map_err(|error| cannot_prepare(&error))?
            .map_err(|error| DeliveryError::refused(error.message))?;
        let influxdb2 = match (&plan.target, plan.address.has_path() || plan.gzip) {
            (Target::Bucket { org, .. }, false) => {
                let token = secret.clone().unwrap_or_default();
                let url = plan.address.to_string();
                let client = ClientBuilder::with_builder(settings.builder(), url, org, token);
                Some(client.build().map_err(|error| cannot_prepare(&error))?)
            }
            _ => None,
        };
        Ok(Self {
            http: settings
                .builder()
                .build()
                .map_err(|error| cannot_prepare(&error))?,
            influxdb2,
            secret,
        })
    }

    pub(crate) async fn post(&self, plan: &Plan, body: Body) -> reqwest::Result<Answer> {
        let mut request = match &plan.target {
            Target::Bucket { org, bucket } => self
                .http
                .post(plan.address.endpoint("/api/v2/write"))
                .query(&[("org", org), ("bucket", bucket)]),
            Target::Database {
                database,
                retention_policy,
            } => self
                .http
                .post(plan.address.endpoint("/write"))
                .query(&[("db", Some(database)), ("rp", retention_policy.as_ref())]),
        };
        request = request.query(&[("precision", "ms")]);
        request = match (&plan.credentials, &self.secret) {
            (Credentials::User { name, .. }, Some(password)) => {
                request.basic_auth(name, Some(password))
            }
            (Credentials::Token(_), Some(token)) => {
                request.header(header::AUTHORIZATION, format!("Token {token}"))
            }
            _ => request,
        };
        if plan.gzip {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        let response = request
            .body(body)
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .send()
            .await?;
        Ok(Answer::read(response).await)
    }
}

/// A full batch takes a small machine long enough to keep others waiting, so it is done on another thread.
pub(crate) async fn compressed(lines: String) -> Result<Body, DeliveryError> {
    let compress = move || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(lines.as_bytes())?;
        encoder.finish()
    };
    match tokio::task::spawn_blocking(compress).await {
        Ok(Ok(body)) => Ok(body.into()),
        Ok(Err(error)) => Err(cannot_prepare(&error)),
        Err(error) => Err(cannot_prepare(&error)),
    }
}

fn cannot_prepare(error: &dyn std::error::Error) -> DeliveryError {
    DeliveryError::unreachable(format!("cannot prepare a request: {error}"))
}
