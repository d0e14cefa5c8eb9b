//! The RTP header (RFC 3550 §5.1): bytes to meaning and back, nothing else.

/// Bytes of a header without CSRC list and extension.
pub const HEADER_BYTES: usize = 12;
/// RFC 3550 §5.1: version 2 in the two top bits; no padding, no extension, no CSRC.
const VERSION_2: u8 = 0x80;
const VERSION_MASK: u8 = 0xC0;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const CSRC_COUNT_MASK: u8 = 0x0F;
const MARKER: u8 = 0x80;
const WORD_BYTES: usize = 4;

/// The fields a tester looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Set at the beginning of a talkspurt.
    pub marker: bool,
    /// In 0 ..= 127.
    pub payload_type: u8,
    /// Plus one per packet, wrapping.
    pub sequence_number: u16,
    /// In units of the RTP clock, wrapping.
    pub timestamp: u32,
    /// Who sends.
    pub ssrc: u32,
}

/// Why a datagram is not RTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ParseError {
    /// Padding longer than the payload, or of no length.
    BadPadding,
    /// The version is not 2.
    BadVersion,
    /// Shorter than its header says.
    Truncated,
}

impl Header {
    /// The header's bytes on the wire.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let marker = if self.marker { MARKER } else { 0 };
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = VERSION_2;
        bytes[1] = marker | (self.payload_type & !MARKER);
        bytes[2..4].copy_from_slice(&self.sequence_number.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }

    /// Splits a datagram into header and payload, without CSRCs, extension and padding.
    ///
    /// # Errors
    /// [`ParseError`] when it is not RTP of version 2 or ends too early.
    pub fn parse(datagram: &[u8]) -> Result<(Self, &[u8]), ParseError> {
        let (fixed, mut rest) = datagram
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(ParseError::Truncated)?;
        let [
            flags,
            kind,
            seq_high,
            seq_low,
            t0,
            t1,
            t2,
            t3,
            s0,
            s1,
            s2,
            s3,
        ] = *fixed;
        if flags & VERSION_MASK != VERSION_2 {
            return Err(ParseError::BadVersion);
        }
        rest = skip(rest, usize::from(flags & CSRC_COUNT_MASK) * WORD_BYTES)?;
        if flags & EXTENSION != 0 {
            let (head, after) = rest
                .split_first_chunk::<WORD_BYTES>()
                .ok_or(ParseError::Truncated)?;
            let words = u16::from_be_bytes([head[2], head[3]]);
            rest = skip(after, usize::from(words) * WORD_BYTES)?;
        }
        if flags & PADDING != 0 {
            let padding_bytes = usize::from(*rest.last().ok_or(ParseError::BadPadding)?);
            let kept = rest
                .len()
                .checked_sub(padding_bytes)
                .ok_or(ParseError::BadPadding)?;
            if padding_bytes == 0 {
                return Err(ParseError::BadPadding);
            }
            rest = &rest[..kept];
        }
        let header = Self {
            marker: kind & MARKER != 0,
            payload_type: kind & !MARKER,
            sequence_number: u16::from_be_bytes([seq_high, seq_low]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
        };
        Ok((header, rest))
    }
}

fn skip(bytes: &[u8], count: usize) -> Result<&[u8], ParseError> {
    bytes.get(count..).ok_or(ParseError::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the header agrees with what Asterisk sends. Method: first bytes of a captured packet.
    #[test]
    fn header_reads_and_writes_a_captured_packet() {
        let captured = [
            0x80, 0x76, 0x01, 0xe6, 0x00, 0x00, 0x01, 0x40, 0x7f, 0x7d, 0xd7, 0xc4,
        ];
        let packet = [&captured[..], &[0xc9, 0xcf]].concat();
        let (header, payload) = Header::parse(&packet).unwrap();
        assert_eq!((header.payload_type, header.marker), (118, false));
        assert_eq!((header.sequence_number, header.timestamp), (0x01e6, 320));
        assert_eq!(header.ssrc, 0x7f7d_d7c4);
        assert_eq!(payload, [0xc9, 0xcf]);
        assert_eq!(header.to_bytes(), captured);
    }

    /// Goal: every optional part is left out of the payload. Method: one packet with all of them.
    #[test]
    fn payload_is_found_between_the_optional_parts() {
        let fixed = [0xB1, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let csrc_extension = [9, 9, 9, 9, 0xBE, 0xDE, 0, 1, 7, 7, 7, 7];
        let packet = [&fixed[..], &csrc_extension, &[42, 43], &[0, 0, 3]].concat();
        let (header, payload) = Header::parse(&packet).unwrap();
        assert!(header.marker);
        assert_eq!(payload, [42, 43]);
    }

    /// Goal: no bytes make the parser fail otherwise than by its error. Method: every first byte
    /// and every length of a packet with all optional parts, and its payload never grows.
    #[test]
    fn parser_is_total() {
        for flags in 0..=u8::MAX {
            for length in 0..40 {
                let mut packet = vec![3; length];
                if let Some(first) = packet.first_mut() {
                    *first = flags;
                }
                if let Ok((_, payload)) = Header::parse(&packet) {
                    assert!(payload.len() + HEADER_BYTES <= packet.len());
                }
            }
        }
        assert_eq!(Header::parse(&[0x80; 11]), Err(ParseError::Truncated));
        assert_eq!(Header::parse(&[0x40; 12]), Err(ParseError::BadVersion));
        let zero_padding = [0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Header::parse(&zero_padding), Err(ParseError::BadPadding));
    }
}
