//! Goal: every leg gets exactly one packet on every tick, and hears whole utterances.
//! Method: bursts of speech through Playout and Encode on virtual ticks.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

mod support;

use diglot_rt::codec::Decoder;
use diglot_rt::limits::{
    PLAYOUT_FRAMES_MAX, PLAYOUT_HOLE_TICKS_MAX, PLAYOUT_START_TICKS_MAX, TICK_LATE_US,
};
use diglot_rt::msg::{Codec, Comfort, DownlinkFrame, LegId, Pace, Part, Sound, TxLeg, UtteranceId};
use diglot_rt::phases::Phase;
use diglot_rt::pool::AddError;
use diglot_rt::stats::TxCount;
use diglot_rt::testing::meter::{decibels, rms};
use diglot_rt::time::Tick;
use diglot_rt::units::Dbm0;
use diglot_rt::wire::rtp::{Marker, RtpTimestamp, Seq};
use support::{Downlink, LEG, SentPacket, speech, tx_leg};

const LOUD: i16 = 8_000;

fn sounds(downlink: &mut Downlink, slots: std::ops::Range<u64>) -> Vec<Sound> {
    slots
        .map(|slot| downlink.tick_one(slot).frame.sound)
        .collect()
}

fn decode(codec: Codec, packet: &SentPacket) -> Vec<i16> {
    decode_on(&mut Decoder::new(codec), codec, packet)
}

/// The next packet of a stream: G.722 has a memory.
fn decode_on(decoder: &mut Decoder, codec: Codec, packet: &SentPacket) -> Vec<i16> {
    let mut samples = vec![0; codec.sample_rate().samples_per_frame()];
    decoder.decode(&packet.payload, &mut samples);
    samples
}

#[test]
fn silence_leaves_on_every_tick_when_nobody_speaks() {
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_static()) {
        let mut downlink = Downlink::new(codec);
        let mut decoder = Decoder::new(codec);
        for slot in 0..50u64 {
            let packet = downlink.tick_one(slot);
            assert_eq!(packet.frame.sound, Sound::Comfort);
            assert_eq!(packet.repr.ssrc, 0xfeed_beef);
            assert_eq!(packet.repr.payload_type, codec.payload_type());
            assert_eq!(packet.repr.sequence_number, Seq(65_535).plus(slot as u16));
            let timestamp = RtpTimestamp(u32::MAX - 100).plus(slot as u32 * 160);
            assert_eq!(packet.repr.timestamp, timestamp);
            assert!(
                decode_on(&mut decoder, codec, &packet)
                    .iter()
                    .all(|sample| sample.unsigned_abs() <= 8)
            );
        }
        assert_eq!(
            downlink.count(TxCount::FrameHole),
            0,
            "idle silence is not a hole"
        );
    }
}

#[test]
fn a_leg_that_is_sent_elsewhere_keeps_its_stream() {
    let mut downlink = Downlink::new(Codec::Ulaw);
    let before = downlink.tick_one(0);
    let elsewhere = ([127, 0, 0, 1], 40_002).into();
    assert_ne!(before.destination, elsewhere);
    downlink.encode.redirect(LEG, elsewhere);
    let stranger = LegId {
        generation: LEG.generation + 1,
        ..LEG
    };
    downlink.encode.redirect(stranger, before.destination);
    let after = downlink.tick_one(1);
    assert_eq!(after.destination, elsewhere);
    assert_eq!(after.repr.ssrc, before.repr.ssrc);
    assert_eq!(
        after.repr.sequence_number,
        before.repr.sequence_number.plus(1)
    );
    assert_eq!(after.repr.timestamp, before.repr.timestamp.plus(160));
    assert_eq!(after.repr.marker, Marker::Clear, "no new talkspurt");
}

#[test]
fn an_utterance_begins_when_enough_of_it_is_there() {
    let mut downlink = Downlink::new(Codec::Ulaw);
    downlink.say(1, Part::Middle, LOUD);
    assert_eq!(sounds(&mut downlink, 0..1), [Sound::Comfort]);
    downlink.say(1, Part::Middle, LOUD);
    assert_eq!(sounds(&mut downlink, 1..3), [speech(1); 2]);
}

#[test]
fn a_short_utterance_begins_at_once_and_the_next_one_follows() {
    let mut downlink = Downlink::new(Codec::Ulaw);
    downlink.say(1, Part::Last, LOUD);
    downlink.say(2, Part::Middle, LOUD);
    downlink.say(2, Part::Last, LOUD);
    let first = downlink.tick_one(0);
    assert_eq!(first.frame.begins, Some(UtteranceId(1)));
    let second = downlink.tick_one(1);
    assert_eq!(
        (second.frame.sound, second.frame.begins),
        (speech(2), Some(UtteranceId(2)))
    );
    let third = downlink.tick_one(2);
    assert_eq!((third.frame.sound, third.frame.begins), (speech(2), None));
    assert_eq!(downlink.tick_one(3).frame.sound, Sound::Comfort);
    assert_eq!(
        downlink.count(TxCount::FrameHole),
        0,
        "an end is not a hole"
    );
    assert_eq!(downlink.count(TxCount::FrameSpeech), 3);
}

#[test]
fn a_lone_frame_waits_for_company_only_so_long() {
    let mut downlink = Downlink::new(Codec::Ulaw);
    downlink.say(1, Part::Middle, LOUD);
    let waits = u64::from(PLAYOUT_START_TICKS_MAX);
    assert!(
        sounds(&mut downlink, 0..waits)
            .iter()
            .all(|sound| *sound == Sound::Comfort)
    );
    assert_eq!(downlink.tick_one(waits).frame.sound, speech(1));
}

#[test]
fn a_hole_is_concealed_counted_and_the_utterance_goes_on_after_it() {
    let mut downlink = Downlink::new(Codec::Ulaw);
    downlink.say(1, Part::Middle, LOUD);
    downlink.say(1, Part::Middle, LOUD);
    sounds(&mut downlink, 0..2);
    assert_eq!(sounds(&mut downlink, 2..4), [Sound::Comfort; 2]);
    assert_eq!(downlink.count(TxCount::FrameHole), 2);
    assert_eq!(downlink.count(TxCount::FrameConcealed), 2);
    downlink.say(1, Part::Last, LOUD);
    let packet = downlink.tick_one(4);
    assert_eq!(packet.frame.sound, speech(1));
    assert_eq!(packet.frame.begins, None, "it began before the hole");
    assert_eq!(
        packet.repr.marker,
        Marker::Set,
        "but a talkspurt begins here"
    );
}

/// Goal: each kind of not speaking is a count of its own.
#[test]
fn silence_holes_late_ticks_and_overruns_are_counted_apart() {
    let mut downlink = Downlink::new(Codec::Slin);
    sounds(&mut downlink, 0..5);
    downlink.say(1, Part::Middle, LOUD);
    downlink.say(1, Part::Middle, LOUD);
    let holes = 10;
    let mut levels = Vec::new();
    for slot in 5..7 + holes {
        levels.push(rms(&decode(Codec::Slin, &downlink.tick_one(slot))));
    }
    // Concealed at falling level for 60 ms, then silent; the filter remembers a little longer.
    assert!(levels[2] > f64::from(LOUD) * 0.9 && levels[4] < levels[3]);
    assert!(levels[6..].iter().all(|level| *level < 1.0), "{levels:?}");
    let late = Tick {
        slot: 7 + holes,
        late_us: TICK_LATE_US + 1,
        missed: 0,
    };
    downlink.playout.tick(Phase(0), late, &downlink.counts);
    let expected = [
        (TxCount::FrameIdle, 5),
        (TxCount::FrameSpeech, 2),
        (TxCount::FrameHole, holes + 1),
        (TxCount::FrameConcealed, 3),
        (TxCount::TickLate, 1),
        (TxCount::DropRingFull, 0),
    ];
    for (what, count) in expected {
        assert_eq!(downlink.count(what), count, "{what:?}");
    }
    // Nobody takes the frames away: the ring overruns, and that is counted as nothing else.
    let tick = Tick { late_us: 0, ..late };
    for _ in 0..support::RING + 1 {
        downlink.playout.tick(Phase(0), tick, &downlink.counts);
    }
    assert_eq!(downlink.count(TxCount::DropRingFull), 2);
    assert_eq!(downlink.count(TxCount::TickLate), 1);
}

/// Goal: how late ticks were is kept, slots that were missed included.
/// Method: ticks at both sides of each bound; what each of them counts, and the maximum of all.
#[test]
fn a_late_tick_is_one_recorded_lateness() {
    const COUNTS: [TxCount; 5] = [
        TxCount::TickLate,
        TxCount::TickLate2ms,
        TxCount::TickLate5ms,
        TxCount::TickLate20ms,
        TxCount::TickLateMax,
    ];
    let mut downlink = Downlink::new(Codec::Slin);
    for (late_us, missed, counted) in [
        (0, 0, [0, 0, 0, 0, 0]),
        (1_000, 0, [0, 0, 0, 0, 1_000]),
        (1_001, 0, [1, 0, 0, 0, 1_001]),
        (2_001, 0, [2, 1, 0, 0, 2_001]),
        (5_001, 0, [3, 2, 1, 0, 5_001]),
        (0, 1, [4, 3, 2, 0, 20_000]),
        (1, 1, [5, 4, 3, 1, 20_001]),
        (7, 3, [6, 5, 4, 2, 60_007]),
        (1, 0, [6, 5, 4, 2, 60_007]),
    ] {
        let tick = Tick {
            slot: 0,
            late_us,
            missed,
        };
        downlink.playout.tick(Phase(0), tick, &downlink.counts);
        assert_eq!(COUNTS.map(|what| downlink.count(what)), counted);
    }
}

/// Goal: whoever reads the counts can tell what was wrong: one cause, one count.
/// Method: the same flow of speech, disturbed in one way at a time.
#[test]
fn each_hole_has_one_cause_and_one_count() {
    const CAUSES: [TxCount; 4] = [
        TxCount::FrameHole,
        TxCount::FrameIdle,
        TxCount::TickLate,
        TxCount::DropRingFull,
    ];
    const SPEECH: u64 = 20;
    type Disturbance = fn(&mut Downlink);
    let disturbances: [(Disturbance, [u64; 4]); 5] = [
        (|_| {}, [0; 4]),
        // Nothing comes for a tick in the middle.
        (|downlink| drop(downlink.tick_one(SPEECH)), [1, 0, 0, 0]),
        // All was said.
        (
            |downlink| {
                downlink.say(1, Part::Last, LOUD);
                sounds(downlink, SPEECH..SPEECH + 2);
            },
            [0, 1, 0, 0],
        ),
        // The tile woke too late.
        (
            |downlink| {
                downlink.say(1, Part::Middle, LOUD);
                let late = Tick {
                    slot: SPEECH,
                    late_us: TICK_LATE_US + 1,
                    missed: 0,
                };
                downlink.playout.collect(support::RING, &downlink.counts);
                downlink.playout.tick(Phase(0), late, &downlink.counts);
            },
            [0, 0, 1, 0],
        ),
        // Nobody takes the frames away.
        (
            |downlink| {
                for n in 0..=support::RING as u64 {
                    downlink.say(1, Part::Middle, LOUD);
                    let tick = Tick {
                        slot: SPEECH + n,
                        late_us: TICK_LATE_US,
                        missed: 0,
                    };
                    downlink.playout.collect(support::RING, &downlink.counts);
                    downlink.playout.tick(Phase(0), tick, &downlink.counts);
                }
            },
            [0, 0, 0, 1],
        ),
    ];
    for (n, (disturb, expected)) in disturbances.into_iter().enumerate() {
        let mut downlink = Downlink::new(Codec::Ulaw);
        downlink.say(1, Part::Middle, LOUD);
        for slot in 0..SPEECH {
            downlink.say(1, Part::Middle, LOUD);
            assert_eq!(downlink.tick_one(slot).frame.sound, speech(1));
        }
        // What is in hand is played, so that the disturbance meets an empty buffer.
        assert_eq!(downlink.tick_one(SPEECH).frame.sound, speech(1));
        disturb(&mut downlink);
        let counted = CAUSES.map(|what| downlink.count(what));
        assert_eq!(counted, expected, "disturbance {n} of {CAUSES:?}");
    }
}

/// Goal: a long hole ends in the comfort noise of the leg, at its level, and goes on in it.
#[test]
fn after_60_ms_a_hole_sounds_like_the_pause_between_utterances() {
    for codec in [Codec::G722, Codec::Slin] {
        let mut downlink = Downlink::empty();
        let leg = TxLeg {
            comfort: Comfort::Noise(Dbm0(-50)),
            ..tx_leg(LEG, codec)
        };
        downlink.playout.add_leg(&leg, Phase(0)).expect("free");
        downlink.encode.add_leg(&leg).expect("free");
        for _ in 0..5 {
            downlink.say(1, Part::Middle, LOUD);
        }
        let (mut decoder, mut levels) = (Decoder::new(codec), Vec::new());
        // Through the hole and past its end.
        for slot in 0..5 + u64::from(PLAYOUT_HOLE_TICKS_MAX) + 50 {
            let packet = downlink.tick_one(slot);
            levels.push(decibels(
                rms(&decode_on(&mut decoder, codec, &packet)) / 32_768.0,
            ));
        }
        let count = downlink.count(TxCount::FrameHole);
        assert_eq!(count, u64::from(PLAYOUT_HOLE_TICKS_MAX), "{codec:?}");
        assert_eq!(downlink.count(TxCount::FrameConcealed), 3, "{codec:?}");
        // One frame more until the filters have forgotten what was concealed.
        for (n, level) in levels.iter().enumerate().skip(5 + 3 + 1) {
            let dbm0 = level + 6.15;
            assert!(
                (-54.5..-47.0).contains(&dbm0),
                "{codec:?}, tick {n}: {dbm0:.1} dBm0"
            );
        }
    }
}

#[test]
fn comfort_is_silence_or_noise_of_the_level_asked_for_and_never_loud() {
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_static()) {
        for (level, expected) in [(-50, -50.0), (-60, -60.0), (0, -40.0), (127, -40.0)] {
            let mut downlink = Downlink::empty();
            let leg = TxLeg {
                comfort: Comfort::Noise(Dbm0(level)),
                ..tx_leg(LEG, codec)
            };
            downlink.playout.add_leg(&leg, Phase(0)).expect("free");
            downlink.encode.add_leg(&leg).expect("free");
            let (mut decoder, mut heard) = (Decoder::new(codec), Vec::new());
            for slot in 0..100 {
                let packet = downlink.tick_one(slot);
                assert_eq!(packet.frame.sound, Sound::Comfort);
                heard.extend(decode_on(&mut decoder, codec, &packet));
            }
            // 0 dBm0 is 6.15 dB below overload. Half the band is 3 dB less, coarse steps add some.
            let measured = decibels(rms(&heard[1_600..]) / 32_768.0) + 6.15;
            assert!(
                (expected - 4.5..expected + 2.0).contains(&measured),
                "{codec:?}: {measured:.1} dBm0, {expected} expected"
            );
        }
    }
}

#[test]
fn an_utterance_that_is_never_ended_ends_by_itself() {
    let mut downlink = Downlink::new(Codec::Ulaw);
    downlink.say(1, Part::Middle, LOUD);
    downlink.say(1, Part::Middle, LOUD);
    let holes = u64::from(PLAYOUT_HOLE_TICKS_MAX);
    sounds(&mut downlink, 0..2 + holes + 100);
    assert_eq!(downlink.count(TxCount::FrameHole), holes);
}

#[test]
fn a_burst_beyond_the_buffer_drops_the_oldest() {
    let mut downlink = Downlink::new(Codec::Slin);
    for n in 0..PLAYOUT_FRAMES_MAX as i16 + 3 {
        downlink.say(1, Part::Middle, 1000 + n * 100);
    }
    downlink.tick_one(0);
    assert_eq!(downlink.count(TxCount::DropPlayoutFull), 3);
    let second = decode(Codec::Slin, &downlink.tick_one(1));
    assert_eq!(
        second[100],
        1000 + 4 * 100,
        "the fourth of the burst was heard first"
    );
}

#[test]
fn missed_slots_are_a_gap_in_time_and_not_in_number() {
    let mut downlink = Downlink::new(Codec::Ulaw);
    let before = downlink.tick_one(10).repr;
    assert_eq!(downlink.tick_one(11).repr.marker, Marker::Clear);
    let after = downlink.tick_one(20).repr;
    assert_eq!(after.sequence_number.distance(before.sequence_number), 2);
    assert_eq!(after.timestamp.distance(before.timestamp), 10 * 160);
    assert_eq!(after.marker, Marker::Set);
    assert_eq!(downlink.tick_one(21).repr.marker, Marker::Clear);
}

#[test]
fn the_marker_is_where_speech_begins() {
    let mut downlink = Downlink::new(Codec::Ulaw);
    downlink.tick_one(0);
    for part in [Part::Middle, Part::Middle, Part::Last] {
        downlink.say(1, part, LOUD);
    }
    let markers: Vec<Marker> = (1..6)
        .map(|slot| downlink.tick_one(slot).repr.marker)
        .collect();
    let (set, clear) = (Marker::Set, Marker::Clear);
    assert_eq!(markers, [set, clear, clear, clear, clear]);
}

#[test]
fn beginnings_holes_and_ends_do_not_click() {
    let mut downlink = Downlink::new(Codec::Slin);
    let mut heard = Vec::new();
    downlink.say(1, Part::Middle, LOUD);
    downlink.say(1, Part::Middle, LOUD);
    for slot in 0..12 {
        if slot == 6 {
            downlink.say(1, Part::Last, LOUD);
        }
        heard.extend(decode(Codec::Slin, &downlink.tick_one(slot)));
    }
    let step = |pair: &[i16]| (i32::from(pair[1]) - i32::from(pair[0])).abs();
    let steepest = heard.windows(2).map(step).max().expect("samples");
    assert!(heard.contains(&LOUD), "it is heard at full level");
    assert!(steepest <= i32::from(LOUD) / 16, "a step of {steepest}");
}

/// Goal: however much of the last frame is speech, its end is heard without a click.
#[test]
fn an_utterance_of_any_length_ends_without_a_click() {
    for length in 0..=320 {
        let mut downlink = Downlink::new(Codec::Slin);
        downlink.say(1, Part::Middle, LOUD);
        downlink.say(1, Part::Middle, LOUD);
        let mut samples = [0; 320];
        samples[..length].fill(LOUD);
        let last = DownlinkFrame {
            leg: LEG,
            utterance: UtteranceId(1),
            part: Part::Last,
            pace: Pace::Stored,
            samples,
        };
        downlink.feed.push(last).expect("room in the ring");
        let slots = (0..5).map(|slot| decode(Codec::Slin, &downlink.tick_one(slot)));
        let heard: Vec<i16> = slots.flatten().collect();
        let step = |pair: &[i16]| (i32::from(pair[1]) - i32::from(pair[0])).abs();
        let steepest = heard.windows(2).map(step).max().expect("samples");
        assert!(
            steepest <= i32::from(LOUD) / 16,
            "{length} samples: a step of {steepest}"
        );
        assert_eq!(heard[700..], [0; 100], "{length} samples");
    }
}

#[test]
fn only_what_asterisk_takes_back_can_be_sent() {
    let mut downlink = Downlink::empty();
    let leg = tx_leg(LEG, Codec::Slin16);
    assert_eq!(
        downlink.playout.add_leg(&leg, Phase(0)),
        Err(AddError::CodecNotStatic)
    );
    assert_eq!(downlink.encode.add_leg(&leg), Err(AddError::CodecNotStatic));
    assert!(downlink.tick(0).is_empty());
}

#[test]
fn frames_of_an_ended_leg_are_counted_and_never_reach_its_heir() {
    let mut downlink = Downlink::new(Codec::Ulaw);
    downlink.say(1, Part::Last, LOUD);
    let heir = LegId {
        generation: LEG.generation + 1,
        ..LEG
    };
    downlink.playout.remove_leg(LEG);
    downlink.encode.remove_leg(LEG);
    downlink
        .playout
        .add_leg(&tx_leg(heir, Codec::Ulaw), Phase(0))
        .expect("free again");
    downlink
        .encode
        .add_leg(&tx_leg(heir, Codec::Ulaw))
        .expect("free again");
    let packet = downlink.tick_one(0);
    assert_eq!(
        (packet.frame.leg, packet.frame.sound),
        (heir, Sound::Comfort)
    );
    assert_eq!(downlink.count(TxCount::DropStaleLeg), 1);
}
