//! G.722 at 64 kbit/s, written from the recommendation; its block names stand beside the code.
//!
//! ```text
//! 16 kHz ─▶ filter bank ─┬─ low band, 6 bits ──▶ one byte for
//!                        └─ high band, 2 bits ─▶ two samples
//! ```
//!
//! All arithmetic is on integers as the recommendation has it, so both directions are exact.

/// Taps of each half of the filter bank (G.722 table 11, every other coefficient).
const QMF_TAPS: usize = 12;
const QMF: [i32; QMF_TAPS] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
/// Scale of the filter bank on the way in and on the way out.
const QMF_SHIFT_ENCODE: u32 = 14;
const QMF_SHIFT_DECODE: u32 = 11;
/// Bits of a code that belong to the low band.
const LOW_BITS: u32 = 6;
const LOW_MASK: u8 = 0x3F;
const HIGH_MASK: u8 = 0x03;
/// Largest reconstructed sub-band sample (block LIMIT).
const BAND_MAX: i32 = 16_383;
const ZEROS: usize = 6;
const DECISIONS: usize = 30;

/// Decision levels of the low band's 6-bit quantizer (table 16).
const Q6: [i32; DECISIONS - 1] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Inverse quantizers: of 4 bits and 6 bits for the low band, of 2 bits for the high band.
const QM4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];
/// How a code moves its band's logarithmic scale: by 4 bits of the low band, 2 of the high one.
const SCALE_STEPS_LOW: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];
const SCALE_STEPS_HIGH: [i32; 4] = [798, -214, 798, -214];
/// Powers of two in steps of 1/32 (table 15).
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
/// The high band's only decision level.
const Q2: i32 = 564;

/// One direction's encoder; its state runs through the whole stream.
#[derive(Clone, Debug)]
pub struct G722Encoder {
    history: [i32; 2 * QMF_TAPS],
    low: Band,
    high: Band,
}

impl G722Encoder {
    /// An encoder at the beginning of a stream.
    pub fn new() -> Self {
        Self {
            history: [0; 2 * QMF_TAPS],
            low: Band::low(),
            high: Band::high(),
        }
    }

    /// Appends the bytes for an even number of samples at 16 kHz; an odd last one is left out.
    pub fn encode(&mut self, samples: &[i16], payload: &mut Vec<u8>) {
        let pairs = samples.chunks_exact(2);
        payload.extend(pairs.map(|pair| self.encode_pair(pair[0].into(), pair[1].into())));
    }

    fn encode_pair(&mut self, first: i32, second: i32) -> u8 {
        let (even, odd) = filter(&mut self.history, first, second);
        let low = (even + odd) >> QMF_SHIFT_ENCODE;
        let high = (even - odd) >> QMF_SHIFT_ENCODE;

        // SUBTRA and QUANTL.
        let error = saturate(low - self.low.signal);
        let magnitude = if error < 0 { !error } else { error };
        let is_below = |level: &i32| magnitude < (level * self.low.scale) >> 12;
        let interval = Q6.iter().position(is_below).unwrap_or(Q6.len()) as u8 + 1;
        let low_code = match (error < 0, interval) {
            (true, 1 | 2) => 64 - interval,
            (true, _) => 34 - interval,
            (false, _) => 62 - interval,
        };
        self.low.adapt_low(low_code);

        // The same for the high band: QUANTH.
        let error = saturate(high - self.high.signal);
        let magnitude = if error < 0 { !error } else { error };
        let is_far = magnitude >= (Q2 * self.high.scale) >> 12;
        let high_code = match (error < 0, is_far) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        self.high.adapt_high(high_code);
        high_code << LOW_BITS | low_code
    }
}

/// One direction's decoder; its state runs through the whole stream.
#[derive(Clone, Debug)]
pub struct G722Decoder {
    history: [i32; 2 * QMF_TAPS],
    low: Band,
    high: Band,
}

impl G722Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self {
            history: [0; 2 * QMF_TAPS],
            low: Band::low(),
            high: Band::high(),
        }
    }

    /// Replaces `samples` by the payload's, at 16 kHz: two for each byte.
    pub fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>) {
        samples.clear();
        samples.extend(payload.iter().flat_map(|code| self.decode_pair(*code)));
    }

    fn decode_pair(&mut self, code: u8) -> [i16; 2] {
        let (low_code, high_code) = (code & LOW_MASK, code >> LOW_BITS & HIGH_MASK);
        // INVQBL, RECONS and LIMIT: the listener hears all 6 bits, the predictor only 4.
        let difference = (self.low.scale * QM6[usize::from(low_code)]) >> 15;
        let low = limit(self.low.signal + difference);
        self.low.adapt_low(low_code);
        let difference = (self.high.scale * QM2[usize::from(high_code)]) >> 15;
        let high = limit(self.high.signal + difference);
        self.high.adapt_high(high_code);
        let (even, odd) = filter(&mut self.history, low + high, low - high);
        [even, odd].map(|sum| saturate(sum >> QMF_SHIFT_DECODE) as i16)
    }
}

/// Both halves of the filter bank, after two more samples: odd taps, even taps.
fn filter(history: &mut [i32; 2 * QMF_TAPS], first: i32, second: i32) -> (i32, i32) {
    history.copy_within(2.., 0);
    (history[22], history[23]) = (first, second);
    let (mut even, mut odd) = (0, 0);
    for (tap, pair) in history.chunks_exact(2).enumerate() {
        odd += pair[0] * QMF[tap];
        even += pair[1] * QMF[QMF_TAPS - 1 - tap];
    }
    (even, odd)
}

/// The adaptive predictor of one band; encoder and decoder run the same.
#[derive(Clone, Debug)]
struct Band {
    /// Prediction of the next sample (s), and its part by the zeros (sz).
    signal: i32,
    by_zeros: i32,
    /// The quantizer's scale (det) and its logarithm (nb).
    scale: i32,
    log_scale: i32,
    /// Reconstructed signal and partly reconstructed signal (r, p), the newest first.
    reconstructed: [i32; 2],
    partial: [i32; 2],
    /// Differences (d) and the zeros' coefficients (b).
    differences: [i32; ZEROS],
    zeros: [i32; ZEROS],
    /// The poles' coefficients (a).
    poles: [i32; 2],
}

impl Band {
    fn low() -> Self {
        Self::with_scale(32)
    }

    fn high() -> Self {
        Self::with_scale(8)
    }

    fn with_scale(scale: i32) -> Self {
        Self {
            signal: 0,
            by_zeros: 0,
            scale,
            log_scale: 0,
            reconstructed: [0; 2],
            partial: [0; 2],
            differences: [0; ZEROS],
            zeros: [0; ZEROS],
            poles: [0; 2],
        }
    }

    /// INVQAL, LOGSCL, SCALEL and the predictor.
    fn adapt_low(&mut self, code: u8) {
        let index = usize::from(code >> 2);
        let difference = (self.scale * QM4[index]) >> 15;
        self.rescale(SCALE_STEPS_LOW[index], 18_432, 8);
        self.predict(difference);
    }

    /// INVQAH, LOGSCH, SCALEH and the predictor.
    fn adapt_high(&mut self, code: u8) {
        let index = usize::from(code);
        let difference = (self.scale * QM2[index]) >> 15;
        self.rescale(SCALE_STEPS_HIGH[index], 22_528, 10);
        self.predict(difference);
    }

    fn rescale(&mut self, step: i32, log_scale_max: i32, shift: i32) {
        self.log_scale = (((self.log_scale * 127) >> 7) + step).clamp(0, log_scale_max);
        let fraction = ILB[(self.log_scale >> 6 & 31) as usize];
        let down = shift - (self.log_scale >> 11);
        let power = if down < 0 {
            fraction << -down
        } else {
            fraction >> down
        };
        self.scale = power << 2;
    }

    fn predict(&mut self, difference: i32) {
        let reconstructed = saturate(self.signal + difference); // RECONS
        let partial = saturate(self.by_zeros + difference); // PARREC
        self.adapt_poles(partial);
        self.adapt_zeros(difference);
        // DELAYA.
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];
        self.differences.copy_within(..ZEROS - 1, 1);
        self.differences[0] = difference;
        // FILTEP, FILTEZ, PREDIC.
        let times = |coefficient: i32, value: i32| (coefficient * saturate(2 * value)) >> 15;
        let by_poles = times(self.poles[0], self.reconstructed[0])
            + times(self.poles[1], self.reconstructed[1]);
        let zeros = self.zeros.iter().zip(self.differences);
        self.by_zeros = saturate(zeros.map(|(zero, d)| times(*zero, d)).sum());
        self.signal = saturate(saturate(by_poles) + self.by_zeros);
    }

    /// UPPOL2 and UPPOL1.
    fn adapt_poles(&mut self, partial: i32) {
        let has_sign_of = |other: i32| (partial < 0) == (other < 0);
        let gain = saturate(4 * self.poles[0]);
        let gain = if has_sign_of(self.partial[0]) {
            -gain
        } else {
            gain
        };
        let nudge = if has_sign_of(self.partial[1]) {
            128
        } else {
            -128
        };
        let second =
            (gain.min(i32::from(i16::MAX)) >> 7) + nudge + ((self.poles[1] * 32_512) >> 15);
        let second = second.clamp(-12_288, 12_288);
        let nudge = if has_sign_of(self.partial[0]) {
            192
        } else {
            -192
        };
        let first_max = saturate(15_360 - second);
        let first = saturate(nudge + ((self.poles[0] * 32_640) >> 15));
        self.poles = [first.clamp(-first_max, first_max), second];
    }

    /// UPZERO.
    fn adapt_zeros(&mut self, difference: i32) {
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, past) in self.zeros.iter_mut().zip(self.differences) {
            let is_same = (difference < 0) == (past < 0);
            let nudge = if is_same { step } else { -step };
            *zero = saturate(nudge + ((*zero * 32_640) >> 15));
        }
    }
}

/// To 16 bits.
fn saturate(value: i32) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}

/// To what a band may hold.
fn limit(value: i32) -> i32 {
    value.clamp(-BAND_MAX - 1, BAND_MAX)
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
