//! Goal: whatever a leg's packets are like, what the recogniser gets is an unbroken row of frames.
//! Method: packets of a virtual phone through Decode and Resample on virtual time.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use diglot_rt::limits::{FILL_AFTER_MS, GAP_FRAMES_MAX, REORDER_WAIT_MS_MAX, WALK_MS_MIN};
use diglot_rt::msg::{Codec, FrameKind, LegId, RxEvent, UplinkFrame};
use diglot_rt::stats::RxCount;
use diglot_rt::testing::meter::{rms, signal_to_noise_db, tone};
use diglot_rt::testing::packets::Sender;
use diglot_rt::testing::signals::white;
use diglot_rt::units::{FRAME_US, Micros, SampleRate};
use proptest::prelude::*;
use support::{LEG, Uplink, rx_leg};

const LOUD: i16 = 8_000;
const FRAME_UNITS: u32 = 160;

fn slot(n: u64) -> Micros {
    Micros(1_000_000).plus_frames(n)
}

fn is_silent(frame: &UplinkFrame) -> bool {
    frame.samples.iter().all(|sample| *sample == 0)
}

fn kinds(frames: &[UplinkFrame]) -> Vec<FrameKind> {
    frames.iter().map(|frame| frame.kind).collect()
}

fn assert_unbroken(frames: &[UplinkFrame], first: u64) {
    let indexes: Vec<u64> = frames.iter().map(|frame| frame.index).collect();
    assert_eq!(
        indexes,
        (first..first + frames.len() as u64).collect::<Vec<_>>()
    );
}

#[test]
fn every_codec_comes_out_at_16_khz_and_clean() {
    for codec in Codec::ALL {
        let (mut uplink, mut sender) = (Uplink::new(codec), Sender::new(codec));
        let rate = codec.sample_rate();
        let mut heard = Vec::new();
        for (n, frame) in tone(rate, 1000.0, 16_000.0, 51 * rate.samples_per_frame())
            .chunks(rate.samples_per_frame())
            .enumerate()
        {
            uplink.receive(slot(n as u64), &sender.packet(frame));
            let frames = uplink.take();
            assert_eq!(
                frames.len(),
                1,
                "a frame leaves within the wake-up it came in"
            );
            assert_eq!(frames[0].at, slot(n as u64));
            assert_eq!(frames[0].rate, SampleRate::Hz16000);
            heard.extend(frames[0].samples);
        }
        // G.711 itself leaves about 38 dB.
        let snr = signal_to_noise_db(SampleRate::Hz16000, 1000.0, &heard[320..]);
        assert!(snr >= 35.0, "{codec:?}: {snr:.1} dB");
        assert_eq!(uplink.count(RxCount::Frame), 51);
        assert_eq!(uplink.events, [RxEvent::FirstPacket { leg: LEG }]);
    }
}

#[test]
fn payloads_of_any_length_become_20_ms_frames() {
    for samples in [1usize, 80, 160, 240, 320, 480, 1000] {
        let (mut uplink, mut sender) = (Uplink::new(Codec::Ulaw), Sender::new(Codec::Ulaw));
        let total = 160 * samples;
        let sound = tone(SampleRate::Hz8000, 1000.0, 16_000.0, total);
        let mut heard = Vec::new();
        for packet in sound.chunks(samples) {
            uplink.receive(slot(0), &sender.packet(packet));
            heard.extend(uplink.take());
        }
        assert_eq!(heard.len(), total / 160, "payloads of {samples} samples");
        assert_unbroken(&heard, 0);
        assert_eq!(uplink.count(RxCount::FrameFilled), 0);
    }
}

#[test]
fn slin_is_taken_as_10_and_as_11() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Slin), Sender::new(Codec::Slin));
    let mut packet = sender.packet(&[LOUD; 160]);
    uplink.receive(slot(0), &packet);
    packet = sender.packet(&[LOUD; 160]);
    packet[1] = 11;
    uplink.receive(slot(1), &packet);
    assert_eq!(uplink.take().len(), 2);
}

#[test]
fn a_gap_in_time_is_filled_to_the_sample() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Slin), Sender::new(Codec::Slin));
    uplink.receive(slot(0), &sender.packet(&[LOUD; 160]));
    // A digit: 220 ms are missing, the sequence goes on.
    sender.skip(0, 1760);
    uplink.receive(slot(1), &sender.packet(&[LOUD; 160]));
    let frames = uplink.take();
    assert_eq!(frames.len(), 1 + 11 + 1);
    assert_unbroken(&frames, 0);
    assert_eq!(kinds(&frames[1..12]), [FrameKind::Filled; 11]);
    // The sound before it fades away in 60 ms; the filter remembers it 4 ms longer.
    assert!(!is_silent(&frames[1]) && !is_silent(&frames[3]));
    assert!(frames[5..11].iter().all(is_silent));
    assert_eq!(uplink.count(RxCount::FrameConcealed), 3);
    assert_eq!(uplink.count(RxCount::FrameFilled), 11);
    // Half a frame is missing: nobody hears it.
    sender.skip(0, 80);
    uplink.receive(slot(2), &sender.packet(&[LOUD; 160]));
    uplink.receive(slot(3), &sender.packet(&[LOUD; 80]));
    let frames = uplink.take();
    assert_eq!(kinds(&frames), [FrameKind::Received; 2]);
    assert!(rms(&frames[0].samples[60..220]) > f64::from(LOUD) * 0.9);
    assert_eq!(uplink.count(RxCount::FrameConcealed), 4);
}

#[test]
fn a_silent_phone_is_given_silence_by_the_clock_and_no_time_twice() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Ulaw), Sender::new(Codec::Ulaw));
    uplink.tick(slot(0));
    assert!(uplink.take().is_empty(), "nothing before the first packet");
    uplink.receive(slot(0), &sender.packet(&[LOUD; 160]));
    for n in 1..100 {
        uplink.tick(slot(n));
    }
    let frames = uplink.take();
    let late = FILL_AFTER_MS * 1000 / FRAME_US;
    assert_eq!(
        frames.len() as u64,
        100 - late + 1,
        "all but the frames it might still have sent"
    );
    // The phone sends on after two seconds: a hold as Asterisk shows it.
    sender.skip(0, 99 * FRAME_UNITS);
    uplink.receive(slot(100), &sender.packet(&[LOUD; 160]));
    let rest = uplink.take();
    assert_eq!(
        frames.len() + rest.len(),
        101,
        "as many frames as time has passed"
    );
    assert_unbroken(&rest, frames.len() as u64);
    assert_eq!(
        rest.last().map(|frame| frame.kind),
        Some(FrameKind::Received)
    );
    assert_eq!(uplink.count(RxCount::Resync), 0);
}

#[test]
fn a_stall_costs_no_speech_and_its_silence_is_made_good_in_a_pause() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Ulaw), Sender::new(Codec::Ulaw));
    let (mut heard, mut n) = (Vec::new(), 0);
    let mut run = |uplink: &mut Uplink, to: u64, packets: &dyn Fn(u64) -> i16| {
        while n < to {
            uplink.receive(slot(n), &sender.packet(&[packets(n); 160]));
            uplink.tick(slot(n));
            n += 1;
        }
    };
    run(&mut uplink, 10, &|_| LOUD);
    // Nothing for 200 ms, then all of it at once.
    for stalled in 10..20 {
        uplink.tick(slot(stalled));
    }
    run(&mut uplink, 30, &|_| LOUD);
    heard.extend(uplink.take());
    let loud = heard
        .iter()
        .filter(|frame| frame.kind == FrameKind::Received)
        .count();
    assert_eq!(loud, 30, "every frame of speech is there");
    assert!(heard.len() > 30, "and the silence of the stall as well");
    run(&mut uplink, 60, &|_| 0);
    heard.extend(uplink.take());
    assert_eq!(
        heard.len(),
        60,
        "after a pause the frames are as many as time has passed"
    );
    assert_unbroken(&heard, 0);
    assert_eq!(
        uplink.count(RxCount::FrameSkipped),
        uplink.count(RxCount::FrameFilled)
    );
}

/// Goal: a line that is never silent makes good for a stall all the same, and in its pauses only.
#[test]
fn a_stall_of_a_noisy_line_is_made_good_between_words() {
    for codec in [Codec::Slin, Codec::Slin16] {
        let frame = codec.sample_rate().samples_per_frame();
        let noise = white(3, 300.0, 300 * frame);
        // A word of half a second, a pause of as much.
        let is_word = |n: usize| (n / 25).is_multiple_of(2);
        let said = |n: usize| -> Vec<i16> {
            let word = if is_word(n) { LOUD } else { 0 };
            let noise = &noise[n * frame..][..frame];
            noise.iter().map(|noise| noise + word).collect()
        };
        let (mut uplink, mut sender) = (Uplink::new(codec), Sender::new(codec));
        let mut heard = Vec::new();
        for n in 0..300 {
            uplink.tick(slot(n as u64));
            // Nothing comes for 200 ms, then all of it at once.
            let first = match n {
                110..120 => continue,
                120 => 110,
                _ => n,
            };
            for late in first..=n {
                uplink.receive(slot(n as u64), &sender.packet(&said(late)));
            }
            heard.extend(uplink.take());
        }
        assert_eq!(heard.len(), 300, "{codec:?}: the time is made good");
        assert_unbroken(&heard, 0);
        let is_loud = |frame: &&UplinkFrame| {
            frame.kind == FrameKind::Received && rms(&frame.samples[60..]) > f64::from(LOUD) * 0.8
        };
        let words = heard.iter().filter(is_loud).count();
        let expected = (0..300).filter(|n| is_word(*n)).count();
        assert!(
            words.abs_diff(expected) <= 1,
            "{codec:?}: {words} of {expected}"
        );
    }
}

#[test]
fn a_lost_packet_is_waited_for_and_then_filled() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Alaw), Sender::new(Codec::Alaw));
    uplink.receive(slot(0), &sender.packet(&[LOUD; 160]));
    let lost = sender.packet(&[LOUD; 160]);
    for n in 2..5 {
        uplink.receive(slot(n), &sender.packet(&[LOUD; 160]));
    }
    let bound = slot(2).plus_ms(REORDER_WAIT_MS_MAX);
    uplink.tick(Micros(bound.0 - 1));
    assert_eq!(uplink.take().len(), 1, "the bound is not reached");
    uplink.tick(bound.plus_ms(WALK_MS_MIN));
    let (filled, received) = (FrameKind::Filled, FrameKind::Received);
    assert_eq!(
        kinds(&uplink.take()),
        [filled, received, received, received]
    );
    uplink.receive(slot(6), &lost);
    assert_eq!(uplink.count(RxCount::DropLate), 1);
}

#[test]
fn order_is_restored_and_counted() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Slin16), Sender::new(Codec::Slin16));
    let packets: Vec<_> = (1..=4).map(|n| sender.packet(&[n * 1000; 320])).collect();
    for n in [0, 2, 2, 1, 1, 3] {
        uplink.receive(slot(0), &packets[n]);
    }
    let levels: Vec<i16> = uplink.take().iter().map(|frame| frame.samples[0]).collect();
    assert_eq!(levels, [1000, 2000, 3000, 4000]);
    assert_eq!(uplink.count(RxCount::Reordered), 1);
    assert_eq!(uplink.count(RxCount::DropDuplicate), 2);
}

#[test]
fn a_jump_or_a_new_source_resyncs_and_keeps_the_row_unbroken() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Ulaw), Sender::new(Codec::Ulaw));
    let mut send = |uplink: &mut Uplink, change: &dyn Fn(&mut Sender)| {
        change(&mut sender);
        uplink.receive(slot(0), &sender.packet(&[LOUD; 160]));
    };
    send(&mut uplink, &|_| {});
    send(&mut uplink, &|sender| {
        sender.skip(0, (GAP_FRAMES_MAX + 1) * FRAME_UNITS)
    });
    assert_eq!(uplink.count(RxCount::Resync), 1);
    send(&mut uplink, &|sender| sender.ssrc = 99);
    assert_eq!(uplink.count(RxCount::Resync), 2);
    send(&mut uplink, &|sender| {
        sender.skip(0, 0u32.wrapping_sub(1_000_000))
    });
    assert_eq!(uplink.count(RxCount::Resync), 3);
    let frames = uplink.take();
    assert_unbroken(&frames, 0);
    assert_eq!(kinds(&frames), [FrameKind::Received; 4]);
}

#[test]
fn foreign_payload_types_are_reported_once_and_the_leg_lives() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Ulaw), Sender::new(Codec::Ulaw));
    for _ in 0..10 {
        let mut packet = sender.packet(&[LOUD; 160]);
        packet[1] = 8;
        uplink.receive(slot(0), &packet);
    }
    uplink.receive(slot(0), &sender.packet(&[LOUD; 160]));
    assert_eq!(uplink.count(RxCount::DropPayloadType), 10);
    assert_eq!(uplink.take().len(), 1);
    let reported = RxEvent::UnexpectedPayloadType {
        leg: LEG,
        payload_type: 8,
        expected: Codec::Ulaw,
    };
    assert_eq!(uplink.events, [reported, RxEvent::FirstPacket { leg: LEG }]);
}

#[test]
fn a_leg_of_the_past_is_never_heard() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Ulaw), Sender::new(Codec::Ulaw));
    let heir = LegId {
        generation: LEG.generation + 1,
        ..LEG
    };
    // One frame is between the stages when the leg ends and its slot is used again.
    uplink.decode.receive(
        slot(0),
        LEG,
        &sender.packet(&[LOUD; 160]),
        &uplink.counts,
        |_| {},
    );
    uplink.decode.remove_leg(LEG);
    uplink.resample.remove_leg(LEG);
    uplink
        .decode
        .add_leg(slot(0), &rx_leg(heir, Codec::Ulaw))
        .expect("free again");
    uplink
        .resample
        .add_leg(&rx_leg(heir, Codec::Ulaw))
        .expect("free again");
    uplink.receive(slot(0), &sender.packet(&[LOUD; 160]));
    assert!(uplink.take().is_empty());
    assert_eq!(uplink.count(RxCount::DropStaleLeg), 2);
}

#[test]
fn a_full_ring_is_counted_and_shows_in_the_index() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Ulaw), Sender::new(Codec::Ulaw));
    let frames = support::RING as u64 + 5;
    for _ in 0..frames {
        uplink.decode.receive(
            slot(0),
            LEG,
            &sender.packet(&[0; 160]),
            &uplink.counts,
            |_| {},
        );
    }
    assert_eq!(uplink.count(RxCount::DropRingFull), 5);
    uplink.receive(slot(0), &[]);
    assert_eq!(uplink.take().len() as u64, frames - 5);
    uplink.receive(slot(0), &sender.packet(&[0; 160]));
    assert_eq!(uplink.take()[0].index, frames);
}

proptest! {
    /// Whatever the payloads' lengths and the gaps between them, no sample of time is lost or made.
    #[test]
    fn time_is_conserved_to_the_sample(
        packets in prop::collection::vec((1..700usize, 0..2_000u32), 1..100)
    ) {
        let (mut uplink, mut sender) = (Uplink::new(Codec::Slin), Sender::new(Codec::Slin));
        let (mut samples, mut frames) = (0, 0);
        for (n, (length, gap)) in packets.into_iter().enumerate() {
            if n > 0 {
                sender.skip(0, gap);
                samples += gap as usize;
            }
            samples += length;
            // When it has all been said.
            let now = Micros(slot(0).0 + samples as u64 * FRAME_US / u64::from(FRAME_UNITS));
            uplink.receive(now, &sender.packet(&vec![LOUD; length]));
            frames += uplink.take().len();
            prop_assert_eq!(frames, samples / 160);
        }
    }
}
