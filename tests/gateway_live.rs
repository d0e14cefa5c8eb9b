//! Goal: a voice that is passed through is heard with a small delay, even where the translator came
//! late and speech was kept for it.
//! Method: a whole gateway and the real translator in loop mode over sockets, several calls;
//! everybody changes their tone at one moment, and the packets until it is heard are counted.

mod gateway_support;

use std::net::{SocketAddr, TcpListener};

use diglot::config::Config;
use diglot::gateway::Gateway;
use diglot::link::counts::LinkCount;
use diglot::translator::Translator;
use gateway_support::{Phone, config, talk_for, talk_until};

const CALLS: usize = 3;
const EARLY_HZ: f64 = 500.0;
const LATER_HZ: f64 = 1_300.0;

/// Packets that everybody says while there is no translator: 2 s, all that is kept.
const KEPT_PACKETS: usize = 100;

/// Packets from a change of tone until it is heard: the playout buffer, ticks, and the two packets
/// that it takes to be recognised are 6. The rest is room for a machine that has other work; what
/// was kept, played late, would be [`KEPT_PACKETS`].
const DELAY_PACKETS_MAX: usize = 30;

#[test]
fn a_translator_that_comes_late_makes_nobody_hear_late() {
    let address = nobody();
    let config = at(&config(&[]), address);
    let gateway = Gateway::start(&config).unwrap();
    let mut phones: Vec<Phone> = (0..2 * CALLS)
        .map(|index| Phone::new(&gateway, index % 2, EARLY_HZ))
        .collect();
    let mut phones: Vec<&mut Phone> = phones.iter_mut().collect();
    talk_for(KEPT_PACKETS + 20, &mut phones);
    assert!(phones.iter().all(|phone| phone.heard_only_silence(0)));

    let translator = Translator::start(&config, None).unwrap();
    talk_until("everybody is heard", &mut phones, |phones| {
        phones.iter().all(|phone| phone.hears(EARLY_HZ))
    });
    assert_change_is_heard_soon(&mut phones, LATER_HZ);
    let links = gateway.counts().link.clone();
    assert!(
        links.value(LinkCount::LiveStale) >= (2 * CALLS * KEPT_PACKETS / 2) as u64,
        "what was kept came back and was not heard: {}",
        links.value(LinkCount::LiveStale)
    );
    assert_eq!(links.value(LinkCount::LiveCovered), 0);
    phones
        .iter()
        .for_each(|phone| phone.assert_stream_is_whole());
    gateway.stop();
    translator.stop();
}

#[test]
fn the_original_is_heard_as_it_is_spoken_while_the_translator_is_away() {
    let settings = [
        ("extension.7777.on_failure", "original"),
        ("extension.8888.on_failure", "original"),
    ];
    let gateway = Gateway::start(&at(&config(&settings), nobody())).unwrap();
    let mut phones: Vec<Phone> = (0..2 * CALLS)
        .map(|index| Phone::new(&gateway, index % 2, EARLY_HZ))
        .collect();
    let mut phones: Vec<&mut Phone> = phones.iter_mut().collect();
    talk_until("everybody is heard", &mut phones, |phones| {
        phones.iter().all(|phone| phone.hears(EARLY_HZ))
    });
    assert_change_is_heard_soon(&mut phones, LATER_HZ);
    gateway.stop();
}

fn assert_change_is_heard_soon(phones: &mut [&mut Phone], hz: f64) {
    let before: Vec<usize> = phones
        .iter_mut()
        .map(|phone| {
            phone.say(hz);
            phone.heard.len()
        })
        .collect();
    talk_until("the change is heard", phones, |phones| {
        let mut both = phones.iter().zip(&before);
        both.all(|(phone, before)| phone.heard.len() > before + DELAY_PACKETS_MAX)
            || phones.iter().all(|phone| phone.hears(hz))
    });
    for (phone, before) in phones.iter().zip(&before) {
        let packets = phone.heard.len() - before;
        assert!(phone.hears(hz), "not after {packets} packets");
    }
}

/// A port where nobody listens: it was free a moment ago and is bound for nothing.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn at(config: &Config, translator: SocketAddr) -> Config {
    let mut config = config.clone();
    config.link = config.link.to_bound(translator);
    config.translator.listen = translator;
    config
}
