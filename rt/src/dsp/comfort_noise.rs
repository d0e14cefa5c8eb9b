//! Noise so quiet that a line does not sound dead: even, white, and never loud.

use super::to_sample;
use crate::units::Dbov;

/// Nothing louder is ever made, whatever was asked: -40 dBm0, the floor of a quiet office.
pub const LOUDEST: Dbov = Dbov(46);

/// Noise without end for one stream.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    state: u32,
    /// Of evenly spread samples, which are √3 times their root mean square at most.
    peak: f32,
}

impl ComfortNoise {
    /// Noise of this level, or of [`LOUDEST`] if that is quieter.
    pub const fn new(level: Dbov) -> Self {
        const SQRT_3: f32 = 1.732_050_8;
        let level = if level.0 < LOUDEST.0 { LOUDEST } else { level };
        Self {
            // Any but 0 will do.
            state: 0x9e37_79b9,
            peak: level.rms() * SQRT_3,
        }
    }

    /// Fills `samples`.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn fill(&mut self, samples: &mut [i16]) {
        const SCALE: f32 = 1.0 / 32_768.0;
        for sample in samples {
            // Marsaglia's xorshift with 13, 17, 5: 2³² - 1 numbers before it repeats.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 17;
            self.state ^= self.state << 5;
            let [_, _, low, high] = self.state.to_le_bytes();
            *sample = to_sample(f32::from(i16::from_le_bytes([low, high])) * SCALE * self.peak);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::meter::{decibels, rms};
    use crate::units::Dbm0;

    fn level(noise: &mut ComfortNoise) -> f64 {
        let mut samples = [0; 16_000];
        noise.fill(&mut samples);
        decibels(rms(&samples) / 32_768.0)
    }

    #[test]
    fn the_level_is_the_one_asked_for_and_never_loud() {
        for below in 46..=80 {
            let measured = level(&mut ComfortNoise::new(Dbov(below)));
            // Below -70 a sample is a few steps of one, so rounding shows.
            assert!(
                (measured + f64::from(below)).abs() <= 1.0,
                "{measured:.1} dBov instead of -{below}"
            );
        }
        for below in 0..46 {
            assert!(
                level(&mut ComfortNoise::new(Dbov(below))) <= -45.5,
                "{below}"
            );
        }
        assert!(level(&mut ComfortNoise::new(Dbov(127))) < -90.0);
        let measured = level(&mut ComfortNoise::new(Dbm0(-55).below_overload()));
        assert!((measured + 55.0 + 6.15).abs() <= 1.0, "{measured:.1}");
    }
}
