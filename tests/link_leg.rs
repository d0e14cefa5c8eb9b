//! Goal: one leg's end of the link keeps to its turn whatever the translator does.
//! Method: the leg alone, driven as the link thread drives it, against a socket of this test.

use std::net::TcpListener;
use std::time::Duration;

use diglot::link::gateway::leg::{Endpoint, LegIdentity, LegLink};
use diglot_rt::msg::LegId;
use diglot_rt::units::Micros;
use mio::{Events, Poll, Token};

const TOKEN: Token = Token(0);
const PATIENCE: Duration = Duration::from_secs(20);

fn leg() -> LegLink {
    let identity = LegIdentity {
        leg: LegId {
            slot: 0,
            generation: 1,
        },
        extension: "7777".into(),
        language: "en".into(),
        target_language: "fr".into(),
        call_id: "call".into(),
    };
    LegLink::new(identity, TOKEN)
}

/// A translator that is stopped, or hangs, still has its connections taken by the kernel.
#[test]
fn a_translator_that_answers_no_dial_does_not_keep_the_link_thread_busy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = Endpoint {
        addresses: vec![address],
        url: format!("ws://{address}/translate"),
    };
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (mut link, mut epoch) = (leg(), 1);
    assert_eq!(link.advance(Micros(0), &endpoint, poll.registry()), None);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty(), "the kernel answers");
    assert_eq!(link.socket_ready(Micros(0), &mut epoch), None);
    assert_eq!(link.read(Micros(0), |_| ()), None);
    assert!(!link.is_open());
    assert!(
        !link.is_readable(),
        "a turn that finds it readable does not wait"
    );
}

/// "localhost" is two addresses, and a translator listens on one of them.
#[test]
fn a_translator_on_the_second_address_of_its_name_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let endpoint = Endpoint {
        addresses: vec![nobody.unwrap(), listener.local_addr().unwrap()],
        url: "ws://localhost:3002/translate".into(),
    };
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let (mut link, mut epoch) = (leg(), 1);
    for second in 0..4 {
        let now = Micros(second * 1_000_000);
        link.advance(now, &endpoint, poll.registry());
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        link.socket_ready(now, &mut epoch);
        if listener.accept().is_ok() {
            return;
        }
    }
    panic!("only the first address was dialled");
}
