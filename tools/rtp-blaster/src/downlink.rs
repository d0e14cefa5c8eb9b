//! What the phone receives, judged packet by packet: the part of Asterisk that takes RTP back on an
//! ExternalMedia leg, and of a measuring instrument.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::codec::{DOWNLINK_FRAME_TICKS, DownlinkCodec, FRAME_MS, STATIC_PAYLOAD_TYPE_MAX};
use crate::recorder::{Placement, Recorder, is_speech};
use crate::report::{Percentiles, seconds};
use crate::rtp::Header;
use crate::sequence::{Arrival, SequenceTracker};

/// So many SSRCs are listed; all changes are counted.
const SSRCS_LISTED_MAX: usize = 32;
/// Longest deviation the histogram tells from others, in µs.
const DEVIATION_US_MAX: u64 = 60_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// What a datagram was to the listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    /// Not played: malformed, not accepted, or a duplicate. The counts say why.
    Nothing,
    /// Played, and quiet.
    Quiet,
    /// Played, and as loud as speech.
    Speech,
}

/// Totals of one downlink. Sequence numbers are judged over all packets of the peer, timestamps,
/// gaps and deviation over the audio that is played.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DownlinkReport {
    /// RTP packets of any kind.
    pub packets: u64,
    /// The same by payload type.
    pub by_payload_type: BTreeMap<u8, u64>,
    /// Audio packets played; duplicates are not.
    pub played: u64,
    /// Payload type above 34: Asterisk drops these without a word.
    pub dropped_dynamic_payload_type: u64,
    /// A static payload type that is not accepted or that this phone cannot play.
    pub unsupported_payload_type: u64,
    /// Not RTP.
    pub malformed: u64,
    /// From another address than the one called.
    pub from_strangers: u64,
    /// Sequence numbers that never came.
    pub lost: u64,
    /// Sequence numbers that came again.
    pub duplicates: u64,
    /// Packets that came after a newer one.
    pub reordered: u64,
    /// Sequence steps too large to be loss.
    pub sequence_jumps: u64,
    /// Timestamp steps other than 160 per sequence number.
    pub timestamp_errors: u64,
    /// Such steps where the marker announced a new talkspurt.
    pub talkspurts: u64,
    /// Packets that do not hold exactly one frame.
    pub wrong_size: u64,
    /// 20 ms slots of the timestamps' time line for which nothing came.
    pub frames_missing: u64,
    /// Times the sender changed its SSRC.
    pub ssrc_changes: u64,
    /// The SSRCs seen, in hexadecimal.
    pub ssrcs: Vec<String>,
    /// When the first audio packet came, in seconds of the call.
    pub first_s: Option<f64>,
    /// When the last one came.
    pub last_s: Option<f64>,
    /// Longest time between two audio packets, in ms.
    pub gap_ms_max: f64,
    /// How far the time between two audio packets was from 20 ms.
    pub deviation_us: Percentiles,
}

/// One leg's receiving side. Reads no clock: times are given, counted from the call's beginning.
#[derive(Debug)]
pub struct Downlink {
    accepted: Vec<u8>,
    sequence: SequenceTracker,
    ssrc: Option<u32>,
    /// The newest audio packet's sequence number and timestamp.
    newest_audio: Option<(u16, u32)>,
    /// Lowest and highest timestamp since the last placement by arrival, and packets between.
    stretch: Option<Stretch>,
    last_at: Option<Duration>,
    deviation_us: Histogram<u64>,
    samples: Vec<i16>,
    recorder: Recorder,
    report: DownlinkReport,
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    first: u32,
    ticks: u32,
    packets: u64,
}

impl Downlink {
    /// Plays these payload types, and records so long at most.
    ///
    /// # Panics
    /// Never: the histogram's bounds are constants.
    pub fn new(accepted: &[u8], length_max: Duration) -> Self {
        Self {
            accepted: accepted.to_vec(),
            sequence: SequenceTracker::default(),
            ssrc: None,
            newest_audio: None,
            stretch: None,
            last_at: None,
            deviation_us: Histogram::new_with_bounds(1, DEVIATION_US_MAX, SIGNIFICANT_DIGITS)
                .expect("1 .. 60 s with 3 digits is a valid histogram"),
            samples: Vec::new(),
            recorder: Recorder::new(length_max),
            report: DownlinkReport::default(),
        }
    }

    /// Counts a datagram that does not come from the peer.
    pub fn receive_from_stranger(&mut self) {
        self.report.from_strangers += 1;
    }

    /// Takes one datagram of the peer.
    pub fn receive(&mut self, datagram: &[u8], at: Duration) -> Heard {
        let Ok((header, payload)) = Header::parse(datagram) else {
            self.report.malformed += 1;
            return Heard::Nothing;
        };
        self.report.packets += 1;
        *self
            .report
            .by_payload_type
            .entry(header.payload_type)
            .or_default() += 1;
        self.follow_ssrc(header.ssrc);
        let arrival = self.sequence.receive(header.sequence_number);
        let Some(codec) = self.codec_for(header.payload_type) else {
            return Heard::Nothing;
        };
        if arrival == Arrival::Duplicate {
            return Heard::Nothing;
        }
        if arrival != Arrival::Late {
            self.judge_timestamp(&header, arrival);
        }
        codec.decode(payload, &mut self.samples);
        self.report.wrong_size += u64::from(self.samples.len() != DOWNLINK_FRAME_TICKS as usize);
        self.report.played += 1;
        self.judge_arrival(at);
        let placement = self
            .recorder
            .place(header.ssrc, header.timestamp, &self.samples, at);
        self.extend_stretch(header.timestamp, placement);
        if is_speech(&self.samples) {
            Heard::Speech
        } else {
            Heard::Quiet
        }
    }

    /// Closes the books: the totals and the recording.
    pub fn finish(mut self) -> (DownlinkReport, Vec<i16>) {
        self.close_stretch();
        let sequence = self.sequence.counts();
        self.report.lost = sequence.lost;
        self.report.duplicates = sequence.duplicates;
        self.report.reordered = sequence.reordered;
        self.report.sequence_jumps = sequence.jumps;
        self.report.last_s = self.last_at.map(seconds);
        self.report.deviation_us = Percentiles::of(&self.deviation_us);
        (self.report, self.recorder.into_samples())
    }

    fn follow_ssrc(&mut self, ssrc: u32) {
        if self.ssrc == Some(ssrc) {
            return;
        }
        if self.ssrc.replace(ssrc).is_some() {
            self.report.ssrc_changes += 1;
            self.sequence.restart();
            self.newest_audio = None;
        }
        let name = format!("{ssrc:08x}");
        let has_room = self.report.ssrcs.len() < SSRCS_LISTED_MAX;
        if has_room && !self.report.ssrcs.contains(&name) {
            self.report.ssrcs.push(name);
        }
    }

    fn codec_for(&mut self, payload_type: u8) -> Option<DownlinkCodec> {
        if payload_type > STATIC_PAYLOAD_TYPE_MAX {
            self.report.dropped_dynamic_payload_type += 1;
            return None;
        }
        let codec = DownlinkCodec::from_payload_type(payload_type)
            .filter(|_| self.accepted.contains(&payload_type));
        self.report.unsupported_payload_type += u64::from(codec.is_none());
        codec
    }

    fn judge_timestamp(&mut self, header: &Header, arrival: Arrival) {
        let newest = self
            .newest_audio
            .replace((header.sequence_number, header.timestamp));
        let Some((sequence_number, timestamp)) = newest else {
            return;
        };
        let packets = u32::from(header.sequence_number.wrapping_sub(sequence_number));
        let ticks = header.timestamp.wrapping_sub(timestamp);
        if ticks == packets * DOWNLINK_FRAME_TICKS || arrival == Arrival::Start {
            return;
        }
        let count = if header.marker {
            &mut self.report.talkspurts
        } else {
            &mut self.report.timestamp_errors
        };
        *count += 1;
    }

    fn judge_arrival(&mut self, at: Duration) {
        match self.last_at.replace(at) {
            None => self.report.first_s = Some(seconds(at)),
            Some(last_at) => {
                let gap = at.saturating_sub(last_at);
                let gap_ms = gap.as_micros() as f64 / 1000.0;
                self.report.gap_ms_max = self.report.gap_ms_max.max(gap_ms);
                let frame = Duration::from_millis(FRAME_MS.into());
                self.deviation_us
                    .saturating_record(gap.abs_diff(frame).as_micros() as u64);
            }
        }
    }

    fn extend_stretch(&mut self, timestamp: u32, placement: Placement) {
        if placement == Placement::ByArrival {
            self.close_stretch();
        }
        let new = Stretch {
            first: timestamp,
            ticks: 0,
            packets: 0,
        };
        let stretch = self.stretch.get_or_insert(new);
        let ticks = timestamp.wrapping_sub(stretch.first).cast_signed();
        if ticks < 0 {
            stretch.first = timestamp;
            stretch.ticks += ticks.unsigned_abs();
        } else {
            stretch.ticks = stretch.ticks.max(ticks.unsigned_abs());
        }
        stretch.packets += 1;
    }

    fn close_stretch(&mut self) {
        if let Some(stretch) = self.stretch.take() {
            let slots = u64::from(stretch.ticks / DOWNLINK_FRAME_TICKS) + 1;
            self.report.frames_missing += slots.saturating_sub(stretch.packets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    fn packet(payload_type: u8, sequence_number: u16, timestamp: u32) -> Vec<u8> {
        let header = Header {
            marker: false,
            payload_type,
            sequence_number,
            timestamp,
            ssrc: 0xABCD,
        };
        [&header.to_bytes()[..], &[0xFF; 160]].concat()
    }

    fn downlink() -> Downlink {
        Downlink::new(&[0, 8, 10, 11], Duration::from_secs(60))
    }

    /// Goal: a clean stream has no counts but its own. Method: a second of µ-law on time.
    #[test]
    fn a_clean_stream_is_clean() {
        let mut downlink = downlink();
        for frame in 0..50 {
            let packet = packet(0, frame, u32::from(frame) * 160);
            assert_eq!(
                downlink.receive(&packet, FRAME * u32::from(frame)),
                Heard::Quiet
            );
        }
        let (report, samples) = downlink.finish();
        let expected = DownlinkReport {
            packets: 50,
            by_payload_type: [(0, 50)].into(),
            played: 50,
            ssrcs: vec!["0000abcd".into()],
            first_s: Some(0.0),
            last_s: Some(0.98),
            gap_ms_max: 20.0,
            ..DownlinkReport::default()
        };
        assert_eq!(report, expected);
        assert_eq!(samples.len(), 50 * 160);
    }

    /// Goal: what Asterisk drops is dropped and counted. Method: each payload type once.
    #[test]
    fn payload_types_are_taken_as_asterisk_takes_them() {
        let mut downlink = downlink();
        for payload_type in 0..=127 {
            let sequence_number = u16::from(payload_type);
            let packet = packet(payload_type, sequence_number, u32::from(payload_type) * 160);
            downlink.receive(&packet, FRAME * u32::from(payload_type));
        }
        let (report, _) = downlink.finish();
        assert_eq!(report.played, 4, "0, 8, 10 and 11");
        assert_eq!(report.dropped_dynamic_payload_type, 127 - 34);
        assert_eq!(report.unsupported_payload_type, 35 - 4);
        assert_eq!((report.lost, report.timestamp_errors), (0, 0));
    }

    /// Goal: wrong timestamps, gaps announced by the marker and SSRC changes have counts of their
    /// own. Method: one of each in a stream.
    #[test]
    fn timestamps_are_judged_by_sequence() {
        let mut downlink = downlink();
        let mut marked = packet(0, 4, 160 * 10);
        marked[1] |= 0x80;
        let mut other_ssrc = packet(0, 9000, 77);
        other_ssrc[11] ^= 1;
        let stream = [
            packet(0, 1, 0),
            packet(0, 2, 160),
            packet(0, 3, 160),
            marked,
            other_ssrc,
        ];
        for (datagram, frame) in stream.iter().zip(0..) {
            downlink.receive(datagram, FRAME * frame);
        }
        downlink.receive(&[0; 3], FRAME * 5);
        let (report, _) = downlink.finish();
        assert_eq!((report.timestamp_errors, report.talkspurts), (1, 1));
        assert_eq!((report.ssrc_changes, report.malformed), (1, 1));
        assert_eq!((report.lost, report.sequence_jumps), (0, 0));
    }
}
