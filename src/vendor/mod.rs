//! What the translator asks of speech vendors, and how their failures are told apart.
//!
//! One file per vendor implements these traits over blocking sockets; they run on bounded worker
//! threads only. Nothing here knows calls, legs or the link.

use std::time::Instant;

use crate::vendor::audio::AudioReceiver;

pub mod account;
pub mod audio;
pub mod deepgram;
pub mod deepl;
pub mod elevenlabs;
pub mod http;
pub mod pool;
pub mod retry;
mod websocket;

/// Opens recognition streams on one account.
pub trait Recognizer: Send + Sync {
    /// Runs one stream on the calling thread until the audio ends, the stream fails, or `events`
    /// returns [`Flow::Stop`].
    ///
    /// # Errors
    /// The failure, classified once; events told before it stay true.
    fn recognize(
        &self,
        request: &RecognitionRequest,
        audio: AudioReceiver,
        events: &mut dyn FnMut(RecognitionEvent) -> Flow,
    ) -> Result<(), VendorError>;
}

/// Translates text.
pub trait Translator: Send + Sync {
    /// Translates one clause, retrying inside `deadline` where the failure allows it.
    ///
    /// # Errors
    /// The last failure, classified.
    fn translate(
        &self,
        request: &TranslationRequest,
        deadline: Instant,
    ) -> Result<String, VendorError>;
}

/// Speaks text.
pub trait Synthesizer: Send + Sync {
    /// Speaks one clause: 16 kHz mono samples go to `sink` as they arrive, in chunks of any length,
    /// until the clause is spoken or `sink` returns [`Flow::Stop`]. The first samples come before
    /// `deadline`, or a failure does; attempts are repeated only as long as no sample was given.
    ///
    /// # Errors
    /// The failure, classified; samples given before it have been taken.
    fn synthesize(
        &self,
        request: &SynthesisRequest,
        deadline: Instant,
        sink: &mut dyn FnMut(&[i16]) -> Flow,
    ) -> Result<(), VendorError>;
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// More, please.
    Continue,
    /// Nobody listens any more.
    Stop,
}

/// One leg's speech: 16 kHz mono in one language.
#[derive(Clone, Debug)]
pub struct RecognitionRequest {
    /// BCP 47: "en".
    pub language: String,
}

/// What a recogniser tells, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum RecognitionEvent {
    /// The stream is open; audio is being heard.
    Opened,
    /// The not yet final tail of the utterance; replaces the last one.
    Partial {
        /// Words so far, without the finals already told.
        text: String,
    },
    /// A final piece of the utterance; pieces follow each other until the utterance ends.
    Final {
        /// Never empty.
        text: String,
        /// End of the last word on the stream's audio clock, in milliseconds from its first sample.
        end_ms: u64,
    },
    /// The speaker stopped: the pieces since the last end are one utterance. May be told twice.
    UtteranceEnd,
}

/// One clause to translate.
#[derive(Clone, Debug)]
pub struct TranslationRequest {
    /// The clause.
    pub text: String,
    /// Language it is in (BCP 47).
    pub source_language: String,
    /// Language it is wanted in (BCP 47).
    pub target_language: String,
    /// The last sentences of the same speaker, oldest first; may be empty.
    pub context: String,
}

/// One clause to speak.
#[derive(Clone, Debug)]
pub struct SynthesisRequest {
    /// The clause.
    pub text: String,
    /// Its language (BCP 47).
    pub language: String,
    /// The vendor's voice id.
    pub voice: String,
}

/// A vendor's failure, classified once where it is met.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{vendor}: {kind}: {detail}")]
pub struct VendorError {
    /// Whose.
    pub vendor: &'static str,
    /// What to do about it.
    pub kind: FailureKind,
    /// Status, code and message, shortened; never a key.
    pub detail: String,
}

/// What a failure means for the next attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum FailureKind {
    /// The key is refused: no retry, for no call of this account.
    Auth,
    /// We asked for something that cannot be had: no retry of the same request.
    BadRequest,
    /// The vendor said what its protocol does not allow: no retry of the same request.
    Protocol,
    /// The account is used up: no retry, for no call of this account.
    Quota,
    /// Too many at once: retry later.
    RateLimited,
    /// No answer in time: retry.
    Timeout,
    /// Network or server trouble: retry.
    Transient,
}

impl FailureKind {
    /// Every kind, in order.
    pub const ALL: [Self; 7] = [
        Self::Auth,
        Self::BadRequest,
        Self::Protocol,
        Self::Quota,
        Self::RateLimited,
        Self::Timeout,
        Self::Transient,
    ];

    /// Whether the same request may succeed if it is made again soon.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Timeout | Self::Transient)
    }
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}
