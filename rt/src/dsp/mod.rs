//! Arithmetic on samples: no packet, no clock.

pub mod byte_order;
pub mod comfort_noise;
pub mod fade;
pub mod pause;
pub mod plc;
pub mod rate;
pub mod resample;
pub mod stretch;
mod window;

/// Sound that stays below this is a pause: −50 dBFS.
const QUIET_PEAK: u16 = 104;

/// Whether these samples are a pause: nobody would miss them.
///
/// # Real-time
/// Wait-free, no allocation.
pub fn is_quiet(samples: &[i16]) -> bool {
    let is_below = |sample: &i16| sample.unsigned_abs() < QUIET_PEAK;
    samples.iter().all(is_below)
}

/// `value` as a sample: rounded to the nearest, saturated, 0 if it is not a number.
///
/// Adding 1.5 · 2²³ leaves no fraction bits in an `f32`, so its low 16 bits are the rounded
/// sample; this vectorises, which a saturating cast does not.
///
/// # Real-time
/// Wait-free, no allocation.
pub fn to_sample(value: f32) -> i16 {
    const NO_FRACTION: f32 = 12_582_912.0;
    let [low, high, ..] = (value.clamp(-32_768.0, 32_767.0) + NO_FRACTION)
        .to_bits()
        .to_le_bytes();
    i16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use super::to_sample;

    #[test]
    fn samples_round_and_saturate() {
        let pairs = [
            (0.4, 0),
            (0.6, 1),
            (-0.6, -1),
            (32_766.7, 32_767),
            (-32_768.4, -32_768),
        ];
        for (value, sample) in pairs {
            assert_eq!(to_sample(value), sample);
        }
        assert_eq!(to_sample(1e9), i16::MAX);
        assert_eq!(to_sample(-1e9), i16::MIN);
        assert_eq!(to_sample(f32::NAN), 0);
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(to_sample(f32::from(sample)), sample);
        }
    }
}
