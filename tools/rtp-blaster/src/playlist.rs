//! What a phone says and when: clips on a time line of frames, silence everywhere else.

use std::path::PathBuf;

use serde::Serialize;

use crate::codec::FRAME_MS;

/// One recording to be said.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Where it came from, for the report.
    pub file: PathBuf,
    /// Wanted beginning, in ms of the call; later if the clip before is still being said.
    pub start_ms: u32,
    /// At the sample rate of the codec.
    pub samples: Vec<i16>,
}

/// When a clip was said, in seconds of the call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    /// The clip's file.
    pub file: PathBuf,
    /// First frame out.
    pub start_s: f64,
    /// End of its last frame.
    pub end_s: f64,
}

/// Clips in the order of their beginning, none over another.
#[derive(Clone, Debug)]
pub struct Playlist {
    clips: Vec<Placed>,
    frame_samples: usize,
    /// The clip that is said now or next: in 0 ..= clips.len().
    current: usize,
}

#[derive(Clone, Debug)]
struct Placed {
    clip: Clip,
    start_frame: u64,
    end_frame: u64,
}

impl Playlist {
    /// Places the clips for frames of so many samples.
    ///
    /// # Panics
    /// When a frame has no samples.
    pub fn new(mut clips: Vec<Clip>, frame_samples: u32) -> Self {
        assert!(frame_samples > 0);
        let frame_samples = frame_samples as usize;
        clips.sort_by_key(|clip| clip.start_ms);
        let mut free_from = 0;
        let place = |clip: Clip| {
            let start_frame = u64::from(clip.start_ms.div_ceil(FRAME_MS)).max(free_from);
            free_from = start_frame + clip.samples.len().div_ceil(frame_samples) as u64;
            Placed {
                clip,
                start_frame,
                end_frame: free_from,
            }
        };
        let clips = clips.into_iter().map(place).collect();
        Self {
            clips,
            frame_samples,
            current: 0,
        }
    }

    /// Fills `samples` for this frame of the call, the last one of a clip padded with silence.
    /// To be asked in order.
    pub fn fill(&mut self, frame: u64, samples: &mut [i16]) {
        samples.fill(0);
        while self
            .clips
            .get(self.current)
            .is_some_and(|placed| placed.end_frame <= frame)
        {
            self.current += 1;
        }
        let Some(placed) = self
            .clips
            .get(self.current)
            .filter(|p| p.start_frame <= frame)
        else {
            return;
        };
        let from = (frame - placed.start_frame) as usize * self.frame_samples;
        let rest = &placed.clip.samples[from..];
        let count = rest.len().min(samples.len());
        samples[..count].copy_from_slice(&rest[..count]);
    }

    /// The first frame after the last clip.
    pub fn end_frame(&self) -> u64 {
        self.clips.last().map_or(0, |placed| placed.end_frame)
    }

    /// When each clip is said that begins within so many frames.
    pub fn said(&self, frames: u64) -> Vec<Said> {
        let seconds = |frame: u64| (frame * u64::from(FRAME_MS)) as f64 / 1000.0;
        self.clips
            .iter()
            .filter(|placed| placed.start_frame < frames)
            .map(|placed| Said {
                file: placed.clip.file.clone(),
                start_s: seconds(placed.start_frame),
                end_s: seconds(placed.end_frame.min(frames)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(name: &str, start_ms: u32, samples: Vec<i16>) -> Clip {
        Clip {
            file: name.into(),
            start_ms,
            samples,
        }
    }

    /// Goal: clips begin on time, wait for each other, and are padded. Method: every frame of a
    /// short call with frames of two samples.
    #[test]
    fn clips_are_said_one_after_the_other() {
        let clips = vec![clip("b", 40, vec![4, 5]), clip("a", 20, vec![1, 2, 3])];
        let mut playlist = Playlist::new(clips, 2);
        let mut heard = Vec::new();
        for frame in 0..5 {
            let mut samples = [9; 2];
            playlist.fill(frame, &mut samples);
            heard.push(samples);
        }
        assert_eq!(heard, [[0, 0], [1, 2], [3, 0], [4, 5], [0, 0]]);
        assert_eq!(playlist.end_frame(), 4);
        let said = playlist.said(3);
        assert_eq!(said.len(), 1, "the second clip begins after three frames");
        assert_eq!((said[0].start_s, said[0].end_s), (0.02, 0.06));
    }
}
