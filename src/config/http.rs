//! The section `[http]`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

#[cfg(feature = "http")]
use kstar_common::key::KeyError;
#[cfg(feature = "http")]
use kstar_common::setting::Secret;
#[cfg(feature = "http")]
use kstar_http::{check_token, token_in};
use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ListenAddress(pub SocketAddr);

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!(
                "`{text}` is no address to listen at; write an address with a port, like \"127.0.0.1:8099\", or \
                 \"0.0.0.0:8099\" for all networks of this machine"
            )
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The section `[http]`: the pages, metrics, health and the API.
#[cfg(feature = "http")]
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSection {
    pub listen: ListenAddress,
    /// What anyone who asks must know.
    #[serde(default)]
    pub token: Option<Secret>,
    /// Whether others than this machine may ask without a token.
    #[serde(default)]
    pub allow_without_token: bool,
    /// Whether there are pages for browsers.
    #[serde(default = "yes")]
    pub dashboard: bool,
}

#[cfg(feature = "http")]
fn yes() -> bool {
    true
}

#[cfg(feature = "http")]
impl HttpSection {
    /// At this address, with nothing else said.
    pub fn new(listen: ListenAddress) -> Self {
        Self {
            listen,
            token: None,
            allow_without_token: false,
            dashboard: true,
        }
    }

    /// Whether the text of the section is right.
    pub fn validate(&self) -> Result<(), KeyError> {
        if let Some(literal) = self.token.as_ref().and_then(Secret::literal) {
            check_token(literal).map_err(|message| KeyError::new("token", message))?;
        }
        if self.listen.0.ip().is_loopback() || self.token.is_some() || self.allow_without_token {
            return Ok(());
        }
        let message = format!(
            "at {} others than this machine can ask, so it needs a `token`; set one, listen at 127.0.0.1, or say \
             `allow_without_token = true` if everybody in that network may read everything",
            self.listen
        );
        Err(KeyError::new("listen", message))
    }

    /// Reads the token. Blocks on its file.
    pub fn resolve(&self) -> Result<(), KeyError> {
        let token = self.token.as_ref().map(token_in).transpose();
        token
            .map(drop)
            .map_err(|message| KeyError::new("token", message))
    }
}

/// What stands for the section where this build does not have it.
#[cfg(not(feature = "http"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpSection {}

/// What is said where HTTP is not built.
#[cfg(not(feature = "http"))]
pub const NOT_BUILT: &str =
    "HTTP is not part of this build; build with `--features http`, or leave it out";

#[cfg(not(feature = "http"))]
impl<'de> Deserialize<'de> for HttpSection {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom(NOT_BUILT))
    }
}
