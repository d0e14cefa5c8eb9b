//! One WebSocket connection to the translator that never blocks: dial, shake hands, read, write.
//!
//! It knows WebSocket and TCP, not what the messages mean. Its owner waits in mio and calls
//! [`Connection::advance`] when the socket is ready.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::{ClientHandshake, Response};
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, Message, WebSocket};

use crate::link::MESSAGE_BYTES_MAX;
use crate::link::stream::{ReadEnd, Stream};

/// Bytes that may wait for a translator that reads slowly: two seconds of audio. Beyond it audio is
/// dropped rather than aged.
const WRITE_BUFFER_BYTES_MAX: usize = 128 << 10;

/// Bytes collected before a write is tried without a flush.
const WRITE_BUFFER_BYTES: usize = 16 << 10;

/// A connection in whatever state it is.
#[derive(Debug)]
pub struct Connection {
    state: State,
}

#[derive(Debug)]
enum State {
    /// The TCP handshake runs; the request waits for it.
    Dialling(TcpStream, Box<tungstenite::handshake::client::Request>),
    Upgrading(Box<MidHandshake<ClientHandshake<Stream>>>),
    Open(Box<WebSocket<Stream>>),
    /// Nothing can be done with it but drop it.
    Over,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Neither refused nor open yet.
    Pending,
    /// Messages can be read and written.
    Open,
}

/// Whether a message was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Written {
    /// It is on its way or in the buffer.
    Taken,
    /// The buffer is full: the translator does not read. The message was dropped.
    Full,
}

impl Connection {
    /// Begins to connect to `url` at `address`, asking for `subprotocol`.
    ///
    /// # Errors
    /// The URL is none, or the socket cannot be made; a refusal comes later.
    pub fn dial(
        address: SocketAddr,
        url: &str,
        subprotocol: &'static str,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut request = url.into_client_request().map_err(io::Error::other)?;
        request.headers_mut().insert(
            "Sec-WebSocket-Protocol",
            HeaderValue::from_static(subprotocol),
        );
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            state: State::Dialling(stream, Box::new(request)),
        })
    }

    /// Goes as far as the socket allows.
    ///
    /// # Errors
    /// Refused, reset, or not a WebSocket; the connection is over.
    pub fn advance(&mut self) -> io::Result<Progress> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Dialling(stream, request) => self.connected(stream, request),
            State::Upgrading(handshake) => self.upgraded(handshake.handshake()),
            State::Open(socket) => {
                self.state = State::Open(socket);
                Ok(Progress::Open)
            }
            State::Over => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The poll said that there may be something to read. `end` tells that the peer sends no more.
    pub fn mark_readable(&mut self, end: ReadEnd) {
        match &mut self.state {
            State::Open(socket) => socket.get_mut().mark_readable(end),
            State::Upgrading(handshake) => handshake.get_mut().get_mut().mark_readable(end),
            // What its socket holds then is read whatever the poll said before.
            State::Dialling(..) | State::Over => {}
        }
    }

    /// The next message, if a whole one has come.
    ///
    /// # Errors
    /// The connection is over: closed, reset, or a breach of the protocol.
    pub fn read(&mut self) -> Result<Option<Message>, tungstenite::Error> {
        let State::Open(socket) = &mut self.state else {
            return Ok(None);
        };
        match socket.read() {
            Ok(message) => Ok(Some(message)),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Buffers a message; [`flush`](Self::flush) sends it.
    ///
    /// # Errors
    /// The connection is over.
    pub fn write(&mut self, message: Message) -> Result<Written, tungstenite::Error> {
        let State::Open(socket) = &mut self.state else {
            return Ok(Written::Full);
        };
        match socket.write(message) {
            Ok(()) => Ok(Written::Taken),
            Err(tungstenite::Error::WriteBufferFull(_)) => Ok(Written::Full),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(Written::Taken)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends what is buffered, as far as the socket takes it.
    ///
    /// # Errors
    /// The connection is over.
    pub fn flush(&mut self) -> Result<(), tungstenite::Error> {
        let State::Open(socket) = &mut self.state else {
            return Ok(());
        };
        match socket.flush() {
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(())
            }
            result => result,
        }
    }

    fn connected(
        &mut self,
        stream: TcpStream,
        request: Box<tungstenite::handshake::client::Request>,
    ) -> io::Result<Progress> {
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                self.state = State::Dialling(stream, request);
                return Ok(Progress::Pending);
            }
            other => other?,
        };
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(crate::link::READ_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX))
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
        let handshake =
            tungstenite::client::client_with_config(*request, Stream::new(stream), Some(config));
        self.upgraded(handshake)
    }

    fn upgraded(
        &mut self,
        result: Result<(WebSocket<Stream>, Response), HandshakeError<ClientHandshake<Stream>>>,
    ) -> io::Result<Progress> {
        match result {
            Ok((socket, _response)) => {
                self.state = State::Open(Box::new(socket));
                Ok(Progress::Open)
            }
            Err(HandshakeError::Interrupted(handshake)) => {
                self.state = State::Upgrading(Box::new(handshake));
                Ok(Progress::Pending)
            }
            Err(HandshakeError::Failure(error)) => Err(io::Error::other(error)),
        }
    }
}
