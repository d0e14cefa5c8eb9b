//! Every bound of the translator, with the reason for its size and what happens at it.

use std::time::Duration;

use crate::link::translator::server::ConnectionLimits;

/// Messages read from one connection before the next has its turn; the rest waits for the next
/// turn, and nothing is lost.
pub const READS_PER_TURN_MAX: usize = 64;

/// Connections accepted before the open ones have their turn.
pub const ACCEPTS_PER_TURN_MAX: usize = 64;

/// Results taken from the workers before the connections have their turn.
pub const RESULTS_PER_TURN_MAX: usize = 256;

/// Results that wait for the I/O thread; a worker that has more waits, which slows its vendor only.
pub const RESULTS_MAX: usize = 1024;

/// Readiness events taken from the poll at once.
pub const EVENTS_PER_TURN_MAX: usize = 1024;

/// How often deadlines are looked at while a connection is open.
pub const HOUSEKEEPING: Duration = Duration::from_millis(50);

/// Connections beyond the served ones that are told so (503); more are closed without a word.
pub const REFUSALS_MAX: usize = 64;

/// Chunks of audio between the I/O thread and a recogniser: 2 s of 20 ms chunks; full: the oldest
/// goes and is counted.
pub const AUDIO_CHUNKS_MAX: usize = 100;

/// Jobs that wait for a worker, all legs together: each leg has at most one. Full: the utterance
/// fails with `overloaded`.
pub const JOBS_WAITING_MAX: usize = 256;

/// Samples of one message of speech: 200 ms, 8.5 kB as text.
pub const SPEECH_SAMPLES_MAX: usize = 3200;

/// A pause in a passed-through stream after which its audio counts as a new utterance.
pub const PASSED_PAUSE: Duration = Duration::from_secs(1);

/// Bytes of each language tag that a session keeps.
pub const LANGUAGE_BYTES_MAX: usize = 64;

/// Bytes of the `call_id` that a session keeps: Asterisk names a channel with up to 149 of them
/// (`AST_MAX_PUBLIC_UNIQUEID`), its system's name included.
pub const CALL_ID_BYTES_MAX: usize = 150;

/// Connections open at once: a leg each at `LEGS_MAX`, and the monitor's requests.
pub const CONNECTIONS_MAX: usize = diglot_rt::limits::LEGS_MAX + 64;

/// The bounds that a test sets smaller.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; more are refused with 503.
    pub connections_max: usize,
    /// Bounds of each.
    pub connection: ConnectionLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connection: ConnectionLimits::default(),
        }
    }
}
