//! The frame clock as arithmetic: which 20 ms slot is it, how late are we, which slots were missed.
//!
//! It reads no clock. The driver sleeps until [`FrameClock::next_deadline`] and says when it woke.

use crate::units::{FRAME_US, Micros};

/// One turn of the frame clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tick {
    /// Slots since the epoch; slot `n` is due at `epoch + n · 20 ms`.
    pub slot: u64,
    /// How long after its deadline the slot was served, in microseconds.
    pub late_us: u64,
    /// Slots before this one that were never served: they become a gap, never a burst.
    pub missed: u64,
}

impl Tick {
    /// How long after the deadline that was waited for the tile woke, in microseconds: the slots
    /// that were missed count as well.
    pub const fn woke_late_us(&self) -> u64 {
        self.late_us
            .saturating_add(self.missed.saturating_mul(FRAME_US))
    }
}

/// An absolute schedule of 20 ms slots. A late tick is late once; the grid never shifts.
#[derive(Clone, Debug)]
pub struct FrameClock {
    epoch: Micros,
    /// The slot that is due next.
    next: u64,
}

impl FrameClock {
    /// A clock whose slot 0 is due at `epoch`.
    pub const fn new(epoch: Micros) -> Self {
        Self { epoch, next: 0 }
    }

    /// When the next slot is due.
    pub const fn next_deadline(&self) -> Micros {
        self.epoch.plus_frames(self.next)
    }

    /// Passes over what nobody waited for: the next slot is the first due at `now` or later.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub const fn skip_to(&mut self, now: Micros) {
        let first = now.since(self.epoch).div_ceil(FRAME_US);
        if first > self.next {
            self.next = first;
        }
    }

    /// Serves the newest slot that is due at `now`, or none if the next is still ahead.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub const fn wake(&mut self, now: Micros) -> Option<Tick> {
        if now.0 < self.next_deadline().0 {
            return None;
        }
        let slot = now.since(self.epoch) / FRAME_US;
        let missed = slot - self.next;
        self.next = slot + 1;
        Some(Tick {
            slot,
            late_us: now.since(self.epoch.plus_frames(slot)),
            missed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Micros = Micros(1_000_000);

    #[test]
    fn a_late_tick_does_not_shift_the_grid() {
        let mut clock = FrameClock::new(EPOCH);
        assert_eq!(
            clock.wake(EPOCH),
            Some(Tick {
                slot: 0,
                late_us: 0,
                missed: 0
            })
        );
        let late = Micros(EPOCH.0 + FRAME_US + 7_000);
        assert_eq!(
            clock.wake(late),
            Some(Tick {
                slot: 1,
                late_us: 7_000,
                missed: 0
            })
        );
        assert_eq!(clock.next_deadline(), EPOCH.plus_frames(2));
    }

    #[test]
    fn a_stall_becomes_one_tick_and_a_count_of_missed_slots() {
        let mut clock = FrameClock::new(EPOCH);
        clock.wake(EPOCH);
        let tick = clock.wake(EPOCH.plus_frames(10)).expect("slot 10 is due");
        assert_eq!(
            tick,
            Tick {
                slot: 10,
                late_us: 0,
                missed: 9
            }
        );
        assert_eq!(
            clock.wake(EPOCH.plus_frames(10)),
            None,
            "no burst after the stall"
        );
    }

    #[test]
    fn slots_passed_over_are_neither_served_nor_missed() {
        let mut clock = FrameClock::new(EPOCH);
        clock.skip_to(Micros(EPOCH.plus_frames(4).0 + 1));
        assert_eq!(clock.next_deadline(), EPOCH.plus_frames(5));
        clock.skip_to(EPOCH);
        let tick = clock.wake(EPOCH.plus_frames(5)).expect("slot 5 is due");
        assert_eq!((tick.slot, tick.missed), (5, 0));
    }

    #[test]
    fn nothing_is_due_early() {
        let mut clock = FrameClock::new(EPOCH);
        assert_eq!(clock.wake(Micros(EPOCH.0 - 1)), None);
    }
}
