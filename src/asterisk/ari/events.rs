//! The event WebSocket of ARI: one connection, from the handshake to its loss.
//!
//! A connection counts as lost when nothing came for [`SILENCE_MAX`], although we ping: a peer that
//! vanished without a word must not be waited for.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use tungstenite::client::IntoClientRequest;
use tungstenite::error::CapacityError;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Bytes, Error, WebSocket};

use super::rest::{authorization, encode};
use crate::config::Ari;

/// Bytes of the longest event that is read. The longest measured had 1 kB.
const EVENT_BYTES_MAX: usize = 256 * 1024;

/// Bytes that wait to be sent at most: we send nothing but pings and pongs.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Longest wait for a connection and for each step of the handshake.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// How long one read waits: the pace at which pings and the end of the process are looked at.
const READ_WAIT: Duration = Duration::from_millis(200);

/// Time between two pings.
const PING_PERIOD: Duration = Duration::from_secs(1);

/// Longest time without a byte from Asterisk, pongs included.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// An open event socket.
pub(super) struct Events {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    heard_at: Instant,
    pinged_at: Instant,
}

/// What one read brought.
pub(super) enum Heard {
    /// Nothing that concerns calls; look at other things, then read on.
    Nothing,
    /// An event message.
    Text(String),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum EventsError {
    /// Asterisk closed it.
    #[error("closed by Asterisk")]
    Closed,
    /// The configured URL cannot be used.
    #[error("bad URL {0}")]
    BadUrl(String),
    /// An event was longer than is read.
    #[error("an event of more than {EVENT_BYTES_MAX} bytes")]
    Oversized,
    /// User or password is wrong.
    #[error("refused: wrong user or password (401)")]
    Refused,
    /// Nothing came for too long.
    #[error("no answer to pings for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// The name or the address does not answer.
    #[error("{0}")]
    Unreachable(#[from] std::io::Error),
    /// The protocol was broken, or the handshake failed.
    #[error("{0}")]
    WebSocket(Box<Error>),
}

impl Events {
    /// Connects and subscribes to our application.
    pub(super) fn connect(ari: &Ari) -> Result<Self, EventsError> {
        let bad_url = || EventsError::BadUrl(ari.url.clone());
        let rest = ari.url.strip_prefix("http").ok_or_else(bad_url)?;
        let url = format!("ws{rest}/ari/events?app={}", encode(&ari.app));
        let mut request = url.into_client_request().map_err(|_| bad_url())?;
        let mut credentials = HeaderValue::from_str(&authorization(ari)).map_err(|_| bad_url())?;
        credentials.set_sensitive(true);
        request.headers_mut().insert("Authorization", credentials);

        let stream = connect_tcp(request.uri().host(), request.uri()).ok_or_else(bad_url)??;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(CONNECT_WAIT))?;
        stream.set_read_timeout(Some(CONNECT_WAIT))?;
        let handle = stream.try_clone()?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(EVENT_BYTES_MAX))
            .max_frame_size(Some(EVENT_BYTES_MAX))
            .max_write_buffer_size(WRITE_BYTES_MAX)
            .write_buffer_size(0);
        let opened = tungstenite::client_tls_with_config(request, stream, Some(limits), None);
        let (socket, _) = opened.map_err(|error| match error {
            tungstenite::HandshakeError::Failure(error) => EventsError::from(error),
            tungstenite::HandshakeError::Interrupted(_) => EventsError::Silent,
        })?;
        handle.set_read_timeout(Some(READ_WAIT))?;
        let now = Instant::now();
        Ok(Self {
            socket,
            heard_at: now,
            pinged_at: now,
        })
    }

    /// Reads once, for at most [`READ_WAIT`]; pings when it is time.
    pub(super) fn read(&mut self) -> Result<Heard, EventsError> {
        let message = match self.socket.read() {
            Ok(message) => Some(message),
            Err(Error::Io(error)) if is_timeout(&error) => None,
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        if message.is_some() {
            self.heard_at = now;
        } else if now.duration_since(self.heard_at) > SILENCE_MAX {
            return Err(EventsError::Silent);
        }
        if now.duration_since(self.pinged_at) > PING_PERIOD {
            self.pinged_at = now;
            self.socket.send(tungstenite::Message::Ping(Bytes::new()))?;
        }
        Ok(match message {
            Some(tungstenite::Message::Text(text)) => Heard::Text(text.to_string()),
            _ => Heard::Nothing,
        })
    }

    /// Says goodbye, without waiting for the answer.
    pub(super) fn close(mut self) {
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }
}

impl From<Error> for EventsError {
    fn from(error: Error) -> Self {
        match error {
            Error::AlreadyClosed | Error::ConnectionClosed => Self::Closed,
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Self::Oversized,
            Error::Http(response) if response.status().as_u16() == 401 => Self::Refused,
            Error::Io(error) if is_timeout(&error) => Self::Silent,
            Error::Io(error) => Self::Unreachable(error),
            error => Self::WebSocket(Box::new(error)),
        }
    }
}

/// `None` if the URL names no host.
fn connect_tcp(
    host: Option<&str>,
    uri: &tungstenite::http::Uri,
) -> Option<std::io::Result<TcpStream>> {
    let host = host?.trim_matches(['[', ']']);
    let default_port = if uri.scheme_str() == Some("wss") {
        443
    } else {
        80
    };
    let addresses = (host, uri.port_u16().unwrap_or(default_port)).to_socket_addrs();
    Some(addresses.and_then(|addresses| {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }))
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock
    )
}
