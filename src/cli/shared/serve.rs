//! The address that arguments and environment name for HTTP, in place of the configuration's.

use super::failure::Failure;
use crate::config::{Config, ListenAddress};

/// Serves HTTP at this address, if there is one.
#[cfg(feature = "http")]
pub fn at(config: &mut Config, listen: Option<ListenAddress>) -> Result<(), Failure> {
    use super::environment::HTTP_TOKEN;
    use super::environment::http_token_of_environment;
    use crate::config::HttpSection;

    let Some(listen) = listen else {
        return Ok(());
    };
    let section = config.http.get_or_insert_with(|| HttpSection::new(listen));
    section.listen = listen;
    if let Some(token) = http_token_of_environment() {
        section.token = Some(token);
    }
    section.validate().map_err(|error| {
        Failure::Usage(format!(
            "--http or KSTAR_HTTP: {error}. The environment may hold the token, in {HTTP_TOKEN}"
        ))
    })
}

/// Says that this build has no HTTP, if it is asked for.
#[cfg(not(feature = "http"))]
pub fn at(_config: &mut Config, listen: Option<ListenAddress>) -> Result<(), Failure> {
    match listen {
        None => Ok(()),
        Some(_) => Err(Failure::Usage(format!(
            "--http or KSTAR_HTTP: {}",
            crate::config::HTTP_NOT_BUILT
        ))),
    }
}
