//! An alarm on an absolute grid: a timerfd armed once with its start and its period.
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

/// An absolute, periodic timer.
#[derive(Debug)]
pub struct FrameTimer(OwnedFd);

impl FrameTimer {
    /// A timer that first fires at `epoch` and then once in each `period_us`.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub fn starting_at(epoch: Micros, period_us: u64) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let schedule = Itimerspec {
            it_interval: timespec(Micros(period_us)),
            it_value: timespec(epoch),
        };
        timerfd_settime(&fd, TimerfdTimerFlags::ABSTIME, &schedule)?;
        Ok(Self(fd))
    }

    /// Sleeps until the next deadline; returns at once if one has passed unserved.
    ///
    /// # Errors
    /// An interrupted call is not an error; anything else is.
    ///
    /// # Real-time
    /// One `read`, no allocation.
    pub fn wait(&self) -> io::Result<()> {
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
    //! Goal: the timer fires on its absolute grid, and a late reader does not get a second alarm
    //! for the same slot. Method: real time, lower bounds only.

    use diglot_rt::units::FRAME_US;

    use super::*;
    use crate::net::clock;

    #[test]
    fn never_fires_before_its_deadline() {
        let epoch = clock::now().plus_ms(5);
        let timer = FrameTimer::starting_at(epoch, FRAME_US).unwrap();
        for slot in 0..3 {
            timer.wait().unwrap();
            assert!(
                clock::now() >= epoch.plus_frames(slot),
                "slot {slot} came early"
            );
        }
    }
}
