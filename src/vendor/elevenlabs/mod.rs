//! Speech by ElevenLabs' `/v1/text-to-speech/{voice}/stream`, as 16 kHz PCM.
//!
//! The answer is audio only if both its status and its content type say so. Audio goes to the
//! caller as it arrives; if the type names another rate than the one asked for, it is converted, as
//! it would else be heard too slow or too fast. A failed attempt is repeated only as long as no
//! sample was given: nothing is spoken twice.

mod messages;

use std::io::Read;
use std::time::{Duration, Instant};

use diglot_rt::dsp::rate::RateConverter;
use ureq::http::{HeaderMap, HeaderValue};
use ureq::{Agent, Body};

use crate::config;
use crate::vendor::account::{Account, VendorCounters};
use crate::vendor::http::{self, Failed, Timeouts};
use crate::vendor::{FailureKind, Flow, SynthesisRequest, Synthesizer, VendorError};

/// The default timeouts: 3 s for the first byte, 3 s between pieces. Speech is made faster than it
/// is spoken, so a whole clause takes seconds.
pub const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(3),
    answer: Duration::from_secs(3),
    idle: Duration::from_secs(3),
    whole: Duration::from_secs(30),
};

/// Samples per second that are asked for and given.
const SAMPLE_RATE_HZ: usize = messages::SAMPLE_RATE_HZ as usize;

/// Longest speech for one clause: two minutes. More is not speech of ours.
const SAMPLES_MAX: usize = 120 * SAMPLE_RATE_HZ;

/// Bytes read at once: 64 ms.
const READ_BYTES: usize = 2048;

/// One ElevenLabs account.
pub struct ElevenLabs {
    account: Account,
    config: config::ElevenLabs,
    timeouts: Timeouts,
    agent: Agent,
}

impl ElevenLabs {
    /// A client for the configured account. Connects to nothing yet.
    ///
    /// # Errors
    /// [`FailureKind::Auth`] if there is no usable key.
    pub fn new(config: &config::ElevenLabs) -> Result<Self, VendorError> {
        let account = Account::new("ElevenLabs", config.key.as_ref())?;
        let config = config.clone();
        Ok(Self {
            account,
            config,
            timeouts: TIMEOUTS,
            agent: http::agent(),
        })
    }

    /// Changes how long each step may take.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// What was counted so far.
    pub fn counters(&self) -> &VendorCounters {
        &self.account.counters
    }

    fn attempt(
        &self,
        url: &str,
        body: &[u8],
        deadline: Instant,
        speech: &mut Speech<'_>,
    ) -> Result<(), Failed> {
        speech.odd_byte = None;
        let (status, headers, body) = self
            .post(url, body, deadline)
            .map_err(|error| self.unanswered(&error, speech))?;
        let content_type = http::header(&headers, "content-type").to_ascii_lowercase();
        let rate = messages::audio_rate_hz(&content_type);
        if status == 200
            && let Some(converter) = rate.and_then(RateConverter::new)
        {
            speech.converter = Some(converter);
            return self.hear(body, &headers, speech);
        }
        let answer = http::read_answer(body).unwrap_or_default();
        let explanation = messages::parse_explanation(&answer);
        let kind = match status {
            200 => FailureKind::Protocol,
            _ => messages::answer_kind(status, &explanation.codes),
        };
        let detail = format!("HTTP {status} {content_type} {explanation}");
        Err(self.failed(kind, &detail, &headers))
    }

    fn post(
        &self,
        url: &str,
        body: &[u8],
        deadline: Instant,
    ) -> Result<(u16, HeaderMap, Body), ureq::Error> {
        let time_left = deadline.saturating_duration_since(Instant::now());
        if time_left.is_zero() {
            return Err(ureq::Error::Timeout(ureq::Timeout::Global));
        }
        let key = self.account.key.reveal();
        let mut key = HeaderValue::try_from(key).map_err(ureq::http::Error::from)?;
        key.set_sensitive(true);
        let response = self
            .agent
            .post(url)
            .config()
            .timeout_connect(Some(self.timeouts.connect.min(time_left)))
            .timeout_recv_response(Some(self.timeouts.answer.min(time_left)))
            .timeout_per_read(Some(self.timeouts.idle))
            .timeout_recv_body(Some(self.timeouts.whole))
            .build()
            .header("xi-api-key", key)
            .content_type("application/json")
            .send(body)?;
        let (head, body) = response.into_parts();
        Ok((head.status.as_u16(), head.headers, body))
    }

    /// Passes the audio on as it arrives.
    ///
    /// An answer without audio is taken for a failed generation and may be repeated.
    fn hear(&self, body: Body, headers: &HeaderMap, speech: &mut Speech<'_>) -> Result<(), Failed> {
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        let mut bytes = [0; READ_BYTES];
        loop {
            let len = match reader.read(&mut bytes) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) => return Err(self.unanswered(&ureq::Error::from(error), speech)),
            };
            if speech.take(&bytes[..len]) == Flow::Stop {
                return Ok(());
            }
            if speech.samples_given > SAMPLES_MAX {
                return Err(self.failed(FailureKind::Protocol, "speech without end", headers));
            }
        }
        if speech.odd_byte.is_some() {
            self.account.counters.messages_malformed_total.add(1);
        }
        if speech.samples_given == 0 {
            return Err(self.failed(FailureKind::Transient, "HTTP 200 without audio", headers));
        }
        Ok(())
    }

    fn unanswered(&self, error: &ureq::Error, speech: &Speech<'_>) -> Failed {
        let given_ms = speech.samples_given * 1000 / SAMPLE_RATE_HZ;
        let detail = format!("{error} (after {given_ms} ms of speech)");
        let error = self.account.failure(http::failure_kind(error), &detail);
        Failed {
            error,
            retry_after: None,
        }
    }

    fn failed(&self, kind: FailureKind, detail: &str, headers: &HeaderMap) -> Failed {
        let request_id = http::header(headers, "request-id");
        let error = self
            .account
            .failure(kind, &format!("{detail} (request {request_id})"));
        Failed {
            error,
            retry_after: http::retry_after(headers),
        }
    }
}

impl Synthesizer for ElevenLabs {
    /// A text without anything to pronounce is spoken at once, as nothing.
    fn synthesize(
        &self,
        request: &SynthesisRequest,
        deadline: Instant,
        sink: &mut dyn FnMut(&[i16]) -> Flow,
    ) -> Result<(), VendorError> {
        let Some(body) = messages::request_body(&self.config.model, request) else {
            return Ok(());
        };
        let url = messages::stream_url(&self.config.url, &request.voice);
        let mut speech = Speech {
            sink,
            odd_byte: None,
            converter: None,
            delivered: Vec::new(),
            samples: Vec::new(),
            samples_given: 0,
        };
        // A second attempt would say again what the first has said.
        let mut failed_midway = None;
        let spoken = http::with_retries(&self.account, deadline, || {
            match self.attempt(&url, &body, deadline, &mut speech) {
                Err(failed) if speech.samples_given > 0 => {
                    failed_midway = Some(failed.error);
                    Ok(())
                }
                result => result,
            }
        });
        failed_midway.map_or(spoken, Err)
    }
}

/// Bytes in, samples out: a sample may be split between two reads.
struct Speech<'a> {
    sink: &'a mut dyn FnMut(&[i16]) -> Flow,
    odd_byte: Option<u8>,
    /// From the rate of the answer; `None` before it.
    converter: Option<RateConverter>,
    /// At the rate of the answer, then at 16 kHz; kept for their memory only.
    delivered: Vec<i16>,
    samples: Vec<i16>,
    samples_given: usize,
}

impl Speech<'_> {
    fn take(&mut self, bytes: &[u8]) -> Flow {
        self.delivered.clear();
        let mut bytes = bytes.iter().copied();
        let mut first = self.odd_byte.take().or_else(|| bytes.next());
        while let Some(low) = first {
            let Some(high) = bytes.next() else {
                self.odd_byte = Some(low);
                break;
            };
            self.delivered.push(i16::from_le_bytes([low, high]));
            first = bytes.next();
        }
        self.samples.clear();
        let samples = &mut self.samples;
        if let Some(converter) = &mut self.converter {
            converter.process(&self.delivered, |sample| samples.push(sample));
        }
        if self.samples.is_empty() {
            return Flow::Continue;
        }
        self.samples_given += self.samples.len();
        (self.sink)(&self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However the bytes are cut, the samples are the same.
        #[test]
        fn samples_survive_any_cut(
            samples in proptest::collection::vec(any::<i16>(), 0..200),
            cuts in proptest::collection::vec(1_usize..40, 1..20),
        ) {
            let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
            let mut heard = Vec::new();
            let mut sink = |samples: &[i16]| {
                heard.extend_from_slice(samples);
                Flow::Continue
            };
            let mut speech =
                Speech {
                    sink: &mut sink,
                    odd_byte: None,
                    converter: RateConverter::new(16_000),
                    delivered: Vec::new(),
                    samples: Vec::new(),
                    samples_given: 0,
                };
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                speech.take(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(speech.odd_byte, None);
            prop_assert_eq!(speech.samples_given, samples.len());
            prop_assert_eq!(heard, samples);
        }
    }
}
