//! The frame clock's alarm: a timerfd armed once with an absolute start and a 20 ms period.
//!
//! mio rounds its time-out up to whole milliseconds, so it cannot be the frame clock; a thread that
//! only serves the frame clock needs no mio.

use std::io;
use std::os::fd::OwnedFd;

use diglot_rt::units::{FRAME_US, Micros};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

const US_PER_SECOND: u64 = 1_000_000;
const NS_PER_US: u64 = 1_000;

/// An absolute 20 ms timer.
#[derive(Debug)]
pub struct FrameTimer(OwnedFd);

impl FrameTimer {
    /// A timer that first fires at `epoch` and every 20 ms from then on.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub fn starting_at(epoch: Micros) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let schedule = Itimerspec {
            it_interval: timespec(Micros(FRAME_US)),
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

    use super::*;
    use crate::net::clock;

    #[test]
    fn never_fires_before_its_deadline() {
        let epoch = clock::now().plus_ms(5);
        let timer = FrameTimer::starting_at(epoch).unwrap();
        for slot in 0..3 {
            timer.wait().unwrap();
            assert!(
                clock::now() >= epoch.plus_frames(slot),
                "slot {slot} came early"
            );
        }
    }
}
