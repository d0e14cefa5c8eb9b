//! How far two utterances are apart when time may stretch: dynamic time warping.
//!
//! Pure; worst-case cost is the product of both lengths times the band's share, one distance of
//! frames each. What is further than a bound is given up early.

use crate::features::Frame;

/// Half the width of the band around the straight path, as a share of the template.
const BAND_SHARE: f32 = 0.12;
/// The band's half width is never less, in frames.
const BAND_FRAMES_MIN: usize = 15;
/// Frames compared this many numbers at a time, so that the processor may do so too.
const LANES: usize = 8;

/// Mean distance per frame along the best path through both; `None` when a side is empty, their
/// lengths differ more than twofold, or it must be more than `largest`.
pub fn distance(heard: &[Frame], template: &[Frame], largest: f32) -> Option<f32> {
    let (rows, columns) = (heard.len(), template.len());
    if rows == 0 || columns == 0 || rows > 2 * columns || columns > 2 * rows {
        return None;
    }
    let give_up = largest * (rows + columns) as f32;
    let half = ((columns as f32 * BAND_SHARE) as usize).max(BAND_FRAMES_MIN);
    // One column before the first, so that a path begins at the corner.
    let mut before = vec![f32::INFINITY; columns + 1];
    let mut here = before.clone();
    before[0] = 0.0;
    for (row, frame) in heard.iter().enumerate() {
        let centre = row * columns / rows;
        let (from, to) = (
            centre.saturating_sub(half),
            (centre + half + 1).min(columns),
        );
        here.fill(f32::INFINITY);
        let mut least = f32::INFINITY;
        for column in from..to {
            let apart = frame_distance(frame, &template[column]);
            // A diagonal step moves on in both, so it counts twice.
            let best = (before[column] + 2.0 * apart)
                .min(before[column + 1] + apart)
                .min(here[column] + apart);
            here[column + 1] = best;
            least = least.min(best);
        }
        if least > give_up {
            return None;
        }
        std::mem::swap(&mut before, &mut here);
    }
    let mean = before[columns] / (rows + columns) as f32;
    (mean <= largest).then_some(mean)
}

/// Euclidean distance.
fn frame_distance(a: &Frame, b: &Frame) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            let apart = a[lane] - b[lane];
            sums[lane] += apart * apart;
        }
    }
    sums.iter().sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::DIMENSIONS;

    const _: () = assert!(DIMENSIONS.is_multiple_of(LANES));

    fn frames(values: &[f32]) -> Vec<Frame> {
        values.iter().map(|&value| [value; DIMENSIONS]).collect()
    }

    /// Goal: stretching costs nothing, other content does. Method: short sequences by hand.
    #[test]
    fn time_may_stretch_content_may_not_change() {
        let said = frames(&[0.0, 1.0, 2.0, 3.0]);
        let slow = frames(&[0.0, 0.0, 1.0, 2.0, 2.0, 3.0]);
        assert_eq!(distance(&said, &slow, f32::MAX), Some(0.0));
        let other = distance(&said, &frames(&[0.0, 1.0, 3.0, 3.0]), f32::MAX).expect("near");
        let expected = (DIMENSIONS as f32).sqrt() / 8.0;
        assert!((other - expected).abs() < 1e-5, "{other}");
    }

    /// Goal: what cannot be near is given up. Method: empty, twice as long, over the bound.
    #[test]
    fn the_far_is_given_up() {
        let said = frames(&[0.0, 1.0, 2.0, 3.0]);
        assert_eq!(distance(&said, &[], f32::MAX), None);
        assert_eq!(distance(&said, &frames(&[0.0; 9]), f32::MAX), None);
        assert_eq!(distance(&said, &frames(&[9.0; 4]), 1.0), None);
    }
}
