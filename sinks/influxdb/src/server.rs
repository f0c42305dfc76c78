//! The server: requests go out here, and nowhere else.
//!
//! A plain write to a bucket is done by influxdb2. It is built without TLS, its path is fixed, it compresses nothing
//! that we give it, it does not know `/write`, and it drops the headers of an answer. So with `https://`, where there is
//! a path or a database, where the body is compressed, and as long as the last delivery failed (to see `Retry-After` and
//! where a redirect leads), the same request is made by `http`. Both are set up alike: HTTP/1, no redirect, no proxy of
//! the environment, a time for connecting and one for the whole.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use influxdb2::api::write::TimestampPrecision;
use influxdb2::{BuildError, ClientBuilder, RequestError};
use kstar_sink::sink::DeliveryError;
use reqwest::redirect::Policy;
use url::{Position, Url};

use crate::answer::Answer;
use crate::config::{Credentials, Plan, Target};
use crate::http::{CONNECTING, Failure, Http};
use crate::verdict;

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
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// How long a request may take.
    pub(crate) patience: Duration,
    pub(crate) version: &'static str,
}

/// The clients, with the secret as it was when they were made.
pub(crate) struct Connection {
    http: Http,
    user_agent: String,
    /// For a bucket at the root of its host, without TLS.
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
            // The secret is fetched anew with the next try: anyone who fixes its file need not restart the program.
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
        let answer = match (&connection.influxdb2, &plan.target) {
            (Some(client), Target::Bucket { org, bucket }) if !self.troubled => {
                let precision = TimestampPrecision::Milliseconds;
                let written = client
                    .write_line_protocol_with_precision(org, bucket, lines, precision)
                    .await;
                match written {
                    Ok(()) => return Ok(()),
                    Err(RequestError::Http { status, text }) => {
                        // The same number in another generation's type.
                        StatusCode::from_u16(status.as_u16())
                            .map(|status| Answer::without_headers(status, text))
                            .map_err(|error| Failure::Broken(error.into()))
                    }
                    Err(RequestError::ReqwestProcessing { source }) => Err(source.into()),
                    Err(other) => return Err(DeliveryError::unreachable(other.to_string())),
                }
            }
            _ => {
                let body = plan.body(lines).await?;
                connection.post(plan, body).await
            }
        };
        match answer {
            Ok(answer) => verdict::of_answer(&answer, plan, connection.secret.as_deref()),
            Err(error) => Err(verdict::of_transport(&error, plan)),
        }
    }
}

impl Settings {
    fn user_agent(&self) -> String {
        format!("kstar-collector/{}", self.version)
    }

    fn influxdb2(&self, org: &str, secret: Option<&str>) -> Result<influxdb2::Client, BuildError> {
        let http = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .user_agent(self.user_agent())
            .pool_max_idle_per_host(1)
            .connect_timeout(self.patience.mul_f64(CONNECTING))
            .timeout(self.patience);
        let url = self.plan.address.to_string();
        ClientBuilder::with_builder(http, url, org, secret.unwrap_or_default()).build()
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
        let is_beyond_influxdb2 = plan.address.is_secure() || plan.address.has_path() || plan.gzip;
        let influxdb2 = match &plan.target {
            Target::Bucket { org, .. } if !is_beyond_influxdb2 => {
                let client = settings.influxdb2(org, secret.as_deref());
                Some(client.map_err(|error| cannot_prepare(&error))?)
            }
            _ => None,
        };
        Ok(Self {
            http: Http::new(
                plan.address.clone(),
                settings.tls.clone(),
                settings.patience,
            ),
            user_agent: settings.user_agent(),
            influxdb2,
            secret,
        })
    }

    pub(crate) async fn post(&mut self, plan: &Plan, body: Bytes) -> Result<Answer, Failure> {
        let request = self
            .request(plan, body)
            .map_err(|error| Failure::Broken(error.into()))?;
        self.http.ask(request).await
    }

    fn request(&self, plan: &Plan, body: Bytes) -> hyper::http::Result<Request<Full<Bytes>>> {
        let url = plan.endpoint();
        let mut request = Request::post(&url[Position::BeforePath..])
            .header(header::HOST, url.authority())
            .header(header::USER_AGENT, &self.user_agent)
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        let authorization = match (&plan.credentials, &self.secret) {
            (Credentials::User { name, .. }, Some(password)) => Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{name}:{password}"))
            )),
            (Credentials::Token(_), Some(token)) => Some(format!("Token {token}")),
            _ => None,
        };
        if let Some(authorization) = authorization {
            let mut authorization = HeaderValue::try_from(authorization)?;
            authorization.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if plan.gzip {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        request.body(body.into())
    }
}

impl Plan {
    /// Where a write goes, with what is said in the query.
    fn endpoint(&self) -> Url {
        let (path, place) = match &self.target {
            Target::Bucket { org, bucket } => (
                "/api/v2/write",
                [("org", Some(org)), ("bucket", Some(bucket))],
            ),
            Target::Database {
                database,
                retention_policy,
            } => (
                "/write",
                [("db", Some(database)), ("rp", retention_policy.as_ref())],
            ),
        };
        let mut url = self.address.endpoint(path);
        let mut query = url.query_pairs_mut();
        for (key, value) in place {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        query.append_pair("precision", "ms");
        drop(query);
        url
    }

    /// Lines as a body. A full batch takes a small machine long enough to compress to keep others waiting, so it is
    /// done on another thread.
    pub(crate) async fn body(&self, lines: String) -> Result<Bytes, DeliveryError> {
        if !self.gzip {
            return Ok(lines.into());
        }
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
}

fn cannot_prepare(error: &dyn std::error::Error) -> DeliveryError {
    DeliveryError::unreachable(format!("cannot prepare a request: {error}"))
}
