//! Goal: whatever the order of events, replies, failures, lost connections and restarts, in the end
//! nothing of ours is left in Asterisk, every leg is freed, and tiles were told a consistent story.
//! Method: the state machine against a small model of Asterisk on virtual time. A random list of
//! steps decides what happens next; then all goes well, and the model must be empty. The looks
//! round heal much, so calm weather is tested apart: there it must come out right without them.

#[path = "support/config.rs"]
mod config;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use diglot::call::ari::{AriEvent, Channel, Reply, Request, SeenChannel, Snapshot, Ticket};
use diglot::call::relock::RELOCK_PAUSE_MS;
use diglot::call::{Calls, Change, Input, Output};
use diglot_rt::msg::{LegId, PortIndex};
use diglot_rt::units::Micros;
use proptest::prelude::*;

const LEGS_MAX: usize = 4;

/// Far more than the longest chain of retries, lists and deadlines takes.
const SETTLE_STEPS_MAX: usize = 20_000;

/// Longer than two looks round.
const SETTLE_MS: u64 = 70_000;

/// Shorter than the time to the second look round.
const CALM_SETTLE_MS: u64 = 20_000;

/// When a leg no longer waits for a reply.
const GIVEN_UP_AFTER_MS: u64 = 5_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    AsteriskRestarts,
    CallerArrives { extension: usize },
    CallerHangsUp(usize),
    Connect,
    DeliverEvent,
    DeliverReply(usize),
    Disconnect,
    Execute(usize),
    Fail(usize),
    LoseReply(usize),
    LoseRequest(usize),
    Moves { leg: usize, source: u16 },
    OutsiderDeletes(usize),
    TimePasses,
}

/// What happens while the connection holds and Asterisk does what it is asked to.
fn calm_step() -> impl Strategy<Value = Step> {
    let n = 0..8_usize;
    prop_oneof![
        6 => (0..3_usize).prop_map(|extension| Step::CallerArrives { extension }),
        4 => n.clone().prop_map(Step::CallerHangsUp),
        20 => Just(Step::DeliverEvent),
        20 => n.clone().prop_map(Step::DeliverReply),
        20 => n.clone().prop_map(Step::Execute),
        1 => n.prop_map(Step::OutsiderDeletes),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..8_usize;
    prop_oneof![
        1 => Just(Step::AsteriskRestarts),
        6 => (0..3_usize).prop_map(|extension| Step::CallerArrives { extension }),
        3 => n.clone().prop_map(Step::CallerHangsUp),
        3 => Just(Step::Connect),
        20 => Just(Step::DeliverEvent),
        20 => n.clone().prop_map(Step::DeliverReply),
        1 => Just(Step::Disconnect),
        20 => n.clone().prop_map(Step::Execute),
        1 => n.clone().prop_map(Step::Fail),
        1 => n.clone().prop_map(Step::LoseReply),
        1 => n.clone().prop_map(Step::LoseRequest),
        6 => (n.clone(), 0..8_u16).prop_map(|(leg, source)| Step::Moves { leg, source }),
        1 => n.prop_map(Step::OutsiderDeletes),
        4 => Just(Step::TimePasses),
    ]
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    AllCallersHangUp,
    Shutdown,
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_is_left_behind(
        steps in prop::collection::vec(step(), 1..250),
        ending in prop_oneof![Just(Ending::AllCallersHangUp), Just(Ending::Shutdown)],
    ) {
        let mut world = World::new();
        world.feed(Input::Connected);
        for step in steps {
            world.step(step);
        }
        world.settle(ending, SETTLE_MS);
    }

    #[test]
    fn in_calm_weather_nothing_is_left_to_a_look_round(
        steps in prop::collection::vec(calm_step(), 1..250),
        ending in prop_oneof![Just(Ending::AllCallersHangUp), Just(Ending::Shutdown)],
    ) {
        let mut world = World::new();
        world.feed(Input::Connected);
        world.execute(0);
        world.step(Step::DeliverReply(0));
        for step in steps {
            world.step(step);
        }
        world.settle(ending, CALM_SETTLE_MS);
        assert_eq!(world.lists, 1, "it took a second look round");
    }
}

/// Asterisk and the network, and what the tiles were told.
struct World {
    now: Micros,
    calls: Calls,
    connected: bool,
    /// Channels in our application: ours and callers'.
    channels: BTreeMap<String, Option<String>>,
    bridges: BTreeSet<String>,
    callers: u64,
    /// Not executed yet.
    requests: Vec<Waiting>,
    replies: Vec<(Ticket, Reply)>,
    events: VecDeque<AriEvent>,
    started: BTreeMap<LegId, usize>,
    /// Where the tiles hear each leg.
    sources: BTreeMap<LegId, SocketAddr>,
    /// The source of the next media channel.
    next_source: u16,
    pairs: BTreeMap<LegId, LegId>,
    lists: u32,
}

/// Asterisk's sources of media.
fn media_source(n: u16) -> SocketAddr {
    ([127, 0, 0, 1], 18_000 + 2 * n).into()
}

struct Waiting {
    /// `None`: nobody waits for the reply any more.
    ticket: Option<Ticket>,
    request: Request,
    asked_at: Micros,
}

impl World {
    fn new() -> Self {
        let config = config::with_ari("http://127.0.0.1:1", LEGS_MAX);
        Self {
            now: Micros(1),
            calls: Calls::new(&config, 7),
            connected: true,
            channels: BTreeMap::new(),
            bridges: BTreeSet::new(),
            callers: 0,
            requests: Vec::new(),
            replies: Vec::new(),
            events: VecDeque::new(),
            started: BTreeMap::new(),
            sources: BTreeMap::new(),
            next_source: 0,
            pairs: BTreeMap::new(),
            lists: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::AsteriskRestarts => {
                self.disconnect();
                self.channels.clear();
                self.bridges.clear();
            }
            Step::CallerArrives { extension } => self.caller_arrives(extension),
            Step::CallerHangsUp(n) => {
                let callers = self
                    .channels
                    .iter()
                    .filter(|(_, dialled)| dialled.is_some());
                if let Some((id, _)) = nth(callers, n) {
                    self.delete_channel(&id.clone());
                }
            }
            Step::Connect => self.connect(),
            Step::DeliverEvent => {
                if let Some(event) = self.events.pop_front() {
                    self.feed(Input::Event(event));
                }
            }
            Step::DeliverReply(n) => {
                if !self.replies.is_empty() {
                    let (ticket, reply) = self.replies.remove(n % self.replies.len());
                    self.feed(Input::Reply { ticket, reply });
                }
            }
            Step::Disconnect => self.disconnect(),
            Step::Execute(n) => self.execute(n),
            Step::Fail(n) => self.answer(n, &Reply::Status(500)),
            Step::LoseReply(n) => {
                // The client gives up; Asterisk may still do it, at any later time.
                if let Some(waiting) = nth_mut(&mut self.requests, n)
                    && let Some(ticket) = waiting.ticket.take()
                {
                    self.replies.push((ticket, Reply::NoReply));
                }
            }
            Step::LoseRequest(n) => self.answer(n, &Reply::NoReply),
            Step::Moves { leg, source } => {
                if let Some((leg, extension)) = nth(self.started.iter(), leg) {
                    let (leg, port) = (*leg, PortIndex(*extension as u8));
                    // Long after it began or moved last.
                    self.now = self.now.plus_ms(RELOCK_PAUSE_MS);
                    // One that a leg has or had, or that Asterisk is about to give away.
                    let source = media_source((self.next_source + source).saturating_sub(4));
                    self.feed(Input::LegMoved { leg, port, source });
                }
            }
            Step::OutsiderDeletes(n) => {
                let bridge = nth(self.bridges.iter(), n).cloned();
                let media = self
                    .channels
                    .iter()
                    .filter(|(_, dialled)| dialled.is_none());
                match (n % 2, bridge, nth(media, n).map(|(id, _)| id.clone())) {
                    (0, Some(bridge), _) => self.delete_bridge(&bridge),
                    (_, _, Some(media)) => self.delete_channel(&media),
                    _ => {}
                }
            }
            Step::TimePasses => {
                if let Some(deadline) = self.calls.next_deadline() {
                    self.now = self.now.max(deadline);
                }
                self.feed(Input::Tick);
            }
        }
    }

    /// From here on all goes well, until nothing more happens.
    fn settle(&mut self, ending: Ending, time_ms: u64) {
        if ending == Ending::AllCallersHangUp {
            let callers = self
                .channels
                .iter()
                .filter(|(_, dialled)| dialled.is_some());
            for id in callers.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                self.delete_channel(&id);
            }
        } else {
            self.feed(Input::Shutdown);
        }
        self.connect();
        let until = self.now.plus_ms(time_ms);
        for _ in 0..SETTLE_STEPS_MAX {
            if !self.events.is_empty() {
                self.step(Step::DeliverEvent);
            } else if !self.requests.is_empty() {
                self.step(Step::Execute(0));
            } else if !self.replies.is_empty() {
                self.step(Step::DeliverReply(0));
            } else if self
                .calls
                .next_deadline()
                .is_some_and(|deadline| deadline < until)
            {
                self.step(Step::TimePasses);
            } else {
                break;
            }
        }
        let due = self.calls.next_deadline();
        assert!(due.is_none_or(|due| due >= until), "it goes on and on");
        assert!(self.calls.is_empty(), "a leg was not freed");
        assert!(
            self.channels.is_empty(),
            "channels left: {:?}",
            self.channels
        );
        assert!(self.bridges.is_empty(), "bridges left: {:?}", self.bridges);
        assert!(
            self.started.is_empty(),
            "legs not ended: {:?}",
            self.started
        );
        assert!(self.pairs.is_empty(), "pairs not undone: {:?}", self.pairs);
    }

    fn feed(&mut self, input: Input) {
        self.now = Micros(self.now.0 + 1);
        self.calls.handle(self.now, input);
        while let Some(output) = self.calls.poll_output() {
            match output {
                Output::Change(change) => self.check(change),
                Output::Event(_) => {}
                Output::Request { ticket, request } => {
                    self.lists += u32::from(request == Request::List);
                    self.check_alone(ticket, &request);
                    let (ticket, asked_at) = (Some(ticket), self.now);
                    self.requests.push(Waiting {
                        ticket,
                        request,
                        asked_at,
                    });
                }
            }
        }
    }

    /// A leg's requests never overtake each other: it has one under way, until it gives it up.
    fn check_alone(&self, ticket: Ticket, request: &Request) {
        let Some(leg) = ticket.leg else { return };
        let is_rival = |other: &&Waiting| {
            other.ticket.is_some_and(|other| other.leg == Some(leg))
                && self.now < other.asked_at.plus_ms(GIVEN_UP_AFTER_MS)
        };
        assert!(
            !self.requests.iter().any(|other| is_rival(&other)),
            "two at once: {request:?}"
        );
    }

    /// The story told to the tiles must be consistent at every step.
    fn check(&mut self, change: Change) {
        match change {
            Change::EndLeg { leg, .. } => {
                assert!(!self.pairs.contains_key(&leg), "ended while paired");
                assert!(
                    self.started.remove(&leg).is_some(),
                    "ended, but not started"
                );
                self.sources.remove(&leg);
            }
            Change::Pair { legs: [one, two] } => {
                assert_ne!(
                    self.started[&one], self.started[&two],
                    "one of each extension"
                );
                assert_eq!(self.pairs.insert(one, two), None);
                assert_eq!(self.pairs.insert(two, one), None);
            }
            Change::MoveLeg { leg, remote } => {
                assert!(self.started.contains_key(&leg), "moved, but not started");
                self.check_source(leg, remote);
            }
            Change::StartLeg {
                leg,
                extension,
                remote,
                ..
            } => {
                assert!(self.started.len() < LEGS_MAX);
                assert_eq!(self.started.insert(leg, extension), None, "started twice");
                self.check_source(leg, remote);
            }
            Change::Unpair { legs: [one, two] } => {
                assert_eq!(self.pairs.remove(&one), Some(two));
                assert_eq!(self.pairs.remove(&two), Some(one));
            }
        }
    }

    /// No two legs of an extension hear the same source.
    fn check_source(&mut self, leg: LegId, source: SocketAddr) {
        let extension = self.started[&leg];
        let owner = self
            .sources
            .iter()
            .find(|(other, owned)| **owned == source && self.started[other] == extension);
        assert_eq!(owner, None, "{leg:?} is given {source}");
        self.sources.insert(leg, source);
    }

    fn caller_arrives(&mut self, extension: usize) {
        self.callers += 1;
        let id = format!("1795330590.{}", self.callers);
        let dialled = ["7777", "8888", "9999"][extension].to_owned();
        self.channels.insert(id.clone(), Some(dialled));
        self.tell(AriEvent::StasisStart(self.channel(&id)));
    }

    fn channel(&self, id: &str) -> Channel {
        let extension = self.channels[id].clone();
        let name = if extension.is_some() {
            "PJSIP/x-1"
        } else {
            "UnicastRTP/127.0.0.1:1-0x1"
        };
        Channel {
            id: id.to_owned(),
            name: name.to_owned(),
            caller: "1001".to_owned(),
            extension,
        }
    }

    fn tell(&mut self, event: AriEvent) {
        if self.connected {
            self.events.push_back(event);
        }
    }

    fn connect(&mut self) {
        if !self.connected {
            self.connected = true;
            self.feed(Input::Connected);
        }
    }

    fn disconnect(&mut self) {
        if self.connected {
            self.connected = false;
            self.events.clear();
            self.feed(Input::Disconnected);
        }
    }

    fn answer(&mut self, n: usize, reply: &Reply) {
        if !self.requests.is_empty() {
            let Waiting { ticket, .. } = self.requests.remove(n % self.requests.len());
            self.replies
                .extend(ticket.map(|ticket| (ticket, reply.clone())));
        }
    }

    fn execute(&mut self, n: usize) {
        if self.requests.is_empty() {
            return;
        }
        let Waiting {
            ticket, request, ..
        } = self.requests.remove(n % self.requests.len());
        let reply = match request {
            Request::AddToBridge { bridge, channels } => {
                match (
                    self.bridges.contains(&bridge),
                    channels
                        .iter()
                        .all(|channel| self.channels.contains_key(channel)),
                ) {
                    (true, true) => Reply::Status(204),
                    (false, _) => Reply::Status(404),
                    (_, false) => Reply::Status(400),
                }
            }
            Request::Answer { channel } if self.channels.contains_key(&channel) => {
                Reply::Status(204)
            }
            Request::Answer { .. } => Reply::Status(404),
            Request::CreateBridge { bridge } => {
                self.bridges.insert(bridge);
                Reply::Status(200)
            }
            Request::CreateMedia { channel, .. } => {
                self.channels.insert(channel.clone(), None);
                self.tell(AriEvent::StasisStart(self.channel(&channel)));
                self.next_source += 1;
                Reply::MediaCreated(media_source(self.next_source))
            }
            Request::DeleteBridge { bridge } => {
                let existed = self.bridges.contains(&bridge);
                self.delete_bridge(&bridge);
                Reply::Status(if existed { 204 } else { 404 })
            }
            Request::DeleteChannel { channel, .. } => {
                let existed = self.channels.contains_key(&channel);
                self.delete_channel(&channel);
                Reply::Status(if existed { 204 } else { 404 })
            }
            Request::List => {
                let channels = self.channels.keys();
                let seen = |id: &String| SeenChannel {
                    channel: self.channel(id),
                    in_app: true,
                };
                let channels = channels.map(seen).collect();
                let bridges = self.bridges.iter().cloned().collect();
                Reply::Listed(Snapshot { channels, bridges })
            }
        };
        self.replies.extend(ticket.map(|ticket| (ticket, reply)));
    }

    fn delete_channel(&mut self, channel: &str) {
        if self.channels.remove(channel).is_some() {
            for _ in ["ChannelHangupRequest", "StasisEnd"] {
                self.tell(AriEvent::Gone {
                    channel: channel.to_owned(),
                });
            }
        }
    }

    fn delete_bridge(&mut self, bridge: &str) {
        if self.bridges.remove(bridge) {
            self.tell(AriEvent::BridgeDestroyed {
                bridge: bridge.to_owned(),
            });
        }
    }
}

fn nth<T>(mut items: impl Iterator<Item = T> + Clone, n: usize) -> Option<T> {
    let count = items.clone().count();
    items.nth(n % count.max(1))
}

fn nth_mut<T>(items: &mut [T], n: usize) -> Option<&mut T> {
    let count = items.len().max(1);
    items.get_mut(n % count)
}
