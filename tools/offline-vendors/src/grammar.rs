//! From the phrase book to what the decoder listens for: a JSGF grammar and its pronunciations.
//!
//! English words are dictionary words. A French text is cut into the words espeak-ng speaks, named by
//! text and place (`t12_0`), because liaison makes them differ from the written words.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;

use crate::phonemes::{pronunciations, spoken_words};
use crate::phrase_book::{Language, Part, PhraseBook};
use crate::pocketsphinx::{MODEL_FOLDER, MODEL_REMEDY};
use crate::words::{normalised, words};

/// One language's grammar with the way back from its words to text.
#[derive(Clone, Debug)]
pub struct Grammar {
    /// The grammar in JSGF.
    pub jsgf: String,
    /// `(word, phones)`; further pronunciations are named `word(2)`, `word(3)` and so on.
    pub pronunciations: Vec<(String, String)>,
    /// The text each grammar word stands for; empty for the later words of a French text.
    texts: HashMap<String, String>,
}

impl Grammar {
    /// Builds the grammar of `language`.
    ///
    /// # Errors
    /// A plain line with the remedy when espeak-ng or the English dictionary is missing.
    pub fn new(book: &PhraseBook, language: Language) -> Result<Self, String> {
        let fixed = fixed_texts(book, language);
        let mut grammar = match language {
            Language::English => english(&fixed)?,
            Language::French => french(&fixed)?,
        };
        grammar.jsgf = jsgf(book, language, &grammar.jsgf_by_text);
        Ok(Self {
            jsgf: grammar.jsgf,
            pronunciations: grammar.pronunciations,
            texts: grammar.texts,
        })
    }

    /// The text a word of the decoder's answer stands for; `None` for silence and noise words.
    pub fn text_of(&self, word: &str) -> Option<&str> {
        let base = word.split_once('(').map_or(word, |(base, _)| base);
        self.texts.get(base).map(String::as_str)
    }
}

#[derive(Default)]
struct Draft {
    jsgf: String,
    pronunciations: Vec<(String, String)>,
    texts: HashMap<String, String>,
    /// Each fixed text in grammar words.
    jsgf_by_text: BTreeMap<String, String>,
}

/// Every distinct fixed text and slot value, normalised and sorted.
fn fixed_texts(book: &PhraseBook, language: Language) -> Vec<String> {
    let mut texts = HashSet::new();
    for phrase in 0..book.phrases_count() {
        for part in book.parts(phrase, language) {
            match part {
                Part::Text(text) => drop(texts.insert(normalised(text))),
                Part::Slot(slot) => {
                    texts.extend(book.slots()[*slot].values(language).map(normalised));
                }
            }
        }
    }
    let mut texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    texts.sort();
    texts
}

fn english(fixed: &[String]) -> Result<Draft, String> {
    let mut draft = Draft::default();
    for text in fixed {
        draft.jsgf_by_text.insert(text.clone(), text.clone());
        draft
            .texts
            .extend(words(text).into_iter().map(|word| (word.clone(), word)));
    }
    let path = format!("{MODEL_FOLDER}/cmudict-en-us.dict");
    let dictionary = fs::read_to_string(&path)
        .map_err(|error| format!("{path}: {error}; remedy: {MODEL_REMEDY}"))?;
    let mut known = HashSet::new();
    for line in dictionary.lines() {
        let Some((word, phones)) = line.split_once(' ') else {
            continue;
        };
        let base = word.split_once('(').map_or(word, |(base, _)| base);
        if draft.texts.contains_key(base) {
            known.insert(base.to_owned());
            draft
                .pronunciations
                .push((word.to_owned(), phones.to_owned()));
        }
    }
    let mut unknown: Vec<String> = draft
        .texts
        .keys()
        .filter(|word| !known.contains(*word))
        .cloned()
        .collect();
    unknown.sort();
    if !unknown.is_empty() {
        for (word, spoken) in unknown
            .iter()
            .zip(spoken_words(&unknown, Language::English)?)
        {
            add_pronunciations(&mut draft.pronunciations, word, &spoken.concat());
        }
    }
    Ok(draft)
}

fn french(fixed: &[String]) -> Result<Draft, String> {
    let mut draft = Draft::default();
    for (index, (text, spoken)) in fixed
        .iter()
        .zip(spoken_words(fixed, Language::French)?)
        .enumerate()
    {
        let mut names = Vec::new();
        for phonemes in &spoken {
            let name = format!("t{index}_{}", names.len());
            if add_pronunciations(&mut draft.pronunciations, &name, phonemes) {
                let first_text = if names.is_empty() {
                    text.clone()
                } else {
                    String::new()
                };
                draft.texts.insert(name.clone(), first_text);
                names.push(name);
            }
        }
        if names.is_empty() {
            return Err(format!("espeak-ng says nothing for \"{text}\""));
        }
        draft.jsgf_by_text.insert(text.clone(), names.join(" "));
    }
    Ok(draft)
}

/// Adds every pronunciation of a word; `false` when it has none.
fn add_pronunciations(list: &mut Vec<(String, String)>, word: &str, phonemes: &str) -> bool {
    let made = pronunciations(phonemes);
    let is_sounded = !made.is_empty();
    for (index, phones) in made.into_iter().enumerate() {
        let name = if index == 0 {
            word.to_owned()
        } else {
            format!("{word}({})", index + 1)
        };
        list.push((name, phones));
    }
    is_sounded
}

fn jsgf(book: &PhraseBook, language: Language, by_text: &BTreeMap<String, String>) -> String {
    let said = |text: &str| by_text.get(&normalised(text)).map_or("", String::as_str);
    let mut jsgf = String::from("#JSGF V1.0;\ngrammar book;\n");
    let mut used: Vec<usize> = Vec::new();
    let mut alternatives = Vec::new();
    for phrase in 0..book.phrases_count() {
        let mut line = String::new();
        for part in book.parts(phrase, language) {
            match part {
                Part::Text(text) => line.push_str(said(text)),
                Part::Slot(slot) => {
                    used.push(*slot);
                    // Writing to a String cannot fail.
                    let _ = write!(line, " <s{slot}> ");
                }
            }
        }
        alternatives.push(line.trim().to_owned());
    }
    used.sort_unstable();
    used.dedup();
    for slot in used {
        let values: Vec<&str> = book.slots()[slot].values(language).map(said).collect();
        let _ = writeln!(jsgf, "<s{slot}> = {};", values.join(" | "));
    }
    let _ = writeln!(jsgf, "public <phrase> = {};", alternatives.join("\n | "));
    jsgf
}
