//! Many datagrams with one system call: recvmmsg for the rx tile, sendmmsg for the tx tile.
//!
//! At hundreds of legs the calls cost more than the work between them. Everything is reserved when
//! a box is made. A datagram longer than any packet we read is reported with its true end cut off,
//! one byte longer than [`DATAGRAM_BYTES_MAX`], so that it can be refused.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::slice;

use diglot_rt::limits::DATAGRAM_BYTES_MAX;
use diglot_rt::stage::PACKET_BYTES_MAX;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

use crate::sys::{self, RECEIVE_BATCH_MAX, Received};

/// One byte more than a datagram may have, so that a longer one shows.
const BUFFER_BYTES: usize = DATAGRAM_BYTES_MAX + 1;

/// Packets one system call sends at most. The first of them waits for the last to be encoded, some
/// tens of microseconds.
pub const SEND_BATCH_MAX: usize = 32;

/// Room for what one call receives.
#[derive(Debug)]
pub struct Inbox {
    buffers: Box<[[u8; BUFFER_BYTES]; RECEIVE_BATCH_MAX]>,
    received: [Received; RECEIVE_BATCH_MAX],
}

/// How much a socket still holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Left {
    /// Perhaps more.
    Some,
    /// Nothing: the next datagram is a new readiness event.
    Nothing,
}

impl Inbox {
    /// Reserves the room.
    pub fn new() -> Self {
        let nobody = Received {
            source: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            bytes: 0,
        };
        Self {
            buffers: Box::new([[0; BUFFER_BYTES]; RECEIVE_BATCH_MAX]),
            received: [nobody; RECEIVE_BATCH_MAX],
        }
    }

    /// Hands what a socket holds, at most [`RECEIVE_BATCH_MAX`] datagrams, to `take` and says
    /// whether there may be more.
    ///
    /// # Errors
    /// What the kernel reports about the socket, such as a port that one of our packets did not
    /// find; it is told once and the socket goes on.
    ///
    /// # Real-time
    /// One system call, no wait, no allocation.
    pub fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        mut take: impl FnMut(SocketAddr, &[u8]),
    ) -> io::Result<Left> {
        let count = match sys::receive_batch(socket, &mut self.buffers, &mut self.received) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Left::Nothing),
            Err(error) => return Err(error),
        };
        for (datagram, buffer) in self.received[..count].iter().zip(self.buffers.iter()) {
            take(datagram.source, &buffer[..datagram.bytes.min(BUFFER_BYTES)]);
        }
        // The kernel stops early only when nothing is left.
        Ok(if count == RECEIVE_BATCH_MAX {
            Left::Some
        } else {
            Left::Nothing
        })
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

/// Packets that wait to leave one socket together.
#[derive(Debug)]
pub struct Outbox {
    packets: Box<[[u8; PACKET_BYTES_MAX]; SEND_BATCH_MAX]>,
    bytes: [usize; SEND_BATCH_MAX],
    destinations: [SocketAddrAny; SEND_BATCH_MAX],
    waiting: usize,
}

/// What became of the packets of one [`Outbox::send`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sent {
    /// Packets the kernel took.
    pub packets: u64,
    /// Packets it refused; they are given up, a later one would be as late.
    pub refused: u64,
}

impl Outbox {
    /// Reserves the room.
    pub fn new() -> Self {
        let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        Self {
            packets: Box::new([[0; PACKET_BYTES_MAX]; SEND_BATCH_MAX]),
            bytes: [0; SEND_BATCH_MAX],
            destinations: std::array::from_fn(|_| nobody.into()),
            waiting: 0,
        }
    }

    /// Takes a packet in. A packet longer than any codec makes is cut, one too many is lost: the
    /// owner sends as soon as [`is_full`](Self::is_full).
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn push(&mut self, destination: SocketAddr, packet: &[u8]) {
        let Some(buffer) = self.packets.get_mut(self.waiting) else {
            return;
        };
        let bytes = packet.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&packet[..bytes]);
        self.bytes[self.waiting] = bytes;
        self.destinations[self.waiting] = destination.into();
        self.waiting += 1;
    }

    /// Whether it must be sent before the next packet.
    pub fn is_full(&self) -> bool {
        self.waiting == SEND_BATCH_MAX
    }

    /// Sends what waits. One packet's refusal does not keep the others.
    ///
    /// # Real-time
    /// One system call, and one more for each refusal; no wait on a non-blocking socket, no
    /// allocation.
    pub fn send(&mut self, socket: &UdpSocket) -> Sent {
        let mut sent = Sent::default();
        if self.waiting == 0 {
            return sent;
        }
        let vectors: [IoSlice<'_>; SEND_BATCH_MAX] =
            std::array::from_fn(|index| IoSlice::new(&self.packets[index][..self.bytes[index]]));
        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; SEND_BATCH_MAX] =
            std::array::from_fn(|_| SendAncillaryBuffer::default());
        let mut index = 0;
        let mut messages = controls.each_mut().map(|control| {
            let (destination, vector) = (&self.destinations[index], &vectors[index]);
            index += 1;
            MMsgHdr::new_with_addr(destination, slice::from_ref(vector), control)
        });
        let mut first = 0;
        while first < self.waiting {
            let rest = &mut messages[first..self.waiting];
            match sendmmsg(socket.as_fd(), rest, SendFlags::empty()) {
                Ok(count) => {
                    first += count;
                    sent.packets += count as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => {
                    first += 1;
                    sent.refused += 1;
                }
            }
        }
        self.waiting = 0;
        sent
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    //! Goal: nothing is lost, doubled or reordered between the boxes, and what is too long or
    //! refused is told apart. Method: two sockets on loopback; the kernel keeps the order there.

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        sockets
            .iter()
            .for_each(|socket| socket.set_nonblocking(true).unwrap());
        let [one, other] = sockets;
        (one, other)
    }

    #[test]
    fn what_is_sent_together_arrives_whole_in_order_and_with_its_source() {
        let (from, to) = pair();
        let mut outbox = Outbox::new();
        let count = SEND_BATCH_MAX + 3;
        let mut sent = 0;
        for number in 0..count {
            if outbox.is_full() {
                sent += outbox.send(&from).packets;
            }
            outbox.push(
                to.local_addr().unwrap(),
                &[number as u8; 172][..100 + number],
            );
        }
        sent += outbox.send(&from).packets;
        assert_eq!(sent, count as u64);
        assert_eq!(outbox.send(&from), Sent::default(), "nothing waits");

        let mut inbox = Inbox::new();
        let mut numbers = Vec::new();
        let mut take = |source, datagram: &[u8]| {
            assert_eq!(source, from.local_addr().unwrap());
            assert_eq!(datagram.len(), 100 + numbers.len());
            numbers.push(datagram[0]);
        };
        assert_eq!(inbox.receive(to.as_fd(), &mut take).unwrap(), Left::Some);
        assert_eq!(inbox.receive(to.as_fd(), &mut take).unwrap(), Left::Nothing);
        assert!(numbers.iter().copied().eq(0..count as u8));
        let nobody = |_, _: &[u8]| panic!("nothing was sent");
        assert_eq!(inbox.receive(to.as_fd(), nobody).unwrap(), Left::Nothing);
    }

    #[test]
    fn a_datagram_that_is_too_long_shows_as_such() {
        let (from, to) = pair();
        let target = to.local_addr().unwrap();
        from.send_to(&[1; DATAGRAM_BYTES_MAX + 700], target)
            .unwrap();
        from.send_to(&[2; DATAGRAM_BYTES_MAX], target).unwrap();
        from.send_to(&[], target).unwrap();
        let mut lengths = Vec::new();
        Inbox::new()
            .receive(to.as_fd(), |_, datagram| lengths.push(datagram.len()))
            .unwrap();
        assert_eq!(lengths, [DATAGRAM_BYTES_MAX + 1, DATAGRAM_BYTES_MAX, 0]);
    }

    #[test]
    fn sources_of_the_newer_internet_protocol_are_read_too() {
        let Ok(to) = UdpSocket::bind("[::1]:0") else {
            return; // A machine without IPv6.
        };
        let from = UdpSocket::bind("[::1]:0").unwrap();
        from.send_to(b"x", to.local_addr().unwrap()).unwrap();
        let mut sources = Vec::new();
        Inbox::new()
            .receive(to.as_fd(), |source, _| sources.push(source))
            .unwrap();
        assert_eq!(sources, [from.local_addr().unwrap()]);
    }

    #[test]
    fn a_packet_that_cannot_be_sent_does_not_keep_the_others() {
        let (from, to) = pair();
        let mut outbox = Outbox::new();
        let target = to.local_addr().unwrap();
        outbox.push(target, b"first");
        // An address of another family is refused by the kernel at once.
        outbox.push("[::1]:9".parse().unwrap(), b"lost");
        outbox.push(target, b"third");
        let expected = Sent {
            packets: 2,
            refused: 1,
        };
        assert_eq!(outbox.send(&from), expected);
        let mut heard = Vec::new();
        Inbox::new()
            .receive(to.as_fd(), |_, datagram| heard.push(datagram.to_vec()))
            .unwrap();
        assert_eq!(heard, [b"first", b"third"]);
    }
}
