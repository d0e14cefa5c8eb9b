//! What the link thread counts.

diglot_rt::counted! {
    /// What the link thread counts.
    LinkCount, LinkCounts {
        /// Times that a leg lost the translator, or found none.
        LinkLost => "link_lost_total",
        /// Frames of the original that the translator did not take, or that grew too old.
        UplinkDropped => "link_uplink_drop_total",
        /// Frames of the original of a leg that has ended.
        UplinkStale => "link_uplink_stale_total",
        /// Messages of the translator that were not understood.
        MessageRefused => "link_message_refused_total",
        /// Errors that the translator told.
        TranslatorError => "link_translator_error_total",
        /// Messages of speech whose listener is gone.
        SpeechWithoutListener => "link_speech_without_listener_total",
        /// Samples of speech given up because a minute of it was waiting already.
        SpeechSampleDropped => "link_speech_sample_drop_total",
        /// Messages of live audio not heard because stored speech was, which comes first.
        LiveCovered => "link_live_covered_total",
        /// Messages of live audio not heard because it was said before the translator was there.
        LiveStale => "link_live_stale_total",
        /// Frames of speech that the tile's ring had no room for.
        DownlinkRingFull => "link_downlink_ring_full_total",
    }
}
