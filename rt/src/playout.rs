//! What one leg hears: the frames of utterances in order, one on every tick, or silence.
//!
//! This is where jitter ends. An utterance begins when [`PLAYOUT_START_FRAMES`] of it are there, or
//! all of it is, or it has waited long enough. A hole in it is heard as silence and counted; it
//! goes on as soon as more arrives. The buffer is bounded, the oldest frame gives way. Wherever
//! sounds meet that were not made to, 4 ms of fade keep the join from clicking.
//!
//! ```text
//!            enough buffered               buffer empty
//!  Waiting ───────────────────▶ Speaking ◀──────────────▶ Hole
//!     ▲            Last            │       more arrived     │ 1 s
//!     └────────────────────────────┴────────────────────────┘
//! ```

use crate::dsp::fade::{Tail, fade_before_padding};
use crate::limits::{
    PLAYOUT_FRAMES_MAX, PLAYOUT_HOLE_TICKS_MAX, PLAYOUT_START_FRAMES, PLAYOUT_START_TICKS_MAX,
};
use crate::msg::{DownlinkFrame, Part, UtteranceId};
use crate::units::FRAME_SAMPLES_MAX;

/// What a tick plays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Played {
    /// Silence in the middle of an utterance, for want of audio.
    Hole,
    /// Silence, because there is nothing to be said.
    Idle,
    /// The next frame of this utterance.
    Speech(UtteranceId),
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pushed {
    /// It waits for its tick.
    Kept,
    /// It waits for its tick, and the oldest one was dropped for it.
    KeptForOldest,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Hole { utterance: UtteranceId, ticks: u32 },
    Speaking(UtteranceId),
    Waiting { ticks: u32 },
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    utterance: UtteranceId,
    part: Part,
    samples: [i16; FRAME_SAMPLES_MAX],
}

/// The playout buffer of one leg, at 16 kHz.
#[derive(Clone, Debug)]
pub struct Playout {
    /// A ring: `len` frames beginning at `first`.
    frames: [Stored; PLAYOUT_FRAMES_MAX],
    /// In 0 .. [`PLAYOUT_FRAMES_MAX`].
    first: usize,
    /// In 0 ..= [`PLAYOUT_FRAMES_MAX`].
    len: usize,
    /// Frames an utterance waits for; fixed today, the place of an adaptive depth.
    start_frames: usize,
    state: State,
    /// The end of the frame played last.
    tail: Tail,
    /// The utterance it was of, if more of it is expected to follow without a seam.
    seamless: Option<UtteranceId>,
}

impl Playout {
    /// Empty, after silence.
    pub const fn new() -> Self {
        const EMPTY: Stored = Stored {
            utterance: UtteranceId(0),
            part: Part::Last,
            samples: [0; FRAME_SAMPLES_MAX],
        };
        Self {
            frames: [EMPTY; PLAYOUT_FRAMES_MAX],
            first: 0,
            len: 0,
            start_frames: PLAYOUT_START_FRAMES,
            state: State::Waiting { ticks: 0 },
            tail: Tail::new(),
            seamless: None,
        }
    }

    /// Keeps a frame for its tick.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn push(&mut self, frame: &DownlinkFrame) -> Pushed {
        let pushed = if self.len == PLAYOUT_FRAMES_MAX {
            self.pop();
            self.seamless = None;
            Pushed::KeptForOldest
        } else {
            Pushed::Kept
        };
        let stored = &mut self.frames[(self.first + self.len) % PLAYOUT_FRAMES_MAX];
        stored.utterance = frame.utterance;
        stored.part = frame.part;
        stored.samples = frame.samples;
        self.len += 1;
        pushed
    }

    /// Fills `frame` with what is heard on this tick.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn tick(&mut self, frame: &mut [i16; FRAME_SAMPLES_MAX]) -> Played {
        let played = self.decide();
        if let Played::Speech(utterance) = played {
            let part = self.take(frame);
            if self.seamless != Some(utterance) {
                self.tail.join(frame);
            }
            let goes_on = part == Part::Middle;
            self.seamless = goes_on.then_some(utterance);
            self.state = if goes_on {
                State::Speaking(utterance)
            } else {
                State::Waiting { ticks: 0 }
            };
        } else {
            frame.fill(0);
            self.tail.join(frame);
            self.seamless = None;
        }
        self.tail.keep(frame);
        played
    }

    /// Frames that wait.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn decide(&mut self) -> Played {
        let Some(next) = self.waiting().next().map(|frame| frame.utterance) else {
            return self.starve();
        };
        match self.state {
            State::Speaking(_) => Played::Speech(next),
            State::Hole { utterance, .. } if utterance == next => Played::Speech(next),
            // The one before was never ended and will not be: this one begins like any other.
            State::Hole { .. } => self.wait(next, 0),
            State::Waiting { ticks } => self.wait(next, ticks),
        }
    }

    fn wait(&mut self, next: UtteranceId, ticks: u32) -> Played {
        let is_ready = self.len >= self.start_frames
            || ticks >= PLAYOUT_START_TICKS_MAX
            || self.waiting().any(|frame| frame.part == Part::Last);
        if is_ready {
            return Played::Speech(next);
        }
        self.state = State::Waiting { ticks: ticks + 1 };
        Played::Idle
    }

    /// There is nothing to play.
    const fn starve(&mut self) -> Played {
        let (utterance, ticks) = match self.state {
            State::Speaking(utterance) => (utterance, 0),
            State::Hole { utterance, ticks } if ticks < PLAYOUT_HOLE_TICKS_MAX => {
                (utterance, ticks)
            }
            State::Hole { .. } | State::Waiting { .. } => {
                self.state = State::Waiting { ticks: 0 };
                return Played::Idle;
            }
        };
        self.state = State::Hole {
            utterance,
            ticks: ticks + 1,
        };
        Played::Hole
    }

    /// Moves the first frame, which the caller knows to be there, into `frame`.
    fn take(&mut self, frame: &mut [i16; FRAME_SAMPLES_MAX]) -> Part {
        let stored = &self.frames[self.first];
        let part = stored.part;
        *frame = stored.samples;
        if part == Part::Last {
            fade_before_padding(frame);
        }
        self.pop();
        part
    }

    const fn pop(&mut self) {
        self.first = (self.first + 1) % PLAYOUT_FRAMES_MAX;
        self.len -= 1;
    }

    fn waiting(&self) -> impl Iterator<Item = &Stored> {
        (0..self.len).map(|n| &self.frames[(self.first + n) % PLAYOUT_FRAMES_MAX])
    }
}

impl Default for Playout {
    fn default() -> Self {
        Self::new()
    }
}
