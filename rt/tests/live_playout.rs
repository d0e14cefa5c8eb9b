//! Goal: a live stream is heard with a small delay that never grows, whatever its clock and its
//! network, and nothing is done to it that anyone would hear; what was stored is not touched.
//! Method: hours of voices on virtual time, their clocks up to 200 ppm off, through the playout
//! buffer; every frame of what is heard is looked at.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

use std::collections::VecDeque;

use diglot_rt::limits::{FEED_LEAD_FRAMES, PLAYOUT_FRAMES_MAX, PLAYOUT_START_FRAMES};
use diglot_rt::msg::{Comfort, DownlinkFrame, LegId, Pace, Part, UtteranceId};
use diglot_rt::playout::{Played, Playout, Pushed, Repair};
use diglot_rt::testing::meter::{rms, tone};
use diglot_rt::testing::netem::Random;
use diglot_rt::testing::signals::{speech, vowel, white};
use diglot_rt::units::{FRAME_US, SampleRate};

const MINUTE: u64 = 60 * 50;
const FRAME: usize = 320;

/// What a phone says, again and again.
struct Source {
    sound: Vec<i16>,
    pace: Pace,
    skew_ppm: i64,
    jitter_us: u32,
    sent: u64,
    random: Random,
    /// Arrival and content, in order.
    on_the_way: VecDeque<(u64, u64)>,
}

impl Source {
    fn new(sound: Vec<i16>, skew_ppm: i64) -> Self {
        Self {
            sound,
            pace: Pace::Live,
            skew_ppm,
            jitter_us: 0,
            sent: 0,
            random: Random::new(7),
            on_the_way: VecDeque::new(),
        }
    }

    /// The frames that have arrived by `now`; each is overtaken by none.
    fn arrived(&mut self, now: u64) -> Vec<DownlinkFrame> {
        let period = FRAME_US.saturating_add_signed(FRAME_US as i64 * self.skew_ppm / 1_000_000);
        while self.sent * period <= now {
            let late = u64::from(self.random.below(self.jitter_us + 1));
            let before = self.on_the_way.back().map_or(0, |last| last.0);
            let at = before.max(self.sent * period + late);
            self.on_the_way.push_back((at, self.sent));
            self.sent += 1;
        }
        let count = self
            .on_the_way
            .iter()
            .take_while(|frame| frame.0 <= now)
            .count();
        let frames: Vec<_> = self.on_the_way.drain(..count).collect();
        frames.into_iter().map(|(_, n)| self.frame(n)).collect()
    }

    fn frame(&self, n: u64) -> DownlinkFrame {
        let frames = self.sound.as_chunks::<FRAME>().0;
        DownlinkFrame {
            leg: LegId {
                slot: 0,
                generation: 0,
            },
            utterance: UtteranceId(1),
            part: Part::Middle,
            pace: self.pace,
            samples: frames[n as usize % frames.len()],
        }
    }
}

#[derive(Debug, Default)]
struct Report {
    holes: u64,
    concealed: u64,
    in_pause: u64,
    in_sound: u64,
    dropped: u64,
    /// The largest step between neighbouring samples.
    steepest: i32,
    last: i16,
}

/// Goes on for so many ticks; `deepest` is how many frames wait at most.
fn listen(
    playout: &mut Playout,
    source: &mut Source,
    ticks: std::ops::Range<u64>,
    report: &mut Report,
) -> usize {
    let mut deepest = 0;
    for tick in ticks {
        // The clocks are half a frame apart, as they come.
        for frame in source.arrived(tick * FRAME_US + FRAME_US / 2) {
            let pushed = playout.push(&frame);
            report.dropped += u64::from(pushed == Pushed::KeptForOldest);
        }
        let mut samples = [0; FRAME];
        let heard = playout.tick(&mut samples);
        report.holes += u64::from(heard.played == Played::Hole);
        match heard.repair {
            Some(Repair::Concealed) => report.concealed += 1,
            Some(Repair::Repeated | Repair::Skipped) => report.in_pause += 1,
            Some(Repair::Compressed | Repair::Stretched) => report.in_sound += 1,
            None => {}
        }
        for sample in samples {
            let step = (i32::from(sample) - i32::from(report.last)).abs();
            report.steepest = report.steepest.max(step);
            report.last = sample;
        }
        deepest = deepest.max(playout.len());
    }
    deepest
}

fn steepest(samples: &[i16]) -> i32 {
    let step = |pair: &[i16]| (i32::from(pair[1]) - i32::from(pair[0])).abs();
    samples.windows(2).map(step).max().expect("samples")
}

/// Half a minute of speech, whole frames.
fn talk() -> Vec<i16> {
    speech(SampleRate::Hz16000, 3, 10_000.0, 30 * 50 * FRAME)
}

/// A second of one vowel, which joins onto itself: a whole number of periods.
fn hum() -> Vec<i16> {
    let twice = vowel(SampleRate::Hz16000, 125.0, 10_000.0, 100 * FRAME);
    twice[50 * FRAME..].to_vec()
}

#[test]
fn a_clock_that_is_off_for_hours_is_made_good_in_pauses_alone() {
    for skew_ppm in [-200, -50, 50, 200] {
        let (mut playout, mut source) = (
            Playout::new(Comfort::Silence),
            Source::new(talk(), skew_ppm),
        );
        let mut report = Report::default();
        let hours = 2 * 60 * MINUTE;
        let deepest = listen(&mut playout, &mut source, 0..hours, &mut report);
        let off_frames = hours * skew_ppm.unsigned_abs() / 1_000_000;
        let what = format!("{skew_ppm} ppm: {report:?}, {deepest} deep");
        assert!(deepest <= 4, "{what}");
        assert_eq!(
            (report.holes, report.in_sound, report.dropped),
            (0, 0, 0),
            "{what}"
        );
        assert!(report.in_pause.abs_diff(off_frames) <= 8, "{what}");
    }
}

/// Goal: all that is ever done for a clock is done between words, on a quiet line and on a noisy
/// one. Method: every frame heard is found again in what was said, in its order; where that is not
/// the next frame, what was left out or said twice had no word in it.
#[test]
fn every_word_is_heard_once_as_it_was_said_on_lines_of_any_noise() {
    let words = talk();
    let frames = words.as_chunks::<FRAME>().0;
    for (noise_peak, skew_ppm) in [(0.0, 200), (100.0, -200), (300.0, 200), (600.0, -200)] {
        let noise = white(5, noise_peak, words.len());
        // What stands out of the noise, or of a line that is silent.
        let audible = rms(&noise) * 2.0 + 60.0;
        let has_word = |n: u64| rms(&frames[n as usize % frames.len()]) > audible;
        let both = words.iter().zip(&noise);
        let sound = both.map(|(word, noise)| word.saturating_add(*noise));
        let mut source = Source::new(sound.collect(), skew_ppm);
        let (mut playout, mut next, mut repairs) = (Playout::new(Comfort::Silence), 0, 0);
        let (mut steepest_heard, mut last) = (0, 0);
        let hours = 2 * 60 * MINUTE;
        for tick in 0..hours {
            for frame in source.arrived(tick * FRAME_US + FRAME_US / 2) {
                playout.push(&frame);
            }
            let mut samples = [0; FRAME];
            let heard = playout.tick(&mut samples);
            if heard.played == Played::Idle {
                continue;
            }
            let what = format!("noise of {noise_peak}, tick {tick}, frame {next}: {heard:?}");
            assert_ne!(heard.played, Played::Hole, "{what}");
            if heard.repair == Some(Repair::Skipped) {
                assert!(!has_word(next), "a word was left out: {what}");
                next += 1;
            }
            // Beyond the fade of a join.
            let said = source.frame(next);
            assert_eq!(samples[64..], said.samples[64..], "{what}");
            for sample in samples {
                let step = (i32::from(sample) - i32::from(last)).abs();
                steepest_heard = steepest_heard.max(step);
                last = sample;
            }
            match heard.repair {
                None | Some(Repair::Skipped) => next += 1,
                Some(Repair::Repeated) => assert!(!has_word(next), "a word twice: {what}"),
                Some(_) => panic!("a word was changed: {what}"),
            }
            repairs += u64::from(heard.repair.is_some());
        }
        let off_frames = hours * skew_ppm.unsigned_abs() / 1_000_000;
        assert!(repairs.abs_diff(off_frames) <= 8, "{repairs} repairs");
        // It is said again and again.
        let most = steepest(&source.sound.repeat(2));
        assert!(steepest_heard <= most, "noise of {noise_peak}: a click");
    }
}

/// Goal: where a frame of a pause was left out or comes again, the hum of the line goes on.
#[test]
fn what_is_done_in_a_pause_leaves_no_step_in_the_hum_of_the_line() {
    const HUM_PEAK: f64 = 400.0;
    // 60 Hz, of which 20 ms are no whole number of periods.
    let hum = tone(SampleRate::Hz16000, 60.0, HUM_PEAK, 30 * 50 * FRAME);
    let both = talk().into_iter().zip(hum);
    let sound: Vec<i16> = both.map(|(word, hum)| word.saturating_add(hum)).collect();
    for skew_ppm in [-200, 200] {
        let mut source = Source::new(sound.clone(), skew_ppm);
        let mut playout = Playout::new(Comfort::Silence);
        let (mut last, mut repair, mut joins) = (0, None, 0);
        for tick in 0..60 * MINUTE {
            for frame in source.arrived(tick * FRAME_US + FRAME_US / 2) {
                playout.push(&frame);
            }
            let mut samples = [0; FRAME];
            let before = repair;
            repair = playout.tick(&mut samples).repair;
            if repair == Some(Repair::Skipped) || before == Some(Repair::Repeated) {
                let step = (i32::from(samples[0]) - i32::from(last)).abs();
                assert!(step <= HUM_PEAK as i32 / 10, "{skew_ppm} ppm: {step}");
                joins += 1;
            }
            last = samples[FRAME - 1];
        }
        assert!(joins >= 30, "{skew_ppm} ppm: {joins} joins");
    }
}

#[test]
fn a_stream_without_a_pause_is_made_good_by_periods_that_nobody_hears() {
    let said = hum();
    for skew_ppm in [-200, 200] {
        let (mut playout, mut source) = (
            Playout::new(Comfort::Silence),
            Source::new(said.clone(), skew_ppm),
        );
        let mut report = Report::default();
        let deepest = listen(&mut playout, &mut source, 0..60 * MINUTE, &mut report);
        let what = format!("{skew_ppm} ppm: {report:?}, {deepest} deep");
        assert!(deepest <= 4, "{what}");
        assert_eq!(
            (report.holes, report.in_pause, report.dropped),
            (0, 0, 0),
            "{what}"
        );
        // 36 frames in the hour, two and a half periods of 8 ms each.
        assert!((60..=130).contains(&report.in_sound), "{what}");
        assert!(report.steepest <= steepest(&said) * 5 / 4, "{what}");
    }
}

#[test]
fn jitter_makes_the_buffer_deeper_and_calm_makes_it_shallow_again() {
    for jitter_us in [30_000, 60_000, 120_000] {
        let (mut playout, mut source) = (Playout::new(Comfort::Silence), Source::new(talk(), 100));
        source.jitter_us = jitter_us;
        let mut learning = Report::default();
        listen(&mut playout, &mut source, 0..MINUTE, &mut learning);
        let mut settled = Report::default();
        let deepest = listen(&mut playout, &mut source, MINUTE..20 * MINUTE, &mut settled);
        let what = format!("{jitter_us} µs: {learning:?} then {settled:?}, {deepest} deep");
        // All of the jitter, a frame in hand and one for the grid of ticks.
        let needed = jitter_us as usize / FRAME_US as usize + 4;
        assert!(deepest <= needed, "{what}");
        assert!(learning.holes <= 10, "{what}");
        assert!(settled.holes <= 5, "{what}");
        assert_eq!(settled.dropped, 0, "{what}");
        source.jitter_us = 0;
        let mut calm = Report::default();
        listen(
            &mut playout,
            &mut source,
            20 * MINUTE..26 * MINUTE,
            &mut calm,
        );
        let deepest = listen(
            &mut playout,
            &mut source,
            26 * MINUTE..30 * MINUTE,
            &mut calm,
        );
        assert!(deepest <= 3, "{what}; {deepest} deep after calm: {calm:?}");
        assert_eq!((calm.holes, calm.in_sound), (0, 0), "{what}; {calm:?}");
    }
}

#[test]
fn a_stall_is_concealed_at_first_and_its_delay_is_lost_in_the_next_pauses() {
    let (mut playout, mut source) = (Playout::new(Comfort::Silence), Source::new(talk(), 0));
    let mut report = Report::default();
    listen(&mut playout, &mut source, 0..MINUTE, &mut report);
    // Nothing comes for 160 ms, then all of it.
    for _ in 0..8 {
        let mut samples = [0; FRAME];
        playout.tick(&mut samples);
    }
    let deepest = listen(
        &mut playout,
        &mut source,
        MINUTE + 8..MINUTE + 50,
        &mut report,
    );
    assert!((7..=PLAYOUT_FRAMES_MAX).contains(&deepest), "{deepest}");
    listen(
        &mut playout,
        &mut source,
        MINUTE + 50..2 * MINUTE,
        &mut report,
    );
    let deepest = listen(
        &mut playout,
        &mut source,
        2 * MINUTE..3 * MINUTE,
        &mut report,
    );
    assert!(deepest <= 3, "{deepest} deep a minute later: {report:?}");
    assert_eq!((report.in_sound, report.dropped), (0, 0), "{report:?}");
}

/// Goal: what a stall left over is not borne for as long as a frame too many would be.
#[test]
fn a_great_excess_is_lost_within_seconds() {
    let (mut playout, mut source) = (Playout::new(Comfort::Silence), Source::new(talk(), 0));
    let mut report = Report::default();
    listen(&mut playout, &mut source, 0..MINUTE, &mut report);
    for _ in 0..8 {
        playout.tick(&mut [0; FRAME]);
    }
    let after = |seconds: u64| MINUTE + 8 + 50 * seconds;
    listen(&mut playout, &mut source, after(0)..after(8), &mut report);
    let deepest = listen(&mut playout, &mut source, after(8)..after(9), &mut report);
    assert!(deepest <= 4, "{deepest} deep after 8 s: {report:?}");
    assert_eq!(report.dropped, 0, "{report:?}");
}

/// Goal: a rough beginning, as when many calls begin at once, is not borne for long after it.
/// Method: two short stalls within the first second; whole frames come in time from then on.
#[test]
fn what_a_rough_beginning_left_over_is_lost_within_seconds() {
    let (mut playout, mut source) = (Playout::new(Comfort::Silence), Source::new(talk(), 0));
    let mut report = Report::default();
    let mut tick = 0;
    for (calm, stall) in [(10, 4), (15, 4)] {
        listen(&mut playout, &mut source, tick..tick + calm, &mut report);
        for _ in 0..stall {
            playout.tick(&mut [0; FRAME]);
        }
        tick += calm + stall;
    }
    listen(&mut playout, &mut source, tick..8 * 50, &mut report);
    let deepest = listen(&mut playout, &mut source, 8 * 50..9 * 50, &mut report);
    assert!(deepest <= 3, "{deepest} deep after 8 s: {report:?}");
}

#[test]
fn what_was_stored_is_played_as_it_is() {
    let mut source = Source::new(talk(), 0);
    source.pace = Pace::Stored;
    let mut playout = Playout::new(Comfort::Silence);
    for n in 0..FEED_LEAD_FRAMES as u64 {
        playout.push(&source.frame(n));
    }
    for n in 0..10 * MINUTE {
        let mut samples = [0; FRAME];
        let heard = playout.tick(&mut samples);
        assert_eq!(heard.repair, None, "frame {n}");
        assert_eq!(samples[64..], source.frame(n).samples[64..], "frame {n}");
        playout.push(&source.frame(n + FEED_LEAD_FRAMES as u64));
    }
}

/// Goal: what was stored is no reason to give up what is live.
/// Method: two live frames, all of a stored prompt behind them, and the first tick.
#[test]
fn live_frames_before_stored_ones_are_not_given_up() {
    let (mut source, mut playout) = (Source::new(talk(), 0), Playout::new(Comfort::Silence));
    for n in 0..PLAYOUT_START_FRAMES as u64 {
        playout.push(&source.frame(n));
    }
    source.pace = Pace::Stored;
    for n in 0..FEED_LEAD_FRAMES as u64 {
        let utterance = UtteranceId(2);
        playout.push(&DownlinkFrame {
            utterance,
            ..source.frame(n)
        });
    }
    let heard = playout.tick(&mut [0; FRAME]);
    assert_eq!(heard.given_up, 0);
    assert_eq!(heard.played, Played::Speech(UtteranceId(1)));
}

/// Goal: what was kept while nobody listened costs the listener nothing: the delay is back where a
/// punctual stream has it with the first tick, whatever the burst and whenever it comes.
/// Method: 2 s and other bursts of frames at once, at the beginning and into a running stream, then
/// frames in real time; each frame carries its number, so that its delay shows.
#[test]
fn a_burst_of_old_frames_is_given_up_and_the_delay_is_back_at_once() {
    let numbered = |n: u64| DownlinkFrame {
        samples: [i16::try_from(n).expect("a short test"); FRAME],
        ..Source::new(hum(), 0).frame(0)
    };
    // In a running stream, what fits the buffer is jitter.
    for burst in [8, PLAYOUT_FRAMES_MAX as u64 + 1, 100, 107, 111] {
        let running = (burst > PLAYOUT_FRAMES_MAX as u64).then_some(200);
        for before in [Some(0), running].into_iter().flatten() {
            let mut playout = Playout::new(Comfort::Silence);
            let (mut said, mut spoken, mut lost) = (0, 0, 0);
            for tick in 0..before + 50 {
                // The stream stalls for the length of the burst; then all of it comes at once.
                let arrived = if tick == before { burst + 1 } else { 1 };
                for _ in 0..arrived {
                    lost += u64::from(playout.push(&numbered(said)) == Pushed::KeptForOldest);
                    said += 1;
                }
                let mut samples = [0; FRAME];
                let heard = playout.tick(&mut samples);
                lost += u64::from(heard.given_up);
                spoken += u64::from(matches!(heard.played, Played::Speech(_)));
                if tick > before {
                    let number = u64::try_from(samples[FRAME - 1]).expect("a number");
                    let delay = said - 1 - number;
                    assert!(delay <= 1, "{burst} at {before}: {delay} frames at {tick}");
                }
            }
            assert!(lost >= burst - 1, "{burst} at {before}: {lost} lost");
            let waiting = playout.len() as u64;
            assert_eq!(said, spoken + waiting + lost, "each frame is accounted for");
        }
    }
}
