//! Goal: a short loss is hardly heard, a long one ends in silence, and no end of either clicks.
//! Method: frames of voices, tones and noise are taken out of a stream, through the concealer and
//! through a leg; numbers for likeness, steps, level and time.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use diglot_rt::dsp::plc::{CONCEAL_MS_MAX, Concealed, Concealer};
use diglot_rt::msg::Codec;
use diglot_rt::stats::RxCount;
use diglot_rt::testing::meter::{decibels, rms, tone};
use diglot_rt::testing::packets::Sender;
use diglot_rt::testing::signals::{hiss, speech, vowel, white};
use diglot_rt::units::Micros;
use diglot_rt::units::SampleRate::{self, Hz8000, Hz16000};
use support::Uplink;

const RATES: [SampleRate; 2] = [Hz8000, Hz16000];

/// `sound` with the frames lost that `is_lost` names, as it is heard.
fn through(rate: SampleRate, sound: &[i16], is_lost: impl Fn(usize) -> bool) -> Vec<i16> {
    let mut concealer = Concealer::new(rate);
    let frames = sound.chunks_exact(rate.samples_per_frame()).enumerate();
    frames
        .flat_map(|(n, frame)| {
            let mut heard = frame.to_vec();
            if is_lost(n) {
                concealer.conceal(&mut heard);
            } else {
                concealer.hear(&mut heard);
            }
            heard
        })
        .collect()
}

fn ms(rate: SampleRate, milliseconds: usize) -> usize {
    rate.hertz() as usize / 1000 * milliseconds
}

fn steepest(samples: &[i16]) -> i32 {
    let step = |pair: &[i16]| (i32::from(pair[1]) - i32::from(pair[0])).abs();
    samples.windows(2).map(step).max().expect("samples")
}

/// How much weaker the difference of the two is than the first, in dB.
fn likeness(said: &[i16], heard: &[i16]) -> f64 {
    let wrong: Vec<i16> = said
        .iter()
        .zip(heard)
        .map(|(a, b)| a.saturating_sub(*b))
        .collect();
    decibels(rms(said) / rms(&wrong).max(1.0))
}

#[test]
fn a_voice_goes_on_in_its_own_pitch() {
    for rate in RATES {
        for pitch in [70.0, 100.0, 125.0, 160.0, 190.0] {
            let said = vowel(rate, pitch, 8_000.0, ms(rate, 400));
            let heard = through(rate, &said, |n| n == 10);
            let (begin, full) = (ms(rate, 200), ms(rate, 10));
            // 10 ms at full level, where a whole number of samples is near enough the period.
            let likeness = likeness(&said[begin..begin + full], &heard[begin..begin + full]);
            assert!(likeness >= 6.0, "{rate:?}, {pitch} Hz: {likeness:.1} dB");
            assert_eq!(said[..begin], heard[..begin], "nothing is touched before");
            let back = begin + ms(rate, 40);
            assert_eq!(said[back..], heard[back..], "nor once it is back");
            assert!(
                steepest(&heard) <= steepest(&said) * 5 / 4,
                "{rate:?}, {pitch} Hz"
            );
        }
    }
}

#[test]
fn a_loss_fades_by_the_clock_and_is_silent_after_60_ms() {
    for rate in RATES {
        let said = tone(rate, 150.0, 10_000.0, ms(rate, 1000));
        let heard = through(rate, &said, |n| (10..40).contains(&n));
        let level = |from: usize, to: usize| {
            let begin = ms(rate, 200);
            rms(&heard[begin + ms(rate, from)..begin + ms(rate, to)]) * 2f64.sqrt()
        };
        // A period and a half, so the phase shows a little.
        for (from, expected) in [(0, 10_000.0), (20, 7_000.0), (30, 5_000.0), (40, 3_000.0)] {
            let measured = level(from, from + 10);
            let off = (measured - expected).abs();
            assert!(off <= 1_500.0, "{rate:?}: {measured:.0} at {from} ms");
        }
        let silence = &heard[ms(rate, 200 + CONCEAL_MS_MAX)..ms(rate, 800)];
        assert!(silence.iter().all(|sample| *sample == 0));
    }
}

#[test]
fn no_loss_of_any_length_clicks() {
    for rate in RATES {
        let sounds = [
            vowel(rate, 110.0, 12_000.0, ms(rate, 800)),
            tone(rate, 437.0, 12_000.0, ms(rate, 800)),
            tone(rate, 61.0, 30_000.0, ms(rate, 800)),
            hiss(rate, 1, 6_000.0, ms(rate, 800)),
        ];
        for (n, sound) in sounds.iter().enumerate() {
            for lost in 1..8 {
                let heard = through(rate, sound, |n| (11..11 + lost).contains(&n));
                let (most, measured) = (steepest(sound) * 3 / 2, steepest(&heard));
                assert!(
                    measured <= most,
                    "{rate:?}, {n}, {lost} lost: {measured} > {most}"
                );
                // Losses in a row with little between.
                let heard = through(rate, sound, |n| n > 10 && n % (lost + 1) != 0);
                let measured = steepest(&heard);
                assert!(
                    measured <= most,
                    "{rate:?}, {n}, 1 of {lost}: {measured} > {most}"
                );
            }
        }
    }
}

#[test]
fn it_is_better_than_silence_for_speech_and_never_louder_than_what_was_said() {
    for rate in RATES {
        let (mut concealed, mut silent) = (0.0, 0.0);
        for seed in 0..20 {
            let said = speech(rate, seed, 10_000.0, ms(rate, 10_000));
            let is_lost = |n: usize| n % 10 == 9;
            let heard = through(rate, &said, is_lost);
            let peak = |samples: &[i16]| samples.iter().map(|s| s.unsigned_abs()).max();
            assert!(
                peak(&heard) <= peak(&said).map(|peak| peak + peak / 4),
                "seed {seed}"
            );
            concealed += likeness(&said, &heard);
            let frame = rate.samples_per_frame();
            let mut holes = said.clone();
            for (_, hole) in holes
                .chunks_mut(frame)
                .enumerate()
                .filter(|(n, _)| is_lost(*n))
            {
                hole.fill(0);
            }
            silent += likeness(&said, &holes);
        }
        let gain = (concealed - silent) / 20.0;
        assert!(gain >= 2.5, "{rate:?}: {gain:.1} dB better than silence");
    }
}

#[test]
fn extremes_and_odd_lengths_are_survived() {
    for rate in RATES {
        for seed in 0..50 {
            let mut concealer = Concealer::new(rate);
            let sizes = white(seed, 400.0, 300);
            for (n, size) in sizes.into_iter().enumerate() {
                let mut samples =
                    vec![if n % 2 == 0 { i16::MIN } else { i16::MAX }; size.unsigned_abs().into()];
                if n % 3 == 0 {
                    concealer.conceal(&mut samples);
                } else {
                    concealer.hear(&mut samples);
                }
                if n % 50 == 49 {
                    concealer.forget();
                }
            }
        }
        let mut silence = [1; 160];
        let concealed = Concealer::new(rate).conceal(&mut silence);
        assert_eq!((concealed, silence), (Concealed::Silent, [0; 160]));
    }
}

#[test]
fn a_leg_that_loses_a_packet_hears_no_hole() {
    for codec in Codec::ALL {
        let rate = codec.sample_rate();
        let said = vowel(rate, 120.0, 10_000.0, ms(rate, 1000));
        let (mut uplink, mut sender) = (Uplink::new(codec), Sender::new(codec));
        let mut heard = Vec::new();
        for (n, frame) in said.chunks_exact(rate.samples_per_frame()).enumerate() {
            let packet = sender.packet(frame);
            let now = Micros(0).plus_frames(n as u64);
            if n % 12 != 7 {
                uplink.receive(now, &packet);
            }
            uplink.tick(now);
            heard.extend(uplink.take());
        }
        let lost = uplink.count(RxCount::FrameFilled);
        assert_eq!(lost, 4, "{codec:?}");
        assert_eq!(uplink.count(RxCount::FrameConcealed), lost);
        let quietest = heard[5..]
            .iter()
            .map(|frame| rms(&frame.samples))
            .fold(1e9, f64::min);
        let usual = rms(&heard[5].samples);
        assert!(
            quietest >= usual / 2.0,
            "{codec:?}: {quietest:.0} of {usual:.0}"
        );
    }
}
