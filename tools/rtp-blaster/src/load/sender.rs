//! The sending thread: every packet leaves at its own absolute time, in one order for all legs.
//!
//! ```text
//! heap of what is due ─▶ sleep until the first is ─▶ frame of a leg ─▶ socket
//!         ▲                                            │ delayed by the network
//!         └────────────── slots of packets on their way ┘
//! ```
//!
//! All memory is taken before the start; a packet that finds no slot leaves at once and is counted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::clock::Epoch;
use super::content::Content;
use super::hostile::{Hostile, STRANGERS};
use super::impairment::Fate;
use super::plan::Plan;
use super::shared::Shared;
use super::spread::{Spread, micros};
use super::talker::{PACKET_BYTES_MAX, Talker, UplinkCounts};
use crate::codec::FRAME_MS;

/// Of the packets sent in one frame's time, three more than the longest delay covers may be on
/// their way: telephone-events end with three at once.
const SLOTS_PER_LEG_SPARE: usize = 4;
/// The thread wakes at most this often: a wake-up costs more than a packet on a virtual machine.
/// What falls due between leaves at the next one, late by at most this, which the pacing shows.
const WAKE_EVERY: Duration = Duration::from_micros(100);
/// The progress line is fed every so many packets.
const PUBLISH_EVERY: u64 = 64;

/// What the sending thread brings home.
#[derive(Debug)]
pub struct Sent {
    /// One per leg.
    pub legs: Vec<UplinkCounts>,
    /// Hostile packets sent.
    pub malformed: u64,
    /// Hostile packets sent.
    pub spoofed: u64,
    /// Packets the kernel refused.
    pub send_errors: u64,
    /// Delayed packets for which there was no room: they left at once.
    pub undelayed: u64,
    /// How late each leg's frame was against the schedule, in µs: our own error.
    pub pacing: Spread,
    /// When the window ended.
    pub window_end: Duration,
}

/// Something to be done at its time; equal times are done in the order of their kinds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Due {
    at: Duration,
    what: What,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum What {
    /// A leg's next frame.
    Frame { leg: u32, frame: u64 },
    /// A packet that was under way.
    Slot(u32),
    /// A malformed packet: the how many-th.
    Malformed(u64),
    /// A spoofed packet: the how many-th.
    Spoofed(u64),
}

/// Packets under way; a fixed number of them.
#[derive(Debug)]
struct Slots {
    packets: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Slot {
    leg: u32,
    bytes: usize,
    packet: [u8; PACKET_BYTES_MAX],
}

/// Sends the plan.
#[derive(Debug)]
pub struct Sender<'a> {
    plan: &'a Plan,
    sockets: &'a [UdpSocket],
    strangers: Vec<UdpSocket>,
    epoch: Epoch,
    content: Content,
    talkers: Vec<Talker>,
    frames: Vec<Duration>,
    hostile: Hostile,
    due: BinaryHeap<Reverse<Due>>,
    slots: Slots,
    is_counting: bool,
    sent: Sent,
}

impl<'a> Sender<'a> {
    /// Takes all memory; nothing is sent yet.
    ///
    /// # Errors
    /// When there is no socket for the spoofed packets.
    pub fn new(
        plan: &'a Plan,
        sockets: &'a [UdpSocket],
        content: Content,
        epoch: Epoch,
    ) -> std::io::Result<Self> {
        let strangers = if plan.spoofed_per_s == 0 {
            0
        } else {
            STRANGERS
        };
        let delay_frames = plan.impairment.delay_max().as_millis() as usize / FRAME_MS as usize;
        let slots = match delay_frames {
            0 => 0,
            frames => plan.legs * (frames + SLOTS_PER_LEG_SPARE),
        };
        let mut due = BinaryHeap::with_capacity(plan.legs + slots + 2);
        let frame_zero = |leg: usize| Due {
            at: plan.start_of(leg),
            what: What::Frame {
                leg: leg as u32,
                frame: 0,
            },
        };
        due.extend((0..plan.legs).map(frame_zero).map(Reverse));
        // Hostile packets begin when a gateway has admitted all legs, which takes it a moment: they
        // must not take their places.
        let at = plan.window_start();
        due.extend((plan.malformed_per_s > 0).then_some(Reverse(Due {
            at,
            what: What::Malformed(0),
        })));
        due.extend((plan.spoofed_per_s > 0).then_some(Reverse(Due {
            at,
            what: What::Spoofed(0),
        })));
        Ok(Self {
            plan,
            sockets,
            strangers: (0..strangers)
                .map(|_| UdpSocket::bind((plan.bind, 0)))
                .collect::<Result<_, _>>()?,
            epoch,
            content,
            talkers: (0..plan.legs).map(|leg| Talker::new(plan, leg)).collect(),
            frames: (0..plan.legs).map(|leg| plan.frame_of(leg)).collect(),
            hostile: Hostile::new(plan.seed),
            due,
            slots: Slots::new(slots),
            is_counting: false,
            sent: Sent {
                legs: Vec::new(),
                malformed: 0,
                spoofed: 0,
                send_errors: 0,
                undelayed: 0,
                pacing: Spread::of_all(),
                window_end: plan.window_start() + plan.window,
            },
        })
    }

    /// Sends until the window ends or it is told to stop; what is under way then still leaves.
    pub fn run(mut self, shared: &Shared) -> Sent {
        let end_ns = |end: Duration| end.as_nanos() as u64;
        shared
            .window_end_ns
            .store(end_ns(self.sent.window_end), Ordering::Relaxed);
        let (mut events, mut awake_since) = (0_u64, Duration::ZERO);
        while let Some(Reverse(due)) = self.due.pop() {
            if due.at > awake_since {
                awake_since = due.at.max(awake_since + WAKE_EVERY);
                self.epoch.sleep_until(awake_since);
            }
            if shared.stop.load(Ordering::Relaxed) {
                self.sent.window_end = self.sent.window_end.min(self.epoch.now());
                shared
                    .window_end_ns
                    .store(end_ns(self.sent.window_end), Ordering::Relaxed);
            }
            let is_over = due.at >= self.sent.window_end;
            if !is_over || matches!(due.what, What::Slot(_)) {
                self.perform(due);
            }
            events += 1;
            if events.is_multiple_of(PUBLISH_EVERY) {
                shared.sent.store(events, Ordering::Relaxed);
            }
        }
        self.sent.legs = self.talkers.iter().map(Talker::counts).collect();
        self.sent
    }

    fn perform(&mut self, due: Due) {
        if !self.is_counting && due.at >= self.plan.window_start() {
            self.is_counting = true;
            self.talkers.iter_mut().for_each(Talker::restart_counts);
            (self.sent.malformed, self.sent.spoofed) = (0, 0);
        }
        match due.what {
            What::Frame { leg, frame } => {
                let late = self.epoch.now().saturating_sub(due.at);
                if self.is_counting {
                    self.sent.pacing.record(micros(late));
                }
                self.send_frame(leg as usize, frame, due.at);
                self.push(
                    self.plan.start_of(leg as usize) + mul(self.frames[leg as usize], frame + 1),
                    What::Frame {
                        leg,
                        frame: frame + 1,
                    },
                );
            }
            What::Malformed(number) => {
                let leg = self.hostile.choose(self.plan.legs);
                let packet = self.hostile.malformed(self.talkers[leg].next_header());
                let to = self.plan.to[self.plan.port_of(leg)];
                self.sent.send_errors += refused(&self.sockets[leg], packet, to);
                self.sent.malformed += 1;
                let at = self.plan.window_start() + every(self.plan.malformed_per_s, number + 1);
                self.push(at, What::Malformed(number + 1));
            }
            What::Spoofed(number) => {
                let leg = self.hostile.choose(self.plan.legs);
                let stranger = self.hostile.choose(self.strangers.len());
                let packet = self.hostile.spoofed(self.talkers[leg].next_header());
                let to = self.plan.to[self.plan.port_of(leg)];
                self.sent.send_errors += refused(&self.strangers[stranger], packet, to);
                self.sent.spoofed += 1;
                let at = self.plan.window_start() + every(self.plan.spoofed_per_s, number + 1);
                self.push(at, What::Spoofed(number + 1));
            }
            What::Slot(slot) => {
                let Slot { leg, bytes, packet } = &self.slots.packets[slot as usize];
                let leg = *leg as usize;
                let to = self.plan.to[self.plan.port_of(leg)];
                self.sent.send_errors += refused(&self.sockets[leg], &packet[..*bytes], to);
                self.slots.free.push(slot);
            }
        }
    }

    fn push(&mut self, at: Duration, what: What) {
        self.due.push(Reverse(Due { at, what }));
    }

    fn send_frame(&mut self, leg: usize, frame: u64, at: Duration) {
        let (socket, to) = (&self.sockets[leg], self.plan.to[self.plan.port_of(leg)]);
        let (sent, slots, due) = (&mut self.sent, &mut self.slots, &mut self.due);
        self.talkers[leg].frame(&self.content, frame, |packet, fate| {
            let Fate::Sent { delay, copies, .. } = fate else {
                return;
            };
            for _ in 0..copies {
                if !delay.is_zero()
                    && let Some(slot) = slots.put(leg, packet)
                {
                    let at = at + delay;
                    due.push(Reverse(Due {
                        at,
                        what: What::Slot(slot),
                    }));
                    continue;
                }
                sent.undelayed += u64::from(!delay.is_zero());
                sent.send_errors += refused(socket, packet, to);
            }
        });
    }
}

impl Slots {
    fn new(count: usize) -> Self {
        let empty = Slot {
            leg: 0,
            bytes: 0,
            packet: [0; PACKET_BYTES_MAX],
        };
        Self {
            packets: vec![empty; count],
            free: (0..count as u32).collect(),
        }
    }

    /// Keeps a packet; none when every slot is taken.
    fn put(&mut self, leg: usize, packet: &[u8]) -> Option<u32> {
        let number = self.free.pop()?;
        let slot = &mut self.packets[number as usize];
        slot.leg = leg as u32;
        slot.bytes = packet.len();
        slot.packet[..packet.len()].copy_from_slice(packet);
        Some(number)
    }
}

/// Sends; 1 when the kernel refused, else 0.
fn refused(socket: &UdpSocket, packet: &[u8], to: SocketAddr) -> u64 {
    u64::from(socket.send_to(packet, to).is_err())
}

/// When the n-th of so many per second is due.
fn every(per_s: u32, number: u64) -> Duration {
    Duration::from_nanos(number * 1_000_000_000 / u64::from(per_s))
}

/// A time that many times: frames of an eight-hour run do not fit the factor `Duration` takes.
fn mul(time: Duration, count: u64) -> Duration {
    Duration::from_nanos(time.as_nanos() as u64 * count)
}
