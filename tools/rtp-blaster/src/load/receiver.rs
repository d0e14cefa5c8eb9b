//! The receiving thread: one epoll over the sockets of all legs, read every 2 ms, each packet with
//! the kernel's time of its arrival.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;

use super::clock::Epoch;
use super::content::{first_marker_frame, marker_period_frames};
use super::listener::{Heard, Listener, Listening};
use super::plan::{Plan, Voice};
use super::shared::Shared;
use super::spread::{Spread, micros};

/// Sockets taken from one wake-up.
const EVENTS_MAX: usize = 256;
/// How often the thread reads what has come. The kernel has stamped it, so nothing is gained by
/// reading at once; and a reader that sleeps costs no CPU, nor, on loopback, the sender a wake-up.
const READ_EVERY: Duration = Duration::from_millis(2);
/// Larger than any packet a gateway sends over Ethernet.
const DATAGRAM_BYTES_MAX: usize = 2_048;
/// A latency this close to the period is one of our own clocks' reading error below zero.
const CLOCK_ERROR_MAX: Duration = Duration::from_millis(2);

/// What the receiving thread brings home.
#[derive(Debug)]
pub struct Received {
    /// One per leg.
    pub listeners: Vec<Listener>,
    /// What the markers told, one per leg.
    pub markers: Vec<Markers>,
    /// Packets the kernel dropped before this thread read them: our own fault, not the gateway's.
    pub dropped_here: u64,
}

/// What the markers on one leg, or on all, told.
#[derive(Clone, Debug)]
pub struct Markers {
    /// Heard where they were meant to be, or anywhere where that is not asked.
    pub heard: u64,
    /// Meant for another leg: voices crossed.
    pub on_wrong_leg: u64,
    /// From the intended departure of a marker's first sample to its arrival, in µs.
    pub latency: Spread,
}

impl Markers {
    /// None yet.
    pub fn new() -> Self {
        Self {
            heard: 0,
            on_wrong_leg: 0,
            latency: Spread::of_leg(),
        }
    }

    /// Takes in all that were heard on another leg.
    pub fn merge(&mut self, other: &Self) {
        self.heard += other.heard;
        self.on_wrong_leg += other.on_wrong_leg;
        self.latency.merge(&other.latency);
    }
}

impl Default for Markers {
    fn default() -> Self {
        Self::new()
    }
}

/// Switches on the kernel's time stamps and drop counts.
///
/// # Errors
/// When the kernel will not.
pub fn prepare(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(socket, sockopt::RxqOvfl, &1)?;
    Ok(())
}

/// Receives until the run is over.
#[derive(Debug)]
pub struct Receiver<'a> {
    plan: &'a Plan,
    sockets: &'a [UdpSocket],
    epoll: Epoll,
    epoch: Epoch,
    /// The kernel's drop count of each socket when last told.
    dropped: Vec<u32>,
    received: Received,
}

/// One datagram's circumstances.
struct Arrival {
    bytes: usize,
    source: Option<SocketAddr>,
    at: Duration,
    dropped: Option<u32>,
}

impl<'a> Receiver<'a> {
    /// Registers the sockets and takes all memory.
    ///
    /// # Errors
    /// When the kernel refuses the epoll.
    pub fn new(plan: &'a Plan, sockets: &'a [UdpSocket], epoch: Epoch) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (leg, socket) in sockets.iter().enumerate() {
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, leg as u64))?;
        }
        let listening = match plan.voice {
            Voice::Markers(_) => Listening::ForMarkers,
            Voice::Tone | Voice::Wav(_) => Listening::Deaf,
        };
        Ok(Self {
            plan,
            sockets,
            epoll,
            epoch,
            dropped: vec![0; sockets.len()],
            received: Received {
                listeners: sockets.iter().map(|_| Listener::new(listening)).collect(),
                markers: sockets.iter().map(|_| Markers::new()).collect(),
                dropped_here: 0,
            },
        })
    }

    /// Receives until told that the run is over.
    ///
    /// # Errors
    /// When the epoll itself fails.
    pub fn run(mut self, shared: &Shared) -> io::Result<Received> {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        let mut control = nix::cmsg_space!(TimeSpec, u32);
        control.resize(control.capacity(), 0);
        let mut wake_at = Duration::ZERO;
        while !shared.is_over.load(Ordering::Relaxed) {
            let ready = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
                Ok(0) => {
                    wake_at = self.epoch.now().max(wake_at) + READ_EVERY;
                    self.epoch.sleep_until(wake_at);
                    continue;
                }
                Ok(ready) => ready,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..ready] {
                let leg = event.data() as usize;
                // A ready socket without a packet: an error report, read away, or a bad checksum.
                if let Ok(arrival) = self.read(leg, &mut datagram, &mut control) {
                    let bytes = arrival.bytes;
                    let end_ns = shared.window_end_ns.load(Ordering::Relaxed);
                    if end_ns > 0 && arrival.at.as_nanos() >= u128::from(end_ns) {
                        self.received.listeners[leg].stop_hearing();
                    }
                    self.take(leg, &arrival, &datagram[..bytes]);
                }
            }
            shared.received.fetch_add(ready as u64, Ordering::Relaxed);
        }
        Ok(self.received)
    }

    fn read(&self, leg: usize, datagram: &mut [u8], control: &mut [u8]) -> nix::Result<Arrival> {
        let mut slices = [IoSliceMut::new(datagram)];
        let message = recvmsg::<SockaddrStorage>(
            self.sockets[leg].as_raw_fd(),
            &mut slices,
            Some(control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let mut arrival = Arrival {
            bytes: message.bytes,
            source: message.address.as_ref().and_then(socket_addr),
            at: Duration::ZERO,
            dropped: None,
        };
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::ScmTimestampns(stamp) => {
                    arrival.at = self.epoch.of_stamp(Duration::from(stamp));
                }
                ControlMessageOwned::RxqOvfl(dropped) => arrival.dropped = Some(dropped),
                _ => {}
            }
        }
        Ok(arrival)
    }

    fn take(&mut self, leg: usize, arrival: &Arrival, datagram: &[u8]) {
        if let Some(dropped) = arrival.dropped {
            let before = std::mem::replace(&mut self.dropped[leg], dropped);
            self.received.dropped_here += u64::from(dropped.wrapping_sub(before));
        }
        let listener = &mut self.received.listeners[leg];
        let window_start = self.plan.window_start();
        if !listener.is_open() && arrival.at >= window_start {
            listener.open_window(window_start);
        }
        if arrival.source != Some(self.plan.to[self.plan.port_of(leg)]) {
            listener.receive_from_stranger();
        } else if let Some(heard) = listener.receive(datagram, arrival.at) {
            self.judge_marker(leg, heard);
        }
    }

    fn judge_marker(&mut self, leg: usize, heard: Heard) {
        let Voice::Markers(every) = self.plan.voice else {
            return;
        };
        let is_wrong = self
            .plan
            .heard_on(leg)
            .is_some_and(|right| right != heard.leg);
        let markers = &mut self.received.markers[leg];
        if is_wrong || heard.leg >= self.plan.legs {
            markers.on_wrong_leg += 1;
            return;
        }
        markers.heard += 1;
        let latency = latency_of(self.plan, every, heard);
        markers.latency.record(micros(latency));
    }
}

/// From the intended departure of the marker that was heard to the arrival of its first sample.
/// Markers look alike from one period to the next, so this is less than a period.
fn latency_of(plan: &Plan, every: Duration, heard: Heard) -> Duration {
    let period_frames = marker_period_frames(every);
    let frame = plan.frame_of(heard.leg);
    let first = first_marker_frame(heard.leg, period_frames) as u32;
    let first_at = plan.start_of(heard.leg) + frame * first;
    let period_ns = (frame * period_frames as u32).as_nanos();
    let since_ns = heard.onset.saturating_sub(first_at).as_nanos() % period_ns;
    let latency = Duration::from_nanos(since_ns as u64);
    let is_below_zero = period_ns - since_ns < CLOCK_ERROR_MAX.as_nanos();
    if is_below_zero {
        Duration::ZERO
    } else {
        latency
    }
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::V6((*v6).into()))
}
