//! `kstar health`: asks a running collector whether all is well; for people, and as a container's health check.

use std::io::Write;

use clap::Args;
use kstar_client::{Client, ClientError, Url};
use kstar_http::health::Verdict;

use super::shared::args::ConfigArgs;
use super::shared::environment::http_token_of_environment;
use super::shared::failure::Failure;
use super::shared::remote::{ADD_HTTP, configured};

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
    let Some(url) = &args.url else {
        return configured(&args.config.config()?)?.ok_or_else(|| {
            Failure::Usage(format!(
                "there is no collector to ask: the configuration has no section [http]; name one with --url or \
                 KSTAR_HTTP, or {ADD_HTTP}"
            ))
        });
    };
    let token = http_token_of_environment().map(|token| token.reveal());
    let token = token.transpose().map_err(Failure::Runtime)?;
    Client::new(url.clone(), token.as_deref()).map_err(|error| Failure::Usage(error.to_string()))
}
