//! What the threads of a load tell each other while it runs.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// Flags and running totals; nothing is decided by the totals.
#[derive(Debug, Default)]
pub struct Shared {
    /// The sender is to end the window now.
    pub stop: std::sync::Arc<AtomicBool>,
    /// When the window ends, in ns of the run; 0 until that is known.
    pub window_end_ns: AtomicU64,
    /// The receiver is to return.
    pub is_over: AtomicBool,
    /// What the sender has done so far, in packets and lost packets.
    pub sent: AtomicU64,
    /// Packets received so far.
    pub received: AtomicU64,
}
