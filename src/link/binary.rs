//! Audio as binary messages: subprotocol `diglot.binary.v1`.
//!
//! ```text
//!  0      1       2          4                8                        16
//! +------+-------+----------+----------------+------------------------+-----------------------
//! | kind | flags | reserved | number         | timestamp              | PCM16 of the session
//! +------+-------+----------+----------------+------------------------+-----------------------
//! ```
//! All numbers are big endian; the PCM is in the session's byte order.
//! - `kind`: 1 = audio (gateway to translator), 2 = translated audio (translator to gateway).
//! - `flags` of translated audio: bit 0 = the last message of its utterance; bit 1 = live, the
//!   speaker's own voice as it is spoken; the others are sent as 0 and not read.
//! - `reserved`: sent as 0, not read.
//! - `number`: of audio its sequence (wrapping); of translated audio its utterance, 0 = none.
//! - `timestamp`: Unix time in milliseconds, as in the text form.
//!
//! The socket says whose audio it is, so no extension is carried. All other messages stay text.

use diglot_rt::msg::Pace;

use super::messages::{DataError, check_pcm};

/// Bytes before the PCM.
pub const HEADER_BYTES: usize = 16;

const KIND_AUDIO: u8 = 1;
const KIND_TRANSLATED_AUDIO: u8 = 2;
const FLAG_LAST: u8 = 1;
const FLAG_LIVE: u8 = 1 << 1;

/// One binary message; borrows its samples.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// Which way and what for.
    pub header: Header,
    /// PCM16 in the session's byte order; an even number of bytes.
    pub pcm: &'a [u8],
}

/// What stands before the PCM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Header {
    /// Speech of the leg.
    Audio {
        /// Counts the leg's messages.
        sequence: u32,
        /// When the first sample was spoken: Unix time in milliseconds.
        timestamp: u64,
    },
    /// Speech for the paired leg.
    TranslatedAudio {
        /// The utterance, from 1; 0 if none.
        utterance: u32,
        /// Whether nothing more of this utterance follows.
        last: bool,
        /// Whether it is spoken as it goes, or was made before it is needed.
        pace: Pace,
        /// When it was sent or, for audio passed through, spoken: Unix time in milliseconds.
        timestamp: u64,
    },
}

/// Why a binary message was not read. It is dropped, the connection stays.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// The PCM is odd or too long.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Shorter than the header.
    #[error("a binary message of {0} bytes has no header")]
    Truncated(usize),
    /// A kind that this version does not know: to be ignored and counted.
    #[error("unknown kind {0} of binary message")]
    UnknownKind(u8),
}

impl<'a> Frame<'a> {
    /// Reads one binary message.
    ///
    /// # Errors
    /// See [`FrameError`].
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let Some((&[kind, flags, _, _, n0, n1, n2, n3, ref time @ ..], pcm)) =
            bytes.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(FrameError::Truncated(bytes.len()));
        };
        let number = u32::from_be_bytes([n0, n1, n2, n3]);
        let timestamp = u64::from_be_bytes(*time);
        let header = match kind {
            KIND_AUDIO => Header::Audio {
                sequence: number,
                timestamp,
            },
            KIND_TRANSLATED_AUDIO => Header::TranslatedAudio {
                utterance: number,
                last: flags & FLAG_LAST != 0,
                pace: match flags & FLAG_LIVE {
                    0 => Pace::Stored,
                    _ => Pace::Live,
                },
                timestamp,
            },
            other => return Err(FrameError::UnknownKind(other)),
        };
        check_pcm(pcm)?;
        Ok(Self { header, pcm })
    }

    /// Appends the message.
    ///
    /// # Real-time
    /// No allocation once `bytes` has grown to its largest size.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.header.to_bytes());
        bytes.extend_from_slice(self.pcm);
    }
}

impl Header {
    /// The header on the wire.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let (kind, flags, number, timestamp) = match self {
            Self::Audio {
                sequence,
                timestamp,
            } => (KIND_AUDIO, 0, sequence, timestamp),
            Self::TranslatedAudio {
                utterance,
                last,
                pace,
                timestamp,
            } => {
                let last = match last {
                    true => FLAG_LAST,
                    false => 0,
                };
                let live = match pace {
                    Pace::Live => FLAG_LIVE,
                    Pace::Stored => 0,
                };
                (KIND_TRANSLATED_AUDIO, last | live, utterance, timestamp)
            }
        };
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = kind;
        bytes[1] = flags;
        bytes[4..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..].copy_from_slice(&timestamp.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the layout in this file's header is what is sent.
    /// Method: bytes written out by hand.
    #[test]
    fn layout_is_as_published() {
        for (flags, last, pace) in [
            (0, false, Pace::Stored),
            (1, true, Pace::Stored),
            (2, false, Pace::Live),
            (3, true, Pace::Live),
        ] {
            let frame = Frame {
                header: Header::TranslatedAudio {
                    utterance: 3,
                    last,
                    pace,
                    timestamp: 0x0102_0304,
                },
                pcm: &[0xaa, 0xbb],
            };
            let wire = [
                2, flags, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 2, 3, 4, 0xaa, 0xbb,
            ];
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert_eq!(bytes, wire);
            assert_eq!(Frame::decode(&wire), Ok(frame));
        }
        let audio = [1, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5];
        let header = Header::Audio {
            sequence: 9,
            timestamp: 5,
        };
        assert_eq!(Frame::decode(&audio), Ok(Frame { header, pcm: &[] }));
    }

    #[test]
    fn bad_frames_are_refused_with_their_reason() {
        for length in 0..HEADER_BYTES {
            assert_eq!(
                Frame::decode(&[1; 16][..length]),
                Err(FrameError::Truncated(length))
            );
        }
        assert_eq!(Frame::decode(&[7; 20]), Err(FrameError::UnknownKind(7)));
        assert_eq!(
            Frame::decode(&[1; 17]),
            Err(FrameError::Data(DataError::Odd))
        );
    }
}
