//! A real Asterisk for one test: its own name and ports, gone when dropped.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::product_process::poll_until;

/// The lab's own word for: cannot be had here.
const EXIT_SKIPPED: i32 = 77;
/// How long Asterisk may take to forget a call that is over.
const FORGET_WAIT: Duration = Duration::from_secs(10);
const LOG_TAIL_LINES: usize = 40;

/// One call scenario at a time: they measure real time, on two cores. Holds why there is none, once
/// that is known: trying again would take as long, and say the same.
static LAB: Mutex<Option<String>> = Mutex::new(None);

/// A running Asterisk.
#[derive(Debug)]
pub struct Asterisk {
    environment: Vec<(&'static str, String)>,
    paths: HashMap<String, String>,
    turn: MutexGuard<'static, Option<String>>,
}

impl Asterisk {
    /// Starts one, or prints "skipped: why" and returns nothing where that is impossible.
    ///
    /// # Panics
    /// When it could run here but does not.
    pub fn start() -> Option<Self> {
        // A test that failed before has released everything; its poison says nothing about us.
        let turn = LAB.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &*turn {
            return skip(why);
        }
        let mut asterisk = Self {
            environment: vec![
                ("DIGLOT_LAB_INSTANCE", instance()),
                ("DIGLOT_LAB_SIP_PORT", free_udp_port().to_string()),
                ("DIGLOT_LAB_ARI_PORT", free_tcp_port().to_string()),
            ],
            paths: HashMap::new(),
            turn,
        };
        for command in ["setup", "start"] {
            let output = asterisk.lab(&[command]);
            if output.status.code() == Some(EXIT_SKIPPED) {
                let why = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                *asterisk.turn = Some(why.clone());
                return skip(&why);
            }
            assert!(
                output.status.success(),
                "lab.sh {command}: {}",
                text_of(&output)
            );
        }
        let paths = text_of(&asterisk.lab(&["paths"]));
        let pairs = paths.lines().filter_map(|line| line.split_once('='));
        asterisk.paths = pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Some(asterisk)
    }

    /// What `lab.sh paths` calls by this name.
    pub fn path(&self, name: &str) -> &str {
        self.paths
            .get(name)
            .unwrap_or_else(|| panic!("lab.sh paths has no {name}"))
    }

    /// Dies as in a crash, and comes back.
    pub fn restart(&self) {
        let output = self.lab(&["restart"]);
        assert!(
            output.status.success(),
            "lab.sh restart: {}",
            text_of(&output)
        );
    }

    /// Channels that Asterisk knows of.
    pub fn channels(&self) -> usize {
        let answer = self.cli("core show channels count");
        let count = answer.lines().find(|line| line.contains("active channel"));
        let number = count.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no count of channels in {answer:?}"))
    }

    /// Bridges that Asterisk knows of.
    pub fn bridges(&self) -> usize {
        let answer = self.cli("bridge show all");
        assert!(
            answer.starts_with("Bridge-ID"),
            "no list of bridges: {answer:?}"
        );
        answer
            .lines()
            .skip(1)
            .filter(|line| !line.trim().is_empty())
            .count()
    }

    /// Waits until no trace of any call is left.
    ///
    /// # Panics
    /// When one stays.
    pub fn assert_empty(&self) {
        let is_empty = poll_until(FORGET_WAIT, || self.channels() == 0 && self.bridges() == 0);
        assert!(
            is_empty,
            "left after {FORGET_WAIT:?}:\n{}\n{}",
            self.cli("core show channels concise"),
            self.cli("bridge show all")
        );
    }

    fn cli(&self, command: &str) -> String {
        text_of(&self.lab(&["cli", command]))
    }

    fn lab(&self, arguments: &[&str]) -> Output {
        let script = tools().join("asterisk-lab/lab.sh");
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        Command::new(&script)
            .args(arguments)
            .envs(environment)
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", script.display()))
    }
}

impl Drop for Asterisk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = text_of(&self.lab(&["log"]));
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
            eprintln!("--- Asterisk, last lines:\n{}", tail.join("\n"));
        }
        let _ = self.lab(&["stop"]);
        // The instance's own folder, named after this process and of no use to the next one.
        if let Some(home) = self
            .paths
            .get("CONFIG")
            .and_then(|etc| Path::new(etc).parent())
            && home.ends_with(format!("srv/{}", instance()))
        {
            let _ = std::fs::remove_dir_all(home);
        }
    }
}

/// The name of this process's Asterisk.
fn instance() -> String {
    format!("test-{}", std::process::id())
}

/// Says why, in the lab's own words: "skipped: ...".
fn skip(why: &str) -> Option<Asterisk> {
    // Not `println!`: the test runner would keep it to itself.
    let _ = writeln!(std::io::stdout(), "{why}");
    None
}

/// Where the project's tools are.
pub fn tools() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools")
}

/// A UDP port that nobody has on loopback; whoever is told of it binds it a moment later.
pub fn free_udp_port() -> u16 {
    free_port(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// The same for TCP.
pub fn free_tcp_port() -> u16 {
    free_port(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// A port that stays free while its program is down: not one of those that the kernel gives to
/// whoever asks for any (32768 and up).
fn free_port(is_free: impl Fn(u16) -> bool) -> u16 {
    const PORTS: Range<u16> = 20_000..30_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Test processes that run at the same time begin at different places.
        let index = NEXT.fetch_add(1, Ordering::Relaxed) + 97 * std::process::id();
        let offset = index % u32::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(offset).unwrap();
        if is_free(port) {
            return port;
        }
    }
}

/// What it said, complaints included.
pub fn text_of(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}
