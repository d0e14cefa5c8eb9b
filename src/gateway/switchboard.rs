//! Turns what was decided about calls into commands for the tiles and the link thread.
//!
//! It belongs to the control thread. The order within one change matters: a leg's listener is there
//! before its first packet can arrive, and its packets stop before its place is given away.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use diglot_rt::msg::{LegId, PortIndex, RxCommand, RxLeg, TxCommand, TxLeg};
use mio::Waker;
use rtrb::{Producer, PushError};

use super::prompts;
use crate::call::Change;
use crate::config::{Config, Extension, OnFailure};
use crate::link::client::{Fallback, LinkCommand, LinkHandle, LinkLeg};
use crate::observe::event::{EventSender, GatewayEvent};

/// How long the control thread waits for a tile to take its commands. A tile that takes none for
/// this long is dead, and the process with it.
const COMMAND_PATIENCE: Duration = Duration::from_secs(1);

/// Where the commands go.
#[derive(Debug)]
pub struct Switchboard {
    /// To the rx tile.
    pub rx: Producer<RxCommand>,
    /// Ends the rx tile's wait.
    pub rx_waker: Arc<Waker>,
    /// To the tx tile.
    pub tx: Producer<TxCommand>,
    /// To the link thread.
    pub link: LinkHandle,
    /// To the log.
    pub events: EventSender,
    /// By index: what a leg of each extension is like.
    pub lines: Vec<Line>,
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
    /// Carries one change out.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::EndLeg { leg, reason } => {
                self.rx(RxCommand::RemoveLeg(leg));
                self.tx(TxCommand::RemoveLeg(leg));
                self.link(LinkCommand::RemoveLeg(leg));
                self.events.send(GatewayEvent::LegEnded {
                    leg,
                    reason: format!("{reason:?}"),
                });
            }
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

    fn start(&mut self, leg: LegId, index: usize, remote: std::net::SocketAddr, call_id: String) {
        let Some(line) = self.lines.get(index).cloned() else {
            return;
        };
        let Ok(port) = u8::try_from(index).map(PortIndex) else {
            return;
        };
        self.events.send(GatewayEvent::LegStarted {
            leg,
            extension: line.extension.number.clone(),
            call_id: call_id.clone(),
        });
        self.link(LinkCommand::AddLeg(Box::new(LinkLeg {
            leg,
            extension: line.extension.number,
            language: line.extension.language,
            target_language: line.target_language,
            call_id,
            fallback: line.fallback,
            waiting_prompt: line.waiting_prompt,
        })));
        self.tx(TxCommand::AddLeg(TxLeg {
            leg,
            port,
            destination: remote,
            codec: line.extension.downlink,
            comfort: line.extension.comfort,
            ssrc: fastrand::u32(..),
            first_sequence_number: fastrand::u16(..),
            first_timestamp: fastrand::u32(..),
        }));
        self.rx(RxCommand::AddLeg(RxLeg {
            leg,
            port,
            source: remote,
            codec: line.extension.uplink,
        }));
    }

    fn rx(&mut self, command: RxCommand) {
        push(&mut self.rx, command, "rx");
        // A wake-up that fails only delays the command to the tile's own next turn.
        let _ = self.rx_waker.wake();
    }

    fn tx(&mut self, command: TxCommand) {
        push(&mut self.tx, command, "tx");
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
