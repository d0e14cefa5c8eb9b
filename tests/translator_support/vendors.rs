//! Vendors whose behaviour is written in what they are given: a chunk of audio says what the
//! recogniser does with it, a number in a text says what becomes of the text.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diglot::translator::Engines;
use diglot::vendor::audio::{AudioReceiver, Received};
use diglot::vendor::{
    FailureKind, Flow, RecognitionEvent, RecognitionRequest, Recognizer, SynthesisRequest,
    Synthesizer, TranslationRequest, Translator, VendorError,
};

/// The first sample of a chunk: what the recogniser does. The second is a phrase's number.
pub const PARTIAL: i16 = 1;
pub const FINAL: i16 = 2;
pub const END: i16 = 3;
pub const FAIL: i16 = 4;
pub const PANIC: i16 = 5;
pub const CLOSE: i16 = 6;
pub const NONSENSE: i16 = 7;

/// Numbers of phrases that something happens to.
pub const TRANSLATION_FAILS: i16 = 404;
pub const TRANSLATION_PANICS: i16 = 500;
pub const TRANSLATION_EMPTY: i16 = 204;
pub const SPEECH_FAILS_AT_ONCE: i16 = 1404;
pub const SPEECH_FAILS_MIDWAY: i16 = 1206;
pub const SPEECH_PANICS: i16 = 1500;
pub const SPEECH_ENDLESS: i16 = 1999;

/// Samples of a spoken phrase: an odd number of chunks of an odd number of samples.
pub const SPEECH_CHUNKS: usize = 7;
pub const SPEECH_CHUNK: usize = 801;

/// All three in one.
#[derive(Debug, Default)]
pub struct Fake {
    /// Jobs of any kind running now.
    pub running: AtomicU64,
    pub streams_total: AtomicU64,
}

/// Counts a job for as long as it lives, panics included.
struct Running<'a>(&'a AtomicU64);

impl<'a> Running<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Engines made of one fake.
pub fn engines(fake: &Arc<Fake>) -> Engines {
    let (recognizer, translator, synthesizer) = (fake.clone(), fake.clone(), fake.clone());
    Engines {
        recognizer,
        translator,
        synthesizer,
    }
}

/// What a phrase is in the source language.
pub fn phrase(number: i16) -> String {
    format!("phrase {number}")
}

/// What it becomes.
pub fn translation(number: i16) -> String {
    format!("en->fr phrase {number}")
}

/// How it is spoken.
pub fn speech(number: i16) -> Vec<i16> {
    vec![number; SPEECH_CHUNKS * SPEECH_CHUNK]
}

fn error(vendor: &'static str, kind: FailureKind) -> VendorError {
    VendorError {
        vendor,
        kind,
        detail: "as scripted".into(),
    }
}

fn number_in(text: &str) -> i16 {
    text.rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

impl Recognizer for Fake {
    fn recognize(
        &self,
        request: &RecognitionRequest,
        mut audio: AudioReceiver,
        events: &mut dyn FnMut(RecognitionEvent) -> Flow,
    ) -> Result<(), VendorError> {
        let _running = Running::new(&self.running);
        self.streams_total.fetch_add(1, Ordering::SeqCst);
        assert_eq!(request.language, "en");
        let mut flow = events(RecognitionEvent::Opened);
        let mut samples_heard = 0;
        while flow == Flow::Continue {
            let chunk = match audio.recv_timeout(Duration::from_secs(20)) {
                Received::Chunk(chunk) => chunk,
                Received::Closed => return Ok(()),
                Received::Empty => return Err(error("fake", FailureKind::Timeout)),
            };
            samples_heard += chunk.len() as u64;
            let number = chunk.get(1).copied().unwrap_or(0);
            flow = match chunk[0] {
                PARTIAL => events(RecognitionEvent::Partial {
                    text: phrase(number),
                }),
                FINAL => events(RecognitionEvent::Final {
                    text: phrase(number),
                    end_ms: samples_heard / 16,
                }),
                END => events(RecognitionEvent::UtteranceEnd),
                FAIL => return Err(error("fake", FailureKind::Transient)),
                CLOSE => return Ok(()),
                PANIC => panic!("as scripted"),
                NONSENSE => {
                    events(RecognitionEvent::UtteranceEnd);
                    events(RecognitionEvent::Partial {
                        text: "\u{0}\u{7}\"\\ ".repeat(100),
                    });
                    events(RecognitionEvent::Final {
                        text: " ".into(),
                        end_ms: u64::MAX,
                    });
                    events(RecognitionEvent::Final {
                        text: "é".repeat(100_000),
                        end_ms: u64::MAX,
                    })
                }
                _ => Flow::Continue,
            };
        }
        Ok(())
    }
}

impl Translator for Fake {
    fn translate(
        &self,
        request: &TranslationRequest,
        deadline: Instant,
    ) -> Result<String, VendorError> {
        let _running = Running::new(&self.running);
        assert!(deadline > Instant::now());
        match number_in(&request.text) {
            TRANSLATION_FAILS => Err(error("fake", FailureKind::Quota)),
            TRANSLATION_PANICS => panic!("as scripted"),
            TRANSLATION_EMPTY => Ok(" ".into()),
            _ => Ok(format!(
                "{}->{} {}",
                request.source_language, request.target_language, request.text
            )),
        }
    }
}

impl Synthesizer for Fake {
    fn synthesize(
        &self,
        request: &SynthesisRequest,
        _deadline: Instant,
        sink: &mut dyn FnMut(&[i16]) -> Flow,
    ) -> Result<(), VendorError> {
        let _running = Running::new(&self.running);
        assert_eq!(
            (request.language.as_str(), request.voice.as_str()),
            ("fr", "voice-fr")
        );
        let number = number_in(&request.text);
        if number == SPEECH_FAILS_AT_ONCE {
            return Err(error("fake", FailureKind::RateLimited));
        }
        assert_ne!(number, SPEECH_PANICS, "as scripted");
        if number == SPEECH_ENDLESS {
            while sink(&[number; 160]) == Flow::Continue {}
            return Ok(());
        }
        for chunk in 0..SPEECH_CHUNKS {
            if number == SPEECH_FAILS_MIDWAY && chunk == 3 {
                return Err(error("fake", FailureKind::Transient));
            }
            if sink(&[number; SPEECH_CHUNK]) == Flow::Stop {
                return Ok(());
            }
        }
        Ok(())
    }
}
