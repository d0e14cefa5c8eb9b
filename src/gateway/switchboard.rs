//! Turns what was decided about calls into commands for the tiles and the link thread.
//!
//! It belongs to the control thread. The order within one change matters: a leg's listener is there
//! before its first packet can arrive, and its packets stop before its place is given away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use diglot_rt::msg::{Codec, LegId, PortIndex, RxCommand, RxLeg, TxCommand, TxLeg, UplinkStart};
use mio::Waker;
use rtrb::{Producer, PushError};

use super::prompts;
use super::roster::Roster;
use crate::call::Change;
use crate::config::{Config, Extension, OnFailure};
use crate::link::gateway::client::{Fallback, LinkCommand, LinkHandle, LinkLeg};
use crate::net::steering;
use crate::observe::event::{EventSender, GatewayEvent};

/// How long the control thread waits for a tile to take its commands. A tile that takes none for
/// this long is dead, and the process with it.
const COMMAND_PATIENCE: Duration = Duration::from_secs(1);

/// Where the commands go, and which tiles have which leg.
#[derive(Debug)]
pub struct Switchboard {
    pairs: Vec<PairEnds>,
    link: LinkHandle,
    events: EventSender,
    lines: Vec<Line>,
    roster: Arc<Roster>,
    /// By slot: the leg that is there.
    seats: Box<[Option<Seat>]>,
}

/// The control thread's ends of a tile pair.
#[derive(Debug)]
pub struct PairEnds {
    /// To the rx tile.
    pub rx: Producer<RxCommand>,
    /// Ends the rx tile's wait.
    pub rx_waker: Arc<Waker>,
    /// To the tx tile.
    pub tx: Producer<TxCommand>,
}

/// Where a leg sits. It begins with both halves on the pair of its source; only the receiving half
/// follows when the source changes, for what is sent leaves from the same port on every pair.
#[derive(Clone, Copy, Debug)]
struct Seat {
    leg: LegId,
    port: PortIndex,
    uplink: Codec,
    rx_pair: usize,
    tx_pair: usize,
}

/// An extension as the switchboard needs it.
#[derive(Clone, Debug)]
pub struct Line {
    extension: Extension,
    target_language: String,
    fallback: Fallback,
    waiting_prompt: Option<Arc<[i16]>>,
}

impl Line {
    /// Prepares all extensions; reads their prompts.
    ///
    /// # Errors
    /// A prompt cannot be played.
    pub fn of(config: &Config) -> Result<Vec<Self>, prompts::PromptError> {
        config
            .extensions
            .iter()
            .map(|extension| Self::new(config, extension))
            .collect()
    }

    fn new(config: &Config, extension: &Extension) -> Result<Self, prompts::PromptError> {
        let partner = config
            .extensions
            .iter()
            .find(|e| e.number == extension.partner);
        let target_language = partner.map_or(&extension.language, |partner| &partner.language);
        let fallback = match &extension.on_failure {
            OnFailure::Original => Fallback::Original,
            OnFailure::Prompt(path) => Fallback::Prompt(prompts::read(path)?),
            OnFailure::Silence => Fallback::Silence,
        };
        let waiting_prompt = extension
            .waiting_prompt
            .as_deref()
            .map(prompts::read)
            .transpose()?;
        Ok(Self {
            extension: extension.clone(),
            target_language: target_language.clone(),
            fallback,
            waiting_prompt,
        })
    }
}

impl Switchboard {
    /// `lines` says by index what a leg of each extension is like; `roster` has the slots of all
    /// legs, and is told who is live.
    pub fn new(
        pairs: Vec<PairEnds>,
        link: LinkHandle,
        events: EventSender,
        lines: Vec<Line>,
        roster: Arc<Roster>,
    ) -> Self {
        let seats = vec![None; roster.slots()].into_boxed_slice();
        Self {
            pairs,
            link,
            events,
            lines,
            roster,
            seats,
        }
    }

    /// Carries one change out.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::EndLeg { leg, reason } => {
                self.roster.end(leg);
                if let Some(seat) = self.seat(leg) {
                    self.rx(seat.rx_pair, RxCommand::RemoveLeg(leg));
                    self.tx(seat.tx_pair, TxCommand::RemoveLeg(leg));
                    self.seats[usize::from(leg.slot)] = None;
                }
                self.link(LinkCommand::RemoveLeg(leg));
                self.events.send(GatewayEvent::LegEnded {
                    leg,
                    reason: format!("{reason:?}"),
                });
            }
            Change::MoveLeg { leg, remote } => self.move_leg(leg, remote),
            Change::Pair { legs: [one, other] } => {
                self.link(LinkCommand::Pair(one, other));
                self.events.send(GatewayEvent::Paired {
                    leg: one,
                    partner: other,
                });
            }
            Change::StartLeg {
                leg,
                extension,
                remote,
                call_id,
            } => {
                self.start(leg, extension, remote, call_id);
            }
            Change::Unpair { legs: [one, other] } => self.link(LinkCommand::Unpair(one, other)),
        }
    }

    fn start(&mut self, leg: LegId, index: usize, remote: SocketAddr, call_id: String) {
        let Some(line) = self.lines.get(index).cloned() else {
            return;
        };
        let Ok(port) = u8::try_from(index).map(PortIndex) else {
            return;
        };
        let pair = steering::pair_of(remote, self.pairs.len());
        let Some(seat) = self.seats.get_mut(usize::from(leg.slot)) else {
            return;
        };
        *seat = Some(Seat {
            leg,
            port,
            uplink: line.extension.uplink,
            rx_pair: pair,
            tx_pair: pair,
        });
        self.roster.begin(leg);
        self.events.send(GatewayEvent::LegStarted {
            leg,
            extension: line.extension.number.clone(),
            call_id: call_id.clone(),
        });
        self.link(LinkCommand::AddLeg(Box::new(LinkLeg {
            leg,
            pair,
            extension: line.extension.number,
            language: line.extension.language,
            target_language: line.target_language,
            call_id,
            fallback: line.fallback,
            waiting_prompt: line.waiting_prompt,
        })));
        self.tx(
            pair,
            TxCommand::AddLeg(TxLeg {
                leg,
                port,
                destination: remote,
                codec: line.extension.downlink,
                comfort: line.extension.comfort,
                ssrc: fastrand::u32(..),
                first_sequence_number: fastrand::u16(..),
                first_timestamp: fastrand::u32(..),
            }),
        );
        self.listen(
            pair,
            RxLeg {
                leg,
                port,
                source: remote,
                codec: line.extension.uplink,
                uplink: UplinkStart::Fresh,
            },
        );
    }

    /// The leg's old source is a stranger before the new one is heard, on whichever pair it comes
    /// to. Its uplink goes on as it was where the pair stays the same; on another pair its stages
    /// begin anew, in the middle of its stream. What it hears goes on as it was, to another
    /// address.
    fn move_leg(&mut self, leg: LegId, remote: SocketAddr) {
        let Some(seat) = self.seat(leg) else {
            return;
        };
        let pair = steering::pair_of(remote, self.pairs.len());
        let (port, source) = (seat.port, remote);
        if pair == seat.rx_pair {
            self.rx(pair, RxCommand::Reroute { leg, port, source });
        } else {
            self.rx(seat.rx_pair, RxCommand::RemoveLeg(leg));
            self.listen(
                pair,
                RxLeg {
                    leg,
                    port,
                    source,
                    codec: seat.uplink,
                    uplink: UplinkStart::Continued,
                },
            );
        }
        let destination = remote;
        self.tx(seat.tx_pair, TxCommand::Redirect { leg, destination });
        self.seats[usize::from(leg.slot)] = Some(Seat {
            rx_pair: pair,
            ..seat
        });
    }

    fn listen(&mut self, pair: usize, leg: RxLeg) {
        self.rx(pair, RxCommand::AddLeg(leg));
    }

    fn seat(&self, leg: LegId) -> Option<Seat> {
        self.seats
            .get(usize::from(leg.slot))?
            .filter(|seat| seat.leg == leg)
    }

    fn rx(&mut self, pair: usize, command: RxCommand) {
        push(&mut self.pairs[pair].rx, command, "rx");
        // A wake-up that fails only delays the command to the tile's own next turn.
        let _ = self.pairs[pair].rx_waker.wake();
    }

    fn tx(&mut self, pair: usize, command: TxCommand) {
        push(&mut self.pairs[pair].tx, command, "tx");
    }

    fn link(&self, command: LinkCommand) {
        let deadline = Instant::now() + COMMAND_PATIENCE;
        let mut command = command;
        while let Err(refused) = self.link.send(command) {
            if Instant::now() >= deadline {
                log::error!("the link thread takes no commands: {refused:?} is lost");
                return;
            }
            command = refused;
            thread::yield_now();
        }
    }
}

fn push<T: std::fmt::Debug>(ring: &mut Producer<T>, command: T, tile: &str) {
    let deadline = Instant::now() + COMMAND_PATIENCE;
    let mut command = command;
    while let Err(PushError::Full(refused)) = ring.push(command) {
        if Instant::now() >= deadline {
            log::error!("the {tile} tile takes no commands: {refused:?} is lost");
            return;
        }
        command = refused;
        thread::yield_now();
    }
}
