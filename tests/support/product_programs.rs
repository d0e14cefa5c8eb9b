//! The product's programs as users start them, and the vendors they talk to.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::lab_asterisk::{Asterisk, free_udp_port};
use super::product_process::Process;

/// Making the recogniser's grammars takes less than a second; a busy machine gets more.
const READY_WAIT: Duration = Duration::from_secs(30);
/// What the stand-ins are told to accept, and the product to send.
const KEY: &str = "key-for-tests";
const KEY_VARIABLES: [&str; 3] = ["DEEPGRAM_API_KEY", "DEEPL_API_KEY", "ELEVENLABS_API_KEY"];
/// By language: the voices that the stand-ins have.
const VOICES: [(&str, &str); 2] = [("en", "offline-en-slt"), ("fr", "offline-fr-espeak")];
const KEY_OPTIONS: [&str; 3] = ["--deepgram-key", "--deepl-key", "--elevenlabs-key"];
/// The two extensions of a configuration with nothing in it.
const EXTENSIONS: [&str; 2] = ["7777", "8888"];

/// The stand-in for the vendors, listening.
#[derive(Debug)]
pub struct Vendors {
    _process: Process,
    /// `host:port`.
    pub address: String,
}

impl Vendors {
    /// Starts it on a free port.
    pub fn start() -> Self {
        let mut command = Command::new(program("offline-vendors"));
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.args(KEY_OPTIONS.iter().flat_map(|option| [*option, KEY]));
        let process = Process::start("offline-vendors", &mut command);
        let line = process.wait_for_line("listening on ", READY_WAIT);
        let address = address_in(&line);
        Self {
            _process: process,
            address,
        }
    }
}

/// `diglot run`, ready for calls.
pub fn run(asterisk: &Asterisk, vendors: &Vendors) -> Process {
    let mut command = diglot("run");
    translator_options(&mut command, vendors, 0);
    gateway_options(&mut command, asterisk);
    let process = Process::start("diglot run", &mut command);
    wait_for_asterisk(&process);
    process
}

/// `diglot run` with the loop engine: each leg's audio is its own translation.
pub fn run_loop(asterisk: &Asterisk) -> Process {
    let mut command = diglot("run");
    set(&mut command, "translator.listen", "127.0.0.1:0");
    set(&mut command, "translator.engine", "loop");
    gateway_options(&mut command, asterisk);
    let process = Process::start("diglot run", &mut command);
    wait_for_asterisk(&process);
    process
}

/// `diglot gateway`, ready for calls, its translator expected on this port.
pub fn gateway(asterisk: &Asterisk, translator_port: u16) -> Process {
    let mut command = diglot("gateway");
    gateway_options(&mut command, asterisk);
    set(
        &mut command,
        "link.url",
        &format!("ws://127.0.0.1:{translator_port}/translate"),
    );
    let process = Process::start("diglot gateway", &mut command);
    wait_for_asterisk(&process);
    process
}

/// `diglot translator`, listening on this port.
pub fn translator(vendors: &Vendors, port: u16) -> Process {
    let mut command = diglot("translator");
    translator_options(&mut command, vendors, port);
    let process = Process::start("diglot translator", &mut command);
    process.wait_for_line("translator listens on", READY_WAIT);
    process
}

/// A program of the workspace, beside the one under test.
///
/// # Panics
/// When it is not built.
pub fn program(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_diglot")).with_file_name(name);
    assert!(
        path.exists(),
        "{} is not built: run make test",
        path.display()
    );
    path
}

fn diglot(command: &str) -> Command {
    let mut started = Command::new(env!("CARGO_BIN_EXE_diglot"));
    started
        .arg(command)
        .envs(KEY_VARIABLES.map(|name| (name, KEY)));
    started
}

fn wait_for_asterisk(process: &Process) {
    process.wait_for_line("connected, application", READY_WAIT);
}

fn gateway_options(command: &mut Command, asterisk: &Asterisk) {
    set(command, "asterisk.url", asterisk.path("ARI_URL"));
    set(command, "asterisk.user", asterisk.path("ARI_USER"));
    set(
        command,
        "asterisk.password_file",
        asterisk.path("ARI_PASSWORD_FILE"),
    );
    set(command, "asterisk.app", asterisk.path("ARI_APP"));
    for extension in EXTENSIONS {
        let address = format!("127.0.0.1:{}", free_udp_port());
        set(command, &format!("extension.{extension}.listen"), &address);
    }
}

fn translator_options(command: &mut Command, vendors: &Vendors, port: u16) {
    set(command, "translator.listen", &format!("127.0.0.1:{port}"));
    set(
        command,
        "deepgram.url",
        &format!("ws://{}", vendors.address),
    );
    set(command, "deepl.url", &format!("http://{}", vendors.address));
    set(
        command,
        "elevenlabs.url",
        &format!("http://{}", vendors.address),
    );
    for (language, voice) in VOICES {
        set(command, &format!("elevenlabs.voices.{language}"), voice);
    }
}

fn set(command: &mut Command, key: &str, value: &str) {
    command.arg("--set").arg(format!("{key}={value}"));
}

/// The `127.0.0.1:port` in a line.
fn address_in(line: &str) -> String {
    let begin = line
        .find("127.0.0.1:")
        .unwrap_or_else(|| panic!("no address in {line:?}"));
    let rest = &line[begin..];
    let end = rest
        .find(|character: char| !matches!(character, '0'..='9' | '.' | ':'))
        .unwrap_or(rest.len());
    rest[..end].trim_end_matches(['.', ':']).to_owned()
}
