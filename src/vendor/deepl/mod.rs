//! Translation by DeepL's `/v2/translate`.
//!
//! One agent per account keeps its connections open. The source language is always named: without
//! it the vendor does not use its fast model. A request is made again, at most twice, as long as
//! the clause's deadline allows.

mod languages;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::http::header::AUTHORIZATION;
use ureq::http::{HeaderMap, HeaderValue};

use crate::config;
use crate::vendor::account::{Account, VendorCounters};
use crate::vendor::http::{self, Failed, Timeouts};
use crate::vendor::{FailureKind, TranslationRequest, Translator, VendorError};

/// Host of paid accounts.
const HOST_PRO: &str = "https://api.deepl.com";

/// Host of free accounts; either host refuses the other's keys.
const HOST_FREE: &str = "https://api-free.deepl.com";

/// How keys of free accounts end.
const FREE_KEY_SUFFIX: &str = ":fx";

/// Bytes of the largest request the vendor takes.
const REQUEST_BYTES_MAX: usize = 128 << 10;

/// The default timeouts: a live call has about 1.5 s for a translation, retries included.
pub const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(2),
    idle: Duration::from_secs(1),
    whole: Duration::from_secs(2),
};

/// The host an account's key belongs to.
pub fn host_for_key(key: &str) -> &'static str {
    if key.ends_with(FREE_KEY_SUFFIX) {
        HOST_FREE
    } else {
        HOST_PRO
    }
}

/// One DeepL account.
pub struct DeepL {
    account: Account,
    url: String,
    timeouts: Timeouts,
    agent: Agent,
}

impl DeepL {
    /// A client for the configured account. Connects to nothing yet.
    ///
    /// # Errors
    /// [`FailureKind::Auth`] if there is no usable key.
    pub fn new(config: &config::DeepL) -> Result<Self, VendorError> {
        let account = Account::new("DeepL", config.key.as_ref())?;
        let url = format!("{}/v2/translate", config.url.trim_end_matches('/'));
        Ok(Self {
            account,
            url,
            timeouts: TIMEOUTS,
            agent: http::agent(),
        })
    }

    /// Changes how long each step may take.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// What was counted so far.
    pub fn counters(&self) -> &VendorCounters {
        &self.account.counters
    }

    fn attempt(&self, body: &[u8], deadline: Instant) -> Result<String, Failed> {
        let (status, headers, answer) = self
            .post(body, deadline)
            .map_err(|error| self.unanswered(&error))?;
        if status == 200 {
            return parse_translation(&answer)
                .map_err(|detail| self.failed(FailureKind::Protocol, &detail, &headers));
        }
        let explanation = parse_explanation(&answer);
        let detail = format!("HTTP {status} {explanation}");
        Err(self.failed(status_kind(status), &detail, &headers))
    }

    fn post(
        &self,
        body: &[u8],
        deadline: Instant,
    ) -> Result<(u16, HeaderMap, Vec<u8>), ureq::Error> {
        let time_left = deadline.saturating_duration_since(Instant::now());
        if time_left.is_zero() {
            return Err(ureq::Error::Timeout(ureq::Timeout::Global));
        }
        let authorization = format!("DeepL-Auth-Key {}", self.account.key.reveal());
        let mut authorization =
            HeaderValue::try_from(authorization).map_err(ureq::http::Error::from)?;
        authorization.set_sensitive(true);
        let response = self
            .agent
            .post(&self.url)
            .config()
            .timeout_connect(Some(self.timeouts.connect))
            .timeout_recv_response(Some(self.timeouts.answer))
            .timeout_per_read(Some(self.timeouts.answer.max(self.timeouts.idle)))
            .timeout_recv_body(Some(self.timeouts.whole))
            .timeout_global(Some(time_left))
            .build()
            .header(AUTHORIZATION, authorization)
            .content_type("application/json")
            .send(body)?;
        let (head, body) = response.into_parts();
        Ok((head.status.as_u16(), head.headers, http::read_answer(body)?))
    }

    fn unanswered(&self, error: &ureq::Error) -> Failed {
        let error = self
            .account
            .failure(http::failure_kind(error), &error.to_string());
        Failed {
            error,
            retry_after: None,
        }
    }

    fn failed(&self, kind: FailureKind, detail: &str, headers: &HeaderMap) -> Failed {
        let trace = http::header(headers, "x-trace-id");
        let error = self
            .account
            .failure(kind, &format!("{detail} (trace {trace})"));
        Failed {
            error,
            retry_after: http::retry_after(headers),
        }
    }
}

impl Translator for DeepL {
    /// A text is its own translation into its own language, without a request: it would be billed.
    fn translate(
        &self,
        request: &TranslationRequest,
        deadline: Instant,
    ) -> Result<String, VendorError> {
        let body = match request_body(request) {
            Ok(Some(body)) => body,
            Ok(None) => return Ok(request.text.clone()),
            Err(detail) => return Err(self.account.failure(FailureKind::BadRequest, &detail)),
        };
        http::with_retries(&self.account, deadline, || self.attempt(&body, deadline))
    }
}

/// What the vendor's answer means.
fn status_kind(status: u16) -> FailureKind {
    match status {
        401 | 403 => FailureKind::Auth,
        408 => FailureKind::Timeout,
        429 | 529 => FailureKind::RateLimited,
        456 => FailureKind::Quota,
        400..=499 => FailureKind::BadRequest,
        500..=599 => FailureKind::Transient,
        _ => FailureKind::Protocol,
    }
}

/// The request, or nothing if there is nothing to translate, or why there can be none.
fn request_body(request: &TranslationRequest) -> Result<Option<Vec<u8>>, String> {
    let source_lang = languages::source_code(&request.source_language)
        .ok_or_else(|| format!("no source language {:?}", request.source_language))?;
    let target_lang = languages::target_code(&request.target_language)
        .ok_or_else(|| format!("no target language {:?}", request.target_language))?;
    let is_same = languages::source_code(&request.target_language) == Some(source_lang);
    if is_same || request.text.trim().is_empty() {
        return Ok(None);
    }
    let body = WireRequest {
        text: [&request.text],
        source_lang,
        target_lang,
        context: &request.context,
        model_type: "latency_optimized",
        split_sentences: "0",
    };
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    if body.len() > REQUEST_BYTES_MAX {
        return Err(format!("{} bytes are too many for one request", body.len()));
    }
    Ok(Some(body))
}

/// The one translation in an answer, or what is wrong with the answer.
fn parse_translation(answer: &[u8]) -> Result<String, String> {
    let answer: WireAnswer =
        serde_json::from_slice(answer).map_err(|error| format!("malformed answer: {error}"))?;
    match <[WireTranslation; 1]>::try_from(answer.translations) {
        Ok([translation]) if !translation.text.trim().is_empty() => Ok(translation.text),
        Ok(_) => Err("empty translation".to_owned()),
        Err(translations) => Err(format!("{} translations of one text", translations.len())),
    }
}

/// The vendor's words about a failure, which may be JSON, something else, or nothing.
fn parse_explanation(answer: &[u8]) -> String {
    serde_json::from_slice::<WireFailure>(answer)
        .map(|failure| format!("{} {}", failure.message, failure.code))
        .unwrap_or_else(|_| String::from_utf8_lossy(answer).into_owned())
}

#[derive(Serialize)]
struct WireRequest<'a> {
    text: [&'a str; 1],
    source_lang: &'a str,
    target_lang: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    context: &'a str,
    model_type: &'a str,
    split_sentences: &'a str,
}

#[derive(Deserialize)]
struct WireAnswer {
    translations: Vec<WireTranslation>,
}

#[derive(Deserialize)]
struct WireTranslation {
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireFailure {
    message: String,
    code: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(text: &str, source: &str, target: &str) -> TranslationRequest {
        TranslationRequest {
            text: text.to_owned(),
            source_language: source.to_owned(),
            target_language: target.to_owned(),
            context: String::new(),
        }
    }

    #[test]
    fn host_follows_the_key() {
        assert_eq!(host_for_key("279a2e9d:fx"), "https://api-free.deepl.com");
        assert_eq!(host_for_key("279a2e9d"), "https://api.deepl.com");
    }

    #[test]
    fn request_names_languages_and_the_fast_model() {
        let mut request = request("Bonjour madame.", "fr-CA", "en-GB");
        request.context = "Allô ?".to_owned();
        let body = request_body(&request).unwrap().unwrap();
        let expected = serde_json::json!({
            "text": ["Bonjour madame."], "source_lang": "FR", "target_lang": "EN-GB",
            "context": "Allô ?", "model_type": "latency_optimized", "split_sentences": "0",
        });
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&body).unwrap(),
            expected
        );
    }

    #[test]
    fn what_needs_no_request_or_can_be_none_is_told_apart() {
        assert_eq!(request_body(&request("Hi", "en", "en-GB")), Ok(None));
        assert_eq!(request_body(&request(" ", "en", "fr")), Ok(None));
        assert!(request_body(&request("Hi", "xx", "fr")).is_err());
        assert!(request_body(&request("Hi", "en", "multi")).is_err());
        assert!(request_body(&request(&"x".repeat(REQUEST_BYTES_MAX), "en", "fr")).is_err());
    }

    #[test]
    fn documented_answers_are_read() {
        let one =
            br#"{"translations":[{"detected_source_language":"FR","text":"Good morning, madam.",
            "model_type_used":"latency_optimized","billed_characters":15}],"new":1}"#;
        assert_eq!(
            parse_translation(one).as_deref(),
            Ok("Good morning, madam.")
        );
        let two = br#"{"translations":[{"text":"a"},{"text":"b"}]}"#;
        assert_eq!(
            parse_translation(two).unwrap_err(),
            "2 translations of one text"
        );
        for wrong in [
            "",
            "{}",
            "[]",
            r#"{"translations":[]}"#,
            r#"{"translations":[{"text":""}]}"#,
        ] {
            assert!(parse_translation(wrong.as_bytes()).is_err(), "{wrong}");
        }
        for cut in 0..one.len() {
            assert!(parse_translation(&one[..cut]).is_err(), "cut at {cut}");
        }
        let quota = br#"{"message":"Quota for this billing period has been exceeded."}"#;
        assert!(parse_explanation(quota).starts_with("Quota for"));
        assert_eq!(parse_explanation(b""), "");
    }

    /// The table in the vendor's documentation.
    #[test]
    fn answers_are_classified_as_documented() {
        let table = [
            (400, FailureKind::BadRequest),
            (401, FailureKind::Auth),
            (403, FailureKind::Auth),
            (404, FailureKind::BadRequest),
            (413, FailureKind::BadRequest),
            (414, FailureKind::BadRequest),
            (429, FailureKind::RateLimited),
            (456, FailureKind::Quota),
            (500, FailureKind::Transient),
            (503, FailureKind::Transient),
            (504, FailureKind::Transient),
            (529, FailureKind::RateLimited),
            (302, FailureKind::Protocol),
        ];
        for (status, kind) in table {
            assert_eq!(status_kind(status), kind, "{status}");
        }
    }

    proptest! {
        #[test]
        fn parsers_are_total(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in ".*") {
            let _ = parse_translation(&bytes);
            let _ = parse_explanation(&bytes);
            let _ = parse_translation(format!(r#"{{"translations":{text}}}"#).as_bytes());
            let _ = request_body(&request(&text, "en", "fr"));
            let _ = request_body(&request("x", &text, &text));
        }
    }
}
