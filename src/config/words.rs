//! The mistakes of a TOML file in the words of those who write one: what the parser and serde say, without Rust, and
//! with the line to write where that is known.

use kstar_common::key::Step;

/// What stands around a mistake.
pub(super) struct Around<'a> {
    /// The way to the key or section that is wrong.
    pub path: &'a [Step],
    /// What is marked.
    pub marked: &'a str,
    /// Keys of that section which the reader of the rest does not know.
    pub keys: &'a [&'static str],
}

/// A mistake in the form of the file.
pub(super) fn of_syntax(message: &str, line: &str) -> String {
    let (line, _) = line.split_once(" #").unwrap_or((line, ""));
    if line.contains(TYPOGRAPHIC) {
        let straight = line.replace(TYPOGRAPHIC, "\"");
        return format!(
            "these are typographic quotes; write straight ones: {}",
            straight.trim()
        );
    }
    let Some((key, value)) = key_and_value(line) else {
        return match line.split_once(':') {
            Some((key, value)) if is_key(key.trim()) && !value.trim().is_empty() => format!(
                "a key and its value stand on both sides of a `=`: {} = {}",
                key.trim(),
                value.trim()
            ),
            _ => in_plain_words(message),
        };
    };
    if let Some(number) = with_dot(value) {
        return format!("a number has a dot in place of the comma: {key} = {number}");
    }
    match value.to_ascii_lowercase().as_str() {
        truth @ ("true" | "false") => format!("write it in small letters: {key} = {truth}"),
        "yes" | "on" => format!("write true or false: {key} = true"),
        "no" | "off" => format!("write true or false: {key} = false"),
        bare if bare.starts_with('.') && bare.parse::<f64>().is_ok() => {
            format!("a number has a digit before its dot: {key} = 0{bare}")
        }
        _ if is_bare_text(value) => format!("a string stands in quotes: {key} = \"{value}\""),
        _ => in_plain_words(message),
    }
}

/// A key or value that the file has in the right form, and that is not what is wanted there.
pub(super) fn of_meaning(message: &str, around: &Around<'_>) -> String {
    if let Some(unknown) = unknown(message, around.keys) {
        return unknown;
    }
    match (message.strip_prefix("invalid type: "), around.path) {
        (Some(found), [Step::Key(name)]) if is_repeated(name) => of_repeated(name, found, around),
        (Some(found), _) => of_type(found, around),
        _ => in_plain_words(message),
    }
}

/// Quotes that editors for letters put in place of straight ones.
const TYPOGRAPHIC: [char; 8] = ['“', '”', '„', '‟', '‘', '’', '«', '»'];

/// The sections of which there may be several.
fn is_repeated(name: &str) -> bool {
    matches!(name, "inverter" | "tariff")
}

/// Something else in place of `[[inverter]]` or `[[tariff]]`.
fn of_repeated(name: &str, found: &str, around: &Around<'_>) -> String {
    if found.starts_with("map") && around.marked.starts_with('[') {
        return format!("there may be several of them, so write two brackets: [[{name}]]");
    }
    let (found, _) = found.rsplit_once(", expected ").unwrap_or((found, ""));
    match found.strip_prefix("string \"").and_then(quoted) {
        Some(host) if name == "inverter" => format!(
            "an inverter has a section of its own; write two lines: [[inverter]] and host = \"{host}\""
        ),
        _ => format!(
            "this has a section of its own; write the line [[{name}]], and its keys below it"
        ),
    }
}

/// A value of another type; what was found stands before what is expected.
fn of_type(found: &str, around: &Around<'_>) -> String {
    let (found, expected) = found.rsplit_once(", expected ").unwrap_or((found, ""));
    let wanted = in_plain_words(expected);
    let key = match around.path.last() {
        Some(Step::Key(key)) => key.as_str(),
        _ => "",
    };
    let line_to_write = |value: String| {
        if key.is_empty() {
            format!("; write {value}")
        } else {
            format!("; write {key} = {value}")
        }
    };
    let text = found.strip_prefix("string \"").and_then(quoted);
    let advice = match (text, wanted.as_str()) {
        (Some(text), "a number") => {
            let number =
                with_dot(text).or_else(|| text.parse::<f64>().ok().map(|_| text.to_owned()));
            let number = number.unwrap_or_else(|| "0.32".to_owned());
            line_to_write(number) + ", without quotes"
        }
        (Some(text), wanted)
            if wanted.starts_with("a whole number") && text.parse::<u64>().is_ok() =>
        {
            line_to_write(text.to_owned()) + ", without quotes"
        }
        (Some(text), "true or false") => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => line_to_write("true".to_owned()) + ", without quotes",
            "false" | "no" | "off" | "0" => line_to_write("false".to_owned()) + ", without quotes",
            _ => String::new(),
        },
        (None, _) if key == "listen" => line_to_write(format!("\"127.0.0.1:{}\"", around.marked)),
        (None, "a string in quotes")
            if !around.marked.is_empty() && is_bare_text(around.marked) =>
        {
            line_to_write(format!("\"{}\"", around.marked))
        }
        _ => String::new(),
    };
    format!("{}, expected {wanted}{advice}", what_was_found(found))
}

/// What was found, as the file has it.
fn what_was_found(found: &str) -> String {
    for (rust, plain) in [
        ("string ", "a string"),
        ("integer ", "a whole number"),
        ("floating point ", "a number"),
        ("boolean ", "true or false"),
    ] {
        if let Some(value) = found.strip_prefix(rust) {
            let value = value.trim_matches('`');
            return format!(
                "this is {plain} (`{}`)",
                quoted(value.trim_start_matches('"')).unwrap_or(value)
            );
        }
    }
    match found {
        "map" => "this is a section".to_owned(),
        "sequence" => "this is a list".to_owned(),
        other => format!("this is a {other}"),
    }
}

/// The text before its closing quote.
fn quoted(text: &str) -> Option<&str> {
    text.strip_suffix('"')
}

/// What the reader of a TOML file may not know from Rust.
fn in_plain_words(message: &str) -> String {
    const WORDS: [(&str, &str); 16] = [
        ("a nonzero usize", "a whole number from 1 on"),
        ("a nonzero u32", "a whole number from 1 on"),
        ("a nonzero u64", "a whole number from 1 on"),
        ("u16", "a whole number"),
        ("u32", "a whole number"),
        ("u64", "a whole number"),
        ("u8", "a whole number"),
        ("i64", "a whole number"),
        ("usize", "a whole number"),
        ("f64", "a number"),
        ("a boolean", "true or false"),
        ("a string", "a string in quotes"),
        ("a sequence", "a list in brackets"),
        ("a map", "a section"),
        ("integer", "the whole number"),
        ("floating point", "the number"),
    ];
    if message.starts_with("struct ") {
        return "a section".to_owned();
    }
    if let Some((_, plain)) = WORDS.iter().find(|(rust, _)| *rust == message) {
        return (*plain).to_owned();
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        let line = EXAMPLES
            .iter()
            .find(|(name, _)| key.trim_matches('`') == *name);
        let advice = line.map_or_else(String::new, |(name, value)| {
            format!("; write it, like {name} = {value}")
        });
        return format!("missing field {key}{advice}");
    }
    match message {
        "duplicate key" => {
            return "this stands here a second time; leave only one of them".to_owned();
        }
        "invalid basic string, expected `\"`" => {
            return "the quote at the end of this text is missing".to_owned();
        }
        _ => {}
    }
    match message.rsplit_once(", expected ") {
        Some((before, expected)) if before.starts_with("invalid value: ") => {
            let (_, value) = before.rsplit_once(' ').unwrap_or(("", before));
            format!(
                "{value} is not possible here, expected {}",
                in_plain_words(expected)
            )
        }
        _ => message.to_owned(),
    }
}

/// Keys that have no default.
const EXAMPLES: [(&str, &str); 4] = [
    ("listen", "\"127.0.0.1:8099\""),
    ("currency", "\"EUR\""),
    ("price", "0.32"),
    (
        "url",
        "\"mqtt://localhost:1883\" or \"http://localhost:8086\"",
    ),
];

/// The message of an unknown key or value: what may have been meant, and what there is.
fn unknown(message: &str, keys: &[&str]) -> Option<String> {
    let kind = ["unknown field `", "unknown variant `"]
        .into_iter()
        .find(|kind| message.starts_with(kind))?;
    let (name, rest) = message.strip_prefix(kind)?.split_once("`, ")?;
    let own = rest.split('`').skip(1).step_by(2);
    let known: Vec<&str> = keys.iter().copied().chain(own).collect();
    let what = kind.trim_end_matches(" `").replace("variant", "value");
    let list: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
    let list = match &list[..] {
        [only] => only.clone(),
        several => format!("one of {}", several.join(", ")),
    };
    Some(match meant(name, &known) {
        Some(meant) => format!("{what} `{name}`, did you mean `{meant}`? Expected {list}"),
        None => format!("{what} `{name}`, expected {list}"),
    })
}

/// Names that others have for our keys, and where the sections of sinks are.
const ELSEWHERE: [(&str, &str); 12] = [
    ("ip", "host"),
    ("address", "host"),
    ("user", "username"),
    ("pass", "password"),
    ("file", "path"),
    ("server", "url"),
    ("broker", "url"),
    ("feedin", "feed_in"),
    ("mqtt", "sinks.mqtt"),
    ("sqlite", "sinks.sqlite"),
    ("influxdb", "sinks.influxdb"),
    ("stdout", "sinks.stdout"),
];

/// What was meant by a name that there is not.
pub(super) fn meant(name: &str, known: &[&str]) -> Option<String> {
    let lower = name.to_lowercase();
    let there = |wanted: &&str| known.contains(&wanted.split('.').next().unwrap_or(wanted));
    let named = ELSEWHERE.iter().filter(|(other, _)| *other == lower);
    let named = named.map(|(_, ours)| *ours).find(|ours| there(ours));
    let part = || {
        known
            .iter()
            .copied()
            .find(|key| key.split('_').any(|part| part == lower))
    };
    let close = || {
        let distance = |key: &&str| strsim::damerau_levenshtein(&lower, key);
        let near = known.iter().copied().min_by_key(distance)?;
        (distance(&near) <= 1 + lower.chars().count() / 4).then_some(near)
    };
    named.or_else(close).or_else(part).map(str::to_owned)
}

/// A key and its value, if the line looks like that.
fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    (is_key(key) && !value.is_empty()).then_some((key, value))
}

fn is_key(text: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    !text.is_empty() && text.chars().all(fits)
}

/// The number with a dot, if this is one with a comma.
fn with_dot(text: &str) -> Option<String> {
    let (whole, part) = text.trim().split_once(',')?;
    let are_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (are_digits(whole.trim_start_matches('-')) && are_digits(part))
        .then(|| format!("{whole}.{part}"))
}

/// Whether this is a text that only lacks its quotes: a name, an address, a number as a name.
fn is_bare_text(text: &str) -> bool {
    let fits = |letter: char| letter.is_alphanumeric() || "._-:/+".contains(letter);
    text.chars().next().is_some_and(char::is_alphanumeric) && text.chars().all(fits)
}
