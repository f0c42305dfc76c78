//! What a look at something outside the program has found: `kstar check --connect` shows it to people.

use serde::Serialize;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, or nobody can tell; somebody should know of it.
    Note,
    /// It does not work until somebody fixes it.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub about: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, with the place. Never a secret.
    pub said: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// It is as it should be.
    pub fn good(about: &'static str, said: impl Into<String>) -> Self {
        Self::new(about, Verdict::Good, said.into(), None)
    }

    /// It is worth knowing, and this can be done about it.
    pub fn note(about: &'static str, said: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(about, Verdict::Note, said.into(), Some(fix.into()))
    }

    /// It does not work, and this fixes it.
    pub fn wrong(about: &'static str, said: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(about, Verdict::Wrong, said.into(), Some(fix.into()))
    }

    /// It does not work, for a reason in the form of this program's errors: what happened; what to do.
    pub fn failed(about: &'static str, reason: &str) -> Self {
        match reason.split_once("; ") {
            Some((said, fix)) => Self::wrong(about, said, fix),
            None => Self::new(about, Verdict::Wrong, reason.to_owned(), None),
        }
    }

    fn new(about: &'static str, verdict: Verdict, said: String, fix: Option<String>) -> Self {
        Self {
            about,
            verdict,
            said,
            fix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_what_happened_and_what_to_do() {
        assert_eq!(
            Finding::failed("login", "the broker refuses us; fix it; or not"),
            Finding::wrong("login", "the broker refuses us", "fix it; or not")
        );
        assert_eq!(Finding::failed("login", "no way").fix, None);
    }
}
