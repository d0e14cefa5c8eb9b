//! The tile pairs of a gateway: the sockets and rings of each, and the ends that others hold.
//!
//! Everything that can be refused is asked for before [`run`] starts the first thread.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use diglot_rt::msg::{DownlinkFrame, RxEvent, TxEvent, UplinkFrame};
use mio::Waker;
use rtrb::{Consumer, Producer};

use super::switchboard::PairEnds;
use super::{Counts, StartError};
use crate::config::{Config, Extension, Realtime};
use crate::net::drops::SocketDrops;
use crate::net::udp;
use crate::realtime::{Degradation, Degradations, ThreadSettings, Urgency};
use crate::tile::meters::LegMeters;
use crate::tile::rx::{RxParts, RxTile};
use crate::tile::tx::{TxParts, TxTile};
use crate::tile::{self, TileHandle};
use crate::topology::{self, Rings};

/// The RTP ports, bound.
#[derive(Debug)]
pub(super) struct Ports {
    /// By tile pair, then in the order of the configuration's extensions.
    pub(super) sockets: Vec<Vec<UdpSocket>>,
    /// By extension.
    pub(super) addresses: Vec<SocketAddr>,
    /// Why there is one pair where more are configured.
    pub(super) refusal: Option<io::Error>,
}

impl Ports {
    /// Binds the port of every extension, once for each tile pair. A kernel that does not steer
    /// leaves one pair: fewer legs, but each of them whole.
    ///
    /// # Errors
    /// A port cannot be had.
    pub(super) fn bind(config: &Config) -> Result<Self, StartError> {
        let mut ports = Self {
            sockets: (0..config.realtime.tile_pairs)
                .map(|_| Vec::new())
                .collect(),
            addresses: Vec::new(),
            refusal: None,
        };
        for extension in &config.extensions {
            let listen_error = |source| listen_error(extension, source);
            let pairs = ports.sockets.len();
            let bound = udp::bind_pairs(extension.listen, pairs).map_err(listen_error)?;
            let address = bound.sockets[0].local_addr().map_err(listen_error)?;
            ports.addresses.push(address);
            for (of_pair, socket) in ports.sockets.iter_mut().zip(bound.sockets) {
                of_pair.push(socket);
            }
            if bound.refusal.is_some() {
                // Nor is it worth asking for the next port.
                ports.sockets.truncate(1);
                ports.refusal = bound.refusal;
            }
        }
        Ok(ports)
    }

    /// Says and counts what the kernel did not grant: one line and one count each.
    pub(super) fn report(&self, realtime: &Realtime, degradations: &Degradations) {
        if let Some(refusal) = &self.refusal {
            log::warn!(
                "degraded: one tile pair instead of {}: the kernel does not spread the sources of \
                 a port over several: {refusal}",
                realtime.tile_pairs
            );
            degradations.count(Degradation::TilePairs);
        }
        let granted = self.all().map(udp::receive_buffer_bytes);
        // A kernel that does not tell is not known to have refused.
        let least = granted.filter_map(Result::ok).min();
        if let Some(least) = least.filter(|bytes| *bytes < udp::SOCKET_BUFFER_BYTES) {
            log::warn!(
                "degraded: the kernel holds {least} bytes of what comes to an RTP port instead of \
                 {}: a stall may lose packets; raise net.core.rmem_max",
                udp::SOCKET_BUFFER_BYTES
            );
            degradations.count(Degradation::ReceiveBuffer);
        }
    }

    /// For what the kernel drops of what comes to them.
    pub(super) fn socket_drops(&self) -> io::Result<SocketDrops> {
        SocketDrops::of(self.all())
    }

    /// The tile pairs that will serve them, with all the memory that these will ever need.
    ///
    /// # Errors
    /// See [`TilePair::new`].
    pub(super) fn reserve(self, shared: &Shared, counts: &mut Counts) -> io::Result<Vec<TilePair>> {
        let pairs = self.sockets.into_iter();
        pairs
            .map(|sockets| TilePair::new(sockets, shared, counts))
            .collect()
    }

    fn all(&self) -> impl Iterator<Item = &UdpSocket> {
        self.sockets.iter().flatten()
    }
}

fn listen_error(extension: &Extension, source: io::Error) -> StartError {
    StartError::Listen {
        number: extension.number.clone(),
        address: extension.listen,
        source,
    }
}

/// What all pairs share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Tells the link thread that there are frames.
    pub(super) link_waker: Arc<Waker>,
    /// What each leg shows of itself.
    pub(super) meters: Arc<LegMeters>,
    /// Legs at most, of all pairs and of each.
    pub(super) legs_max: usize,
}

/// Two tiles, ready to run, and the far ends of their rings.
#[derive(Debug)]
pub(super) struct TilePair {
    pub(super) rx: RxTile,
    pub(super) tx: TxTile,
    /// For the control thread.
    pub(super) control: PairEnds,
    /// For the link thread.
    pub(super) uplink: Consumer<UplinkFrame>,
    /// For the link thread.
    pub(super) downlink: Producer<DownlinkFrame>,
    /// For the log thread.
    pub(super) rx_events: Consumer<RxEvent>,
    /// For the log thread.
    pub(super) tx_events: Consumer<TxEvent>,
}

impl TilePair {
    /// Reserves all that the pair will ever need.
    ///
    /// # Errors
    /// The kernel refuses a timer, an epoll instance or a descriptor.
    pub(super) fn new(
        sockets: Vec<UdpSocket>,
        shared: &Shared,
        counts: &mut Counts,
    ) -> io::Result<Self> {
        let rings = Rings::new();
        let tx = TxTile::new(TxParts {
            sockets: sockets
                .iter()
                .map(UdpSocket::try_clone)
                .collect::<Result<_, _>>()?,
            commands: rings.tx_commands.consumer,
            events: rings.tx_events.producer,
            downlink: rings.downlink.consumer,
            counts: counts.tx.add_writer(),
            legs_max: shared.legs_max,
        })?;
        let (rx, rx_waker) = RxTile::new(RxParts {
            sockets,
            commands: rings.rx_commands.consumer,
            events: rings.rx_events.producer,
            uplink: rings.uplink.producer,
            link: Arc::clone(&shared.link_waker),
            counts: counts.rx.add_writer(),
            meters: Arc::clone(&shared.meters),
            legs_max: shared.legs_max,
        })?;
        Ok(Self {
            rx,
            tx,
            control: PairEnds {
                rx: rings.rx_commands.producer,
                rx_waker,
                tx: rings.tx_commands.producer,
            },
            uplink: rings.uplink.consumer,
            downlink: rings.downlink.producer,
            rx_events: rings.rx_events.consumer,
            tx_events: rings.tx_events.consumer,
        })
    }
}

/// The far ends of all pairs' rings, by pair.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) control: Vec<PairEnds>,
    pub(super) uplinks: Vec<Consumer<UplinkFrame>>,
    pub(super) downlinks: Vec<Producer<DownlinkFrame>>,
    pub(super) rx_events: Vec<Consumer<RxEvent>>,
    pub(super) tx_events: Vec<Consumer<TxEvent>>,
}

/// Starts all tiles.
///
/// # Errors
/// A thread cannot be made.
pub(super) fn run(
    pairs: Vec<TilePair>,
    realtime: &Realtime,
    counts: &mut Counts,
) -> io::Result<(Vec<TileHandle>, Ends)> {
    let (mut tiles, mut ends) = (Vec::new(), Ends::default());
    let names = topology::tile_names(pairs.len());
    for ((index, pair), names) in pairs.into_iter().enumerate().zip(names) {
        let mut settings = |name, cores: &[usize], urgency| ThreadSettings {
            name,
            core: cores.get(index).copied(),
            urgency,
            degradations: counts.degradations.add_writer(),
        };
        let tx = settings(
            names.tx,
            &realtime.tx_cores,
            Urgency::of_tx(realtime.priority),
        );
        let rx = settings(
            names.rx,
            &realtime.rx_cores,
            Urgency::of_rx(realtime.priority),
        );
        tiles.push(tile::spawn(tx, pair.tx)?);
        tiles.push(tile::spawn(rx, pair.rx)?);
        ends.control.push(pair.control);
        ends.uplinks.push(pair.uplink);
        ends.downlinks.push(pair.downlink);
        ends.rx_events.push(pair.rx_events);
        ends.tx_events.push(pair.tx_events);
    }
    Ok((tiles, ends))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Command, Sources};
    use socket2::SockRef;

    /// Goal: a buffer smaller than was asked for is told, once for all ports, and one that is not
    /// is not. Method: ports whose sockets have what the test gives them.
    #[test]
    fn a_small_receive_buffer_is_one_degradation() {
        let sources = Sources {
            command: Command::Gateway,
            config: None,
            env_file: None,
            environment: vec![],
            set: vec![
                ("asterisk.control".into(), "none".into()),
                ("extension.7777.listen".into(), "127.0.0.1:0".into()),
                ("extension.8888.listen".into(), "127.0.0.1:0".into()),
            ],
        };
        let config = config::load(&sources).unwrap();
        let ports = Ports::bind(&config).unwrap();
        let told = || {
            let degradations = Degradations::default();
            ports.report(&config.realtime, &degradations);
            degradations.value(Degradation::ReceiveBuffer)
        };
        let is_granted =
            |socket| udp::receive_buffer_bytes(socket).unwrap() >= udp::SOCKET_BUFFER_BYTES;
        // What this machine grants is its own affair.
        assert_eq!(told(), u64::from(!ports.all().all(is_granted)));
        for socket in ports.all() {
            let half = udp::SOCKET_BUFFER_BYTES / 2;
            SockRef::from(socket).set_recv_buffer_size(half).unwrap();
            assert!(udp::receive_buffer_bytes(socket).unwrap() <= half);
        }
        assert_eq!(told(), 1);
    }
}
