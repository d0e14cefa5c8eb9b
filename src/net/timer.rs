//! An alarm at an absolute time: a timerfd.
//!
//! mio rounds its time-out up to whole milliseconds, so it can be neither the frame clock nor the
//! rx tile's pace under load; a thread that waits for one of these alone needs no mio.

use std::io;
use std::os::fd::OwnedFd;

use diglot_rt::units::Micros;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

const US_PER_SECOND: u64 = 1_000_000;
const NS_PER_US: u64 = 1_000;

/// Wakes its thread at absolute times of [`clock::now`](super::clock::now).
#[derive(Debug)]
pub struct Alarm(OwnedFd);

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        Ok(Self(fd))
    }

    /// Waits until `deadline`; returns at once if it has passed. A signal may end the wait early.
    ///
    /// # Errors
    /// Whatever the kernel refuses; an interrupted call is not an error.
    ///
    /// # Real-time
    /// Two system calls, no allocation.
    pub fn wait_until(&self, deadline: Micros) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: timespec(Micros(0)),
            // All zeros would mean never.
            it_value: timespec(Micros(deadline.0.max(1))),
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once)?;
        let mut expirations = [0_u8; 8];
        match rustix::io::read(&self.0, &mut expirations) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn timespec(at: Micros) -> Timespec {
    let seconds = at.0 / US_PER_SECOND;
    let nanoseconds = at.0 % US_PER_SECOND * NS_PER_US;
    Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    //! Goal: the alarm comes at its time and not before, and at once when its time has passed.
    //! Method: real time, lower bounds only.

    use super::*;
    use crate::net::clock;

    #[test]
    fn never_comes_before_its_time() {
        let alarm = Alarm::new().unwrap();
        let start = clock::now();
        for ms in [2, 4, 6] {
            alarm.wait_until(start.plus_ms(ms)).unwrap();
            assert!(clock::now() >= start.plus_ms(ms), "{ms} ms came early");
        }
    }

    #[test]
    fn a_time_that_has_passed_is_not_waited_for() {
        let alarm = Alarm::new().unwrap();
        alarm.wait_until(Micros(0)).unwrap();
        alarm.wait_until(clock::now()).unwrap();
    }
}
