//! As much of HTTP as the fake Asterisk's REST interface needs.

use std::collections::VecDeque;
use std::io::Read;
use std::net::TcpStream;

/// A request without a body.
pub(super) struct HttpRequest {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) authorization: String,
}

impl HttpRequest {
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn parameter(&self, name: &str) -> String {
        let query = self.target.split('?').nth(1).unwrap_or_default();
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(key, _)| *key == name).map(|(_, value)| value);
        value
            .unwrap_or_else(|| panic!("no {name} in {}", self.target))
            .to_owned()
    }
}

/// Reads one request; those of ARI have no body.
pub(super) fn read_request(stream: &mut TcpStream) -> Option<HttpRequest> {
    let mut head = VecDeque::new();
    let mut byte = [0];
    while !head.iter().rev().take(4).eq(b"\n\r\n\r".iter()) {
        stream.read_exact(&mut byte).ok()?;
        head.push_back(byte[0]);
    }
    let head = String::from_utf8(head.into()).expect("ASCII");
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ').map(str::to_owned);
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("authorization")
            .then(|| value.trim().to_owned())
    };
    let authorization = lines.find_map(header).unwrap_or_default();
    Some(HttpRequest {
        method: words.next()?,
        target: words.next()?,
        authorization,
    })
}
