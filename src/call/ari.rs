//! What is asked of Asterisk and what it tells, as plain data: no HTTP, no JSON, no socket.
//!
//! `asterisk::ari` turns requests into REST calls and messages into events. Ids come from outside
//! and are compared, never interpreted.

use std::net::SocketAddr;

use diglot_rt::msg::{Codec, LegId};

/// Ties a reply to its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ticket {
    /// The leg that asked; `None` if nobody did: a leftover is deleted, a stranger turned away.
    pub leg: Option<LegId>,
    /// Counts the requests of that asker.
    pub number: u64,
}

/// One thing to be done by Asterisk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// Moves both channels into the bridge.
    AddToBridge {
        /// The bridge.
        bridge: String,
        /// The caller's channel and the media channel.
        channels: [String; 2],
    },
    /// Answers a ringing channel.
    Answer {
        /// The caller's channel.
        channel: String,
    },
    /// Makes a mixing bridge with this id.
    CreateBridge {
        /// Our own id for it.
        bridge: String,
    },
    /// Makes an ExternalMedia channel with this id, RTP over UDP.
    CreateMedia {
        /// Our own id for it.
        channel: String,
        /// Where Asterisk sends the audio; numeric.
        external_host: SocketAddr,
        /// How Asterisk codes it.
        codec: Codec,
    },
    /// Deletes a bridge; one that does not exist is as good.
    DeleteBridge {
        /// The bridge.
        bridge: String,
    },
    /// Hangs up a channel; one that does not exist is as good.
    DeleteChannel {
        /// The channel.
        channel: String,
        /// What the far end is told.
        cause: HangupCause,
    },
    /// Lists all channels and bridges, and which of them are in our application.
    List,
}

/// What a caller's phone is told when we hang up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HangupCause {
    /// Something on our side failed, or there is no room.
    Congestion,
    /// An ordinary end.
    Normal,
    /// There is no such extension.
    Unallocated,
}

/// What became of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// The answer to [`Request::List`].
    Listed(Snapshot),
    /// The media channel exists; it sends from, and receives at, this address.
    MediaCreated(SocketAddr),
    /// Asterisk was not reached, or did not answer in time: it may or may not have been done.
    NoReply,
    /// The HTTP status, of success or of failure.
    Status(u16),
}

/// What exists in Asterisk, as seen after the list was asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// Every channel.
    pub channels: Vec<SeenChannel>,
    /// The ids of all bridges.
    pub bridges: Vec<String>,
}

/// A channel in a [`Snapshot`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SeenChannel {
    /// Its id, and who calls on which extension.
    pub channel: Channel,
    /// Whether it is in our Stasis application.
    pub in_app: bool,
}

/// What is told about a channel that is in our application.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Channel {
    /// Asterisk's id, or ours if we made the channel.
    pub id: String,
    /// "PJSIP/alice-00000001", "UnicastRTP/127.0.0.1:5000-0x7f34".
    pub name: String,
    /// The caller's number; may be empty.
    pub caller: String,
    /// The first argument of `Stasis()`: the extension that was dialled.
    pub extension: Option<String>,
}

/// What Asterisk tells unasked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AriEvent {
    /// A bridge is gone.
    BridgeDestroyed {
        /// Its id.
        bridge: String,
    },
    /// A key was pressed; told when it is released.
    Dtmf {
        /// Whose.
        channel: String,
        /// `0-9`, `A-D`, `*`, `#`.
        digit: String,
        /// How long it was held.
        duration_ms: u64,
    },
    /// The channel hangs up, left our application, or is gone.
    Gone {
        /// Its id.
        channel: String,
    },
    /// The far end put the call on hold.
    Hold {
        /// Whose.
        channel: String,
    },
    /// A channel came into our application.
    StasisStart(Channel),
    /// The far end took the call back.
    Unhold {
        /// Whose.
        channel: String,
    },
}
