//! Who is live: said by the control thread, which knows, and watched by the log thread.
//!
//! Events may be lost, for nobody waits for a log; what the watcher decides (who fell silent, whose
//! stream goes on) must not depend on them. So the control thread keeps one word for each slot, and
//! the watcher looks at all of them on each of its rounds.

use std::sync::Arc;
use std::time::Duration;

use diglot_rt::msg::LegId;
use diglot_rt::stats::Counter;
use diglot_rt::units::Micros;

use crate::call::relock::Heard;
use crate::tile::meters::LegMeters;

/// Says that the generation above it is live.
const LIVE: u64 = 1;
const GENERATION_SHIFT: u32 = 1;

/// Which leg is live in each slot. Only the control thread writes.
#[derive(Debug)]
pub struct Roster(Box<[Counter]>);

impl Roster {
    /// Nobody is live in slots 0 .. `legs_max`.
    pub fn new(legs_max: usize) -> Self {
        Self((0..legs_max).map(|_| Counter::default()).collect())
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.0.len()
    }

    /// The leg is live from now on, and whoever had its slot is not.
    pub fn begin(&self, leg: LegId) {
        if let Some(word) = self.0.get(usize::from(leg.slot)) {
            word.set(u64::from(leg.generation) << GENERATION_SHIFT | LIVE);
        }
    }

    /// The leg is over. One who has its slot by now is not.
    pub fn end(&self, leg: LegId) {
        if self.of_slot(leg.slot) == Some(leg) {
            self.0[usize::from(leg.slot)].set(0);
        }
    }

    fn of_slot(&self, slot: u16) -> Option<LegId> {
        let word = self.0.get(usize::from(slot))?.value();
        let generation = u32::try_from(word >> GENERATION_SHIFT).ok()?;
        (word & LIVE != 0).then_some(LegId { slot, generation })
    }
}

/// The log thread's view of the roster, and of what each leg sent last.
#[derive(Debug)]
pub struct Watch {
    roster: Arc<Roster>,
    meters: Arc<LegMeters>,
    /// By slot: who is live there, and since when we have known.
    known: Box<[Option<(LegId, Micros)>]>,
}

impl Watch {
    /// Nobody is known yet.
    pub fn new(roster: Arc<Roster>, meters: Arc<LegMeters>) -> Self {
        let known = vec![None; roster.slots()].into_boxed_slice();
        Self {
            roster,
            meters,
            known,
        }
    }

    /// Looks at who is live now.
    pub fn update(&mut self, now: Micros) {
        for (slot, known) in (0..).zip(&mut self.known) {
            let live = self.roster.of_slot(slot);
            if known.map(|(leg, _)| leg) != live {
                *known = live.map(|leg| (leg, now));
            }
        }
    }

    /// The live legs that have sent nothing for longer than `timeout`.
    pub fn silent(&self, now: Micros, timeout: Duration) -> impl Iterator<Item = LegId> {
        self.live()
            .filter(move |(_, at)| u128::from(now.since(*at)) > timeout.as_micros())
            .map(|(leg, _)| leg)
    }

    /// What each live leg sent last, of those that sent RTP.
    pub fn heard(&self) -> impl Iterator<Item = (LegId, Heard)> {
        self.live().filter_map(|(leg, at)| {
            let position = self.meters.last_position(leg)?;
            Some((leg, Heard { at, position }))
        })
    }

    /// Every live leg, and when it last sent something or was first seen.
    fn live(&self) -> impl Iterator<Item = (LegId, Micros)> {
        self.known.iter().flatten().map(|(leg, began)| {
            let received = self.meters.last_received(*leg);
            (*leg, received.map_or(*began, |at| at.max(*began)))
        })
    }
}

#[cfg(test)]
mod tests {
    //! Goal: who times out and whose stream may go on is known without a single event, and no leg
    //! is ever judged by what another one in its slot did. Method: roster and meters alone, with
    //! times of the test's own.

    use super::*;
    use diglot_rt::wire::rtp::{Seq, StreamPosition};

    const TIMEOUT: Duration = Duration::from_millis(500);
    const OLD: LegId = LegId {
        slot: 1,
        generation: 7,
    };
    const HEIR: LegId = LegId {
        slot: 1,
        generation: 8,
    };
    const POSITION: StreamPosition = StreamPosition {
        ssrc: 7,
        sequence_number: Seq(100),
    };

    fn watch() -> (Arc<Roster>, Arc<LegMeters>, Watch) {
        let (roster, meters) = (Arc::new(Roster::new(2)), Arc::new(LegMeters::new(2)));
        let watch = Watch::new(Arc::clone(&roster), Arc::clone(&meters));
        (roster, meters, watch)
    }

    fn at(ms: u64) -> Micros {
        Micros(0).plus_ms(ms)
    }

    fn silent(watch: &Watch, ms: u64) -> Vec<LegId> {
        watch.silent(at(ms), TIMEOUT).collect()
    }

    #[test]
    fn a_leg_that_never_sends_times_out_from_when_it_was_seen() {
        let (roster, _, mut watch) = watch();
        roster.begin(OLD);
        watch.update(at(1_000));
        watch.update(at(1_400));
        assert_eq!(silent(&watch, 1_500), []);
        assert_eq!(silent(&watch, 1_501), [OLD]);
        roster.end(OLD);
        watch.update(at(1_501));
        assert_eq!(silent(&watch, 9_000), [], "it is over");
    }

    #[test]
    fn an_heir_is_not_judged_by_the_leg_before_it() {
        let (roster, meters, mut watch) = watch();
        roster.begin(OLD);
        meters.begin(OLD, at(10));
        meters.received(OLD, at(20), Some(POSITION));
        watch.update(at(20));
        assert_eq!(watch.heard().map(|(leg, _)| leg).collect::<Vec<_>>(), [OLD]);
        // The end and the new beginning fall between two looks.
        roster.end(OLD);
        roster.begin(HEIR);
        watch.update(at(5_000));
        assert_eq!(watch.heard().count(), 0, "the heir has sent nothing");
        assert_eq!(silent(&watch, 5_400), [], "nor had it time to");
        // The old leg's tile has not been told yet.
        meters.begin(HEIR, at(5_000));
        meters.received(OLD, at(5_600), Some(POSITION));
        assert_eq!(watch.heard().count(), 0, "that was the old leg");
        assert_eq!(silent(&watch, 5_601), [HEIR]);
        roster.end(OLD);
        watch.update(at(5_602));
        assert_eq!(silent(&watch, 5_602), [HEIR], "ended is only the old leg");
    }
}
