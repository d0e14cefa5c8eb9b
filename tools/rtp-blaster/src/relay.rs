//! The measuring control: what it costs to move packets and do nothing else. One socket per port,
//! recvmmsg and sendmmsg, a wake-up as soon as one packet is there. No gateway: it reads nothing.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt, sockopt,
};
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
/// Legs of one port beyond this are echoed nowhere.
const LEGS_PER_PORT_MAX: usize = 4_096;

/// Where packets go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Course {
    /// Back to where they came from.
    Back,
    /// To the leg of the same rank on the partner port (ports 0 and 1, 2 and 3 ...), ranks by the
    /// order of first arrival.
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
type Ranks = Mutex<Vec<SockaddrStorage>>;

/// Moves packets between the sockets until told to stop; returns what each moved.
///
/// # Errors
/// When a socket fails for good.
pub fn run(
    sockets: &[UdpSocket],
    course: Course,
    stop: &AtomicBool,
) -> io::Result<Vec<PortCounts>> {
    let ranks: Vec<Ranks> = sockets.iter().map(|_| Ranks::default()).collect();
    thread::scope(|scope| {
        let ports: Vec<_> = (0..sockets.len())
            .map(|port| {
                let thread = thread::Builder::new().name(format!("port-{port}"));
                thread.spawn_scoped(scope, {
                    let (sockets, ranks) = (&sockets, &ranks);
                    move || Port::new(sockets, ranks, port, course)?.run(stop)
                })
            })
            .collect::<Result<_, _>>()?;
        ports
            .into_iter()
            .map(|port| port.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
            .collect()
    })
}

struct Port<'a> {
    from: &'a UdpSocket,
    to: &'a UdpSocket,
    own: &'a Ranks,
    partners: &'a Ranks,
    course: Course,
    /// Known ways, so that the ranks are asked once per leg.
    ways: HashMap<SockaddrStorage, SockaddrStorage>,
}

impl<'a> Port<'a> {
    fn new(
        sockets: &'a [UdpSocket],
        ranks: &'a [Ranks],
        port: usize,
        course: Course,
    ) -> io::Result<Self> {
        let partner = match course {
            Course::Back => port,
            Course::Cross => port ^ 1,
        };
        let to = sockets
            .get(partner)
            .ok_or_else(|| io::Error::other("--cross needs an even number of ports"))?;
        sockets[port].set_read_timeout(Some(WAIT))?;
        setsockopt(&sockets[port], sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        Ok(Self {
            from: &sockets[port],
            to,
            own: &ranks[port],
            partners: &ranks[partner],
            course,
            ways: HashMap::with_capacity(LEGS_PER_PORT_MAX),
        })
    }

    fn run(mut self, stop: &AtomicBool) -> io::Result<PortCounts> {
        let mut counts = PortCounts::default();
        let mut packets = vec![[0; PACKET_BYTES_MAX]; BATCH_MAX];
        let (mut bytes, mut to) = ([0; BATCH_MAX], [None; BATCH_MAX]);
        let mut receiving = MultiHeaders::preallocate(BATCH_MAX, None);
        let mut sending = MultiHeaders::preallocate(BATCH_MAX, None);
        while !stop.load(Ordering::Relaxed) {
            let received = receive(self.from, &mut receiving, &mut packets, &mut bytes, &mut to);
            let received = match received {
                Ok(received) => received,
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => continue,
                Err(error) => return Err(error.into()),
            };
            counts.batches += 1;
            counts.received += received as u64;
            if self.course == Course::Cross {
                to[..received].iter_mut().for_each(|to| *to = self.way(*to));
            }
            let sent = self.send(&mut sending, &packets[..received], &bytes, &to);
            counts.sent += sent;
            counts.dropped += received as u64 - sent;
        }
        Ok(counts)
    }

    /// The partner of a source; none while it has none.
    fn way(&mut self, source: Option<SockaddrStorage>) -> Option<SockaddrStorage> {
        let source = source?;
        if let Some(known) = self.ways.get(&source) {
            return Some(*known);
        }
        let rank = {
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            let known = own.iter().position(|leg| *leg == source);
            if known.is_none() && own.len() < LEGS_PER_PORT_MAX {
                own.push(source);
            }
            known.unwrap_or(own.len() - 1)
        };
        let partners = self.partners.lock().unwrap_or_else(PoisonError::into_inner);
        let partner = *partners.get(rank)?;
        self.ways.insert(source, partner);
        Some(partner)
    }

    /// Sends one batch; packets after one the kernel refuses are tried again without it.
    fn send(
        &self,
        headers: &mut MultiHeaders<SockaddrStorage>,
        packets: &[[u8; PACKET_BYTES_MAX]],
        bytes: &[usize],
        to: &[Option<SockaddrStorage>],
    ) -> u64 {
        let (mut done, mut sent) = (0, 0);
        while done < packets.len() {
            if to[done].is_none() {
                done += 1;
                continue;
            }
            let run = to[done..packets.len()].iter().take_while(|to| to.is_some());
            let end = done + run.count();
            let slices: [[IoSlice<'_>; 1]; BATCH_MAX] = std::array::from_fn(|index| {
                let packet = packets.get(done + index).map_or(&[][..], |packet| packet);
                [IoSlice::new(
                    &packet[..bytes.get(done + index).map_or(0, |b| *b).min(packet.len())],
                )]
            });
            let result = sendmmsg(
                self.to.as_raw_fd(),
                headers,
                &slices[..end - done],
                &to[done..end],
                [],
                MsgFlags::empty(),
            );
            let count = result.map_or(0, Iterator::count);
            sent += count as u64;
            done += count.max(1);
        }
        sent
    }
}

/// Waits for one packet, then takes what is there.
fn receive(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    packets: &mut [[u8; PACKET_BYTES_MAX]],
    bytes: &mut [usize; BATCH_MAX],
    from: &mut [Option<SockaddrStorage>; BATCH_MAX],
) -> nix::Result<usize> {
    let mut packets = packets.iter_mut();
    let mut slices: [[IoSliceMut<'_>; 1]; BATCH_MAX] = std::array::from_fn(|_| {
        let packet = packets.next().map_or(&mut [][..], |packet| packet);
        [IoSliceMut::new(packet)]
    });
    let messages = recvmmsg(
        socket.as_raw_fd(),
        headers,
        slices.iter_mut(),
        MsgFlags::MSG_WAITFORONE,
        None,
    )?;
    let mut count = 0;
    for message in messages {
        (bytes[count], from[count]) = (message.bytes, message.address);
        count += 1;
    }
    Ok(count)
}
