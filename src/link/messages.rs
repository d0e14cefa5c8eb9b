//! The link's text messages, written and read by both ends.
//!
//! Writing appends to the caller's buffer. Reading borrows from the text: an `audio` message in
//! base64 is read without allocating. A message of an unknown type and unknown fields are let
//! pass, so that either end may be newer; anything else that does not fit is a [`DecodeError`]
//! and leaves the connection usable. Every size is bounded by the message that carries it
//! ([`super::MESSAGE_BYTES_MAX`]), which the socket enforces.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};

use super::{AUDIO_BYTES_MAX, SAMPLE_BYTES, SAMPLE_RATE_HZ};

/// Any message of the link.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message<'a> {
    /// Gateway to translator: speech of the leg.
    Audio(Audio<'a>),
    /// Either way: something was refused or failed; the connection stays unless it is closed.
    Error(ErrorMessage<'a>),
    /// Either way: answer with a pong that repeats it.
    Ping(Heartbeat),
    /// Either way: the answer to a ping.
    Pong(Heartbeat),
    /// Gateway to translator: the leg has ended.
    SessionEnd(SessionEnd<'a>),
    /// Gateway to translator: first of all, once.
    SessionStart(SessionStart<'a>),
    /// Translator to gateway: how long one utterance took; after its last audio.
    Trace(Trace<'a>),
    /// Translator to gateway: what was said.
    Transcript(Caption<'a>),
    /// Translator to gateway: speech for the paired leg.
    TranslatedAudio(TranslatedAudio<'a>),
    /// Translator to gateway: what it became.
    Translation(Caption<'a>),
}

/// Begins a session: one call leg.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionStart<'a> {
    /// The leg's extension; the same as in the URL.
    pub extension: Cow<'a, str>,
    /// What the leg speaks (BCP 47).
    pub language: Cow<'a, str>,
    /// What its partner is to hear (BCP 47).
    pub target_language: Cow<'a, str>,
    /// Names the call in logs and traces.
    pub call_id: Cow<'a, str>,
    /// How audio is coded, both ways.
    pub audio: AudioFormat,
}

/// How the samples of a session are coded, both ways.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct AudioFormat {
    /// Byte order.
    pub encoding: Encoding,
    /// Only 16 000 is served.
    pub sample_rate: u32,
    /// Only 1 is served.
    pub channels: u32,
    /// What one message usually holds; any even number of bytes is accepted all the same.
    pub frame_ms: u32,
}

impl Default for AudioFormat {
    fn default() -> Self {
        Self {
            encoding: Encoding::S16be,
            sample_rate: SAMPLE_RATE_HZ,
            channels: 1,
            frame_ms: 20,
        }
    }
}

impl AudioFormat {
    /// Whether the translator serves this format.
    pub fn is_supported(&self) -> bool {
        self.encoding != Encoding::Unsupported
            && self.sample_rate == SAMPLE_RATE_HZ
            && self.channels == 1
    }
}

/// Coding of a sample.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Signed 16 bit, big endian: the default.
    S16be,
    /// Signed 16 bit, little endian.
    S16le,
    /// Any other name; never sent.
    Unsupported,
}

impl Encoding {
    /// Appends the samples that `bytes` hold; a trailing odd byte is left out.
    ///
    /// # Real-time
    /// No allocation once `samples` has grown to its largest size.
    pub fn decode_samples(self, bytes: &[u8], samples: &mut Vec<i16>) {
        let (pairs, _) = bytes.as_chunks::<SAMPLE_BYTES>();
        match self {
            Self::S16le => samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair))),
            _ => samples.extend(pairs.iter().map(|pair| i16::from_be_bytes(*pair))),
        }
    }

    /// Appends the bytes of `samples`.
    ///
    /// # Real-time
    /// No allocation once `bytes` has grown to its largest size.
    pub fn encode_samples(self, samples: &[i16], bytes: &mut Vec<u8>) {
        match self {
            Self::S16le => extend(bytes, samples, i16::to_le_bytes),
            _ => extend(bytes, samples, i16::to_be_bytes),
        }
    }
}

/// In place rather than byte by byte: the compiler makes a copy of it.
fn extend(bytes: &mut Vec<u8>, samples: &[i16], to_bytes: impl Fn(i16) -> [u8; SAMPLE_BYTES]) {
    let start = bytes.len();
    bytes.resize(start + samples.len() * SAMPLE_BYTES, 0);
    let (pairs, _) = bytes[start..].as_chunks_mut::<SAMPLE_BYTES>();
    for (pair, sample) in pairs.iter_mut().zip(samples) {
        *pair = to_bytes(*sample);
    }
}

/// Speech of the leg.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audio<'a> {
    /// The leg's extension.
    pub extension: Cow<'a, str>,
    /// When the first sample was spoken: Unix time in milliseconds; 0 if not told.
    pub timestamp: u64,
    /// Counts the leg's messages; 0 if not told.
    pub sequence: u64,
    /// PCM in the session's encoding.
    pub data: Data<'a>,
}

/// Speech for the paired leg.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TranslatedAudio<'a> {
    /// The extension whose speech this was.
    pub extension: Cow<'a, str>,
    /// The extension that is to hear it.
    #[serde(rename = "targetExtension")]
    pub target_extension: Cow<'a, str>,
    /// When it was sent, or for audio passed through when it was spoken: Unix time in ms.
    pub timestamp: u64,
    /// The utterance, counted from 1; 0 (left out) if not told.
    #[serde(skip_serializing_if = "is_zero")]
    pub utterance: u32,
    /// Nothing more of this utterance follows.
    #[serde(skip_serializing_if = "is_false")]
    pub last: bool,
    /// The speaker's own voice as it is spoken, to be heard with as little delay as can be;
    /// left out: speech that was made before it is needed.
    #[serde(skip_serializing_if = "is_false")]
    pub live: bool,
    /// PCM in the session's encoding; may be empty on the last one.
    pub data: Data<'a>,
}

/// What was said or what it became.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Caption<'a> {
    /// The extension whose speech this is.
    pub extension: Cow<'a, str>,
    /// The extension that it is meant for.
    #[serde(rename = "targetExtension", skip_serializing_if = "str::is_empty")]
    pub target_extension: Cow<'a, str>,
    /// The utterance, counted from 1.
    pub utterance: u32,
    /// The words of the whole utterance so far.
    pub text: Cow<'a, str>,
    /// Their language (BCP 47).
    pub language: Cow<'a, str>,
    /// Whether the words may still change.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// How long one utterance took, stage by stage; a stage that did not happen is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trace<'a> {
    /// The extension whose speech it was.
    pub extension: Cow<'a, str>,
    /// The call, as `session_start` named it.
    pub call_id: Cow<'a, str>,
    /// The utterance, counted from 1.
    pub utterance: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// When its last word ended, by the sender's timestamps: Unix time in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speech_end: Option<u64>,
    /// From the end of speech to the recogniser's last final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asr_final_ms: Option<u64>,
    /// From the end of the utterance to the start of its translation: it waited for earlier ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_ms: Option<u64>,
    /// Translation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mt_ms: Option<u64>,
    /// From the translated text to the first sample of speech.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tts_first_byte_ms: Option<u64>,
    /// From the end of speech (if known, else of the utterance) to the first sample of speech.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<u64>,
    /// Length of the speech made.
    pub speech_ms: u64,
}

/// How an utterance ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not spoken, or not to its end: an `error` told why.
    #[default]
    Failed,
    /// Passed by because too many waited.
    Skipped,
    /// Spoken to its end.
    Spoken,
}

/// The leg has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionEnd<'a> {
    /// The leg's extension.
    pub extension: Cow<'a, str>,
}

/// Something was refused or failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorMessage<'a> {
    /// One of [`ErrorCode`]'s names; a newer peer may know more.
    pub code: Cow<'a, str>,
    /// For people.
    pub message: Cow<'a, str>,
    /// The utterance it is about; 0 (left out) if none.
    #[serde(skip_serializing_if = "is_zero")]
    pub utterance: u32,
}

/// What the translator's errors are called on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorCode {
    /// Audio whose data is odd, too long or not base64: dropped.
    BadAudio,
    /// Not JSON, or not a message of this protocol: dropped.
    BadMessage,
    /// A `session_start` that contradicts the URL or lacks a language: no session begins.
    BadSession,
    /// Every recogniser is taken: audio is kept for a moment and the stream tried again.
    Busy,
    /// Our own fault; the utterance is lost.
    Internal,
    /// Audio before `session_start`: dropped.
    NoSession,
    /// Too many utterances wait: this one is not spoken.
    Overloaded,
    /// The recognition stream failed; it is opened again.
    RecognitionFailed,
    /// A second `session_start` on the same connection: ignored.
    SessionExists,
    /// The utterance could not be spoken, or not to its end.
    SpeechFailed,
    /// The utterance could not be translated.
    TranslationFailed,
    /// A sample rate, channel count or encoding that is not served: no session begins.
    UnsupportedAudio,
}

impl ErrorCode {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::BadAudio,
        Self::BadMessage,
        Self::BadSession,
        Self::Busy,
        Self::Internal,
        Self::NoSession,
        Self::Overloaded,
        Self::RecognitionFailed,
        Self::SessionExists,
        Self::SpeechFailed,
        Self::TranslationFailed,
        Self::UnsupportedAudio,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadAudio => "bad_audio",
            Self::BadMessage => "bad_message",
            Self::BadSession => "bad_session",
            Self::Busy => "busy",
            Self::Internal => "internal",
            Self::NoSession => "no_session",
            Self::Overloaded => "overloaded",
            Self::RecognitionFailed => "recognition_failed",
            Self::SessionExists => "session_exists",
            Self::SpeechFailed => "speech_failed",
            Self::TranslationFailed => "translation_failed",
            Self::UnsupportedAudio => "unsupported_audio",
        }
    }
}

/// What a ping says and its pong repeats.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Heartbeat {
    /// Chosen by the sender of the ping.
    pub id: u64,
    /// Unix time in milliseconds at the sender of the ping.
    pub timestamp: u64,
}

/// PCM in a text message, not yet decoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Data<'a> {
    /// Standard base64 with padding.
    Base64(Cow<'a, str>),
    /// The bytes themselves: read from Node's `Buffer` form, written as base64.
    Bytes(Cow<'a, [u8]>),
}

impl Data<'_> {
    /// Replaces the content of `pcm` with the decoded bytes.
    ///
    /// # Errors
    /// Odd or too long, or not base64; `pcm` is then empty.
    ///
    /// # Real-time
    /// No allocation once `pcm` has grown to its largest size.
    pub fn decode_into(&self, pcm: &mut Vec<u8>) -> Result<(), DataError> {
        pcm.clear();
        match self {
            Self::Base64(text) => {
                if STANDARD.decode_vec(text.as_bytes(), pcm).is_err() {
                    pcm.clear();
                    return Err(DataError::Base64);
                }
            }
            Self::Bytes(bytes) => pcm.extend_from_slice(bytes),
        }
        check_pcm(pcm).inspect_err(|_| pcm.clear())
    }
}

/// Checks the length of one message's PCM.
///
/// # Errors
/// Odd, or longer than [`AUDIO_BYTES_MAX`].
pub fn check_pcm(pcm: &[u8]) -> Result<(), DataError> {
    if !pcm.len().is_multiple_of(SAMPLE_BYTES) {
        return Err(DataError::Odd);
    }
    if pcm.len() > AUDIO_BYTES_MAX {
        return Err(DataError::TooLong);
    }
    Ok(())
}

/// Why audio was refused. The message is dropped, the session goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DataError {
    /// Not base64.
    #[error("audio data is not base64")]
    Base64,
    /// Half a sample.
    #[error("audio data has an odd number of bytes")]
    Odd,
    /// More than [`AUDIO_BYTES_MAX`].
    #[error("audio data is longer than {AUDIO_BYTES_MAX} bytes")]
    TooLong,
}

/// Why a text message was not read. It is dropped, the connection stays.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// A field that this type of message needs is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Not JSON, or a field of the wrong type.
    #[error("not a message: {0}")]
    Syntax(String),
    /// A type that this version does not know: to be ignored and counted, not answered.
    #[error("unknown message type")]
    UnknownType,
}

impl<'a> Message<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(text: &'a str) -> Result<Self, DecodeError> {
        super::decode::decode(text)
    }

    /// Appends the message as JSON.
    pub fn encode(&self, text: &mut String) {
        match self {
            Self::Audio(audio) => encode_audio(audio, text),
            Self::TranslatedAudio(audio) => encode_translated_audio(audio, text),
            other => push_json(other, text),
        }
    }

    /// The message as JSON.
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        self.encode(&mut text);
        text
    }

    /// An error message.
    pub fn error(code: ErrorCode, message: impl Into<Cow<'a, str>>, utterance: u32) -> Self {
        Self::Error(ErrorMessage {
            code: code.name().into(),
            message: message.into(),
            utterance,
        })
    }
}

/// Appends an `audio` message.
///
/// # Real-time
/// No allocation once `text` has grown to its largest size, when the data are [`Data::Bytes`].
pub fn encode_audio(audio: &Audio<'_>, text: &mut String) {
    text.push_str(r#"{"type":"audio","extension":"#);
    push_json(&audio.extension, text);
    text.push_str(r#","timestamp":"#);
    push_json(&audio.timestamp, text);
    text.push_str(r#","sequence":"#);
    push_json(&audio.sequence, text);
    push_data(&audio.data, text);
}

/// Appends a `translated_audio` message.
///
/// # Real-time
/// As [`encode_audio`].
pub fn encode_translated_audio(audio: &TranslatedAudio<'_>, text: &mut String) {
    text.push_str(r#"{"type":"translated_audio","extension":"#);
    push_json(&audio.extension, text);
    text.push_str(r#","targetExtension":"#);
    push_json(&audio.target_extension, text);
    text.push_str(r#","timestamp":"#);
    push_json(&audio.timestamp, text);
    if audio.utterance != 0 {
        text.push_str(r#","utterance":"#);
        push_json(&audio.utterance, text);
    }
    if audio.last {
        text.push_str(r#","last":true"#);
    }
    if audio.live {
        text.push_str(r#","live":true"#);
    }
    push_data(&audio.data, text);
}

fn push_data(data: &Data<'_>, text: &mut String) {
    text.push_str(r#","data":""#);
    match data {
        // Base64 has no character that JSON escapes; text that is not base64 must not break out.
        Data::Base64(base64) => text.extend(base64.chars().filter(|c| is_base64(*c))),
        Data::Bytes(bytes) => STANDARD.encode_string(bytes, text),
    }
    text.push_str("\"}");
}

const fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

fn push_json<T: Serialize + ?Sized>(value: &T, text: &mut String) {
    struct Sink<'a>(&'a mut String);
    impl std::io::Write for Sink<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let text = std::str::from_utf8(bytes).map_err(std::io::Error::other)?;
            self.0.push_str(text);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Sink(text), value)
        .expect("serde_json writes whole UTF-8 pieces, our types have string keys, no write fails");
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Base64(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
        }
    }
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: any message of the hot path reads back as it was written.
    /// Method: both forms of data, with an extension that needs escaping.
    #[test]
    fn audio_survives_the_wire() {
        let audio = Audio {
            extension: "77\"77".into(),
            timestamp: 1_763_800_000_123,
            sequence: 7,
            data: Data::Bytes((&[1, 2, 255, 254][..]).into()),
        };
        let text = Message::Audio(audio.clone()).to_json();
        let Message::Audio(read) = Message::decode(&text).unwrap() else {
            panic!("{text}")
        };
        assert_eq!(
            (read.extension, read.timestamp),
            (audio.extension, audio.timestamp)
        );
        let mut pcm = Vec::new();
        read.data.decode_into(&mut pcm).unwrap();
        assert_eq!(pcm, [1, 2, 255, 254]);
        let node =
            r#"{"data":{"type":"Buffer","data":[1,2,255,254]},"extension":7777,"type":"audio"}"#;
        let Message::Audio(read) = Message::decode(node).unwrap() else {
            panic!("{node}")
        };
        assert_eq!(read.extension, "7777");
        read.data.decode_into(&mut pcm).unwrap();
        assert_eq!(pcm, [1, 2, 255, 254]);
    }

    #[test]
    fn base64_audio_is_read_without_copying() {
        let text = r#"{"type":"audio","extension":"7777","data":"AAEC"}"#;
        let Message::Audio(read) = Message::decode(text).unwrap() else {
            panic!("{text}")
        };
        assert!(matches!(read.data, Data::Base64(Cow::Borrowed("AAEC"))));
        assert_eq!(read.data.decode_into(&mut Vec::new()), Err(DataError::Odd));
    }

    #[test]
    fn unknown_types_are_told_from_broken_messages() {
        for (text, unknown) in [
            (r#"{"type":"weather","data":{"wind":3},"text":7}"#, true),
            (r#"{"type":"weather"}"#, true),
            (r#"{"type":"audio","data":7}"#, false),
            (r#"{"type":"audio""#, false),
            (r#"{"kind":"audio"}"#, false),
            ("[]", false),
            ("", false),
        ] {
            let error = Message::decode(text).unwrap_err();
            assert_eq!(
                error == DecodeError::UnknownType,
                unknown,
                "{text}: {error}"
            );
        }
    }
}
