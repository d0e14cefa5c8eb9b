//! What each leg shows of itself to other threads: single-writer atomics, a line of the cache for
//! each leg.

use crossbeam::utils::CachePadded;
use diglot_rt::msg::LegId;
use diglot_rt::stats::Counter;
use diglot_rt::units::Micros;
use diglot_rt::wire::rtp::{Seq, StreamPosition};

/// Low bits of a leg's generation that are kept beside each value: a slot has had 32 768 other legs
/// before one of them could be taken for its heir, and by then nothing of it is under way.
const GENERATION_BITS: u32 = 15;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

/// What each leg sent last; written by the rx tile that has the leg, indexed by slot. Both values
/// say whose they are: the tile that had a slot's last leg may learn late that it is over.
#[derive(Debug)]
pub struct LegMeters(Box<[CachePadded<Meter>]>);

/// Its two values are read apart. Both only ever move on, so a reader who sees one of them a packet
/// older than the other believes no more than was true a moment ago.
#[derive(Debug, Default)]
struct Meter {
    /// Microseconds of the process's clock, good for 17 years, above the generation.
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
            meter.position.set(0);
            meter.received_at.set(stamped(leg, at));
        }
    }

    /// The leg sent something, and if it was RTP, which packet it was. Only its rx tile may say so.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn received(&self, leg: LegId, at: Micros, position: Option<StreamPosition>) {
        if let Some(meter) = self.meter(leg) {
            meter.received_at.set(stamped(leg, at));
            if let Some(position) = position {
                meter.position.set(packed(leg, position));
            }
        }
    }

    /// When this very leg last sent something or began; `None` if that is not known.
    pub fn last_received(&self, leg: LegId) -> Option<Micros> {
        let word = self.meter(leg)?.received_at.value();
        (word & GENERATION_MASK == generation(leg)).then_some(Micros(word >> GENERATION_BITS))
    }

    /// The RTP packet that this very leg sent last; `None` if it sent none yet.
    pub fn last_position(&self, leg: LegId) -> Option<StreamPosition> {
        unpacked(leg, self.meter(leg)?.position.value())
    }

    fn meter(&self, leg: LegId) -> Option<&Meter> {
        self.0.get(usize::from(leg.slot)).map(|padded| &**padded)
    }
}

fn generation(leg: LegId) -> u64 {
    u64::from(leg.generation) & GENERATION_MASK
}

fn stamped(leg: LegId, at: Micros) -> u64 {
    at.0 << GENERATION_BITS | generation(leg)
}

/// Says that there is a position: all zeros is a position too.
const KNOWN: u64 = 1 << 16;
const GENERATION_SHIFT: u32 = 17;
const SSRC_SHIFT: u32 = 32;

const _: () = assert!(GENERATION_SHIFT + GENERATION_BITS == SSRC_SHIFT);

/// In one word, so that nobody reads half of it: SSRC, generation, known, sequence number.
fn packed(leg: LegId, position: StreamPosition) -> u64 {
    u64::from(position.ssrc) << SSRC_SHIFT
        | generation(leg) << GENERATION_SHIFT
        | KNOWN
        | u64::from(position.sequence_number.0)
}

fn unpacked(leg: LegId, word: u64) -> Option<StreamPosition> {
    let is_its_own = word >> GENERATION_SHIFT & GENERATION_MASK == generation(leg);
    #[expect(clippy::cast_possible_truncation, reason = "each takes its own bits")]
    let (ssrc, sequence_number) = ((word >> SSRC_SHIFT) as u32, Seq(word as u16));
    (word & KNOWN != 0 && is_its_own).then_some(StreamPosition {
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
            assert_eq!(meters.last_received(leg), Some(Micros(6)));
        }
        meters.begin(leg, Micros(9));
        assert_eq!(meters.last_position(leg), None);
        assert_eq!(meters.last_received(leg), Some(Micros(9)));
    }

    /// Goal: what the tile of a slot's last leg still writes is never taken for the heir's, and an
    /// heir that was not begun yet has nothing. Method: both orders of writing, at generations that
    /// differ in one bit and around the wrap.
    #[test]
    fn a_leg_is_never_read_for_another_in_its_slot() {
        let position = StreamPosition {
            ssrc: u32::MAX,
            sequence_number: Seq(u16::MAX),
        };
        for (old, new) in [(0, 1), (1, 2), (0x7fff, 0x8000), (u32::MAX, 0)] {
            let meters = LegMeters::new(1);
            let [old, new] = [old, new].map(|generation| LegId {
                slot: 0,
                generation,
            });
            meters.begin(old, Micros(5));
            meters.received(old, Micros(6), Some(position));
            assert_eq!(meters.last_position(new), None, "{new:?}");
            assert_eq!(meters.last_received(new), None, "{new:?}");
            meters.begin(new, Micros(7));
            meters.received(old, Micros(8), Some(position));
            assert_eq!(meters.last_position(new), None, "{new:?}");
            assert_eq!(meters.last_received(new), None, "{new:?}");
            meters.received(new, Micros(9), Some(position));
            assert_eq!(meters.last_position(new), Some(position));
            assert_eq!(meters.last_received(new), Some(Micros(9)));
            assert_eq!(meters.last_position(old), None, "{old:?}");
        }
    }
}
