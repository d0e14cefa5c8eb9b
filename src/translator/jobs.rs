//! What runs on the worker pools, and how it reports to the I/O thread.
//!
//! A job ends in exactly one last report, also when it panics. Reports wait in a bounded channel:
//! a worker that is ahead of the I/O thread waits there, the I/O thread never waits for a worker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam::channel::Sender;
use mio::Waker;

use super::limits::SPEECH_SAMPLES_MAX;
use super::session::SessionId;
use crate::interpreter::{Input, JobFailure};
use crate::vendor::audio::AudioReceiver;
use crate::vendor::{
    Flow, RecognitionRequest, Recognizer, SynthesisRequest, Synthesizer, TranslationRequest,
    Translator,
};

/// What a job tells its session.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) session: SessionId,
    pub(super) finding: Finding,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Finding {
    /// Something for the interpreter.
    Input(Input),
    /// Samples of speech: never empty, at most [`SPEECH_SAMPLES_MAX`].
    Speech {
        /// Which utterance.
        utterance: u32,
        /// 16 kHz mono.
        samples: Vec<i16>,
    },
}

/// A job's way to its session.
#[derive(Clone)]
pub(super) struct Reporter {
    pub(super) session: SessionId,
    pub(super) reports: Sender<Report>,
    pub(super) waker: Arc<Waker>,
    /// Set when nobody waits for the job any more.
    pub(super) is_stopped: Arc<AtomicBool>,
}

impl Reporter {
    /// The same way with its own stop.
    pub(super) fn with_stop(&self, is_stopped: &Arc<AtomicBool>) -> Self {
        Self {
            is_stopped: Arc::clone(is_stopped),
            ..self.clone()
        }
    }

    fn tell(&self, finding: Finding) -> Flow {
        if self.is_stopped.load(Ordering::Acquire) {
            return Flow::Stop;
        }
        if self
            .reports
            .send(Report {
                session: self.session,
                finding,
            })
            .is_err()
        {
            return Flow::Stop;
        }
        // Waking fails only when the poll is gone, and then nobody is to be woken.
        let _ = self.waker.wake();
        Flow::Continue
    }
}

/// Tells a job's last word when it is dropped, so that a panic leaves one, too.
struct LastWord<'a> {
    reporter: &'a Reporter,
    word: Option<Input>,
}

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        if let Some(input) = self.word.take() {
            self.reporter.tell(Finding::Input(input));
        }
    }
}

/// Where the audio of a leg's next stream waits for a recogniser.
pub(super) type Parked = Arc<Mutex<Option<AudioReceiver>>>;

/// Runs one recognition stream on the audio that is parked.
pub(super) fn recognize(
    reporter: &Reporter,
    recognizer: &dyn Recognizer,
    request: &RecognitionRequest,
    stream: u32,
    parked: &Parked,
) {
    let Some(audio) = parked.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return;
    };
    let panicked = Input::StreamEnded {
        stream,
        result: Err(JobFailure::Panicked),
    };
    let mut last = LastWord {
        reporter,
        word: Some(panicked),
    };
    let result = recognizer.recognize(request, audio, &mut |event| {
        reporter.tell(Finding::Input(Input::Recognized { stream, event }))
    });
    last.word = Some(Input::StreamEnded {
        stream,
        result: result.map_err(JobFailure::from),
    });
}

/// Translates one utterance.
pub(super) fn translate(
    reporter: &Reporter,
    translator: &dyn Translator,
    request: &TranslationRequest,
    utterance: u32,
    deadline: Instant,
) {
    if reporter.is_stopped.load(Ordering::Acquire) {
        return;
    }
    let panicked = Input::Translated {
        utterance,
        result: Err(JobFailure::Panicked),
    };
    let mut last = LastWord {
        reporter,
        word: Some(panicked),
    };
    let result = translator
        .translate(request, deadline)
        .map_err(JobFailure::from);
    last.word = Some(Input::Translated { utterance, result });
}

/// Speaks one utterance.
pub(super) fn speak(
    reporter: &Reporter,
    synthesizer: &dyn Synthesizer,
    request: &SynthesisRequest,
    utterance: u32,
    deadline: Instant,
) {
    if reporter.is_stopped.load(Ordering::Acquire) {
        return;
    }
    let panicked = Input::SpeechEnded {
        utterance,
        result: Err(JobFailure::Panicked),
    };
    let mut last = LastWord {
        reporter,
        word: Some(panicked),
    };
    let result = synthesizer.synthesize(request, deadline, &mut |samples| {
        for samples in samples.chunks(SPEECH_SAMPLES_MAX) {
            let speech = Finding::Speech {
                utterance,
                samples: samples.to_vec(),
            };
            if reporter.tell(speech) == Flow::Stop {
                return Flow::Stop;
            }
        }
        Flow::Continue
    });
    let result = result.map_err(JobFailure::from);
    last.word = Some(Input::SpeechEnded { utterance, result });
}
