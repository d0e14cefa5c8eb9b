//! Goal: a Deepgram stream says what the vendor said, and ends as it should whatever the vendor does.
//! Method: the client against a server on loopback that follows a script of literal messages.

#[path = "support/vendor_websocket.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use diglot::config::{self, Secret};
use diglot::vendor::audio::{AudioSender, audio_channel};
use diglot::vendor::deepgram::{Deepgram, Timeouts};
use diglot::vendor::{
    FailureKind, Flow, RecognitionEvent, RecognitionRequest, Recognizer, VendorError,
};
use server::{PATIENCE, Peer, Server};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

const KEY: &str = "k3y-of-the-tests";
const METADATA: &str =
    r#"{"type":"Metadata","request_id":"request-1","duration":1.0,"channels":1}"#;
const CLOSE_STREAM: &str = r#"{"type":"CloseStream"}"#;
const KEEP_ALIVE: &str = r#"{"type":"KeepAlive"}"#;

/// The silence a stream begins with.
const LEAD_IN_SAMPLES: usize = 320;

/// Short enough for a test, long enough for a busy machine.
const BRIEF: Duration = Duration::from_millis(150);

fn client(url: &str) -> Deepgram {
    let config = config::Deepgram {
        url: url.to_owned(),
        key: Some(Secret::new(KEY.to_owned())),
        model: "nova-3".to_owned(),
        endpointing_ms: 300,
    };
    let timeouts = Timeouts {
        drain: PATIENCE,
        write_stall: PATIENCE,
        ..Timeouts::default()
    };
    Deepgram::new(&config).unwrap().with_timeouts(timeouts)
}

/// Runs one stream to its end and gives what was told with it.
struct Stream {
    audio: AudioSender,
    events: mpsc::Receiver<RecognitionEvent>,
    result: thread::JoinHandle<(Result<(), VendorError>, Deepgram)>,
}

impl Stream {
    fn start(client: Deepgram) -> Self {
        let (audio, receiver) = audio_channel(100);
        let (tell, events) = mpsc::channel();
        let result = thread::spawn(move || {
            let request = RecognitionRequest {
                language: "en".to_owned(),
            };
            let result =
                client.recognize(&request, receiver, &mut |event| match tell.send(event) {
                    Ok(()) => Flow::Continue,
                    Err(_) => Flow::Stop,
                });
            (result, client)
        });
        Self {
            audio,
            events,
            result,
        }
    }

    fn next(&self) -> RecognitionEvent {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    /// Ends the audio and waits for the end of the stream.
    fn end(self) -> (Result<(), VendorError>, Vec<RecognitionEvent>, Deepgram) {
        drop(self.audio);
        let (result, client) = join(self.result);
        (result, self.events.try_iter().collect(), client)
    }

    /// Waits for the stream to fail while audio could still come.
    fn failure(self) -> VendorError {
        let Self { audio, result, .. } = self;
        let error = join(result).0.unwrap_err();
        drop(audio);
        error
    }
}

/// The thread's last word, which comes in time.
fn join<T>(thread: thread::JoinHandle<T>) -> T {
    let begin = Instant::now();
    while !thread.is_finished() {
        assert!(begin.elapsed() < PATIENCE, "the stream goes on");
        thread::yield_now();
    }
    thread.join().unwrap()
}

fn words(text: &str, flags: &str) -> String {
    format!(
        r#"{{"type":"Results","channel_index":[0,1],"start":0.02,"duration":1.0,{flags}"new":[{{}}],
        "channel":{{"alternatives":[{{"transcript":"{text}","confidence":0.9,"words":[]}}]}},
        "metadata":{{"request_id":"request-1"}}}}"#
    )
}

fn finish(peer: &mut Peer) {
    peer.say(METADATA);
    let _ = peer.socket.close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }));
    peer.until_gone();
}

#[test]
fn stream_hears_all_audio_and_tells_all_words() {
    let server = Server::websocket(|mut peer| {
        assert_eq!(peer.authorization, format!("Token {KEY}"));
        let (path, query) = peer.uri.split_once('?').unwrap();
        assert_eq!(path, "/v1/listen");
        let mut query: Vec<_> = query.split('&').collect();
        query.sort_unstable();
        assert_eq!(
            query,
            [
                "channels=1",
                "encoding=linear16",
                "endpointing=300",
                "interim_results=true",
                "language=en",
                "model=nova-3",
                "punctuate=true",
                "sample_rate=16000",
                "utterance_end_ms=1000",
                "vad_events=true",
            ]
        );
        // Nothing has been said yet: the lead-in comes alone.
        assert_eq!(peer.audio(), vec![0; LEAD_IN_SAMPLES]);
        peer.say(r#"{"type":"SpeechStarted","channel":[0],"timestamp":0.1}"#);
        peer.say(r#"{"type":"SomethingNew","payload":[1,2,3]}"#);
        peer.say(&words("good", ""));
        peer.say(&words("good morning", r#""is_final":true,"#));
        peer.say(&words("", r#""is_final":true,"speech_final":true,"#));
        peer.say(r#"{"type":"UtteranceEnd","channel":[0,1],"last_word_end":0.9}"#);
        let (heard, text) = peer.audio_until_text();
        assert_eq!(heard, (0..1000).collect::<Vec<i16>>());
        assert_eq!(text, CLOSE_STREAM);
        peer.say(&words("bye", r#""is_final":true,"#));
        finish(&mut peer);
    });
    let mut stream = Stream::start(client(&server.url));
    assert_eq!(stream.next(), RecognitionEvent::Opened);
    assert_eq!(
        stream.next(),
        RecognitionEvent::Partial {
            text: "good".to_owned()
        }
    );
    // Odd lengths, and 7 samples at the end that fill no frame.
    let samples: Vec<i16> = (0..1000).collect();
    for chunk in samples.chunks(331) {
        stream.audio.send(chunk);
    }
    let (result, events, client) = stream.end();
    assert_eq!(result, Ok(()));
    let spoken = |text: &str| RecognitionEvent::Final {
        text: text.to_owned(),
        end_ms: 1000,
    };
    assert_eq!(
        events,
        [
            spoken("good morning"),
            RecognitionEvent::UtteranceEnd,
            RecognitionEvent::UtteranceEnd,
            spoken("bye"),
        ]
    );
    assert_eq!(client.counters().messages_unknown_total.total(), 1);
    server.finish();
}

#[test]
fn frames_are_20_to_100_ms() {
    let server = Server::websocket(|mut peer| {
        let mut heard = 0;
        while heard < LEAD_IN_SAMPLES + 16_000 {
            let frame = peer.audio();
            assert!(
                (320..=1600).contains(&frame.len()),
                "{} samples",
                frame.len()
            );
            heard += frame.len();
        }
        assert_eq!(
            peer.audio_until_text(),
            (Vec::new(), CLOSE_STREAM.to_owned())
        );
        finish(&mut peer);
    });
    let mut stream = Stream::start(client(&server.url));
    assert_eq!(stream.next(), RecognitionEvent::Opened);
    let mut audio = vec![1; 16_000].into_iter();
    for len in (1..).map(|n| n * 97 % 4000) {
        let chunk: Vec<i16> = audio.by_ref().take(len).collect();
        if audio.len() == 0 {
            stream.audio.send(chunk);
            break;
        }
        stream.audio.send(chunk);
    }
    assert_eq!(stream.end().0, Ok(()));
    server.finish();
}

#[test]
fn silent_leg_is_kept_alive_by_text_messages() {
    let server = Server::websocket(|mut peer| {
        assert_eq!(peer.audio().len(), LEAD_IN_SAMPLES);
        for _ in 0..3 {
            let (heard, text) = peer.audio_until_text();
            assert_eq!((heard, text.as_str()), (Vec::new(), KEEP_ALIVE));
        }
        peer.say(&words("awake", ""));
        while peer.audio_until_text().1 != CLOSE_STREAM {}
        finish(&mut peer);
    });
    let timeouts = Timeouts {
        keep_alive: BRIEF,
        ..Timeouts::default()
    };
    let stream = Stream::start(client(&server.url).with_timeouts(timeouts));
    assert_eq!(stream.next(), RecognitionEvent::Opened);
    assert_eq!(
        stream.next(),
        RecognitionEvent::Partial {
            text: "awake".to_owned()
        }
    );
    assert_eq!(stream.end().0, Ok(()));
    server.finish();
}

#[test]
fn listener_may_stop_a_stream() {
    let server =
        Server::websocket(
            |mut peer| {
                while peer.socket.send(Message::text(words("one", ""))).is_ok() {}
            },
        );
    let stream = Stream::start(client(&server.url));
    assert_eq!(stream.next(), RecognitionEvent::Opened);
    let Stream {
        audio,
        events,
        result,
    } = stream;
    drop(events);
    assert_eq!(join(result).0, Ok(()));
    drop(audio);
    server.finish();
}

#[test]
fn ping_is_answered_and_fragments_are_joined() {
    let server = Server::websocket(|mut peer| {
        peer.socket
            .send(Message::Ping(b"are you there"[..].into()))
            .unwrap();
        loop {
            if let Message::Pong(payload) = peer.socket.read().unwrap() {
                assert_eq!(&payload[..], b"are you there");
                break;
            }
        }
        let text = words("in three pieces", r#""is_final":true,"#);
        let (first, rest) = text.as_bytes().split_at(10);
        let (second, third) = rest.split_at(rest.len() / 2);
        let pieces = [(first, Data::Text, false), (second, Data::Continue, false)];
        for (payload, opcode, is_last) in pieces.into_iter().chain([(third, Data::Continue, true)])
        {
            let frame = Frame::message(payload.to_vec(), OpCode::Data(opcode), is_last);
            peer.socket.send(Message::Frame(frame)).unwrap();
            peer.socket.send(Message::Ping(vec![].into())).unwrap();
        }
        assert_eq!(peer.audio_until_text().1, CLOSE_STREAM);
        finish(&mut peer);
    });
    let stream = Stream::start(client(&server.url));
    assert_eq!(stream.next(), RecognitionEvent::Opened);
    let text = "in three pieces".to_owned();
    assert_eq!(
        stream.next(),
        RecognitionEvent::Final { text, end_ms: 1000 }
    );
    assert_eq!(stream.end().0, Ok(()));
    server.finish();
}

#[test]
fn malformed_messages_are_counted_and_the_stream_goes_on() {
    let server = Server::websocket(|mut peer| {
        for text in ["{", "null", r#"{"type":"Results","channel":5}"#] {
            peer.say(text);
        }
        peer.socket.send(Message::binary(vec![1, 2, 3])).unwrap();
        peer.say(&words("still here", ""));
        while peer.audio_until_text().1 != CLOSE_STREAM {}
        finish(&mut peer);
    });
    let stream = Stream::start(client(&server.url));
    assert_eq!(stream.next(), RecognitionEvent::Opened);
    assert_eq!(
        stream.next(),
        RecognitionEvent::Partial {
            text: "still here".to_owned()
        }
    );
    let (result, _, client) = stream.end();
    assert_eq!(result, Ok(()));
    assert_eq!(client.counters().messages_malformed_total.total(), 3);
    assert_eq!(client.counters().messages_unknown_total.total(), 1);
    server.finish();
}

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

#[test]
fn pongs_prove_that_a_vendor_without_words_is_alive() {
    let timeouts = Timeouts {
        ping: BRIEF,
        silence: BRIEF * 4,
        ..Timeouts::default()
    };
    let server = Server::websocket(|mut peer| {
        let mut pings = 0;
        while pings < 10 {
            pings += u32::from(peer.socket.read().unwrap().is_ping());
        }
        peer.say(&words("alive", ""));
        while peer.audio_until_text().1 != CLOSE_STREAM {}
        finish(&mut peer);
    });
    let stream = Stream::start(client(&server.url).with_timeouts(timeouts));
    assert_eq!(stream.next(), RecognitionEvent::Opened);
    assert_eq!(
        stream.next(),
        RecognitionEvent::Partial {
            text: "alive".to_owned()
        }
    );
    assert_eq!(stream.end().0, Ok(()));
    server.finish();
}

/// Goal: a vendor that stops reading costs bounded memory and bounded time, and the audio it did not
/// take is counted; the sender never waits.
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
