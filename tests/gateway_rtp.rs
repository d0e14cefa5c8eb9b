//! Goal: without Asterisk, RTP sources become legs, pairs hear each other and nobody else, and
//! every leg gets its packet on every tick whatever arrives.
//! Method: a whole gateway and a looping translator in this process; phones known by their tones.

mod gateway_support;

use diglot::call::CallCount;
use diglot::gateway::Gateway;
use diglot::translator::Translator;
use diglot_rt::stats::{RxCount, TxCount};
use gateway_support::{Phone, config, talk_for, talk_until, tone_file, wait_until};

const ALICE_HZ: f64 = 500.0;
const BOB_HZ: f64 = 1_300.0;

#[test]
fn two_callers_hear_each_other_and_not_themselves() {
    let (translator, gateway) = start(&[]);
    let (mut alice, mut bob) = pair(&gateway, ALICE_HZ, BOB_HZ);
    talk_until(
        "both hear the other",
        &mut [&mut alice, &mut bob],
        |phones| phones[0].hears(BOB_HZ) && phones[1].hears(ALICE_HZ),
    );
    talk_for(50, &mut [&mut alice, &mut bob]);
    assert!(
        !alice.ever_heard(ALICE_HZ, 0) && !bob.ever_heard(BOB_HZ, 0),
        "nobody hears himself"
    );
    alice.assert_stream_is_whole();
    bob.assert_stream_is_whole();
    gateway.stop();
    translator.stop();
}

#[test]
fn three_pairs_share_the_two_ports_and_no_voice_crosses() {
    let (translator, gateway) = start(&[]);
    let tones = [(400.0, 700.0), (1_000.0, 1_300.0), (1_600.0, 1_900.0)];
    let mut pairs: Vec<(Phone, Phone)> = Vec::new();
    for (alice_hz, bob_hz) in tones {
        pairs.push(pair(&gateway, alice_hz, bob_hz));
        // One pair after the other: who calls first is paired first.
        let (alice, bob) = pairs.last_mut().unwrap();
        talk_until("paired", &mut [alice, bob], |phones| {
            phones[0].hears(bob_hz) && phones[1].hears(alice_hz)
        });
    }
    let mut phones: Vec<&mut Phone> = pairs.iter_mut().flat_map(|(a, b)| [a, b]).collect();
    talk_for(100, &mut phones);
    for (index, (alice, bob)) in pairs.iter().enumerate() {
        for (other, (alice_hz, bob_hz)) in tones.iter().enumerate() {
            assert_eq!(
                alice.ever_heard(*bob_hz, 0),
                index == other,
                "alice {index}, bob {other}"
            );
            assert_eq!(
                bob.ever_heard(*alice_hz, 0),
                index == other,
                "bob {index}, alice {other}"
            );
        }
        alice.assert_stream_is_whole();
        bob.assert_stream_is_whole();
    }
    gateway.stop();
    translator.stop();
}

#[test]
fn a_caller_without_a_partner_hears_silence_on_every_tick() {
    let (translator, gateway) = start(&[]);
    let mut alice = Phone::new(&gateway, 0, ALICE_HZ);
    talk_for(100, &mut [&mut alice]);
    assert!(alice.heard_only_silence(0));
    alice.assert_stream_is_whole();
    gateway.stop();
    translator.stop();
}

#[test]
fn a_caller_without_a_partner_hears_the_waiting_prompt_until_one_comes() {
    const PROMPT_HZ: f64 = 900.0;
    let prompt = tone_file(PROMPT_HZ);
    let settings = [("extension.7777.waiting_prompt", prompt.to_str().unwrap())];
    let (translator, gateway) = start(&settings);
    let mut alice = Phone::new(&gateway, 0, ALICE_HZ);
    // Longer than the prompt: it is played again and again.
    talk_for(70, &mut [&mut alice]);
    assert!(alice.hears(PROMPT_HZ));
    let mut bob = Phone::new(&gateway, 1, BOB_HZ);
    talk_until("alice hears bob", &mut [&mut alice, &mut bob], |phones| {
        phones[0].hears(BOB_HZ) && !phones[0].hears(PROMPT_HZ)
    });
    assert!(!bob.ever_heard(PROMPT_HZ, 0), "8888 is not configured so");
    alice.assert_stream_is_whole();
    gateway.stop();
    translator.stop();
}

#[test]
fn a_leg_without_rtp_ends_and_its_partner_waits_for_the_next_caller() {
    let (translator, gateway) = start(&[("asterisk.leg_timeout_ms", "300")]);
    let (mut alice, mut bob) = pair(&gateway, ALICE_HZ, BOB_HZ);
    talk_until("paired", &mut [&mut alice, &mut bob], |phones| {
        phones[0].hears(BOB_HZ)
    });
    drop(bob);
    talk_until("alice hears nobody", &mut [&mut alice], |phones| {
        !phones[0].hears(BOB_HZ)
    });
    const CAROL_HZ: f64 = 2_100.0;
    let mut carol = Phone::new(&gateway, 1, CAROL_HZ);
    talk_until(
        "alice hears the next caller",
        &mut [&mut alice, &mut carol],
        |phones| phones[0].hears(CAROL_HZ) && phones[1].hears(ALICE_HZ),
    );
    alice.assert_stream_is_whole();
    gateway.stop();
    translator.stop();
}

#[test]
fn nonsense_on_the_rtp_port_is_counted_and_reaches_no_leg() {
    let (translator, gateway) = start(&[]);
    let (mut alice, mut bob) = pair(&gateway, ALICE_HZ, BOB_HZ);
    talk_until("paired", &mut [&mut alice, &mut bob], |phones| {
        phones[0].hears(BOB_HZ) && phones[1].hears(ALICE_HZ)
    });
    let counts = gateway.counts().clone();
    let stranger = Phone::new(&gateway, 0, 0.0);
    let whole = alice.next_packet();
    for length in 0..whole.len() {
        stranger.send_raw(&[0x55; 700][..length]);
        // Cut packets of a leg itself: the header is whole from 12 bytes on.
        alice.send_raw(&whole[..length.min(11)]);
    }
    alice.send_raw(&[0x80; 1_501]);
    let mut foreign = whole.clone();
    foreign[1] = 96;
    alice.send_raw(&foreign);
    wait_until("everything was read", || {
        counts.rx.value(RxCount::DropPayloadType) >= 1
            && counts.rx.value(RxCount::DropMalformed) > 2 * whole.len() as u64
    });
    let before = (alice.heard.len(), bob.heard.len());
    talk_for(50, &mut [&mut alice, &mut bob]);
    assert!(alice.ever_heard(BOB_HZ, before.0) && bob.ever_heard(ALICE_HZ, before.1));
    alice.assert_stream_is_whole();
    bob.assert_stream_is_whole();
    assert_eq!(stranger.heard.len(), 0, "nonsense does not make a leg");
    gateway.stop();
    translator.stop();
}

#[test]
fn callers_beyond_the_limit_are_refused_and_the_others_go_on() {
    let (translator, gateway) = start(&[("realtime.legs_max", "2")]);
    let (mut alice, mut bob) = pair(&gateway, ALICE_HZ, BOB_HZ);
    talk_until("paired", &mut [&mut alice, &mut bob], |phones| {
        phones[0].hears(BOB_HZ)
    });
    let mut carol = Phone::new(&gateway, 0, 2_100.0);
    let before = bob.heard.len();
    talk_until(
        "half a second passed",
        &mut [&mut alice, &mut bob, &mut carol],
        |phones| phones[1].heard.len() >= before + 25,
    );
    assert!(carol.heard.is_empty());
    assert!(gateway.counts().rx.value(RxCount::DropUnknownSource) > 0);
    assert!(gateway.counts().call.value(CallCount::RefusedFull) > 0);
    assert_eq!(
        gateway.counts().tx.value(TxCount::LegRefused),
        0,
        "refused before any tile"
    );
    gateway.stop();
    translator.stop();
}

fn start(settings: &[(&str, &str)]) -> (diglot::translator::Handle, Gateway) {
    let mut config = config(settings);
    let translator = Translator::start(&config, None).unwrap();
    config.link = config.link.to_bound(translator.local_addr());
    (translator, Gateway::start(&config).unwrap())
}

fn pair(gateway: &Gateway, alice_hz: f64, bob_hz: f64) -> (Phone, Phone) {
    (
        Phone::new(gateway, 0, alice_hz),
        Phone::new(gateway, 1, bob_hz),
    )
}
