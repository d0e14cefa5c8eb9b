//! The measuring control: what it costs to move packets and do nothing else. One socket and one
//! thread per port, recvmmsg and sendmmsg, a wake-up as soon as one packet is there. No gateway: it
//! reads nothing, and forgets nobody.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use serde::Serialize;

/// Packets moved by one pair of system calls.
pub const BATCH_MAX: usize = 64;
/// Larger than any packet of a leg.
const PACKET_BYTES_MAX: usize = 2_048;
/// Holds the packets of 2000 legs for 50 ms; the kernel's default overflows in 5 ms at 1000 legs.
/// The kernel takes less where net.core.rmem_max says so.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// How often a port without traffic looks whether it is to stop.
const WAIT: Duration = Duration::from_millis(100);
/// Packets of legs of one port beyond this are not relayed.
const LEGS_PER_PORT_MAX: usize = 4_096;

/// Where packets go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Course {
    /// Back to where they came from: an echo.
    Back,
    /// To the leg of the same rank on the partner port (ports 0 and 1, 2 and 3 ...), ranks by the
    /// order of first arrival: a relay.
    Cross,
}

/// What one port moved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct PortCounts {
    /// Received.
    pub received: u64,
    /// Sent on.
    pub sent: u64,
    /// Calls of recvmmsg that brought packets.
    pub batches: u64,
    /// Packets with nobody to go to, or refused by the kernel.
    pub dropped: u64,
}

/// Legs of one port in the order of their first packet.
type Legs = Mutex<Vec<SockaddrStorage>>;
type Addresses = [Option<SockaddrStorage>; BATCH_MAX];

/// Moves packets between the sockets until told to stop; returns what each moved.
///
/// # Errors
/// When a socket fails for good, or [`Course::Cross`] has an odd number of them.
pub fn run(
    sockets: &[UdpSocket],
    course: Course,
    stop: &AtomicBool,
) -> io::Result<Vec<PortCounts>> {
    let legs: Vec<Legs> = sockets.iter().map(|_| Legs::default()).collect();
    thread::scope(|scope| {
        let start = |port| {
            let thread = thread::Builder::new().name(format!("port-{port}"));
            let legs = &legs;
            thread.spawn_scoped(scope, move || serve(sockets, legs, port, course, stop))
        };
        let ports: Vec<_> = (0..sockets.len()).map(start).collect::<Result<_, _>>()?;
        let ended = ports.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .map(|port| port.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn serve(
    sockets: &[UdpSocket],
    legs: &[Legs],
    port: usize,
    course: Course,
    stop: &AtomicBool,
) -> io::Result<PortCounts> {
    let partner = port ^ usize::from(course == Course::Cross);
    let odd = || io::Error::other("a relay needs an even number of ports");
    let (from, to) = (&sockets[port], sockets.get(partner).ok_or_else(odd)?);
    from.set_read_timeout(Some(WAIT))?;
    setsockopt(from, RcvBuf, &RECEIVE_BUFFER_BYTES)?;
    let (mut counts, mut ranks) = (PortCounts::default(), HashMap::new());
    let mut packets = vec![[0; PACKET_BYTES_MAX]; BATCH_MAX];
    let (mut bytes, mut addresses) = ([0; BATCH_MAX], [None; BATCH_MAX]);
    // Sending leaves addresses of its own behind in its headers, so receiving has others.
    let [mut receiving, mut sending] = [(); 2].map(|()| MultiHeaders::preallocate(BATCH_MAX, None));
    while !stop.load(Ordering::Relaxed) {
        let received = receive(
            from,
            &mut receiving,
            &mut packets,
            &mut bytes,
            &mut addresses,
        );
        let received = match received {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => continue,
            Err(error) => return Err(error.into()),
        };
        if course == Course::Cross {
            for address in &mut addresses[..received] {
                *address = address.and_then(|leg| {
                    let rank = rank_of(leg, &mut ranks, &legs[port])?;
                    locked(&legs[partner]).get(rank).copied()
                });
            }
        }
        let sent = send(to, &mut sending, &packets[..received], &bytes, &addresses);
        counts.batches += 1;
        counts.received += received as u64;
        counts.sent += sent;
        counts.dropped += received as u64 - sent;
    }
    Ok(counts)
}

/// The how many-th leg of its port this is.
fn rank_of(
    leg: SockaddrStorage,
    ranks: &mut HashMap<SockaddrStorage, usize>,
    legs: &Legs,
) -> Option<usize> {
    if !ranks.contains_key(&leg) && ranks.len() < LEGS_PER_PORT_MAX {
        ranks.insert(leg, ranks.len());
        locked(legs).push(leg);
    }
    ranks.get(&leg).copied()
}

fn locked(legs: &Legs) -> MutexGuard<'_, Vec<SockaddrStorage>> {
    legs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for one packet, then takes what is there.
fn receive(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    packets: &mut [[u8; PACKET_BYTES_MAX]],
    bytes: &mut [usize; BATCH_MAX],
    from: &mut Addresses,
) -> nix::Result<usize> {
    let mut packets = packets.iter_mut();
    let mut slices: [_; BATCH_MAX] = std::array::from_fn(|_| {
        [IoSliceMut::new(
            packets.next().map_or(&mut [], |packet| packet),
        )]
    });
    let wait = MsgFlags::MSG_WAITFORONE;
    let messages = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), wait, None)?;
    let mut count = 0;
    for message in messages {
        (bytes[count], from[count]) = (message.bytes, message.address);
        count += 1;
    }
    Ok(count)
}

/// Sends one batch and returns how many went. The kernel stops at a packet it refuses, as one
/// without an address: those after it are tried again.
fn send(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    packets: &[[u8; PACKET_BYTES_MAX]],
    bytes: &[usize; BATCH_MAX],
    to: &Addresses,
) -> u64 {
    let slices: [_; BATCH_MAX] = std::array::from_fn(|index| {
        let packet = packets.get(index).map_or(&[][..], |packet| packet);
        [IoSlice::new(&packet[..bytes[index].min(packet.len())])]
    });
    let (fd, flags, all) = (socket.as_raw_fd(), MsgFlags::empty(), packets.len());
    let (mut tried, mut sent) = (0, 0);
    while tried < all {
        let rest = tried..all;
        let result = sendmmsg(fd, headers, &slices[rest.clone()], &to[rest], [], flags);
        let count = result.map_or(0, Iterator::count);
        sent += count as u64;
        tried += count.max(1);
    }
    sent
}
