//! Speaks: runs espeak-ng or flite as a child process and returns its samples.
//!
//! Both are run, never linked (espeak-ng is GPL). At most [`SPEAKERS_MAX`] run at once; one that
//! takes longer than [`SPEAK_DEADLINE`] is killed. Text is passed as an argument, never through a
//! shell.

use std::fmt;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::phrase_book::Language;
use crate::resample::Resampler;

/// Most speech processes at once; a request that finds none free waits for [`QUEUE_DEADLINE`].
pub const SPEAKERS_MAX: usize = 8;
/// Longest time a speech process may take: hundreds of times what a sentence needs.
pub const SPEAK_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for a free speech process.
pub const QUEUE_DEADLINE: Duration = Duration::from_secs(5);
/// Longest text spoken, in bytes: about three minutes of speech.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Most bytes of WAV taken from a speech process: over five minutes at 22.05 kHz.
const WAV_BYTES_MAX: u64 = 16 << 20;
/// Most texts spoken by one process: together they stay well below `WAV_BYTES_MAX`.
pub const SPEAK_ALL_MAX: usize = 48;
/// Pause between texts spoken by one process: longer than any inside a sentence.
const PAUSE: Duration = Duration::from_millis(1500);
/// Silence added after the speech so that its last sound is not cut by a listener's buffer.
const TAIL: Duration = Duration::from_millis(100);

/// Which program speaks a voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// espeak-ng with this voice name.
    Espeak(&'static str),
    /// flite with this voice name.
    Flite(&'static str),
}

/// A voice offered under a vendor-like id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice {
    /// The id in the request path.
    pub id: &'static str,
    /// The language it speaks.
    pub language: Language,
    /// How it is made.
    pub engine: Engine,
}

/// Every voice; the first of a language is that language's default, chosen because it is
/// recognised best.
pub const VOICES: [Voice; 4] = [
    Voice {
        id: "offline-en-slt",
        language: Language::English,
        engine: Engine::Flite("slt"),
    },
    Voice {
        id: "offline-fr-espeak",
        language: Language::French,
        engine: Engine::Espeak("fr"),
    },
    Voice {
        id: "offline-en-espeak",
        language: Language::English,
        engine: Engine::Espeak("en-us"),
    },
    Voice {
        id: "offline-fr-espeak-f",
        language: Language::French,
        engine: Engine::Espeak("fr+f2"),
    },
];

impl Voice {
    /// The voice with this id.
    pub fn by_id(id: &str) -> Option<Self> {
        VOICES.into_iter().find(|voice| voice.id == id)
    }

    /// The default voice of a language.
    pub fn of(language: Language) -> Self {
        match language {
            Language::English => VOICES[0],
            Language::French => VOICES[1],
        }
    }
}

/// Why nothing was spoken.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpeakError {
    /// Every speech process stayed busy: try again.
    Busy,
    /// The program is not installed; the text names the remedy.
    EngineMissing(String),
    /// The program failed, took too long or gave no audio.
    Failed(String),
    /// More than [`TEXT_BYTES_MAX`] bytes or nothing to say.
    Text,
}

impl fmt::Display for SpeakError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => write!(f, "all {SPEAKERS_MAX} speech processes are busy"),
            Self::EngineMissing(what) | Self::Failed(what) => write!(f, "{what}"),
            Self::Text => write!(f, "text must have 1 to {TEXT_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for SpeakError {}

/// Speaks `text`, giving mono samples at `rate_hz` with a short silent tail.
///
/// # Errors
/// See [`SpeakError`]; nothing is spoken in part.
pub fn speak(text: &str, voice: Voice, rate_hz: u32) -> Result<Vec<i16>, SpeakError> {
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX || text.contains('\0') {
        return Err(SpeakError::Text);
    }
    let _turn = Turn::take()?;
    let wav = run(command(voice.engine, text))?;
    let (mut samples, made_hz) = samples_of(&wav)?;
    let tail = TAIL.as_millis() as usize * made_hz as usize / 1000;
    samples.extend(std::iter::repeat_n(0, tail));
    Ok(Resampler::convert(&samples, made_hz, rate_hz))
}

/// Speaks several texts with one espeak-ng, giving mono samples of each with the rate, in order.
///
/// Starting the program costs more than a sentence: this is for many. All texts together stay
/// within [`TEXT_BYTES_MAX`] times [`SPEAK_ALL_MAX`] bytes.
///
/// # Errors
/// See [`SpeakError`]; [`SpeakError::Failed`] too when what was spoken does not part into as many
/// utterances as texts.
pub fn speak_all(
    texts: &[String],
    voice: &'static str,
) -> Result<(Vec<Vec<i16>>, u32), SpeakError> {
    let is_sayable = |text: &String| {
        !text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX && !text.contains(['\0', '<', '&'])
    };
    if texts.len() > SPEAK_ALL_MAX || !texts.iter().all(is_sayable) {
        return Err(SpeakError::Text);
    }
    let pause = format!("<break time=\"{}ms\"/>\n", PAUSE.as_millis());
    let document = format!("<speak>{}{pause}</speak>", texts.join(&pause));
    let _turn = Turn::take()?;
    let mut command = Command::new("espeak-ng");
    command.args(["-v", voice, "-m", "--stdout", "--", &document]);
    let (samples, rate_hz) = samples_of(&run(command)?)?;
    let parted = parted_by_silence(
        &samples,
        (PAUSE / 2).as_millis() as usize * rate_hz as usize / 1000,
    );
    if parted.len() != texts.len() {
        return Err(SpeakError::Failed(format!(
            "espeak-ng spoke {} utterances for {} texts",
            parted.len(),
            texts.len()
        )));
    }
    Ok((parted, rate_hz))
}

/// The stretches between silences of at least `silence_samples`.
fn parted_by_silence(samples: &[i16], silence_samples: usize) -> Vec<Vec<i16>> {
    /// Some voices leave their echo's rounding errors in a pause.
    const SILENCE_LEVEL_MAX: u16 = 8;
    let mut parts: Vec<Vec<i16>> = Vec::new();
    let mut silence = silence_samples;
    for (at, &sample) in samples.iter().enumerate() {
        if sample.unsigned_abs() <= SILENCE_LEVEL_MAX {
            silence += 1;
            continue;
        }
        match parts.last_mut() {
            Some(part) if silence < silence_samples => {
                part.extend_from_slice(&samples[at - silence..=at]);
            }
            _ => parts.push(vec![sample]),
        }
        silence = 0;
    }
    parts
}

fn command(engine: Engine, text: &str) -> Command {
    let mut command;
    match engine {
        Engine::Espeak(voice) => {
            command = Command::new("espeak-ng");
            command.args(["-v", voice, "--stdout", "--", text]);
        }
        Engine::Flite(voice) => {
            command = Command::new("flite");
            command.args(["-voice", voice, "-t", text, "-o", "/dev/stdout"]);
        }
    }
    command
}

/// Runs a speech program to its end or its deadline and takes its output.
fn run(mut command: Command) -> Result<Vec<u8>, SpeakError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| {
            SpeakError::EngineMissing(format!(
                "{program}: {error}; remedy: apt-get install -y {program}"
            ))
        })?;
    let Some(output) = child.stdout.take() else {
        return Err(SpeakError::Failed(format!("{program} has no output")));
    };
    let reader = thread::spawn(move || {
        let mut wav = Vec::new();
        output
            .take(WAV_BYTES_MAX)
            .read_to_end(&mut wav)
            .map(|_| wav)
    });
    let ended_well = wait_or_kill(&mut child, Instant::now() + SPEAK_DEADLINE);
    match reader.join() {
        Ok(Ok(wav)) if ended_well => Ok(wav),
        _ => Err(SpeakError::Failed(format!(
            "{program} failed or took over {SPEAK_DEADLINE:?}"
        ))),
    }
}

/// Whether the child ended well in time; it is always reaped.
fn wait_or_kill(child: &mut Child, deadline: Instant) -> bool {
    /// How often the child is asked: std has no wait with a deadline.
    const ASK_AGAIN: Duration = Duration::from_millis(2);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < deadline => thread::park_timeout(ASK_AGAIN),
            _ => {
                // Already gone is as good as killed.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// Mono samples and rate of a WAV whose header may lie about its length, as one written to a pipe
/// does.
fn samples_of(wav: &[u8]) -> Result<(Vec<i16>, u32), SpeakError> {
    /// RIFF header, 16-byte format chunk and data chunk header, as both programs write them.
    const HEADER_BYTES: usize = 44;
    let bad = || SpeakError::Failed("the speech program gave no 16-bit mono WAV".to_owned());
    let header: &[u8; HEADER_BYTES] = wav.first_chunk().ok_or_else(bad)?;
    let is_mono_16_bit = header[22..24] == [1, 0] && header[34..36] == [16, 0];
    let rate_hz = u32::from_le_bytes([header[24], header[25], header[26], header[27]]);
    if &header[..4] != b"RIFF" || &header[36..40] != b"data" || !is_mono_16_bit {
        return Err(bad());
    }
    if !(8000..=48_000).contains(&rate_hz) || wav.len() < HEADER_BYTES + 2 {
        return Err(bad());
    }
    let samples = wav[HEADER_BYTES..]
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    Ok((samples, rate_hz))
}

/// One of the [`SPEAKERS_MAX`] permissions to run a speech process; given back on drop.
struct Turn;

static SPEAKING: Mutex<usize> = Mutex::new(0);
static SPEAKER_FREED: Condvar = Condvar::new();

impl Turn {
    fn take() -> Result<Self, SpeakError> {
        let speaking = SPEAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut speaking, waited) = SPEAKER_FREED
            .wait_timeout_while(speaking, QUEUE_DEADLINE, |count| *count >= SPEAKERS_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(SpeakError::Busy);
        }
        *speaking += 1;
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *SPEAKING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        SPEAKER_FREED.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every voice speaks at every offered rate. Method: speak, check length and loudness.
    #[test]
    fn every_voice_speaks() {
        for voice in VOICES {
            for rate_hz in [8000, 16_000, 24_000] {
                let samples = speak("Bonjour Paris.", voice, rate_hz).expect(voice.id);
                let seconds = samples.len() as f32 / rate_hz as f32;
                let loudest = samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
                assert!((0.5..4.0).contains(&seconds), "{}: {seconds} s", voice.id);
                assert!(loudest > 2000, "{}: {loudest}", voice.id);
            }
        }
    }

    /// Goal: texts spoken together come apart as they were put in. Method: a short and a long one
    /// around one with commas, against each spoken alone.
    #[test]
    fn texts_spoken_together_come_apart() {
        let texts = [
            "Oui.",
            "Un, deux, trois, quatre.",
            "Je suis désolé, j'aurai une heure.",
        ]
        .map(str::to_owned);
        let (parts, rate_hz) = speak_all(&texts, "fr").expect("espeak-ng is installed");
        assert_eq!(parts.len(), texts.len());
        // A voice whose pauses are not digital silence.
        assert_eq!(
            speak_all(&texts, "fr+f2").expect("voice").0.len(),
            texts.len()
        );
        for (text, part) in texts.iter().zip(&parts) {
            let alone = speak(text, Voice::of(Language::French), rate_hz).expect("voice");
            // Alone it has silence around.
            let apart_seconds = (alone.len() as f32 - part.len() as f32) / rate_hz as f32;
            assert!(
                (0.0..0.8).contains(&apart_seconds),
                "{text}: {apart_seconds} s"
            );
        }
        let marked = ["a <break/> b".to_owned()];
        assert!(matches!(speak_all(&marked, "fr"), Err(SpeakError::Text)));
        let many = vec!["oui".to_owned(); SPEAK_ALL_MAX + 1];
        assert!(matches!(speak_all(&many, "fr"), Err(SpeakError::Text)));
    }

    /// Goal: nothing to say and too much to say are refused. Method: both.
    #[test]
    fn unspeakable_text_is_refused() {
        let voice = VOICES[0];
        for text in ["", "  ", "a\0b", &"a".repeat(TEXT_BYTES_MAX + 1)] {
            assert!(matches!(speak(text, voice, 8000), Err(SpeakError::Text)));
        }
    }

    /// Goal: a text that looks like an option is spoken, not obeyed. Method: both engines.
    #[test]
    fn text_is_never_an_option() {
        for voice in VOICES {
            assert!(speak("--version", voice, 8000).is_ok(), "{}", voice.id);
        }
    }

    /// Goal: a process that hangs is killed and counted as a failure. Method: `sleep`, past
    /// deadline.
    #[test]
    fn a_hung_process_is_killed() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        assert!(!wait_or_kill(&mut child, Instant::now()));
        assert!(child.try_wait().expect("reaped").is_some());
    }
}
