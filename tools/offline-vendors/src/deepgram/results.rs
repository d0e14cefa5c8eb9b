//! Deepgram's messages as literal JSON, in the shapes its API description publishes.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Punctuation, Session};
use crate::listening::End;
use crate::recognizer::Heard;

/// How sure a sentence of the book is: the gate says yes or no, not a probability.
const CONFIDENCE: f64 = 0.95;

/// A `Results` message; `end` is `None` for an interim one.
pub(super) fn results(
    session: &Session,
    (start_seconds, duration_seconds): (f64, f64),
    heard: &Heard,
    end: Option<End>,
) -> Value {
    let words: Vec<Value> = heard
        .phrase()
        .map_or(&[][..], |phrase| &phrase.words)
        .iter()
        .map(|word| {
            let mut entry = json!({
                "word": word.word,
                "start": milliseconds_exact(start_seconds + f64::from(word.start_seconds)),
                "end": milliseconds_exact(start_seconds + f64::from(word.end_seconds)),
                "confidence": CONFIDENCE,
            });
            if session.punctuation == Punctuation::On {
                entry["punctuated_word"] = json!(word.punctuated);
            }
            entry
        })
        .collect();
    json!({
        "type": "Results",
        "channel_index": [0, 1],
        "start": milliseconds_exact(start_seconds),
        "duration": milliseconds_exact(duration_seconds),
        "is_final": end.is_some(),
        "speech_final": end == Some(End::Endpoint),
        "from_finalize": end == Some(End::Flush),
        "channel": { "alternatives": [{
            "transcript": transcript(session, heard),
            "confidence": if words.is_empty() { 0.0 } else { CONFIDENCE },
            "words": words,
        }] },
        "metadata": {
            "request_id": session.request_id,
            "model_uuid": "00000000-0000-4000-8000-000000000000",
            "model_info": { "name": session.model, "version": "offline", "arch": "offline" },
            // The vendor adds fields without notice; clients must not mind one they do not know.
            "offline_extra": { "engine": "pocketsphinx" },
        },
    })
}

/// The empty final that answers `Finalize` while nobody speaks.
pub(super) fn empty_flush(session: &Session, at_seconds: f64) -> Value {
    results(
        session,
        (at_seconds, 0.0),
        &Heard::OutOfBook(None),
        Some(End::Flush),
    )
}

pub(super) fn speech_started(at_seconds: f64) -> Value {
    json!({
        "type": "SpeechStarted",
        "channel": [0],
        "timestamp": milliseconds_exact(at_seconds),
    })
}

pub(super) fn utterance_end(last_word_end_seconds: f64) -> Value {
    json!({
        "type": "UtteranceEnd",
        "channel": [0, 1],
        "last_word_end": milliseconds_exact(last_word_end_seconds),
    })
}

pub(super) fn metadata(session: &Session, duration_seconds: f64) -> Value {
    json!({
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": session.request_id,
        // Not computed: no client has a use for it.
        "sha256": "0".repeat(64),
        "created": now_rfc3339(),
        "duration": milliseconds_exact(duration_seconds),
        "channels": 1,
    })
}

pub(super) fn schema_error(description: &str, message: &str) -> Value {
    json!({
        "type": "Error",
        "variant": "SchemaError",
        "description": description,
        "message": message,
    })
}

/// Punctuated as the book writes it, or in lower case without marks.
fn transcript(session: &Session, heard: &Heard) -> String {
    let Some(phrase) = heard.phrase() else {
        return String::new();
    };
    match session.punctuation {
        Punctuation::On => phrase.text.clone(),
        Punctuation::Off => {
            let words: Vec<&str> = phrase.words.iter().map(|word| word.word.as_str()).collect();
            words.join(" ")
        }
    }
}

/// Rounded to whole milliseconds, as a number of seconds.
fn milliseconds_exact(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Now, as `2026-11-22T10:00:00.000Z`.
fn now_rfc3339() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (seconds, ms) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day of a number of days since 1970-01-01 (Gregorian calendar).
fn civil_date(days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: dates are right over leap years. Method: known days.
    #[test]
    fn days_become_dates() {
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(11_016), (2000, 2, 29));
        assert_eq!(civil_date(11_017), (2000, 3, 1));
        assert_eq!(civil_date(20_779), (2026, 11, 22));
    }
}
