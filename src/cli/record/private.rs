//! What tells whose inverter a recording is of, and what stands there in its place: numbers of the same length, the same ones
//! everywhere in a recording, with checksums that fit again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use kstar_source::greeting;
use kstar_source::recording::Anatomy;

/// A text with fewer letters and digits is nobody's number.
const SHORTEST: usize = 5;

/// Where something was cut off, so many letters of a number are enough to replace them.
const SHORTEST_PIECE: usize = 6;

/// What is replaced.
#[derive(Debug, Default)]
pub(super) struct Replacements {
    /// In every form in which it may stand in bytes; the longest comes first.
    forms: Vec<Form>,
    /// As people write it: what it is, and what stands in its place.
    shown: BTreeMap<String, (&'static str, String)>,
}

/// How something stands in bytes.
#[derive(Debug)]
struct Form {
    from: Vec<u8>,
    to: Vec<u8>,
    /// Whether it is replaced also where it is cut off or a few bytes of it are wrong.
    also_damaged: bool,
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
        self.insert(text.as_bytes(), replacement.as_bytes(), true);
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
        self.insert(from, to, false);
    }

    fn insert(&mut self, from: &[u8], to: &[u8], also_damaged: bool) {
        let is_longer = |known: &Form| known.from.len() >= from.len();
        let place = self.forms.partition_point(is_longer);
        let (from, to) = (from.to_vec(), to.to_vec());
        self.forms.insert(
            place,
            Form {
                from,
                to,
                also_damaged,
            },
        );
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
    pub(super) fn replaced(&self, bytes: &[u8], anatomy: &Anatomy, is_reply: bool) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        if !is_reply {
            blank_numbers(&mut changed);
        }
        for blank in &anatomy.blanks {
            if let Some(place) = changed.get_mut(blank.clone()) {
                place.fill(0);
            }
        }
        for form in &self.forms {
            replace_exactly(&mut changed, &form.from, &form.to);
            if form.also_damaged {
                replace_damaged(&mut changed, &form.from, &form.to);
            }
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

/// Puts one number in the place of another with a few wrong bytes in it, and of pieces of it where something was cut off.
fn replace_damaged(bytes: &mut [u8], from: &[u8], to: &[u8]) {
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
        let cut = from.len() - length;
        for (piece, other) in [
            (from.get(..length), to.get(..length)),
            (from.get(cut..), to.get(cut..)),
        ] {
            if let Some((piece, other)) = piece.zip(other) {
                replace_exactly(bytes, piece, other);
            }
        }
    }
}

fn replace_exactly(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for position in 0..bytes.len() {
        match bytes.get_mut(position..position + from.len()) {
            Some(place) if place == from => place.copy_from_slice(to),
            Some(_) => {}
            None => return,
        }
    }
}

/// Takes everything out that may be a serial number or a part of one: where a reply did not come whole, or came late, nothing
/// says what stands in it. A text as a whole is left: no inverter sends its number as such.
fn blank_numbers(bytes: &mut [u8]) {
    if bytes
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
    {
        return;
    }
    let runs = bytes.split_mut(|byte| !byte.is_ascii_alphanumeric());
    for run in runs {
        let digits = run.iter().filter(|byte| byte.is_ascii_digit()).count();
        if run.len() >= SHORTEST_PIECE && digits >= 2 {
            run.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(replacements: &Replacements, bytes: &[u8]) -> Vec<u8> {
        replacements.replaced(bytes, &Anatomy::default(), true)
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
        let changed = replaced(&replacements, b"..9010KE\x15");
        assert!(
            !changed.windows(4).any(|piece| piece == b"9010"),
            "{changed:?}"
        );
        let changed = replaced(&replacements, b"2345678..");
        assert!(!changed.starts_with(b"2345"), "{changed:?}");
    }

    #[test]
    fn a_number_that_nothing_tells_is_not_in_what_was_passed_over() {
        let replacements = Replacements::default();
        let told = |bytes: &[u8]| replacements.replaced(bytes, &Anatomy::default(), false);
        assert_eq!(told(b"\x01KSE4000S1\xff"), *b"\x01\0\0\0\0\0\0\0\0\0\xff");
        assert_eq!(told(b"\x01KSTAR  \xff"), *b"\x01KSTAR  \xff");
        assert_eq!(
            told(b"AT+YZCMPVER=MW3_16U_5406"),
            *b"AT+YZCMPVER=MW3_16U_5406"
        );
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
