//! Goal: the control thread's half of the rules by which a leg re-locks to another source, each by
//! itself: one broken rule and nothing moves. Method: the state machine alone, on virtual time.

#[path = "support/config.rs"]
mod config;

use std::net::SocketAddr;

use diglot::call::ari::{AriEvent, Channel, Reply, Request};
use diglot::call::relock::RELOCK_PAUSE_MS;
use diglot::call::{CallCount, CallEvent, Calls, Change, Input, Output};
use diglot_rt::msg::{LegId, PortIndex};
use diglot_rt::units::Micros;

const PORT: PortIndex = PortIndex(0);

struct Table {
    calls: Calls,
    now: Micros,
    moves: Vec<(LegId, SocketAddr)>,
    started: Vec<LegId>,
    notes: Vec<CallEvent>,
}

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

impl Table {
    fn new(config: &diglot::config::Config) -> Self {
        Self {
            calls: Calls::new(config, 1),
            now: Micros(1),
            moves: Vec::new(),
            started: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn with_ari() -> Self {
        Self::new(&config::with_ari("http://127.0.0.1:1", 4))
    }

    /// Takes an input; Asterisk does all it is asked to, with media from `media`.
    fn feed(&mut self, input: Input, media: SocketAddr) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.calls.handle(self.now, input);
            while let Some(output) = self.calls.poll_output() {
                match output {
                    Output::Change(Change::MoveLeg { leg, remote }) => {
                        self.moves.push((leg, remote))
                    }
                    Output::Change(Change::StartLeg { leg, .. }) => self.started.push(leg),
                    Output::Change(_) => {}
                    Output::Event(event) => self.notes.push(event),
                    Output::Request { ticket, request } => {
                        let reply = match request {
                            Request::CreateMedia { .. } => Reply::MediaCreated(media),
                            _ => Reply::Status(200),
                        };
                        inputs.push(Input::Reply { ticket, reply });
                    }
                }
            }
        }
    }

    fn call(&mut self, id: &str, media: SocketAddr) -> LegId {
        self.feed(
            Input::Event(AriEvent::StasisStart(Channel {
                id: id.to_owned(),
                name: "PJSIP/x".to_owned(),
                caller: String::new(),
                extension: Some("7777".to_owned()),
            })),
            media,
        );
        *self.started.last().expect("it started")
    }

    fn pause(&mut self) {
        self.now = self.now.plus_ms(RELOCK_PAUSE_MS);
    }

    /// What moved because `leg` seemed to go on from `source`.
    fn moved(
        &mut self,
        leg: LegId,
        port: PortIndex,
        source: SocketAddr,
    ) -> Vec<(LegId, SocketAddr)> {
        self.feed(Input::LegMoved { leg, port, source }, at(1));
        std::mem::take(&mut self.moves)
    }

    fn count(&self, what: CallCount) -> u64 {
        self.calls.counts().value(what)
    }
}

#[test]
fn a_leg_moves_once_a_second_and_says_so() {
    let mut table = Table::with_ari();
    let leg = table.call("a", at(18_000));
    assert_eq!(table.moved(leg, PORT, at(18_002)), [], "it has only begun");
    table.pause();
    assert_eq!(table.moved(leg, PORT, at(18_002)), [(leg, at(18_002))]);
    let note = CallEvent::Moved {
        call_id: "a".to_owned(),
        remote: at(18_002),
    };
    assert_eq!(table.notes.last(), Some(&note));
    assert_eq!(table.moved(leg, PORT, at(18_002)), [], "told twice");
    assert_eq!(
        table.count(CallCount::RelockRefusedPause),
        1,
        "twice is no refusal"
    );
    assert_eq!(table.moved(leg, PORT, at(18_004)), []);
    assert_eq!(table.count(CallCount::RelockRefusedPause), 2);
    table.pause();
    assert_eq!(
        table.moved(leg, PORT, at(18_000)),
        [(leg, at(18_000))],
        "and back"
    );
    assert_eq!(table.count(CallCount::Relocked), 2);
}

#[test]
fn only_the_port_of_the_sender_may_change() {
    let mut table = Table::with_ari();
    let leg = table.call("a", at(18_000));
    table.pause();
    let elsewhere = ([127, 0, 0, 2], 18_002).into();
    assert_eq!(table.moved(leg, PORT, elsewhere), []);
    assert_eq!(table.moved(leg, PortIndex(1), at(18_002)), []);
    assert_eq!(table.count(CallCount::RelockRefusedAddress), 2);
    // The same address, as a socket of IPv6 writes it.
    let mapped = "[::ffff:127.0.0.1]:18002".parse().unwrap();
    assert_eq!(table.moved(leg, PORT, mapped), [(leg, mapped)]);
}

#[test]
fn what_another_leg_owns_or_left_is_not_taken() {
    let mut table = Table::with_ari();
    let one = table.call("a", at(18_000));
    let other = table.call("b", at(18_010));
    table.pause();
    assert_eq!(table.moved(one, PORT, at(18_010)), []);
    assert_eq!(table.moved(other, PORT, at(18_012)), [(other, at(18_012))]);
    assert_eq!(
        table.moved(one, PORT, at(18_012)),
        [],
        "it is the other's now"
    );
    assert_eq!(
        table.moved(one, PORT, at(18_010)),
        [],
        "it may go back there"
    );
    assert_eq!(table.count(CallCount::RelockRefusedOwned), 3);
}

#[test]
fn asterisks_word_is_stronger_than_a_re_lock() {
    let mut table = Table::with_ari();
    let squatter = table.call("a", at(18_000));
    table.pause();
    assert_eq!(table.moved(squatter, PORT, at(18_002)).len(), 1);
    table.call("b", at(18_002));
    assert_eq!(table.moves, [(squatter, at(18_000))]);
}

/// As above, whichever way each of the two words is written.
#[test]
fn asterisks_word_is_stronger_than_a_re_lock_told_by_a_socket_of_ipv6() {
    let mapped = |port: u16| format!("[::ffff:127.0.0.1]:{port}").parse().unwrap();
    let mut table = Table::with_ari();
    let squatter = table.call("a", at(18_000));
    table.pause();
    assert_eq!(table.moved(squatter, PORT, mapped(18_000)), [], "its own");
    assert_eq!(table.moved(squatter, PORT, mapped(18_002)).len(), 1);
    assert_eq!(table.moved(squatter, PORT, at(18_002)), [], "told twice");
    assert_eq!(table.count(CallCount::RelockRefusedOwned), 0);
    table.call("b", at(18_002));
    assert_eq!(table.moves, [(squatter, at(18_000))]);
}

#[test]
fn a_leg_that_ended_moves_no_more() {
    let mut table = Table::with_ari();
    let leg = table.call("a", at(18_000));
    table.pause();
    let channel = "a".to_owned();
    table.feed(Input::Event(AriEvent::Gone { channel }), at(1));
    assert_eq!(table.moved(leg, PORT, at(18_002)), []);
    let next = table.call("b", at(18_000));
    assert_ne!(leg, next);
    table.pause();
    assert_eq!(table.moved(leg, PORT, at(18_002)), [], "a name of the past");
}

#[test]
fn without_ari_a_new_source_is_a_new_leg_and_never_an_old_one() {
    let mut table = Table::new(&config::without_ari(4));
    let source = at(18_000);
    table.feed(Input::UnknownSource { port: PORT, source }, at(1));
    let leg = table.started[0];
    table.pause();
    assert_eq!(table.moved(leg, PORT, at(18_002)), []);
    assert_eq!(table.count(CallCount::Relocked), 0);
}
