//! What one leg hears: stored speech from its queue, else live audio as it comes.
//!
//! One voice at a time, and stored speech comes first: it was made to be heard whole, and waits if
//! it must. Live audio is worth hearing only now, so what comes while stored speech is heard is
//! dropped and counted. A voice that is taken away is ended for the tile as well, which would else
//! wait for the rest of it and make some up. Pure: time is an argument.

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
    /// What the tile was handed last, if it expects more of it.
    begun: Option<Begun>,
}

/// An utterance that the tile waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Begun {
    utterance: UtteranceId,
    pace: Pace,
}

impl Listener {
    /// Of a leg that has heard nothing yet.
    pub fn new(leg: LegId) -> Self {
        Self {
            leg,
            stored: SpeechQueue::default(),
            live: LiveVoice::new(),
            begun: None,
        }
    }

    /// Queues stored speech, PCM in the machine's order, and returns how many samples of older
    /// speech were given up for it.
    pub fn queue(&mut self, now: Micros, utterance: UtteranceId, pcm: &[u8], part: Part) -> usize {
        let (samples, _) = pcm.as_chunks::<SAMPLE_BYTES>();
        let samples = samples.iter().map(|bytes| i16::from_le_bytes(*bytes));
        let lost = self.stored.push(now, utterance, samples);
        if part == Part::Last {
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
        part: Part,
        mut play: impl FnMut(DownlinkFrame),
    ) -> LiveHeard {
        let (samples, _) = pcm.as_chunks::<SAMPLE_BYTES>();
        let heard = self.hear_samples(now, utterance, samples, i16::from_le_bytes, &mut play);
        if part == Part::Last
            && heard == LiveHeard::Played
            && let Some(samples) = self.live.end(utterance)
        {
            play(self.frame(utterance, Part::Last, Pace::Live, samples));
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
        Some(self.frame(next.utterance, next.part, Pace::Stored, next.samples))
    }

    /// Whether no stored speech waits.
    pub fn is_idle(&self) -> bool {
        self.stored.is_empty()
    }

    /// Takes back what stood in for a translation, a prompt or the partner's own voice, as far as
    /// it has not been handed to the tile, and ends what was.
    pub fn retract_stand_in(&mut self, play: impl FnOnce(DownlinkFrame)) {
        let none = UtteranceId::default();
        self.stored.retract(none);
        if self.begun.is_some_and(|begun| begun.utterance == none) {
            self.live.forget();
            self.end_begun(play);
        }
    }

    /// Forgets everything that was not handed to the tile, and ends what was.
    pub fn clear(&mut self, play: impl FnOnce(DownlinkFrame)) {
        self.stored.clear();
        self.live.forget();
        self.end_begun(play);
    }

    /// Tells the tile, with a frame of silence, that no more comes of what it waits for.
    fn end_begun(&mut self, play: impl FnOnce(DownlinkFrame)) {
        if let Some(Begun { utterance, pace }) = self.begun {
            let silence = [0; FRAME_SAMPLES_MAX];
            play(self.frame(utterance, Part::Last, pace, silence));
        }
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
        let Self {
            leg, live, begun, ..
        } = self;
        live.push(utterance, samples, to_sample, |samples| {
            let pace = Pace::Live;
            *begun = Some(Begun { utterance, pace });
            play(DownlinkFrame {
                leg: *leg,
                utterance,
                part: Part::Middle,
                pace,
                samples: *samples,
            });
        });
        LiveHeard::Played
    }

    /// A frame that goes to the tile.
    fn frame(
        &mut self,
        utterance: UtteranceId,
        part: Part,
        pace: Pace,
        samples: [i16; FRAME_SAMPLES_MAX],
    ) -> DownlinkFrame {
        self.begun = (part == Part::Middle).then_some(Begun { utterance, pace });
        DownlinkFrame {
            leg: self.leg,
            utterance,
            part,
            pace,
            samples,
        }
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
        let heard = listener.hear(now, LIVE, &pcm, Part::Middle, |frame| {
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
        listener.queue(T0, SPOKEN, &[1; 10 * FRAME_BYTES], Part::Last);
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
        listener.hear(T0, LIVE, &[5; FRAME_BYTES + 10], Part::Last, |frame| {
            parts.push((frame.part, frame.samples[4] != 0, frame.samples[5] != 0));
        });
        let expected = [(Part::Middle, true, true), (Part::Last, true, false)];
        assert_eq!(parts, expected);
    }

    /// Goal: the tile never waits for more of a voice that was taken away, and is not told of an
    /// end that it knows.
    #[test]
    fn what_is_cleared_is_ended_once_with_silence() {
        for (pace, utterance) in [(Pace::Live, LIVE), (Pace::Stored, SPOKEN)] {
            let mut listener = Listener::new(LEG);
            match pace {
                Pace::Live => drop(live(&mut listener, T0, 3)),
                Pace::Stored => {
                    listener.queue(T0, SPOKEN, &[1; 100 * FRAME_BYTES], Part::Last);
                    while listener.next_frame(T0).is_some() {}
                }
            }
            let mut ends = Vec::new();
            listener.clear(|frame| ends.push(frame));
            listener.clear(|frame| ends.push(frame));
            assert_eq!(ends.len(), 1);
            assert_eq!((ends[0].leg, ends[0].utterance), (LEG, utterance));
            assert_eq!((ends[0].pace, ends[0].part), (pace, Part::Last));
            assert_eq!(ends[0].samples, [0; FRAME_SAMPLES_MAX]);
            assert!(listener.next_frame(T0).is_none() && listener.is_idle());
        }
    }

    #[test]
    fn speech_that_was_heard_to_its_end_is_not_ended_again() {
        let mut listener = Listener::new(LEG);
        listener.queue(T0, SPOKEN, &[1; FRAME_BYTES], Part::Last);
        assert_eq!(listener.next_frame(T0).unwrap().part, Part::Last);
        listener.hear(T0.plus_frames(1), LIVE, &[5; 10], Part::Last, |_| ());
        listener.clear(|_| panic!("nothing was left open"));
    }

    /// Goal: when the translator is back, its stand-in is over and nothing else is.
    #[test]
    fn a_stand_in_is_ended_and_a_translation_is_not() {
        let stand_ins: [fn(&mut Listener); 2] = [
            |listener| {
                let play = |_| ();
                listener.hear_original(T0, &[5; FRAME_SAMPLES_MAX], play);
            },
            |listener| {
                listener.queue_prompt(T0, &[5; 100 * FRAME_SAMPLES_MAX]);
                while listener.next_frame(T0).is_some() {}
            },
        ];
        for begin in stand_ins {
            let mut listener = Listener::new(LEG);
            begin(&mut listener);
            let mut ends = Vec::new();
            listener.retract_stand_in(|frame| ends.push((frame.utterance, frame.part)));
            assert_eq!(ends, [(UtteranceId::default(), Part::Last)]);
            assert!(listener.is_idle());
        }
        let mut listener = Listener::new(LEG);
        live(&mut listener, T0, 1);
        listener.retract_stand_in(|_| panic!("a translation is no stand-in"));
    }
}
