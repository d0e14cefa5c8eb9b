//! What can be wrong with a configuration, as one line that names the place, the key, the way out.
//!
//! Every error here is fatal to the start and to nothing else: no socket is open yet. No message
//! quotes a key or a password, and none is longer than a line.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Exit status of a process that was given a bad command line or configuration.
pub const EXIT_STATUS: u8 = 2;

/// Characters of a refused value that are shown.
const QUOTED_CHARS_MAX: usize = 60;

/// Why a configuration was refused. All variants: fatal to the start, correct the place and retry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Two settings, each good by itself, do not fit together.
    #[error("{place}{key}: {reason}")]
    Conflict {
        /// The later of the two.
        place: Place,
        /// The key, or the variable's name.
        key: String,
        /// Names the other setting.
        reason: String,
    },
    /// A value is not one that the key accepts.
    #[error("{place}{key}: {reason}")]
    BadValue {
        /// Where it was written.
        place: Place,
        /// The key, or the variable's name.
        key: String,
        /// Quotes the value unless it is secret, and says what is accepted.
        reason: String,
    },
    /// A value that cannot be guessed was not given.
    #[error("{place}{key}: missing; {remedy}")]
    Missing {
        /// Where it could be written.
        place: Place,
        /// The key, or the variable's name.
        key: String,
        /// Where to set it.
        remedy: String,
    },
    /// A file is not text.
    #[error("{place}not UTF-8 text")]
    NotUtf8 {
        /// The first line that is not.
        place: Place,
    },
    /// A file does not follow TOML.
    #[error("{place}not valid TOML: {reason}")]
    Syntax {
        /// The line at which reading stopped.
        place: Place,
        /// What was expected.
        reason: String,
    },
    /// A file is longer than any configuration.
    #[error(
        "{}: longer than {bytes_max} bytes, which no configuration is",
        shown_path(path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is read at most.
        bytes_max: u64,
    },
    /// A key that nothing would read.
    #[error("{place}{key}: unknown key; {hint}")]
    UnknownKey {
        /// Where it was written.
        place: Place,
        /// The key.
        key: String,
        /// The nearest key, or all that are accepted.
        hint: String,
    },
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", shown_path(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A value is of another TOML type.
    #[error("{place}{key}: expected {expected}, found {found}")]
    WrongType {
        /// Where it was written.
        place: Place,
        /// The key.
        key: String,
        /// The type that was found.
        found: &'static str,
        /// The type that is accepted.
        expected: &'static str,
    },
}

impl ConfigError {
    /// Where it stands among several: files first, from their first line on; what is missing last.
    pub(super) fn order(&self) -> (u8, u32) {
        match self {
            Self::BadValue { place, .. }
            | Self::Conflict { place, .. }
            | Self::Missing { place, .. }
            | Self::NotUtf8 { place }
            | Self::Syntax { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::WrongType { place, .. } => place.order(),
            Self::TooLarge { .. } | Self::Unreadable { .. } => (0, 0),
        }
    }
}

/// Where a setting was written. Displayed as the beginning of a line: `diglot.toml:12: `.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// Nowhere: a default, or something missing where no file was named.
    Default,
    /// The process environment.
    Environment,
    /// A line of the file of variables (`--env-file`).
    EnvFile {
        /// As given on the command line.
        path: PathBuf,
        /// Counted from 1.
        line: u32,
    },
    /// The command line (`--set`).
    Flag,
    /// The TOML file (`--config`).
    Toml {
        /// As given on the command line.
        path: PathBuf,
        /// Counted from 1; absent where the file as a whole is meant.
        line: Option<u32>,
    },
}

impl Place {
    /// The folder that relative paths written here start from.
    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::Toml { path, .. } => path.parent().unwrap_or(Path::new("")),
            Self::Default | Self::Environment | Self::EnvFile { .. } | Self::Flag => Path::new(""),
        }
    }

    fn order(&self) -> (u8, u32) {
        match self {
            Self::Toml { line, .. } => (0, line.unwrap_or(u32::MAX)),
            Self::EnvFile { line, .. } => (1, *line),
            Self::Environment => (2, 0),
            Self::Flag => (3, 0),
            Self::Default => (4, 0),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => Ok(()),
            Self::Environment => f.write_str("environment: "),
            Self::EnvFile { path, line } => write!(f, "{}:{line}: ", shown_path(path)),
            Self::Flag => f.write_str("--set: "),
            Self::Toml {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}: ", shown_path(path)),
            Self::Toml { path, line: None } => write!(f, "{}: ", shown_path(path)),
        }
    }
}

/// A key as it may be shown: files and flags can put any character into one.
pub(super) fn shown_key(key: &str) -> String {
    key.replace(char::is_control, "?")
}

/// The name of a file as it may be shown: on one line.
fn shown_path(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}

/// A refused value as it may be shown: on one line, and not all of a long one.
pub(crate) fn quoted(value: &str) -> String {
    if value.chars().count() <= QUOTED_CHARS_MAX {
        return format!("{value:?}");
    }
    let head: String = value.chars().take(QUOTED_CHARS_MAX).collect();
    format!("{head:?}…")
}

/// "a, b or c".
pub(crate) fn alternatives<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    match names.pop() {
        Some(last) if names.is_empty() => last.to_owned(),
        Some(last) => format!("{} or {last}", names.join(", ")),
        None => String::new(),
    }
}

/// The one of `names` that `typed` was probably meant to be, if any is close.
pub(crate) fn nearest<'a>(
    typed: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    /// Longer words are no slip of a known name, and comparing them costs the square.
    const TYPED_BYTES_MAX: usize = 64;
    /// One slip in three letters.
    const LETTERS_PER_SLIP: usize = 3;
    if typed.len() > TYPED_BYTES_MAX {
        return None;
    }
    names
        .into_iter()
        .map(|name| (edits(typed, name), name))
        .filter(|(edits, name)| *edits <= name.len().div_ceil(LETTERS_PER_SLIP))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Levenshtein distance in bytes.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_close_or_none() {
        let names = ["listen", "engine", "workers"];
        assert_eq!(nearest("lisen", names), Some("listen"));
        assert_eq!(nearest("Engine", names), Some("engine"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest(&"listen".repeat(100), names), None);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
    }

    #[test]
    fn a_quoted_value_stays_on_one_short_line() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert!(quoted(&"x".repeat(1000)).chars().count() < 70);
    }
}
