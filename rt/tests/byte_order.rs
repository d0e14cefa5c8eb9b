//! Goal: swapped bytes are noticed in the first words said, and nothing else is ever suspected.
//! Method: voices, music, keys, tones, noise and ringing of many levels, both ways round, through
//! Decode.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use diglot_rt::codec::{Decoder, Encoder};
use diglot_rt::msg::{Codec, RxEvent};
use diglot_rt::testing::meter::tone;
use diglot_rt::testing::packets::Sender;
use diglot_rt::testing::signals::{chord, hiss, speech, vowel, white};
use diglot_rt::units::Micros;
use support::{LEG, Uplink};

const LEVELS: [f64; 7] = [20.0, 150.0, 600.0, 2_000.0, 8_000.0, 20_000.0, 32_767.0];
const LINEAR: [Codec; 2] = [Codec::Slin, Codec::Slin16];

/// How often the order was suspected, and in which frame first.
fn suspicions(codec: Codec, samples: &[i16]) -> (usize, Option<usize>) {
    let (mut uplink, mut sender) = (Uplink::new(codec), Sender::new(codec));
    let mut first = None;
    let suspected = RxEvent::ByteOrderSuspected {
        leg: LEG,
        expected: codec,
    };
    let frames = samples.chunks_exact(codec.sample_rate().samples_per_frame());
    for (n, frame) in frames.enumerate() {
        uplink.receive(Micros(0).plus_frames(n as u64), &sender.packet(frame));
        uplink.take();
        if uplink.events.contains(&suspected) {
            first = first.or(Some(n));
        }
    }
    let times = uplink.events.iter().filter(|event| **event == suspected);
    (times.count(), first)
}

fn swapped(samples: &[i16]) -> Vec<i16> {
    samples.iter().map(|sample| sample.swap_bytes()).collect()
}

/// What is left of the samples after a call over this law: few of the low bytes there are.
fn over(law: Codec, samples: &[i16]) -> Vec<i16> {
    let (mut codes, mut heard) = (vec![0; samples.len()], vec![0; samples.len()]);
    Encoder::new(law).encode(samples, &mut codes);
    Decoder::new(law).decode(&codes, &mut heard);
    heard
}

fn assert_innocent(codec: Codec, samples: &[i16], what: &str) {
    assert_eq!(suspicions(codec, samples).0, 0, "{codec:?}: {what}");
}

#[test]
fn what_is_right_is_never_suspected() {
    for codec in LINEAR {
        let rate = codec.sample_rate();
        let second = rate.hertz() as usize;
        for peak in LEVELS {
            for seed in 0..5 {
                assert_innocent(codec, &speech(rate, seed, peak, 3 * second), "speech");
                assert_innocent(codec, &white(seed, peak, second), "noise");
                assert_innocent(codec, &hiss(rate, seed, peak, second), "hiss");
            }
            for hertz in (50..second / 2).step_by(77) {
                let tone = tone(rate, hertz as f64, peak, second / 2);
                assert_innocent(codec, &tone, &format!("{hertz} Hz of {peak}"));
            }
            let music = chord(rate, &[220.0, 277.2, 329.6, 440.0, 880.0], peak, second);
            assert_innocent(codec, &music, "music");
            for low in [697.0, 770.0, 852.0, 941.0] {
                for high in [1209.0, 1336.0, 1477.0] {
                    let key = chord(rate, &[low, high], peak, second / 2);
                    assert_innocent(codec, &key, "a key");
                }
            }
            // Eight bits made sixteen, and squares of every period: what players of sound do.
            let coarse = speech(rate, 9, peak, second);
            let coarse: Vec<i16> = coarse.iter().map(|sample| sample & !0xff).collect();
            assert_innocent(codec, &coarse, "eight bits");
            for period in 1..60 {
                let is_high = |n: usize| (n / period).is_multiple_of(2);
                let level = |n: usize| if is_high(n) { peak } else { -peak } as i16;
                let square: Vec<i16> = (0..second / 2).map(level).collect();
                assert_innocent(codec, &square, "a square");
            }
        }
    }
}

#[test]
fn swapped_speech_is_noticed_in_the_first_second_of_it_and_once() {
    for codec in LINEAR {
        let rate = codec.sample_rate();
        let second = rate.hertz() as usize;
        for seed in 0..40 {
            for peak in [2_000.0, 8_000.0, 20_000.0] {
                // A pause before the first word, as a call begins.
                let mut said = vec![0; second];
                said.extend(speech(rate, seed, peak, 20 * second));
                let (times, first) = suspicions(codec, &swapped(&said));
                assert_eq!(times, 1, "{codec:?}, seed {seed}, peak {peak}");
                let first = first.expect("it was said once");
                assert!(first <= 50 + 100, "{codec:?}, seed {seed}: frame {first}");
            }
        }
        let held = vowel(rate, 120.0, 8_000.0, second);
        assert_eq!(suspicions(codec, &swapped(&held)), (1, Some(9)));
    }
}

#[test]
fn swapped_speech_of_a_g711_phone_is_noticed_however_loud_it_is() {
    let rate = Codec::Slin.sample_rate();
    let second = rate.hertz() as usize;
    for law in [Codec::Alaw, Codec::Ulaw] {
        for peak in [500.0, 2_000.0, 8_000.0, 20_000.0] {
            for seed in 0..20 {
                let said = over(law, &speech(rate, seed, peak, 10 * second));
                let what = format!("{law:?}, seed {seed}, peak {peak}");
                assert_innocent(Codec::Slin, &said, &what);
                let (times, first) = suspicions(Codec::Slin, &swapped(&said));
                assert_eq!(times, 1, "{what}");
                let seconds = if peak > 10_000.0 { 5 } else { 3 };
                let first = first.expect("it was said once");
                assert!(first <= seconds * 50, "{what}: frame {first}");
            }
        }
    }
}
