//! What the phone sends: one packet per frame, in the manner of Asterisk's ExternalMedia: random
//! first sequence number, timestamp and SSRC, steps without exception, the marker never set.

use crate::codec::{Encoder, UplinkCodec};
use crate::playlist::Playlist;
use crate::rtp::Header;

/// Makes the packets of one leg.
#[derive(Debug)]
pub struct Uplink {
    codec: UplinkCodec,
    encoder: Encoder,
    playlist: Playlist,
    next: Header,
    samples: Vec<i16>,
    packet: Vec<u8>,
}

impl Uplink {
    /// A leg that says the playlist; `random` chooses where its counters begin.
    pub fn new(codec: UplinkCodec, playlist: Playlist, random: &mut fastrand::Rng) -> Self {
        let next = Header {
            marker: false,
            payload_type: codec.payload_type(),
            sequence_number: random.u16(..),
            timestamp: random.u32(..),
            ssrc: random.u32(..),
        };
        let samples = vec![0; codec.frame_samples() as usize];
        Self {
            codec,
            encoder: codec.encoder(),
            playlist,
            next,
            samples,
            packet: Vec::new(),
        }
    }

    /// The packet of this frame; to be asked for each frame once, in order.
    pub fn packet(&mut self, frame: u64) -> &[u8] {
        self.playlist.fill(frame, &mut self.samples);
        self.packet.clear();
        self.packet.extend(self.next.to_bytes());
        self.encoder.encode(&self.samples, &mut self.packet);
        self.next.sequence_number = self.next.sequence_number.wrapping_add(1);
        self.next.timestamp = self.next.timestamp.wrapping_add(self.codec.frame_ticks());
        &self.packet
    }

    /// What it says.
    pub fn playlist(&self) -> &Playlist {
        &self.playlist
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: packets step as Asterisk's do. Method: three packets of a slin16 leg near both wraps.
    #[test]
    fn packets_step_as_measured() {
        let mut uplink = Uplink::new(
            UplinkCodec::Slin16,
            Playlist::new(Vec::new(), 320),
            &mut fastrand::Rng::with_seed(1),
        );
        uplink.next.sequence_number = u16::MAX;
        uplink.next.timestamp = u32::MAX - 319;
        let first = uplink.packet(0).to_vec();
        let second = uplink.packet(1).to_vec();
        assert_eq!((first.len(), first[0], first[1]), (652, 0x80, 118));
        let (first, _) = Header::parse(&first).unwrap();
        let (second, _) = Header::parse(&second).unwrap();
        assert_eq!((second.sequence_number, second.timestamp), (0, 0));
        assert_eq!(first.ssrc, second.ssrc);
    }
}
