//! The gateway: sockets, tiles, link thread, control thread and log, put together.
//!
//! Everything that can be refused is asked for before the first thread starts, so that a gateway
//! either runs whole or not at all.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};
use mio::Poll;

use crate::asterisk::control::{Control, ControlHandle};
use crate::call::Input;
use crate::config::{Config, Control as Mode};
use crate::critical::{self, AbortOnPanic};
use crate::link::gateway::client::{self, LinkParts};
use crate::link::gateway::leg::Endpoint;
use crate::observe::event;
use crate::realtime::{self, ThreadSettings, Urgency};
use crate::tile::TileHandle;
use crate::tile::meters::LegMeters;
use crate::topology::{MediaMemory, thread_name};

mod count_lines;
pub mod counts;
pub mod log_drain;
mod pairs;
pub mod prompts;
pub mod roster;
pub mod switchboard;

pub use counts::Counts;
use log_drain::LogParts;
use pairs::{Ports, Shared};
use prompts::PromptError;
use roster::{Roster, Watch};
use switchboard::{Line, Switchboard};

/// Why a gateway does not start; nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of the translator cannot be found.
    #[error("link.url: {url}: {source}")]
    Link {
        /// As configured.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// An RTP port cannot be had.
    #[error(
        "extension {number}: cannot listen on {address}: {source}; end what uses this port or \
         choose another one (extension.listen)"
    )]
    Listen {
        /// Whose port.
        number: String,
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A prompt cannot be played.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The kernel refuses a thread, a timer or an epoll instance.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A running gateway. [`stop`](Self::stop) ends it.
#[derive(Debug)]
pub struct Gateway {
    control: ControlHandle,
    control_thread: JoinHandle<()>,
    _tiles: Vec<TileHandle>,
    log_thread: JoinHandle<()>,
    stop_log: Sender<()>,
    counts: Counts,
    addresses: Vec<SocketAddr>,
}

impl Gateway {
    /// Binds, reserves, starts all threads, and then settles the memory of all that is there.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let lines = Line::of(config)?;
        let endpoint = endpoint(&config.link.url)?;
        let ports = Ports::bind(config)?;
        let control = Control::new(&bound(config, &ports.addresses));
        let (events, event_inbox, events_lost) = event::channel();
        let mut counts = Counts {
            call: control.counts(),
            events_lost,
            ..Counts::default()
        };
        let start_degradations = counts.degradations.add_writer();
        ports.report(&config.realtime, &start_degradations);
        let legs_max = config.realtime.legs_max;
        let roster = Arc::new(Roster::new(legs_max));
        let (addresses, socket_drops) = (ports.addresses.clone(), ports.socket_drops()?);
        let link_poll = Poll::new()?;
        let shared = Shared {
            link_waker: client::waker(&link_poll)?,
            meters: Arc::new(LegMeters::new(legs_max)),
            legs_max,
        };
        let pairs = ports.reserve(&shared, &mut counts)?;
        log::info!("media memory: {}", MediaMemory::of(legs_max, pairs.len()));
        let (tiles, ends) = pairs::run(pairs, &config.realtime, &mut counts)?;
        let link = LinkParts {
            thread: link_settings(config, &mut counts),
            endpoint,
            uplinks: ends.uplinks,
            downlinks: ends.downlinks,
            events: events.clone(),
            counts: Arc::clone(&counts.link),
            legs_max,
        };
        let link = client::spawn(link_poll, shared.link_waker, link)?;
        let log = LogParts {
            events: event_inbox,
            event_sender: events.clone(),
            rx_events: ends.rx_events,
            tx_events: ends.tx_events,
            control: control.handle(),
            watch: Watch::new(Arc::clone(&roster), shared.meters),
            socket_drops,
            leg_timeout: leg_timeout(config),
            counts: counts.clone(),
        };
        let (stop_log, log_stop) = bounded(0);
        let log_thread = log_drain::spawn(log, log_stop)?;
        let switchboard = Switchboard::new(ends.control, link, events, lines, roster);
        let handle = control.handle();
        let control_thread = spawn_control(control, switchboard)?;
        // Now that everything is there, the stacks of all these threads too.
        realtime::settle_memory(&start_degradations);
        Ok(Self {
            control: handle,
            control_thread,
            _tiles: tiles,
            log_thread,
            stop_log,
            counts,
            addresses,
        })
    }

    /// Where RTP is received, in the order of the configuration's extensions.
    pub fn rtp_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What is counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Ends all calls in Asterisk, then all threads; bounded in time.
    pub fn stop(self) {
        while self.control.tell(Input::Shutdown).is_err() && !self.control_thread.is_finished() {
            thread::yield_now();
        }
        // Neither can have panicked: that would have ended the process.
        let _ = self.control_thread.join();
        drop(self.stop_log);
        let _ = self.log_thread.join();
    }
}

fn spawn_control(control: Control, mut switchboard: Switchboard) -> io::Result<JoinHandle<()>> {
    let builder = thread::Builder::new().name(thread_name::CONTROL.into());
    builder.spawn(move || {
        let _guard = AbortOnPanic;
        if let Err(error) = control.run(|change| switchboard.apply(change)) {
            critical::abort(thread_name::CONTROL, &error);
        }
    })
}

fn link_settings(config: &Config, counts: &mut Counts) -> ThreadSettings {
    ThreadSettings {
        name: thread_name::LINK,
        core: None,
        urgency: Urgency::of_link(config.realtime.priority),
        degradations: counts.degradations.add_writer(),
    }
}

/// Where Asterisk says who calls, silence ends no call.
fn leg_timeout(config: &Config) -> Option<Duration> {
    matches!(config.asterisk.control, Mode::None).then_some(config.asterisk.leg_timeout)
}

/// The configuration with the ports that were really bound, which Asterisk is to be told.
fn bound(config: &Config, addresses: &[SocketAddr]) -> Config {
    let mut config = config.clone();
    for (extension, address) in config.extensions.iter_mut().zip(addresses) {
        extension.listen = *address;
    }
    config
}

/// Resolves the translator's addresses once; the link thread must never wait for a name server.
fn endpoint(url: &str) -> Result<Endpoint, StartError> {
    let error = |source| StartError::Link {
        url: url.into(),
        source,
    };
    let authority = url
        .strip_prefix("ws://")
        .and_then(|rest| rest.split('/').next())
        .ok_or_else(|| error(io::Error::other("not a ws:// URL")))?;
    let addresses: Vec<_> = authority.to_socket_addrs().map_err(error)?.collect();
    if addresses.is_empty() {
        return Err(error(io::Error::other("no address for this name")));
    }
    Ok(Endpoint {
        addresses,
        url: url.into(),
    })
}
