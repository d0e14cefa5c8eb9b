//! When a leg follows its sender to another source port, and when it does not.
//!
//! With ARI, Asterisk tells from where a leg's audio will come, and only that source is the leg's.
//! Should the sender's port change all the same (a NAT box that forgot, a restarted relay), the leg
//! **re-locks**: it hears the new source and sends there. A stranger must not be able to cause
//! that, neither to be heard nor to listen, so all of this must hold:
//!
//! 1. `control = "ari"`. Without ARI a new source is a new leg, never an old one.
//! 2. The leg was heard from its source: only then is there a stream that could go on.
//! 3. The packet bears that stream's SSRC, and a sequence number at most [`RELOCK_STEP_MAX`] after
//!    the last one: the stream goes on, and nothing of it is replayed. Guessing both is one chance
//!    in 2³² × 22.
//! 4. Exactly one leg sent that SSRC last.
//! 5. The owner has been silent for [`RELOCK_SILENCE_MS`]: who still sends cannot be put out.
//! 6. The packet came from the same IP address, to the same RTP port.
//! 7. No other leg owns the source, by Asterisk's word or by its own re-lock. If Asterisk later
//!    gives it to a new call, it is that call's, and the leg goes back to where Asterisk had told
//!    it to be.
//! 8. [`RELOCK_PAUSE_MS`] have passed since the leg began or last re-locked.
//!
//! The first five are judged by the log thread, which sees what the tiles see ([`heir`]); the rest
//! by the control thread, which knows who owns what. Whatever fails is a stranger's packet, counted
//! with its reason and never heard. Who can read the stream on its way, or forge the owner's whole
//! address, is beyond what plain RTP can keep out: such networks need a tunnel.
//!
//! The new port may belong to another tile pair: then the receiving half of the leg moves there.
//! The sending half stays where it is and only changes its destination, so the listener's stream
//! goes on with the same SSRC and numbers.

use diglot_rt::msg::LegId;
use diglot_rt::units::Micros;
use diglot_rt::wire::rtp::StreamPosition;

/// Silence of the owner after which another port may go on with its stream: 25 packets, far more
/// than a network loses in a row without losing the call.
pub const RELOCK_SILENCE_MS: u64 = 500;

/// How far a stream may have gone on unheard: a minute of packets, what RFC 3550 §A.1 bears
/// (MAX_DROPOUT).
pub const RELOCK_STEP_MAX: i16 = 3_000;

/// Time between two re-locks of one leg.
pub const RELOCK_PAUSE_MS: u64 = 1_000;

diglot_rt::counted! {
    /// Why packets of strangers that bear a leg's SSRC did not make the leg re-lock; counted by the
    /// log thread. What the control thread refuses is among
    /// [`CallCount`](crate::call::CallCount).
    RelockCount, RelockCounts {
        /// The leg's owner still sends.
        OwnerActive => "relock_refused_owner_active_total",
        /// The sequence number is not one that could come next.
        Sequence => "relock_refused_sequence_total",
        /// Several legs sent this SSRC.
        SsrcShared => "relock_refused_ssrc_shared_total",
    }
}

/// What a leg sent last.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// When it last sent anything, or began.
    pub at: Micros,
    /// The last RTP packet.
    pub position: StreamPosition,
}

/// The leg whose stream goes on with the stray packet, by the first five rules; `None` if no leg
/// sent its SSRC. `heard` tells of the legs that sent RTP.
///
/// # Errors
/// What to count: a leg sent this SSRC, but the packet is not its next one for sure.
pub fn heir(
    now: Micros,
    heard: impl Iterator<Item = (LegId, Heard)>,
    stray: StreamPosition,
) -> Result<Option<LegId>, RelockCount> {
    let mut heirs = heard.filter(|(_, heard)| heard.position.ssrc == stray.ssrc);
    let Some((leg, heard)) = heirs.next() else {
        return Ok(None);
    };
    if heirs.next().is_some() {
        return Err(RelockCount::SsrcShared);
    }
    judge(now, heard, stray).map(|()| Some(leg))
}

/// Whether a stray packet may be the next of the stream that `heard` tells of; its SSRC is the
/// same (rules 3 and 5).
///
/// # Errors
/// What to count.
fn judge(now: Micros, heard: Heard, stray: StreamPosition) -> Result<(), RelockCount> {
    if now < heard.at.plus_ms(RELOCK_SILENCE_MS) {
        return Err(RelockCount::OwnerActive);
    }
    let step = stray
        .sequence_number
        .distance(heard.position.sequence_number);
    if !(1..=RELOCK_STEP_MAX).contains(&step) {
        return Err(RelockCount::Sequence);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use diglot_rt::wire::rtp::Seq;

    fn position(number: u16) -> StreamPosition {
        StreamPosition {
            ssrc: 7,
            sequence_number: Seq(number),
        }
    }

    /// Goal: the owner who sends is safe to the last microsecond, and a stream only goes forward.
    #[test]
    fn only_the_next_packets_of_a_stream_that_fell_silent_pass() {
        for last in [0, 40_000, u16::MAX] {
            let heard = Heard {
                at: Micros(1_000_000),
                position: position(last),
            };
            let silent = heard.at.plus_ms(RELOCK_SILENCE_MS);
            let early = Micros(silent.0 - 1);
            for (step, verdict) in [
                (1, Ok(())),
                (RELOCK_STEP_MAX, Ok(())),
                (RELOCK_STEP_MAX + 1, Err(RelockCount::Sequence)),
                (0, Err(RelockCount::Sequence)),
                (-1, Err(RelockCount::Sequence)),
                (i16::MIN, Err(RelockCount::Sequence)),
            ] {
                let stray = position(last.wrapping_add_signed(step));
                assert_eq!(judge(silent, heard, stray), verdict, "{last} and {step}");
                assert_eq!(
                    judge(early, heard, stray),
                    Err(RelockCount::OwnerActive),
                    "{last} and {step}"
                );
            }
        }
    }

    /// Goal: a stream that two legs sent goes on at neither, however well the packet fits one of
    /// them, and a stream that nobody sent is nobody's. Method: every such pair of legs.
    #[test]
    fn only_a_stream_that_one_leg_alone_sent_goes_on() {
        let now = Micros(10_000_000);
        let leg = |slot| LegId {
            slot,
            generation: 1,
        };
        let heard = |slot, ssrc, number| {
            let position = StreamPosition {
                ssrc,
                sequence_number: Seq(number),
            };
            let at = Micros(1_000_000);
            (leg(slot), Heard { at, position })
        };
        let stray = position(101);
        for (legs, verdict) in [
            (vec![], Ok(None)),
            (vec![heard(0, 8, 100)], Ok(None)),
            (vec![heard(0, 7, 100), heard(1, 8, 100)], Ok(Some(leg(0)))),
            (vec![heard(0, 8, 100), heard(1, 7, 100)], Ok(Some(leg(1)))),
            (
                vec![heard(0, 7, 100), heard(1, 7, 40_000)],
                Err(RelockCount::SsrcShared),
            ),
            (
                vec![heard(0, 7, 40_000), heard(1, 8, 0), heard(2, 7, 100)],
                Err(RelockCount::SsrcShared),
            ),
        ] {
            assert_eq!(heir(now, legs.iter().copied(), stray), verdict, "{legs:?}");
        }
    }
}
