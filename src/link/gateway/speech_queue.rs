//! What one listener is to hear: speech arrives in bursts of any size, leaves frame by frame.
//!
//! One voice at a time: utterances are heard in the order in which their audio began to arrive,
//! never over each other. The queue runs a few frames ahead of the frame clock and no further, so
//! that what has not been fed can still be taken back. Pure: time is an argument.

use std::collections::VecDeque;

use diglot_rt::limits::FEED_LEAD_FRAMES;
use diglot_rt::msg::{Part, UtteranceId};
use diglot_rt::units::{FRAME_SAMPLES_MAX, FRAME_US, Micros, SampleRate};

/// Speech that may wait for its turn: a minute, longer than any utterance that is still worth
/// hearing. Beyond it the oldest speech is given up.
pub const QUEUE_SAMPLES_MAX: usize = 60 * SampleRate::Hz16000.hertz() as usize;

/// A sender that goes quiet for this long without saying so has ended its utterance.
pub const SILENT_END_MS: u64 = 100;

/// One frame on its way to the listener's tile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueuedFrame {
    /// The utterance it belongs to.
    pub utterance: UtteranceId,
    /// Whether the utterance goes on.
    pub part: Part,
    /// 20 ms at 16 kHz, padded with silence at the utterance's end.
    pub samples: [i16; FRAME_SAMPLES_MAX],
}

/// The bounded, paced queue of one listener.
#[derive(Debug, Default)]
pub struct SpeechQueue {
    samples: VecDeque<i16>,
    /// How `samples` divides into utterances, front first; never empty segments at the back.
    segments: VecDeque<Segment>,
    /// Set while frames are under way to the tile.
    schedule: Option<Schedule>,
    last_arrival: Micros,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    utterance: UtteranceId,
    samples: usize,
    state: SegmentState,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SegmentState {
    Open,
    Ended,
}

/// The tile plays frame `n` of a run about `n · 20 ms` after the run was begun.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start: Micros,
    fed: u64,
}

impl SpeechQueue {
    /// Takes audio of an utterance and returns how many samples of the oldest speech were given up
    /// for it (0 unless the queue is full).
    pub fn push(
        &mut self,
        now: Micros,
        utterance: UtteranceId,
        audio: impl IntoIterator<Item = i16>,
    ) -> usize {
        let before = self.samples.len();
        self.samples.extend(audio);
        let added = self.samples.len() - before;
        if added == 0 {
            return 0;
        }
        self.last_arrival = now;
        match self.segments.back_mut() {
            Some(last) if last.utterance == utterance && last.state == SegmentState::Open => {
                last.samples += added;
            }
            previous => {
                if let Some(previous) = previous {
                    previous.state = SegmentState::Ended;
                }
                self.segments.push_back(Segment {
                    utterance,
                    samples: added,
                    state: SegmentState::Open,
                });
            }
        }
        self.give_up_oldest()
    }

    /// Says that an utterance is complete. Unknown utterances are none of ours: nothing happens.
    pub fn end(&mut self, utterance: UtteranceId) {
        if let Some(segment) = self
            .segments
            .iter_mut()
            .rev()
            .find(|s| s.utterance == utterance)
        {
            segment.state = SegmentState::Ended;
        }
    }

    /// Forgets everything that has not been fed; the listener falls silent within the lead.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.segments.clear();
    }

    /// Takes back what has not been fed of one utterance, wherever it stands in the queue.
    pub fn retract(&mut self, utterance: UtteranceId) {
        let mut start = 0;
        let samples = &mut self.samples;
        self.segments.retain(|segment| {
            if segment.utterance != utterance {
                start += segment.samples;
                return true;
            }
            samples.drain(start..start + segment.samples);
            false
        });
    }

    /// The next frame, if one is ready and the tile should have it by now.
    pub fn next_frame(&mut self, now: Micros) -> Option<QueuedFrame> {
        self.end_if_silent(now);
        self.forget_spent_schedule(now);
        if !self.is_frame_ready() {
            return None;
        }
        let schedule = self.schedule.get_or_insert(Schedule { start: now, fed: 0 });
        let played = now.since(schedule.start) / FRAME_US;
        if schedule.fed >= played + FEED_LEAD_FRAMES as u64 {
            return None;
        }
        schedule.fed += 1;
        Some(self.take_frame())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether the listener hears some of it, as far as is known here, or is about to.
    pub fn is_heard(&mut self, now: Micros) -> bool {
        self.forget_spent_schedule(now);
        self.schedule.is_some() || !self.is_empty()
    }

    /// A tile that has played all it was fed starts a new run, so a stall of ours is never followed
    /// by a burst.
    fn forget_spent_schedule(&mut self, now: Micros) {
        if let Some(schedule) = self.schedule
            && now >= schedule.start.plus_frames(schedule.fed)
        {
            self.schedule = None;
        }
    }

    fn end_if_silent(&mut self, now: Micros) {
        if now >= self.last_arrival.plus_ms(SILENT_END_MS)
            && let Some(last) = self.segments.back_mut()
        {
            last.state = SegmentState::Ended;
        }
    }

    fn is_frame_ready(&self) -> bool {
        self.segments
            .front()
            .is_some_and(|s| s.samples >= FRAME_SAMPLES_MAX || s.state == SegmentState::Ended)
    }

    /// Takes one frame off the front segment, which has one.
    fn take_frame(&mut self) -> QueuedFrame {
        let mut frame = QueuedFrame {
            utterance: UtteranceId::default(),
            part: Part::Middle,
            samples: [0; FRAME_SAMPLES_MAX],
        };
        let Some(segment) = self.segments.front_mut() else {
            return frame;
        };
        frame.utterance = segment.utterance;
        let length = segment.samples.min(FRAME_SAMPLES_MAX);
        segment.samples -= length;
        for (target, sample) in frame.samples.iter_mut().zip(self.samples.drain(..length)) {
            *target = sample;
        }
        if segment.samples == 0 && segment.state == SegmentState::Ended {
            frame.part = Part::Last;
            self.segments.pop_front();
        }
        frame
    }

    fn give_up_oldest(&mut self) -> usize {
        let surplus = self.samples.len().saturating_sub(QUEUE_SAMPLES_MAX);
        self.samples.drain(..surplus);
        let mut left = surplus;
        while left > 0
            && let Some(segment) = self.segments.front_mut()
        {
            let taken = left.min(segment.samples);
            segment.samples -= taken;
            left -= taken;
            if segment.samples == 0 && self.segments.len() > 1 {
                self.segments.pop_front();
            }
        }
        surplus
    }
}

#[cfg(test)]
mod tests {
    //! Goal: chunks of any size become whole frames, in order, a bounded lead ahead of the clock.
    //! Method: virtual time; every frame that comes out is looked at.

    use super::*;

    const FIRST: UtteranceId = UtteranceId(1);
    const SECOND: UtteranceId = UtteranceId(2);
    const T0: Micros = Micros(1_000_000);

    fn frames_at(queue: &mut SpeechQueue, now: Micros) -> Vec<QueuedFrame> {
        std::iter::from_fn(|| queue.next_frame(now)).collect()
    }

    #[test]
    fn a_burst_is_fed_the_lead_at_once_and_then_a_frame_each_tick() {
        let mut queue = SpeechQueue::default();
        queue.push(T0, FIRST, vec![7; 100 * FRAME_SAMPLES_MAX]);
        assert_eq!(frames_at(&mut queue, T0).len(), FEED_LEAD_FRAMES);
        for tick in 1..50 {
            let now = T0.plus_frames(tick);
            assert_eq!(frames_at(&mut queue, now).len(), 1, "tick {tick}");
        }
    }

    #[test]
    fn a_stall_of_the_feeder_is_not_followed_by_a_burst() {
        let mut queue = SpeechQueue::default();
        queue.push(T0, FIRST, vec![7; 200 * FRAME_SAMPLES_MAX]);
        frames_at(&mut queue, T0);
        assert_eq!(
            frames_at(&mut queue, T0.plus_frames(100)).len(),
            FEED_LEAD_FRAMES
        );
    }

    #[test]
    fn odd_chunks_become_whole_frames_and_the_last_is_padded() {
        let mut queue = SpeechQueue::default();
        for chunk in [1, 333, 7, 320, 18] {
            queue.push(T0, FIRST, vec![9; chunk]);
        }
        queue.end(FIRST);
        let frames = frames_at(&mut queue, T0);
        assert_eq!(frames.len(), 679_usize.div_ceil(FRAME_SAMPLES_MAX));
        assert_eq!(frames[1].part, Part::Middle);
        assert_eq!(frames[2].part, Part::Last);
        assert_eq!(&frames[2].samples[..39], &[9; 39]);
        assert_eq!(&frames[2].samples[39..], &[0; FRAME_SAMPLES_MAX - 39]);
        assert!(queue.is_empty());
    }

    #[test]
    fn an_end_that_comes_after_the_last_whole_frame_still_arrives() {
        let mut queue = SpeechQueue::default();
        queue.push(T0, FIRST, vec![9; FRAME_SAMPLES_MAX]);
        assert_eq!(frames_at(&mut queue, T0)[0].part, Part::Middle);
        queue.end(FIRST);
        let last = frames_at(&mut queue, T0);
        assert_eq!((last.len(), last[0].part), (1, Part::Last));
    }

    #[test]
    fn utterances_never_share_a_frame() {
        let mut queue = SpeechQueue::default();
        queue.push(T0, FIRST, vec![1; 400]);
        queue.push(T0, SECOND, vec![2; 320]);
        queue.end(SECOND);
        let frames = frames_at(&mut queue, T0);
        let parts: Vec<_> = frames.iter().map(|f| (f.utterance, f.part)).collect();
        assert_eq!(
            parts,
            [
                (FIRST, Part::Middle),
                (FIRST, Part::Last),
                (SECOND, Part::Last)
            ]
        );
        assert!(!frames[1].samples.contains(&2));
    }

    #[test]
    fn an_utterance_taken_back_leaves_the_others_whole() {
        let mut queue = SpeechQueue::default();
        for (utterance, value) in [(FIRST, 1), (SECOND, 2), (FIRST, 3)] {
            queue.push(T0, utterance, vec![value; FRAME_SAMPLES_MAX]);
            queue.end(utterance);
        }
        queue.retract(FIRST);
        let frames = frames_at(&mut queue, T0);
        assert_eq!((frames.len(), frames[0].utterance), (1, SECOND));
        assert_eq!(frames[0].samples, [2; FRAME_SAMPLES_MAX]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_sender_that_never_says_it_ended_is_ended_by_its_silence() {
        let mut queue = SpeechQueue::default();
        queue.push(T0, FIRST, vec![1; 100]);
        assert_eq!(queue.next_frame(T0), None);
        assert_eq!(
            queue.next_frame(T0.plus_ms(SILENT_END_MS)).unwrap().part,
            Part::Last
        );
    }

    #[test]
    fn a_full_queue_gives_up_the_oldest_speech_and_says_how_much() {
        let mut queue = SpeechQueue::default();
        assert_eq!(queue.push(T0, FIRST, vec![1; QUEUE_SAMPLES_MAX]), 0);
        queue.end(FIRST);
        assert_eq!(queue.push(T0, SECOND, vec![2; 1000]), 1000);
        assert_eq!(queue.samples.len(), QUEUE_SAMPLES_MAX);
        let counted: usize = queue.segments.iter().map(|s| s.samples).sum();
        assert_eq!(counted, QUEUE_SAMPLES_MAX);
    }
}
