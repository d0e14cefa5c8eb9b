//! Marker tones: a burst out of silence that tells which leg spoke, and by its onset when.
//!
//! ```text
//! silence ... | tone d1, 20 ms | tone d2, 20 ms | tone d1+d2, 20 ms | ... silence
//!             ^ onset: cosine, so full amplitude from the first sample
//! ```
//!
//! Two digits to base 46 name up to 2116 legs; the third tone is their check. Each tone has whole
//! periods in 20 ms, so the tones are orthogonal and join without a click.

/// Tones in one marker, 20 ms each.
pub const MARKER_FRAMES: usize = 3;
/// Base of the digits: tones from 700 to 2950 Hz, inside the telephone band.
pub const DIGITS: usize = 46;
const TONE_HZ_LOWEST: usize = 700;
/// 1 / 20 ms: the closest spacing of orthogonal tones.
const TONE_HZ_STEP: usize = 50;
/// -8 dBFS: well above any comfort noise, with room for a filter's overshoot.
const AMPLITUDE: f64 = 13_000.0;
/// Reached within a sample or two of a marker's onset, never by comfort noise.
const ONSET_AMPLITUDE: u16 = 4_000;
/// Before an onset counts, there is this much silence, in ms.
const SILENCE_MS_MIN: usize = 60;
const MARKER_MS: usize = 60;
const TONE_MS: usize = 20;
/// Share of a tone's energy its frequency must hold; noise and other voices hold far less.
const PURITY_MIN: f64 = 0.5;
/// Highest rate that is listened to, in Hz.
const SAMPLE_RATE_MAX: usize = 16_000;
const MARKER_SAMPLES_MAX: usize = SAMPLE_RATE_MAX / 1000 * MARKER_MS;

/// The digits of a leg's marker.
pub const fn digits_of(leg: usize) -> [usize; MARKER_FRAMES] {
    let (high, low) = (leg / DIGITS % DIGITS, leg % DIGITS);
    [high, low, (high + low) % DIGITS]
}

/// Writes 20 ms of a digit's tone.
pub fn write_tone(digit: usize, samples: &mut [i16]) {
    let cycles = (tone_hz(digit) * TONE_MS / 1000) as f64;
    let step = std::f64::consts::TAU * cycles / samples.len() as f64;
    for (index, sample) in samples.iter_mut().enumerate() {
        *sample = (AMPLITUDE * (step * index as f64).cos()) as i16;
    }
}

/// The frequency of a digit.
pub const fn tone_hz(digit: usize) -> usize {
    TONE_HZ_LOWEST + TONE_HZ_STEP * digit
}

/// What a marker's end told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// A leg's marker.
    Marker {
        /// Whose.
        leg: usize,
    },
    /// A burst that is no marker, or one with a piece missing.
    Garbled,
}

/// Finds markers in a stream of frames; one per leg.
#[derive(Debug)]
pub struct Detector {
    /// Samples since the last loud one, stops at the silence needed.
    quiet: usize,
    /// The marker so far; empty while waiting for an onset.
    burst: Vec<i16>,
}

impl Detector {
    /// A detector that has heard nothing yet.
    pub fn new() -> Self {
        Self {
            quiet: usize::MAX,
            burst: Vec::with_capacity(MARKER_SAMPLES_MAX),
        }
    }

    /// Takes the next frame; returns the sample a marker begins at, and what an earlier one was.
    pub fn hear(&mut self, samples: &[i16], rate_hz: u32) -> (Option<usize>, Option<Found>) {
        let samples_per_ms = rate_hz as usize / 1000;
        let mut onset = None;
        if self.burst.is_empty() {
            onset = self.find_onset(samples, SILENCE_MS_MIN * samples_per_ms);
            let begin = onset.unwrap_or(samples.len());
            self.burst.extend_from_slice(&samples[begin..]);
            return (onset, None);
        }
        let wanted = MARKER_MS * samples_per_ms;
        let count = samples.len().min(wanted.saturating_sub(self.burst.len()));
        self.burst.extend_from_slice(&samples[..count]);
        if self.burst.len() < wanted {
            return (onset, None);
        }
        let found = recognise(&self.burst[..wanted], rate_hz);
        self.burst.clear();
        self.quiet = 0;
        self.find_onset(&samples[count..], usize::MAX);
        (onset, Some(found))
    }

    /// A frame is missing: a marker that was under way cannot be told any more.
    pub fn skip(&mut self) -> Option<Found> {
        let was_under_way = !self.burst.is_empty();
        self.burst.clear();
        was_under_way.then_some(Found::Garbled)
    }

    /// The first loud sample after enough silence.
    fn find_onset(&mut self, samples: &[i16], silence: usize) -> Option<usize> {
        for (index, sample) in samples.iter().enumerate() {
            if sample.unsigned_abs() < ONSET_AMPLITUDE {
                self.quiet = self.quiet.saturating_add(1);
                continue;
            }
            if self.quiet >= silence {
                self.quiet = 0;
                return Some(index);
            }
            self.quiet = 0;
        }
        None
    }
}

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

fn recognise(burst: &[i16], rate_hz: u32) -> Found {
    let tone_samples = burst.len() / MARKER_FRAMES;
    let mut digits = [0; MARKER_FRAMES];
    for (digit, tone) in digits.iter_mut().zip(burst.chunks_exact(tone_samples)) {
        match strongest(tone, rate_hz) {
            Some(strongest) => *digit = strongest,
            None => return Found::Garbled,
        }
    }
    let leg = digits[0] * DIGITS + digits[1];
    if digits == digits_of(leg) {
        Found::Marker { leg }
    } else {
        Found::Garbled
    }
}

fn strongest(tone: &[i16], rate_hz: u32) -> Option<usize> {
    let energy: f64 = tone.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
    let power = |digit| goertzel(tone, tone_hz(digit) as f64 / f64::from(rate_hz));
    let (digit, power) = (0..DIGITS)
        .map(|digit| (digit, power(digit)))
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    // A pure tone of amplitude A over n samples: energy n·A²/2, power (n·A/2)².
    let purity = power / (energy * tone.len() as f64 / 2.0).max(1.0);
    (purity >= PURITY_MIN).then_some(digit)
}

/// Power at one frequency, in cycles per sample: Goertzel's recursion.
fn goertzel(samples: &[i16], cycles_per_sample: f64) -> f64 {
    let turn = 2.0 * (std::f64::consts::TAU * cycles_per_sample).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for &sample in samples {
        (last, before) = (f64::from(sample) + turn * last - before, last);
    }
    last * last + before * before - turn * last * before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Ear, UplinkCodec};

    /// A marker through a codec, after `delay` samples, in frames.
    fn frames(leg: usize, codec: UplinkCodec, delay: usize) -> Vec<(Vec<i16>, u32)> {
        let frame_samples = codec.frame_samples() as usize;
        let mut stream = vec![0; frame_samples * 5 + delay];
        for digit in digits_of(leg) {
            let mut tone = vec![0; frame_samples];
            write_tone(digit, &mut tone);
            stream.extend(tone);
        }
        stream.resize(frame_samples * 12, 0);
        let (mut encoder, mut ear) = (codec.encoder(), Ear::new());
        let through = |frame: &[i16]| {
            let (mut payload, mut samples) = (Vec::new(), Vec::new());
            encoder.encode(frame, &mut payload);
            let rate_hz = ear.hear(codec.payload_type(), &payload, &mut samples);
            (samples, rate_hz.unwrap())
        };
        stream.chunks_exact(frame_samples).map(through).collect()
    }

    fn detect(frames: &[(Vec<i16>, u32)]) -> (Vec<usize>, Vec<Found>) {
        let mut detector = Detector::new();
        let (mut onsets, mut found) = (Vec::new(), Vec::new());
        for (index, (samples, rate_hz)) in frames.iter().enumerate() {
            let (onset, what) = detector.hear(samples, *rate_hz);
            onsets.extend(onset.map(|onset| index * samples.len() + onset));
            found.extend(what);
        }
        (onsets, found)
    }

    /// Goal: every leg is told from every other, and its onset found to the sample. Method: every
    /// third of 2000 legs, so every digit in every place, through µ-law at changing offsets.
    #[test]
    fn every_leg_is_recognised_at_its_sample() {
        for leg in (0..2_000).step_by(3) {
            let delay = leg * 7 % 160;
            let (onsets, found) = detect(&frames(leg, UplinkCodec::Pcmu, delay));
            assert_eq!(found, [Found::Marker { leg }]);
            assert_eq!(onsets, [160 * 5 + delay], "leg {leg}");
        }
    }

    /// Goal: all codecs carry markers. Method: some legs through each; G.722 delays by its filter
    /// bank of 24 taps twice, 22 samples, and blurs the onset.
    #[test]
    fn every_codec_carries_markers() {
        for name in ["pcma", "slin", "slin16", "g722"] {
            let codec = UplinkCodec::from_name(name).unwrap();
            for leg in [0, 45, 46, 999, 1_999] {
                let (onsets, found) = detect(&frames(leg, codec, 31));
                assert_eq!(found, [Found::Marker { leg }], "{name}");
                let begin = codec.frame_samples() as usize * 5 + 31;
                let late = onsets[0] - begin;
                let late_max = if codec == UplinkCodec::G722 { 32 } else { 0 };
                assert!(late <= late_max, "{name}, leg {leg}: {late} samples late");
            }
        }
    }

    /// Goal: what is no marker is not taken for one. Method: a steady tone, a marker with a wrong
    /// check, one with a frame missing, noise.
    #[test]
    fn other_sounds_are_garbled() {
        let good = frames(77, UplinkCodec::Slin, 0);
        let mut twice = good.clone();
        twice[7] = twice[6].clone();
        assert_eq!(detect(&twice).1, [Found::Garbled]);

        let mut detector = Detector::new();
        for (samples, rate_hz) in &good[..6] {
            detector.hear(samples, *rate_hz);
        }
        assert_eq!(detector.skip(), Some(Found::Garbled));
        assert_eq!(detector.skip(), None);

        let mut random = fastrand::Rng::with_seed(4);
        let noise: Vec<_> = (0..20)
            .map(|_| ((0..160).map(|_| random.i16(..)).collect(), 8_000))
            .collect();
        assert_eq!(
            detect(&noise).1,
            [Found::Garbled],
            "one burst that does not end"
        );
    }
}
