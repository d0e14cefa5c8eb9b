//! When a thread looks at its sockets: at each arrival, or under load once in each half
//! millisecond.
//!
//! A wake-up costs more than the packet it is for. From about a hundred legs on, packets arrive
//! more often than a recogniser could ever tell apart, so the rx tile collects those of half a
//! millisecond and hands them on together, and the threads of the link do so with messages; the
//! drivers of network cards do the same.
//! Pure: time is an argument.

use diglot_rt::units::{FRAME_US, Micros};

/// Time between two looks under load: a quarter of the bound on what the gateway adds to a packet
/// on its way to the translator (2 ms).
pub const PACED_PERIOD_US: u64 = 500;

/// Arrivals in one frame's time from which on the looks are paced: as many legs, and about two a
/// look, where collecting begins to pay.
const PACED_FROM_ARRIVALS: u64 = 80;

/// Arrivals in one frame's time below which each arrival is served at once again.
const PACED_UNTIL_ARRIVALS: u64 = 40;

/// What wakes the thread next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rhythm {
    /// Each arrival.
    OnArrival,
    /// The pace.
    Paced,
}

/// When sockets are looked at next while the looks are paced: on an absolute grid.
pub fn next_look(now: Micros) -> Micros {
    Micros((now.0 / PACED_PERIOD_US + 1) * PACED_PERIOD_US)
}

/// Chooses the rhythm by what arrives.
#[derive(Debug)]
pub struct Rhythms {
    rhythm: Rhythm,
    window_start: Micros,
    arrivals: u64,
}

impl Rhythms {
    /// Begins on arrival.
    pub fn new(now: Micros) -> Self {
        Self {
            rhythm: Rhythm::OnArrival,
            window_start: now,
            arrivals: 0,
        }
    }

    /// What wakes the thread next.
    pub fn current(&self) -> Rhythm {
        self.rhythm
    }

    /// Takes note of what one look found.
    pub fn note(&mut self, now: Micros, arrivals: u64) {
        self.arrivals += arrivals;
        let elapsed_us = now.since(self.window_start);
        if elapsed_us < FRAME_US {
            return;
        }
        let per_frame = self.arrivals * FRAME_US / elapsed_us;
        self.rhythm = match self.rhythm {
            Rhythm::OnArrival if per_frame >= PACED_FROM_ARRIVALS => Rhythm::Paced,
            Rhythm::Paced if per_frame < PACED_UNTIL_ARRIVALS => Rhythm::OnArrival,
            same => same,
        };
        self.window_start = now;
        self.arrivals = 0;
    }
}

#[cfg(test)]
mod tests {
    //! Goal: few legs are served at once, many are paced, and neither a burst nor a number of legs
    //! between the bounds makes the rhythm flutter. Method: virtual time.

    use super::*;

    /// Lets `datagrams_per_frame` arrive evenly for a second and lists the rhythms met.
    fn second(rhythms: &mut Rhythms, start: Micros, datagrams_per_frame: u64) -> Vec<Rhythm> {
        let mut met = Vec::new();
        for look in 0..50 * datagrams_per_frame.max(1) {
            let now = Micros(start.0 + look * FRAME_US / datagrams_per_frame.max(1));
            rhythms.note(now, u64::from(datagrams_per_frame > 0));
            if met.last() != Some(&rhythms.current()) {
                met.push(rhythms.current());
            }
        }
        met
    }

    #[test]
    fn the_rhythm_follows_the_load_and_keeps_between_the_bounds() {
        let mut rhythms = Rhythms::new(Micros(0));
        let at = |second: u64| Micros(second * 1_000_000);
        assert_eq!(second(&mut rhythms, at(0), 2), [Rhythm::OnArrival]);
        assert_eq!(second(&mut rhythms, at(1), 60), [Rhythm::OnArrival]);
        let both = [Rhythm::OnArrival, Rhythm::Paced];
        assert_eq!(second(&mut rhythms, at(2), 100), both);
        assert_eq!(second(&mut rhythms, at(3), 60), [Rhythm::Paced]);
        assert_eq!(second(&mut rhythms, at(4), 1000), [Rhythm::Paced]);
        let back = [Rhythm::Paced, Rhythm::OnArrival];
        assert_eq!(second(&mut rhythms, at(5), 20), back);
        assert_eq!(second(&mut rhythms, at(6), 0), [Rhythm::OnArrival]);
    }

    #[test]
    fn a_single_burst_after_a_pause_changes_nothing() {
        let mut rhythms = Rhythms::new(Micros(0));
        rhythms.note(Micros(10 * FRAME_US), 64);
        assert_eq!(rhythms.current(), Rhythm::OnArrival);
    }
}
