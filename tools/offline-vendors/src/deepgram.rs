//! Deepgram's `/v1/listen`: checks the upgrade as strictly as the vendor and hands it to a stream.
//!
//! It refuses what Deepgram refuses (key, parameters, values) and, with a message that says so,
//! what only this stand-in lacks: other languages, containers, codecs other than linear16 and
//! mulaw. A model is demanded although Deepgram has a default: leaving it out is a client's
//! oversight.

mod results;
mod stream;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use tungstenite::handshake::derive_accept_key;

use crate::http::{Connection, Request, Response};
use crate::listening::{Interims, ListeningOptions};
use crate::phrase_book::Language;
use crate::server::{Gauge, Shared, log_line, request_id};

/// `endpointing` when not given, in milliseconds.
const ENDPOINTING_MS_DEFAULT: u32 = 10;
/// Largest silence that may be asked for, in milliseconds.
const SILENCE_MS_MAX: u32 = 10_000;
/// Smallest `utterance_end_ms`: interim results come about once a second.
const UTTERANCE_END_MS_MIN: u32 = 1000;

const MODELS: [&str; 21] = [
    "nova-3",
    "nova-3-general",
    "nova-3-medical",
    "nova-2",
    "nova-2-general",
    "nova-2-meeting",
    "nova-2-finance",
    "nova-2-conversationalai",
    "nova-2-voicemail",
    "nova-2-video",
    "nova-2-medical",
    "nova-2-drivethru",
    "nova-2-automotive",
    "nova",
    "nova-general",
    "nova-phonecall",
    "nova-medical",
    "enhanced",
    "enhanced-general",
    "base",
    "phonecall",
];
/// Parameters that must be `true` or `false`.
const SWITCHES: [&str; 13] = [
    "diarize",
    "dictation",
    "filler_words",
    "interim_results",
    "mip_opt_out",
    "multichannel",
    "no_delay",
    "numerals",
    "profanity_filter",
    "punctuate",
    "smart_format",
    "vad_events",
    "detect_entities",
];
/// Parameters taken without effect here.
const IGNORED: [&str; 12] = [
    "callback",
    "callback_method",
    "diarize_model",
    "extra",
    "keyterm",
    "keywords",
    "redact",
    "replace",
    "search",
    "tag",
    "version",
    "language_hint",
];

/// How samples arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// Signed 16 bits, little endian.
    Linear16,
    /// G.711 µ-law.
    Mulaw,
}

/// Whether transcripts are punctuated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Punctuation {
    Off,
    On,
}

/// Whether `SpeechStarted` is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VadEvents {
    Off,
    On,
}

/// A checked request.
#[derive(Clone, Debug)]
struct Session {
    request_id: String,
    model: String,
    language: Language,
    encoding: Encoding,
    rate_hz: u32,
    listening: ListeningOptions,
    punctuation: Punctuation,
    vad_events: VadEvents,
}

/// Serves one request to its end; a good one becomes a WebSocket.
pub fn serve(mut connection: Connection, request: &Request, shared: &Arc<Shared>) {
    let request_id = request_id();
    let max = shared.options.streams_max;
    let checked = check(request, shared, &request_id).and_then(|accept_key| {
        let gauge = Gauge::enter(shared, |counters| &counters.streams, max).ok_or((
            429,
            "TOO_MANY_REQUESTS",
            "Too many requests. Please try again later".to_owned(),
        ))?;
        Ok((accept_key, session(request, &request_id)?, gauge))
    });
    match checked {
        Ok((accept_key, session, _gauge)) => {
            shared.counters.streams_total.fetch_add(1, Ordering::SeqCst);
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-accept: {accept_key}\r\ndg-request-id: {request_id}\r\n\r\n"
            );
            if let Ok((socket, read_ahead)) = connection.switch_protocols(head.as_bytes()) {
                stream::serve(socket, read_ahead, &session, shared);
            }
        }
        Err((status, code, message)) => {
            log_line(&format!(
                "deepgram {request_id}: refused {status} {code}: {message}"
            ));
            let body = json!({ "err_code": code, "err_msg": message, "request_id": request_id });
            let response = Response::json(status, &body)
                .with("dg-error", message)
                .with("dg-request-id", request_id);
            // A peer that is gone cannot be told.
            let _ = connection.send(&response, true);
        }
    }
}

/// Status, `err_code`, `err_msg`.
type Refusal = (u16, &'static str, String);

fn bad(message: impl Into<String>) -> Refusal {
    (400, "Bad Request", message.into())
}

/// Key and upgrade; gives the accept key.
fn check(request: &Request, shared: &Shared, request_id: &str) -> Result<String, Refusal> {
    let invalid_auth = || (401, "INVALID_AUTH", "Invalid credentials.".to_owned());
    let key = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("Token "))
        .ok_or_else(invalid_auth)?;
    if key != shared.options.deepgram_key {
        log_line(&format!("deepgram {request_id}: wrong key"));
        return Err(invalid_auth());
    }
    let has = |name: &str, token: &str| {
        request
            .header(name)
            .is_some_and(|value| value.to_ascii_lowercase().contains(token))
    };
    let is_upgrade = request.method == "GET"
        && has("connection", "upgrade")
        && has("upgrade", "websocket")
        && request.header("sec-websocket-version") == Some("13");
    match request.header("sec-websocket-key") {
        Some(key) if is_upgrade => Ok(derive_accept_key(key.as_bytes())),
        _ => Err(bad(
            "This stand-in offers streaming only: a WebSocket upgrade is expected.",
        )),
    }
}

fn session(request: &Request, request_id: &str) -> Result<Session, Refusal> {
    for (name, value) in &request.query {
        check_parameter(name, value)?;
    }
    let is_on = |name: &str| request.parameter(name) == Some("true");
    if is_on("multichannel") {
        return Err(bad("multichannel is not offered offline."));
    }
    let model = request
        .parameter("model")
        .ok_or_else(|| bad("No model was given."))?;
    let (encoding, rate_hz) = audio_format(request)?;
    let utterance_end_ms = request
        .parameter("utterance_end_ms")
        .map(|value| number("utterance_end_ms", value, UTTERANCE_END_MS_MIN))
        .transpose()?;
    if utterance_end_ms.is_some() && !is_on("interim_results") {
        return Err(bad("utterance_end_ms requires interim_results=true."));
    }
    let endpointing_ms = match request.parameter("endpointing") {
        None | Some("true") => Some(ENDPOINTING_MS_DEFAULT),
        Some("false") => None,
        Some(value) => Some(number("endpointing", value, 0)?),
    };
    let interims = if is_on("interim_results") {
        Interims::On
    } else {
        Interims::Off
    };
    let is_punctuated = is_on("punctuate") || is_on("smart_format");
    Ok(Session {
        request_id: request_id.to_owned(),
        model: model.to_owned(),
        language: language(request.parameter("language").unwrap_or("en"))?,
        encoding,
        rate_hz,
        listening: ListeningOptions {
            endpointing_ms,
            utterance_end_ms,
            interims,
        },
        punctuation: if is_punctuated {
            Punctuation::On
        } else {
            Punctuation::Off
        },
        vad_events: if is_on("vad_events") {
            VadEvents::On
        } else {
            VadEvents::Off
        },
    })
}

fn check_parameter(name: &str, value: &str) -> Result<(), Refusal> {
    let is_good = match name {
        "model" => MODELS.contains(&value),
        "channels" => value == "1",
        "language" | "encoding" | "sample_rate" | "endpointing" | "utterance_end_ms" => true,
        "detect_language" => {
            return Err(bad("detect_language is not supported for streaming."));
        }
        name if SWITCHES.contains(&name) => matches!(value, "true" | "false"),
        name if IGNORED.contains(&name) => true,
        _ => return Err(bad(format!("Unknown parameter {name}."))),
    };
    if is_good {
        Ok(())
    } else {
        Err(bad(format!("Invalid value \"{value}\" for {name}.")))
    }
}

fn audio_format(request: &Request) -> Result<(Encoding, u32), Refusal> {
    let rate = request.parameter("sample_rate");
    let encoding = match request.parameter("encoding") {
        Some("linear16") => Encoding::Linear16,
        Some("mulaw") => Encoding::Mulaw,
        Some(other) => {
            return Err(bad(format!(
                "Encoding {other} is invalid or not offered offline."
            )));
        }
        None if rate.is_some() => return Err(bad("sample_rate was given without encoding.")),
        None => {
            return Err(bad(
                "Containers are not offered offline: give encoding and sample_rate.",
            ));
        }
    };
    match (encoding, rate) {
        (_, None) => Err(bad("encoding was given without sample_rate.")),
        (_, Some("8000")) => Ok((encoding, 8000)),
        (Encoding::Linear16, Some("16000")) => Ok((encoding, 16_000)),
        (_, Some(other)) => Err(bad(format!(
            "Sample rate {other} is invalid or not offered offline."
        ))),
    }
}

fn language(code: &str) -> Result<Language, Refusal> {
    if code == "multi" {
        return Err(bad("language=multi is not offered offline."));
    }
    Language::from_code(code).ok_or_else(|| bad(format!("Language {code} is not supported.")))
}

fn number(name: &str, value: &str, min: u32) -> Result<u32, Refusal> {
    value
        .parse()
        .ok()
        .filter(|number| (min..=SILENCE_MS_MAX).contains(number))
        .ok_or_else(|| bad(format!("Invalid value \"{value}\" for {name}.")))
}
