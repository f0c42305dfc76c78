//! What the environment says in place of the configuration.

use std::ffi::OsString;

#[cfg(any(feature = "http", feature = "watch"))]
use kstar_common::setting::Secret;

use super::failure::Failure;
use crate::config::{Host, ListenAddress};

/// What stands in an environment variable; one that is empty counts as none, as containers often have it.
///
/// Read here and not by clap, for which a variable is as good as an argument: it would then be in conflict with
/// arguments that rule it out.
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The host that the environment names.
pub fn host_of_environment() -> Result<Option<Host>, Failure> {
    environment("KSTAR_HOST")
        .map(|value| value.to_string_lossy().parse())
        .transpose()
        .map_err(|error: String| Failure::Usage(format!("KSTAR_HOST: {error}")))
}

/// The address that the environment names for HTTP.
pub fn http_of_environment() -> Result<Option<ListenAddress>, Failure> {
    environment("KSTAR_HTTP")
        .map(|value| value.to_string_lossy().parse())
        .transpose()
        .map_err(|error: String| Failure::Usage(format!("KSTAR_HTTP: {error}")))
}

/// The variable that may hold the token of HTTP.
#[cfg(any(feature = "http", feature = "watch"))]
pub const HTTP_TOKEN: &str = "KSTAR_HTTP_TOKEN";

/// The token of HTTP that the environment holds.
#[cfg(any(feature = "http", feature = "watch"))]
pub fn http_token_of_environment() -> Option<Secret> {
    environment(HTTP_TOKEN).map(|_| Secret::Env(HTTP_TOKEN.to_owned()))
}
