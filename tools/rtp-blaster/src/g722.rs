//! G.722 at 64 kbit/s. The only file that knows which crate computes it; gated by vectors of
//! another implementation.

use std::fmt;

use audio_codec::{Decoder, Encoder};

/// Samples that one byte of G.722 holds: 16 kHz at 8000 bytes per second.
const SAMPLES_PER_BYTE: usize = 2;

/// One direction's encoder; its state runs through the whole stream.
pub struct G722Encoder(audio_codec::g722::G722Encoder);

impl G722Encoder {
    /// An encoder at the beginning of a stream.
    pub fn new() -> Self {
        Self(audio_codec::g722::G722Encoder::new())
    }

    /// Appends the bytes for an even number of samples at 16 kHz.
    pub fn encode(&mut self, samples: &[i16], payload: &mut Vec<u8>) {
        let begin = payload.len();
        payload.resize(begin + samples.len() / SAMPLES_PER_BYTE, 0);
        // It fails only for want of room, and there is room for all: half of the samples.
        let bytes = self.0.encode_into(samples, &mut payload[begin..]);
        payload.truncate(begin + bytes.unwrap_or(0));
    }
}

/// One direction's decoder; its state runs through the whole stream.
pub struct G722Decoder(audio_codec::g722::G722Decoder);

impl G722Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self(audio_codec::g722::G722Decoder::new())
    }

    /// Replaces `samples` by the payload's, at 16 kHz.
    pub fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>) {
        samples.clear();
        samples.resize(payload.len() * SAMPLES_PER_BYTE, 0);
        let count = self.0.decode_into(payload, samples);
        samples.truncate(count.unwrap_or(0));
    }
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for G722Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for G722Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("G722Encoder")
    }
}

impl fmt::Debug for G722Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("G722Decoder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by the PyPI package G722: see tests/data/make_g722_vectors.sh.
    const SOURCE: &[u8] = include_bytes!("../tests/data/g722_source.s16le");
    const ENCODED: &[u8] = include_bytes!("../tests/data/g722_encoded.u8");
    const DECODED: &[u8] = include_bytes!("../tests/data/g722_decoded.s16le");

    fn samples(bytes: &[u8]) -> Vec<i16> {
        let pairs = bytes.chunks_exact(2);
        pairs.map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
    }

    /// Goal: both directions, bit for bit. Method: a sweep, noise and full scale in frames of
    /// 20 ms, against vectors of an independent implementation.
    #[test]
    fn both_directions_agree_with_independent_vectors() {
        let mut encoder = G722Encoder::new();
        let mut encoded = Vec::new();
        for frame in samples(SOURCE).chunks_exact(320) {
            encoder.encode(frame, &mut encoded);
        }
        assert_eq!(encoded.len(), ENCODED.len());
        let differs = encoded.iter().zip(ENCODED).position(|(a, b)| a != b);
        assert_eq!(differs, None, "first byte that differs");

        let mut decoder = G722Decoder::new();
        let (mut decoded, mut frame) = (Vec::new(), Vec::new());
        for payload in ENCODED.chunks_exact(160) {
            decoder.decode(payload, &mut frame);
            decoded.extend_from_slice(&frame);
        }
        assert_eq!(decoded, samples(DECODED));
    }
}
