//! The conversation as a person would follow it: who said what, what it became, how long it took.
//!
//! Pure: events go in, lines come out. An utterance's timing line is held until its first sound has
//! left the gateway, so that the whole way is told in one line; a bounded number of them.

use std::collections::{HashMap, VecDeque};

use diglot_rt::msg::{LegId, UtteranceId};
use diglot_rt::units::Micros;

use super::event::{GatewayEvent, Stages, Voice};

/// Utterances on their way whose times are remembered; the oldest are forgotten beyond it.
const UTTERANCES_MAX: usize = 4096;

const US_PER_MS: u64 = 1_000;

/// Turns events into lines.
#[derive(Debug, Default)]
pub struct Conversation {
    /// Name of a leg for people: "7777 (call id)".
    legs: HashMap<LegId, String>,
    under_way: HashMap<Key, UnderWay>,
    /// In order of appearance, for forgetting.
    order: VecDeque<Key>,
}

/// Speaker and utterance.
type Key = (LegId, UtteranceId);

#[derive(Debug, Default)]
struct UnderWay {
    listener: Option<LegId>,
    arrived: Option<Micros>,
    left: Option<Micros>,
    stages: Option<Stages>,
}

impl Conversation {
    /// Takes an event and returns the line it is worth, if any.
    pub fn line(&mut self, event: &GatewayEvent) -> Option<String> {
        match event {
            GatewayEvent::LegStarted {
                leg,
                extension,
                call_id,
            } => {
                self.legs.insert(*leg, format!("{extension} [{call_id}]"));
                Some(format!("{} is on the line", self.name(*leg)))
            }
            GatewayEvent::LegEnded { leg, reason } => {
                let line = format!("{} left: {reason}", self.name(*leg));
                self.legs.remove(leg);
                Some(line)
            }
            GatewayEvent::Paired { leg, partner } => Some(format!(
                "{} and {} are interpreted with each other",
                self.name(*leg),
                self.name(*partner)
            )),
            GatewayEvent::Caption {
                leg,
                voice,
                text,
                language,
                ..
            } => {
                let verb = match voice {
                    Voice::Original => "said",
                    Voice::Translation => "is interpreted as",
                };
                Some(format!("{} {verb} ({language}): {text}", self.name(*leg)))
            }
            GatewayEvent::LinkUp { leg } => {
                Some(format!("{}: translator connected", self.name(*leg)))
            }
            GatewayEvent::LinkDown { leg, reason } => {
                Some(format!("{}: translator lost: {reason}", self.name(*leg)))
            }
            GatewayEvent::Failed { leg, what } => Some(format!("{}: {what}", self.name(*leg))),
            GatewayEvent::UnexpectedPayloadType {
                leg,
                payload_type,
                expected,
            } => Some(format!(
                "{}: sends payload type {payload_type}, but {} ({expected:?}) is expected",
                self.name(*leg),
                expected.payload_type(),
            )),
            GatewayEvent::KeyPressed {
                leg,
                event,
                duration_ms,
            } => Some(format!(
                "{}: pressed {} for {duration_ms} ms",
                self.name(*leg),
                key_name(*event)
            )),
            GatewayEvent::SpeechArrived {
                speaker,
                listener,
                utterance,
                at,
            } => {
                let entry = self.entry((*speaker, *utterance));
                entry.listener = Some(*listener);
                entry.arrived = Some(*at);
                None
            }
            GatewayEvent::SpeechLeft {
                listener,
                utterance,
                at,
            } => self.left(*listener, *utterance, *at),
            GatewayEvent::Trace {
                leg,
                utterance,
                stages,
            } => {
                self.entry((*leg, *utterance)).stages = Some(*stages);
                self.timing((*leg, *utterance))
            }
        }
    }

    fn name(&self, leg: LegId) -> &str {
        self.legs.get(&leg).map_or("an ended call", String::as_str)
    }

    fn entry(&mut self, key: Key) -> &mut UnderWay {
        if !self.under_way.contains_key(&key) {
            if self.order.len() == UTTERANCES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.under_way.remove(&oldest);
            }
            self.order.push_back(key);
        }
        self.under_way.entry(key).or_default()
    }

    fn left(&mut self, listener: LegId, utterance: UtteranceId, at: Micros) -> Option<String> {
        let key = self.order.iter().rev().copied().find(|key| {
            key.1 == utterance
                && self
                    .under_way
                    .get(key)
                    .is_some_and(|u| u.listener == Some(listener))
        })?;
        self.entry(key).left.get_or_insert(at);
        self.timing(key)
    }

    /// The line about an utterance whose every time is known; it is then forgotten.
    fn timing(&mut self, key: Key) -> Option<String> {
        let known = self.under_way.get(&key)?;
        let (Some(listener), Some(arrived), Some(left), Some(stages)) =
            (known.listener, known.arrived, known.left, known.stages)
        else {
            return None;
        };
        let rtp_ms = left.since(arrived) / US_PER_MS;
        self.under_way.remove(&key);
        self.order.retain(|other| *other != key);
        let total = stages.total_ms.map(|total| total + rtp_ms);
        Some(format!(
            "{} hears it {} after the end of speech (recognise {}, wait {}, translate {}, speak {}, \
             play out {rtp_ms} ms)",
            self.name(listener),
            milliseconds(total),
            milliseconds(stages.asr_ms),
            milliseconds(stages.queue_ms),
            milliseconds(stages.mt_ms),
            milliseconds(stages.tts_ms),
        ))
    }
}

fn milliseconds(time: Option<u64>) -> String {
    time.map_or_else(|| "?".into(), |ms| format!("{ms} ms"))
}

/// What is printed on a telephone's key (RFC 4733 table 3).
fn key_name(event: u8) -> String {
    const KEYS: &[u8; 16] = b"0123456789*#ABCD";
    match KEYS.get(usize::from(event)) {
        Some(key) => format!("key {}", char::from(*key)),
        None => format!("telephone event {event}"),
    }
}

#[cfg(test)]
mod tests {
    //! Goal: the timing line comes once, when the last of its facts is known, in any order.
    //! Method: the events of one utterance in every order in which threads may report them.

    use super::*;

    const SPEAKER: LegId = LegId {
        slot: 0,
        generation: 0,
    };
    const LISTENER: LegId = LegId {
        slot: 1,
        generation: 0,
    };
    const UTTERANCE: UtteranceId = UtteranceId(1);

    fn events() -> [GatewayEvent; 3] {
        let stages = Stages {
            asr_ms: Some(310),
            queue_ms: Some(0),
            mt_ms: Some(2),
            tts_ms: Some(25),
            total_ms: Some(337),
        };
        [
            GatewayEvent::SpeechArrived {
                speaker: SPEAKER,
                listener: LISTENER,
                utterance: UTTERANCE,
                at: Micros(1_000_000),
            },
            GatewayEvent::SpeechLeft {
                listener: LISTENER,
                utterance: UTTERANCE,
                at: Micros(1_030_000),
            },
            GatewayEvent::Trace {
                leg: SPEAKER,
                utterance: UTTERANCE,
                stages,
            },
        ]
    }

    fn conversation() -> Conversation {
        let mut conversation = Conversation::default();
        for (leg, extension) in [(SPEAKER, "7777"), (LISTENER, "8888")] {
            let (extension, call_id) = (extension.into(), "c".into());
            conversation.line(&GatewayEvent::LegStarted {
                leg,
                extension,
                call_id,
            });
        }
        conversation
    }

    #[test]
    fn an_utterance_is_timed_once_when_everything_is_known() {
        for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1]] {
            let mut conversation = conversation();
            let events = events();
            let lines: Vec<_> = order
                .iter()
                .filter_map(|index| conversation.line(&events[*index]))
                .collect();
            assert_eq!(
                lines,
                [
                    "8888 [c] hears it 367 ms after the end of speech (recognise 310 ms, wait 0 ms, \
                  translate 2 ms, speak 25 ms, play out 30 ms)"
                ],
                "order {order:?}"
            );
            assert!(conversation.under_way.is_empty());
        }
    }

    #[test]
    fn a_key_is_named_as_it_is_printed() {
        let mut conversation = conversation();
        for (event, name) in [
            (0, "key 0"),
            (9, "key 9"),
            (10, "key *"),
            (11, "key #"),
            (15, "key D"),
            (16, "telephone event 16"),
        ] {
            let line = conversation.line(&GatewayEvent::KeyPressed {
                leg: SPEAKER,
                event,
                duration_ms: 120,
            });
            assert_eq!(line, Some(format!("7777 [c]: pressed {name} for 120 ms")));
        }
    }

    #[test]
    fn utterances_that_never_finish_are_forgotten_in_the_end() {
        let mut conversation = conversation();
        for number in 0..2 * UTTERANCES_MAX {
            let utterance = UtteranceId(u32::try_from(number).unwrap());
            let (leg, stages) = (SPEAKER, Stages::default());
            conversation.line(&GatewayEvent::Trace {
                leg,
                utterance,
                stages,
            });
        }
        assert_eq!(conversation.under_way.len(), UTTERANCES_MAX);
        assert_eq!(conversation.order.len(), UTTERANCES_MAX);
    }
}
