//! `rtp-blaster`: finds the mode on the command line and turns its end into an exit status.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod cli;

use std::process::ExitCode;

use cli::{Outcome, Problem, Stop};
use lexopt::Arg::{Long, Short, Value};
use rtp_blaster::relay::Course;

const USAGE: &str = "\
Usage: rtp-blaster MODE [options]; rtp-blaster MODE --help tells more

  phone    one phone: plays WAV files into a gateway's RTP port and records what comes back
  load     many legs at once: measures what a gateway sends back, and fails on limits
  echo     sends packets back and does nothing else: the control to measure against
  relay    moves packets from leg to leg and does nothing else

Exit status 0: done. 1: it could not be done. 2: wrong usage. 3: a limit was broken (load).
";

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_VIOLATED: u8 = 3;

fn main() -> ExitCode {
    match run(lexopt::Parser::from_env()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Help(usage)) => {
            print!("{usage}");
            ExitCode::SUCCESS
        }
        Ok(Outcome::Violated) => ExitCode::from(EXIT_VIOLATED),
        Err(Stop::Failed(problem)) => complain(&problem, EXIT_FAILED),
        Err(Stop::Usage(problem)) => complain(&problem, EXIT_USAGE),
    }
}

fn run(mut parser: lexopt::Parser) -> Result<Outcome, Stop> {
    let mode = match parser.next().map_err(|error| Stop::Usage(error.into()))? {
        Some(Long("help") | Short('h')) => return Ok(Outcome::Help(USAGE)),
        Some(Value(mode)) => mode,
        Some(other) => return Err(Stop::Usage(other.unexpected().into())),
        None => return Err(Stop::Usage("name a mode (--help tells more)".into())),
    };
    match mode.to_str() {
        Some("load") => cli::load::run(parser),
        Some("phone") => cli::phone::run(parser),
        Some("echo") => cli::relay::run(parser, Course::Back),
        Some("relay") => cli::relay::run(parser, Course::Cross),
        _ => {
            let problem = format!(
                "unknown mode {}: phone, load, echo or relay",
                mode.display()
            );
            Err(Stop::Usage(problem.into()))
        }
    }
}

fn complain(problem: &Problem, status: u8) -> ExitCode {
    eprintln!("rtp-blaster: {problem}");
    ExitCode::from(status)
}
