//! Goal: no text in any source makes `load` panic, or answer with more than one line.
//! Method: random text, and random pieces of good files, through every source at once.

#[allow(dead_code)]
mod config_support;

use config_support::{Folder, PAIR};
use diglot::cli;
use diglot::config::{self, Command};
use proptest::prelude::*;

/// What real files are made of, to get past the first character.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "[asterisk]\n",
        "[[extension]]\n",
        "[extension]\n",
        "[link]\n",
        "[elevenlabs.voices]\n",
        "[deepgram]\n",
        "[realtime]\n",
        "number = ",
        "language = ",
        "partner = ",
        "listen = ",
        "url = ",
        "workers = ",
        "legs_max = ",
        "on_failure = ",
        "en = ",
        "voices = ",
        "\"7777\"\n",
        "\"8888\"\n",
        "\"127.0.0.1:5000\"\n",
        "\"ws://[::1]:0/t\"\n",
        "\"prompt:\\u0000\"\n",
        "99999999999999999999\n",
        "0x7f\n",
        "1.5\n",
        "true\n",
        "[1, {a = 2}]\n",
        "1979-05-27\n",
        "EXT_7777_LANGUAGE=",
        "GATEWAY_RTP_PORT_8888=",
        "WEBSOCKET_PORT=",
        "DEEPL_API_KEY='",
        "export ",
        "=",
        "\"",
        "'",
        "#",
        "$X",
        "\\",
        "\n",
        "\r\n",
        "é",
        "\u{feff}",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

fn answers_in_one_line(folder: &Folder) {
    if let Err(error) = config::load(&folder.sources) {
        assert!(!error.to_string().contains(['\n', '\r']), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_toml_is_answered(toml in text()) {
        answers_in_one_line(&Folder::new(Command::Run).toml(&toml));
        answers_in_one_line(&Folder::new(Command::Run).toml(format!("{PAIR}{toml}")));
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        answers_in_one_line(&Folder::new(Command::Run).toml(&bytes).env_file(&bytes));
    }

    #[test]
    fn any_variables_are_answered(env in text(), value in any::<String>()) {
        let folder = Folder::new(Command::Gateway).env_file(env);
        answers_in_one_line(&folder.variable("EXT_7777_LANGUAGE", value));
    }

    #[test]
    fn any_flag_is_answered(key in "[a-z.0-9_]{0,24}|.{0,8}", value in any::<String>()) {
        let folder = Folder::new(Command::Gateway).toml(PAIR);
        answers_in_one_line(&folder.set(&key, &value));
    }

    #[test]
    fn any_command_line_is_answered(words in proptest::collection::vec(any::<String>(), 0..6)) {
        if let Err(error) = cli::parse(words) {
            prop_assert!(!error.to_string().contains(['\n', '\r']));
        }
    }
}
