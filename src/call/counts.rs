//! What the control thread counts.

diglot_rt::counted! {
    /// What the control thread counts.
    CallCount, CallCounts {
        /// Callers taken.
        Arrived => "call_arrived_total",
        /// Callers taken over from a list, not from an event.
        Adopted => "call_adopted_total",
        /// Calls over, with everything of them deleted or given up.
        Ended => "call_ended_total",
        /// Calls whose set-up failed.
        SetupFailed => "call_setup_failed_total",
        /// Legs that re-locked to another source port.
        Relocked => "call_relocked_total",
        /// Re-locks refused: another address, or another of our ports.
        RelockRefusedAddress => "call_relock_refused_address_total",
        /// Re-locks refused: another leg owns the source.
        RelockRefusedOwned => "call_relock_refused_owned_total",
        /// Re-locks refused: the leg began or re-locked less than a second ago.
        RelockRefusedPause => "call_relock_refused_pause_total",
        /// Callers turned away: all legs in use.
        RefusedFull => "call_refused_full_total",
        /// Callers turned away: the process is ending.
        RefusedShuttingDown => "call_refused_shutting_down_total",
        /// Callers turned away: not configured here.
        RefusedUnknownExtension => "call_refused_unknown_extension_total",
        /// Channels and bridges of ours deleted that no call owned.
        Leftover => "ari_leftover_deleted_total",
        /// Deletions given up after their last try.
        Abandoned => "ari_deletion_abandoned_total",
        /// The event socket was opened.
        Connected => "ari_connected_total",
        /// Events that could not be read.
        EventBroken => "ari_event_broken_total",
        /// Events that were longer than is read.
        EventOversized => "ari_event_oversized_total",
    }
}
