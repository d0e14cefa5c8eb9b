//! What a leg's speech becomes, as pure state on virtual time: no socket, clock or thread.
//!
//! ```text
//! finals ─▶ hearing ─utterance─▶ waiting (bounded) ─▶ one at a time: translate ─▶ speak ─▶ trace
//! stream ends ─▶ supervision ─▶ open again, with backoff
//! ```
//! The driver feeds [`Input`]s, then takes every [`Output`] and does it, and comes back at
//! [`Interpreter::next_deadline`]. Every utterance that is closed ends in exactly one
//! [`Output::SpeechEnd`] and one [`Output::Trace`], whatever fails.

use std::collections::VecDeque;

use diglot_rt::units::Micros;

use crate::vendor::{RecognitionEvent, VendorError};
use hearing::{AudioClock, Hearing, Utterance};
use supervision::Supervision;

mod hearing;
pub mod limits;
mod supervision;

use limits::{
    CONTEXT_CHARS_MAX, SPEECH_FIRST_MS_MAX, SPEECH_MS_MAX, TRANSLATION_MS_MAX, UTTERANCES_MAX,
    WATCHDOG_GRACE_MS,
};

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Speech of the leg was passed to the recogniser's queue.
    Audio {
        /// How many samples at 16 kHz.
        samples: u64,
        /// When the first was spoken: Unix time in milliseconds, 0 if not told.
        timestamp: u64,
    },
    /// The recogniser's queue was full: so many of its oldest samples are gone.
    AudioDropped {
        /// At 16 kHz.
        samples: u64,
    },
    /// No worker was free for the utterance.
    JobRefused {
        /// Which.
        utterance: u32,
    },
    /// The recogniser said something.
    Recognized {
        /// Which stream.
        stream: u32,
        /// What.
        event: RecognitionEvent,
    },
    /// Some speech of the utterance has been made and sent.
    Spoke {
        /// Which.
        utterance: u32,
        /// How many samples at 16 kHz.
        samples: u64,
    },
    /// The utterance has been spoken, or will be no further.
    SpeechEnded {
        /// Which.
        utterance: u32,
        /// How it went.
        result: Result<(), JobFailure>,
    },
    /// A recognition stream ended.
    StreamEnded {
        /// Which.
        stream: u32,
        /// How.
        result: Result<(), JobFailure>,
    },
    /// No recogniser was free for the stream.
    StreamRefused {
        /// Which.
        stream: u32,
    },
    /// The utterance has been translated, or not.
    Translated {
        /// Which.
        utterance: u32,
        /// The text.
        result: Result<String, JobFailure>,
    },
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JobFailure {
    /// It panicked: a bug of ours, or of a library.
    #[error("the job panicked")]
    Panicked,
    /// The vendor failed.
    #[error(transparent)]
    Vendor(#[from] VendorError),
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Tell the gateway what failed.
    Failed {
        /// What.
        failure: Failure,
        /// The utterance it is about; 0 if none.
        utterance: u32,
        /// For people.
        detail: String,
    },
    /// Open a recognition stream on the leg's audio; it is told as [`Input::StreamEnded`] when it
    /// is over, or [`Input::StreamRefused`].
    OpenStream {
        /// Its number.
        stream: u32,
    },
    /// Speak; answered by any number of [`Input::Spoke`] and one [`Input::SpeechEnded`].
    Speak {
        /// Which utterance.
        utterance: u32,
        /// In the target language.
        text: String,
    },
    /// Nothing more of the utterance will be heard: tell the gateway.
    SpeechEnd {
        /// Which.
        utterance: u32,
    },
    /// Nobody waits for the utterance's job any more; its answers will be ignored.
    StopJob,
    /// How long the utterance took.
    Trace(Trace),
    /// Translate; answered by [`Input::Translated`].
    Translate {
        /// Which utterance.
        utterance: u32,
        /// In the leg's language.
        text: String,
        /// What the same speaker said before.
        context: String,
    },
    /// Caption: what was said.
    Transcript {
        /// Which utterance.
        utterance: u32,
        /// The whole utterance so far.
        text: String,
        /// Whether it may still change.
        stability: Stability,
    },
    /// Caption: what it became.
    Translation {
        /// Which utterance.
        utterance: u32,
        /// In the target language.
        text: String,
    },
}

/// Whether a caption may still change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stability {
    /// It will not.
    Final,
    /// It may.
    Partial,
}

/// What failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// No recogniser was free; tried again.
    Busy,
    /// A job panicked; the utterance or stream is lost.
    Panicked,
    /// Too much to do: the utterance is not spoken.
    Overloaded,
    /// The recognition stream failed; opened again.
    Recognition,
    /// The utterance was not spoken to its end.
    Speech,
    /// The utterance was not translated.
    Translation,
}

/// How an utterance ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Something failed.
    Failed,
    /// Too much to do.
    Skipped,
    /// Heard to its end.
    Spoken,
}

/// How long one utterance took; a stage that did not happen is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Which.
    pub utterance: u32,
    /// How it ended.
    pub ending: Ending,
    /// When its last word ended, by the sender's timestamps: Unix time in milliseconds.
    pub speech_end: Option<u64>,
    /// From the arrival of the last word's end to the last final.
    pub asr_final_ms: Option<u64>,
    /// From the utterance's end to its translation's start.
    pub queue_ms: Option<u64>,
    /// Translation.
    pub mt_ms: Option<u64>,
    /// From translation to the first sample.
    pub tts_first_byte_ms: Option<u64>,
    /// From the arrival of the last word's end (or the utterance's end) to the first sample.
    pub total_ms: Option<u64>,
    /// Length of the speech that was made.
    pub speech_ms: u64,
}

/// The interpreter of one leg.
#[derive(Debug)]
pub struct Interpreter {
    supervision: Supervision,
    hearing: Hearing,
    clock: AudioClock,
    waiting: VecDeque<Utterance>,
    work: Option<Work>,
    /// What the speaker said last, at most [`CONTEXT_CHARS_MAX`] characters.
    context: VecDeque<String>,
    outputs: VecDeque<Output>,
}

/// The utterance being translated or spoken.
#[derive(Debug)]
struct Work {
    utterance: Utterance,
    began_at: Micros,
    translated_at: Option<Micros>,
    spoke_first_at: Option<Micros>,
    samples: u64,
    /// When nobody believes in it any more.
    deadline: Micros,
}

impl Interpreter {
    /// An interpreter that wants its recognition stream at once.
    pub fn new(now: Micros) -> Self {
        let mut outputs = VecDeque::new();
        let supervision = Supervision::start(&mut outputs);
        Self {
            supervision,
            hearing: Hearing::default(),
            clock: AudioClock::new(now),
            waiting: VecDeque::new(),
            work: None,
            context: VecDeque::new(),
            outputs,
        }
    }

    /// Takes one input; then every output is to be taken.
    pub fn handle_input(&mut self, now: Micros, input: Input) {
        match input {
            Input::Audio { samples, timestamp } => self.clock.push(now, samples, timestamp),
            Input::AudioDropped { samples } => self.clock.drop_oldest(samples),
            Input::Recognized { stream, event } => {
                if self.supervision.is_current(stream) {
                    self.hear(now, event);
                }
            }
            Input::StreamRefused { stream } => {
                self.supervision.refused(now, stream, &mut self.outputs);
            }
            Input::StreamEnded { stream, result } => {
                if self.supervision.is_current(stream) {
                    // What was final stays true; a partial is not repeated by the next stream.
                    self.close_utterance(now);
                    self.clock = AudioClock::new(now);
                    self.supervision.ended(now, result, &mut self.outputs);
                }
            }
            Input::Translated { utterance, result } => self.translated(now, utterance, result),
            Input::Spoke { utterance, samples } => self.spoke(now, utterance, samples),
            Input::SpeechEnded { utterance, result } => {
                if self.is_at_work(utterance) {
                    match result {
                        Ok(()) => self.finish(Ending::Spoken),
                        Err(failure) => self.fail(Failure::Speech, &failure),
                    }
                }
            }
            Input::JobRefused { utterance } => {
                if self.is_at_work(utterance) {
                    self.report(Failure::Overloaded, utterance, "no worker is free");
                    self.finish(Ending::Skipped);
                }
            }
        }
        self.begin_next(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Micros) {
        self.supervision.handle_timeout(now, &mut self.outputs);
        if self
            .hearing
            .deadline()
            .is_some_and(|deadline| now >= deadline)
        {
            self.close_utterance(now);
        }
        if self.work.as_ref().is_some_and(|work| now >= work.deadline) {
            self.outputs.push_back(Output::StopJob);
            let failure = match &self.work {
                Some(work) if work.translated_at.is_some() => Failure::Speech,
                _ => Failure::Translation,
            };
            let utterance = self.work.as_ref().map_or(0, |work| work.utterance.id);
            self.report(failure, utterance, "no answer in time");
            self.finish(Ending::Failed);
        }
        self.begin_next(now);
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_deadline(&self) -> Option<Micros> {
        let work = self.work.as_ref().map(|work| work.deadline);
        [self.supervision.deadline(), self.hearing.deadline(), work]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether speech of this utterance is wanted.
    pub fn is_speaking(&self, utterance: u32) -> bool {
        self.work
            .as_ref()
            .is_some_and(|work| work.utterance.id == utterance && work.translated_at.is_some())
    }

    fn hear(&mut self, now: Micros, event: RecognitionEvent) {
        match event {
            RecognitionEvent::Opened => self.supervision.opened(now),
            RecognitionEvent::Partial { text } => {
                self.supervision.recognized();
                if let Some(caption) = self.hearing.partial(now, &text) {
                    self.outputs.push_back(caption);
                }
            }
            RecognitionEvent::Final { text, end_ms } => {
                self.supervision.recognized();
                let speech_end = self.clock.at(end_ms);
                if let Some(caption) = self.hearing.add_final(now, &text, speech_end) {
                    self.outputs.push_back(caption);
                }
                if self.hearing.is_full() {
                    self.close_utterance(now);
                }
            }
            RecognitionEvent::UtteranceEnd => self.close_utterance(now),
        }
    }

    /// Ends the utterance being heard; nothing if none is, so that an end may be told twice.
    fn close_utterance(&mut self, now: Micros) {
        let Some(utterance) = self.hearing.close(now) else {
            return;
        };
        self.outputs.push_back(Output::Transcript {
            utterance: utterance.id,
            text: utterance.text.clone(),
            stability: Stability::Final,
        });
        if self.waiting.len() < UTTERANCES_MAX {
            self.waiting.push_back(utterance);
            return;
        }
        self.report(
            Failure::Overloaded,
            utterance.id,
            "too many utterances wait",
        );
        self.end(&Work::new(now, utterance), Ending::Skipped);
    }

    fn begin_next(&mut self, now: Micros) {
        if self.work.is_some() {
            return;
        }
        let Some(utterance) = self.waiting.pop_front() else {
            return;
        };
        let context = self
            .context
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ");
        self.outputs.push_back(Output::Translate {
            utterance: utterance.id,
            text: utterance.text.clone(),
            context,
        });
        self.remember(&utterance.text);
        self.work = Some(Work::new(now, utterance));
    }

    fn remember(&mut self, text: &str) {
        self.context.push_back(text.to_owned());
        let chars = |context: &VecDeque<String>| -> usize {
            context.iter().map(|text| text.chars().count()).sum()
        };
        while chars(&self.context) > CONTEXT_CHARS_MAX {
            self.context.pop_front();
        }
    }

    fn translated(&mut self, now: Micros, utterance: u32, result: Result<String, JobFailure>) {
        let Some(work) = self
            .work
            .as_mut()
            .filter(|work| work.utterance.id == utterance)
        else {
            return;
        };
        let text = match result {
            Ok(text) => text,
            Err(failure) => return self.fail(Failure::Translation, &failure),
        };
        work.translated_at = Some(now);
        work.deadline = now.plus_ms(SPEECH_FIRST_MS_MAX + WATCHDOG_GRACE_MS);
        if text.trim().is_empty() {
            self.report(Failure::Translation, utterance, "the translation is empty");
            return self.finish(Ending::Failed);
        }
        self.outputs.push_back(Output::Translation {
            utterance,
            text: text.clone(),
        });
        self.outputs.push_back(Output::Speak { utterance, text });
    }

    fn spoke(&mut self, now: Micros, utterance: u32, samples: u64) {
        let Some(work) = self
            .work
            .as_mut()
            .filter(|work| work.utterance.id == utterance)
        else {
            return;
        };
        if work.spoke_first_at.is_none() {
            work.spoke_first_at = Some(now);
            work.deadline = now.plus_ms(SPEECH_MS_MAX + WATCHDOG_GRACE_MS);
        }
        work.samples += samples;
    }

    fn is_at_work(&self, utterance: u32) -> bool {
        self.work
            .as_ref()
            .is_some_and(|work| work.utterance.id == utterance)
    }

    fn fail(&mut self, failure: Failure, cause: &JobFailure) {
        let utterance = self.work.as_ref().map_or(0, |work| work.utterance.id);
        let failure = match cause {
            JobFailure::Panicked => Failure::Panicked,
            JobFailure::Vendor(_) => failure,
        };
        self.report(failure, utterance, &cause.to_string());
        self.finish(Ending::Failed);
    }

    fn report(&mut self, failure: Failure, utterance: u32, detail: &str) {
        self.outputs.push_back(Output::Failed {
            failure,
            utterance,
            detail: detail.to_owned(),
        });
    }

    fn finish(&mut self, ending: Ending) {
        if let Some(work) = self.work.take() {
            self.end(&work, ending);
        }
    }

    fn end(&mut self, work: &Work, ending: Ending) {
        self.outputs.push_back(Output::SpeechEnd {
            utterance: work.utterance.id,
        });
        self.outputs.push_back(Output::Trace(work.trace(ending)));
    }
}

impl Work {
    fn new(now: Micros, utterance: Utterance) -> Self {
        Self {
            utterance,
            began_at: now,
            translated_at: None,
            spoke_first_at: None,
            samples: 0,
            deadline: now.plus_ms(TRANSLATION_MS_MAX + WATCHDOG_GRACE_MS),
        }
    }

    fn trace(&self, ending: Ending) -> Trace {
        let ms = |later: Micros, earlier: Micros| later.since(earlier) / 1000;
        let utterance = &self.utterance;
        let first = self.spoke_first_at;
        Trace {
            utterance: utterance.id,
            ending,
            speech_end: utterance.speech_end.map(|end| end.timestamp),
            asr_final_ms: utterance
                .speech_end
                .map(|end| ms(utterance.final_at, end.at)),
            queue_ms: (ending != Ending::Skipped).then(|| ms(self.began_at, utterance.ended_at)),
            mt_ms: self.translated_at.map(|at| ms(at, self.began_at)),
            tts_first_byte_ms: first
                .zip(self.translated_at)
                .map(|(first, at)| ms(first, at)),
            total_ms: first.map(|first| {
                ms(
                    first,
                    utterance
                        .speech_end
                        .map_or(utterance.ended_at, |end| end.at),
                )
            }),
            speech_ms: self.samples / limits::SAMPLES_PER_MS,
        }
    }
}

#[cfg(test)]
mod tests;
