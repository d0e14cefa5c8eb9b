//! Two clocks and one zero: the schedule runs on CLOCK_MONOTONIC, the kernel stamps packets by
//! CLOCK_REALTIME. Both are disciplined alike and differ by a constant, unless someone sets the
//! time.

use std::time::Duration;

use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::{Timespec, clock_gettime};

/// Readings of both clocks; the closest pair counts.
const READINGS: usize = 16;

/// The run's zero on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    monotonic: Duration,
    realtime: Duration,
}

impl Epoch {
    /// A zero that far in the future.
    pub fn after(wait: Duration) -> Self {
        let (monotonic, realtime) = read_both();
        Self {
            monotonic: monotonic + wait,
            realtime: realtime + wait,
        }
    }

    /// Now, by the schedule's clock; zero before the zero.
    pub fn now(&self) -> Duration {
        read(ClockId::Monotonic).saturating_sub(self.monotonic)
    }

    /// A kernel stamp on the schedule's scale.
    pub fn of_stamp(&self, realtime: Duration) -> Duration {
        realtime.saturating_sub(self.realtime)
    }

    /// Sleeps until then on an absolute deadline; at once if that is over.
    pub fn sleep_until(&self, at: Duration) {
        let deadline = self.monotonic + at;
        let request = Timespec {
            tv_sec: deadline.as_secs() as i64,
            tv_nsec: deadline.subsec_nanos().into(),
        };
        // An interrupted sleep is a wake-up before time: sleep on.
        while clock_nanosleep_absolute(ClockId::Monotonic, &request) == Err(rustix::io::Errno::INTR)
        {
        }
    }

    /// How far the two clocks have moved against each other since: more than some µs means that
    /// somebody set the time, and latencies are wrong by as much.
    pub fn clock_step(&self) -> Duration {
        let (monotonic, realtime) = read_both();
        let before = self.realtime.abs_diff(self.monotonic);
        realtime.abs_diff(monotonic).abs_diff(before)
    }
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    // Neither clock is ever before its own zero.
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn read_both() -> (Duration, Duration) {
    let read_once = |_| {
        let before = read(ClockId::Monotonic);
        let realtime = read(ClockId::Realtime);
        let after = read(ClockId::Monotonic);
        (after - before, before + (after - before) / 2, realtime)
    };
    let (_, monotonic, realtime) = (0..READINGS)
        .map(read_once)
        .min_by_key(|(took, ..)| *took)
        .unwrap_or_default();
    (monotonic, realtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: both clocks tell one time, and sleep ends after it. Method: both read around a sleep.
    #[test]
    fn both_clocks_tell_one_time() {
        let epoch = Epoch::after(Duration::ZERO);
        let until = Duration::from_millis(5);
        epoch.sleep_until(until);
        let now = epoch.now();
        let stamp = epoch.of_stamp(read(ClockId::Realtime));
        assert!(now >= until);
        assert!(stamp >= now || now - stamp < Duration::from_millis(1));
        assert!(epoch.clock_step() < Duration::from_millis(50));
    }
}
