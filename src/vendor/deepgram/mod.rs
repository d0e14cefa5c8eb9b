//! Recognition by Deepgram's `/v1/listen` stream.
//!
//! ```text
//! AudioReceiver ─▶ binary frames of 20 to 100 ms ─▶ Deepgram ─▶ Results ─▶ RecognitionEvent
//! ```
//! One stream occupies one worker thread, which waits in one poll for the socket and for audio. The
//! audio of a vendor that does not read waits in the channel, whose oldest chunks are dropped:
//! memory is bounded, and nothing blocks the sender. A stream that failed is over; opening another
//! is the caller's decision.

mod messages;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use tungstenite::Connector;
use tungstenite::handshake::client::Response;
use tungstenite::http::header::AUTHORIZATION;
use tungstenite::http::{HeaderName, HeaderValue};

use crate::config;
use crate::vendor::account::{Account, VendorCounters};
use crate::vendor::audio::AudioReceiver;
use crate::vendor::websocket::{self, OpenError, OpenTimeouts, Socket};
use crate::vendor::{FailureKind, Flow, RecognitionEvent, RecognitionRequest};
use crate::vendor::{Recognizer, VendorError};

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Connecting by TCP.
    pub connect: Duration,
    /// TLS and WebSocket upgrade together.
    pub upgrade: Duration,
    /// Without audio for this long, the vendor is told that the stream is alive. It hangs up after
    /// 10 s and advises 3 to 5 s.
    pub keep_alive: Duration,
    /// Between two WebSocket pings, which show that the vendor is alive: nothing else is answered.
    pub ping: Duration,
    /// A vendor of which nothing is heard for this long, pongs included, is dead.
    pub silence: Duration,
    /// A vendor that takes nothing for this long is dead.
    pub write_stall: Duration,
    /// From the end of the audio to the end of the stream.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            upgrade: Duration::from_secs(5),
            keep_alive: Duration::from_secs(4),
            ping: Duration::from_secs(10),
            silence: Duration::from_secs(25),
            write_stall: Duration::from_secs(2),
            drain: Duration::from_secs(3),
        }
    }
}

/// One Deepgram account.
pub struct Deepgram {
    account: Account,
    config: config::Deepgram,
    timeouts: Timeouts,
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Deepgram {
    /// A client for the configured account. Opens nothing yet.
    ///
    /// # Errors
    /// [`FailureKind::Auth`] if there is no usable key.
    pub fn new(config: &config::Deepgram) -> Result<Self, VendorError> {
        let account = Account::new("Deepgram", config.key.as_ref())?;
        Ok(Self {
            account,
            config: config.clone(),
            timeouts: Timeouts::default(),
            tls: None,
        })
    }

    /// Changes how long each step may take.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Trusts what `tls` trusts instead of the public certificate authorities.
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What was counted so far.
    pub fn counters(&self) -> &VendorCounters {
        &self.account.counters
    }

    /// Runs one stream like [`Recognizer::recognize`], and leaves the audio that was not taken to
    /// the next one.
    ///
    /// # Errors
    /// The failure, classified; events told before it stay true.
    pub fn stream(
        &self,
        request: &RecognitionRequest,
        audio: &mut AudioReceiver,
        events: &mut dyn FnMut(RecognitionEvent) -> Flow,
    ) -> Result<(), VendorError> {
        self.account.counters.requests_total.add(1);
        let (socket, request_id) = self.open(request)?;
        log::debug!("Deepgram stream {request_id} open for {}", request.language);
        if events(RecognitionEvent::Opened) == Flow::Stop {
            return Ok(());
        }
        stream::run(&self.account, self.timeouts, socket, audio, events).map_err(|end| {
            self.account
                .failure(end.kind, &format!("{} (stream {request_id})", end.detail))
        })
    }

    fn open(&self, request: &RecognitionRequest) -> Result<(Socket, String), VendorError> {
        let authorization = format!("Token {}", self.account.key.reveal());
        let mut authorization = HeaderValue::try_from(authorization).map_err(|_| {
            self.account
                .failure(FailureKind::Auth, "the key fits no header")
        })?;
        authorization.set_sensitive(true);
        let url = messages::listen_url(&self.config, request);
        let timeouts = OpenTimeouts {
            connect: self.timeouts.connect,
            upgrade: self.timeouts.upgrade,
        };
        let tls = self.tls.clone().map(Connector::Rustls);
        websocket::open(&url, &[(AUTHORIZATION, authorization)], timeouts, tls)
            .map(|(socket, response)| (socket, request_id(&response)))
            .map_err(|error| self.open_failure(&error))
    }

    fn open_failure(&self, error: &OpenError) -> VendorError {
        let OpenError::Refused(response) = error else {
            let kind = error.kind().unwrap_or(FailureKind::Protocol);
            return self.account.failure(kind, &error.to_string());
        };
        let status = response.status().as_u16();
        let body = response.body().as_deref().unwrap_or_default();
        let mut explanation = messages::parse_refusal(body);
        if explanation.trim().is_empty() {
            explanation = header(response, "dg-error")
                .unwrap_or("no explanation")
                .to_owned();
        }
        let detail = format!(
            "HTTP {status} {explanation} (request {})",
            request_id(response)
        );
        self.account
            .failure(messages::refusal_kind(status), &detail)
    }
}

impl Recognizer for Deepgram {
    fn recognize(
        &self,
        request: &RecognitionRequest,
        mut audio: AudioReceiver,
        events: &mut dyn FnMut(RecognitionEvent) -> Flow,
    ) -> Result<(), VendorError> {
        self.stream(request, &mut audio, events)
    }
}

/// The vendor's name for the stream, to be quoted to its support; a proxy may have removed it.
fn request_id(response: &Response) -> String {
    header(response, "dg-request-id")
        .unwrap_or("without id")
        .to_owned()
}

fn header<'a>(response: &'a Response, name: &'static str) -> Option<&'a str> {
    response
        .headers()
        .get(HeaderName::from_static(name))?
        .to_str()
        .ok()
}
