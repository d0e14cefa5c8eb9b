//! Goal: the resampler keeps the numbers it promises: delay, pass band, stop band, counts.
//! Method: tones and impulses through whole frames, measured over whole periods once settled.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

use diglot_rt::dsp::resample::{DELAY_SAMPLES_WIDE, Downsampler, Upsampler};
use diglot_rt::testing::meter::{amplitude, decibels, rms, signal_to_noise_db, tone};
use diglot_rt::units::SampleRate::{Hz8000, Hz16000};

const AMPLITUDE: f64 = 16_000.0;
/// One second: any whole number of hertz makes whole periods in it.
const SECOND_FRAMES: usize = 50;
/// Frames until the filter has forgotten that the tone began.
const SETTLED: usize = 1;

fn up(narrow: &[i16]) -> Vec<i16> {
    let mut upsampler = Upsampler::new();
    let frames = narrow.as_chunks::<160>().0.iter();
    frames
        .flat_map(|frame| {
            let mut wide = [0; 320];
            upsampler.process(frame, &mut wide);
            wide
        })
        .collect()
}

fn down(wide: &[i16]) -> Vec<i16> {
    let mut downsampler = Downsampler::new();
    let frames = wide.as_chunks::<320>().0.iter();
    frames
        .flat_map(|frame| {
            let mut narrow = [0; 160];
            downsampler.process(frame, &mut narrow);
            narrow
        })
        .collect()
}

fn upsampled_tone(hertz: f64) -> Vec<i16> {
    let frames = SETTLED + SECOND_FRAMES;
    up(&tone(Hz8000, hertz, AMPLITUDE, frames * 160))[SETTLED * 320..].to_vec()
}

fn downsampled_tone(hertz: f64) -> Vec<i16> {
    let frames = SETTLED + SECOND_FRAMES;
    down(&tone(Hz16000, hertz, AMPLITUDE, frames * 320))[SETTLED * 160..].to_vec()
}

#[test]
fn the_pass_band_is_flat_within_half_a_decibel_to_3400_hz() {
    for hertz in (50..=3400).step_by(50).map(f64::from) {
        let gain_up = decibels(amplitude(Hz16000, hertz, &upsampled_tone(hertz)) / AMPLITUDE);
        let gain_down = decibels(amplitude(Hz8000, hertz, &downsampled_tone(hertz)) / AMPLITUDE);
        assert!(gain_up.abs() <= 0.5, "up: {gain_up:.2} dB at {hertz} Hz");
        assert!(
            gain_down.abs() <= 0.5,
            "down: {gain_down:.2} dB at {hertz} Hz"
        );
    }
}

#[test]
fn images_and_aliases_are_60_db_down() {
    for hertz in (50..=3400).step_by(50).map(f64::from) {
        // The image of a tone in 8 kHz audio is its mirror at 4 kHz.
        let mirror = 8000.0 - hertz;
        let image = decibels(amplitude(Hz16000, mirror, &upsampled_tone(hertz)) / AMPLITUDE);
        assert!(image <= -60.0, "up: image of {hertz} Hz at {image:.1} dB");
        // What 8 kHz audio cannot hold must be gone, not folded back.
        let alias = decibels(rms(&downsampled_tone(mirror)) * 2f64.sqrt() / AMPLITUDE);
        assert!(
            alias <= -60.0,
            "down: alias of {mirror} Hz at {alias:.1} dB"
        );
    }
}

#[test]
fn a_tone_comes_out_clean() {
    for hertz in [300.0, 1000.0, 3000.0] {
        let snr_up = signal_to_noise_db(Hz16000, hertz, &upsampled_tone(hertz));
        let snr_down = signal_to_noise_db(Hz8000, hertz, &downsampled_tone(hertz));
        assert!(snr_up >= 60.0, "up: {snr_up:.1} dB at {hertz} Hz");
        assert!(snr_down >= 60.0, "down: {snr_down:.1} dB at {hertz} Hz");
    }
}

#[test]
fn the_delay_is_the_one_declared_and_below_4_ms() {
    let loudest = |samples: &[i16]| {
        (0..samples.len())
            .max_by_key(|n| samples[*n].unsigned_abs())
            .expect("not empty")
    };
    const AT: usize = 40;
    let mut narrow = vec![0; 320];
    narrow[AT] = 20_000;
    // The sample itself leaves where the filter's middle tap is.
    assert_eq!(loudest(&up(&narrow)) - 2 * AT, DELAY_SAMPLES_WIDE);
    let mut wide = vec![0; 640];
    // An odd place, so that the impulse falls on a kept sample after an odd delay.
    wide[2 * AT + 1] = 20_000;
    assert_eq!(2 * loudest(&down(&wide)) - (2 * AT + 1), DELAY_SAMPLES_WIDE);
    assert!(DELAY_SAMPLES_WIDE as f64 / 16.0 <= 4.0);
}

#[test]
fn frames_join_without_a_seam() {
    // A tone whose period does not divide the frame: a seam every 20 ms would be noise.
    let samples = upsampled_tone(1337.0);
    assert!(signal_to_noise_db(Hz16000, 1337.0, &samples) >= 60.0);
    assert_eq!(samples.len(), SECOND_FRAMES * 320);
}

#[test]
fn full_scale_saturates_and_silence_stays_silent() {
    const HALF_PERIOD: usize = 80;
    const EDGES: usize = 1600 / HALF_PERIOD - 1;
    let rail = |n: usize| {
        if (n / HALF_PERIOD).is_multiple_of(2) {
            i16::MAX
        } else {
            i16::MIN
        }
    };
    let square: Vec<i16> = (0..1600).map(rail).collect();
    for samples in [up(&square), down(&square)] {
        // The filter overshoots each edge; wrapping around would show as more edges.
        let settled = &samples[samples.len() / 50..];
        let edges = settled
            .windows(2)
            .filter(|pair| (pair[0] < 0) != (pair[1] < 0))
            .count();
        assert_eq!(edges, EDGES);
        assert!(
            samples.contains(&i16::MAX) && samples.contains(&i16::MIN),
            "it does saturate"
        );
    }
    assert!(
        up(&[0; 1600])
            .iter()
            .chain(&down(&[0; 1600]))
            .all(|sample| *sample == 0)
    );
    assert_eq!(
        up(&[12_000; 1600])[100..],
        [12_000; 3100],
        "steady sound keeps its level"
    );
    assert_eq!(down(&[12_000; 1600])[100..], [12_000; 700]);
}
