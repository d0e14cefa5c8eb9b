//! The phrase book: sentences with slots in two languages, parsed from one TOML file.
//!
//! It answers two questions: which phrase is this text, and how is that phrase said in the other
//! language. It refuses a book that is ambiguous, unbalanced or too big; it never guesses a phrase.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;

use crate::words::{capitalised, normalised, words};

/// The book compiled into the program.
pub const BUILT_IN: &str = include_str!("../phrase-book.toml");

/// Most phrases a book may hold: keeps the grammar's search inside a core's real time.
pub const PHRASES_MAX: usize = 500;
/// Most values a slot may hold, those made with `each` included.
pub const SLOT_VALUES_MAX: usize = 200;
/// Largest book file accepted, in bytes.
pub const BOOK_BYTES_MAX: usize = 1 << 20;
/// The only layout of the file this program reads.
const BOOK_VERSION: u32 = 1;

/// A language of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// English.
    English,
    /// French.
    French,
}

impl Language {
    /// Both languages.
    pub const ALL: [Self; 2] = [Self::English, Self::French];

    /// The ISO 639-1 code: `en` or `fr`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }

    /// Reads `en`, `fr` or either with a region (`en-GB`, `fr_CA`), in any case.
    pub fn from_code(code: &str) -> Option<Self> {
        let code = code.to_ascii_lowercase();
        Self::ALL.into_iter().find(|language| {
            code.strip_prefix(language.code())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
        })
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// Why a book was refused; the text names the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookError(String);

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "phrase book: {}", self.0)
    }
}

impl std::error::Error for BookError {}

/// A stretch of one phrase in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Fixed text, as displayed.
    Text(String),
    /// One value of the slot with this index.
    Slot(usize),
}

/// A named list of interchangeable values.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The name phrases use in braces.
    pub name: String,
    /// Display text of each value by language; never empty.
    values: Vec<[String; 2]>,
}

impl Slot {
    /// Display texts of all values in `language`.
    pub fn values(&self, language: Language) -> impl Iterator<Item = &str> {
        self.values
            .iter()
            .map(move |pair| pair[language.index()].as_str())
    }
}

#[derive(Clone, Debug)]
struct Phrase {
    /// As written in the file, by language.
    template: [String; 2],
    parts: [Vec<Part>; 2],
}

/// A sentence of the book with its slots filled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sentence {
    /// Index of the phrase, `< PhraseBook::phrases_count()`.
    pub phrase: usize,
    /// `(slot index, value index)` for each slot of the phrase.
    pub values: Vec<(usize, usize)>,
}

/// A checked phrase book.
#[derive(Clone, Debug)]
pub struct PhraseBook {
    slots: Vec<Slot>,
    phrases: Vec<Phrase>,
}

impl PhraseBook {
    /// Reads and checks a book.
    ///
    /// # Errors
    /// [`BookError`] names the entry: bad TOML, unknown slot, a slot on one side only, a phrase
    /// twice, a phrase that begins another, or more than a bound allows.
    pub fn parse(toml_text: &str) -> Result<Self, BookError> {
        if toml_text.len() > BOOK_BYTES_MAX {
            return Err(BookError(format!("larger than {BOOK_BYTES_MAX} bytes")));
        }
        let raw: RawBook =
            toml::from_str(toml_text).map_err(|error| BookError(error.to_string()))?;
        if raw.version != BOOK_VERSION {
            return Err(BookError(format!(
                "version {} is not {BOOK_VERSION}",
                raw.version
            )));
        }
        let slots = read_slots(&raw.slot)?;
        let phrases = raw
            .phrase
            .iter()
            .map(|phrase| read_phrase(phrase, &slots))
            .collect::<Result<Vec<_>, _>>()?;
        if phrases.is_empty() || phrases.len() > PHRASES_MAX {
            return Err(BookError(format!("needs 1 to {PHRASES_MAX} phrases")));
        }
        let book = Self { slots, phrases };
        book.check_no_phrase_begins_another()?;
        Ok(book)
    }

    /// The book compiled into the program.
    ///
    /// # Panics
    /// Never: a test reads it.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in book is checked by a test of this module")
    }

    /// How many phrases there are.
    pub fn phrases_count(&self) -> usize {
        self.phrases.len()
    }

    /// The slots, indexed as [`Part::Slot`] says.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The parts of a phrase; empty for an index past the end.
    pub fn parts(&self, phrase: usize, language: Language) -> &[Part] {
        self.phrases
            .get(phrase)
            .map_or(&[], |phrase| &phrase.parts[language.index()])
    }

    /// The phrase as written in the file, slots in braces.
    pub fn template(&self, phrase: usize, language: Language) -> &str {
        self.phrases
            .get(phrase)
            .map_or("", |phrase| &phrase.template[language.index()])
    }

    /// One sentence of `phrase`: `pick(slot name, number of values)` chooses each slot's value.
    ///
    /// A pick past the end means the last value.
    pub fn sentence(&self, phrase: usize, mut pick: impl FnMut(&str, usize) -> usize) -> Sentence {
        let mut values = Vec::new();
        for part in self.parts(phrase, Language::English) {
            if let Part::Slot(slot) = *part {
                let count = self.slots[slot].values.len();
                values.push((slot, pick(&self.slots[slot].name, count).min(count - 1)));
            }
        }
        Sentence { phrase, values }
    }

    /// Every phrase once, each slot with its first value.
    pub fn first_sentences(&self) -> Vec<Sentence> {
        (0..self.phrases.len())
            .map(|phrase| self.sentence(phrase, |_, _| 0))
            .collect()
    }

    /// The sentence this text is, whatever its case and punctuation.
    pub fn find(&self, text: &str, language: Language) -> Option<Sentence> {
        self.find_spoken(&words(text), language, words)
    }

    /// The sentence these words are, where `words_of` gives the words of each of its parts.
    pub fn find_spoken(
        &self,
        spoken: &[String],
        language: Language,
        words_of: impl Fn(&str) -> Vec<String>,
    ) -> Option<Sentence> {
        (0..self.phrases.len()).find_map(|phrase| {
            let mut values = Vec::new();
            self.matches(
                self.parts(phrase, language),
                spoken,
                language,
                &words_of,
                &mut values,
            )
            .then_some(Sentence { phrase, values })
        })
    }

    /// The texts of a sentence's parts in order, slots filled.
    pub fn part_texts<'a>(
        &'a self,
        sentence: &'a Sentence,
        language: Language,
    ) -> impl Iterator<Item = &'a str> {
        self.parts(sentence.phrase, language)
            .iter()
            .map(move |part| match part {
                Part::Text(fixed) => fixed.as_str(),
                Part::Slot(slot) => {
                    let chosen = sentence.values.iter().find(|(index, _)| index == slot);
                    let value = chosen.and_then(|&(_, value)| self.slots[*slot].values.get(value));
                    value.map_or("", |pair| &pair[language.index()])
                }
            })
    }

    /// The sentence as displayed in `language`.
    pub fn text(&self, sentence: &Sentence, language: Language) -> String {
        capitalised(&self.part_texts(sentence, language).collect::<String>())
    }

    /// Translates every sentence of `text`; `None` when one of them is not in the book.
    pub fn translate(&self, text: &str, from: Language, to: Language) -> Option<String> {
        if let Some(sentence) = self.find(text, from) {
            return Some(self.text(&sentence, to));
        }
        let pieces: Vec<&str> = text
            .split_inclusive(['.', '?', '!'])
            .filter(|piece| !normalised(piece).is_empty())
            .collect();
        if pieces.len() < 2 {
            return None;
        }
        let translated = pieces
            .iter()
            .map(|piece| Some(self.text(&self.find(piece, from)?, to)))
            .collect::<Option<Vec<_>>>()?;
        Some(translated.join(" "))
    }

    /// Whether `spoken` is exactly `parts`; on success `values` holds the slots in order.
    fn matches(
        &self,
        parts: &[Part],
        spoken: &[String],
        language: Language,
        words_of: &impl Fn(&str) -> Vec<String>,
        values: &mut Vec<(usize, usize)>,
    ) -> bool {
        let Some((first, rest)) = parts.split_first() else {
            return spoken.is_empty();
        };
        match first {
            Part::Text(fixed) => spoken
                .strip_prefix(words_of(fixed).as_slice())
                .is_some_and(|after| self.matches(rest, after, language, words_of, values)),
            Part::Slot(slot) => {
                for (index, pair) in self.slots[*slot].values.iter().enumerate() {
                    let value = words_of(&pair[language.index()]);
                    if let Some(after) = spoken.strip_prefix(value.as_slice()) {
                        values.push((*slot, index));
                        if self.matches(rest, after, language, words_of, values) {
                            return true;
                        }
                        values.pop();
                    }
                }
                false
            }
        }
    }

    /// A phrase that begins another could not be ended by silence alone.
    fn check_no_phrase_begins_another(&self) -> Result<(), BookError> {
        for language in Language::ALL {
            let mut spoken: Vec<(Vec<String>, usize)> = (0..self.phrases.len())
                .map(|phrase| {
                    let sentence = self.sentence(phrase, |_, _| 0);
                    (words(&self.text(&sentence, language)), phrase)
                })
                .collect();
            spoken.sort();
            for pair in spoken.windows(2) {
                if pair[1].0.starts_with(&pair[0].0) {
                    let names = [pair[0].1, pair[1].1].map(|index| self.template(index, language));
                    return Err(BookError(format!(
                        "\"{}\" begins \"{}\"",
                        names[0], names[1]
                    )));
                }
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBook {
    version: u32,
    #[serde(default)]
    slot: Vec<RawSlot>,
    phrase: Vec<RawPair>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSlot {
    name: String,
    #[serde(default)]
    values: Vec<RawPair>,
    #[serde(default)]
    each: Vec<RawEach>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPair {
    en: String,
    fr: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEach {
    slot: String,
    en: String,
    fr: String,
}

fn read_slots(raw: &[RawSlot]) -> Result<Vec<Slot>, BookError> {
    let mut slots: Vec<Slot> = Vec::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for entry in raw {
        let mut values: Vec<[String; 2]> = entry
            .values
            .iter()
            .map(|pair| [pair.en.clone(), pair.fr.clone()])
            .collect();
        for each in &entry.each {
            let base = by_name.get(&each.slot).ok_or_else(|| {
                BookError(format!(
                    "slot \"{}\" uses unknown slot \"{}\"",
                    entry.name, each.slot
                ))
            })?;
            values.extend(
                slots[*base]
                    .values
                    .iter()
                    .map(|[en, fr]| [each.en.replace("{}", en), each.fr.replace("{}", fr)]),
            );
        }
        if values.is_empty() || values.len() > SLOT_VALUES_MAX {
            return Err(BookError(format!(
                "slot \"{}\" needs 1 to {SLOT_VALUES_MAX} values",
                entry.name
            )));
        }
        if values.iter().flatten().any(|value| words(value).is_empty()) {
            return Err(BookError(format!(
                "slot \"{}\" has a value without words",
                entry.name
            )));
        }
        if by_name.insert(entry.name.clone(), slots.len()).is_some() {
            return Err(BookError(format!("slot \"{}\" is there twice", entry.name)));
        }
        slots.push(Slot {
            name: entry.name.clone(),
            values,
        });
    }
    Ok(slots)
}

fn read_phrase(raw: &RawPair, slots: &[Slot]) -> Result<Phrase, BookError> {
    let parts = [read_parts(&raw.en, slots)?, read_parts(&raw.fr, slots)?];
    let used = parts.each_ref().map(|parts| {
        let mut used: Vec<usize> = parts
            .iter()
            .filter_map(|part| match part {
                Part::Slot(slot) => Some(*slot),
                Part::Text(_) => None,
            })
            .collect();
        used.sort_unstable();
        used
    });
    if used[0] != used[1] || used[0].windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(BookError(format!(
            "\"{}\" and \"{}\" must use the same slots, each once",
            raw.en, raw.fr
        )));
    }
    if parts
        .iter()
        .any(|parts| !parts.iter().any(|part| matches!(part, Part::Text(_))))
    {
        return Err(BookError(format!("\"{}\" is only slots", raw.en)));
    }
    Ok(Phrase {
        template: [raw.en.clone(), raw.fr.clone()],
        parts,
    })
}

fn read_parts(template: &str, slots: &[Slot]) -> Result<Vec<Part>, BookError> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| BookError(format!("\"{template}\" has an open brace")))?;
        let slot = slots
            .iter()
            .position(|slot| slot.name == name)
            .ok_or_else(|| BookError(format!("\"{template}\" uses unknown slot \"{name}\"")))?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(Part::Slot(slot));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the built-in book is valid and as large as promised. Method: parse and count.
    #[test]
    fn built_in_book_holds_at_least_sixty_phrases() {
        assert!(PhraseBook::built_in().phrases_count() >= 60);
    }

    /// Goal: every phrase is found again from its own text and translates there and back.
    /// Method: fill the slots with several picks and compare displayed texts.
    #[test]
    fn every_phrase_translates_there_and_back() {
        let book = PhraseBook::built_in();
        for phrase in 0..book.phrases_count() {
            for pick in [0, 3, 1000] {
                let sentence = book.sentence(phrase, |_, _| pick);
                let [en, fr] = Language::ALL.map(|language| book.text(&sentence, language));
                assert_eq!(
                    book.translate(&en, Language::English, Language::French),
                    Some(fr.clone())
                );
                assert_eq!(
                    book.translate(&fr, Language::French, Language::English),
                    Some(en)
                );
            }
        }
    }

    /// Goal: display differences do not matter, other words do. Method: literal examples.
    #[test]
    fn case_and_punctuation_are_ignored_words_are_not() {
        let book = PhraseBook::built_in();
        let to_french = |text| book.translate(text, Language::English, Language::French);
        assert_eq!(
            to_french("YES OF COURSE!").as_deref(),
            Some("Oui, bien sûr.")
        );
        assert_eq!(
            to_french("i would like to book a table for three people on monday").as_deref(),
            Some("Je voudrais réserver une table pour trois personnes lundi.")
        );
        assert_eq!(
            to_french("Yes, of course. Do you speak French?").as_deref(),
            Some("Oui, bien sûr. Parlez-vous français ?")
        );
        assert_eq!(to_french("Yes, of coarse."), None);
        assert_eq!(to_french("Yes, of course. Anything else."), None);
        assert_eq!(to_french(""), None);
    }

    /// Goal: a faulty book is refused with its entry named. Method: one fault at a time.
    #[test]
    fn faulty_books_are_refused() {
        let faults = [
            ("version = 2\nphrase = []", "version"),
            ("version = 1\nphrase = []", "1 to"),
            (
                "version = 1\n[[phrase]]\nen = \"a {x}\"\nfr = \"b\"",
                "unknown slot",
            ),
            (
                "version = 1\n[[phrase]]\nen = \"a {x\"\nfr = \"b\"",
                "open brace",
            ),
            (
                "version = 1\nother = 1\n[[phrase]]\nen = \"a\"\nfr = \"b\"",
                "unknown field",
            ),
            (
                "version = 1\n[[phrase]]\nen = \"a\"\nfr = \"b\"\n\
                 [[phrase]]\nen = \"a c\"\nfr = \"d\"",
                "begins",
            ),
            (
                "version = 1\n[[slot]]\nname = \"x\"\nvalues = [{ en = \"1\", fr = \"1\" }]\n\
                 [[phrase]]\nen = \"a {x}\"\nfr = \"b\"",
                "same slots",
            ),
            (
                "version = 1\n[[slot]]\nname = \"x\"\n[[phrase]]\nen = \"a\"\nfr = \"b\"",
                "values",
            ),
        ];
        for (text, expected) in faults {
            let error = PhraseBook::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        }
    }
}
