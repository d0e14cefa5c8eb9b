//! Goal: a Deepgram stream ends in time, and its failure is told for what it is, whatever the
//! vendor does. Method: the client against a server on loopback that breaks every rule in turn.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "support/vendor_deepgram.rs"]
mod support;
#[path = "support/vendor_websocket.rs"]
mod websocket;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::websocket::{PATIENCE, Peer, Server};
use diglot::vendor::deepgram::Timeouts;
use diglot::vendor::{FailureKind, RecognitionEvent};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use support::*;

/// Every way a vendor may break an open stream, and what it means.
#[test]
fn broken_streams_are_classified() {
    fn close(code: u16, reason: &'static str) -> impl FnOnce(&mut Peer) + Send {
        move |peer| {
            let _ = peer.socket.close(Some(CloseFrame {
                code: code.into(),
                reason: reason.into(),
            }));
            peer.until_gone();
        }
    }
    fn raw(bytes: &'static [u8]) -> impl FnOnce(&mut Peer) + Send {
        move |peer| {
            peer.socket.get_mut().write_all(bytes).unwrap();
            peer.until_gone();
        }
    }
    type Script = Box<dyn FnOnce(&mut Peer) + Send>;
    let cases: Vec<(&str, Script, FailureKind)> = vec![
        ("normal", Box::new(close(1000, "")), FailureKind::Transient),
        (
            "DATA-0000",
            Box::new(close(1008, "DATA-0000")),
            FailureKind::BadRequest,
        ),
        (
            "NET-0000",
            Box::new(close(1011, "NET-0000")),
            FailureKind::Transient,
        ),
        (
            "NET-0001",
            Box::new(close(1011, "NET-0001")),
            FailureKind::Transient,
        ),
        ("cut", Box::new(|_: &mut Peer| ()), FailureKind::Transient),
        ("RST", Box::new(reset), FailureKind::Transient),
        (
            "not UTF-8",
            Box::new(raw(b"\x81\x02\xff\xfe")),
            FailureKind::Protocol,
        ),
        (
            "too long",
            Box::new(raw(b"\x81\x7f\0\0\0\0\x7f\0\0\0")),
            FailureKind::Protocol,
        ),
        (
            "reserved bits",
            Box::new(raw(b"\xf1\x00")),
            FailureKind::Protocol,
        ),
        (
            "masked",
            Box::new(raw(b"\x81\x81\0\0\0\0x")),
            FailureKind::Protocol,
        ),
        (
            "nonsense without end",
            Box::new(|peer: &mut Peer| while peer.socket.send(Message::text("{")).is_ok() {}),
            FailureKind::Protocol,
        ),
    ];
    for (name, script, kind) in cases {
        let server = Server::websocket(move |mut peer| {
            assert_eq!(peer.audio().len(), LEAD_IN_SAMPLES);
            script(&mut peer);
        });
        let error = Stream::start(client(&server.url)).failure();
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert!(error.detail.contains("request-1"), "{name}: {error}");
        server.finish();
    }
}

/// Closes the connection so that the other end sees a reset.
fn reset(peer: &mut Peer) {
    let socket = socket2::SockRef::from(peer.socket.get_ref());
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn complaint_explains_the_close_that_follows() {
    let server = Server::websocket(|mut peer| {
        peer.say(r#"{"type":"Error","variant":"SchemaError","description":"no such message"}"#);
        let _ = peer.socket.close(Some(CloseFrame {
            code: CloseCode::Error,
            reason: "".into(),
        }));
        peer.until_gone();
    });
    let error = Stream::start(client(&server.url)).failure();
    assert!(
        error.detail.contains("SchemaError: no such message"),
        "{error}"
    );
    server.finish();
}

/// Every HTTP answer to the upgrade, and what it means.
#[test]
fn refused_upgrades_are_classified() {
    let cases = [
        (
            "400 Bad Request",
            r#"{"err_code":"Bad Request","err_msg":"x"}"#,
            FailureKind::BadRequest,
        ),
        (
            "401 Unauthorized",
            r#"{"err_code":"INVALID_AUTH","err_msg":"x"}"#,
            FailureKind::Auth,
        ),
        (
            "403 Forbidden",
            r#"{"err_code":"INSUFFICIENT_PERMISSIONS"}"#,
            FailureKind::Auth,
        ),
        (
            "402 Payment Required",
            r#"{"err_code":"ASR_PAYMENT_REQUIRED"}"#,
            FailureKind::Quota,
        ),
        (
            "429 Too Many Requests",
            r#"{"err_code":"TOO_MANY_REQUESTS"}"#,
            FailureKind::RateLimited,
        ),
        ("500 Internal Server Error", "", FailureKind::Transient),
        (
            "503 Service Unavailable",
            "<html>maintenance</html>",
            FailureKind::Transient,
        ),
        ("200 OK", "hello", FailureKind::Protocol),
    ];
    for (status, body, kind) in cases {
        let server = Server::tcp(move |mut tcp| {
            read_head(&mut tcp);
            let len = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {len}\r\ndg-error: as {KEY} said\r\n\
                 dg-request-id: request-9\r\n\r\n{body}"
            );
            tcp.write_all(head.as_bytes()).unwrap();
        });
        let error = Stream::start(client(&server.url)).failure();
        assert_eq!(error.kind, kind, "{status}: {error}");
        assert!(error.detail.contains(&status[..3]), "{error}");
        assert!(error.detail.contains("request-9"), "{error}");
        assert!(!error.to_string().contains(KEY), "{error}");
        server.finish();
    }
}

fn read_head(tcp: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

#[test]
fn vendor_that_cannot_be_reached_is_classified() {
    let refused = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("ws://{}", listener.local_addr().unwrap())
    };
    let cases = [
        (refused, FailureKind::Transient),
        ("http://127.0.0.1:1".to_owned(), FailureKind::BadRequest),
        ("ws://".to_owned(), FailureKind::BadRequest),
    ];
    for (url, kind) in cases {
        assert_eq!(Stream::start(client(&url)).failure().kind, kind, "{url}");
    }
}

/// Accepts and says nothing; says a little now and then; hangs up at once; speaks no TLS.
#[test]
fn vendor_that_does_not_finish_the_upgrade_is_given_up_in_time() {
    let timeouts = Timeouts {
        upgrade: BRIEF,
        ..Timeouts::default()
    };
    let until_gone = |tcp: &mut TcpStream| while tcp.read(&mut [0; 64]).is_ok_and(|n| n > 0) {};
    let begin = Instant::now();

    let server = Server::tcp(move |mut tcp| until_gone(&mut tcp));
    let error = Stream::start(client(&server.url).with_timeouts(timeouts)).failure();
    assert_eq!(error.kind, FailureKind::Timeout, "{error}");
    server.finish();

    let server = Server::tcp(move |mut tcp| {
        read_head(&mut tcp);
        tcp.write_all(b"HTTP/1.1 101 Switching Protocols\r\nx: ")
            .unwrap();
        tcp.set_read_timeout(Some(BRIEF / 10)).unwrap();
        while tcp.write_all(b"y").is_ok() && !tcp.read(&mut [0]).is_ok_and(|n| n == 0) {}
    });
    let error = Stream::start(client(&server.url).with_timeouts(timeouts)).failure();
    assert_eq!(error.kind, FailureKind::Timeout, "{error}");
    server.finish();

    let server = Server::tcp(drop);
    let error = Stream::start(client(&server.url)).failure();
    assert_eq!(error.kind, FailureKind::Transient, "{error}");
    server.finish();

    let server = Server::tcp(|mut tcp| {
        drop(tcp.write_all(b"SSH-2.0-none\r\n"));
        while tcp.read(&mut [0; 512]).is_ok_and(|n| n > 0) {}
    });
    let url = server.url.replace("ws://", "wss://");
    let error = Stream::start(client(&url)).failure();
    assert_eq!(error.kind, FailureKind::Transient, "{error}");
    server.finish();

    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn vendor_that_falls_silent_is_given_up() {
    let timeouts = Timeouts {
        ping: BRIEF,
        silence: BRIEF * 4,
        ..Timeouts::default()
    };
    let (done, is_done) = mpsc::channel::<()>();
    let server = Server::websocket(move |peer| {
        let _ = is_done.recv_timeout(PATIENCE);
        drop(peer);
    });
    let error = Stream::start(client(&server.url).with_timeouts(timeouts)).failure();
    assert_eq!(error.kind, FailureKind::Timeout, "{error}");
    drop(done);
    server.finish();
}

/// Goal: a vendor that stops reading costs bounded memory and bounded time, and the audio it did
/// not take is counted; the sender never waits.
#[test]
fn vendor_that_stops_reading_is_given_up_and_its_audio_counted() {
    let timeouts = Timeouts {
        write_stall: BRIEF * 2,
        ..Timeouts::default()
    };
    let (done, is_done) = mpsc::channel::<()>();
    let server = Server::websocket(move |peer| {
        let _ = is_done.recv_timeout(PATIENCE);
        drop(peer);
    });
    let mut stream = Stream::start(client(&server.url).with_timeouts(timeouts));
    assert_eq!(stream.next(), RecognitionEvent::Opened);
    let begin = Instant::now();
    while !stream.audio.is_abandoned() {
        stream.audio.send(vec![7; 3200]);
        assert!(begin.elapsed() < PATIENCE, "the stream goes on");
    }
    assert!(stream.audio.chunks_dropped_total() > 0);
    let (result, _, client) = stream.end();
    assert_eq!(result.unwrap_err().kind, FailureKind::Timeout);
    assert!(client.counters().audio_chunks_dropped_total.total() > 0);
    drop(done);
    server.finish();
}

#[test]
fn vendor_that_does_not_end_the_stream_is_given_up() {
    let timeouts = Timeouts {
        drain: BRIEF,
        ..Timeouts::default()
    };
    let server = Server::websocket(|mut peer| {
        assert_eq!(peer.audio_until_text().1, CLOSE_STREAM);
        peer.until_gone();
    });
    let stream = Stream::start(client(&server.url).with_timeouts(timeouts));
    assert_eq!(stream.end().0.unwrap_err().kind, FailureKind::Timeout);
    server.finish();
}

#[test]
fn close_after_the_end_without_metadata_is_an_end_and_a_cut_is_none() {
    let server = Server::websocket(|mut peer| {
        assert_eq!(peer.audio_until_text().1, CLOSE_STREAM);
        let _ = peer.socket.close(Some(CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        }));
        peer.until_gone();
    });
    assert_eq!(Stream::start(client(&server.url)).end().0, Ok(()));
    server.finish();

    let server = Server::websocket(|mut peer| {
        assert_eq!(peer.audio_until_text().1, CLOSE_STREAM);
    });
    let error = Stream::start(client(&server.url)).end().0.unwrap_err();
    assert_eq!(error.kind, FailureKind::Transient);
    server.finish();
}
