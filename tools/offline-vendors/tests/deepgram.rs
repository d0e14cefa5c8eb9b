//! Goal: `/v1/listen` behaves as Deepgram's, strictness included. Method: raw upgrades and frames
//! over loopback; expectations are written out from the vendor's documents, not taken from our own
//! types.

mod support;

use std::time::Duration;

use audio_codec_algorithms::encode_ulaw;
use offline_vendors::phrase_book::Language;
use offline_vendors::server::ServerOptions;
use offline_vendors::speech::{Voice, speak};
use serde_json::Value;
use support::{listen, next, rest, server, start};
use tungstenite::Message;

const KEY: &str = "Token offline-deepgram-key";
const GOOD: &str = "model=nova-3&language=en&encoding=mulaw&sample_rate=8000";
/// 20 ms of µ-law at 8 kHz.
const FRAME_BYTES: usize = 160;
/// The vendor's 10 s begin before the client's clock does.
const SILENT_CLIENT_MIN: Duration = Duration::from_secs(9);

/// A sentence as µ-law with a second of silence after it.
fn spoken(text: &str, language: Language) -> Vec<u8> {
    let samples = speak(text, Voice::of(language), 8000).expect("voice");
    let mut bytes: Vec<u8> = samples.into_iter().map(encode_ulaw).collect();
    bytes.extend([0xff; 8000]);
    bytes
}

fn send_audio(socket: &mut support::Socket, audio: &[u8]) {
    for frame in audio.chunks(FRAME_BYTES) {
        socket.send(Message::binary(frame.to_vec())).expect("send");
    }
}

fn of_type<'a>(messages: &'a [Value], kind: &str) -> Vec<&'a Value> {
    messages
        .iter()
        .filter(|message| message["type"] == kind)
        .collect()
}

#[test]
fn keys_are_checked_at_the_upgrade() {
    for authorization in [
        None,
        Some("Token wrong"),
        Some("Bearer offline-deepgram-key"),
        Some("offline-deepgram-key"),
    ] {
        let (status, dg_error, body) = listen(server(), GOOD, authorization)
            .map(drop)
            .expect_err("refused");
        assert_eq!((status, dg_error.as_str()), (401, "Invalid credentials."));
        assert_eq!(body["err_code"], "INVALID_AUTH");
        assert!(body["request_id"].is_string());
    }
}

#[test]
fn parameters_are_checked_at_the_upgrade() {
    let bad = [
        "language=en&encoding=mulaw&sample_rate=8000",
        "model=nova-9&encoding=mulaw&sample_rate=8000",
        "model=nova-3&language=xx&encoding=mulaw&sample_rate=8000",
        "model=nova-3&encoding=mulaw",
        "model=nova-3&sample_rate=8000",
        "model=nova-3&encoding=ulaw&sample_rate=8000",
        "model=nova-3&encoding=mulaw&sample_rate=12345",
        "model=nova-3&encoding=mulaw&sample_rate=8000&detect_language=true",
        "model=nova-3&encoding=mulaw&sample_rate=8000&utterance_end_ms=1000",
        "model=nova-3&encoding=mulaw&sample_rate=8000&interim_results=true&utterance_end_ms=500",
        "model=nova-3&encoding=mulaw&sample_rate=8000&interim_results=yes",
        "model=nova-3&encoding=mulaw&sample_rate=8000&endpointing=soon",
        "model=nova-3&encoding=mulaw&sample_rate=8000&interimresults=true",
        "model=nova-3&encoding=mulaw&sample_rate=8000&channels=2",
    ];
    for query in bad {
        let (status, dg_error, body) = listen(server(), query, Some(KEY))
            .map(drop)
            .expect_err(query);
        assert_eq!(status, 400, "{query}");
        assert_eq!(body["err_msg"], dg_error.as_str(), "{query}");
    }
    let plain =
        format!("GET /v1/listen?{GOOD} HTTP/1.1\r\nhost: h\r\nauthorization: {KEY}\r\n\r\n");
    assert_eq!(support::exchange(server(), &plain).status, 400);
}

#[test]
fn streams_over_the_limit_are_refused_at_the_upgrade_and_freed_after() {
    let address = start(ServerOptions {
        streams_max: 1,
        recognizers: 1,
        ..ServerOptions::default()
    });
    let (mut first, _) = listen(address, GOOD, Some(KEY)).expect("first");
    let (status, _, body) = listen(address, GOOD, Some(KEY))
        .map(drop)
        .expect_err("second");
    assert_eq!(
        (status, &body["err_code"]),
        (429, &Value::from("TOO_MANY_REQUESTS"))
    );
    first
        .send(Message::text("{\"type\":\"CloseStream\"}"))
        .expect("send");
    assert_eq!(rest(&mut first).1.0, 1000);
    drop(first);
    let freed = (0..1000).any(|_| listen(address, GOOD, Some(KEY)).is_ok());
    assert!(freed, "the closed stream still counts");
}

#[test]
fn a_sentence_is_heard_with_interims_finals_and_utterance_end() {
    let query = "model=nova-3&language=en&encoding=mulaw&sample_rate=8000&interim_results=true\
                 &endpointing=300&utterance_end_ms=1000&vad_events=true&punctuate=true&channels=1";
    let (mut socket, request_id) = listen(server(), query, Some(KEY)).expect("upgrade");
    assert!(!request_id.is_empty());
    let audio = spoken("We have a problem with the connection.", Language::English);
    send_audio(&mut socket, &audio);
    send_audio(&mut socket, &[0xff; 8000]);
    socket
        .send(Message::text("{\"type\":\"CloseStream\"}"))
        .expect("send");
    let (messages, close) = rest(&mut socket);
    assert_eq!(close.0, 1000);
    assert_eq!(messages[0]["type"], "SpeechStarted");
    let finals: Vec<&Value> = of_type(&messages, "Results")
        .into_iter()
        .filter(|m| m["is_final"] == true)
        .collect();
    assert_eq!(finals.len(), 1, "{messages:#?}");
    let best = &finals[0]["channel"]["alternatives"][0];
    assert_eq!(best["transcript"], "We have a problem with the connection.");
    assert_eq!(finals[0]["speech_final"], true);
    assert_eq!(finals[0]["channel_index"], serde_json::json!([0, 1]));
    assert_eq!(finals[0]["metadata"]["request_id"], request_id.as_str());
    let words = best["words"].as_array().expect("words");
    assert_eq!(words.len(), 7);
    assert_eq!(words[6]["punctuated_word"], "connection.");
    assert_eq!(words[6]["word"], "connection");
    let times: Vec<f64> = words
        .iter()
        .flat_map(|w| [w["start"].as_f64(), w["end"].as_f64()])
        .flatten()
        .collect();
    assert!(
        times.is_sorted() && times[13] < audio.len() as f64 / 8000.0,
        "{times:?}"
    );
    assert_eq!(of_type(&messages, "UtteranceEnd").len(), 1);
    let metadata = messages.last().expect("metadata");
    assert_eq!(metadata["type"], "Metadata");
    assert_eq!(metadata["channels"], 1);
    let duration = metadata["duration"].as_f64().expect("duration");
    assert!(
        (duration - (audio.len() + 8000) as f64 / 8000.0).abs() < 0.05,
        "{duration}"
    );
}

#[test]
fn speech_out_of_the_book_is_an_empty_final() {
    let (mut socket, _) = listen(server(), GOOD, Some(KEY)).expect("upgrade");
    send_audio(
        &mut socket,
        &spoken(
            "My grandmother baked a delicious apple pie.",
            Language::English,
        ),
    );
    let results = next(&mut socket).expect("results");
    assert_eq!(results["speech_final"], true);
    assert_eq!(results["channel"]["alternatives"][0]["transcript"], "");
}

#[test]
fn finalize_flushes_and_answers_even_in_silence() {
    let (mut socket, _) =
        listen(server(), &format!("{GOOD}&endpointing=2000"), Some(KEY)).expect("upgrade");
    socket
        .send(Message::binary(vec![0xff; 1600]))
        .expect("send");
    socket
        .send(Message::text("{\"type\":\"Finalize\"}"))
        .expect("send");
    let results = next(&mut socket).expect("results");
    assert_eq!(
        (&results["from_finalize"], &results["is_final"]),
        (&true.into(), &true.into())
    );
    assert_eq!(results["channel"]["alternatives"][0]["transcript"], "");
    let audio = spoken("Your reservation is confirmed.", Language::English);
    // Cut after the speech: no endpoint has come yet.
    send_audio(&mut socket, &audio[..audio.len() - 8000 - 800]);
    socket
        .send(Message::text("{\"type\":\"Finalize\"}"))
        .expect("send");
    let results = next(&mut socket).expect("results");
    assert_eq!(results["from_finalize"], true);
    assert_eq!(
        results["channel"]["alternatives"][0]["transcript"],
        "your reservation is confirmed"
    );
}

#[test]
fn an_empty_binary_frame_ends_the_stream() {
    let (mut socket, _) = listen(server(), GOOD, Some(KEY)).expect("upgrade");
    socket.send(Message::binary(Vec::new())).expect("send");
    let (messages, close) = rest(&mut socket);
    assert_eq!((of_type(&messages, "Metadata").len(), close.0), (1, 1000));
}

#[test]
fn bad_messages_are_answered_with_a_schema_error() {
    let (mut socket, _) = listen(server(), GOOD, Some(KEY)).expect("upgrade");
    for bad in ["{", "[]", "{\"type\":\"Dance\"}", "{\"type\":1}", "{}"] {
        socket.send(Message::text(bad)).expect("send");
        let answer = next(&mut socket).expect("answer");
        assert_eq!(
            (&answer["type"], &answer["variant"]),
            (&"Error".into(), &"SchemaError".into())
        );
        assert_eq!(answer["message"], bad);
    }
}

/// KeepAlives before any audio, or as binary frames, do not keep a stream alive.
#[test]
fn ten_seconds_without_audio_end_with_net_0001() {
    let (mut idle, _) = listen(server(), GOOD, Some(KEY)).expect("upgrade");
    let (mut binary, _) = listen(server(), GOOD, Some(KEY)).expect("upgrade");
    idle.send(Message::text("{\"type\":\"KeepAlive\"}"))
        .expect("send");
    binary
        .send(Message::binary(b"{\"type\":\"KeepAlive\"}".to_vec()))
        .expect("send");
    let began = std::time::Instant::now();
    assert_eq!(rest(&mut idle).1, (1011, "NET-0001".to_owned()));
    assert_eq!(rest(&mut binary).1, (1011, "NET-0001".to_owned()));
    // How much later is the machine's affair; whoever waits for an answer waits within bounds.
    assert!(
        began.elapsed() >= SILENT_CLIENT_MIN,
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn six_streams_at_once_are_heard_apart() {
    let sentences = [
        (Language::English, "I need an ambulance immediately."),
        (Language::French, "Parlez-vous français ?"),
        (Language::English, "I have lost my bank card."),
        (Language::French, "Appelez la police, s'il vous plaît."),
        (Language::English, "Please call the police."),
        (Language::French, "Il faut que j'y réfléchisse."),
    ];
    std::thread::scope(|scope| {
        for (language, text) in sentences {
            scope.spawn(move || {
                let query = format!(
                    "model=nova-3&language={}&encoding=mulaw&sample_rate=8000&punctuate=true",
                    language.code()
                );
                let (mut socket, _) = listen(server(), &query, Some(KEY)).expect("upgrade");
                send_audio(&mut socket, &spoken(text, language));
                let heard = next(&mut socket).expect("results");
                let transcript = heard["channel"]["alternatives"][0]["transcript"].as_str();
                assert_eq!(transcript, Some(text));
            });
        }
    });
}
