//! What each leg shows of itself to other threads: single-writer atomics, one line of the cache
//! each.

use crossbeam::utils::CachePadded;
use diglot_rt::msg::LegId;
use diglot_rt::stats::Counter;
use diglot_rt::units::Micros;

/// When each leg last sent something; written by the rx tile, indexed by slot.
#[derive(Debug)]
pub struct LegMeters(Box<[CachePadded<Counter>]>);

impl LegMeters {
    /// Meters for `legs_max` legs.
    pub fn new(legs_max: usize) -> Self {
        Self((0..legs_max).map(|_| CachePadded::default()).collect())
    }

    /// The leg's packet came, or the leg began. Only the rx tile may say so.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn received(&self, leg: LegId, at: Micros) {
        if let Some(meter) = self.0.get(usize::from(leg.slot)) {
            meter.set(at.0);
        }
    }

    /// When the leg in this slot last sent something; zero if it never did.
    pub fn last_received(&self, leg: LegId) -> Micros {
        self.0
            .get(usize::from(leg.slot))
            .map_or(Micros(0), |meter| Micros(meter.value()))
    }
}
