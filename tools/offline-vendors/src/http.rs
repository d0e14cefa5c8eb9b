//! As much HTTP/1.1 as the vendors' clients need: bounded request in, response or chunked stream
//! out.
//!
//! It refuses heads over [`HEAD_BYTES_MAX`], bodies over the caller's bound, chunked requests, and
//! anything slower than [`REQUEST_DEADLINE`]. A connection serves requests one after another.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Largest request line and headers together, in bytes (DeepL's documented bound).
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Longest time from a request's first byte to its last.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// Longest time a kept connection may stay without a request.
pub const IDLE_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time one write may block.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes asked of the socket at once.
const READ_BYTES: usize = 8 << 10;

/// Why no request could be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// The peer closed or the socket failed: nothing to answer.
    Closed,
    /// Answer with this status and close.
    Refused(u16),
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Refused(408),
            _ => Self::Closed,
        }
    }
}

/// A request's head, and its body once read.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Upper-case method.
    pub method: String,
    /// Decoded path without query.
    pub path: String,
    /// Decoded query parameters in order, repetitions kept.
    pub query: Vec<(String, String)>,
    /// Header names in lower case, values trimmed.
    pub headers: Vec<(String, String)>,
    /// The body; empty until read.
    pub body: Vec<u8>,
    /// Whether the connection ends after this request.
    pub is_last: bool,
}

impl Request {
    /// The first header of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The last value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the media type is JSON, whatever its parameters.
    pub fn is_json(&self) -> bool {
        self.header("content-type")
            .and_then(|value| value.split(';').next())
            .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
    }
}

/// A response whose body is known.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers besides length and connection.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// A JSON response.
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self {
            status,
            headers,
            body: body.to_string().into_bytes(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// One client connection with the bytes read ahead of what was asked.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// When the socket refuses its options.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_DEADLINE))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Waits for the next request and reads its head.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn read_head(&mut self) -> Result<Request, RequestError> {
        if self.buffer.is_empty() && !self.fill(Instant::now() + IDLE_DEADLINE).unwrap_or(false) {
            return Err(RequestError::Closed);
        }
        let deadline = Instant::now() + REQUEST_DEADLINE;
        loop {
            if let Some((request, length)) = parse_head(&self.buffer)? {
                self.buffer.drain(..length);
                return Ok(request);
            }
            if self.buffer.len() >= HEAD_BYTES_MAX {
                return Err(RequestError::Refused(431));
            }
            if !self.fill(deadline)? {
                return Err(RequestError::Closed);
            }
        }
    }

    /// Reads the body into `request`, at most `bytes_max`.
    ///
    /// # Errors
    /// `Refused(413)` when it is larger, `Refused(411)` when its length is not given; the
    /// connection must then be closed.
    pub fn read_body(
        &mut self,
        request: &mut Request,
        bytes_max: usize,
    ) -> Result<(), RequestError> {
        if request.header("transfer-encoding").is_some() {
            return Err(RequestError::Refused(411));
        }
        let length = match request.header("content-length") {
            None => 0,
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| RequestError::Refused(400))?,
        };
        if length > bytes_max {
            return Err(RequestError::Refused(413));
        }
        if request
            .header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let deadline = Instant::now() + REQUEST_DEADLINE;
        while self.buffer.len() < length {
            if !self.fill(deadline)? {
                return Err(RequestError::Closed);
            }
        }
        request.body = self.buffer.drain(..length).collect();
        Ok(())
    }

    /// Sends a whole response.
    ///
    /// # Errors
    /// When the peer is gone or too slow.
    pub fn send(&mut self, response: &Response, is_last: bool) -> io::Result<()> {
        let mut bytes = head(response.status, &response.headers, is_last);
        bytes.extend(format!("content-length: {}\r\n\r\n", response.body.len()).into_bytes());
        bytes.extend(&response.body);
        self.stream.write_all(&bytes)
    }

    /// Sends a body in chunks whose sizes cycle through `sizes` (each at least 1).
    ///
    /// # Errors
    /// When the peer is gone or too slow.
    pub fn send_chunked(
        &mut self,
        headers: &[(String, String)],
        body: &[u8],
        sizes: &[usize],
    ) -> io::Result<()> {
        let mut bytes = head(200, headers, false);
        bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
        self.stream.write_all(&bytes)?;
        let mut rest = body;
        for size in sizes.iter().cycle() {
            let (chunk, after) = rest.split_at((*size).clamp(1, rest.len().max(1)).min(rest.len()));
            if chunk.is_empty() {
                break;
            }
            let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
            framed.extend(chunk);
            framed.extend(b"\r\n");
            self.stream.write_all(&framed)?;
            rest = after;
        }
        self.stream.write_all(b"0\r\n\r\n")
    }

    /// Sends raw bytes and gives the socket away with what was read ahead.
    ///
    /// # Errors
    /// When the peer is gone or too slow.
    pub fn switch_protocols(mut self, bytes: &[u8]) -> io::Result<(TcpStream, Vec<u8>)> {
        self.stream.write_all(bytes)?;
        Ok((self.stream, self.buffer))
    }

    /// Reads more bytes; `false` at the end of the stream.
    fn fill(&mut self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; READ_BYTES];
        let count = self.stream.read(&mut bytes)?;
        self.buffer.extend(&bytes[..count]);
        Ok(count > 0)
    }
}

fn head(status: u16, headers: &[(String, String)], is_last: bool) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if is_last {
        text.push_str("connection: close\r\n");
    }
    text.into_bytes()
}

/// The standard phrase of the statuses in use.
pub fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Payload Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Entity",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Request, usize)>, RequestError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(RequestError::Refused(431)),
        Err(_) => return Err(RequestError::Refused(400)),
    };
    let target = parsed.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: parsed.method.unwrap_or("").to_owned(),
        path: percent_decoded(path).ok_or(RequestError::Refused(400))?,
        ..Request::default()
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = [name, value].map(|text| percent_decoded(&text.replace('+', " ")));
        let [Some(name), Some(value)] = decoded else {
            return Err(RequestError::Refused(400));
        };
        request.query.push((name, value));
    }
    for header in parsed.headers.iter() {
        let value = String::from_utf8_lossy(header.value).trim().to_owned();
        request
            .headers
            .push((header.name.to_ascii_lowercase(), value));
    }
    let connection = request
        .header("connection")
        .unwrap_or("")
        .to_ascii_lowercase();
    request.is_last = connection.contains("close") || parsed.version == Some(0);
    Ok(Some((request, length)))
}

/// `None` for a broken escape or bytes that are not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?].map(|digit| (digit as char).to_digit(16));
            let [Some(high), Some(low)] = digits else {
                return None;
            };
            // Two hexadecimal digits fit in a byte.
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a head is taken apart fully. Method: one with escapes, repeats and mixed case.
    #[test]
    fn heads_are_parsed() {
        let bytes = b"GET /v1/a%20b?x=1&x=%C3%A9+b HTTP/1.1\r\nHost: h\r\n\
            Content-Type: application/json; charset=utf-8\r\n\r\nrest";
        let (request, length) = parse_head(bytes).expect("valid").expect("complete");
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("GET", "/v1/a b")
        );
        assert_eq!(request.parameter("x"), Some("é b"));
        assert_eq!(request.query.len(), 2);
        assert!(request.is_json() && !request.is_last);
        assert_eq!(&bytes[length..], b"rest");
    }

    /// Goal: no head, however cut or broken, is taken for a good one. Method: every truncation,
    /// bad escapes.
    #[test]
    fn broken_heads_are_not_accepted() {
        let bytes = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        for length in 0..bytes.len() {
            assert!(
                matches!(parse_head(&bytes[..length]), Ok(None)),
                "{length} bytes"
            );
        }
        for bad in [
            "GET /%zz HTTP/1.1\r\n\r\n",
            "GET /%f HTTP/1.1\r\n\r\n",
            "GET /%ff HTTP/1.1\r\n\r\n",
            "\0\r\n\r\n",
        ] {
            assert!(
                matches!(parse_head(bad.as_bytes()), Err(RequestError::Refused(400))),
                "{bad:?}"
            );
        }
    }
}
