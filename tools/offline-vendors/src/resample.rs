//! Streaming sample-rate conversion of mono speech by a windowed-sinc filter with exact rational
//! steps.
//!
//! For recognising and speaking, not for the call's media path: it trades 1 ms of look-ahead for
//! simplicity. It refuses nothing: any pair of rates up to [`RATE_HZ_MAX`] is made exact by their
//! ratio.

/// Highest rate either side may have, in hertz.
pub const RATE_HZ_MAX: u32 = 48_000;
/// Zero crossings of the sinc on each side: sets the sharpness of the filter.
const ZERO_CROSSINGS: usize = 16;
/// Pass band as a share of the lower of both Nyquist frequencies.
const PASS_BAND: f64 = 0.94;

/// Converts one stream of samples from one rate to another.
#[derive(Clone, Debug)]
pub struct Resampler {
    /// Output samples per cycle of phases; the ratio is `up / down` in lowest terms.
    up: usize,
    /// Input samples per cycle of phases.
    down: usize,
    /// `up` filters of `taps` coefficients each, phase by phase.
    filters: Vec<f32>,
    taps: usize,
    /// The last inputs still under the filter, then new ones.
    pending: Vec<f32>,
    /// Phase of the next output, in `0 .. up`.
    phase: usize,
}

impl Resampler {
    /// Prepares a conversion; equal rates pass through unchanged.
    ///
    /// # Panics
    /// When a rate is zero or above [`RATE_HZ_MAX`]: callers choose from their own tables.
    pub fn new(from_hz: u32, to_hz: u32) -> Self {
        assert!((1..=RATE_HZ_MAX).contains(&from_hz), "rate {from_hz} Hz");
        assert!((1..=RATE_HZ_MAX).contains(&to_hz), "rate {to_hz} Hz");
        let divisor = greatest_common_divisor(from_hz, to_hz);
        let (up, down) = ((to_hz / divisor) as usize, (from_hz / divisor) as usize);
        let cutoff = PASS_BAND * f64::from(to_hz.min(from_hz)) / f64::from(from_hz);
        let half = (ZERO_CROSSINGS as f64 / cutoff).ceil() as usize;
        let taps = if up == down { 1 } else { 2 * half };
        let filters = if up == down {
            vec![1.0]
        } else {
            sinc_filters(up, half, cutoff)
        };
        Self {
            up,
            down,
            filters,
            taps,
            // The filter's centre starts on the first sample.
            pending: vec![0.0; (taps / 2).saturating_sub(1)],
            phase: 0,
        }
    }

    /// Converts `input`, appending to `output`; what is still under the filter follows with later
    /// input.
    pub fn push(&mut self, input: &[i16], output: &mut Vec<i16>) {
        self.pending
            .extend(input.iter().map(|&sample| f32::from(sample)));
        let mut at = 0;
        while at + self.taps <= self.pending.len() {
            let filter = &self.filters[self.phase * self.taps..][..self.taps];
            let under = &self.pending[at..][..self.taps];
            let sum: f32 = filter
                .iter()
                .zip(under)
                .map(|(tap, sample)| tap * sample)
                .sum();
            output.push(saturated(sum));
            self.phase += self.down;
            at += self.phase / self.up;
            self.phase %= self.up;
        }
        // The next output may start past the end when down-sampling by more than the filter spans.
        let used = at.min(self.pending.len());
        self.pending.drain(..used);
    }

    /// Converts a whole recording, its tail included; the length is the input's times the ratio.
    pub fn convert(samples: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
        let mut resampler = Self::new(from_hz, to_hz);
        let mut output = Vec::new();
        resampler.push(samples, &mut output);
        resampler.push(&vec![0; resampler.taps], &mut output);
        output.truncate(
            (samples.len() as u64 * u64::from(to_hz)).div_ceil(u64::from(from_hz)) as usize,
        );
        output
    }
}

/// Blackman-windowed sinc for each of `up` phases, `2 * half` taps each, unity gain at zero
/// frequency.
fn sinc_filters(up: usize, half: usize, cutoff: f64) -> Vec<f32> {
    let mut filters = Vec::with_capacity(up * 2 * half);
    for phase in 0..up {
        let offset = phase as f64 / up as f64;
        let taps: Vec<f64> = (0..2 * half)
            .map(|tap| {
                let distance = tap as f64 - (half as f64 - 1.0) - offset;
                let angle = std::f64::consts::PI * (distance / half as f64).clamp(-1.0, 1.0);
                let window = 0.42 + 0.5 * angle.cos() + 0.08 * (2.0 * angle).cos();
                sinc(cutoff * distance) * window
            })
            .collect();
        let gain: f64 = taps.iter().sum();
        filters.extend(taps.iter().map(|tap| (tap / gain) as f32));
    }
    filters
}

fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if angle.abs() < 1e-9 {
        1.0
    } else {
        angle.sin() / angle
    }
}

fn saturated(value: f32) -> i16 {
    // `as` from float saturates and turns NaN into 0.
    value.round() as i16
}

const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate_hz: u32, samples: usize) -> Vec<i16> {
        let step = std::f64::consts::TAU * hz / f64::from(rate_hz);
        (0..samples)
            .map(|n| ((n as f64 * step).sin() * 10_000.0).round() as i16)
            .collect()
    }

    /// Ratio of signal to difference, in decibels, away from the ends.
    fn snr_db(got: &[i16], expected: &[i16]) -> f64 {
        let middle = 400..got.len().min(expected.len()) - 400;
        let (mut signal, mut noise) = (0.0, 0.0);
        for at in middle {
            signal += f64::from(expected[at]).powi(2);
            noise += (f64::from(got[at]) - f64::from(expected[at])).powi(2);
        }
        10.0 * (signal / noise.max(1e-9)).log10()
    }

    /// Goal: a 1 kHz tone keeps its shape, place and length at every pair of rates in use.
    /// Method: compare with the same tone made at the target rate.
    #[test]
    fn tones_survive_every_rate_pair() {
        for (from, to) in [
            (8000, 16_000),
            (16_000, 8000),
            (22_050, 8000),
            (22_050, 16_000),
            (16_000, 24_000),
            (16_000, 22_050),
            (22_050, 24_000),
            (16_000, 16_000),
        ] {
            let got = Resampler::convert(&tone(1000.0, from, from as usize), from, to);
            assert_eq!(got.len(), to as usize, "{from} to {to}");
            let snr = snr_db(&got, &tone(1000.0, to, to as usize));
            assert!(snr > 55.0, "{from} to {to}: {snr:.1} dB");
        }
    }

    /// Goal: what the lower rate cannot carry is removed, not folded. Method: 6 kHz into 8 kHz.
    #[test]
    fn aliases_are_suppressed() {
        let got = Resampler::convert(&tone(6000.0, 16_000, 16_000), 16_000, 8000);
        let middle = &got[400..got.len() - 400];
        let loudest = middle
            .iter()
            .map(|sample| sample.unsigned_abs())
            .max()
            .unwrap_or(0);
        assert!(loudest < 30, "alias of {loudest}");
    }

    /// Goal: pieces of any size give the same samples as one piece. Method: odd piece sizes.
    #[test]
    fn pieces_equal_the_whole() {
        let input = tone(440.0, 8000, 4000);
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        Resampler::new(8000, 16_000).push(&input, &mut whole);
        let mut resampler = Resampler::new(8000, 16_000);
        for piece in input.chunks(37) {
            resampler.push(piece, &mut pieces);
        }
        assert_eq!(whole, pieces);
    }
}
