//! From the phrase book to what the decoder listens for: a JSGF grammar and its pronunciations.
//!
//! A spoken word is a dictionary word in English. In French it is what espeak-ng speaks as one
//! word, named `w1`, `w2` and so on by its sound: liaison makes it differ from the written word.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;

use crate::phonemes::{pronunciations, spoken_words};
use crate::phrase_book::{Language, Part, PhraseBook};
use crate::pocketsphinx::{MODEL_FOLDER, MODEL_REMEDY};
use crate::words::{normalised, words};

/// One language's grammar with the spoken words of each text of the book.
#[derive(Clone, Debug)]
pub struct Grammar {
    /// The grammar in JSGF.
    pub jsgf: String,
    /// `(spoken word, phones)`; further pronunciations are named `word(2)`, `word(3)` and so on.
    pub pronunciations: Vec<(String, String)>,
    /// Spoken words by normalised text (a phrase's fixed part or a slot's value).
    spoken_by_text: BTreeMap<String, Vec<String>>,
    /// Every spoken word.
    known: HashSet<String>,
}

impl Grammar {
    /// Builds the grammar of `language`.
    ///
    /// # Errors
    /// A plain line with the remedy when espeak-ng or the English dictionary is missing.
    pub fn new(book: &PhraseBook, language: Language) -> Result<Self, String> {
        let fixed = fixed_texts(book, language);
        let (spoken_by_text, pronunciations) = match language {
            Language::English => english(&fixed)?,
            Language::French => french(&fixed)?,
        };
        let jsgf = jsgf(book, language, &spoken_by_text);
        let known = spoken_by_text.values().flatten().cloned().collect();
        Ok(Self {
            jsgf,
            pronunciations,
            spoken_by_text,
            known,
        })
    }

    /// The spoken words of a part of a phrase; empty for one without words.
    pub fn spoken(&self, text: &str) -> &[String] {
        self.spoken_by_text
            .get(&normalised(text))
            .map_or(&[], Vec::as_slice)
    }

    /// The spoken word a word of the decoder's answer is; `None` for silence and noise.
    pub fn spoken_word<'a>(&self, answer: &'a str) -> Option<&'a str> {
        let base = answer.split_once('(').map_or(answer, |(base, _)| base);
        self.known.contains(base).then_some(base)
    }
}

/// Spoken words by text, and their pronunciations.
type Spoken = (BTreeMap<String, Vec<String>>, Vec<(String, String)>);

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

fn english(fixed: &[String]) -> Result<Spoken, String> {
    let spoken_by_text: BTreeMap<_, _> = fixed
        .iter()
        .map(|text| (text.clone(), words(text)))
        .collect();
    let wanted: HashSet<&String> = spoken_by_text.values().flatten().collect();
    let path = format!("{MODEL_FOLDER}/cmudict-en-us.dict");
    let dictionary = fs::read_to_string(&path)
        .map_err(|error| format!("{path}: {error}; remedy: {MODEL_REMEDY}"))?;
    let (mut found, mut list) = (HashSet::new(), Vec::new());
    for line in dictionary.lines() {
        let Some((word, phones)) = line.split_once(' ') else {
            continue;
        };
        let base = word
            .split_once('(')
            .map_or(word, |(base, _)| base)
            .to_owned();
        if wanted.contains(&base) {
            list.push((word.to_owned(), phones.to_owned()));
            found.insert(base);
        }
    }
    let mut unknown: Vec<String> = wanted
        .into_iter()
        .filter(|word| !found.contains(*word))
        .cloned()
        .collect();
    unknown.sort();
    if !unknown.is_empty() {
        for (word, sounds) in unknown
            .iter()
            .zip(spoken_words(&unknown, Language::English)?)
        {
            add_pronunciations(&mut list, word, &sounds.concat());
        }
    }
    Ok((spoken_by_text, list))
}

fn french(fixed: &[String]) -> Result<Spoken, String> {
    let (mut spoken_by_text, mut list) = (BTreeMap::new(), Vec::new());
    // Spoken words by sound; `None` for one without a sound the model knows.
    let mut by_sound: HashMap<String, Option<String>> = HashMap::new();
    for (text, sounds) in fixed.iter().zip(spoken_words(fixed, Language::French)?) {
        let mut spoken = Vec::new();
        for sound in sounds {
            let name = format!("w{}", by_sound.len() + 1);
            let word = by_sound.entry(sound).or_insert_with_key(|sound| {
                add_pronunciations(&mut list, &name, sound).then_some(name)
            });
            spoken.extend(word.clone());
        }
        if spoken.is_empty() {
            return Err(format!("espeak-ng says nothing for \"{text}\""));
        }
        spoken_by_text.insert(text.clone(), spoken);
    }
    Ok((spoken_by_text, list))
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

fn jsgf(book: &PhraseBook, language: Language, spoken: &BTreeMap<String, Vec<String>>) -> String {
    let said = |text: &str| {
        spoken
            .get(&normalised(text))
            .map_or_else(String::new, |s| s.join(" "))
    };
    let mut jsgf = String::from("#JSGF V1.0;\ngrammar book;\n");
    let mut used: Vec<usize> = Vec::new();
    let mut alternatives = Vec::new();
    for phrase in 0..book.phrases_count() {
        let mut line = String::new();
        for part in book.parts(phrase, language) {
            match part {
                Part::Text(text) => line.push_str(&said(text)),
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
        let values: Vec<String> = book.slots()[slot].values(language).map(said).collect();
        let _ = writeln!(jsgf, "<s{slot}> = {};", values.join(" | "));
    }
    let _ = writeln!(jsgf, "public <phrase> = {};", alternatives.join("\n | "));
    jsgf
}
