//! Goal: one party heard by the other through the worst network and a clock that is off: delay
//! bounded and not growing, order kept, a frame on every tick, every repair counted.
//! Method: ten minutes of call on virtual time for each seed: a phone that counts its frames aloud,
//! a network with bursts of loss and jitter, the uplink's stages, the playout buffer; what is heard
//! says when it was said.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use diglot_rt::msg::{Codec, Comfort, DownlinkFrame, Pace, Part, UtteranceId};
use diglot_rt::playout::{Played, Playout};
use diglot_rt::stats::RxCount;
use diglot_rt::testing::netem::{Netem, Profile, Random};
use diglot_rt::testing::packets::Sender;
use diglot_rt::units::{FRAME_US, Micros};
use support::{LEG, Uplink};

const CALL_TICKS: u64 = 10 * 60 * 50;
const SEEDS: u64 = 12;
/// Frames after which the phone counts from the beginning: talk and pause of a second each.
const ROUND: u64 = 100;
/// Jitter of three frames, as many until a loss is given up, the burst behind it, and a quarter
/// more: 300 ms.
const DELAY_FRAMES_MAX: u64 = 15;
/// Between two numbers; no number is half of another.
const STEP: i16 = 200;
const FIRST: i16 = 11_000;

fn level(n: u64) -> i16 {
    let place = n % ROUND;
    if place < ROUND / 2 {
        FIRST + place as i16 * STEP
    } else {
        0
    }
}

/// Which frame was heard at `now`, if the sample is one of those said: the last before now.
fn said_at(sample: i16, now: u64) -> Option<u64> {
    let place = u64::try_from(sample.checked_sub(FIRST)?).ok()?;
    let step = STEP as u64;
    if !place.is_multiple_of(step) || place / step >= ROUND / 2 {
        return None;
    }
    let back = (now + ROUND - place / step) % ROUND;
    now.checked_sub(back)
}

#[derive(Debug, Default)]
struct Report {
    heard: u64,
    holes: u64,
    steps_back: u64,
    /// In frames, for each minute.
    worst_delay: [u64; 10],
    total_delay: u64,
}

fn call(seed: u64, profile: Profile, skew_ppm: i64) -> (Report, Uplink, u64) {
    let (mut uplink, mut sender) = (Uplink::new(Codec::Slin16), Sender::new(Codec::Slin16));
    let mut network = Netem::new(seed, profile);
    let mut playout = Playout::new(Comfort::Silence);
    let period = FRAME_US.saturating_add_signed(FRAME_US as i64 * skew_ppm / 1_000_000);
    let (mut report, mut sent, mut last) = (Report::default(), 0, 0);
    for tick in 0..CALL_TICKS {
        // Four turns of the rx tile for each of the tx tile.
        for quarter in 0..4 {
            let now = tick * FRAME_US + quarter * FRAME_US / 4;
            while sent * period <= now {
                network.send(Micros(sent * period), &sender.packet(&[level(sent); 320]));
                sent += 1;
            }
            while let Some((at, packet)) = network.receive(Micros(now)) {
                uplink.receive(at, &packet);
            }
            uplink.tick(Micros(now));
        }
        for frame in uplink.take() {
            playout.push(&DownlinkFrame {
                leg: LEG,
                utterance: UtteranceId(1),
                part: Part::Middle,
                pace: Pace::Live,
                samples: frame.samples,
            });
        }
        let mut samples = [0; 320];
        let heard = playout.tick(&mut samples);
        report.holes += u64::from(heard.played == Played::Hole);
        if heard.repair.is_some() {
            continue;
        }
        if let Some(said) = said_at(samples[319], sent) {
            let delay = sent - said;
            report.heard += 1;
            report.total_delay += delay;
            let minute = (tick * 10 / CALL_TICKS) as usize;
            report.worst_delay[minute] = report.worst_delay[minute].max(delay);
            report.steps_back += u64::from(said < last);
            last = said;
        }
    }
    (report, uplink, network.lost)
}

#[test]
fn thirty_percent_of_bursty_loss_and_60_ms_of_jitter_are_lived_through() {
    let profile = Profile {
        to_bad_percent: 8.6,
        to_good_percent: 20.0,
        jitter_us: 60_000,
        duplicate_percent: 2.0,
    };
    for seed in 0..SEEDS {
        let skew_ppm = i64::from(Random::new(seed).below(401)) - 200;
        let (report, uplink, lost) = call(seed, profile, skew_ppm);
        let what = format!("seed {seed}, {skew_ppm} ppm: {report:?}");
        let share = lost as f64 / CALL_TICKS as f64;
        assert!((0.25..0.35).contains(&share), "{what}");
        assert!(
            report
                .worst_delay
                .iter()
                .all(|delay| *delay <= DELAY_FRAMES_MAX),
            "{what}"
        );
        assert!(
            report.total_delay / report.heard <= DELAY_FRAMES_MAX * 3 / 4,
            "{what}"
        );
        assert_eq!(report.steps_back, 0, "{what}");
        assert!(report.heard > CALL_TICKS / 2 / 4, "{what}");
        assert!(uplink.count(RxCount::FrameConcealed) > 100, "{what}");
        assert_eq!(uplink.count(RxCount::Resync), 0, "{what}");
    }
}

#[test]
fn a_good_network_and_a_clock_that_is_off_keep_the_delay_of_the_first_minute() {
    for skew_ppm in [-200, 0, 200] {
        let (report, uplink, _) = call(1, Profile::default(), skew_ppm);
        let what = format!("{skew_ppm} ppm: {report:?}");
        // Said, sent whole, two in the buffer, and a frame for the drift between two pauses.
        assert!(report.worst_delay.iter().all(|delay| *delay <= 5), "{what}");
        assert_eq!((report.holes, report.steps_back), (0, 0), "{what}");
        assert_eq!(uplink.count(RxCount::FrameConcealed), 0, "{what}");
    }
}
