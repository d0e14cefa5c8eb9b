//! Speech for tests: phrases said by synthetic callers, and what a recording says.

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
    let file = folder.join(format!("{}-{codec}.wav", letters.collect::<String>()));
    let mut command = Command::new(program("offline-vendors"));
    command.args([
        "speak",
        "--language",
        language.code(),
        "--rate-hz",
        rate_hz(codec),
    ]);
    command.arg("--out").arg(&file).arg(text);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text_of(&output));
    let reader = hound::WavReader::open(&file).unwrap();
    let length_s = f64::from(reader.duration()) / f64::from(reader.spec().sample_rate);
    Clip { file, length_s }
}

/// What a recording says: phrases of the book in order, and "null" for each utterance that is none.
pub fn recognise(recording: &Path, language: Language) -> Vec<String> {
    let mut command = Command::new(program("offline-vendors"));
    command
        .args(["recognize", "--language", language.code()])
        .arg(recording);
    let output = command.output().unwrap();
    // 1 says that something was not understood: it is for the test to say what that means.
    let is_listened = matches!(output.status.code(), Some(0 | 1));
    assert!(is_listened, "{command:?}: {}", text_of(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    // Each line is: begin, end, text.
    lines
        .lines()
        .filter_map(|line| line.split('\t').nth(2))
        .map(str::to_owned)
        .collect()
}

/// What a phone's codec carries, in Hz.
fn rate_hz(codec: &str) -> &'static str {
    if codec == "l16" { "16000" } else { "8000" }
}
