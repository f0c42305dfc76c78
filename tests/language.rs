//! Messages, help and pages use plain words: a list of phrases that have a plainer one, and who may use them all the
//! same. The words and their meaning: `CONTRIBUTING.md`, "Words".

#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use std::path::{Path, PathBuf};

/// A phrase as it may not be written, and what is written in its place.
const PHRASES: &[(&str, &str)] = &[
    ("far side", "the server, broker or database by its name"),
    ("far sides", "the servers"),
    ("ask again", "retry"),
    ("asks again", "retries"),
    ("asked again", "polled again, retried"),
    ("made absent", "dropped, missing"),
    ("autarky", "self-sufficiency"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("mending", "fixing"),
    ("weigh more", "take precedence"),
    ("weighs more", "takes precedence"),
    ("weighs least", "gives way to all others"),
    ("whoever", "anyone who"),
    ("for ever", "permanently, indefinitely"),
    ("leave it away", "leave it out"),
    ("leave them away", "leave them out"),
    ("slip of the pen", "a typing mistake"),
    ("stands below", "is below"),
];

/// A file, or a folder with all that is in it, and the phrase that it may have, each for its reason.
const ALLOWED: &[(&str, &str)] = &[
    // The glossary names them.
    ("CONTRIBUTING.md", "far side"),
    ("CONTRIBUTING.md", "made absent"),
    ("CONTRIBUTING.md", "ask again"),
    ("CONTRIBUTING.md", "autarky"),
    ("CONTRIBUTING.md", "mend"),
    ("CONTRIBUTING.md", "weighs more"),
    ("CONTRIBUTING.md", "for ever"),
    // It tells what a key was called before.
    ("CHANGELOG.md", "autarky"),
    // A line of `kstar check` that scripts compare (tests/kept).
    ("src/cli/check.rs", "whoever"),
    // Sentences of the API that its clients have known.
    ("crates/http/src/questions.rs", "ask again"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder that people read, or whose messages they read.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(root().join(folder)).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        let path = folder.join(&name);
        let is_foreign = name.starts_with('.')
            || matches!(
                &*name,
                "target" | "node_modules" | "tests" | "benches" | "fuzz"
            );
        if entry.path().is_dir() {
            if !is_foreign {
                files(&path, found);
            }
        } else if is_read(&path) {
            found.push(path);
        }
    }
}

fn is_read(path: &Path) -> bool {
    let is_source = path.components().any(|part| part.as_os_str() == "src");
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("md") => true,
        Some("yaml" | "toml" | "roff") => !path.ends_with("Cargo.toml"),
        Some("rs") => is_source && !path.ends_with("tests.rs"),
        _ => false,
    }
}

/// The lines of a file that people read: of Rust not the comments, but those that become the help.
fn lines(path: &Path, text: &str) -> Vec<(usize, String)> {
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    let is_command = path.starts_with("src/cli");
    let is_message = |line: &str| {
        let line = line.trim_start();
        !is_rust || !line.starts_with("//") || (is_command && line.starts_with("///"))
    };
    let numbered = text.lines().map(str::to_lowercase);
    let numbered = (1..).zip(numbered);
    numbered.filter(|(_, line)| is_message(line)).collect()
}

/// Whether a line has this phrase, and not as a part of longer words.
fn has(line: &str, phrase: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
    line.match_indices(phrase).any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        let after = &rest[phrase.len()..];
        !before.ends_with(is_word) && !after.starts_with(is_word)
    })
}

#[test]
fn messages_and_pages_use_plain_words() {
    let mut found = Vec::new();
    files(Path::new(""), &mut found);
    assert!(found.len() > 100, "{found:?}");
    let mut wrong = Vec::new();
    for path in found {
        let text = std::fs::read_to_string(root().join(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (number, line) in lines(&path, &text) {
            for (phrase, instead) in PHRASES {
                let is_allowed =
                    |(place, allowed): &(&str, &str)| allowed == phrase && path.starts_with(place);
                if has(&line, phrase) && !ALLOWED.iter().any(is_allowed) {
                    wrong.push(format!(
                        "{}:{number}: `{phrase}`: write {instead}",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_allowed_is_still_there() {
    for (place, phrase) in ALLOWED {
        let mut found = Vec::new();
        if root().join(place).is_dir() {
            files(Path::new(place), &mut found);
        } else {
            found.push(PathBuf::from(place));
        }
        let is_there = found.iter().any(|path| {
            let text = std::fs::read_to_string(root().join(path)).expect("a file");
            lines(path, &text).iter().any(|(_, line)| has(line, phrase))
        });
        assert!(
            is_there,
            "{place} has no `{phrase}` any more; take it out of the list"
        );
    }
}

#[test]
fn a_phrase_is_found_as_words_of_its_own() {
    for (line, phrase, found) in [
        ("what mends it", "mends", true),
        ("`mend` it", "mend", true),
        ("recommend it", "mend", false),
        ("a mend-it", "mend", false),
        ("fn far_side() and the far side.", "far side", true),
        ("keep_hours = \"forever\"", "for ever", false),
    ] {
        assert_eq!(has(line, phrase), found, "{line}");
    }
}
