//! `kstar health`: asks a running collector whether all is well; for people, and as a container's health check.

use std::io::Write;

use clap::Args;
use kstar_client::{Client, ClientError, Url};
use kstar_http::health::Verdict;

use super::shared::args::ConfigArgs;
use super::shared::environment::http_of_environment;
use super::shared::environment::http_token_of_environment;
use super::shared::failure::Failure;
use super::shared::remote::ADD_HTTP;

/// What an address on the command line is for.
const URL_HELP: &str = "The collector, like http://127.0.0.1:8099 [env: KSTAR_HTTP, and for its token KSTAR_HTTP_TOKEN] [default: the address and token of the configuration's section http]";

/// What `kstar health` can be told.
#[derive(Args, Clone, Debug)]
pub struct HealthArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[arg(long, value_name = "URL", help = URL_HELP)]
    url: Option<Url>,
    /// Write the collector's own answer, which is JSON
    #[arg(long)]
    json: bool,
}

/// Asks, and shows what is said.
pub async fn run(args: HealthArgs, out: &mut impl Write) -> Result<(), Failure> {
    let client = client(&args)?;
    let answer = client
        .get("/health")
        .await
        .map_err(|error| Failure::Runtime(error.to_string()))?;
    if !matches!(answer.status, 200 | 503) {
        return Err(refused(&client, answer.status, answer.error()));
    }
    let verdict: Verdict = serde_json::from_slice(&answer.body).map_err(|_| {
        refused(
            &client,
            answer.status,
            "that is no answer of a collector".to_owned(),
        )
    })?;
    if args.json {
        out.write_all(answer.body.trim_ascii_end())?;
        writeln!(out)?;
    } else {
        show(&verdict, out)?;
    }
    out.flush()?;
    if verdict.healthy {
        Ok(())
    } else {
        Err(Failure::Shown)
    }
}

fn show(verdict: &Verdict, out: &mut impl Write) -> Result<(), Failure> {
    match &verdict.reasons {
        _ if verdict.healthy => writeln!(out, "all is well")?,
        None => writeln!(
            out,
            "not all is well; the collector tells why only with its token"
        )?,
        Some(reasons) => {
            for reason in reasons {
                writeln!(out, "{}: {}", reason.part, reason.reason)?;
            }
        }
    }
    Ok(())
}

fn refused(client: &Client, status: u16, reason: String) -> Failure {
    let url = client.url().clone();
    let error = ClientError::Refused {
        url,
        status,
        reason,
    };
    // A token that is wrong is a wrong configuration; the collector is not to blame.
    if status == 401 {
        Failure::Usage(error.to_string())
    } else {
        Failure::Runtime(error.to_string())
    }
}

/// Whom to ask: as the argument says, else the environment, else the configuration.
fn client(args: &HealthArgs) -> Result<Client, Failure> {
    let (url, token) = if let Some(url) = &args.url {
        (url.clone(), None)
    } else {
        let configured = args.config.load()?.and_then(|(_, config)| config.http);
        let token = configured.as_ref().and_then(|http| http.token.clone());
        let configured = configured.map(|http| http.listen);
        let Some(listen) = http_of_environment()?.or(configured) else {
            return Err(Failure::Usage(format!(
                "there is no collector to ask: the configuration has no section [http]; name one with --url or \
                 KSTAR_HTTP, or {ADD_HTTP}"
            )));
        };
        (Url::of_listener(listen.0), token)
    };
    let token = http_token_of_environment().or(token);
    let token = token.map(|token| token.reveal()).transpose();
    let token = token.map_err(Failure::Runtime)?;
    Client::new(url, token.as_deref()).map_err(|error| Failure::Usage(error.to_string()))
}
