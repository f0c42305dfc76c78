//! Asking a person: plain lines, and secrets that do not show while they are typed.

use std::io::{self, Write as _};
use std::path::Path;

use super::file::{Secret, Typed};
use crate::cli::shared::failure::Failure;

/// The user that answers, or nobody.
pub(super) struct Asking {
    /// Nobody is asked: the default is the answer.
    pub(super) silent: bool,
}

/// Tells something.
pub(super) fn say(what: &str) {
    // Where standard error is closed, nobody reads it.
    let _ = writeln!(io::stderr(), "{what}");
}

impl Asking {
    /// Asks until the answer is right; an empty one is the default.
    pub(super) async fn ask<T>(
        &self,
        question: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Failure> {
        loop {
            let answer = if self.silent {
                default.to_owned()
            } else {
                prompt(question, default);
                read_line().await?
            };
            let answer = match answer.trim() {
                "" => default,
                answer => answer,
            };
            match parse(answer) {
                Ok(answer) => return Ok(answer),
                Err(error) if self.silent => return Err(Failure::Usage(error)),
                Err(error) => say(&error),
            }
        }
    }

    /// Asks for a secret, which goes into a file of that name beside the configuration. A configuration that is not
    /// written to a file has no such place: there the name of an environment variable is asked for.
    pub(super) async fn secret(
        &self,
        question: &str,
        configuration: Option<&Path>,
        file: &str,
    ) -> Result<Option<Secret>, Failure> {
        let folder = configuration
            .and_then(|path| std::path::absolute(path).ok())
            .and_then(|path| Some(path.parent()?.to_owned()));
        let hidden = match folder {
            Some(folder) => Hidden::begin().map(|hidden| (folder, hidden)),
            None => None,
        };
        let Some((folder, hidden)) = hidden else {
            let question = format!("{question}: environment variable that holds it (empty: none)");
            let answer = self.ask(&question, "", |name| Ok(name.to_owned())).await?;
            return Ok((!answer.is_empty()).then_some(Secret::Env(answer)));
        };
        prompt(&format!("{question} (does not show; empty: none)"), "");
        let answer = read_line().await;
        drop(hidden);
        let content = answer?.trim_end_matches(['\r', '\n']).to_owned();
        let path = folder.join(file);
        Ok((!content.is_empty()).then_some(Secret::Typed(Typed { path, content })))
    }
}

fn prompt(question: &str, default: &str) {
    let default = match default {
        "" => String::new(),
        default => format!(" [{default}]"),
    };
    let mut err = io::stderr();
    let _ = write!(err, "{question}{default}: ");
    let _ = err.flush();
}

/// A line from standard input, waited for on a thread that may block.
async fn read_line() -> Result<String, Failure> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .map(|length| (length, line))
    });
    match read.await.map_err(io::Error::other).flatten() {
        Ok((0, _)) => Err(Failure::Runtime(
            "the input has ended; nothing was written".to_owned(),
        )),
        Ok((_, line)) => Ok(line),
        Err(error) => Err(Failure::Runtime(format!(
            "cannot read standard input: {error}; nothing was written"
        ))),
    }
}

/// The terminal does not show what is typed for as long as this lives.
#[cfg(unix)]
struct Hidden(rustix::termios::Termios);

#[cfg(unix)]
impl Hidden {
    fn begin() -> Option<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin()).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden).ok()?;
        Some(Self(before))
    }
}

#[cfg(unix)]
impl Drop for Hidden {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // A terminal that is gone needs no care.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Elsewhere nothing hides what is typed.
#[cfg(not(unix))]
struct Hidden;

#[cfg(not(unix))]
impl Hidden {
    fn begin() -> Option<Self> {
        None
    }
}
