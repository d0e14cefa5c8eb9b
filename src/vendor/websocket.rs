//! A vendor's WebSocket: opened within time, then never blocking.
//!
//! Resolving, connecting, TLS and the upgrade block, each within its deadline; afterwards the
//! socket belongs in a mio poll. Sizes are bounded both ways: what a vendor may send at once, and
//! what may wait here for a vendor that does not read. Names are resolved by the system, in its own
//! time.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::client::Response;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Connector, HandshakeError, WebSocket};

use crate::vendor::FailureKind;

/// Bytes of the largest message a vendor may send. A result for five seconds of speech with all its
/// words is about 5 KiB, 200 ms of base64 audio at 48 kHz 26 KiB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Bytes that may wait here for a vendor that does not read: two seconds of 16 kHz audio. Callers
/// write nothing more once a write would block, so this is never reached.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Bytes read from the network at once.
const READ_BYTES: usize = 16 << 10;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// An open WebSocket. Reads and writes say `WouldBlock` instead of waiting.
pub(super) type Socket = WebSocket<MaybeTlsStream<TimedStream>>;

/// Why there is no WebSocket.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The network or TLS failed.
    Io(io::Error),
    /// What answered does not speak this protocol.
    Protocol(String),
    /// The vendor answered the upgrade with an HTTP status of its own.
    Refused(Box<Response>),
    /// A deadline passed.
    Timeout(&'static str),
    /// The URL or a header cannot be used.
    Url(String),
}

/// How long each step of opening may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenTimeouts {
    /// TCP, all addresses together.
    pub(super) connect: Duration,
    /// TLS and the upgrade together.
    pub(super) upgrade: Duration,
}

/// Opens `url` (`ws://` or `wss://`) with additional headers.
///
/// # Errors
/// See [`OpenError`]; [`OpenError::kind`] says what it means unless the vendor answered itself.
pub(super) fn open(
    url: &str,
    headers: &[(HeaderName, HeaderValue)],
    timeouts: OpenTimeouts,
    tls: Option<Connector>,
) -> Result<(Socket, Response), OpenError> {
    let mut request = url
        .into_client_request()
        .map_err(|error| OpenError::Url(error.to_string()))?;
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    let uri = request.uri();
    let port_of_scheme = match uri.scheme_str() {
        Some("ws") => 80,
        Some("wss") => 443,
        _ => return Err(OpenError::Url(format!("{url}: neither ws nor wss"))),
    };
    let host = uri
        .host()
        .ok_or_else(|| OpenError::Url(format!("{url}: no host")))?;
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = uri.port_u16().unwrap_or(port_of_scheme);

    let tcp = connect(&host, port, Instant::now() + timeouts.connect)?;
    let stream = TimedStream {
        tcp,
        deadline: Some(Instant::now() + timeouts.upgrade),
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let (mut socket, response) =
        tungstenite::client_tls_with_config(request, stream, Some(config), tls)
            .map_err(OpenError::from)?;
    tcp_of(&mut socket).never_block().map_err(OpenError::Io)?;
    Ok((socket, response))
}

/// The descriptor to watch with mio; the socket stays its owner.
pub(super) fn descriptor(socket: &mut Socket) -> RawFd {
    tcp_of(socket).tcp.as_raw_fd()
}

/// What an error of an open WebSocket means.
pub(super) fn failure_kind(error: &tungstenite::Error) -> FailureKind {
    use tungstenite::Error;
    match error {
        Error::Io(error) => io_kind(error),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Tls(_)
        | Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete,
        ) => FailureKind::Transient,
        _ => FailureKind::Protocol,
    }
}

/// Whether nothing is wrong, only nothing can be done at the moment.
pub(super) fn would_block(error: &tungstenite::Error) -> bool {
    matches!(error, tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// What an error of the network means.
pub(super) fn io_kind(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::TimedOut => FailureKind::Timeout,
        _ => FailureKind::Transient,
    }
}

impl OpenError {
    /// What it means, unless the vendor answered itself: then that is the vendor's to say.
    pub(super) fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Io(error) => Some(io_kind(error)),
            Self::Protocol(_) => Some(FailureKind::Protocol),
            Self::Refused(_) => None,
            Self::Timeout(_) => Some(FailureKind::Timeout),
            Self::Url(_) => Some(FailureKind::BadRequest),
        }
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot connect: {error}"),
            Self::Protocol(detail) => write!(f, "no WebSocket upgrade: {detail}"),
            Self::Refused(response) => write!(f, "refused with HTTP {}", response.status()),
            Self::Timeout(step) => write!(f, "{step} took too long"),
            Self::Url(detail) => write!(f, "unusable address: {detail}"),
        }
    }
}

impl<R> From<HandshakeError<R>> for OpenError
where
    R: tungstenite::handshake::HandshakeRole,
{
    fn from(error: HandshakeError<R>) -> Self {
        use tungstenite::Error;
        let error = match error {
            HandshakeError::Failure(error) => error,
            HandshakeError::Interrupted(_) => return Self::Timeout("upgrade"),
        };
        match error {
            Error::Http(response) => Self::Refused(response),
            Error::Io(error) if io_kind(&error) == FailureKind::Timeout => Self::Timeout("upgrade"),
            Error::Io(error) => Self::Io(error),
            Error::Url(_) | Error::HttpFormat(_) => Self::Url(error.to_string()),
            error if failure_kind(&error) == FailureKind::Transient => {
                Self::Io(io::Error::other(error.to_string()))
            }
            error => Self::Protocol(error.to_string()),
        }
    }
}

fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, OpenError> {
    let addresses = (host, port).to_socket_addrs().map_err(OpenError::Io)?;
    let mut last_error = OpenError::Url(format!("{host} has no address"));
    for address in addresses.take(ADDRESSES_MAX) {
        let time_left = deadline.saturating_duration_since(Instant::now());
        if time_left.is_zero() {
            return Err(OpenError::Timeout("connecting"));
        }
        match TcpStream::connect_timeout(&address, time_left) {
            Ok(tcp) => {
                tcp.set_nodelay(true).map_err(OpenError::Io)?;
                return Ok(tcp);
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(OpenError::Timeout("connecting"));
            }
            Err(error) => last_error = OpenError::Io(error),
        }
    }
    Err(last_error)
}

fn tcp_of(socket: &mut Socket) -> &mut TimedStream {
    match socket.get_mut() {
        MaybeTlsStream::Plain(stream) => stream,
        MaybeTlsStream::Rustls(stream) => &mut stream.sock,
        // The enum is open for other TLS libraries, none of which is built in.
        _ => unreachable!("opened as plain or by rustls"),
    }
}

/// A TCP stream that blocks no longer than until its deadline; without one it never blocks.
#[derive(Debug)]
pub(super) struct TimedStream {
    tcp: TcpStream,
    deadline: Option<Instant>,
}

impl TimedStream {
    fn never_block(&mut self) -> io::Result<()> {
        self.deadline = None;
        self.tcp.set_nonblocking(true)
    }

    /// Time left, or an error if none is. A peer that sends byte by byte gains none.
    fn time_left(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else {
            return Ok(None);
        };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            time_left => Ok(Some(time_left)),
        }
    }

    /// A blocking socket says `WouldBlock` when its timeout passes.
    fn is_timeout(&self, error: &io::Error) -> bool {
        self.deadline.is_some() && error.kind() == io::ErrorKind::WouldBlock
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(time_left) = self.time_left()? {
            self.tcp.set_read_timeout(Some(time_left))?;
        }
        match self.tcp.read(buffer) {
            Err(error) if self.is_timeout(&error) => Err(io::ErrorKind::TimedOut.into()),
            result => result,
        }
    }
}

impl Write for TimedStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if let Some(time_left) = self.time_left()? {
            self.tcp.set_write_timeout(Some(time_left))?;
        }
        match self.tcp.write(buffer) {
            Err(error) if self.is_timeout(&error) => Err(io::ErrorKind::TimedOut.into()),
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}
