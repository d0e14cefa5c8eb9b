//! What all legs say, encoded before the start: sending a frame is then a copy.
//!
//! ```text
//! arena   | payload 0 | payload 1 | payload 2 | ...
//! leg 0   period of payload numbers, said over and over
//! ```

use std::time::Duration;

use super::marker::{DIGITS, MARKER_FRAMES, digits_of, write_tone};
use super::plan::{Plan, Voice};
use crate::codec::{FRAME_MS, UplinkCodec};

/// A tone or silence lasts so long before it comes round: an adaptive codec has settled by then.
const TONE_PERIOD_FRAMES: usize = 50;
/// Markers of neighbours are so many frames apart, so that they do not all fall into one frame.
const MARKER_STAGGER_FRAMES: usize = 7;
/// Legs that say the same recording begin so many frames apart.
const WAV_STAGGER_FRAMES: usize = 13;

/// The encoded voices of all legs.
#[derive(Debug)]
pub struct Content {
    frame_bytes: usize,
    arena: Vec<u8>,
    legs: Vec<Period>,
}

#[derive(Clone, Debug)]
struct Period {
    /// Payload numbers, one per frame; never empty.
    frames: Vec<u32>,
    /// What is said in frame 0, as an index into the period.
    offset: usize,
}

impl Content {
    /// Encodes everything the plan's legs will say.
    pub fn new(plan: &Plan) -> Self {
        let mut content = Self {
            frame_bytes: plan.codec.frame_bytes(),
            arena: Vec::new(),
            legs: Vec::new(),
        };
        match &plan.voice {
            Voice::Markers(every) => content.add_markers(plan, marker_period_frames(*every)),
            Voice::Tone => content.add_tones(plan),
            Voice::Wav(samples) => content.add_recording(plan, samples),
        }
        content
    }

    /// The payload of a leg's frame.
    pub fn payload(&self, leg: usize, frame: u64) -> &[u8] {
        let period = &self.legs[leg];
        let index = (frame as usize + period.offset) % period.frames.len();
        let begin = period.frames[index] as usize * self.frame_bytes;
        &self.arena[begin..begin + self.frame_bytes]
    }

    fn add_markers(&mut self, plan: &Plan, period_frames: usize) {
        let is_stateful = plan.codec == UplinkCodec::G722;
        let shared = if is_stateful {
            Vec::new()
        } else {
            let tones = (0..DIGITS).map(|digit| tone(plan.codec, digit));
            let silence = vec![0; plan.codec.frame_samples() as usize];
            self.encode(plan.codec, tones.chain([silence]))
        };
        for leg in 0..plan.legs {
            let frames = if is_stateful {
                let silence = vec![0; plan.codec.frame_samples() as usize];
                let marker = digits_of(leg).map(|digit| tone(plan.codec, digit));
                let rest = std::iter::repeat_n(silence, period_frames - MARKER_FRAMES);
                self.encode(plan.codec, marker.into_iter().chain(rest))
            } else {
                let mut frames = digits_of(leg).map(|digit| shared[digit]).to_vec();
                frames.resize(period_frames, shared[DIGITS]);
                frames
            };
            let offset = period_frames - first_marker_frame(leg, period_frames) as usize;
            self.legs.push(Period { frames, offset });
        }
    }

    fn add_tones(&mut self, plan: &Plan) {
        let shared: Vec<_> = (0..DIGITS)
            .map(|digit| {
                let frame = tone(plan.codec, digit);
                self.encode(plan.codec, std::iter::repeat_n(frame, TONE_PERIOD_FRAMES))
            })
            .collect();
        let period = |leg: usize| Period {
            frames: shared[leg % DIGITS].clone(),
            offset: 0,
        };
        self.legs.extend((0..plan.legs).map(period));
    }

    fn add_recording(&mut self, plan: &Plan, samples: &[i16]) {
        let frame_samples = plan.codec.frame_samples() as usize;
        let chunks = samples.chunks_exact(frame_samples).map(<[i16]>::to_vec);
        let frames = self.encode(plan.codec, chunks);
        let period = |leg| Period {
            frames: frames.clone(),
            offset: leg * WAV_STAGGER_FRAMES % frames.len(),
        };
        self.legs.extend((0..plan.legs).map(period));
    }

    /// Appends one stream's payloads and returns their numbers.
    fn encode(&mut self, codec: UplinkCodec, frames: impl Iterator<Item = Vec<i16>>) -> Vec<u32> {
        let mut encoder = codec.encoder();
        frames
            .map(|frame| {
                let number = self.arena.len() / self.frame_bytes;
                encoder.encode(&frame, &mut self.arena);
                number as u32
            })
            .collect()
    }
}

/// Frames from one marker of a leg to its next.
pub fn marker_period_frames(every: Duration) -> usize {
    let frames = every.as_millis() as usize / FRAME_MS as usize;
    frames.max(2 * MARKER_FRAMES)
}

/// The frame of a leg's first marker, below the period.
pub fn first_marker_frame(leg: usize, period_frames: usize) -> u64 {
    (1 + leg * MARKER_STAGGER_FRAMES % (period_frames - 1)) as u64
}

fn tone(codec: UplinkCodec, digit: usize) -> Vec<i16> {
    let mut samples = vec![0; codec.frame_samples() as usize];
    write_tone(digit, &mut samples);
    samples
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::codec::Ear;
    use crate::load::marker::{Detector, Found};

    fn plan(codec: &str, voice: Voice) -> Plan {
        let to = vec![SocketAddr::from(([127, 0, 0, 1], 5000))];
        Plan {
            codec: UplinkCodec::from_name(codec).unwrap(),
            voice,
            ..Plan::new(to, 60)
        }
    }

    /// Goal: each leg's marker is said where the schedule has it, in every period. Method: three
    /// periods of some legs, heard through the codec.
    #[test]
    fn markers_are_where_the_schedule_has_them() {
        for name in ["pcmu", "slin16", "g722"] {
            let plan = plan(name, Voice::Markers(Duration::from_secs(1)));
            let content = Content::new(&plan);
            for leg in [0, 1, 59] {
                let (mut ear, mut detector) = (Ear::new(), Detector::new());
                let (mut onsets, mut samples) = (Vec::new(), Vec::new());
                for frame in 0..150 {
                    let payload = content.payload(leg, frame);
                    let rate_hz = ear.hear(plan.codec.payload_type(), payload, &mut samples);
                    let (onset, found) = detector.hear(&samples, rate_hz.unwrap());
                    onsets.extend(onset.map(|_| frame));
                    assert!(found.is_none_or(|found| found == Found::Marker { leg }));
                }
                let first = first_marker_frame(leg, 50);
                assert_eq!(
                    onsets,
                    [first, first + 50, first + 100],
                    "{name}, leg {leg}"
                );
            }
        }
    }

    /// Goal: a recording is said whole and again, each leg from its own place. Method: a ramp.
    #[test]
    fn a_recording_comes_round() {
        let samples: Vec<i16> = (0..160 * 20).map(|n| n / 160).collect();
        let content = Content::new(&plan("slin", Voice::Wav(samples)));
        let first_sample = |leg, frame| i16::from(content.payload(leg, frame)[1]);
        assert_eq!([0, 19, 20].map(|frame| first_sample(0, frame)), [0, 19, 0]);
        assert_eq!(first_sample(1, 0), 13);
    }
}
