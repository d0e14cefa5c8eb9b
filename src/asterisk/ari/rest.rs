//! REST requests to Asterisk, on a few blocking workers, so that one slow reply holds up no other
//! call. Whatever happens to a request, its ticket comes back with a [`Reply`].

use std::fmt::Write as _;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use diglot_rt::limits::LEGS_MAX;
use diglot_rt::msg::Codec;
use ureq::Agent;

use super::model::{self, ModelError};
use crate::call::Input;
use crate::call::ari::{HangupCause, Reply, Request, Snapshot, Ticket};
use crate::config::Ari;

/// Requests under way at once. A reply takes 1 to 9 ms (measured), a set-up four of them.
const WORKERS: usize = 4;

/// Requests waiting for a worker: one of every leg, and as many for what no leg owns.
const QUEUE_MAX: usize = 2 * LEGS_MAX;

/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(1);

/// Longest wait for a reply, from the beginning of the request.
const REPLY_WAIT: Duration = Duration::from_secs(3);

/// An idle connection is not used again after this long: Asterisk closes it after 15 s
/// (`session_keep_alive` of http.conf), and a request must not meet the closing.
const IDLE_AGE_MAX: Duration = Duration::from_secs(5);

/// Bytes of the longest reply that is read: a thousand channels of 600 bytes, six times over.
const REPLY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The workers, and the queue to them.
pub(in crate::asterisk) struct Workers {
    queue: Sender<(Ticket, Request)>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts the threads; they end when this is dropped.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(in crate::asterisk) fn start(ari: &Ari, inbox: &Sender<Input>) -> std::io::Result<Self> {
        let (queue, requests) = bounded(QUEUE_MAX);
        let mut threads = Vec::with_capacity(WORKERS);
        for n in 0..WORKERS {
            let (rest, requests, inbox) = (Rest::new(ari), requests.clone(), inbox.clone());
            let builder = std::thread::Builder::new().name(format!("ari-rest-{n}"));
            threads.push(builder.spawn(move || work(&rest, &requests, &inbox))?);
        }
        Ok(Self { queue, threads })
    }

    /// Queues a request; gives it back if the queue is full.
    pub(in crate::asterisk) fn submit(
        &self,
        ticket: Ticket,
        request: Request,
    ) -> Result<(), Ticket> {
        self.queue
            .try_send((ticket, request))
            .map_err(|error| match error {
                TrySendError::Disconnected((ticket, _)) | TrySendError::Full((ticket, _)) => ticket,
            })
    }

    /// Waits until queued requests are done. Replies must still be taken, or their receiver gone.
    pub(in crate::asterisk) fn join(self) {
        drop(self.queue);
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("a worker for Asterisk's REST interface panicked");
            }
        }
    }
}

fn work(rest: &Rest, requests: &Receiver<(Ticket, Request)>, inbox: &Sender<Input>) {
    while let Ok((ticket, request)) = requests.recv() {
        let reply = rest.perform(&request);
        if inbox.send(Input::Reply { ticket, reply }).is_err() {
            return;
        }
    }
}

/// One worker's connection to Asterisk.
struct Rest {
    agent: Agent,
    base: String,
    authorization: String,
    app: String,
}

/// Why there is no reply to make sense of.
#[derive(Debug, thiserror::Error)]
enum RestError {
    #[error(transparent)]
    Http(#[from] ureq::Error),
    #[error("unreadable reply: {0}")]
    Model(#[from] ModelError),
    #[error("status {0}")]
    Status(u16),
}

impl Rest {
    fn new(ari: &Ari) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_WAIT))
            .timeout_global(Some(REPLY_WAIT))
            .max_idle_age(IDLE_AGE_MAX);
        Self {
            agent: config.build().new_agent(),
            base: format!("{}/ari", ari.url),
            authorization: authorization(ari),
            app: ari.app.clone(),
        }
    }

    fn perform(&self, request: &Request) -> Reply {
        let begun = Instant::now();
        let result = match request {
            Request::CreateMedia { .. } => self.create_media(request),
            Request::List => self.list().map(Reply::Listed),
            _ => self.call(request).map(|(status, _)| Reply::Status(status)),
        };
        let elapsed = begun.elapsed();
        match result {
            Ok(reply) => {
                log::debug!(
                    "ARI {}: {} in {elapsed:?}",
                    path(request, &self.app),
                    outcome(&reply)
                );
                reply
            }
            Err(error) => {
                log::warn!("ARI {}: {error} in {elapsed:?}", path(request, &self.app));
                match error {
                    RestError::Status(status) => Reply::Status(status),
                    RestError::Http(_) | RestError::Model(_) => Reply::NoReply,
                }
            }
        }
    }

    fn create_media(&self, request: &Request) -> Result<Reply, RestError> {
        match self.call(request)? {
            (200..300, body) => Ok(Reply::MediaCreated(model::parse_media(&body)?)),
            (status, _) => Ok(Reply::Status(status)),
        }
    }

    fn list(&self) -> Result<Snapshot, RestError> {
        // The application first: a channel that leaves it while we ask must not look like a caller
        // who is still there.
        let application = self.read(&format!("/applications/{}", encode(&self.app)))?;
        let bridges = self.read("/bridges")?;
        let channels = self.read("/channels")?;
        Ok(model::parse_snapshot(
            &self.app,
            &channels,
            &bridges,
            &application,
        )?)
    }

    fn read(&self, path: &str) -> Result<String, RestError> {
        let url = format!("{}{path}", self.base);
        let get = self
            .agent
            .get(url)
            .header("Authorization", &self.authorization);
        match body_of(get.call()?)? {
            (200, body) => Ok(body),
            (status, _) => Err(RestError::Status(status)),
        }
    }

    fn call(&self, request: &Request) -> Result<(u16, String), RestError> {
        let url = format!("{}{}", self.base, path(request, &self.app));
        let response = match request {
            Request::DeleteBridge { .. } | Request::DeleteChannel { .. } => self
                .agent
                .delete(url)
                .header("Authorization", &self.authorization)
                .call()?,
            _ => self
                .agent
                .post(url)
                .header("Authorization", &self.authorization)
                .send_empty()?,
        };
        body_of(response)
    }
}

fn body_of(mut response: ureq::http::Response<ureq::Body>) -> Result<(u16, String), RestError> {
    let status = response.status().as_u16();
    // Read to the end, or the connection cannot be used again.
    let body = response
        .body_mut()
        .with_config()
        .limit(REPLY_BYTES_MAX)
        .read_to_string()?;
    Ok((status, body))
}

/// The value of the `Authorization` header (RFC 7617). Never logged.
pub(super) fn authorization(ari: &Ari) -> String {
    let credentials = format!("{}:{}", ari.user, ari.password.reveal());
    format!("Basic {}", STANDARD.encode(credentials))
}

/// Path and query of a request.
fn path(request: &Request, app: &str) -> String {
    match request {
        Request::AddToBridge {
            bridge,
            channels: [caller, media],
        } => {
            let (bridge, caller, media) = (encode(bridge), encode(caller), encode(media));
            format!("/bridges/{bridge}/addChannel?channel={caller},{media}")
        }
        Request::Answer { channel } => format!("/channels/{}/answer", encode(channel)),
        Request::CreateBridge { bridge } => {
            let bridge = encode(bridge);
            format!("/bridges?type=mixing&bridgeId={bridge}&name={bridge}")
        }
        Request::CreateMedia {
            channel,
            external_host,
            codec,
        } => format!(
            "/channels/externalMedia?channelId={}&app={}&external_host={}&format={}",
            encode(channel),
            encode(app),
            encode(&external_host.to_string()),
            format_name(*codec),
        ),
        Request::DeleteBridge { bridge } => format!("/bridges/{}", encode(bridge)),
        Request::DeleteChannel { channel, cause } => {
            format!(
                "/channels/{}?reason={}",
                encode(channel),
                cause_name(*cause)
            )
        }
        Request::List => "list".to_owned(),
    }
}

/// Asterisk's name of a format.
fn format_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Alaw => "alaw",
        Codec::G722 => "g722",
        Codec::Slin => "slin",
        Codec::Slin16 => "slin16",
        Codec::Ulaw => "ulaw",
    }
}

/// Asterisk's name of a hang-up reason.
fn cause_name(cause: HangupCause) -> &'static str {
    match cause {
        HangupCause::Congestion => "congestion",
        HangupCause::Normal => "normal",
        HangupCause::Unallocated => "unallocated",
    }
}

fn outcome(reply: &Reply) -> String {
    match reply {
        Reply::Listed(snapshot) => {
            format!(
                "{} channels, {} bridges",
                snapshot.channels.len(),
                snapshot.bridges.len()
            )
        }
        Reply::MediaCreated(remote) => format!("media at {remote}"),
        Reply::NoReply => "no reply".to_owned(),
        Reply::Status(status) => status.to_string(),
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => write!(encoded, "%{byte:02X}").expect("writing to a String cannot fail"),
        }
    }
    encoded
}
