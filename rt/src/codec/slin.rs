//! Signed linear 16 bit, big endian: RFC 3551 §4.5.11 (L16), and Asterisk's slin and slin16.

const SAMPLE_BYTES: usize = 2;

/// Two bytes to one sample, until either side ends.
///
/// # Real-time
/// Wait-free, no allocation.
pub fn decode(payload: &[u8], samples: &mut [i16]) {
    for (sample, bytes) in samples.iter_mut().zip(payload.chunks_exact(SAMPLE_BYTES)) {
        *sample = i16::from_be_bytes([bytes[0], bytes[1]]);
    }
}

/// One sample to two bytes, until either side ends.
///
/// # Real-time
/// Wait-free, no allocation.
pub fn encode(samples: &[i16], payload: &mut [u8]) {
    for (bytes, sample) in payload.chunks_exact_mut(SAMPLE_BYTES).zip(samples) {
        bytes.copy_from_slice(&sample.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_byte_comes_first() {
        let mut payload = [0; 4];
        encode(&[0x0102, -2], &mut payload);
        assert_eq!(payload, [0x01, 0x02, 0xff, 0xfe]);
        let mut samples = [0; 2];
        decode(&payload, &mut samples);
        assert_eq!(samples, [0x0102, -2]);
    }
}
