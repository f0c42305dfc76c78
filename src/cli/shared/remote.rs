//! A running collector that a command asks through its HTTP API, in place of polling.

use std::path::PathBuf;

use clap::Args;
use kstar_client::{Client, ClientError, Url};
use kstar_common::setting::Secret;

use super::environment::http_token_of_environment;
use super::failure::Failure;

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
