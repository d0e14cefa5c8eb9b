//! How deep a playout buffer should be for a stream that another clock paces.
//!
//! What counts is how many frames are still there when one is taken, at the worst moment: none
//! means that the next late packet is a hole, two or more that everybody waits for nothing. So one
//! is wished for. Both network and clocks show in that number: jitter makes its worst moment low,
//! a sender that is too fast or too slow moves it up or down a frame in the course of minutes.
//!
//! Growing is quick: a second in which nothing was left asks for a frame. Shrinking is slow: it
//! takes a calm stretch, longer after each trouble, so that a network that stalls now and then is
//! not forgotten at once; but the more is left over, the shorter, since everybody waits for it. A
//! wish is first to be granted where nobody hears it, and only if it has waited in vain for a
//! pause, in sound.

use crate::units::FRAME_SAMPLES_MAX;

/// Ticks in which the worst moment is looked for: 1 s.
const WINDOW_TICKS: u32 = 50;
/// Frames to be left at the worst moment.
const SPARE_WISHED: usize = 1;
/// Calm before the depth shrinks, in windows …
const CALM_WINDOWS_MIN: u32 = 10;
/// … doubled by each trouble up to this: a clock 200 ppm off moves less than two frames in it.
const CALM_WINDOWS_MAX: u32 = 160;
/// Calm before a great excess shrinks, or that of a stream that has just begun, in windows.
const CALM_WINDOWS_LEAST: u32 = 2;
/// Windows a wish waits for a pause.
const PATIENCE_WINDOWS: u32 = 5;

/// Ticks between two periods made up in sound: 200 ms, so that speech keeps its tempo.
const BREATH_TICKS: u32 = 10;

/// What the depth should do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    /// Stay.
    Keep,
    /// Grow by a frame.
    Lengthen(Where),
    /// Shrink by a frame.
    Shorten(Where),
}

/// Where a change may be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Where {
    /// Anywhere: there has been no pause for long.
    Anywhere,
    /// In a pause.
    InPause,
}

/// Watches one stream.
#[derive(Clone, Debug)]
pub struct Depth {
    /// Ticks into the window, in 0 .. [`WINDOW_TICKS`].
    ticks: u32,
    /// Fewest left in this window.
    window_min: usize,
    /// Fewest left since the calm began.
    calm_min: usize,
    /// Windows of calm so far, and how many it takes.
    calm: u32,
    calm_wanted: u32,
    direction: Direction,
    /// Windows the wish has waited.
    waited: u32,
    /// Samples of the wish granted already, in 0 .. [`FRAME_SAMPLES_MAX`].
    moved: usize,
    /// Ticks before sound may be changed again.
    breath: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    Grow,
    Shrink { frames: usize },
    Stay,
}

impl Depth {
    /// Of a stream that begins.
    pub const fn new() -> Self {
        Self {
            ticks: 0,
            window_min: usize::MAX,
            calm_min: usize::MAX,
            calm: 0,
            // Beginnings are uneven, and say little about the time after them.
            calm_wanted: CALM_WINDOWS_LEAST,
            direction: Direction::Stay,
            waited: 0,
            moved: 0,
            breath: 0,
        }
    }

    /// A frame is taken and `spare` are left.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn observe(&mut self, spare: usize) -> Wish {
        self.window_min = self.window_min.min(spare);
        self.calm_min = self.calm_min.min(spare);
        self.ticks += 1;
        if self.ticks == WINDOW_TICKS {
            self.judge();
            self.ticks = 0;
            self.window_min = usize::MAX;
        }
        self.breath = self.breath.saturating_sub(1);
        let place = if self.waited >= PATIENCE_WINDOWS && self.breath == 0 {
            Where::Anywhere
        } else {
            Where::InPause
        };
        match self.direction {
            Direction::Grow => Wish::Lengthen(place),
            Direction::Shrink { .. } => Wish::Shorten(place),
            Direction::Stay => Wish::Keep,
        }
    }

    /// There was nothing to take.
    pub fn ran_dry(&mut self) {
        self.trouble();
        // The hole itself made the buffer a frame deeper.
        self.settle(Direction::Stay);
    }

    /// A whole frame was put in or left out as wished.
    pub fn granted(&mut self) {
        self.settle(match self.direction {
            Direction::Shrink { frames } if frames > 1 => Direction::Shrink { frames: frames - 1 },
            _ => Direction::Stay,
        });
    }

    /// So many samples were put in or left out as wished.
    pub fn granted_in_part(&mut self, samples: usize) {
        self.moved += samples;
        self.breath = BREATH_TICKS;
        // Rather a little too much in the buffer than too little.
        let is_enough = match self.direction {
            Direction::Grow => self.moved >= FRAME_SAMPLES_MAX,
            Direction::Shrink { .. } | Direction::Stay => self.moved + samples > FRAME_SAMPLES_MAX,
        };
        if is_enough {
            self.granted();
        }
    }

    fn judge(&mut self) {
        self.waited += u32::from(self.direction != Direction::Stay);
        if self.window_min < SPARE_WISHED {
            if self.direction != Direction::Grow {
                self.trouble();
                self.settle(Direction::Grow);
            }
            (self.calm, self.calm_min) = (0, usize::MAX);
            return;
        }
        if self.direction == Direction::Grow {
            self.settle(Direction::Stay);
        }
        self.calm += 1;
        let frames = self.calm_min.saturating_sub(SPARE_WISHED);
        if self.calm < self.calm_enough(frames) {
            return;
        }
        if frames > 0 && self.direction == Direction::Stay {
            self.settle(Direction::Shrink { frames });
        }
        if self.calm >= self.calm_wanted {
            self.calm_wanted = (self.calm_wanted / 2).max(CALM_WINDOWS_MIN);
        }
        self.calm = 0;
        self.calm_min = usize::MAX;
    }

    /// Every frame in excess of the first halves the wait for shrinking.
    fn calm_enough(&self, frames: usize) -> u32 {
        let halvings = u32::try_from(frames.saturating_sub(1)).unwrap_or(u32::MAX);
        let calm = self.calm_wanted.checked_shr(halvings).unwrap_or(0);
        calm.max(CALM_WINDOWS_LEAST)
    }

    fn trouble(&mut self) {
        self.calm = 0;
        self.calm_min = usize::MAX;
        self.calm_wanted = (self.calm_wanted * 2).min(CALM_WINDOWS_MAX);
    }

    /// What was seen before a change says nothing about the time after it.
    const fn settle(&mut self, direction: Direction) {
        self.direction = direction;
        self.waited = 0;
        self.moved = 0;
        self.ticks = 0;
        self.window_min = usize::MAX;
    }
}

impl Default for Depth {
    fn default() -> Self {
        Self::new()
    }
}
