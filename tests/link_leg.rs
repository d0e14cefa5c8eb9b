//! Goal: one leg's end of the link keeps to its turn whatever the translator does.
//! Method: the leg alone, driven as the link thread drives it, against a socket of this test.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use diglot::link::binary::{Frame, Header};
use diglot::link::gateway::leg::{Endpoint, FromTranslator, LegIdentity, LegLink, LinkChange};
use diglot::link::gateway::sessions::{Sessions, UnixTime};
use diglot::link::stream::ReadEnd;
use diglot_rt::msg::{LegId, Pace};
use diglot_rt::units::Micros;
use mio::{Events, Poll, Token};
use tungstenite::Message;

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
    let (mut link, mut sessions) = (leg(), Sessions::new(UnixTime::read));
    assert_eq!(link.advance(Micros(0), &endpoint, poll.registry()), None);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty(), "the kernel answers");
    assert_eq!(link.socket_ready(Micros(0), &mut sessions), None);
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
    let (mut link, mut sessions) = (leg(), Sessions::new(UnixTime::read));
    for second in 0..4 {
        let now = Micros(second * 1_000_000);
        link.advance(now, &endpoint, poll.registry());
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        link.socket_ready(now, &mut sessions);
        if listener.accept().is_ok() {
            return;
        }
    }
    panic!("only the first address was dialled");
}

/// Unix time as the test sets it, in ms, at the zero of the monotonic clock.
static UNIX_MS: AtomicU64 = AtomicU64::new(0);

/// Goal: a time of day that was set is what the next session tells, and audio that comes back live
/// is judged by the time of its own session: setting the clock back never makes it stale.
#[test]
fn each_session_has_the_time_of_day_it_began_with() {
    let (address, said) = parroting();
    let endpoint = Endpoint {
        addresses: vec![address],
        url: format!("ws://{address}/translate"),
    };
    let unix_time = || {
        let unix_ms = UNIX_MS.load(Ordering::SeqCst);
        UnixTime::at(Duration::from_millis(unix_ms), Micros(0))
    };
    let mut sessions = Sessions::new(unix_time);
    let mut poll = Poll::new().unwrap();
    let mut link = leg();
    for (session, day_ms) in [5_000_000, 1_000_000, 9_000_000].into_iter().enumerate() {
        UNIX_MS.store(day_ms, Ordering::SeqCst);
        let now = Micros(1_000_000 * session as u64);
        link.restart(now);
        // Kept until the session is open, so stale when it comes back; then one that is not.
        link.send_speech(now, now, &[7; 320]);
        link.advance(now, &endpoint, poll.registry());
        until(&mut poll, || {
            link.socket_ready(now, &mut sessions) == Some(LinkChange::Up)
        });
        // The time of day is set again, in the middle of the session.
        UNIX_MS.store(day_ms / 2, Ordering::SeqCst);
        let later = now.plus_ms(20);
        link.send_speech(later, later, &[7; 320]);
        link.flush(later);
        let expected = [now, later].map(|moment| day_ms + moment.0 / 1_000);
        for timestamp in expected {
            assert_eq!(said.recv_timeout(PATIENCE).unwrap(), timestamp);
        }
        let mut heard = Vec::new();
        until(&mut poll, || {
            link.mark_readable(ReadEnd::Open);
            link.read(later, |message| {
                if let FromTranslator::Speech { pcm, .. } = message {
                    heard.push(pcm.len());
                }
            });
            heard.len() == 2
        });
        assert_eq!(heard, [0, 640], "stale is what was kept, and nothing else");
    }
}

/// Looks again whenever a socket has news, until `holds`.
fn until(poll: &mut Poll, mut holds: impl FnMut() -> bool) {
    let mut events = Events::with_capacity(8);
    while !holds() {
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "no news");
    }
}

/// A translator that says everything back live, and tells the time of each piece.
#[allow(clippy::result_large_err)]
fn parroting() -> (SocketAddr, mpsc::Receiver<u64>) {
    use tungstenite::handshake::server::{Request, Response};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, said) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let accepted =
                tungstenite::accept_hdr(stream.unwrap(), |_: &Request, mut response: Response| {
                    let protocol = "diglot.binary.v1".parse().unwrap();
                    let headers = response.headers_mut();
                    headers.insert("Sec-WebSocket-Protocol", protocol);
                    Ok(response)
                });
            let mut socket = accepted.unwrap();
            while let Ok(message) = socket.read() {
                let Message::Binary(bytes) = message else {
                    continue;
                };
                let Frame { header, pcm } = Frame::decode(&bytes).unwrap();
                let Header::Audio { timestamp, .. } = header else {
                    panic!("{header:?}")
                };
                let header = Header::TranslatedAudio {
                    utterance: 0,
                    last: false,
                    pace: Pace::Live,
                    timestamp,
                };
                let mut answer = Vec::new();
                Frame { header, pcm }.encode(&mut answer);
                if told.send(timestamp).is_err() || socket.send(Message::binary(answer)).is_err() {
                    break;
                }
            }
        }
    });
    (address, said)
}
