//! Sounds that telephones carry, made from a few numbers: a voice, music, keys, noise.

use std::f64::consts::TAU;
use std::vec::Vec;

use super::netem::Random;
use crate::units::SampleRate;

/// A vowel: pulses of the vocal cords at `pitch` hertz through two resonances of the mouth.
///
/// Strictly periodic, so that what repeats it well can be told from what does not.
pub fn vowel(rate: SampleRate, pitch: f64, peak: f64, count: usize) -> Vec<i16> {
    let hertz = f64::from(rate.hertz());
    let mut pulses: Vec<f64> = Vec::with_capacity(count);
    let mut phase = 0.0;
    for _ in 0..count {
        phase += pitch / hertz;
        // The cords close abruptly once in a period and open slowly.
        let is_closing = phase >= 1.0;
        phase -= if is_closing { 1.0 } else { 0.0 };
        pulses.push(if is_closing { 1.0 } else { -pitch / hertz });
    }
    for (centre, width) in [(600.0, 80.0), (1200.0, 120.0), (2500.0, 200.0)] {
        resonate(&mut pulses, hertz, centre, width);
    }
    scaled(&pulses, peak)
}

/// White noise of this peak.
pub fn white(seed: u64, peak: f64, count: usize) -> Vec<i16> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|_| ((f64::from(random.bits()) / f64::from(u32::MAX) * 2.0 - 1.0) * peak) as i16)
        .collect()
}

/// A hissing sound, as of `s`: noise about 3 kHz.
pub fn hiss(rate: SampleRate, seed: u64, peak: f64, count: usize) -> Vec<i16> {
    let mut noise: Vec<f64> = white(seed, 10_000.0, count)
        .into_iter()
        .map(f64::from)
        .collect();
    resonate(&mut noise, f64::from(rate.hertz()), 3000.0, 900.0);
    scaled(&noise, peak)
}

/// Sines of these frequencies together: a chord, or the two tones of a key.
pub fn chord(rate: SampleRate, hertz: &[f64], peak: f64, count: usize) -> Vec<i16> {
    let step = TAU / f64::from(rate.hertz());
    let sum = |n: usize| -> f64 { hertz.iter().map(|f| (step * f * n as f64).sin()).sum() };
    scaled(&(0..count).map(sum).collect::<Vec<_>>(), peak)
}

/// Syllables with pauses between, as speech has: vowels of moving pitch, hisses and silence.
pub fn speech(rate: SampleRate, seed: u64, peak: f64, count: usize) -> Vec<i16> {
    let mut random = Random::new(seed);
    let ms = rate.hertz() as usize / 1000;
    let mut samples = Vec::with_capacity(count);
    while samples.len() < count {
        let length = (80 + random.below(200) as usize) * ms;
        let pitch = 90.0 + f64::from(random.below(150));
        let mut syllable = match random.below(6) {
            0 => hiss(rate, random.bits().into(), peak / 4.0, length),
            1 => std::vec![0; length],
            _ => vowel(rate, pitch, peak, length),
        };
        let edge = 15 * ms;
        for n in 0..edge {
            let part = |sample: i16| (i32::from(sample) * n as i32 / edge as i32) as i16;
            syllable[n] = part(syllable[n]);
            syllable[length - 1 - n] = part(syllable[length - 1 - n]);
        }
        samples.append(&mut syllable);
    }
    samples.truncate(count);
    samples
}

/// A resonance of two poles, in place.
fn resonate(samples: &mut [f64], rate: f64, centre: f64, width: f64) {
    let radius = (-TAU / 2.0 * width / rate).exp();
    let (first, second) = (2.0 * radius * (TAU * centre / rate).cos(), radius * radius);
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        let out = *sample + first * last - second * before;
        (before, last) = (last, out);
        *sample = out;
    }
}

fn scaled(samples: &[f64], peak: f64) -> Vec<i16> {
    let largest = samples.iter().fold(1e-9, |max: f64, s| max.max(s.abs()));
    let scale = peak / largest;
    samples.iter().map(|s| (s * scale).round() as i16).collect()
}
