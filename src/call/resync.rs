//! When to look round in Asterisk: after every connection, now and then while it lasts, and soon
//! after a list or a deletion failed. Events are never replayed, so a list is the only truth.

use diglot_rt::units::Micros;

/// Time between two lists while all is well.
const PERIOD_MS: u64 = 30_000;

/// Time until the next list when something went wrong.
const RETRY_MS: u64 = 1_000;

/// Longest wait for a list; it takes three requests.
const REPLY_WAIT_MS_MAX: u64 = 3 * super::ari_leg::REPLY_WAIT_MS_MAX;

/// The schedule of lists.
#[derive(Debug, Default)]
pub(super) struct Resync {
    state: State,
    /// A list is wanted once more as soon as this one is here.
    again: Again,
}

#[derive(Debug, Default, Eq, PartialEq)]
enum State {
    /// The event socket is down: a list would be outdated at once.
    #[default]
    Off,
    /// The next list is asked for at this time.
    Due(Micros),
    /// Asked for, with this number and at this time.
    Asked { number: u64, at: Micros },
}

#[derive(Debug, Default, Eq, PartialEq)]
enum Again {
    #[default]
    No,
    Yes,
}

impl Resync {
    pub(super) fn on_connected(&mut self, now: Micros) {
        self.state = State::Due(now);
    }

    pub(super) fn on_disconnected(&mut self) {
        self.state = State::Off;
    }

    /// Something may have been left behind.
    pub(super) fn on_doubt(&mut self, now: Micros) {
        match self.state {
            State::Off => {}
            State::Asked { .. } => self.again = Again::Yes,
            State::Due(at) => self.state = State::Due(at.min(now.plus_ms(RETRY_MS))),
        }
    }

    /// Whether a list is under way.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked { .. })
    }

    pub(super) fn deadline(&self) -> Option<Micros> {
        match self.state {
            State::Off => None,
            State::Due(at) => Some(at),
            State::Asked { at, .. } => Some(at.plus_ms(REPLY_WAIT_MS_MAX)),
        }
    }

    /// Whether to ask for a list now, under this number.
    pub(super) fn on_deadline(&mut self, now: Micros, number: u64) -> bool {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return false;
        }
        self.state = State::Asked { number, at: now };
        self.again = Again::No;
        true
    }

    /// When the list with this number was asked for; `None` if it is not the one that is awaited.
    pub(super) fn on_reply(&mut self, now: Micros, number: u64, listed: Listed) -> Option<Micros> {
        let State::Asked { number: asked, at } = self.state else {
            return None;
        };
        if asked != number {
            return None;
        }
        let is_fine = listed == Listed::Yes && self.again == Again::No;
        let pause_ms = if is_fine { PERIOD_MS } else { RETRY_MS };
        self.state = State::Due(now.plus_ms(pause_ms));
        Some(at)
    }
}

/// Whether a list came back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Listed {
    No,
    Yes,
}
