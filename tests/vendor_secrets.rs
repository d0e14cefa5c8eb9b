//! Goal: the stream is heard through TLS, an unknown certificate ends it, and no log line, at any
//! level, of any library, ever holds a key.
//! Method: a TLS server on loopback with a certificate for "localhost", and a logger that keeps
//! all.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "support/vendor_deepgram.rs"]
mod support;
#[path = "support/vendor_websocket.rs"]
mod websocket;

use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use crate::websocket::Server;
use diglot::vendor::{FailureKind, RecognitionEvent};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use support::*;

/// Self-signed, for "localhost" alone; valid for a hundred years, trusted by nobody.
const CERTIFICATE: &[u8] = include_bytes!("support/vendor_localhost_cert.der");
const PRIVATE_KEY: &[u8] = include_bytes!("support/vendor_localhost_key.der");

static LOG: Log = Log(Mutex::new(String::new()));

struct Log(Mutex<String>);

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {} {}\n", record.level(), record.target(), record.args());
        self.0.lock().unwrap().push_str(&line);
    }

    fn flush(&self) {}
}

fn serve(tcp: TcpStream) -> Option<()> {
    let key = PrivateKeyDer::try_from(PRIVATE_KEY).unwrap();
    let certificates = vec![CertificateDer::from(CERTIFICATE)];
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(certificates, key).unwrap();
    let tls = ServerConnection::new(Arc::new(config)).unwrap();
    let mut socket = tungstenite::accept(StreamOwned::new(tls, tcp)).ok()?;
    assert_eq!(socket.read().unwrap().len(), 2 * LEAD_IN_SAMPLES);
    socket
        .send(words("behind the curtain", r#""is_final":true,"#).into())
        .unwrap();
    while socket
        .read()
        .unwrap()
        .to_text()
        .is_ok_and(|text| text != CLOSE_STREAM)
    {}
    socket.send(METADATA.into()).unwrap();
    while socket.read().is_ok() {}
    Some(())
}

#[test]
fn stream_is_heard_through_tls_and_no_key_is_logged() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    let server = Server::tcp(|tcp| serve(tcp).unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(CERTIFICATE)).unwrap();
    let trust = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let url = server.url.replace("ws://127.0.0.1", "wss://localhost");
    let stream = Stream::start(client(&url).with_tls(Arc::new(trust)));
    assert_eq!(stream.next(), RecognitionEvent::Opened);
    let text = "behind the curtain".to_owned();
    assert_eq!(
        stream.next(),
        RecognitionEvent::Final { text, end_ms: 1000 }
    );
    assert_eq!(stream.end().0, Ok(()));
    server.finish();

    let server = Server::tcp(|tcp| assert_eq!(serve(tcp), None));
    let url = server.url.replace("ws://127.0.0.1", "wss://localhost");
    let error = Stream::start(client(&url)).failure();
    assert_eq!(error.kind, FailureKind::Transient, "{error}");
    assert!(error.detail.contains("certificate"), "{error}");
    server.finish();

    let log = LOG.0.lock().unwrap();
    assert!(log.contains("Deepgram stream"), "nothing was logged at all");
    assert!(!log.contains(KEY), "{log}");
}
