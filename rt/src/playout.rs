//! What one leg hears: the frames of utterances in order, one on every tick, or silence.
//!
//! This is where jitter ends. An utterance begins when [`PLAYOUT_START_FRAMES`] of it are there, or
//! all of it is, or it has waited long enough. A hole in it is concealed for 60 ms, then silent,
//! and counted; it goes on as soon as more arrives. The buffer is bounded, the oldest frame gives
//! way. Wherever sounds meet that were not made to, a few milliseconds of fade keep the join from
//! clicking.
//!
//! Speech that was stored is heard as it is. For a live stream, paced by another clock, the buffer
//! is kept as deep as [`Depth`] wishes: in its pauses ([`Pauses`]) a frame is left out or said
//! twice, and if it has none, one period of its sound. More of it than fits, or than is needed when
//! it begins, was held up somewhere: all but the newest frames are given up at once, since nobody
//! who speaks with another wants to hear what was said a second ago.
//!
//! ```text
//!            enough buffered               buffer empty
//!  Waiting ───────────────────▶ Speaking ◀──────────────▶ Hole
//!     ▲            Last            │       more arrived     │ 1 s
//!     └────────────────────────────┴────────────────────────┘
//! ```

use crate::depth::{Depth, Where, Wish};
use crate::dsp::comfort_noise::ComfortNoise;
use crate::dsp::fade::{Tail, fade_before_padding};
use crate::dsp::pause::Pauses;
use crate::dsp::plc::{Concealed, Concealer};
use crate::dsp::stretch;
use crate::limits::{
    PLAYOUT_FRAMES_MAX, PLAYOUT_HOLE_TICKS_MAX, PLAYOUT_START_FRAMES, PLAYOUT_START_TICKS_MAX,
};
use crate::msg::{Comfort, DownlinkFrame, Pace, Part, UtteranceId};
use crate::units::{FRAME_SAMPLES_MAX, SampleRate};

/// What a tick plays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Played {
    /// Nothing of an utterance that has begun and not ended, for want of audio.
    Hole,
    /// Silence, because there is nothing to be said.
    Idle,
    /// The next frame of this utterance.
    Speech(UtteranceId),
}

/// What was done to a frame that it be heard without harm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repair {
    /// A period of its sound was left out, since the stream had no pause.
    Compressed,
    /// It was made up, in part at least, from the sound before it.
    Concealed,
    /// It was a pause and will be said again, to let the buffer grow.
    Repeated,
    /// A pause before it was left out, to let the buffer shrink.
    Skipped,
    /// A period of its sound was said twice, since the stream had no pause.
    Stretched,
}

/// What a tick made heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heard {
    /// What it is.
    pub played: Played,
    /// What was done to it.
    pub repair: Option<Repair>,
    /// Frames of live audio given up before it, as too old.
    pub given_up: u32,
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

/// Whether what comes next was made to follow what was heard last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seam {
    Cut,
    None,
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    utterance: UtteranceId,
    part: Part,
    pace: Pace,
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
    /// Samples of the first frame that were heard already, in 0 .. [`FRAME_SAMPLES_MAX`].
    offset: usize,
    depth: Depth,
    /// Whether more live audio has come since the last tick than the buffer holds.
    is_flooded: bool,
    state: State,
    /// The end of the frame played last.
    tail: Tail,
    /// The utterance it was of, if more of it is expected to follow without a seam.
    seamless: Option<UtteranceId>,
    /// Within that utterance.
    seam: Seam,
    pauses: Pauses,
    concealer: Concealer,
    /// What silence sounds like, if not like silence.
    noise: Option<ComfortNoise>,
}

impl Playout {
    /// Empty, after silence.
    pub const fn new(comfort: Comfort) -> Self {
        const EMPTY: Stored = Stored {
            utterance: UtteranceId(0),
            part: Part::Last,
            pace: Pace::Stored,
            samples: [0; FRAME_SAMPLES_MAX],
        };
        Self {
            frames: [EMPTY; PLAYOUT_FRAMES_MAX],
            first: 0,
            len: 0,
            offset: 0,
            depth: Depth::new(),
            is_flooded: false,
            state: State::Waiting { ticks: 0 },
            tail: Tail::new(),
            seamless: None,
            seam: Seam::None,
            pauses: Pauses::new(),
            concealer: Concealer::new(SampleRate::Hz16000),
            noise: match comfort {
                Comfort::Noise(level) => Some(ComfortNoise::new(level.below_overload())),
                Comfort::Silence => None,
            },
        }
    }

    /// Keeps a frame for its tick.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn push(&mut self, frame: &DownlinkFrame) -> Pushed {
        let pushed = if self.len == PLAYOUT_FRAMES_MAX {
            self.pop();
            self.offset = 0;
            self.seamless = None;
            self.is_flooded = frame.pace == Pace::Live;
            Pushed::KeptForOldest
        } else {
            Pushed::Kept
        };
        let stored = &mut self.frames[(self.first + self.len) % PLAYOUT_FRAMES_MAX];
        stored.utterance = frame.utterance;
        stored.part = frame.part;
        stored.pace = frame.pace;
        stored.samples = frame.samples;
        self.len += 1;
        pushed
    }

    /// Fills `frame` with what is heard on this tick.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn tick(&mut self, frame: &mut [i16; FRAME_SAMPLES_MAX]) -> Heard {
        let was_waiting = matches!(self.state, State::Waiting { .. });
        let given_up = self.give_up_excess();
        let played = self.decide();
        let repair = match played {
            Played::Hole => self.bridge(frame),
            Played::Idle => {
                self.rest(was_waiting, frame);
                None
            }
            Played::Speech(utterance) => self.speak(utterance, frame),
        };
        Heard {
            played,
            repair,
            given_up,
        }
    }

    /// Frames that wait.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Live audio begins with as many frames as it needs, and so it does after a flood: what is
    /// left is heard as a new beginning. What was stored behind it is nobody's excess.
    fn give_up_excess(&mut self) -> u32 {
        let is_flooded = core::mem::take(&mut self.is_flooded);
        if !is_flooded && !matches!(self.state, State::Waiting { .. }) {
            return 0;
        }
        let live = self.waiting().take_while(|frame| frame.pace == Pace::Live);
        let excess = live.count().saturating_sub(PLAYOUT_START_FRAMES);
        let mut given_up = 0;
        for _ in 0..excess {
            self.pop();
            given_up += 1;
        }
        if given_up > 0 {
            self.offset = 0;
            self.seamless = None;
        }
        given_up
    }

    /// The next frame of an utterance; the caller knows that there is one.
    fn speak(
        &mut self,
        utterance: UtteranceId,
        frame: &mut [i16; FRAME_SAMPLES_MAX],
    ) -> Option<Repair> {
        let begins = self.seamless != Some(utterance);
        if begins {
            self.concealer.forget();
            self.depth = Depth::new();
            self.pauses = Pauses::new();
            self.seam = Seam::Cut;
        }
        let whole = (self.len * FRAME_SAMPLES_MAX - self.offset) / FRAME_SAMPLES_MAX;
        let pace = self.frames[self.first].pace;
        let wish = match pace {
            Pace::Live => self.depth.observe(whole.saturating_sub(1)),
            Pace::Stored => Wish::Keep,
        };
        let mut repair = self.make_room(wish, frame);
        let goes_on = if repair.is_some_and(|repair| repair != Repair::Skipped) {
            self.concealer.hear(frame);
            Part::Middle
        } else {
            let (filled, part) = self.take(frame);
            if self.seam == Seam::Cut {
                self.tail.join(frame);
                self.seam = Seam::None;
            }
            self.concealer.hear(&mut frame[..filled]);
            if filled < FRAME_SAMPLES_MAX {
                self.concealer.conceal(&mut frame[filled..]);
                repair = Some(Repair::Concealed);
            }
            part
        };
        if pace == Pace::Live {
            self.pauses.hear(frame);
        }
        self.tail.keep(frame);
        (self.seamless, self.state) = match goes_on {
            Part::Last => (None, State::Waiting { ticks: 0 }),
            Part::Middle => (Some(utterance), State::Speaking(utterance)),
        };
        repair
    }

    /// Want of audio in an utterance.
    fn bridge(&mut self, frame: &mut [i16; FRAME_SAMPLES_MAX]) -> Option<Repair> {
        if matches!(self.state, State::Hole { ticks: 1, .. }) {
            self.depth.ran_dry();
        }
        self.seam = Seam::None;
        let concealed = self.concealer.conceal(frame);
        if concealed == Concealed::Silent {
            self.comfort(frame);
        }
        self.tail.keep(frame);
        (concealed == Concealed::Repeated).then_some(Repair::Concealed)
    }

    /// Nothing to say. After a frame of it nothing sounds on, and there is little to do.
    fn rest(&mut self, was_waiting: bool, frame: &mut [i16; FRAME_SAMPLES_MAX]) {
        frame.fill(0);
        let is_at_rest = was_waiting && self.tail.is_silent();
        if is_at_rest && self.noise.is_none() {
            return;
        }
        self.comfort(frame);
        self.tail.join(frame);
        self.tail.keep(frame);
        self.seamless = None;
    }

    fn comfort(&mut self, frame: &mut [i16; FRAME_SAMPLES_MAX]) {
        if let Some(noise) = &mut self.noise {
            noise.fill(frame);
        }
    }

    /// Grants a wish if it can be granted here. Unless a frame was left out, `frame` is what is
    /// heard, and the buffer has moved on.
    fn make_room(&mut self, wish: Wish, frame: &mut [i16; FRAME_SAMPLES_MAX]) -> Option<Repair> {
        let (Wish::Lengthen(place) | Wish::Shorten(place)) = wish else {
            return None;
        };
        let there = self.contiguous();
        if there < FRAME_SAMPLES_MAX {
            return None;
        }
        let mut line = [0; FRAME_SAMPLES_MAX + stretch::PERIOD_MAX];
        self.read(&mut line);
        let (next, _) = line.split_at(FRAME_SAMPLES_MAX);
        let is_pause = self.pauses.is_pause(next);
        if is_pause && matches!(wish, Wish::Shorten(_)) && there >= 2 * FRAME_SAMPLES_MAX {
            self.pop();
            self.depth.granted();
            self.seam = Seam::Cut;
            return Some(Repair::Skipped);
        }
        if is_pause && matches!(wish, Wish::Lengthen(_)) {
            frame.copy_from_slice(next);
            self.depth.granted();
            self.seam = Seam::Cut;
            return Some(Repair::Repeated);
        }
        if place == Where::InPause {
            return None;
        }
        let period = self.concealer.period()?;
        if matches!(wish, Wish::Lengthen(_)) {
            stretch::longer(&line, period, frame);
            self.advance(FRAME_SAMPLES_MAX - period);
            self.depth.granted_in_part(period);
            return Some(Repair::Stretched);
        }
        if there < FRAME_SAMPLES_MAX + period {
            return None;
        }
        stretch::shorter(&line, period, frame);
        self.advance(FRAME_SAMPLES_MAX + period);
        self.depth.granted_in_part(period);
        Some(Repair::Compressed)
    }

    /// Samples from here to where the utterance ends or the buffer does.
    fn contiguous(&self) -> usize {
        let head = self.frames[self.first].utterance;
        let mut frames = 0;
        for stored in self.waiting() {
            if stored.utterance != head {
                break;
            }
            // An end is not to be moved: it is heard where it comes.
            if stored.part == Part::Last {
                break;
            }
            frames += 1;
        }
        (frames * FRAME_SAMPLES_MAX).saturating_sub(self.offset)
    }

    /// Fills `line` with what comes next, as far as it is there, and moves nothing.
    fn read(&self, line: &mut [i16]) {
        let mut filled = 0;
        let mut offset = self.offset;
        for stored in self.waiting() {
            let samples = &stored.samples[offset..];
            let count = samples.len().min(line.len() - filled);
            line[filled..filled + count].copy_from_slice(&samples[..count]);
            filled += count;
            offset = 0;
            if filled == line.len() {
                break;
            }
        }
    }

    /// Moves on by samples that the caller knows to be there.
    const fn advance(&mut self, samples: usize) {
        self.offset += samples;
        while self.offset >= FRAME_SAMPLES_MAX {
            self.offset -= FRAME_SAMPLES_MAX;
            self.pop();
        }
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
        let is_ready = self.len >= PLAYOUT_START_FRAMES
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

    /// Takes the next 20 ms of the first utterance, which the caller knows to be there: says how
    /// much of `frame` is filled and whether more is to follow.
    fn take(&mut self, frame: &mut [i16; FRAME_SAMPLES_MAX]) -> (usize, Part) {
        let head = &self.frames[self.first];
        let (utterance, part) = (head.utterance, head.part);
        let rest = FRAME_SAMPLES_MAX - self.offset;
        frame[..rest].copy_from_slice(&head.samples[self.offset..]);
        self.pop();
        if part == Part::Last || self.offset == 0 {
            frame[rest..].fill(0);
            self.offset = 0;
            if part == Part::Last {
                fade_before_padding(&self.tail, frame);
            }
            return (FRAME_SAMPLES_MAX, part);
        }
        let next = self.waiting().next();
        if let Some(next) = next.filter(|next| next.utterance == utterance) {
            frame[rest..].copy_from_slice(&next.samples[..self.offset]);
            return (FRAME_SAMPLES_MAX, Part::Middle);
        }
        self.offset = 0;
        (rest, Part::Middle)
    }

    const fn pop(&mut self) {
        self.first = (self.first + 1) % PLAYOUT_FRAMES_MAX;
        self.len -= 1;
    }

    fn waiting(&self) -> impl Iterator<Item = &Stored> {
        (0..self.len).map(|n| &self.frames[(self.first + n) % PLAYOUT_FRAMES_MAX])
    }
}
