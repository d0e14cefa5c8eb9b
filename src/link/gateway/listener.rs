//! What one leg hears: stored speech from its queue, else live audio as it comes.
//!
//! One voice at a time, and stored speech comes first: it was made to be heard whole, and waits if
//! it must. Live audio is worth hearing only now, so what comes while stored speech is heard is
//! dropped and counted. Pure: time is an argument.

use diglot_rt::msg::{DownlinkFrame, LegId, Pace, Part, UtteranceId};
use diglot_rt::units::{FRAME_SAMPLES_MAX, Micros};

use super::live_voice::LiveVoice;
use super::speech_queue::SpeechQueue;
use crate::link::SAMPLE_BYTES;

/// What became of live audio.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LiveHeard {
    /// It was dropped, since stored speech is heard.
    Covered,
    /// Its frames went to the tile.
    Played,
}

/// The ears of one leg.
#[derive(Debug)]
pub struct Listener {
    leg: LegId,
    stored: SpeechQueue,
    live: LiveVoice,
}

impl Listener {
    /// Of a leg that has heard nothing yet.
    pub fn new(leg: LegId) -> Self {
        Self {
            leg,
            stored: SpeechQueue::default(),
            live: LiveVoice::new(),
        }
    }

    /// Queues stored speech, PCM in the machine's order, and returns how many samples of older
    /// speech were given up for it.
    pub fn queue(
        &mut self,
        now: Micros,
        utterance: UtteranceId,
        pcm: &[u8],
        is_last: bool,
    ) -> usize {
        let (samples, _) = pcm.as_chunks::<SAMPLE_BYTES>();
        let samples = samples.iter().map(|bytes| i16::from_le_bytes(*bytes));
        let lost = self.stored.push(now, utterance, samples);
        if is_last {
            self.stored.end(utterance);
        }
        lost
    }

    /// Queues a whole prompt, which is of no utterance.
    pub fn queue_prompt(&mut self, now: Micros, prompt: &[i16]) {
        let none = UtteranceId::default();
        self.stored.push(now, none, prompt.iter().copied());
        self.stored.end(none);
    }

    /// Plays live audio, PCM in the machine's order, unless stored speech is heard.
    pub fn hear(
        &mut self,
        now: Micros,
        utterance: UtteranceId,
        pcm: &[u8],
        is_last: bool,
        mut play: impl FnMut(DownlinkFrame),
    ) -> LiveHeard {
        let (samples, _) = pcm.as_chunks::<SAMPLE_BYTES>();
        let heard = self.hear_samples(now, utterance, samples, i16::from_le_bytes, &mut play);
        if is_last && heard == LiveHeard::Played {
            let leg = self.leg;
            self.live.end(utterance, |samples| {
                play(frame(leg, utterance, Part::Last, Pace::Live, *samples));
            });
        }
        heard
    }

    /// Plays the partner's own voice, which is live and of no utterance, unless stored speech is
    /// heard.
    pub fn hear_original(
        &mut self,
        now: Micros,
        samples: &[i16],
        mut play: impl FnMut(DownlinkFrame),
    ) -> LiveHeard {
        let none = UtteranceId::default();
        self.hear_samples(now, none, samples, |sample| sample, &mut play)
    }

    /// The next frame of stored speech, if one is ready and the tile should have it by now.
    pub fn next_frame(&mut self, now: Micros) -> Option<DownlinkFrame> {
        let next = self.stored.next_frame(now)?;
        Some(frame(
            self.leg,
            next.utterance,
            next.part,
            Pace::Stored,
            next.samples,
        ))
    }

    /// Whether no stored speech waits.
    pub fn is_idle(&self) -> bool {
        self.stored.is_empty()
    }

    /// Takes back the prompt, as far as it has not been heard.
    pub fn retract_prompt(&mut self) {
        self.stored.retract(UtteranceId::default());
    }

    /// Forgets everything that was not handed to the tile.
    pub fn clear(&mut self) {
        self.stored.clear();
        self.live.forget();
    }

    fn hear_samples<T: Copy>(
        &mut self,
        now: Micros,
        utterance: UtteranceId,
        samples: &[T],
        to_sample: impl Fn(T) -> i16,
        play: &mut impl FnMut(DownlinkFrame),
    ) -> LiveHeard {
        if self.stored.is_heard(now) {
            self.live.forget();
            return LiveHeard::Covered;
        }
        let leg = self.leg;
        self.live.push(utterance, samples, to_sample, |samples| {
            play(frame(leg, utterance, Part::Middle, Pace::Live, *samples));
        });
        LiveHeard::Played
    }
}

fn frame(
    leg: LegId,
    utterance: UtteranceId,
    part: Part,
    pace: Pace,
    samples: [i16; FRAME_SAMPLES_MAX],
) -> DownlinkFrame {
    DownlinkFrame {
        leg,
        utterance,
        part,
        pace,
        samples,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEG: LegId = LegId {
        slot: 3,
        generation: 1,
    };
    const LIVE: UtteranceId = UtteranceId(7);
    const SPOKEN: UtteranceId = UtteranceId(9);
    const T0: Micros = Micros(1_000_000);
    const FRAME_BYTES: usize = SAMPLE_BYTES * FRAME_SAMPLES_MAX;

    fn live(listener: &mut Listener, now: Micros, frames: usize) -> (LiveHeard, usize) {
        let mut played = 0;
        let pcm = vec![5; frames * FRAME_BYTES];
        let heard = listener.hear(now, LIVE, &pcm, false, |frame| {
            assert_eq!((frame.leg, frame.utterance), (LEG, LIVE));
            assert_eq!((frame.pace, frame.part), (Pace::Live, Part::Middle));
            played += 1;
        });
        (heard, played)
    }

    /// Goal: live audio is handed over on arrival, however much there is: the tile knows what is
    /// too much, a schedule here would only add to the delay.
    #[test]
    fn live_audio_goes_to_the_tile_as_it_comes() {
        let mut listener = Listener::new(LEG);
        for frames in [1, 100, 3] {
            let heard = live(&mut listener, T0, frames);
            assert_eq!(heard, (LiveHeard::Played, frames));
        }
        assert!(listener.next_frame(T0).is_none(), "nothing is queued");
    }

    /// Goal: stored speech is heard whole and alone; live audio is back as soon as it is over.
    #[test]
    fn stored_speech_comes_first_and_live_audio_returns_after_it() {
        let mut listener = Listener::new(LEG);
        assert_eq!(live(&mut listener, T0, 1), (LiveHeard::Played, 1));
        listener.queue(T0, SPOKEN, &[1; 10 * FRAME_BYTES], true);
        let mut spoken = 0;
        for tick in 0..10 {
            let now = T0.plus_frames(tick);
            while let Some(frame) = listener.next_frame(now) {
                assert_eq!((frame.pace, frame.utterance), (Pace::Stored, SPOKEN));
                spoken += 1;
            }
            assert_eq!(live(&mut listener, now, 1), (LiveHeard::Covered, 0));
        }
        assert_eq!(spoken, 10);
        let over = T0.plus_frames(10);
        assert_eq!(live(&mut listener, over, 1), (LiveHeard::Played, 1));
    }

    #[test]
    fn the_end_of_live_audio_is_told_with_what_is_left_of_it() {
        let mut listener = Listener::new(LEG);
        let mut parts = Vec::new();
        listener.hear(T0, LIVE, &[5; FRAME_BYTES + 10], true, |frame| {
            parts.push((frame.part, frame.samples[4] != 0, frame.samples[5] != 0));
        });
        let expected = [(Part::Middle, true, true), (Part::Last, true, false)];
        assert_eq!(parts, expected);
    }
}
