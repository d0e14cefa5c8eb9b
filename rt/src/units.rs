//! Units as types: sample rates, RTP clock rates, levels, microseconds. Nothing here has state.

/// Length of every frame, in milliseconds: Asterisk's own packet time.
pub const FRAME_MS: u32 = 20;

/// Length of every frame, in microseconds.
pub const FRAME_US: u64 = FRAME_MS as u64 * US_PER_MS;

/// Samples of the longest frame carried: 20 ms at 16 kHz.
pub const FRAME_SAMPLES_MAX: usize = SampleRate::Hz16000.samples_per_frame();

const MS_PER_SECOND: u32 = 1000;
const US_PER_MS: u64 = 1000;

/// How many amplitudes describe one second of audio.
///
/// Not the rate of RTP timestamps: G.722 samples at 16 kHz and stamps at 8 kHz (RFC 3551 §4.5.2),
/// so that one is a [`ClockRate`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SampleRate {
    /// Narrow band, the rate of G.711.
    Hz8000,
    /// Wide band, the rate at which Diglot recognises, mixes and speaks.
    Hz16000,
}

impl SampleRate {
    /// Samples in one second.
    pub const fn hertz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
        }
    }

    /// Samples one frame holds at this rate: 160 or 320.
    ///
    /// Exact for every variant, so frame counts never drift against the clock.
    ///
    /// # Real-time
    /// Wait-free, no allocation; usable in constants.
    pub const fn samples_per_frame(self) -> usize {
        (self.hertz() * FRAME_MS / MS_PER_SECOND) as usize
    }
}
const _: () = assert!(SampleRate::Hz8000.samples_per_frame() == 160);

/// How many RTP timestamp units make one second (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClockRate {
    /// Static payload types 0, 8 and 9, and Asterisk's 10 and 11.
    Hz8000,
    /// Asterisk's slin16.
    Hz16000,
}

impl ClockRate {
    /// Timestamp units one frame lasts: 160 or 320.
    pub const fn units_per_frame(self) -> u32 {
        match self {
            Self::Hz8000 => 8 * FRAME_MS,
            Self::Hz16000 => 16 * FRAME_MS,
        }
    }

    /// So many units in whole milliseconds.
    pub const fn milliseconds(self, units: u32) -> u32 {
        units / (self.units_per_frame() / FRAME_MS)
    }
}

/// A level of sound in dB below digital overload, 0 ..= 127 (RFC 3389 §3.1); higher is quieter.
///
/// Overload is the level of a square wave at full scale.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Dbov(pub u8);

impl Dbov {
    /// Root of the mean square of sound of this level, in samples.
    pub const fn rms(self) -> f32 {
        const FULL_SCALE: f32 = 32_768.0;
        /// 10^(-1/20), a decibel down.
        const DECIBEL: f32 = 0.891_250_9;
        let (mut rms, mut n) = (FULL_SCALE, 0);
        while n < self.0 {
            rms *= DECIBEL;
            n += 1;
        }
        rms
    }
}

/// A level of sound relative to the 0 dBm0 of telephony, about -100 ..= 0.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Dbm0(pub i8);

impl Dbm0 {
    /// The same level below overload, to the whole decibel.
    pub const fn below_overload(self) -> Dbov {
        /// ITU-T G.100.1: 0 dBm0 is 6.15 dB below overload.
        const DBM0_BELOW_OVERLOAD: i16 = 6;
        let below = DBM0_BELOW_OVERLOAD - self.0 as i16;
        Dbov(if below < 0 { 0 } else { below.to_le_bytes()[0] })
    }
}
const _: () = assert!(Dbm0(-60).below_overload().0 == 66);

/// A point on a monotonic clock, in microseconds since an epoch the driver chose.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Micros(pub u64);

impl Micros {
    /// This point moved later by `ms` milliseconds.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(US_PER_MS)))
    }

    /// This point moved later by `frames` frames.
    #[must_use]
    pub const fn plus_frames(self, frames: u64) -> Self {
        Self(self.0.saturating_add(frames.saturating_mul(FRAME_US)))
    }

    /// Microseconds from `earlier` to here; 0 if `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
