//! Samples to payload bytes and back, for every codec Asterisk speaks to us.
//!
//! A decoder or encoder belongs to one direction of one leg, since G.722 has a memory. Numbers of a
//! codec (payload type, rates, sizes) are methods of [`Codec`]. Nothing here can fail: callers hand
//! over whole units.

pub mod g711;
pub mod g722;
pub mod slin;

use crate::msg::Codec;

/// Payload to samples, for one leg.
#[derive(Clone, Debug)]
pub struct Decoder {
    codec: Codec,
    g722: g722::Decoder,
}

impl Decoder {
    /// A decoder at its start.
    pub const fn new(codec: Codec) -> Self {
        Self {
            codec,
            g722: g722::Decoder::new(),
        }
    }

    /// Fills `samples` from as many whole units of `payload`.
    ///
    /// # Panics
    /// In debug builds, if the two lengths do not agree.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn decode(&mut self, payload: &[u8], samples: &mut [i16]) {
        debug_assert_eq!(payload.len(), self.codec.payload_bytes(samples.len()));
        match self.codec {
            Codec::Alaw => g711::decode_alaw(payload, samples),
            Codec::G722 => self.g722.decode(payload, samples),
            Codec::Slin | Codec::Slin16 => slin::decode(payload, samples),
            Codec::Ulaw => g711::decode_ulaw(payload, samples),
        }
    }
}

/// Samples to payload, for one leg.
#[derive(Clone, Debug)]
pub struct Encoder {
    codec: Codec,
    g722: g722::Encoder,
}

impl Encoder {
    /// An encoder at its start.
    pub const fn new(codec: Codec) -> Self {
        Self {
            codec,
            g722: g722::Encoder::new(),
        }
    }

    /// Fills `payload` from as many samples.
    ///
    /// # Panics
    /// In debug builds, if the two lengths do not agree.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn encode(&mut self, samples: &[i16], payload: &mut [u8]) {
        debug_assert_eq!(payload.len(), self.codec.payload_bytes(samples.len()));
        match self.codec {
            Codec::Alaw => g711::encode_alaw(samples, payload),
            Codec::G722 => self.g722.encode(samples, payload),
            Codec::Slin | Codec::Slin16 => slin::encode(samples, payload),
            Codec::Ulaw => g711::encode_ulaw(samples, payload),
        }
    }
}
