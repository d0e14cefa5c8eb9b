//! A WebSocket server on loopback that follows one script per connection, for tests of vendors'
//! clients. It knows nothing of the product's types: scripts write and expect literal messages.
#![allow(dead_code)]

use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::{Message, WebSocket};

/// A test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server for one connection.
pub(crate) struct Server {
    /// `ws://127.0.0.1:port`.
    pub(crate) url: String,
    script: JoinHandle<()>,
}

/// The server's end of an open WebSocket.
pub(crate) struct Peer {
    pub(crate) socket: WebSocket<TcpStream>,
    /// Path and query of the upgrade.
    pub(crate) uri: String,
    pub(crate) authorization: String,
}

impl Server {
    /// Serves one connection as a WebSocket.
    pub(crate) fn websocket(script: impl FnOnce(Peer) + Send + 'static) -> Self {
        Self::tcp(move |tcp| script(Peer::accept(tcp)))
    }

    /// Serves one connection without any protocol.
    pub(crate) fn tcp(script: impl FnOnce(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let script = thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            tcp.set_write_timeout(Some(PATIENCE)).unwrap();
            script(tcp);
        });
        Self { url, script }
    }

    /// The script has come to its end, and all it expected was so.
    pub(crate) fn finish(self) {
        if let Err(panic) = self.script.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Peer {
    /// The server's side of the upgrade.
    #[allow(clippy::result_large_err)]
    pub(crate) fn accept(tcp: TcpStream) -> Self {
        let (mut uri, mut authorization) = (String::new(), String::new());
        let take = |request: &Request, mut response: Response| -> Result<_, ErrorResponse> {
            uri = request.uri().to_string();
            let value = request.headers().get("authorization");
            authorization = value
                .map(|v| v.to_str().unwrap().to_owned())
                .unwrap_or_default();
            response
                .headers_mut()
                .insert("dg-request-id", "request-1".parse().unwrap());
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(tcp, take).unwrap();
        Self {
            socket,
            uri,
            authorization,
        }
    }

    /// Sends one text message.
    pub(crate) fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// The next audio message, in samples; control messages of the protocol are passed over.
    pub(crate) fn audio(&mut self) -> Vec<i16> {
        match self.next() {
            Message::Binary(bytes) => samples(&bytes),
            other => panic!("expected audio, got {other:?}"),
        }
    }

    /// Takes audio until a text message comes, which is given with what was heard before.
    pub(crate) fn audio_until_text(&mut self) -> (Vec<i16>, String) {
        let mut heard = Vec::new();
        loop {
            match self.next() {
                Message::Binary(bytes) => heard.extend(samples(&bytes)),
                Message::Text(text) => return (heard, text.to_string()),
                other => panic!("expected audio or text, got {other:?}"),
            }
        }
    }

    /// Waits for the client to hang up.
    pub(crate) fn until_gone(&mut self) {
        while self.socket.read().is_ok() {}
    }

    fn next(&mut self) -> Message {
        loop {
            match self.socket.read().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    assert!(
        !bytes.is_empty() && bytes.len().is_multiple_of(2),
        "{} bytes of audio",
        bytes.len()
    );
    bytes
        .chunks_exact(2)
        .map(|b| i16::from_le_bytes([b[0], b[1]]))
        .collect()
}
