//! Goal: a Deepgram stream says what the vendor said, and hears all audio.
//! Method: the client against a server on loopback that follows a script of literal messages.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "support/vendor_deepgram.rs"]
mod support;
#[path = "support/vendor_websocket.rs"]
mod websocket;

use crate::websocket::Server;
use diglot::vendor::RecognitionEvent;
use diglot::vendor::deepgram::Timeouts;
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use support::*;

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
