//! The log thread: takes the events of tiles, link and control, and writes what people should read.
//!
//! It also tells the control thread what only tiles can see: sources that no leg owns, and legs
//! that have fallen silent. Everything it reads is bounded, and whoever is faster than it loses
//! lines, not audio.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, TryRecvError};
use diglot_rt::limits::EVENT_RING_MAX;
use diglot_rt::msg::{LegId, RxEvent, TxEvent};
use diglot_rt::wire::rtp::StreamPosition;
use rtrb::Consumer;

use super::Counts;
use super::count_lines::{self, Growth};
use super::roster::Watch;
use crate::asterisk::control::ControlHandle;
use crate::call::{Input, relock};
use crate::critical::AbortOnPanic;
use crate::net::clock;
use crate::net::drops::SocketDrops;
use crate::observe::conversation::Conversation;
use crate::observe::event::{EVENTS_MAX, EventSender, GatewayEvent};
use crate::topology::thread_name;

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
    /// Who is live, and what each leg sent last.
    pub watch: Watch,
    /// The RTP sockets, for what the kernel drops.
    pub socket_drops: SocketDrops,
    /// After how long a leg that sends nothing is reported as silent; `None` where Asterisk says
    /// who calls: then silence is not the control thread's concern, and a stranger's packet only
    /// if a silent leg's stream goes on with it.
    pub leg_timeout: Option<Duration>,
    /// What the process counts.
    pub counts: Counts,
}

/// Starts the log thread; it ends, when all that has been reported is written, once the other end
/// of `stop` is dropped.
///
/// # Errors
/// The thread cannot be made.
pub fn spawn(parts: LogParts, stop: Receiver<()>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(thread_name::LOG.into())
        .spawn(move || {
            let _guard = AbortOnPanic;
            LogThread::new(parts).run(&stop);
        })
}

struct LogThread {
    parts: LogParts,
    conversation: Conversation,
    growth: Growth,
    counts_due: Instant,
}

impl LogThread {
    fn new(parts: LogParts) -> Self {
        Self {
            parts,
            conversation: Conversation::default(),
            growth: Growth::default(),
            counts_due: Instant::now() + COUNTS_INTERVAL,
        }
    }

    fn run(&mut self, stop: &Receiver<()>) {
        loop {
            self.parts.watch.update(clock::now());
            self.take_tile_events();
            // This thread holds a sender itself, so an error only says that its patience ran out.
            if let Ok(event) = self.parts.events.recv_timeout(PATIENCE) {
                self.write(&event);
                self.write_waiting();
            }
            self.report_silent_legs();
            if Instant::now() >= self.counts_due {
                self.counts_due += COUNTS_INTERVAL;
                self.write_growth();
            }
            if stop.try_recv() == Err(TryRecvError::Disconnected) {
                break;
            }
        }
        self.take_tile_events();
        self.write_waiting();
        self.write_growth();
        for line in count_lines::table(&self.parts.counts) {
            log::info!("{line}");
        }
    }

    /// Writes the events that wait, no more than the channel holds.
    fn write_waiting(&mut self) {
        for _ in 0..EVENTS_MAX {
            match self.parts.events.try_recv() {
                Ok(event) => self.write(&event),
                Err(_) => break,
            }
        }
    }

    fn write(&mut self, event: &GatewayEvent) {
        let detail = self.conversation.detail(event);
        if let Some(line) = self.conversation.line(event) {
            log::log!(target: "call", event.level(), "{line}");
        }
        if let Some(detail) = detail {
            log::debug!(target: "call", "{detail}");
        }
    }

    fn take_tile_events(&mut self) {
        let mut strays = 0;
        let mut rings = std::mem::take(&mut self.parts.rx_events);
        for events in &mut rings {
            take_waiting(events, |event| {
                let is_judged = self.parts.leg_timeout.is_none()
                    && matches!(event, RxEvent::UnknownSource { .. });
                strays += usize::from(is_judged);
                if !is_judged || strays <= STRAYS_MAX {
                    self.take_rx_event(event);
                }
            });
        }
        self.parts.rx_events = rings;
        let sender = &self.parts.event_sender;
        for events in &mut self.parts.tx_events {
            take_waiting(
                events,
                |TxEvent::UtteranceStarted { leg, utterance, at }| {
                    sender.send(GatewayEvent::SpeechLeft {
                        listener: leg,
                        utterance,
                        at,
                    });
                },
            );
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
            RxEvent::ByteOrderSuspected { leg, expected } => {
                let event = GatewayEvent::ByteOrderSuspected { leg, expected };
                self.parts.event_sender.send(event);
            }
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
        relock::heir(clock::now(), self.parts.watch.heard(), stray).unwrap_or_else(|reason| {
            self.parts.counts.relock.count(reason);
            None
        })
    }

    fn report_silent_legs(&self) {
        let Some(leg_timeout) = self.parts.leg_timeout else {
            return;
        };
        for leg in self.parts.watch.silent(clock::now(), leg_timeout) {
            // Told again on the next round if there is no room now.
            let _ = self.parts.control.tell(Input::LegSilent { leg });
        }
    }

    fn write_growth(&mut self) {
        let counts = &self.parts.counts;
        // Where the kernel does not tell, nothing is counted.
        if let Ok(drops) = self.parts.socket_drops.read() {
            counts.rx_socket_drops.set(drops);
        }
        if let Some(line) = self.growth.line(counts) {
            log::info!("{line}");
        }
    }
}

/// Takes what waits in a ring, once around at most: a tile that writes as fast as this thread reads
/// must not keep it from everything else. What is left waits for the next round.
fn take_waiting<E>(events: &mut Consumer<E>, mut take: impl FnMut(E)) {
    for _ in 0..EVENT_RING_MAX {
        let Ok(event) = events.pop() else { break };
        take(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrb::RingBuffer;

    /// Goal: one round ends, however fast a tile writes, and loses nothing.
    /// Method: for every event that is read the next one is written, for many rounds' worth.
    #[test]
    fn a_tile_that_writes_as_fast_as_it_is_read_does_not_hold_a_round() {
        let (mut tile, mut events) = RingBuffer::new(EVENT_RING_MAX);
        tile.push(0).unwrap();
        for round in 0..3 {
            let mut next = round * EVENT_RING_MAX;
            take_waiting(&mut events, |event| {
                assert_eq!(event, next);
                next += 1;
                if next < 10 * EVENT_RING_MAX {
                    tile.push(next).unwrap();
                }
            });
            assert_eq!(next, (round + 1) * EVENT_RING_MAX, "round {round}");
        }
    }
}
