//! A configuration for tests of the control thread: 7777 and 8888, each the other's partner.

use std::time::Duration;

use diglot::config::{
    Ari, Asterisk, Config, Control, DeepL, Deepgram, ElevenLabs, Engine, Extension, Hume, Link,
    Monitor, OnFailure, Realtime, Secret, Translator,
};
use diglot_rt::msg::Codec;

/// The application's name in all tests.
pub(crate) const APP: &str = "diglot";

/// Calls come by the Asterisk at `url`.
#[allow(dead_code, reason = "not every test file uses both")]
pub(crate) fn with_ari(url: &str, legs_max: usize) -> Config {
    let ari = Ari {
        url: url.to_owned(),
        user: "gateway".to_owned(),
        password: Secret::new("secret".to_owned()),
        app: APP.to_owned(),
    };
    with_control(Control::Ari(ari), legs_max)
}

/// Calls are new sources of RTP.
#[allow(dead_code, reason = "not every test file uses both")]
pub(crate) fn without_ari(legs_max: usize) -> Config {
    with_control(Control::None, legs_max)
}

fn with_control(control: Control, legs_max: usize) -> Config {
    let url = String::new;
    Config {
        asterisk: Asterisk {
            control,
            leg_timeout: Duration::from_secs(5),
        },
        extensions: vec![
            extension("7777", "8888", "en", 5000, Codec::Slin16),
            extension("8888", "7777", "fr", 5001, Codec::Alaw),
        ],
        link: Link { url: url() },
        translator: Translator {
            listen: ([127, 0, 0, 1], 0).into(),
            engine: Engine::Loop,
            workers: 1,
            recognizers_max: 1,
        },
        deepgram: Deepgram {
            url: url(),
            key: None,
            model: url(),
            endpointing_ms: 300,
        },
        deepl: DeepL {
            url: url(),
            key: None,
        },
        elevenlabs: ElevenLabs {
            url: url(),
            key: None,
            model: url(),
            voices: Vec::new(),
        },
        hume: Hume {
            url: url(),
            key: None,
        },
        monitor: Monitor {
            listen: ([127, 0, 0, 1], 0).into(),
        },
        realtime: Realtime {
            legs_max,
            ..Realtime::default()
        },
        notes: Vec::new(),
    }
}

fn extension(number: &str, partner: &str, language: &str, port: u16, uplink: Codec) -> Extension {
    Extension {
        number: number.to_owned(),
        language: language.to_owned(),
        partner: partner.to_owned(),
        listen: ([127, 0, 0, 1], port).into(),
        uplink,
        downlink: Codec::Ulaw,
        on_failure: OnFailure::Silence,
        waiting_prompt: None,
    }
}
