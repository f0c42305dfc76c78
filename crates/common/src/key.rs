//! What is wrong with the value of a key of the configuration, and which key it is: anyone who has the text shows it with
//! its line and a caret.

/// One step on the way to a value in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a table, by a key.
    Key(String),
    /// Into an array, by a number from 0 on.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Something wrong with the value of a key, or with what the value names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct KeyError {
    /// The way to the value, from the section on that is looked at; nothing where it is the section as a whole.
    pub path: Vec<Step>,
    /// What is wrong and what to do. Never a secret.
    pub message: String,
}

impl KeyError {
    /// Something wrong with the value of a key of the section.
    pub fn new(key: impl Into<Step>, message: impl Into<String>) -> Self {
        Self::of_section(message).within(key)
    }

    /// Something wrong with the section as a whole.
    pub fn of_section(message: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            message: message.into(),
        }
    }

    /// The same, seen from the table or array that holds the section.
    #[must_use]
    pub fn within(mut self, outer: impl Into<Step>) -> Self {
        self.path.insert(0, outer.into());
        self
    }
}
