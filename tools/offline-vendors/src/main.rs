//! The command: see `offline-vendors --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    offline_vendors::cli::run()
}
