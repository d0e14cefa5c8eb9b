//! What the link thread tells the log of its legs.

use diglot_rt::msg::{LegId, UtteranceId};

use super::client::LinkParts;
use super::leg::{LegLink, LinkChange};
use crate::link::counts::LinkCount;
use crate::link::messages::{Caption, Outcome, Trace};
use crate::observe::event::{GatewayEvent, Stages, Voice};

/// A link came up or was lost.
pub(super) fn change(parts: &LinkParts, link: &LegLink, change: Option<LinkChange>) {
    let leg = link.identity().leg;
    match change {
        Some(LinkChange::Up) => parts.events.send(GatewayEvent::LinkUp { leg }),
        Some(LinkChange::Down(reason)) => {
            parts.counts.count(LinkCount::LinkLost);
            parts.events.send(GatewayEvent::LinkDown { leg, reason });
        }
        None => {}
    }
}

/// What was said, or what it became; only once it is final.
pub(super) fn caption(
    parts: &LinkParts,
    leg: LegId,
    voice: Voice,
    utterance: UtteranceId,
    caption: &Caption<'_>,
) {
    if caption.is_final {
        parts.events.send(GatewayEvent::Caption {
            leg,
            voice,
            utterance,
            text: caption.text.clone().into_owned(),
            language: caption.language.clone().into_owned(),
        });
    }
}

/// How long an utterance took that was spoken.
pub(super) fn trace(parts: &LinkParts, leg: LegId, utterance: UtteranceId, trace: &Trace<'_>) {
    if trace.outcome == Outcome::Spoken {
        let stages = stages(trace);
        parts.events.send(GatewayEvent::Trace {
            leg,
            utterance,
            stages,
        });
    }
}

fn stages(trace: &Trace<'_>) -> Stages {
    Stages {
        asr_ms: trace.asr_final_ms,
        queue_ms: trace.queue_ms,
        mt_ms: trace.mt_ms,
        tts_ms: trace.tts_first_byte_ms,
        total_ms: trace.total_ms,
    }
}
