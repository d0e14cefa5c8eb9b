//! Goal: the reorder window keeps order, loses nothing it need not, and never holds the punctual
//! back. Method: laws over random arrivals, and the same arrivals through a naive model that
//! counts in integers that do not wrap and keeps everything in plain lists.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

use diglot_rt::limits::{GAP_FRAMES_MAX, REORDER_PACKETS_MAX, REORDER_WAIT_MS_MAX};
use diglot_rt::reorder::{Arrival, Follows, Reorder, Verdict};
use diglot_rt::units::{ClockRate, FRAME_US, Micros};
use diglot_rt::wire::rtp::{RtpTimestamp, Seq};
use proptest::prelude::*;

const UNITS: i64 = 160;
const WAIT_US: u64 = REORDER_WAIT_MS_MAX * 1000;
/// Streams begin shortly before both counters wrap.
const FIRST_SEQ: i64 = 65_530;
const FIRST_TIMESTAMP: i64 = u32::MAX as i64 - 5 * UNITS;

/// A packet by its place in the stream: packets sent, and units of time, before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Sent {
    seq: i64,
    time: i64,
}

/// What was released: which packet (its `seq` and `time` travel as payload), and what came before
/// it.
type Out = (Sent, Follows);

struct Ours {
    reorder: Reorder,
    out: Vec<Out>,
}

impl Ours {
    fn new() -> Self {
        Self {
            reorder: Reorder::new(ClockRate::Hz8000),
            out: Vec::new(),
        }
    }

    fn push(&mut self, at: u64, sent: Sent, ssrc: u32) -> Verdict {
        let mut payload = sent.seq.to_be_bytes().to_vec();
        payload.extend(sent.time.to_be_bytes());
        let arrival = Arrival {
            at: Micros(at),
            ssrc,
            sequence_number: Seq((FIRST_SEQ + sent.seq) as u16),
            timestamp: RtpTimestamp((FIRST_TIMESTAMP + sent.time) as u32),
            duration: UNITS as u32,
            payload: &payload,
        };
        self.reorder
            .push(&arrival, |released| self.out.push(read(&released)))
    }

    fn release_due(&mut self, now: u64) {
        self.reorder
            .release_due(Micros(now), |released| self.out.push(read(&released)));
    }
}

fn read(released: &diglot_rt::reorder::Released<'_>) -> Out {
    let number = |at: usize| {
        i64::from_be_bytes(
            released.payload[at..at + 8]
                .try_into()
                .expect("eight bytes"),
        )
    };
    (
        Sent {
            seq: number(0),
            time: number(8),
        },
        released.follows,
    )
}

/// The same rules, said once more and slowly.
#[derive(Default)]
struct Model {
    /// Where the stream stands: the newest packet released.
    newest: Option<Sent>,
    released: Vec<i64>,
    held: Vec<(u64, Sent)>,
    out: Vec<Out>,
}

impl Model {
    fn release(&mut self, sent: Sent) {
        let follows = match self.newest {
            None => Follows::Anew,
            Some(newest) => Follows::After((sent.time - newest.time - UNITS).max(0) as u32),
        };
        if self.newest.is_some_and(|newest| sent.seq < newest.seq) {
            self.released.clear();
        }
        self.newest = Some(sent);
        self.released.push(sent.seq);
        self.out.push((sent, follows));
    }

    fn release_first(&mut self) {
        self.held.sort_by_key(|held| held.1.time);
        let (_, sent) = self.held.remove(0);
        self.release(sent);
    }

    fn release_ready(&mut self) {
        self.held.sort_by_key(|held| held.1.time);
        while let (Some(newest), Some((_, first))) = (self.newest, self.held.first().copied())
            && (first.time <= newest.time + UNITS || first.seq == newest.seq + 1)
        {
            self.release_first();
        }
    }

    fn anew(&mut self, sent: Sent) {
        while !self.held.is_empty() {
            self.release_first();
        }
        self.newest = None;
        self.released.clear();
        self.release(sent);
    }

    fn push(&mut self, at: u64, sent: Sent) {
        let Some(newest) = self.newest else {
            return self.anew(sent);
        };
        let hole = sent.time - newest.time - UNITS;
        let step = sent.seq - newest.seq;
        let is_known = (step > -64 && self.released.contains(&sent.seq))
            || self.held.iter().any(|held| held.1.seq == sent.seq);
        if hole == 0 || (hole > 0 && step == 1 && !is_known) {
            self.release(sent);
            self.release_ready();
        } else if is_known {
        } else if hole < 0 {
            if step > 0 || -hole > i64::from(GAP_FRAMES_MAX) * UNITS {
                self.anew(sent);
            }
        } else if step < 1 || step > 1 + REORDER_PACKETS_MAX as i64 {
            while !self.held.is_empty() {
                self.release_first();
            }
            if self
                .newest
                .is_some_and(|newest| sent.time >= newest.time + UNITS)
            {
                self.release(sent);
            }
        } else if self.held.len() == REORDER_PACKETS_MAX {
            self.release_first();
            self.release_ready();
            self.push(at, sent);
        } else {
            self.held.push((at, sent));
        }
    }

    fn release_due(&mut self, now: u64) {
        self.held.sort_by_key(|held| held.1.time);
        if let Some(last) = self.held.iter().rposition(|held| now >= held.0 + WAIT_US) {
            for _ in 0..=last {
                self.release_first();
            }
            self.release_ready();
        }
    }
}

/// A stream with pauses, some of which also skip numbers.
fn streams() -> impl Strategy<Value = Vec<Sent>> {
    let step = prop_oneof![
        8 => Just((1, UNITS)),
        1 => (1..2i64, 1..30i64).prop_map(|(seq, frames)| (seq, frames * UNITS)),
        1 => (2..13i64).prop_map(|seq| (seq, seq * UNITS)),
    ];
    prop::collection::vec(step, 1..120).prop_map(|steps| {
        let mut at = Sent { seq: 0, time: 0 };
        steps
            .into_iter()
            .map(|(seq, time)| {
                let sent = at;
                at = Sent {
                    seq: at.seq + seq,
                    time: at.time + time,
                };
                sent
            })
            .collect()
    })
}

proptest! {
    /// Nothing may differ from the model, whatever order, loss, repetition and lateness.
    #[test]
    fn random_arrivals_agree_with_the_model(
        stream in streams(),
        picks in prop::collection::vec((0..12usize, 0..30u64), 1..200),
    ) {
        let (mut ours, mut model) = (Ours::new(), Model::default());
        let mut now = 0;
        for (n, (back, wait_ms)) in picks.into_iter().enumerate() {
            now += wait_ms * 1000;
            let Some(sent) = stream.get((n + back).saturating_sub(6)) else { break };
            ours.push(now, *sent, 1);
            model.push(now, *sent);
            prop_assert_eq!(&ours.out, &model.out);
            ours.release_due(now);
            model.release_due(now);
            prop_assert_eq!(&ours.out, &model.out);
            prop_assert_eq!(ours.reorder.held(), model.held.len());
        }
    }

    /// Packets overtaken by less than the window come out as sent, every one.
    #[test]
    fn packets_that_swapped_places_are_put_back(
        keys in prop::collection::vec(0..4u64, 1..100)
    ) {
        // Each packet is late by up to 3 places; a stable sort makes the order they arrive in.
        let mut arrivals: Vec<(u64, i64)> =
            keys.iter().enumerate().map(|(n, late)| (n as u64 + late, n as i64)).collect();
        arrivals.sort();
        // The first to arrive begins the stream, so let that be the first sent.
        arrivals.retain(|arrival| arrival.1 != 0);
        arrivals.insert(0, (0, 0));
        let mut ours = Ours::new();
        for (n, (_, seq)) in arrivals.iter().enumerate() {
            let now = n as u64 * FRAME_US;
            ours.push(now, Sent { seq: *seq, time: seq * UNITS }, 1);
            ours.release_due(now);
        }
        let order: Vec<i64> = ours.out.iter().map(|out| out.0.seq).collect();
        prop_assert_eq!(order, (0..keys.len() as i64).collect::<Vec<_>>());
        prop_assert!(ours.out[1..].iter().all(|out| out.1 == Follows::After(0)));
    }

    /// Nobody waits longer than the bound, and within one stream time only goes forward.
    #[test]
    fn waiting_and_order_are_bounded(
        stream in streams(), kept in prop::collection::vec(any::<bool>(), 120)
    ) {
        let mut ours = Ours::new();
        let mut now = 0;
        for (sent, kept) in stream.into_iter().zip(kept) {
            now += FRAME_US;
            if kept {
                ours.push(now, sent, 1);
            }
            ours.release_due(now);
            prop_assert!(ours.reorder.held() <= WAIT_US.div_ceil(FRAME_US) as usize);
        }
        ours.release_due(now + WAIT_US);
        prop_assert_eq!(ours.reorder.held(), 0);
        prop_assert!(ours.out.windows(2).all(|pair| pair[0].0.time < pair[1].0.time));
    }
}

fn at(seq: i64) -> Sent {
    Sent {
        seq,
        time: seq * UNITS,
    }
}

#[test]
fn punctual_packets_pass_at_once_over_both_wraps() {
    let mut ours = Ours::new();
    for n in 0..100 {
        assert_eq!(ours.push(n as u64, at(n), 1), Verdict::Released);
        assert_eq!(ours.out.len(), n as usize + 1, "nothing is held back");
    }
}

#[test]
fn a_gap_in_time_alone_is_nobodys_loss() {
    // A digit as Asterisk leaves it out when it transcodes: sequence + 1, timestamp + 1760 + 160.
    let mut ours = Ours::new();
    ours.push(0, at(0), 1);
    let after = Sent {
        seq: 1,
        time: UNITS + 1760,
    };
    assert_eq!(ours.push(0, after, 1), Verdict::Released);
    assert_eq!(ours.out[1], (after, Follows::After(1760)));
}

#[test]
fn a_digit_of_the_same_codec_is_not_waited_for() {
    // Sequence + 12: eleven packets of telephone-event that Asterisk kept to itself.
    let mut ours = Ours::new();
    ours.push(0, at(0), 1);
    assert_eq!(ours.push(0, at(12), 1), Verdict::Released);
    assert_eq!(ours.out[1].1, Follows::After(11 * UNITS as u32));
}

#[test]
fn a_missing_packet_is_waited_for_and_then_given_up() {
    let mut ours = Ours::new();
    ours.push(0, at(0), 1);
    assert_eq!(ours.push(1_000, at(2), 1), Verdict::Held);
    ours.release_due(1_000 + WAIT_US - 1);
    assert_eq!(ours.out.len(), 1);
    ours.release_due(1_000 + WAIT_US);
    assert_eq!(ours.out[1], (at(2), Follows::After(UNITS as u32)));
    assert_eq!(ours.push(70_000, at(1), 1), Verdict::Late);
    assert_eq!(ours.push(70_000, at(2), 1), Verdict::Duplicate);
    assert_eq!(ours.push(70_000, at(3), 1), Verdict::Released);
}

#[test]
fn an_overtaken_packet_is_put_back_and_counted() {
    let mut ours = Ours::new();
    ours.push(0, at(0), 1);
    ours.push(0, at(2), 1);
    assert_eq!(ours.push(0, at(2), 1), Verdict::Duplicate);
    assert_eq!(ours.push(0, at(1), 1), Verdict::ReleasedBeforeOthers);
    assert_eq!(
        ours.out.iter().map(|out| out.0.seq).collect::<Vec<_>>(),
        [0, 1, 2]
    );
}

#[test]
fn a_new_source_or_a_jump_back_begins_anew_and_strands_nobody() {
    let mut ours = Ours::new();
    ours.push(0, at(0), 1);
    ours.push(0, at(2), 1);
    assert_eq!(ours.push(0, at(500), 2), Verdict::Resynced);
    assert_eq!(ours.out[1].0, at(2), "what waited was let go first");
    assert_eq!(ours.out[2], (at(500), Follows::Anew));
    assert_eq!(
        ours.push(0, at(100), 2),
        Verdict::Resynced,
        "back by more than lateness"
    );
    assert_eq!(ours.push(0, at(101), 2), Verdict::Released);
    let set_back = Sent { seq: 102, time: 0 };
    assert_eq!(
        ours.push(0, set_back, 2),
        Verdict::Resynced,
        "time set back, numbers going on"
    );
}

#[test]
fn frozen_timestamps_do_not_silence_a_leg() {
    let mut ours = Ours::new();
    for seq in 0..50 {
        ours.push(0, Sent { seq, time: 0 }, 1);
    }
    assert_eq!(ours.out.len(), 50);
}
