//! The gateway's end of the link: one thread that owns the WebSockets of all legs.
//!
//! ```text
//! rx tile ─▷ uplink frames ─▶ LegLink (one WebSocket per leg) ──▶ translator
//! tx tile ◁─ downlink frames ◀─ SpeechQueue (one per listener) ◀── translated audio of the partner
//! ```
//! It decides who hears whom: what leg A's translator says goes into the queue of A's partner.
//! It never blocks and never waits for the translator; what cannot be sent is dropped and counted.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use diglot_rt::limits::COMMAND_RING_MAX;
use diglot_rt::msg::{DownlinkFrame, FrameKind, LegId, Pace, UplinkFrame, UtteranceId};
use diglot_rt::units::Micros;
use mio::{Events, Poll, Token, Waker};
use rtrb::{Consumer, Producer};

use super::leg::{Endpoint, FromTranslator, LegIdentity, LegLink, LinkChange};
use super::messages::{Caption, Outcome, Trace};
use super::speech_queue::SpeechQueue;
use crate::critical::{self, AbortOnPanic};
use crate::net::clock;
use crate::observe::event::{EventSender, GatewayEvent, Stages, Voice};
use crate::observe::link_counts::{LinkCount, LinkCounts};

pub use super::leg::ENCODING;

/// The token of the waker; sockets have their leg's slot.
const WAKER: Token = Token(usize::MAX);

/// Socket events taken at once; what is left is ready at the next turn.
const EVENTS_MAX: usize = 1024;

/// How long a turn waits while nothing is to be fed: the timers of the links are coarser.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// How long a turn waits while a queue has speech: half a frame, far below the lead.
const FEED_WAIT: Duration = Duration::from_millis(10);

const US_PER_MS: u64 = 1_000;

/// What the control thread asks of the link thread.
#[derive(Debug)]
pub enum LinkCommand {
    /// A leg begins.
    AddLeg(Box<LinkLeg>),
    /// Two legs hear each other from now on.
    Pair(LegId, LegId),
    /// A leg ended.
    RemoveLeg(LegId),
    /// The legs no longer hear each other; both wait.
    Unpair(LegId, LegId),
    /// Ends the thread.
    Stop,
}

/// A leg as the link thread needs to know it.
#[derive(Clone, Debug)]
pub struct LinkLeg {
    /// Its name.
    pub leg: LegId,
    /// The extension it dialled.
    pub extension: String,
    /// What it speaks (BCP 47).
    pub language: String,
    /// What its partner is to hear (BCP 47).
    pub target_language: String,
    /// Names the call in logs and traces.
    pub call_id: String,
    /// What it hears while its partner's translator is away.
    pub fallback: Fallback,
    /// What it hears, again and again, while it has no partner; silence if absent.
    pub waiting_prompt: Option<Arc<[i16]>>,
}

/// What a listener hears while the translator is away. Samples are 16 kHz.
#[derive(Clone, Debug)]
pub enum Fallback {
    /// The partner's own voice.
    Original,
    /// A prompt, once for each outage.
    Prompt(Arc<[i16]>),
    /// Comfort silence.
    Silence,
}

/// What the thread is made of.
#[derive(Debug)]
pub struct LinkParts {
    /// Where the translator is.
    pub endpoint: Endpoint,
    /// From the rx tile.
    pub uplink: Consumer<UplinkFrame>,
    /// To the tx tile.
    pub downlink: Producer<DownlinkFrame>,
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
    let mut thread = LinkThread::new(poll, inbox, parts);
    let thread = thread::Builder::new().name("link".into()).spawn(move || {
        let _guard = AbortOnPanic;
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
    poll: Poll,
    events: Events,
    inbox: Receiver<LinkCommand>,
    parts: LinkParts,
    /// By slot.
    legs: Vec<Option<Member>>,
    /// Occupied slots, so that a turn costs what the calls cost.
    live: Vec<u16>,
    next_epoch: u32,
    /// Unix time of the monotonic clock's zero, in milliseconds.
    unix_offset_ms: u64,
}

/// A leg on this thread: its voice's way out and what it is to hear.
struct Member {
    link: LegLink,
    hears: SpeechQueue,
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
    fn new(poll: Poll, inbox: Receiver<LinkCommand>, parts: LinkParts) -> Self {
        let unix_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let monotonic_ms = clock::now().0 / US_PER_MS;
        Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            inbox,
            legs: (0..parts.legs_max).map(|_| None).collect(),
            live: Vec::with_capacity(parts.legs_max),
            parts,
            next_epoch: 1,
            unix_offset_ms: u64::try_from(unix_ms)
                .unwrap_or(0)
                .saturating_sub(monotonic_ms),
        }
    }

    fn turn(&mut self) -> Next {
        let patience = self.patience();
        if let Err(error) = self.poll.poll(&mut self.events, Some(patience))
            && error.kind() != io::ErrorKind::Interrupted
        {
            critical::abort("link", &error);
        }
        while let Ok(command) = self.inbox.try_recv() {
            if self.obey(command) == Next::Stop {
                return Next::Stop;
            }
        }
        let now = clock::now();
        self.serve_sockets(now);
        self.send_uplink(now);
        for index in 0..self.live.len() {
            self.serve_leg(now, self.live[index]);
        }
        Next::Turn
    }

    fn patience(&self) -> Duration {
        let mut members = self
            .live
            .iter()
            .filter_map(|slot| self.legs[usize::from(*slot)].as_ref());
        if members.clone().any(|member| member.link.is_readable()) {
            Duration::ZERO
        } else if members.any(|member| !member.hears.is_empty() || member.wants_prompt()) {
            FEED_WAIT
        } else {
            IDLE_WAIT
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
            hears: SpeechQueue::default(),
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
        if let Some(member) = member_mut(&mut self.legs, leg) {
            // The waiting prompt is not wanted any more.
            member.hears.clear();
            member.partner = Some(partner);
        }
    }

    /// Both forget the other: neither the words that wait, nor those that are still with the
    /// translator, may reach whoever comes next.
    fn unpair(&mut self, leg: LegId) {
        if let Some(member) = member_mut(&mut self.legs, leg) {
            member.hears.clear();
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
            let change = member.link.socket_ready(now, &mut self.next_epoch);
            let (is_up, partner) = (change == Some(LinkChange::Up), member.partner);
            report(&self.parts, &member.link, change);
            if is_up
                && let Some(partner) = partner
                && let Some(listener) = member_mut(&mut self.legs, partner)
            {
                // The translation is what the listener waits for, not the rest of its stand-in.
                listener.hears.retract(UtteranceId::default());
            }
        }
    }

    fn send_uplink(&mut self, now: Micros) {
        // One turn takes what was there at its start, so that a busy tile cannot hold it here.
        for _ in 0..self.parts.uplink.slots() {
            let Ok(frame) = self.parts.uplink.pop() else {
                break;
            };
            let timestamp_ms = frame.at.0 / US_PER_MS + self.unix_offset_ms;
            let samples = &frame.samples[..frame.rate.samples_per_frame()];
            let Some(member) = member_mut(&mut self.legs, frame.leg) else {
                self.parts.counts.count(LinkCount::UplinkStale);
                continue;
            };
            // A caller without a partner has nobody to be translated for.
            let Some(partner) = member.partner else {
                continue;
            };
            let change = member.link.send_speech(now, timestamp_ms, samples);
            report(&self.parts, &member.link, change);
            let is_away = member.link.is_away();
            if is_away && frame.kind == FrameKind::Received {
                self.let_original_through(now, partner, samples);
            }
        }
    }

    fn let_original_through(&mut self, now: Micros, listener: LegId, samples: &[i16]) {
        if let Some(listener) = member_mut(&mut self.legs, listener)
            && matches!(listener.fallback, Fallback::Original)
        {
            listener
                .hears
                .push(now, UtteranceId::default(), samples.iter().copied());
        }
    }

    /// Everything that one leg needs in a turn: its timers, its messages, its listener's frames.
    fn serve_leg(&mut self, now: Micros, slot: u16) {
        let Some(member) = &mut self.legs[usize::from(slot)] else {
            return;
        };
        let registry = self.poll.registry();
        let mut change = member.link.advance(now, &self.parts.endpoint, registry);
        if change.is_none() && member.link.is_readable() {
            change = self.read_leg(now, slot);
        }
        let Some(member) = &mut self.legs[usize::from(slot)] else {
            return;
        };
        let change = change.or_else(|| member.link.flush(now));
        report(&self.parts, &member.link, change);
        let dropped = member.link.take_dropped();
        self.parts
            .counts
            .add(LinkCount::UplinkDropped, dropped.uplink_frames);
        self.parts
            .counts
            .add(LinkCount::MessageRefused, dropped.messages);
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
            listener
                .hears
                .push(now, UtteranceId::default(), prompt.iter().copied());
            listener.hears.end(UtteranceId::default());
        }
    }

    fn read_leg(&mut self, now: Micros, slot: u16) -> Option<LinkChange> {
        // The member is out of the table while its messages go to its partner's queue.
        let mut member = self.legs[usize::from(slot)].take()?;
        let speaker = member.link.identity().leg;
        let (partner, mut arrived) = (member.partner, member.arrived);
        let (legs, parts) = (&mut self.legs, &self.parts);
        let change = member.link.read(now, |message| match message {
            FromTranslator::Speech {
                utterance,
                pcm,
                is_last,
            } => {
                let Some(listener) = partner.and_then(|partner| member_mut(legs, partner)) else {
                    parts.counts.count(LinkCount::SpeechWithoutListener);
                    return;
                };
                let id = listener.link.identity().leg;
                if arrived != Some(utterance) && !pcm.is_empty() {
                    arrived = Some(utterance);
                    let listener = id;
                    parts.events.send(GatewayEvent::SpeechArrived {
                        speaker,
                        listener,
                        utterance,
                        at: now,
                    });
                }
                let lost = listener.hear(now, utterance, pcm, is_last);
                parts
                    .counts
                    .add(LinkCount::SpeechSampleDropped, lost as u64);
            }
            FromTranslator::Transcript(utterance, caption) => {
                report_caption(parts, speaker, Voice::Original, utterance, &caption);
            }
            FromTranslator::Translation(utterance, caption) => {
                report_caption(parts, speaker, Voice::Translation, utterance, &caption);
            }
            FromTranslator::Trace(utterance, trace) => {
                if trace.outcome == Outcome::Spoken {
                    let stages = stages(&trace);
                    parts.events.send(GatewayEvent::Trace {
                        leg: speaker,
                        utterance,
                        stages,
                    });
                }
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
        if member.wants_prompt()
            && member.hears.is_empty()
            && let Some(prompt) = &member.waiting_prompt
        {
            member
                .hears
                .push(now, UtteranceId::default(), prompt.iter().copied());
            member.hears.end(UtteranceId::default());
        }
        let leg = member.link.identity().leg;
        while let Some(frame) = member.hears.next_frame(now) {
            let frame = DownlinkFrame {
                leg,
                utterance: frame.utterance,
                part: frame.part,
                pace: Pace::Stored,
                samples: frame.samples,
            };
            if self.parts.downlink.push(frame).is_err() {
                self.parts.counts.count(LinkCount::DownlinkRingFull);
            }
        }
    }
}

impl Member {
    fn wants_prompt(&self) -> bool {
        self.partner.is_none() && self.waiting_prompt.is_some()
    }

    /// Queues speech and returns how many samples of older speech were given up for it.
    fn hear(&mut self, now: Micros, utterance: UtteranceId, pcm: &[u8], is_last: bool) -> usize {
        let (samples, _) = pcm.as_chunks::<{ super::SAMPLE_BYTES }>();
        let samples = samples.iter().map(|bytes| i16::from_le_bytes(*bytes));
        let lost = self.hears.push(now, utterance, samples);
        if is_last {
            self.hears.end(utterance);
        }
        lost
    }
}

/// The member that this leg is, unless the leg has ended.
fn member_mut(legs: &mut [Option<Member>], leg: LegId) -> Option<&mut Member> {
    let member = legs.get_mut(usize::from(leg.slot))?.as_mut()?;
    (member.link.identity().leg == leg).then_some(member)
}

fn report(parts: &LinkParts, link: &LegLink, change: Option<LinkChange>) {
    let leg = link.identity().leg;
    match change {
        Some(LinkChange::Up) => parts.events.send(GatewayEvent::LinkUp { leg }),
        Some(LinkChange::Down(reason)) => {
            parts.counts.count(LinkCount::LinkLost);
            parts.events.send(GatewayEvent::LinkDown { leg, reason });
        }
        None => {}
    }
}

fn report_caption(
    parts: &LinkParts,
    leg: LegId,
    voice: Voice,
    utterance: UtteranceId,
    caption: &Caption<'_>,
) {
    if caption.is_final {
        parts.events.send(GatewayEvent::Caption {
            leg,
            voice,
            utterance,
            text: caption.text.clone().into_owned(),
            language: caption.language.clone().into_owned(),
        });
    }
}

fn stages(trace: &Trace<'_>) -> Stages {
    Stages {
        asr_ms: trace.asr_final_ms,
        queue_ms: trace.queue_ms,
        mt_ms: trace.mt_ms,
        tts_ms: trace.tts_first_byte_ms,
        total_ms: trace.total_ms,
    }
}
