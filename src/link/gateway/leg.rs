//! One leg's end of the link: dials, introduces itself, sends the leg's speech, reads what comes
//! back, notices a dead translator and dials again.
//!
//! ```text
//! Waiting ──retry time──▶ Dialling ──101──▶ Open ──error, or three pings unanswered──▶ Waiting
//! ```
//! While the link is not open the last two seconds of speech are kept and sent once it is.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use diglot_rt::msg::{LegId, Pace, Part, UtteranceId};
use diglot_rt::units::{FRAME_MS, FRAME_SAMPLES_MAX, Micros};
use mio::{Registry, Token};
use tungstenite::Message as WsMessage;

use super::connection::{Connection, Progress, Written};
use super::sessions::{Sessions, UnixTime};
use crate::link::binary::{Frame, HEADER_BYTES, Header};
use crate::link::messages::{
    AudioFormat, Caption, Data, Encoding, ErrorMessage, Heartbeat, Message, SessionEnd,
    SessionStart, Trace,
};
use crate::link::stream::ReadEnd;
use crate::link::{BINARY_SUBPROTOCOL, SAMPLE_BYTES};

/// How often the translator must show that it lives.
const PING_INTERVAL_MS: u64 = 300;

/// Pings without an answer after which the translator is taken for dead: 0.9 s.
const PINGS_UNANSWERED_MAX: u32 = 3;

/// Wait before the next dial. Short, since a caller hears nothing meanwhile, and constant, since a
/// refused dial on one machine or one network costs next to nothing.
const REDIAL_MS: u64 = 250;

/// A dial that is neither refused nor answered in this time is given up.
const DIAL_MS_MAX: u64 = 2_000;

/// Frames of speech kept for a translator that is away: 2 s.
const BACKLOG_FRAMES_MAX: usize = 2_000 / FRAME_MS as usize;

/// Messages read from one connection before the next one has its turn.
const READ_MESSAGES_MAX: usize = 64;

/// Bits of an [`UtteranceId`] that count utterances within one session; the rest count sessions.
const UTTERANCE_BITS: u32 = 20;

const US_PER_MS: u64 = 1_000;

/// Who a leg is, as its `session_start` says.
#[derive(Clone, Debug)]
pub struct LegIdentity {
    /// Its name inside the gateway.
    pub leg: LegId,
    /// The extension it dialled.
    pub extension: String,
    /// What it speaks (BCP 47).
    pub language: String,
    /// What its partner is to hear (BCP 47).
    pub target_language: String,
    /// Names the call in logs and traces.
    pub call_id: String,
}

/// Where the translator is.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Resolved once, at start; never empty. A dial that fails is followed by one to the next:
    /// a name may have an address of each family and a translator that listens on one of them.
    pub addresses: Vec<SocketAddr>,
    /// `ws://host:port/translate`.
    pub url: String,
}

/// What a leg's translator said, for the thread that owns the leg.
#[derive(Debug)]
pub enum FromTranslator<'a> {
    /// Speech for the partner.
    Speech {
        /// Which utterance, by the gateway's count.
        utterance: UtteranceId,
        /// PCM16 in the byte order of the session.
        pcm: &'a [u8],
        /// Whether more of this utterance follows.
        part: Part,
        /// Whether it is the speaker's own voice, as it is spoken.
        pace: Pace,
    },
    /// What was said.
    Transcript(UtteranceId, Caption<'a>),
    /// What it became.
    Translation(UtteranceId, Caption<'a>),
    /// How long it took.
    Trace(UtteranceId, Trace<'a>),
    /// Something failed.
    Failed(ErrorMessage<'a>),
}

/// What a step changed about the link.
#[derive(Debug, PartialEq)]
pub enum LinkChange {
    /// The session is open.
    Up,
    /// The session is gone, or the first dial failed; told once until the session is open again.
    Down(String),
}

/// Counts of what one leg's link dropped; read and reset by the link thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dropped {
    /// Frames of speech that the translator did not take or that grew too old waiting for it.
    pub uplink_frames: u64,
    /// Messages that were not understood.
    pub messages: u64,
    /// Messages of live audio that was said before the session opened.
    pub stale: u64,
}

/// The samples of a session travel in the machine's usual order; the default of the protocol is
/// for older peers.
pub const ENCODING: Encoding = Encoding::S16le;

/// One leg's end of the link.
#[derive(Debug)]
pub struct LegLink {
    identity: LegIdentity,
    token: Token,
    state: State,
    /// Frames not yet sent: when they were said, and their PCM.
    backlog: VecDeque<(Micros, Vec<u8>)>,
    sequence: u32,
    /// When the newest speech was said that waited for the session to open; 0 if none did.
    kept_until_ms: u64,
    /// Dials that failed, over all addresses of the translator.
    dials_failed: usize,
    /// Counts sessions over all legs, so that utterances of different sessions differ.
    epoch: u32,
    /// Of this session.
    unix_time: UnixTime,
    next_ping: Micros,
    pings_unanswered: u32,
    /// Whether the socket may hold more than was read.
    is_readable: bool,
    /// Whether the translator was lost or did not answer, and has not come back since.
    is_away: bool,
    dropped: Dropped,
    /// Reused for every message.
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Waiting {
        until: Micros,
    },
    Dialling {
        connection: Connection,
        deadline: Micros,
    },
    Open(Connection),
}

impl LegLink {
    /// A leg whose link is dialled at the first [`advance`](Self::advance).
    pub fn new(identity: LegIdentity, token: Token) -> Self {
        Self {
            identity,
            token,
            state: State::Waiting { until: Micros(0) },
            backlog: VecDeque::with_capacity(BACKLOG_FRAMES_MAX),
            sequence: 0,
            kept_until_ms: 0,
            dials_failed: 0,
            epoch: 0,
            unix_time: UnixTime::default(),
            next_ping: Micros(0),
            pings_unanswered: 0,
            is_readable: false,
            is_away: false,
            dropped: Dropped::default(),
            scratch: Vec::new(),
        }
    }

    /// Who it is.
    pub fn identity(&self) -> &LegIdentity {
        &self.identity
    }

    /// Whether speech sent now reaches the translator.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether the translator is known to be away: it was lost, or did not answer a dial. A first
    /// dial under way is neither away nor open.
    pub fn is_away(&self) -> bool {
        self.is_away
    }

    /// Takes the counts since the last call.
    pub fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }

    /// Sends 20 ms of the leg's speech, or keeps it for a while if the link is not open.
    pub fn send_speech(
        &mut self,
        now: Micros,
        said_at: Micros,
        samples: &[i16],
    ) -> Option<LinkChange> {
        if self.is_open() {
            return self.send_audio(now, said_at, |bytes| {
                ENCODING.encode_samples(samples, bytes);
            });
        }
        // The oldest frame's memory is the newest one's.
        let mut pcm = Vec::new();
        if self.backlog.len() == BACKLOG_FRAMES_MAX
            && let Some((_, oldest)) = self.backlog.pop_front()
        {
            pcm = oldest;
            pcm.clear();
            self.dropped.uplink_frames += 1;
        }
        ENCODING.encode_samples(samples, &mut pcm);
        self.backlog.push_back((said_at, pcm));
        None
    }

    /// Whether [`read`](Self::read) may find messages without waiting for the socket.
    pub fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Takes note that there may be something to read. `end` tells that the peer sends no more.
    pub fn mark_readable(&mut self, end: ReadEnd) {
        if let State::Open(connection) | State::Dialling { connection, .. } = &mut self.state {
            connection.mark_readable(end);
        }
        // A link that is down holds nothing that could be read.
        self.is_readable = self.is_open();
    }

    /// Goes on with dialling when the socket is ready.
    pub fn socket_ready(&mut self, now: Micros, sessions: &mut Sessions) -> Option<LinkChange> {
        let State::Dialling { connection, .. } = &mut self.state else {
            return None;
        };
        match connection.advance() {
            Ok(Progress::Pending) => None,
            Ok(Progress::Open) => {
                self.is_readable = true;
                Some(self.opened(now, sessions))
            }
            Err(error) => self.lost(now, &error.to_string()),
        }
    }

    /// Does what time asks for: dial, give a dial up, ping, declare the translator dead.
    pub fn advance(
        &mut self,
        now: Micros,
        endpoint: &Endpoint,
        registry: &Registry,
    ) -> Option<LinkChange> {
        match &self.state {
            State::Waiting { until } if now >= *until => self.dial(now, endpoint, registry),
            State::Dialling { deadline, .. } if now >= *deadline => {
                self.lost(now, "no answer to the dial")
            }
            State::Open(_) if now >= self.next_ping => self.ping(now),
            _ => None,
        }
    }

    /// Reads what has come, a bounded number of messages.
    pub fn read(
        &mut self,
        now: Micros,
        mut receive: impl FnMut(FromTranslator<'_>),
    ) -> Option<LinkChange> {
        for _ in 0..READ_MESSAGES_MAX {
            let State::Open(connection) = &mut self.state else {
                return None;
            };
            match connection.read() {
                Ok(Some(message)) => self.dispatch(&message, &mut receive),
                Ok(None) => {
                    self.is_readable = false;
                    return None;
                }
                Err(error) => return self.lost(now, &error.to_string()),
            }
        }
        None
    }

    /// Sends what is buffered.
    pub fn flush(&mut self, now: Micros) -> Option<LinkChange> {
        let State::Open(connection) = &mut self.state else {
            return None;
        };
        let result = connection.flush();
        result
            .err()
            .and_then(|error| self.lost(now, &error.to_string()))
    }

    /// Begins a new session: what the present one keeps, or still has to say, was for a listener
    /// who has left.
    pub fn restart(&mut self, now: Micros) {
        self.backlog.clear();
        if self.is_open() {
            self.close();
            self.state = State::Waiting { until: now };
            self.is_readable = false;
        }
    }

    /// Says goodbye, as far as the socket takes it at once.
    pub fn close(&mut self) {
        let message = Message::SessionEnd(SessionEnd {
            extension: self.identity.extension.as_str().into(),
        });
        if let State::Open(connection) = &mut self.state {
            // The peer notices the closed socket as well; this only spares it the guess.
            let _ = connection.write(WsMessage::text(message.to_json()));
            let _ = connection.write(WsMessage::Close(None));
            let _ = connection.flush();
        }
    }

    fn dial(
        &mut self,
        now: Micros,
        endpoint: &Endpoint,
        registry: &Registry,
    ) -> Option<LinkChange> {
        let url = format!("{}/{}", endpoint.url, self.identity.extension);
        let address = endpoint.addresses[self.dials_failed % endpoint.addresses.len()];
        let dialled = Connection::dial(address, &url, BINARY_SUBPROTOCOL, registry, self.token);
        match dialled {
            Ok(connection) => {
                self.state = State::Dialling {
                    connection,
                    deadline: now.plus_ms(DIAL_MS_MAX),
                };
                None
            }
            Err(error) => self.lost(now, &error.to_string()),
        }
    }

    fn opened(&mut self, now: Micros, sessions: &mut Sessions) -> LinkChange {
        (self.epoch, self.unix_time) = sessions.begin();
        self.pings_unanswered = 0;
        self.next_ping = now.plus_ms(PING_INTERVAL_MS);
        let State::Dialling { connection, .. } =
            std::mem::replace(&mut self.state, State::Waiting { until: now })
        else {
            return LinkChange::Down("the dial was given up".into());
        };
        self.state = State::Open(connection);
        let start = Message::SessionStart(SessionStart {
            extension: self.identity.extension.as_str().into(),
            language: self.identity.language.as_str().into(),
            target_language: self.identity.target_language.as_str().into(),
            call_id: self.identity.call_id.as_str().into(),
            audio: AudioFormat {
                encoding: ENCODING,
                ..AudioFormat::default()
            },
        });
        if let Some(down) = self.write(now, WsMessage::text(start.to_json())) {
            return down;
        }
        let newest = self.backlog.back();
        self.kept_until_ms = newest.map_or(0, |(said_at, _)| self.unix_time.ms(*said_at));
        for (said_at, pcm) in std::mem::take(&mut self.backlog) {
            let sent = self.send_audio(now, said_at, |bytes| bytes.extend_from_slice(&pcm));
            if let Some(down) = sent {
                return down;
            }
        }
        if let Some(down) = self.flush(now) {
            return down;
        }
        self.is_away = false;
        LinkChange::Up
    }

    /// Sends a frame whose PCM `push_pcm` appends.
    fn send_audio(
        &mut self,
        now: Micros,
        said_at: Micros,
        push_pcm: impl FnOnce(&mut Vec<u8>),
    ) -> Option<LinkChange> {
        let header = Header::Audio {
            sequence: self.sequence,
            timestamp: self.unix_time.ms(said_at),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + SAMPLE_BYTES * FRAME_SAMPLES_MAX);
        bytes.extend_from_slice(&header.to_bytes());
        push_pcm(&mut bytes);
        let State::Open(connection) = &mut self.state else {
            return None;
        };
        match connection.write(WsMessage::binary(bytes)) {
            Ok(Written::Taken) => None,
            Ok(Written::Full) => {
                self.dropped.uplink_frames += 1;
                None
            }
            Err(error) => self.lost(now, &error.to_string()),
        }
    }

    fn ping(&mut self, now: Micros) -> Option<LinkChange> {
        if self.pings_unanswered >= PINGS_UNANSWERED_MAX {
            return self.lost(now, "no sign of life");
        }
        self.pings_unanswered += 1;
        self.next_ping = now.plus_ms(PING_INTERVAL_MS);
        let ping = Message::Ping(Heartbeat {
            id: u64::from(self.sequence),
            timestamp: now.0 / US_PER_MS,
        });
        self.write(now, WsMessage::text(ping.to_json()))
            .or_else(|| self.flush(now))
    }

    fn write(&mut self, now: Micros, message: WsMessage) -> Option<LinkChange> {
        let State::Open(connection) = &mut self.state else {
            return None;
        };
        let result = connection.write(message);
        result
            .err()
            .and_then(|error| self.lost(now, &error.to_string()))
    }

    fn lost(&mut self, now: Micros, reason: &str) -> Option<LinkChange> {
        // A session that was lost is told even if it was as short as the one before.
        let is_news = self.is_open() || !self.is_away;
        if !self.is_open() {
            self.dials_failed = self.dials_failed.wrapping_add(1);
        }
        self.state = State::Waiting {
            until: now.plus_ms(REDIAL_MS),
        };
        self.is_readable = false;
        self.is_away = true;
        is_news.then(|| LinkChange::Down(reason.into()))
    }

    fn dispatch(&mut self, message: &WsMessage, receive: &mut impl FnMut(FromTranslator<'_>)) {
        self.pings_unanswered = 0;
        match message {
            WsMessage::Binary(bytes) => match Frame::decode(bytes) {
                Ok(Frame {
                    header:
                        Header::TranslatedAudio {
                            utterance,
                            last,
                            pace,
                            timestamp,
                        },
                    pcm,
                }) => receive(FromTranslator::Speech {
                    utterance: self.utterance_id(utterance),
                    pcm: self.unless_stale(pace, timestamp, pcm),
                    part: match last {
                        true => Part::Last,
                        false => Part::Middle,
                    },
                    pace,
                }),
                Ok(_) | Err(_) => self.dropped.messages += 1,
            },
            WsMessage::Text(text) => self.dispatch_text(text, receive),
            // Pings are answered by the library, a close is seen by the next read.
            WsMessage::Ping(_) | WsMessage::Pong(_) | WsMessage::Close(_) | WsMessage::Frame(_) => {
            }
        }
    }

    fn dispatch_text(&mut self, text: &str, receive: &mut impl FnMut(FromTranslator<'_>)) {
        match Message::decode(text) {
            Ok(Message::Error(error)) => receive(FromTranslator::Failed(error)),
            Ok(Message::Trace(trace)) => {
                receive(FromTranslator::Trace(
                    self.utterance_id(trace.utterance),
                    trace,
                ));
            }
            Ok(Message::Transcript(caption)) => {
                let utterance = self.utterance_id(caption.utterance);
                receive(FromTranslator::Transcript(utterance, caption));
            }
            Ok(Message::Translation(caption)) => {
                let utterance = self.utterance_id(caption.utterance);
                receive(FromTranslator::Translation(utterance, caption));
            }
            Ok(Message::TranslatedAudio(audio)) => {
                let utterance = self.utterance_id(audio.utterance);
                let pace = match audio.live {
                    true => Pace::Live,
                    false => Pace::Stored,
                };
                let mut pcm = std::mem::take(&mut self.scratch);
                match decode_pcm(&audio.data, &mut pcm) {
                    Ok(()) => receive(FromTranslator::Speech {
                        utterance,
                        pcm: self.unless_stale(pace, audio.timestamp, &pcm),
                        part: match audio.last {
                            true => Part::Last,
                            false => Part::Middle,
                        },
                        pace,
                    }),
                    Err(_) => self.dropped.messages += 1,
                }
                self.scratch = pcm;
            }
            // Any message shows life; a pong does nothing else.
            Ok(Message::Pong(_)) => {}
            Ok(_) | Err(_) => self.dropped.messages += 1,
        }
    }

    /// What was kept for a recogniser is not live any more when it comes back: none of its samples
    /// is heard. The timestamp is our own, so the clocks of the two machines do not matter.
    fn unless_stale<'a>(&mut self, pace: Pace, said_ms: u64, pcm: &'a [u8]) -> &'a [u8] {
        if pace == Pace::Live && (1..=self.kept_until_ms).contains(&said_ms) {
            self.dropped.stale += 1;
            return &[];
        }
        pcm
    }

    fn utterance_id(&self, in_session: u32) -> UtteranceId {
        let mask = (1 << UTTERANCE_BITS) - 1;
        UtteranceId(self.epoch << UTTERANCE_BITS | in_session & mask)
    }
}

fn decode_pcm(data: &Data<'_>, pcm: &mut Vec<u8>) -> io::Result<()> {
    data.decode_into(pcm).map_err(io::Error::other)?;
    debug_assert!(pcm.len().is_multiple_of(SAMPLE_BYTES));
    Ok(())
}
