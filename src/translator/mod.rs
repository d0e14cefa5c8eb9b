//! The translator: serves the link, and turns each leg's speech into speech for its partner.
//!
//! ```text
//! sockets ◀──▶ I/O thread (reactor ─▶ session ─▶ interpreter) ──jobs──▶ worker pools ─▶ vendors
//!                   ▲                                                       │
//!                   └────────────── results, bounded, and a wake-up ◀───────┘
//! ```
//! One I/O thread owns every socket, session and interpreter and never blocks; what blocks runs on
//! bounded pools. What is full refuses or drops by rule ([`limits`]) and counts it ([`counters`]).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use mio::Waker;

use crate::config::{Config, Engine};
use crate::critical::AbortOnPanic;
use crate::realtime::{ThreadSettings, Urgency};
use crate::topology::thread_name;
use crate::vendor::{Recognizer, Synthesizer, Translator as TextTranslator};
use hub::Hub;
use reactor::Reactor;

pub mod counters;
mod engines;
mod hub;
mod interpreting;
mod jobs;
pub mod limits;
mod reactor;
mod session;

pub use counters::{Count, Counters};
pub use limits::Limits;

/// What makes the translation; the loop engine uses none of it.
#[derive(Clone)]
pub struct Engines {
    /// Hears.
    pub recognizer: Arc<dyn Recognizer>,
    /// Translates.
    pub translator: Arc<dyn TextTranslator>,
    /// Speaks.
    pub synthesizer: Arc<dyn Synthesizer>,
}

/// Starts translators.
#[derive(Debug)]
pub struct Translator;

impl Translator {
    /// Listens on the configured address and serves until the handle is stopped or dropped.
    ///
    /// # Errors
    /// The address cannot be listened on, or vendors are configured but no engines are given.
    pub fn start(config: &Config, engines: Option<Engines>) -> io::Result<Handle> {
        Self::start_with(config, engines, Limits::default())
    }

    /// As [`Self::start`], with other bounds.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(
        config: &Config,
        engines: Option<Engines>,
        limits: Limits,
    ) -> io::Result<Handle> {
        let engines = match config.translator.engine {
            Engine::Loop => None,
            Engine::Vendors if engines.is_some() => engines,
            Engine::Vendors => {
                return Err(io::Error::other("the engine `vendors` needs vendors"));
            }
        };
        let is_stopped = Arc::new(AtomicBool::new(false));
        let reactor = Reactor::bind(config, engines, limits, Arc::clone(&is_stopped))?;
        let (local_addr, waker, hub) = (reactor.local_addr(), reactor.waker(), reactor.hub());
        let settings = ThreadSettings {
            name: thread_name::TRANSLATOR,
            core: None,
            urgency: Urgency::of_link(config.realtime.priority),
            degradations: Arc::clone(&hub.degradations),
        };
        let thread = thread::Builder::new()
            .name(settings.name.into())
            .spawn(move || {
                let _guard = AbortOnPanic;
                settings.apply();
                reactor.run();
            })?;
        Ok(Handle {
            local_addr,
            waker,
            hub,
            is_stopped,
            thread: Some(thread),
        })
    }
}

/// A running translator. Dropping it stops it.
#[derive(Debug)]
pub struct Handle {
    local_addr: SocketAddr,
    waker: Arc<Waker>,
    hub: Arc<Hub>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What it has counted so far.
    pub fn count(&self, what: Count) -> u64 {
        self.hub.counters.value(what)
    }

    /// What is in use now.
    pub fn load(&self) -> Load {
        self.hub.load()
    }

    /// Whether its thread still serves; `false` before a stop is our bug.
    pub fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Closes every connection and waits for the threads, for a bounded time.
    pub fn stop(mut self) {
        self.stop_and_join();
    }

    fn stop_and_join(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        // Waking fails only when the poll is gone, and then the thread is, too.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked: that would have ended the process.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

/// What is in use at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Load {
    /// Sockets open, any state.
    pub connections: u64,
    /// Sessions between `session_start` and their end.
    pub sessions: u64,
    /// Recognition streams open.
    pub recognizers: u64,
    /// Translations and speeches in the making or waiting for a worker.
    pub jobs: u64,
}
