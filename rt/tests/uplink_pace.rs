//! Goal: however a phone stamps its packets, its uplink is no longer than the time that passes.
//! Method: phones whose timestamps run faster than time, through Decode and Resample on virtual
//! time; the frames that come out are counted against the clock.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use diglot_rt::limits::{FILL_AFTER_MS, FILL_CREDIT_FRAMES, GAP_FRAMES_MAX};
use diglot_rt::msg::{Codec, FrameKind, RxLeg, UplinkStart};
use diglot_rt::stats::RxCount;
use diglot_rt::testing::packets::Sender;
use diglot_rt::units::Micros;
use support::{LEG, Uplink, rx_leg};

const LOUD: i16 = 8_000;
/// A minute.
const PACKETS: u64 = 3_000;

fn slot(n: u64) -> Micros {
    Micros(1_000_000).plus_frames(n)
}

/// Frames that come out of a minute of punctual packets, each stamped `extra` frames too late.
fn frames_of_a_minute(codec: Codec, extra: u32) -> (u64, Uplink) {
    let (mut uplink, mut sender) = (Uplink::new(codec), Sender::new(codec));
    let voice = vec![LOUD; codec.sample_rate().samples_per_frame()];
    let mut frames = 0;
    for n in 0..PACKETS {
        uplink.receive(slot(n), &sender.packet(&voice));
        uplink.tick(slot(n));
        frames += uplink.take().len() as u64;
        sender.skip(0, extra * codec.clock_rate().units_per_frame());
    }
    (frames, uplink)
}

#[test]
fn timestamps_run_faster_than_time() {
    for codec in Codec::ALL {
        // G.722 stamped at the rate of its samples is one frame too far on each packet.
        for extra in [1, 2, 10, GAP_FRAMES_MAX - 1] {
            let (frames, uplink) = frames_of_a_minute(codec, extra);
            // A clock that is a little fast is borne with.
            let most = PACKETS + PACKETS / 50 + u64::from(FILL_CREDIT_FRAMES);
            let what = format!("{codec:?}, {extra} frames too far");
            assert!(frames >= PACKETS, "{what}: every packet is heard");
            assert!(frames <= most, "{what}: {frames} frames in a minute");
            let resyncs = uplink.count(RxCount::Resync);
            assert!(resyncs > PACKETS * 9 / 10, "{what}: {resyncs} counted");
        }
    }
}

#[test]
fn a_gap_as_long_as_the_time_that_passed_is_filled() {
    for codec in Codec::ALL {
        let (mut uplink, mut sender) = (Uplink::new(codec), Sender::new(codec));
        let voice = vec![LOUD; codec.sample_rate().samples_per_frame()];
        let units = codec.clock_rate().units_per_frame();
        let (mut now, mut frames) = (0, 0);
        // Digits that leave holes of up to a second, again and again, and no tick between.
        for hole in (0..GAP_FRAMES_MAX).cycle().take(1_000) {
            uplink.receive(slot(now), &sender.packet(&voice));
            frames += uplink.take().len() as u64;
            sender.skip(0, hole * units);
            now += 1 + u64::from(hole);
            assert!(frames <= now, "{codec:?}");
        }
        uplink.receive(slot(now), &sender.packet(&voice));
        frames += uplink.take().len() as u64;
        assert_eq!(frames, now + 1, "{codec:?}: as many frames as time");
        assert_eq!(uplink.count(RxCount::Resync), 0, "{codec:?}");
    }
}

#[test]
fn a_leg_that_was_heard_elsewhere_goes_on_without_a_packet() {
    for (uplink_start, expected, told) in
        [(UplinkStart::Continued, 47, 0), (UplinkStart::Fresh, 0, 1)]
    {
        let mut uplink = Uplink::empty();
        let leg = RxLeg {
            uplink: uplink_start,
            ..rx_leg(LEG, Codec::Ulaw)
        };
        uplink.decode.add_leg(slot(0), &leg).expect("a free slot");
        uplink.resample.add_leg(&leg).expect("a free slot");
        uplink.tick(Micros(slot(0).plus_ms(FILL_AFTER_MS).0 - 1));
        assert!(uplink.take().is_empty(), "a packet may still come");
        for n in 0..50 {
            uplink.tick(slot(n));
        }
        let frames = uplink.take();
        assert_eq!(frames.len(), expected, "{uplink_start:?}");
        assert!(frames.iter().all(|frame| frame.kind == FrameKind::Filled));
        let packet = Sender::new(Codec::Ulaw).packet(&[LOUD; 160]);
        uplink.receive(slot(50), &packet);
        assert_eq!(uplink.take().len(), 1);
        assert_eq!(
            uplink.events.len(),
            told,
            "{uplink_start:?}: its first packet"
        );
    }
}
