//! Joins between sounds that were not made to follow each other, a few milliseconds long, so that
//! nothing clicks.

use crate::units::{FRAME_SAMPLES_MAX, SampleRate};

/// Length of every fade: 4 ms, long enough not to click, short enough not to eat a consonant.
pub const FADE_SAMPLES: usize = SampleRate::Hz16000.samples_per_frame() / 5;

type Frame = [i16; FRAME_SAMPLES_MAX];

/// The end of what was heard last, kept to be faded out when something else follows.
#[derive(Clone, Debug)]
pub struct Tail([i16; FADE_SAMPLES]);

impl Tail {
    /// After silence.
    pub const fn new() -> Self {
        Self([0; FADE_SAMPLES])
    }

    /// Remembers the end of `frame`.
    pub fn keep(&mut self, frame: &Frame) {
        self.0
            .copy_from_slice(&frame[FRAME_SAMPLES_MAX - FADE_SAMPLES..]);
    }

    /// Whether nothing was heard last.
    pub fn is_silent(&self) -> bool {
        self.0 == [0; FADE_SAMPLES]
    }

    /// Fades over from what was heard last to `frame`, in place.
    ///
    /// The old sound is continued by playing its end backwards, which begins at its very last
    /// sample: no step, and no frame held back for the case that none follows.
    pub fn join(&self, frame: &mut Frame) {
        for (n, (new, old)) in frame.iter_mut().zip(self.0.iter().rev()).enumerate() {
            *new = weigh(*new, n) + weigh(*old, FADE_SAMPLES - n);
        }
    }
}

impl Default for Tail {
    fn default() -> Self {
        Self::new()
    }
}

/// Fades out the sound before the zeros that pad a last frame; a full frame is left as it is. If
/// there is less of it than a fade takes, what was heard before it, `tail`, is faded out instead.
pub fn fade_before_padding(tail: &Tail, frame: &mut Frame) {
    let end = frame
        .iter()
        .rposition(|sample| *sample != 0)
        .map_or(0, |last| last + 1);
    if end == FRAME_SAMPLES_MAX {
        return;
    }
    if end < FADE_SAMPLES {
        frame.fill(0);
        tail.join(frame);
        return;
    }
    for (n, sample) in frame[..end].iter_mut().rev().take(FADE_SAMPLES).enumerate() {
        *sample = weigh(*sample, n);
    }
}

/// `sample · n / FADE_SAMPLES`. Two weights that add up to one never exceed a sample's range.
fn weigh(sample: i16, n: usize) -> i16 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a part of an i16, n is at most 64"
    )]
    let part = (i32::from(sample) * n as i32 / FADE_SAMPLES as i32) as i16;
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest step between neighbours, beginning from `before`.
    fn step_max(before: i16, frame: &Frame) -> i32 {
        let mut last = i32::from(before);
        frame.iter().fold(0, |max, s| {
            let step = (i32::from(*s) - last).abs();
            last = i32::from(*s);
            max.max(step)
        })
    }

    #[test]
    fn loud_sound_ends_and_begins_without_a_step() {
        let loud: Frame = [16_000; FRAME_SAMPLES_MAX];
        let mut tail = Tail::new();
        tail.keep(&loud);
        let mut silence: Frame = [0; FRAME_SAMPLES_MAX];
        assert_eq!(
            step_max(16_000, &silence),
            16_000,
            "the step is there without a fade"
        );
        tail.join(&mut silence);
        assert!(step_max(16_000, &silence) <= 16_000 / 32);
        assert_eq!(
            silence[FADE_SAMPLES..],
            [0; FRAME_SAMPLES_MAX - FADE_SAMPLES]
        );
        let mut begin = loud;
        Tail::new().join(&mut begin);
        assert!(step_max(0, &begin) <= 16_000 / 32);
    }

    #[test]
    fn extremes_do_not_overflow() {
        for (old, new) in [
            (i16::MIN, i16::MIN),
            (i16::MAX, i16::MAX),
            (i16::MIN, i16::MAX),
        ] {
            let mut tail = Tail::new();
            tail.keep(&[old; FRAME_SAMPLES_MAX]);
            tail.join(&mut [new; FRAME_SAMPLES_MAX]);
        }
    }

    #[test]
    fn an_end_of_any_length_is_faded_and_a_full_frame_is_not() {
        let mut tail = Tail::new();
        tail.keep(&[8_000; FRAME_SAMPLES_MAX]);
        for end in 0..FRAME_SAMPLES_MAX {
            let mut padded: Frame = [0; FRAME_SAMPLES_MAX];
            padded[..end].fill(8_000);
            fade_before_padding(&tail, &mut padded);
            let step = step_max(8_000, &padded);
            assert!(step <= 8_000 / 32, "{end} samples: {step}");
        }
        let mut full: Frame = [8_000; FRAME_SAMPLES_MAX];
        fade_before_padding(&tail, &mut full);
        assert_eq!(full, [8_000; FRAME_SAMPLES_MAX]);
    }
}
