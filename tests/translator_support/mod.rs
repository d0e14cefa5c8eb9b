//! What the tests of link and translator share: a translator on a free port, and a gateway's end of
//! the link over a blocking socket. Every wait has a deadline.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

pub mod vendors;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use diglot::config::{self, Command, Config, Engine, Sources};
use diglot::link::BINARY_SUBPROTOCOL;
use diglot::link::binary::{Frame, Header};
use diglot::translator::{Handle, Limits, Translator};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

/// Longer than anything here takes on a busy machine.
pub const WAIT_MAX: Duration = Duration::from_secs(20);

/// A configuration with 7777 (en) and 8888 (fr), on a free port of loopback.
pub fn config(engine: Engine) -> Config {
    let set = [
        ("asterisk.control", "none"),
        ("extension.7777.listen", "127.0.0.1:0"),
        ("extension.8888.listen", "127.0.0.1:0"),
        ("translator.listen", "127.0.0.1:0"),
        ("translator.engine", "loop"),
    ];
    let sources = Sources {
        command: Command::Run,
        config: None,
        env_file: None,
        environment: Vec::new(),
        set: set.map(|(key, value)| (key.into(), value.into())).into(),
    };
    let mut config = config::load(&sources).unwrap_or_else(|error| panic!("{error}"));
    config.translator.engine = engine;
    config.translator.workers = 4;
    config.translator.recognizers_max = 4;
    config.elevenlabs.voices = vec![
        ("en".into(), "voice-en".into()),
        ("fr".into(), "voice-fr".into()),
    ];
    config
}

/// A translator whose engine is the loop.
pub fn start_loop() -> Handle {
    start_loop_with(Limits::default())
}

/// The same with other bounds.
pub fn start_loop_with(limits: Limits) -> Handle {
    Translator::start_with(&config(Engine::Loop), None, limits).unwrap()
}

/// Waits until `is_so`.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// Sends a raw request and gives the whole answer.
pub fn http(address: SocketAddr, request: &[u8]) -> String {
    let mut socket = connect(address);
    socket.write_all(request).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// A plain socket with deadlines.
pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
    socket.set_write_timeout(Some(WAIT_MAX)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// A gateway's end of the link.
pub struct Gateway {
    pub socket: WebSocket<TcpStream>,
    pub extension: String,
}

impl Gateway {
    /// Connects for an extension, audio as text.
    pub fn connect(address: SocketAddr, extension: &str) -> Self {
        Self::connect_with(address, extension, None)
    }

    /// Connects for an extension, audio as binary messages.
    pub fn connect_binary(address: SocketAddr, extension: &str) -> Self {
        Self::connect_with(address, extension, Some(BINARY_SUBPROTOCOL))
    }

    fn connect_with(address: SocketAddr, extension: &str, protocol: Option<&'static str>) -> Self {
        let mut request = format!("ws://{address}/translate/{extension}")
            .into_client_request()
            .unwrap();
        if let Some(protocol) = protocol {
            request
                .headers_mut()
                .insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        let (socket, _) = tungstenite::client(request, connect(address)).unwrap();
        Self {
            socket,
            extension: extension.into(),
        }
    }

    /// Begins the session in a byte order, English to French.
    pub fn start(&mut self, encoding: &str) {
        self.start_with("en", "fr", encoding);
    }

    /// Begins the session.
    pub fn start_with(&mut self, language: &str, target_language: &str, encoding: &str) {
        self.send_json(&json!({
            "type": "session_start", "extension": self.extension, "language": language,
            "target_language": target_language, "call_id": "call-1",
            "audio": {"encoding": encoding, "sample_rate": 16000, "channels": 1, "frame_ms": 20},
        }));
    }

    /// Sends text as it is.
    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Sends JSON.
    pub fn send_json(&mut self, value: &Value) {
        self.send_text(&value.to_string());
    }

    /// Sends audio as base64, or as a binary message after [`Self::connect_binary`].
    pub fn send_audio(&mut self, sequence: u64, pcm: &[u8]) {
        let message = diglot::link::messages::Message::Audio(diglot::link::messages::Audio {
            extension: self.extension.as_str().into(),
            timestamp: 1_000_000 + sequence * 20,
            sequence,
            data: diglot::link::messages::Data::Bytes(pcm.into()),
        });
        self.send_text(&message.to_json());
    }

    /// Sends audio as a binary message.
    pub fn send_binary(&mut self, sequence: u32, pcm: &[u8]) {
        let mut bytes = Vec::new();
        let header = Header::Audio {
            sequence,
            timestamp: 1_000_000 + u64::from(sequence) * 20,
        };
        Frame { header, pcm }.encode(&mut bytes);
        self.socket.send(Message::binary(bytes)).unwrap();
    }

    /// The next message of any kind.
    pub fn receive(&mut self) -> Message {
        self.socket.read().unwrap()
    }

    /// The next text message.
    pub fn receive_json(&mut self) -> Value {
        match self.receive() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// The next text message of one type; others are passed over.
    pub fn receive_type(&mut self, kind: &str) -> Value {
        loop {
            let value = self.receive_json();
            if value["type"] == kind {
                return value;
            }
        }
    }

    /// Asserts that everything sent so far has been handled without any other answer.
    pub fn expect_quiet(&mut self) {
        self.send_json(&json!({"type": "ping", "id": 99, "timestamp": 5}));
        assert_eq!(
            self.receive_json(),
            json!({"type": "pong", "id": 99, "timestamp": 5})
        );
    }

    /// Reads until the peer closes; gives its close frame.
    pub fn receive_close(&mut self) -> Option<CloseFrame> {
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => return frame,
                Ok(_) => {}
                Err(error) => panic!("no close frame: {error}"),
            }
        }
    }
}

/// The PCM of a message's `data`.
pub fn pcm_of(message: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(message["data"].as_str().unwrap())
        .unwrap()
}

/// PCM of any even length, different for every seed.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..bytes).map(|_| random.u8(..)).collect()
}
