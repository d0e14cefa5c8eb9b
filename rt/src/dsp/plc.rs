//! Concealment of lost audio in the manner of G.711 Appendix I: the last period of the voice goes
//! on, and fades away.
//!
//! The pitch is where the last 20 ms resemble what went before best. From there one period is
//! repeated, after 10 ms two, then three, so that nothing rings; each time round the step from its
//! end to its beginning is spread over a quarter of a period. From 10 ms on it fades by a fifth
//! every 10 ms, so after 60 ms it is silent. When sound comes again, the repetition goes on under
//! it and is faded over. Unlike the Appendix, nothing is delayed for it: what was already passed on
//! is continued as it is.
//!
//! State belongs to one direction of one leg. Looking for the pitch costs some microseconds, once
//! for each loss; otherwise a frame costs a copy.

use super::to_sample;
use crate::units::SampleRate;

/// Loss that is concealed; what follows is silence.
pub const CONCEAL_MS_MAX: usize = 60;

/// Samples of a millisecond at 8 kHz; `stride` times as many at other rates.
const PER_MS: usize = 8;
/// Voices from 200 Hz (a child's) …
const PITCH_MIN: usize = 5 * PER_MS;
/// … to 66 Hz (a deep man's).
const PITCH_MAX: usize = 15 * PER_MS;
/// Sound that is compared to find the pitch.
const WINDOW: usize = 20 * PER_MS;
/// Periods repeated at most.
const PERIODS_MAX: usize = 3;
/// All that is ever looked at, and the sample before.
const HISTORY: usize = PERIODS_MAX * PITCH_MAX + PER_MS;
/// The largest ratio of a rate to 8 kHz.
const STRIDE_MAX: usize = 2;
const _: () = assert!(HISTORY >= WINDOW + PITCH_MAX);

/// Full level for so long, then a fifth less for each 10 ms.
const FULL_LEVEL: usize = 10 * PER_MS;
const FADE: usize = 50 * PER_MS;
const _: () = assert!(FULL_LEVEL + FADE == CONCEAL_MS_MAX * PER_MS);

/// Fading over to sound that is back: a quarter of a period and 4 ms for each 10 ms lost, at most
/// 10 ms together.
const OVERLAP_MAX: usize = 10 * PER_MS;

/// Conceals the losses of one stream.
#[derive(Clone, Debug)]
pub struct Concealer {
    /// Samples for one at 8 kHz, in 1 ..= [`STRIDE_MAX`].
    stride: usize,
    /// What was heard last, newest at the end; `HISTORY * stride` samples of it are used.
    history: [i16; HISTORY * STRIDE_MAX],
    /// How many of these follow each other without a loss between.
    unbroken: usize,
    /// The last period found, in samples; 0 before the first.
    pitch: usize,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Concealing(Loop),
    Hearing,
    Recovering {
        last: Loop,
        done: usize,
        total: usize,
    },
}

/// Where in the repetition it stands.
#[derive(Clone, Copy, Debug)]
struct Loop {
    /// Samples repeated; 0 if there is nothing to repeat.
    length: usize,
    /// In 0 ..= `length`.
    position: usize,
    /// From the end of the repeated sound to its beginning.
    step: f32,
    /// The loudest of the repeated samples: nothing made up is louder.
    peak: f32,
    /// Samples concealed so far.
    lost: usize,
}

impl Concealer {
    /// For a stream of this rate, after silence.
    pub const fn new(rate: SampleRate) -> Self {
        Self {
            stride: rate.samples_per_frame() / SampleRate::Hz8000.samples_per_frame(),
            history: [0; HISTORY * STRIDE_MAX],
            unbroken: 0,
            pitch: 0,
            state: State::Hearing,
        }
    }

    /// Takes in sound that was not lost, and mends its beginning if it follows a loss.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn hear(&mut self, samples: &mut [i16]) {
        if let State::Concealing(last) = self.state {
            let lost_ms = last.lost / (PER_MS * self.stride);
            let overlap = self.pitch / 4 + lost_ms * PER_MS * self.stride * 4 / 10;
            self.state = State::Recovering {
                last,
                done: 0,
                total: overlap.clamp(1, OVERLAP_MAX * self.stride),
            };
        }
        if let State::Recovering {
            mut last,
            mut done,
            total,
        } = self.state
        {
            for sample in samples.iter_mut().take(total - done) {
                let old = self.next(&mut last);
                #[expect(clippy::cast_precision_loss, reason = "at most 160")]
                let share = done as f32 / total as f32;
                *sample = to_sample(old + (f32::from(*sample) - old) * share);
                done += 1;
            }
            self.state = if done == total {
                // Only now is the old sound no longer needed.
                self.unbroken = 0;
                State::Hearing
            } else {
                State::Recovering { last, done, total }
            };
            if done < total {
                return;
            }
        }
        self.keep(samples);
    }

    /// Fills `samples` with what might have been said, or with silence after [`CONCEAL_MS_MAX`].
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn conceal(&mut self, samples: &mut [i16]) -> Concealed {
        let mut repeated = match self.state {
            State::Hearing => self.begin(),
            // Lost again before it was back: the fade goes on where it was.
            State::Concealing(last) | State::Recovering { last, .. } => last,
        };
        let is_audible = repeated.length > 0 && repeated.lost < self.fade_end();
        for sample in samples.iter_mut() {
            *sample = to_sample(self.next(&mut repeated));
        }
        self.state = State::Concealing(repeated);
        if is_audible {
            Concealed::Repeated
        } else {
            Concealed::Silent
        }
    }

    /// The period of what was heard last, in samples; `None` if too little was.
    ///
    /// # Real-time
    /// Wait-free, no allocation; some microseconds.
    pub fn period(&self) -> Option<usize> {
        let enough = (WINDOW + PITCH_MAX) * self.stride;
        (self.unbroken >= enough).then(|| self.find_pitch())
    }

    /// What comes next has nothing to do with what went before.
    pub const fn forget(&mut self) {
        self.unbroken = 0;
        self.state = State::Hearing;
    }

    fn keep(&mut self, samples: &[i16]) {
        let size = HISTORY * self.stride;
        let newest = &samples[samples.len().saturating_sub(size)..];
        let history = &mut self.history[..size];
        history.copy_within(newest.len().., 0);
        history[size - newest.len()..].copy_from_slice(newest);
        self.unbroken = (self.unbroken + newest.len()).min(size);
    }

    fn begin(&mut self) -> Loop {
        if self.unbroken >= (WINDOW + PITCH_MAX) * self.stride {
            self.pitch = self.find_pitch();
        } else if self.pitch == 0 {
            self.pitch = PITCH_MAX * self.stride;
        }
        let mut repeated = Loop {
            length: 0,
            position: 0,
            step: 0.0,
            peak: 0.0,
            lost: 0,
        };
        self.turn(&mut repeated);
        repeated
    }

    /// Begins the next time round, of more periods the longer the loss.
    fn turn(&self, repeated: &mut Loop) {
        let wanted = (1 + repeated.lost / (FULL_LEVEL * self.stride)).min(PERIODS_MAX);
        let there = self.unbroken.saturating_sub(1) / self.pitch.max(1);
        repeated.length = wanted.min(there) * self.pitch;
        repeated.position = 0;
        let history = &self.history[..HISTORY * self.stride];
        let end = history.len() - 1;
        repeated.step = f32::from(history[end]) - f32::from(history[end - repeated.length]);
        let loudest = history[history.len() - repeated.length..]
            .iter()
            .map(|sample| sample.unsigned_abs())
            .max();
        repeated.peak = f32::from(loudest.unwrap_or(0));
    }

    /// The next sample of the repetition, faded.
    fn next(&self, repeated: &mut Loop) -> f32 {
        if repeated.length == 0 || repeated.lost >= self.fade_end() {
            return 0.0;
        }
        if repeated.position == repeated.length {
            self.turn(repeated);
        }
        let start = HISTORY * self.stride - repeated.length;
        let sample = f32::from(self.history[start + repeated.position]);
        #[expect(clippy::cast_precision_loss, reason = "samples of 60 ms")]
        let [position, quarter, faded, fade] = [
            repeated.position,
            (self.pitch / 4).max(1),
            repeated.lost.saturating_sub(FULL_LEVEL * self.stride),
            FADE * self.stride,
        ]
        .map(|count| count as f32);
        let joined = sample + repeated.step * (1.0 - position / quarter).max(0.0);
        repeated.position += 1;
        repeated.lost += 1;
        joined.clamp(-repeated.peak, repeated.peak) * (1.0 - faded / fade)
    }

    const fn fade_end(&self) -> usize {
        (FULL_LEVEL + FADE) * self.stride
    }

    /// The lag at which the last 20 ms resemble what went before best: first among every
    /// `stride`th, then among all that are near.
    fn find_pitch(&self) -> usize {
        let coarse = self.best_lag(PITCH_MIN..=PITCH_MAX, self.stride);
        if self.stride == 1 {
            return coarse;
        }
        let near = (coarse - 1) * self.stride..=(coarse + 1) * self.stride;
        let (least, most) = (PITCH_MIN * self.stride, PITCH_MAX * self.stride);
        self.best_lag((*near.start()).max(least)..=(*near.end()).min(most), 1)
    }

    /// The best of these lags among every `stride`th sample, in such samples.
    fn best_lag(&self, lags: core::ops::RangeInclusive<usize>, stride: usize) -> usize {
        const LINE: usize = (WINDOW + PITCH_MAX) * STRIDE_MAX;
        let window = WINDOW * self.stride / stride;
        let count = window + PITCH_MAX * self.stride / stride;
        let mut line = [0.0; LINE];
        let line = &mut line[..count];
        let used = &self.history[..HISTORY * self.stride];
        let newest_first = used.iter().rev().step_by(stride);
        for (slot, sample) in line.iter_mut().rev().zip(newest_first) {
            *slot = f32::from(*sample);
        }
        let recent = &line[count - window..];
        let (mut best, mut best_score) = (*lags.end(), 0.0);
        for lag in lags {
            let past = &line[count - window - lag..][..window];
            let alike = dot(recent, past);
            let energy = dot(past, past).max(1.0);
            // The square root is spared: scores keep their order, unlike ones fall out.
            let score = alike.max(0.0) * alike / energy;
            if score > best_score {
                (best, best_score) = (lag, score);
            }
        }
        best
    }
}

/// What a stretch was filled with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Concealed {
    /// With the sound that went before, at least its beginning.
    Repeated,
    /// With silence.
    Silent,
}

/// Several sums at a time, so that they share vectors.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let blocks = a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0);
    for (a, b) in blocks {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}
