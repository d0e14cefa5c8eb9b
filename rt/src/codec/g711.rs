//! G.711 µ-law and A-law (ITU-T G.711), as tables one way and arithmetic the other.
//!
//! Both laws are a small floating-point number: sign, 3 bits of exponent, 4 of mantissa. So an
//! encoder needs no search: the sample's magnitude as `f32` carries those seven bits at a fixed
//! place, which costs a shift and vectorises. Exact, since magnitudes stay below 2²⁴.

/// µ-law works on 14 bits: two less than a sample has (G.711 table 2a).
const ULAW_SHIFT: u32 = 2;
/// Added to the magnitude so that every segment begins at a power of two (G.711 table 2a, 33).
const ULAW_BIAS: i16 = 33;
/// The largest biased magnitude: seven segments above the first, 13 bits.
const ULAW_MAGNITUDE_MAX: i16 = (1 << 13) - 1;

/// A-law works on 13 bits (G.711 table 1a).
const ALAW_SHIFT: u32 = 3;
/// Below this magnitude A-law is linear in steps of two.
const ALAW_LINEAR_END: i16 = 32;
/// Even bits are inverted on the wire (G.711 §3.2, table 1a note 2).
const ALAW_INVERSION: u8 = 0x55;

const SIGN_BIT: u8 = 0x80;
const MANTISSA_BITS: u32 = 4;
const MANTISSA_MASK: u8 = 0x0f;
const SEGMENT_MASK: u8 = 0x07;

const ULAW_SAMPLES: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    loop {
        table[code as usize] = ulaw_sample(code);
        if code == u8::MAX {
            break table;
        }
        code += 1;
    }
};

const ALAW_SAMPLES: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    loop {
        table[code as usize] = alaw_sample(code);
        if code == u8::MAX {
            break table;
        }
        code += 1;
    }
};

/// One sample for each code, until either side ends.
///
/// # Real-time
/// Wait-free, no allocation.
pub fn decode_ulaw(payload: &[u8], samples: &mut [i16]) {
    for (sample, code) in samples.iter_mut().zip(payload) {
        *sample = ULAW_SAMPLES[usize::from(*code)];
    }
}

/// One sample for each code, until either side ends.
///
/// # Real-time
/// Wait-free, no allocation.
pub fn decode_alaw(payload: &[u8], samples: &mut [i16]) {
    for (sample, code) in samples.iter_mut().zip(payload) {
        *sample = ALAW_SAMPLES[usize::from(*code)];
    }
}

/// One code for each sample, until either side ends.
///
/// # Real-time
/// Wait-free, no allocation.
pub fn encode_ulaw(samples: &[i16], payload: &mut [u8]) {
    for (code, sample) in payload.iter_mut().zip(samples) {
        *code = ulaw_code(*sample);
    }
}

/// One code for each sample, until either side ends.
///
/// # Real-time
/// Wait-free, no allocation.
pub fn encode_alaw(samples: &[i16], payload: &mut [u8]) {
    for (code, sample) in payload.iter_mut().zip(samples) {
        *code = alaw_code(*sample);
    }
}

fn ulaw_code(sample: i16) -> u8 {
    let reduced = sample >> ULAW_SHIFT;
    let magnitude = (reduced.abs() + ULAW_BIAS).min(ULAW_MAGNITUDE_MAX);
    let sign = if sample < 0 { 0 } else { SIGN_BIT };
    // All seven bits are inverted on the wire, the sign is set for positive (G.711 table 2a).
    sign | (!segment_and_mantissa(magnitude, ULAW_BIAS.ilog2()) & !SIGN_BIT)
}

fn alaw_code(sample: i16) -> u8 {
    let reduced = sample >> ALAW_SHIFT;
    // Ones' complement: -1 is the smallest negative step, as 0 is the smallest positive one.
    let magnitude = if reduced < 0 { !reduced } else { reduced };
    let sign = if sample < 0 { 0 } else { SIGN_BIT };
    let linear = magnitude.to_le_bytes()[0] >> 1;
    // Segment 1 begins where the linear part ends: its exponent counts from one below.
    let curved = segment_and_mantissa(magnitude.max(ALAW_LINEAR_END), ALAW_LINEAR_END.ilog2() - 1);
    let code = if magnitude < ALAW_LINEAR_END {
        linear
    } else {
        curved
    };
    (sign | code) ^ ALAW_INVERSION
}

/// Exponent above `exponent_zero` (3 bits) and the 4 bits below the leading one of `magnitude`.
fn segment_and_mantissa(magnitude: i16, exponent_zero: u32) -> u8 {
    const F32_MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;
    const F32_EXPONENT_BIAS: u32 = 127;
    let bits = f32::from(magnitude).to_bits() >> (F32_MANTISSA_BITS - MANTISSA_BITS);
    (bits.wrapping_sub((F32_EXPONENT_BIAS + exponent_zero) << MANTISSA_BITS)).to_le_bytes()[0]
}

const fn ulaw_sample(code: u8) -> i16 {
    let code = !code;
    let segment = (code >> MANTISSA_BITS) & SEGMENT_MASK;
    let mantissa = (code & MANTISSA_MASK) as i16;
    // The middle of the quantising step, bias taken off again.
    let magnitude = (((mantissa << 1) + ULAW_BIAS) << segment) - ULAW_BIAS;
    let sample = magnitude << ULAW_SHIFT;
    if code & SIGN_BIT != 0 {
        -sample
    } else {
        sample
    }
}

const fn alaw_sample(code: u8) -> i16 {
    let code = code ^ ALAW_INVERSION;
    let segment = (code >> MANTISSA_BITS) & SEGMENT_MASK;
    let mantissa = (code & MANTISSA_MASK) as i16;
    let magnitude = match segment {
        0 => (mantissa << 1) + 1,
        _ => ((mantissa << 1) + 1 + ALAW_LINEAR_END) << (segment - 1),
    };
    let sample = magnitude << ALAW_SHIFT;
    if code & SIGN_BIT != 0 {
        sample
    } else {
        -sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_way_there_and_back() {
        for code in 0..=u8::MAX {
            let ulaw = ulaw_code(ulaw_sample(code));
            // Both zeros of µ-law are the same sample.
            assert_eq!(ulaw, if code == 0x7f { 0xff } else { code });
            assert_eq!(alaw_code(alaw_sample(code)), code);
        }
    }

    #[test]
    fn silence_is_the_code_that_phones_expect() {
        assert_eq!(ulaw_code(0), 0xff);
        assert_eq!(alaw_code(0), 0xd5);
    }
}
