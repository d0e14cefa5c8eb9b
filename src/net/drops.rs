//! Datagrams that the kernel dropped because a socket's buffer was full: nobody else sees them.
//!
//! The kernel shows them in `/proc/net/udp` and `/proc/net/udp6`, a line for each socket of the
//! machine. Reading these is no work for a tile: some microseconds for each hundred sockets.

use std::fs;
use std::io;
use std::net::UdpSocket;

use rustix::fs::fstat;

const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

/// Fields of a line (proc_pid_net(5)): the socket's inode, and how many datagrams were dropped.
const INODE_FIELD: usize = 9;
const DROPS_FIELD: usize = 12;

/// Sockets whose drops are counted.
#[derive(Clone, Debug, Default)]
pub struct SocketDrops {
    /// As the kernel names them, sorted.
    inodes: Vec<u64>,
}

impl SocketDrops {
    /// Of these sockets, for as long as they are open.
    ///
    /// # Errors
    /// The kernel does not tell a socket's inode.
    pub fn of<'a>(sockets: impl IntoIterator<Item = &'a UdpSocket>) -> io::Result<Self> {
        let inodes = sockets.into_iter().map(|socket| Ok(fstat(socket)?.st_ino));
        let mut inodes = inodes.collect::<io::Result<Vec<u64>>>()?;
        inodes.sort_unstable();
        Ok(Self { inodes })
    }

    /// Datagrams dropped so far, by all of them.
    ///
    /// # Errors
    /// Neither table can be read; a machine without IPv6 has but one.
    pub fn read(&self) -> io::Result<u64> {
        let [v4, v6] = TABLES.map(fs::read_to_string);
        match (v4, v6) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => Ok([v4, v6].iter().flatten().map(|table| self.sum(table)).sum()),
        }
    }

    /// A line that is not as expected counts nothing.
    fn sum(&self, table: &str) -> u64 {
        let drops = table.lines().filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let inode = fields.nth(INODE_FIELD)?.parse().ok()?;
            self.inodes.binary_search(&inode).ok()?;
            let drops: u64 = fields.nth(DROPS_FIELD - INODE_FIELD - 1)?.parse().ok()?;
            Some(drops)
        });
        drops.sum()
    }
}

#[cfg(test)]
mod tests {
    //! Goal: what our sockets lose is counted, and nobody else's. Method: the kernel's own tables,
    //! with a socket that is sent more than it holds, beside one that is not ours; and nonsense.

    use super::*;
    use socket2::SockRef;

    const SENT: u64 = 200;

    #[test]
    fn what_a_full_socket_loses_is_counted_and_nobody_elses() {
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (ours, other, sender) = (socket(), socket(), socket());
        for receiver in [&ours, &other] {
            // The least that the kernel grants is a few datagrams.
            SockRef::from(receiver).set_recv_buffer_size(1).unwrap();
        }
        let (drops, others) = (SocketDrops::of([&ours]).unwrap(), SocketDrops::of([&other]));
        let flood = |receiver: &UdpSocket| {
            for _ in 0..SENT {
                sender
                    .send_to(&[0; 500], receiver.local_addr().unwrap())
                    .unwrap();
            }
            receiver.set_nonblocking(true).unwrap();
            let received = (0..SENT).take_while(|_| receiver.recv(&mut [0; 500]).is_ok());
            SENT - received.count() as u64
        };
        assert_eq!(drops.read().unwrap(), 0);
        let lost_by_other = flood(&other);
        assert!(lost_by_other > 0, "the socket held everything");
        assert_eq!(drops.read().unwrap(), 0, "that was another's");
        let lost = flood(&ours);
        assert_eq!(drops.read().unwrap(), lost);
        assert_eq!(others.unwrap().read().unwrap(), lost_by_other);
    }

    #[test]
    fn a_line_that_is_not_as_expected_counts_nothing() {
        let drops = SocketDrops { inodes: vec![7] };
        let line = "0: 0:0 0:0 07 0:0 00:0 0 0 0 7 2 0 5";
        assert_eq!(drops.sum(line), 5);
        for length in 0..line.len() {
            assert_eq!(drops.sum(&line[..length]), 0, "{:?}", &line[..length]);
        }
    }
}
