//! Speech for tests: phrases said by synthetic callers, and what a recording says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::lab_asterisk::text_of;
use super::product_programs::program;

/// A language of the phrase book.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    /// Said at 7777.
    English,
    /// Said at 8888.
    French,
}

impl Language {
    /// Its BCP 47 code.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }
}

/// A phrase of the phrase book in both languages, as the book has it.
#[derive(Clone, Copy, Debug)]
pub struct Phrase {
    /// English.
    pub en: &'static str,
    /// French.
    pub fr: &'static str,
}

impl Phrase {
    /// The phrase in this language.
    pub fn text(&self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::French => self.fr,
        }
    }
}

/// A phrase that a caller can say.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Mono, 16 bits, at the codec's rate.
    pub file: PathBuf,
    /// Its length in seconds.
    pub length_s: f64,
}

/// Has a synthetic caller of this language say a text, for a phone with this codec.
pub fn say(folder: &Path, codec: &str, language: Language, text: &str) -> Clip {
    let letters = text.chars().filter(|letter| letter.is_ascii_alphanumeric());
    let name: String = letters.collect();
    let wide = folder.join(format!("{name}-wide.wav"));
    let file = folder.join(format!("{name}.wav"));
    let speak = ["speak", "--language", language.code(), "--out"].map(OsStr::new);
    run(Command::new(program("offline-vendors"))
        .args(speak)
        .arg(&wide)
        .arg(text));
    run(Command::new("sox")
        .arg(&wide)
        .args(["-r", sample_rate(codec), "-c1", "-b16"])
        .arg(&file));
    let reader = hound::WavReader::open(&file).unwrap();
    let length_s = f64::from(reader.duration()) / f64::from(reader.spec().sample_rate);
    Clip { file, length_s }
}

/// The phrases that a recording holds, in order.
pub fn recognise(recording: &Path, language: Language) -> Vec<String> {
    let listen = ["recognize", "--language", language.code()].map(OsStr::new);
    let mut command = Command::new(program("offline-vendors"));
    let said = run(command.args(listen).arg(recording));
    said.lines().map(str::to_owned).collect()
}

/// What a phone's codec carries, in Hz.
fn sample_rate(codec: &str) -> &'static str {
    if codec == "l16" { "16000" } else { "8000" }
}

/// Runs a program to its end and returns what it wrote to stdout.
fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text_of(&output));
    String::from_utf8(output.stdout).unwrap()
}
