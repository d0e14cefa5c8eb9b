//! G.722 at 64 kbit/s (ITU-T G.722, mode 1): 16 kHz samples in two bands of adaptive differences.
//!
//! Written from the block diagrams of the Recommendation; names in quotes are its blocks. A byte is
//! two samples: six bits of the band below 4 kHz, two of the band above. An encoder or decoder has
//! memory and belongs to one direction of one leg. Nothing here can fail.
//!
//! Not taken from a crate: the one that would do allocates in a build without `std`, asks for a
//! newer compiler, and costs three times as much as the frame's whole budget.
//!
//! ```text
//! samples ─▶ QMF ─┬─ low  ─▶ Band: 6 bits ─┐
//!                 └─ high ─▶ Band: 2 bits ─┴─▶ byte        and back
//! ```

/// Samples of one byte.
const SAMPLES_PER_CODE: usize = 2;
/// Bytes handled in one go: 20 ms. Longer payloads take several.
const BLOCK: usize = 160;
/// Taps of each of the two phases of the quadrature mirror filter.
const QMF_TAPS: usize = 12;
const QMF_MEMORY: usize = QMF_TAPS - 1;
/// Every second coefficient of the filter, times 2¹³ (G.722 table 11); the others are these
/// backwards.
const QMF: [i16; QMF_TAPS] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
/// 2¹³ of the coefficients, and half, since a band is kept in 15 bits.
const ANALYSIS_SHIFT: u32 = 14;
/// 2¹³ of the coefficients, doubled twice: for the half above and for the sample between.
const SYNTHESIS_SHIFT: u32 = 11;
/// A band's sound is 15 bits wide ("LIMIT").
const BAND_MAX: i32 = 16_383;

/// Thresholds of the low band's quantiser in units of its scale ("QUANTL", table 14).
const LOW_THRESHOLDS: [i16; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// The first value that is above every threshold.
const LOW_RATIO_END: usize = 2920;
/// Thresholds at or below a ratio of difference to scale: a search made beforehand.
const LOW_LEVELS: [u8; LOW_RATIO_END] = low_levels();
/// The one threshold of the high band ("QUANTH").
const HIGH_THRESHOLD: i32 = 564;

/// What the six bits mean, in units of the scale ("INVQBL", table 16).
const LOW_VALUES: [i16; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
/// What the upper four of them mean, by which both ends adapt ("INVQAL").
const LOW_VALUES_COARSE: [i16; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
/// How far those four move the scale's logarithm ("LOGSCL").
const LOW_SCALE_STEPS: [i16; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];
/// What the two bits mean ("INVQAH").
const HIGH_VALUES: [i16; 4] = [-7408, -1616, 7408, 1616];
/// How far they move the scale's logarithm ("LOGSCH").
const HIGH_SCALE_STEPS: [i16; 4] = [798, -214, 798, -214];
/// 2048 · 2^(n/32), the mantissas of a scale ("SCALEL", table 17).
const MANTISSAS: [i16; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// Memories of a predictor's zero section; two more than the six there are, for whole vectors.
const ZEROS: usize = 8;

/// Samples to bytes for one stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encoder {
    /// The last samples of either phase, oldest first.
    memory: [[i16; QMF_MEMORY]; 2],
    bands: Bands,
}

/// Bytes to samples for one stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The last sums and differences of the bands, oldest first.
    memory: [[i16; QMF_MEMORY]; 2],
    bands: Bands,
}

impl Encoder {
    /// At rest, as if silence had gone before.
    pub const fn new() -> Self {
        Self {
            memory: [[0; QMF_MEMORY]; 2],
            bands: Bands::new(),
        }
    }

    /// One byte for every two samples, until either side ends.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn encode(&mut self, samples: &[i16], payload: &mut [u8]) {
        let blocks = samples.chunks(BLOCK * SAMPLES_PER_CODE);
        for (samples, payload) in blocks.zip(payload.chunks_mut(BLOCK)) {
            self.encode_block(samples, payload);
        }
    }

    fn encode_block(&mut self, samples: &[i16], payload: &mut [u8]) {
        let [mut early, mut late] = [[0; QMF_MEMORY + BLOCK]; 2];
        early[..QMF_MEMORY].copy_from_slice(&self.memory[0]);
        late[..QMF_MEMORY].copy_from_slice(&self.memory[1]);
        let count = payload.len().min(samples.len() / SAMPLES_PER_CODE);
        let pairs = samples.as_chunks::<SAMPLES_PER_CODE>().0;
        let phases = early[QMF_MEMORY..].iter_mut().zip(&mut late[QMF_MEMORY..]);
        for ((early, late), pair) in phases.zip(&pairs[..count]) {
            [*early, *late] = *pair;
        }
        let (mut even, mut odd) = ([0; BLOCK], [0; BLOCK]);
        convolve(&late, Taps::NewestFirst, &mut even);
        convolve(&early, Taps::OldestFirst, &mut odd);
        for ((code, even), odd) in payload.iter_mut().zip(even).zip(odd).take(count) {
            let low = (even + odd) >> ANALYSIS_SHIFT;
            let high = (even - odd) >> ANALYSIS_SHIFT;
            *code = self.bands.encode(low, high);
        }
        self.memory[0].copy_from_slice(&early[count..count + QMF_MEMORY]);
        self.memory[1].copy_from_slice(&late[count..count + QMF_MEMORY]);
    }
}

impl Decoder {
    /// At rest, as if silence had gone before.
    pub const fn new() -> Self {
        Self {
            memory: [[0; QMF_MEMORY]; 2],
            bands: Bands::new(),
        }
    }

    /// Two samples for every byte, until either side ends.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn decode(&mut self, payload: &[u8], samples: &mut [i16]) {
        let blocks = samples.chunks_mut(BLOCK * SAMPLES_PER_CODE);
        for (payload, samples) in payload.chunks(BLOCK).zip(blocks) {
            self.decode_block(payload, samples);
        }
    }

    fn decode_block(&mut self, payload: &[u8], samples: &mut [i16]) {
        let [mut sums, mut differences] = [[0; QMF_MEMORY + BLOCK]; 2];
        sums[..QMF_MEMORY].copy_from_slice(&self.memory[0]);
        differences[..QMF_MEMORY].copy_from_slice(&self.memory[1]);
        let count = payload.len().min(samples.len() / SAMPLES_PER_CODE);
        let slots = sums[QMF_MEMORY..]
            .iter_mut()
            .zip(&mut differences[QMF_MEMORY..]);
        for ((sum, difference), code) in slots.zip(&payload[..count]) {
            let (low, high) = self.bands.decode(*code);
            // Two values of 15 bits: neither leaves 16.
            *sum = saturate(low + high);
            *difference = saturate(low - high);
        }
        let (mut first, mut second) = ([0; BLOCK], [0; BLOCK]);
        convolve(&differences, Taps::NewestFirst, &mut first);
        convolve(&sums, Taps::OldestFirst, &mut second);
        let pairs = samples.as_chunks_mut::<SAMPLES_PER_CODE>().0;
        for ((pair, first), second) in pairs.iter_mut().zip(first).zip(second).take(count) {
            *pair = [first, second].map(|sum| saturate(sum >> SYNTHESIS_SHIFT));
        }
        self.memory[0].copy_from_slice(&sums[count..count + QMF_MEMORY]);
        self.memory[1].copy_from_slice(&differences[count..count + QMF_MEMORY]);
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Which end of a phase meets the first of [`QMF`].
#[derive(Clone, Copy, Debug)]
enum Taps {
    NewestFirst,
    OldestFirst,
}

/// One phase of the filter over a block, several outputs at a time so that they share vectors.
fn convolve(line: &[i16; QMF_MEMORY + BLOCK], taps: Taps, out: &mut [i32; BLOCK]) {
    const LANES: usize = 16;
    const _: () = assert!(BLOCK.is_multiple_of(LANES));
    for (start, block) in (0..BLOCK)
        .step_by(LANES)
        .zip(out.as_chunks_mut::<LANES>().0)
    {
        let mut sums = [0; LANES];
        for k in 0..QMF_TAPS {
            let tap = match taps {
                Taps::NewestFirst => QMF[QMF_TAPS - 1 - k],
                Taps::OldestFirst => QMF[k],
            };
            let from = &line[start + k..start + k + LANES];
            for (sum, sample) in sums.iter_mut().zip(from) {
                *sum += i32::from(tap) * i32::from(*sample);
            }
        }
        *block = sums;
    }
}

/// Both bands of one stream.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Bands {
    low: Band,
    high: Band,
}

impl Bands {
    const fn new() -> Self {
        /// G.722 table 8: both scales at their smallest.
        const LOW_SCALE: i32 = 32;
        const HIGH_SCALE: i32 = 8;
        Self {
            low: Band::new(LOW_SCALE),
            high: Band::new(HIGH_SCALE),
        }
    }

    fn encode(&mut self, low: i32, high: i32) -> u8 {
        let low_code = self.low.quantise_low(low);
        let high_code = self.high.quantise_high(high);
        self.adapt(low_code, high_code);
        high_code << 6 | low_code
    }

    fn decode(&mut self, code: u8) -> (i32, i32) {
        let (low_code, high_code) = (code & 0x3f, code >> 6);
        let low = self.low.prediction + self.low.scaled(LOW_VALUES[usize::from(low_code)]);
        let high = self.high.prediction + self.high.scaled(HIGH_VALUES[usize::from(high_code)]);
        self.adapt(low_code, high_code);
        [low, high]
            .map(|band| band.clamp(-BAND_MAX - 1, BAND_MAX))
            .into()
    }

    /// Both ends do this alike, so that they stay in step.
    fn adapt(&mut self, low_code: u8, high_code: u8) {
        /// How far the scale's logarithm may go, and the place of its point ("LOGSCL", "SCALEL").
        const LOW_LOG_MAX: i32 = 18_432;
        const LOW_POINT: i32 = 8;
        const HIGH_LOG_MAX: i32 = 22_528;
        const HIGH_POINT: i32 = 10;
        let coarse = usize::from(low_code >> 2);
        let difference = self.low.scaled(LOW_VALUES_COARSE[coarse]);
        self.low
            .rescale(LOW_SCALE_STEPS[coarse], LOW_LOG_MAX, LOW_POINT);
        self.low.predict(difference);
        let code = usize::from(high_code);
        let difference = self.high.scaled(HIGH_VALUES[code]);
        self.high
            .rescale(HIGH_SCALE_STEPS[code], HIGH_LOG_MAX, HIGH_POINT);
        self.high.predict(difference);
    }
}

/// The adaptive predictor and quantiser of one band ("block 3" and "block 4").
#[derive(Clone, Debug, Eq, PartialEq)]
struct Band {
    /// What the next sample is expected to be.
    prediction: i32,
    /// The part of it that comes from past differences.
    zero_part: i32,
    /// The last two reconstructed samples, newest first.
    samples: [i32; 2],
    /// The last two of them without the poles' part, newest first.
    partial: [i32; 2],
    /// The poles' coefficients, times 2¹⁴.
    poles: [i32; 2],
    /// The last six differences, doubled, newest first; then two that stay 0.
    differences: [i16; ZEROS],
    /// The zeros' coefficients, times 2¹⁴; the last two meet nothing.
    zeros: [i16; ZEROS],
    /// Logarithm of the scale, in 1/2048 of a factor of two.
    log_scale: i32,
    /// The quantiser's scale.
    scale: i32,
}

impl Band {
    const fn new(scale: i32) -> Self {
        Self {
            prediction: 0,
            zero_part: 0,
            samples: [0; 2],
            partial: [0; 2],
            poles: [0; 2],
            differences: [0; ZEROS],
            zeros: [0; ZEROS],
            log_scale: 0,
            scale,
        }
    }

    const fn scaled(&self, value: i16) -> i32 {
        (self.scale * value as i32) >> 15
    }

    /// "SUBTRA" and "QUANTL".
    fn quantise_low(&self, sample: i32) -> u8 {
        let difference = i32::from(saturate(sample - self.prediction));
        // The level is how many thresholds t have (t · scale) >> 12 at or below the magnitude,
        // which is to say t at or below this ratio.
        let reach = ((magnitude(difference) + 1) << 12) - 1;
        let ratio = usize::try_from(reach / self.scale.max(1)).unwrap_or(0);
        let level = LOW_LEVELS[ratio.min(LOW_RATIO_END - 1)];
        match (difference < 0, level) {
            (false, level) => 61 - level,
            (true, 0 | 1) => 63 - level,
            (true, level) => 33 - level,
        }
    }

    /// "SUBTRA" and "QUANTH".
    fn quantise_high(&self, sample: i32) -> u8 {
        let difference = i32::from(saturate(sample - self.prediction));
        let is_large = magnitude(difference) >= (HIGH_THRESHOLD * self.scale) >> 12;
        match (difference < 0, is_large) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        }
    }

    /// "LOGSCL" and "SCALEL", or those of the high band.
    fn rescale(&mut self, step: i16, log_max: i32, point: i32) {
        let leaked = (self.log_scale * 127) >> 7;
        self.log_scale = (leaked + i32::from(step)).clamp(0, log_max);
        // A logarithm of five bits after the point: whole part to the exponent, rest to the table.
        let [fraction, ..] = (self.log_scale >> 6).to_le_bytes();
        let mantissa = i32::from(MANTISSAS[usize::from(fraction & 31)]);
        let down = point - (self.log_scale >> 11);
        // At most one place up, so shifting up by one and down by one more serves both.
        self.scale = ((mantissa << 1) >> (down + 1)) << 2;
    }

    /// "Block 4": learns from `difference` and predicts the next sample.
    fn predict(&mut self, difference: i32) {
        let sample = i32::from(saturate(self.prediction + difference));
        let partial = i32::from(saturate(self.zero_part + difference));
        self.adapt_poles(partial);
        self.partial = [partial, self.partial[0]];
        self.samples = [sample, self.samples[0]];
        self.zero_part = self.adapt_zeros(difference);
        // "FILTEP".
        let [first, second] = [0, 1].map(|n| {
            let doubled = i32::from(saturate(2 * self.samples[n]));
            (self.poles[n] * doubled) >> 15
        });
        let pole_part = i32::from(saturate(first + second));
        self.prediction = i32::from(saturate(pole_part + self.zero_part));
    }

    /// "UPPOL2" and "UPPOL1".
    fn adapt_poles(&mut self, partial: i32) {
        const SECOND_MAX: i32 = 12_288;
        const SUM_MAX: i32 = 15_360;
        let is_like = |past: i32| (partial < 0) == (past < 0);
        let first = i32::from(saturate(4 * self.poles[0]));
        let towards = if is_like(self.partial[0]) {
            (-first).min(32_767)
        } else {
            first
        };
        let nudge = if is_like(self.partial[1]) { 128 } else { -128 };
        let leaked = (self.poles[1] * 32_512) >> 15;
        let second = (nudge + (towards >> 7) + leaked).clamp(-SECOND_MAX, SECOND_MAX);
        let nudge = if is_like(self.partial[0]) { 192 } else { -192 };
        let leaked = (self.poles[0] * 32_640) >> 15;
        let most = SUM_MAX - second;
        self.poles = [(nudge + leaked).clamp(-most, most), second];
    }

    /// "UPZERO" and "FILTEZ": returns the part of the prediction that past differences make.
    ///
    /// All in 16 bits, which hold every step exactly, so that eight lanes share a vector.
    fn adapt_zeros(&mut self, difference: i32) -> i32 {
        let step: i16 = if difference == 0 { 0 } else { 128 };
        let sign: i16 = if difference < 0 { -1 } else { 0 };
        for (zero, past) in self.zeros.iter_mut().zip(&self.differences) {
            // 0 where the signs agree, else -1: then the step goes the other way.
            let turn = (past >> 15) ^ sign;
            // A leak of 1/256, rounded away from where it goes: (-zero) >> 8.
            let leak = (*zero >> 8) + i16::from(*zero & 0xff != 0);
            *zero = zero
                .wrapping_sub(leak)
                .wrapping_add((step ^ turn).wrapping_sub(turn));
        }
        let [first, second, third, fourth, fifth, ..] = self.differences;
        let newest = saturate(2 * difference);
        // The last two are none, so what their zeros learn does not matter.
        self.differences = [newest, first, second, third, fourth, fifth, 0, 0];
        let products = self.zeros.iter().zip(&self.differences);
        let sum: i32 = products
            .map(|(zero, difference)| (i32::from(*zero) * i32::from(*difference)) >> 15)
            .sum();
        i32::from(saturate(sum))
    }
}

/// As ones' complement has it: -1 is as far from 0 as 0 is.
const fn magnitude(difference: i32) -> i32 {
    if difference < 0 {
        -difference - 1
    } else {
        difference
    }
}

fn saturate(value: i32) -> i16 {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the range")]
    let saturated = value.clamp(i16::MIN as i32, i16::MAX as i32) as i16;
    saturated
}

const fn low_levels() -> [u8; LOW_RATIO_END] {
    let mut levels = [0; LOW_RATIO_END];
    let mut ratio = 0;
    while ratio < LOW_RATIO_END {
        let mut level: u8 = 0;
        while (level as usize) < LOW_THRESHOLDS.len()
            && LOW_THRESHOLDS[level as usize] as usize <= ratio
        {
            level += 1;
        }
        levels[ratio] = level;
        ratio += 1;
    }
    levels
}
