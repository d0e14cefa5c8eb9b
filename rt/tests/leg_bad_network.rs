//! Goal: a leg lives through the worst networks: order kept, time kept, delay bounded, no panic.
//! Method: ten minutes of call on virtual time through a seeded network with bursts of loss,
//! jitter and duplicates, and a phone whose clock is off; checked on every frame, for several
//! seeds. A failure names the seed.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use diglot_rt::limits::{FILL_AFTER_MS, FILL_DEBT_FRAMES_MAX, REORDER_WAIT_MS_MAX};
use diglot_rt::msg::{Codec, FrameKind, UplinkFrame};
use diglot_rt::stats::RxCount;
use diglot_rt::testing::netem::{Netem, Profile, Random};
use diglot_rt::testing::packets::Sender;
use diglot_rt::units::{FRAME_US, Micros};
use support::Uplink;

const CALL_FRAMES: u64 = 10 * 60 * 50;
/// How often the tile turns when nothing arrives.
const TURN_US: u64 = 5_000;

/// The phone counts its frames aloud: frame `n` is steady sound at `level(n)`, talk and pauses of a
/// second each.
fn level(n: u64) -> i16 {
    if (n / 50).is_multiple_of(2) {
        2_000 + (n % 50) as i16 * 200
    } else {
        0
    }
}

struct Call {
    uplink: Uplink,
    lost: u64,
    frames: Vec<UplinkFrame>,
}

/// A whole call; `skew_ppm` is how much too slow the phone's clock is.
fn call(seed: u64, profile: Profile, skew_ppm: i64) -> Call {
    let mut uplink = Uplink::new(Codec::Slin16);
    let mut sender = Sender::new(Codec::Slin16);
    sender.timestamp.0 = u32::MAX - 100_000;
    sender.sequence_number.0 = 65_000;
    let mut network = Netem::new(seed, profile);
    let frame_us = FRAME_US.saturating_add_signed(FRAME_US as i64 * skew_ppm / 1_000_000);
    let (mut frames, mut now, mut sent) = (Vec::new(), 0, 0);
    while now < CALL_FRAMES * FRAME_US {
        while sent * frame_us <= now {
            network.send(Micros(sent * frame_us), &sender.packet(&[level(sent); 320]));
            sent += 1;
        }
        while let Some((at, packet)) = network.receive(Micros(now)) {
            uplink.receive(at, &packet);
        }
        uplink.tick(Micros(now));
        frames.append(&mut uplink.take());
        now += TURN_US;
    }
    Call {
        uplink,
        lost: network.lost,
        frames,
    }
}

fn assert_time_is_kept(call: &Call, seed: u64) {
    for (n, frame) in call.frames.iter().enumerate() {
        assert_eq!(frame.index, n as u64, "seed {seed}: the row is unbroken");
        // Frame n of the row holds what was said at n · 20 ms, give or take what may be owed,
        // awaited or filled in advance.
        let slack = u64::from(FILL_DEBT_FRAMES_MAX) * FRAME_US
            + (REORDER_WAIT_MS_MAX + FILL_AFTER_MS) * 1000;
        let off = frame.at.0.abs_diff(n as u64 * FRAME_US);
        assert!(
            off <= slack + TURN_US,
            "seed {seed}: frame {n} is {off} µs off"
        );
    }
}

/// Every frame of talk that was heard, in the order it was heard.
fn heard(call: &Call) -> Vec<i16> {
    let received = call
        .frames
        .iter()
        .filter(|frame| frame.kind == FrameKind::Received);
    received
        // The beginning of a frame after a gap is still mixed with what went before it.
        .map(|frame| frame.samples[319])
        .filter(|sample| *sample != 0)
        .collect()
}

#[test]
fn order_and_time_survive_thirty_percent_of_bursty_loss() {
    // Bursts of five packets on average; jitter of three packets, so disorder as well.
    let profile = Profile {
        to_bad_percent: 8.6,
        to_good_percent: 20.0,
        jitter_us: 60_000,
        duplicate_percent: 2.0,
    };
    for seed in 0..8 {
        let skew_ppm = Random::new(seed).below(401) as i64 - 200;
        let call = call(seed, profile, skew_ppm);
        let share = call.lost as f64 / CALL_FRAMES as f64;
        assert!(
            (0.25..0.35).contains(&share),
            "seed {seed}: {share} was lost"
        );
        assert_time_is_kept(&call, seed);
        // Within a second of talk, levels only rise: order is kept.
        let out_of_order = heard(&call)
            .windows(2)
            .filter(|pair| pair[1] <= pair[0])
            .count();
        let seconds = CALL_FRAMES as usize / 50;
        assert!(
            out_of_order <= seconds,
            "seed {seed}: {out_of_order} steps back"
        );
        assert_eq!(call.uplink.count(RxCount::Resync), 0, "seed {seed}");
        let count = |what| call.uplink.count(what);
        assert!(count(RxCount::DropDuplicate) > 100 && count(RxCount::Reordered) > 100);
    }
}

#[test]
fn nothing_that_arrives_within_the_wait_is_lost() {
    let profile = Profile {
        jitter_us: 50_000,
        duplicate_percent: 5.0,
        ..Profile::default()
    };
    for seed in 0..8 {
        let call = call(seed, profile, 0);
        assert_time_is_kept(&call, seed);
        let talk = (0..CALL_FRAMES).filter(|n| level(*n) != 0).count();
        let heard = heard(&call);
        assert!(
            heard.len() + 5 >= talk,
            "seed {seed}: {} of {talk} frames",
            heard.len()
        );
        let steps_back = heard.windows(2).filter(|pair| pair[1] <= pair[0]).count();
        assert!(
            steps_back <= CALL_FRAMES as usize / 100,
            "seed {seed}: {steps_back}"
        );
        // Only at the very start: the first packet to arrive begins the stream, even out of turn.
        assert!(call.uplink.count(RxCount::DropLate) <= 2, "seed {seed}");
    }
}

#[test]
fn a_clock_that_is_off_neither_grows_the_delay_nor_breaks_speech() {
    for skew_ppm in [-200, 200] {
        let call = call(1, Profile::default(), skew_ppm);
        assert_time_is_kept(&call, 1);
        let talk = (0..call.frames.len() as u64)
            .filter(|n| level(*n) != 0)
            .count();
        assert!(heard(&call).len().abs_diff(talk) <= 50, "{skew_ppm} ppm");
        assert_eq!(
            call.uplink.count(RxCount::FrameFilled),
            0,
            "nothing was repaired"
        );
    }
}
