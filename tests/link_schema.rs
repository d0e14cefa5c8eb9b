//! The published protocol and the code are the same: every message the code can write is valid,
//! every accepted variant is valid and read, and what the schema forbids is refused.
//!
//! The validator below knows the keywords that the schema uses and fails on any other one, so that
//! the schema cannot say something that is not checked.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeSet;

use diglot::link::messages::{
    Audio, AudioFormat, Caption, Data, Encoding, ErrorCode, Heartbeat, Message, Outcome,
    SessionEnd, SessionStart, Trace, TranslatedAudio,
};
use diglot::link::{ASYNCAPI, MESSAGES_SCHEMA};
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema() -> Value {
    serde_json::from_str(MESSAGES_SCHEMA).unwrap()
}

/// Checks `value` against `rule`; the error says where and why.
fn check(root: &Value, rule: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fail = |why: String| Err(format!("{at}: {why}"));
    for (keyword, wanted) in rule.as_object().unwrap() {
        match keyword.as_str() {
            "$defs" | "$schema" | "contentEncoding" | "default" | "description" | "title" => {}
            "$ref" => {
                let path = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(path).unwrap(), value, at)?;
            }
            "type" => {
                let is_so = match wanted.as_str().unwrap() {
                    "array" => value.is_array(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64(),
                    "object" => value.is_object(),
                    "string" => value.is_string(),
                    other => panic!("type {other} is not checked"),
                };
                if !is_so {
                    return fail(format!("{value} is no {wanted}"));
                }
            }
            "const" if value != wanted => return fail(format!("{value} is not {wanted}")),
            "enum" if !wanted.as_array().unwrap().contains(value) => {
                return fail(format!("{value} is none of {wanted}"));
            }
            "const" | "enum" => {}
            "minimum" | "maximum" | "minLength" | "maxLength" | "maxItems" => {
                if let Some(why) = size_error(keyword, wanted, value) {
                    return fail(why);
                }
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    check(root, wanted, item, &format!("{at}[]"))?;
                }
            }
            "properties" => {
                for (name, rule) in wanted.as_object().unwrap() {
                    if let Some(field) = value.get(name) {
                        check(root, rule, field, &format!("{at}.{name}"))?;
                    }
                }
            }
            "required" => {
                for name in wanted.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return fail(format!("{name} is missing"));
                    }
                }
            }
            "oneOf" => {
                let rules = wanted.as_array().unwrap();
                let results: Vec<_> = rules
                    .iter()
                    .map(|rule| check(root, rule, value, at))
                    .collect();
                if results.iter().filter(|result| result.is_ok()).count() != 1 {
                    return fail(format!("{value} fits not exactly one: {results:?}"));
                }
            }
            other => panic!("keyword {other} is not checked"),
        }
    }
    Ok(())
}

/// What is wrong with a size; a keyword says nothing about values of another type, `type` does.
fn size_error(keyword: &str, wanted: &Value, value: &Value) -> Option<String> {
    let size = match keyword {
        "minLength" | "maxLength" => value.as_str().map(|text| text.chars().count() as u64),
        "maxItems" => value.as_array().map(|items| items.len() as u64),
        _ => value.as_u64(),
    }?;
    let wanted = wanted.as_u64().unwrap();
    let is_max = keyword.starts_with("max");
    let is_wrong = if is_max { size > wanted } else { size < wanted };
    is_wrong.then(|| format!("{size} is against {keyword} {wanted}"))
}

/// Checks and also that no field is written that the schema does not name.
fn check_written(value: &Value) {
    let schema = schema();
    check(&schema, &schema, value, "message").unwrap();
    let kind = value["type"].as_str().unwrap();
    let fields = &schema["$defs"][kind]["properties"];
    for name in value.as_object().unwrap().keys() {
        assert!(
            fields.get(name).is_some(),
            "{kind} has an unpublished field {name}"
        );
    }
}

fn trace(outcome: Outcome, ms: Option<u64>) -> Message<'static> {
    Message::Trace(Trace {
        extension: "7777".into(),
        call_id: "1".into(),
        utterance: 1,
        outcome,
        speech_end: ms,
        asr_final_ms: ms,
        queue_ms: ms,
        mt_ms: ms,
        tts_first_byte_ms: ms,
        total_ms: ms,
        speech_ms: 0,
    })
}

/// One message of every kind, each optional field once there and once not.
fn written() -> Vec<Message<'static>> {
    let caption = |text: &'static str, is_final| Caption {
        extension: "7777".into(),
        target_extension: "8888".into(),
        utterance: 1,
        text: text.into(),
        language: "en".into(),
        is_final,
    };
    let start = |encoding| {
        Message::SessionStart(SessionStart {
            extension: "7777".into(),
            language: "en".into(),
            target_language: "fr".into(),
            call_id: "a \"call\"".into(),
            audio: AudioFormat {
                encoding,
                ..AudioFormat::default()
            },
        })
    };
    let speech = |utterance, last, live, pcm: &'static [u8]| {
        Message::TranslatedAudio(TranslatedAudio {
            extension: "7777".into(),
            target_extension: "8888".into(),
            timestamp: 1_763_800_000_000,
            utterance,
            last,
            live,
            data: Data::Bytes(pcm.into()),
        })
    };
    let mut all = vec![
        start(Encoding::S16be),
        start(Encoding::S16le),
        Message::Audio(Audio {
            extension: "7777".into(),
            timestamp: 0,
            sequence: u64::MAX,
            data: Data::Bytes((&[0, 255][..]).into()),
        }),
        speech(0, false, false, &[]),
        speech(u32::MAX, true, false, &[1, 2, 3, 4]),
        speech(1, false, true, &[1, 2]),
        Message::Transcript(caption("a\n\"b\"\u{1}", false)),
        Message::Translation(caption("", true)),
        trace(Outcome::Failed, None),
        trace(Outcome::Skipped, Some(0)),
        trace(Outcome::Spoken, Some(u64::MAX)),
        Message::SessionEnd(SessionEnd {
            extension: "7777".into(),
        }),
        Message::Ping(Heartbeat {
            id: 1,
            timestamp: 2,
        }),
        Message::Pong(Heartbeat::default()),
    ];
    for code in ErrorCode::ALL {
        all.push(Message::error(*code, "why", 0));
        all.push(Message::error(*code, "why", 7));
    }
    all
}

#[test]
fn every_message_written_is_valid_and_reads_back_the_same() {
    let mut kinds = BTreeSet::new();
    for message in written() {
        let text = message.to_json();
        let value: Value = serde_json::from_str(&text).unwrap();
        check_written(&value);
        kinds.insert(value["type"].as_str().unwrap().to_owned());
        let read = Message::decode(&text).unwrap();
        // The samples are read as base64; written again they are the same text.
        assert_eq!(read.to_json(), text);
        assert_eq!(
            serde_json::to_value(&message).unwrap(),
            value,
            "both writers agree"
        );
    }
    let published = schema()["oneOf"].as_array().unwrap().len();
    assert_eq!(
        kinds.len(),
        published,
        "each published message is written: {kinds:?}"
    );
    let schema = schema();
    let codes = schema["$defs"]["error"]["properties"]["code"]["enum"]
        .as_array()
        .unwrap();
    let written: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(codes, &written, "each published error is ours");
}

#[test]
fn accepted_variants_are_published() {
    let schema = schema();
    for value in [
        json!({"type": "audio", "data": "AAA="}),
        json!({"type": "audio", "extension": "7777", "data": {"type": "Buffer", "data": [1, 2]}}),
        json!({"type": "session_start", "extension": "1", "language": "en",
            "target_language": "fr"}),
        json!({"type": "session_start", "extension": "1", "language": "en",
            "target_language": "fr", "audio": {"encoding": "s16le"}, "colour": "red"}),
        json!({"type": "session_end"}),
        json!({"type": "ping"}),
    ] {
        check(&schema, &schema, &value, "message").unwrap();
        Message::decode(&value.to_string()).unwrap();
    }
}

#[test]
fn what_the_schema_forbids_is_not_read() {
    let schema = schema();
    for value in [
        json!({"type": "weather"}),
        json!({"type": "audio"}),
        json!({"type": "audio", "data": {"type": "Buffer", "data": [256]}}),
        json!({"type": "audio", "data": {"data": [1]}}),
        json!({"type": "error", "message": "no code"}),
        json!({"type": "transcript", "utterance": -1, "text": "x"}),
        json!({"type": "session_start", "extension": "7777", "language": "en"}),
        json!({"type": "trace", "extension": "7777", "utterance": 1, "outcome": "lost"}),
        json!({"type": "trace", "extension": "7777", "outcome": "spoken"}),
        json!([]),
    ] {
        check(&schema, &schema, &value, "message").unwrap_err();
        Message::decode(&value.to_string()).unwrap_err();
    }
}

/// Goal: the AsyncAPI document names the same messages and the subprotocol.
#[test]
fn asyncapi_names_every_message() {
    for rule in schema()["oneOf"].as_array().unwrap() {
        let kind = rule["$ref"]
            .as_str()
            .unwrap()
            .strip_prefix("#/$defs/")
            .unwrap();
        let reference =
            format!("{kind}: {{ payload: {{ $ref: 'messages.schema.json#/$defs/{kind}' }} }}");
        assert!(ASYNCAPI.contains(&reference), "{kind}");
    }
    for fact in [
        diglot::link::BINARY_SUBPROTOCOL,
        "/translate/{extension}",
        "at most 64000",
    ] {
        assert!(ASYNCAPI.contains(fact), "{fact}");
    }
    let bytes_max = format!("more than {} bytes", diglot::link::MESSAGE_BYTES_MAX);
    assert!(ASYNCAPI.contains(&bytes_max), "{bytes_max}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Law: whatever bytes come, reading gives a message or an error; both readers are total.
    #[test]
    fn readers_are_total(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Message::decode(&String::from_utf8_lossy(&bytes));
        let _ = diglot::link::binary::Frame::decode(&bytes);
    }

    /// Law: truncated or damaged messages are errors or messages, and what is read can be written.
    #[test]
    fn damaged_messages_are_survived(
        index in 0..written().len(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = written()[index].to_json().into_bytes();
        let at = at.index(bytes.len());
        let _ = Message::decode(&String::from_utf8_lossy(&bytes[..at]));
        bytes[at] = byte;
        if let Ok(message) = Message::decode(&String::from_utf8_lossy(&bytes)) {
            let _: Value = serde_json::from_str(&message.to_json()).unwrap();
        }
    }

    /// Law: audio of any even length reads back byte for byte, in both forms.
    #[test]
    fn audio_is_carried_exactly(samples in proptest::collection::vec(any::<i16>(), 0..700)) {
        let mut pcm = Vec::new();
        Encoding::S16le.encode_samples(&samples, &mut pcm);
        let audio = Audio { extension: "1".into(), timestamp: 1, sequence: 2,
            data: Data::Bytes(pcm.as_slice().into()) };
        let text = Message::Audio(audio).to_json();
        let Message::Audio(read) = Message::decode(&text).unwrap() else { panic!("{text}") };
        let mut back = Vec::new();
        read.data.decode_into(&mut back).unwrap();
        prop_assert_eq!(&back, &pcm);
        let mut samples_back = Vec::new();
        Encoding::S16le.decode_samples(&back, &mut samples_back);
        prop_assert_eq!(samples_back, samples);
    }
}
