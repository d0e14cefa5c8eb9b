//! Prompt files: read once at start, so that a call never waits for a disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use diglot_rt::units::SampleRate;

/// Longest prompt: longer ones would be heard by nobody, and a wrong file shows early.
const PROMPT_SECONDS_MAX: u32 = 60;

/// Why a prompt cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// Not there, or not a WAV file.
    #[error("{path}: cannot be read as a WAV file: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: hound::Error,
    },
    /// Not what Diglot plays.
    #[error("{path}: must be 16 kHz, mono, 16 bit and at most {PROMPT_SECONDS_MAX} s long; convert it \
             with: sox IN -r 16000 -c 1 -b 16 OUT", path = path.display())]
    Unsupported {
        /// Which file.
        path: PathBuf,
    },
}

/// Reads a prompt: 16 kHz samples.
///
/// # Errors
/// See [`PromptError`].
pub fn read(path: &Path) -> Result<Arc<[i16]>, PromptError> {
    let unreadable = |source| PromptError::Unreadable {
        path: path.into(),
        source,
    };
    let mut reader = hound::WavReader::open(path).map_err(unreadable)?;
    let spec = reader.spec();
    let is_supported = spec.sample_rate == SampleRate::Hz16000.hertz()
        && spec.channels == 1
        && spec.bits_per_sample == 16
        && spec.sample_format == hound::SampleFormat::Int
        && reader.duration() <= PROMPT_SECONDS_MAX * spec.sample_rate;
    if !is_supported {
        return Err(PromptError::Unsupported { path: path.into() });
    }
    reader
        .samples()
        .collect::<Result<_, _>>()
        .map_err(unreadable)
}
