//! The command line: serve, and the same ears, voice and book for use by hand and in tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use lexopt::prelude::{Long, Short, Value as Operand, ValueExt as _};
use serde_json::json;

use crate::listening::{Event, Interims, Listening, ListeningOptions};
use crate::phrase_book::{Language, PhraseBook};
use crate::pocketsphinx::MODEL_RATE_HZ;
use crate::recognizer::Recognizer;
use crate::resample::Resampler;
use crate::server::{DeeplHost, Server, ServerOptions, log_line};
use crate::speech::{VOICES, Voice, speak};

const HELP: &str = "\
offline-vendors: Deepgram, DeepL and ElevenLabs without an account, for the phrases of one book

  offline-vendors serve [--listen HOST:PORT] [--phrase-book FILE] [--recognizers N] [--streams N]
                        [--deepgram-key K] [--deepl-key K] [--deepl-free] [--elevenlabs-key K]
  offline-vendors speak --language en|fr [--voice ID] [--rate-hz 8000|16000] --out FILE.wav TEXT
  offline-vendors recognize --language en|fr [--json] [--phrase-book FILE] FILE.wav
  offline-vendors phrases [--language en|fr] [--json] [--phrase-book FILE]
  offline-vendors translate --from en|fr --to en|fr [--phrase-book FILE] TEXT
  offline-vendors voices

Exit status: 0 done, 1 not recognised or not in the book, 2 wrong usage or a missing engine.
";

/// Silence that parts utterances of a recording, in milliseconds.
const RECORDING_ENDPOINTING_MS: u32 = 300;
/// Silence appended to a recording so that its last utterance ends, in samples at 16 kHz (1 s).
const RECORDING_TAIL_SAMPLES: usize = 16_000;
/// Longest recording taken, in samples (one hour at 16 kHz).
const RECORDING_SAMPLES_MAX: usize = 3600 * 16_000;

/// How a command ended short of success.
enum Failure {
    /// Status 1: heard or asked, but not in the book.
    NotInBook,
    /// Status 2, with one plain line.
    Usage(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    match Arguments::read().and_then(|arguments| arguments.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::NotInBook) => ExitCode::from(1),
        Err(Failure::Usage(line)) => {
            eprintln!("offline-vendors: {line}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Arguments {
    command: String,
    operand: Option<String>,
    listen: Option<String>,
    phrase_book: Option<PathBuf>,
    language: Option<Language>,
    from: Option<Language>,
    to: Option<Language>,
    voice: Option<String>,
    rate_hz: Option<u32>,
    out: Option<PathBuf>,
    is_json: bool,
    server: ServerOptions,
}

impl Arguments {
    fn read() -> Result<Self, Failure> {
        let mut read = Self::default();
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => read.command = "help".to_owned(),
                Long("listen") => read.listen = Some(parser.value()?.string()?),
                Long("phrase-book") => read.phrase_book = Some(parser.value()?.into()),
                Long("recognizers") => read.server.recognizers = parser.value()?.parse()?,
                Long("streams") => read.server.streams_max = parser.value()?.parse()?,
                Long("deepgram-key") => read.server.deepgram_key = parser.value()?.string()?,
                Long("deepl-key") => read.server.deepl_key = parser.value()?.string()?,
                Long("deepl-free") => read.server.deepl_host = DeeplHost::Free,
                Long("elevenlabs-key") => read.server.elevenlabs_key = parser.value()?.string()?,
                Long("language") => read.language = Some(language(&parser.value()?.string()?)?),
                Long("from") => read.from = Some(language(&parser.value()?.string()?)?),
                Long("to") => read.to = Some(language(&parser.value()?.string()?)?),
                Long("voice") => read.voice = Some(parser.value()?.string()?),
                Long("rate-hz") => read.rate_hz = Some(parser.value()?.parse()?),
                Long("out") => read.out = Some(parser.value()?.into()),
                Long("json") => read.is_json = true,
                Operand(text) if read.command.is_empty() => read.command = text.string()?,
                Operand(text) if read.operand.is_none() => read.operand = Some(text.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(read)
    }

    fn run(self) -> Result<(), Failure> {
        match self.command.as_str() {
            "serve" => self.serve(),
            "speak" => self.speak(),
            "recognize" => self.recognize(),
            "phrases" => self.phrases(),
            "translate" => self.translate(),
            "voices" => {
                for voice in VOICES {
                    log_line(&format!("{}\t{}", voice.id, voice.language.code()));
                }
                Ok(())
            }
            "help" => {
                log_line(HELP.trim_end());
                Ok(())
            }
            other => Err(Failure::Usage(format!(
                "unknown command \"{other}\"; see --help"
            ))),
        }
    }

    fn serve(self) -> Result<(), Failure> {
        let book = self.book()?;
        let address = self.listen.unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let server = Server::bind(&address, self.server, book).map_err(Failure::Usage)?;
        log_line(&format!("listening on {}", server.address()?));
        Ok(server.run()?)
    }

    fn speak(self) -> Result<(), Failure> {
        let text = needed(self.operand, "the text to speak")?;
        let out = needed(self.out, "--out FILE.wav")?;
        let voice = match (&self.voice, self.language) {
            (Some(id), _) => Voice::by_id(id)
                .ok_or_else(|| Failure::Usage(format!("unknown voice \"{id}\"; see voices")))?,
            (None, Some(language)) => Voice::of(language),
            (None, None) => return Err(Failure::Usage("--language or --voice is needed".into())),
        };
        let rate_hz = self.rate_hz.unwrap_or(MODEL_RATE_HZ);
        if !matches!(rate_hz, 8000 | 16_000) {
            return Err(Failure::Usage("--rate-hz is 8000 or 16000".into()));
        }
        let samples = speak(&text, voice, rate_hz)?;
        let mut writer = hound::WavWriter::create(
            out,
            hound::WavSpec {
                channels: 1,
                sample_rate: rate_hz,
                bits_per_sample: 16,
                sample_format: hound::SampleFormat::Int,
            },
        )?;
        for sample in samples {
            writer.write_sample(sample)?;
        }
        Ok(writer.finalize()?)
    }

    fn recognize(self) -> Result<(), Failure> {
        let language = needed(self.language, "--language")?;
        let path = needed(self.operand.as_ref(), "a WAV file")?;
        let samples = read_wav(Path::new(path))?;
        let book = Arc::new(self.book()?);
        let recognizer = Recognizer::new(book, language, 1).map_err(Failure::Usage)?;
        let utterances = utterances(Arc::new(recognizer), &samples)?;
        let is_all_known = utterances.iter().all(|utterance| utterance.text.is_some());
        if self.is_json {
            let list: Vec<_> = utterances
                .iter()
                .map(|u| json!({ "start_seconds": u.start, "end_seconds": u.end, "text": u.text }))
                .collect();
            log_line(&json!(list).to_string());
        } else {
            for utterance in &utterances {
                let text = utterance.text.as_deref().unwrap_or("null");
                log_line(&format!(
                    "{:.2}\t{:.2}\t{text}",
                    utterance.start, utterance.end
                ));
            }
        }
        if is_all_known && !utterances.is_empty() {
            Ok(())
        } else {
            Err(Failure::NotInBook)
        }
    }

    fn phrases(self) -> Result<(), Failure> {
        let book = self.book()?;
        let list = (0..book.phrases_count()).map(|phrase| {
            let sentence = book.sentence(phrase, |_, _| 0);
            Language::ALL.map(|l| (book.template(phrase, l).to_owned(), book.text(&sentence, l)))
        });
        if self.is_json {
            let list: Vec<_> = list
                .map(|[en, fr]| {
                    json!({
                        "en": { "template": en.0, "example": en.1 },
                        "fr": { "template": fr.0, "example": fr.1 },
                    })
                })
                .collect();
            log_line(&json!(list).to_string());
            return Ok(());
        }
        for [en, fr] in list {
            match self.language {
                Some(Language::English) => log_line(&en.0),
                Some(Language::French) => log_line(&fr.0),
                None => log_line(&format!("{}\t{}", en.0, fr.0)),
            }
        }
        Ok(())
    }

    fn translate(self) -> Result<(), Failure> {
        let text = needed(self.operand.as_ref(), "the text to translate")?;
        let (from, to) = (needed(self.from, "--from")?, needed(self.to, "--to")?);
        let translated = self
            .book()?
            .translate(text, from, to)
            .ok_or(Failure::NotInBook)?;
        log_line(&translated);
        Ok(())
    }

    fn book(&self) -> Result<PhraseBook, Failure> {
        let Some(path) = &self.phrase_book else {
            return Ok(PhraseBook::built_in());
        };
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        Ok(PhraseBook::parse(&text)?)
    }
}

/// One utterance of a recording.
struct Utterance {
    start: f64,
    end: f64,
    /// As displayed; `None` when it is not in the book.
    text: Option<String>,
}

fn utterances(recognizer: Arc<Recognizer>, samples: &[i16]) -> Result<Vec<Utterance>, Failure> {
    let options = ListeningOptions {
        endpointing_ms: Some(RECORDING_ENDPOINTING_MS),
        utterance_end_ms: None,
        interims: Interims::Off,
    };
    let mut listening = Listening::new(recognizer, options);
    let mut events = listening.push(samples)?;
    events.extend(listening.push(&[0; RECORDING_TAIL_SAMPLES])?);
    events.extend(listening.flush()?);
    let utterance = |event| match event {
        Event::Final {
            start_seconds,
            duration_seconds,
            heard,
            ..
        } => Some(Utterance {
            start: start_seconds,
            end: start_seconds + duration_seconds,
            text: heard.phrase().map(|phrase| phrase.text.clone()),
        }),
        _ => None,
    };
    Ok(events.into_iter().filter_map(utterance).collect())
}

/// Mono 16-bit samples at 16 kHz from an 8 or 16 kHz WAV.
fn read_wav(path: &Path) -> Result<Vec<i16>, Failure> {
    let name = path.display();
    let mut reader =
        hound::WavReader::open(path).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    let spec = reader.spec();
    let is_good = spec.channels == 1
        && spec.bits_per_sample == 16
        && spec.sample_format == hound::SampleFormat::Int
        && matches!(spec.sample_rate, 8000 | 16_000);
    if !is_good || reader.len() as usize > RECORDING_SAMPLES_MAX {
        return Err(Failure::Usage(format!(
            "{name}: a 16-bit mono WAV of 8 or 16 kHz and at most an hour is needed"
        )));
    }
    let samples = reader.samples::<i16>().collect::<Result<Vec<_>, _>>()?;
    Ok(Resampler::convert(
        &samples,
        spec.sample_rate,
        MODEL_RATE_HZ,
    ))
}

fn language(code: &str) -> Result<Language, Failure> {
    Language::from_code(code)
        .ok_or_else(|| Failure::Usage(format!("language \"{code}\" is not en or fr")))
}

fn needed<T>(value: Option<T>, what: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::Usage(format!("{what} is needed; see --help")))
}
