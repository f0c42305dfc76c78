//! Ways to an inverter: what a configuration says of how it is asked, and how patiently.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::exchange::Patience;

/// A configuration that is worth trying, and the port to try it at.
#[derive(Clone, Debug)]
pub struct Way<T> {
    /// The configuration.
    pub config: T,
    /// The port, which need not be the configuration's usual one.
    pub port: u16,
}

/// A key of a section `[[inverter]]` with its value; shown as the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// Its value.
    pub value: KeyValue,
}

/// The value of a [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum KeyValue {
    /// A word.
    Word(&'static str),
    /// A number.
    Number(u32),
    /// A byte, which people know in hexadecimal.
    Byte(u8),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            KeyValue::Word(word) => write!(f, "{} = \"{word}\"", self.name),
            KeyValue::Number(number) => write!(f, "{} = {number}", self.name),
            KeyValue::Byte(byte) => write!(f, "{} = 0x{byte:02X}", self.name),
        }
    }
}

/// How often and how patiently an inverter is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The time from one poll to the next.
    pub interval: Duration,
    /// How often and how long a reply is waited for.
    pub patience: Patience,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            patience: Patience {
                tries: 3,
                timeout: Duration::from_secs(2),
            },
        }
    }
}
