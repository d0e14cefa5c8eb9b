//! A second opinion on what PocketSphinx heard, for a language without an acoustic model of its
//! own: the utterance against the book's sentences as a synthetic voice speaks them.
//!
//! It decides only what sounds like that voice, and for it slot values above all; for anybody else
//! its opinion is [`Opinion::Unclear`] and PocketSphinx is judged alone. It cannot recognise
//! people: that is what it stands aside for.
//!
//! First every phrase is tried in one filling, then the nearest phrases and PocketSphinx's are
//! filled slot by slot, each value in turn while the other slots keep their best. Cost: at most
//! [`TRIALS_MAX`] alignments (about 0.2 ms each for three seconds of speech).

use std::collections::HashMap;

use crate::features::{Frame, features};
use crate::phrase_book::{Language, PhraseBook, Sentence};
use crate::speech::SpeakError;
use crate::templates::Templates;
use crate::warping::distance;

/// Most sentences tried for one utterance.
pub const TRIALS_MAX: usize = 600;
/// Phrases filled besides PocketSphinx's.
const NEAREST_PHRASES: usize = 3;
/// Times each slot is tried: the second time with the others' best values.
const ROUNDS: usize = 2;
/// Below this distance an utterance is the template's voice.
const CLEAR_DISTANCE: f32 = 4.0;
/// The next sentence must be farther by this share, or PocketSphinx decides between them.
const MARGIN_SHARE: f32 = 0.02;

/// What the templates say.
#[derive(Clone, Debug, PartialEq)]
pub enum Opinion {
    /// It is this sentence, at this distance.
    Clear(Sentence, f32),
    /// It does not sound like the templates, or like several of them; the least distance found.
    Unclear(f32),
}

/// The templates' opinion of `samples`, given PocketSphinx's answer if it has one.
///
/// # Errors
/// [`SpeakError`] when templates cannot be made.
pub fn opinion(
    templates: &Templates,
    samples: &[i16],
    rate_hz: u32,
    answer: Option<&Sentence>,
) -> Result<Opinion, SpeakError> {
    let mut trial = Trial {
        templates,
        heard: features(samples, rate_hz),
        tried: HashMap::new(),
    };
    let book = templates.book();
    let fillings: Vec<Sentence> = (0..book.phrases_count())
        .map(|phrase| filled_like(book, phrase, answer))
        .collect();
    trial.try_all(&fillings)?;
    let mut nearest = fillings;
    nearest.sort_by(|a, b| trial.of(a).total_cmp(&trial.of(b)));
    let is_answers = |s: &Sentence| answer.is_some_and(|answer| answer.phrase == s.phrase);
    let own = nearest.iter().skip(NEAREST_PHRASES).find(|s| is_answers(s));
    let starts: Vec<Sentence> = nearest
        .iter()
        .take(NEAREST_PHRASES)
        .chain(own)
        .cloned()
        .collect();
    for start in starts {
        trial.fill(start)?;
    }
    Ok(trial.verdict(answer))
}

/// A phrase with the answer's values where it has the same slots, else with the first ones.
fn filled_like(book: &PhraseBook, phrase: usize, answer: Option<&Sentence>) -> Sentence {
    let mut sentence = book.sentence(phrase, |_, _| 0);
    for (slot, value) in &mut sentence.values {
        let same = answer.and_then(|a| a.values.iter().find(|(own, _)| own == slot));
        if let Some((_, chosen)) = same {
            *value = *chosen;
        }
    }
    sentence
}

/// One utterance being compared.
struct Trial<'a> {
    templates: &'a Templates,
    heard: Vec<Frame>,
    /// Distance of each sentence tried.
    tried: HashMap<Sentence, f32>,
}

impl Trial<'_> {
    fn of(&self, sentence: &Sentence) -> f32 {
        self.tried.get(sentence).copied().unwrap_or(f32::INFINITY)
    }

    /// Compares with those not tried yet, within [`TRIALS_MAX`].
    fn try_all(&mut self, sentences: &[Sentence]) -> Result<(), SpeakError> {
        let mut new: Vec<Sentence> = sentences
            .iter()
            .filter(|sentence| !self.tried.contains_key(*sentence))
            .cloned()
            .collect();
        new.truncate(TRIALS_MAX.saturating_sub(self.tried.len()));
        for (sentence, template) in new.iter().zip(self.templates.of(&new)?) {
            let apart = distance(&self.heard, &template, f32::MAX).unwrap_or(f32::INFINITY);
            self.tried.insert(sentence.clone(), apart);
        }
        Ok(())
    }

    /// Tries every value of every slot, each with the best of the others.
    fn fill(&mut self, start: Sentence) -> Result<(), SpeakError> {
        let mut best = start;
        // One slot has no others to wait for.
        let rounds = if best.values.len() > 1 { ROUNDS } else { 1 };
        for place in (0..best.values.len())
            .cycle()
            .take(rounds * best.values.len())
        {
            let slot = &self.templates.book().slots()[best.values[place].0];
            let fillings: Vec<Sentence> = (0..slot.values(Language::English).count())
                .map(|value| {
                    let mut filled = best.clone();
                    filled.values[place].1 = value;
                    filled
                })
                .collect();
            self.try_all(&fillings)?;
            let nearest = fillings
                .into_iter()
                .min_by(|a, b| self.of(a).total_cmp(&self.of(b)));
            best = nearest.unwrap_or(best);
        }
        Ok(())
    }

    fn verdict(&self, answer: Option<&Sentence>) -> Opinion {
        // By sentence where distances are equal: the same audio always gives the same answer.
        let mut sorted: Vec<(&Sentence, f32)> = self.tried.iter().map(|(s, d)| (s, *d)).collect();
        sorted.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(b.0)));
        let Some(&(best, least)) = sorted.first() else {
            return Opinion::Unclear(f32::INFINITY);
        };
        let is_alone = sorted
            .get(1)
            .is_none_or(|next| next.1 > least * (1.0 + MARGIN_SHARE));
        if least < CLEAR_DISTANCE && (is_alone || answer == Some(best)) {
            Opinion::Clear(best.clone(), least)
        } else {
            Opinion::Unclear(least)
        }
    }
}
