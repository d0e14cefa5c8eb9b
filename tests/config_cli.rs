//! Goal: the command line is understood or refused in one line, and nothing is accepted in vain.
//! Method: whole command lines, whole answers.

// Helpers of tests may fail the test like the tests themselves.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use diglot::cli::{self, Cli, Mode, Start};
use diglot::config::Command;

fn parse(line: &str) -> Result<Cli, String> {
    cli::parse(line.split_whitespace()).map_err(|error| error.to_string())
}

fn refusal(line: &str) -> String {
    parse(line).unwrap_err()
}

#[test]
fn commands_are_understood_with_their_options() {
    let start = Start {
        command: Command::Gateway,
        config: None,
        env_file: None,
        set: Vec::new(),
        mode: Mode::Work,
    };
    assert_eq!(parse("gateway"), Ok(Cli::Start(start.clone())));
    let whole = "run --config a.toml --env-file=.env --set translator.listen=127.0.0.1:4002 \
                 --set=link.url=ws://h/t?a=b --check";
    let expected = Start {
        command: Command::Run,
        config: Some(PathBuf::from("a.toml")),
        env_file: Some(PathBuf::from(".env")),
        set: vec![
            ("translator.listen".to_owned(), "127.0.0.1:4002".to_owned()),
            ("link.url".to_owned(), "ws://h/t?a=b".to_owned()),
        ],
        mode: Mode::Check,
    };
    assert_eq!(parse(whole), Ok(Cli::Start(expected)));
    let check = Start {
        command: Command::Translator,
        mode: Mode::Check,
        ..start
    };
    assert_eq!(parse("--check translator"), Ok(Cli::Start(check)));
}

#[test]
fn help_and_version_need_no_command() {
    assert_eq!(parse("--help"), Ok(Cli::Help));
    assert_eq!(parse("gateway -h"), Ok(Cli::Help));
    assert_eq!(parse("--version"), Ok(Cli::Version));
    for word in [
        "gateway",
        "translator",
        "run",
        "--config",
        "--env-file",
        "--set",
        "--check",
    ] {
        assert!(cli::HELP.contains(word), "{word}");
    }
}

#[test]
fn mistakes_are_one_line() {
    for (line, expected) in [
        (
            "",
            "no command; there are gateway, translator, run and topology",
        ),
        (
            "--check",
            "no command; there are gateway, translator, run and topology",
        ),
        (
            "gatway",
            "unknown command \"gatway\"; did you mean gateway?",
        ),
        (
            "dance",
            "unknown command \"dance\"; there are gateway, translator, run and topology",
        ),
        (
            "monitor",
            "unknown command \"monitor\"; there are gateway, translator, run and topology",
        ),
        ("run gateway", "more than one command"),
        (
            "run --confg a",
            "unknown option \"--confg\"; did you mean --config?",
        ),
        ("run --verbose", "unknown option \"--verbose\""),
        ("run -c a", "unknown option \"-c\""),
        ("run --config a --config b", "more than one --config"),
        ("run --env-file a --env-file b", "more than one --env-file"),
        (
            "run --set a",
            "--set: write KEY=VALUE, like translator.listen=127.0.0.1:4002",
        ),
        (
            "run --set =a",
            "--set: write KEY=VALUE, like translator.listen=127.0.0.1:4002",
        ),
        ("run --config", "missing argument for option '--config'"),
        (
            "run --check=yes",
            "unexpected argument for option '--check': \"yes\"",
        ),
    ] {
        assert_eq!(
            refusal(line),
            format!("diglot: {expected}; try diglot --help"),
            "{line}"
        );
    }
    let error = cli::parse(["run", "--check=a\nb"]).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn settings_are_bounded() {
    let many = vec!["--set=a.b=c"; 257];
    let error = cli::parse(many).unwrap_err().to_string();
    assert_eq!(error, "diglot: more than 256 --set; try diglot --help");
}
