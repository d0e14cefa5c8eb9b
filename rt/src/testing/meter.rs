//! Tones made and measured.

use std::f64::consts::TAU;
use std::vec::Vec;

use crate::units::SampleRate;

/// `count` samples of a sine that begins at phase 0.
pub fn tone(rate: SampleRate, hertz: f64, amplitude: f64, count: usize) -> Vec<i16> {
    let step = TAU * hertz / f64::from(rate.hertz());
    (0..count)
        .map(|n| (amplitude * (step * n as f64).sin()).round() as i16)
        .collect()
}

/// Amplitude of the part of `samples` that is a sine of `hertz`; exact over whole periods.
pub fn amplitude(rate: SampleRate, hertz: f64, samples: &[i16]) -> f64 {
    let step = TAU * hertz / f64::from(rate.hertz());
    let (sine, cosine) = samples
        .iter()
        .enumerate()
        .fold((0.0, 0.0), |(s, c), (n, sample)| {
            let (sin, cos) = (step * n as f64).sin_cos();
            (s + sin * f64::from(*sample), c + cos * f64::from(*sample))
        });
    2.0 * sine.hypot(cosine) / samples.len() as f64
}

/// Root of the mean square.
pub fn rms(samples: &[i16]) -> f64 {
    let power: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
    (power / samples.len() as f64).sqrt()
}

/// How much louder the sine of `hertz` is than all the rest, in dB; exact over whole periods.
pub fn signal_to_noise_db(rate: SampleRate, hertz: f64, samples: &[i16]) -> f64 {
    let signal = amplitude(rate, hertz, samples).powi(2) / 2.0;
    let noise = (rms(samples).powi(2) - signal).max(f64::MIN_POSITIVE);
    10.0 * (signal / noise).log10()
}

/// A ratio of amplitudes in dB.
pub fn decibels(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}
