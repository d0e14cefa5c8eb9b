//! Every bound of the real-time core, with the reason for its size and how the bounds relate.

use crate::units::FRAME_MS;
use crate::wire::rtp::HEADER_BYTES;

/// Legs one process carries at most. 1024 legs are 512 calls between two parties, twice what two
/// shared cores are asked to carry, and keep a tile's memory below 16 MiB.
pub const LEGS_MAX: usize = 1024;

/// UDP ports one process listens on at most: two per language pair, eight pairs.
pub const RTP_PORTS_MAX: usize = 16;

/// Pairs of tiles one process runs at most: a pair's worth of legs for each of sixteen cores, two
/// cores a pair.
pub const TILE_PAIRS_MAX: usize = 8;

/// Bytes of the largest datagram that is read; anything longer is cut by the kernel and refused.
/// An Ethernet frame's payload, which 20 ms of any codec here fits.
pub const DATAGRAM_BYTES_MAX: usize = 1500;

/// Datagrams taken from one socket before the next socket has its turn.
pub const RX_BATCH_MAX: usize = 64;

/// Frames a ring between two stages of one tile holds: one for every leg, and as many again for a
/// tick or wake-up that came late.
pub const STAGE_RING_FRAMES: usize = 2 * LEGS_MAX;

/// Frames between a tile and its link thread, all legs together: 160 ms when every leg speaks.
pub const LINK_RING_FRAMES: usize = 8 * LEGS_MAX;

/// Commands waiting for a tile: every leg added or removed twice.
pub const COMMAND_RING_MAX: usize = 4 * LEGS_MAX;

/// Events waiting for the log thread; what does not fit is counted.
pub const EVENT_RING_MAX: usize = 4 * LEGS_MAX;

/// Packets that wait in one leg's reorder window for one that is missing.
pub const REORDER_PACKETS_MAX: usize = 8;

/// Longest wait for a missing packet before the stream goes on without it.
pub const REORDER_WAIT_MS_MAX: u64 = 60;

/// Frames of the pause that is filled with silence on the uplink when a timestamp jumps forward;
/// a longer jump is a new start (hold, restart), not a gap.
pub const GAP_FRAMES_MAX: u32 = 50;

/// Silence of a phone, in milliseconds, before its uplink is kept going with made-up silence: no
/// sooner than a missing packet is given up.
pub const FILL_AFTER_MS: u64 = 60;

/// Shortest time between two walks over all legs of an rx tile for what is due, so that a tile that
/// wakes for every packet does not walk for every packet. No deadline is missed by more.
pub const WALK_MS_MIN: u64 = 2;

/// Frames made up too many that are remembered, to be made good in the next pause: 200 ms, a long
/// stall of a radio link.
pub const FILL_DEBT_FRAMES_MAX: u32 = 10;

/// Frames made up on the uplink beyond the time in which nothing was heard, at most, for packets
/// that come sooner than those before them did: the reorder window, and 200 ms of jitter.
pub const FILL_CREDIT_FRAMES: u32 = 13;

/// A sender's clock may be fast by one part in so many before its gaps are no longer believed: far
/// more than any quartz is off, far less than a listener's queue would grow by.
pub const FAST_CLOCK_PART: u64 = 64;

/// Keys of one leg that are told in a second: a number that a phone dials by itself, 50 ms of tone
/// and 50 of pause. Nobody presses faster; what more comes is counted.
pub const KEYS_PER_SECOND_MAX: u32 = 10;

/// Frames the playout buffer waits for before an utterance begins.
pub const PLAYOUT_START_FRAMES: usize = 2;

/// Frames the playout buffer of one leg holds: 240 ms.
pub const PLAYOUT_FRAMES_MAX: usize = 12;

/// How far ahead of the frame clock the link thread feeds the playout buffer.
pub const FEED_LEAD_FRAMES: usize = 5;

/// Ticks an utterance's first frames wait for company before they are played alone.
pub const PLAYOUT_START_TICKS_MAX: u32 = 3;

/// Ticks without audio after which an utterance that was never ended counts as ended: 1 s.
pub const PLAYOUT_HOLE_TICKS_MAX: u32 = 50;

/// Turns within a frame's time over which the legs of a tx tile are spread: one every 2 ms, so that
/// 500 legs are served 50 at a time, within half a millisecond.
pub const PHASES: u8 = 10;

/// Legs a phase takes before the next one is opened: about a quarter of a millisecond's work, well
/// worth a wake-up.
pub const PHASE_LEGS: usize = 25;

/// A tick served later than this counts as late, in microseconds: what a shared machine's scheduler
/// does now and then, and a tenth of what a phone's buffer bears.
pub const TICK_LATE_US: u64 = 1000;

/// Bytes of the largest RTP payload that is read.
pub const PAYLOAD_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES;

/// Bytes the reorder windows of all legs take.
const REORDER_BYTES: usize = LEGS_MAX * REORDER_PACKETS_MAX * PAYLOAD_BYTES_MAX;

const _: () = {
    assert!(REORDER_BYTES <= 12 * 1024 * 1024);
    assert!(FILL_AFTER_MS >= REORDER_WAIT_MS_MAX);
    assert!(FILL_DEBT_FRAMES_MAX <= GAP_FRAMES_MAX);
    assert!(FILL_CREDIT_FRAMES as u64 * FRAME_MS as u64 >= REORDER_WAIT_MS_MAX);
    assert!(PLAYOUT_START_FRAMES < FEED_LEAD_FRAMES);
    assert!(FEED_LEAD_FRAMES < PLAYOUT_FRAMES_MAX);
    assert!(REORDER_PACKETS_MAX as u64 * FRAME_MS as u64 >= REORDER_WAIT_MS_MAX);
    assert!(LEGS_MAX <= u16::MAX as usize);
    assert!(FRAME_MS.is_multiple_of(PHASES as u32));
};
