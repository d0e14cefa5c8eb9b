//! All calls of the process: legs by name, who is paired with whom, and what a list of Asterisk's
//! channels says about them.

mod ending;
mod moving;
mod reconcile;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use diglot_rt::msg::{LegId, PortIndex};
use diglot_rt::units::Micros;

use super::ari::{AriEvent, Channel, HangupCause, Reply, Request, Ticket};
use super::ari_leg::{AriLeg, Caller, Effect};
use super::ids::Ids;
use super::resync::{Listed, Resync};
use super::rooms::Rooms;
use super::slots::Slots;
use super::{CallCount, CallCounts, CallEvent, Change, EndReason, Input, Output, Refusal};
use crate::config::{Config, Control, Extension};

/// Names of channels that carry media to a gateway: never callers, whoever made them.
const MEDIA_CHANNEL_NAMES: [&str; 3] = ["AudioSocket/", "UnicastRTP/", "WebSocket/"];

/// Time between two lines about refused sources: a source repeats itself 50 times a second.
const REFUSED_SOURCE_PAUSE_MS: u64 = 1_000;

/// The state machine; see the module's picture.
#[derive(Debug)]
pub struct Calls {
    extensions: Vec<Extension>,
    arrivals: Arrivals,
    legs: Slots<Leg>,
    rooms: Rooms,
    ids: Ids,
    /// Callers' channels, our media channels and our bridges, of all legs that are not forgotten.
    owners: HashMap<String, LegId>,
    sources: HashMap<(PortIndex, SocketAddr), LegId>,
    resync: Resync,
    /// Callers who were turned away or left while a list is under way: it may still show them.
    settled: HashSet<String>,
    /// Requests made for no leg.
    requests: u64,
    doors: Doors,
    refused_source_at: Option<Micros>,
    outputs: VecDeque<Output>,
    counts: Arc<CallCounts>,
}

#[derive(Debug)]
struct Leg {
    id: LegId,
    extension: usize,
    call_id: String,
    arrived_at: Micros,
    up_at: Option<Micros>,
    /// Where its audio comes from, once that is known: it has started.
    lock: Option<Lock>,
    ended: Option<EndReason>,
    transport: Transport,
}

/// Where a leg's audio comes from, and goes to.
#[derive(Clone, Copy, Debug)]
struct Lock {
    /// As Asterisk told.
    told: SocketAddr,
    /// Where it comes from now.
    remote: SocketAddr,
    since: Micros,
}

#[derive(Debug)]
enum Transport {
    Ari(AriLeg),
    Rtp { port: PortIndex, source: SocketAddr },
}

/// Who says that a leg begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Arrivals {
    Ari,
    NewSources,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Doors {
    Open,
    ShuttingDown,
}

/// How we learned of a caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    ByEvent,
    InList,
}

impl Calls {
    /// No calls yet. `run` is a random number of this process: it makes its ids its own.
    pub fn new(config: &Config, run: u64) -> Self {
        let (arrivals, app) = match &config.asterisk.control {
            Control::Ari(ari) => (Arrivals::Ari, ari.app.as_str()),
            Control::None => (Arrivals::NewSources, ""),
        };
        let numbers = config
            .extensions
            .iter()
            .map(|e| (e.number.as_str(), e.partner.as_str()));
        Self {
            extensions: config.extensions.clone(),
            arrivals,
            legs: Slots::new(config.realtime.legs_max),
            rooms: Rooms::new(numbers),
            ids: Ids::new(app, run),
            owners: HashMap::new(),
            sources: HashMap::new(),
            resync: Resync::default(),
            settled: HashSet::new(),
            requests: 0,
            doors: Doors::Open,
            refused_source_at: None,
            outputs: VecDeque::new(),
            counts: Arc::default(),
        }
    }

    /// The counters; they may be read by any thread.
    pub fn counts(&self) -> Arc<CallCounts> {
        Arc::clone(&self.counts)
    }

    /// Whether no leg is left, not even one that is being deleted.
    pub fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }

    /// What is to be done next; all of it is to be taken before the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due; `None` while there is nothing to wait for.
    pub fn next_deadline(&self) -> Option<Micros> {
        let legs = self.legs.iter().filter_map(|leg| match &leg.transport {
            Transport::Ari(ari) => ari.deadline(),
            Transport::Rtp { .. } => None,
        });
        legs.chain(self.resync.deadline()).min()
    }

    /// Takes one input.
    ///
    /// # Panics
    /// In debug builds, if outputs of the last input were not taken.
    pub fn handle(&mut self, now: Micros, input: Input) {
        debug_assert!(
            self.outputs.is_empty(),
            "all outputs are taken before the next input"
        );
        match input {
            Input::Connected => {
                self.counts.count(CallCount::Connected);
                self.resync.on_connected(now);
            }
            Input::Disconnected => self.resync.on_disconnected(),
            Input::Event(event) => self.on_event(now, event),
            Input::EventBroken => self.counts.count(CallCount::EventBroken),
            Input::EventOversized => self.counts.count(CallCount::EventOversized),
            Input::LegMoved { leg, port, source } => self.on_moved(now, leg, port, source),
            Input::LegSilent { leg } => self.on_silent(now, leg),
            Input::Replaced => {
                self.resync.on_disconnected();
                self.end_all(now, EndReason::Replaced, Caller::Gone);
            }
            Input::Reply { ticket, reply } => self.on_reply(now, ticket, reply),
            Input::Shutdown => {
                self.doors = Doors::ShuttingDown;
                self.end_all(now, EndReason::Shutdown, Caller::There(HangupCause::Normal));
            }
            Input::Tick => {}
            Input::UnknownSource { port, source } => self.on_source(now, port, source),
        }
        self.on_deadlines(now);
    }

    fn on_deadlines(&mut self, now: Micros) {
        if self.resync.on_deadline(now, self.requests + 1) {
            self.settled.clear();
            self.ask(Request::List);
        }
        let due: Vec<LegId> = self
            .legs
            .iter()
            .filter(|leg| {
                matches!(&leg.transport, Transport::Ari(ari) if ari.deadline() <= Some(now)
                    && ari.deadline().is_some())
            })
            .map(|leg| leg.id)
            .collect();
        for id in due {
            self.drive(now, id, |ari| ari.on_deadline(now));
        }
    }

    fn on_event(&mut self, now: Micros, event: AriEvent) {
        match event {
            AriEvent::BridgeDestroyed { bridge } => {
                if let Some(id) = self.owner(&bridge) {
                    let caller = Caller::There(HangupCause::Congestion);
                    self.end(now, id, EndReason::BridgeLost, caller);
                }
            }
            AriEvent::Dtmf {
                channel,
                digit,
                duration_ms,
            } => {
                self.note(&channel, |call_id| CallEvent::Dtmf {
                    call_id,
                    digit,
                    duration_ms,
                });
            }
            AriEvent::Gone { channel } => self.on_gone(now, &channel),
            AriEvent::Hold { channel } => {
                self.note(&channel, |call_id| CallEvent::Hold { call_id })
            }
            AriEvent::StasisStart(channel) => {
                if self.ids.is_ours(&channel.id) {
                    self.on_media_entered(now, &channel.id);
                } else {
                    self.on_caller(now, channel, Found::ByEvent);
                }
            }
            AriEvent::Unhold { channel } => {
                self.note(&channel, |call_id| CallEvent::Unhold { call_id });
            }
        }
    }

    fn on_media_entered(&mut self, now: Micros, media: &str) {
        match self.owner(media) {
            Some(id) => self.drive(now, id, |ari| ari.on_media_entered(now)),
            None => self.delete_leftover_channel(media),
        }
    }

    fn on_gone(&mut self, now: Micros, channel: &str) {
        let Some(id) = self.owner(channel) else {
            return;
        };
        let is_caller = self.legs.find(id).is_some_and(|leg| leg.call_id == channel);
        if is_caller {
            self.end(now, id, EndReason::CallerLeft, Caller::Gone);
        } else {
            self.end(
                now,
                id,
                EndReason::MediaLost,
                Caller::There(HangupCause::Congestion),
            );
        }
    }

    fn on_caller(&mut self, now: Micros, channel: Channel, found: Found) {
        if self.arrivals != Arrivals::Ari
            || self.owners.contains_key(&channel.id)
            || MEDIA_CHANNEL_NAMES
                .iter()
                .any(|name| channel.name.starts_with(name))
        {
            return;
        }
        let dialled = channel.extension.unwrap_or_default();
        let extension = self
            .extensions
            .iter()
            .position(|extension| extension.number == dialled);
        let (refusal, cause) = match extension {
            _ if self.doors == Doors::ShuttingDown => {
                (Refusal::ShuttingDown, HangupCause::Congestion)
            }
            None => (Refusal::UnknownExtension, HangupCause::Unallocated),
            Some(_) if self.legs.is_full() => (Refusal::Full, HangupCause::Congestion),
            Some(extension) => {
                if found == Found::InList {
                    self.counts.count(CallCount::Adopted);
                }
                let Extension { listen, uplink, .. } = self.extensions[extension];
                let ids = self.ids.next();
                let ari = AriLeg::new(now, channel.id.clone(), ids, listen, uplink);
                self.arrive(
                    now,
                    extension,
                    channel.id,
                    channel.caller,
                    Transport::Ari(ari),
                );
                return;
            }
        };
        self.count_refusal(refusal);
        self.note_refusal(channel.id.clone(), dialled, refusal);
        self.settle(&channel.id);
        self.ask(Request::DeleteChannel {
            channel: channel.id,
            cause,
        });
    }

    fn on_source(&mut self, now: Micros, port: PortIndex, source: SocketAddr) {
        if self.arrivals != Arrivals::NewSources || self.sources.contains_key(&(port, source)) {
            return;
        }
        let extension = usize::from(port.0);
        let refusal = if self.doors == Doors::ShuttingDown {
            Refusal::ShuttingDown
        } else if extension >= self.extensions.len() {
            Refusal::UnknownExtension
        } else if self.legs.is_full() {
            Refusal::Full
        } else {
            let transport = Transport::Rtp { port, source };
            self.arrive(now, extension, source.to_string(), String::new(), transport);
            return;
        };
        self.count_refusal(refusal);
        let quiet_until = self
            .refused_source_at
            .map(|at| at.plus_ms(REFUSED_SOURCE_PAUSE_MS));
        if quiet_until.is_none_or(|until| now >= until) {
            self.refused_source_at = Some(now);
            let dialled = self.extensions.get(extension).map(|e| e.number.clone());
            self.note_refusal(source.to_string(), dialled.unwrap_or_default(), refusal);
        }
    }

    fn on_silent(&mut self, now: Micros, id: LegId) {
        let is_rtp = |leg: &Leg| matches!(leg.transport, Transport::Rtp { .. });
        if self.legs.find(id).is_some_and(is_rtp) {
            self.end(now, id, EndReason::Silent, Caller::Gone);
        }
    }

    fn on_reply(&mut self, now: Micros, ticket: Ticket, reply: Reply) {
        if let Some(id) = ticket.leg {
            self.drive(now, id, |ari| ari.on_reply(now, ticket.number, &reply));
            return;
        }
        let listed = if matches!(reply, Reply::Listed(_)) {
            Listed::Yes
        } else {
            Listed::No
        };
        let asked_at = self.resync.on_reply(now, ticket.number, listed);
        match (reply, asked_at) {
            (Reply::Listed(snapshot), Some(asked_at)) => self.reconcile(now, asked_at, snapshot),
            // An outdated list; a failed one, which is asked for again; a deletion that is done.
            (Reply::Listed(_), None) | (_, Some(_)) | (Reply::Status(200..300 | 404), None) => {}
            _ => self.resync.on_doubt(now),
        }
    }

    // --- legs ---

    /// Takes a new leg; the caller has checked that a slot is free.
    fn arrive(
        &mut self,
        now: Micros,
        extension: usize,
        call_id: String,
        caller: String,
        transport: Transport,
    ) {
        let inserted = self.legs.insert(|id| Leg {
            id,
            extension,
            call_id: call_id.clone(),
            arrived_at: now,
            up_at: None,
            lock: None,
            ended: None,
            transport,
        });
        let Some(id) = inserted else { return };
        self.counts.count(CallCount::Arrived);
        self.rooms.arrive(id, extension);
        let event = CallEvent::Arrived {
            call_id,
            extension,
            caller,
        };
        self.outputs.push_back(Output::Event(event));
        match &self.legs.find(id).expect("inserted above").transport {
            Transport::Ari(ari) => {
                let ids = ari.ids();
                let owned = [ari.caller(), &ids.media, &ids.bridge].map(str::to_owned);
                self.owners.extend(owned.map(|name| (name, id)));
                self.drive(now, id, |_| ());
            }
            &Transport::Rtp { port, source } => {
                self.sources.insert((port, source), id);
                self.start(now, id, source);
            }
        }
    }

    /// Lets one ARI leg act, and does what it wants done.
    fn drive(&mut self, now: Micros, id: LegId, act: impl FnOnce(&mut AriLeg)) {
        let Some(Transport::Ari(ari)) = self.legs.find_mut(id).map(|leg| &mut leg.transport) else {
            return;
        };
        act(ari);
        while let Some(effect) = self.poll_effect(id) {
            match effect {
                Effect::Abandoned => {
                    self.counts.count(CallCount::Abandoned);
                    self.resync.on_doubt(now);
                }
                Effect::Ask { number, request } => {
                    let ticket = Ticket {
                        leg: Some(id),
                        number,
                    };
                    self.outputs.push_back(Output::Request { ticket, request });
                }
                Effect::Failed(reason) => {
                    self.counts.count(CallCount::SetupFailed);
                    self.conclude(id, reason);
                }
                Effect::Gone => self.forget(id),
                Effect::MediaKnown(remote) => self.start(now, id, remote),
                Effect::Up => self.on_up(now, id),
            }
        }
    }

    fn poll_effect(&mut self, id: LegId) -> Option<Effect> {
        match &mut self.legs.find_mut(id)?.transport {
            Transport::Ari(ari) => ari.poll_effect(),
            Transport::Rtp { .. } => None,
        }
    }

    fn on_up(&mut self, now: Micros, id: LegId) {
        let Some(leg) = self.legs.find_mut(id) else {
            return;
        };
        leg.up_at = Some(now);
        let setup_us = now.since(leg.arrived_at);
        let event = CallEvent::Up {
            call_id: leg.call_id.clone(),
            setup_us,
        };
        self.outputs.push_back(Output::Event(event));
    }

    fn start(&mut self, now: Micros, id: LegId, remote: SocketAddr) {
        self.give_back(now, id, remote);
        let Some(leg) = self.legs.find_mut(id) else {
            return;
        };
        leg.lock = Some(Lock {
            told: remote,
            remote,
            since: now,
        });
        let (extension, call_id) = (leg.extension, leg.call_id.clone());
        self.change(Change::StartLeg {
            leg: id,
            extension,
            remote,
            call_id,
        });
        if let Some(partner) = self.rooms.partner(id) {
            self.pair_if_started([partner, id]);
        }
    }

    fn pair_if_started(&mut self, legs: [LegId; 2]) {
        if self.have_started(legs) {
            self.change(Change::Pair { legs });
        }
    }

    fn have_started(&self, legs: [LegId; 2]) -> bool {
        legs.iter()
            .all(|leg| self.legs.find(*leg).is_some_and(|leg| leg.lock.is_some()))
    }

    fn owner(&self, name: &str) -> Option<LegId> {
        self.owners.get(name).copied()
    }

    fn disown(&mut self, name: &str, id: LegId) {
        if self.owner(name) == Some(id) {
            self.owners.remove(name);
        }
    }

    // --- outputs ---

    fn ask(&mut self, request: Request) {
        self.requests += 1;
        let ticket = Ticket {
            leg: None,
            number: self.requests,
        };
        self.outputs.push_back(Output::Request { ticket, request });
    }

    fn change(&mut self, change: Change) {
        self.outputs.push_back(Output::Change(change));
    }

    /// Notes an event of a caller's channel.
    fn note(&mut self, channel: &str, event: impl FnOnce(String) -> CallEvent) {
        let leg = self.owner(channel).and_then(|id| self.legs.find(id));
        if let Some(leg) = leg.filter(|leg| leg.call_id == channel) {
            let event = event(leg.call_id.clone());
            self.outputs.push_back(Output::Event(event));
        }
    }

    fn count_refusal(&self, reason: Refusal) {
        self.counts.count(match reason {
            Refusal::Full => CallCount::RefusedFull,
            Refusal::ShuttingDown => CallCount::RefusedShuttingDown,
            Refusal::UnknownExtension => CallCount::RefusedUnknownExtension,
        });
    }

    fn note_refusal(&mut self, call_id: String, extension: String, reason: Refusal) {
        let event = CallEvent::Refused {
            call_id,
            extension,
            reason,
        };
        self.outputs.push_back(Output::Event(event));
    }

    fn delete_leftover_channel(&mut self, channel: &str) {
        self.note_leftover(channel);
        let (channel, cause) = (channel.to_owned(), HangupCause::Normal);
        self.ask(Request::DeleteChannel { channel, cause });
    }

    fn note_leftover(&mut self, id: &str) {
        self.counts.count(CallCount::Leftover);
        self.outputs
            .push_back(Output::Event(CallEvent::Leftover { id: id.to_owned() }));
    }
}
