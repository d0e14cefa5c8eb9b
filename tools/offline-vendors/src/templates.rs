//! The book's sentences as a synthetic voice speaks them, kept as features.
//!
//! A template is made when first asked for, or ahead by [`Templates::warm`], and kept; what a
//! sentence sounds like depends on its text alone. Bound: [`TEMPLATES_MAX`] of them, about 25 KB
//! each; past it they are made anew each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::features::{Frame, features};
use crate::phrase_book::{Language, Part, PhraseBook, Sentence};
use crate::speech::{SPEAK_ALL_MAX, SpeakError, speak_all};

/// Most templates kept, about 100 MB: the built-in book has about 2500 sentences.
pub const TEMPLATES_MAX: usize = 4000;

/// A sentence's features.
pub type Template = Arc<[Frame]>;

/// The templates of one language of a book in one voice.
#[derive(Debug)]
pub struct Templates {
    book: Arc<PhraseBook>,
    language: Language,
    /// espeak-ng's name of the voice.
    voice: &'static str,
    made: Mutex<HashMap<Sentence, Template>>,
}

impl Templates {
    /// No templates yet.
    pub fn new(book: Arc<PhraseBook>, language: Language, voice: &'static str) -> Self {
        Self {
            book,
            language,
            voice,
            made: Mutex::new(HashMap::new()),
        }
    }

    /// The book whose sentences these are.
    pub fn book(&self) -> &PhraseBook {
        &self.book
    }

    /// The template of each sentence, in order; those not made yet are made now (about 4 ms each).
    ///
    /// # Errors
    /// [`SpeakError`] when the voice cannot speak.
    pub fn of(&self, sentences: &[Sentence]) -> Result<Vec<Template>, SpeakError> {
        let kept: Vec<Option<Template>> = {
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            sentences.iter().map(|s| made.get(s).cloned()).collect()
        };
        let missing: Vec<&Sentence> = sentences
            .iter()
            .zip(&kept)
            .filter_map(|(sentence, kept)| kept.is_none().then_some(sentence))
            .collect();
        let mut new = self.make(&missing)?.into_iter();
        Ok(kept
            .into_iter()
            .filter_map(|kept| kept.or_else(|| new.next()))
            .collect())
    }

    fn make(&self, sentences: &[&Sentence]) -> Result<Vec<Template>, SpeakError> {
        let mut templates = Vec::new();
        for batch in sentences.chunks(SPEAK_ALL_MAX) {
            let text = |sentence: &&Sentence| self.book.text(sentence, self.language);
            let texts: Vec<String> = batch.iter().map(text).collect();
            let (spoken, rate_hz) = speak_all(&texts, self.voice)?;
            let new: Vec<Template> = spoken
                .iter()
                .map(|samples| features(samples, rate_hz).into())
                .collect();
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            for (sentence, template) in batch.iter().zip(&new) {
                if made.len() < TEMPLATES_MAX {
                    made.insert((*sentence).clone(), Arc::clone(template));
                }
            }
            templates.extend(new);
        }
        Ok(templates)
    }

    /// Makes the templates of the whole book, as far as [`TEMPLATES_MAX`] allows; about ten seconds
    /// of one core for the built-in book.
    ///
    /// # Errors
    /// As [`Self::of`]; what was made is kept.
    pub fn warm(&self) -> Result<(), SpeakError> {
        for phrase in 0..self.book.phrases_count() {
            for batch in self.fillings(phrase).chunks(SPEAK_ALL_MAX) {
                let kept = self
                    .made
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .len();
                if kept >= TEMPLATES_MAX {
                    return Ok(());
                }
                self.of(batch)?;
            }
        }
        Ok(())
    }

    /// Every sentence of a phrase, at most [`TEMPLATES_MAX`].
    fn fillings(&self, phrase: usize) -> Vec<Sentence> {
        let mut fillings = vec![Sentence {
            phrase,
            values: Vec::new(),
        }];
        for part in self.book.parts(phrase, Language::English) {
            let Part::Slot(slot) = *part else { continue };
            let count = self.book.slots()[slot].values(self.language).count();
            fillings = fillings
                .iter()
                .flat_map(|sentence| {
                    (0..count).map(move |value| {
                        let mut filled = sentence.clone();
                        filled.values.push((slot, value));
                        filled
                    })
                })
                .take(TEMPLATES_MAX)
                .collect();
        }
        fillings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warping::distance;

    /// Goal: templates come in the order asked for and are the same when kept. Method: ask twice,
    /// in two orders, and once for one of them alone from a fresh set.
    #[test]
    fn templates_are_kept_and_repeatable() {
        let book = Arc::new(PhraseBook::built_in());
        let templates = Templates::new(Arc::clone(&book), Language::French, "fr");
        let sentences: Vec<Sentence> = (0..3).map(|n| book.sentence(n, |_, _| n)).collect();
        let made = templates.of(&sentences).expect("espeak-ng is installed");
        assert_eq!(made.len(), 3);
        assert!(made.iter().all(|template| !template.is_empty()));
        let reversed: Vec<Sentence> = sentences.iter().rev().cloned().collect();
        let kept = templates.of(&reversed).expect("kept");
        assert!(kept.iter().rev().zip(&made).all(|(a, b)| Arc::ptr_eq(a, b)));
        let fresh = Templates::new(book, Language::French, "fr");
        let alone = fresh.of(&sentences[1..2]).expect("voice");
        // espeak-ng's flutter goes on from text to text, so they are near, not equal: 0.4 to 0.6
        // were seen, and other sentences lie beyond 4.9.
        let apart = distance(&alone[0], &made[1], f32::MAX).expect("near");
        assert!(apart < 1.0, "{apart}");
    }

    /// Goal: every filling of every phrase is there once, within the bound. Method: count by the
    /// slots' sizes.
    #[test]
    fn fillings_are_every_combination() {
        let book = Arc::new(PhraseBook::built_in());
        let templates = Templates::new(Arc::clone(&book), Language::French, "fr");
        let mut total = 0;
        for phrase in 0..book.phrases_count() {
            let mut fillings = templates.fillings(phrase);
            let mut expected = 1;
            let _ = book.sentence(phrase, |_, count| {
                expected *= count;
                0
            });
            fillings.sort();
            fillings.dedup();
            assert_eq!(fillings.len(), expected, "phrase {phrase}");
            total += fillings.len();
        }
        assert!(total <= TEMPLATES_MAX, "{total}");
    }
}
