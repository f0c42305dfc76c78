//! A running collector that a command asks through its HTTP API, in place of polling.

use std::path::PathBuf;

use clap::Args;
use kstar_client::{Client, ClientError, Url};
use kstar_common::setting::Secret;
#[cfg(feature = "http")]
use kstar_engine::overview::InverterOverview;

#[cfg(feature = "http")]
use super::environment::http_of_environment;
use super::environment::http_token_of_environment;
use super::failure::Failure;
#[cfg(feature = "http")]
use crate::config::Config;

/// Where the token of a collector's API comes from.
const TOKEN_HELP: &str =
    "The file with the token of that collector [env: KSTAR_HTTP_TOKEN, the token itself]";

/// How a collector comes to answer, where its configuration has no section `[http]`.
pub const ADD_HTTP: &str =
    "add these two lines and restart the collector:\n\n    [http]\n    listen = \"127.0.0.1:8099\"";

/// Which collector is asked, if one is.
#[derive(Args, Clone, Debug)]
pub struct RemoteArgs {
    /// Show the readings of a running collector through its HTTP API, and poll nothing
    #[arg(long, value_name = "http://HOST:PORT", conflicts_with_all = ["config", "host", "family", "via", "unit", "logger_serial", "force"])]
    url: Option<Url>,
    #[arg(long, value_name = "FILE", requires = "url", help = TOKEN_HELP)]
    token_file: Option<PathBuf>,
}

impl RemoteArgs {
    /// What asks it.
    pub fn client(&self) -> Result<Option<Client>, Failure> {
        let Some(url) = self.url.clone() else {
            return Ok(None);
        };
        let file = self.token_file.clone().map(Secret::File);
        let secret = file.or_else(http_token_of_environment);
        let token = secret.map(|secret| secret.reveal()).transpose();
        let token = token.map_err(Failure::Runtime)?;
        Ok(Some(Client::new(url, token.as_deref()).map_err(failed)?))
    }
}

/// What asks the collector that runs with this configuration: at the address and with the token of the environment, else
/// of the section `[http]`. Nothing where neither names an address.
#[cfg(feature = "http")]
pub fn configured(config: &Config) -> Result<Option<Client>, Failure> {
    let section = config.http.as_ref();
    let listen = http_of_environment()?.or(section.map(|section| section.listen));
    let Some(listen) = listen else {
        return Ok(None);
    };
    let token = http_token_of_environment().or(section.and_then(|section| section.token.clone()));
    let token = token.map(|token| token.reveal()).transpose();
    let token = token.map_err(Failure::Runtime)?;
    let client = Client::new(Url::of_listener(listen.0), token.as_deref());
    client
        .map(Some)
        .map_err(|error| Failure::Usage(error.to_string()))
}

/// The same, and what the inverter at this place is called there. Nothing as well where that collector polls none there: it
/// is another one then that does.
#[cfg(feature = "http")]
pub async fn polling(
    config: &Config,
    host: &str,
    name: &str,
) -> Result<Option<(Client, String)>, Failure> {
    let Some(client) = configured(config)? else {
        return Ok(None);
    };
    let inverters = client.fetch("/api/v1/inverters").await;
    let inverters: Vec<InverterOverview> =
        inverters.map_err(|error| Failure::Runtime(error.to_string()))?;
    let mut there: Vec<String> = inverters
        .into_iter()
        .filter(|inverter| inverter.host == host)
        .map(|inverter| inverter.name)
        .collect();
    // Several behind one address are told apart by their names.
    let ours = there.iter().position(|known| known == name).unwrap_or(0);
    Ok((ours < there.len()).then(|| (client, there.swap_remove(ours))))
}

/// Why it could not be asked.
pub fn failed(error: ClientError) -> Failure {
    match error {
        // The collector is not to blame for a wrong token.
        ClientError::Refused { status: 401, .. } | ClientError::Token => {
            Failure::Usage(format!("{error}; see --token-file"))
        }
        error => Failure::Runtime(error.to_string()),
    }
}
