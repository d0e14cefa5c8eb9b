//! Bodies of fuzz targets: any bytes in, a panic only if a law was broken.
//!
//! Plain `cargo test` replays the committed corpus and random bytes through them; a fuzzer may call
//! the same functions.

#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "for tests, which are not real-time"
)]

use core::net::{Ipv4Addr, SocketAddr};
use std::vec::Vec;

use rtrb::RingBuffer;

use crate::codec::{Decoder, Encoder};
use crate::keys::Keys;
use crate::limits::{GAP_FRAMES_MAX, PHASES, PLAYOUT_FRAMES_MAX};
use crate::msg::{
    Codec, Comfort, DownlinkFrame, LegId, Pace, Part, PortIndex, RxLeg, TxLeg, UplinkStart,
    UtteranceId,
};
use crate::phases::Phase;
use crate::playout::{Played, Playout};
use crate::stage::{self, Decode, Encode, Resample};
use crate::stats::{RxCount, RxCounts, TxCount, TxCounts};
use crate::time::Tick;
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
    let leg = rx_leg(LEG, Codec::ALL[usize::from(codec) % Codec::ALL.len()]);
    let (mut now, mut next) = (Micros(0), 0);
    let added = decode
        .add_leg(now, &leg)
        .and_then(|()| resample.add_leg(&leg));
    assert_eq!(added, Ok(()));
    let counts = RxCounts::default();
    while let Some((&[pause, length], after)) = rest.split_first_chunk::<2>() {
        let (datagram, after) = after.split_at(usize::from(length).min(after.len()));
        now = now.plus_ms(pause.into());
        decode.receive(now, LEG, datagram, &counts, |_| {});
        decode.tick(now, &counts, |_| {});
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

/// Bytes as payloads of every codec: how they are cut changes nothing, and what was decoded can be
/// encoded again.
pub fn codecs(bytes: &[u8]) {
    for codec in Codec::ALL {
        let units = bytes.len() / codec.bytes_per_unit();
        let payload = &bytes[..units * codec.bytes_per_unit()];
        let mut whole = std::vec![0; units * codec.samples_per_unit()];
        Decoder::new(codec).decode(payload, &mut whole);
        let mut decoder = Decoder::new(codec);
        let mut rest = &whole[..];
        // Pieces of 1, 2, 3 … units.
        let (mut at, mut piece) = (0, 1);
        while !rest.is_empty() {
            let bytes = (piece * codec.bytes_per_unit()).min(payload.len() - at);
            let samples = bytes / codec.bytes_per_unit() * codec.samples_per_unit();
            let mut decoded = std::vec![0; samples];
            decoder.decode(&payload[at..at + bytes], &mut decoded);
            assert_eq!(decoded, rest[..samples], "{codec:?} from byte {at}");
            (at, piece, rest) = (at + bytes, piece + 1, &rest[samples..]);
        }
        let mut again = std::vec![0; payload.len()];
        Encoder::new(codec).encode(&whole, &mut again);
        if matches!(codec, Codec::Slin | Codec::Slin16) {
            assert_eq!(again, payload);
        }
    }
}

/// Bytes as what control asks of both tiles, and what the network and the link send meanwhile, each
/// for legs that are there, gone or never were: whatever they say, each live leg and no other has
/// one packet on every tick, of one unbroken stream.
pub fn commands(bytes: &[u8]) {
    const LEGS: usize = 3;
    const RING: usize = 64;
    let (rx_out, rx_input) = RingBuffer::new(RING);
    let (wide_out, mut wide) = RingBuffer::new(RING);
    let (mut feed, tx_input) = RingBuffer::new(RING);
    let (tx_out, played) = RingBuffer::new(RING);
    let mut decode = Decode::new(LEGS, rx_out);
    let mut resample = Resample::new(LEGS, rx_input, wide_out);
    let mut playout = stage::Playout::new(LEGS, tx_input, tx_out);
    let mut encode = Encode::new(LEGS, played);
    let (rx_counts, tx_counts) = (RxCounts::default(), TxCounts::default());
    let mut live: Vec<(LegId, Option<Repr>)> = Vec::new();
    for (n, command) in bytes.chunks(4).enumerate() {
        let [what, slot, choice, length] = [0, 1, 2, 3].map(|at| command.get(at).copied());
        let (what, choice) = (what.unwrap_or(0), choice.unwrap_or(0));
        let leg = LegId {
            slot: u16::from(slot.unwrap_or(0) % 4),
            generation: u32::from(choice % 2),
        };
        let codec = Codec::ALL[usize::from(choice) % Codec::ALL.len()];
        let now = Micros(0).plus_frames(n as u64);
        match what % 5 {
            0 => {
                let tx_leg = tx_leg(leg, codec);
                let is_free = usize::from(leg.slot) < LEGS
                    && live.iter().all(|(other, _)| other.slot != leg.slot);
                let phase = Phase(choice % PHASES);
                let added = playout
                    .add_leg(&tx_leg, phase)
                    .and_then(|()| encode.add_leg(&tx_leg));
                assert_eq!(added.is_ok(), is_free && codec.is_static());
                if added.is_ok() {
                    live.push((leg, None));
                }
                let rx_leg = rx_leg(leg, codec);
                if decode.add_leg(now, &rx_leg).is_ok() {
                    assert_eq!(resample.add_leg(&rx_leg), Ok(()));
                }
            }
            1 => {
                playout.remove_leg(leg);
                encode.remove_leg(leg);
                decode.remove_leg(leg);
                resample.remove_leg(leg);
                live.retain(|(other, _)| *other != leg);
            }
            2 | 3 => {
                let from = (n * 4 + 4).min(bytes.len());
                let to = (from + usize::from(length.unwrap_or(0))).min(bytes.len());
                decode.receive(now, leg, &bytes[from..to], &rx_counts, |_| {});
            }
            _ => {
                // A full ring is the link thread's to see.
                let _ = feed.push(DownlinkFrame {
                    leg,
                    utterance: UtteranceId(u32::from(choice / 64)),
                    part: if choice & 1 == 0 {
                        Part::Middle
                    } else {
                        Part::Last
                    },
                    pace: if choice & 2 == 0 {
                        Pace::Live
                    } else {
                        Pace::Stored
                    },
                    samples: [i16::from_be_bytes([choice, what]); FRAME_SAMPLES_MAX],
                });
            }
        }
        decode.tick(now, &rx_counts, |_| {});
        resample.step(RING, &rx_counts);
        while wide.pop().is_ok() {}
        let tick = Tick {
            slot: n as u64,
            late_us: 0,
            missed: 0,
        };
        playout.collect(RING, &tx_counts);
        for phase in 0..PHASES {
            playout.tick(Phase(phase), tick, &tx_counts);
        }
        let mut sent = 0;
        encode.step(RING, &tx_counts, |_, _, bytes, frame| {
            sent += 1;
            let owner = live.iter_mut().find(|(leg, _)| *leg == frame.leg);
            let last = &mut owner.expect("a live leg").1;
            let header = Repr::from(&Packet::parse(bytes).expect("what we send is RTP"));
            if let Some(last) = last {
                assert_eq!(header.sequence_number, last.sequence_number.plus(1));
                assert_eq!(header.timestamp, last.timestamp.plus(160));
                assert_eq!(header.ssrc, last.ssrc);
            }
            *last = Some(header);
        });
        assert_eq!(sent, live.len());
        assert_eq!(playout.live_legs(), live.len());
    }
    assert_eq!(tx_counts.value(TxCount::DropRingFull), 0);
}

/// Bytes as the sound of a live stream, 16 samples of a frame said twenty times over, with stalls,
/// bursts and ends: nothing heard is louder than the loudest that was said.
pub fn voice(bytes: &[u8]) {
    const PIECE: usize = 16;
    let mut playout = Playout::new(Comfort::Silence);
    let (mut loudest, mut utterance) = (0, 1);
    for command in bytes.chunks(2 + 2 * PIECE) {
        let Some((&[what, many], sound)) = command.split_first_chunk::<2>() else {
            return;
        };
        let mut samples = [0; FRAME_SAMPLES_MAX];
        let pieces = samples.chunks_mut(PIECE);
        for piece in pieces {
            for (sample, bytes) in piece.iter_mut().zip(sound.as_chunks().0) {
                *sample = i16::from_be_bytes(*bytes);
            }
        }
        let peak = samples.iter().map(|sample| sample.unsigned_abs()).max();
        loudest = loudest.max(peak.unwrap_or(0));
        for n in 0..many % 16 {
            let ends = what & 1 != 0 && n + 1 == many % 16;
            playout.push(&DownlinkFrame {
                leg: LEG,
                utterance: UtteranceId(utterance),
                part: if ends { Part::Last } else { Part::Middle },
                pace: if what & 2 == 0 {
                    Pace::Live
                } else {
                    Pace::Stored
                },
                samples,
            });
            utterance += u32::from(ends);
        }
        for _ in 0..what >> 4 {
            let mut heard = [0i16; FRAME_SAMPLES_MAX];
            playout.tick(&mut heard);
            let peak = heard.iter().map(|sample| sample.unsigned_abs()).max();
            assert!(peak.unwrap_or(0) <= loudest, "{peak:?} of {loudest}");
        }
    }
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

fn rx_leg(leg: LegId, codec: Codec) -> RxLeg {
    RxLeg {
        leg,
        port: PortIndex(0),
        source: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        codec,
        uplink: UplinkStart::Fresh,
    }
}

fn tx_leg(leg: LegId, codec: Codec) -> TxLeg {
    TxLeg {
        leg,
        port: PortIndex(0),
        destination: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        codec,
        comfort: Comfort::Silence,
        ssrc: 7,
        first_sequence_number: u16::MAX,
        first_timestamp: u32::MAX,
    }
}
