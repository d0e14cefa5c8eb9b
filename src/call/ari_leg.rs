//! The life of one caller's channel in Asterisk, with the media channel and the bridge we make for
//! it: what is asked next, what every reply means, and that nothing of ours is left behind.
//!
//! ```text
//! Answering ─▶ BridgeCreating ─▶ MediaCreating ─▶ MediaAwaited ─▶ Bridging ─▶ Up
//!     └──────────────┴───────────────┴───────────────┴─────────────┴──────────┴─▶ Ending ─▶ gone
//! ```
//! One request is under way at a time: a deletion can never overtake the creation it undoes.
//! The media channel is bridged when it has come into our application by itself: before that,
//! Asterisk refuses with 422 (5 of 100 tries, measured).

use std::collections::VecDeque;
use std::net::SocketAddr;

use diglot_rt::msg::Codec;
use diglot_rt::units::Micros;

use super::ari::{HangupCause, Reply, Request};
use super::ids::CallIds;
use super::{EndReason, SetupStage};

/// Longest wait for a reply. The REST client gives up earlier; this is for a reply that got lost.
pub(super) const REPLY_WAIT_MS_MAX: u64 = 5_000;

/// Longest wait for the media channel to come into our application. Measured: 0 to 2 ms.
pub(super) const MEDIA_WAIT_MS_MAX: u64 = 5_000;

/// Tries to bridge before the call is given up: together about a second.
const BRIDGE_ATTEMPTS_MAX: u32 = 9;

/// Pause before the second try to bridge; it grows by as much with every try.
const BRIDGE_RETRY_MS: u64 = 25;

/// Tries to delete one thing before it is left to the next look round.
pub(super) const DELETE_ATTEMPTS_MAX: u32 = 3;

/// Pause before a deletion is tried again.
const DELETE_RETRY_MS: u64 = 200;

const STATUS_NOT_FOUND: u16 = 404;
/// "Channel not in Stasis application"
const STATUS_NOT_IN_APP: u16 = 422;

/// One caller's channel and what belongs to it.
#[derive(Debug)]
pub(super) struct AriLeg {
    caller: String,
    ids: CallIds,
    external_host: SocketAddr,
    codec: Codec,
    state: State,
    pending: Pending,
    /// The media channel came into our application; may happen before its creation is replied to.
    media_entered: bool,
    /// Requests made; the number of the one under way.
    number: u64,
    /// Tries of the request in hand.
    attempts: u32,
    effects: VecDeque<Effect>,
}

/// What the call's owner is to do, in order.
#[derive(Debug)]
pub(super) enum Effect {
    /// Send this; the reply bears the number.
    Ask { number: u64, request: Request },
    /// The media address is known: audio may come from now on.
    MediaKnown(SocketAddr),
    /// Caller and media channel are in one bridge.
    Up,
    /// Set-up failed; the clean-up has begun.
    Failed(EndReason),
    /// Something could not be deleted.
    Abandoned,
    /// All is deleted: forget the call.
    Gone,
}

#[derive(Debug)]
enum State {
    Setup(SetupStage),
    Up,
    /// What is still to be deleted, and whether the first of it has been asked for.
    Ending(VecDeque<Item>),
}

#[derive(Debug)]
enum Pending {
    /// Nothing is under way.
    None,
    /// A reply, until then.
    Reply(Micros),
    /// The media channel's arrival, until then.
    Media(Micros),
    /// A new try, then.
    Retry(Micros),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Item {
    Bridge,
    Caller(HangupCause),
    Media,
}

/// Whether the caller's channel is still ours to hang up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Caller {
    /// It hung up, or left our application: not ours any more.
    Gone,
    /// It is still there: hang it up.
    There(HangupCause),
}

impl AriLeg {
    /// Begins with the first request.
    pub(super) fn new(
        now: Micros,
        caller: String,
        ids: CallIds,
        external_host: SocketAddr,
        codec: Codec,
    ) -> Self {
        let mut leg = Self {
            caller,
            ids,
            external_host,
            codec,
            state: State::Setup(SetupStage::Answering),
            pending: Pending::None,
            media_entered: false,
            number: 0,
            attempts: 0,
            effects: VecDeque::new(),
        };
        leg.enter(now, SetupStage::Answering);
        leg
    }

    pub(super) fn caller(&self) -> &str {
        &self.caller
    }

    pub(super) fn ids(&self) -> &CallIds {
        &self.ids
    }

    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up)
    }

    pub(super) fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending(_))
    }

    /// When [`Self::on_deadline`] is due.
    pub(super) fn deadline(&self) -> Option<Micros> {
        match self.pending {
            Pending::None => None,
            Pending::Reply(at) | Pending::Media(at) | Pending::Retry(at) => Some(at),
        }
    }

    /// Time passed; nothing happens before the deadline.
    pub(super) fn on_deadline(&mut self, now: Micros) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.pending {
            Pending::None => {}
            Pending::Media(_) => self.fail(now, SetupStage::MediaAwaited, None),
            Pending::Reply(_) => self.on_reply(now, self.number, &Reply::NoReply),
            Pending::Retry(_) => self.ask(now),
        }
    }

    /// The reply to request `number`; a reply that comes after its time is ignored.
    pub(super) fn on_reply(&mut self, now: Micros, number: u64, reply: &Reply) {
        if number != self.number || !matches!(self.pending, Pending::Reply(_)) {
            return;
        }
        self.pending = Pending::None;
        match &mut self.state {
            State::Setup(stage) => {
                let stage = *stage;
                self.on_setup_reply(now, stage, reply);
            }
            State::Up => {}
            State::Ending(items) => {
                // The request under way when the end came is answered now: go on to delete.
                let deleting = self.attempts > 0;
                if deleting && !is_deleted(reply) && self.attempts < DELETE_ATTEMPTS_MAX {
                    self.pending = Pending::Retry(now.plus_ms(DELETE_RETRY_MS));
                    return;
                }
                if deleting {
                    items.pop_front();
                    if !is_deleted(reply) {
                        self.effects.push_back(Effect::Abandoned);
                    }
                }
                self.delete_next(now);
            }
        }
    }

    /// The media channel came into our application.
    pub(super) fn on_media_entered(&mut self, now: Micros) {
        self.media_entered = true;
        if matches!(self.pending, Pending::Media(_)) {
            self.enter(now, SetupStage::Bridging);
        }
    }

    /// The call ends, whatever its state; a second end changes nothing but what is known of the
    /// caller's channel.
    pub(super) fn end(&mut self, now: Micros, caller: Caller) {
        let stage = match &mut self.state {
            State::Ending(items) => {
                if caller == Caller::Gone {
                    let under_way = matches!(self.pending, Pending::Reply(_)) && self.attempts > 0;
                    let first = items.front().copied().filter(|_| under_way);
                    items.retain(|item| !matches!(item, Item::Caller(_)) || Some(*item) == first);
                    if items.is_empty() && matches!(self.pending, Pending::Retry(_)) {
                        self.delete_next(now);
                    }
                }
                return;
            }
            State::Setup(stage) => Some(*stage),
            State::Up => None,
        };
        let mut items = VecDeque::new();
        if stage.is_none_or(|stage| stage >= SetupStage::MediaCreating) {
            items.push_back(Item::Media);
        }
        if stage.is_none_or(|stage| stage >= SetupStage::BridgeCreating) {
            items.push_back(Item::Bridge);
        }
        if let Caller::There(cause) = caller {
            items.push_back(Item::Caller(cause));
        }
        self.state = State::Ending(items);
        self.attempts = 0;
        if !matches!(self.pending, Pending::Reply(_)) {
            self.delete_next(now);
        }
    }

    fn on_setup_reply(&mut self, now: Micros, stage: SetupStage, reply: &Reply) {
        match (stage, reply) {
            (SetupStage::MediaCreating, Reply::MediaCreated(remote)) => {
                self.effects.push_back(Effect::MediaKnown(*remote));
                let next = if self.media_entered {
                    SetupStage::Bridging
                } else {
                    SetupStage::MediaAwaited
                };
                self.enter(now, next);
            }
            (SetupStage::Answering, Reply::Status(200..300)) => {
                self.enter(now, SetupStage::BridgeCreating);
            }
            (SetupStage::BridgeCreating, Reply::Status(200..300)) => {
                self.enter(now, SetupStage::MediaCreating);
            }
            (SetupStage::Bridging, Reply::Status(200..300)) => {
                self.state = State::Up;
                self.effects.push_back(Effect::Up);
            }
            (SetupStage::Bridging, Reply::Status(STATUS_NOT_IN_APP))
                if self.attempts < BRIDGE_ATTEMPTS_MAX =>
            {
                let pause_ms = BRIDGE_RETRY_MS * u64::from(self.attempts);
                self.pending = Pending::Retry(now.plus_ms(pause_ms));
            }
            (_, Reply::Status(status)) => self.fail(now, stage, Some(*status)),
            (_, Reply::Listed(_) | Reply::MediaCreated(_) | Reply::NoReply) => {
                self.fail(now, stage, None);
            }
        }
    }

    fn fail(&mut self, now: Micros, stage: SetupStage, status: Option<u16>) {
        self.effects
            .push_back(Effect::Failed(EndReason::SetupFailed { stage, status }));
        self.end(now, Caller::There(HangupCause::Congestion));
    }

    fn enter(&mut self, now: Micros, stage: SetupStage) {
        self.state = State::Setup(stage);
        self.attempts = 0;
        self.ask(now);
    }

    fn delete_next(&mut self, now: Micros) {
        self.attempts = 0;
        if matches!(&self.state, State::Ending(items) if items.is_empty()) {
            self.pending = Pending::None;
            self.effects.push_back(Effect::Gone);
        } else {
            self.ask(now);
        }
    }

    /// Makes the request of the present state, for the first time or again.
    fn ask(&mut self, now: Micros) {
        let request = match &self.state {
            State::Setup(stage) => self.setup_request(*stage),
            State::Up => None,
            State::Ending(items) => items.front().map(|item| self.delete_request(*item)),
        };
        self.pending = match request {
            Some(request) => {
                self.number += 1;
                self.attempts += 1;
                self.effects.push_back(Effect::Ask {
                    number: self.number,
                    request,
                });
                Pending::Reply(now.plus_ms(REPLY_WAIT_MS_MAX))
            }
            None => Pending::Media(now.plus_ms(MEDIA_WAIT_MS_MAX)),
        };
    }

    /// `None` where the next thing is Asterisk's to do.
    fn setup_request(&self, stage: SetupStage) -> Option<Request> {
        let bridge = self.ids.bridge.clone();
        Some(match stage {
            SetupStage::Answering => Request::Answer {
                channel: self.caller.clone(),
            },
            SetupStage::BridgeCreating => Request::CreateBridge { bridge },
            SetupStage::MediaCreating => Request::CreateMedia {
                channel: self.ids.media.clone(),
                external_host: self.external_host,
                codec: self.codec,
            },
            SetupStage::MediaAwaited => return None,
            SetupStage::Bridging => Request::AddToBridge {
                bridge,
                channels: [self.caller.clone(), self.ids.media.clone()],
            },
        })
    }

    fn delete_request(&self, item: Item) -> Request {
        match item {
            Item::Bridge => Request::DeleteBridge {
                bridge: self.ids.bridge.clone(),
            },
            Item::Caller(cause) => Request::DeleteChannel {
                channel: self.caller.clone(),
                cause,
            },
            Item::Media => Request::DeleteChannel {
                channel: self.ids.media.clone(),
                cause: HangupCause::Normal,
            },
        }
    }
}

fn is_deleted(reply: &Reply) -> bool {
    matches!(reply, Reply::Status(200..300 | STATUS_NOT_FOUND))
}
