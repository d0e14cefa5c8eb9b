//! The only file of this crate with `unsafe`: scheduling class and floating-point mode of a thread,
//! memory that is really there, the one system call that receives many datagrams at once, and the
//! program that spreads them over sockets.
//!
//! Refusals are results, not failures: a thread without real-time priority still serves calls, and
//! the caller reports it as *degraded*.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bits of MXCSR that make denormal results and operands zero (Intel SDM vol. 1, §10.2.3).
#[cfg(target_arch = "x86_64")]
const MXCSR_FLUSH_TO_ZERO_AND_DENORMALS_ARE_ZERO: u32 = 1 << 15 | 1 << 6;

/// Asks for SCHED_FIFO at `priority` (1..=99) for the calling thread; threads that it starts are
/// ordinary ones.
///
/// # Errors
/// The kernel's refusal, usually `EPERM` without CAP_SYS_NICE or an RTPRIO limit.
pub fn set_fifo_priority(priority: u8) -> io::Result<()> {
    let parameter = libc::sched_param {
        sched_priority: i32::from(priority),
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `parameter` is a valid sched_param for the duration of the call; pid 0 names the
    // calling thread, so no other thread's scheduling is touched.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes the calling thread's arithmetic flush denormal floats to zero, so that a filter that rings
/// out costs no more than one that works.
pub fn flush_denormals() {
    #[cfg(target_arch = "x86_64")]
    {
        let mut mxcsr: u32 = 0;
        // SAFETY: stmxcsr writes four bytes to `mxcsr`, which lives on this stack frame.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack)) };
        mxcsr |= MXCSR_FLUSH_TO_ZERO_AND_DENORMALS_ARE_ZERO;
        // SAFETY: ldmxcsr reads four bytes from `mxcsr`; only the two flush bits were changed, no
        // reserved bit is set, and the register belongs to this thread alone.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack)) };
    }
    #[cfg(target_arch = "aarch64")]
    {
        /// FPCR.FZ (Arm ARM, C5.2.8).
        const FPCR_FLUSH_TO_ZERO: u64 = 1 << 24;
        let mut fpcr: u64;
        // SAFETY: reading and writing FPCR touches no memory; it belongs to this thread alone.
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) fpcr, options(nomem, nostack));
            fpcr |= FPCR_FLUSH_TO_ZERO;
            std::arch::asm!("msr fpcr, {}", in(reg) fpcr, options(nomem, nostack));
        }
    }
}

/// Datagrams one [`receive_batch`] takes at most.
pub const RECEIVE_BATCH_MAX: usize = 32;

/// One received datagram: its bytes stand in the buffer of the same index.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Who sent it.
    pub source: SocketAddr,
    /// Its length, cut to that of the buffer.
    pub bytes: usize,
}

/// Receives as many datagrams as there are, at most [`RECEIVE_BATCH_MAX`], without waiting, and
/// says how many came: one of `received` for each, in order. recvmmsg(2).
///
/// # Errors
/// `WouldBlock` if there is none; whatever else the kernel reports about the socket.
///
/// # Real-time
/// One system call; no allocation.
pub fn receive_batch<const BYTES: usize>(
    socket: BorrowedFd<'_>,
    buffers: &mut [[u8; BYTES]; RECEIVE_BATCH_MAX],
    received: &mut [Received; RECEIVE_BATCH_MAX],
) -> io::Result<usize> {
    let mut sources =
        [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; RECEIVE_BATCH_MAX];
    let mut vectors = buffers.each_mut().map(|buffer| libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: BYTES,
    });
    // SAFETY: mmsghdr is plain old data of the C library; all zeros is its empty value.
    let mut headers: [libc::mmsghdr; RECEIVE_BATCH_MAX] = unsafe { mem::zeroed() };
    for ((header, vector), source) in headers.iter_mut().zip(&mut vectors).zip(&mut sources) {
        header.msg_hdr.msg_name = source.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = SOURCE_BYTES;
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: every header points to one vector over one whole buffer and to one address of the
    // length it names, all on this stack or borrowed mutably until after the call; the count is the
    // array's. No time-out is given, so the pointer may be null.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            RECEIVE_BATCH_MAX as libc::c_uint,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    for index in 0..count {
        let header = &headers[index];
        // SAFETY: for each of the first `count` datagrams the kernel wrote as much of a source as
        // it says in the header: nothing for a socket whose senders have no name.
        let source = unsafe { socket_address(&sources[index], header.msg_hdr.msg_namelen) };
        received[index] = Received {
            source,
            bytes: header.msg_len as usize,
        };
    }
    Ok(count)
}

#[expect(clippy::cast_possible_truncation, reason = "128 bytes")]
const SOURCE_BYTES: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// The address of an internet socket; the unspecified one for any other family, and if there is
/// none: no leg has it.
///
/// # Safety
/// The first `written` bytes of `source` are initialised, or all of them if that is more.
unsafe fn socket_address(
    source: &MaybeUninit<libc::sockaddr_storage>,
    written: libc::socklen_t,
) -> SocketAddr {
    let written = written as usize;
    let source = source.as_ptr();
    if written < FAMILY_END {
        return UNSPECIFIED;
    }
    // SAFETY: the family is initialised, as was just found; every address has it in this place.
    let family = unsafe { (*source).ss_family };
    match libc::c_int::from(family) {
        libc::AF_INET if written >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: so many bytes are initialised; the storage is large and aligned enough.
            let v4 = unsafe { &*source.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into()
        }
        libc::AF_INET6 if written >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above.
            let v6 = unsafe { &*source.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            // The flow is a packet's affair and no part of where it came from.
            SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into()
        }
        _ => UNSPECIFIED,
    }
}

/// Bytes of an address up to the end of its family.
const FAMILY_END: usize =
    std::mem::offset_of!(libc::sockaddr_storage, ss_family) + size_of::<libc::sa_family_t>();

const UNSPECIFIED: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// Whether [`flush_denormals`] can do anything on this kind of processor.
pub const FLUSHES_DENORMALS: bool = cfg!(any(target_arch = "aarch64", target_arch = "x86_64"));

/// One step of a classic BPF program, as linux/filter.h has it.
pub type BpfStep = libc::sock_filter;

/// Lets `program` choose which socket of the group that is bound to one port gets a datagram: by
/// the index that it returns, in the order in which they were bound (socket(7),
/// SO_ATTACH_REUSEPORT_CBPF). One socket of the group stands for all.
///
/// # Errors
/// The kernel's refusal: of the program, or because the socket is in no group.
pub fn attach_reuseport_program(socket: BorrowedFd<'_>, program: &[BpfStep]) -> io::Result<()> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(too_long)?,
        filter: program.as_ptr().cast_mut(),
    };
    let size = libc::socklen_t::try_from(size_of_val(&program)).map_err(too_long)?;
    // SAFETY: `program` is a valid sock_fprog of `size` bytes whose `len` steps live until after
    // the call; the kernel copies and checks them and writes to none. The descriptor is borrowed,
    // so it is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes the kernel put a page of its own behind every address of `range`, which is whole pages
/// of this process, as if each had been written to; what they hold is not changed.
///
/// # Errors
/// The kernel's refusal: `EINVAL` before Linux 5.14, `ENOMEM` or `EFAULT` where `range` is not
/// writable memory (any more).
pub fn populate(range: std::ops::Range<usize>) -> io::Result<()> {
    let start = std::ptr::without_provenance_mut::<libc::c_void>(range.start);
    // SAFETY: MADV_POPULATE_WRITE never changes what memory holds and maps nothing new: for any
    // range, even one that is not ours any more, it faults pages in or fails. No Rust reference is
    // made from `start`.
    let result = unsafe { libc::madvise(start, range.len(), libc::MADV_POPULATE_WRITE) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denormals_become_zero_on_a_thread_that_asked() {
        let smallest_normal = std::hint::black_box(f32::MIN_POSITIVE);
        let halved = std::thread::spawn(move || {
            flush_denormals();
            std::hint::black_box(smallest_normal) / std::hint::black_box(2.0)
        })
        .join()
        .unwrap();
        assert_eq!(halved.to_bits(), 0);
        assert_ne!(
            (smallest_normal / std::hint::black_box(2.0)).to_bits(),
            0,
            "others keep theirs"
        );
    }

    /// Goal: an address is read as far as the kernel wrote it and no further.
    /// Method: whole addresses of which less and less is said to be written.
    #[test]
    fn an_address_that_was_not_wholly_written_is_unspecified() {
        let v4: SocketAddr = "192.0.2.7:5004".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::7]:5004".parse().unwrap();
        for (address, whole) in [
            (v4, size_of::<libc::sockaddr_in>()),
            (v6, size_of::<libc::sockaddr_in6>()),
        ] {
            let source = written(address);
            for length in 0..=whole + 1 {
                // SAFETY: all of the storage is initialised.
                let read = unsafe { socket_address(&source, length as libc::socklen_t) };
                let expected = if length < whole { UNSPECIFIED } else { address };
                assert_eq!(read, expected, "{length} bytes");
            }
        }
    }

    /// Goal: datagrams of nameless senders have no source, whatever the memory held before.
    #[test]
    fn a_sender_without_a_name_has_the_unspecified_address() {
        use std::os::fd::AsFd;
        let (sender, receiver) = std::os::unix::net::UnixDatagram::pair().unwrap();
        for length in 1..=3 {
            sender.send(&[7; 3][..length]).unwrap();
        }
        let mut buffers = [[0; 8]; RECEIVE_BATCH_MAX];
        let nobody = Received {
            source: "192.0.2.1:1".parse().unwrap(),
            bytes: 0,
        };
        let mut received = [nobody; RECEIVE_BATCH_MAX];
        let count = receive_batch(receiver.as_fd(), &mut buffers, &mut received).unwrap();
        assert_eq!(count, 3);
        for (index, received) in received[..3].iter().enumerate() {
            assert_eq!((received.source, received.bytes), (UNSPECIFIED, index + 1));
        }
    }

    /// As the kernel writes it, after zeros.
    fn written(address: SocketAddr) -> MaybeUninit<libc::sockaddr_storage> {
        let address = socket2::SockAddr::from(address);
        let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        // SAFETY: the address is as long as it says, and no longer than a storage.
        unsafe {
            std::ptr::copy_nonoverlapping(
                address.as_ptr().cast::<u8>(),
                storage.as_mut_ptr().cast::<u8>(),
                address.len() as usize,
            );
        }
        storage
    }
}
