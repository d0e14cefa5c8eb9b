//! G.711 µ-law and A-law, sample by sample, written from the recommendation's tables.

/// µ-law: the value added before the logarithm, on a 16-bit scale (G.711 table 2: 33 of 8159).
const ULAW_BIAS: i32 = 33 << 2;
/// µ-law: the largest magnitude that does not overflow the last segment.
const ULAW_MAGNITUDE_MAX: i32 = 32_767 - ULAW_BIAS;
/// µ-law sends all bits inverted.
const ULAW_INVERTED: u8 = 0xFF;
/// A-law sends every other bit inverted, and a set sign bit for positive values.
const ALAW_INVERTED: u8 = 0x55;
const SIGN: u8 = 0x80;
const MANTISSA: u8 = 0x0F;
/// Both laws: the top segment, in 0 ..= 7.
const SEGMENT_MASK: u8 = 0x07;

/// The µ-law code of a sample.
pub fn ulaw_from_linear(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(ULAW_MAGNITUDE_MAX) + ULAW_BIAS;
    let segment = magnitude.ilog2() - 7; // the bias makes it at least 132: bit 7 or above
    let mantissa = (magnitude >> (segment + 3)) as u8 & MANTISSA;
    let sign = if sample < 0 { SIGN } else { 0 };
    (sign | (segment as u8) << 4 | mantissa) ^ ULAW_INVERTED
}

/// The sample a µ-law code stands for.
pub fn linear_from_ulaw(code: u8) -> i16 {
    let code = code ^ ULAW_INVERTED;
    let segment = code >> 4 & SEGMENT_MASK;
    let magnitude = ((i32::from(code & MANTISSA) << 3) + ULAW_BIAS) << segment;
    let value = magnitude - ULAW_BIAS;
    if code & SIGN != 0 {
        -value as i16
    } else {
        value as i16
    }
}

/// The A-law code of a sample.
pub fn alaw_from_linear(sample: i16) -> u8 {
    // 13 bits with sign; negative values are mirrored at -½, so that each step has its own code.
    let value = sample >> 3;
    let (sign, magnitude) = if value < 0 {
        (0, !value)
    } else {
        (SIGN, value)
    };
    let segment = (magnitude.max(1).ilog2() as u8).saturating_sub(4);
    let mantissa = (magnitude >> segment.max(1)) as u8 & MANTISSA;
    (sign | segment << 4 | mantissa) ^ ALAW_INVERTED
}

/// The sample an A-law code stands for.
pub fn linear_from_alaw(code: u8) -> i16 {
    let code = code ^ ALAW_INVERTED;
    let segment = code >> 4 & SEGMENT_MASK;
    let step_middle = (i32::from(code & MANTISSA) << 4) + 8;
    let magnitude = if segment == 0 {
        step_middle
    } else {
        (step_middle + 256) << (segment - 1)
    };
    if code & SIGN != 0 {
        magnitude as i16
    } else {
        -magnitude as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by sox and by CPython's audioop: see tests/data/make_g711_vectors.sh.
    const ULAW_DECODED: &[u8; 512] = include_bytes!("../tests/data/ulaw_decoded.s16le");
    const ALAW_DECODED: &[u8; 512] = include_bytes!("../tests/data/alaw_decoded.s16le");
    const ULAW_ENCODED: &[u8; 4096] = include_bytes!("../tests/data/ulaw_encoded_ramp.u8");
    const ALAW_ENCODED: &[u8; 4096] = include_bytes!("../tests/data/alaw_encoded_ramp.u8");

    fn check_decoder(decode: fn(u8) -> i16, vectors: &[u8; 512]) {
        for (code, expected) in (0..=u8::MAX).zip(vectors.chunks_exact(2)) {
            let expected = i16::from_le_bytes([expected[0], expected[1]]);
            assert_eq!(decode(code), expected, "code {code:#04x}");
        }
    }

    fn check_encoder(encode: fn(i16) -> u8, vectors: &[u8; 4096]) {
        for (sample, &expected) in (i16::MIN..=i16::MAX).step_by(16).zip(vectors) {
            assert_eq!(encode(sample), expected, "sample {sample}");
        }
    }

    /// Goal: both laws, bit for bit. Method: all codes and a ramp, against sox and audioop.
    #[test]
    fn both_laws_agree_with_independent_vectors() {
        check_decoder(linear_from_ulaw, ULAW_DECODED);
        check_decoder(linear_from_alaw, ALAW_DECODED);
        check_encoder(ulaw_from_linear, ULAW_ENCODED);
        check_encoder(alaw_from_linear, ALAW_ENCODED);
    }

    /// Goal: what was encoded once survives any number of times. Method: every sample.
    #[test]
    fn a_second_pass_changes_nothing() {
        for sample in i16::MIN..=i16::MAX {
            let once = linear_from_ulaw(ulaw_from_linear(sample));
            assert_eq!(linear_from_ulaw(ulaw_from_linear(once)), once);
            let once = linear_from_alaw(alaw_from_linear(sample));
            assert_eq!(linear_from_alaw(alaw_from_linear(once)), once);
        }
    }
}
