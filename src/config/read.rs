//! Reads a file of bounded size as text. Refuses what is longer and what is not UTF-8.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::{ConfigError, Place};

/// Longest configuration or file of variables: a thousand times what sixteen extensions need is
/// still read, a log or a device by mistake is not.
pub(super) const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Longest file that holds one key or password.
pub(super) const SECRET_BYTES_MAX: u64 = 4096;

/// The text of a file.
///
/// # Errors
/// [`ConfigError::Unreadable`], [`ConfigError::TooLarge`], [`ConfigError::NotUtf8`] with the place
/// that `place_of` makes of a line number, counted from 1.
pub(super) fn read_text(
    path: &Path,
    bytes_max: u64,
    place_of: impl FnOnce(u32) -> Place,
) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
            bytes_max,
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        ConfigError::NotUtf8 {
            place: place_of(line_of(error.as_bytes(), good)),
        }
    })
}

/// The line, counted from 1, in which byte `offset` of a text stands.
pub(super) fn line_of(text: &[u8], offset: usize) -> u32 {
    let before = &text[..offset.min(text.len())];
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(lines).unwrap_or(u32::MAX).saturating_add(1)
}
