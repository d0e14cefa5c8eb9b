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
