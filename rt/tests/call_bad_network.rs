//! Goal: one party heard by the other through the worst network and a clock that is off: delay
//! bounded and not growing, order kept, a packet on every tick, every repair counted.
//! Method: ten minutes of call on virtual time for each seed, through the whole chain: a phone that
//! counts its frames aloud, a network with bursts of loss and jitter, decode, resample, a link that
//! stalls now and then, playout, encode; what is in the packets that leave says when it was said.
//! Both ways of the link: the voice itself, as it comes, and utterances played when they are whole.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use std::collections::VecDeque;

use diglot_rt::limits::{FEED_LEAD_FRAMES, PLAYOUT_FRAMES_MAX};
use diglot_rt::msg::{Codec, DownlinkFrame, Pace, Part, Sound, UplinkFrame, UtteranceId};
use diglot_rt::stats::{RxCount, TxCount};
use diglot_rt::testing::netem::{Netem, Profile, Random};
use diglot_rt::testing::packets::Sender;
use diglot_rt::units::{FRAME_US, Micros};
use diglot_rt::wire::rtp::Marker;
use support::{Downlink, LEG, SentPacket, Uplink};

const CALL_TICKS: u64 = 10 * 60 * 50;
const SEEDS: u64 = 24;
/// Frames after which the phone counts from the beginning: talk and pause of two seconds each.
const ROUND: u64 = 200;
const TALK: u64 = ROUND / 2;
/// The first number said, and the distance to the next: none of them is half of another.
const FIRST: i16 = 11_000;
const STEP: i16 = 100;

/// Bursts of five packets on average; jitter of three packets, so disorder as well.
const WORST: Profile = Profile {
    to_bad_percent: 8.6,
    to_good_percent: 20.0,
    jitter_us: 60_000,
    duplicate_percent: 2.0,
};

/// What may change a frame of speech, or put another in its place.
const REPAIRS: [TxCount; 5] = [
    TxCount::FrameCompressed,
    TxCount::FrameConcealed,
    TxCount::FrameRepeated,
    TxCount::FrameSkipped,
    TxCount::FrameStretched,
];

fn level(n: u64) -> i16 {
    let place = n % ROUND;
    if place < TALK {
        FIRST + place as i16 * STEP
    } else {
        0
    }
}

/// Which frame was heard at `now`, if the packet's end is one of those said, the last before now:
/// steady sound, so not what was made up from it, which fades.
fn said_at(payload: &[u8], now: u64) -> Option<u64> {
    const STEADY: usize = 15;
    let samples = payload.as_chunks().0;
    let end = &samples[samples.len() - STEADY..];
    let sample = i16::from_be_bytes(end[0]);
    if end.iter().any(|other| *other != end[0]) {
        return None;
    }
    let place = u64::try_from(sample.checked_sub(FIRST)?).ok()?;
    let step = STEP as u64;
    if !place.is_multiple_of(step) || place / step >= TALK {
        return None;
    }
    let back = (now + ROUND - place / step) % ROUND;
    now.checked_sub(back)
}

/// The way between the two tiles.
trait Link {
    fn carry(&mut self, tick: u64, frames: Vec<UplinkFrame>, downlink: &mut Downlink);
}

fn hand_over(downlink: &mut Downlink, utterance: u32, part: Part, pace: Pace, samples: [i16; 320]) {
    let frame = DownlinkFrame {
        leg: LEG,
        utterance: UtteranceId(utterance),
        part,
        pace,
        samples,
    };
    downlink.feed.push(frame).expect("room in the ring");
}

/// The voice itself, by a connection that stands still for up to 200 ms now and then.
struct Voice {
    random: Random,
    stall_percent: f64,
    stalled_until: u64,
    waiting: VecDeque<UplinkFrame>,
}

impl Voice {
    fn new(seed: u64, stall_percent: f64) -> Self {
        Self {
            random: Random::new(seed ^ 0xff),
            stall_percent,
            stalled_until: 0,
            waiting: VecDeque::new(),
        }
    }
}

impl Link for Voice {
    fn carry(&mut self, tick: u64, frames: Vec<UplinkFrame>, downlink: &mut Downlink) {
        self.waiting.extend(frames);
        if self.random.chance(self.stall_percent) {
            self.stalled_until = tick + 1 + u64::from(self.random.below(10));
        }
        if tick < self.stalled_until {
            return;
        }
        for frame in self.waiting.drain(..) {
            hand_over(downlink, 1, Part::Middle, Pace::Live, frame.samples);
        }
    }
}

/// A translator that repeats each round's talk once it has heard all of it, in one burst; the link
/// thread feeds it a few frames ahead of the clock, as it does with any stored speech.
#[derive(Default)]
struct Utterances {
    heard: Vec<UplinkFrame>,
    queue: VecDeque<(u32, Part, [i16; 320])>,
    run_start: u64,
    fed: u64,
    handed_over: u64,
    most_waiting: usize,
}

/// Frames of a round that the translator takes for the utterance, the time of a debt included.
const UTTERANCE: u64 = TALK + 20;

impl Link for Utterances {
    fn carry(&mut self, tick: u64, frames: Vec<UplinkFrame>, downlink: &mut Downlink) {
        for frame in frames {
            let place = frame.index % ROUND;
            let round = (frame.index / ROUND) as u32;
            if place < UTTERANCE {
                self.heard.push(frame);
            }
            if place == UTTERANCE {
                let last = self.heard.len() - 1;
                for (n, frame) in self.heard.drain(..).enumerate() {
                    let part = if n == last { Part::Last } else { Part::Middle };
                    self.queue.push_back((round + 1, part, frame.samples));
                }
            }
        }
        self.most_waiting = self.most_waiting.max(self.queue.len());
        if tick > self.run_start + self.fed {
            (self.run_start, self.fed) = (tick, 0);
        }
        while self.fed < tick - self.run_start + FEED_LEAD_FRAMES as u64 {
            let Some((utterance, part, samples)) = self.queue.pop_front() else {
                break;
            };
            hand_over(downlink, utterance, part, Pace::Stored, samples);
            self.fed += 1;
            self.handed_over += 1;
        }
    }
}

#[derive(Debug, Default)]
struct Report {
    heard: u64,
    /// Frames that were heard twice or before an earlier one.
    steps_back: u64,
    /// In frames, for each minute.
    worst_delay: [u64; 10],
    total_delay: u64,
    lost: u64,
}

struct Call {
    report: Report,
    uplink: Uplink,
    downlink: Downlink,
}

/// Checks the packet of each tick: a place in the row, whatever is in it.
struct Row {
    last: Option<SentPacket>,
}

impl Row {
    fn check(&mut self, packet: &SentPacket) {
        if let Some(last) = &self.last {
            let (repr, before) = (&packet.repr, &last.repr);
            assert_eq!(repr.sequence_number, before.sequence_number.plus(1));
            assert_eq!(repr.timestamp, before.timestamp.plus(160));
            assert_eq!(repr.ssrc, before.ssrc);
            let begins = packet.frame.sound != Sound::Comfort && last.frame.sound == Sound::Comfort;
            assert_eq!(repr.marker == Marker::Set, begins);
        }
        self.last = Some(packet.clone());
    }
}

fn call(seed: u64, codecs: [Codec; 2], profile: Profile, ppm: i64, link: &mut impl Link) -> Call {
    let [up, down] = codecs;
    let (mut uplink, mut sender) = (Uplink::new(up), Sender::new(up));
    let mut downlink = Downlink::new(down);
    let mut network = Netem::new(seed, profile);
    let period = FRAME_US.saturating_add_signed(FRAME_US as i64 * ppm / 1_000_000);
    let (mut report, mut sent, mut last) = (Report::default(), 0, None);
    let (mut row, mut repaired) = (Row { last: None }, 0);
    let frame = up.sample_rate().samples_per_frame();
    for tick in 0..CALL_TICKS {
        // Four turns of the rx tile for each of the tx tile.
        for quarter in 0..4 {
            let now = tick * FRAME_US + quarter * FRAME_US / 4;
            while sent * period <= now {
                let said = [level(sent); 320];
                network.send(Micros(sent * period), &sender.packet(&said[..frame]));
                sent += 1;
            }
            while let Some((at, packet)) = network.receive(Micros(now)) {
                uplink.receive(at, &packet);
            }
            uplink.tick(Micros(now));
        }
        link.carry(tick, uplink.take(), &mut downlink);
        let packet = downlink.tick_one(tick);
        row.check(&packet);
        let before = repaired;
        repaired = REPAIRS.iter().map(|what| downlink.count(*what)).sum();
        if repaired != before {
            continue;
        }
        if let Some(said) = said_at(&packet.payload, sent) {
            let delay = sent - said;
            report.heard += 1;
            report.total_delay += delay;
            let minute = (tick * 10 / CALL_TICKS) as usize;
            report.worst_delay[minute] = report.worst_delay[minute].max(delay);
            report.steps_back += u64::from(last.is_some_and(|last| said <= last));
            last = Some(said);
        }
    }
    report.lost = network.lost;
    Call {
        report,
        uplink,
        downlink,
    }
}

fn skew(seed: u64) -> i64 {
    i64::from(Random::new(seed).below(401)) - 200
}

/// What holds for any call through the worst network.
fn assert_lived_through(call: &Call, delay_frames_max: u64, what: &str) {
    let (report, uplink, downlink) = (&call.report, &call.uplink, &call.downlink);
    let what = format!("{what}: {report:?}");
    let share = report.lost as f64 / CALL_TICKS as f64;
    assert!((0.25..0.35).contains(&share), "{what}");
    let is_bounded = |delay: &u64| *delay <= delay_frames_max;
    assert!(report.worst_delay.iter().all(is_bounded), "{what}");
    assert_eq!(report.steps_back, 0, "{what}");
    assert!(report.heard > CALL_TICKS / 2 / 4, "{what}");
    assert!(uplink.count(RxCount::FrameConcealed) > 100, "{what}");
    assert_eq!(uplink.count(RxCount::Resync), 0, "{what}");
    let full = uplink.count(RxCount::DropRingFull) + downlink.count(TxCount::DropRingFull);
    assert_eq!(full, 0, "{what}");
    // Every tick is one of the three.
    let kinds = [TxCount::FrameHole, TxCount::FrameIdle, TxCount::FrameSpeech];
    let ticks: u64 = kinds.iter().map(|kind| downlink.count(*kind)).sum();
    assert_eq!(ticks, CALL_TICKS, "{what}");
}

#[test]
fn a_voice_lives_through_thirty_percent_of_bursty_loss_and_60_ms_of_jitter() {
    // Jitter of three frames, as many until a loss is given up, the burst behind it, and a quarter
    // more: 300 ms.
    const DELAY_FRAMES_MAX: u64 = 15;
    for seed in 0..SEEDS {
        let up = [Codec::Slin, Codec::Slin16][seed as usize % 2];
        let mut link = Voice::new(seed, 0.0);
        let call = call(seed, [up, Codec::Slin], WORST, skew(seed), &mut link);
        let what = format!("seed {seed}, {up:?}, {} ppm", skew(seed));
        assert_lived_through(&call, DELAY_FRAMES_MAX, &what);
        let (total, heard) = (call.report.total_delay, call.report.heard);
        assert!(total / heard <= DELAY_FRAMES_MAX * 3 / 4, "{what}");
    }
}

#[test]
fn a_link_that_stalls_as_well_adds_no_more_than_the_buffer_holds() {
    for seed in 0..SEEDS {
        let mut link = Voice::new(seed, 1.0);
        let codecs = [Codec::Slin16, Codec::Slin];
        let call = call(seed, codecs, WORST, skew(seed), &mut link);
        // Jitter and the wait for what is lost as above, then a buffer that is full.
        let most = 7 + PLAYOUT_FRAMES_MAX as u64;
        assert_lived_through(&call, most, &format!("seed {seed}, {} ppm", skew(seed)));
    }
}

#[test]
fn utterances_are_played_whole_and_in_order_however_badly_they_were_heard() {
    for seed in 0..SEEDS {
        let up = [Codec::Slin, Codec::Slin16][seed as usize % 2];
        let mut link = Utterances::default();
        let call = call(seed, [up, Codec::Slin], WORST, skew(seed), &mut link);
        let what = format!("seed {seed}, {up:?}, {} ppm", skew(seed));
        // From the first word to the end of the utterance, and what was made up on the way.
        assert_lived_through(&call, UTTERANCE + 40, &what);
        assert!(link.most_waiting <= UTTERANCE as usize, "{what}");
        let touched = [
            TxCount::DropPlayoutFull,
            TxCount::FrameCompressed,
            TxCount::FrameConcealed,
            TxCount::FrameHole,
            TxCount::FrameRepeated,
            TxCount::FrameSkipped,
            TxCount::FrameStretched,
        ];
        for count in touched {
            assert_eq!(call.downlink.count(count), 0, "{what}: {count:?}");
        }
        let spoken = call.downlink.count(TxCount::FrameSpeech);
        assert!(
            spoken + FEED_LEAD_FRAMES as u64 >= link.handed_over,
            "{what}"
        );
        assert!(spoken >= (CALL_TICKS / ROUND - 2) * UTTERANCE, "{what}");
    }
}

#[test]
fn every_codec_keeps_the_row_of_packets_whole() {
    for codec in [Codec::Alaw, Codec::G722, Codec::Ulaw] {
        let mut link = Voice::new(1, 1.0);
        let call = call(1, [codec; 2], WORST, 200, &mut link);
        assert_eq!(call.uplink.count(RxCount::Resync), 0, "{codec:?}");
        let spoken = call.downlink.count(TxCount::FrameSpeech);
        assert!(spoken > CALL_TICKS * 8 / 10, "{codec:?}: {spoken}");
    }
}

#[test]
fn a_good_network_and_a_clock_that_is_off_keep_the_delay_of_the_first_minute() {
    for ppm in [-200, 0, 200] {
        let mut link = Voice::new(1, 0.0);
        let codecs = [Codec::Slin16, Codec::Slin];
        let Call {
            report,
            uplink,
            downlink,
        } = call(1, codecs, Profile::default(), ppm, &mut link);
        let what = format!("{ppm} ppm: {report:?}");
        // Said, sent whole, two in the buffer, and a frame for the drift between two pauses.
        assert!(report.worst_delay.iter().all(|delay| *delay <= 5), "{what}");
        let holes = downlink.count(TxCount::FrameHole);
        assert_eq!((holes, report.steps_back), (0, 0), "{what}");
        assert_eq!(uplink.count(RxCount::FrameConcealed), 0, "{what}");
    }
}
