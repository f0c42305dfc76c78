//! The ways to an inverter: which link and which framing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A way to an inverter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// Datagrams to GoodWe's WiFi module.
    Udp,
    /// A Solarman logger stick.
    Solarman,
    /// Modbus TCP.
    ModbusTcp,
    /// A gateway that passes on the frames of the serial line.
    RtuOverTcp,
}

impl Via {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Solarman, Self::ModbusTcp, Self::RtuOverTcp];

    /// What the configuration calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Solarman => "solarman",
            Self::ModbusTcp => "modbus-tcp",
            Self::RtuOverTcp => "rtu-over-tcp",
        }
    }

    /// The usual port.
    pub const fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Solarman => 8899,
            Self::ModbusTcp | Self::RtuOverTcp => 502,
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
