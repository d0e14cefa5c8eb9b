//! Goal: whatever one port is flooded with, the legs of another port are heard in the same turn.
//! Method: an rx tile on this thread, real sockets on loopback; one port holds all the datagrams
//! its buffer takes, the other has one packet of a leg; how many datagrams the tile read until
//! that packet's frame came out.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use diglot::net::udp;
use diglot::tile::Tile;
use diglot::tile::meters::LegMeters;
use diglot::tile::rx::{RxParts, RxTile};
use diglot::topology::Rings;
use diglot_rt::limits::RX_BATCH_MAX;
use diglot_rt::msg::{Codec, LegId, PortIndex, RxCommand, RxLeg};
use diglot_rt::stats::{RxCount, RxCounts};
use diglot_rt::testing::packets::Sender;
use mio::{Poll, Token, Waker};

const FLOOD: u64 = 10 * RX_BATCH_MAX as u64;
/// Far more than a turn takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(10);

struct Rx {
    tile: RxTile,
    ports: Vec<SocketAddr>,
    commands: rtrb::Producer<RxCommand>,
    frames: rtrb::Consumer<diglot_rt::msg::UplinkFrame>,
    counts: Arc<RxCounts>,
    _rest: (Poll, rtrb::Consumer<diglot_rt::msg::RxEvent>),
}

impl Rx {
    fn new() -> Self {
        let sockets: Vec<_> = (0..2)
            .map(|_| udp::bind(([127, 0, 0, 1], 0).into()).unwrap())
            .collect();
        let addresses = sockets.iter().map(|socket| socket.local_addr().unwrap());
        let ports = addresses.collect();
        let (rings, link) = (Rings::new(), Poll::new().unwrap());
        let counts = Arc::default();
        let (tile, _waker) = RxTile::new(RxParts {
            sockets,
            commands: rings.rx_commands.consumer,
            events: rings.rx_events.producer,
            uplink: rings.uplink.producer,
            link: Arc::new(Waker::new(link.registry(), Token(0)).unwrap()),
            counts: Arc::clone(&counts),
            meters: Arc::new(LegMeters::new(2)),
            legs_max: 2,
        })
        .unwrap();
        Self {
            tile,
            ports,
            commands: rings.rx_commands.producer,
            frames: rings.uplink.consumer,
            counts,
            _rest: (link, rings.rx_events.consumer),
        }
    }

    fn add(&mut self, slot: u16, port: PortIndex, phone: &UdpSocket) -> LegId {
        let leg = LegId {
            slot,
            generation: 1,
        };
        let source = phone.local_addr().unwrap();
        let codec = Codec::Ulaw;
        let command = RxCommand::AddLeg(RxLeg {
            leg,
            port,
            source,
            codec,
        });
        self.commands.push(command).unwrap();
        leg
    }
}

fn phone() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// Datagrams read until the quiet leg was heard, while the other port was flooded by `flooder`.
fn read_until_heard(flood: &[u8], flooded: PortIndex, is_leg: impl Fn(&mut Rx, &UdpSocket)) -> u64 {
    let mut rx = Rx::new();
    let (flooder, quiet) = (phone(), phone());
    let other = PortIndex(1 - flooded.0);
    is_leg(&mut rx, &flooder);
    let leg = rx.add(1, other, &quiet);
    for _ in 0..FLOOD {
        flooder
            .send_to(flood, rx.ports[usize::from(flooded.0)])
            .unwrap();
    }
    let packet = Sender::new(Codec::Ulaw).packet(&[1000; 160]);
    quiet
        .send_to(&packet, rx.ports[usize::from(other.0)])
        .unwrap();
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < PATIENCE, "the quiet leg was never heard");
        rx.tile.turn().unwrap();
        while let Ok(frame) = rx.frames.pop() {
            if frame.leg == leg {
                return rx.counts.value(RxCount::Datagram);
            }
        }
    }
}

#[test]
fn a_flood_on_one_port_does_not_keep_the_other_waiting() {
    let voice = Sender::new(Codec::Ulaw).packet(&[1000; 160]);
    for flooded in [PortIndex(0), PortIndex(1)] {
        for (what, flood) in [("nonsense", &[0; 7][..]), ("voice", &voice)] {
            let strangers = read_until_heard(flood, flooded, |_, _| {});
            let leg = read_until_heard(flood, flooded, |rx, flooder| {
                rx.add(0, flooded, flooder);
            });
            // The flooded port may have had its turn before, and once the wake-up is known.
            let most = 2 * RX_BATCH_MAX as u64 + 1;
            assert!(strangers <= most, "{what} of strangers: {strangers} read");
            assert!(leg <= most, "{what} of a leg: {leg} read");
        }
    }
}
