//! The one clock of a process: `CLOCK_MONOTONIC` in microseconds, read through the vDSO.

use std::time::Duration;

use diglot_rt::units::Micros;
use rustix::time::{ClockId, clock_gettime};

const US_PER_SECOND: u64 = 1_000_000;
const NS_PER_US: u64 = 1_000;

/// Now.
///
/// # Real-time
/// Wait-free, no allocation, no system call where the vDSO serves the clock.
pub fn now() -> Micros {
    let time = clock_gettime(ClockId::Monotonic);
    // CLOCK_MONOTONIC counts from boot and is never negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    Micros(seconds * US_PER_SECOND + nanoseconds / NS_PER_US)
}

/// How long from `now` until `deadline`; zero if it has passed.
pub fn until(deadline: Micros, now: Micros) -> Duration {
    Duration::from_micros(deadline.since(now))
}
