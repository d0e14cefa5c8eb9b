//! The loop engine: a leg's audio comes back as its own translation, in order, byte for byte.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::time::Instant;

use diglot::link::binary::{Frame, Header};
use diglot::translator::Count;
use diglot_rt::msg::Pace;
use serde_json::json;
use translator_support::{Gateway, http, noise, pcm_of, start_loop, wait_until};
use tungstenite::Message;

mod translator_support;

/// Goal: order and bytes survive, whatever even length a chunk has. Method: lengths from nothing
/// to the largest, all sent before the first is read where the socket's buffers allow.
#[test]
fn text_audio_comes_back_in_order_and_byte_for_byte() {
    for encoding in ["s16be", "s16le"] {
        let translator = start_loop();
        let mut gateway = Gateway::connect(translator.local_addr(), "7777");
        gateway.start(encoding);
        let lengths = [0, 2, 320, 640, 642, 6400, 64_000];
        for (sequence, length) in lengths.into_iter().enumerate() {
            gateway.send_audio(sequence as u64, &noise(sequence as u64, length));
        }
        for (sequence, length) in lengths.into_iter().enumerate() {
            let back = gateway.receive_json();
            assert_eq!(back["type"], "translated_audio");
            assert_eq!(
                (&back["extension"], &back["targetExtension"]),
                (&json!("7777"), &json!("8888"))
            );
            assert_eq!(back["timestamp"], 1_000_000 + sequence * 20);
            assert_eq!(back["utterance"], 1);
            assert_eq!(back["live"], true);
            assert_eq!(pcm_of(&back), noise(sequence as u64, length));
        }
    }
}

#[test]
fn binary_audio_comes_back_in_order_and_byte_for_byte() {
    let translator = start_loop();
    let mut gateway = Gateway::connect_binary(translator.local_addr(), "8888");
    gateway.start("s16le");
    for sequence in 0..200_u32 {
        gateway.send_binary(sequence, &noise(u64::from(sequence), 640));
    }
    for sequence in 0..200_u32 {
        let Message::Binary(bytes) = gateway.receive() else {
            panic!()
        };
        let frame = Frame::decode(&bytes).unwrap();
        let timestamp = 1_000_000 + u64::from(sequence) * 20;
        assert_eq!(
            frame.header,
            Header::TranslatedAudio {
                utterance: 1,
                last: false,
                pace: Pace::Live,
                timestamp
            }
        );
        assert_eq!(frame.pcm, noise(u64::from(sequence), 640));
    }
}

/// Goal: Node's own form of a buffer is understood.
#[test]
fn buffer_form_is_accepted() {
    let translator = start_loop();
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.start("s16be");
    let data = json!({"type": "Buffer", "data": [0, 127, 128, 255]});
    gateway.send_json(&json!({"type": "audio", "extension": "7777", "data": data}));
    assert_eq!(pcm_of(&gateway.receive_json()), [0, 127, 128, 255]);
}

#[test]
fn ending_a_session_closes_normally_and_frees_it() {
    let translator = start_loop();
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.start("s16be");
    gateway.expect_quiet();
    assert_eq!(translator.load().sessions, 1);
    gateway.send_json(&json!({"type": "session_end", "extension": "7777"}));
    let code = gateway.receive_close().unwrap().code;
    assert_eq!(u16::from(code), 1000);
    drop(gateway);
    wait_until("the session is gone", || translator.load().connections == 0);
    assert_eq!(translator.load().sessions, 0);
    let mut vanished = Gateway::connect(translator.local_addr(), "7777");
    vanished.start("s16be");
    vanished.expect_quiet();
    drop(vanished);
    wait_until("the socket's end ended it", || {
        translator.load().sessions == 0
    });
    assert_eq!(translator.count(Count::Session), 2);
}

#[test]
fn health_tells_state_and_counters() {
    let translator = start_loop();
    let answer = http(
        translator.local_addr(),
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let health: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&health["status"], &health["engine"]),
        (&json!("ok"), &json!("loop"))
    );
    assert_eq!(health["sessions"], 0);
    assert_eq!(
        health["counters"]["translator_connection_accepted_total"],
        1
    );
    assert!(health["version"].is_string());
}

/// Measures, asserts nothing: what one message of 20 ms costs the I/O thread, there and back, and
/// how long it takes, with 500 sessions. Method: one message at a time, so every one pays for its
/// own wake-up; CPU time from the scheduler's account of the thread.
///
/// `cargo test --release -p diglot --test translator_loop -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn cost_of_a_message_with_500_sessions() {
    const LEGS: usize = 500;
    const ROUNDS: u64 = 50;
    for form in ["text", "binary"] {
        let translator = start_loop();
        let address = translator.local_addr();
        let mut gateways: Vec<Gateway> = (0..LEGS)
            .map(|_| {
                let mut gateway = match form {
                    "binary" => Gateway::connect_binary(address, "7777"),
                    _ => Gateway::connect(address, "7777"),
                };
                gateway.start("s16be");
                gateway.expect_quiet();
                gateway
            })
            .collect();
        let pcm = noise(0, 640);
        let cpu_before = translator_cpu_ns();
        let mut round_trips_us = Vec::new();
        for sequence in 0..ROUNDS {
            for gateway in &mut gateways {
                let begin = Instant::now();
                match form {
                    "binary" => gateway.send_binary(sequence as u32, &pcm),
                    _ => gateway.send_audio(sequence, &pcm),
                }
                gateway.receive();
                round_trips_us.push(begin.elapsed().as_nanos() as u64 / 1000);
            }
        }
        let cpu_ns = translator_cpu_ns() - cpu_before;
        round_trips_us.sort_unstable();
        let messages = round_trips_us.len();
        let at = |share: f64| round_trips_us[(messages as f64 * share) as usize];
        println!(
            "{form}: {} ns of CPU a message; round trip p50 {} us, p99 {} us, p99.9 {} us",
            cpu_ns / messages as u64,
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
}

/// Nanoseconds that the translator's thread has run (proc(5), schedstat).
fn translator_cpu_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let folders = tasks.map(|task| task.unwrap().path());
    let is_ours = |folder: &std::path::PathBuf| {
        std::fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim() == "translator")
    };
    let run_ns = |folder: std::path::PathBuf| {
        let text = std::fs::read_to_string(folder.join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    folders.filter(is_ours).map(run_ns).sum()
}
