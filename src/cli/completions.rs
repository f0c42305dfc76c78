//! `kstar completions`: what a shell completes after `kstar`, made from the same definition as the arguments.

use std::io::Write;

use clap::Command;
use clap_complete::Shell;

use super::shared::failure::Failure;

/// Write completions for a shell
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub fn run(args: CompletionsArgs, command: &Command, out: &mut impl Write) -> Result<(), Failure> {
    // In memory first: the generator panics where it cannot write, as into a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(command), "kstar", &mut script);
    out.write_all(&script)?;
    out.flush()?;
    Ok(())
}

/// The command without what its help does not show, which the generator would offer all the same.
fn visible(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let mut shown = Command::new(command.get_name().to_owned())
        .args(arguments.cloned())
        .subcommands(
            command
                .get_subcommands()
                .filter(|inner| !inner.is_hide_set())
                .map(visible),
        );
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    shown
}
