//! Many legs at once against a gateway, and what they hear measured.
//!
//! ```text
//! plan ─▶ content (all audio, encoded before the start)
//!           │
//!         sender thread: talker × N ─▶ impairment ─▶ socket × N ─▶ gateway
//!         receiver thread: listener × N ◀── kernel stamps ── socket × N ◀──┘
//!           │        grid, marker, spread
//!         report ─▶ text, thresholds, JSON, SVG
//! ```
//!
//! [`plan`], [`content`], [`impairment`], [`talker`], [`hostile`], [`listener`], [`grid`] and
//! [`marker`] are pure. Two threads: neither allocates between the first packet and the last.

pub mod clock;
pub mod content;
pub mod grid;
pub mod hostile;
pub mod impairment;
pub mod listener;
pub mod marker;
pub mod plan;
pub mod receiver;
pub mod report;
pub mod sender;
pub mod shared;
pub mod spread;
pub mod talker;
pub mod text;
pub mod threshold;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::clock::Epoch;
use self::content::Content;
use self::plan::Plan;
use self::receiver::Receiver;
use self::report::{Findings, LoadReport};
use self::sender::{Sender, Sent};
use self::shared::Shared;
use crate::process::{ProcessTimes, machine_times, process_times, scheduling};

/// From the end of all preparation to the first packet.
const START_AFTER: Duration = Duration::from_millis(50);
/// The last packets are on their way for at most this long.
const LINGER: Duration = Duration::from_millis(200);
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Files a process has open besides the legs' sockets.
const FILES_BESIDES: u64 = 64;

/// Why a load could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No socket could be had.
    #[error("cannot open a socket for leg {leg}: {source}")]
    Bind {
        /// The leg that has none.
        leg: usize,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The process may not open enough files.
    #[error("{legs} legs need {needed} open files; the hard limit is {allowed} (ulimit -Hn)")]
    Files {
        /// Legs wanted.
        legs: usize,
        /// Files needed.
        needed: u64,
        /// Files allowed.
        allowed: u64,
    },
    /// A process whose CPU time was asked for does not exist.
    #[error("--cpu-of {0}: no such process")]
    NoProcess(u32),
    /// The plan is out of bounds.
    #[error("{0}")]
    Plan(String),
    /// The kernel refused something while running.
    #[error("{0}")]
    Run(#[from] io::Error),
}

/// How far a run is, once a second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Since the first packet.
    pub elapsed: Duration,
    /// Until the window ends, warm-up included.
    pub total: Duration,
    /// Packets sent so far, nearly.
    pub sent: u64,
    /// Packets received so far.
    pub received: u64,
}

/// Runs a plan to its end, or until `stop` is set.
///
/// # Errors
/// [`LoadError`] when it cannot begin, or the kernel refuses to go on.
pub fn run(
    plan: &Plan,
    stop: Arc<AtomicBool>,
    mut on_progress: impl FnMut(Progress),
) -> Result<LoadReport, LoadError> {
    plan.check().map_err(LoadError::Plan)?;
    if let Some(gone) = plan
        .cpu_of
        .iter()
        .find(|pid| process_times(**pid).is_none())
    {
        return Err(LoadError::NoProcess(*gone));
    }
    allow_files(plan.legs)?;
    let sockets = open_sockets(plan)?;
    let from: Vec<SocketAddr> = sockets
        .iter()
        .map(UdpSocket::local_addr)
        .collect::<Result<_, _>>()?;
    let content = Content::new(plan);
    let epoch = Epoch::after(START_AFTER);
    let sender = Sender::new(plan, &sockets, content, epoch)?;
    let receiver = Receiver::new(plan, &sockets, epoch)?;
    let shared = Shared {
        stop,
        ..Shared::default()
    };
    let shared = &shared;
    thread::scope(|scope| {
        let name = |name: &str| thread::Builder::new().name(name.into());
        let receiving = name("receiver").spawn_scoped(scope, || receiver.run(shared))?;
        let (done, is_done) = mpsc::channel::<()>();
        let sending = name("sender").spawn_scoped(scope, move || {
            let sent = sender.run(shared);
            drop(done); // which is what the other end waits for
            sent
        })?;
        let mut watch = Watch::new(plan, epoch);
        watch.until(&is_done, shared, &mut on_progress);
        let sent: Sent = sending
            .join()
            .unwrap_or_else(|p| std::panic::resume_unwind(p));
        epoch.sleep_until(epoch.now() + LINGER);
        shared.is_over.store(true, Ordering::Relaxed);
        let received = receiving
            .join()
            .unwrap_or_else(|p| std::panic::resume_unwind(p))?;
        Ok(LoadReport::new(Findings {
            plan,
            from: &from,
            sent,
            received,
            scheduling: scheduling(),
            clock_step: epoch.clock_step(),
            machine: watch.machine,
            processes: watch.processes,
        }))
    })
}

/// Reads CPU times at both ends of the window, and shows progress between.
struct Watch<'a> {
    plan: &'a Plan,
    epoch: Epoch,
    machine: [crate::process::MachineTimes; 2],
    processes: Vec<(u32, [Option<ProcessTimes>; 2])>,
}

impl<'a> Watch<'a> {
    fn new(plan: &'a Plan, epoch: Epoch) -> Self {
        let processes = plan.cpu_of.iter().map(|pid| (*pid, [None, None]));
        Self {
            plan,
            epoch,
            machine: Default::default(),
            processes: processes.collect(),
        }
    }

    fn until(
        &mut self,
        is_done: &mpsc::Receiver<()>,
        shared: &Shared,
        on_progress: &mut impl FnMut(Progress),
    ) {
        let start = self.plan.window_start();
        let mut is_open = false;
        let mut next = Duration::ZERO;
        loop {
            let now = self.epoch.now();
            if !is_open && now >= start {
                is_open = true;
                self.read_times(0);
            }
            next = if is_open { next } else { next.min(start) };
            match is_done.recv_timeout(next.saturating_sub(now)) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
            let elapsed = self.epoch.now();
            on_progress(Progress {
                elapsed,
                total: start + self.plan.window,
                sent: shared.sent.load(Ordering::Relaxed),
                received: shared.received.load(Ordering::Relaxed),
            });
            while next <= elapsed {
                next += PROGRESS_EVERY;
            }
        }
        self.read_times(1);
    }

    /// At the window's beginning (0) or end (1).
    fn read_times(&mut self, edge: usize) {
        self.machine[edge] = machine_times();
        for (pid, times) in &mut self.processes {
            times[edge] = process_times(*pid);
        }
    }
}

/// Raises the soft limit of open files as far as the legs need.
fn allow_files(legs: usize) -> Result<(), LoadError> {
    let needed = legs as u64 + FILES_BESIDES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(allowed) = limit.maximum.filter(|maximum| *maximum < needed) {
        return Err(LoadError::Files {
            legs,
            needed,
            allowed,
        });
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| LoadError::Run(error.into()))
}

fn open_sockets(plan: &Plan) -> Result<Vec<UdpSocket>, LoadError> {
    let open = |leg| {
        let socket = UdpSocket::bind(plan.address_of(leg));
        let prepared = socket.and_then(|socket| receiver::prepare(&socket).map(|()| socket));
        prepared.map_err(|source| LoadError::Bind { leg, source })
    };
    (0..plan.legs).map(open).collect()
}
