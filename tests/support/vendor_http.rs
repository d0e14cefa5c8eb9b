//! An HTTP server on loopback that answers with literal bytes, for tests of vendors' clients. It
//! knows nothing of the product's types.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server whose script is handed one connection after the other.
pub(crate) struct Server {
    /// `http://127.0.0.1:port`.
    pub(crate) url: String,
    script: JoinHandle<()>,
}

/// Accepts connections; the script asks for them.
pub(crate) struct Door(TcpListener);

/// One connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// One request as it came.
pub(crate) struct Request {
    /// Method, path and version.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Server {
    /// Serves as the script says.
    pub(crate) fn start(script: impl FnOnce(&Door) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = thread::spawn(move || script(&Door(listener)));
        Self { url, script }
    }

    /// Answers one request on each connection, in this order, and hangs up.
    pub(crate) fn answers(answers: Vec<Vec<u8>>) -> Self {
        Self::start(move |door| {
            for answer in answers {
                let mut connection = door.accept();
                connection.request();
                connection.send(&answer);
            }
        })
    }

    /// The script has come to its end, and all it expected was so.
    pub(crate) fn finish(self) {
        if let Err(panic) = self.script.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Door {
    pub(crate) fn accept(&self) -> Connection {
        let (tcp, _) = self.0.accept().unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Connection {
            stream: BufReader::new(tcp),
        }
    }
}

impl Connection {
    /// Waits for the next request.
    pub(crate) fn request(&mut self) -> Request {
        let line = self.line();
        let mut headers = Vec::new();
        loop {
            let header = self.line();
            let Some((name, value)) = header.split_once(':') else {
                break;
            };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut request = Request {
            line,
            headers,
            body: String::new(),
        };
        let len = request.header("content-length").parse().unwrap();
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).unwrap();
        request.body = String::from_utf8(body).unwrap();
        request
    }

    /// Sends bytes as they are; a client that has gone is no failure.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Waits for the client to hang up.
    pub(crate) fn until_gone(&mut self) {
        while self.stream.read(&mut [0; 64]).is_ok_and(|len| len > 0) {}
    }

    /// Makes the end of the connection a reset.
    pub(crate) fn reset(self) {
        let tcp = self.stream.into_inner();
        socket2::SockRef::from(&tcp)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Request {
    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(header, _)| header == name);
        header.map_or("", |(_, value)| value.as_str())
    }
}

/// A whole answer.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}
