//! The report of a call, as JSON.

use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::downlink::DownlinkReport;
use crate::playlist::Said;
use crate::recorder::Speech;

/// The middle and the tail of a distribution, in its own unit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: u64,
    /// 99 of 100 are not above.
    pub p99: u64,
    /// 999 of 1000 are not above.
    pub p99_9: u64,
    /// Largest.
    pub max: u64,
}

impl Percentiles {
    /// Of what a histogram holds; zeros when that is nothing.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

/// A time in seconds, to the microsecond: what the clocks here are good for.
pub fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000_000.0
}

/// What the phone sent.
#[derive(Clone, Debug, Serialize)]
pub struct UplinkReport {
    /// Packets that left.
    pub packets: u64,
    /// Packets the kernel refused.
    pub send_errors: u64,
    /// How late the phone itself was, packet by packet.
    pub lateness_us: Percentiles,
}

/// One call of one phone. All times count in seconds from the phone's first frame, which is also
/// second 0 of the recording.
#[derive(Clone, Debug, Serialize)]
pub struct CallReport {
    /// Where the phone called.
    pub to: SocketAddr,
    /// From where.
    pub from: SocketAddr,
    /// What it sent.
    pub codec: &'static str,
    /// Second 0 on the wall clock, so that several phones can be compared.
    pub started_unix_s: f64,
    /// How long it lasted.
    pub length_s: f64,
    /// What was said.
    pub said: Vec<Said>,
    /// Stretches of speech in what was heard.
    pub heard: Vec<Speech>,
    /// The sending side.
    pub sent: UplinkReport,
    /// The receiving side.
    pub received: DownlinkReport,
}
