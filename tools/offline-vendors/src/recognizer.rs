//! Recognises one utterance: grammar search, reject gate, times of the words.
//!
//! The answer depends on the samples alone, so decoders carry nothing from one caller to the next
//! and a small pool serves any number of streams. What the book does not hold is refused, not
//! guessed.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::grammar::Grammar;
use crate::phrase_book::{Language, PhraseBook, Sentence};
use crate::pocketsphinx::{Decoder, DecoderError, FRAME_SAMPLES, MODEL_RATE_HZ, Search};
use crate::second_opinion::{Opinion, opinion};
use crate::templates::Templates;
use crate::words::{bare, display_words, words};

/// Longest utterance decoded, in seconds: no sentence of a phrase book takes as long.
pub const UTTERANCE_SECONDS_MAX: u32 = 20;
/// Least score per frame against a free sequence of phones, by language, where templates do not
/// decide. Measured: the least sure English phrase scores -14.7, other English below -16.4 but for
/// one sentence. French ones overlap with other French between -20 and -14: what is lost there
/// would as often have been a wrong sentence.
const GATE_SCORE_MIN: [f32; 2] = [-15.5, -18.0];
/// Level of the added noise as a share of the utterance's, by language: 30 and 24 dB under it,
/// measured best of 18 to 50 dB.
const NOISE_SHARE: [f64; 2] = [0.03, 0.06];
/// The noise is never fainter than this, in sample values.
const NOISE_LARGEST_MIN: f64 = 4.0;
/// Any number: it makes runs repeatable.
const NOISE_SEED: u64 = 7;
/// The voices of the templates as espeak-ng names them, by language: those offered for French.
const TEMPLATE_VOICES: [&[&str]; 2] = [&[], &["fr", "fr+f2"]];
/// Most segments asked of one result.
const SEGMENTS_MAX: usize = 256;
/// Longest wait for a free decoder before the utterance counts as lost.
const DECODER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Utterances shorter than this are clicks, not speech, in samples at 16 kHz (150 ms).
const UTTERANCE_SAMPLES_MIN: usize = 2400;

/// One displayed word with its place in the utterance, in seconds from the utterance's first
/// sample.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedWord {
    /// Lower case, no marks around it.
    pub word: String,
    /// As displayed.
    pub punctuated: String,
    /// Start of the word.
    pub start_seconds: f32,
    /// End of the word, not before its start.
    pub end_seconds: f32,
}

/// A recognised sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Phrase {
    /// Which sentence of the book it is.
    pub sentence: Sentence,
    /// As displayed.
    pub text: String,
    /// Its words in order.
    pub words: Vec<TimedWord>,
    /// Gate score per frame; higher is surer.
    pub score: f32,
}

/// What was made of an utterance.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A sentence of the book.
    Phrase(Phrase),
    /// Speech, but not a sentence of the book; with the nearest sentence and its score, if any
    /// came near.
    OutOfBook(Option<(String, f32)>),
}

impl Heard {
    /// The sentence, if it was one.
    pub fn phrase(&self) -> Option<&Phrase> {
        match self {
            Self::Phrase(phrase) => Some(phrase),
            Self::OutOfBook(_) => None,
        }
    }
}

/// Both decoders one utterance needs.
#[derive(Debug)]
struct Ear {
    grammar: Decoder,
    phones: Decoder,
}

/// Recognises utterances of one language with a bounded pool of decoders.
#[derive(Debug)]
pub struct Recognizer {
    language: Language,
    book: Arc<PhraseBook>,
    grammar: Grammar,
    /// For a language PocketSphinx has no model of: one set for each voice; empty otherwise.
    voices: Vec<Templates>,
    /// Idle decoders.
    idle: Mutex<Vec<Ear>>,
    returned: Condvar,
}

impl Recognizer {
    /// Builds the grammar and `decoders` (at least one) warmed decoders.
    ///
    /// # Errors
    /// A plain line with the remedy when the model or espeak-ng is missing.
    pub fn new(book: Arc<PhraseBook>, language: Language, decoders: usize) -> Result<Self, String> {
        let grammar = Grammar::new(&book, language)?;
        let idle = (0..decoders.max(1))
            .map(|_| Ear::new(&grammar))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let voices = TEMPLATE_VOICES[language as usize]
            .iter()
            .map(|voice| Templates::new(Arc::clone(&book), language, voice))
            .collect::<Vec<_>>();
        for templates in &voices {
            templates
                .of(&book.first_sentences())
                .map_err(|error| error.to_string())?;
        }
        Ok(Self {
            language,
            book,
            grammar,
            voices,
            idle: Mutex::new(idle),
            returned: Condvar::new(),
        })
    }

    /// Makes the templates of every sentence of the book in the language's default voice, so that
    /// none is made while somebody waits; nothing for a language without templates. About ten
    /// seconds of one core, for a thread of its own.
    ///
    /// # Errors
    /// A plain line when the voice cannot speak; templates are then made when needed.
    pub fn warm(&self) -> Result<(), String> {
        self.voices
            .first()
            .map_or(Ok(()), Templates::warm)
            .map_err(|error| error.to_string())
    }

    /// The language listened for.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Recognises one utterance at 16 kHz; it waits for a free decoder.
    ///
    /// # Errors
    /// [`DecoderError::Refused`] when the library fails or no decoder came free in time.
    pub fn recognize(&self, samples: &[i16]) -> Result<Heard, DecoderError> {
        let longest = (UTTERANCE_SECONDS_MAX * MODEL_RATE_HZ) as usize;
        if samples.len() < UTTERANCE_SAMPLES_MIN || samples.len() > longest {
            return Ok(Heard::OutOfBook(None));
        }
        let mut ear = self.borrow()?;
        let heard = self.listen(
            &mut ear,
            &with_noise_floor(samples, NOISE_SHARE[self.language as usize]),
        );
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(ear);
        self.returned.notify_one();
        Ok(self.judged(heard?, samples))
    }

    /// What is made of PocketSphinx's answer, with the templates' opinion where there is one.
    fn judged(&self, answer: Answer, samples: &[i16]) -> Heard {
        let sentence = answer.sentence.as_ref();
        // Without templates PocketSphinx is judged alone, as in English.
        let opinion = opinion(&self.voices, samples, MODEL_RATE_HZ, sentence)
            .unwrap_or(Opinion::Unclear(f32::INFINITY));
        if let Opinion::Clear(clear, _) = opinion {
            return Heard::Phrase(self.phrase(clear, &answer, samples.len()));
        }
        match sentence {
            Some(sentence) if answer.score >= GATE_SCORE_MIN[self.language as usize] => {
                Heard::Phrase(self.phrase(sentence.clone(), &answer, samples.len()))
            }
            nearest => Heard::OutOfBook(
                nearest.map(|nearest| (self.book.text(nearest, self.language), answer.score)),
            ),
        }
    }

    fn phrase(&self, sentence: Sentence, answer: &Answer, samples: usize) -> Phrase {
        let text = self.book.text(&sentence, self.language);
        let words = timed_words(&text, &self.timeline(&sentence, answer, samples));
        Phrase {
            sentence,
            text,
            words,
            score: answer.score,
        }
    }

    fn borrow(&self) -> Result<Ear, DecoderError> {
        let deadline = Instant::now() + DECODER_WAIT_MAX;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(ear) = idle.pop() {
                return Ok(ear);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(DecoderError::Refused("no decoder came free".to_owned()));
            }
            idle = self
                .returned
                .wait_timeout(idle, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// PocketSphinx's answer and how sure it is of it.
    fn listen(&self, ear: &mut Ear, samples: &[i16]) -> Result<Answer, DecoderError> {
        ear.grammar.decode(samples)?;
        let Some(best) = ear.grammar.hypothesis() else {
            return Ok(Answer::NONE);
        };
        let spans: Vec<Span> = ear
            .grammar
            .segments(SEGMENTS_MAX)
            .into_iter()
            .filter_map(|segment| {
                let word = self.grammar.spoken_word(&segment.word)?.to_owned();
                Some((
                    word,
                    frame_seconds(segment.first_frame),
                    frame_seconds(segment.last_frame + 1),
                ))
            })
            .collect();
        let spoken: Vec<String> = spans.iter().map(|(word, ..)| word.clone()).collect();
        let words_of = |text: &str| self.grammar.spoken(text).to_vec();
        let Some(sentence) = self.book.find_spoken(&spoken, self.language, words_of) else {
            return Ok(Answer::NONE);
        };
        ear.phones.decode(samples)?;
        let frames = (samples.len() / FRAME_SAMPLES) as f32;
        let score = ear.phones.hypothesis().map_or(f32::NEG_INFINITY, |free| {
            (best.score as f32 - free.score as f32) / frames
        });
        Ok(Answer {
            sentence: Some(sentence),
            spans,
            score,
        })
    }

    /// The written words (normalised) of a sentence, each with its time: by the answer's words, or
    /// by letters where the answer is another phrase.
    fn timeline(&self, sentence: &Sentence, answer: &Answer, samples: usize) -> Vec<Span> {
        let heard = match &answer.sentence {
            Some(heard) if heard.phrase == sentence.phrase => heard,
            _ => {
                let end = samples as f32 / MODEL_RATE_HZ as f32;
                let text = self.book.text(sentence, self.language);
                return spread(words(&text), &[(String::new(), 0.0, end)]);
            }
        };
        let mut timeline = Vec::new();
        let mut rest = answer.spans.as_slice();
        let parts = self.book.part_texts(sentence, self.language);
        for (text, spoken) in parts.zip(self.book.part_texts(heard, self.language)) {
            let (own, after) = rest.split_at(self.grammar.spoken(spoken).len().min(rest.len()));
            rest = after;
            timeline.extend(spread(words(text), own));
        }
        timeline
    }
}

/// What PocketSphinx makes of an utterance.
struct Answer {
    sentence: Option<Sentence>,
    /// The sentence's spoken words.
    spans: Vec<Span>,
    /// Gate score per frame; higher is surer.
    score: f32,
}

impl Answer {
    const NONE: Self = Self {
        sentence: None,
        spans: Vec::new(),
        score: f32::NEG_INFINITY,
    };
}

/// A word with its start and end in seconds.
type Span = (String, f32, f32);

/// Lays written words over spoken ones: one on one, or by their letters over the whole span.
fn spread(written: Vec<String>, spoken: &[Span]) -> Vec<Span> {
    if written.len() == spoken.len() {
        return written
            .into_iter()
            .zip(spoken)
            .map(|(w, (_, start, end))| (w, *start, *end))
            .collect();
    }
    let (start, end) = match (spoken.first(), spoken.last()) {
        (Some(first), Some(last)) => (first.1, last.2),
        _ => (0.0, 0.0),
    };
    let letters: usize = written.iter().map(|word| word.chars().count()).sum();
    let per_letter = (end - start) / letters.max(1) as f32;
    let mut at = start;
    written
        .into_iter()
        .map(|word| {
            let word_start = at;
            at = (at + per_letter * word.chars().count() as f32).min(end);
            (word, word_start, at)
        })
        .collect()
}

impl Ear {
    fn new(grammar: &Grammar) -> Result<Self, DecoderError> {
        let search = Search::Grammar {
            jsgf: &grammar.jsgf,
            words: &grammar.pronunciations,
        };
        Ok(Self {
            grammar: Decoder::new(search)?,
            phones: Decoder::new(Search::Phones)?,
        })
    }
}

/// Adds a floor of faint noise, `share` of the utterance's own level, the same for the same
/// samples.
///
/// The acoustic model knows recordings with a room in them. Digital zeros, and the empty upper
/// half of an 8 kHz line, pull its normalisation so far off that half of all French sentences are
/// lost.
fn with_noise_floor(samples: &[i16], share: f64) -> Vec<i16> {
    let power: f64 = samples
        .iter()
        .map(|sample| f64::from(*sample).powi(2))
        .sum();
    let level = (power / samples.len().max(1) as f64).sqrt();
    // A uniform distribution's largest value is the square root of three times its level.
    let largest = (level * share * 3_f64.sqrt()).max(NOISE_LARGEST_MIN) as i16;
    let mut random = fastrand::Rng::with_seed(NOISE_SEED);
    let noisy = |sample: &i16| sample.saturating_add(random.i16(-largest..=largest));
    samples.iter().map(noisy).collect()
}

/// Lays the displayed words of `text` over the spoken ones; a displayed word may be several spoken
/// ones.
fn timed_words(text: &str, timeline: &[Span]) -> Vec<TimedWord> {
    let mut spoken = timeline.iter();
    display_words(text)
        .into_iter()
        .map(|shown| {
            let count = words(&shown).len().max(1);
            let part: Vec<_> = spoken.by_ref().take(count).collect();
            let start_seconds = part.first().map_or(0.0, |word| word.1);
            let end_seconds = part.last().map_or(start_seconds, |word| word.2);
            TimedWord {
                word: bare(&shown),
                punctuated: shown,
                start_seconds,
                end_seconds,
            }
        })
        .collect()
}

fn frame_seconds(frame: u32) -> f32 {
    frame as f32 * FRAME_SAMPLES as f32 / MODEL_RATE_HZ as f32
}
