//! The rx tile: from the socket to the link thread's ring, within one wake-up.
//!
//! ```text
//! mio ─▶ receive ─▶ routes (whose is it?) ─▶ stage::Decode ─▷ stage::Resample ─▷ link thread
//! ```
//! The uplink has no clock: a punctual packet is passed on as it comes. A short time-out of the
//! wait lets the decode stage give a missing packet up and keep a silent phone's uplink alive.
//! Packets of strangers are counted and reported, never decoded.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use diglot_rt::limits::{DATAGRAM_BYTES_MAX, RTP_PORTS_MAX, RX_BATCH_MAX, STAGE_RING_FRAMES};
use diglot_rt::msg::{LegId, PortIndex, RxCommand, RxEvent, RxLeg, UplinkFrame};
use diglot_rt::routes::Routes;
use diglot_rt::stage::{Decode, Resample};
use diglot_rt::stats::{RxCount, RxCounts};
use diglot_rt::units::Micros;
use diglot_rt::wire::rtp;
use mio::{Events, Interest, Poll, Token, Waker};
use rtrb::{Consumer, Producer, RingBuffer};

use super::Tile;
use super::meters::LegMeters;
use crate::net::clock;

/// The token of the waker; sockets have their port's index.
const WAKER: Token = Token(usize::MAX);

/// How long a turn waits for a packet: half a frame, so that time-outs of the decode stage are
/// served in time.
const PATIENCE: Duration = Duration::from_millis(10);

/// What an rx tile is made of.
#[derive(Debug)]
pub struct RxParts {
    /// The RTP ports, bound and non-blocking, in the order of [`PortIndex`].
    pub sockets: Vec<UdpSocket>,
    /// From the control thread.
    pub commands: Consumer<RxCommand>,
    /// To the control thread.
    pub events: Producer<RxEvent>,
    /// To the link thread.
    pub uplink: Producer<UplinkFrame>,
    /// Tells the link thread that there are frames.
    pub link: Arc<Waker>,
    /// What is counted.
    pub counts: Arc<RxCounts>,
    /// What each leg shows of itself.
    pub meters: Arc<LegMeters>,
    /// Legs at most.
    pub legs_max: usize,
}

/// The tile; see the module.
#[derive(Debug)]
pub struct RxTile {
    poll: Poll,
    ready: Events,
    sockets: Vec<RxSocket>,
    routes: Routes,
    /// The route of the leg in each slot, for its removal.
    slots: Box<[Option<RxLeg>]>,
    decode: Decode,
    resample: Resample,
    commands: Consumer<RxCommand>,
    events: EventOutbox,
    link: Arc<Waker>,
    counts: Arc<RxCounts>,
    meters: Arc<LegMeters>,
    /// One byte more than a datagram may have, so that a longer one shows.
    datagram: Box<[u8; DATAGRAM_BYTES_MAX + 1]>,
}

#[derive(Debug)]
struct RxSocket {
    socket: mio::net::UdpSocket,
    /// Whether it may hold more than was read; mio tells only of news.
    is_readable: bool,
}

/// Events that do not fit are counted: nobody waits for a log.
#[derive(Debug)]
struct EventOutbox {
    ring: Producer<RxEvent>,
    counts: Arc<RxCounts>,
}

impl EventOutbox {
    fn push(&mut self, event: RxEvent) {
        if self.ring.push(event).is_err() {
            self.counts.count(RxCount::EventLost);
        }
    }
}

impl RxTile {
    /// What one leg reserves in the stages of this tile.
    pub const BYTES_PER_LEG: usize = Decode::BYTES_PER_LEG + Resample::BYTES_PER_LEG;

    /// Reserves everything the tile will ever need. The waker ends its wait, for commands.
    ///
    /// # Errors
    /// The kernel refuses an epoll instance or a registration.
    pub fn new(parts: RxParts) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut sockets = Vec::with_capacity(parts.sockets.len());
        for (index, socket) in parts.sockets.into_iter().enumerate() {
            let mut socket = mio::net::UdpSocket::from_std(socket);
            poll.registry()
                .register(&mut socket, Token(index), Interest::READABLE)?;
            sockets.push(RxSocket {
                socket,
                is_readable: true,
            });
        }
        let (decoded, to_resample) = RingBuffer::new(STAGE_RING_FRAMES);
        let tile = Self {
            poll,
            ready: Events::with_capacity(RTP_PORTS_MAX + 1),
            sockets,
            routes: Routes::new(parts.legs_max),
            slots: vec![None; parts.legs_max].into_boxed_slice(),
            decode: Decode::new(parts.legs_max, decoded),
            resample: Resample::new(parts.legs_max, to_resample, parts.uplink),
            commands: parts.commands,
            events: EventOutbox {
                ring: parts.events,
                counts: Arc::clone(&parts.counts),
            },
            link: parts.link,
            counts: parts.counts,
            meters: parts.meters,
            datagram: Box::new([0; DATAGRAM_BYTES_MAX + 1]),
        };
        Ok((tile, waker))
    }

    fn obey(&mut self, now: Micros) {
        while let Ok(command) = self.commands.pop() {
            match command {
                RxCommand::AddLeg(leg) => self.add(now, leg),
                RxCommand::RemoveLeg(leg) => self.remove(leg),
            }
        }
    }

    /// Takes a leg in. The control thread gives a slot and a source to one leg at a time, so only a
    /// mistake of ours can be refused here; it shows as a leg without sound and in the counters.
    fn add(&mut self, now: Micros, leg: RxLeg) {
        let is_taken = self.decode.add_leg(&leg).is_ok()
            && self.resample.add_leg(&leg).is_ok()
            && self.routes.insert(leg.port, leg.source, leg.leg).is_ok();
        match self.slots.get_mut(usize::from(leg.leg.slot)) {
            Some(slot) if is_taken => *slot = Some(leg),
            _ => self.counts.count(RxCount::LegRefused),
        }
        self.meters.received(leg.leg, now);
    }

    fn remove(&mut self, leg: LegId) {
        if let Some(slot) = self.slots.get_mut(usize::from(leg.slot))
            && slot.is_some_and(|owner| owner.leg == leg)
            && let Some(owner) = slot.take()
        {
            self.routes.remove(owner.port, owner.source);
        }
        self.decode.remove_leg(leg);
        self.resample.remove_leg(leg);
    }

    /// Reads what a socket holds, a bounded number of datagrams.
    fn receive(&mut self, now: Micros, index: usize) {
        for _ in 0..RX_BATCH_MAX {
            let (length, source) =
                match self.sockets[index].socket.recv_from(&mut self.datagram[..]) {
                    Ok(received) => received,
                    Err(error) => {
                        if error.kind() != ErrorKind::WouldBlock {
                            self.counts.count(RxCount::SocketError);
                        }
                        self.sockets[index].is_readable = false;
                        return;
                    }
                };
            self.counts.count(RxCount::Datagram);
            // RTP_PORTS_MAX fits a byte.
            #[allow(clippy::cast_possible_truncation)]
            let port = PortIndex(index as u8);
            match self.routes.get(port, source) {
                Some(leg) => self.accept(now, leg, length),
                None => self.refuse(RxEvent::UnknownSource { port, source }, length),
            }
        }
    }

    fn accept(&mut self, now: Micros, leg: LegId, length: usize) {
        if length > DATAGRAM_BYTES_MAX {
            self.counts.count(RxCount::DropMalformed);
            return;
        }
        self.meters.received(leg, now);
        let (datagram, events) = (&self.datagram[..length], &mut self.events);
        self.decode
            .receive(now, leg, datagram, &self.counts, |event| events.push(event));
    }

    fn refuse(&mut self, event: RxEvent, length: usize) {
        if length > DATAGRAM_BYTES_MAX || rtp::Packet::parse(&self.datagram[..length]).is_err() {
            self.counts.count(RxCount::DropMalformed);
            return;
        }
        self.counts.count(RxCount::DropUnknownSource);
        self.events.push(event);
    }

    fn patience(&self) -> Duration {
        let has_more = self.sockets.iter().any(|socket| socket.is_readable);
        if has_more { Duration::ZERO } else { PATIENCE }
    }
}

impl Tile for RxTile {
    fn turn(&mut self) -> io::Result<()> {
        let patience = self.patience();
        match self.poll.poll(&mut self.ready, Some(patience)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.ready {
            if let Some(socket) = self.sockets.get_mut(event.token().0) {
                socket.is_readable = true;
            }
        }
        let now = clock::now();
        self.obey(now);
        for index in 0..self.sockets.len() {
            if self.sockets[index].is_readable {
                self.receive(now, index);
            }
        }
        self.decode.tick(now, &self.counts);
        if self.resample.step(STAGE_RING_FRAMES, &self.counts) > 0 {
            // A wake-up that fails only delays the frames to the link thread's own next turn.
            let _ = self.link.wake();
        }
        Ok(())
    }
}
