//! Goal: whatever the translator does (absent, killed, silent, talking nonsense), callers get their
//! packet on every tick, and are interpreted again as soon as it can be.
//! Method: a whole gateway in this process; the translator is the real one in loop mode, or a
//! socket of this test that misbehaves on purpose.

mod gateway_support;

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use diglot::call::CallCount;
use diglot::config::Config;
use diglot::gateway::Gateway;
use diglot::link::binary::{Frame, Header};
use diglot::link::counts::LinkCount;
use diglot::translator::Translator;
use diglot_rt::msg::Pace;
use diglot_rt::stats::TxCount;
use gateway_support::{Phone, config, talk_for, talk_until, tone, tone_file};
use tungstenite::{Message, WebSocket};

const ALICE_HZ: f64 = 500.0;
const BOB_HZ: f64 = 1_300.0;
const PROMPT_HZ: f64 = 900.0;
const LATE_HZ: f64 = 1_700.0;
const FRESH_HZ: f64 = 2_100.0;
/// A voice that nobody has ended is waited for as long as a second.
const HOLE_FRAMES_MAX: usize = 50;
/// A link thread that a busy machine holds up tells the end late.
const BUSY_FRAMES: u64 = 10;

#[test]
fn without_a_translator_the_line_stays_up_and_silent() {
    let config = with_translator_at(&config(&[]), nobody());
    let gateway = Gateway::start(&config).unwrap();
    let (mut alice, mut bob) = pair(&gateway);
    talk_for(100, &mut [&mut alice, &mut bob]);
    for phone in [&alice, &bob] {
        assert!(phone.heard_only_silence(0));
        phone.assert_stream_is_whole();
    }
    gateway.stop();
}

#[test]
fn original_is_heard_while_the_translator_is_away_if_configured() {
    let settings = [("extension.8888.on_failure", "original")];
    let config = with_translator_at(&config(&settings), nobody());
    let gateway = Gateway::start(&config).unwrap();
    let (mut alice, mut bob) = pair(&gateway);
    talk_until(
        "bob hears alice's own voice",
        &mut [&mut alice, &mut bob],
        |phones| phones[1].hears(ALICE_HZ),
    );
    assert!(alice.heard_only_silence(0), "7777 is not configured so");
    gateway.stop();
}

#[test]
fn speech_is_interpreted_again_after_the_translator_died_and_came_back() {
    let mut config = config(&[]);
    let translator = Translator::start(&config, None).unwrap();
    let address = translator.local_addr();
    config.link = config.link.to_bound(address);
    config.translator.listen = address;
    let gateway = Gateway::start(&config).unwrap();
    let (mut alice, mut bob) = pair(&gateway);
    talk_until("interpreted", &mut [&mut alice, &mut bob], |phones| {
        phones[0].hears(BOB_HZ) && phones[1].hears(ALICE_HZ)
    });
    translator.stop();
    talk_until("silence", &mut [&mut alice, &mut bob], |phones| {
        !phones[0].hears(BOB_HZ) && !phones[1].hears(ALICE_HZ)
    });
    talk_for(50, &mut [&mut alice, &mut bob]);
    let translator = Translator::start(&config, None).unwrap();
    talk_until("interpreted again", &mut [&mut alice, &mut bob], |phones| {
        phones[0].hears(BOB_HZ) && phones[1].hears(ALICE_HZ)
    });
    alice.assert_stream_is_whole();
    bob.assert_stream_is_whole();
    gateway.stop();
    translator.stop();
}

#[test]
fn a_translator_that_falls_silent_is_noticed_and_dialled_again() {
    let (address, dialled) = misbehaving(|mut socket| {
        // Reads nothing and answers nothing; the socket stays open until the peer gives up.
        let mut buffer = [0; 64 * 1024];
        while socket
            .get_mut()
            .read(&mut buffer)
            .is_ok_and(|length| length > 0)
        {}
    });
    assert_given_up_and_dialled_again(address, &dialled);
}

#[test]
fn nonsense_from_the_translator_is_counted_and_the_call_goes_on() {
    let (address, _dialled) = misbehaving(|mut socket| {
        let nonsense = [
            Message::text("{"),
            Message::text("[]"),
            Message::text(r#"{"type":"no_such_type"}"#),
            Message::text(r#"{"type":"translated_audio","extension":"7777"}"#),
            Message::text(
                r#"{"type":"translated_audio","extension":"7777","targetExtension":"8888","timestamp":1,"data":"AAA="}"#,
            ),
            Message::text(r#"{"type":"trace","utterance":-1}"#),
            Message::binary(vec![]),
            Message::binary(vec![2; 17]),
            Message::binary(vec![9; 700]),
        ];
        for message in nonsense.into_iter().cycle() {
            if socket.send(message).is_err() {
                break;
            }
            thread::yield_now();
        }
    });
    let gateway = Gateway::start(&with_translator_at(&config(&[]), address)).unwrap();
    let (mut alice, mut bob) = pair(&gateway);
    let links = gateway.counts().link.clone();
    talk_until(
        "much of it was refused",
        &mut [&mut alice, &mut bob],
        |_| links.value(LinkCount::MessageRefused) > 1_000,
    );
    talk_for(50, &mut [&mut alice, &mut bob]);
    for phone in [&alice, &bob] {
        assert!(phone.heard_only_silence(0), "nonsense is never played");
        phone.assert_stream_is_whole();
    }
    gateway.stop();
}

#[test]
fn an_oversized_message_ends_the_connection_and_not_the_call() {
    let (address, dialled) = misbehaving(|mut socket| {
        let _ = socket.send(Message::binary(vec![0; 8 << 20]));
        while socket.read().is_ok() {}
    });
    assert_given_up_and_dialled_again(address, &dialled);
}

#[test]
fn a_prompt_is_heard_when_the_translator_is_away_from_the_beginning() {
    let prompt = tone_file(PROMPT_HZ);
    let on_failure = format!("prompt:{}", prompt.display());
    let settings = [("extension.8888.on_failure", on_failure.as_str())];
    let config = with_translator_at(&config(&settings), nobody());
    let gateway = Gateway::start(&config).unwrap();
    let (mut alice, mut bob) = pair(&gateway);
    talk_until("bob is told", &mut [&mut alice, &mut bob], |phones| {
        phones[1].hears(PROMPT_HZ)
    });
    assert!(alice.heard_only_silence(0), "7777 is not configured so");
    assert!(gateway.counts().link.value(LinkCount::LinkLost) > 0);
    gateway.stop();
}

/// A voice that ends because its speaker has left is no hole in what is heard.
#[test]
fn a_hang_up_in_the_middle_of_speech_is_no_hole_in_it() {
    let mut config = config(&[("asterisk.leg_timeout_ms", "500")]);
    let translator = Translator::start(&config, None).unwrap();
    config.link = config.link.to_bound(translator.local_addr());
    let gateway = Gateway::start(&config).unwrap();
    let (mut alice, mut bob) = pair(&gateway);
    talk_until("interpreted", &mut [&mut alice, &mut bob], |phones| {
        phones[0].hears(BOB_HZ) && phones[1].hears(ALICE_HZ)
    });
    let counts = gateway.counts();
    talk_until("bob is gone", &mut [&mut alice], |_| {
        counts.call.value(CallCount::Ended) > 0
    });
    // What a busy machine tore before is not the hang-up's.
    let before = counts.tx.value(TxCount::FrameHole);
    talk_for(2 * HOLE_FRAMES_MAX, &mut [&mut alice]);
    let holes = counts.tx.value(TxCount::FrameHole) - before;
    assert!(holes <= BUSY_FRAMES, "{holes} frames were waited for");
    alice.assert_stream_is_whole();
    gateway.stop();
    translator.stop();
}

/// What the translator still has to say when a partner leaves was meant for that partner alone.
#[test]
fn words_for_a_partner_who_left_never_reach_the_next_one() {
    let is_due = Arc::new(AtomicBool::new(false));
    let sessions = Arc::new(AtomicUsize::new(0));
    let (is_due_there, sessions_there) = (Arc::clone(&is_due), Arc::clone(&sessions));
    let (address, _dialled) = misbehaving(move |mut socket| {
        let mut tone_hz = None;
        while let Ok(message) = socket.read() {
            let says = |what: &str| message.to_text().is_ok_and(|text| text.contains(what));
            if says(r#""ping""#) {
                let _ = socket.send(Message::text(r#"{"type":"pong","id":1,"timestamp":1}"#));
            }
            if says(r#""language":"en""#) {
                // The first session of 7777 speaks with one voice, every later one with another.
                let is_first = sessions_there.fetch_add(1, Ordering::SeqCst) == 0;
                tone_hz = Some(if is_first { LATE_HZ } else { FRESH_HZ });
            }
            if let Some(hz) = tone_hz
                && message.is_binary()
                && is_due_there.load(Ordering::SeqCst)
            {
                let _ = socket.send(Message::binary(speech(hz)));
            }
        }
    });
    let settings = [("asterisk.leg_timeout_ms", "500")];
    let gateway = Gateway::start(&with_translator_at(&config(&settings), address)).unwrap();
    let (mut alice, mut bob) = pair(&gateway);
    talk_until("7777 is in session", &mut [&mut alice, &mut bob], |_| {
        sessions.load(Ordering::SeqCst) > 0
    });
    talk_for(25, &mut [&mut alice, &mut bob]);
    let mut carol = Phone::new(&gateway, 1, BOB_HZ);
    let calls = gateway.counts().call.clone();
    talk_until("bob is gone", &mut [&mut alice, &mut carol], |_| {
        calls.value(CallCount::Ended) > 0
    });
    is_due.store(true, Ordering::SeqCst);
    talk_until(
        "carol is spoken to",
        &mut [&mut alice, &mut carol],
        |phones| phones[1].hears(FRESH_HZ) || phones[1].hears(LATE_HZ),
    );
    assert!(!carol.ever_heard(LATE_HZ, 0), "said to bob, heard by carol");
    gateway.stop();
}

/// 100 ms of a tone as the translator sends it.
fn speech(hz: f64) -> Vec<u8> {
    let pcm: Vec<u8> = tone(hz, 1_600).flat_map(i16::to_le_bytes).collect();
    let header = Header::TranslatedAudio {
        utterance: 1,
        last: false,
        pace: Pace::Stored,
        timestamp: 1,
    };
    let mut bytes = Vec::new();
    Frame { header, pcm: &pcm }.encode(&mut bytes);
    bytes
}

/// The gateway gives the links of both callers up and dials again, and no packet is missing.
fn assert_given_up_and_dialled_again(address: SocketAddr, dialled: &mpsc::Receiver<()>) {
    let gateway = Gateway::start(&with_translator_at(&config(&[]), address)).unwrap();
    let (mut alice, mut bob) = pair(&gateway);
    let links = gateway.counts().link.clone();
    talk_until(
        "both links were given up",
        &mut [&mut alice, &mut bob],
        |_| links.value(LinkCount::LinkLost) >= 2,
    );
    talk_until("dialled again", &mut [&mut alice, &mut bob], |_| {
        dialled.try_iter().count() > 0
    });
    alice.assert_stream_is_whole();
    gateway.stop();
}

/// A translator's port behind which `behave` runs for every connection; the receiver tells of each
/// connection after the first two.
fn misbehaving(
    behave: impl Fn(WebSocket<TcpStream>) + Clone + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (dialled, inbox) = mpsc::channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { return };
            if number >= 2 && dialled.send(()).is_err() {
                return;
            }
            let behave = behave.clone();
            thread::spawn(move || {
                if let Ok(socket) = accept_binary(stream) {
                    behave(socket);
                }
            });
        }
    });
    (address, inbox)
}

/// Shakes hands as a translator does: with the subprotocol that was asked for.
#[allow(clippy::result_large_err)]
fn accept_binary(stream: TcpStream) -> Result<WebSocket<TcpStream>, ()> {
    use tungstenite::handshake::server::{Request, Response};
    tungstenite::accept_hdr(stream, |_: &Request, mut response: Response| {
        let protocol = "diglot.binary.v1".parse().unwrap();
        response
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol);
        Ok(response)
    })
    .map_err(|_| ())
}

/// A port where nobody listens: it was free a moment ago and is bound for nothing.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn with_translator_at(config: &Config, address: SocketAddr) -> Config {
    let mut config = config.clone();
    config.link = config.link.to_bound(address);
    config
}

fn pair(gateway: &Gateway) -> (Phone, Phone) {
    (
        Phone::new(gateway, 0, ALICE_HZ),
        Phone::new(gateway, 1, BOB_HZ),
    )
}
