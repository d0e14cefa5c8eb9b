//! The interpreter on virtual time: order, bounds, deadlines and backoff, without a thread.

use super::limits::{
    REOPEN_BUSY_MS, REOPEN_MS, REOPEN_REFUSED_MS, STREAM_STABLE_MS, UTTERANCE_END_MS_MAX,
};
use proptest::prelude::*;

use super::*;
use crate::vendor::FailureKind;

/// An interpreter, its time, and what it wanted so far.
struct Bench {
    interpreter: Interpreter,
    now: Micros,
    outputs: Vec<Output>,
}

impl Bench {
    fn new() -> Self {
        let now = Micros(5_000_000);
        let mut bench = Self {
            interpreter: Interpreter::new(now),
            now,
            outputs: Vec::new(),
        };
        bench.drain();
        bench
    }

    fn drain(&mut self) {
        self.outputs
            .extend(std::iter::from_fn(|| self.interpreter.poll_output()));
    }

    fn input(&mut self, input: Input) {
        self.interpreter.handle_input(self.now, input);
        self.drain();
    }

    fn hear(&mut self, event: RecognitionEvent) {
        let stream = self.streams().last().copied().unwrap_or(1);
        self.input(Input::Recognized { stream, event });
    }

    /// A phrase, ended.
    fn say(&mut self, text: &str) {
        self.hear(RecognitionEvent::Final {
            text: text.into(),
            end_ms: 0,
        });
        self.hear(RecognitionEvent::UtteranceEnd);
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.interpreter.handle_timeout(self.now);
        self.drain();
    }

    fn translated(&mut self, utterance: u32) {
        self.input(Input::Translated {
            utterance,
            result: Ok("traduit".into()),
        });
    }

    fn spoken(&mut self, utterance: u32) {
        self.input(Input::Spoke {
            utterance,
            samples: 1600,
        });
        self.input(Input::SpeechEnded {
            utterance,
            result: Ok(()),
        });
    }

    fn streams(&self) -> Vec<u32> {
        let stream = |output: &Output| match output {
            Output::OpenStream { stream } => Some(*stream),
            _ => None,
        };
        self.outputs.iter().filter_map(stream).collect()
    }

    fn traces(&self) -> Vec<(u32, Ending)> {
        let trace = |output: &Output| match output {
            Output::Trace(trace) => Some((trace.utterance, trace.ending)),
            _ => None,
        };
        self.outputs.iter().filter_map(trace).collect()
    }

    fn failures(&self) -> Vec<(Failure, u32)> {
        let failed = |output: &Output| match output {
            Output::Failed {
                failure, utterance, ..
            } => Some((*failure, *utterance)),
            _ => None,
        };
        self.outputs.iter().filter_map(failed).collect()
    }

    fn translating(&self) -> Vec<u32> {
        let translate = |output: &Output| match output {
            Output::Translate { utterance, .. } => Some(*utterance),
            _ => None,
        };
        self.outputs.iter().filter_map(translate).collect()
    }
}

fn vendor_error(kind: FailureKind) -> JobFailure {
    VendorError {
        vendor: "test",
        kind,
        detail: "as scripted".into(),
    }
    .into()
}

#[test]
fn an_utterance_ends_once_though_its_end_is_told_twice() {
    let mut bench = Bench::new();
    bench.hear(RecognitionEvent::UtteranceEnd);
    bench.say("one");
    bench.hear(RecognitionEvent::UtteranceEnd);
    assert_eq!(bench.translating(), [1]);
    bench.translated(1);
    bench.spoken(1);
    assert_eq!(bench.traces(), [(1, Ending::Spoken)]);
}

/// Goal: an end that is never told is concluded; words that go on put it off.
#[test]
fn a_missing_end_is_concluded() {
    let mut bench = Bench::new();
    bench.hear(RecognitionEvent::Final {
        text: "one".into(),
        end_ms: 0,
    });
    bench.pass_ms(UTTERANCE_END_MS_MAX - 1);
    bench.hear(RecognitionEvent::Partial { text: "two".into() });
    bench.pass_ms(UTTERANCE_END_MS_MAX - 1);
    assert_eq!(bench.translating(), [0; 0]);
    assert_eq!(
        bench.interpreter.next_deadline(),
        Some(bench.now.plus_ms(1))
    );
    bench.pass_ms(1);
    assert_eq!(bench.translating(), [1]);
}

/// Goal: what does not fit the queue is captioned, told and traced, never spoken, never lost sight
/// of: every utterance ends in exactly one end and one trace.
#[test]
fn utterances_beyond_the_bound_are_skipped() {
    let mut bench = Bench::new();
    let count = UTTERANCES_MAX as u32 + 3;
    for number in 1..=count {
        bench.say(&format!("phrase {number}"));
    }
    let skipped = [count - 1, count];
    assert_eq!(
        bench.failures(),
        skipped.map(|utterance| (Failure::Overloaded, utterance))
    );
    for utterance in 1..=count - 2 {
        assert_eq!(bench.translating().last(), Some(&utterance));
        bench.translated(utterance);
        bench.spoken(utterance);
    }
    let mut traced = bench.traces();
    traced.sort_by_key(|(utterance, _)| *utterance);
    let wanted = (1..=count).map(|utterance| {
        let ending = if skipped.contains(&utterance) {
            Ending::Skipped
        } else {
            Ending::Spoken
        };
        (utterance, ending)
    });
    assert_eq!(traced, wanted.collect::<Vec<_>>());
    let ends = bench
        .outputs
        .iter()
        .filter(|output| matches!(output, Output::SpeechEnd { .. }));
    assert_eq!(ends.count(), count as usize);
    let finals = bench.outputs.iter().filter(|output| {
        matches!(
            output,
            Output::Transcript {
                stability: Stability::Final,
                ..
            }
        )
    });
    assert_eq!(finals.count(), count as usize);
}

#[test]
fn without_a_worker_an_utterance_is_skipped() {
    let mut bench = Bench::new();
    bench.say("one");
    bench.say("two");
    bench.input(Input::JobRefused { utterance: 1 });
    assert_eq!(bench.failures(), [(Failure::Overloaded, 1)]);
    assert_eq!(bench.traces(), [(1, Ending::Skipped)]);
    bench.translated(2);
    bench.input(Input::JobRefused { utterance: 2 });
    assert_eq!(bench.traces(), [(1, Ending::Skipped), (2, Ending::Skipped)]);
}

/// Goal: a job that never answers holds its leg up for a bounded time; its late answer is nothing.
#[test]
fn a_job_that_never_answers_is_given_up() {
    let mut bench = Bench::new();
    bench.say("one");
    bench.say("two");
    bench.pass_ms(TRANSLATION_MS_MAX + WATCHDOG_GRACE_MS);
    assert_eq!(bench.failures(), [(Failure::Translation, 1)]);
    assert!(bench.outputs.contains(&Output::StopJob));
    bench.translated(1);
    assert!(
        !bench
            .outputs
            .iter()
            .any(|output| matches!(output, Output::Speak { .. }))
    );
    bench.translated(2);
    bench.pass_ms(SPEECH_FIRST_MS_MAX + WATCHDOG_GRACE_MS - 1);
    bench.input(Input::Spoke {
        utterance: 2,
        samples: 160,
    });
    bench.pass_ms(SPEECH_MS_MAX + WATCHDOG_GRACE_MS - 1);
    assert_eq!(bench.traces(), [(1, Ending::Failed)]);
    bench.pass_ms(1);
    assert_eq!(bench.traces(), [(1, Ending::Failed), (2, Ending::Failed)]);
    assert_eq!(bench.failures().last(), Some(&(Failure::Speech, 2)));
    bench.spoken(2);
    assert_eq!(bench.traces().len(), 2);
}

/// Goal: a stream that keeps failing is opened again at the published pauses, and a stream that
/// worked starts them anew.
#[test]
fn streams_are_reopened_with_growing_pauses() {
    let mut bench = Bench::new();
    let fail = |bench: &mut Bench, kind| {
        let stream = bench.streams().len() as u32;
        bench.input(Input::StreamEnded {
            stream,
            result: Err(vendor_error(kind)),
        });
    };
    for pause_ms in REOPEN_MS.into_iter().chain([2000, 2000]) {
        let before = bench.streams().len();
        fail(&mut bench, FailureKind::Transient);
        if pause_ms > 0 {
            bench.pass_ms(pause_ms - 1);
            assert_eq!(bench.streams().len(), before, "{pause_ms}");
            bench.pass_ms(1);
        }
        assert_eq!(bench.streams().len(), before + 1, "{pause_ms}");
    }
    bench.hear(RecognitionEvent::Opened);
    bench.pass_ms(STREAM_STABLE_MS);
    let before = bench.streams().len();
    fail(&mut bench, FailureKind::Auth);
    assert_eq!(
        bench.streams().len(),
        before + 1,
        "a first failure is tried again at once"
    );
    fail(&mut bench, FailureKind::Auth);
    bench.pass_ms(REOPEN_REFUSED_MS - 1);
    assert_eq!(bench.streams().len(), before + 1);
    bench.pass_ms(1);
    assert_eq!(bench.streams().len(), before + 2);
    let streams = bench.streams();
    assert!(
        streams
            .iter()
            .zip(1..)
            .all(|(stream, number)| *stream == number),
        "{streams:?}"
    );
}

#[test]
fn a_stream_without_a_recognizer_is_told_once_and_tried_on() {
    let mut bench = Bench::new();
    for round in 1..=3 {
        let stream = bench.streams().len() as u32;
        bench.input(Input::StreamRefused { stream });
        bench.pass_ms(REOPEN_BUSY_MS);
        assert_eq!(bench.streams().len(), round + 1);
    }
    assert_eq!(bench.failures(), [(Failure::Busy, 0)]);
}

#[test]
fn words_of_an_ended_stream_count_for_nothing() {
    let mut bench = Bench::new();
    bench.input(Input::StreamEnded {
        stream: 1,
        result: Ok(()),
    });
    let event = RecognitionEvent::Final {
        text: "late".into(),
        end_ms: 0,
    };
    bench.input(Input::Recognized { stream: 1, event });
    bench.input(Input::StreamEnded {
        stream: 1,
        result: Ok(()),
    });
    assert_eq!(bench.streams(), [1, 2]);
    assert!(
        !bench
            .outputs
            .iter()
            .any(|output| matches!(output, Output::Transcript { .. }))
    );
}

/// Goal: a trace tells each stage. Method: 3 s of audio in real time, then known delays.
#[test]
fn a_trace_tells_every_stage() {
    let mut bench = Bench::new();
    for index in 0..150 {
        bench.now = bench.now.plus_ms(20);
        bench.input(Input::Audio {
            samples: 320,
            timestamp: 1000 + index * 20,
        });
    }
    // The word ended after 2.5 s, half a second ago.
    bench.pass_ms(100);
    bench.hear(RecognitionEvent::Final {
        text: "one".into(),
        end_ms: 2500,
    });
    bench.pass_ms(50);
    bench.hear(RecognitionEvent::UtteranceEnd);
    bench.pass_ms(70);
    bench.translated(1);
    bench.pass_ms(90);
    bench.spoken(1);
    let Some(Output::Trace(trace)) = bench.outputs.last() else {
        panic!()
    };
    let wanted = Trace {
        utterance: 1,
        ending: Ending::Spoken,
        speech_end: Some(3500),
        asr_final_ms: Some(600),
        queue_ms: Some(0),
        mt_ms: Some(70),
        tts_first_byte_ms: Some(90),
        total_ms: Some(500 + 100 + 50 + 70 + 90),
        speech_ms: 100,
    };
    assert_eq!(trace, &wanted);
}

/// Goal: audio that a full queue lost does not shift what a recogniser's times mean.
#[test]
fn dropped_audio_moves_the_clock() {
    let mut bench = Bench::new();
    for index in 0..100 {
        bench.now = bench.now.plus_ms(20);
        bench.input(Input::Audio {
            samples: 320,
            timestamp: 1000 + index * 20,
        });
    }
    bench.input(Input::AudioDropped { samples: 16_000 });
    bench.hear(RecognitionEvent::Final {
        text: "one".into(),
        end_ms: 500,
    });
    bench.hear(RecognitionEvent::UtteranceEnd);
    bench.translated(1);
    bench.spoken(1);
    let Some(Output::Trace(trace)) = bench.outputs.last() else {
        panic!()
    };
    assert_eq!(trace.speech_end, Some(1000 + 1500));
    assert_eq!(trace.asr_final_ms, Some(500));
}

#[test]
fn context_is_what_was_said_before_within_its_bound() {
    let mut bench = Bench::new();
    for (number, text) in (1..).zip(["one", "two", &"x".repeat(400), &"y".repeat(400), "end"]) {
        bench.say(text);
        bench.translated(number);
        bench.spoken(number);
    }
    let contexts: Vec<String> = bench
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Translate { context, .. } => Some(context.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(contexts[..3], ["", "one", "one two"]);
    assert_eq!(contexts[3], format!("one two {}", "x".repeat(400)));
    assert_eq!(contexts[4], "y".repeat(400));
}

/// Any input, sensible or not.
fn any_input() -> impl Strategy<Value = Input> {
    let id = 0..12_u32;
    let stream = 0..12_u32;
    let kind = prop_oneof![Just(FailureKind::Transient), Just(FailureKind::Quota)];
    let failure = prop_oneof![kind.prop_map(vendor_error), Just(JobFailure::Panicked)];
    let result = prop_oneof![Just(Ok(())), failure.clone().prop_map(Err)];
    let text = prop_oneof![
        Just(String::new()),
        Just("mot".to_owned()),
        Just("é".repeat(400))
    ];
    let event = prop_oneof![
        Just(RecognitionEvent::Opened),
        Just(RecognitionEvent::UtteranceEnd),
        text.clone()
            .prop_map(|text| RecognitionEvent::Partial { text }),
        (text.clone(), any::<u64>())
            .prop_map(|(text, end_ms)| RecognitionEvent::Final { text, end_ms }),
    ];
    prop_oneof![
        1 => (0..2000_u64, any::<u64>())
            .prop_map(|(samples, timestamp)| Input::Audio { samples, timestamp }),
        1 => (0..9000_u64).prop_map(|samples| Input::AudioDropped { samples }),
        1 => id.clone().prop_map(|utterance| Input::JobRefused { utterance }),
        8 => (stream.clone(), event)
            .prop_map(|(stream, event)| Input::Recognized { stream, event }),
        1 => (id.clone(), 0..9000_u64)
            .prop_map(|(utterance, samples)| Input::Spoke { utterance, samples }),
        2 => (id.clone(), result.clone())
            .prop_map(|(utterance, result)| Input::SpeechEnded { utterance, result }),
        1 => (stream.clone(), result)
            .prop_map(|(stream, result)| Input::StreamEnded { stream, result }),
        1 => stream.prop_map(|stream| Input::StreamRefused { stream }),
        2 => (id, prop_oneof![text.prop_map(Ok), failure.prop_map(Err)])
            .prop_map(|(utterance, result)| Input::Translated { utterance, result }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(100)
    })]

    /// Law: whatever comes in whatever order, each utterance that was closed ends in exactly one
    /// end of speech and one trace, one is at work at a time, and nothing is asked for twice.
    #[test]
    fn every_utterance_ends_exactly_once(
        inputs in proptest::collection::vec((any_input(), 0..3000_u64), 0..120),
    ) {
        let mut bench = Bench::new();
        for (input, ms) in inputs {
            bench.input(input);
            bench.pass_ms(ms);
        }
        bench.input(Input::StreamEnded { stream: bench.streams().len() as u32, result: Ok(()) });
        // Nobody answers any more: the watchdogs end the rest.
        for _ in 0..4 * UTTERANCES_MAX {
            bench.pass_ms(SPEECH_MS_MAX + WATCHDOG_GRACE_MS);
        }
        let ids = |wanted: fn(&Output) -> Option<u32>| {
            let mut ids: Vec<u32> = bench.outputs.iter().filter_map(wanted).collect();
            ids.sort_unstable();
            ids
        };
        let closed = ids(|output| match output {
            Output::Transcript { utterance, stability: Stability::Final, .. } => Some(*utterance),
            _ => None,
        });
        let ended = ids(|output| match output {
            Output::SpeechEnd { utterance } => Some(*utterance),
            _ => None,
        });
        let traced = ids(|output| match output {
            Output::Trace(trace) => Some(trace.utterance),
            _ => None,
        });
        prop_assert_eq!(&closed, &(1..=closed.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(&ended, &closed);
        prop_assert_eq!(&traced, &closed);
        let translating = bench.translating();
        prop_assert!(translating.is_sorted_by(|a, b| a < b), "{:?}", translating);
    }
}
