//! Goal: a clause is spoken as it arrives, never twice, and failures say what to do about them.
//! Method: the client against a server on loopback that answers with literal bytes.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "support/vendor_http.rs"]
mod server;

use std::time::{Duration, Instant};

use diglot::config::{self, Secret};
use diglot::vendor::elevenlabs::{ElevenLabs, TIMEOUTS};
use diglot::vendor::http::Timeouts;
use diglot::vendor::{FailureKind, Flow, SynthesisRequest, Synthesizer, VendorError};
use diglot_rt::testing::meter::amplitude;
use diglot_rt::units::SampleRate;
use server::{Connection, PATIENCE, Server, answer};

const KEY: &str = "k3y-of-the-tests";
const AUDIO: &str = "content-type: audio/pcm\r\nrequest-id: request-1\r\n";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ntransfer-encoding: chunked\r\n\r\n";

fn client(url: &str) -> ElevenLabs {
    let config = config::ElevenLabs {
        url: url.to_owned(),
        key: Some(Secret::new(KEY.to_owned())),
        model: "eleven_flash_v2_5".to_owned(),
        voices: Vec::new(),
    };
    ElevenLabs::new(&config).unwrap()
}

fn brief(idle: Duration) -> Timeouts {
    Timeouts {
        answer: idle,
        idle,
        ..TIMEOUTS
    }
}

fn request() -> SynthesisRequest {
    SynthesisRequest {
        text: "[warmly] Good morning, madam.".to_owned(),
        language: "en".to_owned(),
        voice: "voice-1".to_owned(),
    }
}

fn speak(client: &ElevenLabs) -> (Result<(), VendorError>, Vec<i16>) {
    let mut heard = Vec::new();
    let result = client.synthesize(&request(), Instant::now() + PATIENCE, &mut |samples| {
        assert!(!samples.is_empty());
        heard.extend_from_slice(samples);
        Flow::Continue
    });
    (result, heard)
}

fn chunk(connection: &mut Connection, bytes: &[u8]) {
    let size = format!("{:x}\r\n", bytes.len());
    connection.send(&[size.as_bytes(), bytes, b"\r\n"].concat());
}

#[test]
fn speech_arrives_whole_whatever_the_pieces() {
    let samples: Vec<i16> = (0..20_000).collect();
    let bytes: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    let server = Server::start(move |door| {
        let mut connection = door.accept();
        let request = connection.request();
        let path = "/v1/text-to-speech/voice-1/stream?output_format=pcm_16000";
        assert_eq!(request.line, format!("POST {path} HTTP/1.1"));
        assert_eq!(request.header("xi-api-key"), KEY);
        assert_eq!(request.header("content-type"), "application/json");
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body["text"], "Good morning, madam.");
        assert_eq!(body["model_id"], "eleven_flash_v2_5");
        assert_eq!(body["language_code"], "en");
        connection.send(CHUNKED);
        let mut rest = bytes.as_slice();
        for size in [1, 1, 3, 640, 7, 10_001].into_iter().cycle() {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            chunk(&mut connection, piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        chunk(&mut connection, b"");
    });
    let (result, heard) = speak(&client(&server.url));
    assert_eq!(result, Ok(()));
    assert_eq!(heard, samples);
    server.finish();
}

/// Goal: a voice that comes at another rate than was asked for is heard at its own pitch.
/// Method: a second of 1 kHz at each rate; the level of 1 kHz in what is given, and its length.
#[test]
fn a_voice_of_another_rate_keeps_its_pitch_and_its_length() {
    for rate in [8_000u32, 22_050, 24_000, 44_100, 48_000] {
        let phase = |n: u32| f64::from(n) / f64::from(rate) * 1_000.0 * std::f64::consts::TAU;
        let bytes: Vec<u8> = (0..rate)
            .flat_map(|n| ((phase(n).sin() * 10_000.0) as i16).to_le_bytes())
            .collect();
        let head = format!("content-type: audio/pcm;rate={rate}\r\n");
        let server = Server::start(move |door| {
            let mut connection = door.accept();
            connection.request();
            connection.send(&answer("200 OK", &head, &bytes));
        });
        let (result, heard) = speak(&client(&server.url));
        assert_eq!(result, Ok(()), "{rate}");
        assert_eq!(heard.len(), 16_000, "{rate}");
        let level = amplitude(SampleRate::Hz16000, 1_000.0, &heard);
        assert!((9_500.0..10_500.0).contains(&level), "{rate}: {level:.0}");
        server.finish();
    }
}

#[test]
fn a_voice_of_a_rate_nobody_can_play_is_refused() {
    let server = Server::start(move |door| {
        let mut connection = door.accept();
        connection.request();
        let head = "content-type: audio/pcm;rate=12345\r\n";
        connection.send(&answer("200 OK", head, &[0; 100]));
    });
    let (result, heard) = speak(&client(&server.url));
    let error = result.unwrap_err();
    assert_eq!(error.kind, FailureKind::Protocol);
    assert!(error.detail.contains("rate=12345"), "{error:?}");
    assert!(heard.is_empty());
    server.finish();
}

#[test]
fn first_samples_are_given_before_the_last_are_made() {
    let (tell, told) = std::sync::mpsc::channel();
    let server = Server::start(move |door| {
        let mut connection = door.accept();
        connection.request();
        connection.send(CHUNKED);
        chunk(&mut connection, &[1, 0]);
        told.recv_timeout(PATIENCE).unwrap();
        chunk(&mut connection, &[2, 0]);
        chunk(&mut connection, b"");
    });
    let mut heard = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let result = client(&server.url).synthesize(&request(), deadline, &mut |samples| {
        heard.extend_from_slice(samples);
        let _ = tell.send(());
        Flow::Continue
    });
    assert_eq!((result, heard), (Ok(()), vec![1, 2]));
    server.finish();
}

/// Every answer that is final at once, in the vendor's three shapes and none.
#[test]
fn final_failures_are_classified_and_not_repeated() {
    let json = "content-type: application/json\r\n";
    let key = r#"{"detail":{"status":"invalid_api_key","message":"Invalid API key"}}"#;
    let quota = r#"{"detail":{"status":"quota_exceeded","message":"No credits left"}}"#;
    let voice = r#"{"detail":{"type":"not_found","code":"voice_not_found","message":"?"}}"#;
    let list = r#"{"detail":[{"loc":["body","text"],"msg":"field required","type":"missing"}]}"#;
    let cases = [
        ("400 Bad Request", json, voice, FailureKind::BadRequest),
        ("401 Unauthorized", json, key, FailureKind::Auth),
        ("401 Unauthorized", json, quota, FailureKind::Quota),
        ("402 Payment Required", json, "", FailureKind::Quota),
        ("403 Forbidden", json, "", FailureKind::BadRequest),
        ("404 Not Found", json, voice, FailureKind::BadRequest),
        (
            "422 Unprocessable Entity",
            json,
            list,
            FailureKind::BadRequest,
        ),
        ("200 OK", json, quota, FailureKind::Protocol),
        (
            "200 OK",
            "content-type: text/html\r\n",
            "<html>",
            FailureKind::Protocol,
        ),
        ("200 OK", "", "no type", FailureKind::Protocol),
    ];
    for (status, headers, body, kind) in cases {
        let server = Server::answers(vec![answer(status, headers, body.as_bytes())]);
        let client = client(&server.url);
        let (result, heard) = speak(&client);
        let error = result.unwrap_err();
        assert_eq!(error.kind, kind, "{status} {body}: {error}");
        assert!(heard.is_empty());
        assert_eq!(
            client.counters().requests_total.total(),
            1,
            "{status} {body}"
        );
        server.finish();
    }
}

/// Every failure before the first sample that another attempt may better.
#[test]
fn passing_failures_before_the_first_sample_are_repeated() {
    let limit = br#"{"detail":{"code":"concurrent_limit_exceeded","message":"busy"}}"#;
    let cut = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ncontent-length: 100\r\n\r\n\x07";
    let cases = [
        (
            answer("429 Too Many Requests", "", limit),
            FailureKind::RateLimited,
        ),
        (
            answer("429 Too Many Requests", "", b"system_busy"),
            FailureKind::RateLimited,
        ),
        (
            answer("500 Internal Server Error", "", b""),
            FailureKind::Transient,
        ),
        (answer("200 OK", AUDIO, b""), FailureKind::Transient),
        (cut.to_vec(), FailureKind::Transient),
        (Vec::new(), FailureKind::Transient),
    ];
    for (failure, kind) in cases {
        let server = Server::answers(vec![failure, answer("200 OK", AUDIO, &[1, 0, 2, 0])]);
        let client = client(&server.url);
        assert_eq!(speak(&client), (Ok(()), vec![1, 2]), "{kind}");
        assert_eq!(client.counters().failures_total(kind), 1, "{kind}");
        server.finish();
    }
}

/// Cut, reset and stalled after the first samples: told as failed, with what was heard, never
/// again.
#[test]
fn failures_after_the_first_sample_are_not_repeated() {
    type End = fn(Connection);
    let cases: [(&str, End, FailureKind); 3] = [
        ("cut", drop, FailureKind::Transient),
        ("reset", Connection::reset, FailureKind::Transient),
        (
            "stalled",
            |mut connection| connection.until_gone(),
            FailureKind::Timeout,
        ),
    ];
    for (name, end, kind) in cases {
        let (tell, told) = std::sync::mpsc::channel();
        let server = Server::start(move |door| {
            let mut connection = door.accept();
            connection.request();
            connection.send(CHUNKED);
            chunk(&mut connection, &[1, 0, 2, 0, 3]);
            told.recv_timeout(PATIENCE).unwrap();
            end(connection);
        });
        let client = client(&server.url).with_timeouts(brief(Duration::from_millis(300)));
        let mut heard = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        let result = client.synthesize(&request(), deadline, &mut |samples| {
            heard.extend_from_slice(samples);
            let _ = tell.send(());
            Flow::Continue
        });
        assert_eq!(
            result.as_ref().unwrap_err().kind,
            kind,
            "{name}: {result:?}"
        );
        assert_eq!(heard, [1, 2], "{name}");
        assert_eq!(client.counters().requests_total.total(), 1, "{name}");
        server.finish();
    }
}

#[test]
fn half_a_sample_at_the_end_is_dropped_and_counted() {
    let server = Server::answers(vec![answer("200 OK", AUDIO, &[1, 0, 2])]);
    let client = client(&server.url);
    assert_eq!(speak(&client), (Ok(()), vec![1]));
    assert_eq!(client.counters().messages_malformed_total.total(), 1);
    server.finish();
}

#[test]
fn listener_may_stop_the_speech() {
    let server = Server::start(|door| {
        let mut connection = door.accept();
        connection.request();
        connection.send(CHUNKED);
        chunk(&mut connection, &[1, 0]);
        connection.until_gone();
    });
    let deadline = Instant::now() + PATIENCE;
    let result = client(&server.url).synthesize(&request(), deadline, &mut |_| Flow::Stop);
    assert_eq!(result, Ok(()));
    server.finish();
}

#[test]
fn silent_vendor_is_given_up_at_the_deadline() {
    let server = Server::start(|door| {
        let mut connection = door.accept();
        connection.request();
        connection.until_gone();
    });
    let begin = Instant::now();
    let deadline = begin + Duration::from_millis(200);
    let result = client(&server.url).synthesize(&request(), deadline, &mut |_| Flow::Continue);
    assert_eq!(result.unwrap_err().kind, FailureKind::Timeout);
    assert!(begin.elapsed() < PATIENCE / 2);
    server.finish();
}

#[test]
fn text_without_words_costs_no_request() {
    let client = client("http://127.0.0.1:1");
    let request = SynthesisRequest {
        text: "… [sighs] ?".to_owned(),
        ..request()
    };
    let result = client.synthesize(&request, Instant::now(), &mut |_| panic!("speaks"));
    assert_eq!(result, Ok(()));
    assert_eq!(client.counters().requests_total.total(), 0);
}
