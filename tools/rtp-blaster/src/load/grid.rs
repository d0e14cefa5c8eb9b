//! The 20 ms grid one leg's packets keep, found from the packets themselves: how far is each from
//! where the others say it should be? Pure.
//!
//! A packet's offset is its arrival less its media time. The grid's anchor is the median offset of
//! the stream's first packets; it then follows the median by at most 1 µs per packet, so that two
//! clocks that drift by up to 50 ppm are not taken for jitter, and no late packet moves it.

use std::time::Duration;

use crate::codec::FRAME_MS;

/// The grid is known after so many packets; those are not judged.
const ANCHOR_PACKETS: usize = 32;
/// The anchor moves by this towards each packet: 50 ppm of 20 ms.
const FOLLOW_NS: i64 = 1_000;
const FRAME_NS: i64 = FRAME_MS as i64 * 1_000_000;

/// One leg's grid.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Timestamp and media time, in ns, of the packet before.
    last: Option<(u32, i64)>,
    offsets_ns: [i64; ANCHOR_PACKETS],
    /// In 0 ..= ANCHOR_PACKETS; full means the anchor holds.
    count: usize,
    anchor_ns: i64,
}

impl Grid {
    /// A grid that no packet has been placed on.
    pub fn new() -> Self {
        Self {
            last: None,
            offsets_ns: [0; ANCHOR_PACKETS],
            count: 0,
            anchor_ns: 0,
        }
    }

    /// A new stream begins at this timestamp; the packet itself may be placed next.
    pub fn restart(&mut self, timestamp: u32) {
        *self = Self::new();
        self.last = Some((timestamp, 0));
    }

    /// Places a packet; returns how far from the grid it came, early or late.
    pub fn place(&mut self, timestamp: u32, frame_ticks: u32, at: Duration) -> Option<Duration> {
        let (last, media_ns) = self.last.unwrap_or((timestamp, 0));
        let ticks = i64::from(timestamp.wrapping_sub(last).cast_signed());
        let media_ns = media_ns + ticks * FRAME_NS / i64::from(frame_ticks);
        self.last = Some((timestamp, media_ns));
        let offset_ns = at.as_nanos() as i64 - media_ns;
        if self.count < ANCHOR_PACKETS {
            self.offsets_ns[self.count] = offset_ns;
            self.count += 1;
            if self.count == ANCHOR_PACKETS {
                self.offsets_ns.sort_unstable();
                self.anchor_ns = self.offsets_ns[ANCHOR_PACKETS / 2];
            }
            return None;
        }
        let deviation_ns = offset_ns - self.anchor_ns;
        self.anchor_ns += deviation_ns.clamp(-FOLLOW_NS, FOLLOW_NS);
        Some(Duration::from_nanos(deviation_ns.unsigned_abs()))
    }
}

impl Default for Grid {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(grid: &mut Grid, frame: u32, at_us: u64) -> Option<u64> {
        let timestamp = 4_294_967_000_u32.wrapping_add(frame * 160);
        let deviation = grid.place(timestamp, 160, Duration::from_micros(at_us));
        deviation.map(|deviation| deviation.as_micros() as u64)
    }

    /// Goal: one late packet is one deviation, and late packets do not move the grid. Method: every
    /// 10th packet 3 ms late, from the first one on.
    #[test]
    fn late_packets_do_not_move_the_grid() {
        let mut grid = Grid::new();
        for frame in 0..1_000_u32 {
            let is_late = frame % 10 == 0;
            let at_us = u64::from(frame) * 20_000 + if is_late { 3_000 } else { 0 };
            let deviation = place(&mut grid, frame, at_us);
            assert_eq!(deviation.is_some(), frame >= 32);
            if let Some(deviation_us) = deviation {
                let expected: u64 = if is_late { 3_000 } else { 0 };
                assert!(
                    deviation_us.abs_diff(expected) <= 2,
                    "{deviation_us} at {frame}"
                );
            }
        }
    }

    /// Goal: a slot left out is no deviation, a shifted clock is. Method: a gap with its timestamp,
    /// then all packets 5 ms late.
    #[test]
    fn a_skipped_slot_is_on_the_grid() {
        let mut grid = Grid::new();
        for frame in 0..40 {
            place(&mut grid, frame, u64::from(frame) * 20_000);
        }
        assert_eq!(place(&mut grid, 50, 1_000_000), Some(0));
        assert_eq!(place(&mut grid, 51, 1_025_000), Some(5_000));
    }

    /// Goal: two clocks that drift apart are not jitter. Method: an hour at +40 ppm.
    #[test]
    fn drift_is_followed() {
        let mut grid = Grid::new();
        for frame in 0..180_000_u32 {
            let at_us = u64::from(frame) * 20_000 + u64::from(frame) * 4 / 5;
            let deviation_us = place(&mut grid, frame, at_us).unwrap_or(0);
            assert!(deviation_us < 20, "{deviation_us} µs at frame {frame}");
        }
    }
}
