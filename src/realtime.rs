//! What this machine lets a gateway do about time: priority, cores, memory that stays.
//!
//! Every refusal is a named, *degraded* state: said once, never a failure. Two shared cores without
//! any permission carry calls too, only less punctually.

use std::fmt;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use core_affinity::CoreId;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::setpriority_process;

use crate::net::udp;
use crate::sys;

/// Nice value of [`Urgency::Prompt`]: some thirty times the weight of an ordinary thread.
const PROMPT_NICE: i32 = -15;

/// The lowest priority of SCHED_FIFO: enough to learn whether any is allowed.
const PROBE_PRIORITY: u8 = 1;

diglot_rt::counted! {
    /// What the kernel refused, each also one line of the log. A gateway that was refused nothing
    /// shows none of them.
    Degradation, Degradations {
        /// Tiles that float although a core was named for them.
        Core => "degraded_core_total",
        /// Tiles whose processor cannot treat denormals as zero.
        Denormals => "degraded_denormals_total",
        /// The memory may be paged out.
        MemoryLock => "degraded_memory_lock_total",
        /// The memory was not touched: its first use may wait for a page.
        MemoryTouch => "degraded_memory_touch_total",
        /// Threads of the media path without the priority that was asked for.
        Priority => "degraded_priority_total",
        /// RTP sockets that hold less than was asked for: a burst may be dropped by the kernel.
        ReceiveBuffer => "degraded_receive_buffer_total",
        /// One tile pair runs instead of several.
        TilePairs => "degraded_tile_pairs_total",
    }
}

/// When a thread of the media path runs before others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Urgency {
    /// SCHED_FIFO: for threads that keep time and never have much to do at once.
    Clock {
        /// 1 to 99.
        priority: u8,
    },
    /// As others.
    Ordinary,
    /// Before ordinary threads, but not SCHED_FIFO: the kernel stops all of that class on a core
    /// for 50 ms of a second when it takes more than the rest, and at some load the link would.
    Prompt,
}

impl Urgency {
    /// Of a tx tile, at the priority asked for.
    pub fn of_tx(priority: Option<u8>) -> Self {
        priority.map_or(Self::Ordinary, |priority| Self::Clock { priority })
    }

    /// Of an rx tile: one below the frame clock, so that a flood of packets never delays it where
    /// they share a core.
    pub fn of_rx(priority: Option<u8>) -> Self {
        let below = |priority: u8| priority.saturating_sub(1).max(1);
        Self::of_tx(priority.map(below))
    }

    /// Of both ends of the link.
    pub fn of_link(priority: Option<u8>) -> Self {
        priority.map_or(Self::Ordinary, |_| Self::Prompt)
    }
}

impl fmt::Display for Urgency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock { priority } => f.pad(&format!("SCHED_FIFO {priority}")),
            Self::Ordinary => f.pad("ordinary"),
            Self::Prompt => f.pad(&format!("nice {PROMPT_NICE}")),
        }
    }
}

/// Where and how a thread of the media path runs.
#[derive(Clone, Debug)]
pub struct ThreadSettings {
    /// Thread name, at most 15 bytes (the kernel's limit).
    pub name: &'static str,
    /// Core it is pinned to; it floats if absent.
    pub core: Option<usize>,
    /// When it runs before others.
    pub urgency: Urgency,
    /// Where refusals are counted; this thread's own.
    pub degradations: Arc<Degradations>,
}

impl ThreadSettings {
    /// Applies them to the calling thread; each refusal is one line and one count.
    pub fn apply(&self) {
        let (name, refused) = (self.name, &self.degradations);
        if let Some(core) = self.core
            && !core_affinity::set_for_current(CoreId { id: core })
        {
            log::warn!("degraded: {name} is not pinned: core {core} was refused");
            refused.count(Degradation::Core);
        }
        let asked = match self.urgency {
            Urgency::Clock { priority } => sys::set_fifo_priority(priority),
            Urgency::Prompt => setpriority_process(None, PROMPT_NICE).map_err(io::Error::from),
            Urgency::Ordinary => Ok(()),
        };
        if let Err(error) = asked {
            log::warn!("degraded: {name} runs without priority: {error}");
            refused.count(Degradation::Priority);
        }
    }
}

/// Touches and locks all memory that the process has now, stacks of running threads included; what
/// is refused is said and counted.
pub fn settle_memory(counts: &Degradations) {
    if let Err(error) = touch_memory() {
        log::warn!("degraded: not all of the gateway's memory was touched: {error}");
        counts.count(Degradation::MemoryTouch);
    }
    if let Err(error) = lock_memory() {
        log::warn!("degraded: the gateway's memory may be paged out: {error}");
        counts.count(Degradation::MemoryLock);
    }
}

/// Puts a page behind every writable private address of the process, so that no first use of it
/// waits for one. Locking does the same, but is often refused.
///
/// # Errors
/// The list of mappings cannot be read, or the kernel refuses (before Linux 5.14).
pub fn touch_memory() -> io::Result<()> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut outcome = Ok(());
    for range in maps.lines().filter_map(writable_range) {
        // What is not mapped any more was the stack of a thread that has ended meanwhile, and the
        // rest is worth touching even if one is refused.
        match sys::populate(range) {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {}
            result => outcome = outcome.and(result),
        }
    }
    outcome
}

/// The addresses of a line of `/proc/self/maps` (proc_pid_maps(5)) that is writable and private.
fn writable_range(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    fields.next()?.starts_with("rw-p").then_some(())?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

/// Keeps all memory that the process has now in RAM. What comes later (the translator's texts,
/// logs) is not a tile's and may be paged.
///
/// # Errors
/// The kernel's refusal, usually `ENOMEM` or `EPERM` for want of RLIMIT_MEMLOCK.
pub fn lock_memory() -> io::Result<()> {
    mlockall(MlockAllFlags::CURRENT).map_err(io::Error::from)
}

/// What was tried, and what the kernel said.
#[derive(Debug)]
pub struct Permissions {
    /// SCHED_FIFO.
    pub priority: io::Result<()>,
    /// Locked memory.
    pub memory_lock: io::Result<()>,
    /// Memory that is there before it is used.
    pub memory_touch: io::Result<()>,
    /// Sockets that hold what comes in a stall.
    pub receive_buffer: io::Result<()>,
    /// Several tile pairs: a port's sources spread over several sockets.
    pub tile_pairs: io::Result<()>,
    /// Cores this process may run on.
    pub cores: Vec<usize>,
}

impl Permissions {
    /// Tries on a thread of its own, so that the caller's is left as it was. Locked memory stays
    /// locked: for a process that is about to end.
    pub fn probe() -> Self {
        let priority = thread::spawn(|| sys::set_fifo_priority(PROBE_PRIORITY))
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the probe panicked")));
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        Self {
            priority,
            memory_lock: lock_memory(),
            memory_touch: touch_memory(),
            receive_buffer: probe_receive_buffer(),
            tile_pairs: probe_steering(),
            cores: cores.into_iter().map(|core| core.id).collect(),
        }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  cores             {:?}", self.cores)?;
        writeln!(f, "  SCHED_FIFO        {}", verdict(&self.priority))?;
        writeln!(f, "  locked memory     {}", verdict(&self.memory_lock))?;
        writeln!(f, "  touched memory    {}", verdict(&self.memory_touch))?;
        writeln!(f, "  receive buffer    {}", verdict(&self.receive_buffer))?;
        writeln!(f, "  tile pairs        {}", verdict(&self.tile_pairs))
    }
}

fn probe_steering() -> io::Result<()> {
    let any_port = (Ipv4Addr::LOCALHOST, 0).into();
    udp::bind_pairs(any_port, 2)?.refusal.map_or(Ok(()), Err)
}

fn probe_receive_buffer() -> io::Result<()> {
    let socket = udp::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let (granted, asked) = (
        udp::receive_buffer_bytes(&socket)?,
        udp::SOCKET_BUFFER_BYTES,
    );
    if granted >= asked {
        return Ok(());
    }
    let refusal = format!("{granted} bytes of {asked}: raise net.core.rmem_max");
    Err(io::Error::other(refusal))
}

fn verdict(result: &io::Result<()>) -> String {
    match result {
        Ok(()) => "allowed".into(),
        Err(error) => format!("degraded: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: code, shared memory and guard pages are left alone, and nonsense is no address.
    #[test]
    fn only_private_writable_mappings_are_touched() {
        let line = "7f00deadb000-7f00deadd000 rw-p 00000000 00:00 0    [stack]";
        assert_eq!(
            writable_range(line),
            Some(0x7f00_dead_b000..0x7f00_dead_d000)
        );
        for flags in ["r--p", "r-xp", "rw-s", "---p"] {
            assert_eq!(
                writable_range(&line.replace("rw-p", flags)),
                None,
                "{flags}"
            );
        }
        for nonsense in ["", "7f", "x-y rw-p", "1-2"] {
            assert_eq!(writable_range(nonsense), None, "{nonsense:?}");
        }
    }
}
