//! A second opinion on what PocketSphinx heard, for a language without an acoustic model of its
//! own: the utterance against the book's sentences as a synthetic voice speaks them.
//!
//! It decides only what sounds like that voice, and for it slot values above all; for anybody else
//! its opinion is [`Opinion::Unclear`] and PocketSphinx is judged alone. It cannot recognise
//! people: that is what it stands aside for.
//!
//! First every phrase is tried in one filling by each voice; with the nearest voice the nearest
//! phrases and PocketSphinx's are filled slot by slot, each value in turn while the other slots
//! keep their best, until one fits. Cost: at most [`TRIALS_MAX`] alignments a voice (about 0.2 ms
//! each for three seconds of speech).

use std::collections::HashMap;

use crate::features::{Frame, features};
use crate::phrase_book::{Language, Sentence};
use crate::speech::SpeakError;
use crate::templates::Templates;
use crate::warping::distance;

/// Most sentences tried for one utterance.
pub const TRIALS_MAX: usize = 600;
/// Phrases filled besides PocketSphinx's.
const NEAREST_PHRASES: usize = 2;
/// Times each slot is tried: the second time with the others' best values.
const ROUNDS: usize = 2;
/// Below this distance an utterance is the template's, said by its voice. Measured: sentences of
/// the book are within 2.6 of their own template over any line, other sentences 4.9 and more away.
const CLEAR_DISTANCE: f32 = 3.8;
/// A sentence this many times farther than the nearest so far is given up.
const FAR_SHARE: f32 = 1.6;
/// What the templates say.
#[derive(Clone, Debug, PartialEq)]
pub enum Opinion {
    /// It is this sentence, at this distance.
    Clear(Sentence, f32),
    /// It does not sound like the templates; the least distance found.
    Unclear(f32),
}

/// The opinion of the templates, one set for each voice, of `samples`, given PocketSphinx's answer
/// if it has one.
///
/// # Errors
/// [`SpeakError`] when templates cannot be made.
pub fn opinion(
    voices: &[Templates],
    samples: &[i16],
    rate_hz: u32,
    answer: Option<&Sentence>,
) -> Result<Opinion, SpeakError> {
    let heard = features(samples, rate_hz);
    let mut nearest: Option<Trial<'_>> = None;
    for templates in voices {
        let trial = Trial::of_every_phrase(templates, &heard, answer)?;
        if nearest
            .as_ref()
            .is_none_or(|other| trial.least() < other.least())
        {
            nearest = Some(trial);
        }
    }
    let Some(mut trial) = nearest else {
        return Ok(Opinion::Unclear(f32::INFINITY));
    };
    for start in trial.starts(answer) {
        trial.fill(start)?;
        if trial.least() < CLEAR_DISTANCE {
            // No other phrase is as near: there is nothing left to find.
            break;
        }
    }
    Ok(trial.verdict())
}

/// One utterance being compared with one voice.
struct Trial<'a> {
    templates: &'a Templates,
    heard: &'a [Frame],
    /// Distance of each sentence tried.
    tried: HashMap<Sentence, f32>,
}

impl<'a> Trial<'a> {
    /// With one filling of every phrase tried.
    fn of_every_phrase(
        templates: &'a Templates,
        heard: &'a [Frame],
        answer: Option<&Sentence>,
    ) -> Result<Self, SpeakError> {
        let book = templates.book();
        let mut trial = Trial {
            templates,
            heard,
            tried: HashMap::new(),
        };
        // The answer first: most often it is near, and all else is then soon given up.
        let sentences: Vec<Sentence> = answer
            .cloned()
            .into_iter()
            .chain(book.first_sentences())
            .collect();
        trial.try_all(&sentences)?;
        Ok(trial)
    }

    /// The sentences to begin filling from: the nearest phrases, then the answer's.
    fn starts(&self, answer: Option<&Sentence>) -> Vec<Sentence> {
        let mut starts: Vec<Sentence> = Vec::new();
        for (sentence, _) in self.by_distance() {
            let is_new = starts.iter().all(|start| start.phrase != sentence.phrase);
            if is_new && starts.len() < NEAREST_PHRASES {
                starts.push(sentence.clone());
            }
        }
        let is_new = |answer: &&Sentence| starts.iter().all(|s| s.phrase != answer.phrase);
        starts.extend(answer.filter(is_new).cloned());
        starts
    }

    /// Nearest first; by sentence where distances are equal, so that the same audio always gives
    /// the same answer.
    fn by_distance(&self) -> Vec<(&Sentence, f32)> {
        let mut sorted: Vec<(&Sentence, f32)> = self.tried.iter().map(|(s, d)| (s, *d)).collect();
        sorted.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(b.0)));
        sorted
    }

    fn least(&self) -> f32 {
        self.tried.values().copied().fold(f32::INFINITY, f32::min)
    }

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
        let mut least = self.least();
        new.truncate(TRIALS_MAX.saturating_sub(self.tried.len()));
        for (sentence, template) in new.iter().zip(self.templates.of(&new)?) {
            let far = least * FAR_SHARE;
            let apart = distance(self.heard, &template, far).unwrap_or(f32::INFINITY);
            least = least.min(apart);
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

    fn verdict(&self) -> Opinion {
        let sorted = self.by_distance();
        let Some(&(best, least)) = sorted.first() else {
            return Opinion::Unclear(f32::INFINITY);
        };
        if least >= CLEAR_DISTANCE {
            return Opinion::Unclear(least);
        }
        Opinion::Clear(best.clone(), least)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::phrase_book::{Language, PhraseBook};
    use crate::speech::{Voice, speak};

    const RATE_HZ: u32 = 16_000;

    fn voices(book: &Arc<PhraseBook>) -> Vec<Templates> {
        ["fr", "fr+f2"]
            .map(|voice| Templates::new(Arc::clone(book), Language::French, voice))
            .into()
    }

    fn said(text: &str, voice: &str) -> Vec<i16> {
        let voice = Voice::by_id(voice).expect("offered");
        speak(text, voice, RATE_HZ).expect("espeak-ng is installed")
    }

    /// Goal: the right values are found whatever PocketSphinx says. Method: a sentence with two
    /// slots in both voices, with no answer, a near one and one of another phrase.
    #[test]
    fn the_sentence_is_found_from_any_answer() {
        let book = Arc::new(PhraseBook::built_in());
        let voices = voices(&book);
        let sentence = |text| book.find(text, Language::French).expect("in the book");
        let text = "Je vous rappellerai jeudi à six heures et demie.";
        let right = sentence(text);
        let answers = [
            None,
            Some(sentence(
                "Je vous rappellerai demain à dix heures et demie.",
            )),
            Some(sentence("Ma commande n'est pas encore arrivée.")),
        ];
        for voice in ["offline-fr-espeak", "offline-fr-espeak-f"] {
            for answer in &answers {
                let found = opinion(&voices, &said(text, voice), RATE_HZ, answer.as_ref());
                let Opinion::Clear(found, apart) = found.expect("voice") else {
                    panic!("{voice} after {answer:?} is unclear");
                };
                assert_eq!(found, right, "{voice} after {answer:?}");
                assert!(apart < CLEAR_DISTANCE);
            }
        }
    }

    /// Goal: what the templates do not hold is left to PocketSphinx. Method: another sentence of
    /// the same voice, another language's voice, noise, silence, nothing; and no templates at all.
    #[test]
    fn anything_else_is_unclear() {
        let book = Arc::new(PhraseBook::built_in());
        let voices = voices(&book);
        let answer = book.sentence(0, |_, _| 0);
        let mut random = fastrand::Rng::with_seed(7);
        let noise: Vec<i16> = (0..32_000).map(|_| random.i16(..)).collect();
        let others = [
            said(
                "Le facteur est passé plus tôt que d'habitude.",
                "offline-fr-espeak",
            ),
            said("Hello, how are you today?", "offline-en-slt"),
            noise,
            vec![0; 32_000],
            Vec::new(),
        ];
        for (index, other) in others.iter().enumerate() {
            for answer in [None, Some(&answer)] {
                let made = opinion(&voices, other, RATE_HZ, answer).expect("voice");
                assert!(matches!(made, Opinion::Unclear(_)), "{index}: {made:?}");
            }
        }
        let made = opinion(&[], &others[0], RATE_HZ, Some(&answer)).expect("nothing to speak");
        assert_eq!(made, Opinion::Unclear(f32::INFINITY));
    }
}
