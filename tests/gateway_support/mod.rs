//! Drives a whole gateway in this process over loopback: RTP phones that play and hear tones.
//!
//! A phone is known by its tone, so that whose voice arrives can be told from the sound alone.
#![allow(dead_code)]

use std::f64::consts::TAU;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use diglot::config::{self, Command, Config, Sources};
use diglot::gateway::Gateway;
use diglot::net::steering;

/// What any wait in these tests may take at most; a test that gets here has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const FRAME: Duration = Duration::from_millis(20);
const HEADER_BYTES: usize = 12;
const UPLINK_RATE_HZ: f64 = 16_000.0;
const UPLINK_SAMPLES: u32 = 320;
const DOWNLINK_RATE_HZ: f64 = 8_000.0;
const AMPLITUDE: f64 = 8_000.0;
/// A tone heard at less than a tenth of the power that was said is not heard.
const HEARD_POWER_MIN: f64 = 0.1 * AMPLITUDE * AMPLITUDE / 2.0;

/// A configuration of 7777 (en) and 8888 (fr) on free ports of loopback without Asterisk, changed
/// by `settings` as `--set` would.
pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    let defaults = [
        ("asterisk.control", "none"),
        ("extension.7777.listen", "127.0.0.1:0"),
        ("extension.8888.listen", "127.0.0.1:0"),
        ("translator.listen", "127.0.0.1:0"),
        ("translator.engine", "loop"),
        ("realtime.legs_max", "16"),
    ];
    let set = defaults
        .iter()
        .chain(settings)
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect();
    let sources = Sources {
        command: Command::Run,
        config: None,
        env_file: None,
        environment: vec![],
        set,
    };
    config::load(&sources).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until `condition` holds, looking again whenever time has passed.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// One RTP phone: what Asterisk's media channel is to the gateway.
pub(crate) struct Phone {
    socket: UdpSocket,
    gateway: SocketAddr,
    tone_hz: f64,
    ssrc: u32,
    sequence_number: u16,
    timestamp: u32,
    samples_said: f64,
    next_send: Instant,
    /// Packets heard, in order of arrival.
    pub(crate) heard: Vec<Packet>,
}

/// One packet as a phone heard it.
pub(crate) struct Packet {
    pub(crate) at: Instant,
    pub(crate) payload_type: u8,
    pub(crate) sequence_number: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) samples: Vec<i16>,
}

impl Phone {
    pub(crate) fn new(gateway: &Gateway, extension_index: usize, tone_hz: f64) -> Self {
        Self::from_socket(gateway, extension_index, tone_hz, socket("127.0.0.1"))
    }

    /// A phone that sends from this socket.
    pub(crate) fn from_socket(
        gateway: &Gateway,
        extension_index: usize,
        tone_hz: f64,
        socket: UdpSocket,
    ) -> Self {
        let port = socket.local_addr().unwrap().port();
        Self {
            socket,
            gateway: gateway.rtp_addresses()[extension_index],
            tone_hz,
            ssrc: 0x1234_0000 | u32::from(port),
            sequence_number: 65_530,
            timestamp: u32::MAX - 1_000,
            samples_said: 0.0,
            next_send: Instant::now(),
            heard: Vec::new(),
        }
    }

    /// Goes on from another socket, and gives back the one it had.
    pub(crate) fn move_to(&mut self, socket: UdpSocket) -> UdpSocket {
        self.listen();
        std::mem::replace(&mut self.socket, socket)
    }

    /// Takes in what came to a socket it had before it heard the packet numbered `before`.
    pub(crate) fn listen_to_old(&mut self, old: &UdpSocket, before: usize) {
        let mut bytes = [0; 2048];
        let received = std::iter::from_fn(|| {
            let length = old.recv(&mut bytes).ok()?;
            Some(Packet::parse(&bytes[..length]))
        });
        let received: Vec<Packet> = received.collect();
        self.heard.splice(before..before, received);
    }

    /// Pretends to be where another phone is in its stream.
    pub(crate) fn impersonate(&mut self, other: &Self) {
        self.ssrc = other.ssrc;
        self.sequence_number = other.sequence_number;
        self.timestamp = other.timestamp;
    }

    /// Skips so many packets of its own stream.
    pub(crate) fn skip(&mut self, packets: u16) {
        self.sequence_number = self.sequence_number.wrapping_add(packets);
    }

    /// Says another tone from now on.
    pub(crate) fn say(&mut self, tone_hz: f64) {
        self.tone_hz = tone_hz;
    }

    /// Sends bytes as they are, from this phone's address.
    pub(crate) fn send_raw(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.gateway).unwrap();
    }

    /// The next packet of this phone's tone (slin16 as Asterisk sends it).
    pub(crate) fn next_packet(&mut self) -> Vec<u8> {
        let mut packet = vec![0x80, 118];
        packet.extend(self.sequence_number.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        for _ in 0..UPLINK_SAMPLES {
            let sample =
                AMPLITUDE * (TAU * self.tone_hz * self.samples_said / UPLINK_RATE_HZ).sin();
            packet.extend((sample as i16).to_be_bytes());
            self.samples_said += 1.0;
        }
        self.sequence_number = self.sequence_number.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(UPLINK_SAMPLES);
        packet
    }

    /// Sends what is due on an absolute 20 ms grid, and takes in what has come.
    pub(crate) fn step(&mut self) {
        if Instant::now() >= self.next_send {
            self.next_send += FRAME;
            let packet = self.next_packet();
            self.send_raw(&packet);
        }
        self.listen();
    }

    /// Takes in what has come.
    pub(crate) fn listen(&mut self) {
        let mut bytes = [0; 2048];
        loop {
            match self.socket.recv_from(&mut bytes) {
                Ok((length, source)) => {
                    assert_eq!(source, self.gateway, "answers leave from the port asked");
                    self.heard.push(Packet::parse(&bytes[..length]));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Whether the last 100 ms heard hold this tone.
    pub(crate) fn hears(&self, tone_hz: f64) -> bool {
        let tail: Vec<i16> = self
            .heard
            .iter()
            .rev()
            .take(5)
            .rev()
            .flat_map(|p| p.samples.clone())
            .collect();
        tail.len() == 800 && power_at(&tail, tone_hz) > HEARD_POWER_MIN
    }

    /// Whether any 100 ms heard since the packet numbered `since` hold this tone.
    pub(crate) fn ever_heard(&self, tone_hz: f64, since: usize) -> bool {
        self.heard[since..].windows(5).any(|window| {
            let samples: Vec<i16> = window.iter().flat_map(|p| p.samples.clone()).collect();
            power_at(&samples, tone_hz) > HEARD_POWER_MIN
        })
    }

    /// Whether all that was heard since the packet numbered `since` is digital silence.
    pub(crate) fn heard_only_silence(&self, since: usize) -> bool {
        self.heard[since..]
            .iter()
            .all(|packet| packet.samples.iter().all(|sample| *sample == 0))
    }

    /// Checks the promises every packet keeps: static payload type, one SSRC, no sequence number
    /// missing, timestamps on the grid of media slots, no slot served twice.
    pub(crate) fn assert_stream_is_whole(&self) {
        for pair in self.heard.windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            assert_eq!(next.payload_type, 10);
            assert_eq!(next.ssrc, one.ssrc);
            assert_eq!(next.sequence_number, one.sequence_number.wrapping_add(1));
            let step = next.timestamp.wrapping_sub(one.timestamp);
            assert!(
                step > 0 && step.is_multiple_of(160),
                "timestamp step {step}"
            );
        }
    }
}

impl Packet {
    fn parse(bytes: &[u8]) -> Self {
        assert!(
            bytes.len() > HEADER_BYTES && bytes[0] == 0x80,
            "plain RTP header"
        );
        let (header, payload) = bytes.split_at(HEADER_BYTES);
        Self {
            at: Instant::now(),
            payload_type: header[1] & 0x7f,
            sequence_number: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            samples: payload
                .chunks_exact(2)
                .map(|b| i16::from_be_bytes([b[0], b[1]]))
                .collect(),
        }
    }
}

/// A socket on a free port of this address that does not wait.
pub(crate) fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// A socket whose port makes it the affair of this tile pair.
pub(crate) fn socket_on_pair(pair: usize, pairs: usize) -> UdpSocket {
    // The others are kept until then, so that every try is another port.
    let mut others = Vec::new();
    loop {
        let socket = socket("127.0.0.1");
        if steering::pair_of(socket.local_addr().unwrap(), pairs) == pair {
            return socket;
        }
        others.push(socket);
    }
}

/// Drives the phones until `condition` holds.
pub(crate) fn talk_until(
    what: &str,
    phones: &mut [&mut Phone],
    condition: impl Fn(&[&mut Phone]) -> bool,
) {
    wait_until(what, || {
        phones.iter_mut().for_each(|phone| phone.step());
        condition(phones)
    });
}

/// Drives the phones until each has heard `frames` more packets.
pub(crate) fn talk_for(frames: usize, phones: &mut [&mut Phone]) {
    let due: Vec<_> = phones
        .iter()
        .map(|phone| phone.heard.len() + frames)
        .collect();
    talk_until("a packet on every tick", phones, |phones| {
        phones
            .iter()
            .zip(&due)
            .all(|(phone, due)| phone.heard.len() >= *due)
    });
}

/// A WAV file of a second of a tone.
pub(crate) fn tone_file(hz: f64) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tone-{hz}.wav"));
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(&path, spec).unwrap();
    tone(hz, 16_000).for_each(|sample| file.write_sample(sample).unwrap());
    file.finalize().unwrap();
    path
}

/// Samples of a tone at 16 kHz.
pub(crate) fn tone(hz: f64, samples: u32) -> impl Iterator<Item = i16> {
    (0..samples).map(move |n| {
        let angle = TAU * hz * f64::from(n) / 16_000.0;
        (8_000.0 * angle.sin()) as i16
    })
}

/// Power of one tone in 8 kHz samples (Goertzel as a plain correlation).
fn power_at(samples: &[i16], hz: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let angle = TAU * hz * n as f64 / DOWNLINK_RATE_HZ;
        re += f64::from(*sample) * angle.cos();
        im += f64::from(*sample) * angle.sin();
    }
    let n = samples.len() as f64;
    2.0 * (re * re + im * im) / (n * n)
}
