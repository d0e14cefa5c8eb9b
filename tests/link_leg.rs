//! Goal: one leg's end of the link keeps to its turn whatever the translator does.
//! Method: the leg alone, driven as the link thread drives it, against a socket of this test.

use std::net::TcpListener;
use std::time::Duration;

use diglot::link::leg::{Endpoint, LegIdentity, LegLink};
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
        address,
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
