//! The one process: accepts connections, bounds them, routes each request to its vendor.
//!
//! Every connection has a thread and deadlines; past [`CONNECTIONS_MAX`] new ones are closed at
//! once.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::json;

use crate::http::{Connection, Request, RequestError, Response};
use crate::phrase_book::{Language, PhraseBook};
use crate::recognizer::Recognizer;
use crate::{deepgram, deepl, elevenlabs};

/// Most connections at once: the product keeps a few per call leg.
pub const CONNECTIONS_MAX: u64 = 256;

/// Which of DeepL's two hosts this process plays: keys of the other kind are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeeplHost {
    /// `api-free`: keys end in `:fx`.
    Free,
    /// `api`: keys do not.
    Pro,
}

/// What `serve` was asked for.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The key Deepgram clients must send.
    pub deepgram_key: String,
    /// The key DeepL clients must send.
    pub deepl_key: String,
    /// Which DeepL host is played.
    pub deepl_host: DeeplHost,
    /// The key ElevenLabs clients must send.
    pub elevenlabs_key: String,
    /// Deepgram streams at once before 429.
    pub streams_max: u64,
    /// ElevenLabs requests at once before 429.
    pub speech_requests_max: u64,
    /// Decoders per language.
    pub recognizers: usize,
    /// Characters DeepL translates before 456.
    pub deepl_characters_max: u64,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            deepgram_key: "offline-deepgram-key".to_owned(),
            deepl_key: "offline-deepl-key".to_owned(),
            deepl_host: DeeplHost::Pro,
            elevenlabs_key: "offline-elevenlabs-key".to_owned(),
            streams_max: 50,
            speech_requests_max: 20,
            recognizers: 2,
            deepl_characters_max: 500_000_000,
        }
    }
}

/// What is going on, for `/healthz`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections open now.
    pub connections: AtomicU64,
    /// Deepgram streams open now.
    pub streams: AtomicU64,
    /// Deepgram streams ever opened.
    pub streams_total: AtomicU64,
    /// ElevenLabs requests being served now.
    pub speech_requests: AtomicU64,
    /// Utterances recognised.
    pub utterances_recognized_total: AtomicU64,
    /// Utterances refused as out of the book.
    pub utterances_rejected_total: AtomicU64,
    /// Characters translated: DeepL's usage.
    pub deepl_characters_total: AtomicU64,
    /// Texts given back untranslated because the book does not hold them.
    pub deepl_unknown_total: AtomicU64,
}

/// All that connection threads share.
#[derive(Debug)]
pub struct Shared {
    /// What `serve` was asked for.
    pub options: ServerOptions,
    /// The phrase book.
    pub book: Arc<PhraseBook>,
    /// One recogniser per language, indexed by it.
    pub recognizers: [Arc<Recognizer>; 2],
    /// Gauges and totals.
    pub counters: Counters,
}

/// A bound, warmed server.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Server {
    /// Binds and warms the recognisers; both must work before anything is served.
    ///
    /// # Errors
    /// A plain line naming what is missing or taken.
    pub fn bind(address: &str, options: ServerOptions, book: PhraseBook) -> Result<Self, String> {
        let listener = TcpListener::bind(address)
            .map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let book = Arc::new(book);
        let recognizers = warm(&book, options.recognizers)?;
        let counters = Counters::default();
        let shared = Shared {
            options,
            book,
            recognizers,
            counters,
        };
        Ok(Self {
            listener,
            shared: Arc::new(shared),
        })
    }

    /// The bound address.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the listener fails.
    ///
    /// # Errors
    /// The listener's.
    pub fn run(self) -> io::Result<()> {
        self.make_ready_in_background();
        for stream in self.listener.incoming() {
            let stream = match stream {
                Ok(stream) => stream,
                Err(error) if is_peers_fault(&error) => continue,
                Err(error) => return Err(error),
            };
            let Some(open) = Gauge::enter(&self.shared, |c| &c.connections, CONNECTIONS_MAX) else {
                continue;
            };
            let shared = Arc::clone(&self.shared);
            let spawned = thread::Builder::new()
                .name("connection".to_owned())
                .spawn(move || {
                    let _open = open;
                    serve_connection(stream, &shared);
                });
            if let Err(error) = spawned {
                log_line(&format!("connection refused: {error}"));
            }
        }
        Ok(())
    }
}

/// Counts one thing as going on until dropped.
pub struct Gauge {
    shared: Arc<Shared>,
    select: fn(&Counters) -> &AtomicU64,
}

impl Gauge {
    /// Counts up, unless `max` are going on already.
    pub fn enter(
        shared: &Arc<Shared>,
        select: fn(&Counters) -> &AtomicU64,
        max: u64,
    ) -> Option<Self> {
        let before = select(&shared.counters).fetch_add(1, Ordering::SeqCst);
        // Made before the check, so that a refusal counts down again as well.
        let gauge = Self {
            shared: Arc::clone(shared),
            select,
        };
        (before < max).then_some(gauge)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.select)(&self.shared.counters).fetch_sub(1, Ordering::SeqCst);
    }
}

/// Prints one line of what happened; a reader who went away is not our concern.
pub fn log_line(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// An id in the shape the vendors use (UUID version 4).
pub fn request_id() -> String {
    let bits = fastrand::u128(..);
    let digits = format!("{bits:032x}");
    let variant = ["8", "9", "a", "b"][fastrand::usize(..4)];
    let (a, b, c, d) = (
        &digits[..8],
        &digits[8..12],
        &digits[13..16],
        &digits[17..20],
    );
    format!("{a}-{b}-4{c}-{variant}{d}-{}", &digits[20..])
}

impl Server {
    /// Has everything made ahead that the first caller would else wait for.
    fn make_ready_in_background(&self) {
        for recognizer in self.shared.recognizers.clone() {
            let made = thread::Builder::new()
                .name("templates".to_owned())
                .spawn(move || {
                    if let Err(error) = recognizer.warm() {
                        log_line(&format!("templates: {error}"));
                    }
                });
            if let Err(error) = made {
                // They are made when needed.
                log_line(&format!("templates: {error}"));
            }
        }
    }
}

fn warm(book: &Arc<PhraseBook>, decoders: usize) -> Result<[Arc<Recognizer>; 2], String> {
    let warming = Language::ALL.map(|language| {
        let book = Arc::clone(book);
        thread::spawn(move || Recognizer::new(book, language, decoders).map(Arc::new))
    });
    let [english, french] = warming.map(|thread| {
        thread
            .join()
            .unwrap_or_else(|_| Err("a recogniser panicked".to_owned()))
    });
    Ok([english?, french?])
}

/// Errors of one connection attempt, not of the listener.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn serve_connection(stream: TcpStream, shared: &Arc<Shared>) {
    let Ok(mut connection) = Connection::new(stream) else {
        return;
    };
    loop {
        let request = match connection.read_head() {
            Ok(request) => request,
            Err(RequestError::Closed) => return,
            Err(RequestError::Refused(status)) => return refuse(&mut connection, status),
        };
        if request.path == "/v1/listen" {
            return deepgram::serve(connection, &request, shared);
        }
        let is_last = request.is_last;
        match answer(&mut connection, request, shared) {
            Ok(()) if !is_last => {}
            Ok(()) | Err(RequestError::Closed) => return,
            Err(RequestError::Refused(status)) => return refuse(&mut connection, status),
        }
    }
}

fn answer(
    connection: &mut Connection,
    mut request: Request,
    shared: &Arc<Shared>,
) -> Result<(), RequestError> {
    if request.path.starts_with("/v1/text-to-speech/") {
        connection.read_body(&mut request, elevenlabs::BODY_BYTES_MAX)?;
        return Ok(elevenlabs::serve(connection, &request, shared)?);
    }
    let body_max = if request.path == "/v2/translate" {
        deepl::BODY_BYTES_MAX
    } else {
        0
    };
    connection.read_body(&mut request, body_max)?;
    let response = match request.path.as_str() {
        "/v2/translate" => deepl::translate(&request, shared),
        "/v2/usage" => deepl::usage(&request, shared),
        "/healthz" => health(shared),
        _ => Response::json(404, &json!({ "message": "Not found" })),
    };
    Ok(connection.send(&response, request.is_last)?)
}

/// The connection ends after it: where the next request would begin is unknown.
fn refuse(connection: &mut Connection, status: u16) {
    let message = json!({ "message": crate::http::reason(status) });
    // A peer that is gone cannot be told.
    let _ = connection.send(&Response::json(status, &message), true);
}

fn health(shared: &Shared) -> Response {
    let counters = &shared.counters;
    let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    Response::json(
        200,
        &json!({
            "status": "ready",
            "phrases": shared.book.phrases_count(),
            "connections": read(&counters.connections),
            "streams": read(&counters.streams),
            "streams_total": read(&counters.streams_total),
            "speech_requests": read(&counters.speech_requests),
            "utterances_recognized_total": read(&counters.utterances_recognized_total),
            "utterances_rejected_total": read(&counters.utterances_rejected_total),
            "deepl_characters_total": read(&counters.deepl_characters_total),
            "deepl_unknown_total": read(&counters.deepl_unknown_total),
        }),
    )
}
