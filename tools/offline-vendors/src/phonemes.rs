//! Pronunciations for the English acoustic model, made from espeak-ng's phonemes.
//!
//! A phoneme the model lacks maps to its nearest English phones, with alternatives; the recogniser
//! picks whichever fits the audio. espeak-ng is GPL: it is run as a process, never linked.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use crate::phrase_book::Language;

/// Most alternatives kept for one word: each costs search time.
const ALTERNATIVES_MAX: usize = 12;

/// The phonemes of each text, grouped as espeak-ng groups them into spoken words.
///
/// `texts` hold words only (no punctuation, no line ends): each is spoken alone.
///
/// # Errors
/// A plain line with the remedy when espeak-ng is missing, or what it did wrong.
pub fn spoken_words(texts: &[String], language: Language) -> Result<Vec<Vec<String>>, String> {
    let voice = match language {
        Language::English => "en-us",
        Language::French => "fr",
    };
    let mut child = Command::new("espeak-ng")
        .args(["-q", "--ipa", "-v", voice, "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("espeak-ng: {error}; remedy: apt-get install -y espeak-ng"))?;
    let mut input = child.stdin.take().ok_or("espeak-ng has no input")?;
    // A blank line ends a text: without it espeak-ng would join lines into one clause.
    let lines = texts.join("\n\n");
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child
        .wait_with_output()
        .map_err(|error| format!("espeak-ng: {error}"))?;
    let written = writer.join().is_ok_and(|written| written.is_ok());
    let spoken: Vec<Vec<String>> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            line.split_whitespace()
                .map(plain_phonemes)
                .filter(|w| !w.is_empty())
                .collect()
        })
        .collect();
    if !written || !output.status.success() || spoken.len() != texts.len() {
        return Err(format!(
            "espeak-ng spoke {} of {} texts in {voice}; remedy: apt-get install -y espeak-ng",
            spoken.len(),
            texts.len()
        ));
    }
    Ok(spoken)
}

/// Pronunciations of one spoken word in the model's phones, likeliest first; empty if it is silent.
pub fn pronunciations(phonemes: &str) -> Vec<String> {
    let mut made: Vec<Vec<&str>> = vec![Vec::new()];
    let mut rest = phonemes;
    while !rest.is_empty() {
        let Some((symbol, alternatives)) = NEAREST_PHONES
            .iter()
            .find(|(symbol, _)| rest.starts_with(symbol))
        else {
            // A mark we do not know (tone, tie) is skipped rather than guessed.
            rest = &rest[rest.chars().next().map_or(1, char::len_utf8)..];
            continue;
        };
        made = made
            .iter()
            .flat_map(|start| {
                alternatives.iter().map(move |phones| {
                    start
                        .iter()
                        .copied()
                        .chain(phones.split(' ').filter(|p| !p.is_empty()))
                        .collect()
                })
            })
            .take(ALTERNATIVES_MAX)
            .collect();
        rest = &rest[symbol.len()..];
    }
    let mut texts: Vec<String> = Vec::new();
    for text in made.iter().map(|phones| phones.join(" ")) {
        if !text.is_empty() && !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// Stress, length and language marks say nothing the acoustic model knows.
fn plain_phonemes(word: &str) -> String {
    let mut plain = String::new();
    let mut is_in_mark = false;
    for c in word.chars() {
        match c {
            '(' => is_in_mark = true,
            ')' => is_in_mark = false,
            'ˈ' | 'ˌ' | 'ː' | '‿' | 'ˑ' | '-' => {}
            c if !is_in_mark => plain.push(c),
            _ => {}
        }
    }
    plain
}

/// espeak-ng's symbol to the model's phones, longer symbols first; several are alternatives.
///
/// French nasal vowels become the vowel with or without N; the French R a sounded R, a breath, or
/// nothing.
const NEAREST_PHONES: [(&str, &[&str]); 69] = [
    ("ɑ̃", &["AA N", "AA"]),
    ("ɔ̃", &["OW N", "AO"]),
    ("ɛ̃", &["AE N", "AE"]),
    ("œ̃", &["AH N", "AH"]),
    ("tʃ", &["CH"]),
    ("dʒ", &["JH"]),
    ("aɪə", &["AY AH"]),
    ("aɪ", &["AY"]),
    ("aʊ", &["AW"]),
    ("eɪ", &["EY"]),
    ("oʊ", &["OW"]),
    ("əʊ", &["OW"]),
    ("ɔɪ", &["OY"]),
    ("iə", &["IY AH"]),
    ("əl", &["AH L"]),
    ("a", &["AA", "AE"]),
    ("æ", &["AE"]),
    ("ɑ", &["AA"]),
    ("ɐ", &["AH"]),
    ("ʌ", &["AH"]),
    ("ɒ", &["AA"]),
    ("ɛ", &["EH"]),
    ("e", &["EY", "IY"]),
    ("ə", &["AH"]),
    ("ɚ", &["ER"]),
    ("ɜ", &["ER"]),
    ("ᵻ", &["IH"]),
    ("ɪ", &["IH"]),
    ("i", &["IY"]),
    ("o", &["OW"]),
    ("ɔ", &["AO"]),
    ("u", &["UW"]),
    ("ʊ", &["UH"]),
    ("y", &["UW", "IY"]),
    ("ø", &["UH", "ER"]),
    ("œ", &["AH", "ER"]),
    ("j", &["Y"]),
    ("w", &["W"]),
    ("ɥ", &["W"]),
    ("p", &["P"]),
    ("b", &["B"]),
    ("t", &["T"]),
    ("ɾ", &["T", "D"]),
    ("d", &["D"]),
    ("k", &["K"]),
    ("ɡ", &["G"]),
    ("g", &["G"]),
    ("f", &["F"]),
    ("v", &["V"]),
    ("θ", &["TH"]),
    ("ð", &["DH"]),
    ("s", &["S"]),
    ("z", &["Z"]),
    ("ʃ", &["SH"]),
    ("ʒ", &["ZH"]),
    ("m", &["M"]),
    ("n", &["N"]),
    ("ɲ", &["N Y"]),
    ("ŋ", &["NG"]),
    ("l", &["L"]),
    ("ɫ", &["L"]),
    ("ɹ", &["R"]),
    ("ʁ", &["R", "HH", ""]),
    ("r", &["R", "HH", ""]),
    ("x", &["HH"]),
    ("h", &["HH"]),
    ("ʔ", &["T"]),
    ("c", &["K"]),
    ("q", &["K"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the mapping keeps the likeliest reading first and stays bounded. Method: known words.
    #[test]
    fn french_phonemes_map_to_english_phones() {
        assert_eq!(pronunciations("dø"), ["D UH", "D ER"]);
        assert_eq!(pronunciations("bɔ̃"), ["B OW N", "B AO"]);
        assert_eq!(pronunciations("ʁ"), ["R", "HH"]);
        assert!(pronunciations("").is_empty());
        assert!(pronunciations("ʁeʁeʁeʁeʁe").len() <= ALTERNATIVES_MAX);
    }

    /// Goal: one answer per text, in order. Method: two texts through the real espeak-ng.
    #[test]
    fn espeak_answers_each_text() {
        let texts = ["dix".to_owned(), "dix personnes".to_owned()];
        let spoken = spoken_words(&texts, Language::French).expect("espeak-ng is installed");
        assert_eq!(
            spoken,
            [
                vec!["dis".to_owned()],
                vec!["di".to_owned(), "pɛʁsɔn".to_owned()]
            ]
        );
    }
}
