//! Goal: every phrase of the book is understood when spoken, wide band and over a telephone line,
//! in both languages, and nothing else is. Method: speak with the default voice, optionally
//! through 8 kHz µ-law and back, recognise through the whole listening path, count.

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

/// None is measured lost; headroom for another build of espeak-ng.
const FRENCH_LOST_MAX: usize = 1;

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

/// Whether the words follow each other in time.
fn is_in_order(heard: &Heard) -> bool {
    heard.phrase().is_none_or(|phrase| {
        let times = phrase
            .words
            .iter()
            .map(|w| (w.start_seconds, w.end_seconds));
        times.is_sorted_by(|a, b| a.0 <= a.1 && a.1 <= b.0 + 0.001 && b.0 <= b.1)
    })
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
                        Some(sentence) => {
                            understood == [Some(sentence)] && heard.iter().all(is_in_order)
                        }
                        None => understood.iter().all(Option::is_none),
                    };
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

/// At most `lost_max` phrases may be misunderstood: measured, and said in the book's limits.
fn check_phrases(language: Language, line: Line, lost_max: usize) {
    let cases = phrase_cases(language, line, |phrase, count| (phrase * 7 + 3) % count);
    let total = cases.len();
    let failed = failures(language, cases);
    println!(
        "{language:?} {line:?}: {} of {total} understood",
        total - failed.len()
    );
    assert!(
        failed.len() <= lost_max,
        "{} of {total}:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn english_phrases_are_understood() {
    check_phrases(Language::English, Line::Wide, 0);
}

#[test]
fn english_phrases_are_understood_over_the_telephone() {
    check_phrases(Language::English, Line::Telephone, 3);
}

#[test]
fn french_phrases_are_understood() {
    check_phrases(Language::French, Line::Wide, FRENCH_LOST_MAX);
}

#[test]
fn french_phrases_are_understood_over_the_telephone() {
    check_phrases(Language::French, Line::Telephone, FRENCH_LOST_MAX);
}

/// Slot values are what a telephone line loses first: others than above.
#[test]
fn french_slot_values_are_understood_over_the_telephone() {
    let book = PhraseBook::built_in();
    let cases: Vec<Case> = phrase_cases(Language::French, Line::Telephone, |phrase, count| {
        (phrase * 5 + 1) % count
    })
    .into_iter()
    .filter(|case| case.expected.as_ref().is_some_and(|s| !s.values.is_empty()))
    .collect();
    assert!(cases.len() > book.phrases_count() / 3);
    let failed = failures(Language::French, cases);
    assert!(failed.len() <= FRENCH_LOST_MAX, "{}", failed.join("\n"));
}

const OUT_OF_BOOK_ENGLISH: [&str; 20] = [
    "The cat is sleeping under the kitchen table.",
    "Our neighbours have painted their fence bright green.",
    "Scientists discovered a new species of frog in the forest.",
    "I forgot to water the plants before going out.",
    "The concert was much longer than we expected.",
    "He plays the guitar every evening after dinner.",
    "The stock market fell sharply this morning.",
    "Could you tell me a story about dragons?",
    "My grandmother baked a delicious apple pie.",
    "The bridge will remain closed for repairs.",
    "Never mind.",
    "What a lovely dress.",
    "We should buy some milk and eggs.",
    "The printer is out of paper again.",
    "She teaches mathematics at the university.",
    "Turn left after the second traffic light.",
    "I would like a cup of black coffee with sugar.",
    "Football is very popular in this country.",
    "The children are playing in the garden.",
    "It rained all night long.",
];

const OUT_OF_BOOK_FRENCH: [&str; 20] = [
    "Le chat dort sous la table de la cuisine.",
    "Nos voisins ont repeint leur clôture en vert.",
    "Des chercheurs ont découvert une nouvelle espèce de grenouille.",
    "J'ai oublié d'arroser les plantes avant de sortir.",
    "Le concert était beaucoup plus long que prévu.",
    "Il joue de la guitare tous les soirs.",
    "La bourse a fortement baissé ce matin.",
    "Raconte-moi une histoire de dragons.",
    "Ma grand-mère a préparé une tarte aux pommes.",
    "Le pont restera fermé pour travaux.",
    "Ce n'est pas grave.",
    "Quelle jolie robe.",
    "Il faudrait acheter du lait et des oeufs.",
    "L'imprimante n'a plus de papier.",
    "Elle enseigne les mathématiques à l'université.",
    "Tournez à gauche après le deuxième feu.",
    "Je prendrais bien un café noir avec du sucre.",
    "Le football est très populaire dans ce pays.",
    "Les enfants jouent dans le jardin.",
    "Il a plu toute la nuit.",
];

/// At most `accepted_max` sentences may pass for a phrase of the book.
fn check_refused(language: Language, sentences: &[&str], accepted_max: usize) {
    let cases: Vec<Case> = [Line::Wide, Line::Telephone]
        .into_iter()
        .flat_map(|line| {
            sentences.iter().map(move |text| Case {
                text: (*text).to_owned(),
                expected: None,
                line,
            })
        })
        .collect();
    let total = cases.len();
    let failed = failures(language, cases);
    println!(
        "{language:?} out of book: {} of {total} refused",
        total - failed.len()
    );
    assert!(
        failed.len() <= accepted_max,
        "{} of {total}:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn english_out_of_the_book_is_refused() {
    check_refused(Language::English, &OUT_OF_BOOK_ENGLISH, 2);
}

#[test]
fn french_out_of_the_book_is_refused() {
    check_refused(Language::French, &OUT_OF_BOOK_FRENCH, 2);
}

/// What was heard before, loud noise included, must not change what is heard now.
#[test]
fn an_utterance_is_heard_alike_whatever_came_before_it() {
    let book = Arc::new(PhraseBook::built_in());
    let recognizer = Recognizer::new(book, Language::English, 1).expect("engines are installed");
    let say = |text| speak(text, Voice::of(Language::English), 16_000).expect("voice");
    let phrase = say("Do you speak French?");
    let first = recognizer.recognize(&phrase).expect("decoder");
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<i16> = (0..32_000).map(|_| random.i16(-8000..=8000)).collect();
    for before in [noise, say("Please call the police.")] {
        recognizer.recognize(&before).expect("decoder");
        assert_eq!(recognizer.recognize(&phrase).expect("decoder"), first);
    }
}
