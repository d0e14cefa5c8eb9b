//! Are a leg's signed linear samples the right way round? Swapped bytes turn speech into noise.
//!
//! Both readings of the first frames with sound in them are compared. Sound moves in small steps
//! for its size; the wrong reading of it jumps as white noise does, about its own mean and at full
//! scale, because the low bytes of neighbours have nothing to do with each other. Only if our
//! reading is such noise and the other reading is sound, the order is suspected: real noise is
//! noise either way. Costs one pass over the payloads it looks at, and nothing after.

use crate::limits::DATAGRAM_BYTES_MAX;

/// Frames with sound that make a judgement: 200 ms.
const FRAMES_PER_VERDICT: u32 = 10;
/// Judgements after which an innocent leg is believed for good, 10 s of sound: the first may be of
/// ringing, and a shout that came over G.711 is hard to read, since its low bytes are few.
const VERDICTS_MAX: u32 = 50;
/// Samples on average below which a reading is no sound: -50 dBov, as in a pause.
const SOUND_MEAN_MIN: u64 = 100;
/// Samples of full-scale noise on average are 16 384; sound that loud would be overdriven.
const NOISE_MEAN_MIN: u64 = 10_000;
/// Steps of white noise are 4/3 of its samples, evenly spread; those of speech below 1.
const NOISE_STEPS_PERCENT: u64 = 110;
/// Steps of the other reading that are still called sound.
const SOUND_STEPS_PERCENT: u64 = 70;
/// The mean of sound is near 0; a wrong reading's may be anywhere.
const SOUND_OFFSET_PERCENT: u64 = 25;

/// Looks at one leg's payloads until it knows.
#[derive(Clone, Debug)]
pub struct ByteOrder {
    ours: Reading,
    swapped: Reading,
    samples: u64,
    /// In 0 .. [`FRAMES_PER_VERDICT`].
    frames: u32,
    /// Judgements left; 0 is the end of it.
    verdicts_left: u32,
}

/// What a payload says about the order of its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Nothing against it.
    Plausible,
    /// The bytes are swapped; said once.
    Suspected,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    sizes: u64,
    steps: u64,
    sum: i64,
}

impl ByteOrder {
    /// Knows nothing yet.
    pub const fn new() -> Self {
        const NOTHING: Reading = Reading {
            sizes: 0,
            steps: 0,
            sum: 0,
        };
        Self {
            ours: NOTHING,
            swapped: NOTHING,
            samples: 0,
            frames: 0,
            verdicts_left: VERDICTS_MAX,
        }
    }

    /// Looks at a payload of big-endian samples.
    ///
    /// # Real-time
    /// Wait-free, no allocation; nothing to do once it knows.
    pub fn look(&mut self, payload: &[u8]) -> Verdict {
        let count = payload.len() as u64 / 2;
        if self.verdicts_left == 0 || count == 0 {
            return Verdict::Plausible;
        }
        let ours = Reading::of(payload, i16::from_be_bytes);
        let swapped = Reading::of(payload, i16::from_le_bytes);
        let is_sound = |reading: &Reading| reading.sizes >= SOUND_MEAN_MIN * count;
        if !is_sound(&ours) || !is_sound(&swapped) {
            return Verdict::Plausible;
        }
        self.ours.add(&ours);
        self.swapped.add(&swapped);
        self.samples += count;
        self.frames += 1;
        if self.frames < FRAMES_PER_VERDICT {
            return Verdict::Plausible;
        }
        let is_suspected = self.ours.is_noise(self.samples) && self.swapped.is_sound();
        let verdicts_left = if is_suspected {
            0
        } else {
            self.verdicts_left - 1
        };
        *self = Self {
            verdicts_left,
            ..Self::new()
        };
        if is_suspected {
            Verdict::Suspected
        } else {
            Verdict::Plausible
        }
    }
}

impl Default for ByteOrder {
    fn default() -> Self {
        Self::new()
    }
}

impl Reading {
    fn of(payload: &[u8], read: fn([u8; 2]) -> i16) -> Self {
        // A datagram's samples fit 32 bits in every sum, and these share vectors.
        const { assert!(DATAGRAM_BYTES_MAX as u64 / 2 * (u16::MAX as u64) <= i32::MAX as u64) };
        let payload = &payload[..payload.len().min(DATAGRAM_BYTES_MAX)];
        let (mut sizes, mut steps, mut sum) = (0, 0, 0);
        let mut last = None;
        for bytes in payload.as_chunks::<2>().0 {
            let sample = i32::from(read(*bytes));
            sizes += sample.unsigned_abs();
            steps += (sample - last.unwrap_or(sample)).unsigned_abs();
            sum += sample;
            last = Some(sample);
        }
        Self {
            sizes: sizes.into(),
            steps: steps.into(),
            sum: sum.into(),
        }
    }

    const fn add(&mut self, other: &Self) {
        self.sizes += other.sizes;
        self.steps += other.steps;
        self.sum += other.sum;
    }

    const fn is_noise(&self, samples: u64) -> bool {
        self.sizes >= NOISE_MEAN_MIN * samples
            && self.steps * 100 >= self.sizes * NOISE_STEPS_PERCENT
    }

    const fn is_sound(&self) -> bool {
        self.steps * 100 <= self.sizes * SOUND_STEPS_PERCENT
            && self.sum.unsigned_abs() * 100 <= self.sizes * SOUND_OFFSET_PERCENT
    }
}
