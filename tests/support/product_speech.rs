//! Speech for tests: phrases said by synthetic callers, and what a recording says.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::lab_asterisk::text_of;
use super::product_programs::program;

/// A phrase of the phrase book in both languages.
pub struct Phrase {
    /// English.
    pub en: &'static str,
    /// French.
    pub fr: &'static str,
}

/// A phrase that a caller can say: its WAV file and how long it lasts.
#[derive(Clone, Debug)]
pub struct Clip {
    /// 8 kHz, mono.
    pub file: PathBuf,
    /// Its length in seconds.
    pub length_s: f64,
}
