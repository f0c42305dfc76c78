//! Sizes in bytes written as people write them: `"256MiB"`, `"1GiB"`, `"500KiB"`.

/// The units that a size may have, largest first.
const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// The number of bytes that a text names; the error says how to write one.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "`{text}` is no size; write a whole number and a unit, like \"256MiB\" or \"1GiB\" (KiB, MiB, GiB, TiB)"
        )
    };
    let (number, bytes) = UNITS
        .iter()
        .find_map(|(unit, bytes)| Some((text.trim().strip_suffix(unit)?, bytes)))
        .ok_or_else(wrong)?;
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    number
        .checked_mul(*bytes)
        .ok_or_else(|| format!("`{text}` is too large a size"))
}

/// The shortest text that [`parse`] reads as that size, or the bytes where they are no whole number of KiB.
pub fn text(bytes: u64) -> String {
    UNITS
        .iter()
        .find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size))
        .map_or_else(
            || format!("{bytes} bytes"),
            |(unit, size)| format!("{}{unit}", bytes / size),
        )
}

/// For `#[serde(with)]` on an `Option<u64>` that is `None` where the key is missing.
pub mod optional {
    use serde::Deserializer;

    /// The size of a key that is there.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        let expected = "a size as text, like \"256MiB\" or \"1GiB\"";
        crate::setting::from_text(deserializer, expected, super::parse).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn a_size_is_read_as_people_write_it_and_written_as_it_can_be_read() {
        for (written, bytes) in [
            ("256MiB", 256 << 20),
            ("1GiB", 1 << 30),
            ("3TiB", 3 << 40),
            ("1500KiB", 1500 << 10),
        ] {
            assert_eq!(parse(written), Ok(bytes));
            assert_eq!(text(bytes), written);
        }
        assert_eq!(parse(" 2 MiB "), Ok(2 << 20));
    }

    #[test]
    fn a_wrong_size_is_told_how_to_be_right() {
        for wrong in ["", "256", "MiB", "1.5GiB", "-1MiB", "256MB", "1 parsec"] {
            assert!(parse(wrong).unwrap_err().contains("256MiB"), "{wrong}");
        }
        assert!(parse("99999999999TiB").unwrap_err().contains("too large"));
    }
}
