//! What voices deliver, at any usual rate, to 16 kHz: one filter, any chunk size, for ever exact.
//!
//! A rational resampler: the input's rate times `up` over `down` is 16 kHz, and for each of the
//! `up` places an output sample may have between two input samples there is a phase of one
//! Kaiser-windowed low-pass filter. Taps are made at set-up; a stream keeps a filter's length of
//! samples and the place of the next output as a whole number, so no sample of time is lost or
//! made, however its chunks are cut. Sound at 16 kHz passes untouched.
//!
//! Pass band to 3.4 kHz within ±0.5 dB, and to 7 kHz where the input has it; what 16 kHz cannot
//! hold, and images, 60 dB down; at most 4 ms of delay. `tests/rate_numbers.rs` holds these numbers
//! for each rate.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::to_sample;
use super::window::{kaiser, sin_pi};

/// Rates that voices come at, in hertz.
pub const RATES: [u32; 6] = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000];

/// The rate everything is brought to.
const OUT_HERTZ: u32 = 16_000;
/// The pass band ends and the stop band begins, as shares of the lower Nyquist frequency.
const PASS: f64 = 0.875;
const STOP: f64 = 1.125;
/// Kaiser's shape for 70 dB: 0.1102 · (70 − 8.7) …
const KAISER_BETA: f64 = 6.755;
/// … and length, over the width of the transition: (70 − 7.95) / 14.36.
const KAISER_LENGTH: f64 = 4.321;
/// Samples taken in at a time.
const BLOCK: usize = 480;

/// A stream of one rate, to 16 kHz.
#[derive(Clone, Debug)]
pub struct RateConverter {
    /// `up` phases of `taps` each, oldest sample first.
    filter: Box<[f32]>,
    taps: usize,
    up: usize,
    down: usize,
    /// The last `taps - 1` samples, oldest first, and room for a block.
    line: Box<[f32]>,
    /// Where the next output stands after the first sample to come, in 1/`up` samples.
    position: usize,
}

impl RateConverter {
    /// For a stream of `hertz`, after silence; `None` if that is none of [`RATES`].
    ///
    /// # Real-time
    /// Set-up only: allocates all it will ever need, 60 KiB at most.
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_macros,
        reason = "set-up"
    )]
    pub fn new(hertz: u32) -> Option<Self> {
        if !RATES.contains(&hertz) {
            return None;
        }
        let common = greatest_common_divisor(hertz, OUT_HERTZ);
        let (up, down) = (OUT_HERTZ / common, hertz / common);
        // Frequencies as shares of the input's rate.
        let nyquist = f64::from(hertz.min(OUT_HERTZ)) / 2.0 / f64::from(hertz);
        let taps = match up {
            1 if down == 1 => 1,
            _ => half_length((STOP - PASS) * nyquist) * 2,
        };
        let mut filter = Vec::with_capacity(taps * up as usize);
        for phase in 0..up {
            let place = f64::from(phase) / f64::from(up);
            filter.extend_from_slice(&phase_taps(place, taps, nyquist));
        }
        Some(Self {
            filter: filter.into_boxed_slice(),
            taps,
            up: up as usize,
            down: down as usize,
            line: vec![0.0; taps - 1 + BLOCK].into_boxed_slice(),
            position: 0,
        })
    }

    /// Takes samples in and hands over those that are complete with them, in order.
    ///
    /// # Real-time
    /// Wait-free, no allocation, if `emit` is.
    pub fn process(&mut self, samples: &[i16], mut emit: impl FnMut(i16)) {
        let memory = self.taps - 1;
        for block in samples.chunks(BLOCK) {
            for (slot, sample) in self.line[memory..].iter_mut().zip(block) {
                *slot = f32::from(*sample);
            }
            let end = block.len() * self.up;
            while self.position < end {
                let (first, phase) = (self.position / self.up, self.position % self.up);
                let taps = &self.filter[phase * self.taps..][..self.taps];
                emit(to_sample(dot(taps, &self.line[first..][..self.taps])));
                self.position += self.down;
            }
            self.position -= end;
            self.line.copy_within(block.len()..block.len() + memory, 0);
        }
    }
}

/// Half the length of a filter with a transition of this width, as a share of the rate.
fn half_length(transition: f64) -> usize {
    const HALF_MAX: usize = 64;
    // The next whole number above, found without a root or a logarithm.
    (1..HALF_MAX)
        .find(|half| *half as f64 * 2.0 >= KAISER_LENGTH / transition)
        .unwrap_or(HALF_MAX)
}

/// The taps for an output that stands `place` of the way from one sample to the next.
fn phase_taps(place: f64, taps: usize, nyquist: f64) -> Vec<f32> {
    let half = taps as f64 / 2.0;
    // Oldest first: the newest sample is at `place`, the middle of the filter `half` before it.
    let ideal = |n: usize| {
        let distance = (taps - 1 - n) as f64 + place - half;
        let angle = 2.0 * nyquist * distance;
        let sinc = if angle.abs() < 1e-9 {
            1.0
        } else {
            sin_pi(angle) / (core::f64::consts::PI * angle)
        };
        sinc * kaiser(KAISER_BETA, distance / half)
    };
    let weights: Vec<f64> = match taps {
        1 => [1.0].into(),
        _ => (0..taps).map(ideal).collect(),
    };
    // Steady sound keeps its level in every phase.
    let sum: f64 = weights.iter().sum();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "24 bits are more than samples have"
    )]
    let scaled = weights.iter().map(|weight| (weight / sum) as f32).collect();
    scaled
}

const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// Several sums at a time, so that they share vectors.
fn dot(taps: &[f32], line: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (taps, last_taps) = taps.as_chunks::<LANES>();
    let (line, last_line) = line.as_chunks::<LANES>();
    for (taps, line) in taps.iter().zip(line) {
        for ((sum, tap), sample) in sums.iter_mut().zip(taps).zip(line) {
            *sum += tap * sample;
        }
    }
    let rest: f32 = last_taps
        .iter()
        .zip(last_line)
        .map(|(tap, sample)| tap * sample)
        .sum();
    sums.iter().sum::<f32>() + rest
}
