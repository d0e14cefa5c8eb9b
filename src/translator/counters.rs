//! What the translator counts: every drop, refusal and failure by its reason.

diglot_rt::counted! {
    /// Something the translator counts; written by its I/O thread only.
    Count, Counters {
        /// Messages of speech received.
        Audio => "translator_audio_received_total",
        /// Chunks of speech that a recogniser did not take in time.
        AudioDropped => "translator_audio_dropped_total",
        /// Messages of speech refused: odd, too long, not base64.
        AudioRefused => "translator_audio_refused_total",
        /// Connections accepted.
        Connection => "translator_connection_accepted_total",
        /// Connections refused because too many were open.
        ConnectionRefused => "translator_connection_refused_total",
        /// Connections closed because nothing came for too long.
        ConnectionIdle => "translator_connection_idle_total",
        /// Connections that vanished without a close.
        ConnectionReset => "translator_connection_reset_total",
        /// Connections closed because the peer did not read.
        ConnectionStalled => "translator_connection_stalled_total",
        /// Messages not sent because their receiver was too slow.
        MessageDropped => "translator_message_dropped_total",
        /// Text that is not a message, binary messages without a header.
        MessageMalformed => "translator_message_malformed_total",
        /// Messages of a type we do not know.
        MessageUnknown => "translator_message_unknown_total",
        /// Messages that make no sense where they came: audio before `session_start` and the like.
        MessageUnexpected => "translator_message_unexpected_total",
        /// Connections closed for text that is not UTF-8.
        MessageNotUtf8 => "translator_message_not_utf8_total",
        /// Connections closed for a message that was too large.
        MessageOversized => "translator_message_oversized_total",
        /// Connections closed for breaking RFC 6455.
        ProtocolBroken => "translator_protocol_broken_total",
        /// Streams refused because every recogniser was taken.
        RecognitionBusy => "translator_recognition_busy_total",
        /// Recognition streams that failed.
        RecognitionFailed => "translator_recognition_failed_total",
        /// Recognition streams opened.
        RecognitionOpened => "translator_recognition_opened_total",
        /// HTTP requests answered.
        Request => "translator_request_total",
        /// HTTP requests refused.
        RequestRefused => "translator_request_refused_total",
        /// Sessions begun.
        Session => "translator_session_total",
        /// `session_start` refused.
        SessionRefused => "translator_session_refused_total",
        /// Utterances that were not spoken to their end because speech failed.
        SpeechFailed => "translator_speech_failed_total",
        /// Utterances that could not be translated.
        TranslationFailed => "translator_translation_failed_total",
        /// Utterances closed.
        Utterance => "translator_utterance_total",
        /// Errors told because too many utterances waited or no worker was free.
        UtteranceOverloaded => "translator_utterance_overloaded_total",
        /// Utterances not spoken for that reason.
        UtteranceSkipped => "translator_utterance_skipped_total",
        /// Utterances spoken to their end.
        UtteranceSpoken => "translator_utterance_spoken_total",
        /// Jobs that panicked: each is a bug.
        WorkerPanicked => "translator_worker_panicked_total",
    }
}
