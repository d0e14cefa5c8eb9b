//! Deepgram's words, both ways: text in, meaning out; pure.
//!
//! Only what the protocol guarantees is demanded (`type`); unknown types and fields are no error,
//! since the vendor adds both without notice.

use serde::Deserialize;

use crate::config;
use crate::vendor::http::push_percent_encoded;
use crate::vendor::{FailureKind, RecognitionEvent, RecognitionRequest};

/// Says that the stream is alive while no audio flows. Must be a text message.
pub(super) const KEEP_ALIVE: &str = r#"{"type":"KeepAlive"}"#;

/// Asks for what is left and for the end of the stream. Must be a text message.
pub(super) const CLOSE_STREAM: &str = r#"{"type":"CloseStream"}"#;

/// Samples per second, as asked for in the query.
pub(super) const SAMPLE_RATE_HZ: usize = 16_000;

/// Shortest silence after the last word that the vendor reports as the end of an utterance when its
/// endpointing did not; less is refused.
const UTTERANCE_END_MS: u32 = 1000;

/// What the vendor said.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ServerMessage {
    /// An error that did not close the connection (yet).
    Error(String),
    /// The last message of a stream.
    Metadata,
    /// Words, or none.
    Results(Results),
    /// Speech began; may be missing or repeated, so nothing rests on it.
    SpeechStarted,
    /// A type this client does not know.
    Unknown,
    /// Silence after words.
    UtteranceEnd,
}

/// Words heard in one piece of audio.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Results {
    /// May be empty, in a final too.
    pub(super) transcript: String,
    /// Whether the words stay.
    pub(super) is_final: bool,
    /// Whether the speaker stopped here.
    pub(super) speech_final: bool,
    /// End of the last word, else of the piece, in milliseconds of the connection's audio.
    pub(super) end_ms: u64,
}

/// Reads one text message.
///
/// # Errors
/// It is not JSON, or not in the shape of its type.
pub(super) fn parse_server_message(text: &str) -> Result<ServerMessage, serde_json::Error> {
    Ok(match serde_json::from_str(text)? {
        Wire::Error(error) => ServerMessage::Error(error.detail()),
        Wire::Metadata {} => ServerMessage::Metadata,
        Wire::Results(results) => ServerMessage::Results(results.into()),
        Wire::SpeechStarted {} => ServerMessage::SpeechStarted,
        Wire::Unknown => ServerMessage::Unknown,
        Wire::UtteranceEnd {} => ServerMessage::UtteranceEnd,
    })
}

/// What a message means to the listener, in order. Finals without words are nothing, but may still
/// end the utterance; an end may be told twice.
pub(super) fn events_of(message: ServerMessage) -> [Option<RecognitionEvent>; 2] {
    match message {
        ServerMessage::UtteranceEnd => [Some(RecognitionEvent::UtteranceEnd), None],
        ServerMessage::Results(results) => {
            let ends = results.is_final && results.speech_final;
            let words = (!results.transcript.is_empty()).then(|| results.into_event());
            [words, ends.then_some(RecognitionEvent::UtteranceEnd)]
        }
        _ => [None, None],
    }
}

/// The address of a `/v1/listen` stream: 16 kHz mono, 16-bit little endian.
pub(super) fn listen_url(config: &config::Deepgram, request: &RecognitionRequest) -> String {
    let mut url = format!("{}/v1/listen?", config.url.trim_end_matches('/'));
    let parameters = [
        ("model", config.model.clone()),
        ("language", request.language.clone()),
        ("encoding", "linear16".to_owned()),
        ("sample_rate", SAMPLE_RATE_HZ.to_string()),
        ("channels", "1".to_owned()),
        ("interim_results", "true".to_owned()),
        ("endpointing", config.endpointing_ms.to_string()),
        ("utterance_end_ms", UTTERANCE_END_MS.to_string()),
        ("vad_events", "true".to_owned()),
        ("punctuate", "true".to_owned()),
    ];
    for (index, (name, value)) in parameters.iter().enumerate() {
        if index > 0 {
            url.push('&');
        }
        url.push_str(name);
        url.push('=');
        push_percent_encoded(&mut url, value);
    }
    url
}

/// What the vendor's HTTP answer to the upgrade means.
pub(super) fn refusal_kind(status: u16) -> FailureKind {
    match status {
        401 | 403 => FailureKind::Auth,
        402 => FailureKind::Quota,
        408 => FailureKind::Timeout,
        429 => FailureKind::RateLimited,
        400..=499 => FailureKind::BadRequest,
        500..=599 => FailureKind::Transient,
        _ => FailureKind::Protocol,
    }
}

/// The vendor's explanation in the body of a refused upgrade; empty if there is none.
pub(super) fn parse_refusal(body: &[u8]) -> String {
    match serde_json::from_slice::<WireRefusal>(body) {
        Ok(refusal) => format!(
            "{} {} {}",
            refusal.err_code, refusal.err_msg, refusal.request_id
        ),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

/// What a close frame means that came before the end was asked for. 1000 too: the vendor ends no
/// stream on its own, so whoever did is in between.
pub(super) fn close_kind(code: Option<u16>, reason: &str) -> FailureKind {
    if reason.contains("DATA-0000") {
        return FailureKind::BadRequest;
    }
    match code {
        Some(1002 | 1003 | 1007..=1010) => FailureKind::BadRequest,
        _ => FailureKind::Transient,
    }
}

impl Results {
    fn into_event(self) -> RecognitionEvent {
        if self.is_final {
            RecognitionEvent::Final {
                text: self.transcript,
                end_ms: self.end_ms,
            }
        } else {
            RecognitionEvent::Partial {
                text: self.transcript,
            }
        }
    }
}

/// Seconds to milliseconds; what cannot be (before the beginning) is the beginning.
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round().max(0.0) as u64
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Wire {
    Error(WireError),
    Metadata {},
    Results(WireResults),
    SpeechStarted {},
    UtteranceEnd {},
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct WireError {
    variant: String,
    code: String,
    description: String,
}

#[derive(Deserialize)]
struct WireResults {
    #[serde(default)]
    start: f64,
    #[serde(default)]
    duration: f64,
    #[serde(default)]
    is_final: bool,
    #[serde(default)]
    speech_final: bool,
    channel: WireChannel,
}

#[derive(Deserialize)]
struct WireChannel {
    #[serde(default)]
    alternatives: Vec<WireAlternative>,
}

#[derive(Deserialize)]
struct WireAlternative {
    #[serde(default)]
    transcript: String,
    #[serde(default)]
    words: Vec<WireWord>,
}

#[derive(Deserialize)]
struct WireWord {
    end: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireRefusal {
    err_code: String,
    err_msg: String,
    request_id: String,
}

impl WireError {
    fn detail(self) -> String {
        format!("{}{}: {}", self.variant, self.code, self.description)
    }
}

impl From<WireResults> for Results {
    fn from(wire: WireResults) -> Self {
        let best = wire.channel.alternatives.into_iter().next();
        let last_word_end = best
            .as_ref()
            .and_then(|best| best.words.last())
            .and_then(|word| word.end);
        let end_s = last_word_end.unwrap_or(wire.start + wire.duration);
        let transcript = best
            .map(|best| best.transcript.trim().to_owned())
            .unwrap_or_default();
        Self {
            transcript,
            is_final: wire.is_final,
            speech_final: wire.speech_final,
            end_ms: milliseconds(end_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Composed from the vendor's published specification, with everything that may be there.
    const RESULTS: &str = r#"{"type":"Results","channel_index":[0,1],"start":4.16,"duration":1.52,
        "is_final":true,"speech_final":true,"from_finalize":false,
        "channel":{"alternatives":[{"transcript":"bonjour madame","confidence":0.981,
        "languages":["fr"],"words":[
        {"word":"bonjour","start":4.24,"end":4.72,"confidence":0.99,"punctuated_word":"Bonjour"},
        {"word":"madame","start":4.72,"end":5.12,"confidence":0.97,"punctuated_word":"madame."}]}]},
        "metadata":{"request_id":"5c0d","model_uuid":"1abf","model_info":{"name":"general-nova-3"}}}"#;

    fn events(text: &str) -> Vec<RecognitionEvent> {
        events_of(parse_server_message(text).unwrap())
            .into_iter()
            .flatten()
            .collect()
    }

    fn results(transcript: &str, flags: &str) -> String {
        format!(
            r#"{{"type":"Results","channel_index":[0,1],"start":1.0,"duration":0.5,{flags}
            "channel":{{"alternatives":[{{"transcript":"{transcript}","confidence":0.9,"words":[]}}]}},
            "metadata":{{}}}}"#
        )
    }

    #[test]
    fn documented_messages_mean_what_the_vendor_says() {
        let text = "bonjour madame".to_owned();
        let spoken = RecognitionEvent::Final { text, end_ms: 5120 };
        assert_eq!(events(RESULTS), [spoken, RecognitionEvent::UtteranceEnd]);
        let golden = [
            (
                r#"{"type":"SpeechStarted","channel":[0],"timestamp":4.16}"#,
                ServerMessage::SpeechStarted,
            ),
            (
                r#"{"type":"UtteranceEnd","channel":[0,1],"last_word_end":-1}"#,
                ServerMessage::UtteranceEnd,
            ),
            (
                r#"{"type":"Metadata","transaction_key":"deprecated","request_id":"5c0d","sha256":"9a",
                "created":"2026-11-22T10:00:00.000Z","duration":61.2,"channels":1}"#,
                ServerMessage::Metadata,
            ),
            (
                r#"{"type":"Error","variant":"SchemaError","description":"bad","message":"x"}"#,
                ServerMessage::Error("SchemaError: bad".to_owned()),
            ),
            (
                r#"{"type":"ConfigureSuccess","request_id":"1","keyterms":[]}"#,
                ServerMessage::Unknown,
            ),
        ];
        for (text, expected) in golden {
            assert_eq!(parse_server_message(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn finals_partials_and_ends_are_told_apart() {
        let text = || "allô".to_owned();
        let partial = RecognitionEvent::Partial { text: text() };
        let spoken = RecognitionEvent::Final {
            text: text(),
            end_ms: 1500,
        };
        assert_eq!(events(&results("allô", "")), std::slice::from_ref(&partial));
        assert_eq!(
            events(&results("allô", r#""is_final":false,"speech_final":true,"#)),
            [partial]
        );
        let words = events(&results("allô", r#""is_final":true,"#));
        assert_eq!(words, std::slice::from_ref(&spoken));
        assert_eq!(
            events(&results("allô", r#""is_final":true,"speech_final":true,"#)),
            [spoken, RecognitionEvent::UtteranceEnd]
        );
        assert_eq!(events(&results("", r#""is_final":true,"#)), []);
        assert_eq!(events(&results(" ", "")), []);
        assert_eq!(
            events(&results("", r#""is_final":true,"speech_final":true,"#)),
            [RecognitionEvent::UtteranceEnd]
        );
        assert_eq!(
            events(r#"{"type":"Results","channel":{"alternatives":[]}}"#),
            []
        );
    }

    #[test]
    fn nonsense_is_an_error() {
        let cases = [
            "",
            "{",
            "null",
            "[]",
            "\"Results\"",
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"Results"}"#,
            r#"{"type":"Results","channel":{"alternatives":"none"}}"#,
            r#"{"type":"Results","channel":{"alternatives":[{"transcript":7}]}}"#,
        ];
        for text in cases {
            assert!(parse_server_message(text).is_err(), "{text}");
        }
        for cut in (0..RESULTS.len()).filter(|cut| RESULTS.is_char_boundary(*cut)) {
            assert!(
                parse_server_message(&RESULTS[..cut]).is_err(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn impossible_times_are_the_nearest_possible() {
        let at = |seconds: &str| {
            let text = format!(
                r#"{{"type":"Results","is_final":true,"channel":{{"alternatives":[
                {{"transcript":"x","words":[{{"end":{seconds}}}]}}]}}}}"#
            );
            match events(&text).as_slice() {
                [RecognitionEvent::Final { end_ms, .. }] => *end_ms,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(at("-1"), 0);
        assert_eq!(at("1.2345"), 1235);
        assert_eq!(at("1e300"), u64::MAX);
    }

    /// The table of HTTP answers and close codes in the vendor's documentation.
    #[test]
    fn failures_are_classified_as_documented() {
        let refusals = [
            (400, FailureKind::BadRequest),
            (401, FailureKind::Auth),
            (402, FailureKind::Quota),
            (403, FailureKind::Auth),
            (404, FailureKind::BadRequest),
            (429, FailureKind::RateLimited),
            (500, FailureKind::Transient),
            (503, FailureKind::Transient),
            (504, FailureKind::Transient),
            (200, FailureKind::Protocol),
            (302, FailureKind::Protocol),
        ];
        for (status, kind) in refusals {
            assert_eq!(refusal_kind(status), kind, "{status}");
        }
        let closes = [
            (Some(1000), "", FailureKind::Transient),
            (Some(1002), "DATA-0000", FailureKind::BadRequest),
            (
                Some(1008),
                "DATA-0000: not linear16",
                FailureKind::BadRequest,
            ),
            (Some(1011), "NET-0000", FailureKind::Transient),
            (Some(1011), "NET-0001", FailureKind::Transient),
            (Some(1012), "restart", FailureKind::Transient),
            (None, "", FailureKind::Transient),
            (Some(4999), "?", FailureKind::Transient),
        ];
        for (code, reason, kind) in closes {
            assert_eq!(close_kind(code, reason), kind, "{code:?} {reason}");
        }
    }

    #[test]
    fn refusal_is_explained_in_any_shape() {
        let body =
            br#"{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials.","request_id":"7"}"#;
        assert_eq!(parse_refusal(body), "INVALID_AUTH Invalid credentials. 7");
        assert_eq!(parse_refusal(b"<html>"), "<html>");
        assert_eq!(parse_refusal(b""), "");
        assert_eq!(parse_refusal(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn address_holds_every_parameter_and_escapes_values() {
        let config = config::Deepgram {
            url: "ws://127.0.0.1:1/".to_owned(),
            key: None,
            model: "nova-3&x=1".to_owned(),
            endpointing_ms: 300,
        };
        let request = RecognitionRequest {
            language: "fr-CA".to_owned(),
        };
        assert_eq!(
            listen_url(&config, &request),
            "ws://127.0.0.1:1/v1/listen?model=nova-3%26x%3D1&language=fr-CA&encoding=linear16\
             &sample_rate=16000&channels=1&interim_results=true&endpointing=300\
             &utterance_end_ms=1000&vad_events=true&punctuate=true"
        );
    }

    proptest! {
        /// Any text is understood or refused, never more.
        #[test]
        fn parsers_are_total(text in ".*", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_server_message(&text).map(events_of);
            let _ = parse_server_message(&format!(r#"{{"type":"Results",{text}}}"#)).map(events_of);
            let _ = parse_refusal(&bytes);
        }

        /// A documented message with one byte changed is understood or refused.
        #[test]
        fn damaged_messages_are_harmless(at in 0..RESULTS.len(), byte in any::<u8>()) {
            let mut bytes = RESULTS.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let _ = parse_server_message(text).map(events_of);
            }
        }
    }
}
