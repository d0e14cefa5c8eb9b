//! How long a frame takes through the gateway, each way, down to the slowest one: from the instant
//! a packet was *meant* to leave to its arrival at the other end.
//!
//! A whole gateway runs in this process between phones and a translator of this bench. Uplink: a
//! slin16 packet carries its leg and number in its samples, which reach the translator untouched.
//! Downlink: the translator says a short tone into silence, long enough to fill the playout buffer
//! at once, and the first packet with sound ends the measurement.
//!
//! Each row is of a run that is acceptable (steal below 1 %, the bench's own pace p99.9 below
//! 1 ms), or of the last one tried.
//!
//! `cargo bench --bench tail_latency -- --seconds 60 --legs 2,100` measures longer and otherwise.

use std::f64::consts::TAU;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use diglot::config::{self, Command, Config, Sources};
use diglot::gateway::Gateway;
use diglot::link::BINARY_SUBPROTOCOL;
use diglot::link::binary::{Frame, Header};
use diglot_rt::msg::Pace;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use support::load::Circumstances;
use support::times::Times;
use support::{Arguments, MachineTime, Mode, Table};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

mod support;

const LEGS: [usize; 3] = [2, 100, 500];
/// Runs for one row until one is acceptable.
const RUNS_MAX: usize = 3;
const STEAL_PERCENT_MAX: f64 = 1.0;
const PACE_P99_9_US_MAX: u64 = 1_000;
/// What is to be reached at p99: the first is a wake-up each for tile and link, the second one tick
/// more.
const UPLINK_P99_US_MAX: u64 = 2_000;
const DOWNLINK_P99_US_MAX: u64 = 22_000;
/// As that of the load of `frame_jitter`.
const PRIORITY: u8 = 60;
const FRAME: Duration = Duration::from_millis(20);
const FRAME_SAMPLES: usize = 320;
/// What a leg says is told from what the gateway fills in by these first samples.
const SIGNATURE: [i16; 2] = [0x1d1, -0x2e2];
/// How often each translator speaks: no multiple of a frame, so that every phase of the clock is
/// met.
const SPEECH_PERIOD: Duration = Duration::from_micros(503_300);
/// 200 ms at 16 kHz: more than the gateway feeds ahead.
const SPEECH_SAMPLES: usize = 3_200;
const SPEECH_HZ: f64 = 500.0;
const SPEECH_AMPLITUDE: f64 = 8_000.0;
/// Louder than anything but speech.
const SOUND_MIN: u16 = 2_000;
/// The links are dialled and all memory was touched.
const WARM_UP: Duration = Duration::from_secs(2);
const WARM_UP_OF_TEST: Duration = Duration::from_millis(700);
/// The slowest frames of the end may still arrive.
const LAST_WAIT: Duration = Duration::from_millis(300);
/// How often who only waits looks whether it is to stop.
const STOP_LOOK: Duration = Duration::from_millis(50);
/// Socket events taken at once.
const EVENTS_MAX: usize = 256;
/// A new session at the translator; all others are legs.
const ACCEPTED: Token = Token(usize::MAX);
const DATAGRAM_BYTES_MAX: usize = 1_500;
/// RFC 3550 §5.1.
const RTP_HEADER_BYTES: usize = 12;
/// Asterisk's payload type of slin16.
const PAYLOAD_TYPE_SLIN16: u8 = 118;

const HEADINGS: [&str; 10] = [
    "legs",
    "from, to",
    "came",
    "of",
    "p50 ms",
    "p99",
    "p99.9",
    "max",
    "p99 at most",
    "acceptable",
];

fn main() -> ExitCode {
    support::main("tail_latency", &LEGS, bench)
}

fn bench(arguments: &Arguments) {
    let _circumstances = Circumstances::arrange(arguments.mode);
    let mut table = Table::new(&HEADINGS);
    for legs in &arguments.legs {
        for dropped in 0.. {
            eprintln!("{legs} legs, {} s", arguments.seconds);
            let run = Run::new(arguments, *legs);
            let machine = MachineTime::now();
            run.measure();
            let objection = run.objection(machine.steal_percent());
            let is_last = arguments.mode == Mode::Test || dropped + 1 == RUNS_MAX;
            if objection.is_none() || is_last {
                run.report(&mut table, objection, dropped);
                break;
            }
            run.gateway.stop();
        }
    }
    table.publish(
        arguments.mode,
        "tail_latency",
        "from the intended time; the pace of the bench itself is part of every row",
    );
}

/// A leg of this run, as its phone and its translator know it.
struct Leg {
    phone: UdpSocket,
    /// Its gateway port.
    gateway: SocketAddr,
    /// Once its translator heard it.
    voice: Mutex<Option<WebSocket<TcpStream>>>,
    /// When its translator began to speak, in µs after the beginning; 0 once that was heard.
    spoke_at_us: AtomicU64,
}

/// Everything of one row of legs.
struct Shared {
    mode: Mode,
    begin: Instant,
    warm_up: Duration,
    length: Duration,
    legs: Vec<Leg>,
    uplink: Times,
    downlink: Times,
    pace: Times,
    is_over: AtomicBool,
}

struct Run {
    shared: Shared,
    gateway: Gateway,
    listener: TcpListener,
}

impl Run {
    fn new(arguments: &Arguments, legs: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let translator = listener.local_addr().expect("just bound");
        let gateway = Gateway::start(&config(legs, translator)).expect("a gateway");
        let leg = |number: usize| {
            let phone = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            phone.set_nonblocking(true).expect("a socket can");
            Leg {
                phone,
                gateway: gateway.rtp_addresses()[number % 2],
                voice: Mutex::new(None),
                spoke_at_us: AtomicU64::new(0),
            }
        };
        let warm_up = match arguments.mode {
            Mode::Measure => WARM_UP,
            Mode::Test => WARM_UP_OF_TEST,
        };
        let shared = Shared {
            legs: (0..legs).map(leg).collect(),
            mode: arguments.mode,
            begin: Instant::now(),
            warm_up,
            length: warm_up + Duration::from_secs_f64(arguments.seconds),
            uplink: Times::new(),
            downlink: Times::new(),
            pace: Times::new(),
            is_over: AtomicBool::new(false),
        };
        Self {
            shared,
            gateway,
            listener,
        }
    }

    fn measure(&self) {
        let listener = self.listener.try_clone().expect("a descriptor");
        let poll = Poll::new().expect("an epoll");
        let waker = Waker::new(poll.registry(), ACCEPTED).expect("an eventfd");
        let (accepted, newcomers) = channel();
        let shared = &self.shared;
        // Ends with the process: nothing interrupts an accept.
        thread::spawn(move || accept_all(&listener, &accepted, &waker));
        thread::scope(|scope| {
            scope.spawn(|| {
                be_punctual(&self.shared);
                hear(&self.shared).expect("phones can be waited for");
            });
            scope.spawn(move || {
                be_punctual(shared);
                translate(shared, poll, &newcomers).expect("sessions can be waited for");
            });
            let speaking = scope.spawn(|| {
                be_punctual(&self.shared);
                speak(&self.shared);
            });
            speaking.join().expect("it said all it had to say");
            thread::sleep(LAST_WAIT);
            self.shared.is_over.store(true, Ordering::Relaxed);
        });
    }

    /// Why timing must not be judged by this run.
    fn objection(&self, steal_percent: f64) -> Option<String> {
        let pace_us = self.shared.pace.at_us(0.999);
        if steal_percent >= STEAL_PERCENT_MAX {
            Some(format!("steal was {steal_percent:.1} %"))
        } else if pace_us >= PACE_P99_9_US_MAX {
            Some(format!("the bench itself was {pace_us} µs late at p99.9"))
        } else {
            None
        }
    }

    fn report(self, table: &mut Table, objection: Option<String>, dropped: usize) {
        let judged = match objection {
            None => format!("yes, {dropped} dropped before"),
            Some(objection) => format!("no: {objection}; {dropped} dropped before"),
        };
        self.gateway.stop();
        let (legs, shared) = (self.shared.legs.len(), &self.shared);
        let rows = [
            ("RTP in, WS out", &shared.uplink, Some(UPLINK_P99_US_MAX)),
            (
                "WS in, RTP out",
                &shared.downlink,
                Some(DOWNLINK_P99_US_MAX),
            ),
            ("the bench's own pace", &shared.pace, None),
        ];
        for (name, times, p99_us_max) in rows {
            let mut row = times.row(legs, name);
            assert!(row[2] != "0", "{name}: nothing came");
            row.push(p99_us_max.map_or(String::new(), |us_max| {
                let is_kept = times.at_us(0.99) <= us_max;
                let verdict = if is_kept { "pass" } else { "MISS" };
                format!("{} ms: {verdict}", us_max / 1_000)
            }));
            row.push(judged.clone());
            table.add(row);
        }
    }
}

fn config(legs: usize, translator: SocketAddr) -> Config {
    let (legs, url) = (legs.to_string(), format!("ws://{translator}/translate"));
    let set = [
        ("asterisk.control", "none"),
        ("extension.7777.listen", "127.0.0.1:0"),
        ("extension.8888.listen", "127.0.0.1:0"),
        ("extension.7777.uplink", "slin16"),
        ("extension.8888.uplink", "slin16"),
        ("extension.7777.downlink", "slin"),
        ("extension.8888.downlink", "slin"),
        ("link.url", &url),
        ("realtime.legs_max", &legs),
    ];
    let sources = Sources {
        command: Command::Gateway,
        config: None,
        env_file: None,
        environment: vec![],
        set: set.map(|(key, value)| (key.into(), value.into())).to_vec(),
    };
    config::load(&sources).unwrap_or_else(|error| panic!("{error}"))
}

/// The pace: sends what each phone and each translator has to say, at its time.
fn speak(shared: &Shared) {
    let legs = shared.legs.len() as u32;
    let tone = speech();
    let (mut packets, mut speeches) = (0, 0);
    loop {
        let packet_due = packet_due(packets, legs);
        let speech_due = shared.warm_up + SPEECH_PERIOD / legs * speeches;
        let due = packet_due.min(speech_due);
        if due >= shared.length {
            return;
        }
        wait_until(shared.begin + due);
        if due >= shared.warm_up {
            let late = shared.begin.elapsed().saturating_sub(due);
            shared.pace.expect_one();
            shared.pace.record(late);
        }
        if speech_due < packet_due {
            say(shared, (speeches % legs) as usize, due, speeches + 1, &tone);
            speeches += 1;
            continue;
        }
        if due >= shared.warm_up {
            shared.uplink.expect_one();
        }
        let leg = &shared.legs[(packets % legs) as usize];
        let packet = packet((packets % legs) as u16, packets / legs);
        leg.phone
            .send_to(&packet, leg.gateway)
            .expect("loopback takes it");
        packets += 1;
    }
}

/// When the packets of all legs are to leave, counted over all legs in turn.
fn packet_due(packets: u32, legs: u32) -> Duration {
    FRAME * (packets / legs) + FRAME * (packets % legs) / legs
}

fn say(shared: &Shared, leg: usize, at: Duration, utterance: u32, pcm: &[u8]) {
    let mut voice = shared.legs[leg].voice.lock().unwrap();
    let Some(voice) = voice.as_mut() else { return };
    let at_us = u64::try_from(at.as_micros()).expect("a bench is shorter");
    shared.legs[leg].spoke_at_us.store(at_us, Ordering::Relaxed);
    shared.downlink.expect_one();
    let header = Header::TranslatedAudio {
        utterance,
        last: true,
        pace: Pace::Stored,
        timestamp: 0,
    };
    let mut bytes = Vec::new();
    Frame { header, pcm }.encode(&mut bytes);
    // A lost connection shows as speech that never came.
    let _ = voice.send(Message::binary(bytes));
}

/// Puts the calling thread, and those it starts, before everything that is measured. A refusal was
/// told when the circumstances were arranged.
fn be_punctual(shared: &Shared) {
    if shared.mode == Mode::Measure {
        let _ = diglot::sys::set_fifo_priority(PRIORITY);
    }
}

fn wait_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// A tone as the translator says it.
fn speech() -> Vec<u8> {
    let sample = |n: usize| SPEECH_AMPLITUDE * (TAU * SPEECH_HZ * n as f64 / 16_000.0).cos();
    let samples = (0..SPEECH_SAMPLES).map(|n| sample(n) as i16);
    samples.flat_map(i16::to_le_bytes).collect()
}

/// Packet number `number` of a leg, which says so in its samples.
fn packet(leg: u16, number: u32) -> Vec<u8> {
    let mut packet = vec![0x80, PAYLOAD_TYPE_SLIN16];
    packet.extend((number as u16).to_be_bytes());
    packet.extend(number.wrapping_mul(FRAME_SAMPLES as u32).to_be_bytes());
    packet.extend(u32::from(leg).to_be_bytes());
    let (high, low) = ((number >> 16) as i16, number as i16);
    for sample in SIGNATURE.into_iter().chain([leg as i16, high, low]) {
        packet.extend(sample.to_be_bytes());
    }
    packet.resize(RTP_HEADER_BYTES + 2 * FRAME_SAMPLES, 0);
    packet
}

/// The leg and the number that a frame's samples tell; none of a frame that no phone sent.
fn told_by(pcm: &[u8]) -> Option<(usize, u32)> {
    let mut samples = pcm
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    if [samples.next()?, samples.next()?] != SIGNATURE {
        return None;
    }
    let leg = usize::try_from(samples.next()?).ok()?;
    let (high, low) = (samples.next()? as u16, samples.next()? as u16);
    Some((leg, u32::from(high) << 16 | u32::from(low)))
}

/// The translator's port: hands every connection on once its greeting is over.
fn accept_all(listener: &TcpListener, accepted: &Sender<Session>, waker: &Waker) {
    for stream in listener.incoming().map_while(Result::ok) {
        let is_wanted = Session::accept(stream).is_none_or(|session| {
            let is_taken = accepted.send(session).is_ok();
            is_taken && waker.wake().is_ok()
        });
        if !is_wanted {
            return;
        }
    }
}

/// The translator: one thread, woken once for all that came meanwhile, so that 500 legs cost it
/// little and the gateway has the CPU.
fn translate(shared: &Shared, mut poll: Poll, accepted: &Receiver<Session>) -> io::Result<()> {
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut sessions: Vec<Session> = Vec::with_capacity(shared.legs.len());
    while !shared.is_over.load(Ordering::Relaxed) {
        match poll.poll(&mut events, Some(STOP_LOOK)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() != ACCEPTED {
                // A lost connection shows as frames that never came.
                let _ = sessions[event.token().0].hear(shared);
                continue;
            }
            for mut session in accepted.try_iter() {
                let descriptor = session.reading.get_ref().as_raw_fd();
                let token = Token(sessions.len());
                poll.registry()
                    .register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
                // What came with the greeting announces itself to nobody.
                let _ = session.hear(shared);
                sessions.push(session);
            }
        }
    }
    Ok(())
}

/// One leg's connection at the translator.
struct Session {
    reading: WebSocket<TcpStream>,
    /// Until its first frame tells whose session it is.
    voice: Option<WebSocket<TcpStream>>,
    leg: Option<usize>,
}

impl Session {
    fn accept(stream: TcpStream) -> Option<Self> {
        stream.set_nodelay(true).ok()?;
        let writing = stream.try_clone().ok()?;
        let reading = accept(stream)?;
        // Of both: they are one connection.
        writing.set_nonblocking(true).ok()?;
        Some(Self {
            reading,
            voice: Some(WebSocket::from_raw_socket(writing, Role::Server, None)),
            leg: None,
        })
    }

    /// Takes what has come; none when there is no more, or the connection has ended.
    fn hear(&mut self, shared: &Shared) -> Option<()> {
        loop {
            let message = self.reading.read().ok()?;
            let now = shared.begin.elapsed();
            match &message {
                Message::Binary(bytes) => self.take_frame(shared, bytes, now),
                Message::Text(text) => self.answer(shared, text)?,
                _ => {}
            }
        }
    }

    fn take_frame(&mut self, shared: &Shared, bytes: &[u8], now: Duration) {
        let told = Frame::decode(bytes)
            .ok()
            .and_then(|frame| told_by(frame.pcm));
        let Some((index, number)) = told.filter(|(index, _)| *index < shared.legs.len()) else {
            return;
        };
        if let Some(voice) = self.voice.take() {
            *shared.legs[index].voice.lock().unwrap() = Some(voice);
            self.leg = Some(index);
        }
        let legs = shared.legs.len() as u32;
        let due = packet_due(number * legs + index as u32, legs);
        if due >= shared.warm_up {
            shared.uplink.record(now.saturating_sub(due));
        }
    }

    fn answer(&mut self, shared: &Shared, text: &str) -> Option<()> {
        let Some(answer) = answer(text) else {
            return Some(());
        };
        match self.leg {
            Some(leg) => shared.legs[leg]
                .voice
                .lock()
                .unwrap()
                .as_mut()?
                .send(answer),
            None => self.voice.as_mut()?.send(answer),
        }
        .ok()
    }
}

#[allow(
    clippy::result_large_err,
    reason = "the library's own type of a refusal"
)]
fn accept(stream: TcpStream) -> Option<WebSocket<TcpStream>> {
    let with_protocol = |_: &Request, mut response: Response| {
        let protocol = BINARY_SUBPROTOCOL.parse().expect("a plain word");
        let headers = response.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", protocol);
        Ok(response)
    };
    tungstenite::accept_hdr(stream, with_protocol).ok()
}

/// The pong of a ping.
fn answer(text: &str) -> Option<Message> {
    let mut message: serde_json::Value = serde_json::from_str(text).ok()?;
    if message["type"] != "ping" {
        return None;
    }
    message["type"] = "pong".into();
    Some(Message::text(message.to_string()))
}

/// The phones: take in all packets, and the time of each first one with sound.
fn hear(shared: &Shared) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    for (index, leg) in shared.legs.iter().enumerate() {
        let descriptor = leg.phone.as_raw_fd();
        let mut source = SourceFd(&descriptor);
        poll.registry()
            .register(&mut source, Token(index), Interest::READABLE)?;
    }
    let mut had_sound = vec![false; shared.legs.len()];
    let mut packet = [0; DATAGRAM_BYTES_MAX];
    while !shared.is_over.load(Ordering::Relaxed) {
        match poll.poll(&mut events, Some(STOP_LOOK)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            let index = event.token().0;
            while let Ok((length, _)) = shared.legs[index].phone.recv_from(&mut packet) {
                let now = shared.begin.elapsed();
                let has_sound = has_sound(&packet[..length]);
                let begins = has_sound && !had_sound[index];
                had_sound[index] = has_sound;
                // What a leg hears, its partner's translator said.
                let said_at_us = &shared.legs[index ^ 1].spoke_at_us;
                // Once for each utterance, even if it comes in pieces.
                let said_at_us = if begins {
                    said_at_us.swap(0, Ordering::Relaxed)
                } else {
                    0
                };
                if said_at_us > 0 {
                    let said_at = Duration::from_micros(said_at_us);
                    shared.downlink.record(now.saturating_sub(said_at));
                }
            }
        }
    }
    Ok(())
}

fn has_sound(packet: &[u8]) -> bool {
    let payload = packet.get(RTP_HEADER_BYTES..).unwrap_or_default();
    let mut samples = payload.chunks_exact(2);
    samples.any(|pair| i16::from_be_bytes([pair[0], pair[1]]).unsigned_abs() > SOUND_MIN)
}
