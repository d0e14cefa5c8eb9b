//! Which tile pair owns a source: a pure function of its UDP port, the same for us and the kernel.
//!
//! With several tile pairs, each has a socket of its own bound to every RTP port, and the kernel
//! gives a datagram to the socket of pair [`pair_of`] its source. So the control thread knows where
//! a leg's packets will arrive before the first one does, and no leg is ever handed over. A
//! datagram that the program cannot read goes to pair 0, where nobody knows its source: counted,
//! never heard.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use crate::sys::{self, BpfStep};

/// RTP takes the even ports of its pairs (RFC 3550 §11), so the lowest bit tells nothing.
const PORT_SHIFT: u32 = 1;

/// The index, in `0 .. pairs`, of the tile pair that gets what `source` sends.
///
/// # Real-time
/// Wait-free, no allocation.
pub fn pair_of(source: SocketAddr, pairs: usize) -> usize {
    usize::from(source.port() >> PORT_SHIFT) % pairs.max(1)
}

/// Makes the kernel do as [`pair_of`] says, for a port to which `pairs` sockets are bound in the
/// order of the pairs; `socket` is one of them.
///
/// # Errors
/// The kernel's refusal.
pub fn steer(socket: &UdpSocket, pairs: usize) -> io::Result<()> {
    let pairs = u32::try_from(pairs).map_err(io::Error::other)?;
    sys::attach_reuseport_program(socket.as_fd(), &program(pairs))
}

/// [`pair_of`] in classic BPF. The IP header is looked for with `SKF_NET_OFF`, for the kernel runs
/// the program with the datagram's payload as its packet. The version is asked for because a socket
/// of IPv6 may get IPv4 as well. Extension headers of IPv6 are not followed: Asterisk sends none.
fn program(pairs: u32) -> [BpfStep; 10] {
    use libc::{
        BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_H, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD,
        BPF_LDX, BPF_MOD, BPF_MSH, BPF_RET, BPF_RSH,
    };
    /// Where the IP header begins.
    const IP: u32 = libc::SKF_NET_OFF.cast_unsigned();
    const VERSION_SHIFT: u32 = 4;
    const VERSION_6: u32 = 6;
    /// RFC 8200 §3.
    const IPV6_HEADER_BYTES: u32 = 40;
    let step = |code: u32, k: u32| BpfStep {
        // The codes of classic BPF are 16 bits wide.
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let if_version_6_skip_3 = BpfStep {
        jt: 3,
        ..step(BPF_JMP | BPF_JEQ | BPF_K, VERSION_6)
    };
    [
        step(BPF_LD | BPF_B | BPF_ABS, IP),
        step(BPF_ALU | BPF_RSH | BPF_K, VERSION_SHIFT),
        if_version_6_skip_3,
        // IPv4: X becomes the length of the header with its options.
        step(BPF_LDX | BPF_B | BPF_MSH, IP),
        step(BPF_LD | BPF_H | BPF_IND, IP),
        step(BPF_JMP | BPF_JA, 1),
        step(BPF_LD | BPF_H | BPF_ABS, IP + IPV6_HEADER_BYTES),
        // The UDP header begins with the source port (RFC 768).
        step(BPF_ALU | BPF_RSH | BPF_K, PORT_SHIFT),
        step(BPF_ALU | BPF_MOD | BPF_K, pairs),
        step(BPF_RET | BPF_A, 0),
    ]
}

#[cfg(test)]
mod tests {
    //! Goal: the kernel gives every datagram to the socket that [`pair_of`] names, for IPv4, IPv6
    //! and IPv4 on an IPv6 socket. Method: real sockets on loopback, sources on many ports.

    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;
    use crate::net::udp;

    const SOURCES: usize = 64;

    fn sources_arrive_where_they_belong(listen: SocketAddr, from: SocketAddr, pairs: usize) {
        let sockets = udp::bind_pairs(listen, pairs).unwrap();
        assert_eq!(
            (sockets.sockets.len(), sockets.refusal.is_none()),
            (pairs, true)
        );
        let sockets = sockets.sockets;
        let port = sockets[0].local_addr().unwrap().port();
        let mut received = vec![0; pairs];
        for _ in 0..SOURCES {
            let phone = UdpSocket::bind(from).unwrap();
            let source = phone.local_addr().unwrap();
            phone.send_to(b"?", (from.ip(), port)).unwrap();
            let pair = pair_of(source, pairs);
            sockets[pair].set_nonblocking(false).unwrap();
            sockets[pair]
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            let mut byte = [0];
            let (_, came_from) = sockets[pair].recv_from(&mut byte).unwrap();
            assert_eq!(came_from.port(), source.port());
            received[pair] += 1;
        }
        assert!(received.iter().all(|count| *count > 0), "{received:?}");
    }

    #[test]
    fn the_kernel_agrees_on_ipv4() {
        for pairs in [2, 3, 8] {
            let loopback = (Ipv4Addr::LOCALHOST, 0).into();
            sources_arrive_where_they_belong(loopback, loopback, pairs);
        }
    }

    #[test]
    fn the_kernel_agrees_on_ipv6_and_on_ipv4_that_comes_to_ipv6() {
        let loopback: SocketAddr = (Ipv6Addr::LOCALHOST, 0).into();
        if UdpSocket::bind(loopback).is_err() {
            eprintln!("skipped: no IPv6 here");
            return;
        }
        sources_arrive_where_they_belong(loopback, loopback, 3);
        let any = (Ipv6Addr::UNSPECIFIED, 0).into();
        sources_arrive_where_they_belong(any, (Ipv4Addr::LOCALHOST, 0).into(), 3);
    }

    #[test]
    fn a_port_with_several_sockets_is_still_ours_alone() {
        let first = udp::bind_pairs((Ipv4Addr::LOCALHOST, 0).into(), 2).unwrap();
        let address = first.sockets[0].local_addr().unwrap();
        for pairs in [1, 2] {
            let error = udp::bind_pairs(address, pairs).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{pairs} pairs");
        }
    }

    #[test]
    fn what_the_kernel_refuses_leaves_one_socket_that_works() {
        // No group of sockets: the program has nothing to choose from.
        let alone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(steer(&alone, 2).is_err());
        assert!(steer(&alone, 0).is_err(), "division by nothing");
    }
}
