//! Every link of the documentation leads somewhere: to a file of this tree, and to a heading that is there.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages of the tree, by their paths below its root.
fn pages() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            let path = folder.join(&name);
            if entry.path().is_dir() {
                let foreign = name.starts_with('.') || name == "target" || name == "node_modules";
                if !foreign {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.insert(path);
            }
        }
    }
    assert!(found.contains(Path::new("README.md")), "{found:?}");
    found
}

/// The text without what is code, whose brackets are no links.
fn prose(text: &str) -> String {
    let mut lines = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // What stands between two backticks, every second part.
            lines.push(line.split('`').step_by(2).collect::<String>());
        }
    }
    lines.join("\n")
}

/// Where the links of a page lead.
fn targets(text: &str) -> Vec<String> {
    let text = prose(text);
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// The anchors of a page's headings, made as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let Some(heading) = line
            .strip_prefix('#')
            .map(|heading| heading.trim_start_matches('#'))
            .and_then(|heading| heading.strip_prefix(' '))
            .filter(|_| !fenced)
        else {
            continue;
        };
        let anchor: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        // A heading that occurs again is numbered.
        let anchor = (0..1000)
            .map(|again| match again {
                0 => anchor.clone(),
                again => format!("{anchor}-{again}"),
            })
            .find(|anchor| !found.contains(anchor))
            .expect("fewer than a thousand of one heading");
        found.insert(anchor);
    }
    found
}

/// A path below the root, with what goes up and down again taken out; nothing if it leaves the tree.
fn tidied(path: &Path) -> Option<PathBuf> {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => tidied.push(part),
            Component::ParentDir => {
                if !tidied.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(tidied)
}

/// What is wrong with a link of a page, if anything is.
fn mistake(page: &Path, target: &str) -> Option<String> {
    if ["https://", "http://", "mailto:"]
        .iter()
        .any(|scheme| target.starts_with(scheme))
    {
        return None;
    }
    let (path, anchor) = target
        .split_once('#')
        .map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let path = if path.is_empty() {
        page.to_owned()
    } else {
        let folder = page.parent().unwrap_or(Path::new(""));
        match tidied(&folder.join(path)) {
            Some(path) => path,
            None => return Some("leaves the tree".to_owned()),
        }
    };
    if !root().join(&path).exists() {
        return Some("is not there".to_owned());
    }
    match anchor {
        Some(anchor) if !anchors(&read(&path)).contains(anchor) => {
            Some(format!("has no heading for #{anchor}"))
        }
        _ => None,
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut mistakes = Vec::new();
    let mut links = 0;
    for page in pages() {
        for target in targets(&read(&page)) {
            links += 1;
            if let Some(mistake) = mistake(&page, &target) {
                mistakes.push(format!("{}: {target} {mistake}", page.display()));
            }
        }
    }
    assert!(links > 50, "the search for links finds only {links}");
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn every_page_of_the_documentation_is_in_its_list() {
    let index = read(Path::new("docs/README.md"));
    let listed: BTreeSet<String> = targets(&index).into_iter().collect();
    for page in pages() {
        let Ok(name) = page.strip_prefix("docs") else {
            continue;
        };
        let name = name.display().to_string();
        assert!(
            name == "README.md" || listed.contains(&name),
            "docs/README.md does not list {name}"
        );
    }
}

#[test]
fn what_leads_nowhere_is_found() {
    let page = Path::new("docs/README.md");
    for (target, wrong) in [
        ("readings.md", false),
        ("../README.md#sinks", false),
        ("../README.md#nowhere", true),
        ("nowhere.md", true),
        ("../../elsewhere.md", true),
        ("https://example.org/nowhere", false),
    ] {
        assert_eq!(mistake(page, target).is_some(), wrong, "{target}");
    }
    assert_eq!(
        targets("see [this](a.md) and `[not](this.md)`\n```\n[nor](that.md)\n```\n[but](b.md#c)"),
        ["a.md", "b.md#c"]
    );
    assert_eq!(
        anchors("# A `B` (c), d\n## E\n## E\n```\n# no\n```\n"),
        ["a-b-c-d", "e", "e-1"].map(str::to_owned).into()
    );
}
