//! Where a live voice pauses: silence, or no more than the noise that is always on its line.
//!
//! A line is seldom silent: a room, a car, a cheap microphone go on between the words. What is near
//! the quietest of the last seconds and far below the loudest is such noise. Without that distance,
//! as in music or a steady hum, nothing is called a pause. Costs one sum over each frame.

use super::is_quiet;

/// Frames of a block: 5 s. The last one to two blocks are remembered, so that one breath in every
/// 5 s is enough.
const BLOCK_FRAMES: u32 = 250;
/// Noise changes from frame to frame: up to twice the quietest, 6 dB, is the same noise.
const ABOVE_QUIETEST_MAX: f32 = 2.0;
/// A pause is at most a quarter as loud as the loudest, -12 dB: words mask what is done there.
const BELOW_LOUDEST_MIN: f32 = 4.0;

/// Learns one stream's noise.
#[derive(Clone, Debug)]
pub struct Pauses {
    now: Block,
    last: Block,
    /// Heard of the block, in 0 .. [`BLOCK_FRAMES`].
    frames: u32,
}

/// Mean sizes of samples, of the quietest and the loudest frame.
#[derive(Clone, Copy, Debug)]
struct Block {
    quietest: f32,
    loudest: f32,
}

impl Block {
    const NOTHING: Self = Self {
        quietest: f32::MAX,
        loudest: 0.0,
    };
}

impl Pauses {
    /// Of a stream that begins.
    pub const fn new() -> Self {
        Self {
            now: Block::NOTHING,
            last: Block::NOTHING,
            frames: 0,
        }
    }

    /// Takes in the next frame of the stream.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn hear(&mut self, frame: &[i16]) {
        let level = level(frame);
        self.now.quietest = self.now.quietest.min(level);
        self.now.loudest = self.now.loudest.max(level);
        self.frames += 1;
        if self.frames == BLOCK_FRAMES {
            (self.last, self.now) = (self.now, Block::NOTHING);
            self.frames = 0;
        }
    }

    /// Whether these samples are a pause of the stream: nobody would miss them.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn is_pause(&self, samples: &[i16]) -> bool {
        if is_quiet(samples) {
            return true;
        }
        let level = level(samples);
        let quietest = self.now.quietest.min(self.last.quietest);
        let loudest = self.now.loudest.max(self.last.loudest);
        level <= quietest * ABOVE_QUIETEST_MAX && level * BELOW_LOUDEST_MIN <= loudest
    }
}

impl Default for Pauses {
    fn default() -> Self {
        Self::new()
    }
}

/// The mean size of samples.
#[expect(
    clippy::cast_precision_loss,
    reason = "24 bits are more than a level needs"
)]
fn level(samples: &[i16]) -> f32 {
    let sum: u32 = samples
        .iter()
        .map(|sample| u32::from(sample.unsigned_abs()))
        .sum();
    sum as f32 / samples.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::signals::{vowel, white};
    use crate::units::{FRAME_SAMPLES_MAX, SampleRate};
    use alloc::vec::Vec;

    const SECOND: usize = 50 * FRAME_SAMPLES_MAX;

    fn noisy(speech: &[i16], peak: f64) -> Vec<i16> {
        let noise = white(1, peak, speech.len());
        let add = |(a, b): (&i16, &i16)| a.saturating_add(*b);
        speech.iter().zip(&noise).map(add).collect()
    }

    /// Frames of `sound` that are called a pause, each judged before it is heard.
    fn pauses(sound: &[i16]) -> Vec<bool> {
        let mut pauses = Pauses::new();
        let frames = sound.chunks_exact(FRAME_SAMPLES_MAX);
        frames
            .map(|frame| {
                let is_pause = pauses.is_pause(frame);
                pauses.hear(frame);
                is_pause
            })
            .collect()
    }

    #[test]
    fn the_noise_between_words_is_a_pause_and_no_word_is() {
        let word = vowel(SampleRate::Hz16000, 120.0, 10_000.0, SECOND);
        let mut said = Vec::new();
        for _ in 0..10 {
            said.extend(&word);
            said.extend([0; SECOND]);
        }
        for peak in [0.0, 100.0, 300.0, 500.0] {
            for (n, is_pause) in pauses(&noisy(&said, peak)).into_iter().enumerate() {
                let is_word = (n / 50).is_multiple_of(2);
                assert!(
                    !(is_word && is_pause),
                    "noise of {peak}: frame {n} is a word"
                );
                // It takes one frame of the noise to know it.
                let is_known = n > 50;
                assert!(
                    is_word || is_pause || !is_known,
                    "noise of {peak}: frame {n}"
                );
            }
        }
    }

    #[test]
    fn what_never_changes_its_level_never_pauses() {
        let hum = vowel(SampleRate::Hz16000, 100.0, 8_000.0, 30 * SECOND);
        assert!(!pauses(&hum).contains(&true));
        assert!(!pauses(&white(2, 1_000.0, 30 * SECOND)).contains(&true));
    }

    #[test]
    fn a_line_that_grows_noisy_is_learnt_anew_in_10_s() {
        let word = vowel(SampleRate::Hz16000, 120.0, 10_000.0, SECOND / 2);
        let mut said = Vec::new();
        for _ in 0..30 {
            said.extend(&word);
            said.extend([0; SECOND / 2]);
        }
        let (before, after) = said.split_at(15 * SECOND);
        let sound = [noisy(before, 0.0), noisy(after, 400.0)].concat();
        let found = pauses(&sound);
        let last_seconds = &found[found.len() - 5 * 50..];
        let count = last_seconds.iter().filter(|is_pause| **is_pause).count();
        assert_eq!(count, 5 * 25);
    }
}
