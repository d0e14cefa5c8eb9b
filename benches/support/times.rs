//! Times of one kind in an HdrHistogram of fixed bounds, and how many of them there should be.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest time told from others, and its digits: fixed, so that nothing grows while measuring.
const TIME_US_MAX: u64 = 10_000_000;
const DIGITS: u8 = 3;

/// Times of one kind.
#[derive(Debug)]
pub(crate) struct Times {
    spread: Mutex<Histogram<u64>>,
    expected: AtomicU64,
}

impl Times {
    pub(crate) fn new() -> Self {
        let spread = Histogram::new_with_bounds(1, TIME_US_MAX, DIGITS);
        Self {
            spread: Mutex::new(spread.expect("bounds are right")),
            expected: AtomicU64::new(0),
        }
    }

    pub(crate) fn expect_one(&self) {
        self.expected.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn record(&self, time: Duration) {
        let time_us = u64::try_from(time.as_micros()).unwrap_or(TIME_US_MAX);
        self.spread.lock().unwrap().saturating_record(time_us);
    }

    pub(crate) fn at_us(&self, quantile: f64) -> u64 {
        self.spread.lock().unwrap().value_at_quantile(quantile)
    }

    pub(crate) fn row(&self, legs: usize, name: &str) -> Vec<String> {
        let spread = self.spread.lock().unwrap();
        let ms = |us: u64| format!("{:.2}", us as f64 / 1e3);
        let at = |quantile| ms(spread.value_at_quantile(quantile));
        vec![
            legs.to_string(),
            name.into(),
            spread.len().to_string(),
            self.expected.load(Ordering::Relaxed).to_string(),
            at(0.5),
            at(0.99),
            at(0.999),
            ms(spread.max()),
        ]
    }
}
