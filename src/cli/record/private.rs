//! What tells whose inverter a recording is of, and what stands there in its place: numbers of the same length, the same ones
//! everywhere in a recording, with checksums that fit again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use kstar_source::greeting;
use kstar_source::recording::Anatomy;

/// A text with fewer letters and digits is nobody's number.
const SHORTEST: usize = 5;

/// At the end of something that was cut off, so many letters of a number are enough to replace them.
const SHORTEST_PIECE: usize = 4;

/// What is replaced.
#[derive(Debug, Default)]
pub(super) struct Replacements {
    /// In every form in which it may stand in bytes; the longest comes first.
    forms: Vec<(Vec<u8>, Vec<u8>)>,
    /// As people write it: what it is, and what stands in its place.
    shown: BTreeMap<String, (&'static str, String)>,
}

impl Replacements {
    /// Replaces a serial number or name. Its letters stay, since they say what kind of machine it is, unless it has hardly
    /// any digits.
    pub(super) fn add_text(&mut self, what: &'static str, text: &str) {
        if text.len() < SHORTEST || self.shown.contains_key(text) {
            return;
        }
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let other = |sign: char| match sign {
            '0'..='9' => other_than(sign, '0', 10),
            'A'..='Z' if digits < 4 => other_than(sign, 'A', 26),
            'a'..='z' if digits < 4 => other_than(sign, 'a', 26),
            _ => sign,
        };
        let replacement: String = text.chars().map(other).collect();
        self.add_form(text.as_bytes(), replacement.as_bytes());
        self.show(what, text.to_owned(), replacement);
    }

    /// Replaces the serial number of a stick.
    pub(super) fn add_logger(&mut self, number: u32) {
        let text = number.to_string();
        // 0 is what a client says that does not know it.
        if number < 10_000 || self.shown.contains_key(&text) {
            return;
        }
        let smallest = 10_u32.pow(number.ilog10());
        let largest = smallest.checked_mul(10).map_or(u32::MAX, |next| next - 1);
        let replacement = loop {
            let replacement = fastrand::u32(smallest..=largest);
            if replacement != number {
                break replacement;
            }
        };
        let other = replacement.to_string();
        self.add_form(text.as_bytes(), other.as_bytes());
        self.add_form(&number.to_le_bytes(), &replacement.to_le_bytes());
        self.add_form(&number.to_be_bytes(), &replacement.to_be_bytes());
        self.show("serial number of the stick", text, other);
    }

    /// Replaces a MAC address, with and without colons, in capitals and small letters, and as bytes.
    pub(super) fn add_mac(&mut self, mac: [u8; 6]) {
        let text = |mac: [u8; 6], between: &str| {
            let bytes = mac.map(|byte| format!("{byte:02X}"));
            bytes.join(between)
        };
        if self.shown.contains_key(&text(mac, ":")) {
            return;
        }
        let other = mac.map(|byte| byte ^ fastrand::u8(1..));
        self.add_form(&mac, &other);
        for between in ["", ":", "-"] {
            let (from, to) = (text(mac, between), text(other, between));
            self.add_form(from.as_bytes(), to.as_bytes());
            let (from, to) = (from.to_lowercase(), to.to_lowercase());
            self.add_form(from.as_bytes(), to.as_bytes());
        }
        self.show("MAC address", text(mac, ":"), text(other, ":"));
    }

    /// Replaces an address by one whose parts are as long.
    pub(super) fn add_address(&mut self, address: Ipv4Addr) {
        let text = address.to_string();
        if address.is_unspecified() || self.shown.contains_key(&text) {
            return;
        }
        let other = loop {
            let other = Ipv4Addr::from(address.octets().map(|part| match part {
                0..=9 => fastrand::u8(1..=9),
                10..=99 => fastrand::u8(10..=99),
                100.. => fastrand::u8(100..=254),
            }));
            if other != address {
                break other;
            }
        };
        self.add_form(text.as_bytes(), other.to_string().as_bytes());
        // Everybody's own address tells nothing, and bytes like its may be values.
        if !address.is_loopback() {
            self.add_form(&address.octets(), &other.octets());
        }
        self.show("address", text, other.to_string());
    }

    fn add_form(&mut self, from: &[u8], to: &[u8]) {
        let place = self
            .forms
            .partition_point(|(known, _)| known.len() >= from.len());
        self.forms.insert(place, (from.to_vec(), to.to_vec()));
    }

    fn show(&mut self, what: &'static str, from: String, to: String) {
        self.shown.insert(from, (what, to));
    }

    /// Learns what a frame has of numbers, by where they stand in it.
    pub(super) fn learn(&mut self, bytes: &[u8], anatomy: &Anatomy) {
        for place in &anatomy.loggers {
            if let Some(number) = bytes.get(place.clone()).and_then(<[u8]>::first_chunk) {
                self.add_logger(u32::from_le_bytes(*number));
            }
        }
        for place in &anatomy.serials {
            let text = bytes.get(place.clone()).unwrap_or_default();
            let is_part = |byte: &u8| byte.is_ascii_graphic();
            for piece in text.split(|byte| !is_part(byte)) {
                self.add_text("serial number", &String::from_utf8_lossy(piece));
            }
        }
        self.learn_text(bytes);
    }

    /// Learns what a text has of addresses, if it is one: the answer to a greeting, or what some sticks say on their port.
    fn learn_text(&mut self, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        if let Ok(module) = greeting::answer(bytes) {
            let name = module.name.unwrap_or_default();
            match name.parse() {
                Ok(number) => self.add_logger(number),
                Err(_) => self.add_text("name of the module", &name),
            }
        }
        let is_part = |sign: char| sign.is_ascii_hexdigit() || matches!(sign, '.' | ':' | '-');
        for word in text.split(|sign| !is_part(sign)) {
            if let Ok(address) = word.parse() {
                self.add_address(address);
            }
            let digits: String = word.chars().filter(char::is_ascii_hexdigit).collect();
            if let (12, Ok(number)) = (digits.len(), u64::from_str_radix(&digits, 16)) {
                let [_, _, mac @ ..] = number.to_be_bytes();
                self.add_mac(mac);
            }
        }
    }

    /// The bytes with everything replaced, and with checksums that are right where they were.
    pub(super) fn replaced(&self, bytes: &[u8], anatomy: &Anatomy) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        for blank in &anatomy.blanks {
            if let Some(place) = changed.get_mut(blank.clone()) {
                place.fill(0);
            }
        }
        for (from, to) in &self.forms {
            replace(&mut changed, from, to);
        }
        if changed != bytes {
            for seal in &anatomy.seals {
                seal.close(&mut changed);
            }
        }
        changed
    }

    /// What was replaced: what it is, what it was, what it is now.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
        let shown = self.shown.iter();
        shown.map(|(from, (what, to))| (*what, from.as_str(), to.as_str()))
    }
}

/// Another sign of so many that begin with that one.
fn other_than(sign: char, first: char, count: u32) -> char {
    let at = u32::from(sign) - u32::from(first);
    let other = (at + fastrand::u32(1..count)) % count;
    char::from_u32(u32::from(first) + other).unwrap_or(first)
}

/// Puts one number in the place of another, also of one with a few wrong bytes in it, and of pieces of it where something was
/// cut off.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let wrong_at_most = from.len() / 6;
    let mut position = 0;
    while let Some(place) = bytes.get_mut(position..position + from.len()) {
        let wrong = place.iter().zip(from).filter(|(one, other)| one != other);
        if wrong.count() <= wrong_at_most {
            place.copy_from_slice(to);
            position += from.len();
        } else {
            position += 1;
        }
    }
    for length in (SHORTEST_PIECE..from.len()).rev() {
        let pieces = from.get(..length).zip(to.get(..length));
        if let Some((piece, other)) = pieces
            && bytes.ends_with(piece)
        {
            let start = bytes.len() - length;
            if let Some(place) = bytes.get_mut(start..) {
                place.copy_from_slice(other);
            }
        }
        let cut = from.len() - length;
        if let Some((piece, other)) = from.get(cut..).zip(to.get(cut..))
            && bytes.starts_with(piece)
            && let Some(place) = bytes.get_mut(..length)
        {
            place.copy_from_slice(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(replacements: &Replacements, bytes: &[u8]) -> Vec<u8> {
        replacements.replaced(bytes, &Anatomy::default())
    }

    #[test]
    fn a_number_is_replaced_by_one_of_the_same_kind_wherever_it_stands() {
        let mut replacements = Replacements::default();
        replacements.add_text("serial number", "9010KETU12345678");
        replacements.add_logger(2_712_847_316);
        let text = b"..9010KETU12345678,2712847316,9010KETU12345678";
        let changed = String::from_utf8(replaced(&replacements, text)).expect("text");
        let parts: Vec<&str> = changed.split(',').collect();
        assert_eq!(parts[0], format!("..{}", parts[2]));
        assert!(
            parts[2].contains("KETU") && parts[2].len() == 16,
            "{changed}"
        );
        assert!(
            !changed.contains("1234") && !changed.contains("9010"),
            "{changed}"
        );
        let number: u32 = parts[1].parse().expect("a number");
        assert_ne!(number, 2_712_847_316);
        let bytes = replaced(&replacements, &2_712_847_316_u32.to_le_bytes());
        assert_eq!(bytes, number.to_le_bytes());
    }

    #[test]
    fn wrong_and_cut_off_numbers_are_replaced_too() {
        let mut replacements = Replacements::default();
        replacements.add_text("serial number", "9010KETU12345678");
        for told in ["9010KETU12345978", "9010KETU12354678"] {
            let changed = replaced(&replacements, told.as_bytes());
            assert!(!String::from_utf8_lossy(&changed).contains("1234"));
            assert!(!changed.starts_with(b"9010"));
        }
        assert!(!replaced(&replacements, b"..9010KE").ends_with(b"9010KE"));
        assert!(!replaced(&replacements, b"2345678..").starts_with(b"2345678"));
    }

    #[test]
    fn addresses_are_found_in_what_a_module_answers() {
        let mut replacements = Replacements::default();
        let answer = b"192.168.1.50,ACCF23000001,HF-LPB1x000";
        replacements.learn(answer, &Anatomy::default());
        let changed = replaced(&replacements, answer);
        assert_eq!(changed.len(), answer.len());
        let changed = greeting::answer(&changed).expect("an answer");
        let before = greeting::answer(answer).expect("an answer");
        assert_ne!(changed.address, before.address);
        assert_ne!(changed.mac, before.mac);
        let bytes = replaced(&replacements, &[0xac, 0xcf, 0x23, 0, 0, 1]);
        assert_eq!(Some(bytes), changed.mac.map(|mac| mac.0.to_vec()));
    }
}
