//! A 20 ms clock on an absolute schedule: frame n is due at start + n · 20 ms, however late the
//! frames before it were. It measures its own lateness: a tester's error is not the gateway's.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::codec::FRAME_MS;
use crate::report::Percentiles;

/// Longest lateness the histogram tells from others, in µs.
const LATENESS_US_MAX: u64 = 60_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Wakes its thread once per frame.
#[derive(Debug)]
pub struct Pacer {
    start: Instant,
    next: u64,
    lateness_us: Histogram<u64>,
}

impl Pacer {
    /// A clock whose frame 0 is due at `start`.
    ///
    /// # Panics
    /// Never: the histogram's bounds are constants.
    pub fn new(start: Instant) -> Self {
        let lateness_us = Histogram::new_with_bounds(1, LATENESS_US_MAX, SIGNIFICANT_DIGITS)
            .expect("1 .. 60 s with 3 digits is a valid histogram");
        Self {
            start,
            next: 0,
            lateness_us,
        }
    }

    /// Waits until the next frame is due and returns its number. A frame that is overdue is
    /// returned at once: none is ever left out.
    pub fn wait(&mut self) -> u64 {
        let frame = self.next;
        let deadline = self.start + time_of(frame);
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        let lateness = Instant::now().saturating_duration_since(deadline);
        self.lateness_us
            .saturating_record(lateness.as_micros() as u64);
        self.next += 1;
        frame
    }

    /// How late frames were.
    pub fn lateness(&self) -> Percentiles {
        Percentiles::of(&self.lateness_us)
    }
}

/// When a frame is due, counted from the call's beginning.
pub fn time_of(frame: u64) -> Duration {
    Duration::from_millis(frame * u64::from(FRAME_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a late start is made up at once and does not move the schedule. Method: a clock whose
    /// first ten frames are overdue.
    #[test]
    fn overdue_frames_come_at_once() {
        let begun = Instant::now();
        let start = begun
            .checked_sub(time_of(10))
            .expect("the machine is up for 200 ms");
        let mut pacer = Pacer::new(start);
        let frames: Vec<u64> = (0..12).map(|_| pacer.wait()).collect();
        assert_eq!(frames, (0..12).collect::<Vec<_>>());
        assert!(
            begun.elapsed() >= time_of(1),
            "frame 11 is due 20 ms from now"
        );
        assert!(pacer.lateness().max >= 199_000, "frame 0 was 200 ms late");
    }
}
