//! The rx tile: from the socket to the link thread's ring, within one wake-up.
//!
//! ```text
//! mio ─▶ receive ─▶ routes (whose is it?) ─▶ stage::Decode ─▷ stage::Resample ─▷ link thread
//! ```
//! The uplink has no frame clock: a punctual packet is passed on as it comes, or under load with
//! those of the same half millisecond (see [`rhythm`]). A short time-out of the wait
//! lets the decode stage give a missing packet up and keep a silent phone's uplink alive.
//! Packets of strangers are counted and reported, never decoded.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use diglot_rt::limits::{DATAGRAM_BYTES_MAX, RTP_PORTS_MAX, RX_BATCH_MAX, STAGE_RING_FRAMES};
use diglot_rt::msg::{LegId, PortIndex, RxCommand, RxEvent, RxLeg, UplinkFrame};
use diglot_rt::routes::Routes;
use diglot_rt::stage::{Decode, Resample};
use diglot_rt::stats::{RxCount, RxCounts};
use diglot_rt::units::Micros;
use diglot_rt::wire::rtp::{self, StreamPosition};
use mio::{Events, Interest, Poll, Token, Waker};
use rtrb::{Consumer, Producer, RingBuffer};

use super::Tile;
use super::meters::LegMeters;
use crate::net::batch::{Inbox, Left};
use crate::net::clock;
use crate::net::rhythm::{self, Rhythm, Rhythms};
use crate::net::timer::Alarm;
use crate::sys::RECEIVE_BATCH_MAX;

/// The token of the waker; sockets have their port's index.
const WAKER: Token = Token(usize::MAX);

/// How long a turn waits for a packet: half a frame, so that time-outs of the decode stage are
/// served in time.
const PATIENCE: Duration = Duration::from_millis(10);

// A turn takes whole batches.
const _: () =
    assert!(RX_BATCH_MAX >= RECEIVE_BATCH_MAX && RX_BATCH_MAX.is_multiple_of(RECEIVE_BATCH_MAX));

// No leg loses a frame because another's datagram completed many.
const _: () = assert!(Decode::FRAMES_PER_DATAGRAM_MAX <= STAGE_RING_FRAMES);

/// What an rx tile is made of.
#[derive(Debug)]
pub struct RxParts {
    /// The RTP ports, bound and non-blocking, in the order of [`PortIndex`].
    pub sockets: Vec<UdpSocket>,
    /// From the control thread.
    pub commands: Consumer<RxCommand>,
    /// To the log thread.
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
    /// What is waited for under load instead.
    pace: Alarm,
    rhythms: Rhythms,
    sockets: Vec<RxSocket>,
    inbox: Inbox,
    intake: Intake,
    /// The route of the leg in each slot, for its removal.
    slots: Box<[Option<RxLeg>]>,
    resample: Resample,
    commands: Consumer<RxCommand>,
    link: Arc<Waker>,
}

/// From a datagram to its leg's stream.
#[derive(Debug)]
struct Intake {
    routes: Routes,
    decode: Decode,
    events: EventOutbox,
    counts: Arc<RxCounts>,
    meters: Arc<LegMeters>,
}

#[derive(Debug)]
struct RxSocket {
    socket: mio::net::UdpSocket,
    /// Whether it may hold more than was read; mio tells only of news.
    is_readable: bool,
}

/// What a look at a socket found and handed on.
#[derive(Debug, Default)]
struct Look {
    datagrams: u64,
    frames: usize,
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
        let now = clock::now();
        let tile = Self {
            poll,
            ready: Events::with_capacity(RTP_PORTS_MAX + 1),
            pace: Alarm::new()?,
            rhythms: Rhythms::new(now),
            sockets,
            inbox: Inbox::new(),
            intake: Intake {
                routes: Routes::new(parts.legs_max),
                decode: Decode::new(parts.legs_max, decoded),
                events: EventOutbox {
                    ring: parts.events,
                    counts: Arc::clone(&parts.counts),
                },
                counts: parts.counts,
                meters: parts.meters,
            },
            slots: vec![None; parts.legs_max].into_boxed_slice(),
            resample: Resample::new(parts.legs_max, to_resample, parts.uplink),
            commands: parts.commands,
            link: parts.link,
        };
        Ok((tile, waker))
    }

    fn obey(&mut self, now: Micros) {
        while let Ok(command) = self.commands.pop() {
            match command {
                RxCommand::AddLeg(leg) => self.add(now, leg),
                RxCommand::RemoveLeg(leg) => self.remove(leg),
                RxCommand::Reroute { leg, port, source } => self.reroute(now, leg, port, source),
            }
        }
    }

    /// Takes a leg in. The control thread gives a slot and a source to one leg at a time, so only a
    /// mistake of ours can be refused here; it shows as a leg without sound and in the counters.
    fn add(&mut self, now: Micros, leg: RxLeg) {
        let intake = &mut self.intake;
        let is_taken = intake.decode.add_leg(now, &leg).is_ok()
            && self.resample.add_leg(&leg).is_ok()
            && intake.routes.insert(leg.port, leg.source, leg.leg).is_ok();
        match self.slots.get_mut(usize::from(leg.leg.slot)) {
            Some(slot) if is_taken => *slot = Some(leg),
            _ => intake.counts.count(RxCount::LegRefused),
        }
        intake.meters.begin(leg.leg, now);
    }

    fn remove(&mut self, leg: LegId) {
        if let Some(slot) = self.slots.get_mut(usize::from(leg.slot))
            && slot.is_some_and(|owner| owner.leg == leg)
            && let Some(owner) = slot.take()
        {
            self.intake.routes.remove(owner.port, owner.source);
        }
        self.intake.decode.remove_leg(leg);
        self.resample.remove_leg(leg);
    }

    /// Gives a leg another source, as [`Self::add`] gave it its first; one that cannot be had
    /// leaves it the old one.
    fn reroute(&mut self, now: Micros, leg: LegId, port: PortIndex, source: SocketAddr) {
        let intake = &mut self.intake;
        let slot = self.slots.get_mut(usize::from(leg.slot));
        let Some(owner) = slot.and_then(Option::as_mut).filter(|o| o.leg == leg) else {
            intake.counts.count(RxCount::LegRefused);
            return;
        };
        intake.routes.remove(owner.port, owner.source);
        if intake.routes.insert(port, source, leg).is_ok() {
            (owner.port, owner.source) = (port, source);
        } else {
            intake.counts.count(RxCount::LegRefused);
            // Its place has just become free.
            let _ = intake.routes.insert(owner.port, owner.source, leg);
        }
        intake.meters.begin(leg, now);
    }

    /// Waits for what wakes the tile and marks the sockets that may hold something.
    fn wait(&mut self) -> io::Result<()> {
        match self.rhythms.current() {
            // Even if there is more: what one look leaves is for the next, so that no flood ever
            // takes a core for itself.
            Rhythm::Paced => {
                self.pace.wait_until(rhythm::next_look(clock::now()))?;
                for socket in &mut self.sockets {
                    socket.is_readable = true;
                }
            }
            Rhythm::OnArrival => {
                let has_more = self.sockets.iter().any(|socket| socket.is_readable);
                let patience = if has_more { Duration::ZERO } else { PATIENCE };
                match self.poll.poll(&mut self.ready, Some(patience)) {
                    Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                    _ => {}
                }
                for event in &self.ready {
                    if let Some(socket) = self.sockets.get_mut(event.token().0) {
                        socket.is_readable = true;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads what a socket holds, at most [`RX_BATCH_MAX`] datagrams, and says how many. Hands
    /// frames on before the ring between the stages could be too full for the next datagram.
    fn receive(&mut self, now: Micros, index: usize) -> Look {
        // RTP_PORTS_MAX fits a byte.
        #[allow(clippy::cast_possible_truncation)]
        let port = PortIndex(index as u8);
        let (socket, intake) = (&mut self.sockets[index], &mut self.intake);
        let (resample, mut look) = (&mut self.resample, Look::default());
        for _ in 0..RX_BATCH_MAX / RECEIVE_BATCH_MAX {
            let received = self
                .inbox
                .receive(socket.socket.as_fd(), |source, datagram| {
                    look.datagrams += 1;
                    if intake.decode.room() < Decode::FRAMES_PER_DATAGRAM_MAX {
                        look.frames += resample.step(STAGE_RING_FRAMES, &intake.counts);
                    }
                    intake.take(now, port, source, datagram);
                });
            if received.is_err() {
                intake.counts.count(RxCount::SocketError);
            }
            // An error is told once and says nothing about what waits behind it.
            if matches!(received, Ok(Left::Nothing)) {
                socket.is_readable = false;
                break;
            }
        }
        intake.counts.add(RxCount::Datagram, look.datagrams);
        look
    }
}

impl Intake {
    fn take(&mut self, now: Micros, port: PortIndex, source: SocketAddr, datagram: &[u8]) {
        match self.routes.get(port, source) {
            Some(leg) => self.accept(now, leg, datagram),
            None => self.refuse(port, source, datagram),
        }
    }

    fn accept(&mut self, now: Micros, leg: LegId, datagram: &[u8]) {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            self.counts.count(RxCount::DropMalformed);
            return;
        }
        self.meters.received(leg, now, position(datagram));
        let events = &mut self.events;
        self.decode
            .receive(now, leg, datagram, &self.counts, |event| events.push(event));
    }

    fn refuse(&mut self, port: PortIndex, source: SocketAddr, datagram: &[u8]) {
        let Some(position) = position(datagram) else {
            self.counts.count(RxCount::DropMalformed);
            return;
        };
        self.counts.count(RxCount::DropUnknownSource);
        self.events.push(RxEvent::UnknownSource {
            port,
            source,
            position,
        });
    }
}

/// Which packet the datagram says it is; `None` if it is not RTP, or too long for it.
fn position(datagram: &[u8]) -> Option<StreamPosition> {
    let is_whole = datagram.len() <= DATAGRAM_BYTES_MAX;
    let packet = rtp::Packet::parse(datagram).ok().filter(|_| is_whole)?;
    Some(packet.position())
}

impl Tile for RxTile {
    fn turn(&mut self) -> io::Result<()> {
        self.wait()?;
        let now = clock::now();
        self.obey(now);
        let (mut datagrams, mut frames) = (0, 0);
        for index in 0..self.sockets.len() {
            if self.sockets[index].is_readable {
                let look = self.receive(now, index);
                datagrams += look.datagrams;
                frames += look.frames;
            }
        }
        self.rhythms.note(now, datagrams);
        let intake = &mut self.intake;
        frames += self.resample.step(STAGE_RING_FRAMES, &intake.counts);
        let events = &mut intake.events;
        let tell = |event| events.push(event);
        intake.decode.tick(now, &intake.counts, tell);
        frames += self.resample.step(STAGE_RING_FRAMES, &intake.counts);
        if frames > 0 {
            // A wake-up that fails only delays the frames to the link thread's own next turn.
            let _ = self.link.wake();
        }
        Ok(())
    }
}
