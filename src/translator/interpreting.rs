//! Runs one leg's interpreter: gives it what happened, and does what it wants done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diglot_rt::msg::Pace;
use diglot_rt::units::Micros;

use super::counters::Count;
use super::hub::{Hub, Vendors};
use super::jobs::{self, Finding, Parked, Reporter};
use super::limits::AUDIO_CHUNKS_MAX;
use super::session::{Names, Speech, Turn};
use crate::interpreter::limits::{SPEECH_FIRST_MS_MAX, TRANSLATION_MS_MAX};
use crate::interpreter::{Ending, Failure, Input, Interpreter, Output, Stability};
use crate::link::messages::{Caption, Encoding, ErrorCode, Message, Outcome, Trace};
use crate::link::translator::server::Keep;
use crate::vendor::audio::{AudioReceiver, AudioSender, audio_channel};
use crate::vendor::{RecognitionEvent, RecognitionRequest, SynthesisRequest, TranslationRequest};

/// One leg that is interpreted.
pub(super) struct Interpreting {
    interpreter: Interpreter,
    names: Names,
    encoding: Encoding,
    voice: String,
    audio: AudioSender,
    /// The other end of `audio` while no recogniser has it.
    parked: Parked,
    /// Chunks the recogniser's queue had dropped when last asked.
    chunks_dropped: u64,
    reporter: Reporter,
    /// Stops the job of the utterance at work.
    is_job_stopped: Arc<AtomicBool>,
    pcm: Vec<u8>,
}

impl Interpreting {
    pub(super) fn new(
        names: Names,
        encoding: Encoding,
        reporter: Reporter,
        turn: &Turn<'_>,
    ) -> Self {
        let (audio, receiver) = audio_channel(AUDIO_CHUNKS_MAX);
        let voices = turn
            .hub
            .vendors
            .as_ref()
            .map_or(&[][..], |vendors| &vendors.voices);
        Self {
            interpreter: Interpreter::new(turn.micros()),
            voice: voice_for(voices, &names.target_language),
            names,
            encoding,
            audio,
            parked: park(receiver),
            chunks_dropped: 0,
            reporter,
            is_job_stopped: Arc::default(),
            pcm: Vec::new(),
        }
    }

    /// Takes one message of speech.
    pub(super) fn handle_audio(&mut self, timestamp: u64, pcm: &[u8], turn: &mut Turn<'_>) {
        let mut samples = Vec::with_capacity(pcm.len() / 2);
        self.encoding.decode_samples(pcm, &mut samples);
        let count = samples.len() as u64;
        self.audio.send(samples);
        let dropped_total = self.audio.chunks_dropped_total();
        let dropped = dropped_total - std::mem::replace(&mut self.chunks_dropped, dropped_total);
        self.interpreter.handle_input(
            turn.micros(),
            Input::Audio {
                samples: count,
                timestamp,
            },
        );
        if dropped > 0 {
            turn.hub.counters.add(Count::AudioDropped, dropped);
            // A leg's chunks are alike, so the dropped ones were as long as this one.
            let samples = dropped * count;
            self.interpreter
                .handle_input(turn.micros(), Input::AudioDropped { samples });
        }
        self.run(turn);
    }

    /// Takes what a job found.
    pub(super) fn handle_finding(&mut self, finding: Finding, turn: &mut Turn<'_>) {
        let input = match finding {
            Finding::Input(input) => input,
            Finding::Speech { utterance, samples } => {
                if !self.interpreter.is_speaking(utterance) {
                    return;
                }
                self.pcm.clear();
                self.encoding.encode_samples(&samples, &mut self.pcm);
                let speech = Speech {
                    utterance,
                    timestamp: turn.unix_ms,
                    is_last: false,
                    pace: Pace::Stored,
                };
                turn.send_speech(&self.names, &speech, &self.pcm);
                Input::Spoke {
                    utterance,
                    samples: samples.len() as u64,
                }
            }
        };
        match &input {
            Input::Recognized {
                event: RecognitionEvent::Opened,
                ..
            } => {
                turn.hub.counters.count(Count::RecognitionOpened);
            }
            Input::StreamEnded { .. } => {
                let (audio, receiver) = audio_channel(AUDIO_CHUNKS_MAX);
                self.audio = audio;
                self.chunks_dropped = 0;
                self.parked = park(receiver);
            }
            _ => {}
        }
        self.interpreter.handle_input(turn.micros(), input);
        self.run(turn);
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        let now = turn.micros();
        if self
            .interpreter
            .next_deadline()
            .is_some_and(|deadline| now >= deadline)
        {
            self.interpreter.handle_timeout(now);
            self.run(turn);
        }
    }

    /// Does everything the interpreter wants.
    pub(super) fn run(&mut self, turn: &mut Turn<'_>) {
        while let Some(output) = self.interpreter.poll_output() {
            self.act(output, turn);
        }
    }

    fn act(&mut self, output: Output, turn: &mut Turn<'_>) {
        let hub = turn.hub;
        let Some(vendors) = &hub.vendors else { return };
        match output {
            Output::OpenStream { stream } => self.open_stream(stream, vendors, turn.micros()),
            Output::Translate {
                utterance,
                text,
                context,
            } => {
                self.translate(vendors, utterance, text, context, turn.now, turn.micros());
            }
            Output::Speak { utterance, text } => {
                self.speak(vendors, utterance, text, turn.now, turn.micros());
            }
            Output::StopJob => self.is_job_stopped.store(true, Ordering::Release),
            Output::SpeechEnd { utterance } => {
                let speech = Speech {
                    utterance,
                    timestamp: turn.unix_ms,
                    is_last: true,
                    pace: Pace::Stored,
                };
                turn.send_speech(&self.names, &speech, &[]);
            }
            Output::Transcript {
                utterance,
                text,
                stability,
            } => {
                if stability == Stability::Final {
                    hub.counters.count(Count::Utterance);
                }
                let is_final = stability == Stability::Final;
                let caption = self.caption(utterance, &text, &self.names.language, is_final, hub);
                turn.send(&Message::Transcript(caption), Keep::Droppable);
            }
            Output::Translation { utterance, text } => {
                let caption =
                    self.caption(utterance, &text, &self.names.target_language, true, hub);
                turn.send(&Message::Translation(caption), Keep::Droppable);
            }
            Output::Failed {
                failure,
                utterance,
                detail,
            } => {
                let (count, code) = classify(failure);
                hub.counters.count(count);
                log::warn!("call {}: {}: {detail}", self.names.call_id, code.name());
                turn.send(&Message::error(code, detail, utterance), Keep::Always);
            }
            Output::Trace(trace) => {
                let message = self.trace(&trace, hub);
                log::info!("{}", message.to_json());
                turn.send(&message, Keep::Always);
            }
        }
    }

    /// Stops everything that works for the leg.
    pub(super) fn stop(&self) {
        self.is_job_stopped.store(true, Ordering::Release);
        self.reporter.is_stopped.store(true, Ordering::Release);
    }

    fn open_stream(&mut self, stream: u32, vendors: &Vendors, now: Micros) {
        let request = RecognitionRequest {
            language: self.names.language.clone(),
        };
        let recognizer = Arc::clone(&vendors.engines.recognizer);
        let (reporter, parked) = (self.reporter.clone(), Arc::clone(&self.parked));
        let job = move || jobs::recognize(&reporter, &*recognizer, &request, stream, &parked);
        if vendors.recognizers.submit(job).is_err() {
            self.interpreter
                .handle_input(now, Input::StreamRefused { stream });
        }
    }

    fn translate(
        &mut self,
        vendors: &Vendors,
        utterance: u32,
        text: String,
        context: String,
        now: Instant,
        micros: Micros,
    ) {
        self.is_job_stopped = Arc::default();
        let request = TranslationRequest {
            text,
            source_language: self.names.language.clone(),
            target_language: self.names.target_language.clone(),
            context,
        };
        let translator = Arc::clone(&vendors.engines.translator);
        let reporter = self.reporter.with_stop(&self.is_job_stopped);
        let deadline = now + Duration::from_millis(TRANSLATION_MS_MAX);
        let job = move || jobs::translate(&reporter, &*translator, &request, utterance, deadline);
        if vendors.workers.submit(job).is_err() {
            self.interpreter
                .handle_input(micros, Input::JobRefused { utterance });
        }
    }

    fn speak(
        &mut self,
        vendors: &Vendors,
        utterance: u32,
        text: String,
        now: Instant,
        micros: Micros,
    ) {
        let request = SynthesisRequest {
            text,
            language: self.names.target_language.clone(),
            voice: self.voice.clone(),
        };
        let synthesizer = Arc::clone(&vendors.engines.synthesizer);
        let reporter = self.reporter.with_stop(&self.is_job_stopped);
        let deadline = now + Duration::from_millis(SPEECH_FIRST_MS_MAX);
        let job = move || jobs::speak(&reporter, &*synthesizer, &request, utterance, deadline);
        if vendors.workers.submit(job).is_err() {
            self.interpreter
                .handle_input(micros, Input::JobRefused { utterance });
        }
    }

    fn caption<'a>(
        &'a self,
        utterance: u32,
        text: &'a str,
        language: &'a str,
        is_final: bool,
        hub: &'a Hub,
    ) -> Caption<'a> {
        let extension = &hub.extensions[self.names.extension];
        Caption {
            extension: (&*extension.number).into(),
            target_extension: (&*extension.partner).into(),
            utterance,
            text: text.into(),
            language: language.into(),
            is_final,
        }
    }

    fn trace<'a>(&'a self, trace: &crate::interpreter::Trace, hub: &'a Hub) -> Message<'a> {
        let outcome = match trace.ending {
            Ending::Failed => Outcome::Failed,
            Ending::Skipped => Outcome::Skipped,
            Ending::Spoken => Outcome::Spoken,
        };
        match outcome {
            Outcome::Failed => {}
            Outcome::Skipped => hub.counters.count(Count::UtteranceSkipped),
            Outcome::Spoken => hub.counters.count(Count::UtteranceSpoken),
        }
        Message::Trace(Trace {
            extension: (&*hub.extensions[self.names.extension].number).into(),
            call_id: self.names.call_id.as_str().into(),
            utterance: trace.utterance,
            outcome,
            speech_end: trace.speech_end,
            asr_final_ms: trace.asr_final_ms,
            queue_ms: trace.queue_ms,
            mt_ms: trace.mt_ms,
            tts_first_byte_ms: trace.tts_first_byte_ms,
            total_ms: trace.total_ms,
            speech_ms: trace.speech_ms,
        })
    }
}

fn park(receiver: AudioReceiver) -> Parked {
    Arc::new(Mutex::new(Some(receiver)))
}

const fn classify(failure: Failure) -> (Count, ErrorCode) {
    match failure {
        Failure::Busy => (Count::RecognitionBusy, ErrorCode::Busy),
        Failure::Overloaded => (Count::UtteranceOverloaded, ErrorCode::Overloaded),
        Failure::Panicked => (Count::WorkerPanicked, ErrorCode::Internal),
        Failure::Recognition => (Count::RecognitionFailed, ErrorCode::RecognitionFailed),
        Failure::Speech => (Count::SpeechFailed, ErrorCode::SpeechFailed),
        Failure::Translation => (Count::TranslationFailed, ErrorCode::TranslationFailed),
    }
}

/// The voice configured for a language, or for its base language ("en" for "en-GB").
fn voice_for(voices: &[(String, String)], language: &str) -> String {
    let find = |wanted: &str| {
        voices
            .iter()
            .find(|(language, _)| language.eq_ignore_ascii_case(wanted))
            .map(|v| v.1.clone())
    };
    find(language)
        .or_else(|| find(base_language(language)))
        .unwrap_or_default()
}

/// "en" of "en-GB" (RFC 5646 §2.1).
pub(super) fn base_language(language: &str) -> &str {
    language.split(['-', '_']).next().unwrap_or(language)
}
