//! Mono 16-bit WAV files in and out. Refuses any other shape: it converts nothing.

use std::path::{Path, PathBuf};

/// Why a WAV file was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WavError {
    /// The file is absent, unwritable or not WAV.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: hound::Error,
    },
    /// It has another number of channels, sample size or rate than needed.
    #[error("{path}: need mono 16-bit at {wanted_hz} Hz, found {channels} × {bits}-bit at {hz} Hz")]
    Shape {
        /// Which file.
        path: PathBuf,
        /// What the codec needs.
        wanted_hz: u32,
        /// What the file has.
        hz: u32,
        /// What the file has.
        channels: u16,
        /// What the file has.
        bits: u16,
    },
}

/// All samples of a file.
///
/// # Errors
/// [`WavError`] when it cannot be read or has not exactly the wanted shape.
pub fn read(path: &Path, wanted_hz: u32) -> Result<Vec<i16>, WavError> {
    let file_error = |source| WavError::File {
        path: path.to_owned(),
        source,
    };
    let reader = hound::WavReader::open(path).map_err(file_error)?;
    let spec = reader.spec();
    let is_pcm = spec.sample_format == hound::SampleFormat::Int;
    if spec.channels != 1 || spec.bits_per_sample != 16 || spec.sample_rate != wanted_hz || !is_pcm
    {
        return Err(WavError::Shape {
            path: path.to_owned(),
            wanted_hz,
            hz: spec.sample_rate,
            channels: spec.channels,
            bits: spec.bits_per_sample,
        });
    }
    reader
        .into_samples()
        .collect::<Result<_, _>>()
        .map_err(file_error)
}

/// Writes samples to a file.
///
/// # Errors
/// [`WavError::File`] when it cannot be written.
pub fn write(path: &Path, sample_rate: u32, samples: &[i16]) -> Result<(), WavError> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let write_all = || {
        let mut writer = hound::WavWriter::create(path, spec)?;
        for &sample in samples {
            writer.write_sample(sample)?;
        }
        writer.finalize()
    };
    write_all().map_err(|source| WavError::File {
        path: path.to_owned(),
        source,
    })
}
