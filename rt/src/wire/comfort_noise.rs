//! Comfort noise (RFC 3389 §3): what a phone sends once when it stops sending silence.
//!
//! Only its level is read; the shape of the spectrum that may follow is left, since noise quiet
//! enough to be a comfort has none that anyone hears.

use super::rtp::ParseError;
use crate::units::Dbov;

/// Static payload type of comfort noise at 8 kHz (RFC 3551 table 4), which Asterisk uses for all.
pub const PAYLOAD_TYPE: u8 = 13;

/// The highest bit is reserved and 0 when sent.
const LEVEL_MASK: u8 = 0x7f;

/// The level of the noise.
///
/// # Errors
/// [`ParseError::Truncated`] if the payload is empty.
///
/// # Real-time
/// Wait-free, no allocation.
pub fn parse(payload: &[u8]) -> Result<Dbov, ParseError> {
    match payload.first() {
        Some(level) => Ok(Dbov(*level & LEVEL_MASK)),
        None => Err(ParseError::Truncated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_the_first_byte_and_the_rest_is_left() {
        assert_eq!(parse(&[]), Err(ParseError::Truncated));
        for level in 0..=u8::MAX {
            assert_eq!(parse(&[level]), Ok(Dbov(level & 0x7f)));
            assert_eq!(parse(&[level, 1, 2]), Ok(Dbov(level & 0x7f)));
        }
    }
}
