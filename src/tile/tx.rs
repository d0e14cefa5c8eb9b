//! The tx tile: one packet to every live leg on every tick of the frame clock.
//!
//! ```text
//! link thread ─▷ stage::Playout (collect, then one frame a leg) ─▷ stage::Encode ─▶ send
//! ```
//! What leaves is decided by the tick alone; arrivals only fill the playout buffers. A tick that
//! comes late is late once, slots that were missed become a gap in the timestamps, never a burst.
//! Many legs take turns within the 20 ms (see [`diglot_rt::phases`]).

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use diglot_rt::limits::{LINK_RING_FRAMES, PHASES, STAGE_RING_FRAMES};
use diglot_rt::msg::{DownlinkFrame, TxCommand, TxEvent};
use diglot_rt::phases::Phases;
use diglot_rt::stage::{Encode, Playout};
use diglot_rt::stats::{TxCount, TxCounts};
use diglot_rt::units::Micros;
use rtrb::{Consumer, Producer, RingBuffer};

use super::Tile;
use crate::net::batch::Outbox;
use crate::net::clock;
use crate::net::timer::Alarm;

/// What a tx tile is made of.
#[derive(Debug)]
pub struct TxParts {
    /// The RTP ports, the same sockets that receive, in the order of `PortIndex`.
    pub sockets: Vec<UdpSocket>,
    /// From the control thread.
    pub commands: Consumer<TxCommand>,
    /// To the log thread.
    pub events: Producer<TxEvent>,
    /// From the link thread.
    pub downlink: Consumer<DownlinkFrame>,
    /// What is counted.
    pub counts: Arc<TxCounts>,
    /// Legs at most.
    pub legs_max: usize,
}

/// The tile; see the module.
#[derive(Debug)]
pub struct TxTile {
    alarm: Alarm,
    phases: Phases,
    ports: Vec<Port>,
    playout: Playout,
    encode: Encode,
    commands: Consumer<TxCommand>,
    events: Producer<TxEvent>,
    counts: Arc<TxCounts>,
}

/// A socket and what is about to leave it.
#[derive(Debug)]
struct Port {
    socket: UdpSocket,
    outbox: Outbox,
}

impl Port {
    fn new(socket: UdpSocket) -> Self {
        Self {
            socket,
            outbox: Outbox::new(),
        }
    }

    fn send(&mut self, counts: &TxCounts) {
        let sent = self.outbox.send(&self.socket);
        counts.add(TxCount::Packet, sent.packets);
        counts.add(TxCount::SocketError, sent.refused);
    }
}

impl TxTile {
    /// What one leg reserves in the stages of this tile.
    pub const BYTES_PER_LEG: usize = Playout::BYTES_PER_LEG + Encode::BYTES_PER_LEG;

    /// Reserves everything the tile will ever need and starts its clock.
    ///
    /// # Errors
    /// The kernel refuses a timer.
    pub fn new(parts: TxParts) -> io::Result<Self> {
        let epoch = clock::now().plus_frames(1);
        let (played, to_encode) = RingBuffer::new(STAGE_RING_FRAMES);
        Ok(Self {
            alarm: Alarm::new()?,
            phases: Phases::new(epoch),
            ports: parts.sockets.into_iter().map(Port::new).collect(),
            playout: Playout::new(parts.legs_max, parts.downlink, played),
            encode: Encode::new(parts.legs_max, to_encode),
            commands: parts.commands,
            events: parts.events,
            counts: parts.counts,
        })
    }

    fn obey(&mut self, now: Micros) {
        while let Ok(command) = self.commands.pop() {
            match command {
                TxCommand::AddLeg(leg) => {
                    let phase = self.phases.enter(now);
                    // The control thread gives a slot to one leg at a time, so only a mistake of
                    // ours can be refused here.
                    let is_taken = self.playout.add_leg(&leg, phase).is_ok();
                    if !is_taken {
                        self.phases.leave(phase);
                    }
                    if !is_taken || self.encode.add_leg(&leg).is_err() {
                        self.counts.count(TxCount::LegRefused);
                    }
                }
                TxCommand::Redirect { leg, destination } => {
                    self.encode.redirect(leg, destination);
                }
                TxCommand::RemoveLeg(leg) => {
                    if let Some(phase) = self.playout.remove_leg(leg) {
                        self.phases.leave(phase);
                    }
                    self.encode.remove_leg(leg);
                }
            }
        }
    }

    /// Sends what the stages have made.
    fn send(&mut self) {
        let (ports, events, counts) = (&mut self.ports, &mut self.events, &self.counts);
        self.encode.step(
            STAGE_RING_FRAMES,
            counts,
            |port, destination, packet, sent| {
                let port = &mut ports[usize::from(port.0)];
                port.outbox.push(destination, packet);
                if port.outbox.is_full() {
                    port.send(counts);
                }
                if let Some(utterance) = sent.begins {
                    let (leg, at) = (sent.leg, clock::now());
                    if events
                        .push(TxEvent::UtteranceStarted { leg, utterance, at })
                        .is_err()
                    {
                        counts.count(TxCount::EventLost);
                    }
                }
            },
        );
        for port in ports {
            port.send(counts);
        }
    }
}

impl Tile for TxTile {
    fn turn(&mut self) -> io::Result<()> {
        self.alarm.wait_until(self.phases.next_deadline())?;
        let now = clock::now();
        self.obey(now);
        self.playout.collect(LINK_RING_FRAMES, &self.counts);
        // Each phase once at most: commands are not kept waiting by a machine that is too slow.
        for _ in 0..PHASES {
            let Some((phase, tick)) = self.phases.wake(clock::now()) else {
                break;
            };
            self.counts.count(TxCount::Tick);
            self.counts.add(TxCount::TickMissed, tick.missed);
            self.playout.tick(phase, tick, &self.counts);
            self.send();
        }
        Ok(())
    }
}
