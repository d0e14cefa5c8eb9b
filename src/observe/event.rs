//! Events that the gateway's threads report, all of them through one bounded channel: what does
//! not fit is counted by the sender and lost to the log, never waited for.

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use diglot_rt::msg::{Codec, LegId, UtteranceId};
use diglot_rt::stats::Counter;
use diglot_rt::units::Micros;
use std::sync::Arc;

/// Events that may wait for the log: some seconds of captions for every leg.
pub const EVENTS_MAX: usize = 16 * 1024;

/// Something worth a line.
#[derive(Clone, Debug)]
pub enum GatewayEvent {
    /// A caller is there.
    LegStarted {
        /// Its name.
        leg: LegId,
        /// What it dialled.
        extension: String,
        /// Names the call in logs and traces.
        call_id: String,
    },
    /// A caller is gone.
    LegEnded {
        /// Its name.
        leg: LegId,
        /// Why.
        reason: String,
    },
    /// Two callers are interpreted with each other from now on.
    Paired {
        /// The one.
        leg: LegId,
        /// The other.
        partner: LegId,
    },
    /// What a caller said, or what it became.
    Caption {
        /// Who spoke.
        leg: LegId,
        /// Original or translation.
        voice: Voice,
        /// Which utterance, by the gateway's count.
        utterance: UtteranceId,
        /// The words of the whole utterance.
        text: String,
        /// Their language (BCP 47).
        language: String,
    },
    /// The first audio of an utterance came from the translator.
    SpeechArrived {
        /// Who spoke.
        speaker: LegId,
        /// Who will hear it.
        listener: LegId,
        /// Which utterance.
        utterance: UtteranceId,
        /// When.
        at: Micros,
    },
    /// The first audio of an utterance left for its listener.
    SpeechLeft {
        /// Who hears it.
        listener: LegId,
        /// Which utterance.
        utterance: UtteranceId,
        /// When.
        at: Micros,
    },
    /// How long one utterance took in the translator.
    Trace {
        /// Who spoke.
        leg: LegId,
        /// Which utterance.
        utterance: UtteranceId,
        /// The stages.
        stages: Stages,
    },
    /// The link to the translator is open.
    LinkUp {
        /// Of which leg.
        leg: LegId,
    },
    /// The link to the translator is gone; it is being redialled.
    LinkDown {
        /// Of which leg.
        leg: LegId,
        /// Why.
        reason: String,
    },
    /// The translator could not do something.
    Failed {
        /// Of which leg.
        leg: LegId,
        /// Code and message.
        what: String,
    },
    /// A key was pressed and let go; said once per key.
    KeyPressed {
        /// On whose phone.
        leg: LegId,
        /// Which, as RFC 4733 table 3 numbers them.
        event: u8,
        /// For how long, as far as that was heard.
        duration_ms: u32,
    },
    /// A phone's samples read as noise, and as sound with their bytes swapped; said once per leg.
    ByteOrderSuspected {
        /// Whose phone.
        leg: LegId,
        /// What its extension expects.
        expected: Codec,
    },
    /// A phone sends a payload type that its extension does not expect; said once per leg.
    UnexpectedPayloadType {
        /// Whose phone.
        leg: LegId,
        /// What came.
        payload_type: u8,
        /// What its extension expects.
        expected: Codec,
    },
}

impl GatewayEvent {
    /// How loudly it is told: what somebody should mend is a warning.
    pub const fn level(&self) -> log::Level {
        match self {
            Self::ByteOrderSuspected { .. } | Self::UnexpectedPayloadType { .. } => {
                log::Level::Warn
            }
            _ => log::Level::Info,
        }
    }
}

/// Which side of an interpretation a caption shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Voice {
    /// What was said.
    Original,
    /// What it became.
    Translation,
}

/// How long each stage of one utterance took, in milliseconds; a stage that did not happen is
/// absent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stages {
    /// From the end of speech to the recogniser's last final.
    pub asr_ms: Option<u64>,
    /// Waiting for an earlier utterance to be spoken.
    pub queue_ms: Option<u64>,
    /// Translation.
    pub mt_ms: Option<u64>,
    /// From the translated text to the first sample of speech.
    pub tts_ms: Option<u64>,
    /// From the end of speech to the first sample of speech.
    pub total_ms: Option<u64>,
}

/// A thread's way to report.
#[derive(Clone, Debug)]
pub struct EventSender {
    channel: Sender<GatewayEvent>,
    lost: Arc<Counter>,
}

impl EventSender {
    /// Reports an event, or counts it as lost when nobody keeps up with reading.
    pub fn send(&self, event: GatewayEvent) {
        match self.channel.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.lost.add(1),
        }
    }
}

/// The channel, and how many events it has lost. The count is approximate when several threads
/// lose events at once.
pub fn channel() -> (EventSender, Receiver<GatewayEvent>, Arc<Counter>) {
    let (sender, receiver) = bounded(EVENTS_MAX);
    let lost = Arc::new(Counter::default());
    (
        EventSender {
            channel: sender,
            lost: Arc::clone(&lost),
        },
        receiver,
        lost,
    )
}
