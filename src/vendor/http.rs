//! What the HTTP vendors share: one agent with every timeout set, and one reading of its failures.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::HeaderMap;
use ureq::{Agent, Body};

use crate::vendor::account::Account;
use crate::vendor::{FailureKind, VendorError, retry};

/// Bytes of the largest answer that is text.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// Bytes of the largest response head.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// A connection that has been idle for this long is not used again. Vendors hang up after a minute
/// or more.
const IDLE_MAX: Duration = Duration::from_secs(45);

/// How long each step of a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Resolving, TCP and TLS together.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub answer: Duration,
    /// Between two pieces of the answer.
    pub idle: Duration,
    /// The whole answer.
    pub whole: Duration,
}

/// One failed attempt.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: VendorError,
    /// The vendor's wish, if it named one.
    pub(super) retry_after: Option<Duration>,
}

/// An agent that keeps connections, follows no redirect (they would carry the key elsewhere) and
/// goes through no proxy, as the WebSocket vendors do not either.
pub(super) fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("diglot/", env!("CARGO_PKG_VERSION")))
        .max_response_header_size(HEAD_BYTES_MAX)
        .max_idle_age(IDLE_MAX)
        .build()
        .new_agent()
}

/// Makes attempts until one succeeds, or fails for good, or `deadline` leaves no time for another.
pub(super) fn with_retries<T>(
    account: &Account,
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<T, Failed>,
) -> Result<T, VendorError> {
    let mut rng = fastrand::Rng::new();
    for number in 0.. {
        account.counters.requests_total.add(1);
        let failed = match attempt() {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        let wished = failed.retry_after;
        let delay = retry::delay_within(number, wished, Instant::now(), deadline, &mut rng);
        let Some(delay) = delay.filter(|_| failed.error.kind.is_retryable()) else {
            return Err(failed.error);
        };
        log::debug!("{}; again in {} ms", failed.error, delay.as_millis());
        account.counters.retries_total.add(1);
        thread::sleep(delay);
    }
    unreachable!("the attempts are bounded")
}

/// Reads an answer that is text, of bounded size.
pub(super) fn read_answer(body: Body) -> Result<Vec<u8>, ureq::Error> {
    let mut answer = Vec::new();
    let mut reader = body.into_with_config().limit(ANSWER_BYTES_MAX).reader();
    reader.read_to_end(&mut answer).map_err(ureq::Error::from)?;
    Ok(answer)
}

/// What a failure without an answer means.
pub(super) fn failure_kind(error: &ureq::Error) -> FailureKind {
    use ureq::Error;
    match error {
        Error::Timeout(_) => FailureKind::Timeout,
        Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => FailureKind::Timeout,
        Error::Io(_)
        | Error::HostNotFound
        | Error::ConnectionFailed
        | Error::Tls(_)
        | Error::Rustls(_) => FailureKind::Transient,
        Error::BadUri(_) | Error::Http(_) => FailureKind::BadRequest,
        _ => FailureKind::Protocol,
    }
}

/// The vendor's wish not to be asked again for so many seconds; dates are not understood.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get("retry-after")?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// A header's text; empty if it is absent.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Appends `value` as RFC 3986 §2.3 wants it: all but the unreserved characters encoded.
pub(super) fn push_percent_encoded(url: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 0xf));
            url.extend(['%', char::from(HEX[high]), char::from(HEX[low])]);
        }
    }
}
