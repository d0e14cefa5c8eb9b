//! One leg's sending side: which packets leave in which frame, and what the network does to them.
//! Pure: reads no clock, sends nothing.

use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;

use super::content::Content;
use super::impairment::{Fate, Network};
use super::plan::{Cycle, Plan};
use crate::codec::{FRAME_MS, UplinkCodec};
use crate::rtp::Header;

/// Largest packet a leg sends: a header and 20 ms of slin16.
pub const PACKET_BYTES_MAX: usize = crate::rtp::HEADER_BYTES + 640;
/// The usual dynamic payload type of telephone-event/8000.
pub const PAYLOAD_TYPE_TELEPHONE_EVENT: u8 = 101;
/// A key is held this long, in frames: 160 ms.
const EVENT_FRAMES: u64 = 8;
const EVENT_LENGTH: Duration = Duration::from_millis(EVENT_FRAMES * FRAME_MS as u64);
/// RFC 4733 §2.5.1.4: the last packet of an event is sent three times.
const EVENT_END_COPIES: u8 = 3;
const EVENT_END: u8 = 0x80;
/// RFC 4733 §2.3.3: -10 dBm0, what telephones send.
const EVENT_VOLUME: u8 = 10;
/// Keys 0-9, *, #, A-D (RFC 4733 §3.2).
const EVENT_CODES: u64 = 16;

/// What a leg, or all of them, sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct UplinkCounts {
    /// 20 ms slots that came due.
    pub frames: u64,
    /// Packets handed to the network, copies and telephone-events included.
    pub packets: u64,
    /// Packets lost on purpose, one by one.
    pub lost: u64,
    /// Packets lost on purpose, in bursts.
    pub lost_in_bursts: u64,
    /// Of all lost, those with a packet sent before and one after: what a receiver can see.
    pub lost_visibly: u64,
    /// Packets sent twice.
    pub duplicated: u64,
    /// Packets held back behind their successor.
    pub held_back: u64,
    /// Packets sent late, by jitter or held back.
    pub delayed: u64,
    /// Frames without a packet, since the leg was mute.
    pub muted: u64,
    /// Packets of telephone-events.
    pub event_packets: u64,
}

impl AddAssign for UplinkCounts {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.packets += other.packets;
        self.lost += other.lost;
        self.lost_in_bursts += other.lost_in_bursts;
        self.lost_visibly += other.lost_visibly;
        self.duplicated += other.duplicated;
        self.held_back += other.held_back;
        self.delayed += other.delayed;
        self.muted += other.muted;
        self.event_packets += other.event_packets;
    }
}

/// One leg that talks.
#[derive(Debug)]
pub struct Talker {
    leg: usize,
    codec: UplinkCodec,
    next: Header,
    network: Network,
    pause: Option<FrameCycle>,
    event: Option<FrameCycle>,
    /// Whether a packet has left: the one that opens the leg is spared.
    is_open: bool,
    /// Lost since the last packet that was sent.
    lost_since: u64,
    counts: UplinkCounts,
    packet: Vec<u8>,
}

/// A [`Cycle`] in frames.
#[derive(Clone, Copy, Debug)]
struct FrameCycle {
    every: u64,
    length: u64,
}

impl FrameCycle {
    fn new(cycle: Cycle) -> Self {
        let frames = |time: Duration| time.as_millis() as u64 / u64::from(FRAME_MS);
        let length = frames(cycle.length).max(1);
        Self {
            every: frames(cycle.every).max(length + 1),
            length,
        }
    }

    /// How far into its turn a frame is; none between turns. The first comes after a whole wait.
    fn position(self, frame: u64) -> Option<u64> {
        let idle = self.every - self.length;
        (frame % self.every).checked_sub(idle)
    }
}

impl Talker {
    /// A leg of the plan, with counters that begin anywhere.
    pub fn new(plan: &Plan, leg: usize) -> Self {
        let seed = plan.seed.wrapping_mul(u64::from(u32::MAX)) ^ leg as u64;
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            leg,
            codec: plan.codec,
            next: Header {
                marker: false,
                payload_type: plan.codec.payload_type(),
                sequence_number: random.u16(..),
                timestamp: random.u32(..),
                ssrc: random.u32(..),
            },
            network: Network::new(plan.impairment.clone(), random.u64(..)),
            pause: plan.pause.map(FrameCycle::new),
            event: plan.telephone_event_every.map(|every| {
                FrameCycle::new(Cycle {
                    every,
                    length: EVENT_LENGTH,
                })
            }),
            is_open: false,
            lost_since: 0,
            counts: UplinkCounts::default(),
            packet: Vec::with_capacity(PACKET_BYTES_MAX),
        }
    }

    /// Gives the packets of this frame with their fates to `send`; to be asked for each frame once,
    /// in order. Lost packets are not given.
    pub fn frame(&mut self, content: &Content, frame: u64, mut send: impl FnMut(&[u8], Fate)) {
        self.counts.frames += 1;
        if self
            .pause
            .is_some_and(|pause| pause.position(frame).is_some())
        {
            self.counts.muted += 1;
        } else if let Some((event, position)) = self.event_at(frame) {
            self.send_event(event, position, &mut send);
        } else {
            self.begin_packet(self.next);
            self.packet
                .extend_from_slice(content.payload(self.leg, frame));
            self.finish_packet(&mut send);
        }
        self.next.timestamp = self.next.timestamp.wrapping_add(self.codec.frame_ticks());
    }

    /// What was sent so far.
    pub fn counts(&self) -> UplinkCounts {
        self.counts
    }

    /// Counts from zero: the window begins.
    pub fn restart_counts(&mut self) {
        self.counts = UplinkCounts::default();
    }

    /// The header of the next packet: what a forger of this leg would write.
    pub fn next_header(&self) -> Header {
        self.next
    }

    fn event_at(&self, frame: u64) -> Option<(u8, u64)> {
        let cycle = self.event?;
        let position = cycle.position(frame)?;
        Some(((frame / cycle.every % EVENT_CODES) as u8, position))
    }

    fn send_event(&mut self, event: u8, position: u64, send: &mut impl FnMut(&[u8], Fate)) {
        let is_last = position + 1 == EVENT_FRAMES;
        let copies = if is_last { EVENT_END_COPIES } else { 1 };
        let frame_ticks = self.codec.frame_ticks();
        let elapsed_ticks = frame_ticks.wrapping_mul(position as u32);
        let duration = (elapsed_ticks + frame_ticks) as u16;
        for _ in 0..copies {
            self.begin_packet(Header {
                marker: position == 0,
                payload_type: PAYLOAD_TYPE_TELEPHONE_EVENT,
                // All packets of an event carry the time of its beginning (RFC 4733 §2.2).
                timestamp: self.next.timestamp.wrapping_sub(elapsed_ticks),
                ..self.next
            });
            let end = if is_last { EVENT_END } else { 0 };
            let [high, low] = duration.to_be_bytes();
            self.packet.extend([event, end | EVENT_VOLUME, high, low]);
            self.counts.event_packets += 1;
            self.finish_packet(send);
        }
    }

    fn begin_packet(&mut self, header: Header) {
        self.packet.clear();
        self.packet.extend(header.to_bytes());
    }

    fn finish_packet(&mut self, send: &mut impl FnMut(&[u8], Fate)) {
        self.next.sequence_number = self.next.sequence_number.wrapping_add(1);
        let fate = self.network.decide();
        // The packet that opens a leg always arrives: the order of the legs decides who is paired.
        let fate = if self.is_open { fate } else { Fate::PUNCTUAL };
        self.is_open = true;
        match fate {
            Fate::Lost => self.counts.lost += 1,
            Fate::LostInBurst => self.counts.lost_in_bursts += 1,
            Fate::Sent {
                delay,
                copies,
                is_held_back,
            } => {
                self.counts.packets += u64::from(copies);
                self.counts.duplicated += u64::from(copies) - 1;
                self.counts.held_back += u64::from(is_held_back);
                self.counts.delayed += u64::from(!delay.is_zero());
                self.counts.lost_visibly += self.lost_since;
                self.lost_since = 0;
                send(&self.packet, fate);
                return;
            }
        }
        self.lost_since += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::load::impairment::Impairment;

    fn plan() -> Plan {
        Plan::new(vec![SocketAddr::from(([127, 0, 0, 1], 5000))], 2)
    }

    /// All packets of so many frames, with the frame each belongs to.
    fn talk(plan: &Plan, frames: u64) -> (Vec<(u64, Vec<u8>)>, UplinkCounts) {
        let content = Content::new(plan);
        let mut talker = Talker::new(plan, 1);
        let mut packets = Vec::new();
        for frame in 0..frames {
            talker.frame(&content, frame, |packet, _| {
                packets.push((frame, packet.to_vec()))
            });
        }
        (packets, talker.counts())
    }

    fn headers(packets: &[(u64, Vec<u8>)]) -> Vec<Header> {
        let header = |(_, packet): &(u64, Vec<u8>)| Header::parse(packet).unwrap().0;
        packets.iter().map(header).collect()
    }

    /// Goal: sequence counts packets and the timestamp counts frames, whatever happens. Method: a
    /// pause of 200 ms in each second: the timestamp runs on, the sequence does not.
    #[test]
    fn a_pause_is_a_gap_in_the_timestamps() {
        let pause = Some(Cycle {
            every: Duration::from_secs(1),
            length: Duration::from_millis(200),
        });
        let (packets, counts) = talk(&Plan { pause, ..plan() }, 100);
        assert_eq!((counts.packets, counts.muted, counts.frames), (80, 20, 100));
        let headers = headers(&packets);
        for (pair, frames) in headers.windows(2).zip(packets.windows(2)) {
            let ticks = (frames[1].0 - frames[0].0) as u32 * 160;
            assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), ticks);
            assert_eq!(
                pair[1]
                    .sequence_number
                    .wrapping_sub(pair[0].sequence_number),
                1
            );
        }
        assert_eq!(packets[40].0, 50, "the first pause ends the first second");
    }

    /// Goal: lost packets leave a gap in the sequence, and the counts say how many a receiver sees.
    /// Method: 20 % loss, counted from the sequence numbers that came.
    #[test]
    fn what_was_lost_visibly_is_what_is_missing_between() {
        let impairment = Impairment {
            loss: 0.2,
            ..Impairment::default()
        };
        let (packets, counts) = talk(
            &Plan {
                impairment,
                ..plan()
            },
            1_000,
        );
        assert_eq!(counts.packets + counts.lost, 1_000);
        let headers = headers(&packets);
        let (first, last) = (headers[0], headers[headers.len() - 1]);
        let span = last.sequence_number.wrapping_sub(first.sequence_number);
        assert_eq!(
            u64::from(span) + 1 - packets.len() as u64,
            counts.lost_visibly
        );
        assert_eq!(packets[0].0, 0, "the packet that opens the leg is spared");
    }

    /// Goal: events look as RFC 4733 wants them. Method: the second of a run, packet by packet.
    #[test]
    fn events_follow_rfc_4733() {
        let telephone_event_every = Some(Duration::from_secs(1));
        let (packets, counts) = talk(
            &Plan {
                telephone_event_every,
                ..plan()
            },
            100,
        );
        // Two events of 8 packets, of which the last comes three times.
        assert_eq!((counts.event_packets, counts.packets), (20, 100 + 4));
        let headers = headers(&packets);
        let begin = headers.iter().rposition(|h| h.marker).unwrap();
        let event = &headers[begin..begin + 10];
        assert!(event.iter().all(|h| h.payload_type == 101));
        assert!(event.iter().all(|h| h.timestamp == event[0].timestamp));
        assert!(event[1..].iter().all(|h| !h.marker));
        assert_eq!(packets[begin].1[12..], [1, 10, 0, 160]);
        assert_eq!(
            packets[begin + 7].1[12..],
            [1, 0x80 | 10, 5, 0],
            "8 · 160 = 0x0500"
        );
        assert_eq!(packets[begin + 9].1[12..], packets[begin + 7].1[12..]);
        assert_eq!(
            packets[begin + 7].0,
            packets[begin + 9].0,
            "all three in one frame"
        );
    }
}
