//! The head of an HTTP request, read within bounds, and the answers that are not a WebSocket.
//!
//! Pure: bytes in, a decision or bytes out. A request without an upgrade gets one answer and the
//! connection ends; bodies are not read.

use std::fmt::Write as _;

use tungstenite::handshake::derive_accept_key;

use crate::link::BINARY_SUBPROTOCOL;

/// Bytes of a request head; more is refused with 431. Browsers and proxies stay below.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Header fields of a request; more is refused with 431.
const HEADERS_MAX: usize = 64;

/// Length of a `Sec-WebSocket-Key`: 16 bytes in base64 (RFC 6455 §4.1).
const KEY_CHARS: usize = 24;

/// What a client asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// The wish to speak WebSocket, if it is well formed.
    pub upgrade: Option<Upgrade>,
}

/// A well-formed request to speak WebSocket (RFC 6455 §4.2.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upgrade {
    key: String,
    /// How the client wants audio.
    pub audio_form: AudioForm,
}

/// How audio is sent on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AudioForm {
    /// Binary messages: the client asked for [`BINARY_SUBPROTOCOL`].
    Binary,
    /// JSON.
    Text,
}

/// An answer that ends the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Not HTTP, or an upgrade that is not well formed.
    BadRequest,
    /// The head is too large.
    HeadTooLarge,
    /// Only GET is served.
    MethodNotAllowed,
    /// No such path or extension.
    NotFound,
    /// The head did not come in time.
    Timeout,
    /// As many connections as are served are open.
    Unavailable,
    /// The path is served as WebSocket only.
    UpgradeRequired,
}

impl Refusal {
    /// The status line's code and reason (RFC 9110 §15).
    pub const fn status(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::NotFound => "404 Not Found",
            Self::Timeout => "408 Request Timeout",
            Self::Unavailable => "503 Service Unavailable",
            Self::UpgradeRequired => "426 Upgrade Required",
        }
    }

    const fn headers(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "Allow: GET\r\n",
            Self::Unavailable => "Retry-After: 1\r\n",
            Self::UpgradeRequired => "Upgrade: websocket\r\n",
            _ => "",
        }
    }

    /// The whole answer; `detail` is for people.
    pub fn response(self, detail: &str) -> Vec<u8> {
        let body = serde_json::json!({ "error": detail }).to_string();
        response(self.status(), self.headers(), &body)
    }
}

/// A 200 answer with a JSON body.
pub fn ok_response(body: &str) -> Vec<u8> {
    response("200 OK", "", body)
}

fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Upgrade {
    /// The answer that begins the WebSocket (RFC 6455 §4.2.2).
    pub fn response(&self) -> Vec<u8> {
        let mut text = String::from("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n");
        text.push_str("Connection: Upgrade\r\nSec-WebSocket-Accept: ");
        text.push_str(&derive_accept_key(self.key.as_bytes()));
        if self.audio_form == AudioForm::Binary {
            // Writing to a String does not fail.
            let _ = write!(text, "\r\nSec-WebSocket-Protocol: {BINARY_SUBPROTOCOL}");
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }
}

/// What has been read so far is …
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Head {
    /// … a whole head, of so many bytes.
    Complete(Request, usize),
    /// … the beginning of one.
    Partial,
    /// … nothing that is served.
    Refused(Refusal),
}

/// Reads a request head from everything that has come so far.
pub fn parse_head(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Head::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Head::Refused(Refusal::HeadTooLarge);
        }
        Err(_) => return Head::Refused(Refusal::BadRequest),
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Head::Refused(Refusal::BadRequest);
    };
    let Ok(upgrade) = parse_upgrade(parsed.headers) else {
        return Head::Refused(Refusal::BadRequest);
    };
    let path = target.split('?').next().unwrap_or(target).to_owned();
    Head::Complete(
        Request {
            method: method.to_owned(),
            path,
            upgrade,
        },
        length,
    )
}

/// An upgrade that names WebSocket but is not well formed.
struct Malformed;

fn parse_upgrade(headers: &[httparse::Header<'_>]) -> Result<Option<Upgrade>, Malformed> {
    if !has_token(headers, "upgrade", "websocket") {
        return Ok(None);
    }
    let key = values(headers, "sec-websocket-key")
        .next()
        .unwrap_or_default();
    let is_well_formed = has_token(headers, "connection", "upgrade")
        && has_token(headers, "sec-websocket-version", "13")
        && key.len() == KEY_CHARS;
    if !is_well_formed {
        return Err(Malformed);
    }
    let audio_form = if has_token(headers, "sec-websocket-protocol", BINARY_SUBPROTOCOL) {
        AudioForm::Binary
    } else {
        AudioForm::Text
    };
    Ok(Some(Upgrade {
        key: key.to_owned(),
        audio_form,
    }))
}

fn has_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn values<'a>(headers: &'a [httparse::Header<'_>], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .filter_map(|header| std::str::from_utf8(header.value).ok())
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "GET /translate/7777?x=1 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, \
        Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: other, diglot.binary.v1\r\n\r\n";

    /// The key and its answer are the example of RFC 6455 §1.3.
    #[test]
    fn upgrade_is_answered_as_in_the_rfc() {
        let Head::Complete(request, length) = parse_head(UPGRADE.as_bytes()) else {
            panic!()
        };
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("GET", "/translate/7777")
        );
        assert_eq!(length, UPGRADE.len());
        let upgrade = request.upgrade.unwrap();
        assert_eq!(upgrade.audio_form, AudioForm::Binary);
        let answer = String::from_utf8(upgrade.response()).unwrap();
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(answer.contains("Sec-WebSocket-Protocol: diglot.binary.v1\r\n"));
    }

    #[test]
    fn heads_are_refused_with_their_reason() {
        for length in 0..UPGRADE.len() {
            assert_eq!(
                parse_head(&UPGRADE.as_bytes()[..length]),
                Head::Partial,
                "{length}"
            );
        }
        let refused = |text: String| match parse_head(text.as_bytes()) {
            Head::Refused(refusal) => Some(refusal),
            _ => None,
        };
        assert_eq!(
            refused("\u{1}\u{2}\r\n\r\n".into()),
            Some(Refusal::BadRequest)
        );
        let long = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(HEAD_BYTES_MAX));
        assert_eq!(refused(long), Some(Refusal::HeadTooLarge));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(HEADERS_MAX + 1)
        );
        assert_eq!(refused(many), Some(Refusal::HeadTooLarge));
        let short_key = UPGRADE.replace("dGhl", "");
        assert_eq!(refused(short_key), Some(Refusal::BadRequest));
    }
}
