//! The table of threads and rings: who hands what to whom, how deep, and what a full ring means.
//!
//! Every ring of the gateway is made here and nowhere else; each has one producer and one consumer.
//! There is one set for each tile pair.

use std::fmt::{self, Write as _};

use diglot_rt::limits::{
    COMMAND_RING_MAX, EVENT_RING_MAX, LINK_RING_FRAMES, STAGE_RING_FRAMES, TILE_PAIRS_MAX,
};
use diglot_rt::msg::{
    DownlinkFrame, PlayFrame, RxCommand, RxEvent, TxCommand, TxEvent, UplinkFrame,
};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::config::{Config, Realtime};
use crate::realtime::{Permissions, Urgency};
use crate::tile::rx::RxTile;
use crate::tile::tx::TxTile;

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

/// The rings between one tile pair and the other threads; those between the stages of one tile are
/// the tile's own.
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
    /// What the rings of one pair hold, those between the stages of its tiles included.
    pub const BYTES: usize = LINK_RING_FRAMES
        * (size_of::<UplinkFrame>() + size_of::<DownlinkFrame>())
        + COMMAND_RING_MAX * (size_of::<RxCommand>() + size_of::<TxCommand>())
        + EVENT_RING_MAX * (size_of::<RxEvent>() + size_of::<TxEvent>())
        + STAGE_RING_FRAMES * (size_of::<UplinkFrame>() + size_of::<PlayFrame>());

    /// Makes them all; this is the memory that audio of one pair ever needs between threads. Every
    /// pair's are as deep as if it had all legs: which pair a leg comes to is its source's choice.
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

/// What the threads besides the tiles are called; at most 15 bytes each, the kernel's limit.
pub mod thread_name {
    /// Owns all calls and talks to Asterisk.
    pub const CONTROL: &str = "control";
    /// Owns the WebSockets of all legs.
    pub const LINK: &str = "link";
    /// Turns events into lines.
    pub const LOG: &str = "log";
    /// Writes the lines of every thread.
    pub const LOG_WRITER: &str = "log-writer";
    /// Serves the link.
    pub const TRANSLATOR: &str = "translator";
}

/// What the tiles of each pair are called where there are several.
const PAIR_NAMES: [TileNames; TILE_PAIRS_MAX] = [
    TileNames::new("rx0", "tx0"),
    TileNames::new("rx1", "tx1"),
    TileNames::new("rx2", "tx2"),
    TileNames::new("rx3", "tx3"),
    TileNames::new("rx4", "tx4"),
    TileNames::new("rx5", "tx5"),
    TileNames::new("rx6", "tx6"),
    TileNames::new("rx7", "tx7"),
];

/// What the threads of a tile pair are called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TileNames {
    /// Of the rx tile.
    pub rx: &'static str,
    /// Of the tx tile.
    pub tx: &'static str,
}

impl TileNames {
    const fn new(rx: &'static str, tx: &'static str) -> Self {
        Self { rx, tx }
    }

    /// The end of a ring as this pair calls it: "rx: decode" is "rx1: decode".
    fn of(self, end: &str) -> String {
        match end.get(..2) {
            Some("rx") => format!("{}{}", self.rx, &end[2..]),
            Some("tx") => format!("{}{}", self.tx, &end[2..]),
            _ => end.to_owned(),
        }
    }
}

/// The names of `pairs` tile pairs, in their order: rx and tx, or rx0, tx0, rx1 and so on.
pub fn tile_names(pairs: usize) -> impl Iterator<Item = TileNames> {
    let (alone, several) = if pairs == 1 { (1, 0) } else { (0, pairs) };
    let alone = std::iter::repeat_n(TileNames::new("rx", "tx"), alone);
    alone.chain(PAIR_NAMES.into_iter().take(several))
}

/// Threads, rings and what this machine allows, as a table for people.
pub fn describe(config: &Config, permissions: &Permissions) -> String {
    let realtime = &config.realtime;
    let pairs = realtime.tile_pairs;
    let mut text = describe_threads(realtime, permissions);
    text.push_str("rings\n");
    for names in tile_names(pairs) {
        for row in RINGS {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "  {:<13} > {:<13} {:<14} {:>5}  full: {}",
                names.of(row.producer),
                names.of(row.consumer),
                row.element,
                row.depth,
                row.when_full
            );
        }
    }
    let _ = writeln!(
        text,
        "memory\n  {}",
        MediaMemory::of(realtime.legs_max, pairs)
    );
    text.push_str("this machine\n");
    let _ = write!(text, "{permissions}");
    text
}

/// Where each thread runs, how urgently, and what it waits on.
fn describe_threads(realtime: &Realtime, permissions: &Permissions) -> String {
    let core = |core: Option<&usize>| match core {
        None => "any core".into(),
        Some(core) if permissions.cores.contains(core) => format!("core {core}"),
        Some(core) => format!("core {core}: not here"),
    };
    let priority = realtime.priority;
    let mut threads = Vec::new();
    for (index, names) in tile_names(realtime.tile_pairs).enumerate() {
        let (rx_core, tx_core) = (realtime.rx_cores.get(index), realtime.tx_cores.get(index));
        let (rx, tx) = (Urgency::of_rx(priority), Urgency::of_tx(priority));
        threads.push((names.rx, core(rx_core), rx, "mio: RTP sockets, commands"));
        threads.push((
            names.tx,
            core(tx_core),
            tx,
            "timerfd: the 20 ms frame clock",
        ));
    }
    let (link, ordinary) = (Urgency::of_link(priority), Urgency::Ordinary);
    let others = [
        (
            thread_name::LINK,
            link,
            "mio: WebSockets, uplink frames, commands",
        ),
        (
            thread_name::CONTROL,
            ordinary,
            "channel: ARI events, replies, new sources",
        ),
        (thread_name::LOG, ordinary, "channel: events of all threads"),
        (
            thread_name::LOG_WRITER,
            ordinary,
            "channel: lines of all threads, then stderr",
        ),
        (
            thread_name::TRANSLATOR,
            link,
            "mio: link sockets, results of vendors",
        ),
    ];
    threads.extend(others.map(|(name, urgency, on)| (name, core(None), urgency, on)));
    let mut text = String::from("threads\n");
    for (name, core, urgency, waits_on) in threads {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {name:<10} {core:<10} {urgency:<13} waits on {waits_on}"
        );
    }
    for core in &realtime.rx_cores {
        if realtime.tx_cores.contains(core) {
            let _ = writeln!(
                text,
                "  warning: rx_core and tx_core both name core {core}: packets that come \
                 delay those that go, and neither can move away"
            );
        }
    }
    text
}

/// What the stages of one tile pair reserve for a leg.
const BYTES_PER_LEG: usize = RxTile::BYTES_PER_LEG + TxTile::BYTES_PER_LEG;

/// What is reserved for audio at start: the stages of the tiles, and the rings from tile to tile
/// and to and from the link. What the link holds for a leg (speech that waits, what a slow socket
/// did not take) is bounded for each leg, but not reserved.
#[derive(Clone, Copy, Debug)]
pub struct MediaMemory {
    legs_max: usize,
    pairs: usize,
}

impl MediaMemory {
    /// What `pairs` tile pairs reserve for `legs_max` legs. Each pair has room for all of them,
    /// for nobody can choose from which port Asterisk sends: with less, one pair might turn callers
    /// away while another has room.
    pub const fn of(legs_max: usize, pairs: usize) -> Self {
        Self { legs_max, pairs }
    }

    /// All of it, in bytes.
    pub const fn bytes(self) -> usize {
        (self.legs_max * BYTES_PER_LEG + Rings::BYTES) * self.pairs
    }
}

impl fmt::Display for MediaMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: usize = 1 << 10;
        let Self { legs_max, pairs } = *self;
        write!(f, "{BYTES_PER_LEG} bytes for each of {legs_max} legs")?;
        if pairs > 1 {
            write!(f, " in each of {pairs} tile pairs")?;
        }
        let (rings, all) = (Rings::BYTES * pairs, self.bytes());
        write!(
            f,
            "; with {} KiB of rings {} KiB in all; the link's queues are bounded, not reserved",
            rings.div_ceil(KIB),
            all.div_ceil(KIB)
        )
    }
}
