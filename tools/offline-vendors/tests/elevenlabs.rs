//! Goal: `/v1/text-to-speech/{voice}/stream` behaves as ElevenLabs', strictness included, and what
//! it speaks is understood. Method: raw HTTP over loopback; expectations from the vendor's
//! documents.

mod support;

use std::sync::Arc;

use audio_codec_algorithms::decode_ulaw;
use offline_vendors::phrase_book::{Language, PhraseBook};
use offline_vendors::recognizer::Recognizer;
use offline_vendors::resample::Resampler;
use serde_json::json;
use support::{Reply, exchange, post, server};

const ACCESS: &str = "xi-api-key: offline-elevenlabs-key\r\n";
const GOOD: &str =
    r#"{"text":"Oui, bien sûr. ","model_id":"eleven_flash_v2_5","language_code":"fr"}"#;

fn speak_at(path: &str, headers: &str, body: &str) -> Reply {
    exchange(server(), &post(path, headers, body))
}

fn stream(voice: &str, format: &str, body: &str) -> Reply {
    let path = format!("/v1/text-to-speech/{voice}/stream?output_format={format}");
    speak_at(&path, ACCESS, body)
}

#[test]
fn audio_comes_in_every_offered_format() {
    let mut seconds = Vec::new();
    for (format, bytes_per_second) in [
        ("ulaw_8000", 8000),
        ("pcm_8000", 16_000),
        ("pcm_16000", 32_000),
        ("pcm_22050", 44_100),
        ("pcm_24000", 48_000),
    ] {
        let reply = stream("offline-fr-espeak", format, GOOD);
        assert_eq!(reply.status, 200, "{format}");
        assert!(
            reply.head.contains("transfer-encoding: chunked"),
            "{}",
            reply.head
        );
        for header in [
            "request-id",
            "current-concurrent-requests",
            "maximum-concurrent-requests",
            "x-character-count",
        ] {
            assert!(
                reply.head.contains(&format!("\r\n{header}: ")),
                "{}",
                reply.head
            );
        }
        seconds.push(reply.body.len() as f64 / f64::from(bytes_per_second));
    }
    assert!(
        seconds.iter().all(|s| (s - seconds[0]).abs() < 0.01),
        "{seconds:?}"
    );
    assert!((0.5..3.0).contains(&seconds[0]), "{seconds:?}");
}

#[test]
fn keys_paths_and_methods_are_checked() {
    let path = "/v1/text-to-speech/offline-fr-espeak/stream?output_format=ulaw_8000";
    for headers in [
        "",
        "xi-api-key: wrong\r\n",
        "authorization: Bearer offline-elevenlabs-key\r\n",
    ] {
        let reply = speak_at(path, headers, GOOD);
        assert_eq!(reply.status, 401);
        assert_eq!(reply.json()["detail"]["status"], "invalid_api_key");
    }
    let reply = stream("nobody", "ulaw_8000", GOOD);
    assert_eq!(
        (reply.status, &reply.json()["detail"]["status"]),
        (404, &"voice_not_found".into())
    );
    assert_eq!(
        speak_at("/v1/text-to-speech/a/b/stream", ACCESS, GOOD).status,
        404
    );
    let get = format!("GET {path} HTTP/1.1\r\nhost: h\r\n{ACCESS}\r\n");
    assert_eq!(exchange(server(), &get).status, 405);
    let plain = post(path, ACCESS, GOOD).replace("application/json", "text/plain");
    assert_eq!(exchange(server(), &plain).status, 422);
}

#[test]
fn parameters_are_checked() {
    for format in ["mp3_44100_128", "pcm_1", ""] {
        let reply = stream("offline-fr-espeak", format, GOOD);
        assert_eq!(reply.status, 400, "{format}");
        assert_eq!(reply.json()["detail"]["status"], "invalid_output_format");
    }
    let path = "/v1/text-to-speech/offline-fr-espeak/stream?output_format=ulaw_8000&format=x";
    let reply = speak_at(path, ACCESS, GOOD);
    assert_eq!(reply.status, 422);
    assert_eq!(reply.json()["detail"][0]["loc"], json!(["query", "format"]));
}

#[test]
fn bodies_are_checked() {
    let long = json!({ "text": "a".repeat(10_001) }).to_string();
    let cases = [
        ("{", 422),
        ("[]", 422),
        (r#"{"model_id":"eleven_flash_v2_5"}"#, 422),
        (r#"{"text":1}"#, 422),
        (r#"{"text":"a","voice":"x"}"#, 422),
        (r#"{"text":"a","voice_settings":{"speed":3}}"#, 422),
        (r#"{"text":"a","voice_settings":{"mood":1}}"#, 422),
        (r#"{"text":"a","voice_settings":[]}"#, 422),
        (r#"{"text":"a","model_id":"eleven_x"}"#, 400),
        (r#"{"text":"a","language_code":"fra"}"#, 400),
        (r#"{"text":"a","language_code":"de"}"#, 400),
        (r#"{"text":"  "}"#, 400),
        (&long, 400),
    ];
    for (body, status) in cases {
        let reply = stream("offline-fr-espeak", "ulaw_8000", body);
        assert_eq!(reply.status, status, "{body}");
        assert!(!reply.json()["detail"].is_null(), "{body}");
    }
    let settings = r#"{"text":"Oui.","voice_settings":{"stability":0.5,"similarity_boost":0.75,
        "style":0.0,"use_speaker_boost":true,"speed":1.0},"previous_text":"Bonjour.","seed":42,
        "apply_text_normalization":"auto"}"#;
    assert_eq!(
        stream("offline-fr-espeak", "ulaw_8000", settings).status,
        200
    );
}

/// English is spoken, recognised, translated, spoken and recognised again, and back.
#[test]
fn what_is_spoken_is_understood_in_the_other_language() {
    let book = Arc::new(PhraseBook::built_in());
    let ears = Language::ALL
        .map(|language| Recognizer::new(Arc::clone(&book), language, 1).expect("engines"));
    for text in [
        "Your reservation is confirmed.",
        "I have lost my bank card.",
        "Please call the police.",
    ] {
        let (mut said, mut language) = (text.to_owned(), Language::English);
        for _ in 0..2 {
            let body = json!({
                "text": said, "language_code": language.code(), "model_id": "eleven_flash_v2_5",
            });
            let reply = stream("offline-en-slt", "ulaw_8000", &body.to_string());
            assert_eq!(reply.status, 200);
            let narrow: Vec<i16> = reply.body.iter().map(|byte| decode_ulaw(*byte)).collect();
            let heard = ears[language as usize]
                .recognize(&Resampler::convert(&narrow, 8000, 16_000))
                .expect("decoder");
            assert_eq!(
                heard.phrase().map(|phrase| phrase.text.as_str()),
                Some(said.as_str())
            );
            let to = if language == Language::English {
                Language::French
            } else {
                Language::English
            };
            let body =
                json!({ "text": [said], "source_lang": language.code(), "target_lang": to.code() });
            let access = "authorization: DeepL-Auth-Key offline-deepl-key\r\nuser-agent: test\r\n";
            let reply = exchange(server(), &post("/v2/translate", access, &body.to_string()));
            said = reply.json()["translations"][0]["text"]
                .as_str()
                .expect("text")
                .to_owned();
            language = to;
        }
        assert_eq!(said, text);
    }
}
