//! Goal: a clause is translated in time, or the failure says what to do about it.
//! Method: the client against a server on loopback that answers with literal bytes.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "support/vendor_http.rs"]
mod server;

use std::time::{Duration, Instant};

use diglot::config::{self, Secret};
use diglot::vendor::deepl::{DeepL, TIMEOUTS};
use diglot::vendor::http::Timeouts;
use diglot::vendor::{FailureKind, TranslationRequest, Translator, VendorError};
use server::{PATIENCE, Server, answer};

const KEY: &str = "k3y-of-the-tests:fx";
const BONJOUR: &[u8] = br#"{"translations":[{"detected_source_language":"EN","text":"Bonjour.",
    "model_type_used":"latency_optimized"}]}"#;

fn client(url: &str) -> DeepL {
    let key = Some(Secret::new(KEY.to_owned()));
    DeepL::new(&config::DeepL {
        url: url.to_owned(),
        key,
    })
    .unwrap()
}

fn translate(client: &DeepL, time: Duration) -> Result<String, VendorError> {
    let request = TranslationRequest {
        text: "Hello.".to_owned(),
        source_language: "en".to_owned(),
        target_language: "fr".to_owned(),
        context: "Are you there?".to_owned(),
    };
    client.translate(&request, Instant::now() + time)
}

fn ok() -> Vec<u8> {
    answer("200 OK", "content-type: application/json\r\n", BONJOUR)
}

#[test]
fn requests_are_as_documented_and_share_one_connection() {
    let server = Server::start(|door| {
        let mut connection = door.accept();
        for _ in 0..3 {
            let request = connection.request();
            assert_eq!(request.line, "POST /v2/translate HTTP/1.1");
            assert_eq!(
                request.header("authorization"),
                format!("DeepL-Auth-Key {KEY}")
            );
            assert_eq!(request.header("content-type"), "application/json");
            assert!(request.header("user-agent").starts_with("diglot/"));
            let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!(body["text"], serde_json::json!(["Hello."]));
            assert_eq!(
                (&body["source_lang"], &body["target_lang"]),
                (&"EN".into(), &"FR".into())
            );
            connection.send(&ok());
        }
    });
    let client = client(&server.url);
    for _ in 0..3 {
        assert_eq!(translate(&client, PATIENCE).as_deref(), Ok("Bonjour."));
    }
    assert_eq!(client.counters().requests_total.total(), 3);
    assert_eq!(client.counters().retries_total.total(), 0);
    server.finish();
}

/// Every answer that is final at once.
#[test]
fn final_failures_are_classified_and_not_repeated() {
    let quota = br#"{"message":"Quota for this billing period has been exceeded."}"#.as_slice();
    let two = br#"{"translations":[{"text":"a"},{"text":"b"}]}"#.as_slice();
    let cases = [
        (
            "400 Bad Request",
            br#"{"message":"bad target_lang"}"#.as_slice(),
            FailureKind::BadRequest,
        ),
        ("403 Forbidden", b"", FailureKind::Auth),
        ("404 Not Found", b"", FailureKind::BadRequest),
        ("413 Payload Too Large", b"", FailureKind::BadRequest),
        ("456 Quota", quota, FailureKind::Quota),
        ("302 Found", b"", FailureKind::Protocol),
        ("200 OK", b"", FailureKind::Protocol),
        ("200 OK", b"<html>hello</html>", FailureKind::Protocol),
        ("200 OK", two, FailureKind::Protocol),
    ];
    for (status, body, kind) in cases {
        let headers = "location: http://127.0.0.1:1/\r\nx-trace-id: trace-1\r\n";
        let server = Server::answers(vec![answer(status, headers, body)]);
        let client = client(&server.url);
        let error = translate(&client, PATIENCE).unwrap_err();
        assert_eq!(error.kind, kind, "{status}: {error}");
        assert!(error.detail.contains("trace-1"), "{error}");
        assert_eq!(client.counters().requests_total.total(), 1, "{status}");
        server.finish();
    }
}

/// Every answer that another attempt may better: empty, HTML and JSON bodies, cut connections.
#[test]
fn passing_failures_are_repeated() {
    let html = b"<html>busy</html>";
    let mut cut = ok();
    cut.truncate(cut.len() - 10);
    let cases = [
        (
            answer("429 Too Many Requests", "", b""),
            FailureKind::RateLimited,
        ),
        (answer("529 Overloaded", "", b""), FailureKind::RateLimited),
        (
            answer("500 Internal Server Error", "", b""),
            FailureKind::Transient,
        ),
        (
            answer(
                "503 Service Unavailable",
                "content-type: text/html\r\n",
                html,
            ),
            FailureKind::Transient,
        ),
        (cut, FailureKind::Transient),
        (Vec::new(), FailureKind::Transient),
    ];
    for (failure, kind) in cases {
        let server = Server::answers(vec![failure.clone(), failure, ok()]);
        let client = client(&server.url);
        assert_eq!(
            translate(&client, PATIENCE).as_deref(),
            Ok("Bonjour."),
            "{kind}"
        );
        assert_eq!(client.counters().failures_total(kind), 2, "{kind}");
        assert_eq!(client.counters().retries_total.total(), 2, "{kind}");
        server.finish();
    }
}

#[test]
fn attempts_are_bounded() {
    let busy = || answer("429 Too Many Requests", "", b"");
    let server = Server::answers(vec![busy(), busy(), busy()]);
    let error = translate(&client(&server.url), PATIENCE).unwrap_err();
    assert_eq!(error.kind, FailureKind::RateLimited);
    server.finish();
}

#[test]
fn vendor_that_wants_to_be_left_alone_is() {
    let server = Server::answers(vec![answer("429 Too Many", "retry-after: 3600\r\n", b"")]);
    let begin = Instant::now();
    let error = translate(&client(&server.url), PATIENCE).unwrap_err();
    assert_eq!(error.kind, FailureKind::RateLimited);
    assert!(begin.elapsed() < PATIENCE / 2);
    server.finish();
}

/// Says nothing, and stops in the middle of the body: the deadline holds, whatever the timeouts.
#[test]
fn stalled_answers_end_at_the_deadline() {
    let mut half = ok();
    half.truncate(half.len() - 10);
    for (name, piece) in [("silent", Vec::new()), ("half", half)] {
        let server = Server::start(move |door| {
            let mut connection = door.accept();
            connection.request();
            connection.send(&piece);
            connection.until_gone();
        });
        let begin = Instant::now();
        let error = translate(&client(&server.url), Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind, FailureKind::Timeout, "{name}: {error}");
        assert!(begin.elapsed() < PATIENCE / 2, "{name}");
        server.finish();
    }
}

#[test]
fn stalled_attempt_leaves_time_for_another() {
    let server = Server::start(|door| {
        let mut stalled = door.accept();
        stalled.request();
        let mut second = door.accept();
        second.request();
        second.send(&ok());
        stalled.until_gone();
    });
    let answer = Duration::from_millis(150);
    let client = client(&server.url).with_timeouts(Timeouts { answer, ..TIMEOUTS });
    assert_eq!(translate(&client, PATIENCE).as_deref(), Ok("Bonjour."));
    assert_eq!(client.counters().failures_total(FailureKind::Timeout), 1);
    server.finish();
}

#[test]
fn connection_closed_while_idle_is_replaced() {
    let server = Server::answers(vec![ok(), ok()]);
    let client = client(&server.url);
    assert_eq!(translate(&client, PATIENCE).as_deref(), Ok("Bonjour."));
    assert_eq!(translate(&client, PATIENCE).as_deref(), Ok("Bonjour."));
    server.finish();
}

#[test]
fn answer_without_end_is_refused() {
    let server = Server::start(|door| {
        let mut connection = door.accept();
        connection.request();
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        for _ in 0..1000 {
            connection.send(&[b' '; 1024]);
        }
    });
    let error = translate(&client(&server.url), PATIENCE).unwrap_err();
    assert_eq!(error.kind, FailureKind::Protocol, "{error}");
    server.finish();
}
