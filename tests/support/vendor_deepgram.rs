//! A Deepgram client under test, its stream on a thread of its own, and the vendor's literal words.
#![allow(dead_code)]

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::websocket::{PATIENCE, Peer};
use diglot::config::{self, Secret};
use diglot::vendor::audio::{AudioSender, audio_channel};
use diglot::vendor::deepgram::{Deepgram, Timeouts};
use diglot::vendor::{Flow, RecognitionEvent, RecognitionRequest, Recognizer, VendorError};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

pub(crate) const KEY: &str = "k3y-of-the-tests";
pub(crate) const METADATA: &str =
    r#"{"type":"Metadata","request_id":"request-1","duration":1.0,"channels":1}"#;
pub(crate) const CLOSE_STREAM: &str = r#"{"type":"CloseStream"}"#;
pub(crate) const KEEP_ALIVE: &str = r#"{"type":"KeepAlive"}"#;

/// The silence a stream begins with.
pub(crate) const LEAD_IN_SAMPLES: usize = 320;

/// Short enough for a test, long enough for a busy machine.
pub(crate) const BRIEF: Duration = Duration::from_millis(150);

pub(crate) fn client(url: &str) -> Deepgram {
    let config = config::Deepgram {
        url: url.to_owned(),
        key: Some(Secret::new(KEY.to_owned())),
        model: "nova-3".to_owned(),
        endpointing_ms: 300,
    };
    let timeouts = Timeouts {
        drain: PATIENCE,
        write_stall: PATIENCE,
        ..Timeouts::default()
    };
    Deepgram::new(&config).unwrap().with_timeouts(timeouts)
}

/// Runs one stream to its end and gives what was told with it.
pub(crate) struct Stream {
    pub(crate) audio: AudioSender,
    pub(crate) events: mpsc::Receiver<RecognitionEvent>,
    pub(crate) result: thread::JoinHandle<(Result<(), VendorError>, Deepgram)>,
}

impl Stream {
    pub(crate) fn start(client: Deepgram) -> Self {
        let (audio, receiver) = audio_channel(100);
        let (tell, events) = mpsc::channel();
        let result = thread::spawn(move || {
            let request = RecognitionRequest {
                language: "en".to_owned(),
            };
            let result =
                client.recognize(&request, receiver, &mut |event| match tell.send(event) {
                    Ok(()) => Flow::Continue,
                    Err(_) => Flow::Stop,
                });
            (result, client)
        });
        Self {
            audio,
            events,
            result,
        }
    }

    pub(crate) fn next(&self) -> RecognitionEvent {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    /// Ends the audio and waits for the end of the stream.
    pub(crate) fn end(self) -> (Result<(), VendorError>, Vec<RecognitionEvent>, Deepgram) {
        drop(self.audio);
        let (result, client) = join(self.result);
        (result, self.events.try_iter().collect(), client)
    }

    /// Waits for the stream to fail while audio could still come.
    pub(crate) fn failure(self) -> VendorError {
        let Self { audio, result, .. } = self;
        let error = join(result).0.unwrap_err();
        drop(audio);
        error
    }
}

/// The thread's last word, which comes in time.
pub(crate) fn join<T>(thread: thread::JoinHandle<T>) -> T {
    let begin = Instant::now();
    while !thread.is_finished() {
        assert!(begin.elapsed() < PATIENCE, "the stream goes on");
        thread::yield_now();
    }
    thread.join().unwrap()
}

pub(crate) fn words(text: &str, flags: &str) -> String {
    format!(
        r#"{{"type":"Results","channel_index":[0,1],"start":0.02,"duration":1.0,{flags}"new":[{{}}],
        "channel":{{"alternatives":[{{"transcript":"{text}","confidence":0.9,"words":[]}}]}},
        "metadata":{{"request_id":"request-1"}}}}"#
    )
}

pub(crate) fn finish(peer: &mut Peer) {
    peer.say(METADATA);
    let _ = peer.socket.close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }));
    peer.until_gone();
}
