//! One leg's receiving side: judges what comes back, packet by packet, by its kernel time stamp.
//! Pure: reads no clock. All memory is taken at the beginning.
//!
//! Times count from the run's first packet. Until [`Listener::open_window`] everything is followed
//! and nothing is counted.

use std::collections::VecDeque;
use std::time::Duration;

use super::grid::Grid;
use super::marker::{Detector, Found};
use super::spread::{Spread, micros};
use crate::codec::{Ear, FRAME_MS, frame_ticks_of};
use crate::rtp::Header;
use crate::sequence::{Arrival, SequenceCounts, SequenceTracker};

const FRAME: Duration = Duration::from_millis(FRAME_MS as u64);
/// A longer time between two packets is a gap: a tick and a half, so that jitter is none and one
/// packet lost is one.
const GAP_MIN: Duration = Duration::from_millis(FRAME_MS as u64 * 3 / 2);
/// A longer step of the timestamp is a restart, not a gap: two seconds.
const STEP_FRAMES_MAX: u32 = 100;
/// When a window's first and last packet were due is told by so many at that end: one late packet
/// there must not look like a tick too many or too few.
const EDGE_PACKETS: usize = 9;
/// Samples of the longest frame that is listened to: 60 ms at 16 kHz.
const SAMPLES_MAX: usize = 960;
/// Payload types are seven bits.
const PAYLOAD_TYPES: usize = 128;

/// A marker heard on this leg, to be compared with the schedule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heard {
    /// Who said it.
    pub leg: usize,
    /// When its first sample came.
    pub onset: Duration,
}

/// What one leg received in the window.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerCounts {
    /// RTP packets.
    pub packets: u64,
    /// Sequence numbers: lost, duplicated, reordered.
    pub sequence: SequenceCounts,
    /// 20 ms slots of the time between the first and the last packet, by timestamp, without a
    /// packet.
    pub slots_missing: u64,
    /// Packets with the timestamp of the one before.
    pub frames_doubled: u64,
    /// Steps of the timestamp that do not fit the sequence, without a marker.
    pub timestamp_errors: u64,
    /// Such steps under a marker.
    pub talkspurts: u64,
    /// Changes of SSRC.
    pub ssrc_changes: u64,
    /// Not RTP.
    pub malformed: u64,
    /// From another address than the leg's gateway port.
    pub from_strangers: u64,
    /// Packets by payload type.
    pub by_payload_type: [u32; PAYLOAD_TYPES],
    /// Packets within the window that are no duplicates.
    pub in_window: u64,
    /// Arrival of the first and the last of them; once finished, when these were due.
    pub first_last: Option<(Duration, Duration)>,
    /// Bursts of sound that were no whole marker.
    pub markers_garbled: u64,
    /// Times of more than 30 ms without a packet.
    pub gaps: u64,
    /// Longest time between two packets, or from the window's edges to the first and last.
    pub gap_max: Duration,
}

/// Receives one leg.
#[derive(Debug)]
pub struct Listener {
    sequence: SequenceTracker,
    sequence_before_window: SequenceCounts,
    ssrc: Option<u32>,
    newest: Option<Newest>,
    grid: Grid,
    /// Present when markers are to be heard.
    hearing: Option<Hearing>,
    window: Option<Duration>,
    counts: ListenerCounts,
    first: Edge,
    last: Edge,
    /// How far the time between two packets was from what their timestamps say.
    pub interarrival: Spread,
    /// How far packets were from the leg's own 20 ms grid.
    pub from_grid: Spread,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    timestamp: u32,
    at: Duration,
}

#[derive(Debug)]
struct Hearing {
    ear: Ear,
    detector: Detector,
    samples: Vec<i16>,
    onset: Duration,
}

/// Packets at one end of the window; the outermost is the last of them.
#[derive(Debug)]
struct Edge {
    arrivals: VecDeque<EdgeArrival>,
}

#[derive(Clone, Copy, Debug)]
struct EdgeArrival {
    at: Duration,
    timestamp: u32,
    frame_ticks: u32,
}

impl Edge {
    fn push(&mut self, arrival: EdgeArrival) {
        if self.arrivals.len() == EDGE_PACKETS {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(arrival);
    }

    /// When the outermost packet was due: the median of what all of them say. Those whose timestamp
    /// has nothing to do with its own say nothing.
    fn due(&self) -> Option<Duration> {
        let outermost = self.arrivals.back()?;
        let frame_ticks = i64::from(outermost.frame_ticks);
        let said_by = |arrival: &EdgeArrival| {
            let ticks = outermost.timestamp.wrapping_sub(arrival.timestamp);
            let ticks = i64::from(ticks.cast_signed());
            let is_plausible = ticks.abs() <= i64::from(STEP_FRAMES_MAX) * frame_ticks;
            let due_ns =
                arrival.at.as_nanos() as i64 + ticks * FRAME.as_nanos() as i64 / frame_ticks;
            is_plausible.then_some(due_ns.max(0) as u64)
        };
        let mut dues_ns: Vec<_> = self.arrivals.iter().filter_map(said_by).collect();
        dues_ns.sort_unstable();
        dues_ns
            .get(dues_ns.len() / 2)
            .copied()
            .map(Duration::from_nanos)
    }
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            arrivals: VecDeque::with_capacity(EDGE_PACKETS),
        }
    }
}

/// Whether a leg decodes and listens for markers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listening {
    /// It looks for markers.
    ForMarkers,
    /// It does not decode.
    Deaf,
}

impl Listener {
    /// A leg that has received nothing.
    pub fn new(listening: Listening) -> Self {
        let hearing = (listening == Listening::ForMarkers).then(|| Hearing {
            ear: Ear::new(),
            detector: Detector::new(),
            samples: Vec::with_capacity(SAMPLES_MAX),
            onset: Duration::ZERO,
        });
        Self {
            sequence: SequenceTracker::default(),
            sequence_before_window: SequenceCounts::default(),
            ssrc: None,
            newest: None,
            grid: Grid::new(),
            hearing,
            window: None,
            counts: ListenerCounts::default(),
            first: Edge::default(),
            last: Edge::default(),
            interarrival: Spread::of_leg(),
            from_grid: Spread::of_leg(),
        }
    }

    /// Counts from here on.
    pub fn open_window(&mut self, at: Duration) {
        self.window = Some(at);
        self.sequence_before_window = self.sequence.counts();
    }

    /// Whether [`Listener::open_window`] was called.
    pub fn is_open(&self) -> bool {
        self.window.is_some()
    }

    /// Listens for no more markers: the speakers have stopped, perhaps in the midst of one.
    pub fn stop_hearing(&mut self) {
        self.hearing = None;
    }

    /// Counts a datagram that does not come from the leg's gateway port.
    pub fn receive_from_stranger(&mut self) {
        self.counts.from_strangers += u64::from(self.is_open());
    }

    /// Takes one datagram of the leg's gateway port.
    pub fn receive(&mut self, datagram: &[u8], at: Duration) -> Option<Heard> {
        let Ok((header, payload)) = Header::parse(datagram) else {
            self.counts.malformed += u64::from(self.is_open());
            return None;
        };
        self.follow_ssrc(header.ssrc);
        let arrival = self.sequence.receive(header.sequence_number);
        if self.is_open() {
            self.counts.packets += 1;
            self.counts.by_payload_type[usize::from(header.payload_type)] += 1;
        }
        match arrival {
            Arrival::Duplicate => return None,
            Arrival::Late => {
                self.fill_slot();
                return None;
            }
            Arrival::Newest { step } => self.judge(&header, u32::from(step), at),
            Arrival::Start => self.begin(&header),
        }
        self.note_arrival(&header, at);
        self.newest = Some(Newest {
            timestamp: header.timestamp,
            at,
        });
        self.listen(&header, payload, at)
    }

    /// Closes the books on a window that ended then.
    pub fn finish(mut self, window_end: Duration) -> (ListenerCounts, Spread, Spread) {
        let (all, before) = (self.sequence.counts(), self.sequence_before_window);
        self.counts.sequence = SequenceCounts {
            // One lost before the window and come in it is not a loss less in it.
            lost: all.lost.saturating_sub(before.lost),
            duplicates: all.duplicates - before.duplicates,
            reordered: all.reordered - before.reordered,
            jumps: all.jumps - before.jumps,
        };
        let tail = match self.counts.first_last {
            Some((_, last)) => window_end.saturating_sub(last),
            None => window_end.saturating_sub(self.window.unwrap_or(window_end)),
        };
        self.note_gap(tail);
        self.counts.first_last = self.first.due().zip(self.last.due());
        (self.counts, self.interarrival, self.from_grid)
    }

    fn follow_ssrc(&mut self, ssrc: u32) {
        if self.ssrc != Some(ssrc) {
            if self.ssrc.replace(ssrc).is_some() {
                self.counts.ssrc_changes += u64::from(self.is_open());
            }
            self.sequence.restart();
        }
    }

    /// A stream begins, or begins anew.
    fn begin(&mut self, header: &Header) {
        self.grid.restart(header.timestamp);
        self.newest = None;
        self.skip_sound();
    }

    /// A marker with a piece missing cannot be told.
    fn skip_sound(&mut self) {
        let garbled = self.hearing.as_mut().and_then(|h| h.detector.skip());
        self.note_marker(garbled);
    }

    fn judge(&mut self, header: &Header, step: u32, at: Duration) {
        let Some(newest) = self.newest else { return };
        let frame_ticks = frame_ticks_of(header.payload_type);
        let ticks = header.timestamp.wrapping_sub(newest.timestamp);
        let frames = ticks / frame_ticks;
        let is_plausible = ticks % frame_ticks == 0 && frames <= STEP_FRAMES_MAX;
        if self.is_open() {
            self.judge_step(header.marker, step, is_plausible.then_some(frames));
            let expected = if is_plausible { FRAME * frames } else { FRAME };
            let between = at.saturating_sub(newest.at);
            self.interarrival.record(micros(between.abs_diff(expected)));
        }
        if !is_plausible {
            self.grid.restart(header.timestamp);
        }
        if !is_plausible || frames != 1 {
            self.skip_sound();
        }
        let deviation = self.grid.place(header.timestamp, frame_ticks, at);
        if let Some(deviation) = deviation.filter(|_| self.window.is_some()) {
            self.from_grid.record(micros(deviation));
        }
    }

    /// Compares the step of the timestamp, in frames where it is plausible, with the sequence's.
    fn judge_step(&mut self, marker: bool, step: u32, frames: Option<u32>) {
        if frames == Some(0) {
            self.counts.frames_doubled += 1;
        } else if let Some(frames) = frames {
            self.counts.slots_missing += u64::from(frames - 1);
        }
        if frames != Some(step) {
            let count = if marker {
                &mut self.counts.talkspurts
            } else {
                &mut self.counts.timestamp_errors
            };
            *count += 1;
        }
    }

    /// A late packet fills a slot that was counted as missing.
    fn fill_slot(&mut self) {
        if self.is_open() {
            self.counts.slots_missing = self.counts.slots_missing.saturating_sub(1);
            self.counts.in_window += 1;
        }
    }

    fn note_arrival(&mut self, header: &Header, at: Duration) {
        let Some(window) = self.window else { return };
        self.counts.in_window += 1;
        let since = self.counts.first_last.map_or(window, |(_, last)| last);
        self.note_gap(at.saturating_sub(since));
        let first = self.counts.first_last.map_or(at, |(first, _)| first);
        self.counts.first_last = Some((first, at));
        let arrival = EdgeArrival {
            at,
            timestamp: header.timestamp,
            frame_ticks: frame_ticks_of(header.payload_type),
        };
        if self.first.arrivals.len() < EDGE_PACKETS {
            // The outermost comes last, as at the other end.
            self.first.arrivals.push_front(arrival);
        }
        self.last.push(arrival);
    }

    fn note_gap(&mut self, time: Duration) {
        self.counts.gaps += u64::from(time > GAP_MIN);
        self.counts.gap_max = self.counts.gap_max.max(time);
    }

    /// Counts a garbled marker, and returns who said a good one.
    fn note_marker(&mut self, found: Option<Found>) -> Option<usize> {
        match found.filter(|_| self.window.is_some())? {
            Found::Garbled => {
                self.counts.markers_garbled += 1;
                None
            }
            Found::Marker { leg } => Some(leg),
        }
    }

    fn listen(&mut self, header: &Header, payload: &[u8], at: Duration) -> Option<Heard> {
        let hearing = self.hearing.as_mut()?;
        if payload.len() > SAMPLES_MAX {
            return None;
        }
        let rate_hz = hearing
            .ear
            .hear(header.payload_type, payload, &mut hearing.samples)?;
        let (onset, found) = hearing.detector.hear(&hearing.samples, rate_hz);
        let begun = hearing.onset;
        if let Some(sample) = onset {
            hearing.onset = at + Duration::from_secs(1) * sample as u32 / rate_hz;
        }
        self.note_marker(found)
            .map(|leg| Heard { leg, onset: begun })
    }
}

impl Default for ListenerCounts {
    fn default() -> Self {
        Self {
            packets: 0,
            sequence: SequenceCounts::default(),
            slots_missing: 0,
            frames_doubled: 0,
            timestamp_errors: 0,
            talkspurts: 0,
            ssrc_changes: 0,
            malformed: 0,
            from_strangers: 0,
            by_payload_type: [0; PAYLOAD_TYPES],
            in_window: 0,
            first_last: None,
            markers_garbled: 0,
            gaps: 0,
            gap_max: Duration::ZERO,
        }
    }
}

impl ListenerCounts {
    /// 20 ms ticks of the window without a packet, and packets beyond one per tick, by the clock
    /// alone: right even where timestamps lie. The edges count from the window's own.
    pub fn by_clock(&self, window_start: Duration, window_end: Duration) -> (u64, u64) {
        let Some((first, last)) = self.first_last else {
            return (frames_in(window_end.saturating_sub(window_start)), 0);
        };
        let ticks = frames_in(last.saturating_sub(first)) + 1;
        let edges = whole_frames_in(first.saturating_sub(window_start))
            + whole_frames_in(window_end.saturating_sub(last));
        (
            ticks.saturating_sub(self.in_window) + edges,
            self.in_window.saturating_sub(ticks),
        )
    }
}

/// Frames in a time between two packets, which are a whole number of frames apart but for jitter.
fn frames_in(time: Duration) -> u64 {
    ((time + FRAME / 2).as_nanos() / FRAME.as_nanos()) as u64
}

/// Frames that should have come in a time that begins or ends anywhere; half a frame of jitter is
/// allowed for.
fn whole_frames_in(time: Duration) -> u64 {
    (time.saturating_sub(FRAME / 2).as_nanos() / FRAME.as_nanos()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stream {
        listener: Listener,
        header: Header,
    }

    impl Stream {
        /// A leg whose window opened before its first packet.
        fn open() -> Self {
            let mut listener = Listener::new(Listening::Deaf);
            listener.open_window(Duration::ZERO);
            let header = Header {
                marker: false,
                payload_type: 0,
                sequence_number: u16::MAX - 5,
                timestamp: u32::MAX - 1_000,
                ssrc: 9,
            };
            Self { listener, header }
        }

        /// Sends `step` sequence numbers and `frames` frames after the one before.
        fn packet(&mut self, step: i16, frames: i32, at_ms: u64) {
            let ticks = frames * 160;
            self.header.sequence_number = self.header.sequence_number.wrapping_add_signed(step);
            self.header.timestamp = self.header.timestamp.wrapping_add_signed(ticks);
            let packet = [&self.header.to_bytes()[..], &[0xFF; 160]].concat();
            self.listener.receive(&packet, Duration::from_millis(at_ms));
        }

        fn finish(self, end_ms: u64) -> ListenerCounts {
            self.listener.finish(Duration::from_millis(end_ms)).0
        }
    }

    /// Goal: a clean stream is clean, over both wraps. Method: a second on time.
    #[test]
    fn a_clean_stream_is_clean() {
        let mut stream = Stream::open();
        (0..50).for_each(|n| stream.packet(1, 1, 10 + 20 * n));
        let counts = stream.finish(1_000);
        let clean = ListenerCounts {
            packets: 50,
            in_window: 50,
            by_payload_type: counts.by_payload_type,
            first_last: Some((Duration::from_millis(10), Duration::from_millis(990))),
            gap_max: FRAME,
            ..ListenerCounts::default()
        };
        assert_eq!(counts, clean);
        assert_eq!(counts.by_payload_type[0], 50);
        assert_eq!(
            counts.by_clock(Duration::ZERO, Duration::from_secs(1)),
            (0, 0)
        );
    }

    /// Goal: each fault has its count, by timestamp and by clock. Method: one of each.
    #[test]
    fn each_fault_has_its_count() {
        let second = Duration::from_secs(1);
        let mut lossy = Stream::open();
        (0..25).for_each(|n| lossy.packet(1, 1, 10 + 20 * n));
        (0..22).for_each(|n| {
            lossy.packet(
                if n == 0 { 4 } else { 1 },
                if n == 0 { 4 } else { 1 },
                570 + 20 * n,
            )
        });
        let counts = lossy.finish(1_000);
        assert_eq!((counts.sequence.lost, counts.slots_missing), (3, 3));
        assert_eq!(counts.by_clock(Duration::ZERO, second), (3, 0));
        assert_eq!((counts.gaps, counts.gap_max), (1, FRAME * 4));
        assert_eq!(counts.timestamp_errors, 0);

        // A gateway that stalls and lets its timestamps stand still.
        let mut frozen = Stream::open();
        (0..25).for_each(|n| frozen.packet(1, 1, 10 + 20 * n));
        (0..22).for_each(|n| frozen.packet(1, 1, 570 + 20 * n));
        let counts = frozen.finish(1_000);
        assert_eq!((counts.sequence.lost, counts.slots_missing), (0, 0));
        assert_eq!(
            counts.by_clock(Duration::ZERO, second),
            (3, 0),
            "the clock knows"
        );

        // Slots skipped as they should be: the timestamp jumps, the sequence does not.
        let mut skipped = Stream::open();
        skipped.packet(1, 1, 0);
        skipped.header.marker = true;
        skipped.packet(1, 6, 120);
        skipped.header.marker = false;
        skipped.packet(1, 3, 180);
        skipped.packet(1, 0, 180);
        let counts = skipped.finish(200);
        assert_eq!((counts.talkspurts, counts.timestamp_errors), (1, 2));
        assert_eq!((counts.slots_missing, counts.frames_doubled), (5 + 2, 1));
        assert_eq!(
            counts.by_clock(Duration::ZERO, Duration::from_millis(200)),
            (6, 0)
        );
    }

    /// Goal: a packet late at the window's edge is no tick too many or too few. Method: the first
    /// or the last 15 ms late, which rounds to another number of ticks between them.
    #[test]
    fn a_late_packet_at_the_edge_is_not_a_tick() {
        for late in [0, 49] {
            let mut stream = Stream::open();
            (0..50).for_each(|n| {
                let late_ms = if n == late { 15 } else { 0 };
                stream.packet(1, 1, 10 + 20 * n + late_ms);
            });
            let counts = stream.finish(1_000);
            let by_clock = counts.by_clock(Duration::ZERO, Duration::from_secs(1));
            assert_eq!(by_clock, (0, 0), "packet {late} late");
        }
    }

    /// Goal: what comes late or twice is neither missing nor doubled. Method: a swap and a copy.
    #[test]
    fn late_and_repeated_packets_are_told_apart() {
        let mut stream = Stream::open();
        stream.packet(1, 1, 0);
        stream.packet(2, 2, 40);
        stream.packet(-1, -1, 41);
        stream.packet(2, 2, 60);
        stream.packet(0, 0, 60);
        let counts = stream.finish(80);
        assert_eq!(
            (counts.sequence.reordered, counts.sequence.duplicates),
            (1, 1)
        );
        assert_eq!((counts.sequence.lost, counts.slots_missing), (0, 0));
        assert_eq!((counts.frames_doubled, counts.timestamp_errors), (0, 0));
        assert_eq!(
            counts.by_clock(Duration::ZERO, Duration::from_millis(80)),
            (0, 0)
        );
    }

    /// Goal: a leg that falls silent, or is never heard, misses every tick. Method: one packet, and
    /// none.
    #[test]
    fn silence_is_missing_frames() {
        let window = (Duration::ZERO, Duration::from_secs(1));
        let mut once = Stream::open();
        once.packet(1, 1, 100);
        let counts = once.finish(1_000);
        assert_eq!(counts.by_clock(window.0, window.1).0, 4 + 44);
        assert_eq!(counts.gap_max, Duration::from_millis(900));
        assert_eq!(counts.gaps, 2, "before it and after it");
        let counts = Stream::open().finish(1_000);
        assert_eq!(counts.by_clock(window.0, window.1), (50, 0));
        assert_eq!(counts.gap_max, Duration::from_secs(1));
    }

    /// Goal: what comes before the window is followed, not counted. Method: a loss before, one in.
    #[test]
    fn only_the_window_counts() {
        let mut stream = Stream::open();
        stream.listener.window = None;
        stream.packet(1, 1, 0);
        stream.packet(5, 5, 100);
        stream.listener.open_window(Duration::from_millis(110));
        stream.packet(2, 2, 140);
        let counts = stream.finish(150);
        assert_eq!((counts.packets, counts.sequence.lost), (1, 1));
        assert_eq!(counts.slots_missing, 1);
    }
}
