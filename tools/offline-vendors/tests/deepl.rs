//! Goal: `/v2/translate` and `/v2/usage` behave as DeepL's, strictness included. Method: raw HTTP
//! over loopback; expectations are written out from the vendor's documents.

mod support;

use std::io::Write as _;
use std::net::TcpStream;

use offline_vendors::server::{DeeplHost, ServerOptions};
use serde_json::json;
use support::{Reply, exchange, post, read_reply, server, start};

const ACCESS: &str = "authorization: DeepL-Auth-Key offline-deepl-key\r\nuser-agent: test\r\n";
const GOOD: &str = r#"{"text":["Yes, of course."],"source_lang":"EN","target_lang":"FR"}"#;

fn translate(body: &str) -> Reply {
    exchange(server(), &post("/v2/translate", ACCESS, body))
}

#[test]
fn texts_are_translated_in_order() {
    let reply = translate(
        r#"{"text":["Yes, of course.","The moon is made of cheese.","Do you speak French?"],
            "source_lang":"en","target_lang":"fr","model_type":"latency_optimized",
            "show_billed_characters":true,"context":"A call.","formality":"prefer_more",
            "split_sentences":"0","preserve_formatting":true}"#,
    );
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("x-trace-id: "));
    assert_eq!(
        reply.json(),
        json!({ "translations": [
        { "detected_source_language": "EN", "text": "Oui, bien sûr.",
          "model_type_used": "latency_optimized", "billed_characters": 15 },
        { "detected_source_language": "EN", "text": "The moon is made of cheese.",
          "model_type_used": "latency_optimized", "billed_characters": 27 },
        { "detected_source_language": "EN", "text": "Parlez-vous français ?",
          "model_type_used": "latency_optimized", "billed_characters": 20 },
    ] })
    );
}

#[test]
fn what_was_not_asked_for_is_not_sent_and_the_source_is_detected() {
    let reply = translate(r#"{"text":["Oui, bien sûr."],"target_lang":"EN-GB"}"#);
    assert_eq!(
        reply.json(),
        json!({ "translations": [
        { "detected_source_language": "FR", "text": "Yes, of course." },
    ] })
    );
}

#[test]
fn access_is_checked() {
    let cases = [
        ("user-agent: test\r\n", 403),
        (
            "authorization: DeepL-Auth-Key wrong\r\nuser-agent: test\r\n",
            403,
        ),
        (
            "authorization: Bearer offline-deepl-key\r\nuser-agent: test\r\n",
            403,
        ),
        ("authorization: DeepL-Auth-Key offline-deepl-key\r\n", 400),
    ];
    for (headers, status) in cases {
        assert_eq!(
            exchange(server(), &post("/v2/translate", headers, GOOD)).status,
            status
        );
    }
    let in_query = post("/v2/translate?auth_key=offline-deepl-key", ACCESS, GOOD);
    assert_eq!(exchange(server(), &in_query).status, 403);
    let get = format!("GET /v2/translate HTTP/1.1\r\nhost: h\r\n{ACCESS}\r\n");
    assert_eq!(exchange(server(), &get).status, 405);
    let form = post("/v2/translate", ACCESS, GOOD).replace("application/json", "text/plain");
    assert_eq!(exchange(server(), &form).status, 415);
}

#[test]
fn a_key_of_the_other_host_is_refused() {
    let key = "offline-deepl-key:fx";
    for (host, status) in [(DeeplHost::Pro, 403), (DeeplHost::Free, 200)] {
        let options = ServerOptions {
            deepl_key: key.to_owned(),
            deepl_host: host,
            recognizers: 1,
            ..ServerOptions::default()
        };
        let headers = format!("authorization: DeepL-Auth-Key {key}\r\nuser-agent: test\r\n");
        let reply = exchange(start(options), &post("/v2/translate", &headers, GOOD));
        assert_eq!(reply.status, status, "{host:?}");
    }
}

#[test]
fn bad_bodies_are_refused() {
    let many = json!({ "text": vec!["a"; 51], "target_lang": "FR" }).to_string();
    let bad = [
        "{",
        "[]",
        r#"{"target_lang":"FR"}"#,
        r#"{"text":"Yes","target_lang":"FR"}"#,
        r#"{"text":[],"target_lang":"FR"}"#,
        r#"{"text":[1],"target_lang":"FR"}"#,
        r#"{"text":["a"]}"#,
        r#"{"text":["a"],"target_lang":"XX"}"#,
        r#"{"text":["a"],"target_lang":"FR","source_lang":"EN-GB"}"#,
        r#"{"text":["a"],"target_lang":"EN-GB","formality":"more"}"#,
        r#"{"text":["a"],"target_lang":"FR","formality":"rude"}"#,
        r#"{"text":["a"],"target_lang":"FR","model_type":"fast"}"#,
        r#"{"text":["a"],"target_lang":"FR","glossary_id":"x"}"#,
        r#"{"text":["a"],"target_lang":"FR","preserve_formatting":"yes"}"#,
        r#"{"text":["a"],"target_lang":"FR","unknown":1}"#,
        &many,
    ];
    for body in bad {
        let reply = translate(body);
        assert_eq!(reply.status, 400, "{body}");
        assert!(reply.json()["message"].is_string(), "{body}");
    }
    let large = json!({ "text": ["a".repeat(128 << 10)], "target_lang": "FR" }).to_string();
    assert_eq!(translate(&large).status, 413);
}

#[test]
fn usage_counts_characters_and_the_quota_ends_in_456() {
    let options = ServerOptions {
        deepl_characters_max: 20,
        recognizers: 1,
        ..ServerOptions::default()
    };
    let address = start(options);
    let ask = |body: &str| exchange(address, &post("/v2/translate", ACCESS, body)).status;
    assert_eq!((ask(GOOD), ask(GOOD)), (200, 456));
    let usage = format!("GET /v2/usage HTTP/1.1\r\nhost: h\r\n{ACCESS}\r\n");
    let reply = exchange(address, &usage);
    assert_eq!(
        reply.json(),
        json!({ "character_count": 15, "character_limit": 20 })
    );
}

#[test]
fn connections_are_kept() {
    let mut stream = TcpStream::connect(server()).expect("connect");
    stream
        .set_read_timeout(Some(support::DEADLINE))
        .expect("option");
    for _ in 0..3 {
        stream
            .write_all(post("/v2/translate", ACCESS, GOOD).as_bytes())
            .expect("write");
        assert_eq!(read_reply(&mut stream).status, 200);
    }
}

#[test]
fn unknown_paths_and_broken_requests_are_refused() {
    assert_eq!(
        exchange(server(), "GET /v3/x HTTP/1.1\r\nhost: h\r\n\r\n").status,
        404
    );
    assert_eq!(exchange(server(), "\0\r\n\r\n").status, 400);
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(20_000));
    assert_eq!(exchange(server(), &long).status, 431);
    let health = exchange(server(), "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &"ready".into())
    );
}
