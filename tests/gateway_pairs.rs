//! Goal: with several tile pairs every leg is served as with one: it gets its packet on every tick,
//! hears its partner wherever that one is, and nobody else; who is too many is refused.
//! Method: a whole gateway with two tile pairs and a looping translator in this process; phones,
//! known by their tones, on ports that belong to either pair.

mod gateway_support;

use diglot::call::CallCount;
use diglot::gateway::Gateway;
use diglot::translator::Translator;
use diglot_rt::stats::{RxCount, TxCount};
use gateway_support::{Phone, config, socket_on_pair, talk_for, talk_until, wait_until};

const PAIRS: usize = 2;
const CONVERSATIONS: usize = 12;
const LEGS: usize = 2 * CONVERSATIONS;
/// Tones far enough apart for 100 ms to tell them.
const TONE_STEP_HZ: f64 = 110.0;
const FRAMES: usize = 100;

fn tone_hz(leg: usize) -> f64 {
    400.0 + TONE_STEP_HZ * leg as f64
}

#[test]
fn legs_of_both_pairs_talk_across_and_nobody_is_missed() {
    let legs_max = LEGS.to_string();
    let mut config = config(&[
        ("realtime.tile_pairs", "2"),
        ("realtime.legs_max", &legs_max),
        // Longer than the phones may pause while what they heard is judged.
        ("asterisk.leg_timeout_ms", "60000"),
    ]);
    let translator = Translator::start(&config, None).unwrap();
    config.link = config.link.to_bound(translator.local_addr());
    let gateway = Gateway::start(&config).unwrap();
    let counts = gateway.counts().clone();

    // Every combination of pairs in turn: both on one, and one on each.
    let mut phones: Vec<Phone> = Vec::new();
    for conversation in 0..CONVERSATIONS {
        for (extension, pair) in [(0, conversation % 2), (1, conversation / 2 % 2)] {
            let tone_hz = tone_hz(phones.len());
            let socket = socket_on_pair(pair, PAIRS);
            phones.push(Phone::from_socket(&gateway, extension, tone_hz, socket));
        }
        let (alice, bob) = (phones.len() - 2, phones.len() - 1);
        let mut all: Vec<&mut Phone> = phones.iter_mut().collect();
        talk_until("they hear each other", &mut all, |phones| {
            phones[alice].hears(tone_hz(bob)) && phones[bob].hears(tone_hz(alice))
        });
    }
    let strays = counts.rx.value(RxCount::DropUnknownSource);
    let since: Vec<usize> = phones.iter().map(|phone| phone.heard.len()).collect();
    let mut all: Vec<&mut Phone> = phones.iter_mut().collect();
    talk_for(FRAMES, &mut all);
    assert_eq!(
        counts.rx.value(RxCount::DropUnknownSource),
        strays,
        "every source came to the pair that knows it"
    );
    for (leg, phone) in phones.iter().enumerate() {
        phone.assert_stream_is_whole();
        let partner = leg ^ 1;
        for other in 0..LEGS {
            assert_eq!(
                phone.ever_heard(tone_hz(other), since[leg]),
                other == partner,
                "{leg} and the voice of {other}"
            );
        }
    }
    let packets: Vec<u64> = counts.tx.each(TxCount::Packet).collect();
    assert_eq!(packets.len(), PAIRS);
    for served in packets.into_iter().chain(counts.rx.each(RxCount::Frame)) {
        assert!(
            served > (FRAMES * LEGS / 4) as u64,
            "each pair has its share: {served}"
        );
    }
    assert_eq!(counts.rx.value(RxCount::LegRefused), 0);
    assert_eq!(counts.tx.value(TxCount::LegRefused), 0);

    refuse_strangers(&gateway, &mut phones);
    gateway.stop();
    translator.stop();
}

/// Nonsense and callers who are too many, from ports of either pair.
fn refuse_strangers(gateway: &Gateway, phones: &mut [Phone]) {
    let counts = gateway.counts();
    let mut strangers: Vec<Phone> = (0..PAIRS)
        .map(|pair| Phone::from_socket(gateway, 0, 3_900.0, socket_on_pair(pair, PAIRS)))
        .collect();
    for stranger in &strangers {
        stranger.send_raw(b"nonsense");
    }
    wait_until("each pair counted it", || {
        counts
            .rx
            .each(RxCount::DropMalformed)
            .all(|dropped| dropped == 1)
    });
    let due = counts.tx.value(TxCount::Tick) + 50;
    let mut all: Vec<&mut Phone> = phones.iter_mut().chain(&mut strangers).collect();
    talk_until("half a second passed", &mut all, |_| {
        counts.tx.value(TxCount::Tick) >= due
    });
    assert!(counts.call.value(CallCount::RefusedFull) > 0);
    assert!(
        counts
            .rx
            .each(RxCount::DropUnknownSource)
            .all(|dropped| dropped > 0)
    );
    assert!(strangers.iter().all(|stranger| stranger.heard.is_empty()));
    assert!(phones.iter().all(|phone| !phone.ever_heard(3_900.0, 0)));
}
