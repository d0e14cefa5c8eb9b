//! Uplink, first step: datagrams of known legs become unbroken frames at the codec's own rate.
//!
//! Everything that is not the leg's audio ends here: malformed packets, foreign payload types,
//! odd sizes, duplicates, late ones. Each is counted and none reaches the recogniser. Keys that
//! were pressed are reported, comfort noise says how quiet silence is.

use rtrb::{Producer, PushError};

use crate::dsp::byte_order::{self, ByteOrder};
use crate::keys::{Key, Keys, Over};
use crate::limits::{
    DATAGRAM_BYTES_MAX, FILL_AFTER_MS, GAP_FRAMES_MAX, PAYLOAD_BYTES_MAX, REORDER_PACKETS_MAX,
    REORDER_WAIT_MS_MAX, WALK_MS_MIN,
};
use crate::msg::{Codec, FrameKind, LegId, RxEvent, RxLeg, UplinkFrame, UplinkStart};
use crate::pool::{AddError, Legs};
use crate::reorder::{Arrival, Released, Reorder, Verdict};
use crate::stats::{RxCount, RxCounts};
use crate::timeline::{Continuity, Cut, Timeline};
use crate::units::Micros;
use crate::wire::comfort_noise;
use crate::wire::rtp::Packet;
use crate::wire::telephone_event::{self, TelephoneEvent};

const NEVER: Micros = Micros(u64::MAX);

#[derive(Debug)]
struct Leg {
    codec: Codec,
    reorder: Reorder,
    timeline: Timeline,
    keys: Keys,
    byte_order: ByteOrder,
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
    /// Bytes reserved for each leg; its share of the rings comes on top.
    pub const BYTES_PER_LEG: usize = Legs::<Leg>::BYTES_PER_LEG;

    /// Frames that one datagram completes at most: its own and those that waited for it, each as
    /// long as can be and after the longest gap.
    pub const FRAMES_PER_DATAGRAM_MAX: usize = {
        const PAYLOAD_FRAMES_MAX: usize =
            PAYLOAD_BYTES_MAX.div_ceil(Codec::Ulaw.payload_bytes_per_frame());
        (REORDER_PACKETS_MAX + 1) * (GAP_FRAMES_MAX as usize + PAYLOAD_FRAMES_MAX)
    };

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

    /// Takes a leg in at `now`; its frames begin with its first packet, or at once if it was heard
    /// elsewhere before.
    ///
    /// # Errors
    /// [`AddError`] if its slot is out of range or taken.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn add_leg(&mut self, now: Micros, leg: &RxLeg) -> Result<(), AddError> {
        let mut timeline = Timeline::new(leg.leg, leg.codec);
        let first_packet = match leg.uplink {
            UplinkStart::Continued => {
                timeline.heard(now);
                FirstPacket::Came
            }
            UplinkStart::Fresh => FirstPacket::Awaited,
        };
        self.legs.add(
            leg.leg,
            Leg {
                codec: leg.codec,
                reorder: Reorder::new(leg.codec.clock_rate()),
                timeline,
                keys: Keys::new(),
                byte_order: ByteOrder::new(),
                first_packet,
                foreign_payload_type: Report::Due,
            },
        )?;
        self.next_deadline = self.next_deadline.min(now.plus_ms(FILL_AFTER_MS));
        Ok(())
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
        if !leg.codec.accepts(packet.payload_type()) {
            let mut release = |timeline: &mut Timeline, released: Released<'_>| {
                append(timeline, &released, &mut self.out, counts);
            };
            leg.other(now, leg_id, &packet, counts, &mut release, events);
            let lost_end = leg.keys.next_deadline().unwrap_or(NEVER);
            self.next_deadline = self.next_deadline.min(lost_end);
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
        let is_linear = matches!(leg.codec, Codec::Slin | Codec::Slin16);
        if is_linear && leg.byte_order.look(packet.payload()) == byte_order::Verdict::Suspected {
            events(RxEvent::ByteOrderSuspected {
                leg: leg_id,
                expected: leg.codec,
            });
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

    /// Lets go on what has waited long enough for missing packets, keeps the uplink of silent
    /// phones alive and tells of keys whose end was lost. Does nothing before
    /// [`Self::next_deadline`], so it may be called on every turn.
    ///
    /// # Real-time
    /// Wait-free, no allocation; cost by live legs, at most once in [`WALK_MS_MIN`].
    pub fn tick(&mut self, now: Micros, counts: &RxCounts, mut events: impl FnMut(RxEvent)) {
        if now < self.next_deadline {
            return;
        }
        let (out, mut next) = (&mut self.out, NEVER);
        self.legs.for_each(|id, leg| {
            if let Some(over) = leg.keys.given_up(now) {
                leg.tell(id, over, counts, &mut events);
            }
            leg.reorder.release_due(now, |released| {
                append(&mut leg.timeline, &released, out, counts);
            });
            // What is held will tell how long the gap was; nothing is made up before.
            let deadline = leg.reorder.next_deadline().or_else(|| {
                leg.timeline.fill_due(now, |cut| pass_on(cut, out, counts));
                leg.timeline.next_deadline()
            });
            let lost_end = leg.keys.next_deadline();
            next = next.min(deadline.unwrap_or(NEVER));
            next = next.min(lost_end.unwrap_or(NEVER));
        });
        self.next_deadline = next.max(now.plus_ms(WALK_MS_MIN));
    }

    /// Frames for which there is room in the ring to the next stage: one that takes them before
    /// there is less than [`Self::FRAMES_PER_DATAGRAM_MAX`] loses none.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn room(&self) -> usize {
        self.out.slots()
    }

    /// When [`Self::tick`] next has something to do; the end of time if never.
    pub const fn next_deadline(&self) -> Micros {
        self.next_deadline
    }

    /// Legs taken in.
    pub fn live_legs(&self) -> usize {
        self.legs.live()
    }
}

impl Leg {
    /// Takes in a packet that is not the leg's audio.
    fn other(
        &mut self,
        now: Micros,
        leg: LegId,
        packet: &Packet<'_>,
        counts: &RxCounts,
        release: &mut impl FnMut(&mut Timeline, Released<'_>),
        mut events: impl FnMut(RxEvent),
    ) {
        let payload_type = packet.payload_type();
        match payload_type {
            comfort_noise::PAYLOAD_TYPE => {
                let Ok(level) = comfort_noise::parse(packet.payload()) else {
                    return counts.count(RxCount::DropPayloadSize);
                };
                counts.count(RxCount::ComfortNoise);
                self.timeline.quieten(level);
            }
            telephone_event::PAYLOAD_TYPE => {
                let Ok(event) = TelephoneEvent::parse(packet.payload()) else {
                    return counts.count(RxCount::DropPayloadSize);
                };
                counts.count(RxCount::TelephoneEvent);
                let keys = self.keys.heard(now, packet.timestamp(), &event);
                for over in keys.into_iter().flatten() {
                    self.tell(leg, over, counts, &mut events);
                }
            }
            _ => {
                counts.count(RxCount::DropPayloadType);
                if self.foreign_payload_type == Report::Due {
                    self.foreign_payload_type = Report::Made;
                    events(RxEvent::UnexpectedPayloadType {
                        leg,
                        payload_type,
                        expected: self.codec,
                    });
                }
                return;
            }
        }
        // It took a number in the sequence that nobody need wait for.
        let timeline = &mut self.timeline;
        self.reorder
            .note_other(packet.ssrc(), packet.sequence_number(), |released| {
                release(timeline, released);
            });
    }

    fn tell(&self, leg: LegId, over: Over, counts: &RxCounts, events: &mut impl FnMut(RxEvent)) {
        let Over::Told(Key { event, duration }) = over else {
            return counts.count(RxCount::DropKey);
        };
        events(RxEvent::TelephoneEvent {
            leg,
            event,
            duration_ms: self.codec.clock_rate().milliseconds(duration.into()),
        });
    }
}

/// How long a payload lasts in timestamp units; `None` if it is not a whole number of them, or of
/// none.
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
    let frame = match cut {
        Cut::Concealed(frame) => {
            counts.count(RxCount::FrameConcealed);
            frame
        }
        Cut::Frame(frame) => frame,
        Cut::Skipped => return counts.count(RxCount::FrameSkipped),
    };
    if frame.kind == FrameKind::Filled {
        counts.count(RxCount::FrameFilled);
    }
    if let Err(PushError::Full(_)) = out.push(*frame) {
        counts.count(RxCount::DropRingFull);
    }
}
