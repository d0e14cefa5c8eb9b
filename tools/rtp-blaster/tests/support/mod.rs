//! Far ends for tests: the relay, and an echo that spoils or delays packets. Both on loopback, both
//! end when dropped.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rtp_blaster::relay::{self, Course};

const PACKET_BYTES_MAX: usize = 2048;
const LOOK: Duration = Duration::from_millis(20);

/// The relay on ports of its own.
pub(crate) struct Relay {
    /// Its ports.
    pub(crate) addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// A relay on so many ports.
    pub(crate) fn start(ports: usize, course: Course) -> Self {
        let bind = |_| UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        let sockets: Vec<_> = (0..ports).map(bind).collect();
        let address = |socket: &UdpSocket| socket.local_addr().expect("bound");
        let addresses = sockets.iter().map(address).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let counts = relay::run(&sockets, course, &seen).expect("the relay runs");
            assert!(!counts.is_empty());
        });
        Self {
            addresses,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        end(&self.stop, self.thread.take());
    }
}

/// Answers each packet with what `answer` makes of it and its number, that much later.
pub(crate) struct Echo {
    /// Its port.
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// An echo on a port of its own.
    pub(crate) fn start(
        late: Duration,
        mut answer: impl FnMut(usize, Vec<u8>) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        let address = socket.local_addr().expect("bound");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut number, mut packet) = (0, [0; PACKET_BYTES_MAX]);
            let mut under_way: VecDeque<(Instant, SocketAddr, Vec<u8>)> = VecDeque::new();
            while !seen.load(Ordering::Relaxed) {
                let due = under_way.front().map(|(at, ..)| *at);
                let wait = due.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()));
                let wait = wait.clamp(Duration::from_micros(100), LOOK);
                socket.set_read_timeout(Some(wait)).expect("above zero");
                if let Ok((bytes, source)) = socket.recv_from(&mut packet) {
                    for reply in answer(number, packet[..bytes].to_vec()) {
                        under_way.push_back((Instant::now() + late, source, reply));
                    }
                    number += 1;
                }
                while under_way
                    .front()
                    .is_some_and(|(at, ..)| *at <= Instant::now())
                {
                    if let Some((_, source, reply)) = under_way.pop_front() {
                        socket.send_to(&reply, source).expect("loopback takes it");
                    }
                }
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        end(&self.stop, self.thread.take());
    }
}

fn end(stop: &AtomicBool, thread: Option<JoinHandle<()>>) {
    stop.store(true, Ordering::Relaxed);
    let ended = thread.map(JoinHandle::join);
    // A panic while a test unwinds already would abort; the test has failed anyway.
    if !thread::panicking() {
        ended
            .expect("taken once")
            .expect("the far end does not panic");
    }
}
