//! The conversation as a person would follow it: who said what, what it became, how long it took.
//!
//! Pure: events go in, lines come out. An utterance's timing line is held until its first sound has
//! left the gateway, so that the whole way is told in one line; a bounded number of them.

use std::collections::{HashMap, VecDeque};

use diglot_rt::msg::{Codec, LegId, UtteranceId};
use diglot_rt::units::Micros;

use super::event::{GatewayEvent, Stages, Voice};

/// Utterances on their way whose times are remembered; the oldest are forgotten beyond it.
const UTTERANCES_MAX: usize = 4096;

const US_PER_MS: u64 = 1_000;

/// Turns events into lines.
#[derive(Debug, Default)]
pub struct Conversation {
    /// By slot, so that one whose end was lost to the log is forgotten with its slot's next leg.
    legs: HashMap<u16, Known>,
    under_way: HashMap<Key, UnderWay>,
    /// In order of appearance, for forgetting.
    order: VecDeque<Key>,
}

/// Speaker and utterance.
type Key = (LegId, UtteranceId);

/// What is known of a leg.
#[derive(Debug)]
struct Known {
    leg: LegId,
    /// For people: "7777 [call id]".
    name: String,
    /// Whether it was said that its byte order is suspected.
    is_suspected: bool,
}

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
                let known = Known {
                    leg: *leg,
                    name: format!("{extension} [{call_id}]"),
                    is_suspected: false,
                };
                self.legs.insert(leg.slot, known);
                Some(format!("{} is on the line", self.name(*leg)))
            }
            GatewayEvent::LegEnded { leg, reason } => {
                let line = format!("{} left: {reason}", self.name(*leg));
                if self.known(*leg).is_some() {
                    self.legs.remove(&leg.slot);
                }
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
            GatewayEvent::ByteOrderSuspected { leg, expected } => self.suspected(*leg, *expected),
            GatewayEvent::KeyPressed {
                leg, duration_ms, ..
            } => Some(format!(
                "{}: pressed a key for {duration_ms} ms",
                self.name(*leg)
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

    /// What only a log for finding faults may hold of an event besides: which key was pressed, for
    /// people type PINs and card numbers.
    pub fn detail(&self, event: &GatewayEvent) -> Option<String> {
        match event {
            GatewayEvent::KeyPressed { leg, event, .. } => {
                Some(format!("{}: it was {}", self.name(*leg), key_name(*event)))
            }
            _ => None,
        }
    }

    fn known(&self, leg: LegId) -> Option<&Known> {
        self.legs.get(&leg.slot).filter(|known| known.leg == leg)
    }

    fn name(&self, leg: LegId) -> &str {
        self.known(leg)
            .map_or("an ended call", |known| known.name.as_str())
    }

    /// Said once for each leg, though every tile that the leg comes to may find it out.
    fn suspected(&mut self, leg: LegId, expected: Codec) -> Option<String> {
        let known = self.legs.get_mut(&leg.slot).filter(|k| k.leg == leg)?;
        if std::mem::replace(&mut known.is_suspected, true) {
            return None;
        }
        Some(format!(
            "{}: its {expected:?} samples read as noise: are their bytes swapped?",
            known.name
        ))
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

    /// Goal: what people type is in no line but the one for finding faults.
    #[test]
    fn a_key_is_named_as_it_is_printed_and_only_in_the_detail() {
        let mut conversation = conversation();
        for (event, name) in [
            (0, "key 0"),
            (9, "key 9"),
            (10, "key *"),
            (11, "key #"),
            (15, "key D"),
            (16, "telephone event 16"),
        ] {
            let event = GatewayEvent::KeyPressed {
                leg: SPEAKER,
                event,
                duration_ms: 120,
            };
            let line = conversation.line(&event);
            assert_eq!(line.unwrap(), "7777 [c]: pressed a key for 120 ms");
            let detail = conversation.detail(&event);
            assert_eq!(detail, Some(format!("7777 [c]: it was {name}")));
        }
    }

    #[test]
    fn a_suspected_byte_order_is_told_once_for_each_leg_by_its_name() {
        let mut conversation = conversation();
        let suspected = |leg| GatewayEvent::ByteOrderSuspected {
            leg,
            expected: Codec::Slin16,
        };
        assert_eq!(
            conversation.line(&suspected(SPEAKER)).unwrap(),
            "7777 [c]: its Slin16 samples read as noise: are their bytes swapped?"
        );
        assert_eq!(conversation.line(&suspected(SPEAKER)), None);
        assert!(conversation.line(&suspected(LISTENER)).is_some());
        assert_eq!(suspected(SPEAKER).level(), log::Level::Warn);
    }

    /// Goal: a leg whose end was lost is forgotten with its slot's next leg, and an end that comes
    /// late forgets nobody else.
    #[test]
    fn a_lost_end_leaves_nothing_for_ever() {
        let mut conversation = conversation();
        let legs = conversation.legs.len();
        let heir = LegId {
            generation: 1,
            ..SPEAKER
        };
        let (extension, call_id) = ("7777".into(), "d".into());
        conversation.line(&GatewayEvent::LegStarted {
            leg: heir,
            extension,
            call_id,
        });
        assert_eq!(conversation.legs.len(), legs);
        assert_eq!(conversation.name(SPEAKER), "an ended call");
        let (leg, reason) = (SPEAKER, String::new());
        conversation.line(&GatewayEvent::LegEnded { leg, reason });
        assert_eq!(conversation.name(heir), "7777 [d]");
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
