//! The vendors' engine over the real link, with scripted vendors: captions, order, failures, ends.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use diglot::config::Engine;
use diglot::link::binary::{Frame, Header};
use diglot::translator::{Count, Handle, Translator};
use serde_json::{Value, json};
use translator_support::vendors::{
    CLOSE, END, FAIL, FINAL, Fake, NONSENSE, PANIC, PARTIAL, SPEECH_ENDLESS, SPEECH_FAILS_AT_ONCE,
    SPEECH_FAILS_MIDWAY, SPEECH_PANICS, TRANSLATION_EMPTY, TRANSLATION_FAILS, TRANSLATION_PANICS,
    engines, phrase, speech, translation,
};
use translator_support::{Gateway, config, pcm_of, wait_until};
use tungstenite::Message;

mod translator_support;

fn start() -> (Handle, Arc<Fake>) {
    start_with(|_| {})
}

fn start_with(change: impl FnOnce(&mut diglot::config::Config)) -> (Handle, Arc<Fake>) {
    let mut config = config(Engine::Vendors);
    change(&mut config);
    let fake = Arc::new(Fake::default());
    (
        Translator::start(&config, Some(engines(&fake))).unwrap(),
        fake,
    )
}

/// 20 ms of audio that scripts the recogniser.
fn script(action: i16, number: i16) -> Vec<u8> {
    let mut samples = [0_i16; 320];
    (samples[0], samples[1]) = (action, number);
    samples
        .iter()
        .flat_map(|sample| sample.to_be_bytes())
        .collect()
}

/// Says one phrase and ends it.
fn say(gateway: &mut Gateway, number: i16) {
    gateway.send_audio(0, &script(FINAL, number));
    gateway.send_audio(1, &script(END, 0));
}

/// Everything about one utterance, up to its trace.
struct Heard {
    transcript: Value,
    translation: Option<Value>,
    samples: Vec<i16>,
    errors: Vec<Value>,
    trace: Value,
}

/// Reads one utterance; fails if another one speaks in between or its order is broken.
fn hear(gateway: &mut Gateway, utterance: u32) -> Heard {
    let mut heard = Heard {
        transcript: Value::Null,
        translation: None,
        samples: Vec::new(),
        errors: Vec::new(),
        trace: Value::Null,
    };
    let mut is_over = false;
    loop {
        let message = gateway.receive_json();
        match message["type"].as_str().unwrap() {
            "transcript" if message["utterance"] == utterance => heard.transcript = message,
            "transcript" => {}
            "translation" => heard.translation = Some(message),
            "error" => heard.errors.push(message),
            "translated_audio" => {
                assert_eq!(message["utterance"], utterance, "two voices at once");
                assert!(!is_over, "audio after the last");
                let pcm = pcm_of(&message);
                let samples = pcm
                    .chunks(2)
                    .map(|pair| i16::from_be_bytes([pair[0], pair[1]]));
                heard.samples.extend(samples);
                is_over = message["last"] == true;
            }
            "trace" => {
                assert_eq!(message["utterance"], utterance);
                assert!(is_over, "a trace before the last audio");
                heard.trace = message;
                return heard;
            }
            other => panic!("unexpected {other}"),
        }
    }
}

#[test]
fn speech_is_captioned_translated_and_spoken() {
    let (translator, _fake) = start();
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.start("s16be");
    gateway.send_audio(0, &script(PARTIAL, 6));
    gateway.send_audio(1, &script(FINAL, 7));
    gateway.send_audio(2, &script(PARTIAL, 8));
    gateway.send_audio(3, &script(FINAL, 8));
    gateway.send_audio(4, &script(END, 0));
    gateway.send_audio(5, &script(END, 0));
    let transcripts: Vec<Value> = (0..5).map(|_| gateway.receive_type("transcript")).collect();
    let words = |i: usize| transcripts[i]["text"].as_str().unwrap();
    assert_eq!(
        [words(0), words(1), words(2)],
        ["phrase 6", "phrase 7", "phrase 7 phrase 8"]
    );
    let is_final: Vec<bool> = transcripts.iter().map(|t| t["final"] == true).collect();
    assert_eq!(is_final, [false, false, false, false, true]);
    assert_eq!(
        transcripts[4],
        json!({"type": "transcript", "extension": "7777", "targetExtension": "8888",
            "utterance": 1, "text": "phrase 7 phrase 8", "language": "en", "final": true})
    );
    let heard = hear(&mut gateway, 1);
    assert_eq!(
        heard.translation.unwrap(),
        json!({"type": "translation", "extension": "7777", "targetExtension": "8888",
            "utterance": 1, "text": "en->fr phrase 7 phrase 8", "language": "fr", "final": true})
    );
    assert_eq!(heard.samples, speech(8));
    assert_eq!(heard.trace["outcome"], "spoken");
    assert_eq!(heard.trace["call_id"], "call-1");
    assert_eq!(heard.trace["speech_ms"], speech(8).len() / 16);
    // The last word ended with the fourth message, which was spoken at 1 000 060 and is 20 ms long.
    assert_eq!(heard.trace["speech_end"], 1_000_080);
    for stage in [
        "asr_final_ms",
        "queue_ms",
        "mt_ms",
        "tts_first_byte_ms",
        "total_ms",
    ] {
        assert!(heard.trace[stage].is_u64(), "{stage} in {}", heard.trace);
    }
    say(&mut gateway, 9);
    assert_eq!(hear(&mut gateway, 2).samples, speech(9));
    gateway.expect_quiet();
    assert_eq!(translator.count(Count::UtteranceSpoken), 2);
}

#[test]
fn binary_form_and_little_endian_carry_speech_both_ways() {
    let (translator, _fake) = start();
    let mut gateway = Gateway::connect_binary(translator.local_addr(), "7777");
    gateway.start("s16le");
    for (sequence, action) in [FINAL, END].into_iter().enumerate() {
        let mut pcm = script(action, 5);
        pcm.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        gateway.send_binary(sequence as u32, &pcm);
    }
    let mut samples = Vec::new();
    loop {
        let Message::Binary(bytes) = gateway.receive() else {
            continue;
        };
        let Frame { header, pcm } = Frame::decode(&bytes).unwrap();
        samples.extend(
            pcm.chunks(2)
                .map(|pair| i16::from_le_bytes([pair[0], pair[1]])),
        );
        match header {
            Header::TranslatedAudio {
                utterance: 1, last, ..
            } if last => break,
            Header::TranslatedAudio { utterance: 1, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(samples, speech(5));
}

/// Goal: utterances wait for each other. Method: three at once; `hear` refuses any overlap.
#[test]
fn utterances_are_spoken_one_after_the_other() {
    let (translator, _fake) = start();
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.start("s16be");
    for number in 1..=3 {
        say(&mut gateway, number);
    }
    for number in 1..=3 {
        assert_eq!(hear(&mut gateway, number as u32).samples, speech(number));
    }
}

/// Goal: whatever happens to one utterance is told once, and the next one is spoken.
#[test]
fn a_failed_utterance_is_told_and_the_next_one_spoken() {
    let (translator, _fake) = start();
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.start("s16be");
    let cases = [
        (TRANSLATION_FAILS, "translation_failed", 0),
        (TRANSLATION_EMPTY, "translation_failed", 0),
        (TRANSLATION_PANICS, "internal", 0),
        (SPEECH_FAILS_AT_ONCE, "speech_failed", 0),
        (SPEECH_FAILS_MIDWAY, "speech_failed", 3 * 801),
        (SPEECH_PANICS, "internal", 0),
    ];
    for (index, (number, code, samples)) in cases.into_iter().enumerate() {
        let utterance = 2 * index as u32 + 1;
        say(&mut gateway, number);
        let heard = hear(&mut gateway, utterance);
        assert_eq!(heard.errors.len(), 1, "{number}");
        assert_eq!(heard.errors[0]["code"], code, "{number}");
        assert_eq!(heard.errors[0]["utterance"], utterance, "{number}");
        assert_eq!(heard.samples.len(), samples, "{number}");
        assert_eq!(heard.trace["outcome"], "failed", "{number}");
        assert_eq!(heard.transcript["text"], phrase(number));
        say(&mut gateway, 1);
        let heard = hear(&mut gateway, utterance + 1);
        assert_eq!(heard.translation.unwrap()["text"], translation(1));
        assert_eq!(heard.samples, speech(1), "after {number}");
    }
    assert_eq!(translator.count(Count::TranslationFailed), 2);
    assert_eq!(translator.count(Count::SpeechFailed), 2);
    assert_eq!(translator.count(Count::WorkerPanicked), 2);
}

/// Goal: a stream that ends, however it ends, is opened again; what was final is not lost.
#[test]
fn a_recognition_stream_that_ends_is_opened_again() {
    let (translator, fake) = start();
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.start("s16be");
    for (index, (action, code)) in [
        (FAIL, Some("recognition_failed")),
        (PANIC, Some("internal")),
        (CLOSE, None),
    ]
    .into_iter()
    .enumerate()
    {
        let utterance = 2 * index as u32 + 1;
        gateway.send_audio(0, &script(FINAL, 3));
        gateway.send_audio(1, &script(action, 0));
        let heard = hear(&mut gateway, utterance);
        assert_eq!(heard.samples, speech(3), "finals before the end stay true");
        let errors: Vec<_> = heard
            .errors
            .iter()
            .map(|error| error["code"].clone())
            .collect();
        assert_eq!(
            errors,
            code.into_iter().map(Value::from).collect::<Vec<_>>()
        );
        say(&mut gateway, 4);
        assert_eq!(hear(&mut gateway, utterance + 1).samples, speech(4));
    }
    assert_eq!(fake.streams_total.load(Ordering::SeqCst), 4);
    assert_eq!(translator.count(Count::RecognitionFailed), 1);
}

#[test]
fn nonsense_from_a_recognizer_is_bounded_and_survived() {
    let (translator, _fake) = start();
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.start("s16be");
    gateway.send_audio(0, &script(NONSENSE, 0));
    let heard = hear(&mut gateway, 1);
    assert_eq!(
        heard.transcript["text"].as_str().unwrap().chars().count(),
        500
    );
    say(&mut gateway, 2);
    assert_eq!(hear(&mut gateway, 2).samples, speech(2));
}

/// Goal: a leg beyond the recognisers is told so, stays, and is served once one is free, with the
/// audio of the meantime.
#[test]
fn busy_recognizers_are_told_and_tried_again() {
    let (translator, _fake) = start_with(|config| config.translator.recognizers_max = 1);
    let mut first = Gateway::connect(translator.local_addr(), "7777");
    first.start("s16be");
    say(&mut first, 1);
    assert_eq!(hear(&mut first, 1).samples, speech(1));
    let mut second = Gateway::connect(translator.local_addr(), "7777");
    second.start("s16be");
    assert_eq!(second.receive_type("error")["code"], "busy");
    say(&mut second, 2);
    second.expect_quiet();
    drop(first);
    assert_eq!(hear(&mut second, 1).samples, speech(2));
}

/// Goal: a leg's end leaves nothing behind, even in the middle of an endless speech.
#[test]
fn the_end_of_a_session_stops_all_of_its_work() {
    let (translator, fake) = start();
    for end in ["session_end", "socket"] {
        let mut gateway = Gateway::connect(translator.local_addr(), "7777");
        gateway.start("s16be");
        say(&mut gateway, SPEECH_ENDLESS);
        gateway.receive_type("translated_audio");
        assert_eq!(
            fake.running.load(Ordering::SeqCst),
            2,
            "a stream and a speech"
        );
        if end == "session_end" {
            gateway.send_json(&json!({"type": "session_end", "extension": "7777"}));
            gateway.receive_close();
        } else {
            drop(gateway);
        }
        wait_until("its work has stopped", || {
            let load = translator.load();
            (load.sessions, load.recognizers, load.jobs) == (0, 0, 0)
        });
        assert_eq!(fake.running.load(Ordering::SeqCst), 0);
    }
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.start("s16be");
    say(&mut gateway, SPEECH_ENDLESS);
    gateway.receive_type("translated_audio");
    translator.stop();
    assert_eq!(
        fake.running.load(Ordering::SeqCst),
        0,
        "stopping stops the work, too"
    );
}

#[test]
fn same_language_is_passed_through_without_vendors() {
    let (translator, fake) = start();
    let mut gateway = Gateway::connect(translator.local_addr(), "7777");
    gateway.start_with("en-US", "en", "s16be");
    gateway.send_audio(0, &script(FINAL, 1));
    assert_eq!(
        pcm_of(&gateway.receive_type("translated_audio")),
        script(FINAL, 1)
    );
    assert_eq!(fake.streams_total.load(Ordering::SeqCst), 0);
}

/// Goal: many legs at once each get their own words, through few workers.
#[test]
fn many_sessions_do_not_mix() {
    const LEGS: i16 = 60;
    let (translator, _fake) = start_with(|config| {
        config.translator.recognizers_max = LEGS as usize;
        config.translator.workers = 2;
    });
    let mut gateways: Vec<Gateway> = (0..LEGS)
        .map(|number| {
            let mut gateway = Gateway::connect(translator.local_addr(), "7777");
            gateway.start("s16be");
            say(&mut gateway, number + 1);
            gateway
        })
        .collect();
    for (number, gateway) in (0..LEGS).zip(&mut gateways) {
        let heard = hear(gateway, 1);
        assert_eq!(heard.samples, speech(number + 1));
        assert_eq!(heard.translation.unwrap()["text"], translation(number + 1));
    }
    assert_eq!(translator.load().sessions, LEGS as u64);
}
