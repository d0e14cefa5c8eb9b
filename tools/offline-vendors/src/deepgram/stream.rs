//! One `/v1/listen` stream after its upgrade: audio in, results out, until either side ends it.
//!
//! Everything is driven by what arrives, on the audio clock; the only timer is the vendor's: 10 s
//! without audio (or a KeepAlive once there was audio) ends the stream with NET-0001.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use audio_codec_algorithms::decode_ulaw;
use serde_json::{Value, json};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::{Encoding, Session, VadEvents, results};
use crate::listening::{Event, Listening};
use crate::pocketsphinx::MODEL_RATE_HZ;
use crate::recognizer::Heard;
use crate::resample::Resampler;
use crate::server::{Shared, log_line};

/// Longest time without audio or KeepAlive.
const SILENT_CLIENT_MAX: Duration = Duration::from_secs(10);
/// Largest message taken from a client, in bytes: half a minute of linear16 at 16 kHz.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Longest wait for the client's side of the closing handshake.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// Runs the stream to its end; how it ended is logged.
pub(super) fn serve(
    socket: TcpStream,
    read_ahead: Vec<u8>,
    session: &Session,
    shared: &Arc<Shared>,
) {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MESSAGE_BYTES_MAX);
    config.max_frame_size = Some(MESSAGE_BYTES_MAX);
    let recognizer = Arc::clone(&shared.recognizers[session.language as usize]);
    let mut stream = Stream {
        socket: WebSocket::from_partially_read(socket, read_ahead, Role::Server, Some(config)),
        session,
        shared,
        listening: Listening::new(recognizer, session.listening),
        resampler: Resampler::new(session.rate_hz, MODEL_RATE_HZ),
        half_sample: None,
        has_audio: false,
        alive_at: Instant::now(),
    };
    let ended = stream.run();
    log_line(&format!(
        "deepgram {}: stream ended: {ended}",
        session.request_id
    ));
}

struct Stream<'a> {
    socket: WebSocket<TcpStream>,
    session: &'a Session,
    shared: &'a Shared,
    listening: Listening,
    resampler: Resampler,
    /// First byte of a linear16 sample cut by a message's edge.
    half_sample: Option<u8>,
    /// Whether any audio came: a KeepAlive before it does not count.
    has_audio: bool,
    /// Last time the client showed it is alive.
    alive_at: Instant,
}

/// Whether the stream goes on.
enum Next {
    Continue,
    /// It ended, for this reason.
    End(&'static str),
}

impl Stream<'_> {
    fn run(&mut self) -> String {
        loop {
            let left =
                (self.alive_at + SILENT_CLIENT_MAX).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.close(CloseCode::Error, "NET-0001").into();
            }
            if self.socket.get_ref().set_read_timeout(Some(left)).is_err() {
                return "socket failed".into();
            }
            let next = match self.socket.read() {
                Ok(message) => self.take(message),
                Err(Error::Io(error)) if is_timeout(&error) => Ok(Next::Continue),
                Err(error) => return error.to_string(),
            };
            match next {
                Ok(Next::Continue) => {}
                Ok(Next::End(reason)) => return reason.into(),
                Err(error) => return error.to_string(),
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<Next, Error> {
        match message {
            Message::Binary(bytes) if bytes.is_empty() => self.finish("empty binary frame"),
            Message::Binary(bytes) => self.take_audio(&bytes),
            Message::Text(text) => self.take_text(&text),
            Message::Close(_) => Ok(Next::End("closed by the client")),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(Next::Continue),
        }
    }

    fn take_audio(&mut self, bytes: &[u8]) -> Result<Next, Error> {
        if bytes.starts_with(b"{\"type\"") {
            // Still decoded as the audio it claims to be, but a control message it is not.
            log_line(&format!(
                "deepgram {}: JSON in a binary frame",
                self.session.request_id
            ));
        } else {
            self.has_audio = true;
            self.alive_at = Instant::now();
        }
        let samples: Vec<i16> = match self.session.encoding {
            Encoding::Mulaw => bytes.iter().map(|byte| decode_ulaw(*byte)).collect(),
            Encoding::Linear16 => {
                let all: Vec<u8> = self
                    .half_sample
                    .take()
                    .into_iter()
                    .chain(bytes.iter().copied())
                    .collect();
                let pairs = all.chunks_exact(2);
                self.half_sample = pairs.remainder().first().copied();
                pairs
                    .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
                    .collect()
            }
        };
        let mut wide = Vec::new();
        self.resampler.push(&samples, &mut wide);
        match self.listening.push(&wide) {
            Ok(events) => {
                self.report(events)?;
                Ok(Next::Continue)
            }
            Err(error) => Ok(self.fail(&error.to_string())),
        }
    }

    fn take_text(&mut self, text: &str) -> Result<Next, Error> {
        let parsed: Option<Value> = serde_json::from_str(text).ok();
        match parsed.as_ref().and_then(|value| value["type"].as_str()) {
            Some("KeepAlive") => {
                if self.has_audio {
                    self.alive_at = Instant::now();
                }
                Ok(Next::Continue)
            }
            Some("Finalize") => match self.listening.flush() {
                Ok(events) if events.is_empty() => {
                    let at = self.listening.clock_seconds();
                    self.send(&results::empty_flush(self.session, at))?;
                    Ok(Next::Continue)
                }
                Ok(events) => {
                    self.report(events)?;
                    Ok(Next::Continue)
                }
                Err(error) => Ok(self.fail(&error.to_string())),
            },
            Some("CloseStream") => self.finish("closed on request"),
            Some("Configure") => {
                self.send(&json!({
                    "type": "ConfigureSuccess",
                    "request_id": self.session.request_id,
                }))?;
                Ok(Next::Continue)
            }
            Some(_) => {
                self.send(&results::schema_error("Unknown message type.", text))?;
                Ok(Next::Continue)
            }
            None => {
                self.send(&results::schema_error(
                    "Could not deserialize message.",
                    text,
                ))?;
                Ok(Next::Continue)
            }
        }
    }

    /// Sends the rest, the metadata, and closes.
    fn finish(&mut self, reason: &'static str) -> Result<Next, Error> {
        match self.listening.flush() {
            Ok(events) => self.report(events)?,
            Err(error) => return Ok(self.fail(&error.to_string())),
        }
        self.send(&results::metadata(
            self.session,
            self.listening.clock_seconds(),
        ))?;
        self.close(CloseCode::Normal, "");
        Ok(Next::End(reason))
    }

    /// The vendor's word for "our service failed".
    fn fail(&mut self, what: &str) -> Next {
        log_line(&format!("deepgram {}: {what}", self.session.request_id));
        Next::End(self.close(CloseCode::Error, "NET-0000"))
    }

    fn report(&mut self, events: Vec<Event>) -> Result<(), Error> {
        for event in events {
            let message = match event {
                Event::SpeechStarted { .. } if self.session.vad_events == VadEvents::Off => {
                    continue;
                }
                Event::SpeechStarted { at_seconds } => results::speech_started(at_seconds),
                Event::Interim {
                    start_seconds,
                    duration_seconds,
                    heard,
                } => results::results(
                    self.session,
                    (start_seconds, duration_seconds),
                    &heard,
                    None,
                ),
                Event::Final {
                    start_seconds,
                    duration_seconds,
                    heard,
                    end,
                } => {
                    self.count(&heard, start_seconds);
                    let span = (start_seconds, duration_seconds);
                    results::results(self.session, span, &heard, Some(end))
                }
                Event::UtteranceEnd {
                    last_word_end_seconds,
                } => results::utterance_end(last_word_end_seconds),
            };
            self.send(&message)?;
        }
        Ok(())
    }

    fn count(&self, heard: &Heard, start_seconds: f64) {
        let (counters, language) = (&self.shared.counters, self.session.language.code());
        match heard {
            Heard::Phrase(phrase) => {
                counters
                    .utterances_recognized_total
                    .fetch_add(1, Ordering::SeqCst);
                log_line(&format!(
                    "deepgram {language} {start_seconds:.2} s: {}",
                    phrase.text
                ));
            }
            Heard::OutOfBook(nearest) => {
                counters
                    .utterances_rejected_total
                    .fetch_add(1, Ordering::SeqCst);
                let nearest = nearest.as_ref().map_or_else(String::new, |(text, score)| {
                    format!(" (nearest: {text:?}, score {score:.1})")
                });
                log_line(&format!(
                    "deepgram {language} {start_seconds:.2} s: not in the phrase book{nearest}"
                ));
            }
        }
    }

    fn send(&mut self, message: &Value) -> Result<(), Error> {
        self.socket.send(Message::text(message.to_string()))
    }

    /// Closes and waits a little for the client's answer, so that nothing sent is lost to a reset.
    fn close(&mut self, code: CloseCode, reason: &'static str) -> &'static str {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let deadline = Instant::now() + CLOSE_DEADLINE;
        let mut is_open = self.socket.close(Some(frame)).is_ok();
        while is_open {
            let left = deadline.saturating_duration_since(Instant::now());
            is_open = !left.is_zero()
                && self.socket.get_ref().set_read_timeout(Some(left)).is_ok()
                && self.socket.read().is_ok();
        }
        reason
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
