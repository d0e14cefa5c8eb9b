//! The I/O thread's loop: sockets, results of the workers, deadlines. Work per turn is bounded, and
//! whatever is left waits for the next turn, so no connection can hold up another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{self, Receiver, Sender};
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use tungstenite::protocol::frame::coding::CloseCode;

use super::Engines;
use super::counters::Count;
use super::hub::Hub;
use super::jobs::{Report, Reporter};
use super::limits::{
    ACCEPTS_PER_TURN_MAX, EVENTS_PER_TURN_MAX, HOUSEKEEPING, Limits, READS_PER_TURN_MAX,
    REFUSALS_MAX, RESULTS_MAX, RESULTS_PER_TURN_MAX,
};
use super::session::{After, Session, SessionId, Turn};
use crate::config::Config;
use crate::critical;
use crate::link::stream::ReadEnd;
use crate::link::translator::request::Refusal;
use crate::link::translator::server::{Breach, Connection, Received};
use crate::net::clock;
use crate::net::paced_poll::PacedPoll;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// The I/O thread's state.
pub(super) struct Reactor {
    poll: PacedPoll,
    listener: TcpListener,
    local_addr: SocketAddr,
    waker: Arc<Waker>,
    hub: Arc<Hub>,
    is_stopped: Arc<AtomicBool>,
    slots: Vec<Slot>,
    /// Slots without a connection.
    free: Vec<usize>,
    /// Slots with more to read than one turn takes, each once: its turn must not grow.
    unread: Vec<usize>,
    /// More connections wait than one turn accepts, or accepting failed for the moment.
    is_accept_due: bool,
    now: Instant,
    housekept_at: Instant,
    /// What the workers found; `None` once nobody listens any more.
    reports: Option<Receiver<Report>>,
    reports_sender: Sender<Report>,
    /// Messages received since the last turn ended.
    messages: u64,
    /// Decoded PCM of the message at hand.
    pcm: Vec<u8>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    session: Option<Session>,
    generation: u32,
}

impl Reactor {
    pub(super) fn bind(
        config: &Config,
        engines: Option<Engines>,
        limits: Limits,
        is_stopped: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(config.translator.listen)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let now = Instant::now();
        let (reports_sender, reports) = channel::bounded(RESULTS_MAX);
        Ok(Self {
            local_addr: listener.local_addr()?,
            waker: Arc::new(Waker::new(poll.registry(), WAKER)?),
            hub: Arc::new(Hub::new(config, engines, limits)),
            poll: PacedPoll::new(poll)?,
            listener,
            is_stopped,
            slots: Vec::new(),
            free: Vec::new(),
            unread: Vec::new(),
            is_accept_due: false,
            now,
            housekept_at: now,
            reports: Some(reports),
            reports_sender,
            messages: 0,
            pcm: Vec::new(),
        })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub(super) fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.hub)
    }

    /// Serves until it is stopped.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
        while !self.is_stopped.load(Ordering::Acquire) {
            let wait_max = self.wait_max();
            if let Err(error) = self.poll.wait(&mut events, wait_max) {
                critical::abort("translator", &error);
            }
            self.now = Instant::now();
            self.turn(&events);
        }
        self.shut_down();
    }

    fn turn(&mut self, events: &Events) {
        for index in std::mem::take(&mut self.unread) {
            self.serve(index);
        }
        for event in events {
            match event.token() {
                LISTENER => self.is_accept_due = true,
                WAKER => {}
                Token(index) => self.serve_event(index, event),
            }
        }
        let messages = std::mem::take(&mut self.messages);
        self.poll.note(clock::now(), messages);
        self.take_reports();
        if self.is_accept_due {
            self.accept();
        }
        if self.now.duration_since(self.housekept_at) >= HOUSEKEEPING {
            self.housekeep();
        }
    }

    /// How long the poll may sleep.
    fn wait_max(&self) -> Option<Duration> {
        let has_reports = self
            .reports
            .as_ref()
            .is_some_and(|reports| !reports.is_empty());
        if has_reports || !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        let is_idle = self.free.len() == self.slots.len() && !self.is_accept_due;
        (!is_idle).then_some(HOUSEKEEPING)
    }

    /// Gives the workers' reports to their sessions; one whose session has ended is nothing.
    fn take_reports(&mut self) {
        let Some(reports) = &self.reports else { return };
        let mut touched = Vec::new();
        for report in reports.try_iter().take(RESULTS_PER_TURN_MAX) {
            let index = report.session.slot as usize;
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            if slot.generation != report.session.generation {
                continue;
            }
            let (Some(session), Some(connection)) = (&mut slot.session, &mut slot.connection)
            else {
                continue;
            };
            let hub = &self.hub;
            let mut turn = Turn {
                now: self.now,
                unix_ms: unix_ms(),
                connection,
                hub,
            };
            session.handle_finding(report.finding, &mut turn);
            if touched.last() != Some(&index) {
                touched.push(index);
            }
        }
        for index in touched {
            if let Some(connection) = &mut self.slots[index].connection {
                connection.flush(self.now);
            }
        }
    }

    fn accept(&mut self) {
        self.is_accept_due = false;
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match self.listener.accept() {
                Ok((socket, _)) => self.add(socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of descriptors, or a peer that gave up: tried again at the next turn.
                    log::warn!("accept: {error}");
                    break;
                }
            }
        }
        self.is_accept_due = true;
    }

    fn add(&mut self, socket: mio::net::TcpStream) {
        let connections = self.slots.len() - self.free.len();
        let connections_max = self.hub.limits.connections_max;
        if connections >= connections_max {
            self.hub.counters.count(Count::ConnectionRefused);
            if connections >= connections_max + REFUSALS_MAX {
                return;
            }
        }
        // Without it small messages wait for the peer's acknowledgement; nothing else changes.
        let _ = socket.set_nodelay(true);
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let mut connection = Connection::new(socket, self.hub.limits.connection, self.now);
        let interests = Interest::READABLE | Interest::WRITABLE;
        let is_registered = connection.socket_mut().is_some_and(|socket| {
            self.poll
                .registry()
                .register(socket, Token(index), interests)
                .is_ok()
        });
        if !is_registered {
            self.free.push(index);
            return;
        }
        if connections >= connections_max {
            connection.refuse(self.now, Refusal::Unavailable, "too many connections");
        } else {
            self.hub.counters.count(Count::Connection);
        }
        self.slots[index].connection = Some(connection);
        self.hub
            .connections
            .set((self.slots.len() - self.free.len()) as u64);
    }

    fn serve_event(&mut self, index: usize, event: &Event) {
        let Some(connection) = self
            .slots
            .get_mut(index)
            .and_then(|slot| slot.connection.as_mut())
        else {
            return;
        };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            let is_end = event.is_read_closed() || event.is_error();
            connection.mark_readable(if is_end {
                ReadEnd::Closed
            } else {
                ReadEnd::Open
            });
        }
        self.serve(index);
    }

    /// Reads what came on one connection, and sends what is to be sent.
    fn serve(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let Some(connection) = &mut slot.connection else {
            return;
        };
        let hub = &self.hub;
        let id = SessionId {
            slot: index as u32,
            generation: slot.generation,
        };
        let mut is_gone = false;
        let mut is_unread = true;
        for _ in 0..READS_PER_TURN_MAX {
            match connection.receive(self.now, &mut |request| hub.route(request)) {
                Received::Nothing => {
                    is_unread = false;
                    break;
                }
                Received::Gone => {
                    is_gone = true;
                    break;
                }
                Received::Opened(request) => {
                    let reporter = Reporter {
                        session: id,
                        reports: self.reports_sender.clone(),
                        waker: Arc::clone(&self.waker),
                        is_stopped: Arc::default(),
                    };
                    slot.session = Session::open(reporter, &request, hub);
                }
                Received::Message(message) => {
                    self.messages += 1;
                    let Some(session) = &mut slot.session else {
                        continue;
                    };
                    let mut turn = Turn {
                        now: self.now,
                        unix_ms: unix_ms(),
                        connection,
                        hub,
                    };
                    if session.handle(&message, &mut turn, &mut self.pcm) == After::End {
                        end_session(&mut slot.session, hub);
                        connection.close(self.now, CloseCode::Normal, "session ended");
                    }
                }
                other => count_end(&other, hub),
            }
        }
        connection.flush(self.now);
        if is_gone {
            self.remove(index);
        } else if is_unread && !self.unread.contains(&index) {
            self.unread.push(index);
        }
    }

    fn remove(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        end_session(&mut slot.session, &self.hub);
        if slot.connection.take().is_some() {
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(index);
            self.hub
                .connections
                .set((self.slots.len() - self.free.len()) as u64);
        }
    }

    fn housekeep(&mut self) {
        self.housekept_at = self.now;
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let Some(connection) = &mut slot.connection else {
                continue;
            };
            if let Some(end) = connection.check_deadlines(self.now) {
                count_end(&end, &self.hub);
                end_session(&mut slot.session, &self.hub);
                self.serve(index);
                continue;
            }
            if let Some(session) = &mut slot.session {
                let hub = &self.hub;
                let mut turn = Turn {
                    now: self.now,
                    unix_ms: unix_ms(),
                    connection,
                    hub,
                };
                session.handle_timeout(&mut turn);
                connection.flush(self.now);
            }
        }
    }

    fn shut_down(&mut self) {
        // Workers that wait to report go on and find that they are not needed.
        self.reports = None;
        for slot in &mut self.slots {
            end_session(&mut slot.session, &self.hub);
            if let Some(connection) = &mut slot.connection {
                connection.close(self.now, CloseCode::Away, "the translator stops");
            }
        }
    }
}

fn end_session(session: &mut Option<Session>, hub: &Hub) {
    if let Some(session) = session.take() {
        session.end(hub);
    }
}

fn count_end(end: &Received, hub: &Hub) {
    let count = match end {
        Received::Broken(Breach::Idle) => Count::ConnectionIdle,
        Received::Broken(Breach::InvalidUtf8) => Count::MessageNotUtf8,
        Received::Broken(Breach::Oversized) => Count::MessageOversized,
        Received::Broken(Breach::Protocol) => Count::ProtocolBroken,
        Received::Broken(Breach::Reset) => Count::ConnectionReset,
        Received::Broken(Breach::Stalled) => Count::ConnectionStalled,
        Received::Refused(_) => Count::RequestRefused,
        _ => return,
    };
    hub.counters.count(count);
}

/// Unix time in milliseconds; 0 on a clock before 1970.
fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
