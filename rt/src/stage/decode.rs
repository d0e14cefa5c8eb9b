//! Uplink, first step: datagrams of known legs become unbroken frames at the codec's own rate.
//!
//! Everything that is not the leg's audio ends here: malformed packets, foreign payload types,
//! odd sizes, duplicates, late ones. Each is counted and none reaches the recogniser.

use rtrb::{Producer, PushError};

use crate::limits::{DATAGRAM_BYTES_MAX, FILL_AFTER_MS, REORDER_WAIT_MS_MAX, WALK_MS_MIN};
use crate::msg::{Codec, FrameKind, LegId, RxEvent, RxLeg, UplinkFrame};
use crate::pool::{AddError, Legs};
use crate::reorder::{Arrival, Released, Reorder, Verdict};
use crate::stats::{RxCount, RxCounts};
use crate::timeline::{Continuity, Cut, Timeline};
use crate::units::Micros;
use crate::wire::rtp::Packet;

const NEVER: Micros = Micros(u64::MAX);

#[derive(Debug)]
struct Leg {
    codec: Codec,
    reorder: Reorder,
    timeline: Timeline,
    first_packet: FirstPacket,
    foreign_payload_type: Report,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FirstPacket {
    Awaited,
    Came,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Report {
    Due,
    Made,
}

/// Datagrams in, [`UplinkFrame`]s at the codec's rate out.
#[derive(Debug)]
pub struct Decode {
    legs: Legs<Leg>,
    out: Producer<UplinkFrame>,
    next_deadline: Micros,
}

impl Decode {
    /// A stage with room for legs in slots 0 .. `legs_max`.
    ///
    /// # Real-time
    /// Set-up only: allocates all it will ever need.
    pub fn new(legs_max: usize, out: Producer<UplinkFrame>) -> Self {
        Self {
            legs: Legs::new(legs_max),
            out,
            next_deadline: NEVER,
        }
    }

    /// Takes a leg in; its frames begin with its first packet.
    ///
    /// # Errors
    /// [`AddError`] if its slot is out of range or taken.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn add_leg(&mut self, leg: &RxLeg) -> Result<(), AddError> {
        self.legs.add(
            leg.leg,
            Leg {
                codec: leg.codec,
                reorder: Reorder::new(leg.codec.clock_rate()),
                timeline: Timeline::new(leg.leg, leg.codec),
                first_packet: FirstPacket::Awaited,
                foreign_payload_type: Report::Due,
            },
        )
    }

    /// Lets a leg go, with what it had waiting. One that is not there is no matter.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn remove_leg(&mut self, leg: LegId) {
        self.legs.remove(leg);
    }

    /// Takes a datagram of `leg` in and passes on the frames that are complete with it.
    ///
    /// Counts what it drops; [`RxCount::Datagram`] and [`RxCount::DropUnknownSource`] are the
    /// reader's to count.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn receive(
        &mut self,
        now: Micros,
        leg_id: LegId,
        datagram: &[u8],
        counts: &RxCounts,
        mut events: impl FnMut(RxEvent),
    ) {
        let Some(leg) = self.legs.find_mut(leg_id) else {
            counts.count(RxCount::DropStaleLeg);
            return;
        };
        if datagram.len() > DATAGRAM_BYTES_MAX {
            counts.count(RxCount::DropMalformed);
            return;
        }
        let Ok(packet) = Packet::parse(datagram) else {
            counts.count(RxCount::DropMalformed);
            return;
        };
        let payload_type = packet.payload_type();
        if !leg.codec.accepts(payload_type) {
            counts.count(RxCount::DropPayloadType);
            if leg.foreign_payload_type == Report::Due {
                leg.foreign_payload_type = Report::Made;
                events(RxEvent::UnexpectedPayloadType {
                    leg: leg_id,
                    payload_type,
                });
            }
            return;
        }
        let Some(duration) = duration(leg.codec, packet.payload()) else {
            counts.count(RxCount::DropPayloadSize);
            return;
        };
        if leg.first_packet == FirstPacket::Awaited {
            leg.first_packet = FirstPacket::Came;
            events(RxEvent::FirstPacket { leg: leg_id });
        }
        let arrival = Arrival {
            at: now,
            ssrc: packet.ssrc(),
            sequence_number: packet.sequence_number(),
            timestamp: packet.timestamp(),
            duration,
            payload: packet.payload(),
        };
        let verdict = leg.reorder.push(&arrival, |released| {
            append(&mut leg.timeline, &released, &mut self.out, counts);
        });
        match verdict {
            Verdict::Duplicate => return counts.count(RxCount::DropDuplicate),
            Verdict::Late => return counts.count(RxCount::DropLate),
            Verdict::ReleasedBeforeOthers => counts.count(RxCount::Reordered),
            Verdict::Resynced => counts.count(RxCount::Resync),
            Verdict::Held | Verdict::Released => {}
        }
        leg.timeline.heard(now);
        // Whether it waits or passed, nothing more is due for it before this.
        const { assert!(REORDER_WAIT_MS_MAX == FILL_AFTER_MS) };
        self.next_deadline = self.next_deadline.min(now.plus_ms(FILL_AFTER_MS));
    }

    /// Lets go on what has waited long enough for missing packets, and keeps the uplink of silent
    /// phones alive. Does nothing before [`Self::next_deadline`], so it may be called on every
    /// turn.
    ///
    /// # Real-time
    /// Wait-free, no allocation; cost by live legs, at most once in [`WALK_MS_MIN`].
    pub fn tick(&mut self, now: Micros, counts: &RxCounts) {
        if now < self.next_deadline {
            return;
        }
        let (out, mut next) = (&mut self.out, NEVER);
        self.legs.for_each(|_, leg| {
            leg.reorder.release_due(now, |released| {
                append(&mut leg.timeline, &released, out, counts);
            });
            // What is held will tell how long the gap was; nothing is made up before.
            let deadline = leg.reorder.next_deadline().or_else(|| {
                leg.timeline.fill_due(now, |cut| pass_on(cut, out, counts));
                leg.timeline.next_deadline()
            });
            next = next.min(deadline.unwrap_or(NEVER));
        });
        self.next_deadline = next.max(now.plus_ms(WALK_MS_MIN));
    }

    /// When [`Self::tick`] next has something to do; the end of time if never.
    pub const fn next_deadline(&self) -> Micros {
        self.next_deadline
    }

    /// Legs taken in.
    pub const fn live_legs(&self) -> usize {
        self.legs.live()
    }
}

/// How long a payload lasts in timestamp units; `None` if it is not a whole number of them, or none.
fn duration(codec: Codec, payload: &[u8]) -> Option<u32> {
    let bytes = payload.len();
    if bytes == 0 || !bytes.is_multiple_of(codec.bytes_per_unit()) {
        return None;
    }
    u32::try_from(bytes / codec.bytes_per_unit()).ok()
}

fn append(
    timeline: &mut Timeline,
    released: &Released<'_>,
    out: &mut Producer<UplinkFrame>,
    counts: &RxCounts,
) {
    if timeline.append(released, |cut| pass_on(cut, out, counts)) == Continuity::Resynced {
        counts.count(RxCount::Resync);
    }
}

fn pass_on(cut: Cut<'_>, out: &mut Producer<UplinkFrame>, counts: &RxCounts) {
    let Cut::Frame(frame) = cut else {
        return counts.count(RxCount::FrameSkipped);
    };
    if frame.kind == FrameKind::Filled {
        counts.count(RxCount::FrameFilled);
    }
    if let Err(PushError::Full(_)) = out.push(*frame) {
        counts.count(RxCount::DropRingFull);
    }
}
