//! `kstar man`: the manual pages, made from the same definition as the arguments, and what arguments do not tell.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::shared::failure::Failure;

/// When the words below last changed; a date of the build would make every build another one.
const DATE: &str = "2026-11-28";

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
        beyond_arguments().to_writer(&mut page)?;
    } else {
        let mut roff = Roff::new();
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold("kstar"), roman("(1)")]);
        roff.to_writer(&mut page)?;
    }
    Ok(page)
}

/// Files, and what they are for.
const FILES: &[(&str, &str)] = &[
    (
        "./kstar.toml, ~/.config/kstar/config.toml, /etc/kstar/config.toml",
        "The configuration: the first of these that is there, unless --config or KSTAR_CONFIG names another. Without \
         any, an inverter is looked for, and its readings go to standard output and to ./kstar.db.",
    ),
    (
        "/var/lib/kstar, ~/.local/state/kstar",
        "The state folder, for the service and for everybody else: the history (history.db), the energy counters \
         (meter.json), readings that were refused (quarantine.json) and what waits for a far side (spool-*.db). \
         state_dir in the configuration names another.",
    ),
    (
        "/run/kstar, /run/lock",
        "Who polls an inverter holds a file here locked that has its address in the name and the process id in it. \
         Two that poll one inverter disturb each other.",
    ),
    (
        "/usr/share/doc/kstar/examples/config.example.toml",
        "Every key of the configuration, where the Debian package is installed.",
    ),
];

/// Variables, and what they do. A variable that is empty counts as none.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("KSTAR_CONFIG", "The configuration, as --config names it."),
    (
        "KSTAR_HOST",
        "The inverter's name or address, as --host names it.",
    ),
    ("KSTAR_MQTT", "The MQTT broker, as --mqtt names it."),
    (
        "KSTAR_MQTT_USERNAME, KSTAR_MQTT_PASSWORD",
        "The user at that broker and its password.",
    ),
    (
        "KSTAR_HTTP, KSTAR_HTTP_TOKEN",
        "The address that HTTP is served at, as --http names it, and the token that it asks for.",
    ),
    (
        "KSTAR_HTTP_TOKEN",
        "The token that is wanted there, and the one that health and watch send.",
    ),
    (
        "KSTAR_SILENT",
        "Log only errors, and one line for a hundred readings, as --silent does.",
    ),
    ("KSTAR_LOG", "What is logged, as --log-level says it."),
    (
        "KSTAR_LOG_FORMAT",
        "How it is logged, as --log-format says it.",
    ),
    ("NO_COLOR", "Nothing is coloured."),
    (
        "STATE_DIRECTORY",
        "The state folder, set by systemd; the configuration's state_dir weighs more.",
    ),
    (
        "CREDENTIALS_DIRECTORY",
        "Where secrets that the configuration calls { credential = \"NAME\" } are, set by systemd.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "Where and how often systemd is told that all is well.",
    ),
    (
        "IP, MQTT, SILENT",
        "As kstar.sharp had them; heeded by run, and only where there is no configuration.",
    ),
];

/// Exit codes, and what they mean.
const EXIT_STATUS: &[(&str, &str)] = &[
    (
        "0",
        "Done. So is a run that was asked to stop and has delivered what waited, and one whose reader has closed the \
         pipe.",
    ),
    (
        "1",
        "Something failed while it ran: an inverter that does not answer, a sink that broke, a delivery that the end \
         of the grace cut off, a check that found something wrong.",
    ),
    (
        "2",
        "Wrong use or a wrong configuration. Trying again does not help, so the service is not started anew.",
    ),
    (
        "130, 143",
        "Forced out by a second SIGINT or SIGTERM before everything was delivered.",
    ),
];

/// Signals, and what they do to a run.
const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGINT, SIGTERM",
        "Stop: no further poll, what waits is delivered within the grace (10 s, collector.grace), and the end. A \
         second one ends it at once.",
    ),
    (
        "SIGHUP",
        "kstar run reads its configuration anew: what has changed stops and starts, everything else goes on. A wrong \
         configuration is refused with its line, and nothing changes.",
    ),
];

/// How things are done.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "kstar run --demo",
        "See how it works: a simulated inverter whose day takes minutes.",
    ),
    ("kstar discover", "Find the inverters of this network."),
    (
        "kstar read --host 192.168.1.50",
        "Show what an inverter says right now.",
    ),
    (
        "sudo kstar init && sudo kstar check --connect",
        "Write the service's configuration, and try everything that it names.",
    ),
    (
        "kstar report month",
        "Tell what each day of this month came to.",
    ),
];

/// The sections of the program's own page that no argument tells.
fn beyond_arguments() -> Roff {
    let mut roff = Roff::new();
    section(&mut roff, "FILES", FILES, italic);
    section(&mut roff, "ENVIRONMENT", ENVIRONMENT, bold);
    section(&mut roff, "EXIT STATUS", EXIT_STATUS, bold);
    section(&mut roff, "SIGNALS", SIGNALS, bold);
    section(&mut roff, "EXAMPLES", EXAMPLES, bold);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("systemctl"),
        roman("(1), "),
        bold("journalctl"),
        roman("(1), "),
        bold("sqlite3"),
        roman("(1)"),
    ]);
    roff
}

fn section(
    roff: &mut Roff,
    heading: &str,
    entries: &[(&str, &str)],
    style: impl Fn(String) -> Inline,
) {
    roff.control("SH", [heading]);
    for (term, meaning) in entries {
        roff.control("TP", []);
        roff.text([style((*term).to_owned())]);
        roff.text([roman(*meaning)]);
    }
}
