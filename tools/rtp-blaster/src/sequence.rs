//! What sequence numbers tell about a stream: lost, duplicated and reordered packets.

/// How far back a late packet is still told from a duplicate, in packets.
const WINDOW_PACKETS: u32 = u128::BITS;
/// RFC 3550 appendix A.1: a larger step forward is a restart of the sender, not loss.
const DROPOUT_PACKETS_MAX: i16 = 3000;

/// What one packet was in its stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// Already here.
    Duplicate,
    /// Older than the newest, and missing until now.
    Late,
    /// The newest so far, that many after the one before: 1 when nothing is missing.
    Newest {
        /// In 1 ..= 3000.
        step: u16,
    },
    /// The first of its stream, or so far off that a new stream must have begun.
    Start,
}

/// Totals over a stream and its restarts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SequenceCounts {
    /// Skipped and not come since.
    pub lost: u64,
    /// Come again.
    pub duplicates: u64,
    /// Come after a newer one.
    pub reordered: u64,
    /// Steps too large to be loss.
    pub jumps: u64,
}

/// Follows the sequence numbers of one sender.
#[derive(Clone, Debug, Default)]
pub struct SequenceTracker {
    newest: Option<u16>,
    /// Bit n: the packet n before the newest has come.
    seen: u128,
    /// How many numbers lie between the first of the stream and the newest; stops at the window.
    span: u32,
    counts: SequenceCounts,
}

impl SequenceTracker {
    /// Judges one packet.
    pub fn receive(&mut self, sequence_number: u16) -> Arrival {
        let Some(newest) = self.newest else {
            self.begin(sequence_number);
            return Arrival::Start;
        };
        let step = sequence_number.wrapping_sub(newest).cast_signed();
        let back = u32::from(step.unsigned_abs());
        if step > 0 && step <= DROPOUT_PACKETS_MAX {
            self.newest = Some(sequence_number);
            self.seen = self.seen.checked_shl(back).unwrap_or(0) | 1;
            self.span = self.span.saturating_add(back).min(WINDOW_PACKETS);
            self.counts.lost += u64::from(back) - 1;
            Arrival::Newest {
                step: step.unsigned_abs(),
            }
        } else if step <= 0 && back < WINDOW_PACKETS {
            self.receive_older(back)
        } else {
            self.counts.jumps += 1;
            self.begin(sequence_number);
            Arrival::Start
        }
    }

    /// Forgets the stream, as on a change of SSRC; the totals stay.
    pub fn restart(&mut self) {
        self.newest = None;
    }

    /// The totals so far.
    pub fn counts(&self) -> SequenceCounts {
        self.counts
    }

    fn begin(&mut self, sequence_number: u16) {
        self.newest = Some(sequence_number);
        self.seen = 1;
        self.span = 1;
    }

    fn receive_older(&mut self, back: u32) -> Arrival {
        if self.seen >> back & 1 == 1 {
            self.counts.duplicates += 1;
            return Arrival::Duplicate;
        }
        self.seen |= 1 << back;
        self.counts.reordered += 1;
        // One from before the first was never counted as lost.
        if back < self.span {
            self.counts.lost -= 1;
        }
        Arrival::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts_of(sequence_numbers: &[u16]) -> SequenceCounts {
        let mut tracker = SequenceTracker::default();
        for &sequence_number in sequence_numbers {
            tracker.receive(sequence_number);
        }
        tracker.counts()
    }

    /// Goal: each kind of trouble is counted once and only as itself. Method: short streams, among
    /// them the wrap and packets from before the first.
    #[test]
    fn each_kind_of_trouble_has_its_count() {
        let none = SequenceCounts::default();
        assert_eq!(counts_of(&[65_534, 65_535, 0, 1]), none);
        assert_eq!(counts_of(&[1, 2, 5, 6]), SequenceCounts { lost: 2, ..none });
        assert_eq!(
            counts_of(&[1, 2, 2, 1, 3]),
            SequenceCounts {
                duplicates: 2,
                ..none
            }
        );
        assert_eq!(
            counts_of(&[1, 3, 2, 4]),
            SequenceCounts {
                reordered: 1,
                ..none
            }
        );
        let before_first = SequenceCounts {
            reordered: 1,
            duplicates: 1,
            ..none
        };
        assert_eq!(counts_of(&[10, 9, 9, 11]), before_first);
        assert_eq!(
            counts_of(&[1, 2, 20_000, 20_001]),
            SequenceCounts { jumps: 1, ..none }
        );
        let late_is_not_lost = SequenceCounts {
            lost: 1,
            reordered: 1,
            ..none
        };
        assert_eq!(counts_of(&[65_535, 2, 0, 3]), late_is_not_lost);
    }

    /// Goal: counts are exact in a long bad stream. Method: 100 000 packets, every 10th lost, every
    /// 7th of the others doubled, over many wraps.
    #[test]
    fn counts_stay_exact_over_many_wraps() {
        let mut tracker = SequenceTracker::default();
        let (mut lost, mut duplicates) = (0, 0);
        for number in 1..=100_000_u32 {
            if number % 10 == 0 && number != 100_000 {
                lost += 1;
                continue;
            }
            tracker.receive(number as u16);
            if number % 7 == 0 {
                duplicates += 1;
                tracker.receive(number as u16);
            }
        }
        assert_eq!(
            tracker.counts(),
            SequenceCounts {
                lost,
                duplicates,
                ..Default::default()
            }
        );
    }
}
