//! What this machine lets a gateway do about time: priority, cores, memory that stays.
//!
//! Every refusal is a named, *degraded* state: said once, never a failure. Two shared cores without
//! any permission carry calls too, only less punctually.

use std::fmt;
use std::io;
use std::thread;

use rustix::mm::{MlockAllFlags, mlockall};

use crate::sys;

/// The lowest priority of SCHED_FIFO: enough to learn whether any is allowed.
const PROBE_PRIORITY: u8 = 1;

/// Keeps all memory that the process has now in RAM, and touches it. What comes later (the
/// translator's texts, logs) is not a tile's and may be paged.
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
    pub memory: io::Result<()>,
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
            memory: lock_memory(),
            cores: cores.into_iter().map(|core| core.id).collect(),
        }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  cores             {:?}", self.cores)?;
        writeln!(f, "  SCHED_FIFO        {}", verdict(&self.priority))?;
        writeln!(f, "  locked memory     {}", verdict(&self.memory))
    }
}

fn verdict(result: &io::Result<()>) -> String {
    match result {
        Ok(()) => "allowed".into(),
        Err(error) => format!("degraded: {error}"),
    }
}
