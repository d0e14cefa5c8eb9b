//! A sender of RTP, as a phone or Asterisk would be.

use std::vec::Vec;

use crate::codec::Encoder;
use crate::msg::Codec;
use crate::wire::rtp::{HEADER_BYTES, Marker, Repr, RtpTimestamp, Seq};

/// Makes packets of one stream; what is in their headers may be changed between them.
#[derive(Clone, Debug)]
pub struct Sender {
    codec: Codec,
    encoder: Encoder,
    /// Its synchronisation source.
    pub ssrc: u32,
    /// Of the next packet.
    pub sequence_number: Seq,
    /// Of the next packet.
    pub timestamp: RtpTimestamp,
}

impl Sender {
    /// A stream that begins at sequence number and timestamp 0.
    pub const fn new(codec: Codec) -> Self {
        Self {
            codec,
            encoder: Encoder::new(codec),
            ssrc: 1,
            sequence_number: Seq(0),
            timestamp: RtpTimestamp(0),
        }
    }

    /// What it sends.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// The next packet, carrying `samples`.
    pub fn packet(&mut self, samples: &[i16]) -> Vec<u8> {
        let header = Repr {
            payload_type: self.codec.payload_type(),
            marker: Marker::Clear,
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let mut bytes = std::vec![0; HEADER_BYTES + self.codec.payload_bytes(samples.len())];
        let (head, payload) = bytes.split_at_mut(HEADER_BYTES);
        header.emit(head.first_chunk_mut().expect("as long as a header"));
        self.encoder.encode(samples, payload);
        let units = samples.len() / self.codec.samples_per_unit();
        self.skip(1, units as u32);
        bytes
    }

    /// Leaves out so many packets and so much time.
    pub const fn skip(&mut self, packets: u16, units: u32) {
        self.sequence_number = self.sequence_number.plus(packets);
        self.timestamp = self.timestamp.plus(units);
    }
}
