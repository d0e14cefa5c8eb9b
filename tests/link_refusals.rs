//! What gets bad input on the link: each is refused or dropped with a counted reason, and the
//! connection, or at least every other one, goes on.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{Read, Write};
use std::time::Duration;

use diglot::translator::{Count, Handle, Limits};
use serde_json::{Value, json};
use translator_support::{
    Gateway, connect, http, noise, pcm_of, start_loop, start_loop_with, wait_until,
};
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

mod translator_support;

/// Asserts that a running session still gets its audio back.
fn expect_served(gateway: &mut Gateway) {
    let pcm = noise(1, 640);
    gateway.send_audio(0, &pcm);
    assert_eq!(pcm_of(&gateway.receive_json()), pcm);
}

fn expect_error(gateway: &mut Gateway, code: &str) {
    let error = gateway.receive_json();
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("error"), &json!(code)),
        "{error}"
    );
    assert!(!error["message"].as_str().unwrap().is_empty());
}

fn started(translator: &Handle) -> Gateway {
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.start("s16be");
    gateway
}

#[test]
fn http_requests_are_refused_with_the_right_status() {
    let translator = start_loop();
    let upgrade = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(9000));
    let cases = [
        (
            format!("GET /translate/9999 HTTP/1.1\r\n{upgrade}"),
            "404",
            "no such extension",
        ),
        (
            format!("GET /other/7777 HTTP/1.1\r\n{upgrade}"),
            "404",
            "no such path",
        ),
        (
            format!("GET /translate/ HTTP/1.1\r\n{upgrade}"),
            "404",
            "no such extension",
        ),
        (
            format!("POST /translate/7777 HTTP/1.1\r\n{upgrade}"),
            "405",
            "only GET",
        ),
        (
            "DELETE /healthz HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            "405",
            "only GET",
        ),
        (
            "GET /translate/7777 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            "426",
            "WebSocket",
        ),
        (
            format!("GET /translate/7777 HTTP/1.1\r\n{upgrade}").replace(": 13", ": 12"),
            "400",
            "not served",
        ),
        ("nonsense\r\n\r\n".into(), "400", "not served"),
        (long, "431", "not served"),
    ];
    let count = cases.len() as u64;
    for (request, status, text) in cases {
        let answer = http(translator.local_addr(), request.as_bytes());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let error: Value = serde_json::from_str(body).unwrap();
        assert!(error["error"].as_str().unwrap().contains(text), "{answer}");
    }
    wait_until("all are counted", || {
        translator.count(Count::RequestRefused) == count
    });
}

/// Goal: a client that dribbles its request is cut off, while another is served.
#[test]
fn a_slow_request_is_refused_in_time() {
    let mut limits = Limits::default();
    limits.connection.head_wait_max = Duration::from_millis(500);
    let translator = start_loop_with(limits);
    let mut slow = connect(translator.local_addr());
    slow.write_all(b"GET /healthz HT").unwrap();
    expect_served(&mut started(&translator));
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn connections_beyond_the_bound_are_refused() {
    let limits = Limits {
        connections_max: 2,
        ..Limits::default()
    };
    let translator = start_loop_with(limits);
    let mut first = started(&translator);
    let second = started(&translator);
    first.expect_quiet();
    wait_until("both are in", || translator.load().connections == 2);
    let answer = http(translator.local_addr(), b"GET /healthz HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(translator.count(Count::ConnectionRefused), 1);
    expect_served(&mut first);
    drop(second);
    wait_until("one has left", || translator.load().connections == 1);
    expect_served(&mut started(&translator));
}

#[test]
fn broken_messages_are_told_and_counted() {
    let translator = start_loop();
    let mut gateway = started(&translator);
    let broken = [
        "",
        "{",
        "[]",
        "7",
        "null",
        r#"{"type":[]}"#,
        r#"{"type":"audio"}"#,
        r#"{"type":"audio","data":{"type":"Blob","data":[1,2]}}"#,
        r#"{"type":"audio","data":{"type":"Buffer","data":[1,256]}}"#,
        r#"{"type":"session_start","extension":"7777"}"#,
    ];
    for text in broken {
        gateway.send_text(text);
        expect_error(&mut gateway, "bad_message");
    }
    assert_eq!(
        translator.count(Count::MessageMalformed),
        broken.len() as u64
    );
    let deep = format!(r#"{{"type":"x","a":{}"#, "[".repeat(20_000));
    gateway.send_text(&deep);
    expect_error(&mut gateway, "bad_message");
    expect_served(&mut gateway);
}

#[test]
fn audio_that_is_no_pcm_is_refused() {
    let translator = start_loop();
    let mut gateway = started(&translator);
    gateway.send_audio(0, &[1, 2, 3]);
    expect_error(&mut gateway, "bad_audio");
    gateway.send_text(r#"{"type":"audio","data":"****"}"#);
    expect_error(&mut gateway, "bad_audio");
    gateway.send_audio(0, &noise(0, 64_002));
    expect_error(&mut gateway, "bad_audio");
    gateway.send_binary(0, &[1]);
    expect_error(&mut gateway, "bad_audio");
    gateway.socket.send(Message::binary(vec![1, 2, 3])).unwrap();
    expect_error(&mut gateway, "bad_message");
    assert_eq!(translator.count(Count::AudioRefused), 4);
    expect_served(&mut gateway);
}

#[test]
fn unknown_messages_and_fields_are_let_pass() {
    let translator = start_loop();
    let mut gateway = started(&translator);
    gateway.send_json(&json!({"type": "weather", "data": {"wind": 3}, "text": 7}));
    gateway.socket.send(Message::binary(vec![9; 20])).unwrap();
    gateway.send_json(&json!({"type": "ping", "id": 1, "colour": ["red"]}));
    assert_eq!(
        gateway.receive_json(),
        json!({"type": "pong", "id": 1, "timestamp": 0})
    );
    assert_eq!(translator.count(Count::MessageUnknown), 2);
    gateway.send_json(&json!({"type": "trace", "utterance": 1, "outcome": "spoken"}));
    gateway.expect_quiet();
    assert_eq!(translator.count(Count::MessageUnexpected), 1);
}

#[test]
fn a_session_begins_once_and_as_it_should() {
    let translator = start_loop();
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.send_audio(0, &[0, 0]);
    expect_error(&mut gateway, "no_session");
    gateway.send_audio(1, &[0, 0]);
    gateway.expect_quiet();
    let start = |key: &str, value: Value| {
        let mut start = json!({"type": "session_start", "extension": "7777", "language": "en",
            "target_language": "fr", "call_id": "1", "audio": {"encoding": "s16be"}});
        start[key] = value;
        start
    };
    for (key, value, code) in [
        ("extension", json!("8888"), "bad_session"),
        ("language", json!(""), "bad_session"),
        ("call_id", json!("x".repeat(151)), "bad_session"),
        ("audio", json!({"sample_rate": 8000}), "unsupported_audio"),
        ("audio", json!({"channels": 2}), "unsupported_audio"),
        ("audio", json!({"encoding": "opus"}), "unsupported_audio"),
    ] {
        gateway.send_json(&start(key, value));
        expect_error(&mut gateway, code);
    }
    gateway.send_json(&start("audio", json!({})));
    expect_served(&mut gateway);
    gateway.start("s16le");
    expect_error(&mut gateway, "session_exists");
    expect_served(&mut gateway);
    assert_eq!(translator.count(Count::SessionRefused), 7);
    assert_eq!(translator.count(Count::Session), 1);
}

#[test]
fn text_that_is_not_utf8_closes_with_1007() {
    let translator = start_loop();
    let mut gateway = started(&translator);
    let frame = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    gateway.socket.send(Message::Frame(frame)).unwrap();
    assert_eq!(u16::from(gateway.receive_close().unwrap().code), 1007);
    wait_until("it is counted", || {
        translator.count(Count::MessageNotUtf8) == 1
    });
    expect_served(&mut started(&translator));
}

/// Goal: the close code arrives although the rest of the message was never read.
#[test]
fn an_oversized_message_closes_with_1009() {
    let translator = start_loop();
    for message in [
        Message::text("x".repeat(300_000)),
        Message::binary(vec![1; 300_000]),
    ] {
        let mut gateway = started(&translator);
        gateway.socket.send(message).unwrap();
        assert_eq!(u16::from(gateway.receive_close().unwrap().code), 1009);
    }
    wait_until("it is counted", || {
        translator.count(Count::MessageOversized) == 2
    });
    wait_until("both are gone", || translator.load().connections == 0);
    assert_eq!(translator.load().sessions, 0);
}

/// Goal: bytes that are no WebSocket end that connection only.
#[test]
fn bytes_that_are_no_websocket_close_with_1002() {
    let translator = start_loop();
    let mut gateway = started(&translator);
    gateway.socket.get_mut().write_all(&[0xff; 64]).unwrap();
    assert_eq!(u16::from(gateway.receive_close().unwrap().code), 1002);
    wait_until("it is counted", || {
        translator.count(Count::ProtocolBroken) == 1
    });
}

/// Goal: a peer that stops reading costs bounded memory and, in the end, its connection; another
/// leg is served all the while. Method: small bounds; megabytes of audio that is never read back.
#[test]
fn a_stopped_reader_blocks_nobody_and_is_closed() {
    let mut limits = Limits::default();
    limits.connection.outbound_bytes_max = 100_000;
    limits.connection.stall_max = Duration::from_millis(300);
    let translator = start_loop_with(limits);
    let mut stopped = started(&translator);
    let mut other = started(&translator);
    let pcm = noise(2, 64_000);
    let mut sent = 0;
    while translator.count(Count::MessageDropped) == 0 {
        stopped.send_audio(sent, &pcm);
        expect_served(&mut other);
        sent += 1;
        assert!(sent < 1000, "nothing was dropped of {sent} messages of 2 s");
    }
    wait_until("it is closed", || {
        translator.count(Count::ConnectionStalled) == 1
    });
    expect_served(&mut other);
    assert_eq!(translator.load().sessions, 1);
}

#[test]
fn a_silent_connection_is_closed() {
    let mut limits = Limits::default();
    limits.connection.idle_max = Duration::from_millis(100);
    let translator = start_loop_with(limits);
    let mut gateway = started(&translator);
    assert_eq!(u16::from(gateway.receive_close().unwrap().code), 1008);
    wait_until("it is counted", || {
        translator.count(Count::ConnectionIdle) == 1
    });
}

/// Goal: a websocket ping is answered, and a flood of them holds up nobody.
#[test]
fn websocket_pings_are_answered() {
    let translator = start_loop();
    let mut gateway = started(&translator);
    for _ in 0..2000 {
        gateway.socket.write(Message::Ping(vec![7].into())).unwrap();
    }
    gateway.socket.flush().unwrap();
    expect_served(&mut started(&translator));
    assert_eq!(gateway.receive(), Message::Pong(vec![7].into()));
}

/// Asterisk puts its system's name before the number of a channel: 149 bytes at most.
#[test]
fn a_call_with_the_longest_name_asterisk_gives_is_served() {
    let translator = start_loop();
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    let call_id = format!("{}-1795330596.123", "pbx".repeat(44));
    gateway.send_json(&json!({
        "type": "session_start", "extension": "7777", "language": "en", "target_language": "fr",
        "call_id": call_id, "audio": {"encoding": "s16be"},
    }));
    expect_served(&mut gateway);
}
