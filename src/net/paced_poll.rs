//! A wait for many sockets that costs no wake-up for each message.
//!
//! With few legs it ends at once when something comes. Under load it ends once in each period of
//! [`rhythm`], whatever has come by then: five hundred legs' messages are served a dozen at a time.

use std::io;
use std::time::Duration;

use diglot_rt::units::Micros;
use mio::{Events, Poll, Registry};

use super::clock;
use super::rhythm::{self, PACED_PERIOD_US, Rhythm, Rhythms};
use super::timer::Alarm;

/// How long after the rx tile's looks these are: by then it has handed its frames on.
const BEHIND_US: u64 = PACED_PERIOD_US / 2;

/// A poll with a rhythm.
#[derive(Debug)]
pub struct PacedPoll {
    poll: Poll,
    rhythms: Rhythms,
    pace: Alarm,
}

impl PacedPoll {
    /// Waits on `poll` from now on.
    ///
    /// # Errors
    /// The kernel refuses a timer.
    pub fn new(poll: Poll) -> io::Result<Self> {
        Ok(Self {
            poll,
            rhythms: Rhythms::new(clock::now()),
            pace: Alarm::new()?,
        })
    }

    /// Where sockets are registered.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits for events, under load until the next period whatever `patience` says, else no longer
    /// than `patience`; an interrupted wait has none.
    ///
    /// # Errors
    /// The wait itself failed.
    pub fn wait(&mut self, events: &mut Events, patience: Option<Duration>) -> io::Result<()> {
        let mut patience = patience;
        if self.rhythms.current() == Rhythm::Paced && patience != Some(Duration::ZERO) {
            self.pace.wait_until(next_look(clock::now()))?;
            patience = Some(Duration::ZERO);
        }
        match self.poll.poll(events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes note of how much the last wait brought.
    pub fn note(&mut self, now: Micros, arrivals: u64) {
        self.rhythms.note(now, arrivals);
    }
}

fn next_look(now: Micros) -> Micros {
    let ahead = Micros(now.0.saturating_sub(BEHIND_US));
    Micros(rhythm::next_look(ahead).0 + BEHIND_US)
}

#[cfg(test)]
mod tests {
    //! Goal: nothing that came is lost to the pace, and waiting for nothing is what it was.
    //! Method: a waker; real time, lower bounds only.

    use std::time::Instant;

    use mio::{Token, Waker};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn what_came_is_told_on_arrival_and_under_load() {
        let mut poll = PacedPoll::new(Poll::new().unwrap()).unwrap();
        let waker = Waker::new(poll.registry(), Token(7)).unwrap();
        let mut events = Events::with_capacity(4);
        let mut now = clock::now();
        for is_loaded in [false, true, false] {
            let frames = if is_loaded { 1_000 } else { 0 };
            now = now.plus_ms(100);
            poll.note(now, frames);
            waker.wake().unwrap();
            let start = Instant::now();
            loop {
                poll.wait(&mut events, Some(PATIENCE)).unwrap();
                if !events.is_empty() {
                    break;
                }
                assert!(is_loaded, "only a paced wait ends without news");
            }
            assert_eq!(events.iter().next().unwrap().token(), Token(7));
            assert!(start.elapsed() < PATIENCE);
        }
    }

    #[test]
    fn a_paced_wait_takes_its_period_and_a_wait_of_zero_none() {
        let mut poll = PacedPoll::new(Poll::new().unwrap()).unwrap();
        let mut events = Events::with_capacity(4);
        poll.note(clock::now().plus_ms(100), 1_000);
        poll.wait(&mut events, Some(PATIENCE)).unwrap();
        let start = clock::now();
        const PERIODS: u64 = 20;
        for _ in 0..PERIODS {
            poll.wait(&mut events, Some(PATIENCE)).unwrap();
        }
        // The first one may be cut short by what went before.
        let least = (PERIODS - 1) * PACED_PERIOD_US;
        assert!(clock::now().since(start) >= least);
    }
}
