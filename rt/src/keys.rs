//! Keys pressed on a phone: one report of each, made of all the packets that tell of it.
//!
//! A key is told again and again while it is held and three times more when it is let go
//! (RFC 4733 §2.5.1); any of these packets may be lost, doubled or late. More keys than anybody can
//! press are not told.

use crate::limits::KEYS_PER_SECOND_MAX;
use crate::units::Micros;
use crate::wire::rtp::RtpTimestamp;
use crate::wire::telephone_event::{Stage, TelephoneEvent};

/// An event whose end was lost is over when nothing was heard of it for so long: ten packets.
const LOST_END_MS: u64 = 200;

const SECOND_MS: u64 = 1_000;

/// A key that was pressed and let go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Key {
    /// Which, as in [`TelephoneEvent::event`].
    pub event: u8,
    /// For how long, in timestamp units.
    pub duration: u16,
}

/// Makes one [`Key`] of all the packets that tell of it. All of them carry the timestamp at which
/// it was pressed, so that is its name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys {
    pressed: Option<Pressed>,
    told: Told,
}

/// How many keys were told in the second that began at `from`.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    from: Micros,
    keys: u32,
}

/// What became of a key that is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Over {
    /// It is to be told.
    Told(Key),
    /// Nobody presses so many in a second.
    TooMany,
}

#[derive(Clone, Copy, Debug)]
struct Pressed {
    timestamp: RtpTimestamp,
    key: Key,
    heard: Micros,
    report: Report,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Report {
    Due,
    Made,
}

impl Keys {
    /// No key pressed yet.
    pub const fn new() -> Self {
        Self {
            pressed: None,
            told: Told {
                from: Micros(0),
                keys: 0,
            },
        }
    }

    /// Takes a packet's event in and returns the key that is known to be over with it: its own, or
    /// the one before, whose end was lost.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn heard(
        &mut self,
        now: Micros,
        timestamp: RtpTimestamp,
        event: &TelephoneEvent,
    ) -> [Option<Over>; 2] {
        let known = self.pressed.filter(|known| known.timestamp == timestamp);
        let is_older = |known: &Pressed| timestamp.distance(known.timestamp) < 0;
        if known.is_none() && self.pressed.as_ref().is_some_and(is_older) {
            // A straggler of a key that was reported when this one began.
            return [None; 2];
        }
        let before = if known.is_none() {
            self.take_due(now)
        } else {
            None
        };
        let duration = known.map_or(0, |known| known.key.duration);
        let pressed = self.pressed.insert(Pressed {
            timestamp,
            key: Key {
                event: event.event,
                duration: event.duration.max(duration),
            },
            heard: now,
            report: known.map_or(Report::Due, |known| known.report),
        });
        let is_over = event.stage == Stage::Ended && pressed.report == Report::Due;
        let key = pressed.key;
        if is_over {
            pressed.report = Report::Made;
        }
        [before, is_over.then(|| self.tell(now, key))]
    }

    /// The key whose end must have been lost, if there is one at `now`.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn given_up(&mut self, now: Micros) -> Option<Over> {
        if now < self.next_deadline()? {
            return None;
        }
        self.take_due(now)
    }

    /// When the end of the key that is pressed must have been lost; `None` if none is.
    pub fn next_deadline(&self) -> Option<Micros> {
        let due = self
            .pressed
            .filter(|pressed| pressed.report == Report::Due)?;
        Some(due.heard.plus_ms(LOST_END_MS))
    }

    fn take_due(&mut self, now: Micros) -> Option<Over> {
        let pressed = self.pressed.as_mut()?;
        let is_due = pressed.report == Report::Due;
        pressed.report = Report::Made;
        let key = pressed.key;
        is_due.then(|| self.tell(now, key))
    }

    fn tell(&mut self, now: Micros, key: Key) -> Over {
        if now >= self.told.from.plus_ms(SECOND_MS) {
            self.told = Told { from: now, keys: 0 };
        }
        if self.told.keys == KEYS_PER_SECOND_MAX {
            return Over::TooMany;
        }
        self.told.keys += 1;
        Over::Told(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nine(stage: Stage, duration: u16) -> TelephoneEvent {
        TelephoneEvent {
            event: 9,
            stage,
            volume: 7,
            duration,
        }
    }

    fn key(duration: u16) -> Option<Over> {
        Some(Over::Told(Key { event: 9, duration }))
    }

    #[test]
    fn a_key_is_reported_once_however_often_its_end_is_said() {
        let mut keys = Keys::new();
        let at = RtpTimestamp(u32::MAX);
        for n in 1..5 {
            let event = nine(Stage::Ongoing, n * 160);
            assert_eq!(keys.heard(Micros(0), at, &event), [None; 2]);
        }
        let end = nine(Stage::Ended, 800);
        assert_eq!(keys.heard(Micros(0), at, &end), [None, key(800)]);
        for _ in 0..3 {
            assert_eq!(keys.heard(Micros(0), at, &end), [None; 2]);
        }
        // The same key again is another event; its first packets were lost.
        assert_eq!(keys.heard(Micros(0), at.plus(1600), &end), [None, key(800)]);
        assert_eq!(keys.heard(Micros(0), at, &end), [None; 2], "a straggler");
        assert_eq!(keys.given_up(Micros(9_000_000)), None);
    }

    #[test]
    fn a_key_whose_end_was_lost_is_reported_all_the_same() {
        let mut keys = Keys::new();
        let begun = nine(Stage::Ongoing, 480);
        keys.heard(Micros(0), RtpTimestamp(0), &begun);
        let next = keys.heard(Micros(0), RtpTimestamp(2000), &begun);
        assert_eq!(next, [key(480), None], "the next key ends it");
        assert_eq!(keys.given_up(Micros(LOST_END_MS * 1000 - 1)), None);
        assert_eq!(keys.given_up(Micros(LOST_END_MS * 1000)), key(480));
        assert_eq!(keys.given_up(Micros(LOST_END_MS * 1000)), None);
    }
}
