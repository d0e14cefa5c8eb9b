//! One period of sound more or less, so that time can be made up where there is no pause.
//!
//! Overlap-add: the sound is faded over into itself one period later or earlier. What is periodic
//! keeps its pitch and its level, and joins what comes before and after without a step.

use super::to_sample;
use crate::units::FRAME_SAMPLES_MAX;

/// The longest period: 15 ms at 16 kHz.
pub const PERIOD_MAX: usize = FRAME_SAMPLES_MAX * 3 / 4;

/// Fills `frame` with what comes next in `line`, a period left out: `frame` ends where
/// `FRAME_SAMPLES_MAX + period` samples of `line` do. `period` is at most [`PERIOD_MAX`].
///
/// # Real-time
/// Wait-free, no allocation.
pub fn shorter(
    line: &[i16; FRAME_SAMPLES_MAX + PERIOD_MAX],
    period: usize,
    frame: &mut [i16; FRAME_SAMPLES_MAX],
) {
    let period = period.clamp(1, PERIOD_MAX);
    let later = &line[period..];
    for (n, sample) in frame.iter_mut().enumerate() {
        *sample = mixed(line[n], later[n], n, period);
    }
}

/// Fills `frame` with what comes next in `line`, a period said twice: `frame` ends where
/// `FRAME_SAMPLES_MAX - period` samples of `line` do. `period` is at most [`PERIOD_MAX`].
///
/// # Real-time
/// Wait-free, no allocation.
pub fn longer(
    line: &[i16; FRAME_SAMPLES_MAX + PERIOD_MAX],
    period: usize,
    frame: &mut [i16; FRAME_SAMPLES_MAX],
) {
    let period = period.clamp(1, PERIOD_MAX);
    let overlap = period.min(FRAME_SAMPLES_MAX - period);
    frame[..period].copy_from_slice(&line[..period]);
    for (n, sample) in frame[period..].iter_mut().enumerate() {
        *sample = mixed(line[period + n], line[n], n, overlap);
    }
}

/// From `old` to `new` in `overlap` samples.
fn mixed(old: i16, new: i16, n: usize, overlap: usize) -> i16 {
    #[expect(clippy::cast_precision_loss, reason = "at most 320")]
    let share = (n as f32 / overlap as f32).min(1.0);
    let (old, new) = (f32::from(old), f32::from(new));
    to_sample(old + (new - old) * share)
}

#[cfg(test)]
mod tests {
    //! Goal: neither way clicks or changes the level, though the period is not the sound's own.
    //! Method: tones between their neighbours; the steepest step and the level of what is heard.

    use super::*;
    use crate::testing::meter::{rms, tone};
    use crate::units::SampleRate;
    use alloc::vec::Vec;

    const LINE: usize = FRAME_SAMPLES_MAX + PERIOD_MAX;

    fn steepest(samples: &[i16]) -> i32 {
        let step = |pair: &[i16]| (i32::from(pair[1]) - i32::from(pair[0])).abs();
        samples.windows(2).map(step).max().expect("samples")
    }

    /// What is heard: 20 ms before, the frame, and what follows it.
    fn heard(sound: &[i16], frame: &[i16], taken: usize) -> Vec<i16> {
        let before = &sound[..FRAME_SAMPLES_MAX];
        let after = &sound[FRAME_SAMPLES_MAX + taken..][..FRAME_SAMPLES_MAX];
        [before, frame, after].concat()
    }

    #[test]
    fn a_period_more_or_less_joins_even_if_it_is_not_quite_the_sounds_own() {
        for hertz in [70.0, 111.0, 187.0, 203.0] {
            let sound = tone(SampleRate::Hz16000, hertz, 12_000.0, 4 * FRAME_SAMPLES_MAX);
            let line: &[i16; LINE] = sound[FRAME_SAMPLES_MAX..].first_chunk().expect("long");
            let own = (16_000.0 / hertz) as usize;
            for period in [own - 5, own, own + 5, PERIOD_MAX, 1] {
                let period = period.min(PERIOD_MAX);
                let mut frame = [0; FRAME_SAMPLES_MAX];
                shorter(line, period, &mut frame);
                let short = heard(&sound, &frame, FRAME_SAMPLES_MAX + period);
                longer(line, period, &mut frame);
                let long = heard(&sound, &frame, FRAME_SAMPLES_MAX - period);
                for (what, samples) in [("shorter", short), ("longer", long)] {
                    // Fading over the wrong way round adds at most the sound's size over the fade.
                    let most = steepest(&sound) * 2 + 2 * 12_000 / period.min(80) as i32;
                    let measured = steepest(&samples);
                    assert!(
                        measured <= most,
                        "{what} by {period} at {hertz} Hz: {measured}"
                    );
                    let is_own = period.abs_diff(own) <= 5;
                    let level = rms(&samples) / rms(&sound);
                    assert!(!is_own || (0.9..1.1).contains(&level), "{what}: {level:.2}");
                }
            }
        }
    }
}
