//! Goal: every phrase of the book is understood when spoken, wide band and over a telephone line, in
//! both languages, and nothing else is. Method: speak with the default voice, optionally through
//! 8 kHz µ-law and back, recognise through the whole listening path, count.

use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use audio_codec_algorithms::{decode_ulaw, encode_ulaw};
use offline_vendors::listening::{Event, Interims, Listening, ListeningOptions};
use offline_vendors::phrase_book::{Language, PhraseBook, Sentence};
use offline_vendors::recognizer::{Heard, Recognizer};
use offline_vendors::resample::Resampler;
use offline_vendors::speech::{Voice, speak};

/// Threads the survey runs on.
const WORKERS: usize = 2;
/// Silence around each sentence, in samples at 16 kHz.
const LEAD_SAMPLES: usize = 8000;
const TAIL_SAMPLES: usize = 16_000;

/// The line between mouth and ear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Wide,
    Telephone,
}

/// One thing to say and what must be understood.
struct Case {
    text: String,
    expected: Option<Sentence>,
    line: Line,
}

fn through(line: Line, samples: Vec<i16>) -> Vec<i16> {
    match line {
        Line::Wide => samples,
        Line::Telephone => {
            let narrow = Resampler::convert(&samples, 16_000, 8000);
            let coded: Vec<u8> = narrow.into_iter().map(encode_ulaw).collect();
            let decoded: Vec<i16> = coded.into_iter().map(decode_ulaw).collect();
            Resampler::convert(&decoded, 8000, 16_000)
        }
    }
}

/// What was heard, in order.
fn listen(recognizer: &Arc<Recognizer>, samples: &[i16]) -> Vec<Heard> {
    let options = ListeningOptions {
        endpointing_ms: Some(300),
        utterance_end_ms: None,
        interims: Interims::Off,
    };
    let mut listening = Listening::new(Arc::clone(recognizer), options);
    let mut events = listening.push(&vec![0; LEAD_SAMPLES]).expect("decoder");
    events.extend(listening.push(samples).expect("decoder"));
    events.extend(listening.push(&vec![0; TAIL_SAMPLES]).expect("decoder"));
    events
        .into_iter()
        .filter_map(|event| match event {
            Event::Final { heard, .. } => Some(heard),
            _ => None,
        })
        .collect()
}

/// Speaks all cases and returns one line for each that was not understood as expected.
fn failures(language: Language, cases: Vec<Case>) -> Vec<String> {
    let book = Arc::new(PhraseBook::built_in());
    let recognizer =
        Arc::new(Recognizer::new(book, language, WORKERS).expect("engines are installed"));
    let (todo, failed) = (Mutex::new(cases), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(case) = todo.lock().expect("lock").pop() else {
                        break;
                    };
                    let samples = speak(&case.text, Voice::of(language), 16_000).expect("voice");
                    let heard = listen(&recognizer, &through(case.line, samples));
                    let understood: Vec<Option<&Sentence>> = heard
                        .iter()
                        .map(|h| h.phrase().map(|p| &p.sentence))
                        .collect();
                    let is_right = match &case.expected {
                        Some(sentence) => understood == [Some(sentence)],
                        None => understood.iter().all(Option::is_none),
                    };
                    let score = heard.first().and_then(|h| h.phrase()).map(|p| p.score);
                    if std::env::var_os("SHOW_SCORES").is_some() {
                        println!("{:?}\t{score:?}\t{is_right}\t{}", case.line, case.text);
                    }
                    if !is_right {
                        let line = format!("{:?} {:?} heard as {heard:?}", case.line, case.text);
                        failed.lock().expect("lock").push(line);
                    }
                }
            });
        }
    });
    failed.into_inner().expect("lock")
}

/// Each phrase once with slots filled by `pick(phrase, number of values)`.
fn phrase_cases(language: Language, line: Line, pick: impl Fn(usize, usize) -> usize) -> Vec<Case> {
    let book = PhraseBook::built_in();
    (0..book.phrases_count())
        .map(|phrase| {
            let sentence = book.sentence(phrase, |_, count| pick(phrase, count));
            Case {
                text: book.text(&sentence, language),
                expected: Some(sentence),
                line,
            }
        })
        .collect()
}

fn check_phrases(language: Language, line: Line) {
    let cases = phrase_cases(language, line, |phrase, count| (phrase * 7 + 3) % count);
    let total = cases.len();
    let failed = failures(language, cases);
    println!(
        "{language:?} {line:?}: {} of {total} understood",
        total - failed.len()
    );
    assert!(
        failed.is_empty(),
        "{} of {total}:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn english_phrases_are_understood() {
    check_phrases(Language::English, Line::Wide);
}

#[test]
fn english_phrases_are_understood_over_the_telephone() {
    check_phrases(Language::English, Line::Telephone);
}

#[test]
fn french_phrases_are_understood() {
    check_phrases(Language::French, Line::Wide);
}

#[test]
fn french_phrases_are_understood_over_the_telephone() {
    check_phrases(Language::French, Line::Telephone);
}
