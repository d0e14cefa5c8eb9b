//! A running server on a free port of loopback, and the smallest clients to talk to it.

#![allow(dead_code)] // Each test file uses its own part.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use offline_vendors::phrase_book::PhraseBook;
use offline_vendors::server::{Server, ServerOptions};
use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

/// Longest wait for anything in a test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The server all tests of one file share: its recognisers take a second to warm.
pub(crate) fn server() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| start(ServerOptions::default()))
}

/// A server of one's own.
pub(crate) fn start(options: ServerOptions) -> SocketAddr {
    let server = Server::bind("127.0.0.1:0", options, PhraseBook::built_in())
        .expect("engines are installed");
    let address = server.address().expect("bound");
    thread::spawn(move || server.run());
    address
}

/// A parsed HTTP response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON body")
    }
}

/// Sends raw bytes on a fresh connection and reads one response.
pub(crate) fn exchange(address: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("option");
    stream.write_all(request.as_bytes()).expect("write");
    read_reply(&mut stream)
}

/// Reads one response with a length or in chunks.
pub(crate) fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(byte(stream));
    }
    let head = String::from_utf8(head)
        .expect("ASCII head")
        .to_ascii_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .expect("status");
    let length = |head: &str| {
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))?;
        line.trim().parse::<usize>().ok()
    };
    let body = match length(&head) {
        Some(length) => exactly(stream, length),
        None => chunks(stream),
    };
    Reply { status, head, body }
}

fn chunks(stream: &mut TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(byte(stream));
        }
        let size = std::str::from_utf8(&line).expect("ASCII").trim();
        let size = usize::from_str_radix(size, 16).expect("chunk size");
        body.extend(exactly(stream, size));
        assert_eq!(exactly(stream, 2), b"\r\n");
        if size == 0 {
            return body;
        }
    }
}

fn byte(stream: &mut TcpStream) -> u8 {
    exactly(stream, 1)[0]
}

fn exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("the server answers");
    bytes
}

/// A request with a JSON body.
pub(crate) fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) type Socket = WebSocket<TcpStream>;

/// Opens a Deepgram stream; `Err` is the refusal's status, `dg-error` and body.
pub(crate) fn listen(
    address: SocketAddr,
    query: &str,
    authorization: Option<&str>,
) -> Result<(Socket, String), (u16, String, Value)> {
    let mut request = format!("ws://{address}/v1/listen?{query}")
        .into_client_request()
        .expect("request");
    if let Some(value) = authorization {
        request
            .headers_mut()
            .insert("authorization", value.parse().expect("header"));
    }
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("option");
    let header = |headers: &tungstenite::http::HeaderMap, name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
            .to_owned()
    };
    match tungstenite::client(request, stream) {
        Ok((socket, response)) => Ok((socket, header(response.headers(), "dg-request-id"))),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or(b"null");
            Err((
                response.status().as_u16(),
                header(response.headers(), "dg-error"),
                serde_json::from_slice(body).unwrap_or(Value::Null),
            ))
        }
        Err(other) => panic!("handshake: {other}"),
    }
}

/// The next JSON message, or the close code and reason.
pub(crate) fn next(socket: &mut Socket) -> Result<Value, (u16, String)> {
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).expect("JSON")),
            Ok(Message::Close(frame)) => {
                let frame = frame.expect("a close frame with a code");
                return Err((frame.code.into(), frame.reason.to_string()));
            }
            Ok(_) => {}
            Err(error) => panic!("socket: {error}"),
        }
    }
}

/// All messages up to the close, and the close.
pub(crate) fn rest(socket: &mut Socket) -> (Vec<Value>, (u16, String)) {
    let mut messages = Vec::new();
    loop {
        match next(socket) {
            Ok(message) => messages.push(message),
            Err(close) => return (messages, close),
        }
    }
}
