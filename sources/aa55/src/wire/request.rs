//! The only bytes that this program sends: six requests and a greeting (PROTOCOL 1.3, 2.1).
//!
//! The same port takes commands that change an inverter's settings or its firmware's. So what may be sent is a
//! closed set, written out byte for byte, and nothing builds a datagram from parts.

use std::fmt;

/// The address that the asking side gives itself; the inverter's reply carries it back (PROTOCOL 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApAddress {
    /// What KSTAR's own app uses.
    #[default]
    B0,
    /// What GoodWe's tools use. Whether a KSE answers to it is not known.
    C0,
}

impl ApAddress {
    /// The address on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::B0 => 0xb0,
            Self::C0 => 0xc0,
        }
    }

    /// The address with that byte, if it is one that may be used.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0xb0 => Some(Self::B0),
            0xc0 => Some(Self::C0),
            _ => None,
        }
    }
}

/// What an inverter can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Who it is: model, serial number, firmware.
    DeviceInfo,
    /// What it measures now.
    RunningData,
    /// How it is set.
    Settings,
}

impl Request {
    /// The frame that asks for it.
    pub const fn frame(self, ap: ApAddress) -> &'static [u8; 9] {
        match (self, ap) {
            (Self::DeviceInfo, ApAddress::B0) => {
                &[0xaa, 0x55, 0xb0, 0x7f, 0x01, 0x02, 0x00, 0x02, 0x31]
            }
            (Self::RunningData, ApAddress::B0) => {
                &[0xaa, 0x55, 0xb0, 0x7f, 0x01, 0x06, 0x00, 0x02, 0x35]
            }
            (Self::Settings, ApAddress::B0) => {
                &[0xaa, 0x55, 0xb0, 0x7f, 0x01, 0x09, 0x00, 0x02, 0x38]
            }
            (Self::DeviceInfo, ApAddress::C0) => {
                &[0xaa, 0x55, 0xc0, 0x7f, 0x01, 0x02, 0x00, 0x02, 0x41]
            }
            (Self::RunningData, ApAddress::C0) => {
                &[0xaa, 0x55, 0xc0, 0x7f, 0x01, 0x06, 0x00, 0x02, 0x45]
            }
            (Self::Settings, ApAddress::C0) => {
                &[0xaa, 0x55, 0xc0, 0x7f, 0x01, 0x09, 0x00, 0x02, 0x48]
            }
        }
    }

    /// The function code of the reply.
    pub const fn reply_function(self) -> u8 {
        match self {
            Self::DeviceInfo => 0x82,
            Self::RunningData => 0x86,
            Self::Settings => 0x89,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeviceInfo => "device info",
            Self::RunningData => "running data",
            Self::Settings => "settings",
        })
    }
}

/// Everything that may leave the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A request to an inverter.
    Request(Request, ApAddress),
    /// The greeting to WiFi modules.
    Greeting,
}

impl Outgoing {
    /// The datagram.
    pub const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Request(request, ap) => request.frame(ap),
            Self::Greeting => super::GREETING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_are_those_of_the_protocol_with_right_checksums() {
        let expected = [
            (Request::DeviceInfo, ApAddress::B0, "aa55b07f0102000231"),
            (Request::RunningData, ApAddress::B0, "aa55b07f0106000235"),
            (Request::Settings, ApAddress::B0, "aa55b07f0109000238"),
            (Request::DeviceInfo, ApAddress::C0, "aa55c07f0102000241"),
            (Request::RunningData, ApAddress::C0, "aa55c07f0106000245"),
            (Request::Settings, ApAddress::C0, "aa55c07f0109000248"),
        ];
        for (request, ap, frame) in expected {
            let bytes = request.frame(ap);
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex.concat(), frame);
            let sum: u16 = bytes[..7].iter().copied().map(u16::from).sum();
            assert_eq!(bytes[7..], sum.to_be_bytes());
        }
    }
}
