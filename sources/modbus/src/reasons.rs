//! Why something that came is not the reply: the names under which it is counted.

use kstar_source::error::Rejection;

pub const TRUNCATED: &str = "truncated";
pub const NO_FRAME: &str = "no_frame";
pub const CRC: &str = "crc";
pub const CHECKSUM: &str = "checksum";
pub const OTHER_UNIT: &str = "other_unit";
pub const OTHER_FUNCTION: &str = "other_function";
pub const OTHER_LENGTH: &str = "other_length";
pub const OTHER_BLOCK: &str = "other_block";
pub const OTHER_REQUEST: &str = "other_request";
pub const OTHER_LOGGER: &str = "other_logger";
pub const HEARTBEAT: &str = "heartbeat";
pub const PUSH: &str = "push";
pub const TEXT: &str = "text";
pub const MODBUS_TCP: &str = "modbus_tcp";

/// All of them.
pub const ALL: &[&str] = &[
    TRUNCATED,
    NO_FRAME,
    CRC,
    CHECKSUM,
    OTHER_UNIT,
    OTHER_FUNCTION,
    OTHER_LENGTH,
    OTHER_BLOCK,
    OTHER_REQUEST,
    OTHER_LOGGER,
    HEARTBEAT,
    PUSH,
    TEXT,
    MODBUS_TCP,
];

pub(crate) fn rejection(reason: &'static str, message: String) -> Rejection {
    Rejection { reason, message }
}

pub(crate) fn truncated(found: usize) -> Rejection {
    rejection(TRUNCATED, format!("only {found} bytes of a reply"))
}

pub(crate) fn crc() -> Rejection {
    rejection(CRC, "the CRC does not fit".to_owned())
}

/// Bytes that are no frame of the framing: text, if they are letters.
pub(crate) fn no_frame(bytes: &[u8]) -> Rejection {
    let is_text = |byte: &u8| matches!(byte, b'\r' | b'\n' | b' '..=b'~');
    if !bytes.is_empty() && bytes.iter().all(is_text) {
        let text = String::from_utf8_lossy(bytes);
        rejection(TEXT, format!("the text `{}`", text.trim().escape_debug()))
    } else {
        rejection(NO_FRAME, format!("{} bytes that are no frame", bytes.len()))
    }
}
