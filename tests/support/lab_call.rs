//! What the scenarios share: pairs of callers and what they say, and the product's own account of
//! its calls.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lab_asterisk::Asterisk;
use super::lab_phone::{Phone, Script};
use super::product_process::Process;
use super::product_speech::{Language, Phrase, recognise, say};

/// Set-up takes milliseconds; a busy machine gets more.
const CALL_WAIT: Duration = Duration::from_secs(10);
/// The longest phrase takes four seconds to say and less than one to interpret.
const SPEECH_WAIT: Duration = Duration::from_secs(15);
/// Between two phrases of one caller: long enough to end an utterance, and for its translation,
/// which may be longer than itself, to be over before the next one.
const PAUSE_S: f64 = 2.5;
/// After the last word a caller waits for its translation to be heard by the other.
const LISTEN_S: f64 = 6.0;
/// Signalling, on top of what a call should last.
const END_WAIT: Duration = Duration::from_secs(20);

/// Two callers who are interpreted with each other.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Names their phones and files.
    pub name: &'static str,
    /// How the phones encode: `pcmu`, `pcma` or `l16`.
    pub codec: &'static str,
    /// What the one who dials 7777 says.
    pub in_english: &'static [Phrase],
    /// What the one who dials 8888 says.
    pub in_french: &'static [Phrase],
}

/// One caller of a pair, ready to dial.
pub struct Caller {
    script: Script,
    listens: Language,
    expected: Vec<&'static str>,
    length: Duration,
}

/// One caller of a pair, in the call.
pub struct Talk {
    /// The phone.
    pub phone: Phone,
    listens: Language,
    expected: Vec<&'static str>,
    length: Duration,
}

impl Pair {
    /// Both callers, English first. Each begins to speak so many seconds after the answer, both go
    /// on at the same time, and both hang up when everything has been heard.
    pub fn callers(&self, folder: &Path, begin_s: f64) -> [Caller; 2] {
        let sides = [
            (Language::English, "7777", self.in_english, self.in_french),
            (Language::French, "8888", self.in_french, self.in_english),
        ];
        let mut end_s = begin_s;
        let callers = sides.map(|(language, extension, says, hears)| {
            let name = format!("{}-{}", self.name, language.code());
            let mut script = Script::new(&name, extension).option("--codec", self.codec);
            let mut at_s = begin_s;
            for phrase in says {
                let clip = say(folder, self.codec, language, phrase.text(language));
                script = script.say(at_s, &clip.file);
                at_s += clip.length_s + PAUSE_S;
            }
            end_s = end_s.max(at_s);
            let expected: Vec<_> = hears.iter().map(|phrase| phrase.text(language)).collect();
            (script, language, expected)
        });
        let length_s = end_s - PAUSE_S + LISTEN_S;
        callers.map(|(script, listens, expected)| Caller {
            script: script.option("--seconds", &format!("{length_s:.2}")),
            listens,
            expected,
            length: Duration::from_secs_f64(length_s),
        })
    }
}

impl Caller {
    /// Dials and waits for the answer.
    pub fn call(self, asterisk: &Asterisk, folder: &Path) -> Talk {
        let phone = self.script.call(asterisk, folder);
        phone.wait_for_answer();
        Talk {
            phone,
            listens: self.listens,
            expected: self.expected,
            length: self.length,
        }
    }
}

impl Talk {
    /// Waits for the end of the call and checks that what was heard is exactly what was to be.
    pub fn assert_heard(mut self) {
        self.phone.wait_for_end(self.length + END_WAIT);
        assert_heard(&self.phone.recording(), self.listens, &self.expected);
        self.phone.finish(END_WAIT);
    }
}

/// An empty folder for one test's recordings.
pub fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("lab")
        .join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// What is in the recording is exactly this, in this order.
pub fn assert_heard(recording: &Path, language: Language, expected: &[&str]) {
    let heard = recognise(recording, language);
    assert_eq!(heard, expected, "heard in {}", recording.display());
}

/// Waits until so many pairs have been made since the start.
pub fn wait_for_pairs(diglot: &Process, count: usize) {
    diglot.wait_for_lines("are interpreted with each other", count, CALL_WAIT);
}

/// Waits until so many legs have ended since the start.
pub fn wait_for_legs_ended(diglot: &Process, count: usize) {
    diglot.wait_for_lines(" left: ", count, CALL_WAIT);
}

/// Waits until the translator has been connected to so many legs since the start.
pub fn wait_for_links(diglot: &Process, count: usize) {
    diglot.wait_for_lines(": translator connected", count, CALL_WAIT);
}

/// Waits until so many translations have begun to be heard since the start.
pub fn wait_for_heard(diglot: &Process, count: usize) {
    diglot.wait_for_lines(" hears it ", count, SPEECH_WAIT);
}

/// Lets the callers listen until what they have begun to hear is over: nothing tells that but time.
pub fn listen_to_the_end() {
    std::thread::sleep(Duration::from_secs_f64(LISTEN_S));
}

/// As many legs have ended as have begun.
pub fn assert_legs_balance(diglot: &Process) {
    let count = |part: &str| {
        diglot
            .lines()
            .iter()
            .filter(|line| line.contains(part))
            .count()
    };
    assert_eq!(
        count(" is on the line"),
        count(" left: "),
        "legs begun and ended"
    );
}
