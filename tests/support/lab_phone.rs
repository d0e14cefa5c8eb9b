//! A scripted SIP phone: calls, says WAV files, records what it hears, reports in JSON.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::lab_asterisk::{Asterisk, tools};
use super::product_process::Process;

/// Signalling is local: an answer takes milliseconds, on a busy machine a second.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// After its last event a phone has only to write its files.
const REPORT_WAIT: Duration = Duration::from_secs(10);

/// A phone in a call.
#[derive(Debug)]
pub struct Phone {
    process: Process,
    folder: PathBuf,
    name: String,
}

/// What a phone is to do, before it calls.
#[derive(Debug)]
pub struct Script {
    name: String,
    to: String,
    arguments: Vec<String>,
}

impl Script {
    /// A phone of this name that calls an extension.
    pub fn new(name: &str, to: &str) -> Self {
        Self {
            name: name.into(),
            to: to.into(),
            arguments: Vec::new(),
        }
    }

    /// Says a WAV file so many seconds after the answer.
    pub fn say(self, at_s: f64, file: &Path) -> Self {
        self.option("--play", &format!("{at_s}:{}", file.display()))
    }

    /// Any other option of the phone.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Calls through this Asterisk; recording and report go to `folder`.
    pub fn call(self, asterisk: &Asterisk, folder: &Path) -> Phone {
        let mut command = Command::new("python3");
        command
            .arg(tools().join("asterisk-lab/phone.py"))
            .args(["--server", asterisk.path("SIP"), "--to", &self.to])
            .args(["--from", &self.name])
            .args(&self.arguments)
            .arg("--record")
            .arg(folder.join(format!("{}.wav", self.name)))
            .arg("--report")
            .arg(folder.join(format!("{}.json", self.name)));
        Phone {
            process: Process::start(&format!("phone {}", self.name), &mut command),
            folder: folder.to_owned(),
            name: self.name,
        }
    }
}

impl Phone {
    /// Waits until the call is answered.
    pub fn wait_for_answer(&self) {
        self.process.wait_for_line("answered", ANSWER_WAIT);
    }

    /// Says a WAV file now.
    pub fn say(&mut self, file: &Path) {
        self.process.tell(&format!("play {}", file.display()));
    }

    /// Hangs up now.
    pub fn hang_up(&mut self) {
        self.process.tell("hangup");
    }

    /// Ends the phone without a word to anybody.
    pub fn abandon(mut self) {
        self.process.kill();
    }

    /// Where what it heard is, once the call is over.
    pub fn recording(&self) -> PathBuf {
        self.folder.join(format!("{}.wav", self.name))
    }

    /// Waits for the end of the call, so that its recording is complete.
    pub fn wait_for_end(&mut self, within: Duration) {
        self.process.wait(within + REPORT_WAIT);
    }

    /// Waits for the end of the call, which must have gone as planned, and reads the report.
    ///
    /// # Panics
    /// When the call goes on, or went otherwise.
    pub fn finish(mut self, within: Duration) -> Report {
        let status = self.process.wait(within + REPORT_WAIT);
        let path = self.folder.join(format!("{}.json", self.name));
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let report = Report {
            json: serde_json::from_str(&text).unwrap(),
        };
        assert!(
            status.success(),
            "phone {}: {}",
            self.name,
            report.json["failure"]
        );
        report
    }
}

/// What a phone tells of its call.
#[derive(Debug)]
pub struct Report {
    json: Value,
}

impl Report {
    /// A number of the report; absent ones are 0.
    pub fn number(&self, name: &str) -> f64 {
        self.json[name].as_f64().unwrap_or(0.0)
    }

    /// A word of the report.
    pub fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    /// How many items a list of the report has.
    pub fn count_of(&self, name: &str) -> usize {
        self.json[name].as_array().map_or(0, Vec::len)
    }

    /// Whether the call was answered.
    pub fn is_answered(&self) -> bool {
        self.json["answered"] == Value::Bool(true)
    }

    /// How long the call lasted from its answer to its end, in seconds.
    pub fn talk_s(&self) -> f64 {
        self.number("ended_after_s") - self.number("answered_after_s")
    }
}
