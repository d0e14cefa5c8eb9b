//! Goal: whatever bytes arrive, nothing panics and nothing of them is heard.
//! Method: a good packet cut at every length, with each header bit turned, and random bytes,
//! between good packets of a leg; every frame that comes out must be one the phone sent, or
//! silence.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use diglot_rt::msg::{Codec, FrameKind};
use diglot_rt::stats::RxCount;
use diglot_rt::testing::packets::Sender;
use diglot_rt::units::Micros;
use proptest::prelude::*;
use support::Uplink;

/// What the phone says: steady, so that anything else stands out.
const SAID: i16 = 1000;
/// Samples by which steady sound may differ after coding and resampling.
const NEAR: i32 = 40;

const ACCOUNTED: [RxCount; 8] = [
    RxCount::ComfortNoise,
    RxCount::DropDuplicate,
    RxCount::DropLate,
    RxCount::DropMalformed,
    RxCount::DropPayloadSize,
    RxCount::DropPayloadType,
    RxCount::DropStaleLeg,
    RxCount::TelephoneEvent,
];

fn accounted(uplink: &Uplink) -> u64 {
    ACCOUNTED.iter().map(|reason| uplink.count(*reason)).sum()
}

fn said(codec: Codec) -> Vec<i16> {
    vec![SAID; codec.sample_rate().samples_per_frame()]
}

/// A leg whose resampler has settled on what the phone says.
fn settled(codec: Codec) -> (Uplink, Sender) {
    let (mut uplink, mut sender) = (Uplink::new(codec), Sender::new(codec));
    for _ in 0..3 {
        uplink.receive(Micros(0), &sender.packet(&said(codec)));
    }
    uplink.take();
    (uplink, sender)
}

fn assert_only_the_phone(uplink: &mut Uplink, what: &str) {
    for frame in uplink.take() {
        let is_said = |sample: &i16| (i32::from(*sample) - i32::from(SAID)).abs() <= NEAR;
        assert!(frame.samples.iter().all(is_said), "{what} was heard");
        assert_eq!(frame.kind, FrameKind::Received, "{what} made a gap");
    }
}

#[test]
fn a_packet_cut_anywhere_is_dropped_or_heard_as_far_as_it_goes() {
    for codec in Codec::ALL {
        let (mut uplink, mut sender) = settled(codec);
        let whole = sender.packet(&said(codec));
        for len in 0..whole.len() {
            let (mut uplink, _) = settled(codec);
            uplink.receive(Micros(0), &whole[..len]);
            let is_samples = len > 12 && (len - 12) % codec.bytes_per_unit() == 0;
            let reason = if len < 12 {
                RxCount::DropMalformed
            } else {
                RxCount::DropPayloadSize
            };
            assert_eq!(
                uplink.count(reason),
                u64::from(!is_samples),
                "{codec:?} cut to {len}"
            );
            assert_only_the_phone(&mut uplink, "a cut packet");
        }
        uplink.receive(Micros(0), &whole);
        assert_eq!(uplink.take().len(), 1, "the whole one is heard");
    }
}

#[test]
fn a_payload_longer_than_a_datagram_may_be_is_refused() {
    let (mut uplink, mut sender) = settled(Codec::Slin);
    uplink.receive(Micros(0), &sender.packet(&[SAID; 800]));
    assert_eq!(uplink.count(RxCount::DropMalformed), 1);
}

#[test]
fn any_header_bit_turned_makes_no_noise() {
    for codec in Codec::ALL {
        for bit in 0..12 * 8 {
            let (mut uplink, mut sender) = settled(codec);
            let mut packet = sender.packet(&said(codec));
            packet[bit / 8] ^= 0x80 >> (bit % 8);
            uplink.receive(Micros(0), &packet);
            // The leg lives, whatever the bit was: what follows is heard at the latest when waited
            // for.
            for n in 1..6 {
                uplink.receive(Micros(0).plus_frames(n), &sender.packet(&said(codec)));
                uplink.tick(Micros(0).plus_frames(n));
            }
            let frames = uplink.take();
            let heard = frames
                .iter()
                .filter(|frame| frame.kind == FrameKind::Received)
                .count();
            assert!(
                heard >= 5,
                "{codec:?}, bit {bit}: {heard} of 5 frames heard"
            );
            for sample in frames.iter().flat_map(|frame| frame.samples) {
                // The resampler answers a step, or one missing sample, with a fifth of it at most;
                // G.722, whose bytes depend on those before, with half.
                let fifths = if codec == Codec::G722 { 8 } else { 6 };
                let most = i32::from(SAID) * fifths / 5 + NEAR;
                assert!(
                    i32::from(sample).abs() <= most,
                    "{codec:?}, bit {bit}: {sample}"
                );
            }
        }
    }
}

/// Goal: no value of any field, nor any two of those that say where a packet belongs, costs the
/// phone more than a moment. Method: a packet with each field at its ends, then the phone goes on.
#[test]
fn each_header_field_at_its_extremes_costs_nothing_that_follows() {
    const NUMBERS: [u16; 5] = [0, 1, 0x7fff, 0x8000, 0xffff];
    const TIMES: [u32; 5] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    for codec in Codec::ALL {
        let whole = settled(codec).1.packet(&said(codec));
        let mut liars = Vec::new();
        let mut lie = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut liar = whole.clone();
            change(&mut liar);
            liars.push(liar);
        };
        let is_extreme = |first: &u8| [0, 1, 15].contains(&(first & 0x0f));
        for first in (0..=u8::MAX).filter(is_extreme) {
            // Version, padding, extension, CSRC count; with the last byte as length of the padding,
            // and the words after the fixed header as an extension of any length.
            for padding in [0, 1, 160, 255] {
                for words in [0u16, 1, 38, 39, u16::MAX] {
                    lie(&|liar| {
                        liar[0] = first;
                        liar[14..16].copy_from_slice(&words.to_be_bytes());
                        *liar.last_mut().expect("not empty") = padding;
                    });
                }
            }
        }
        for second in 0..=u8::MAX {
            lie(&|liar| liar[1] = second);
        }
        for (number, time) in NUMBERS.iter().flat_map(|n| TIMES.map(|time| (n, time))) {
            for ssrc in [1u32, 0, u32::MAX] {
                lie(&|liar| {
                    liar[2..4].copy_from_slice(&number.to_be_bytes());
                    liar[4..8].copy_from_slice(&time.to_be_bytes());
                    liar[8..12].copy_from_slice(&ssrc.to_be_bytes());
                });
            }
        }
        for liar in liars {
            let (mut uplink, mut sender) = settled(codec);
            uplink.receive(Micros(0), &liar);
            let mut most = uplink.take().len();
            for n in 1..8 {
                uplink.receive(Micros(0).plus_frames(n), &sender.packet(&said(codec)));
                uplink.tick(Micros(0).plus_frames(n));
                let frames = uplink.take();
                most = most.max(frames.len());
                if n == 7 {
                    let heard = frames.last().map(|frame| frame.kind);
                    assert_eq!(heard, Some(FrameKind::Received), "{codec:?}: {liar:?}");
                }
            }
            // A gap that is just short enough to be one, and what waited for it.
            assert!(most <= 60, "{codec:?}: {most} frames at once: {liar:?}");
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_counted_and_the_leg_lives(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..50)
    ) {
        for codec in Codec::ALL {
            let (mut uplink, mut sender) = settled(codec);
            let refused = datagrams.iter().filter(|bytes| {
                // All but what could be this codec's packet.
                bytes.len() < 13 || bytes[0] >> 6 != 2 || !codec.accepts(bytes[1] & 0x7f)
            });
            let (mut expected, before) = (0, accounted(&uplink));
            for bytes in refused {
                expected += 1;
                uplink.receive(Micros(0), bytes);
            }
            prop_assert_eq!(accounted(&uplink) - before, expected);
            uplink.receive(Micros(0), &sender.packet(&said(codec)));
            assert_only_the_phone(&mut uplink, "nonsense");
        }
    }

    #[test]
    fn even_well_formed_nonsense_never_stops_a_leg(
        headers in prop::collection::vec((any::<u16>(), any::<u32>(), 0..3u32, 1..300usize), 1..60)
    ) {
        for codec in Codec::ALL {
            let (mut uplink, mut sender) = settled(codec);
            for (n, (seq, timestamp, ssrc, samples)) in headers.iter().enumerate() {
                let mut liar = Sender::new(codec);
                liar.sequence_number.0 = *seq;
                liar.timestamp.0 = *timestamp;
                liar.ssrc = *ssrc;
                let now = Micros(0).plus_frames(n as u64);
                uplink.receive(now, &liar.packet(&vec![SAID; *samples]));
                uplink.tick(now);
                let frames = uplink.take();
                prop_assert!(frames.len() <= 70, "{} frames at once", frames.len());
            }
            sender.ssrc = 77;
            uplink.receive(Micros(0), &sender.packet(&said(codec)));
            let frames = uplink.take();
            prop_assert!(!frames.is_empty(), "the phone is heard again at once");
        }
    }
}
