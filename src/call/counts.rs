//! What the control thread counts.

use diglot_rt::stats::Counter;

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(usize)]
pub enum CallCount {
    /// Callers taken.
    Arrived,
    /// Callers taken over from a list, not from an event.
    Adopted,
    /// Calls over, with everything of them deleted or given up.
    Ended,
    /// Calls whose set-up failed.
    SetupFailed,
    /// Callers turned away: all legs in use.
    RefusedFull,
    /// Callers turned away: the process is ending.
    RefusedShuttingDown,
    /// Callers turned away: not configured here.
    RefusedUnknownExtension,
    /// Channels and bridges of ours deleted that no call owned.
    Leftover,
    /// Deletions given up after their last try.
    Abandoned,
    /// The event socket was opened.
    Connected,
    /// Events that could not be read.
    EventBroken,
    /// Events that were longer than is read.
    EventOversized,
}

impl CallCount {
    /// Every one with its name in logs and metrics, in declaration order.
    pub const ALL: [(Self, &'static str); 12] = [
        (Self::Arrived, "call_arrived_total"),
        (Self::Adopted, "call_adopted_total"),
        (Self::Ended, "call_ended_total"),
        (Self::SetupFailed, "call_setup_failed_total"),
        (Self::RefusedFull, "call_refused_full_total"),
        (
            Self::RefusedShuttingDown,
            "call_refused_shutting_down_total",
        ),
        (
            Self::RefusedUnknownExtension,
            "call_refused_unknown_extension_total",
        ),
        (Self::Leftover, "ari_leftover_deleted_total"),
        (Self::Abandoned, "ari_deletion_abandoned_total"),
        (Self::Connected, "ari_connected_total"),
        (Self::EventBroken, "ari_event_broken_total"),
        (Self::EventOversized, "ari_event_oversized_total"),
    ];
}

/// One counter for each; written by the control thread, read by any.
#[derive(Debug, Default)]
pub struct CallCounts([Counter; CallCount::ALL.len()]);

impl CallCounts {
    pub(super) fn count(&self, what: CallCount) {
        self.0[what as usize].add(1);
    }

    /// How many so far.
    pub fn value(&self, what: CallCount) -> u64 {
        self.0[what as usize].value()
    }
}
