//! The translator's end of one connection: HTTP head, then WebSocket, then a polite end.
//!
//! ```text
//! Head ──upgrade──▶ Open ──close, error──▶ Draining ──▶ Gone
//!   └──any other request, refusal──────────────▲
//! ```
//! Driven by readiness and time from the thread that owns the socket; never blocks. What cannot be
//! sent waits in a bounded queue whose oldest speech and captions give way first, so a peer that
//! stops reading costs a fixed amount of memory and then its connection. Knows nothing of sessions.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::request::{HEAD_BYTES_MAX, Head, Refusal, Request, parse_head};
use crate::link::MESSAGE_BYTES_MAX;
use crate::link::stream::{ReadEnd, Stream};

/// Bytes gathered before they are written to the socket within one turn.
const WRITE_BYTES: usize = 32 * 1024;

/// Bytes of a peer's unread data that are thrown away at the end, so that it can read our last
/// words: a socket closed with unread data is reset.
const DISCARD_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// Bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Time for the request head.
    pub head_wait_max: Duration,
    /// Bytes that wait to be sent.
    pub outbound_bytes_max: usize,
    /// Time in which the peer reads nothing although there is something to read.
    pub stall_max: Duration,
    /// Time in which nothing comes on an open WebSocket.
    pub idle_max: Duration,
    /// Time for the goodbye.
    pub drain_wait_max: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            head_wait_max: Duration::from_secs(2),
            // Half a minute of speech as text: more than an utterance, which comes in one burst.
            outbound_bytes_max: 1_500_000,
            stall_max: Duration::from_secs(5),
            // A leg sends 50 messages a second and a ping every 300 ms.
            idle_max: Duration::from_secs(30),
            drain_wait_max: Duration::from_secs(1),
        }
    }
}

/// What a request gets.
#[derive(Debug)]
pub enum Route {
    /// An answer, and the end.
    Answer(Vec<u8>),
    /// A WebSocket; only for requests that have an upgrade.
    Upgrade,
}

/// What came in.
#[derive(Debug)]
pub enum Received {
    /// The connection is over; nothing more can be sent.
    Gone,
    /// The peer did something that ends the connection.
    Broken(Breach),
    /// A ping, pong or close, which the next call answers; there may be more.
    Control,
    /// A text or binary message.
    Message(Message),
    /// Nothing more at the moment.
    Nothing,
    /// A WebSocket has begun.
    Opened(Request),
    /// A request was refused.
    Refused(Refusal),
}

/// Why a connection was ended by us, or ended badly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breach {
    /// Nothing came for too long.
    Idle,
    /// A text message that is not UTF-8: close code 1007.
    InvalidUtf8,
    /// A message larger than [`MESSAGE_BYTES_MAX`]: close code 1009.
    Oversized,
    /// Against RFC 6455: close code 1002.
    Protocol,
    /// The peer vanished without saying goodbye.
    Reset,
    /// The peer does not read.
    Stalled,
}

/// Whether a message may be dropped for a newer one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// Yes: speech and captions.
    Droppable,
    /// No: errors, ends of utterances, traces, pongs.
    Always,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    state: State,
    limits: ConnectionLimits,
    outbound: Outbound,
    /// When the head must be complete or the goodbye over.
    deadline: Instant,
    heard_at: Instant,
    /// Since when nothing could be written although something waits.
    blocked_since: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Head {
        stream: Stream,
        bytes: Vec<u8>,
    },
    Open(Box<WebSocket<Stream>>),
    Draining {
        stream: Stream,
        unsent: Vec<u8>,
        bytes_discarded: usize,
    },
    Gone,
}

#[derive(Debug, Default)]
struct Outbound {
    messages: VecDeque<(Message, Keep)>,
    bytes: usize,
    /// Bytes lie in the WebSocket's own buffer.
    is_unflushed: bool,
}

impl Connection {
    /// Takes a socket that was just accepted.
    pub fn new(socket: TcpStream, limits: ConnectionLimits, now: Instant) -> Self {
        Self {
            state: State::Head {
                stream: Stream::new(socket),
                bytes: Vec::new(),
            },
            limits,
            outbound: Outbound::default(),
            deadline: now + limits.head_wait_max,
            heard_at: now,
            blocked_since: None,
        }
    }

    /// The socket, for its registration; `None` once it is gone.
    pub fn socket_mut(&mut self) -> Option<&mut TcpStream> {
        self.stream_mut().map(Stream::socket_mut)
    }

    /// The poll said that there may be something to read. `end` tells that the peer sends no more.
    pub fn mark_readable(&mut self, end: ReadEnd) {
        if let Some(stream) = self.stream_mut() {
            stream.mark_readable(end);
        }
    }

    /// Takes the next thing that came in.
    pub fn receive(&mut self, now: Instant, route: &mut dyn FnMut(&Request) -> Route) -> Received {
        match &mut self.state {
            State::Head { .. } => self.receive_head(now, route),
            State::Open(socket) => match socket.read() {
                Ok(message @ (Message::Binary(_) | Message::Text(_))) => {
                    self.heard_at = now;
                    Received::Message(message)
                }
                Ok(_) => {
                    self.heard_at = now;
                    Received::Control
                }
                Err(error) => self.fail(now, &error),
            },
            State::Draining { .. } => self.drain(),
            State::Gone => Received::Gone,
        }
    }

    /// Refuses the connection before it said anything.
    pub fn refuse(&mut self, now: Instant, refusal: Refusal, detail: &str) {
        self.answer(now, refusal.response(detail));
    }

    /// Queues a message; [`Self::flush`] sends it. Gives the number of messages that were dropped
    /// to keep the bound.
    pub fn send(&mut self, message: Message, keep: Keep) -> u64 {
        if !matches!(self.state, State::Open(_)) {
            return 0;
        }
        self.outbound.bytes += message.len();
        self.outbound.messages.push_back((message, keep));
        self.outbound.shrink_to(self.limits.outbound_bytes_max)
    }

    /// Bytes that wait in the queue.
    pub fn outbound_bytes(&self) -> usize {
        self.outbound.bytes
    }

    /// Sends what can be sent now.
    pub fn flush(&mut self, now: Instant) {
        let result = match &mut self.state {
            State::Open(socket) => self.outbound.write_to(socket),
            State::Draining { stream, unsent, .. } => {
                stream.write_some(unsent).map_err(Error::from)
            }
            State::Head { .. } | State::Gone => return,
        };
        match result {
            Ok(()) => self.blocked_since = None,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                let has_written = self.stream_mut().is_some_and(Stream::take_has_written);
                if has_written || self.blocked_since.is_none() {
                    self.blocked_since = Some(now);
                }
            }
            // Reading meets the same end and reports it.
            Err(_) => {}
        }
    }

    /// Begins the goodbye.
    pub fn close(&mut self, now: Instant, code: CloseCode, reason: &'static str) {
        if let State::Open(socket) = &mut self.state {
            // What waits goes first; what does not fit the socket now is lost with the connection.
            let _ = self.outbound.write_to(socket);
            let _ = socket.close(Some(CloseFrame {
                code,
                reason: reason.into(),
            }));
            self.begin_draining(now, Vec::new());
        }
    }

    /// Ends what has taken too long. To be called a few times a second.
    pub fn check_deadlines(&mut self, now: Instant) -> Option<Received> {
        match &self.state {
            State::Head { .. } if now >= self.deadline => {
                self.refuse(
                    now,
                    Refusal::Timeout,
                    "the request head did not come in time",
                );
                Some(Received::Refused(Refusal::Timeout))
            }
            State::Draining { .. } if now >= self.deadline => {
                self.state = State::Gone;
                Some(Received::Gone)
            }
            State::Open(_) if self.outbound.bytes > self.limits.outbound_bytes_max => {
                Some(self.abort(Breach::Stalled))
            }
            State::Open(_) if self.has_waited(self.blocked_since, self.limits.stall_max, now) => {
                Some(self.abort(Breach::Stalled))
            }
            State::Open(_) if self.has_waited(Some(self.heard_at), self.limits.idle_max, now) => {
                self.close(now, CloseCode::Policy, "nothing was heard for too long");
                Some(Received::Broken(Breach::Idle))
            }
            _ => None,
        }
    }

    fn has_waited(&self, since: Option<Instant>, wait_max: Duration, now: Instant) -> bool {
        since.is_some_and(|since| now.saturating_duration_since(since) >= wait_max)
    }

    fn receive_head(&mut self, now: Instant, route: &mut dyn FnMut(&Request) -> Route) -> Received {
        let State::Head { stream, bytes } = &mut self.state else {
            return Received::Nothing;
        };
        let mut chunk = [0; 1024];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Received::Nothing;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            }
            match parse_head(bytes) {
                Head::Partial => debug_assert!(bytes.len() < HEAD_BYTES_MAX),
                Head::Refused(refusal) => {
                    self.refuse(now, refusal, "the request is not served");
                    return Received::Refused(refusal);
                }
                Head::Complete(request, length) => {
                    let rest = bytes.split_off(length);
                    return self.begin(now, request, rest, route);
                }
            }
        }
        self.state = State::Gone;
        Received::Gone
    }

    fn begin(
        &mut self,
        now: Instant,
        request: Request,
        rest: Vec<u8>,
        route: &mut dyn FnMut(&Request) -> Route,
    ) -> Received {
        let upgrade = match (route(&request), &request.upgrade) {
            (Route::Upgrade, Some(upgrade)) => upgrade,
            (Route::Upgrade, None) => {
                self.refuse(
                    now,
                    Refusal::UpgradeRequired,
                    "this path is served as WebSocket only",
                );
                return Received::Refused(Refusal::UpgradeRequired);
            }
            (Route::Answer(answer), _) => {
                self.answer(now, answer);
                return Received::Nothing;
            }
        };
        let State::Head { mut stream, .. } = std::mem::replace(&mut self.state, State::Gone) else {
            return Received::Gone;
        };
        // The first bytes on a fresh socket: its buffer is empty, so all of them fit.
        if stream.write_all(&upgrade.response()).is_err() {
            return Received::Gone;
        }
        let socket =
            WebSocket::from_partially_read(stream, rest, Role::Server, Some(socket_config()));
        self.state = State::Open(Box::new(socket));
        self.heard_at = now;
        Received::Opened(request)
    }

    fn fail(&mut self, now: Instant, error: &Error) -> Received {
        let (breach, code) = match error {
            Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Received::Nothing;
            }
            Error::ConnectionClosed | Error::AlreadyClosed => {
                self.state = State::Gone;
                return Received::Gone;
            }
            Error::Capacity(_) => (Breach::Oversized, CloseCode::Size),
            Error::Utf8(_) => (Breach::InvalidUtf8, CloseCode::Invalid),
            Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)
            | Error::Io(_) => return self.abort(Breach::Reset),
            _ => (Breach::Protocol, CloseCode::Protocol),
        };
        self.close(now, code, "the message was refused");
        Received::Broken(breach)
    }

    fn abort(&mut self, breach: Breach) -> Received {
        self.state = State::Gone;
        Received::Broken(breach)
    }

    fn answer(&mut self, now: Instant, answer: Vec<u8>) {
        self.begin_draining(now, answer);
        self.flush(now);
    }

    fn begin_draining(&mut self, now: Instant, unsent: Vec<u8>) {
        let stream = match std::mem::replace(&mut self.state, State::Gone) {
            State::Head { stream, .. } | State::Draining { stream, .. } => stream,
            State::Open(socket) => socket.into_inner(),
            State::Gone => return,
        };
        self.outbound = Outbound::default();
        self.deadline = now + self.limits.drain_wait_max;
        self.state = State::Draining {
            stream,
            unsent,
            bytes_discarded: 0,
        };
        self.finish_writing();
    }

    fn finish_writing(&mut self) {
        if let State::Draining { stream, unsent, .. } = &mut self.state
            && stream.write_some(unsent).is_ok()
        {
            // A peer that is gone already needs no goodbye.
            let _ = stream.socket_mut().shutdown(Shutdown::Write);
        }
    }

    fn drain(&mut self) -> Received {
        self.finish_writing();
        let State::Draining {
            stream,
            bytes_discarded,
            ..
        } = &mut self.state
        else {
            return Received::Gone;
        };
        let mut chunk = [0; 4096];
        while *bytes_discarded < DISCARD_BYTES_MAX {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => *bytes_discarded += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Received::Nothing;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.state = State::Gone;
        Received::Gone
    }

    fn stream_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.state {
            State::Head { stream, .. } | State::Draining { stream, .. } => Some(stream),
            State::Open(socket) => Some(socket.get_mut()),
            State::Gone => None,
        }
    }
}

fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(crate::link::READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(WRITE_BYTES + 2 * MESSAGE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

impl Outbound {
    /// Drops the oldest droppable messages until `bytes_max` holds; gives how many.
    fn shrink_to(&mut self, bytes_max: usize) -> u64 {
        let mut dropped = 0;
        let mut index = 0;
        while self.bytes > bytes_max && index < self.messages.len() {
            if self.messages[index].1 == Keep::Always {
                index += 1;
                continue;
            }
            if let Some((message, _)) = self.messages.remove(index) {
                self.bytes -= message.len();
                dropped += 1;
            }
        }
        dropped
    }

    /// Writes until everything is with the system or the socket takes no more.
    fn write_to(&mut self, socket: &mut WebSocket<Stream>) -> Result<(), Error> {
        loop {
            // What the WebSocket holds must leave first, so that the bound above stays ours.
            if self.is_unflushed && (self.messages.is_empty() || socket.get_ref().is_blocked()) {
                socket.flush()?;
                self.is_unflushed = false;
            }
            let Some((message, _)) = self.messages.pop_front() else {
                return Ok(());
            };
            self.bytes -= message.len();
            self.is_unflushed = true;
            socket.write(message)?;
        }
    }
}
