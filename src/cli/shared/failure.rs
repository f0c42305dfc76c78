//! Why a command has failed, and the exit code that says so.

use std::io;
use std::process::ExitCode;

use kstar_common::wrapping::visible;

use super::logging;
use crate::config::{Blame, ConfigError};

/// Why a command has failed, by what its exit code says.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was used or configured wrongly: code 2.
    #[error("{0}")]
    Usage(String),
    /// Something went wrong while it ran: code 1.
    #[error("{0}")]
    Runtime(String),
    /// It went wrong, and the log says what: code 1.
    #[error("see the log")]
    Logged,
    /// Something is wrong, and the output says what: code 1.
    #[error("see the output")]
    Shown,
    /// The reader of the output has heard enough: code 0.
    #[error("nobody reads the output")]
    OutputClosed,
}

impl Failure {
    /// Says it on standard error, in the form of the log where that is for machines, and gives the exit code.
    pub fn report(self, format: logging::Format) -> ExitCode {
        if let Self::Usage(message) | Self::Runtime(message) = &self {
            logging::say(format, "ERROR", &visible(message));
        }
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Runtime(_) | Self::Logged | Self::Shown => ExitCode::FAILURE,
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error.blame {
            Blame::Text => Self::Usage(error.to_string()),
            Blame::Named => Self::Runtime(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Runtime(format!("cannot write to standard output: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}
