//! Order on arrival: packets of one stream in the order of their timestamps, as soon as possible.
//!
//! A packet that continues the stream passes at once. One that leaves a hole which missing packets
//! could fill waits for them, at most [`REORDER_WAIT_MS_MAX`] and with at most
//! [`REORDER_PACKETS_MAX`] others. How long a hole is, is read from timestamps only; sequence
//! numbers say only whether packets are missing at all. (Asterisk goes on with sequence + 1 where
//! it left out a digit's 220 ms, and with + 11 where the phone did.)
//!
//! A new SSRC, or a place that fits nothing known, begins the stream anew. Nothing is ever mended
//! here: holes are reported in units, and whoever decodes fills them.

use arrayvec::ArrayVec;

use crate::limits::{GAP_FRAMES_MAX, PAYLOAD_BYTES_MAX, REORDER_PACKETS_MAX, REORDER_WAIT_MS_MAX};
use crate::units::{ClockRate, Micros};
use crate::wire::rtp::{RtpTimestamp, Seq};

/// Sequence numbers behind the newest that are remembered, to tell a duplicate from a late packet.
const SEEN_MAX: i16 = 64;
const _: () = assert!(SEEN_MAX as u32 == u64::BITS);

/// [`REORDER_PACKETS_MAX`] as an index of places is kept.
const PLACES: u8 = 8;
const _: () = assert!(PLACES as usize == REORDER_PACKETS_MAX);

/// More packets missing than this were not overtaken but lost: nobody waits for them.
const MISSING_MAX: i32 = PLACES as i32;

/// A packet as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// When.
    pub at: Micros,
    /// The sender's synchronisation source.
    pub ssrc: u32,
    /// Its place among the packets sent.
    pub sequence_number: Seq,
    /// When its first sample was taken.
    pub timestamp: RtpTimestamp,
    /// How long it lasts, in units of the timestamp; not 0.
    pub duration: u32,
    /// At most [`PAYLOAD_BYTES_MAX`] bytes.
    pub payload: &'a [u8],
}

/// A packet whose turn it is.
#[derive(Clone, Copy, Debug)]
pub struct Released<'a> {
    /// When it arrived.
    pub at: Micros,
    /// How it follows what was released before.
    pub follows: Follows,
    /// Its payload.
    pub payload: &'a [u8],
}

/// How a packet stands to the one before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Follows {
    /// So many timestamp units later than where the other ended; 0 is seamless.
    After(u32),
    /// Not at all: it is the first, or of another stream.
    Anew,
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Dropped: it was here before.
    Duplicate,
    /// It waits for packets before it.
    Held,
    /// Dropped: its place had been passed.
    Late,
    /// It, and whoever waited only for it, was released.
    Released,
    /// Released, and it had been overtaken by others that waited for it.
    ReleasedBeforeOthers,
    /// Released as the first of another stream than before.
    Resynced,
}

#[derive(Clone, Debug)]
struct Held {
    at: Micros,
    sequence_number: Seq,
    timestamp: RtpTimestamp,
    duration: u32,
    len: usize,
    payload: [u8; PAYLOAD_BYTES_MAX],
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    /// Where the last released packet ended.
    next_timestamp: RtpTimestamp,
    /// The newest released.
    newest: Seq,
    /// Bit `n`: the packet `n` before `newest` was released.
    seen: u64,
    /// Bit `n`: the packet `n + 1` after `newest` came and was not audio.
    others: u64,
}

impl Stream {
    /// Packets between the newest released and this one, `step` after it, that have not come.
    fn missing(&self, step: i16) -> i32 {
        let between = u32::from(step.max(1).unsigned_abs() - 1);
        let known = self.others & 1u64.checked_shl(between).map_or(u64::MAX, |bit| bit - 1);
        i32::from(step) - 1 - known.count_ones().cast_signed()
    }

    /// `sequence_number` is the newest now, or what came after it and need not be remembered.
    fn advance(&mut self, sequence_number: Seq) {
        match u32::try_from(sequence_number.distance(self.newest)) {
            Ok(step) => {
                self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
                self.others = self.others.checked_shr(step).unwrap_or(0);
            }
            // The sequence was set back while time went on: time is right, so begin to count anew.
            Err(_) => (self.seen, self.others) = (1, 0),
        }
        self.newest = sequence_number;
        self.skip_others();
    }

    fn skip_others(&mut self) {
        let ready = self.others.trailing_ones();
        // As many as there are bits leave none, on either side.
        self.others = self.others.checked_shr(ready).unwrap_or(0);
        let passed = self.seen.checked_shl(ready).unwrap_or(0);
        self.seen = passed | 1u64.checked_shl(ready).map_or(u64::MAX, |bit| bit - 1);
        self.newest = (0..ready).fold(self.newest, |newest, _| newest.plus(1));
    }
}

/// The reorder window of one stream.
#[derive(Clone, Debug)]
pub struct Reorder {
    /// A longer way back than this is a jump, not lateness, in units.
    late_units_max: u32,
    stream: Option<Stream>,
    /// Storage of waiting packets; `order` says which places are in use.
    places: [Held; REORDER_PACKETS_MAX],
    /// Places in use, earliest timestamp first.
    order: ArrayVec<u8, REORDER_PACKETS_MAX>,
}

impl Reorder {
    /// An empty window for a stream stamped at `clock_rate`.
    pub const fn new(clock_rate: ClockRate) -> Self {
        const EMPTY: Held = Held {
            at: Micros(0),
            sequence_number: Seq(0),
            timestamp: RtpTimestamp(0),
            duration: 0,
            len: 0,
            payload: [0; PAYLOAD_BYTES_MAX],
        };
        Self {
            late_units_max: GAP_FRAMES_MAX * clock_rate.units_per_frame(),
            stream: None,
            places: [EMPTY; REORDER_PACKETS_MAX],
            order: ArrayVec::new_const(),
        }
    }

    /// Takes a packet in and releases what may go on, in order.
    ///
    /// # Real-time
    /// Wait-free, no allocation; at most [`REORDER_PACKETS_MAX`] + 1 releases.
    pub fn push(
        &mut self,
        arrival: &Arrival<'_>,
        mut release: impl FnMut(Released<'_>),
    ) -> Verdict {
        self.place(arrival, &mut release)
    }

    /// Notes that a packet of this stream came that was not audio: nobody need wait for it.
    ///
    /// # Real-time
    /// Wait-free, no allocation; at most [`REORDER_PACKETS_MAX`] releases.
    pub fn note_other(
        &mut self,
        ssrc: u32,
        sequence_number: Seq,
        mut release: impl FnMut(Released<'_>),
    ) {
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.ssrc == ssrc) else {
            return;
        };
        let step = sequence_number.distance(stream.newest);
        if (1..=SEEN_MAX).contains(&step) {
            stream.others |= 1 << (step - 1);
        }
        stream.skip_others();
        self.drain_ready(&mut release);
    }

    /// Releases what has waited long enough at `now`, and what follows it without a hole.
    ///
    /// # Real-time
    /// Wait-free, no allocation; at most [`REORDER_PACKETS_MAX`] releases.
    pub fn release_due(&mut self, now: Micros, mut release: impl FnMut(Released<'_>)) {
        let is_due = |held: &Held| now.0 >= held.at.plus_ms(REORDER_WAIT_MS_MAX).0;
        let due = self
            .order
            .iter()
            .rposition(|place| is_due(&self.places[usize::from(*place)]));
        if let Some(last_due) = due {
            for _ in 0..=last_due {
                self.release_first(&mut release);
            }
            self.drain_ready(&mut release);
        }
    }

    /// When the first of those that wait has waited long enough; `None` if none waits.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn next_deadline(&self) -> Option<Micros> {
        self.waiting()
            .map(|held| held.at.plus_ms(REORDER_WAIT_MS_MAX))
            .min()
    }

    /// Packets that wait.
    pub fn held(&self) -> usize {
        self.order.len()
    }

    fn place(&mut self, arrival: &Arrival<'_>, release: &mut impl FnMut(Released<'_>)) -> Verdict {
        let Some(stream) = self.stream.filter(|stream| stream.ssrc == arrival.ssrc) else {
            return self.begin(arrival, release);
        };
        let hole = arrival.timestamp.distance(stream.next_timestamp);
        let step = arrival.sequence_number.distance(stream.newest);
        if hole == 0 {
            return self.pass(arrival, 0, release);
        }
        if self.is_known(&stream, arrival.sequence_number, step) {
            return Verdict::Duplicate;
        }
        if hole < 0 {
            let is_late = step <= 0 && hole.unsigned_abs() <= self.late_units_max;
            return if is_late {
                Verdict::Late
            } else {
                self.begin(arrival, release)
            };
        }
        let missing = stream.missing(step);
        self.after_a_hole(arrival, hole, missing, release)
    }

    /// A packet that comes after a hole of the present stream.
    fn after_a_hole(
        &mut self,
        arrival: &Arrival<'_>,
        hole: i32,
        missing: i32,
        release: &mut impl FnMut(Released<'_>),
    ) -> Verdict {
        // Missing packets are worth waiting for if there are some, and no more than could have
        // been overtaken.
        if missing == 0 {
            return self.pass(arrival, hole.unsigned_abs(), release);
        }
        if !(1..=MISSING_MAX).contains(&missing) {
            self.drain(release);
            let Some(stream) = self.stream else {
                return Verdict::Late;
            };
            let hole = arrival.timestamp.distance(stream.next_timestamp);
            let Ok(hole) = u32::try_from(hole) else {
                return Verdict::Late;
            };
            return self.pass(arrival, hole, release);
        }
        if self.order.is_full() {
            self.release_first(release);
            self.drain_ready(release);
            return self.place(arrival, release);
        }
        self.hold(arrival);
        Verdict::Held
    }

    fn begin(&mut self, arrival: &Arrival<'_>, release: &mut impl FnMut(Released<'_>)) -> Verdict {
        self.drain(release);
        let was_running = self.stream.is_some();
        self.stream = Some(Stream {
            ssrc: arrival.ssrc,
            next_timestamp: arrival.timestamp.plus(arrival.duration),
            newest: arrival.sequence_number,
            seen: 1,
            others: 0,
        });
        release(Released {
            at: arrival.at,
            follows: Follows::Anew,
            payload: arrival.payload,
        });
        if was_running {
            Verdict::Resynced
        } else {
            Verdict::Released
        }
    }

    /// Releases an arrival that need not wait, and whoever waited only for it.
    fn pass(
        &mut self,
        arrival: &Arrival<'_>,
        hole: u32,
        release: &mut impl FnMut(Released<'_>),
    ) -> Verdict {
        self.advance(
            arrival.sequence_number,
            arrival.timestamp.plus(arrival.duration),
        );
        let follows = Follows::After(hole);
        release(Released {
            at: arrival.at,
            follows,
            payload: arrival.payload,
        });
        let was_overtaken = !self.order.is_empty();
        self.drain_ready(release);
        if was_overtaken {
            Verdict::ReleasedBeforeOthers
        } else {
            Verdict::Released
        }
    }

    fn advance(&mut self, sequence_number: Seq, next_timestamp: RtpTimestamp) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        stream.advance(sequence_number);
        stream.next_timestamp = next_timestamp;
    }

    fn is_known(&self, stream: &Stream, sequence_number: Seq, step: i16) -> bool {
        let was_released =
            (-SEEN_MAX < step && step <= 0) && stream.seen & (1 << step.unsigned_abs()) != 0;
        was_released
            || self
                .waiting()
                .any(|held| held.sequence_number == sequence_number)
    }

    fn waiting(&self) -> impl Iterator<Item = &Held> {
        self.order
            .iter()
            .map(|place| &self.places[usize::from(*place)])
    }

    /// Keeps an arrival; the caller has seen to it that there is a place.
    fn hold(&mut self, arrival: &Arrival<'_>) {
        let is_free = |place: &u8| !self.order.contains(place);
        let Some(place) = (0..PLACES).find(is_free) else {
            return;
        };
        let is_later = |held: &Held| held.timestamp.distance(arrival.timestamp) > 0;
        let position = self
            .waiting()
            .position(is_later)
            .unwrap_or(self.order.len());
        let held = &mut self.places[usize::from(place)];
        let len = arrival.payload.len().min(PAYLOAD_BYTES_MAX);
        held.at = arrival.at;
        held.sequence_number = arrival.sequence_number;
        held.timestamp = arrival.timestamp;
        held.duration = arrival.duration;
        held.len = len;
        held.payload[..len].copy_from_slice(&arrival.payload[..len]);
        self.order.insert(position, place);
    }

    fn release_first(&mut self, release: &mut impl FnMut(Released<'_>)) {
        let Some(place) = self.order.pop_at(0) else {
            return;
        };
        let held = &self.places[usize::from(place)];
        let Some(stream) = self.stream else { return };
        let hole = held
            .timestamp
            .distance(stream.next_timestamp)
            .max(0)
            .unsigned_abs();
        let (sequence_number, end) = (held.sequence_number, held.timestamp.plus(held.duration));
        release(Released {
            at: held.at,
            follows: Follows::After(hole),
            payload: &held.payload[..held.len],
        });
        self.advance(sequence_number, end);
    }

    /// Releases who waits for nobody any more.
    fn drain_ready(&mut self, release: &mut impl FnMut(Released<'_>)) {
        while self.is_first_ready() {
            self.release_first(release);
        }
    }

    fn is_first_ready(&self) -> bool {
        let (Some(stream), Some(first)) = (self.stream, self.waiting().next()) else {
            return false;
        };
        first.timestamp.distance(stream.next_timestamp) <= 0
            || stream.missing(first.sequence_number.distance(stream.newest)) == 0
    }

    fn drain(&mut self, release: &mut impl FnMut(Released<'_>)) {
        while !self.order.is_empty() {
            self.release_first(release);
        }
    }
}
