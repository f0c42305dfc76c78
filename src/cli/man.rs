//! `kstar man`: the manual pages, made from the same definition as the arguments, and what arguments do not tell.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::shared::failure::Failure;

/// When the words of `man.roff` last changed; a date of the build would make every build another one.
const DATE: &str = "2026-11-28";

/// The sections of the program's own page that no argument tells.
const BEYOND_ARGUMENTS: &[u8] = include_bytes!("man.roff");

/// Show the manual, or write all its pages into a folder
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// The command whose page is shown, like `report` or `meter set` [default: the page of kstar itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write every page into this folder: kstar.1, kstar-run.1 and so on
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    folder: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &ManArgs, command: Command, out: &mut impl Write) -> Result<(), Failure> {
    let mut root = command
        .disable_help_subcommand(true)
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("COMMANDS");
    root.build();
    if let Some(folder) = &args.folder {
        return write_all(&root, folder).map_err(|(path, error)| {
            Failure::Runtime(format!("cannot write {}: {error}", path.display()))
        });
    }
    out.write_all(&page(find(&root, &args.command)?)?)?;
    out.flush()?;
    Ok(())
}

/// The command that these words name.
fn find<'a>(root: &'a Command, words: &[String]) -> Result<&'a Command, Failure> {
    let mut command = root;
    for word in words {
        command = visible(command)
            .find(|inner| inner.get_name() == word)
            .ok_or_else(|| {
                let names: Vec<&str> = visible(command).map(Command::get_name).collect();
                let there = match &names[..] {
                    [] => "it has no commands of its own".to_owned(),
                    names => format!("there are: {}", names.join(", ")),
                };
                // The program itself has a name, but nothing before it that it was called by.
                let called = command.get_bin_name().filter(|name| !name.is_empty());
                let of = called.unwrap_or(command.get_name());
                Failure::Usage(format!("`{of}` has no command `{word}`; {there}"))
            })?;
    }
    Ok(command)
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
}

/// Writes the pages of a command and of all below it; the error tells which file it was.
fn write_all(command: &Command, folder: &Path) -> Result<(), (PathBuf, io::Error)> {
    let path = folder.join(Man::new(command.clone()).get_filename());
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, page(command)?))
        .map_err(|error| (path, error))?;
    visible(command).try_for_each(|inner| write_all(inner, folder))
}

/// A manual page.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let program = !command
        .get_bin_name()
        .is_some_and(|name| name.contains(' '));
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_uppercase();
    let man = Man::new(command.clone())
        .title(name)
        .date(DATE)
        .source(concat!("kstar-collector ", env!("CARGO_PKG_VERSION")))
        .manual("kstar");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    // It puts an empty line between breaks, which is one request too many for mandoc.
    let mut page = String::from_utf8_lossy(&page)
        .replace(".br\n\n.br\n", ".sp\n")
        .into_bytes();
    if visible(command).next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    if program {
        page.extend_from_slice(BEYOND_ARGUMENTS);
    } else {
        let mut roff = Roff::new();
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold("kstar"), roman("(1)")]);
        roff.to_writer(&mut page)?;
    }
    Ok(page)
}
