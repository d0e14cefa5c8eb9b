//! The frame clock in phases: legs take turns within the 20 ms, so that the last leg of many does
//! not wait for the work of all the others, and a core is never taken for long.
//!
//! ```text
//! 0 ms      2 ms      4 ms      …      20 ms
//! | phase 0 | phase 1 | phase 2 | …    | phase 0 |
//! ```
//! Each leg has one phase for life, and in it a frame clock with slots of 20 ms. A phase is opened
//! only when those before it have legs enough to be worth a wake-up: few legs wake the tile once in
//! 20 ms. Pure: time is an argument.

use crate::limits::{PHASE_LEGS, PHASES};
use crate::time::{FrameClock, Tick};
use crate::units::{FRAME_US, Micros};

/// One of [`PHASES`] turns within a frame's time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Phase(pub u8);

#[derive(Debug)]
struct Turn {
    clock: FrameClock,
    legs: usize,
}

/// Who is in which phase, and which is due.
#[derive(Debug)]
pub struct Phases {
    turns: [Turn; PHASES as usize],
}

impl Phases {
    /// Phases without legs; slot 0 of the first is due at `epoch`.
    pub fn new(epoch: Micros) -> Self {
        let step_us = FRAME_US / u64::from(PHASES);
        let mut at = epoch;
        let turns = core::array::from_fn(|_| {
            let turn = Turn {
                clock: FrameClock::new(at),
                legs: 0,
            };
            at = Micros(at.0 + step_us);
            turn
        });
        Self { turns }
    }

    /// Gives a new leg its phase: the first with room for one more of [`PHASE_LEGS`], or the one
    /// with the fewest.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn enter(&mut self, now: Micros) -> Phase {
        let turns = self.turns.iter();
        let first_with_room = turns.clone().position(|turn| turn.legs < PHASE_LEGS);
        let fewest = || {
            let least = turns.enumerate().min_by_key(|(_, turn)| turn.legs);
            least.map_or(0, |(index, _)| index)
        };
        let index = first_with_room.unwrap_or_else(fewest);
        let turn = &mut self.turns[index];
        // The first phase is always served, so that commands are.
        if turn.legs == 0 && index > 0 {
            turn.clock.skip_to(now);
        }
        turn.legs += 1;
        #[expect(clippy::cast_possible_truncation, reason = "below PHASES")]
        Phase(index as u8)
    }

    /// Takes a leg out of its phase.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn leave(&mut self, phase: Phase) {
        if let Some(turn) = self.turns.get_mut(usize::from(phase.0)) {
            turn.legs = turn.legs.saturating_sub(1);
        }
    }

    /// When the next phase is due that has legs, or the first one.
    pub fn next_deadline(&self) -> Micros {
        let served = self.served().map(|(_, turn)| turn.clock.next_deadline());
        served.min_by_key(|deadline| deadline.0).unwrap_or_default()
    }

    /// Serves the phase that has been due longest, or none if all are still ahead. To be called
    /// until it says none.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn wake(&mut self, now: Micros) -> Option<(Phase, Tick)> {
        let (index, _) = self
            .served()
            .min_by_key(|(_, turn)| turn.clock.next_deadline().0)?;
        let tick = self.turns[index].clock.wake(now)?;
        #[expect(clippy::cast_possible_truncation, reason = "below PHASES")]
        Some((Phase(index as u8), tick))
    }

    fn served(&self) -> impl Iterator<Item = (usize, &Turn)> {
        let turns = self.turns.iter().enumerate();
        turns.filter(|(index, turn)| *index == 0 || turn.legs > 0)
    }
}

#[cfg(test)]
mod tests {
    //! Goal: every leg has its slot every 20 ms and none else, however many come and go; few legs
    //! cost one wake-up. Method: virtual time, every tick looked at.

    use super::*;
    use alloc::vec::Vec;

    const EPOCH: Micros = Micros(1_000_000);
    const STEP_US: u64 = FRAME_US / PHASES as u64;

    /// Serves what is due until `until` and lists it with its time.
    fn run(phases: &mut Phases, until: Micros) -> Vec<(Phase, u64, Micros)> {
        let mut served = Vec::new();
        while phases.next_deadline().0 < until.0 {
            let now = phases.next_deadline();
            while let Some((phase, tick)) = phases.wake(now) {
                assert_eq!((tick.late_us, tick.missed), (0, 0));
                served.push((phase, tick.slot, now));
            }
        }
        served
    }

    #[test]
    fn few_legs_wake_the_tile_once_in_a_frame() {
        let mut phases = Phases::new(EPOCH);
        for _ in 0..PHASE_LEGS {
            assert_eq!(phases.enter(EPOCH), Phase(0));
        }
        let served = run(&mut phases, EPOCH.plus_frames(5));
        let slots: Vec<_> = served.iter().map(|s| s.1).collect();
        assert_eq!(slots, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn many_legs_are_spread_evenly_and_each_phase_keeps_its_own_grid() {
        let mut phases = Phases::new(EPOCH);
        let legs = PHASE_LEGS * usize::from(PHASES) + 3 * usize::from(PHASES);
        let mut members = [0; PHASES as usize];
        for _ in 0..legs {
            members[usize::from(phases.enter(EPOCH).0)] += 1;
        }
        assert_eq!(members, [PHASE_LEGS + 3; PHASES as usize]);
        let served = run(&mut phases, EPOCH.plus_frames(3));
        assert_eq!(served.len(), 3 * usize::from(PHASES));
        for (phase, slot, at) in served {
            let due = EPOCH.plus_frames(slot).0 + u64::from(phase.0) * STEP_US;
            assert_eq!(at, Micros(due));
        }
    }

    #[test]
    fn a_phase_that_was_empty_has_missed_nothing() {
        let mut phases = Phases::new(EPOCH);
        for _ in 0..PHASE_LEGS {
            phases.enter(EPOCH);
        }
        run(&mut phases, EPOCH.plus_frames(100));
        let second = phases.enter(EPOCH.plus_frames(100));
        assert_eq!(second, Phase(1));
        let served = run(&mut phases, EPOCH.plus_frames(102));
        assert_eq!(served.iter().filter(|s| s.0 == second).count(), 2);
        phases.leave(second);
        let served = run(&mut phases, EPOCH.plus_frames(104));
        assert_eq!(served.iter().filter(|s| s.0 == second).count(), 0);
        assert_eq!(
            phases.enter(EPOCH.plus_frames(104)),
            second,
            "it is free again"
        );
        run(&mut phases, EPOCH.plus_frames(105));
    }

    #[test]
    fn a_stall_is_one_tick_of_each_phase_and_no_burst() {
        let mut phases = Phases::new(EPOCH);
        for _ in 0..PHASE_LEGS * usize::from(PHASES) {
            phases.enter(EPOCH);
        }
        run(&mut phases, EPOCH.plus_frames(1));
        let now = EPOCH.plus_frames(10);
        let served: Vec<_> = core::iter::from_fn(|| phases.wake(now)).collect();
        assert_eq!(served.len(), usize::from(PHASES));
        let missed: u64 = served.iter().map(|(_, tick)| tick.missed).sum();
        // Slots 1 to 9 of the first phase; of the others slot 9 is the newest that is due.
        assert_eq!(missed, 9 + 8 * u64::from(PHASES - 1));
    }
}
