//! The gateway's end of the link: one thread that owns the WebSockets of all legs.
//!
//! ```text
//! rx tile ─▷ uplink frames ─▶ LegLink (one WebSocket per leg) ──▶ translator
//! tx tile ◁─ downlink frames ◀─ Listener (one per leg) ◀── translated audio of the partner
//! ```
//! It decides who hears whom: what leg A's translator says is heard by A's partner. A turn serves
//! the legs that something came for; all legs are looked at only when their timers are due.
//! It never blocks and never waits for the translator; what cannot be sent is dropped and counted.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use diglot_rt::limits::COMMAND_RING_MAX;
use diglot_rt::msg::{DownlinkFrame, LegId, Pace, UplinkFrame, UtteranceId};
use diglot_rt::units::Micros;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use rtrb::{Consumer, Producer};

use super::leg::{Dropped, Endpoint, FromTranslator, LegIdentity, LegLink, LinkChange};
use super::listener::{Listener, LiveHeard};
use super::reports;
use super::sessions::{Sessions, UnixTime};
use crate::critical::{self, AbortOnPanic};
use crate::link::counts::{LinkCount, LinkCounts};
use crate::link::stream::ReadEnd;
use crate::net::clock;
use crate::net::paced_poll::PacedPoll;
use crate::observe::event::{EventSender, GatewayEvent, Voice};
use crate::realtime::ThreadSettings;

pub use super::command::{Fallback, LinkCommand, LinkLeg};
pub use super::leg::ENCODING;

/// The token of the waker; sockets have their leg's slot.
const WAKER: Token = Token(usize::MAX);

/// Socket events taken at once; what is left is ready at the next turn.
const EVENTS_MAX: usize = 1024;

/// How long a turn waits while there is no leg.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// How often all legs are looked at, for their timers and what is to be fed: half a frame, far
/// below the lead of stored speech, and seldom enough to cost next to nothing.
const TIMERS_MS: u64 = 10;

/// What the thread is made of.
#[derive(Debug)]
pub struct LinkParts {
    /// How the thread runs.
    pub thread: ThreadSettings,
    /// Where the translator is.
    pub endpoint: Endpoint,
    /// From the rx tile of each pair.
    pub uplinks: Vec<Consumer<UplinkFrame>>,
    /// To the tx tile of each pair.
    pub downlinks: Vec<Producer<DownlinkFrame>>,
    /// To the log.
    pub events: EventSender,
    /// What it counts.
    pub counts: Arc<LinkCounts>,
    /// Legs at most.
    pub legs_max: usize,
}

/// The running thread. Dropping it stops it.
#[derive(Debug)]
pub struct LinkHandle {
    commands: Sender<LinkCommand>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the link thread on `poll`, whose waker (made with [`waker`]) the rx tile has as well.
///
/// # Errors
/// The thread cannot be made.
pub fn spawn(poll: Poll, waker: Arc<Waker>, parts: LinkParts) -> io::Result<LinkHandle> {
    let (commands, inbox) = bounded(COMMAND_RING_MAX);
    let settings = parts.thread.clone();
    let mut thread = LinkThread::new(PacedPoll::new(poll)?, inbox, parts);
    let builder = thread::Builder::new().name(settings.name.into());
    let thread = builder.spawn(move || {
        let _guard = AbortOnPanic;
        settings.apply();
        while thread.turn() == Next::Turn {}
    })?;
    Ok(LinkHandle {
        commands,
        waker,
        thread: Some(thread),
    })
}

/// The waker of the link thread that will own `poll`.
///
/// # Errors
/// The kernel has no eventfd left.
pub fn waker(poll: &Poll) -> io::Result<Arc<Waker>> {
    Waker::new(poll.registry(), WAKER).map(Arc::new)
}

impl LinkHandle {
    /// Asks something of the thread.
    ///
    /// # Errors
    /// The command, if the thread is so far behind that its inbox is full, or has ended.
    pub fn send(&self, command: LinkCommand) -> Result<(), LinkCommand> {
        let result = self.commands.try_send(command);
        // A failed wake-up only delays the command to the next turn.
        let _ = self.waker.wake();
        result.map_err(|error| match error {
            TrySendError::Full(command) | TrySendError::Disconnected(command) => command,
        })
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        // A full inbox is drained by the thread's next turn, so waiting here is bounded.
        let _ = self.commands.send_timeout(LinkCommand::Stop, IDLE_WAIT * 4);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    Turn,
    Stop,
}

struct LinkThread {
    poll: PacedPoll,
    events: Events,
    inbox: Receiver<LinkCommand>,
    parts: LinkParts,
    /// By slot.
    legs: Vec<Option<Member>>,
    /// Occupied slots, so that a turn costs what the calls cost.
    live: Vec<u16>,
    /// Slots that something came for, each once: to be served in this turn.
    touched: Vec<u16>,
    timers_due: Micros,
    sessions: Sessions,
}

/// A leg on this thread: its voice's way out and what it is to hear.
struct Member {
    link: LegLink,
    /// The index of its downlink.
    pair: usize,
    hears: Listener,
    /// Whether it is among those to be served.
    is_touched: bool,
    partner: Option<LegId>,
    fallback: Fallback,
    waiting_prompt: Option<Arc<[i16]>>,
    /// Whether its partner was told that this leg's translator is away.
    outage: Outage,
    /// The utterance whose arrival was reported last.
    arrived: Option<UtteranceId>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outage {
    Told,
    Untold,
}

impl LinkThread {
    fn new(poll: PacedPoll, inbox: Receiver<LinkCommand>, parts: LinkParts) -> Self {
        Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            inbox,
            legs: (0..parts.legs_max).map(|_| None).collect(),
            live: Vec::with_capacity(parts.legs_max),
            touched: Vec::with_capacity(parts.legs_max),
            timers_due: Micros(0),
            parts,
            sessions: Sessions::new(UnixTime::read),
        }
    }

    fn turn(&mut self) -> Next {
        let patience = self.patience(clock::now());
        if let Err(error) = self.poll.wait(&mut self.events, Some(patience)) {
            critical::abort("link", &error);
        }
        while let Ok(command) = self.inbox.try_recv() {
            if self.obey(command) == Next::Stop {
                return Next::Stop;
            }
        }
        let now = clock::now();
        self.serve_sockets(now);
        for pair in 0..self.parts.uplinks.len() {
            self.send_uplink(now, pair);
        }
        // What is touched while these are served is for the next turn.
        let touched = self.touched.len();
        for index in 0..touched {
            self.serve_leg(now, self.touched[index]);
        }
        self.touched.drain(..touched);
        if now >= self.timers_due {
            self.timers_due = now.plus_ms(TIMERS_MS);
            for index in 0..self.live.len() {
                self.serve_timers(now, self.live[index]);
            }
        }
        Next::Turn
    }

    /// How long a turn that begins now may wait.
    fn patience(&self, now: Micros) -> Duration {
        if !self.touched.is_empty() {
            Duration::ZERO
        } else if self.live.is_empty() {
            IDLE_WAIT
        } else {
            clock::until(self.timers_due, now)
        }
    }

    fn obey(&mut self, command: LinkCommand) -> Next {
        match command {
            LinkCommand::AddLeg(leg) => self.add(*leg),
            LinkCommand::Pair(one, other) => {
                self.pair(one, other);
                self.pair(other, one);
            }
            LinkCommand::RemoveLeg(leg) => self.remove(leg),
            LinkCommand::Unpair(one, other) => {
                self.unpair(one);
                self.unpair(other);
            }
            LinkCommand::Stop => {
                for slot in std::mem::take(&mut self.live) {
                    if let Some(member) = &mut self.legs[usize::from(slot)] {
                        member.link.close();
                    }
                }
                return Next::Stop;
            }
        }
        Next::Turn
    }

    fn add(&mut self, leg: LinkLeg) {
        let slot = leg.leg.slot;
        let Some(place) = self.legs.get_mut(usize::from(slot)) else {
            return;
        };
        let identity = LegIdentity {
            leg: leg.leg,
            extension: leg.extension,
            language: leg.language,
            target_language: leg.target_language,
            call_id: leg.call_id,
        };
        if place.is_none() {
            self.live.push(slot);
        }
        *place = Some(Member {
            link: LegLink::new(identity, Token(usize::from(slot))),
            pair: leg.pair,
            hears: Listener::new(leg.leg),
            is_touched: false,
            partner: None,
            fallback: leg.fallback,
            waiting_prompt: leg.waiting_prompt,
            outage: Outage::Untold,
            arrived: None,
        });
    }

    fn remove(&mut self, leg: LegId) {
        let Some(member) = member_mut(&mut self.legs, leg) else {
            return;
        };
        member.link.close();
        self.legs[usize::from(leg.slot)] = None;
        self.live.retain(|slot| *slot != leg.slot);
    }

    fn pair(&mut self, leg: LegId, partner: LegId) {
        let parts = &mut self.parts;
        if let Some(member) = member_mut(&mut self.legs, leg) {
            // The waiting prompt is not wanted any more.
            let pair = member.pair;
            member.hears.clear(|frame| parts.play(pair, frame));
            member.partner = Some(partner);
        }
    }

    /// Both forget the other: neither the words that wait, nor those that are still with the
    /// translator, may reach whoever comes next.
    fn unpair(&mut self, leg: LegId) {
        let parts = &mut self.parts;
        if let Some(member) = member_mut(&mut self.legs, leg) {
            let pair = member.pair;
            member.hears.clear(|frame| parts.play(pair, frame));
            member.link.restart(clock::now());
            member.partner = None;
            member.outage = Outage::Untold;
        }
    }

    fn serve_sockets(&mut self, now: Micros) {
        for event in &self.events {
            if event.token() == WAKER {
                continue;
            }
            let Some(Some(member)) = self.legs.get_mut(event.token().0) else {
                continue;
            };
            if let Some(end) = readable(event) {
                member.link.mark_readable(end);
            }
            let change = member.link.socket_ready(now, &mut self.sessions);
            member.touch(&mut self.touched);
            let (is_up, partner) = (change == Some(LinkChange::Up), member.partner);
            reports::change(&self.parts, &member.link, change);
            if is_up
                && let Some(partner) = partner
                && let Some(listener) = member_mut(&mut self.legs, partner)
            {
                // The translation is what the listener waits for, not the rest of its stand-in.
                let (pair, parts) = (listener.pair, &mut self.parts);
                let play = |frame| parts.play(pair, frame);
                listener.hears.retract_stand_in(play);
            }
        }
    }

    fn send_uplink(&mut self, now: Micros, pair: usize) {
        // One turn takes what was there at its start, so that a busy tile cannot hold it here.
        let ready = self.parts.uplinks[pair].slots();
        self.poll.note(now, ready as u64);
        for _ in 0..ready {
            let Ok(frame) = self.parts.uplinks[pair].pop() else {
                break;
            };
            let samples = &frame.samples[..frame.rate.samples_per_frame()];
            let Some(member) = member_mut(&mut self.legs, frame.leg) else {
                self.parts.counts.count(LinkCount::UplinkStale);
                continue;
            };
            // A caller without a partner has nobody to be translated for.
            let Some(partner) = member.partner else {
                continue;
            };
            let change = member.link.send_speech(now, frame.at, samples);
            member.touch(&mut self.touched);
            reports::change(&self.parts, &member.link, change);
            if member.link.is_away() {
                self.let_original_through(now, partner, samples);
            }
        }
    }

    fn let_original_through(&mut self, now: Micros, listener: LegId, samples: &[i16]) {
        let parts = &mut self.parts;
        if let Some(listener) = member_mut(&mut self.legs, listener)
            && matches!(listener.fallback, Fallback::Original)
        {
            let pair = listener.pair;
            let heard = listener
                .hears
                .hear_original(now, samples, |frame| parts.play(pair, frame));
            parts.count_live(heard);
        }
    }

    /// Does what came for one leg: reads its messages, sends what it said.
    fn serve_leg(&mut self, now: Micros, slot: u16) {
        let Some(member) = &mut self.legs[usize::from(slot)] else {
            return;
        };
        member.is_touched = false;
        let mut change = None;
        if member.link.is_readable() {
            change = self.read_leg(now, slot);
        }
        let Some(member) = &mut self.legs[usize::from(slot)] else {
            return;
        };
        let change = change.or_else(|| member.link.flush(now));
        if member.link.is_readable() {
            // More than one turn takes: the rest is for the next one.
            member.touch(&mut self.touched);
        }
        reports::change(&self.parts, &member.link, change);
        self.parts.count_dropped(member.link.take_dropped());
    }

    /// Does what time asks for: the link's timers, the news of an outage, the listener's frames.
    fn serve_timers(&mut self, now: Micros, slot: u16) {
        let Some(member) = &mut self.legs[usize::from(slot)] else {
            return;
        };
        let registry = self.poll.registry();
        let change = member.link.advance(now, &self.parts.endpoint, registry);
        reports::change(&self.parts, &member.link, change);
        self.parts.count_dropped(member.link.take_dropped());
        self.announce_outage(now, slot);
        self.feed(now, slot);
    }

    /// Once for each outage, and as soon as there is somebody to be told.
    fn announce_outage(&mut self, now: Micros, slot: u16) {
        let Some(member) = &mut self.legs[usize::from(slot)] else {
            return;
        };
        if !member.link.is_away() {
            member.outage = Outage::Untold;
            return;
        }
        let Some(partner) = member.partner else {
            return;
        };
        if std::mem::replace(&mut member.outage, Outage::Told) == Outage::Untold
            && let Some(listener) = member_mut(&mut self.legs, partner)
            && let Fallback::Prompt(prompt) = &listener.fallback
        {
            listener.hears.queue_prompt(now, prompt);
        }
    }

    fn read_leg(&mut self, now: Micros, slot: u16) -> Option<LinkChange> {
        // The member is out of the table while its messages go to its partner.
        let mut member = self.legs[usize::from(slot)].take()?;
        let speaker = member.link.identity().leg;
        let (partner, mut arrived) = (member.partner, member.arrived);
        let (legs, parts) = (&mut self.legs, &mut self.parts);
        let change = member.link.read(now, |message| match message {
            FromTranslator::Speech {
                utterance,
                pcm,
                part,
                pace,
            } => {
                let Some(listener) = partner.and_then(|partner| member_mut(legs, partner)) else {
                    parts.counts.count(LinkCount::SpeechWithoutListener);
                    return;
                };
                if arrived != Some(utterance) && !pcm.is_empty() {
                    arrived = Some(utterance);
                    parts.events.send(GatewayEvent::SpeechArrived {
                        speaker,
                        listener: listener.link.identity().leg,
                        utterance,
                        at: now,
                    });
                }
                let (hears, pair) = (&mut listener.hears, listener.pair);
                if pace == Pace::Live {
                    let play = |frame| parts.play(pair, frame);
                    let heard = hears.hear(now, utterance, pcm, part, play);
                    parts.count_live(heard);
                    return;
                }
                let lost = hears.queue(now, utterance, pcm, part);
                parts
                    .counts
                    .add(LinkCount::SpeechSampleDropped, lost as u64);
                while let Some(frame) = hears.next_frame(now) {
                    parts.play(pair, frame);
                }
            }
            FromTranslator::Transcript(utterance, caption) => {
                reports::caption(parts, speaker, Voice::Original, utterance, &caption);
            }
            FromTranslator::Translation(utterance, caption) => {
                reports::caption(parts, speaker, Voice::Translation, utterance, &caption);
            }
            FromTranslator::Trace(utterance, trace) => {
                reports::trace(parts, speaker, utterance, &trace);
            }
            FromTranslator::Failed(error) => {
                parts.counts.count(LinkCount::TranslatorError);
                let what = format!("{}: {}", error.code, error.message);
                parts
                    .events
                    .send(GatewayEvent::Failed { leg: speaker, what });
            }
        });
        member.arrived = arrived;
        self.legs[usize::from(slot)] = Some(member);
        change
    }

    fn feed(&mut self, now: Micros, slot: u16) {
        let Some(member) = &mut self.legs[usize::from(slot)] else {
            return;
        };
        if member.partner.is_none()
            && member.hears.is_idle()
            && let Some(prompt) = &member.waiting_prompt
        {
            member.hears.queue_prompt(now, prompt);
        }
        while let Some(frame) = member.hears.next_frame(now) {
            self.parts.play(member.pair, frame);
        }
    }
}

impl LinkParts {
    /// Hands a frame to the tile, which never waits for it.
    fn play(&mut self, pair: usize, frame: DownlinkFrame) {
        let Some(downlink) = self.downlinks.get_mut(pair) else {
            return;
        };
        if downlink.push(frame).is_err() {
            self.counts.count(LinkCount::DownlinkRingFull);
        }
    }

    fn count_live(&self, heard: LiveHeard) {
        if heard == LiveHeard::Covered {
            self.counts.count(LinkCount::LiveCovered);
        }
    }

    fn count_dropped(&self, dropped: Dropped) {
        let counts = &self.counts;
        counts.add(LinkCount::UplinkDropped, dropped.uplink_frames);
        counts.add(LinkCount::MessageRefused, dropped.messages);
        counts.add(LinkCount::LiveStale, dropped.stale);
    }
}

impl Member {
    /// Has it served in this turn.
    fn touch(&mut self, touched: &mut Vec<u16>) {
        if !std::mem::replace(&mut self.is_touched, true) {
            touched.push(self.link.identity().leg.slot);
        }
    }
}

/// What an event says about reading, if anything.
fn readable(event: &Event) -> Option<ReadEnd> {
    if event.is_read_closed() || event.is_error() {
        Some(ReadEnd::Closed)
    } else {
        event.is_readable().then_some(ReadEnd::Open)
    }
}

/// The member that this leg is, unless the leg has ended.
fn member_mut(legs: &mut [Option<Member>], leg: LegId) -> Option<&mut Member> {
    let member = legs.get_mut(usize::from(leg.slot))?.as_mut()?;
    (member.link.identity().leg == leg).then_some(member)
}

#[cfg(test)]
mod tests {
    //! Goal: a turn waits for what is due next and no longer.
    //! Method: the thread's state alone; virtual time.

    use super::*;
    use crate::observe::event;
    use crate::realtime::Urgency;

    const T0: Micros = Micros(1_000_000);

    fn thread() -> LinkThread {
        let thread = ThreadSettings {
            name: "link",
            core: None,
            urgency: Urgency::Ordinary,
            degradations: Arc::default(),
        };
        let parts = LinkParts {
            thread,
            endpoint: Endpoint {
                addresses: vec!["127.0.0.1:1".parse().unwrap()],
                url: "ws://127.0.0.1:1/translate".into(),
            },
            uplinks: vec![],
            downlinks: vec![],
            events: event::channel().0,
            counts: Arc::default(),
            legs_max: 1,
        };
        let poll = PacedPoll::new(Poll::new().unwrap()).unwrap();
        LinkThread::new(poll, bounded(1).1, parts)
    }

    fn leg() -> LinkLeg {
        LinkLeg {
            leg: LegId {
                slot: 0,
                generation: 1,
            },
            pair: 0,
            extension: "7777".into(),
            language: "en".into(),
            target_language: "fr".into(),
            call_id: "call".into(),
            fallback: Fallback::Silence,
            waiting_prompt: None,
        }
    }

    #[test]
    fn a_turn_waits_until_the_timers_are_due() {
        let mut thread = thread();
        assert_eq!(thread.patience(T0), IDLE_WAIT, "nobody is there");
        thread.add(leg());
        thread.timers_due = T0.plus_ms(TIMERS_MS);
        for gone_ms in 0..=2 * TIMERS_MS {
            let left = Duration::from_millis(TIMERS_MS.saturating_sub(gone_ms));
            assert_eq!(thread.patience(T0.plus_ms(gone_ms)), left);
        }
        thread.touched.push(0);
        assert_eq!(thread.patience(T0), Duration::ZERO, "there is work to do");
    }
}
