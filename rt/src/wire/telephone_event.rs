//! Telephone events (RFC 4733 §2.3): a key pressed on a phone, told in packets of its own.
//!
//! Refuses what is shorter than one event; reads the first event of a payload.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |     event     |E|R|  volume   |          duration             |
//! ```

use super::rtp::ParseError;

/// What phones and Asterisk use when nothing else was agreed; dynamic by RFC 3551.
pub const PAYLOAD_TYPE: u8 = 101;

/// Bytes of one event.
pub const EVENT_BYTES: usize = 4;

const END_BIT: u8 = 0x80;
const VOLUME_MASK: u8 = 0x3f;

/// One packet's report of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TelephoneEvent {
    /// Which: 0 ..= 9 the digits, 10 `*`, 11 `#`, 12 ..= 15 A to D (RFC 4733 table 3).
    pub event: u8,
    /// Whether it is over.
    pub stage: Stage,
    /// How loud the tone would be, in dB below 0 dBm0, in 0 ..= 63.
    pub volume: u8,
    /// How long it has lasted, in timestamp units.
    pub duration: u16,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// It is over; said several times in case one is lost.
    Ended,
    /// It goes on.
    Ongoing,
}

impl TelephoneEvent {
    /// Reads an event.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] if there are fewer than [`EVENT_BYTES`].
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub const fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let Some(&[event, flags, high, low]) = payload.first_chunk::<EVENT_BYTES>() else {
            return Err(ParseError::Truncated);
        };
        Ok(Self {
            event,
            stage: if flags & END_BIT != 0 {
                Stage::Ended
            } else {
                Stage::Ongoing
            },
            volume: flags & VOLUME_MASK,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// Writes an event.
    pub const fn emit(&self) -> [u8; EVENT_BYTES] {
        let end = match self.stage {
            Stage::Ended => END_BIT,
            Stage::Ongoing => 0,
        };
        let [high, low] = self.duration.to_be_bytes();
        [self.event, end | (self.volume & VOLUME_MASK), high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4733 §5: digit 9, volume 7, 50 ms in, from its figure.
    const NINE: [u8; 4] = [9, 7, 0x01, 0x90];

    fn nine(stage: Stage, duration: u16) -> TelephoneEvent {
        TelephoneEvent {
            event: 9,
            stage,
            volume: 7,
            duration,
        }
    }

    #[test]
    fn an_event_reads_as_the_standard_draws_it() {
        let event = TelephoneEvent::parse(&NINE).expect("four bytes");
        assert_eq!(event, nine(Stage::Ongoing, 400));
        assert_eq!(event.emit(), NINE);
    }

    #[test]
    fn every_truncation_is_refused_and_every_four_bytes_are_read() {
        for len in 0..EVENT_BYTES {
            assert_eq!(
                TelephoneEvent::parse(&NINE[..len]),
                Err(ParseError::Truncated)
            );
        }
        for bits in (0..=u32::MAX).step_by(65_537 * 7) {
            let bytes = bits.to_be_bytes();
            let event = TelephoneEvent::parse(&bytes).expect("four bytes");
            // All but the reserved bit comes back.
            let expected = [bytes[0], bytes[1] & !0x40, bytes[2], bytes[3]];
            assert_eq!(event.emit(), expected);
        }
    }
}
