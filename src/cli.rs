//! The command line: what to do and where the configuration is. Opens nothing, reads nothing.
//!
//! A mistake is one line and exit status [`EXIT_STATUS`]; nothing is guessed, and nothing is
//! accepted that would have no effect.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::config::error::{nearest, quoted};
use crate::config::{Command, Sources};

pub use crate::config::EXIT_STATUS;

/// What `--check` prints when there is nothing to complain about.
pub const CHECK_PASSED: &str = "configuration ok";

/// What `--version` prints.
pub const VERSION: &str = concat!("diglot ", env!("CARGO_PKG_VERSION"));

/// What `--help` prints.
pub const HELP: &str = "\
Diglot: a live interpreter for phone calls on Asterisk

Usage: diglot COMMAND [OPTIONS]

Commands:
  gateway      take calls from Asterisk and carry their audio to a translator
  translator   interpret what gateways send: recognise, translate, speak
  run          both in one process
  topology     print threads, rings, memory and what this machine allows, and end

Options:
  --config FILE      configuration (TOML)
  --env-file FILE    variables, one NAME=value a line
  --set KEY=VALUE    one setting, like translator.listen=127.0.0.1:4002 or
                     extension.7777.language=en; may be given again
  --check            check the configuration and end
  -h, --help         show this
  -V, --version      show the version

What is set in more than one place: --set holds before the environment, the
environment before --env-file, that before --config, and that before the defaults.
";

const COMMANDS: [(&str, Command); 4] = [
    ("gateway", Command::Gateway),
    ("translator", Command::Translator),
    ("run", Command::Run),
    ("topology", Command::Topology),
];

const OPTIONS: [&str; 6] = [
    "--config",
    "--env-file",
    "--set",
    "--check",
    "--help",
    "--version",
];

/// Most `--set` on one command line: every key of sixteen extensions once.
const SETTINGS_MAX: usize = 256;

/// What a command line asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cli {
    /// Print [`HELP`], end with 0.
    Help,
    /// Do something with a configuration.
    Start(Start),
    /// Print [`VERSION`], end with 0.
    Version,
}

/// A command with its options.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Start {
    /// What to do.
    pub command: Command,
    /// The TOML file.
    pub config: Option<PathBuf>,
    /// The file of variables.
    pub env_file: Option<PathBuf>,
    /// Settings that hold before all others, in the order given.
    pub set: Vec<(String, String)>,
    /// Whether to do it.
    pub mode: Mode,
}

impl Start {
    /// The sources of this start's configuration, the process environment among them.
    pub fn sources(&self) -> Sources {
        Sources {
            command: self.command,
            config: self.config.clone(),
            env_file: self.env_file.clone(),
            environment: std::env::vars_os().collect(),
            set: self.set.clone(),
        }
    }
}

/// How far to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Check the configuration, print [`CHECK_PASSED`], end with 0.
    Check,
    /// Check it and go to work.
    Work,
}

/// A command line that asks for nothing we do. Fatal: correct it and try again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("diglot: {reason}; try diglot --help")]
pub struct UsageError {
    reason: String,
}

impl UsageError {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        // Values may hold anything, line breaks too.
        Self::new(error.to_string().replace(char::is_control, " "))
    }
}

/// Understands the arguments, without the program's own name.
///
/// # Errors
/// The first argument that is unknown, incomplete or given twice; or that there is no command.
pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Cli, UsageError> {
    let mut parser = Parser::from_args(arguments);
    let mut command = None;
    let mut config = None;
    let mut env_file = None;
    let mut set = Vec::new();
    let mut mode = Mode::Work;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Cli::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Cli::Version),
            Arg::Long("check") => mode = Mode::Check,
            Arg::Long("config") => once("--config", &mut config, parser.value()?.into())?,
            Arg::Long("env-file") => once("--env-file", &mut env_file, parser.value()?.into())?,
            Arg::Long("set") if set.len() < SETTINGS_MAX => {
                set.push(key_and_value(parser.value()?)?);
            }
            Arg::Long("set") => {
                return Err(UsageError::new(format!("more than {SETTINGS_MAX} --set")));
            }
            Arg::Long(name) => return Err(unknown_option(&format!("--{name}"))),
            Arg::Short(letter) => return Err(unknown_option(&format!("-{letter}"))),
            Arg::Value(word) => once("command", &mut command, self::command(&word)?)?,
        }
    }
    match command {
        Some(command) => Ok(Cli::Start(Start {
            command,
            config,
            env_file,
            set,
            mode,
        })),
        None => Err(UsageError::new(
            "no command; there are gateway, translator, run and topology",
        )),
    }
}

fn once<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<(), UsageError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(UsageError::new(format!("more than one {name}"))),
    }
}

fn command(word: &OsString) -> Result<Command, UsageError> {
    let word = word.to_string_lossy();
    if let Some((_, command)) = COMMANDS.iter().find(|(name, _)| *name == word) {
        return Ok(*command);
    }
    let hint = match nearest(&word, COMMANDS.map(|(name, _)| name)) {
        Some(near) => format!("did you mean {near}?"),
        None => "there are gateway, translator, run and topology".to_owned(),
    };
    Err(UsageError::new(format!(
        "unknown command {}; {hint}",
        quoted(&word)
    )))
}

fn unknown_option(option: &str) -> UsageError {
    let known = match nearest(option, OPTIONS) {
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    };
    UsageError::new(format!("unknown option {}{known}", quoted(option)))
}

fn key_and_value(value: OsString) -> Result<(String, String), UsageError> {
    let value = value
        .string()
        .map_err(|_| UsageError::new("--set: not UTF-8 text"))?;
    match value.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        Some(_) | None => Err(UsageError::new(
            "--set: write KEY=VALUE, like translator.listen=127.0.0.1:4002",
        )),
    }
}
