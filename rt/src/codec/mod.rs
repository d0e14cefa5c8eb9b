//! Samples to payload bytes and back, for every codec Asterisk speaks to us.
//!
//! A decoder or encoder belongs to one direction of one leg, so that codecs with memory fit in; the
//! ones here today have none. Numbers of a codec (payload type, rates, sizes) are methods of
//! [`Codec`]. Nothing here can fail: callers hand over whole samples.

pub mod g711;
pub mod slin;

use crate::msg::Codec;

/// Payload to samples, for one leg.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    codec: Codec,
}

impl Decoder {
    /// A decoder at its start.
    pub const fn new(codec: Codec) -> Self {
        Self { codec }
    }

    /// Fills `samples` from as many whole samples of `payload`.
    ///
    /// # Panics
    /// In debug builds, if the two lengths do not agree.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn decode(&mut self, payload: &[u8], samples: &mut [i16]) {
        debug_assert_eq!(payload.len(), samples.len() * self.codec.bytes_per_sample());
        match self.codec {
            Codec::Alaw => g711::decode_alaw(payload, samples),
            Codec::Slin | Codec::Slin16 => slin::decode(payload, samples),
            Codec::Ulaw => g711::decode_ulaw(payload, samples),
        }
    }
}

/// Samples to payload, for one leg.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    codec: Codec,
}

impl Encoder {
    /// An encoder at its start.
    pub const fn new(codec: Codec) -> Self {
        Self { codec }
    }

    /// Fills `payload` from as many samples.
    ///
    /// # Panics
    /// In debug builds, if the two lengths do not agree.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn encode(&mut self, samples: &[i16], payload: &mut [u8]) {
        debug_assert_eq!(payload.len(), samples.len() * self.codec.bytes_per_sample());
        match self.codec {
            Codec::Alaw => g711::encode_alaw(samples, payload),
            Codec::Slin | Codec::Slin16 => slin::encode(samples, payload),
            Codec::Ulaw => g711::encode_ulaw(samples, payload),
        }
    }
}
