//! What an utterance sounds like, whatever its level and its line: cepstra of the telephone band.
//!
//! Mel cepstra with their slopes, every 10 ms between the first and the last loud frame, less
//! their mean: level and a line's colour drop out, and a wide line compares with a narrow one
//! because both are looked at between 300 and 3400 Hz only. Pure arithmetic; it refuses nothing:
//! silence gives no frames.

use std::f32::consts::PI;

use crate::resample::Resampler;

/// Rate the features are made at, in hertz: the telephone band needs no more.
pub const FEATURE_RATE_HZ: u32 = 8000;
/// Distance between frames, in samples (10 ms).
const HOP_SAMPLES: usize = 80;
/// Length of a frame and of its transform, in samples (32 ms): over two periods of a low voice, so
/// that where a frame begins in a period hardly matters.
const WINDOW_SAMPLES: usize = 256;
const FFT_SAMPLES: usize = WINDOW_SAMPLES;
/// The telephone band, in hertz (ITU-T G.712).
const BAND_HZ: [f32; 2] = [300.0, 3400.0];
/// Mel filters over the band.
const FILTERS: usize = 20;
/// Cepstral coefficients, the level's included.
const CEPSTRA: usize = 12;
/// Numbers in a frame: cepstra and their slopes.
pub const DIMENSIONS: usize = 2 * CEPSTRA;
/// Weight of the level against the spectrum's shape.
const LEVEL_WEIGHT: f32 = 0.3;
/// Weight of slopes against values.
const SLOPE_WEIGHT: f32 = 2.0;
/// Length of the lifter, which evens out the coefficients' sizes, as is usual in the field.
const LIFTER: f32 = 22.0;
/// A filter's energy counts from this share of the utterance's loudest (40 dB under it): less is
/// the line's own noise.
const FLOOR_SHARE: f32 = 1e-4;
/// Frames this much fainter than the loudest, at the ends, are silence (30 dB).
const SILENCE_SHARE: f32 = 1e-3;
/// Frames on each side that a slope looks at.
const SLOPE_FRAMES: usize = 2;

/// One frame: cepstra, then their slopes.
pub type Frame = [f32; DIMENSIONS];

/// The frames of `samples` at `rate_hz`, from the first loud one to the last; none for silence.
///
/// # Panics
/// When `rate_hz` is none the resampler knows.
pub fn features(samples: &[i16], rate_hz: u32) -> Vec<Frame> {
    let narrow = Resampler::convert(samples, rate_hz, FEATURE_RATE_HZ);
    let energies = filter_energies(&narrow);
    let loudness: Vec<f32> = energies.iter().map(|frame| frame.iter().sum()).collect();
    let loudest = loudness.iter().copied().fold(0.0, f32::max);
    let is_loud = |energy: &f32| *energy > loudest * SILENCE_SHARE;
    let (Some(first), Some(last)) = (
        loudness.iter().position(is_loud),
        loudness.iter().rposition(is_loud),
    ) else {
        return Vec::new();
    };
    let floor = loudest * FLOOR_SHARE / FILTERS as f32;
    let mut cepstra: Vec<[f32; CEPSTRA]> = energies[first..=last]
        .iter()
        .map(|frame| cepstrum(frame, floor))
        .collect();
    subtract_mean(&mut cepstra);
    with_slopes(&cepstra)
}

/// Energy under each mel filter, frame by frame.
fn filter_energies(samples: &[i16]) -> Vec<[f32; FILTERS]> {
    let window: Vec<f32> = (0..WINDOW_SAMPLES)
        .map(|n| 0.54 - 0.46 * (2.0 * PI * n as f32 / (WINDOW_SAMPLES - 1) as f32).cos())
        .collect();
    let twiddles: Vec<[f32; 2]> = (0..FFT_SAMPLES / 2)
        .map(|n| {
            let angle = -2.0 * PI * n as f32 / FFT_SAMPLES as f32;
            [angle.cos(), angle.sin()]
        })
        .collect();
    let filters = mel_filters();
    samples
        .windows(WINDOW_SAMPLES)
        .step_by(HOP_SAMPLES)
        .map(|part| {
            let mut spectrum = [[0.0; 2]; FFT_SAMPLES];
            for (bin, (sample, weight)) in spectrum.iter_mut().zip(part.iter().zip(&window)) {
                bin[0] = f32::from(*sample) * weight;
            }
            transform(&mut spectrum, &twiddles);
            filters.each_ref().map(|filter| {
                let weighed = |&(bin, weight): &(usize, f32)| {
                    let [re, im] = spectrum[bin];
                    weight * (re * re + im * im)
                };
                filter.iter().map(weighed).sum()
            })
        })
        .collect()
}

/// Triangles evenly spaced on the mel scale over the band: `(bin, weight)` lists.
fn mel_filters() -> [Vec<(usize, f32)>; FILTERS] {
    let mel = |hz: f32| 1127.0 * (1.0 + hz / 700.0).ln();
    let hz = |mel: f32| 700.0 * ((mel / 1127.0).exp() - 1.0);
    let [low, high] = BAND_HZ.map(mel);
    let edge = |n: usize| hz(low + (high - low) * n as f32 / (FILTERS + 1) as f32);
    std::array::from_fn(|filter| {
        let [left, centre, right] = [edge(filter), edge(filter + 1), edge(filter + 2)];
        (0..FFT_SAMPLES / 2)
            .filter_map(|bin| {
                let at = bin as f32 * FEATURE_RATE_HZ as f32 / FFT_SAMPLES as f32;
                let weight = ((at - left) / (centre - left)).min((right - at) / (right - centre));
                (weight > 0.0).then_some((bin, weight))
            })
            .collect()
    })
}

/// Discrete Fourier transform in place (radix 2, decimation in time).
fn transform(bins: &mut [[f32; 2]; FFT_SAMPLES], twiddles: &[[f32; 2]]) {
    let bits = FFT_SAMPLES.trailing_zeros();
    for index in 0..FFT_SAMPLES {
        let mirrored = index.reverse_bits() >> (usize::BITS - bits);
        if index < mirrored {
            bins.swap(index, mirrored);
        }
    }
    let mut half = 1;
    while half < FFT_SAMPLES {
        for block in bins.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            let turns = twiddles.iter().step_by(FFT_SAMPLES / (2 * half));
            for ((a, b), [cos, sin]) in low.iter_mut().zip(high).zip(turns) {
                let turned = [b[0] * cos - b[1] * sin, b[0] * sin + b[1] * cos];
                *b = [a[0] - turned[0], a[1] - turned[1]];
                *a = [a[0] + turned[0], a[1] + turned[1]];
            }
        }
        half *= 2;
    }
}

/// Cosine transform of the log energies, lifted and weighted.
fn cepstrum(energies: &[f32; FILTERS], floor: f32) -> [f32; CEPSTRA] {
    let logs = energies.map(|energy| (energy + floor).ln());
    std::array::from_fn(|order| {
        let sum: f32 = logs
            .iter()
            .enumerate()
            .map(|(n, log)| log * (PI * order as f32 * (n as f32 + 0.5) / FILTERS as f32).cos())
            .sum();
        let weight = match order {
            0 => LEVEL_WEIGHT,
            _ => 1.0 + LIFTER / 2.0 * (PI * order as f32 / LIFTER).sin(),
        };
        sum * weight / FILTERS as f32
    })
}

fn subtract_mean(cepstra: &mut [[f32; CEPSTRA]]) {
    let count = cepstra.len().max(1) as f32;
    let mean: [f32; CEPSTRA] =
        std::array::from_fn(|order| cepstra.iter().map(|frame| frame[order]).sum::<f32>() / count);
    for frame in cepstra {
        for (value, mean) in frame.iter_mut().zip(mean) {
            *value -= mean;
        }
    }
}

/// Frames with the slope of each coefficient; ends are taken to go on level.
fn with_slopes(cepstra: &[[f32; CEPSTRA]]) -> Vec<Frame> {
    let last = cepstra.len().saturating_sub(1);
    let squares: usize = (1..=SLOPE_FRAMES).map(|n| 2 * n * n).sum();
    let slope = |at: usize, order: usize| {
        let rise = |n: usize| {
            let ahead = cepstra[(at + n).min(last)][order];
            n as f32 * (ahead - cepstra[at.saturating_sub(n)][order])
        };
        (1..=SLOPE_FRAMES).map(rise).sum::<f32>() / squares as f32
    };
    (0..cepstra.len())
        .map(|at| {
            std::array::from_fn(|n| match n.checked_sub(CEPSTRA) {
                None => cepstra[at][n],
                Some(order) => SLOPE_WEIGHT * slope(at, order),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, level: f32, samples: usize) -> Vec<i16> {
        let sample = |n: usize| level * (2.0 * PI * hz * n as f32 / 8000.0).sin();
        (0..samples).map(|n| sample(n) as i16).collect()
    }

    /// Goal: the transform is Fourier's. Method: against the sum of its definition.
    #[test]
    fn transform_is_the_discrete_fourier_transform() {
        let input: [f32; FFT_SAMPLES] = std::array::from_fn(|n| ((n * n) % 17) as f32 - 8.0);
        let angle = |n: usize| -2.0 * PI * n as f32 / FFT_SAMPLES as f32;
        let twiddles: Vec<[f32; 2]> = (0..FFT_SAMPLES / 2)
            .map(|n| [angle(n).cos(), angle(n).sin()])
            .collect();
        let mut bins = input.map(|value| [value, 0.0]);
        transform(&mut bins, &twiddles);
        for (order, bin) in bins.iter().enumerate() {
            let at = |n: usize| angle(order * n % FFT_SAMPLES);
            let re: f32 = (0..FFT_SAMPLES).map(|n| input[n] * at(n).cos()).sum();
            let im: f32 = (0..FFT_SAMPLES).map(|n| input[n] * at(n).sin()).sum();
            assert!(
                (bin[0] - re).abs() < 0.1 && (bin[1] - im).abs() < 0.1,
                "bin {order}"
            );
        }
    }

    /// Goal: level and silence around change nothing. Method: two tones in a row, fainter and
    /// surrounded.
    #[test]
    fn level_and_silence_do_not_matter() {
        let said = |level| [tone(500.0, level, 2400), tone(1800.0, level, 2400)].concat();
        let plain = features(&said(8000.0), 8000);
        let other = features(&[vec![0; 800], said(4000.0), vec![0; 1600]].concat(), 8000);
        // A window that only touches the sound counts too, on either side of it.
        let touching = 2 * (WINDOW_SAMPLES / HOP_SAMPLES);
        assert!(
            plain.len().abs_diff(other.len()) <= touching,
            "{} {}",
            plain.len(),
            other.len()
        );
        let (early, late) = (plain[10], plain[45]);
        let near = |a: &Frame, b: &Frame| {
            a.iter()
                .zip(b)
                .map(|(a, b)| (a - b).powi(2))
                .sum::<f32>()
                .sqrt()
        };
        let apart = near(&early, &late);
        assert!(near(&early, &other[12]) < apart / 5.0);
        assert!(near(&late, &other[47]) < apart / 5.0);
    }

    /// Goal: nothing is made of nothing, and no audio makes a number that is none. Method: empty,
    /// silent, short, and the loudest square wave.
    #[test]
    fn any_audio_is_taken() {
        for silent in [vec![], vec![0; 8000], vec![1000; 10]] {
            assert!(features(&silent, 16_000).is_empty());
        }
        let square: Vec<i16> = (0..16_000)
            .map(|n| if n / 20 % 2 == 0 { i16::MAX } else { i16::MIN })
            .collect();
        let made = features(&square, 16_000);
        assert!(!made.is_empty());
        assert!(made.iter().flatten().all(|value| value.is_finite()));
    }
}
