//! Goal: with ARI a leg's voice is what comes from the source that Asterisk told, and follows it to
//! another port only by the rules; a stranger is neither heard nor sent anything.
//! Method: a whole gateway with two tile pairs, a fake Asterisk that tells our phones' ports, and
//! phones that are known by their tones; one of them lies.

#[path = "support/fake_ari.rs"]
#[allow(dead_code)]
mod fake_ari;
mod gateway_support;

use std::io::ErrorKind;

use diglot::call::CallCount;
use diglot::call::relock::RelockCount;
use diglot::config::{Ari, Control, Secret};
use diglot::gateway::Gateway;
use diglot::translator::{Handle, Translator};
use diglot_rt::stats::RxCount;
use fake_ari::FakeAri;
use gateway_support::{Phone, config, socket, socket_on_pair, talk_for, talk_until, wait_until};

const PAIRS: usize = 2;
const ALICE_HZ: f64 = 500.0;
const BOB_HZ: f64 = 1_300.0;
const MALLORY_HZ: f64 = 2_100.0;
/// Half a second of packets, and more: longer than a silence must be.
const LONG_FRAMES: usize = 50;

/// Two callers who hear each other; alice is on pair 0.
struct Call {
    gateway: Gateway,
    translator: Handle,
    _asterisk: FakeAri,
    alice: Phone,
    bob: Phone,
}

impl Call {
    fn start() -> Self {
        let asterisk = FakeAri::start();
        let mut config = config(&[("realtime.tile_pairs", "2")]);
        config.asterisk.control = Control::Ari(Ari {
            url: asterisk.url(),
            user: "gateway".into(),
            password: Secret::new("secret".into()),
            app: "diglot".into(),
        });
        let translator = Translator::start(&config, None).unwrap();
        config.link = config.link.to_bound(translator.local_addr());
        let gateway = Gateway::start(&config).unwrap();
        asterisk.wait_connected(1);
        let phone = |extension: usize, number, tone_hz, pair| {
            let socket = socket_on_pair(pair, PAIRS);
            let port = socket.local_addr().unwrap().port();
            asterisk.world().media_ports.push_back(port);
            asterisk.call(number);
            // One media channel after the other, so that each gets its own port.
            asterisk.wait("the port was told", |world| world.media_ports.is_empty());
            Phone::from_socket(&gateway, extension, tone_hz, socket)
        };
        let mut alice = phone(0, "7777", ALICE_HZ, 0);
        let mut bob = phone(1, "8888", BOB_HZ, 1);
        talk_until(
            "they hear each other",
            &mut [&mut alice, &mut bob],
            |phones| phones[0].hears(BOB_HZ) && phones[1].hears(ALICE_HZ),
        );
        Self {
            gateway,
            translator,
            _asterisk: asterisk,
            alice,
            bob,
        }
    }

    /// Somebody who sends to alice's port and says he is she.
    fn impostor(&self, address: &str) -> Phone {
        let mut mallory = Phone::from_socket(&self.gateway, 0, MALLORY_HZ, socket(address));
        mallory.impersonate(&self.alice);
        mallory
    }

    /// Time passes while alice says nothing and `others` speak.
    fn alice_is_silent_for(&mut self, frames: usize, others: &mut [&mut Phone]) {
        let due = self.bob.heard.len() + frames;
        wait_until("time passes", || {
            self.bob.step();
            others.iter_mut().for_each(|phone| phone.step());
            self.alice.listen();
            self.bob.heard.len() >= due
        });
    }

    fn count(&self, what: CallCount) -> u64 {
        self.gateway.counts().call.value(what)
    }

    /// Nobody heard the impostor, nor did he hear anything, and the callers are well.
    fn assert_unharmed(mut self, impostor: &Phone) {
        assert_eq!(self.count(CallCount::Relocked), 0);
        talk_until(
            "they hear each other again",
            &mut [&mut self.alice, &mut self.bob],
            |phones| phones[0].hears(BOB_HZ) && phones[1].hears(ALICE_HZ),
        );
        assert!(!self.bob.ever_heard(MALLORY_HZ, 0), "a stranger was heard");
        assert!(impostor.heard.is_empty(), "a stranger could listen");
        self.alice.assert_stream_is_whole();
        self.bob.assert_stream_is_whole();
        self.stop();
    }

    fn stop(self) {
        self.gateway.stop();
        self.translator.stop();
    }
}

#[test]
fn nobody_takes_a_leg_over_while_its_owner_speaks() {
    let mut call = Call::start();
    let mut mallory = call.impostor("127.0.0.1");
    talk_for(LONG_FRAMES, &mut [&mut call.alice, &mut call.bob]);
    // With alice's own numbers, a little ahead of her, for longer than any silence that counts.
    mallory.impersonate(&call.alice);
    mallory.skip(3);
    let due = call.alice.heard.len() + 2 * LONG_FRAMES;
    talk_until(
        "two seconds pass",
        &mut [&mut call.alice, &mut call.bob, &mut mallory],
        |phones| phones[0].heard.len() >= due,
    );
    let counts = call.gateway.counts();
    assert!(counts.relock.value(RelockCount::OwnerActive) > LONG_FRAMES as u64);
    assert!(counts.rx.value(RxCount::DropUnknownSource) > LONG_FRAMES as u64);
    call.assert_unharmed(&mallory);
}

#[test]
fn a_silent_leg_is_not_taken_over_by_guesses() {
    let mut call = Call::start();
    // Time enough since the leg began for a re-lock.
    talk_for(LONG_FRAMES, &mut [&mut call.alice, &mut call.bob]);
    let mut replayed = call.impostor("127.0.0.1");
    replayed.skip(u16::MAX - 100);
    let mut far = call.impostor("127.0.0.1");
    far.skip(20_000);
    let mut elsewhere = call.impostor("127.0.0.2");
    let mut unknown = Phone::from_socket(&call.gateway, 0, MALLORY_HZ, socket("127.0.0.1"));
    call.alice_is_silent_for(
        2 * LONG_FRAMES,
        &mut [&mut replayed, &mut far, &mut elsewhere, &mut unknown],
    );
    assert!(call.gateway.counts().relock.value(RelockCount::Sequence) > LONG_FRAMES as u64);
    assert!(call.count(CallCount::RelockRefusedAddress) > 10);
    for stranger in [&replayed, &far, &elsewhere] {
        assert!(stranger.heard.is_empty(), "a stranger could listen");
    }
    call.assert_unharmed(&unknown);
}

#[test]
fn a_leg_follows_its_sender_to_another_port_in_both_directions() {
    let mut call = Call::start();
    talk_for(LONG_FRAMES, &mut [&mut call.alice, &mut call.bob]);
    // To the other tile pair, and back.
    for (moves, pair) in [(1, 1), (2, 0), (3, 0)] {
        let old = call.alice.move_to(socket_on_pair(pair, PAIRS));
        let moved_at = call.alice.heard.len();
        talk_until(
            "the leg follows",
            &mut [&mut call.alice, &mut call.bob],
            |_| call.gateway.counts().call.value(CallCount::Relocked) == moves,
        );
        let since = call.bob.heard.len();
        talk_for(LONG_FRAMES, &mut [&mut call.alice, &mut call.bob]);
        call.alice.listen_to_old(&old, moved_at);
        assert!(call.bob.ever_heard(ALICE_HZ, since));
        assert!(call.alice.hears(BOB_HZ));
        call.alice.assert_stream_is_whole();
        // Time to the next move, in which nothing more goes to the old port.
        talk_for(LONG_FRAMES, &mut [&mut call.alice, &mut call.bob]);
        let after = old.recv(&mut [0; 2048]).map_err(|error| error.kind());
        assert_eq!(after, Err(ErrorKind::WouldBlock));
    }
    call.bob.assert_stream_is_whole();
    call.stop();
}
