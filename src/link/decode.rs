//! Reads text messages: one pass over the JSON into the fields of all messages, then the message.
//!
//! Written by hand where derived code would first build a tree: an internally tagged enum buffers
//! everything before its tag, and 500 legs send 25 000 of these a second.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::AUDIO_BYTES_MAX;
use super::messages::{
    Audio, AudioFormat, Caption, Data, DecodeError, Encoding, ErrorMessage, Heartbeat, Message,
    Outcome, SessionEnd, SessionStart, Trace, TranslatedAudio,
};

/// Reads one message; see [`Message::decode`].
pub(super) fn decode(text: &str) -> Result<Message<'_>, DecodeError> {
    match serde_json::from_str::<Fields<'_>>(text) {
        Ok(fields) => fields.into_message(),
        Err(error) => Err(fields_error(text, &error)),
    }
}

/// A newer type of message may use our fields' names for other things: it is unknown, not broken.
fn fields_error(text: &str, error: &serde_json::Error) -> DecodeError {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
    }
    match serde_json::from_str::<Kind<'_>>(text) {
        Ok(Kind { kind }) if !KINDS.contains(&kind.0.as_ref()) => DecodeError::UnknownType,
        _ => DecodeError::Syntax(error.to_string()),
    }
}

/// The types of message that [`Fields::into_message`] knows.
const KINDS: [&str; 10] = [
    "audio",
    "error",
    "ping",
    "pong",
    "session_end",
    "session_start",
    "trace",
    "transcript",
    "translated_audio",
    "translation",
];

/// The fields of all messages in one: read in a single pass, wherever `type` stands.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    extension: Option<Text<'a>>,
    #[serde(rename = "targetExtension", borrow)]
    target_extension: Option<Text<'a>>,
    #[serde(borrow)]
    language: Option<Text<'a>>,
    #[serde(borrow)]
    target_language: Option<Text<'a>>,
    #[serde(borrow)]
    call_id: Option<Text<'a>>,
    audio: Option<AudioFormat>,
    timestamp: Option<Whole>,
    sequence: Option<Whole>,
    utterance: Option<u32>,
    last: Option<bool>,
    live: Option<bool>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(rename = "final")]
    is_final: Option<bool>,
    #[serde(borrow)]
    code: Option<Text<'a>>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
    id: Option<Whole>,
    outcome: Option<Outcome>,
    speech_end: Option<u64>,
    asr_final_ms: Option<u64>,
    queue_ms: Option<u64>,
    mt_ms: Option<u64>,
    tts_first_byte_ms: Option<u64>,
    total_ms: Option<u64>,
    speech_ms: Option<u64>,
}

impl<'a> Fields<'a> {
    fn into_message(self) -> Result<Message<'a>, DecodeError> {
        Ok(match self.kind.0.as_ref() {
            "audio" => Message::Audio(Audio {
                extension: optional(self.extension),
                timestamp: whole(self.timestamp),
                sequence: whole(self.sequence),
                data: self.data.ok_or(DecodeError::Missing("data"))?,
            }),
            "error" => Message::Error(ErrorMessage {
                code: required(self.code, "code")?,
                message: optional(self.message),
                utterance: self.utterance.unwrap_or(0),
            }),
            "ping" => Message::Ping(heartbeat(self.id, self.timestamp)),
            "pong" => Message::Pong(heartbeat(self.id, self.timestamp)),
            "session_end" => Message::SessionEnd(SessionEnd {
                extension: optional(self.extension),
            }),
            "session_start" => Message::SessionStart(SessionStart {
                extension: required(self.extension, "extension")?,
                language: required(self.language, "language")?,
                target_language: required(self.target_language, "target_language")?,
                call_id: optional(self.call_id),
                audio: self.audio.unwrap_or_default(),
            }),
            "trace" => Message::Trace(self.into_trace()?),
            "transcript" => Message::Transcript(self.into_caption()?),
            "translated_audio" => Message::TranslatedAudio(TranslatedAudio {
                extension: optional(self.extension),
                target_extension: optional(self.target_extension),
                timestamp: whole(self.timestamp),
                utterance: self.utterance.unwrap_or(0),
                last: self.last.unwrap_or(false),
                live: self.live.unwrap_or(false),
                data: self.data.ok_or(DecodeError::Missing("data"))?,
            }),
            "translation" => Message::Translation(self.into_caption()?),
            _ => return Err(DecodeError::UnknownType),
        })
    }

    fn into_caption(self) -> Result<Caption<'a>, DecodeError> {
        Ok(Caption {
            extension: optional(self.extension),
            target_extension: optional(self.target_extension),
            utterance: self.utterance.unwrap_or(0),
            text: required(self.text, "text")?,
            language: optional(self.language),
            is_final: self.is_final.unwrap_or(false),
        })
    }

    fn into_trace(self) -> Result<Trace<'a>, DecodeError> {
        Ok(Trace {
            extension: optional(self.extension),
            call_id: optional(self.call_id),
            utterance: self.utterance.ok_or(DecodeError::Missing("utterance"))?,
            outcome: self.outcome.ok_or(DecodeError::Missing("outcome"))?,
            speech_end: self.speech_end,
            asr_final_ms: self.asr_final_ms,
            queue_ms: self.queue_ms,
            mt_ms: self.mt_ms,
            tts_first_byte_ms: self.tts_first_byte_ms,
            total_ms: self.total_ms,
            speech_ms: self.speech_ms.unwrap_or(0),
        })
    }
}

fn required<'a>(text: Option<Text<'a>>, field: &'static str) -> Result<Cow<'a, str>, DecodeError> {
    text.map(|text| text.0).ok_or(DecodeError::Missing(field))
}

fn optional(text: Option<Text<'_>>) -> Cow<'_, str> {
    text.map(|text| text.0).unwrap_or_default()
}

fn whole(number: Option<Whole>) -> u64 {
    number.map_or(0, |number| number.0)
}

fn heartbeat(id: Option<Whole>, timestamp: Option<Whole>) -> Heartbeat {
    Heartbeat {
        id: whole(id),
        timestamp: whole(timestamp),
    }
}

/// A string, borrowed if it holds no escapes; a number is taken as its digits, since some senders
/// write extensions so.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// A whole number of at least 0; fractions, which some clocks have, are cut off.
struct Whole(u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeVisitor;
        impl Visitor<'_> for WholeVisitor {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of at least 0")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Whole, E> {
                u64::try_from(number)
                    .map(Whole)
                    .map_err(|_| E::custom("a negative number"))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
                if number < 0.0 {
                    return Err(E::custom("a negative number"));
                }
                Ok(Whole(number as u64))
            }
        }
        deserializer.deserialize_any(WholeVisitor)
    }
}

impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Text::deserialize(deserializer)?.0.as_ref() {
            "s16be" => Self::S16be,
            "s16le" => Self::S16le,
            _ => Self::Unsupported,
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DataVisitor;
        impl<'de> Visitor<'de> for DataVisitor {
            type Value = Data<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 or a Buffer")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Data<'de>, E> {
                Ok(Data::Base64(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Data<'de>, E> {
                Ok(Data::Base64(Cow::Owned(text.to_owned())))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data<'de>, A::Error> {
                let (mut is_buffer, mut bytes) = (false, None);
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    match key.0.as_ref() {
                        "type" => is_buffer = map.next_value::<Text<'de>>()?.0 == "Buffer",
                        "data" => bytes = Some(map.next_value::<ByteList>()?.0),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                match bytes {
                    Some(bytes) if is_buffer => Ok(Data::Bytes(Cow::Owned(bytes))),
                    _ => Err(A::Error::custom("an object that is no Buffer")),
                }
            }
        }
        deserializer.deserialize_any(DataVisitor)
    }
}

/// `[0, 255, …]`; refused once it is longer than any audio may be.
struct ByteList(Vec<u8>);

impl<'de> Deserialize<'de> for ByteList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;
        impl<'de> Visitor<'de> for ListVisitor {
            type Value = ByteList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ByteList, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    // One more than allowed is kept, for the check of the length to refuse.
                    if bytes.len() <= AUDIO_BYTES_MAX {
                        bytes.push(byte);
                    }
                }
                Ok(ByteList(bytes))
            }
        }
        deserializer.deserialize_seq(ListVisitor)
    }
}
