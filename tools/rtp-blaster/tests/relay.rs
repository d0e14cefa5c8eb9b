//! Goal: the controls move every packet whole to whom it belongs, and count what they cannot move.
//! Method: plain sockets on loopback that send and wait for what comes back.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rtp_blaster::relay::{self, Course, PortCounts};

const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing on loopback takes longer, nearly always; if it does, a packet too many is heard.
const QUIET: Duration = Duration::from_millis(100);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("above zero");
    socket
}

/// What a program of so many ports moved while `work` went on.
fn while_running(
    ports: usize,
    course: Course,
    work: impl FnOnce(&[SocketAddr]),
) -> Vec<PortCounts> {
    let sockets: Vec<_> = (0..ports).map(|_| socket()).collect();
    let addresses = sockets
        .iter()
        .map(|socket| socket.local_addr().expect("bound"));
    let addresses: Vec<_> = addresses.collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let moving = scope.spawn(|| relay::run(&sockets, course, &stop));
        let end = End(&stop);
        work(&addresses);
        drop(end);
        let counts = moving.join().expect("it does not panic");
        counts.expect("its sockets work")
    })
}

/// Sets it when dropped, as by a panic: else the thread that looks at it would never end.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads until nothing has come for a while; returns how many came.
fn drain(socket: &UdpSocket) -> usize {
    socket.set_read_timeout(Some(QUIET)).expect("above zero");
    let count = std::iter::from_fn(|| socket.recv(&mut [0; 16]).ok()).count();
    socket.set_read_timeout(Some(PATIENCE)).expect("above zero");
    count
}

fn heard(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut packet = [0; 2_048];
    let (bytes, from) = socket.recv_from(&mut packet).expect("a packet in time");
    (packet[..bytes].to_vec(), from)
}

#[test]
fn an_echo_sends_everything_back() {
    let counts = while_running(1, Course::Back, |ports| {
        let legs = [socket(), socket()];
        for number in 0..200_u8 {
            let packet = vec![number; 1 + usize::from(number)];
            for leg in &legs {
                leg.send_to(&packet, ports[0]).expect("loopback takes it");
            }
            for leg in &legs {
                assert_eq!(heard(leg), (packet.clone(), ports[0]));
            }
        }
    });
    assert_eq!((counts[0].received, counts[0].sent), (400, 400));
    assert_eq!(counts[0].dropped, 0);
    assert!(counts[0].batches <= 400);
}

#[test]
fn a_relay_pairs_legs_by_the_order_they_are_first_heard() {
    let counts = while_running(2, Course::Cross, |ports| {
        let (near, far) = ([socket(), socket()], [socket(), socket()]);
        let say = |leg: &UdpSocket, port: usize, text: &[u8]| {
            leg.send_to(text, ports[port]).expect("loopback takes it");
        };
        for rank in 0..2 {
            // Until both are known, what one says has nobody to go to.
            let deadline = Instant::now() + PATIENCE;
            let mut is_heard = [false; 2];
            while is_heard != [true; 2] && Instant::now() < deadline {
                say(&near[rank], 0, b"hello");
                say(&far[rank], 1, b"hello");
                is_heard[0] |= drain(&near[rank]) > 0;
                is_heard[1] |= drain(&far[rank]) > 0;
            }
        }
        for rank in 0..2 {
            say(&near[rank], 0, &[rank as u8; 172]);
            assert_eq!(heard(&far[rank]), (vec![rank as u8; 172], ports[1]));
        }
    });
    let all = counts[0].received + counts[1].received;
    let (sent, dropped) = (
        counts[0].sent + counts[1].sent,
        counts[0].dropped + counts[1].dropped,
    );
    assert_eq!(sent + dropped, all);
}

#[test]
fn a_relay_with_an_odd_number_of_ports_is_refused() {
    let refused = relay::run(&[socket()], Course::Cross, &AtomicBool::new(false));
    assert!(refused.is_err_and(|error| error.to_string().contains("even number")));
}
