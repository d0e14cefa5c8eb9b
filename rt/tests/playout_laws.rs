//! Goal: whatever arrives when, each frame of speech is heard once, in order, soon, or is counted.
//! Method: random bursts and pauses through the playout buffer; laws over what is heard.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

use diglot_rt::limits::{PLAYOUT_FRAMES_MAX, PLAYOUT_START_TICKS_MAX};
use diglot_rt::msg::{Comfort, DownlinkFrame, LegId, Pace, Part, UtteranceId};
use diglot_rt::playout::{Played, Playout, Pushed};
use proptest::prelude::*;

/// A sample that no fade touches: beyond the first 4 ms.
const UNTOUCHED: usize = 200;

/// A full buffer before it, and the wait for company of each utterance that may be among that.
const WAIT_TICKS_MAX: usize = PLAYOUT_FRAMES_MAX + 4 * PLAYOUT_START_TICKS_MAX as usize;

/// Each frame is steady sound of its own number, from 1.
fn frame(number: i16, utterance: u32, part: Part) -> DownlinkFrame {
    let leg = LegId {
        slot: 0,
        generation: 0,
    };
    DownlinkFrame {
        leg,
        utterance: UtteranceId(utterance),
        part,
        pace: Pace::Stored,
        samples: [number; 320],
    }
}

proptest! {
    #[test]
    fn frames_are_heard_once_in_order_and_soon(
        turns in prop::collection::vec((0..20usize, any::<bool>(), any::<bool>()), 1..200)
    ) {
        let mut playout = Playout::new(Comfort::Silence);
        let (mut number, mut utterance, mut dropped) = (0i16, 1, 0);
        let (mut pushed_at, mut heard) = (Vec::new(), Vec::new());
        for (tick, (burst, ends, is_cut)) in turns.into_iter().enumerate() {
            // Mostly nothing, else one frame, a few, or more than there is room for.
            let burst = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4, 5, 8, 20][burst];
            for n in 0..burst {
                number += 1;
                let part = if ends && n + 1 == burst { Part::Last } else { Part::Middle };
                let pushed = playout.push(&frame(number, utterance, part));
                dropped += usize::from(pushed == Pushed::KeptForOldest);
                pushed_at.push(tick);
            }
            // An utterance that was cut off is followed by another without a last frame.
            utterance += u32::from((ends && burst > 0) || is_cut);
            let was_empty = playout.is_empty();
            let mut samples = [0; 320];
            match playout.tick(&mut samples).played {
                Played::Speech(_) => {
                    prop_assert!(!was_empty);
                    let number = samples[UNTOUCHED];
                    heard.push(number);
                    let waited = tick - pushed_at[number as usize - 1];
                    prop_assert!(waited <= WAIT_TICKS_MAX, "{waited} ticks");
                }
                Played::Hole => {
                    prop_assert!(was_empty, "silence while there was something to say");
                    let last = heard.last().copied().unwrap_or(0);
                    prop_assert!(samples[UNTOUCHED].abs() <= last, "louder than what was said");
                }
                Played::Idle => prop_assert_eq!(samples[UNTOUCHED], 0),
            }
            prop_assert!(playout.len() <= PLAYOUT_FRAMES_MAX);
        }
        prop_assert!(heard.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
        prop_assert_eq!(heard.len() + dropped + playout.len(), number as usize, "none unaccounted");
    }
}
