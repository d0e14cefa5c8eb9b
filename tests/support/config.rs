//! A configuration for tests of the control thread: 7777 and 8888, each the other's partner.

use diglot::config::{self, Ari, Command, Config, Control, Secret, Sources};
use diglot_rt::msg::Codec;

/// Calls come by the Asterisk at `url`.
#[allow(dead_code, reason = "not every test file uses both")]
pub(crate) fn with_ari(url: &str, legs_max: usize) -> Config {
    let mut config = without_ari(legs_max);
    config.asterisk.control = Control::Ari(Ari {
        url: url.to_owned(),
        user: "gateway".to_owned(),
        password: Secret::new("secret".to_owned()),
        app: "diglot".to_owned(),
    });
    config
}

/// Calls are new sources of RTP.
#[allow(dead_code, reason = "not every test file uses both")]
pub(crate) fn without_ari(legs_max: usize) -> Config {
    let sources = Sources {
        command: Command::Gateway,
        config: None,
        env_file: None,
        environment: Vec::new(),
        set: vec![("asterisk.control".to_owned(), "none".to_owned())],
    };
    let mut config = config::load(&sources).expect("the defaults are complete without ARI");
    config.realtime.legs_max = legs_max;
    config.extensions[1].uplink = Codec::Alaw;
    config
}
