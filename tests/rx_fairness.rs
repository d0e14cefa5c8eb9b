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
use diglot_rt::limits::{FILL_CREDIT_FRAMES, RX_BATCH_MAX};
use diglot_rt::msg::{Codec, LegId, PortIndex, RxCommand, RxEvent, RxLeg, UplinkStart};
use diglot_rt::stats::{RxCount, RxCounts};
use diglot_rt::testing::packets::Sender;
use mio::{Poll, Token, Waker};

const FLOOD: u64 = 10 * RX_BATCH_MAX as u64;
/// Of each port, as many as one turn has datagrams for.
const LEGS_MAX: usize = 2 * RX_BATCH_MAX;
/// Far more than a turn takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(10);

struct Rx {
    tile: RxTile,
    ports: Vec<SocketAddr>,
    commands: rtrb::Producer<RxCommand>,
    frames: rtrb::Consumer<diglot_rt::msg::UplinkFrame>,
    counts: Arc<RxCounts>,
    _rest: (Poll, rtrb::Consumer<RxEvent>),
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
            meters: Arc::new(LegMeters::new(LEGS_MAX)),
            legs_max: LEGS_MAX,
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
            uplink: UplinkStart::Fresh,
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

/// Goal: datagrams that complete many frames each cost no leg a frame. Method: as many legs as a
/// turn has datagrams for; the second packet of each is as long as can be and comes after a gap,
/// and all of them wait when the tile takes its turn.
#[test]
fn packets_that_complete_many_frames_cost_no_leg_a_frame() {
    const LONGEST: usize = 9 * 160;
    let mut rx = Rx::new();
    let port = |slot: u16| PortIndex((slot % 2) as u8);
    let slots = 0..LEGS_MAX as u16;
    let mut phones: Vec<_> = slots
        .map(|slot| (phone(), Sender::new(Codec::Ulaw), slot))
        .collect();
    for (phone, _, slot) in &phones {
        rx.add(*slot, port(*slot), phone);
    }
    let mut frames = 0;
    for length in [160, LONGEST] {
        for (phone, sender, slot) in &mut phones {
            let to = rx.ports[usize::from(port(*slot).0)];
            phone
                .send_to(&sender.packet(&vec![1000; length]), to)
                .unwrap();
            sender.skip(0, (FILL_CREDIT_FRAMES - 1) * 160);
        }
        let begin = Instant::now();
        let due = rx.counts.value(RxCount::Datagram) + LEGS_MAX as u64;
        while rx.counts.value(RxCount::Datagram) < due {
            assert!(begin.elapsed() < PATIENCE, "a packet was never read");
            rx.tile.turn().unwrap();
        }
        while rx.frames.pop().is_ok() {
            frames += 1;
        }
    }
    assert_eq!(rx.counts.value(RxCount::DropRingFull), 0);
    let each = 1 + FILL_CREDIT_FRAMES as usize - 1 + LONGEST / 160;
    assert!(frames >= LEGS_MAX * each, "{frames} frames");
}

/// Goal: a leg that is given another source goes on as it was; its old source is a stranger.
/// Method: a packet from each phone; a source that belongs to another leg is refused.
#[test]
fn a_leg_that_is_rerouted_keeps_its_row_of_frames() {
    let mut rx = Rx::new();
    let (old, new, other) = (phone(), phone(), phone());
    let leg = rx.add(0, PortIndex(0), &old);
    rx.add(1, PortIndex(1), &other);
    let mut sender = Sender::new(Codec::Ulaw);
    let mut hear = |rx: &mut Rx, from: &UdpSocket, port: u8| {
        let due = rx.counts.value(RxCount::Datagram) + 1;
        let packet = sender.packet(&[1000; 160]);
        from.send_to(&packet, rx.ports[usize::from(port)]).unwrap();
        let begin = Instant::now();
        while rx.counts.value(RxCount::Datagram) < due {
            assert!(begin.elapsed() < PATIENCE, "the packet was never read");
            rx.tile.turn().unwrap();
        }
    };
    let reroute = |rx: &mut Rx, port: u8, source: &UdpSocket| {
        let (port, source) = (PortIndex(port), source.local_addr().unwrap());
        let command = RxCommand::Reroute { leg, port, source };
        rx.commands.push(command).unwrap();
        rx.tile.turn().unwrap();
    };
    hear(&mut rx, &old, 0);
    reroute(&mut rx, 1, &new);
    hear(&mut rx, &old, 0);
    assert_eq!(rx.counts.value(RxCount::DropUnknownSource), 1);
    hear(&mut rx, &new, 1);
    reroute(&mut rx, 1, &other);
    assert_eq!(rx.counts.value(RxCount::LegRefused), 1);
    hear(&mut rx, &new, 1);
    let frames = std::iter::from_fn(|| rx.frames.pop().ok());
    let row: Vec<_> = frames.map(|frame| (frame.leg, frame.index)).collect();
    // The packet of the stranger is missing; it may not have been given up yet.
    assert!(!row.is_empty());
    for (n, frame) in row.into_iter().enumerate() {
        assert_eq!(frame, (leg, n as u64));
    }
    rx.commands.push(RxCommand::RemoveLeg(leg)).unwrap();
    hear(&mut rx, &new, 1);
    assert_eq!(rx.counts.value(RxCount::DropUnknownSource), 2);
    let firsts = std::iter::from_fn(|| rx._rest.1.pop().ok());
    let firsts = firsts.filter(|event| matches!(event, RxEvent::FirstPacket { .. }));
    assert_eq!(firsts.count(), 1, "its first packet is told once");
}
