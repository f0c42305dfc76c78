//! The program `kstar`: arguments, logging, the runtime, the exit code. Everything else is the library's.

use std::process::ExitCode;

use clap::Parser;
use kstar_collector::cli::Cli;
use kstar_collector::cli::shared::failure::Failure;
use kstar_collector::cli::shared::{kstar_sharp, logging, signals};
use kstar_collector::run::Reloads;

fn main() -> ExitCode {
    let cli = Cli::parse_from(kstar_sharp::translate(std::env::args_os()));
    let log_format = cli.log_format;
    logging::start(cli.log_level(), log_format);
    // One thread does for a datagram in a while; sinks that block have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(async {
                let reloads = Reloads::default();
                let shutdown = signals::first_signal(cli.hang_up(), reloads.clone());
                cli.run(shutdown, &reloads).await
            });
            // What still hangs in a system call at the end of the grace must not hold up the end.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::Runtime(format!("cannot start: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(log_format),
    }
}
