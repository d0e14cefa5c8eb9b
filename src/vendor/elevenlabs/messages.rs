//! ElevenLabs' words, both ways: requests out, errors in; pure.

use serde::{Deserialize, Serialize};

use crate::vendor::{FailureKind, SynthesisRequest, http};

/// Samples per second that are asked for, as `pcm_16000`.
pub(super) const SAMPLE_RATE_HZ: u32 = 16_000;

/// What the vendor calls the PCM that is asked for.
const AUDIO_TYPES: [&str; 2] = ["application/octet-stream", "audio/pcm"];

/// Characters of the longest bracket tag; what is longer is text in brackets.
const TAG_CHARS_MAX: usize = 40;

/// Languages that may be forced on models that allow it (ISO 639-1, as the vendor lists them).
const LANGUAGES: [&str; 31] = [
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "fi", "fr", "hi", "hr", "hu", "id", "it", "ja",
    "ko", "ms", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sv", "ta", "tr", "uk", "vi", "zh",
];

/// Models on which a language may be forced.
const MODELS_WITH_LANGUAGE: [&str; 5] = [
    "eleven_flash_v2_5",
    "eleven_turbo_v2_5",
    "eleven_v3",
    "eleven_v4",
    "eleven_v4_turbo",
];

/// Models that act on bracket tags; others read them aloud.
const MODELS_WITH_TAGS: [&str; 3] = ["eleven_v3", "eleven_v4", "eleven_v4_turbo"];

/// The vendor's words about a failure.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Explanation {
    /// Code, status and type, as far as there are any.
    pub(super) codes: Vec<String>,
    pub(super) message: String,
}

impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.codes.join(" "), self.message)
    }
}

/// What the vendor's answer means. Its quota is a 401 like a wrong key, told apart by the code.
pub(super) fn answer_kind(status: u16, codes: &[String]) -> FailureKind {
    if codes
        .iter()
        .any(|code| code == "quota_exceeded" || code == "payment_required")
    {
        return FailureKind::Quota;
    }
    match status {
        401 => FailureKind::Auth,
        402 => FailureKind::Quota,
        408 => FailureKind::Timeout,
        409 | 500..=599 => FailureKind::Transient,
        429 => FailureKind::RateLimited,
        // 403 is a voice or model the plan lacks; other voices go on working.
        400..=499 => FailureKind::BadRequest,
        _ => FailureKind::Protocol,
    }
}

/// Reads all three shapes of errors, and text.
pub(super) fn parse_explanation(answer: &[u8]) -> Explanation {
    let Ok(failure) = serde_json::from_slice::<WireFailure>(answer) else {
        let message = String::from_utf8_lossy(answer).into_owned();
        return Explanation {
            codes: Vec::new(),
            message,
        };
    };
    match failure.detail {
        WireDetail::Text(message) => Explanation {
            codes: Vec::new(),
            message,
        },
        WireDetail::One(detail) => Explanation {
            codes: [detail.code, detail.status, detail.kind]
                .into_iter()
                .flatten()
                .collect(),
            message: detail.message,
        },
        WireDetail::Many(details) => Explanation {
            codes: details
                .iter()
                .filter_map(|detail| detail.kind.clone())
                .collect(),
            message: details
                .into_iter()
                .map(|d| d.msg)
                .collect::<Vec<_>>()
                .join(", "),
        },
    }
}

/// Samples per second of an answer of this type, in lower case; `None` if it is not 16-bit PCM of
/// one channel, little endian, as was asked for. Whatever else it is, `audio/mpeg` or `audio/l16`
/// (big endian, RFC 2586), would be noise at full scale. One that names no rate
/// (`audio/pcm;rate=24000`) has the one that was asked for.
pub(super) fn audio_rate_hz(content_type: &str) -> Option<u32> {
    let mut parts = content_type.split(';').map(str::trim);
    if !AUDIO_TYPES.contains(&parts.next()?) {
        return None;
    }
    let mut rate_hz = SAMPLE_RATE_HZ;
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim_matches('"');
        match name {
            "rate" => rate_hz = value.parse().ok()?,
            "channels" if value != "1" => return None,
            _ => {}
        }
    }
    Some(rate_hz)
}

pub(super) fn stream_url(base: &str, voice: &str) -> String {
    let mut url = format!("{}/v1/text-to-speech/", base.trim_end_matches('/'));
    http::push_percent_encoded(&mut url, voice);
    url.push_str(&format!("/stream?output_format=pcm_{SAMPLE_RATE_HZ}"));
    url
}

/// The request, or nothing if there is nothing to pronounce.
pub(super) fn request_body(model: &str, request: &SynthesisRequest) -> Option<Vec<u8>> {
    let text = if MODELS_WITH_TAGS.contains(&model) {
        request.text.clone()
    } else {
        without_tags(&request.text)
    };
    if !text.chars().any(char::is_alphanumeric) {
        return None;
    }
    let body = WireRequest {
        text: &text,
        model_id: model,
        language_code: language_code(model, &request.language),
        voice_settings: VOICE_SETTINGS,
    };
    // Strings and numbers only: cannot fail.
    serde_json::to_vec(&body).ok()
}

/// The language to force, if the model lets it be forced and the vendor lists it.
fn language_code(model: &str, tag: &str) -> Option<&'static str> {
    let primary = tag.split(['-', '_']).next()?;
    let primary = if primary.eq_ignore_ascii_case("nb") {
        "no"
    } else {
        primary
    };
    let code = LANGUAGES
        .into_iter()
        .find(|code| code.eq_ignore_ascii_case(primary));
    code.filter(|_| MODELS_WITH_LANGUAGE.contains(&model))
}

/// The text without `[whispers]` and the like.
fn without_tags(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        match after.split_once(']').filter(|(tag, _)| is_tag(tag)) {
            Some((_, after)) => {
                plain.push_str(before);
                rest = if before.is_empty() || before.ends_with(' ') {
                    after.trim_start_matches(' ')
                } else {
                    after
                };
            }
            None => {
                plain.push_str(before);
                plain.push('[');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn is_tag(tag: &str) -> bool {
    !tag.is_empty()
        && tag.chars().count() <= TAG_CHARS_MAX
        && tag.chars().all(|c| c.is_alphabetic() || " -'".contains(c))
}

#[derive(Serialize)]
struct WireRequest<'a> {
    text: &'a str,
    model_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    language_code: Option<&'static str>,
    voice_settings: VoiceSettings,
}

#[derive(Serialize)]
struct VoiceSettings {
    /// 0 to 1; lower is livelier.
    stability: f32,
    /// 0 to 1.
    similarity_boost: f32,
    /// 0.7 to 1.2 is safe.
    speed: f32,
}

/// The vendor's own defaults, named so that a voice's stored settings do not change them.
const VOICE_SETTINGS: VoiceSettings = VoiceSettings {
    stability: 0.5,
    similarity_boost: 0.75,
    speed: 1.0,
};

#[derive(Deserialize)]
struct WireFailure {
    detail: WireDetail,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireDetail {
    Many(Vec<WireField>),
    One(WireOne),
    Text(String),
}

#[derive(Deserialize)]
struct WireOne {
    code: Option<String>,
    status: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct WireField {
    #[serde(default)]
    msg: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(text: &str, language: &str) -> SynthesisRequest {
        let voice = "voice".to_owned();
        SynthesisRequest {
            text: text.to_owned(),
            language: language.to_owned(),
            voice,
        }
    }

    #[test]
    fn request_says_what_the_model_takes() {
        let body = |model: &str, text: &str, language: &str| -> serde_json::Value {
            let body = request_body(model, &request(text, language)).unwrap();
            serde_json::from_slice(&body).unwrap()
        };
        let flash = body("eleven_flash_v2_5", "[cheerful] Good morning!", "en-GB");
        let settings = serde_json::json!({
            "stability": 0.5, "similarity_boost": 0.75, "speed": 1.0
        });
        let expected = serde_json::json!({
            "text": "Good morning!", "model_id": "eleven_flash_v2_5", "language_code": "en",
            "voice_settings": settings,
        });
        assert_eq!(flash, expected);
        assert_eq!(body("eleven_v3", "[sad] Oh.", "fr")["text"], "[sad] Oh.");
        assert!(
            body("eleven_multilingual_v2", "Oh.", "fr")
                .get("language_code")
                .is_none()
        );
        assert!(
            body("eleven_flash_v2_5", "Oh.", "xx")
                .get("language_code")
                .is_none()
        );
        assert_eq!(
            body("eleven_flash_v2_5", "Oh.", "nb")["language_code"],
            "no"
        );
        for nothing in ["", " ", "…", "[laughs]", "?!"] {
            assert_eq!(
                request_body("eleven_flash_v2_5", &request(nothing, "en")),
                None
            );
        }
    }

    #[test]
    fn tags_are_stripped_and_brackets_are_not() {
        let cases = [
            ("Hello [laughs] you", "Hello you"),
            ("[sighs][sad] Well", "Well"),
            ("row [3] of [A1]", "row [3] of [A1]"),
            ("open [ only", "open [ only"),
            ("[] x ] [", "[] x ] ["),
            ("so[whispers] it", "so it"),
        ];
        for (text, plain) in cases {
            assert_eq!(without_tags(text), plain, "{text}");
        }
    }

    #[test]
    fn address_holds_the_voice_whatever_it_is() {
        let url = stream_url("http://127.0.0.1:1/", "a/../b?c");
        let expected = "http://127.0.0.1:1/v1/text-to-speech/a%2F..%2Fb%3Fc/stream";
        assert_eq!(url, format!("{expected}?output_format=pcm_16000"));
    }

    #[test]
    fn the_rate_is_the_one_the_type_names_and_what_is_not_our_pcm_has_none() {
        let cases = [
            ("audio/pcm", Some(16_000)),
            ("application/octet-stream", Some(16_000)),
            ("audio/pcm;rate=24000", Some(24_000)),
            ("audio/pcm; channels=1; rate=\"22050\"", Some(22_050)),
            ("audio/pcm;rate=", None),
            ("audio/pcm;rate=99999999999", None),
            ("text/html;rate=16000", None),
            ("audio/mpeg", None),
            ("audio/basic", None),
            ("audio/l16; rate=16000", None),
            ("audio/pcm; channels=2", None),
            ("audio/pcm; channels=", None),
            ("application/json", None),
            ("", None),
        ];
        for (content_type, rate) in cases {
            assert_eq!(audio_rate_hz(content_type), rate, "{content_type}");
        }
    }

    /// The three shapes in the vendor's documentation, and what is none.
    #[test]
    fn explanations_are_read_in_every_shape() {
        let new = br#"{"detail":{"type":"rate_limit_error","code":"concurrent_limit_exceeded",
            "message":"too many","status":"too_many_concurrent_requests","request_id":"1",
            "param":null}}"#;
        let explanation = parse_explanation(new);
        assert_eq!(explanation.codes[0], "concurrent_limit_exceeded");
        assert_eq!(explanation.message, "too many");
        let old = br#"{"detail":{"status":"invalid_api_key","message":"Invalid API key"}}"#;
        assert_eq!(
            parse_explanation(old).to_string(),
            "invalid_api_key: Invalid API key"
        );
        let list = br#"{"detail":[{"loc":["body","text"],"msg":"field required",
            "type":"value_error.missing"}]}"#;
        assert_eq!(
            parse_explanation(list).to_string(),
            "value_error.missing: field required"
        );
        assert_eq!(
            parse_explanation(br#"{"detail":"Not Found"}"#).message,
            "Not Found"
        );
        assert_eq!(parse_explanation(b"<html>").message, "<html>");
        assert_eq!(parse_explanation(b""), Explanation::default());
    }

    /// The table in the vendor's documentation.
    #[test]
    fn answers_are_classified_as_documented() {
        let table = [
            (400, "max_character_limit_exceeded", FailureKind::BadRequest),
            (400, "voice_not_found", FailureKind::BadRequest),
            (401, "invalid_api_key", FailureKind::Auth),
            (401, "quota_exceeded", FailureKind::Quota),
            (401, "detected_unusual_activity", FailureKind::Auth),
            (402, "payment_required", FailureKind::Quota),
            (402, "", FailureKind::Quota),
            (403, "only_for_creator+", FailureKind::BadRequest),
            (404, "voice_not_found", FailureKind::BadRequest),
            (408, "", FailureKind::Timeout),
            (409, "", FailureKind::Transient),
            (422, "value_error.missing", FailureKind::BadRequest),
            (429, "concurrent_limit_exceeded", FailureKind::RateLimited),
            (429, "system_busy", FailureKind::RateLimited),
            (500, "", FailureKind::Transient),
            (503, "", FailureKind::Transient),
            (302, "", FailureKind::Protocol),
        ];
        for (status, code, kind) in table {
            assert_eq!(
                answer_kind(status, &[code.to_owned()]),
                kind,
                "{status} {code}"
            );
        }
    }

    proptest! {
        #[test]
        fn parsers_are_total(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in ".*") {
            let _ = parse_explanation(&bytes);
            let _ = parse_explanation(format!(r#"{{"detail":{text}}}"#).as_bytes());
            let _ = request_body("eleven_flash_v2_5", &request(&text, &text));
            let _ = stream_url("http://h", &text);
        }
    }
}
