//! What each leg shows of itself to other threads: single-writer atomics, a line of the cache for
//! each leg.

use crossbeam::utils::CachePadded;
use diglot_rt::msg::LegId;
use diglot_rt::stats::Counter;
use diglot_rt::units::Micros;
use diglot_rt::wire::rtp::{Seq, StreamPosition};

/// What each leg sent last; written by the rx tile that has the leg, indexed by slot.
#[derive(Debug)]
pub struct LegMeters(Box<[CachePadded<Meter>]>);

/// Its two values are read apart. Both only ever move on, so a reader who sees one of them a packet
/// older than the other believes no more than was true a moment ago.
#[derive(Debug, Default)]
struct Meter {
    /// In microseconds of the process's clock.
    received_at: Counter,
    /// See [`packed`].
    position: Counter,
}

impl LegMeters {
    /// Meters for `legs_max` legs.
    pub fn new(legs_max: usize) -> Self {
        Self((0..legs_max).map(|_| CachePadded::default()).collect())
    }

    /// The leg begins here: nothing is known of its stream yet. Only its rx tile may say so.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn begin(&self, leg: LegId, at: Micros) {
        if let Some(meter) = self.meter(leg) {
            meter.position.set(packed(None));
            meter.received_at.set(at.0);
        }
    }

    /// The leg sent something, and if it was RTP, which packet it was. Only its rx tile may say so.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn received(&self, leg: LegId, at: Micros, position: Option<StreamPosition>) {
        if let Some(meter) = self.meter(leg) {
            meter.received_at.set(at.0);
            if position.is_some() {
                meter.position.set(packed(position));
            }
        }
    }

    /// When the leg in this slot last sent something; zero if it never did.
    pub fn last_received(&self, leg: LegId) -> Micros {
        self.meter(leg)
            .map_or(Micros(0), |meter| Micros(meter.received_at.value()))
    }

    /// The RTP packet that the leg in this slot sent last; `None` if it sent none yet.
    pub fn last_position(&self, leg: LegId) -> Option<StreamPosition> {
        unpacked(self.meter(leg)?.position.value())
    }

    fn meter(&self, leg: LegId) -> Option<&Meter> {
        self.0.get(usize::from(leg.slot)).map(|padded| &**padded)
    }
}

/// Says that there is a position: all zeros is a position too.
const KNOWN: u64 = 1 << 16;
const SSRC_SHIFT: u32 = 32;

/// In one word, so that nobody reads half of it: SSRC, known, sequence number.
fn packed(position: Option<StreamPosition>) -> u64 {
    position.map_or(0, |position| {
        u64::from(position.ssrc) << SSRC_SHIFT | KNOWN | u64::from(position.sequence_number.0)
    })
}

fn unpacked(word: u64) -> Option<StreamPosition> {
    #[expect(clippy::cast_possible_truncation, reason = "each takes its own bits")]
    let (ssrc, sequence_number) = ((word >> SSRC_SHIFT) as u32, Seq(word as u16));
    (word & KNOWN != 0).then_some(StreamPosition {
        ssrc,
        sequence_number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is written is what is read, at the extremes, and a new leg knows nothing of the
    /// one that had its slot before.
    #[test]
    fn a_position_is_read_as_it_was_written_and_forgotten_with_its_leg() {
        let meters = LegMeters::new(1);
        let leg = LegId {
            slot: 0,
            generation: 1,
        };
        assert_eq!(meters.last_position(leg), None);
        for (ssrc, number) in [(0, 0), (u32::MAX, u16::MAX), (1, 0x8000)] {
            let position = StreamPosition {
                ssrc,
                sequence_number: Seq(number),
            };
            meters.received(leg, Micros(5), Some(position));
            assert_eq!(meters.last_position(leg), Some(position));
            meters.received(leg, Micros(6), None);
            assert_eq!(
                meters.last_position(leg),
                Some(position),
                "nonsense is no news"
            );
            assert_eq!(meters.last_received(leg), Micros(6));
        }
        meters.begin(leg, Micros(9));
        assert_eq!(meters.last_position(leg), None);
        assert_eq!(meters.last_received(leg), Micros(9));
    }
}
