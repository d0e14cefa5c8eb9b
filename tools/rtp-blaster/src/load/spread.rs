//! How times spread: an HdrHistogram in µs with fixed bounds, and its percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest time told from others: a minute.
const TIME_US_MAX: u64 = 60_000_000;
/// For all legs together: 0.1 %.
const DIGITS_OF_ALL: u8 = 3;
/// For one leg: 1 % and 10 KB, since there are thousands.
const DIGITS_OF_LEG: u8 = 2;

/// Times, all of them kept by their size.
#[derive(Clone, Debug)]
pub struct Spread(Histogram<u32>);

/// Percentiles of a spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many times.
    pub count: u64,
    /// Median, in µs.
    pub p50_us: u64,
    /// 90 of 100 are not above.
    pub p90_us: u64,
    /// 99 of 100 are not above.
    pub p99_us: u64,
    /// 999 of 1000 are not above.
    pub p99_9_us: u64,
    /// 9999 of 10 000 are not above.
    pub p99_99_us: u64,
    /// Longest.
    pub max_us: u64,
}

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Bar {
    /// Times below this, in µs, and not below the bar before.
    pub below_us: u64,
    /// How many.
    pub count: u64,
}

impl Spread {
    /// For many legs.
    pub fn of_all() -> Self {
        Self::with_digits(DIGITS_OF_ALL)
    }

    /// For one leg.
    pub fn of_leg() -> Self {
        Self::with_digits(DIGITS_OF_LEG)
    }

    /// Takes in all that another one kept.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can be out of range.
        let merged = self.0.add(&other.0);
        debug_assert!(merged.is_ok());
    }

    /// Keeps a time.
    pub fn record(&mut self, time_us: u64) {
        self.0.saturating_record(time_us);
    }

    /// Its percentiles; zeros when nothing was kept.
    pub fn summary(&self) -> Summary {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Summary {
            count: self.0.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: self.0.max(),
        }
    }

    /// Bars from 1 µs, each two times as wide as the one before, up to the longest time.
    pub fn bars(&self) -> Vec<Bar> {
        let bars = self.0.iter_log(1, 2.0).map(|bar| Bar {
            below_us: bar.value_iterated_to() + 1,
            count: bar.count_since_last_iteration(),
        });
        bars.collect()
    }

    fn with_digits(digits: u8) -> Self {
        let histogram = Histogram::new_with_bounds(1, TIME_US_MAX, digits);
        Self(histogram.expect("1 .. 60 s with 2 or 3 digits is a valid histogram"))
    }
}

/// A time in whole µs.
pub fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: percentiles and bars hold what was kept. Method: 1 to 10 000 µs, once each.
    #[test]
    fn percentiles_and_bars_hold_all() {
        let mut spread = Spread::of_all();
        (1..=10_000).for_each(|time_us| spread.record(time_us));
        let summary = spread.summary();
        assert_eq!(summary.count, 10_000);
        assert!(summary.p50_us.abs_diff(5_000) <= 5);
        assert!(summary.p99_99_us.abs_diff(9_999) < 10);
        let bars = spread.bars();
        assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 10_000);
        assert!(bars.is_sorted_by(|a, b| a.below_us < b.below_us));
    }

    /// Goal: nothing is too long to be kept. Method: an hour.
    #[test]
    fn longer_times_are_kept_as_the_longest() {
        let mut spread = Spread::of_leg();
        spread.record(3_600_000_000);
        let summary = spread.summary();
        assert_eq!(summary.count, 1);
        assert!(summary.max_us >= 59_000_000);
        assert_eq!(Spread::of_all().summary(), Summary::default());
    }
}
