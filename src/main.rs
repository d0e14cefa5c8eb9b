//! The `diglot` command: parse, configure, run, exit status. Everything else is in the library.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

use std::process::ExitCode;

use diglot::cli::{self, Cli, Mode, Start};
use diglot::observe::logging;
use diglot::{config, process};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Cli::Help) => print!("{}", cli::HELP),
        Ok(Cli::Start(start)) => return run(&start),
        Ok(Cli::Version) => println!("{}", cli::VERSION),
        Err(error) => return refuse(&error),
    }
    ExitCode::SUCCESS
}

fn run(start: &Start) -> ExitCode {
    let config = match config::load(&start.sources()) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    if start.mode == Mode::Check {
        println!("{}", cli::CHECK_PASSED);
        return ExitCode::SUCCESS;
    }
    if let Err(error) = logging::install() {
        return refuse(&error);
    }
    let result = process::run(start.command, &config);
    logging::flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

/// One line, and the status that says that nothing was started.
fn refuse(error: &dyn std::error::Error) -> ExitCode {
    let line = error.to_string();
    let prefix = if line.starts_with("diglot") {
        ""
    } else {
        "diglot: "
    };
    eprintln!("{prefix}{line}");
    ExitCode::from(cli::EXIT_STATUS)
}
