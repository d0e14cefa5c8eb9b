//! The formats of an ExternalMedia leg, as Asterisk 22.10.1 was measured to use them: what it
//! sends for each `format`, and which payload types it takes back.

use crate::g711;
use crate::g722::{G722Decoder, G722Encoder};

/// One frame lasts this long, in every format.
pub const FRAME_MS: u32 = 20;
/// All formats Asterisk takes back count timestamps at 8 kHz: 160 per frame.
pub const DOWNLINK_FRAME_TICKS: u32 = 160;
/// Sample rate of everything this phone understands on the downlink.
pub const DOWNLINK_SAMPLE_RATE: u32 = 8_000;
/// The highest static payload type (RFC 3551 table 5): Asterisk drops RTP above it silently.
pub const STATIC_PAYLOAD_TYPE_MAX: u8 = 34;

const PAYLOAD_TYPE_PCMU: u8 = 0;
const PAYLOAD_TYPE_PCMA: u8 = 8;
const PAYLOAD_TYPE_G722: u8 = 9;
const PAYLOAD_TYPE_SLIN: u8 = 10;
const PAYLOAD_TYPE_SLIN_MONO: u8 = 11;
/// Asterisk's own number for 16 kHz linear audio.
const PAYLOAD_TYPE_SLIN16: u8 = 118;

/// What a leg sends, named as in `format=` of ExternalMedia (`ulaw` and `alaw` too).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UplinkCodec {
    /// G.722 at 64 kbit/s, payload type 9: samples at 16 kHz, stamps at 8 kHz (RFC 3551 §4.5.2).
    G722,
    /// G.711 A-law, payload type 8.
    Pcma,
    /// G.711 µ-law, payload type 0.
    Pcmu,
    /// 8 kHz linear, big endian, payload type 10.
    Slin,
    /// 16 kHz linear, big endian, payload type 118.
    Slin16,
}

impl UplinkCodec {
    /// The codec of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "alaw" | "pcma" => Some(Self::Pcma),
            "g722" => Some(Self::G722),
            "pcmu" | "ulaw" => Some(Self::Pcmu),
            "slin" => Some(Self::Slin),
            "slin16" => Some(Self::Slin16),
            _ => None,
        }
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::G722 => "g722",
            Self::Pcma => "pcma",
            Self::Pcmu => "pcmu",
            Self::Slin => "slin",
            Self::Slin16 => "slin16",
        }
    }

    /// The payload type Asterisk sends it with.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::G722 => PAYLOAD_TYPE_G722,
            Self::Pcma => PAYLOAD_TYPE_PCMA,
            Self::Pcmu => PAYLOAD_TYPE_PCMU,
            Self::Slin => PAYLOAD_TYPE_SLIN,
            Self::Slin16 => PAYLOAD_TYPE_SLIN16,
        }
    }

    /// Samples per second.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcma | Self::Pcmu | Self::Slin => 8_000,
            Self::G722 | Self::Slin16 => 16_000,
        }
    }

    /// Samples in one frame: 160 or 320.
    pub const fn frame_samples(self) -> u32 {
        self.sample_rate() * FRAME_MS / 1000
    }

    /// Steps of the RTP clock in one frame: as many as samples, but for G.722.
    pub const fn frame_ticks(self) -> u32 {
        match self {
            Self::G722 => DOWNLINK_FRAME_TICKS,
            Self::Pcma | Self::Pcmu | Self::Slin | Self::Slin16 => self.frame_samples(),
        }
    }

    /// Bytes of one frame's payload.
    pub const fn frame_bytes(self) -> usize {
        match self {
            Self::G722 | Self::Pcma | Self::Pcmu => 160,
            Self::Slin | Self::Slin16 => self.frame_samples() as usize * 2,
        }
    }

    /// An encoder at the beginning of a stream.
    pub fn encoder(self) -> Encoder {
        match self {
            Self::G722 => Encoder::G722(Box::default()),
            Self::Pcma => Encoder::Pcma,
            Self::Pcmu => Encoder::Pcmu,
            Self::Slin | Self::Slin16 => Encoder::Linear,
        }
    }
}

/// Turns the samples of one stream into payloads.
#[derive(Debug)]
pub enum Encoder {
    /// G.722.
    G722(Box<G722Encoder>),
    /// 16 bits, big endian, at any rate.
    Linear,
    /// G.711 A-law.
    Pcma,
    /// G.711 µ-law.
    Pcmu,
}

impl Encoder {
    /// Appends the payload for these samples.
    pub fn encode(&mut self, samples: &[i16], payload: &mut Vec<u8>) {
        match self {
            Self::G722(encoder) => encoder.encode(samples, payload),
            Self::Linear => payload.extend(samples.iter().flat_map(|sample| sample.to_be_bytes())),
            Self::Pcma => payload.extend(samples.iter().map(|&s| g711::alaw_from_linear(s))),
            Self::Pcmu => payload.extend(samples.iter().map(|&s| g711::ulaw_from_linear(s))),
        }
    }
}

/// What an instrument makes of any payload type a gateway or an echo may send back.
#[derive(Debug)]
pub struct Ear {
    g722: G722Decoder,
}

impl Ear {
    /// An ear at the beginning of a stream.
    pub fn new() -> Self {
        Self {
            g722: G722Decoder::new(),
        }
    }

    /// Replaces `samples` by the payload's and returns their rate in Hz; none for what it cannot
    /// hear.
    pub fn hear(
        &mut self,
        payload_type: u8,
        payload: &[u8],
        samples: &mut Vec<i16>,
    ) -> Option<u32> {
        match payload_type {
            PAYLOAD_TYPE_G722 => {
                self.g722.decode(payload, samples);
                Some(UplinkCodec::G722.sample_rate())
            }
            PAYLOAD_TYPE_SLIN16 => {
                DownlinkCodec::Slin.decode(payload, samples);
                Some(UplinkCodec::Slin16.sample_rate())
            }
            _ => {
                DownlinkCodec::from_payload_type(payload_type)?.decode(payload, samples);
                Some(DOWNLINK_SAMPLE_RATE)
            }
        }
    }
}

impl Default for Ear {
    fn default() -> Self {
        Self::new()
    }
}

/// Steps of the RTP clock in one frame of this payload type.
pub const fn frame_ticks_of(payload_type: u8) -> u32 {
    if payload_type == PAYLOAD_TYPE_SLIN16 {
        UplinkCodec::Slin16.frame_ticks()
    } else {
        DOWNLINK_FRAME_TICKS
    }
}

/// What the phone makes of a payload type that comes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DownlinkCodec {
    /// G.711 A-law.
    Pcma,
    /// G.711 µ-law.
    Pcmu,
    /// 8 kHz linear, big endian, under payload types 10 and 11.
    Slin,
}

impl DownlinkCodec {
    /// The codec of a payload type; none for what the phone cannot play.
    pub const fn from_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            PAYLOAD_TYPE_PCMU => Some(Self::Pcmu),
            PAYLOAD_TYPE_PCMA => Some(Self::Pcma),
            PAYLOAD_TYPE_SLIN | PAYLOAD_TYPE_SLIN_MONO => Some(Self::Slin),
            _ => None,
        }
    }

    /// Replaces `samples` by the payload's; an odd last byte of linear audio is left out.
    pub fn decode(self, payload: &[u8], samples: &mut Vec<i16>) {
        samples.clear();
        match self {
            Self::Pcma => samples.extend(payload.iter().map(|&c| g711::linear_from_alaw(c))),
            Self::Pcmu => samples.extend(payload.iter().map(|&c| g711::linear_from_ulaw(c))),
            Self::Slin => samples.extend(
                payload
                    .chunks_exact(2)
                    .map(|pair| i16::from_be_bytes([pair[0], pair[1]])),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: sizes on the wire are Asterisk's. Method: the measured table.
    #[test]
    fn frames_have_the_measured_sizes() {
        let measured = [
            ("slin16", 118, 640),
            ("slin", 10, 320),
            ("ulaw", 0, 160),
            ("alaw", 8, 160),
            ("g722", 9, 160),
        ];
        for (name, payload_type, bytes) in measured {
            let codec = UplinkCodec::from_name(name).unwrap();
            let mut payload = Vec::new();
            let silence = vec![0; codec.frame_samples() as usize];
            codec.encoder().encode(&silence, &mut payload);
            assert_eq!(payload.len(), codec.frame_bytes(), "{name}");
            assert_eq!(
                (codec.payload_type(), payload.len()),
                (payload_type, bytes),
                "{name}"
            );
        }
    }

    /// Goal: linear audio is big endian both ways. Method: one sample with two different bytes.
    #[test]
    fn linear_is_big_endian() {
        let (mut payload, mut samples) = (Vec::new(), Vec::new());
        UplinkCodec::Slin16
            .encoder()
            .encode(&[0x0102], &mut payload);
        assert_eq!(payload, [1, 2]);
        DownlinkCodec::Slin.decode(&[1, 2, 3], &mut samples);
        assert_eq!(samples, [0x0102]);
    }
}
