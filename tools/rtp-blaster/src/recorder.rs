//! Places what is heard on the time line of the call, by RTP timestamp, and finds speech in it.

use std::time::Duration;

use serde::Serialize;

use crate::codec::{DOWNLINK_SAMPLE_RATE, FRAME_MS};

/// A timestamp this far from its arrival begins a new placement: a restart, not jitter.
const PLACEMENT_SLACK_SAMPLES: u64 = DOWNLINK_SAMPLE_RATE as u64;
/// -44 dBFS: above comfort noise, below speech.
const SPEECH_RMS: f64 = 200.0;
/// A pause inside speech lasts at most this long.
const PAUSE_MS_MAX: usize = 300;
const FRAME_SAMPLES: usize = (DOWNLINK_SAMPLE_RATE * FRAME_MS / 1000) as usize;

/// How a packet found its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Placement {
    /// By arrival time: the first of its stream.
    ByArrival,
    /// By its distance from the one before.
    ByTimestamp,
}

/// A stretch of speech, in seconds of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speech {
    /// Its first frame.
    pub start_s: f64,
    /// The end of its last frame.
    pub end_s: f64,
}

/// A mono recording at 8 kHz; second 0 is the beginning of the call.
#[derive(Debug)]
pub struct Recorder {
    samples: Vec<i16>,
    samples_max: usize,
    /// SSRC, timestamp and position of the packet placed last.
    anchor: Option<(u32, u32, u64)>,
}

impl Recorder {
    /// Records at most so long; what comes later is left out.
    pub fn new(length_max: Duration) -> Self {
        Self {
            samples: Vec::new(),
            samples_max: position_at(length_max) as usize,
            anchor: None,
        }
    }

    /// Writes one packet's samples to their place.
    pub fn place(&mut self, ssrc: u32, timestamp: u32, heard: &[i16], at: Duration) -> Placement {
        let (position, placement) = match self.by_timestamp(ssrc, timestamp, position_at(at)) {
            Some(position) => (position, Placement::ByTimestamp),
            None => {
                // A stream that follows another is not written over its end.
                let free_from = self.anchor.map_or(0, |_| self.samples.len() as u64);
                (position_at(at).max(free_from), Placement::ByArrival)
            }
        };
        self.anchor = Some((ssrc, timestamp, position));
        self.write(position, heard);
        placement
    }

    /// Everything heard.
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// Gives the samples away.
    pub fn into_samples(self) -> Vec<i16> {
        self.samples
    }

    fn by_timestamp(&self, ssrc: u32, timestamp: u32, by_arrival: u64) -> Option<u64> {
        let (anchor_ssrc, anchor_timestamp, anchor_position) = self.anchor?;
        let step = timestamp.wrapping_sub(anchor_timestamp).cast_signed();
        let position = anchor_position.checked_add_signed(step.into())?;
        let is_near = position.abs_diff(by_arrival) <= PLACEMENT_SLACK_SAMPLES;
        (ssrc == anchor_ssrc && is_near).then_some(position)
    }

    fn write(&mut self, position: u64, heard: &[i16]) {
        let end = position as usize + heard.len();
        if end > self.samples_max {
            return;
        }
        self.samples.resize(self.samples.len().max(end), 0);
        self.samples[position as usize..end].copy_from_slice(heard);
    }
}

/// Whether a packet's samples are louder than a quiet room.
pub fn is_speech(samples: &[i16]) -> bool {
    let energy: f64 = samples
        .iter()
        .map(|&sample| f64::from(sample).powi(2))
        .sum();
    !samples.is_empty() && energy >= SPEECH_RMS * SPEECH_RMS * samples.len() as f64
}

/// The stretches of speech in a recording at 8 kHz, to 20 ms.
pub fn speech_in(samples: &[i16]) -> Vec<Speech> {
    let pause_frames_max = PAUSE_MS_MAX / FRAME_MS as usize;
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    let frames = samples.chunks(FRAME_SAMPLES).enumerate();
    for (frame, _) in frames.filter(|(_, samples)| is_speech(samples)) {
        match stretches.last_mut() {
            Some((_, end)) if frame - *end <= pause_frames_max => *end = frame + 1,
            _ => stretches.push((frame, frame + 1)),
        }
    }
    let seconds = |frame: usize| (frame * FRAME_MS as usize) as f64 / 1000.0;
    let speech = |(start, end)| Speech {
        start_s: seconds(start),
        end_s: seconds(end),
    };
    stretches.into_iter().map(speech).collect()
}

fn position_at(at: Duration) -> u64 {
    at.as_micros() as u64 * u64::from(DOWNLINK_SAMPLE_RATE) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Goal: jitter moves nothing, gaps stay gaps. Method: packets with known timestamps at odd
    /// arrival times, one lost, two out of order.
    #[test]
    fn timestamps_decide_the_place() {
        let mut recorder = Recorder::new(10_000 * MS);
        for (timestamp, value, arrival_ms) in
            [(0, 1, 100), (320, 3, 155), (160, 2, 156), (640, 5, 161)]
        {
            recorder.place(7, timestamp, &[value; 160], arrival_ms * MS);
        }
        let mut expected = vec![0; 800];
        for value in [1, 2, 3, 0, 5] {
            expected.extend([value; 160]);
        }
        assert_eq!(recorder.samples(), expected);
    }

    /// Goal: a new SSRC or a jump is placed by its arrival, and loses nothing that was heard.
    /// Method: three streams, the second one early by jitter.
    #[test]
    fn a_new_stream_is_placed_by_arrival() {
        let mut recorder = Recorder::new(10_000 * MS);
        let mut place = |ssrc, timestamp, at| recorder.place(ssrc, timestamp, &[9; 160], at);
        assert_eq!(place(1, 5000, Duration::ZERO), Placement::ByArrival);
        assert_eq!(place(2, 90_000, 15 * MS), Placement::ByArrival);
        assert_eq!(place(2, 90_160, 40 * MS), Placement::ByTimestamp);
        assert_eq!(place(2, 900_000_000, 100 * MS), Placement::ByArrival);
        assert_eq!(recorder.samples()[..480], [9; 480]);
        assert_eq!(recorder.samples()[480..800], [0; 320]);
        assert_eq!(recorder.samples()[800..], [9; 160]);
    }

    /// Goal: the recording is bounded whatever a packet claims. Method: far timestamps and times.
    #[test]
    fn nothing_is_recorded_beyond_the_limit() {
        let mut recorder = Recorder::new(40 * MS);
        recorder.place(1, 0, &[1; 160], Duration::ZERO);
        recorder.place(1, 160, &[1; 160], 20 * MS);
        recorder.place(1, 320, &[1; 160], 40 * MS);
        recorder.place(1, 0x8000_0000, &[1; 160], 1_000_000 * MS);
        assert_eq!(recorder.samples().len(), 320);
    }

    /// Goal: speech is found to the frame, short pauses kept inside. Method: a drawn envelope.
    #[test]
    fn speech_is_found_to_the_frame() {
        let mut samples = vec![50_i16; 8000];
        samples[1600..3200].fill(1000);
        samples[4000..4800].fill(-1000);
        samples[7360..7520].fill(1000); // 320 ms after the one before
        let expected = [
            Speech {
                start_s: 0.2,
                end_s: 0.6,
            },
            Speech {
                start_s: 0.92,
                end_s: 0.94,
            },
        ];
        assert_eq!(speech_in(&samples), expected);
    }
}
