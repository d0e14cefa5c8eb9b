//! Goal: the existing environment file works as it is, and every source has its rank.
//! Method: variables and files as they are found in the field, and one refusal per kind of error.

#[allow(dead_code)]
mod config_support;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use config_support::{Folder, PAIR};
use diglot::config::{Command, Config, Control};

const EXISTING: &str = "\
# Translation server
TRANSLATION_SERVER_PORT=3002
WEBSOCKET_PORT=3002

GATEWAY_RTP_PORT_7777=5000
GATEWAY_RTP_PORT_8888=5001
EXT_7777_LANGUAGE=en
export EXT_8888_LANGUAGE=\"fr\"   # callers from Lyon
DEEPGRAM_API_KEY='dg-key'
DEEPL_API_KEY=dl-key:fx
ELEVENLABS_API_KEY=el-key
HUME_API_KEY=hm-key
SOMETHING ELSE entirely, which isn't ours
GREETING=don't mind me
NODE_ENV=production\
";

fn translator(env: &str) -> Folder {
    Folder::new(Command::Translator).env_file(env)
}

fn gateway() -> Folder {
    Folder::new(Command::Gateway).set("asterisk.control", "none")
}

fn pairs(config: &Config) -> Vec<(&str, &str, &str, String)> {
    let row = |e: &'_ diglot::config::Extension| e.listen.to_string();
    config
        .extensions
        .iter()
        .map(|e| {
            (
                e.number.as_str(),
                e.language.as_str(),
                e.partner.as_str(),
                row(e),
            )
        })
        .collect()
}

#[test]
fn the_existing_file_is_enough_for_a_translator() {
    let config = translator(EXISTING).load();
    assert_eq!(
        pairs(&config),
        [
            ("7777", "en", "8888", "127.0.0.1:5000".to_owned()),
            ("8888", "fr", "7777", "127.0.0.1:5001".to_owned()),
        ]
    );
    assert_eq!(config.translator.listen.to_string(), "127.0.0.1:3002");
    assert_eq!(config.link.url, "ws://127.0.0.1:3002/translate");
    assert_eq!(config.deepgram.url, "wss://api.deepgram.com");
    assert_eq!(config.deepl.url, "https://api-free.deepl.com");
    assert_eq!(config.elevenlabs.url, "https://api.elevenlabs.io");
    let keys = [
        config.deepgram.key,
        config.deepl.key,
        config.elevenlabs.key,
        config.hume.key,
    ];
    let keys = keys.map(|key| key.unwrap().reveal().to_owned());
    assert_eq!(keys, ["dg-key", "dl-key:fx", "el-key", "hm-key"]);
    assert!(config.notes.is_empty(), "{:?}", config.notes);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{}", EXISTING.replace('\n', "\r\n"));
    let config = translator(&text).load();
    assert_eq!(config.extensions[1].language, "fr");
    assert_eq!(config.elevenlabs.key.unwrap().reveal(), "el-key");
}

#[test]
fn nothing_at_all_is_the_known_pair() {
    let config = gateway().load();
    assert_eq!(
        pairs(&config),
        [
            ("7777", "en", "8888", "127.0.0.1:5000".to_owned()),
            ("8888", "fr", "7777", "127.0.0.1:5001".to_owned()),
        ]
    );
    assert!(matches!(config.asterisk.control, Control::None));
}

#[test]
fn one_variable_of_the_known_pair_changes_that_one() {
    let config = gateway().env_file("EXT_8888_LANGUAGE=de\n").load();
    assert_eq!(
        pairs(&config),
        [
            ("7777", "en", "8888", "127.0.0.1:5000".to_owned()),
            ("8888", "de", "7777", "127.0.0.1:5001".to_owned()),
        ]
    );
}

#[test]
fn two_other_extensions_are_partners() {
    let env = "EXT_7000_LANGUAGE=en\nEXT_7001_LANGUAGE=es\n\
               GATEWAY_RTP_PORT_7000=6000\nGATEWAY_RTP_PORT_7001=0\n";
    assert_eq!(
        pairs(&gateway().env_file(env).load()),
        [
            ("7000", "en", "7001", "127.0.0.1:6000".to_owned()),
            ("7001", "es", "7000", "127.0.0.1:0".to_owned()),
        ]
    );
}

#[test]
fn an_unknown_extension_has_no_default_port() {
    let env = "EXT_7000_LANGUAGE=en\nEXT_7001_LANGUAGE=es\nGATEWAY_RTP_PORT_7000=6000\n";
    assert_eq!(
        gateway().env_file(env).refusal(),
        "extension.7001.listen: missing; it is where Asterisk sends the audio, \
         like \"127.0.0.1:5000\""
    );
}

#[test]
fn three_extensions_are_no_pair() {
    let env = "EXT_1_LANGUAGE=en\nEXT_2_LANGUAGE=fr\nEXT_3_LANGUAGE=de\n";
    assert_eq!(
        gateway().env_file(env).refusal(),
        "extension: missing; variables name 1, 2, 3, which is not a pair; \
         list extensions and their partners as [[extension]] in a TOML file"
    );
}

#[test]
fn flags_hold_before_environment_before_file_before_toml() {
    let toml = format!("{PAIR}[translator]\nlisten = \"127.0.0.2:1\"\n");
    let folder = Folder::new(Command::Gateway).toml(&toml);
    let listen = |folder: &Folder| folder.load().translator.listen.to_string();
    assert_eq!(listen(&folder), "127.0.0.2:1");
    let folder = folder.env_file("TRANSLATION_SERVER_PORT=2\n");
    assert_eq!(listen(&folder), "127.0.0.2:2");
    let folder = folder.variable("TRANSLATION_SERVER_PORT", "3");
    assert_eq!(listen(&folder), "127.0.0.2:3");
    let folder = folder.set("translator.listen", "127.0.0.4:4");
    assert_eq!(listen(&folder), "127.0.0.4:4");
    let folder = folder.set("translator.listen", "127.0.0.5:5");
    assert_eq!(listen(&folder), "127.0.0.5:5");
}

#[test]
fn variables_change_the_extensions_of_the_file() {
    let folder = Folder::new(Command::Gateway)
        .toml(PAIR)
        .variable("EXT_7777_LANGUAGE", "pt-br")
        .variable("GATEWAY_RTP_PORT_8888", "7001")
        .set("extension.8888.language", "it");
    let config = folder.load();
    assert_eq!(config.extensions[0].language, "pt-BR");
    assert_eq!(config.extensions[1].listen.to_string(), "127.0.0.1:7001");
    assert_eq!(config.extensions[1].language, "it");
}

#[test]
fn variables_of_another_stack_have_no_effect_and_that_is_said() {
    let folder = Folder::new(Command::Gateway)
        .toml(PAIR)
        .env_file("\nEXT_7000_LANGUAGE=en\n");
    assert_eq!(folder.load().extensions.len(), 2);
    assert_eq!(
        folder.notes(),
        [".env:2: EXT_7000_LANGUAGE: has no effect: extension 7000 is not configured here"]
    );
}

#[test]
fn an_empty_variable_is_unset() {
    let folder = gateway()
        .env_file("EXT_7777_LANGUAGE=de\nHUME_API_KEY=\n")
        .variable("EXT_7777_LANGUAGE", "");
    let config = folder.load();
    assert_eq!(config.extensions[0].language, "de");
    assert!(config.hume.key.is_none());
}

#[test]
fn the_later_of_two_lines_holds() {
    let config = gateway()
        .env_file("EXT_7777_LANGUAGE=de\nEXT_7777_LANGUAGE=es\n")
        .load();
    assert_eq!(config.extensions[0].language, "es");
}

#[test]
fn the_websocket_port_is_where_a_gateway_finds_its_translator() {
    let folder = gateway().variable("WEBSOCKET_PORT", "4002");
    assert_eq!(folder.load().link.url, "ws://127.0.0.1:4002/translate");
    let toml = format!("{PAIR}[link]\nurl = \"ws://translator.example/translate\"\n");
    let folder = Folder::new(Command::Gateway)
        .toml(&toml)
        .variable("WEBSOCKET_PORT", "4002");
    assert_eq!(
        folder.load().link.url,
        "ws://translator.example:4002/translate"
    );
    let folder = folder.set("link.url", "ws://127.0.0.1:1/translate");
    assert_eq!(folder.load().link.url, "ws://127.0.0.1:1/translate");
}

#[test]
fn a_translator_has_one_port_and_says_so() {
    let env = format!("{EXISTING}\nWEBSOCKET_PORT=3003\n");
    let folder = translator(&env);
    assert_eq!(folder.load().link.url, "ws://127.0.0.1:3002/translate");
    assert_eq!(
        folder.notes(),
        [
            ".env:16: WEBSOCKET_PORT: has no effect: the translator serves HTTP and WebSocket \
          on one port, 3002"
        ]
    );
}

#[test]
fn a_bad_port_is_refused_at_its_place() {
    assert_eq!(
        gateway()
            .env_file("\nGATEWAY_RTP_PORT_7777=5000x\n")
            .refusal(),
        ".env:2: GATEWAY_RTP_PORT_7777: \"5000x\" is not a port, a number from 0 to 65535"
    );
    assert_eq!(
        gateway()
            .variable("TRANSLATION_SERVER_PORT", "65536")
            .refusal(),
        "environment: TRANSLATION_SERVER_PORT: \"65536\" is not a port, a number from 0 to 65535"
    );
}

#[test]
fn a_bad_language_is_refused_at_its_place() {
    assert_eq!(
        gateway().variable("EXT_7777_LANGUAGE", "e\nn").refusal(),
        "environment: EXT_7777_LANGUAGE: \"e\\nn\" is not a language tag, like en or pt-BR"
    );
}

#[test]
fn a_variable_that_is_not_text_is_refused() {
    assert_eq!(
        gateway()
            .variable("EXT_7777_LANGUAGE", OsString::from_vec(vec![0xff]))
            .refusal(),
        "environment: EXT_7777_LANGUAGE: is not UTF-8 text"
    );
}

#[test]
fn two_variables_on_one_port_are_refused() {
    assert_eq!(
        gateway().env_file("GATEWAY_RTP_PORT_7777=5001\n").refusal(),
        ".env:1: GATEWAY_RTP_PORT_7777: 127.0.0.1:5001 is also the port of extension.8888"
    );
}

#[test]
fn a_line_with_an_open_quote_is_refused() {
    assert_eq!(
        gateway()
            .env_file("A=1\nEXT_7777_LANGUAGE=\"en\n")
            .refusal(),
        ".env:2: EXT_7777_LANGUAGE: cannot be read; put the value in quotes and close them on the \
         same line"
    );
}

#[test]
fn a_missing_env_file_is_named() {
    let mut folder = gateway();
    folder.sources.env_file = Some(folder.path().join("absent.env"));
    assert_eq!(
        folder.refusal(),
        "absent.env: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn an_env_file_that_is_not_utf8_is_refused_at_its_line() {
    let folder = gateway().env_file(b"A=1\nB=2\nC=\xff\n");
    assert_eq!(folder.refusal(), ".env:3: not UTF-8 text");
}

#[test]
fn flags_are_refused_like_any_other_source() {
    for (key, value, line) in [
        (
            "translator.workers",
            "0",
            "\"0\" is not an integer from 1 to 256",
        ),
        (
            "translator.worker",
            "8",
            "unknown key; did you mean \"workers\"?",
        ),
        (
            "tranlator.workers",
            "8",
            "unknown key; did you mean \"translator\"?",
        ),
        (
            "workers",
            "8",
            "unknown key; write section.key=value, like translator.listen=127.0.0.1:3002",
        ),
        (
            "extension.9.language",
            "en",
            "unknown key; no such extension is configured",
        ),
        (
            "extension.7777.langage",
            "en",
            "unknown key; did you mean \"language\"?",
        ),
        (
            "extension.7777.number",
            "1",
            "unknown key; a number is changed in the TOML file only",
        ),
        (
            "elevenlabs.voices.english",
            "v",
            "\"english\" is not a language tag, like en",
        ),
    ] {
        assert_eq!(
            gateway().set(key, value).refusal(),
            format!("--set: {key}: {line}")
        );
    }
}

#[test]
fn numbers_may_be_given_by_flag() {
    let config = gateway()
        .set("realtime.legs_max", "8")
        .set("realtime.priority", "50")
        .load();
    assert_eq!(
        (config.realtime.legs_max, config.realtime.priority),
        (8, Some(50))
    );
}
