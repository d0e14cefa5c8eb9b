//! One open stream: a single thread that reads, writes and keeps time, and waits in one poll.
//!
//! Every turn does all that can be done without waiting, then waits for the socket, for audio or
//! for the next deadline. Once a write would block, nothing more is written until it is through, so
//! what waits for a vendor that does not read is one frame here, and the channel's bound behind it.

use std::io;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use tungstenite::{Bytes, Message};

use crate::vendor::account::Account;
use crate::vendor::audio::{AudioReceiver, Received};
use crate::vendor::deepgram::Timeouts;
use crate::vendor::deepgram::messages::{self, SAMPLE_RATE_HZ, ServerMessage};
use crate::vendor::websocket::{self, Socket};
use crate::vendor::{FailureKind, Flow, RecognitionEvent};

/// Fewest samples worth a frame, except the last: 20 ms.
const FRAME_SAMPLES_MIN: usize = SAMPLE_RATE_HZ / 50;

/// Most samples of one frame: 100 ms. The vendor advises 20 to 250 ms.
const FRAME_SAMPLES_MAX: usize = SAMPLE_RATE_HZ / 10;

/// The silence every stream begins with: the vendor wants audio within 10 s, and only then counts
/// what says that the stream is alive.
const LEAD_IN_SAMPLES: usize = FRAME_SAMPLES_MIN;
const LEAD_IN_MS: u64 = (LEAD_IN_SAMPLES * 1000 / SAMPLE_RATE_HZ) as u64;

/// Messages read before writing and deadlines have their turn.
const READS_PER_TURN_MAX: usize = 32;

/// Messages that make no sense before the stream is given up.
const MALFORMED_MAX: u32 = 16;

const SOCKET: Token = Token(0);
const AUDIO: Token = Token(1);

/// Why a stream ended that should not have.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) kind: FailureKind,
    pub(super) detail: String,
}

/// Runs an open stream to its end.
pub(super) fn run(
    account: &Account,
    timeouts: Timeouts,
    mut socket: Socket,
    audio: &mut AudioReceiver,
    events: &mut dyn FnMut(RecognitionEvent) -> Flow,
) -> Result<(), Failed> {
    let poll = Poll::new().map_err(Failed::from)?;
    let descriptor = websocket::descriptor(&mut socket);
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry()
        .register(&mut SourceFd(&descriptor), SOCKET, interest)?;
    audio.wake_poll(poll.registry(), AUDIO)?;
    let now = Instant::now();
    let dropped_before = audio.chunks_dropped_total();
    let mut stream = Stream {
        account,
        timeouts,
        socket,
        audio,
        events,
        samples: vec![0; LEAD_IN_SAMPLES],
        phase: Phase::Hearing,
        blocked_since: None,
        sent_at: now,
        pinged_at: now,
        heard_at: now,
        malformed: 0,
        last_error: String::new(),
    };
    let end = stream.run(poll);
    stream.say_goodbye();
    let dropped = stream.audio.chunks_dropped_total() - dropped_before;
    account.counters.audio_chunks_dropped_total.add(dropped);
    match end {
        End::Complete | End::Stopped => Ok(()),
        End::Failed(failed) => Err(failed),
    }
}

struct Stream<'a> {
    account: &'a Account,
    timeouts: Timeouts,
    socket: Socket,
    audio: &'a mut AudioReceiver,
    events: &'a mut dyn FnMut(RecognitionEvent) -> Flow,
    /// Taken from the channel, not yet sent: less than a frame and a chunk.
    samples: Vec<i16>,
    phase: Phase,
    /// Since when a written frame waits for the vendor to take it.
    blocked_since: Option<Instant>,
    /// When audio or a sign of life was sent last.
    sent_at: Instant,
    pinged_at: Instant,
    heard_at: Instant,
    malformed: u32,
    /// What the vendor complained about last, to explain a close that follows.
    last_error: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Audio is on its way.
    Hearing,
    /// The end was asked for; the rest must come until then.
    Draining(Instant),
}

/// Whether a turn left something to do at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leftover {
    None,
    Some,
}

/// Why a stream ended.
enum End {
    /// The vendor has told everything.
    Complete,
    Failed(Failed),
    /// The listener wants no more.
    Stopped,
}

impl Stream<'_> {
    fn run(&mut self, mut poll: Poll) -> End {
        let mut poll_events = Events::with_capacity(8);
        loop {
            let wait = match self.turn() {
                Ok(wait) => wait,
                Err(end) => return end,
            };
            match poll.poll(&mut poll_events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return error.into(),
                _ => {}
            }
        }
    }

    /// Does all that can be done at once. Gives the time until something is due.
    fn turn(&mut self) -> Result<Duration, End> {
        let leftover = self.read()?;
        self.write_audio()?;
        let deadline = self.keep_time()?;
        Ok(match leftover {
            Leftover::None => deadline.saturating_duration_since(Instant::now()),
            Leftover::Some => Duration::ZERO,
        })
    }

    /// Takes what the vendor has said, a bounded number of messages.
    fn read(&mut self) -> Result<Leftover, End> {
        for _ in 0..READS_PER_TURN_MAX {
            match self.socket.read() {
                Ok(message) => {
                    self.heard_at = Instant::now();
                    self.hear(message)?;
                }
                Err(error) if websocket::would_block(&error) => return Ok(Leftover::None),
                Err(error) => return Err(self.broken(&error)),
            }
        }
        Ok(Leftover::Some)
    }

    fn hear(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Text(text) => match messages::parse_server_message(&text) {
                Ok(message) => self.understand(message),
                Err(error) => self.misunderstand(&error),
            },
            Message::Close(frame) => {
                let (code, reason) = frame.as_ref().map_or((None, ""), |frame| {
                    (Some(u16::from(frame.code)), &frame.reason)
                });
                Err(self.closed(code, reason))
            }
            Message::Binary(_) => {
                self.account.counters.messages_unknown_total.add(1);
                Ok(())
            }
            // Pings have been answered by the socket itself.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
        }
    }

    fn understand(&mut self, message: ServerMessage) -> Result<(), End> {
        match &message {
            ServerMessage::Metadata if self.phase != Phase::Hearing => return Err(End::Complete),
            ServerMessage::Unknown => self.account.counters.messages_unknown_total.add(1),
            ServerMessage::Error(detail) => {
                self.last_error = self.account.clean(detail);
                log::warn!("Deepgram complains: {}", self.last_error);
            }
            _ => {}
        }
        for event in messages::events_of(message).into_iter().flatten() {
            if (self.events)(without_lead_in(event)) == Flow::Stop {
                return Err(End::Stopped);
            }
        }
        Ok(())
    }

    /// One message without sense is ignored; a vendor that makes none at all is given up.
    fn misunderstand(&mut self, error: &serde_json::Error) -> Result<(), End> {
        self.account.counters.messages_malformed_total.add(1);
        self.malformed += 1;
        if self.malformed <= MALFORMED_MAX {
            return Ok(());
        }
        let detail = format!("{} malformed messages, last: {error}", self.malformed);
        Err(Failed {
            kind: FailureKind::Protocol,
            detail,
        }
        .into())
    }

    fn closed(&self, code: Option<u16>, reason: &str) -> End {
        if self.phase != Phase::Hearing && matches!(code, Some(1000) | None) {
            return End::Complete;
        }
        let kind = messages::close_kind(code, reason);
        let code = code.map_or_else(|| "no code".to_owned(), |code| code.to_string());
        self.failed(kind, &format!("closed by the vendor: {code} {reason}"))
    }

    /// Sends what audio there is, as long as the vendor takes it.
    fn write_audio(&mut self) -> Result<(), End> {
        self.flush()?;
        while self.blocked_since.is_none() && self.phase == Phase::Hearing {
            let is_closed = self.gather();
            let is_frame = self.samples.len() >= FRAME_SAMPLES_MIN;
            if is_frame || (is_closed && !self.samples.is_empty()) {
                let frame_len = self.samples.len().min(FRAME_SAMPLES_MAX);
                let frame: Bytes = self
                    .samples
                    .drain(..frame_len)
                    .flat_map(i16::to_le_bytes)
                    .collect();
                self.write(Message::Binary(frame))?;
            } else if is_closed {
                self.write(Message::text(messages::CLOSE_STREAM))?;
                self.phase = Phase::Draining(Instant::now() + self.timeouts.drain);
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Takes chunks until there is a full frame. Whether the audio has ended and all is taken.
    fn gather(&mut self) -> bool {
        while self.samples.len() < FRAME_SAMPLES_MAX {
            match self.audio.try_recv() {
                Received::Chunk(chunk) => self.samples.extend(chunk),
                Received::Closed => return true,
                Received::Empty => return false,
            }
        }
        false
    }

    /// Does what is due. Gives the next deadline.
    fn keep_time(&mut self) -> Result<Instant, End> {
        let now = Instant::now();
        let timeouts = self.timeouts;
        if self.blocked_since.is_none() && self.pinged_at + timeouts.ping <= now {
            self.pinged_at = now;
            self.write(Message::Ping(Bytes::new()))?;
        }
        let is_idle = self.blocked_since.is_none() && self.phase == Phase::Hearing;
        if is_idle && self.sent_at + timeouts.keep_alive <= now {
            self.write(Message::text(messages::KEEP_ALIVE))?;
        }

        let dead_at = self.heard_at + timeouts.silence;
        let mut deadline = self.not_yet(dead_at, now, "nothing heard of the vendor")?;
        if let Phase::Draining(until) = self.phase {
            let until = self.not_yet(until, now, "no end after the end of the audio")?;
            deadline = deadline.min(until);
        }
        if let Some(since) = self.blocked_since {
            let until = since + timeouts.write_stall;
            return Ok(deadline.min(self.not_yet(until, now, "the vendor takes no audio")?));
        }
        if self.phase == Phase::Hearing {
            deadline = deadline.min(self.sent_at + timeouts.keep_alive);
        }
        Ok(deadline.min(self.pinged_at + timeouts.ping))
    }

    /// The deadline, if it has not passed.
    fn not_yet(&self, deadline: Instant, now: Instant, missed: &str) -> Result<Instant, End> {
        if deadline <= now {
            return Err(self.failed(FailureKind::Timeout, missed));
        }
        Ok(deadline)
    }

    fn write(&mut self, message: Message) -> Result<(), End> {
        if !matches!(message, Message::Ping(_)) {
            self.sent_at = Instant::now();
        }
        match self.socket.write(message) {
            Err(error) if !websocket::would_block(&error) => Err(self.broken(&error)),
            _ => self.flush(),
        }
    }

    /// Pushes on what is written, and notes since when it cannot be.
    fn flush(&mut self) -> Result<(), End> {
        match self.socket.flush() {
            Ok(()) => self.blocked_since = None,
            Err(error) if websocket::would_block(&error) => {
                self.blocked_since.get_or_insert_with(Instant::now);
            }
            // The close frame that explains it may still be unread.
            Err(error) => return Err(self.explained(&error)),
        }
        Ok(())
    }

    /// A write failed: what the vendor said before it hung up explains it better.
    fn explained(&mut self, error: &tungstenite::Error) -> End {
        match self.read() {
            Err(end) => end,
            Ok(_) => self.broken(error),
        }
    }

    fn broken(&self, error: &tungstenite::Error) -> End {
        self.failed(websocket::failure_kind(error), &error.to_string())
    }

    fn failed(&self, kind: FailureKind, detail: &str) -> End {
        let detail = match self.last_error.as_str() {
            "" => detail.to_owned(),
            complaint => format!("{detail}; before: {complaint}"),
        };
        Failed { kind, detail }.into()
    }

    /// Closes the socket without waiting for an answer; the vendor bills until it is closed.
    fn say_goodbye(&mut self) {
        drop(self.socket.close(None));
    }
}

/// The vendor's clock began with our silence, the listener's with its first sample.
fn without_lead_in(event: RecognitionEvent) -> RecognitionEvent {
    match event {
        RecognitionEvent::Final { text, end_ms } => RecognitionEvent::Final {
            text,
            end_ms: end_ms.saturating_sub(LEAD_IN_MS),
        },
        other => other,
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self {
            kind: websocket::io_kind(&error),
            detail: error.to_string(),
        }
    }
}

impl From<Failed> for End {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}
