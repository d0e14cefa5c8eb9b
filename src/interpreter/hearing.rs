//! What is being heard: pieces become utterances, and a recogniser's times become ours.

use std::collections::VecDeque;

use diglot_rt::units::Micros;

use super::limits::{
    MARK_MS, MARKS_MAX, SAMPLES_PER_MS, UTTERANCE_CHARS_MAX, UTTERANCE_END_MS_MAX,
};
use super::{Output, Stability};

/// An utterance that has been heard to its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Utterance {
    pub(super) id: u32,
    /// Not empty.
    pub(super) text: String,
    pub(super) speech_end: Option<SpeechEnd>,
    /// When the last final came.
    pub(super) final_at: Micros,
    /// When its end was told or concluded.
    pub(super) ended_at: Micros,
}

/// The end of the last word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SpeechEnd {
    /// When that sample came to us.
    pub(super) at: Micros,
    /// When it was spoken: Unix time in milliseconds.
    pub(super) timestamp: u64,
}

/// The utterance being heard.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Utterances closed so far; the one being heard is the next.
    closed: u32,
    text: String,
    chars: usize,
    speech_end: Option<SpeechEnd>,
    final_at: Micros,
    heard_at: Micros,
}

impl Hearing {
    /// The tail is not final yet; gives the caption.
    pub(super) fn partial(&mut self, now: Micros, tail: &str) -> Option<Output> {
        self.heard_at = now;
        let tail = tail.trim();
        if tail.is_empty() {
            return None;
        }
        let text = if self.text.is_empty() {
            tail.into()
        } else {
            format!("{} {tail}", self.text)
        };
        Some(self.caption(text))
    }

    /// A piece is final; gives the caption.
    pub(super) fn add_final(
        &mut self,
        now: Micros,
        piece: &str,
        speech_end: Option<SpeechEnd>,
    ) -> Option<Output> {
        let piece = piece.trim();
        if piece.is_empty() {
            return None;
        }
        // A piece longer than any vendor sends is cut, which is better than a text without bound.
        let room = UTTERANCE_CHARS_MAX.saturating_sub(self.chars);
        let piece: String = piece.chars().take(room.max(1)).collect();
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(&piece);
        self.chars += piece.chars().count() + 1;
        self.speech_end = speech_end.or(self.speech_end);
        self.final_at = now;
        self.heard_at = now;
        Some(self.caption(self.text.clone()))
    }

    /// Whether it must be closed for its length.
    pub(super) fn is_full(&self) -> bool {
        self.chars >= UTTERANCE_CHARS_MAX
    }

    /// When it is to be closed although nobody told its end.
    pub(super) fn deadline(&self) -> Option<Micros> {
        (!self.text.is_empty()).then(|| self.heard_at.plus_ms(UTTERANCE_END_MS_MAX))
    }

    /// Ends the utterance; `None` if nothing final was heard.
    pub(super) fn close(&mut self, now: Micros) -> Option<Utterance> {
        if self.text.is_empty() {
            return None;
        }
        self.closed += 1;
        self.chars = 0;
        Some(Utterance {
            id: self.closed,
            text: std::mem::take(&mut self.text),
            speech_end: self.speech_end.take(),
            final_at: self.final_at,
            ended_at: now,
        })
    }

    fn caption(&self, text: String) -> Output {
        Output::Transcript {
            utterance: self.closed + 1,
            text,
            stability: Stability::Partial,
        }
    }
}

/// Tells when a sample of a recognition stream came to us.
#[derive(Debug)]
pub(super) struct AudioClock {
    samples: u64,
    marks: VecDeque<Mark>,
}

/// The samples up to `end` had come at `at`.
#[derive(Clone, Copy, Debug)]
struct Mark {
    end: u64,
    at: Micros,
    timestamp: u64,
}

impl AudioClock {
    /// The clock of a stream whose first sample is still to come.
    pub(super) fn new(now: Micros) -> Self {
        Self {
            samples: 0,
            marks: VecDeque::from([Mark {
                end: 0,
                at: now,
                timestamp: 0,
            }]),
        }
    }

    /// So many samples came, the first of them spoken at `timestamp`.
    pub(super) fn push(&mut self, now: Micros, samples: u64, timestamp: u64) {
        self.samples += samples;
        let is_due = self
            .marks
            .back()
            .is_none_or(|last| self.samples >= last.end + MARK_MS * SAMPLES_PER_MS);
        if is_due {
            if self.marks.len() == MARKS_MAX {
                self.marks.pop_front();
            }
            let timestamp = timestamp.saturating_add(samples / SAMPLES_PER_MS);
            self.marks.push_back(Mark {
                end: self.samples,
                at: now,
                timestamp,
            });
        }
    }

    /// The oldest samples that were waiting are not heard: all later ones move forward.
    pub(super) fn drop_oldest(&mut self, samples: u64) {
        self.samples = self.samples.saturating_sub(samples);
        for mark in &mut self.marks {
            mark.end = mark.end.saturating_sub(samples);
        }
    }

    /// When the sample `end_ms` after the stream's first came, if that is known.
    pub(super) fn at(&self, end_ms: u64) -> Option<SpeechEnd> {
        let end = end_ms.saturating_mul(SAMPLES_PER_MS);
        let index = self.marks.partition_point(|mark| mark.end < end);
        let mark = self.marks.get(index).or(self.marks.back())?;
        // The marks before the oldest one are forgotten; the first one has no audio yet.
        if mark.end == 0 || (index == 0 && self.marks.len() == MARKS_MAX) {
            return None;
        }
        let early_ms = mark.end.saturating_sub(end) / SAMPLES_PER_MS;
        Some(SpeechEnd {
            at: Micros(mark.at.0.saturating_sub(early_ms * 1000)),
            timestamp: mark.timestamp.saturating_sub(early_ms),
        })
    }
}
