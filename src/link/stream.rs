//! A TCP socket that both ends of the link read until it is empty and never once more.
//!
//! A read that fills less than its buffer has emptied the socket, and the edge-triggered poll tells
//! of whatever comes later (epoll(7)): the read that would only say so is answered here. It saves
//! every second system call of a leg whose messages come one at a time. The end of the stream is
//! no data, so once the poll has told of it, the socket is asked until it says so itself.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

/// Whether the peer may still send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadEnd {
    /// It has ended its direction: read on until the end shows.
    Closed,
    /// It may.
    Open,
}

/// A non-blocking socket; see the module.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    is_drained: bool,
    end: ReadEnd,
    /// The last write found the socket full.
    is_blocked: bool,
    /// Something was written since this was last asked.
    has_written: bool,
}

impl Stream {
    /// Takes a socket that may hold something already.
    pub fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            is_drained: false,
            end: ReadEnd::Open,
            is_blocked: false,
            has_written: false,
        }
    }

    /// The socket, for its registration and shutdown.
    pub fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// The poll said that there may be something to read. An end, once told, stays.
    pub fn mark_readable(&mut self, end: ReadEnd) {
        self.is_drained = false;
        if end == ReadEnd::Closed {
            self.end = end;
        }
    }

    /// Whether the last write found the socket full.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Whether something was written since this was last asked.
    pub fn take_has_written(&mut self) -> bool {
        std::mem::take(&mut self.has_written)
    }

    /// Writes from the front of `unsent` as much as the socket takes.
    ///
    /// # Errors
    /// The socket takes no more for now (`WouldBlock`), or at all.
    pub fn write_some(&mut self, unsent: &mut Vec<u8>) -> io::Result<()> {
        while !unsent.is_empty() {
            let length = self.write(unsent)?;
            if length == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            unsent.drain(..length);
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_drained {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = self.socket.read(buffer)?;
        self.is_drained = length > 0 && length < buffer.len() && self.end == ReadEnd::Open;
        Ok(length)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.socket.write(bytes);
        self.is_blocked = matches!(&result, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        self.has_written |= matches!(result, Ok(length) if length > 0);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};
    use std::time::Duration;

    use mio::{Events, Interest, Poll, Token};

    use super::*;

    /// What any wait here may take at most.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn connected() -> (Stream, std::net::TcpStream, Poll) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_nodelay(true).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut stream = Stream::new(TcpStream::from_std(socket));
        let poll = Poll::new().unwrap();
        poll.registry()
            .register(stream.socket_mut(), Token(0), Interest::READABLE)
            .unwrap();
        (stream, peer, poll)
    }

    /// Waits for the poll's word and passes it on.
    fn wait(poll: &mut Poll, stream: &mut Stream) {
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        let event = events.iter().next().expect("news");
        stream.mark_readable(match event.is_read_closed() {
            true => ReadEnd::Closed,
            false => ReadEnd::Open,
        });
    }

    fn is_would_block(result: io::Result<usize>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Goal: after a short read the socket is not asked again before the poll has news.
    /// Method: more arrives after the short read; a read that asked would find it.
    #[test]
    fn after_a_short_read_only_the_poll_makes_it_read_again() {
        let (mut stream, mut peer, mut poll) = connected();
        let mut buffer = [0; 8];
        peer.write_all(&[1; 3]).unwrap();
        wait(&mut poll, &mut stream);
        assert_eq!(stream.read(&mut buffer).unwrap(), 3);
        peer.write_all(&[2; 3]).unwrap();
        assert!(is_would_block(stream.read(&mut buffer)));
        wait(&mut poll, &mut stream);
        assert_eq!(stream.read(&mut buffer).unwrap(), 3, "nothing is lost");
    }

    #[test]
    fn a_full_read_is_followed_by_another() {
        let (mut stream, mut peer, mut poll) = connected();
        let mut buffer = [0; 8];
        peer.write_all(&[1; 12]).unwrap();
        wait(&mut poll, &mut stream);
        assert_eq!(stream.read(&mut buffer).unwrap(), 8);
        assert_eq!(stream.read(&mut buffer).unwrap(), 4);
    }

    /// Goal: an end that came together with the last bytes is seen, though no event follows.
    #[test]
    fn an_end_that_came_with_the_last_bytes_is_seen() {
        let (mut stream, mut peer, mut poll) = connected();
        let mut buffer = [0; 8];
        peer.write_all(&[1; 3]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        loop {
            wait(&mut poll, &mut stream);
            if stream.end == ReadEnd::Closed {
                break;
            }
        }
        assert_eq!(stream.read(&mut buffer).unwrap(), 3);
        assert_eq!(stream.read(&mut buffer).unwrap(), 0, "the end");
    }
}
