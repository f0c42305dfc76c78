//! `man` and `completions`: what is made from the definition of the arguments, judged by those who read it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::process::{ended, kstar};
use crate::world::Folder;

/// Runs somebody else's program; where it is missing that is said aloud, and on CI it is a failure.
fn tool(command: &mut Command) -> Option<Output> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            let name = command.get_program().display().to_string();
            assert!(
                std::env::var_os("CI").is_none(),
                "this test needs {name}: {error}"
            );
            let loud = format!("NOT TRIED: {name} is missing\n");
            std::io::Write::write_all(&mut std::io::stderr(), loud.as_bytes()).expect("written");
            None
        }
    }
}

/// Nothing was said, and the program is content.
#[track_caller]
fn assert_silent(output: &Output) {
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy);
    assert!(output.status.success(), "{said:?}");
    assert_eq!(said, ["", ""]);
}

/// Every page, written into the folder.
fn pages(folder: &Folder) -> Vec<PathBuf> {
    let place = folder.join("man");
    ended(&mut kstar(folder.path(), ["man", "--folder", "man"])).expect_code(0);
    let mut pages: Vec<_> = std::fs::read_dir(place)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    pages.sort();
    pages
}

/// The commands that the program's help names.
fn commands(folder: &Folder) -> BTreeSet<String> {
    let help = ended(&mut kstar(folder.path(), ["--help"])).expect_code(0);
    let lines = help.stdout.iter().skip_while(|line| *line != "Commands:");
    lines
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect()
}

#[test]
fn every_command_has_a_manual_page_and_nothing_else_has() {
    let folder = Folder::new();
    let written: BTreeSet<_> = pages(&folder)
        .iter()
        .map(|page| page.file_name().expect("a name").display().to_string())
        .collect();
    let mut expected: BTreeSet<_> = commands(&folder)
        .iter()
        .map(|name| format!("kstar-{name}.1"))
        .collect();
    let others = ["kstar.1", "kstar-meter-set.1", "kstar-history-repair.1"];
    expected.extend(others.map(str::to_owned));
    assert_eq!(written, expected);
}

#[test]
fn man_and_mandoc_have_nothing_to_say_against_a_page() {
    let folder = Folder::new();
    for page in pages(&folder) {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l"]);
        man.arg(&page)
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80");
        if let Some(mut output) = tool(&mut man) {
            assert!(output.stdout.len() > 500, "{}", page.display());
            output.stdout.clear();
            assert_silent(&output);
        }
        let mut mandoc = Command::new("mandoc");
        mandoc.args(["-T", "lint", "-W", "warning"]).arg(&page);
        if let Some(output) = tool(&mut mandoc) {
            assert_silent(&output);
        }
    }
}

#[test]
fn one_page_is_shown_by_the_name_of_its_command() {
    let folder = Folder::new();
    let shown = |args: &[&str]| ended(&mut kstar(folder.path(), args));
    let whole = shown(&["man"]).expect_code(0).out();
    for section in ["FILES", "ENVIRONMENT", "\"EXIT STATUS\"", "SIGNALS"] {
        assert!(whole.contains(&format!("\n.SH {section}\n")), "{section}");
    }
    let inner = shown(&["man", "meter", "set"]).expect_code(0).out();
    assert!(inner.contains("\n.TH KSTAR-METER-SET 1 "), "{inner}");
    assert!(!inner.contains("\n.SH FILES"), "{inner}");
    let refused = shown(&["man", "nonsense"]).expect_code(2);
    let words = "`kstar` has no command `nonsense`; there are: run, ";
    assert!(refused.err().contains(words), "{refused:#?}");
    let refused = shown(&["man", "meter", "reset"]).expect_code(2);
    assert!(refused.err().contains("there are: set"), "{refused:#?}");
    folder.write("file", "");
    let refused = shown(&["man", "--folder", "file"]).expect_code(1);
    assert!(refused.err().contains("cannot write file/"), "{refused:#?}");
}

#[test]
fn the_manual_names_every_variable_that_a_command_names() {
    let folder = Folder::new();
    let page = ended(&mut kstar(folder.path(), ["man"]))
        .expect_code(0)
        .out();
    let (_, environment) = page.split_once("\n.SH ENVIRONMENT\n").expect("a section");
    let mut named = 0;
    for command in commands(&folder) {
        let help = ended(&mut kstar(folder.path(), [&command, "--help"])).expect_code(0);
        let words = help
            .stdout
            .iter()
            .flat_map(|line| line.split(|sign: char| !sign.is_ascii_uppercase() && sign != '_'));
        for word in words.filter(|word| word.starts_with("KSTAR_")) {
            assert!(environment.contains(word), "{command}: {word}");
            named += 1;
        }
    }
    assert!(named > 10, "{named}");
}

#[test]
fn shells_take_their_completions_which_show_nothing_that_help_hides() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ended(&mut kstar(folder.path(), ["completions", shell])).expect_code(0);
        let script = script.out();
        for words in ["discover", "demo", "meter", "log-level"] {
            assert!(script.contains(words), "{shell}: {words}");
        }
        assert!(!script.contains("kstar-sharp"), "{shell}");
        folder.write("script", &script);
        if ["bash", "zsh", "fish"].contains(&shell) {
            let mut parse = Command::new(shell);
            parse.arg("-n").arg(folder.join("script"));
            if let Some(output) = tool(parse.env("HOME", folder.path())) {
                assert_silent(&output);
            }
        }
    }
    let refused = ended(&mut kstar(folder.path(), ["completions", "cmd"])).expect_code(2);
    assert!(refused.err().contains("bash"), "{refused:#?}");
}

#[test]
fn bash_completes_a_command_and_its_options() {
    let folder = Folder::new();
    let script = ended(&mut kstar(folder.path(), ["completions", "bash"])).expect_code(0);
    folder.write("script", script.out());
    let completed = |words: &[&str]| {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c"]).arg(
            "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
             _kstar kstar \"${@: -1}\" \"${@: -2:1}\"; echo \"${COMPREPLY[*]}\"",
        );
        bash.arg("bash").arg(folder.join("script")).args(words);
        let output = bash.output().expect("bash is everywhere");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(completed(&["kstar", "disc"]), "discover\n");
    assert_eq!(completed(&["kstar", "run", "--de"]), "--demo\n");
    assert_eq!(completed(&["kstar", "run", "--kstar"]), "\n");
    assert_eq!(completed(&["kstar", "meter", "s"]), "set\n");
}
