//! Goal: whatever rate a voice delivers, it becomes 16 kHz with the numbers promised: pass band,
//! stop band, delay, and counts that are exact for ever.
//! Method: tones and impulses through whole streams, measured over whole periods once settled.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

use std::f64::consts::TAU;

use diglot_rt::dsp::rate::{RATES, RateConverter};
use diglot_rt::testing::meter::{amplitude, decibels, rms, signal_to_noise_db};
use diglot_rt::testing::netem::Random;
use diglot_rt::units::SampleRate::Hz16000;

const AMPLITUDE: f64 = 16_000.0;
/// Samples at 16 kHz until every filter has forgotten that the tone began.
const SETTLED: usize = 200;
const SECOND: usize = 16_000;

fn converter(rate: u32) -> RateConverter {
    RateConverter::new(rate).expect("a rate of the list")
}

fn convert(rate: u32, samples: &[i16]) -> Vec<i16> {
    let mut out = Vec::new();
    converter(rate).process(samples, |sample| out.push(sample));
    out
}

fn tone(rate: u32, hertz: f64, count: usize) -> Vec<i16> {
    let step = TAU * hertz / f64::from(rate);
    let sample = |n: usize| (AMPLITUDE * (step * n as f64).sin()).round() as i16;
    (0..count).map(sample).collect()
}

/// A second of the tone at 16 kHz, settled.
fn converted_tone(rate: u32, hertz: f64) -> Vec<i16> {
    let out = convert(rate, &tone(rate, hertz, rate as usize * 11 / 10));
    out[SETTLED..SETTLED + SECOND].to_vec()
}

#[test]
fn the_pass_band_is_flat_within_half_a_decibel() {
    for rate in RATES {
        let end = if rate < 16_000 { 3_400 } else { 6_900 };
        for hertz in (50..=end).step_by(50).map(f64::from) {
            let out = converted_tone(rate, hertz);
            let gain = decibels(amplitude(Hz16000, hertz, &out) / AMPLITUDE);
            assert!(gain.abs() <= 0.5, "{rate}: {gain:.2} dB at {hertz} Hz");
        }
    }
}

#[test]
fn images_and_aliases_are_60_db_down() {
    for rate in RATES.into_iter().filter(|rate| *rate != 16_000) {
        // In what passes, whatever is not the tone: images of any phase.
        for hertz in (300..=3_400).step_by(310).map(f64::from) {
            let snr = signal_to_noise_db(Hz16000, hertz, &converted_tone(rate, hertz));
            assert!(snr >= 60.0, "{rate}: {snr:.1} dB beside {hertz} Hz");
        }
        // What 16 kHz cannot hold must be gone, not folded back.
        for hertz in (9_100..rate / 2).step_by(370).map(f64::from) {
            let alias = decibels(rms(&converted_tone(rate, hertz)) * 2f64.sqrt() / AMPLITUDE);
            assert!(
                alias <= -60.0,
                "{rate}: {hertz} Hz folded back at {alias:.1} dB"
            );
        }
    }
}

#[test]
fn the_delay_is_below_4_ms() {
    for rate in RATES {
        let mut samples = vec![0; rate as usize / 10];
        let at = rate as usize / 20;
        samples[at] = 30_000;
        let out = convert(rate, &samples);
        let loudest = (0..out.len())
            .max_by_key(|n| out[*n].unsigned_abs())
            .expect("samples");
        let delay_ms = loudest as f64 / 16.0 - at as f64 * 1000.0 / f64::from(rate);
        assert!((0.0..=4.0).contains(&delay_ms), "{rate}: {delay_ms:.2} ms");
    }
}

#[test]
fn counts_are_exact_for_ever_however_the_chunks_are_cut() {
    for rate in RATES {
        let mut random = Random::new(rate.into());
        let (mut converter, mut taken, mut given) = (converter(rate), 0u64, 0u64);
        let silence = vec![0; 3_000];
        while taken < 5 * 60 * u64::from(rate) {
            let chunk = random.below(3_000) as usize;
            converter.process(&silence[..chunk], |_| given += 1);
            taken += chunk as u64;
            assert_eq!(given, (taken * 16_000).div_ceil(rate.into()), "{rate}");
        }
    }
}

#[test]
fn chunks_join_without_a_seam() {
    for rate in RATES {
        let sound = tone(rate, 1_337.0, rate as usize);
        let mut random = Random::new(1);
        let (mut converter, mut out, mut rest) = (converter(rate), Vec::new(), &sound[..]);
        while !rest.is_empty() {
            let chunk = (random.below(700) as usize).min(rest.len());
            converter.process(&rest[..chunk], |sample| out.push(sample));
            rest = &rest[chunk..];
        }
        assert_eq!(out, convert(rate, &sound), "{rate}");
    }
}

#[test]
fn sixteen_is_untouched_steady_sound_keeps_its_level_and_other_rates_are_refused() {
    let sound = tone(16_000, 7_900.0, 1_000);
    assert_eq!(convert(16_000, &sound), sound);
    for rate in RATES {
        let out = convert(rate, &vec![12_000; rate as usize / 10]);
        assert!(
            out[SETTLED..].iter().all(|sample| *sample == 12_000),
            "{rate}"
        );
        let rail = convert(rate, &vec![i16::MIN; rate as usize / 10]);
        assert!(
            rail[SETTLED..].iter().all(|sample| *sample == i16::MIN),
            "{rate}"
        );
    }
    for rate in [0, 1, 11_025, 32_000, 96_000, u32::MAX] {
        assert!(RateConverter::new(rate).is_none(), "{rate}");
    }
}
