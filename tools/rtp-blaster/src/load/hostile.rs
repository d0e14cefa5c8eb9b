//! Packets no gateway should be moved by: malformed ones from a leg's own address, and good ones
//! from addresses that are no leg's. Pure and seeded.

use crate::rtp::{HEADER_BYTES, Header};

/// Addresses the spoofed packets come from.
pub const STRANGERS: usize = 4;
const PAYLOAD_BYTES: usize = 160;
const RANDOM_BYTES_MAX: usize = 300;
const VERSION_1: u8 = 0x40;
const CSRC_COUNT_15: u8 = 0x0F;
const EXTENSION: u8 = 0x10;
const PADDING: u8 = 0x20;
/// Ways to be malformed that this module knows.
const MALFORMATIONS: u8 = 7;

/// Makes hostile packets; each call gives the next.
#[derive(Debug)]
pub struct Hostile {
    random: fastrand::Rng,
    next_malformation: u8,
    packet: Vec<u8>,
}

impl Hostile {
    /// A source whose chances follow the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            next_malformation: 0,
            packet: Vec::with_capacity(HEADER_BYTES + RANDOM_BYTES_MAX),
        }
    }

    /// Any number below `count`.
    pub fn choose(&mut self, count: usize) -> usize {
        self.random.usize(..count)
    }

    /// A datagram that is not RTP, each kind in turn; `header` is what would be right.
    pub fn malformed(&mut self, header: Header) -> &[u8] {
        self.begin(header);
        match self.next_malformation {
            0 => self.packet.truncate(self.random.usize(1..HEADER_BYTES)),
            1 => self.packet[0] = VERSION_1,
            2 => {
                self.packet[0] |= CSRC_COUNT_15;
                self.packet.truncate(HEADER_BYTES + 2);
            }
            3 => {
                // An extension of 65 535 words.
                self.packet[0] |= EXTENSION;
                self.packet.truncate(HEADER_BYTES);
                self.packet.extend([0xBE, 0xDE, 0xFF, 0xFF]);
            }
            4 => {
                self.packet[0] |= PADDING;
                self.packet.extend([0]);
            }
            5 => {
                self.packet[0] |= PADDING;
                self.packet.extend([u8::MAX]);
            }
            _ => {
                // Random bytes, but never version 2: that could be RTP by chance.
                self.packet.clear();
                let bytes = self.random.usize(1..RANDOM_BYTES_MAX);
                self.packet.extend((0..bytes).map(|_| self.random.u8(..)));
                self.packet[0] &= !0x80;
            }
        }
        self.next_malformation = (self.next_malformation + 1) % MALFORMATIONS;
        &self.packet
    }

    /// Good RTP, to be sent from a stranger's address: every other one claims to be the leg.
    pub fn spoofed(&mut self, header: Header) -> &[u8] {
        let is_forged = self.random.bool();
        let own = Header {
            sequence_number: self.random.u16(..),
            timestamp: self.random.u32(..),
            ssrc: self.random.u32(..),
            ..header
        };
        self.begin(if is_forged { header } else { own });
        &self.packet
    }

    fn begin(&mut self, header: Header) {
        self.packet.clear();
        self.packet.extend(header.to_bytes());
        // Loud noise: whoever plays it hears it.
        let noise = (0..PAYLOAD_BYTES).map(|_| self.random.u8(..));
        self.packet.extend(noise);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        marker: false,
        payload_type: 0,
        sequence_number: 1,
        timestamp: 2,
        ssrc: 3,
    };

    /// Goal: malformed packets are, and spoofed ones are not. Method: a thousand of each.
    #[test]
    fn malformed_is_no_rtp_and_spoofed_is() {
        let mut hostile = Hostile::new(1);
        let mut forged = 0;
        for number in 0..1_000 {
            let packet = hostile.malformed(HEADER);
            assert!(
                Header::parse(packet).is_err(),
                "packet {number}: {packet:02x?}"
            );
            let (header, payload) = Header::parse(hostile.spoofed(HEADER)).unwrap();
            assert_eq!(payload.len(), 160);
            forged += u32::from(header == HEADER);
        }
        assert!((400..600).contains(&forged));
    }
}
