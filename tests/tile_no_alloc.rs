//! Goal: a tile neither touches the heap nor logs once it runs, whatever arrives.
//! Method: both tiles take their turns on this thread, whose heap operations a counting allocator
//! counts, and a logger that counts lines is installed. Real sockets on loopback carry speech of
//! every codec, packets of strangers, nonsense, and legs that come and go. A tile that does
//! allocate, and one that does log, must trip the same detectors.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use diglot::net::udp;
use diglot::tile::Tile;
use diglot::tile::meters::LegMeters;
use diglot::tile::rx::{RxParts, RxTile};
use diglot::tile::tx::{TxParts, TxTile};
use diglot::topology::Rings;
use diglot_rt::limits::PHASES;
use diglot_rt::msg::{
    Codec, Comfort, DownlinkFrame, LegId, Pace, Part, PortIndex, RxCommand, RxLeg, TxCommand,
    TxLeg, UplinkStart, UtteranceId,
};
use diglot_rt::stats::{RxCount, RxCounts, TxCount, TxCounts};
use mio::{Poll, Token, Waker};

/// Legs, of every codec in turn.
const LEGS: u16 = 96;
/// Turns of the frame clock: 4 s, 19 200 frames each way.
const TICKS: u32 = 200;
const WARM_UP_TICKS: u32 = 5;

struct Counting;

thread_local! {
    static HEAP_OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    HEAP_OPERATIONS.with(|operations| operations.set(operations.get() + 1));
}

// SAFETY: every method forwards its arguments unchanged to the system allocator, whose contract is
// the same; the counter is a plain thread-local that needs no heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: `pointer` came from `alloc` above, so from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for `dealloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct CountingLog(AtomicU64);

impl log::Log for CountingLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, _: &log::Record<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn flush(&self) {}
}

static LOG: CountingLog = CountingLog(AtomicU64::new(0));

/// Heap operations and log lines of one turn on this thread.
fn cost_of_turn(tile: &mut impl Tile) -> (u64, u64) {
    let before = (HEAP_OPERATIONS.get(), LOG.0.load(Ordering::Relaxed));
    tile.turn().expect("the tile can wait");
    (
        HEAP_OPERATIONS.get() - before.0,
        LOG.0.load(Ordering::Relaxed) - before.1,
    )
}

/// Both tiles with everything around them, on this thread.
struct Bench {
    rx: RxTile,
    tx: TxTile,
    rings: OuterEnds,
    ports: Vec<SocketAddr>,
    rx_counts: Arc<RxCounts>,
    tx_counts: Arc<TxCounts>,
    _link: Poll,
}

struct OuterEnds {
    uplink: rtrb::Consumer<diglot_rt::msg::UplinkFrame>,
    downlink: rtrb::Producer<DownlinkFrame>,
    rx_commands: rtrb::Producer<RxCommand>,
    tx_commands: rtrb::Producer<TxCommand>,
    rx_events: rtrb::Consumer<diglot_rt::msg::RxEvent>,
    tx_events: rtrb::Consumer<diglot_rt::msg::TxEvent>,
}

impl Bench {
    fn new() -> Self {
        let legs_max = usize::from(LEGS);
        let sockets: Vec<_> = (0..2)
            .map(|_| udp::bind(([127, 0, 0, 1], 0).into()).unwrap())
            .collect();
        let ports = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap())
            .collect();
        let rings = Rings::new();
        let link = Poll::new().unwrap();
        let (rx_counts, tx_counts) = (Arc::default(), Arc::default());
        let tx = TxTile::new(TxParts {
            sockets: sockets
                .iter()
                .map(|socket| socket.try_clone().unwrap())
                .collect(),
            commands: rings.tx_commands.consumer,
            events: rings.tx_events.producer,
            downlink: rings.downlink.consumer,
            counts: Arc::clone(&tx_counts),
            legs_max,
        })
        .unwrap();
        let (rx, _waker) = RxTile::new(RxParts {
            sockets,
            commands: rings.rx_commands.consumer,
            events: rings.rx_events.producer,
            uplink: rings.uplink.producer,
            link: Arc::new(Waker::new(link.registry(), Token(0)).unwrap()),
            counts: Arc::clone(&rx_counts),
            meters: Arc::new(LegMeters::new(legs_max)),
            legs_max,
        })
        .unwrap();
        let rings = OuterEnds {
            uplink: rings.uplink.consumer,
            downlink: rings.downlink.producer,
            rx_commands: rings.rx_commands.producer,
            tx_commands: rings.tx_commands.producer,
            rx_events: rings.rx_events.consumer,
            tx_events: rings.tx_events.consumer,
        };
        Self {
            rx,
            tx,
            rings,
            ports,
            rx_counts,
            tx_counts,
            _link: link,
        }
    }

    fn add(&mut self, phone: &Phone) {
        let (leg, port, address) = (phone.leg, phone.port, phone.socket.local_addr().unwrap());
        let rx = RxLeg {
            leg,
            port,
            source: address,
            codec: phone.uplink,
            uplink: UplinkStart::Fresh,
        };
        self.rings.rx_commands.push(RxCommand::AddLeg(rx)).unwrap();
        let tx = TxLeg {
            leg,
            port,
            destination: address,
            codec: phone.downlink,
            comfort: Comfort::Silence,
            ssrc: 1,
            first_sequence_number: 0,
            first_timestamp: 0,
        };
        self.rings.tx_commands.push(TxCommand::AddLeg(tx)).unwrap();
    }

    fn remove(&mut self, phone: &Phone) {
        self.rings
            .rx_commands
            .push(RxCommand::RemoveLeg(phone.leg))
            .unwrap();
        self.rings
            .tx_commands
            .push(TxCommand::RemoveLeg(phone.leg))
            .unwrap();
    }

    /// Gives every leg its own voice back.
    fn loop_back(&mut self) {
        while let Ok(frame) = self.rings.uplink.pop() {
            let frame = DownlinkFrame {
                leg: frame.leg,
                utterance: UtteranceId(1),
                part: Part::Middle,
                pace: Pace::Live,
                samples: frame.samples,
            };
            let _ = self.rings.downlink.push(frame);
        }
        while self.rings.rx_events.pop().is_ok() {}
        while self.rings.tx_events.pop().is_ok() {}
    }
}

struct Phone {
    leg: LegId,
    port: PortIndex,
    socket: UdpSocket,
    uplink: Codec,
    downlink: Codec,
}

impl Phone {
    fn new(slot: u16) -> Self {
        let uplinks = [Codec::Slin16, Codec::Slin, Codec::Ulaw, Codec::Alaw];
        let downlinks = [Codec::Slin, Codec::Ulaw, Codec::Alaw];
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            leg: LegId {
                slot,
                generation: 1,
            },
            port: PortIndex((slot % 2) as u8),
            socket,
            uplink: uplinks[usize::from(slot) % uplinks.len()],
            downlink: downlinks[usize::from(slot) % downlinks.len()],
        }
    }

    /// One packet of a rising tone, with now and then a hole, a swap or a foreign payload type.
    fn speak(&self, tick: u32, to: SocketAddr) {
        let (payload_type, units, bytes) = match self.uplink {
            Codec::Slin16 => (118, 320, 640),
            Codec::Slin => (10, 160, 320),
            Codec::Ulaw => (0, 160, 160),
            Codec::Alaw => (8, 160, 160),
            Codec::G722 => (9, 160, 160),
        };
        if tick % 50 == 7 {
            return;
        }
        let payload_type = if tick % 50 == 9 { 96 } else { payload_type };
        let mut packet = vec![0x80, payload_type];
        packet.extend((tick as u16).to_be_bytes());
        packet.extend((tick * units).to_be_bytes());
        packet.extend(u32::from(self.leg.slot).to_be_bytes());
        packet.extend((0..bytes).map(|i| (i as u32 * 7 + tick) as u8));
        self.socket.send_to(&packet, to).unwrap();
    }

    fn listen(&self) -> u64 {
        let mut packet = [0; 2048];
        std::iter::from_fn(|| self.socket.recv_from(&mut packet).ok()).count() as u64
    }
}

#[test]
fn tiles_neither_allocate_nor_log() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    negative_controls_trip();

    let mut bench = Bench::new();
    let phones: Vec<_> = (0..LEGS).map(Phone::new).collect();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for phone in &phones {
        bench.add(phone);
    }
    let mut cost = (0, 0);
    let mut heard = 0;
    for tick in 0..TICKS {
        for phone in &phones {
            phone.speak(tick, bench.ports[usize::from(phone.port.0)]);
        }
        stranger.send_to(&[0x80; 172], bench.ports[0]).unwrap();
        stranger.send_to(&[0; 3], bench.ports[1]).unwrap();
        if tick % 40 == 39 {
            let phone = &phones[usize::from(LEGS) - 1];
            bench.remove(phone);
            bench.add(phone);
            let (leg, destination) = (phone.leg, phone.socket.local_addr().unwrap());
            let redirect = TxCommand::Redirect { leg, destination };
            bench.rings.tx_commands.push(redirect).unwrap();
        }
        let mut turn = (0, 0);
        let due = bench.rx_counts.value(RxCount::Datagram) + u64::from(LEGS);
        while bench.rx_counts.value(RxCount::Datagram) < due {
            let (heap, lines) = cost_of_turn(&mut bench.rx);
            turn = (turn.0 + heap, turn.1 + lines);
            if tick % 50 == 7 {
                break;
            }
        }
        bench.loop_back();
        // A turn serves the phases that are due; this many have all of them served.
        let due = bench.tx_counts.value(TxCount::Packet) + u64::from(LEGS);
        for _ in 0..PHASES {
            let (heap, lines) = cost_of_turn(&mut bench.tx);
            turn = (turn.0 + heap, turn.1 + lines);
            if bench.tx_counts.value(TxCount::Packet) >= due {
                break;
            }
        }
        heard += phones.iter().map(Phone::listen).sum::<u64>();
        if tick >= WARM_UP_TICKS {
            cost = (cost.0 + turn.0, cost.1 + turn.1);
        }
    }
    assert_eq!(cost, (0, 0), "heap operations and log lines on the tiles");

    let frames = u64::from(LEGS) * u64::from(TICKS);
    assert!(
        heard > frames * 9 / 10,
        "the legs were really served: {heard} of {frames} packets"
    );
    assert!(
        bench.tx_counts.value(TxCount::FrameSpeech) > frames / 2,
        "with real speech"
    );
    for reason in [
        RxCount::DropUnknownSource,
        RxCount::DropMalformed,
        RxCount::DropPayloadType,
    ] {
        assert!(
            bench.rx_counts.value(reason) > 0,
            "{} was provoked",
            reason.name()
        );
    }
}

fn negative_controls_trip() {
    struct Allocates;
    impl Tile for Allocates {
        fn turn(&mut self) -> io::Result<()> {
            drop(std::hint::black_box(Box::new(1)));
            Ok(())
        }
    }
    struct Logs;
    impl Tile for Logs {
        fn turn(&mut self) -> io::Result<()> {
            log::info!("a line");
            Ok(())
        }
    }
    assert_eq!(
        cost_of_turn(&mut Allocates),
        (2, 0),
        "one allocation and its release are seen"
    );
    assert_eq!(cost_of_turn(&mut Logs), (0, 1), "a log line is seen");
}
