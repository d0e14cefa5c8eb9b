//! Goal: how well the ears hear what other tests do not say. Method: phrases by halves (parameters
//! are chosen on the even ones, judged on the odd ones), several slot fillings, speeds, levels and
//! leading silences, spoken by espeak-ng itself rather than through the crate. It takes minutes:
//! `SURVEY_SET=odd cargo test --release -p offline-vendors --test survey -- --ignored --nocapture`.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use audio_codec_algorithms::{decode_ulaw, encode_ulaw};
use offline_vendors::listening::{Event, Interims, Listening, ListeningOptions};
use offline_vendors::phrase_book::{Language, PhraseBook, Sentence};
use offline_vendors::recognizer::{Heard, Recognizer};
use offline_vendors::resample::Resampler;

/// One sentence, said in one way.
struct Case {
    sentence: Option<Sentence>,
    text: String,
    voice: String,
    words_per_minute: u32,
    gain: f32,
    lead_samples: usize,
    is_narrow: bool,
}

fn spoken(case: &Case) -> Vec<i16> {
    let speed = case.words_per_minute.to_string();
    let output = Command::new("espeak-ng")
        .args([
            "-v",
            &case.voice,
            "-s",
            &speed,
            "--stdout",
            "--",
            &case.text,
        ])
        .output()
        .expect("espeak-ng is installed");
    let samples: Vec<i16> = output.stdout[44..]
        .chunks_exact(2)
        .map(|pair| (f32::from(i16::from_le_bytes([pair[0], pair[1]])) * case.gain) as i16)
        .collect();
    if !case.is_narrow {
        return Resampler::convert(&samples, 22_050, 16_000);
    }
    let narrow = Resampler::convert(&samples, 22_050, 8000);
    let line: Vec<i16> = narrow
        .into_iter()
        .map(|s| decode_ulaw(encode_ulaw(s)))
        .collect();
    Resampler::convert(&line, 8000, 16_000)
}

fn heard(recognizer: &Arc<Recognizer>, case: &Case) -> Vec<Heard> {
    let options = ListeningOptions {
        endpointing_ms: Some(300),
        utterance_end_ms: None,
        interims: Interims::Off,
    };
    let samples = [vec![0; case.lead_samples], spoken(case), vec![0; 16_000]].concat();
    let mut listening = Listening::new(Arc::clone(recognizer), options);
    let events = listening.push(&samples).expect("decoder");
    events
        .into_iter()
        .filter_map(|event| match event {
            Event::Final { heard, .. } => Some(heard),
            _ => None,
        })
        .collect()
}

fn cases(book: &PhraseBook, voice: &str, is_narrow: bool) -> Vec<Case> {
    let half = usize::from(std::env::var("SURVEY_SET").is_ok_and(|set| set == "odd"));
    let mut cases = Vec::new();
    for phrase in (half..book.phrases_count()).step_by(2) {
        let mut said: Vec<Sentence> = Vec::new();
        for (n, offset) in [0, 1, 2, 5, 7, 11, 13, 17, 19, 23, 29]
            .into_iter()
            .enumerate()
        {
            let sentence = book.sentence(phrase, |name, count| {
                (phrase * 7 + 3 + offset * name.len()) % count
            });
            // A phrase without slots is said in two ways only.
            if said.contains(&sentence) && n > 1 {
                continue;
            }
            said.push(sentence.clone());
            cases.push(Case {
                text: book.text(&sentence, Language::French),
                sentence: Some(sentence),
                voice: voice.to_owned(),
                words_per_minute: [175, 160, 168, 175, 165, 172][n % 6],
                gain: [1.0, 0.7, 0.85, 1.1, 0.8, 0.9][n % 6],
                lead_samples: [8000, 3000, 12_345, 5000, 20_000, 9_999][n % 6],
                is_narrow,
            });
        }
    }
    cases
}

fn survey(recognizer: &Arc<Recognizer>, name: &str, cases: Vec<Case>) {
    let (total, begun) = (cases.len(), Instant::now());
    let todo = Mutex::new(cases);
    let counts = Mutex::new([0_usize; 3]);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(case) = todo.lock().expect("lock").pop() else {
                        break;
                    };
                    let finals = heard(recognizer, &case);
                    let understood: Vec<&Sentence> = finals
                        .iter()
                        .filter_map(|h| Some(&h.phrase()?.sentence))
                        .collect();
                    let is_right = match &case.sentence {
                        Some(sentence) => understood == [sentence],
                        None => understood.is_empty(),
                    };
                    let outcome = match (is_right, understood.is_empty()) {
                        (true, _) => 0,
                        (false, true) => 1,
                        (false, false) => 2,
                    };
                    counts.lock().expect("lock")[outcome] += 1;
                    if !is_right {
                        let texts: Vec<_> = finals
                            .iter()
                            .map(|h| match h {
                                Heard::Phrase(p) => format!("{} ({:.1})", p.text, p.score),
                                Heard::OutOfBook(near) => format!("refused {near:?}"),
                            })
                            .collect();
                        println!(
                            "  {name} s{} {:?}: {texts:?}",
                            case.words_per_minute, case.text
                        );
                    }
                }
            });
        }
    });
    let [right, refused, wrong] = *counts.lock().expect("lock");
    let each = begun.elapsed().as_secs_f32() / total as f32;
    println!("SURVEY {name}: {right}/{total} right, {refused} refused, {wrong} wrong, {each:.3} s");
}

/// Sentences no book holds, some near to the book's.
const OUT_OF_BOOK: [&str; 30] = [
    "Le facteur est passé plus tôt que d'habitude.",
    "Je voudrais acheter une voiture rouge demain.",
    "Le musée ferme ses portes dans dix minutes.",
    "Il y a trois pommes dans le panier.",
    "Mon frère travaille à Paris depuis longtemps.",
    "Je cherche un appartement près de la gare.",
    "Nous avons mangé une très bonne soupe.",
    "La réunion était vraiment trop longue.",
    "Pouvez-vous fermer la fenêtre ?",
    "Le train de huit heures est en panne.",
    "Combien de frères avez-vous ?",
    "Quel temps fera-t-il dimanche ?",
    "Je préfère le thé vert au café.",
    "Les vacances commencent bientôt.",
    "Elle a perdu ses clés dans le métro.",
    "Oui, pourquoi pas.",
    "Non, jamais de la vie.",
    "C'est une histoire très triste.",
    "Le médecin habite au troisième étage.",
    "Ma voiture ne démarre pas ce matin.",
    "Quand partez-vous en voyage ?",
    "Où sont passées mes lunettes ?",
    "Il manque du sel dans cette soupe.",
    "Je suis fatigué, je vais dormir.",
    "On se retrouve devant le cinéma.",
    "Le gâteau est prêt à sortir du four.",
    "Appelez votre mère de temps en temps.",
    "Tout le monde connaît cette chanson.",
    "Merci pour le cadeau.",
    "Votre chien est adorable.",
];

/// Wall time of whole decisions, one after another.
fn time_decisions(recognizer: &Arc<Recognizer>, cases: &[Case]) {
    let mut milliseconds: Vec<u128> = cases
        .iter()
        .step_by(4)
        .map(|case| {
            let samples = spoken(case);
            let begun = Instant::now();
            recognizer.recognize(&samples).expect("decoder");
            begun.elapsed().as_millis()
        })
        .collect();
    milliseconds.sort_unstable();
    let middle = milliseconds[milliseconds.len() / 2];
    println!("SURVEY decisions: median {middle} ms, all {milliseconds:?}");
}

#[test]
#[ignore = "takes minutes; for choosing and judging parameters"]
fn french_out_of_book_survey() {
    let book = Arc::new(PhraseBook::built_in());
    let recognizer = Arc::new(Recognizer::new(book, Language::French, 2).expect("installed"));
    let voices = std::env::var("SURVEY_VOICES").unwrap_or_else(|_| "fr,fr+f2".to_owned());
    for voice in voices.split(',') {
        let both = [false, true].into_iter().flat_map(|is_narrow| {
            OUT_OF_BOOK.into_iter().map(move |text| Case {
                sentence: None,
                text: text.to_owned(),
                voice: voice.to_owned(),
                words_per_minute: 170,
                gain: 0.9,
                lead_samples: 6000,
                is_narrow,
            })
        });
        survey(&recognizer, &format!("{voice} out of book"), both.collect());
    }
}

#[test]
#[ignore = "takes minutes; for choosing and judging parameters"]
fn french_survey() {
    let book = Arc::new(PhraseBook::built_in());
    let recognizer =
        Arc::new(Recognizer::new(Arc::clone(&book), Language::French, 2).expect("installed"));
    let begun = Instant::now();
    recognizer.warm().expect("voice");
    println!("SURVEY templates ready after {:?}", begun.elapsed());
    time_decisions(&recognizer, &cases(&book, "fr", true));
    let voices = std::env::var("SURVEY_VOICES").unwrap_or_else(|_| "fr,fr+f2".to_owned());
    for voice in voices.split(',') {
        for is_narrow in [false, true] {
            let line = if is_narrow { "telephone" } else { "wide" };
            survey(
                &recognizer,
                &format!("{voice} {line}"),
                cases(&book, voice, is_narrow),
            );
        }
    }
}
