//! What a new session of any leg is given: a number of its own, and Unix time.
//!
//! A session keeps the offset between the monotonic clock and Unix time that it began with: what
//! it says and what it is told back are then of one clock, even if the time of day is set
//! meanwhile. The next session has the new time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use diglot_rt::units::Micros;

use crate::net::clock;

const US_PER_MS: u64 = 1_000;

/// Unix time as one session knows it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UnixTime {
    /// Unix time of the monotonic clock's zero, in milliseconds.
    offset_ms: u64,
}

impl UnixTime {
    /// As both clocks are now.
    pub fn read() -> Self {
        // A time of day before 1970 was never set: 0 tells the translator nothing, and no lie.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self::at(unix.unwrap_or_default(), clock::now())
    }

    /// With this Unix time at this moment of the monotonic clock.
    pub fn at(unix: Duration, now: Micros) -> Self {
        let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        Self {
            offset_ms: unix_ms.saturating_sub(now.0 / US_PER_MS),
        }
    }

    /// A moment of the monotonic clock, in milliseconds.
    pub fn ms(self, moment: Micros) -> u64 {
        self.offset_ms.saturating_add(moment.0 / US_PER_MS)
    }
}

/// The sessions of all legs.
#[derive(Debug)]
pub struct Sessions {
    next_epoch: u32,
    unix_time: fn() -> UnixTime,
}

impl Sessions {
    /// None yet; each will ask `unix_time` when it begins.
    pub fn new(unix_time: fn() -> UnixTime) -> Self {
        Self {
            next_epoch: 1,
            unix_time,
        }
    }

    /// Begins one: its number among all sessions, and its time.
    pub fn begin(&mut self) -> (u32, UnixTime) {
        let epoch = self.next_epoch;
        self.next_epoch = epoch.wrapping_add(1);
        (epoch, (self.unix_time)())
    }
}
