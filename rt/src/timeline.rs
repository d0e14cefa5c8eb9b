//! The uplink of one leg as an unbroken row of 20 ms frames, whatever its packets were like.
//!
//! Payloads of any length are cut into exact frames; a gap in the timestamps is filled with as
//! much, to the sample; a phone that sends nothing is given time at the pace of the clock, so that
//! the recogniser's goes on. What is made up is the sound before the gap, faded away within 60 ms
//! and over to the sound after it, then silence: the recogniser hears no click. When its packets
//! come after all, the silence already given counts against the gap. If they had only been delayed,
//! more time was given than had passed: that debt is remembered and made good by leaving out
//! frames of its pauses. Speech is never left out.
//!
//! Timestamps are believed as far as the clock agrees: no more is made up than the time in which
//! nothing was heard, and a little credit for jitter. Audio that says it comes later still is
//! joined on, or a phone that stamps wrongly would talk to the recogniser faster than time.

use crate::codec::Decoder;
use crate::dsp::comfort_noise::ComfortNoise;
use crate::dsp::pause::Pauses;
use crate::dsp::plc::{Concealed, Concealer};
use crate::limits::{
    FAST_CLOCK_PART, FILL_AFTER_MS, FILL_CREDIT_FRAMES, FILL_DEBT_FRAMES_MAX, GAP_FRAMES_MAX,
};
use crate::msg::{Codec, FrameKind, LegId, UplinkFrame};
use crate::reorder::{Follows, Released};
use crate::units::{Dbov, FRAME_SAMPLES_MAX, FRAME_US, Micros};

/// What the timeline has to say besides frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Continuity {
    /// The audio follows what went before; a gap was filled.
    Kept,
    /// The timestamps jumped further than a gap can be, or than time went: the audio was joined on.
    Resynced,
}

/// A frame, or the leave to go without.
#[derive(Clone, Copy, Debug)]
pub enum Cut<'a> {
    /// The next frame, with sound in it that was made up from what went before.
    Concealed(&'a UplinkFrame),
    /// The next frame.
    Frame(&'a UplinkFrame),
    /// A frame of a pause was left out to make good for one made up too many.
    Skipped,
}

/// The uplink of one leg.
#[derive(Clone, Debug)]
pub struct Timeline {
    decoder: Decoder,
    bytes_per_unit: usize,
    samples_per_frame: usize,
    /// Samples in one unit of the timestamp; `len` and gaps are whole numbers of it.
    samples_per_unit: usize,
    /// The frame that is being filled; its index is that of the next frame to be emitted.
    frame: UplinkFrame,
    /// Samples in it, in 0 .. `samples_per_frame`.
    len: usize,
    /// Samples of silence given since the last packet.
    made_up: u64,
    /// Samples of silence given too many, at most [`FILL_DEBT_FRAMES_MAX`] frames.
    debt: u64,
    /// Samples of time that went unheard and may still be made up; between packets at most
    /// [`FILL_CREDIT_FRAMES`] frames.
    credit: u64,
    /// When the newest packet that was appended had arrived. Nothing before the first one.
    newest: Option<Micros>,
    /// When the next frame of silence is due, unless a packet comes. Nothing before the first one.
    next_fill: Option<Micros>,
    /// What silence sounds like, if the phone said so (RFC 3389).
    noise: Option<ComfortNoise>,
    concealer: Concealer,
    /// Learns from what was received.
    pauses: Pauses,
    /// Whether the frame that is being filled has concealed sound in it.
    repair: Concealed,
}

impl Timeline {
    /// The beginning of a leg that is sent `codec`.
    pub const fn new(leg: LegId, codec: Codec) -> Self {
        let rate = codec.sample_rate();
        let samples_per_frame = rate.samples_per_frame();
        Self {
            decoder: Decoder::new(codec),
            bytes_per_unit: codec.bytes_per_unit(),
            samples_per_frame,
            samples_per_unit: codec.samples_per_unit(),
            frame: UplinkFrame {
                leg,
                index: 0,
                at: Micros(0),
                kind: FrameKind::Filled,
                rate,
                samples: [0; FRAME_SAMPLES_MAX],
            },
            len: 0,
            made_up: 0,
            debt: 0,
            credit: FILL_CREDIT_FRAMES as u64 * samples_per_frame as u64,
            newest: None,
            next_fill: None,
            noise: None,
            concealer: Concealer::new(rate),
            pauses: Pauses::new(),
            repair: Concealed::Silent,
        }
    }

    /// The phone was heard at `now`: nothing is made up for a while.
    pub const fn heard(&mut self, now: Micros) {
        self.next_fill = Some(now.plus_ms(FILL_AFTER_MS));
    }

    /// The phone said how loud its silence is, until it speaks again.
    pub fn quieten(&mut self, level: Dbov) {
        self.noise = Some(ComfortNoise::new(level));
    }

    /// Appends a packet's audio, after the silence its timestamp calls for.
    ///
    /// # Real-time
    /// Wait-free, no allocation; at most [`GAP_FRAMES_MAX`] frames and those of the payload.
    pub fn append(&mut self, released: &Released<'_>, mut emit: impl FnMut(Cut<'_>)) -> Continuity {
        self.frame.at = released.at;
        self.credit = self.credit.saturating_add(self.unheard(released));
        let continuity = self.bridge(released.follows, &mut emit);
        self.credit = self.credit.min(self.credit_max());
        self.made_up = 0;
        self.noise = None;
        let mut payload = released.payload;
        while !payload.is_empty() {
            let room = self.samples_per_frame - self.len;
            let units = (room / self.samples_per_unit).min(payload.len() / self.bytes_per_unit);
            if units == 0 {
                break;
            }
            let samples = units * self.samples_per_unit;
            let (now, later) = payload.split_at(units * self.bytes_per_unit);
            let heard = &mut self.frame.samples[self.len..self.len + samples];
            self.decoder.decode(now, heard);
            self.concealer.hear(heard);
            self.frame.kind = FrameKind::Received;
            self.grow(samples, &mut emit);
            payload = later;
        }
        continuity
    }

    /// Gives a silent phone's uplink the frames that are due at `now`.
    ///
    /// # Real-time
    /// Wait-free, no allocation; at most [`GAP_FRAMES_MAX`] frames, what is missing then is let go.
    pub fn fill_due(&mut self, now: Micros, mut emit: impl FnMut(Cut<'_>)) {
        let Some(mut due) = self.next_fill else {
            return;
        };
        let frame = self.samples_per_frame as u64;
        for _ in 0..GAP_FRAMES_MAX {
            if now.0 < due.0 {
                break;
            }
            self.frame.at = now;
            if self.debt >= frame {
                self.leave_out();
                emit(Cut::Skipped);
            } else {
                self.silence(frame, &mut emit);
            }
            self.made_up += frame;
            due = due.plus_frames(1);
        }
        self.next_fill = Some(if now.0 < due.0 {
            due
        } else {
            now.plus_frames(1)
        });
    }

    /// When the next frame of silence is due; `None` before the first packet.
    pub const fn next_deadline(&self) -> Option<Micros> {
        self.next_fill
    }

    /// Pays a frame of debt, which the caller knows to be owed, with one that is not given: its
    /// time is there to be made up once more.
    fn leave_out(&mut self) {
        let frame = self.samples_per_frame as u64;
        self.debt -= frame;
        self.credit = (self.credit + frame).min(self.credit_max());
    }

    const fn credit_max(&self) -> u64 {
        FILL_CREDIT_FRAMES as u64 * self.samples_per_frame as u64
    }

    /// Samples of the time since the packet before that neither this one nor silence accounts for.
    fn unheard(&mut self, released: &Released<'_>) -> u64 {
        let before = self.newest.unwrap_or(released.at);
        self.newest = Some(before.max(released.at));
        let frame = self.samples_per_frame as u64;
        let passed = released.at.since(before).saturating_mul(frame) / FRAME_US;
        let units = released.payload.len() / self.bytes_per_unit;
        let heard = (units * self.samples_per_unit) as u64;
        passed.saturating_sub(heard + self.made_up) + passed / FAST_CLOCK_PART
    }

    /// Fills what is left of the gap before a packet.
    fn bridge(&mut self, follows: Follows, emit: &mut impl FnMut(Cut<'_>)) -> Continuity {
        let Follows::After(units) = follows else {
            return Continuity::Kept;
        };
        let frame = self.samples_per_frame as u64;
        let gap = u64::from(units) * self.samples_per_unit as u64;
        let Some(rest) = gap.checked_sub(self.made_up) else {
            let debt = self.debt + (self.made_up - gap);
            self.debt = debt.min(u64::from(FILL_DEBT_FRAMES_MAX) * frame);
            return Continuity::Kept;
        };
        let paid = self.debt.min(rest);
        let missing = rest - paid;
        if rest > u64::from(GAP_FRAMES_MAX) * frame || missing > self.credit {
            return Continuity::Resynced;
        }
        self.debt -= paid;
        self.credit -= missing;
        self.silence(missing, emit);
        Continuity::Kept
    }

    fn silence(&mut self, mut samples: u64, emit: &mut impl FnMut(Cut<'_>)) {
        while samples > 0 {
            let room = self.samples_per_frame - self.len;
            let step = usize::try_from(samples).unwrap_or(usize::MAX).min(room);
            let filled = &mut self.frame.samples[self.len..self.len + step];
            if let Some(noise) = &mut self.noise {
                noise.fill(filled);
                self.concealer.forget();
            } else if self.concealer.conceal(filled) == Concealed::Repeated {
                self.repair = Concealed::Repeated;
            }
            self.grow(step, emit);
            samples -= step as u64;
        }
    }

    /// Counts samples that were written and lets a full frame go.
    fn grow(&mut self, samples: usize, emit: &mut impl FnMut(Cut<'_>)) {
        self.len += samples;
        if self.len < self.samples_per_frame {
            return;
        }
        self.len = 0;
        let frame = self.samples_per_frame as u64;
        let samples = &self.frame.samples[..self.samples_per_frame];
        if self.frame.kind == FrameKind::Received {
            self.pauses.hear(samples);
        }
        if self.debt >= frame && self.pauses.is_pause(samples) {
            self.leave_out();
            emit(Cut::Skipped);
        } else {
            emit(match self.repair {
                Concealed::Repeated => Cut::Concealed(&self.frame),
                Concealed::Silent => Cut::Frame(&self.frame),
            });
            self.frame.index += 1;
        }
        self.repair = Concealed::Silent;
        self.frame.kind = FrameKind::Filled;
    }
}
