//! The RTP sockets: one per extension's port and tile pair, shared by all calls of the extension on
//! that pair and by both directions.
//!
//! Asterisk gives each media channel a source port of its own and always sends to the address it
//! was told, so one port per extension is enough, and answers must leave from it.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::steering;

/// Kernel buffer asked for in each direction: a second of 500 legs. The kernel may grant less
/// (net.core.rmem_max).
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// The kernel doubles what is asked for (socket(7), SO_RCVBUF).
const KERNEL_SHARE: usize = 2;

/// Expedited Forwarding (RFC 3246), the class for voice, in the upper six bits of the TOS byte.
const TOS_EXPEDITED_FORWARDING: u32 = 46 << 2;

/// What is bound to one RTP port.
#[derive(Debug)]
pub struct Bound {
    /// One for each tile pair, in their order; one alone if the kernel does not steer.
    pub sockets: Vec<UdpSocket>,
    /// Why there is but one socket where more were wanted.
    pub refusal: Option<io::Error>,
}

/// Binds one RTP port, non-blocking.
///
/// # Errors
/// The port is taken, or the address is not ours.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Binds one RTP port for `pairs` tile pairs, non-blocking; the kernel steers each source to its
/// pair ([`steering`]).
///
/// # Errors
/// The port is taken, or the address is not ours.
pub fn bind_pairs(address: SocketAddr, pairs: usize) -> io::Result<Bound> {
    // Bound alone and opened for others afterwards: so a port that another gateway has is refused,
    // even if that one has several sockets as well.
    let mut bound = Bound {
        sockets: vec![bind(address)?],
        refusal: None,
    };
    if let Err(refusal) = add_siblings(&mut bound.sockets, pairs) {
        bound.sockets.truncate(1);
        bound.refusal = Some(refusal);
    }
    Ok(bound)
}

/// The bytes that the kernel granted to a socket for what it receives, at most
/// [`SOCKET_BUFFER_BYTES`]. It keeps as much again for its own account of them (socket(7)).
///
/// # Errors
/// The kernel does not tell.
pub fn receive_buffer_bytes(socket: &UdpSocket) -> io::Result<usize> {
    Ok(SockRef::from(socket).recv_buffer_size()? / KERNEL_SHARE)
}

fn add_siblings(sockets: &mut Vec<UdpSocket>, pairs: usize) -> io::Result<()> {
    if pairs <= 1 {
        return Ok(());
    }
    SockRef::from(&sockets[0]).set_reuse_port(true)?;
    let address = sockets[0].local_addr()?;
    while sockets.len() < pairs {
        let sibling = socket(address)?;
        sibling.set_reuse_port(true)?;
        sibling.bind(&address.into())?;
        sockets.push(sibling.into());
    }
    steering::steer(&sockets[0], pairs)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Best effort: a smaller buffer or an unmarked packet still carries calls.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    if address.is_ipv4() {
        let _ = socket.set_tos_v4(TOS_EXPEDITED_FORWARDING);
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
