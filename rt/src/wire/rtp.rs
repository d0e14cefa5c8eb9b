//! RTP packets (RFC 3550 §5.1): a checked view of received bytes, and a header to be written.
//!
//! Refuses what is not RTP version 2 or claims more bytes than there are. Knows no payload type and
//! keeps no state. Parsing reads the header once and copies nothing.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |                             SSRC                              |
//! |                     CSRC, CC times                            |
//! |  if X: profile, 16 bits       |  length in 32-bit words       |  extension …
//! |                payload …          | if P: padding, its last byte counts it |
//! ```

use core::fmt;

/// Bytes of the fixed header, all that is ever sent.
pub const HEADER_BYTES: usize = 12;

/// RFC 3550 §5.1: the only version there is.
const VERSION: u8 = 2;
const VERSION_SHIFT: u32 = 6;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const CSRC_COUNT_MASK: u8 = 0x0f;
const MARKER_BIT: u8 = 0x80;
const PAYLOAD_TYPE_MASK: u8 = 0x7f;
const CSRC_BYTES: usize = 4;
const EXTENSION_HEADER_BYTES: usize = 4;
const EXTENSION_WORD_BYTES: usize = 4;

/// A sequence number on the wire; it wraps, so it has a distance and no order.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Seq(pub u16);

impl Seq {
    /// The number `n` packets on.
    #[must_use]
    pub const fn plus(self, n: u16) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// Packets from `earlier` to here the short way round, in -32768 ..= 32767.
    pub const fn distance(self, earlier: Self) -> i16 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// Where a sender says its stream stands: the two header fields that name a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamPosition {
    /// The sender's synchronisation source.
    pub ssrc: u32,
    /// The packet's place in that stream.
    pub sequence_number: Seq,
}

/// A timestamp on the wire, in units of the payload's clock rate; it wraps.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RtpTimestamp(pub u32);

impl RtpTimestamp {
    /// The timestamp `units` later.
    #[must_use]
    pub const fn plus(self, units: u32) -> Self {
        Self(self.0.wrapping_add(units))
    }

    /// Units from `earlier` to here the short way round.
    pub const fn distance(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// A sequence number that does not wrap: the packets of a stream in order.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct ExtSeq(pub u64);

impl ExtSeq {
    /// Where `seq` stands, if it is the one nearest to this position; `None` before the start.
    pub const fn nearest(self, seq: Seq) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the wire carries the low 16 bits"
        )]
        let step = seq.distance(Seq(self.0 as u16));
        match self.0.checked_add_signed(step as i64) {
            Some(position) => Some(Self(position)),
            None => None,
        }
    }
}

/// A timestamp that does not wrap.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct MediaTime(pub u64);

impl MediaTime {
    /// When `timestamp` is, if it is the one nearest to this time; `None` before the start.
    pub const fn nearest(self, timestamp: RtpTimestamp) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the wire carries the low 32 bits"
        )]
        let step = timestamp.distance(RtpTimestamp(self.0 as u32));
        match self.0.checked_add_signed(step as i64) {
            Some(time) => Some(Self(time)),
            None => None,
        }
    }
}

/// Why bytes are not a packet. Each means: count it, drop it, go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ParseError {
    /// The padding count is 0 or reaches into the header.
    Padding,
    /// The header, its CSRC list or its extension is longer than the datagram.
    Truncated,
    /// Not version 2.
    Version,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Padding => "the padding count does not fit the packet",
            Self::Truncated => "the header is longer than the datagram",
            Self::Version => "not RTP version 2",
        })
    }
}

impl core::error::Error for ParseError {}

/// A received packet: a view of its bytes, checked once.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    fixed: &'a [u8; HEADER_BYTES],
    /// In `HEADER_BYTES ..= payload_end`.
    payload_start: usize,
    /// In `payload_start ..= bytes.len()`.
    payload_end: usize,
}

impl<'a> Packet<'a> {
    /// Checks that every part of the header lies within `bytes`.
    ///
    /// # Errors
    /// [`ParseError`] says which part does not.
    ///
    /// # Real-time
    /// Wait-free, no allocation; cost independent of the payload.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let fixed = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or(ParseError::Truncated)?;
        if fixed[0] >> VERSION_SHIFT != VERSION {
            return Err(ParseError::Version);
        }
        let mut payload_start = HEADER_BYTES + usize::from(fixed[0] & CSRC_COUNT_MASK) * CSRC_BYTES;
        if fixed[0] & EXTENSION_BIT != 0 {
            let header = bytes
                .get(payload_start..)
                .and_then(|rest| rest.first_chunk::<EXTENSION_HEADER_BYTES>())
                .ok_or(ParseError::Truncated)?;
            let words = usize::from(u16::from_be_bytes([header[2], header[3]]));
            payload_start += EXTENSION_HEADER_BYTES + words * EXTENSION_WORD_BYTES;
        }
        let rest = bytes.get(payload_start..).ok_or(ParseError::Truncated)?;
        let padding = match rest.last() {
            _ if fixed[0] & PADDING_BIT == 0 => 0,
            Some(&count) if count != 0 && usize::from(count) <= rest.len() => usize::from(count),
            _ => return Err(ParseError::Padding),
        };
        Ok(Self {
            bytes,
            fixed,
            payload_start,
            payload_end: bytes.len() - padding,
        })
    }

    /// What the payload is, in 0 ..= 127.
    pub const fn payload_type(&self) -> u8 {
        self.fixed[1] & PAYLOAD_TYPE_MASK
    }

    /// Whether the marker is set: with audio, the start of a talkspurt (RFC 3551 §4.1).
    pub const fn is_marked(&self) -> bool {
        self.fixed[1] & MARKER_BIT != 0
    }

    /// Its place among the sender's packets.
    pub const fn sequence_number(&self) -> Seq {
        Seq(u16::from_be_bytes([self.fixed[2], self.fixed[3]]))
    }

    /// When its first sample was taken.
    pub const fn timestamp(&self) -> RtpTimestamp {
        let f = self.fixed;
        RtpTimestamp(u32::from_be_bytes([f[4], f[5], f[6], f[7]]))
    }

    /// The sender's synchronisation source.
    pub const fn ssrc(&self) -> u32 {
        let f = self.fixed;
        u32::from_be_bytes([f[8], f[9], f[10], f[11]])
    }

    /// Which packet of which stream it is.
    pub const fn position(&self) -> StreamPosition {
        StreamPosition {
            ssrc: self.ssrc(),
            sequence_number: self.sequence_number(),
        }
    }

    /// The contributing sources, at most 15.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        let count = usize::from(self.fixed[0] & CSRC_COUNT_MASK);
        let list = &self.bytes[HEADER_BYTES..HEADER_BYTES + count * CSRC_BYTES];
        list.chunks_exact(CSRC_BYTES)
            .map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]]))
    }

    /// The header extension: its profile's number and its content, a whole number of words.
    pub fn extension(&self) -> Option<(u16, &'a [u8])> {
        if self.fixed[0] & EXTENSION_BIT == 0 {
            return None;
        }
        let start = HEADER_BYTES + self.csrcs().len() * CSRC_BYTES;
        let part = &self.bytes[start..self.payload_start];
        Some((
            u16::from_be_bytes([part[0], part[1]]),
            &part[EXTENSION_HEADER_BYTES..],
        ))
    }

    /// The payload without header and padding; may be empty.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_start..self.payload_end]
    }

    /// Bytes of padding behind the payload, 0 if there is none.
    pub const fn padding_bytes(&self) -> usize {
        self.bytes.len() - self.payload_end
    }
}

/// A header as we send it: no CSRC, no extension, no padding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Repr {
    /// In 0 ..= 127; a higher bit is not sent.
    pub payload_type: u8,
    /// First packet of a talkspurt.
    pub marker: Marker,
    /// Place among our packets.
    pub sequence_number: Seq,
    /// When its first sample is to be heard.
    pub timestamp: RtpTimestamp,
    /// Our synchronisation source.
    pub ssrc: u32,
}

/// Whether a packet begins a talkspurt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Marker {
    /// It goes on.
    Clear,
    /// It begins.
    Set,
}

impl Repr {
    /// Writes the header; the payload follows it.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn emit(&self, header: &mut [u8; HEADER_BYTES]) {
        let marker = match self.marker {
            Marker::Clear => 0,
            Marker::Set => MARKER_BIT,
        };
        header[0] = VERSION << VERSION_SHIFT;
        header[1] = marker | (self.payload_type & PAYLOAD_TYPE_MASK);
        header[2..4].copy_from_slice(&self.sequence_number.0.to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

impl From<&Packet<'_>> for Repr {
    fn from(packet: &Packet<'_>) -> Self {
        Self {
            payload_type: packet.payload_type(),
            marker: if packet.is_marked() {
                Marker::Set
            } else {
                Marker::Clear
            },
            sequence_number: packet.sequence_number(),
            timestamp: packet.timestamp(),
            ssrc: packet.ssrc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// What Asterisk 22 sends for slin16, header as captured.
    const SLIN16_HEADER: [u8; HEADER_BYTES] = [
        0x80, 0x76, 0x01, 0xe6, 0x00, 0x00, 0x01, 0x40, 0x7f, 0x7d, 0xd7, 0xc4,
    ];

    #[test]
    fn a_captured_header_reads_as_it_was_sent() {
        let packet = Packet::parse(&SLIN16_HEADER).expect("a whole header");
        assert_eq!(packet.payload_type(), 118);
        assert!(!packet.is_marked());
        assert_eq!(packet.sequence_number(), Seq(0x01e6));
        assert_eq!(packet.timestamp(), RtpTimestamp(320));
        assert_eq!(packet.ssrc(), 0x7f7d_d7c4);
        assert!(packet.payload().is_empty());
        let mut again = [0; HEADER_BYTES];
        Repr::from(&packet).emit(&mut again);
        assert_eq!(again, SLIN16_HEADER);
    }

    #[test]
    fn every_part_of_a_full_header_is_found_and_every_truncation_refused() {
        let mut bytes = Vec::from(SLIN16_HEADER);
        bytes[0] = 0x80 | PADDING_BIT | EXTENSION_BIT | 2;
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        bytes.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
        let header = bytes.len();
        bytes.extend([1, 2, 3, 0, 2]);
        let packet = Packet::parse(&bytes).expect("complete");
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(packet.extension(), Some((0xbede, &[9u8; 4][..])));
        assert_eq!(packet.payload(), [1, 2, 3]);
        assert_eq!(packet.padding_bytes(), 2);
        for len in 0..header {
            assert_eq!(
                Packet::parse(&bytes[..len]).err(),
                Some(ParseError::Truncated),
                "{len}"
            );
        }
        assert_eq!(
            Packet::parse(&bytes[..header]).err(),
            Some(ParseError::Padding)
        );
    }

    #[test]
    fn only_version_2_is_rtp() {
        for version in [0u8, 1, 3] {
            let mut bytes = SLIN16_HEADER;
            bytes[0] = version << VERSION_SHIFT;
            assert_eq!(Packet::parse(&bytes).err(), Some(ParseError::Version));
        }
    }

    #[test]
    fn wrapped_numbers_keep_their_distance_and_unwrap() {
        assert_eq!(Seq(2).distance(Seq(65_534)), 4);
        assert_eq!(Seq(65_534).distance(Seq(2)), -4);
        assert_eq!(Seq(65_535).plus(1), Seq(0));
        assert_eq!(RtpTimestamp(10).distance(RtpTimestamp(u32::MAX - 9)), 20);
        assert_eq!(ExtSeq(65_535).nearest(Seq(1)), Some(ExtSeq(65_537)));
        assert_eq!(ExtSeq(65_536).nearest(Seq(65_535)), Some(ExtSeq(65_535)));
        assert_eq!(ExtSeq(0).nearest(Seq(65_535)), None);
        assert_eq!(
            MediaTime(1 << 32).nearest(RtpTimestamp(5)),
            Some(MediaTime((1 << 32) + 5))
        );
    }
}
