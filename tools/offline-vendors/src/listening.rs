//! Cuts an audio stream into utterances and recognises each, driven by the audio clock alone.
//!
//! Speech is found by a voice activity detector; an utterance ends after the asked-for silence, or
//! a little later when what was said so far is not a whole sentence (people pause at commas). Time
//! is counted in samples, never on a clock, so a recording gives the same events at any speed.

use std::sync::Arc;

use earshot::Detector;

use crate::pocketsphinx::{DecoderError, MODEL_RATE_HZ};
use crate::recognizer::{Heard, Recognizer, UTTERANCE_SECONDS_MAX};

/// The detector takes exactly this many samples at 16 kHz (16 ms).
const BLOCK_SAMPLES: usize = 256;
/// A block at or above this probability is speech.
const SPEECH_PROBABILITY: f32 = 0.5;
/// Audio kept from before the detector noticed speech, in samples (300 ms).
const PRE_ROLL_SAMPLES: usize = 4800;
/// Silence after which the utterance is decoded ahead of its end, in samples (96 ms).
const EARLY_DECODE_SAMPLES: usize = 6 * BLOCK_SAMPLES;
/// Silence that ends an utterance even if it is no whole sentence, in samples (640 ms).
const PATIENCE_SAMPLES: usize = 40 * BLOCK_SAMPLES;
/// Distance between interim results, in samples (about 1 s, as Deepgram's).
const INTERIM_SAMPLES: usize = MODEL_RATE_HZ as usize;
/// Speech after which an utterance is cut although nobody paused, in samples.
const UTTERANCE_SAMPLES_MAX: usize = (UTTERANCE_SECONDS_MAX * MODEL_RATE_HZ) as usize;
/// Speech blocks that make an utterance: fewer are a click (48 ms).
const ONSET_BLOCKS: usize = 3;

/// Whether to report guesses before the end of an utterance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interims {
    /// Only final results.
    Off,
    /// About one a second while someone speaks.
    On,
}

/// How to cut and report.
#[derive(Clone, Copy, Debug)]
pub struct ListeningOptions {
    /// Silence that ends an utterance, in milliseconds; `None` leaves ends to long silence alone.
    pub endpointing_ms: Option<u32>,
    /// Silence after the last word that is reported as such, in milliseconds.
    pub utterance_end_ms: Option<u32>,
    /// Guesses before the end.
    pub interims: Interims,
}

/// What happened in the stream; times in seconds of audio since its beginning.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Someone began to speak.
    SpeechStarted { at_seconds: f64 },
    /// A guess at what is being said.
    Interim {
        start_seconds: f64,
        duration_seconds: f64,
        heard: Heard,
    },
    /// What was said.
    Final {
        start_seconds: f64,
        duration_seconds: f64,
        heard: Heard,
        end: End,
    },
    /// Silence of `utterance_end_ms` after the last word.
    UtteranceEnd { last_word_end_seconds: f64 },
}

/// Why a final result came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The asked-for silence.
    Endpoint,
    /// The client asked.
    Flush,
    /// The utterance grew too long.
    TooLong,
}

/// One audio stream being listened to.
pub struct Listening {
    recognizer: Arc<Recognizer>,
    options: ListeningOptions,
    detector: Box<Detector>,
    /// Samples not yet a whole block.
    rest: Vec<i16>,
    /// The current utterance, or the pre-roll while nobody speaks.
    audio: Vec<i16>,
    /// Samples of whole blocks since the stream began.
    clock_samples: u64,
    state: State,
    /// Speech blocks in a row, while silent.
    onset_blocks: usize,
    /// End of the last word not yet followed by `UtteranceEnd`, in seconds.
    last_word_end_seconds: Option<f64>,
}

enum State {
    Silent,
    Speaking {
        /// Silence since the last speech block, in samples.
        silence_samples: usize,
        /// Length of `audio` when the last interim was made.
        interim_at: usize,
        /// What the audio was up to the silence, decoded ahead; the flag says "asked at this
        /// silence".
        early: Option<Heard>,
    },
}

impl Listening {
    /// Begins a stream.
    pub fn new(recognizer: Arc<Recognizer>, options: ListeningOptions) -> Self {
        Self {
            recognizer,
            options,
            detector: Detector::default_boxed(),
            rest: Vec::new(),
            audio: Vec::new(),
            clock_samples: 0,
            state: State::Silent,
            onset_blocks: 0,
            last_word_end_seconds: None,
        }
    }

    /// Takes samples at 16 kHz and returns what they made happen, in order.
    ///
    /// # Errors
    /// [`DecoderError`] when the recogniser fails; the stream should then be closed.
    pub fn push(&mut self, samples: &[i16]) -> Result<Vec<Event>, DecoderError> {
        let mut events = Vec::new();
        self.rest.extend_from_slice(samples);
        let pending = std::mem::take(&mut self.rest);
        let mut blocks = pending.chunks_exact(BLOCK_SAMPLES);
        for block in &mut blocks {
            self.take_block(block, &mut events)?;
        }
        self.rest.extend_from_slice(blocks.remainder());
        Ok(events)
    }

    /// Ends the current utterance now; without one there is nothing to say and the result is empty.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn flush(&mut self) -> Result<Vec<Event>, DecoderError> {
        let mut events = Vec::new();
        if matches!(self.state, State::Speaking { .. }) {
            let rest = std::mem::take(&mut self.rest);
            self.clock_samples += rest.len() as u64;
            self.audio.extend(rest);
            self.finish(End::Flush, &mut events)?;
        }
        Ok(events)
    }

    /// Audio taken so far, in seconds.
    pub fn clock_seconds(&self) -> f64 {
        seconds(self.clock_samples + self.rest.len() as u64)
    }

    fn take_block(&mut self, block: &[i16], events: &mut Vec<Event>) -> Result<(), DecoderError> {
        self.clock_samples += block.len() as u64;
        self.audio.extend_from_slice(block);
        let is_speech = self.detector.predict_i16(block) >= SPEECH_PROBABILITY;
        match &mut self.state {
            State::Silent => {
                self.wait_for_speech(is_speech, events);
                Ok(())
            }
            State::Speaking {
                silence_samples,
                early,
                ..
            } => {
                if is_speech {
                    *silence_samples = 0;
                    *early = None;
                } else {
                    *silence_samples += block.len();
                }
                self.step_speaking(events)
            }
        }
    }

    fn wait_for_speech(&mut self, is_speech: bool, events: &mut Vec<Event>) {
        self.onset_blocks = if is_speech { self.onset_blocks + 1 } else { 0 };
        let extra = self
            .audio
            .len()
            .saturating_sub(PRE_ROLL_SAMPLES + ONSET_BLOCKS * BLOCK_SAMPLES);
        self.audio.drain(..extra);
        if self.onset_blocks == ONSET_BLOCKS {
            self.onset_blocks = 0;
            self.last_word_end_seconds = None;
            let onset = self.clock_samples - (ONSET_BLOCKS * BLOCK_SAMPLES) as u64;
            events.push(Event::SpeechStarted {
                at_seconds: seconds(onset),
            });
            let interim_at = self.audio.len();
            self.state = State::Speaking {
                silence_samples: 0,
                interim_at,
                early: None,
            };
            return;
        }
        let asked = self.options.utterance_end_ms.map(f64::from);
        if let (Some(end), Some(asked_ms)) = (self.last_word_end_seconds, asked)
            && (seconds(self.clock_samples) - end) * 1000.0 >= asked_ms
        {
            self.last_word_end_seconds = None;
            events.push(Event::UtteranceEnd {
                last_word_end_seconds: end,
            });
        }
    }

    fn step_speaking(&mut self, events: &mut Vec<Event>) -> Result<(), DecoderError> {
        let State::Speaking {
            silence_samples,
            interim_at,
            early,
        } = &mut self.state
        else {
            return Ok(());
        };
        let length = self.audio.len();
        if length >= UTTERANCE_SAMPLES_MAX {
            return self.finish(End::TooLong, events);
        }
        if self.options.interims == Interims::On && length - *interim_at >= INTERIM_SAMPLES {
            *interim_at = length;
            let heard = self.recognizer.recognize(&self.audio)?;
            if heard.phrase().is_some() {
                events.push(Event::Interim {
                    start_seconds: seconds(self.clock_samples - length as u64),
                    duration_seconds: seconds(length as u64),
                    heard,
                });
            }
        }
        if *silence_samples >= EARLY_DECODE_SAMPLES && early.is_none() {
            *early = Some(self.recognizer.recognize(&self.audio)?);
        }
        let endpoint = self
            .options
            .endpointing_ms
            .map_or(PATIENCE_SAMPLES, samples_of_ms);
        let is_sentence = early.as_ref().is_some_and(|heard| heard.phrase().is_some());
        let needed = if is_sentence {
            endpoint
        } else {
            endpoint.max(PATIENCE_SAMPLES)
        };
        if *silence_samples >= needed {
            return self.finish(End::Endpoint, events);
        }
        Ok(())
    }

    fn finish(&mut self, end: End, events: &mut Vec<Event>) -> Result<(), DecoderError> {
        let audio = std::mem::take(&mut self.audio);
        let state = std::mem::replace(&mut self.state, State::Silent);
        let heard = match state {
            State::Speaking {
                early: Some(heard), ..
            } => heard,
            _ => self.recognizer.recognize(&audio)?,
        };
        let start_seconds = seconds(self.clock_samples.saturating_sub(audio.len() as u64));
        if let Some(word) = heard.phrase().and_then(|phrase| phrase.words.last()) {
            self.last_word_end_seconds = Some(start_seconds + f64::from(word.end_seconds));
        }
        let duration_seconds = seconds(audio.len() as u64);
        events.push(Event::Final {
            start_seconds,
            duration_seconds,
            heard,
            end,
        });
        Ok(())
    }
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(MODEL_RATE_HZ)
}

fn samples_of_ms(ms: u32) -> usize {
    (u64::from(ms) * u64::from(MODEL_RATE_HZ) / 1000) as usize
}
