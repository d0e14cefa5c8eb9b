//! Drivers of the stages on virtual time, shared by the tests of this folder.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use diglot_rt::msg::{
    Codec, Comfort, DownlinkFrame, LegId, Pace, Part, PlayFrame, PortIndex, RxEvent, RxLeg, Sound,
    TxLeg, UplinkFrame, UplinkStart, UtteranceId,
};
use diglot_rt::phases::Phase;
use diglot_rt::stage::{Decode, Encode, Playout, Resample, SentFrame};
use diglot_rt::stats::{RxCount, RxCounts, TxCount, TxCounts};
use diglot_rt::time::Tick;
use diglot_rt::units::{FRAME_SAMPLES_MAX, Micros};
use diglot_rt::wire::rtp::{Packet, Repr};
use rtrb::{Consumer, Producer, RingBuffer};

/// Legs the stages of a test have room for.
pub const LEGS: usize = 4;
/// Frames each ring holds: more than a test leaves in it.
pub const RING: usize = 256;

/// The leg that tests are about.
pub const LEG: LegId = LegId {
    slot: 1,
    generation: 7,
};

pub const fn rx_leg(leg: LegId, codec: Codec) -> RxLeg {
    RxLeg {
        leg,
        port: PortIndex(0),
        source: address(4000),
        codec,
        uplink: UplinkStart::Fresh,
    }
}

pub const fn tx_leg(leg: LegId, codec: Codec) -> TxLeg {
    TxLeg {
        leg,
        port: PortIndex(1),
        destination: address(5000),
        codec,
        comfort: Comfort::Silence,
        ssrc: 0xfeed_beef,
        first_sequence_number: 65_535,
        first_timestamp: u32::MAX - 100,
    }
}

const fn address(port: u16) -> std::net::SocketAddr {
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// Datagrams in, 16 kHz frames out, one turn of the rx tile at a time.
pub struct Uplink {
    pub decode: Decode,
    pub resample: Resample,
    pub frames: Consumer<UplinkFrame>,
    pub counts: RxCounts,
    pub events: Vec<RxEvent>,
}

impl Uplink {
    pub fn new(codec: Codec) -> Self {
        let mut uplink = Self::empty();
        let leg = rx_leg(LEG, codec);
        uplink.decode.add_leg(Micros(0), &leg).expect("a free slot");
        uplink.resample.add_leg(&leg).expect("a free slot");
        uplink
    }

    pub fn empty() -> Self {
        let (out, input) = RingBuffer::new(RING);
        let (wide_out, frames) = RingBuffer::new(RING);
        Self {
            decode: Decode::new(LEGS, out),
            resample: Resample::new(LEGS, input, wide_out),
            frames,
            counts: RxCounts::default(),
            events: Vec::new(),
        }
    }

    pub fn receive(&mut self, now: Micros, datagram: &[u8]) {
        self.decode
            .receive(now, LEG, datagram, &self.counts, |event| {
                self.events.push(event)
            });
        self.resample.step(RING, &self.counts);
    }

    pub fn tick(&mut self, now: Micros) {
        self.decode
            .tick(now, &self.counts, |event| self.events.push(event));
        self.resample.step(RING, &self.counts);
    }

    /// All frames that came out since the last call.
    pub fn take(&mut self) -> Vec<UplinkFrame> {
        std::iter::from_fn(|| self.frames.pop().ok()).collect()
    }

    pub fn count(&self, what: RxCount) -> u64 {
        self.counts.value(what)
    }
}

/// A packet as it left.
#[derive(Clone, Debug)]
pub struct SentPacket {
    pub destination: std::net::SocketAddr,
    pub repr: Repr,
    pub payload: Vec<u8>,
    pub frame: SentFrame,
}

/// Frames of speech in, packets out, one tick at a time.
pub struct Downlink {
    pub feed: Producer<DownlinkFrame>,
    pub playout: Playout,
    pub encode: Encode,
    pub counts: TxCounts,
}

impl Downlink {
    pub fn new(codec: Codec) -> Self {
        let mut downlink = Self::empty();
        let leg = tx_leg(LEG, codec);
        downlink
            .playout
            .add_leg(&leg, Phase(0))
            .expect("a free slot");
        downlink.encode.add_leg(&leg).expect("a free slot");
        downlink
    }

    pub fn empty() -> Self {
        let (feed, input) = RingBuffer::new(RING);
        let (out, played) = RingBuffer::<PlayFrame>::new(RING);
        Self {
            feed,
            playout: Playout::new(LEGS, input, out),
            encode: Encode::new(LEGS, played),
            counts: TxCounts::default(),
        }
    }

    pub fn say(&mut self, utterance: u32, part: Part, sample: i16) {
        let frame = DownlinkFrame {
            leg: LEG,
            utterance: UtteranceId(utterance),
            part,
            pace: Pace::Stored,
            samples: [sample; FRAME_SAMPLES_MAX],
        };
        self.feed.push(frame).expect("room in the ring");
    }

    /// One turn of the tx tile.
    pub fn tick(&mut self, slot: u64) -> Vec<SentPacket> {
        self.playout.collect(RING, &self.counts);
        self.playout.tick(
            Phase(0),
            Tick {
                slot,
                late_us: 0,
                missed: 0,
            },
            &self.counts,
        );
        let mut sent = Vec::new();
        self.encode
            .step(RING, &self.counts, |_, destination, bytes, frame| {
                let packet = Packet::parse(bytes).expect("what we send is RTP");
                let payload = packet.payload().to_vec();
                sent.push(SentPacket {
                    destination,
                    repr: Repr::from(&packet),
                    payload,
                    frame,
                });
            });
        sent
    }

    /// One turn with one leg: the packet that left.
    pub fn tick_one(&mut self, slot: u64) -> SentPacket {
        let mut sent = self.tick(slot);
        assert_eq!(sent.len(), 1, "exactly one packet for the one leg");
        sent.remove(0)
    }

    pub fn count(&self, what: TxCount) -> u64 {
        self.counts.value(what)
    }
}

pub const fn speech(utterance: u32) -> Sound {
    Sound::Speech(UtteranceId(utterance))
}
