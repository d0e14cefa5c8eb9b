//! Bodies of fuzz targets: any bytes in, a panic only if a law was broken.
//!
//! Plain `cargo test` replays the committed corpus and random bytes through them; a fuzzer may call
//! the same functions.

#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "for tests, which are not real-time"
)]

use core::net::{Ipv4Addr, SocketAddr};

use rtrb::RingBuffer;

use crate::keys::Keys;
use crate::limits::{GAP_FRAMES_MAX, PLAYOUT_FRAMES_MAX};
use crate::msg::{Codec, Comfort, DownlinkFrame, LegId, Pace, Part, PortIndex, RxLeg, UtteranceId};
use crate::playout::{Played, Playout};
use crate::stage::{Decode, Resample};
use crate::stats::{RxCount, RxCounts};
use crate::units::{FRAME_SAMPLES_MAX, Micros};
use crate::wire::rtp::{HEADER_BYTES, Packet, Repr, RtpTimestamp};
use crate::wire::{comfort_noise, telephone_event};

const LEG: LegId = LegId {
    slot: 0,
    generation: 0,
};

/// Bytes as an RTP packet: all parts lie within it, and what we can send comes back.
pub fn rtp(bytes: &[u8]) {
    let Ok(packet) = Packet::parse(bytes) else {
        return;
    };
    let csrcs = packet.csrcs().len();
    let extension = packet
        .extension()
        .map_or(0, |(_, content)| 4 + content.len());
    let parts = HEADER_BYTES + 4 * csrcs + extension + packet.payload().len();
    assert_eq!(parts + packet.padding_bytes(), bytes.len());
    let mut header = [0; HEADER_BYTES];
    Repr::from(&packet).emit(&mut header);
    assert_eq!(header[1..], bytes[1..HEADER_BYTES]);
}

/// Bytes as payloads that are not audio: read or refused, and a key told at most once.
pub fn others(bytes: &[u8]) {
    let noise = comfort_noise::parse(bytes);
    assert_eq!(noise.is_err(), bytes.is_empty());
    let mut keys = Keys::new();
    let (mut told, mut pressed) = (0, 0);
    for (n, chunk) in bytes.chunks(6).enumerate() {
        let Some((timestamp, payload)) = chunk.split_first_chunk::<2>() else {
            continue;
        };
        if let Ok(event) = telephone_event::TelephoneEvent::parse(payload) {
            pressed += 1;
            let timestamp = RtpTimestamp(u16::from_be_bytes(*timestamp).into());
            let heard = keys.heard(Micros(0).plus_frames(n as u64), timestamp, &event);
            told += heard.into_iter().flatten().count();
        }
    }
    assert!(told <= pressed);
}

/// Bytes as what a leg is sent: the first chooses its codec; then packets, each after a pause and a
/// length of a byte each. Frames come in an unbroken row, and never more than time and payloads
/// explain.
pub fn uplink(bytes: &[u8]) {
    const RING: usize = 512;
    let Some((&codec, mut rest)) = bytes.split_first() else {
        return;
    };
    let (out, input) = RingBuffer::new(RING);
    let (wide_out, mut frames) = RingBuffer::new(RING);
    let (mut decode, mut resample) = (Decode::new(1, out), Resample::new(1, input, wide_out));
    let leg = RxLeg {
        leg: LEG,
        port: PortIndex(0),
        source: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        codec: Codec::ALL[usize::from(codec) % Codec::ALL.len()],
    };
    let added = decode.add_leg(&leg).and_then(|()| resample.add_leg(&leg));
    assert_eq!(added, Ok(()));
    let counts = RxCounts::default();
    let (mut now, mut next) = (Micros(0), 0);
    while let Some((&[pause, length], after)) = rest.split_first_chunk::<2>() {
        let (datagram, after) = after.split_at(usize::from(length).min(after.len()));
        now = now.plus_ms(pause.into());
        decode.receive(now, LEG, datagram, &counts, |_| {});
        decode.tick(now, &counts);
        resample.step(RING, &counts);
        let mut count = 0;
        while let Ok(frame) = frames.pop() {
            assert_eq!(frame.index, next);
            (next, count) = (next + 1, count + 1);
        }
        // A gap, the packets that waited for it, and what a silent phone was owed.
        assert!(count <= 4 * GAP_FRAMES_MAX, "{count} frames at once");
        rest = after;
    }
    assert_eq!(counts.value(RxCount::DropRingFull), 0);
}

/// Bytes as bursts of speech: each says how many frames come, whether they are live and whether the
/// utterance ends. Holes only when there is nothing to say; what is told is told in order.
pub fn playout(bytes: &[u8]) {
    let mut playout = Playout::new(Comfort::Silence);
    let (mut utterance, mut number) = (1, 0i16);
    for byte in bytes {
        let burst = usize::from(byte & 0x0f);
        for n in 0..burst {
            let ends = byte & 0x80 != 0 && n + 1 == burst;
            number = number.wrapping_add(77);
            playout.push(&DownlinkFrame {
                leg: LEG,
                utterance: UtteranceId(utterance),
                part: if ends { Part::Last } else { Part::Middle },
                pace: if byte & 0x40 != 0 {
                    Pace::Live
                } else {
                    Pace::Stored
                },
                samples: [if byte & 0x20 != 0 { number } else { 0 }; FRAME_SAMPLES_MAX],
            });
            utterance += u32::from(ends);
        }
        let was_empty = playout.is_empty();
        let heard = playout.tick(&mut [0; FRAME_SAMPLES_MAX]);
        match heard.played {
            Played::Hole => assert!(was_empty),
            Played::Idle => {}
            Played::Speech(_) => assert!(!was_empty),
        }
        assert!(playout.len() <= PLAYOUT_FRAMES_MAX);
    }
}
