//! Goal: a leg-frame costs what the budget says.
//! Method: 500 legs through all four stages, the time of each over many ticks. Ignored by default,
//! since a busy machine would fail it; run with
//! `cargo test --release -p diglot-rt --test stage_cost -- --ignored --nocapture`.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use std::time::{Duration, Instant};

use diglot_rt::limits::STAGE_RING_FRAMES;
use diglot_rt::msg::{Codec, DownlinkFrame, LegId, Pace, Part, UtteranceId};
use diglot_rt::phases::Phase;
use diglot_rt::stage::{Decode, Encode, Playout, Resample};
use diglot_rt::stats::{RxCounts, TxCounts};
use diglot_rt::testing::meter::tone;
use diglot_rt::testing::packets::Sender;
use diglot_rt::time::Tick;
use diglot_rt::units::{Micros, SampleRate};
use rtrb::RingBuffer;
use support::{rx_leg, tx_leg};

const LEGS: u16 = 500;
const TICKS: u64 = 500;
/// One frame in and one out, µ-law to 16 kHz and back, all stages: the tile's share of a bare echo.
const BUDGET_NS: u128 = 4_000;

fn legs() -> impl Iterator<Item = LegId> {
    (0..LEGS).map(|slot| LegId {
        slot,
        generation: 1,
    })
}

/// Adds the time `work` takes to `total`.
fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = work();
    *total += begin.elapsed();
    result
}

fn report(name: &str, total: Duration) -> u128 {
    let ns = total.as_nanos() / u128::from(TICKS * u64::from(LEGS));
    println!("{name:<34} {ns:>6} ns per leg-frame");
    ns
}

fn uplink(codec: Codec) -> u128 {
    let (out, input) = RingBuffer::new(STAGE_RING_FRAMES);
    let (wide_out, mut link) = RingBuffer::new(STAGE_RING_FRAMES);
    let mut decode = Decode::new(LEGS.into(), out);
    let mut resample = Resample::new(LEGS.into(), input, wide_out);
    for leg in legs() {
        decode
            .add_leg(Micros(0), &rx_leg(leg, codec))
            .expect("free");
        resample.add_leg(&rx_leg(leg, codec)).expect("free");
    }
    let rate = codec.sample_rate();
    let sound = tone(rate, 437.0, 9_000.0, rate.samples_per_frame());
    let mut sender = Sender::new(codec);
    let counts = RxCounts::default();
    let (mut decoding, mut resampling) = (Duration::ZERO, Duration::ZERO);
    for n in 0..TICKS {
        let packet = sender.packet(&sound);
        let now = Micros(0).plus_frames(n);
        timed(&mut decoding, || {
            for leg in legs() {
                decode.receive(now, leg, &packet, &counts, |_| {});
            }
            decode.tick(now, &counts, |_| {});
        });
        let done = timed(&mut resampling, || {
            resample.step(STAGE_RING_FRAMES, &counts)
        });
        assert_eq!(done, usize::from(LEGS));
        while link.pop().is_ok() {}
    }
    report(&format!("decode/{codec:?}"), decoding)
        + report(&format!("resample/{codec:?}"), resampling)
}

fn downlink(codec: Codec, speaks: bool) -> u128 {
    let (mut feed, input) = RingBuffer::new(STAGE_RING_FRAMES);
    let (out, played) = RingBuffer::new(STAGE_RING_FRAMES);
    let mut playout = Playout::new(LEGS.into(), input, out);
    let mut encode = Encode::new(LEGS.into(), played);
    for leg in legs() {
        playout
            .add_leg(&tx_leg(leg, codec), Phase(0))
            .expect("free");
        encode.add_leg(&tx_leg(leg, codec)).expect("free");
    }
    let sound = tone(SampleRate::Hz16000, 437.0, 9_000.0, 320);
    let counts = TxCounts::default();
    let [mut collecting, mut playing, mut encoding] = [Duration::ZERO; 3];
    let mut bytes = 0;
    for slot in 0..TICKS {
        for leg in legs().filter(|_| speaks) {
            let samples = *sound.first_chunk().expect("a frame");
            let utterance = UtteranceId(1);
            feed.push(DownlinkFrame {
                leg,
                utterance,
                part: Part::Middle,
                pace: Pace::Live,
                samples,
            })
            .expect("room");
        }
        timed(&mut collecting, || {
            playout.collect(STAGE_RING_FRAMES, &counts)
        });
        let tick = Tick {
            slot,
            late_us: 0,
            missed: 0,
        };
        timed(&mut playing, || playout.tick(Phase(0), tick, &counts));
        timed(&mut encoding, || {
            encode.step(STAGE_RING_FRAMES, &counts, |_, _, packet, _| {
                bytes += packet.len()
            })
        });
    }
    assert_eq!(
        bytes as u64,
        TICKS * u64::from(LEGS) * (12 + codec.payload_bytes_per_frame()) as u64
    );
    let what = if speaks { "speech" } else { "silence" };
    report(&format!("playout collect/{codec:?}/{what}"), collecting)
        + report(&format!("playout tick/{codec:?}/{what}"), playing)
        + report(&format!("encode/{codec:?}/{what}"), encoding)
}

#[test]
#[ignore = "measures time: run alone and optimised"]
fn a_leg_frame_is_within_its_budget() {
    println!(
        "bytes per leg: decode {}, resample {}, playout {}, encode {}",
        Decode::BYTES_PER_LEG,
        Resample::BYTES_PER_LEG,
        Playout::BYTES_PER_LEG,
        Encode::BYTES_PER_LEG
    );
    let up: Vec<u128> = Codec::ALL.into_iter().map(uplink).collect();
    for codec in [Codec::Alaw, Codec::G722, Codec::Slin] {
        downlink(codec, true);
    }
    downlink(Codec::G722, false);
    downlink(Codec::Ulaw, false);
    let total = up[Codec::Ulaw as usize] + downlink(Codec::Ulaw, true);
    println!("µ-law, both directions: {total} ns, budget {BUDGET_NS} ns");
    assert!(total <= BUDGET_NS);
}
