//! Goal: keys are told once and never heard; comfort noise is quiet time, and nobody waits for
//! either.
//! Method: telephone-events and comfort noise among a phone's packets, through Decode on virtual
//! time.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use diglot_rt::limits::{KEYS_PER_SECOND_MAX, REORDER_WAIT_MS_MAX};
use diglot_rt::msg::{Codec, FrameKind, RxEvent};
use diglot_rt::stats::RxCount;
use diglot_rt::testing::meter::{decibels, rms};
use diglot_rt::testing::packets::Sender;
use diglot_rt::units::Micros;
use diglot_rt::wire::telephone_event::{Stage, TelephoneEvent};
use diglot_rt::wire::{comfort_noise, telephone_event};
use support::{LEG, Uplink};

const LOUD: i16 = 8_000;

fn slot(n: u64) -> Micros {
    Micros(1_000_000).plus_frames(n)
}

/// A packet of the sender's stream that is not audio; takes a place in the sequence.
fn other(sender: &mut Sender, payload_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = sender.clone().packet(&[0; 2])[..12].to_vec();
    packet[1] = payload_type;
    packet.extend(payload);
    sender.skip(1, 0);
    packet
}

fn key_packet(sender: &mut Sender, event: u8, stage: Stage, duration: u16) -> Vec<u8> {
    let event = TelephoneEvent {
        event,
        stage,
        volume: 10,
        duration,
    };
    other(sender, telephone_event::PAYLOAD_TYPE, &event.emit())
}

/// The packets of a key held for `frames` frames, its end said three times.
fn press(sender: &mut Sender, event: u8, frames: u16) -> Vec<Vec<u8>> {
    let units = sender.codec().clock_rate().units_per_frame() as u16;
    let mut packets: Vec<_> = (1..frames)
        .map(|n| key_packet(sender, event, Stage::Ongoing, n * units))
        .collect();
    packets.extend((0..3).map(|_| key_packet(sender, event, Stage::Ended, frames * units)));
    sender.skip(0, u32::from(frames * units));
    packets
}

#[test]
fn a_key_is_told_once_and_the_audio_after_it_waits_for_nobody() {
    for codec in Codec::ALL {
        let (mut uplink, mut sender) = (Uplink::new(codec), Sender::new(codec));
        let voice = vec![LOUD; codec.sample_rate().samples_per_frame()];
        uplink.receive(slot(0), &sender.packet(&voice));
        // Longer than any memory of sequence numbers, then a short one.
        for (key, frames, at) in [(5, 100, 1), (11, 8, 200)] {
            for (n, packet) in press(&mut sender, key, frames).iter().enumerate() {
                uplink.receive(slot(at + n as u64), packet);
            }
            uplink.take();
            uplink.receive(slot(at + u64::from(frames) + 2), &sender.packet(&voice));
            let received = uplink.take();
            assert_eq!(
                received.last().map(|frame| frame.kind),
                Some(FrameKind::Received),
                "{codec:?}: heard at once after the key"
            );
        }
        let told: Vec<RxEvent> = uplink.events.split_off(1);
        let key = |event, duration_ms| RxEvent::TelephoneEvent {
            leg: LEG,
            event,
            duration_ms,
        };
        assert_eq!(told, [key(5, 2000), key(11, 160)], "{codec:?}");
        assert_eq!(uplink.count(RxCount::TelephoneEvent), 102 + 10);
        assert_eq!(uplink.count(RxCount::DropPayloadType), 0);
    }
}

#[test]
fn a_key_whose_end_is_lost_is_told_though_the_phone_sends_no_more() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Ulaw), Sender::new(Codec::Ulaw));
    uplink.receive(slot(0), &sender.packet(&[LOUD; 160]));
    let packets = press(&mut sender, 1, 5);
    for packet in &packets[..4] {
        uplink.receive(slot(1), packet);
    }
    assert_eq!(uplink.events.len(), 1, "not yet over");
    for n in 1..11 {
        uplink.tick(slot(n));
    }
    assert_eq!(uplink.events.len(), 1, "its end may still come");
    uplink.tick(slot(11));
    let told = RxEvent::TelephoneEvent {
        leg: LEG,
        event: 1,
        duration_ms: 80,
    };
    assert_eq!(uplink.events[1..], [told]);
    uplink.tick(slot(100));
    assert_eq!(uplink.events.len(), 2, "and told once");
}

/// Goal: a phone that presses more keys than anybody can is counted, and tells nobody.
/// Method: packets at 50 a second, each the end of a new key, then a key after the storm.
#[test]
fn more_keys_than_anybody_presses_are_counted_and_not_told() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Ulaw), Sender::new(Codec::Ulaw));
    const SECONDS: u64 = 10;
    for n in 0..SECONDS * 50 {
        let end = key_packet(&mut sender, 7, Stage::Ended, 160);
        sender.skip(0, 160);
        uplink.receive(slot(n), &end);
        uplink.tick(slot(n));
    }
    let told = SECONDS * u64::from(KEYS_PER_SECOND_MAX);
    assert_eq!(uplink.events.len() as u64, told);
    assert_eq!(uplink.count(RxCount::DropKey), SECONDS * 50 - told);
    assert_eq!(uplink.count(RxCount::TelephoneEvent), SECONDS * 50);
    let end = key_packet(&mut sender, 8, Stage::Ended, 160);
    uplink.receive(slot((SECONDS + 1) * 50), &end);
    assert_eq!(uplink.events.len() as u64, told + 1);
}

#[test]
fn audio_overtaken_by_a_key_is_heard_in_its_place() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Slin16), Sender::new(Codec::Slin16));
    uplink.receive(slot(0), &sender.packet(&[1000; 320]));
    let late = sender.packet(&[2000; 320]);
    let keys = press(&mut sender, 2, 3);
    for packet in &keys {
        uplink.receive(slot(1), packet);
    }
    sender.timestamp = sender.timestamp.plus(0u32.wrapping_sub(960));
    let after = sender.packet(&[3000; 320]);
    uplink.receive(slot(1), &after);
    assert_eq!(uplink.take().len(), 1, "one packet is missing");
    uplink.receive(slot(1), &late);
    let levels: Vec<i16> = uplink
        .take()
        .iter()
        .map(|frame| frame.samples[300])
        .collect();
    assert_eq!(levels, [2000, 3000]);
    uplink.tick(slot(1).plus_ms(2 * REORDER_WAIT_MS_MAX));
    assert_eq!(uplink.count(RxCount::Resync), 0);
}

#[test]
fn comfort_noise_sets_the_level_of_the_pause_and_breaks_no_time() {
    for (level, expected) in [(60u8, -60.0), (20, -46.0), (127, -96.0)] {
        let (mut uplink, mut sender) = (Uplink::new(Codec::Slin), Sender::new(Codec::Slin));
        uplink.receive(slot(0), &sender.packet(&[0; 160]));
        let noise = other(&mut sender, comfort_noise::PAYLOAD_TYPE, &[level, 3, 4]);
        uplink.receive(slot(1), &noise);
        let mut pause = Vec::new();
        for n in 1..100 {
            uplink.tick(slot(n));
            pause.extend(uplink.take().iter().flat_map(|frame| frame.samples));
        }
        sender.skip(0, 99 * 160);
        uplink.receive(slot(100), &sender.packet(&[LOUD; 160]));
        let frames = uplink.take();
        assert_eq!(pause.len() / 320 + frames.len(), 101, "as time passed");
        assert_eq!(uplink.count(RxCount::ComfortNoise), 1);
        // Half the band, so 3 dB less than its level says at most.
        let measured = decibels(rms(&pause[6_400..]).max(0.5) / 32_768.0);
        assert!(
            (measured - expected).abs() <= 4.0,
            "{measured:.1} dBov, {expected} expected"
        );
        // It speaks again: silence after that is silence.
        for n in 101..120 {
            uplink.tick(slot(n));
        }
        let silence = uplink.take();
        assert_eq!(silence.last().expect("frames").samples, [0; 320]);
    }
}

#[test]
fn payloads_too_short_to_mean_anything_are_counted() {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Ulaw), Sender::new(Codec::Ulaw));
    uplink.receive(slot(0), &sender.packet(&[LOUD; 160]));
    for len in 0..4 {
        let packet = other(
            &mut sender,
            telephone_event::PAYLOAD_TYPE,
            &[1; 3][..len.min(3)],
        );
        uplink.receive(slot(0), &packet);
    }
    uplink.receive(
        slot(0),
        &other(&mut sender, comfort_noise::PAYLOAD_TYPE, &[]),
    );
    assert_eq!(uplink.count(RxCount::DropPayloadSize), 5);
    assert_eq!(
        uplink.events.len(),
        1,
        "no key, and no foreign payload type"
    );
}
