//! The gateway: sockets, tiles, link thread, control thread and log, put together.
//!
//! Everything that can be refused is asked for before the first thread starts, so that a gateway
//! either runs whole or not at all.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Sender, bounded};
use mio::Poll;

use crate::asterisk::control::{Control, ControlHandle};
use crate::call::Input;
use crate::config::{Config, Control as Mode, Extension};
use crate::critical::{self, AbortOnPanic};
use crate::link::client::{self, LinkParts};
use crate::link::leg::Endpoint;
use crate::net::udp;
use crate::observe::event;
use crate::realtime;
use crate::tile::meters::LegMeters;
use crate::tile::rx::{RxParts, RxTile};
use crate::tile::tx::{TxParts, TxTile};
use crate::tile::{self, TileHandle, TileSettings};
use crate::topology::Rings;

pub mod log_drain;
pub mod prompts;
pub mod switchboard;

pub use log_drain::Counts;
use log_drain::LogParts;
use prompts::PromptError;
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
    _rx: TileHandle,
    _tx: TileHandle,
    log_thread: JoinHandle<()>,
    stop_log: Sender<()>,
    counts: Counts,
    addresses: Vec<SocketAddr>,
}

impl Gateway {
    /// Binds, reserves, and starts all threads.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let lines = Line::of(config)?;
        let endpoint = endpoint(&config.link.url)?;
        let sockets = config
            .extensions
            .iter()
            .map(bind)
            .collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<_> = sockets
            .iter()
            .map(UdpSocket::local_addr)
            .collect::<Result<_, _>>()?;
        let control = Control::new(&bound(config, &addresses));
        let counts = Counts {
            call: control.counts(),
            ..Counts::default()
        };
        let rings = Rings::new();
        let (events, event_inbox, events_lost) = event::channel();
        let meters = Arc::new(LegMeters::new(config.realtime.legs_max));
        let link_poll = Poll::new()?;
        let link_waker = client::waker(&link_poll)?;

        let tx = TxTile::new(TxParts {
            sockets: sockets
                .iter()
                .map(UdpSocket::try_clone)
                .collect::<Result<_, _>>()?,
            commands: rings.tx_commands.consumer,
            events: rings.tx_events.producer,
            downlink: rings.downlink.consumer,
            counts: Arc::clone(&counts.tx),
            legs_max: config.realtime.legs_max,
        })?;
        let (rx, rx_waker) = RxTile::new(RxParts {
            sockets,
            commands: rings.rx_commands.consumer,
            events: rings.rx_events.producer,
            uplink: rings.uplink.producer,
            link: Arc::clone(&link_waker),
            counts: Arc::clone(&counts.rx),
            meters: Arc::clone(&meters),
            legs_max: config.realtime.legs_max,
        })?;
        let link = LinkParts {
            endpoint,
            uplink: rings.uplink.consumer,
            downlink: rings.downlink.producer,
            events: events.clone(),
            counts: Arc::clone(&counts.link),
            legs_max: config.realtime.legs_max,
        };
        let log = LogParts {
            events: event_inbox,
            event_sender: events.clone(),
            rx_events: rings.rx_events.consumer,
            tx_events: rings.tx_events.consumer,
            control: control.handle(),
            meters,
            leg_timeout: matches!(config.asterisk.control, Mode::None)
                .then_some(config.asterisk.leg_timeout),
            events_lost,
            counts: counts.clone(),
        };

        let tx = tile::spawn(settings("tx", config.realtime.tx_core, config), tx)?;
        let rx = tile::spawn(settings("rx", config.realtime.rx_core, config), rx)?;
        let legs_max = config.realtime.legs_max;
        log::info!(
            "media memory: {} bytes for each of {legs_max} legs",
            RxTile::BYTES_PER_LEG + TxTile::BYTES_PER_LEG
        );
        // Now that the tiles' stacks are there too.
        if let Err(error) = realtime::lock_memory() {
            log::warn!("degraded: the gateway's memory may be paged out: {error}");
        }
        let link = client::spawn(link_poll, link_waker, link)?;
        let (stop_log, log_stop) = bounded(0);
        let log_thread = log_drain::spawn(log, log_stop)?;
        let mut switchboard = Switchboard {
            rx: rings.rx_commands.producer,
            rx_waker,
            tx: rings.tx_commands.producer,
            link,
            events,
            lines,
        };
        let handle = control.handle();
        let control_thread = thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                let _guard = AbortOnPanic;
                if let Err(error) = control.run(|change| switchboard.apply(change)) {
                    critical::abort("control", &error);
                }
            })?;
        Ok(Self {
            control: handle,
            control_thread,
            _rx: rx,
            _tx: tx,
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

fn settings(name: &'static str, core: Option<usize>, config: &Config) -> TileSettings {
    TileSettings {
        name,
        core,
        priority: config.realtime.priority,
    }
}

fn bind(extension: &Extension) -> Result<UdpSocket, StartError> {
    udp::bind(extension.listen).map_err(|source| StartError::Listen {
        number: extension.number.clone(),
        address: extension.listen,
        source,
    })
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
