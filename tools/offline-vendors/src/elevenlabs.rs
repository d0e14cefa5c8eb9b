//! ElevenLabs' `/v1/text-to-speech/{voice_id}/stream`: speaks and streams raw audio in odd-sized
//! chunks.
//!
//! As the vendor's voices do, a voice asked for another language speaks that language (with its
//! default speaker here). Formats the vendor has and this process cannot make (MP3, Opus) are
//! refused.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use audio_codec_algorithms::encode_ulaw;
use serde_json::{Map, Value, json};

use crate::http::{Connection, Request, Response};
use crate::phrase_book::Language;
use crate::server::{Gauge, Shared, log_line, request_id};
use crate::speech::{SpeakError, Voice, speak};

/// Largest body, in bytes.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Chunk sizes the body is cut to, in turn: clients must not rely on sample edges.
const CHUNK_BYTES: [usize; 6] = [1, 777, 3, 4001, 1023, 8191];
/// Every query parameter of the endpoint.
const PARAMETERS: [&str; 3] = [
    "output_format",
    "enable_logging",
    "optimize_streaming_latency",
];
/// Every body field of the endpoint.
const FIELDS: [&str; 13] = [
    "text",
    "model_id",
    "language_code",
    "voice_settings",
    "previous_text",
    "next_text",
    "previous_request_ids",
    "next_request_ids",
    "seed",
    "apply_text_normalization",
    "apply_language_text_normalization",
    "pronunciation_dictionary_locators",
    "use_pvc_as_ivc",
];
/// Models with their longest text in characters.
const MODELS: [(&str, usize); 7] = [
    ("eleven_flash_v2_5", 40_000),
    ("eleven_flash_v2", 30_000),
    ("eleven_turbo_v2_5", 40_000),
    ("eleven_turbo_v2", 30_000),
    ("eleven_multilingual_v2", 10_000),
    ("eleven_v3", 5000),
    ("eleven_v4_turbo", 5000),
];
const MODEL_DEFAULT: &str = "eleven_multilingual_v2";
/// Names and ranges of `voice_settings`, apart from the boolean `use_speaker_boost`.
const SETTINGS: [(&str, f64, f64); 4] = [
    ("stability", 0.0, 1.0),
    ("similarity_boost", 0.0, 1.0),
    ("style", 0.0, 1.0),
    ("speed", 0.7, 1.2),
];

/// How samples are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Pcm(u32),
    Ulaw8000,
}

/// Answers one request on its connection.
///
/// # Errors
/// When the peer is gone or too slow.
pub fn serve(
    connection: &mut Connection,
    request: &Request,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let id = request_id();
    let max = shared.options.speech_requests_max;
    let Some(_gauge) = Gauge::enter(shared, |counters| &counters.speech_requests, max) else {
        return connection.send(&too_many(&id), request.is_last);
    };
    let current = shared.counters.speech_requests.load(Ordering::SeqCst);
    let headers = [
        ("request-id".to_owned(), id),
        (
            "current-concurrent-requests".to_owned(),
            current.to_string(),
        ),
        ("maximum-concurrent-requests".to_owned(), max.to_string()),
    ];
    match spoken(request, shared) {
        Ok((content_type, characters, audio)) => {
            let mut all = vec![
                ("content-type".to_owned(), content_type.to_owned()),
                ("x-character-count".to_owned(), characters.to_string()),
            ];
            all.extend(headers);
            connection.send_chunked(&all, &audio, &CHUNK_BYTES)
        }
        Err(mut refusal) => {
            refusal.headers.extend(headers);
            connection.send(&refusal, request.is_last)
        }
    }
}

/// Content type, characters and audio of a good request.
fn spoken(request: &Request, shared: &Shared) -> Result<(&'static str, usize, Vec<u8>), Response> {
    let voice_id = voice_of_path(&request.path)
        .ok_or_else(|| Response::json(404, &json!({ "detail": "Not Found" })))?;
    if request.method != "POST" {
        return Err(Response::json(
            405,
            &json!({ "detail": "Method Not Allowed" }),
        ));
    }
    if request.header("xi-api-key") != Some(shared.options.elevenlabs_key.as_str()) {
        return Err(detail(401, "invalid_api_key", "Invalid API key"));
    }
    let format = query_format(request)?;
    if !request.is_json() {
        return Err(invalid(
            &["body"],
            "value is not a valid dict",
            "type_error.dict",
        ));
    }
    let body: Map<String, Value> = serde_json::from_slice(&request.body)
        .map_err(|_| invalid(&["body"], "JSON decode error", "value_error.jsondecode"))?;
    let (text, language) = checked_body(&body)?;
    let voice = Voice::by_id(voice_id).ok_or_else(|| {
        detail(
            404,
            "voice_not_found",
            &format!("A voice with voice_id {voice_id} was not found."),
        )
    })?;
    let voice = match language {
        Some(language) if language != voice.language => Voice::of(language),
        _ => voice,
    };
    let (content_type, rate_hz) = match format {
        Format::Pcm(rate_hz) => ("audio/pcm", rate_hz),
        Format::Ulaw8000 => ("audio/basic", 8000),
    };
    let samples = speak(text, voice, rate_hz).map_err(|error| {
        log_line(&format!("elevenlabs {}: {error}", voice.id));
        match error {
            SpeakError::Busy => detail(429, "system_busy", "The system is busy."),
            SpeakError::Text => detail(400, "invalid_parameters", "The text cannot be spoken."),
            _ => detail(500, "internal_error", "Speech failed."),
        }
    })?;
    let audio = match format {
        Format::Pcm(_) => samples
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect(),
        Format::Ulaw8000 => samples.iter().map(|sample| encode_ulaw(*sample)).collect(),
    };
    Ok((content_type, text.chars().count(), audio))
}

/// The id in `/v1/text-to-speech/{voice_id}/stream`.
fn voice_of_path(path: &str) -> Option<&str> {
    let id = path
        .strip_prefix("/v1/text-to-speech/")?
        .strip_suffix("/stream")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

fn query_format(request: &Request) -> Result<Format, Response> {
    for (name, value) in &request.query {
        let is_good = match name.as_str() {
            "enable_logging" => matches!(value.as_str(), "true" | "false"),
            "optimize_streaming_latency" => matches!(value.as_str(), "0" | "1" | "2" | "3" | "4"),
            name => PARAMETERS.contains(&name),
        };
        if !is_good {
            return Err(invalid(
                &["query", name],
                "unexpected value",
                "value_error.const",
            ));
        }
    }
    match request.parameter("output_format") {
        Some("ulaw_8000") => Ok(Format::Ulaw8000),
        Some("pcm_8000") => Ok(Format::Pcm(8000)),
        Some("pcm_16000") => Ok(Format::Pcm(16_000)),
        Some("pcm_22050") => Ok(Format::Pcm(22_050)),
        Some("pcm_24000") => Ok(Format::Pcm(24_000)),
        other => {
            let asked = other.unwrap_or("mp3_44100_128");
            let message = format!("The output format {asked} is invalid or not offered offline.");
            Err(detail(400, "invalid_output_format", &message))
        }
    }
}

/// Text and language of a body, every field checked.
fn checked_body(body: &Map<String, Value>) -> Result<(&str, Option<Language>), Response> {
    if let Some(name) = body.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(invalid(
            &["body", name],
            "extra fields not permitted",
            "value_error.extra",
        ));
    }
    let text = match body.get("text") {
        None => {
            return Err(invalid(
                &["body", "text"],
                "field required",
                "value_error.missing",
            ));
        }
        Some(Value::String(text)) => text,
        Some(_) => {
            return Err(invalid(
                &["body", "text"],
                "str type expected",
                "type_error.str",
            ));
        }
    };
    let model = match body.get("model_id") {
        None => MODEL_DEFAULT,
        Some(Value::String(model)) => model,
        Some(_) => {
            return Err(invalid(
                &["body", "model_id"],
                "str type expected",
                "type_error.str",
            ));
        }
    };
    let (_, characters_max) = MODELS.iter().find(|(id, _)| *id == model).ok_or_else(|| {
        detail(
            400,
            "model_not_found",
            &format!("A model with model ID {model} does not exist."),
        )
    })?;
    if text.trim().is_empty() {
        return Err(detail(400, "invalid_parameters", "The text is empty."));
    }
    if text.chars().count() > *characters_max {
        return Err(detail(
            400,
            "max_character_limit_exceeded",
            "The text is too long.",
        ));
    }
    let language = match body.get("language_code") {
        None | Some(Value::Null) => None,
        Some(Value::String(code)) if code.len() == 2 => Some(
            Language::from_code(code)
                .ok_or_else(|| detail(400, "unsupported_language", "Not offered offline."))?,
        ),
        Some(_) => {
            return Err(detail(
                400,
                "invalid_parameters",
                "language_code is not ISO 639-1.",
            ));
        }
    };
    check_settings(body.get("voice_settings"))?;
    if text.contains('[') && !model.starts_with("eleven_v") {
        log_line(&format!(
            "elevenlabs: {model} reads bracket tags aloud: {text:?}"
        ));
    }
    Ok((text, language))
}

fn check_settings(settings: Option<&Value>) -> Result<(), Response> {
    let settings = match settings {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(settings)) => settings,
        Some(_) => {
            let at = ["body", "voice_settings"];
            return Err(invalid(&at, "value is not a valid dict", "type_error.dict"));
        }
    };
    for (name, value) in settings {
        let is_good = match SETTINGS.iter().find(|(known, ..)| known == name) {
            Some((_, low, high)) => {
                value.is_null() || value.as_f64().is_some_and(|v| (*low..=*high).contains(&v))
            }
            None => name == "use_speaker_boost" && (value.is_boolean() || value.is_null()),
        };
        if !is_good {
            let at = ["body", "voice_settings", name];
            return Err(invalid(&at, "value out of range", "value_error"));
        }
    }
    Ok(())
}

fn detail(status: u16, code: &str, message: &str) -> Response {
    Response::json(
        status,
        &json!({ "detail": { "status": code, "message": message } }),
    )
}

fn invalid(at: &[&str], message: &str, kind: &str) -> Response {
    let entry = json!({ "loc": at, "msg": message, "type": kind });
    Response::json(422, &json!({ "detail": [entry] }))
}

fn too_many(id: &str) -> Response {
    Response::json(
        429,
        &json!({ "detail": {
            "type": "rate_limit_error",
            "code": "concurrent_limit_exceeded",
            "message": "Too many concurrent requests.",
            "status": "too_many_concurrent_requests",
            "request_id": id,
            "param": null,
        } }),
    )
}
