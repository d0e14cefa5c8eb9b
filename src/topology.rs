//! The table of threads and rings: who hands what to whom, how deep, and what a full ring means.
//!
//! Every ring of the gateway is made here and nowhere else; each has one producer and one consumer.

use std::fmt::Write as _;

use diglot_rt::limits::{COMMAND_RING_MAX, EVENT_RING_MAX, LINK_RING_FRAMES, STAGE_RING_FRAMES};
use diglot_rt::msg::{DownlinkFrame, RxCommand, RxEvent, TxCommand, TxEvent, UplinkFrame};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::config::Config;
use crate::realtime::Permissions;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct RingRow {
    /// Who writes.
    pub producer: &'static str,
    /// Who reads.
    pub consumer: &'static str,
    /// What is handed over.
    pub element: &'static str,
    /// How many fit.
    pub depth: usize,
    /// What happens to one that does not fit.
    pub when_full: &'static str,
}

/// Every ring, in the order in which a packet meets them.
pub const RINGS: &[RingRow] = &[
    RingRow {
        producer: "rx: decode",
        consumer: "rx: resample",
        element: "UplinkFrame",
        depth: STAGE_RING_FRAMES,
        when_full: "dropped, rx_drop_ring_full_total",
    },
    RingRow {
        producer: "rx",
        consumer: "link",
        element: "UplinkFrame",
        depth: LINK_RING_FRAMES,
        when_full: "dropped, rx_drop_ring_full_total",
    },
    RingRow {
        producer: "link",
        consumer: "tx",
        element: "DownlinkFrame",
        depth: LINK_RING_FRAMES,
        when_full: "dropped, link_downlink_ring_full_total",
    },
    RingRow {
        producer: "tx: playout",
        consumer: "tx: encode",
        element: "PlayFrame",
        depth: STAGE_RING_FRAMES,
        when_full: "dropped, tx_drop_ring_full_total",
    },
    RingRow {
        producer: "control",
        consumer: "rx",
        element: "RxCommand",
        depth: COMMAND_RING_MAX,
        when_full: "control waits",
    },
    RingRow {
        producer: "control",
        consumer: "tx",
        element: "TxCommand",
        depth: COMMAND_RING_MAX,
        when_full: "control waits",
    },
    RingRow {
        producer: "rx",
        consumer: "log",
        element: "RxEvent",
        depth: EVENT_RING_MAX,
        when_full: "dropped, rx_event_lost_total",
    },
    RingRow {
        producer: "tx",
        consumer: "log",
        element: "TxEvent",
        depth: EVENT_RING_MAX,
        when_full: "dropped, tx_event_lost_total",
    },
];

/// Both ends of a ring.
#[derive(Debug)]
pub struct Ring<T> {
    /// The writing end.
    pub producer: Producer<T>,
    /// The reading end.
    pub consumer: Consumer<T>,
}

impl<T> Ring<T> {
    fn new(depth: usize) -> Self {
        let (producer, consumer) = RingBuffer::new(depth);
        Self { producer, consumer }
    }
}

/// The rings between threads; those between the stages of one tile are the tile's own.
#[derive(Debug)]
pub struct Rings {
    /// rx tile to link thread.
    pub uplink: Ring<UplinkFrame>,
    /// Link thread to tx tile.
    pub downlink: Ring<DownlinkFrame>,
    /// Control thread to rx tile.
    pub rx_commands: Ring<RxCommand>,
    /// Control thread to tx tile.
    pub tx_commands: Ring<TxCommand>,
    /// rx tile to log thread.
    pub rx_events: Ring<RxEvent>,
    /// tx tile to log thread.
    pub tx_events: Ring<TxEvent>,
}

impl Rings {
    /// Makes them all; this is the memory that audio ever needs between threads.
    pub fn new() -> Self {
        Self {
            uplink: Ring::new(LINK_RING_FRAMES),
            downlink: Ring::new(LINK_RING_FRAMES),
            rx_commands: Ring::new(COMMAND_RING_MAX),
            tx_commands: Ring::new(COMMAND_RING_MAX),
            rx_events: Ring::new(EVENT_RING_MAX),
            tx_events: Ring::new(EVENT_RING_MAX),
        }
    }
}

impl Default for Rings {
    fn default() -> Self {
        Self::new()
    }
}

/// Threads, rings and what this machine allows, as a table for people.
pub fn describe(config: &Config, permissions: &Permissions) -> String {
    let core = |core: Option<usize>| core.map_or("any core".into(), |core| format!("core {core}"));
    let mut text = String::from("threads\n");
    let threads = [
        (
            "rx",
            core(config.realtime.rx_core),
            "mio: RTP sockets, commands",
        ),
        (
            "tx",
            core(config.realtime.tx_core),
            "timerfd: the 20 ms frame clock",
        ),
        (
            "link",
            core(None),
            "mio: WebSockets, uplink frames, commands",
        ),
        (
            "control",
            core(None),
            "channel: ARI events, replies, new sources",
        ),
        ("log", core(None), "channel: events of all threads"),
    ];
    for (name, core, waits_on) in threads {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<9} {core:<10} waits on {waits_on}");
    }
    text.push_str("rings\n");
    for row in RINGS {
        let _ = writeln!(
            text,
            "  {:<13} > {:<13} {:<14} {:>5}  full: {}",
            row.producer, row.consumer, row.element, row.depth, row.when_full
        );
    }
    text.push_str("this machine\n");
    let _ = write!(text, "{permissions}");
    text
}
