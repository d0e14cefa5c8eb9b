//! The RTP sockets: one per extension's port, shared by all its calls and by both directions.
//!
//! Asterisk gives each media channel a source port of its own and always sends to the address it
//! was told, so one socket per extension is enough, and answers must leave from it.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Kernel buffer asked for in each direction: a second of 500 legs. The kernel may grant less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Expedited Forwarding (RFC 3246), the class for voice, in the upper six bits of the TOS byte.
const TOS_EXPEDITED_FORWARDING: u32 = 46 << 2;

/// Binds one RTP port, non-blocking.
///
/// # Errors
/// The port is taken, or the address is not ours.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
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
    socket.bind(&address.into())?;
    Ok(socket.into())
}
