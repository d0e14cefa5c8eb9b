//! Rooms and legs: who calls, who is interpreted with whom, and what is made and deleted for them.
//!
//! A pure state machine: every input comes with the time, every decision is an output, and nothing
//! here reads a clock, opens a socket or writes a log. The control thread drives it:
//!
//! ```text
//! events, replies, new sources ─▶ handle(now, Input) ─▶ poll_output() ─▶ Request to Asterisk
//!                                       ▲                             ├▶ Change for tiles and link
//!                              next_deadline()                        └▶ CallEvent for the log
//! ```
//! It refuses callers beyond `legs_max` and on extensions it does not know, and never touches a
//! channel or bridge that is neither a caller's of our application nor named by us.

mod ari_leg;
mod calls;
mod counts;
mod ids;
mod resync;
mod rooms;
mod slots;

pub mod ari;
pub mod relock;

pub use calls::Calls;
pub use counts::{CallCount, CallCounts};

use std::net::SocketAddr;

use diglot_rt::msg::{LegId, PortIndex};

use ari::{AriEvent, Reply, Request, Ticket};

/// What happens to calls.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The event socket is open: nothing that happened before it is told.
    Connected,
    /// The event socket is lost. Audio may still flow: legs go on until a list says otherwise.
    Disconnected,
    /// Asterisk tells.
    Event(AriEvent),
    /// An event could not be read.
    EventBroken,
    /// An event was longer than is read.
    EventOversized,
    /// A leg sent nothing for `leg_timeout`; may be told again and again. Only without ARI does it
    /// end the leg: with ARI a silent phone is on hold, or mute.
    LegSilent {
        /// Which.
        leg: LegId,
    },
    /// A leg that fell silent seems to go on from another source, as far as its packets tell; may
    /// be told again and again. The rest of the rules of [`relock`] is judged here.
    LegMoved {
        /// Which.
        leg: LegId,
        /// Where it came to: the index of the extension.
        port: PortIndex,
        /// Where it came from.
        source: SocketAddr,
    },
    /// Another gateway took over our application: the callers are its own now.
    Replaced,
    /// Asterisk answers.
    Reply {
        /// What it answers.
        ticket: Ticket,
        /// How.
        reply: Reply,
    },
    /// The process ends: no new calls, and everything of ours is deleted.
    Shutdown,
    /// Time passed; due at [`Calls::next_deadline`].
    Tick,
    /// RTP came from an address that no leg owns; may be told again and again. Only without ARI
    /// does it begin a leg.
    UnknownSource {
        /// Where it came to: the index of the extension.
        port: PortIndex,
        /// Where it came from.
        source: SocketAddr,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// For the tiles and the link.
    Change(Change),
    /// For the log.
    Event(CallEvent),
    /// For Asterisk; its reply comes back with the ticket.
    Request {
        /// To be given back with the reply.
        ticket: Ticket,
        /// What to do.
        request: Request,
    },
}

/// What changes for the tiles and the link threads.
///
/// Of each leg: one `StartLeg`, later one `EndLeg`. Of two legs: `Pair` when both have started,
/// `Unpair` before either ends. Between its start and its end, any number of `MoveLeg`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// The leg is over: its audio stops now.
    EndLeg {
        /// Which.
        leg: LegId,
        /// Why.
        reason: EndReason,
    },
    /// The leg's audio comes from, and goes to, another address from now on.
    MoveLeg {
        /// Which.
        leg: LegId,
        /// Asterisk's end: source and destination.
        remote: SocketAddr,
    },
    /// Each hears the other's translation from now on.
    Pair {
        /// The two.
        legs: [LegId; 2],
    },
    /// A leg begins: its audio comes from `remote`, and goes there.
    StartLeg {
        /// Its name.
        leg: LegId,
        /// Index in the configuration's extensions; also the index of its RTP port.
        extension: usize,
        /// Asterisk's end: source and destination.
        remote: SocketAddr,
        /// Names the call in logs and on the link: the caller's channel, or the source.
        call_id: String,
    },
    /// Each waits for a new partner from now on.
    Unpair {
        /// The two.
        legs: [LegId; 2],
    },
}

/// What is worth a line in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CallEvent {
    /// A caller was taken.
    Arrived {
        /// Which call.
        call_id: String,
        /// Index of what was dialled.
        extension: usize,
        /// The caller's number; may be empty.
        caller: String,
    },
    /// A key was pressed.
    Dtmf {
        /// Which call.
        call_id: String,
        /// Which key.
        digit: String,
        /// For how long.
        duration_ms: u64,
    },
    /// A call is over and everything of it is deleted.
    Ended {
        /// Which call.
        call_id: String,
        /// Why.
        reason: EndReason,
    },
    /// The caller was put on hold.
    Hold {
        /// Which call.
        call_id: String,
    },
    /// The leg's audio comes from another port now.
    Moved {
        /// Which call.
        call_id: String,
        /// Where it comes from, and goes to.
        remote: SocketAddr,
    },
    /// Something of ours that no call owns is being deleted.
    Leftover {
        /// The id of a channel or bridge.
        id: String,
    },
    /// A caller was turned away.
    Refused {
        /// Which call.
        call_id: String,
        /// What was dialled; may be empty.
        extension: String,
        /// Why.
        reason: Refusal,
    },
    /// The caller was taken back.
    Unhold {
        /// Which call.
        call_id: String,
    },
    /// Caller and media channel are in one bridge.
    Up {
        /// Which call.
        call_id: String,
        /// Since the caller came, in microseconds.
        setup_us: u64,
    },
}

/// Why a caller was turned away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// `legs_max` legs are there already.
    Full,
    /// The process is ending.
    ShuttingDown,
    /// Not configured here.
    UnknownExtension,
}

/// Why a leg ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndReason {
    /// The bridge was destroyed by somebody else.
    BridgeLost,
    /// The caller hung up, or left our application.
    CallerLeft,
    /// The media channel ended by itself.
    MediaLost,
    /// Another gateway took over.
    Replaced,
    /// The call could not be set up.
    SetupFailed {
        /// What was under way.
        stage: SetupStage,
        /// The HTTP status; `None` if no answer came in time.
        status: Option<u16>,
    },
    /// The process ends.
    Shutdown,
    /// No RTP for `leg_timeout` (without ARI).
    Silent,
    /// Asterisk does not know the call any more.
    Vanished,
}

/// How far the set-up of a call has come, in order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SetupStage {
    /// The caller's channel is being answered.
    Answering,
    /// The bridge is being made.
    BridgeCreating,
    /// The media channel is being made.
    MediaCreating,
    /// The media channel has not come into our application yet.
    MediaAwaited,
    /// Both channels are being put into the bridge.
    Bridging,
}
