//! One phone on one socket: a thread that sends on the clock, and one that listens.
//!
//! It calls as Asterisk's ExternalMedia would: audio goes to one address, and only that address is
//! listened to. Refuses nothing the network sends; everything is counted.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::codec::UplinkCodec;
use crate::downlink::{Downlink, DownlinkReport, Heard};
use crate::pacer::{Pacer, time_of};
use crate::playlist::{Clip, Playlist};
use crate::recorder::speech_in;
use crate::report::{CallReport, UplinkReport, seconds};
use crate::uplink::Uplink;

/// Longest call: it bounds the recording, 58 MB.
pub const CALL_LENGTH_MAX: Duration = Duration::from_secs(3600);
/// Larger than any packet over Ethernet or loopback that Asterisk would take.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// The listener looks this often whether the call is over.
const LISTEN_TIMEOUT: Duration = Duration::from_millis(20);
/// The last packets are on their way for at most this long after the last one was sent.
const LINGER_MAX: Duration = Duration::from_millis(200);

/// What a phone is to do.
#[derive(Clone, Debug)]
pub struct Script {
    /// The gateway's RTP address.
    pub to: SocketAddr,
    /// Our own; port 0 chooses one.
    pub bind: SocketAddr,
    /// What is sent.
    pub codec: UplinkCodec,
    /// What is said, and when.
    pub clips: Vec<Clip>,
    /// Payload types that are played when they come back.
    pub accepted: Vec<u8>,
    /// The call ends after this at the latest.
    pub length: Duration,
    /// It ends earlier when all is said and nothing was heard for this long.
    pub until_quiet: Option<Duration>,
}

/// Why a call could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhoneError {
    /// Our address is taken or is none of ours.
    #[error("cannot use address {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The call would last longer than [`CALL_LENGTH_MAX`].
    #[error("a call lasts at most {CALL_LENGTH_MAX:?}")]
    TooLong,
}

/// A call that is over.
#[derive(Clone, Debug)]
pub struct Call {
    /// What happened.
    pub report: CallReport,
    /// What was heard, mono at 8 kHz, from second 0 of the call.
    pub heard: Vec<i16>,
}

/// A call that goes on. Dropping it lets the call run to its end unattended.
#[derive(Debug)]
pub struct Phone {
    local: SocketAddr,
    shared: Arc<Shared>,
    thread: JoinHandle<Call>,
}

#[derive(Debug, Default)]
struct Shared {
    hang_up: AtomicBool,
    is_over: AtomicBool,
    /// When speech was heard last, in ms of the call.
    speech_ms: AtomicU64,
}

impl Phone {
    /// Begins a call.
    ///
    /// # Errors
    /// [`PhoneError`] when there is no socket for it, or the script has no end.
    pub fn call(script: Script) -> Result<Self, PhoneError> {
        if script.length > CALL_LENGTH_MAX {
            return Err(PhoneError::TooLong);
        }
        let (socket, local) = bind(script.bind).map_err(|source| PhoneError::Bind {
            address: script.bind,
            source,
        })?;
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || run(script, &socket, local, &shared))
        };
        Ok(Self {
            local,
            shared,
            thread,
        })
    }

    /// Where the gateway finds this phone.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Ends the call at its next frame.
    pub fn hang_up(&self) {
        self.shared.hang_up.store(true, Ordering::Relaxed);
    }

    /// Whether the call has ended, so that [`Phone::wait`] would return at once.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the call.
    ///
    /// # Panics
    /// When the phone itself did.
    pub fn wait(self) -> Call {
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn bind(address: SocketAddr) -> std::io::Result<(UdpSocket, SocketAddr)> {
    let socket = UdpSocket::bind(address)?;
    socket.set_read_timeout(Some(LISTEN_TIMEOUT))?;
    let local = socket.local_addr()?;
    Ok((socket, local))
}

fn run(script: Script, socket: &UdpSocket, local: SocketAddr, shared: &Shared) -> Call {
    let started_unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let start = Instant::now();
    let playlist = Playlist::new(script.clips, script.codec.frame_samples());
    let mut uplink = Uplink::new(script.codec, playlist, &mut fastrand::Rng::new());
    let plan = Plan {
        to: script.to,
        length: script.length,
        until_quiet: script.until_quiet,
        said_at: time_of(uplink.playlist().end_frame()),
    };
    let downlink = Downlink::new(&script.accepted, script.length + LINGER_MAX);
    let ((frames, sent), (received, heard)) = thread::scope(|scope| {
        let listener = scope.spawn(|| listen(socket, script.to, start, downlink, shared));
        let sent = send(socket, &plan, start, &mut uplink, shared);
        shared.is_over.store(true, Ordering::Relaxed);
        (
            sent,
            listener
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    });
    let report = CallReport {
        to: script.to,
        from: local,
        codec: script.codec.name(),
        started_unix_s: seconds(started_unix),
        length_s: seconds(time_of(frames)),
        said: uplink.playlist().said(frames),
        heard: speech_in(&heard),
        sent,
        received,
    };
    Call { report, heard }
}

/// When the call ends.
struct Plan {
    to: SocketAddr,
    length: Duration,
    until_quiet: Option<Duration>,
    /// The end of the last clip.
    said_at: Duration,
}

impl Plan {
    fn is_over(&self, at: Duration, shared: &Shared) -> bool {
        let quiet_since =
            Duration::from_millis(shared.speech_ms.load(Ordering::Relaxed)).max(self.said_at);
        let is_quiet = self
            .until_quiet
            .is_some_and(|quiet| at >= quiet_since + quiet);
        is_quiet || at >= self.length || shared.hang_up.load(Ordering::Relaxed)
    }
}

/// Sends a packet per frame until the call is over; returns how many frames it had.
fn send(
    socket: &UdpSocket,
    plan: &Plan,
    start: Instant,
    uplink: &mut Uplink,
    shared: &Shared,
) -> (u64, UplinkReport) {
    let mut pacer = Pacer::new(start);
    let (mut packets, mut send_errors) = (0, 0);
    let frames = loop {
        let frame = pacer.wait();
        if plan.is_over(time_of(frame), shared) {
            break frame;
        }
        match socket.send_to(uplink.packet(frame), plan.to) {
            Ok(_) => packets += 1,
            Err(_) => send_errors += 1,
        }
    };
    (
        frames,
        UplinkReport {
            packets,
            send_errors,
            lateness_us: pacer.lateness(),
        },
    )
}

/// Receives until the call is over and its last packets have come.
fn listen(
    socket: &UdpSocket,
    peer: SocketAddr,
    start: Instant,
    mut downlink: Downlink,
    shared: &Shared,
) -> (DownlinkReport, Vec<i16>) {
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    let mut over_since = None;
    loop {
        let received = socket.recv_from(&mut datagram);
        let now = Instant::now();
        if shared.is_over.load(Ordering::Relaxed) {
            let since = *over_since.get_or_insert(now);
            if received.is_err() || now - since > LINGER_MAX {
                return downlink.finish();
            }
        }
        match received {
            Ok((bytes, source)) if source == peer => {
                let at = now - start;
                if downlink.receive(&datagram[..bytes], at) == Heard::Speech {
                    shared
                        .speech_ms
                        .store(at.as_millis() as u64, Ordering::Relaxed);
                }
            }
            Ok(_) => downlink.receive_from_stranger(),
            Err(error) if is_passing(error.kind()) => {}
            Err(_) => return downlink.finish(), // a broken socket: what was heard so far counts
        }
    }
}

fn is_passing(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
    )
}
