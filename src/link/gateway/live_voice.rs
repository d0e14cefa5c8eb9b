//! Live audio cut into frames as it comes: chunks of any size in, exact frames out at once, what is
//! left over is carried. It keeps nothing else: how deep to buffer, and what to give up rather
//! than play late, is the playout buffer's to decide.

use diglot_rt::msg::UtteranceId;
use diglot_rt::units::FRAME_SAMPLES_MAX;

/// The voice that one listener hears as it is spoken.
#[derive(Debug)]
pub struct LiveVoice {
    utterance: UtteranceId,
    /// The first `filled` samples have come.
    frame: [i16; FRAME_SAMPLES_MAX],
    /// In 0 .. [`FRAME_SAMPLES_MAX`].
    filled: usize,
}

impl LiveVoice {
    /// Nothing heard yet.
    pub const fn new() -> Self {
        Self {
            utterance: UtteranceId(0),
            frame: [0; FRAME_SAMPLES_MAX],
            filled: 0,
        }
    }

    /// Takes audio of an utterance and plays every frame that is complete with it. What another
    /// utterance left over, less than a frame, is forgotten: it is from before a pause.
    pub fn push<T: Copy>(
        &mut self,
        utterance: UtteranceId,
        audio: &[T],
        to_sample: impl Fn(T) -> i16,
        mut play: impl FnMut(&[i16; FRAME_SAMPLES_MAX]),
    ) {
        if self.utterance != utterance {
            self.forget();
            self.utterance = utterance;
        }
        let mut rest = audio;
        while !rest.is_empty() {
            let room = &mut self.frame[self.filled..];
            let (now, later) = rest.split_at(room.len().min(rest.len()));
            for (target, sample) in room.iter_mut().zip(now) {
                *target = to_sample(*sample);
            }
            self.filled += now.len();
            rest = later;
            if self.filled == FRAME_SAMPLES_MAX {
                self.filled = 0;
                play(&self.frame);
            }
        }
    }

    /// The utterance is over: what is left of it, padded with silence.
    pub fn end(&mut self, utterance: UtteranceId) -> Option<[i16; FRAME_SAMPLES_MAX]> {
        if self.utterance != utterance {
            return None;
        }
        self.frame[self.filled..].fill(0);
        self.filled = 0;
        Some(self.frame)
    }

    /// Forgets what is left over.
    pub fn forget(&mut self) {
        self.filled = 0;
    }
}

impl Default for LiveVoice {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: UtteranceId = UtteranceId(1);
    const SECOND: UtteranceId = UtteranceId(2);

    fn ramp(samples: usize) -> Vec<i16> {
        (0..samples).map(|n| n as i16).collect()
    }

    /// Goal: no sample is lost, doubled or held back longer than its frame, whatever the chunks.
    #[test]
    fn chunks_of_any_size_become_whole_frames_in_order() {
        for chunk in [1, 7, 160, 319, 320, 321, 1_000] {
            let (mut voice, mut heard) = (LiveVoice::new(), Vec::new());
            let said = ramp(3_000);
            let mut taken = 0;
            for part in said.chunks(chunk) {
                voice.push(FIRST, part, |s| s, |frame| heard.extend_from_slice(frame));
                taken += part.len();
                assert_eq!(heard.len(), taken / FRAME_SAMPLES_MAX * FRAME_SAMPLES_MAX);
            }
            heard.extend(voice.end(FIRST).unwrap());
            assert_eq!(heard[..3_000], said, "chunks of {chunk}");
            assert!(heard[3_000..].iter().all(|sample| *sample == 0));
        }
    }

    #[test]
    fn what_one_utterance_left_over_is_not_heard_in_the_next() {
        let (mut voice, mut heard) = (LiveVoice::new(), Vec::new());
        voice.push(
            FIRST,
            &[1; 100],
            |s| s,
            |frame| heard.extend_from_slice(frame),
        );
        voice.push(
            SECOND,
            &[2; 320],
            |s| s,
            |frame| heard.extend_from_slice(frame),
        );
        assert_eq!(voice.end(FIRST), None, "it is over already");
        assert_eq!(heard, [2; 320]);
    }
}
