//! One connection's session: what its messages mean, and what it is owed.

use std::borrow::Cow;
use std::time::Instant;

use diglot_rt::msg::Pace;
use diglot_rt::units::Micros;
use tungstenite::Message as Packet;

use super::counters::Count;
use super::hub::Hub;
use super::interpreting::{Interpreting, base_language};
use super::jobs::{Finding, Reporter};
use super::limits::{CALL_ID_BYTES_MAX, LANGUAGE_BYTES_MAX, PASSED_PAUSE};
use crate::link::binary::{self, Frame, FrameError, Header};
use crate::link::messages::{
    Audio, Data, DecodeError, ErrorCode, Message, SessionStart, TranslatedAudio,
    encode_translated_audio,
};
use crate::link::translator::request::{AudioForm, Request};
use crate::link::translator::server::{Connection, Keep};

/// Names a session for as long as it lives; a later session in the same slot has another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SessionId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// What a session works with during one turn.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) unix_ms: u64,
    pub(super) connection: &'a mut Connection,
    pub(super) hub: &'a Hub,
}

/// What a leg is called, and how its audio is sent.
pub(super) struct Names {
    /// Index of the extension.
    pub(super) extension: usize,
    pub(super) audio_form: AudioForm,
    pub(super) language: String,
    pub(super) target_language: String,
    pub(super) call_id: String,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum After {
    /// The session is over; the connection is to be closed.
    End,
    /// It stays.
    Stay,
}

/// One connection's session.
pub(super) struct Session {
    /// Index of the extension.
    extension: usize,
    audio_form: AudioForm,
    leg: Option<Leg>,
    has_told_no_session: bool,
    reporter: Reporter,
}

/// What `session_start` made of it.
enum Leg {
    Interpreted(Box<Interpreting>),
    Passed(Names, Pass),
}

/// Audio goes back as it came.
#[derive(Default)]
struct Pass {
    utterance: u32,
    heard_at: Option<Instant>,
}

impl Session {
    /// The session of a connection that was just opened; `None` if its path names no extension,
    /// which routing excludes.
    pub(super) fn open(reporter: Reporter, request: &Request, hub: &Hub) -> Option<Self> {
        let extension = hub.extension_of(&request.path)?;
        let audio_form = request.upgrade.as_ref()?.audio_form;
        Some(Self {
            extension,
            audio_form,
            leg: None,
            has_told_no_session: false,
            reporter,
        })
    }

    /// Takes what a job found.
    pub(super) fn handle_finding(&mut self, finding: Finding, turn: &mut Turn<'_>) {
        if let Some(Leg::Interpreted(leg)) = &mut self.leg {
            leg.handle_finding(finding, turn);
        }
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        if let Some(Leg::Interpreted(leg)) = &mut self.leg {
            leg.handle_timeout(turn);
        }
    }

    /// Handles one message from the gateway. `pcm` is scratch.
    pub(super) fn handle(
        &mut self,
        packet: &Packet,
        turn: &mut Turn<'_>,
        pcm: &mut Vec<u8>,
    ) -> After {
        match packet {
            Packet::Text(text) => return self.handle_text(text, turn, pcm),
            Packet::Binary(bytes) => self.handle_binary(bytes, turn),
            _ => {}
        }
        After::Stay
    }

    /// Stops everything that works for the session.
    pub(super) fn end(self, hub: &Hub) {
        if let Some(leg) = &self.leg {
            if let Leg::Interpreted(leg) = leg {
                leg.stop();
            }
            hub.sessions.set(hub.sessions.value().saturating_sub(1));
        }
    }

    fn handle_text(&mut self, text: &str, turn: &mut Turn<'_>, pcm: &mut Vec<u8>) -> After {
        match Message::decode(text) {
            Ok(Message::Audio(audio)) => self.handle_text_audio(&audio, turn, pcm),
            Ok(Message::Ping(ping)) => turn.send(&Message::Pong(ping), Keep::Always),
            Ok(Message::Pong(_)) => {}
            Ok(Message::SessionEnd(_)) => return After::End,
            Ok(Message::SessionStart(start)) => self.start(&start, turn),
            Ok(_) => turn.hub.counters.count(Count::MessageUnexpected),
            Err(DecodeError::UnknownType) => turn.hub.counters.count(Count::MessageUnknown),
            Err(error) => {
                turn.refuse(
                    Count::MessageMalformed,
                    ErrorCode::BadMessage,
                    error.to_string(),
                );
            }
        }
        After::Stay
    }

    fn handle_text_audio(&mut self, audio: &Audio<'_>, turn: &mut Turn<'_>, pcm: &mut Vec<u8>) {
        match audio.data.decode_into(pcm) {
            Ok(()) => self.handle_pcm(audio.timestamp, pcm, turn),
            Err(error) => {
                turn.refuse(Count::AudioRefused, ErrorCode::BadAudio, error.to_string());
            }
        }
    }

    fn handle_binary(&mut self, bytes: &[u8], turn: &mut Turn<'_>) {
        match Frame::decode(bytes) {
            Ok(Frame {
                header: Header::Audio { timestamp, .. },
                pcm,
            }) => {
                self.handle_pcm(timestamp, pcm, turn);
            }
            Ok(_) => turn.hub.counters.count(Count::MessageUnexpected),
            Err(FrameError::UnknownKind(_)) => turn.hub.counters.count(Count::MessageUnknown),
            Err(FrameError::Data(error)) => {
                turn.refuse(Count::AudioRefused, ErrorCode::BadAudio, error.to_string());
            }
            Err(error) => {
                turn.refuse(
                    Count::MessageMalformed,
                    ErrorCode::BadMessage,
                    error.to_string(),
                );
            }
        }
    }

    fn start(&mut self, start: &SessionStart<'_>, turn: &mut Turn<'_>) {
        let number = &turn.hub.extensions[self.extension].number;
        let is_long = start.call_id.len() > CALL_ID_BYTES_MAX
            || start.language.len() > LANGUAGE_BYTES_MAX
            || start.target_language.len() > LANGUAGE_BYTES_MAX;
        let refusal = if self.leg.is_some() {
            Some((ErrorCode::SessionExists, "the session has begun already"))
        } else if *start.extension != **number {
            Some((
                ErrorCode::BadSession,
                "the extension is not the one in the URL",
            ))
        } else if start.language.is_empty() || start.target_language.is_empty() {
            Some((ErrorCode::BadSession, "a language is missing"))
        } else if is_long {
            Some((ErrorCode::BadSession, "a language or call_id is too long"))
        } else if !start.audio.is_supported() {
            Some((
                ErrorCode::UnsupportedAudio,
                "only s16be or s16le, 16000 Hz, mono is served",
            ))
        } else {
            None
        };
        if let Some((code, reason)) = refusal {
            return turn.refuse(Count::SessionRefused, code, reason);
        }
        turn.hub.counters.count(Count::Session);
        turn.hub.sessions.add(1);
        self.leg = Some(self.begin(start, turn));
    }

    fn begin(&self, start: &SessionStart<'_>, turn: &mut Turn<'_>) -> Leg {
        let names = Names {
            extension: self.extension,
            audio_form: self.audio_form,
            language: start.language.to_string(),
            target_language: start.target_language.to_string(),
            call_id: start.call_id.to_string(),
        };
        let is_same_language = base_language(&names.language)
            .eq_ignore_ascii_case(base_language(&names.target_language));
        if turn.hub.vendors.is_none() || is_same_language {
            return Leg::Passed(names, Pass::default());
        }
        let reporter = self.reporter.clone();
        let mut leg = Interpreting::new(names, start.audio.encoding, reporter, turn);
        leg.run(turn);
        Leg::Interpreted(Box::new(leg))
    }

    fn handle_pcm(&mut self, timestamp: u64, pcm: &[u8], turn: &mut Turn<'_>) {
        let Some(leg) = &mut self.leg else {
            turn.hub.counters.count(Count::MessageUnexpected);
            if !std::mem::replace(&mut self.has_told_no_session, true) {
                let text = "audio before session_start is dropped";
                turn.send(&Message::error(ErrorCode::NoSession, text, 0), Keep::Always);
            }
            return;
        };
        turn.hub.counters.count(Count::Audio);
        match leg {
            Leg::Interpreted(leg) => leg.handle_audio(timestamp, pcm, turn),
            Leg::Passed(names, pass) => {
                let utterance = pass.utterance_at(turn.now);
                let speech = Speech {
                    utterance,
                    timestamp,
                    is_last: false,
                    pace: Pace::Live,
                };
                turn.send_speech(names, &speech, pcm);
            }
        }
    }
}

impl Pass {
    /// One utterance for as long as the stream is continuous.
    fn utterance_at(&mut self, now: Instant) -> u32 {
        let is_new = self
            .heard_at
            .is_none_or(|heard_at| now.duration_since(heard_at) >= PASSED_PAUSE);
        self.heard_at = Some(now);
        // Wraps past 0, which means "none".
        if is_new {
            self.utterance = self.utterance.wrapping_add(1).max(1);
        }
        self.utterance
    }
}

/// What goes with samples sent back.
pub(super) struct Speech {
    pub(super) utterance: u32,
    pub(super) timestamp: u64,
    pub(super) is_last: bool,
    pub(super) pace: Pace,
}

/// Bytes of a text message of speech besides its data, at most, extensions of usual length given.
const TEXT_AROUND_DATA: usize = 160;

impl Turn<'_> {
    /// The time on the interpreters' clock.
    pub(super) fn micros(&self) -> Micros {
        let since = self.now.saturating_duration_since(self.hub.epoch);
        Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Sends any message but speech.
    pub(super) fn send(&mut self, message: &Message<'_>, keep: Keep) {
        self.queue(Packet::text(message.to_json()), keep);
    }

    /// Counts and tells that something was refused.
    pub(super) fn refuse(
        &mut self,
        count: Count,
        code: ErrorCode,
        reason: impl Into<Cow<'static, str>>,
    ) {
        self.hub.counters.count(count);
        self.send(&Message::error(code, reason, 0), Keep::Always);
    }

    /// Sends samples, already in the session's byte order, in the connection's form.
    pub(super) fn send_speech(&mut self, names: &Names, speech: &Speech, pcm: &[u8]) {
        let Speech {
            utterance,
            timestamp,
            is_last: last,
            pace,
        } = *speech;
        let packet = match names.audio_form {
            AudioForm::Binary => {
                let header = Header::TranslatedAudio {
                    utterance,
                    last,
                    pace,
                    timestamp,
                };
                let mut bytes = Vec::with_capacity(binary::HEADER_BYTES + pcm.len());
                Frame { header, pcm }.encode(&mut bytes);
                Packet::binary(bytes)
            }
            AudioForm::Text => {
                let extension = &self.hub.extensions[names.extension];
                let audio = TranslatedAudio {
                    extension: Cow::Borrowed(&extension.number),
                    target_extension: Cow::Borrowed(&extension.partner),
                    timestamp,
                    utterance,
                    last,
                    live: pace == Pace::Live,
                    data: Data::Bytes(Cow::Borrowed(pcm)),
                };
                let mut text = String::with_capacity(TEXT_AROUND_DATA + pcm.len().div_ceil(3) * 4);
                encode_translated_audio(&audio, &mut text);
                Packet::text(text)
            }
        };
        // The end of an utterance is sent without samples, so that it need never be dropped.
        self.queue(packet, if last { Keep::Always } else { Keep::Droppable });
    }

    fn queue(&mut self, packet: Packet, keep: Keep) {
        let dropped = self.connection.send(packet, keep);
        if dropped > 0 {
            self.hub.counters.add(Count::MessageDropped, dropped);
        }
    }
}
