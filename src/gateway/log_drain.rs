//! The log thread: takes the events of tiles, link and control, and writes what people should read.
//!
//! It also tells the control thread what only tiles can see: sources that no leg owns, and legs
//! that have fallen silent. Everything it reads is bounded, and whoever is faster than it loses
//! lines, not audio.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, TryRecvError};
use diglot_rt::msg::{LegId, RxEvent, TxEvent};
use diglot_rt::stats::{Counter, RxCount, TxCount};
use diglot_rt::units::Micros;
use diglot_rt::wire::rtp::StreamPosition;
use rtrb::Consumer;

use super::Counts;
use crate::asterisk::control::ControlHandle;
use crate::call::relock::{self, Heard, RelockCount};
use crate::call::{CallCount, Input};
use crate::critical::AbortOnPanic;
use crate::link::counts::LinkCount;
use crate::net::clock;
use crate::observe::conversation::Conversation;
use crate::observe::event::{EventSender, GatewayEvent};
use crate::realtime::Degradation;
use crate::tile::meters::LegMeters;

/// How long the thread sleeps when nothing is reported: one frame.
const PATIENCE: Duration = Duration::from_millis(20);

/// Packets of strangers that are compared with all legs in one round: 1600 in a second, some
/// microseconds each. Under a greater flood a leg that moved may follow late, and nothing else.
const STRAYS_MAX: usize = 32;

/// How often counters that people should know of are looked at.
const COUNTS_INTERVAL: Duration = Duration::from_secs(5);

/// Everything the log thread reads.
#[derive(Debug)]
pub struct LogParts {
    /// Events of link, control and this thread itself.
    pub events: Receiver<GatewayEvent>,
    /// For what this thread learns from the rings.
    pub event_sender: EventSender,
    /// From the rx tile of each pair.
    pub rx_events: Vec<Consumer<RxEvent>>,
    /// From the tx tile of each pair.
    pub tx_events: Vec<Consumer<TxEvent>>,
    /// To the control thread.
    pub control: ControlHandle,
    /// What each leg sent last.
    pub meters: Arc<LegMeters>,
    /// After how long a leg that sends nothing is reported as silent; `None` where Asterisk says
    /// who calls: then silence is not the control thread's concern, and a stranger's packet only
    /// if a silent leg's stream goes on with it.
    pub leg_timeout: Option<Duration>,
    /// Events that found no room.
    pub events_lost: Arc<Counter>,
    /// What the process counts.
    pub counts: Counts,
}

/// Counters whose growth is worth a line: each is something lost, refused or late.
const RX_NOTEWORTHY: &[RxCount] = &[
    RxCount::DropMalformed,
    RxCount::DropUnknownSource,
    RxCount::DropPayloadType,
    RxCount::DropPayloadSize,
    RxCount::DropLate,
    RxCount::DropDuplicate,
    RxCount::DropRingFull,
    RxCount::FrameConcealed,
    RxCount::LegRefused,
    RxCount::EventLost,
    RxCount::Resync,
    RxCount::SocketError,
];
const TX_NOTEWORTHY: &[TxCount] = &[
    TxCount::TickLate,
    TxCount::TickMissed,
    TxCount::LegRefused,
    TxCount::FrameHole,
    TxCount::DropPlayoutFull,
    TxCount::DropPlayoutLate,
    TxCount::DropRingFull,
    TxCount::EventLost,
    TxCount::SocketError,
];

const CALL_NOTEWORTHY: &[CallCount] = &[
    CallCount::SetupFailed,
    CallCount::Relocked,
    CallCount::RelockRefusedAddress,
    CallCount::RelockRefusedOwned,
    CallCount::RelockRefusedPause,
    CallCount::RefusedFull,
    CallCount::RefusedUnknownExtension,
    CallCount::Leftover,
    CallCount::Abandoned,
    CallCount::EventBroken,
    CallCount::EventOversized,
];

/// Starts the log thread; it ends, when all that has been reported is written, once the other end
/// of `stop` is dropped.
///
/// # Errors
/// The thread cannot be made.
pub fn spawn(parts: LogParts, stop: Receiver<()>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("log".into()).spawn(move || {
        let _guard = AbortOnPanic;
        LogThread::new(parts).run(&stop);
    })
}

struct LogThread {
    parts: LogParts,
    conversation: Conversation,
    /// When each leg began: its meter may still show the time of the leg that had its slot before.
    live: HashMap<LegId, Micros>,
    reported: Vec<(&'static str, u64)>,
    counts_due: Instant,
}

impl LogThread {
    fn new(parts: LogParts) -> Self {
        Self {
            parts,
            conversation: Conversation::default(),
            live: HashMap::new(),
            reported: Vec::new(),
            counts_due: Instant::now() + COUNTS_INTERVAL,
        }
    }

    fn run(&mut self, stop: &Receiver<()>) {
        loop {
            self.take_tile_events();
            // This thread holds a sender itself, so an error only says that its patience ran out.
            if let Ok(event) = self.parts.events.recv_timeout(PATIENCE) {
                self.write(&event);
                while let Ok(event) = self.parts.events.try_recv() {
                    self.write(&event);
                }
            }
            self.report_silent_legs();
            if Instant::now() >= self.counts_due {
                self.counts_due += COUNTS_INTERVAL;
                self.write_counts();
            }
            if stop.try_recv() == Err(TryRecvError::Disconnected) {
                break;
            }
        }
        while let Ok(event) = self.parts.events.try_recv() {
            self.write(&event);
        }
        self.write_counts();
    }

    fn write(&mut self, event: &GatewayEvent) {
        match event {
            GatewayEvent::LegStarted { leg, .. } => {
                self.live.insert(*leg, clock::now());
            }
            GatewayEvent::LegEnded { leg, .. } => {
                self.live.remove(leg);
            }
            _ => {}
        }
        if let Some(line) = self.conversation.line(event) {
            log::info!(target: "call", "{line}");
        }
    }

    fn take_tile_events(&mut self) {
        let mut strays = 0;
        for pair in 0..self.parts.rx_events.len() {
            while let Ok(event) = self.parts.rx_events[pair].pop() {
                let is_judged = self.parts.leg_timeout.is_none()
                    && matches!(event, RxEvent::UnknownSource { .. });
                strays += usize::from(is_judged);
                if !is_judged || strays <= STRAYS_MAX {
                    self.take_rx_event(event);
                }
            }
        }
        for events in &mut self.parts.tx_events {
            while let Ok(TxEvent::UtteranceStarted { leg, utterance, at }) = events.pop() {
                self.parts.event_sender.send(GatewayEvent::SpeechLeft {
                    listener: leg,
                    utterance,
                    at,
                });
            }
        }
    }

    fn take_rx_event(&self, event: RxEvent) {
        match event {
            RxEvent::FirstPacket { .. } => {}
            RxEvent::TelephoneEvent {
                leg,
                event,
                duration_ms,
            } => self.parts.event_sender.send(GatewayEvent::KeyPressed {
                leg,
                event,
                duration_ms,
            }),
            RxEvent::ByteOrderSuspected { leg } => log::warn!(
                target: "call",
                "leg {}: its samples read as noise: are their bytes swapped?",
                leg.slot
            ),
            RxEvent::UnexpectedPayloadType {
                leg,
                payload_type,
                expected,
            } => {
                let event = GatewayEvent::UnexpectedPayloadType {
                    leg,
                    payload_type,
                    expected,
                };
                self.parts.event_sender.send(event);
            }
            RxEvent::UnknownSource {
                port,
                source,
                position,
            } => {
                let input = if self.parts.leg_timeout.is_some() {
                    Some(Input::UnknownSource { port, source })
                } else {
                    self.continued_by(position)
                        .map(|leg| Input::LegMoved { leg, port, source })
                };
                // A full inbox loses nothing: the source repeats itself 50 times a second.
                let _ = input.map(|input| self.parts.control.tell(input));
            }
        }
    }

    /// The silent leg whose stream goes on with this packet, by the first five rules of
    /// [`relock`].
    fn continued_by(&self, stray: StreamPosition) -> Option<LegId> {
        let meters = &self.parts.meters;
        let mut heirs = self.live.iter().filter_map(|(leg, began)| {
            let position = meters.last_position(*leg)?;
            let at = meters.last_received(*leg).max(*began);
            (position.ssrc == stray.ssrc).then_some((*leg, Heard { at, position }))
        });
        let (leg, heard) = heirs.next()?;
        let verdict = match heirs.next() {
            Some(_) => Err(RelockCount::SsrcShared),
            None => relock::judge(clock::now(), heard, stray),
        };
        match verdict {
            Ok(()) => Some(leg),
            Err(reason) => {
                self.parts.counts.relock.count(reason);
                None
            }
        }
    }

    fn report_silent_legs(&self) {
        let Some(leg_timeout) = self.parts.leg_timeout else {
            return;
        };
        let now = clock::now();
        for (leg, began) in &self.live {
            let heard = self.parts.meters.last_received(*leg).max(*began);
            let silent_us = u128::from(now.since(heard));
            if silent_us > leg_timeout.as_micros() {
                // Told again on the next round if there is no room now.
                let _ = self.parts.control.tell(Input::LegSilent { leg: *leg });
            }
        }
    }

    /// One line for all noteworthy counters that have grown.
    fn write_counts(&mut self) {
        let counts = &self.parts.counts;
        let rx = RX_NOTEWORTHY
            .iter()
            .map(|what| (what.name(), counts.rx.value(*what)));
        let tx = TX_NOTEWORTHY
            .iter()
            .map(|what| (what.name(), counts.tx.value(*what)));
        let link = LinkCount::ALL
            .iter()
            .map(|what| (what.name(), counts.link.value(*what)));
        let call = CALL_NOTEWORTHY
            .iter()
            .map(|what| (what.name(), counts.call.value(*what)));
        let relock = RelockCount::ALL
            .iter()
            .map(|what| (what.name(), counts.relock.value(*what)));
        let degradations = Degradation::ALL
            .iter()
            .map(|what| (what.name(), counts.degradations.value(*what)));
        let lost = [("log_event_lost_total", self.parts.events_lost.value())];
        let now = rx.chain(tx).chain(link).chain(call).chain(relock);
        let now: Vec<_> = now.chain(degradations).chain(lost).collect();
        let before = |name| {
            self.reported
                .iter()
                .find(|(n, _)| *n == name)
                .map_or(0, |(_, v)| *v)
        };
        let grown: Vec<_> = now
            .iter()
            .filter(|(name, value)| *value > before(*name))
            .map(|(name, value)| format!("{name} {} (+{})", value, value - before(*name)))
            .collect();
        if !grown.is_empty() {
            log::info!("counts: {}", grown.join(", "));
        }
        self.reported = now;
    }
}
