//! What crosses rings: small `Copy` values, written by one thread and read by another.

use core::net::SocketAddr;

use crate::units::{ClockRate, Dbm0, FRAME_SAMPLES_MAX, Micros, SampleRate};
use crate::wire::rtp::StreamPosition;

/// Names one call leg for as long as it lives.
///
/// A slot is used again by later legs; the generation tells them apart, so that a frame that was
/// on its way when its leg ended never reaches the next one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LegId {
    /// In `0 .. LEGS_MAX`.
    pub slot: u16,
    /// Counts the legs that used this slot.
    pub generation: u32,
}

/// One of the process's RTP ports, in `0 .. RTP_PORTS_MAX`, in the order of the configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PortIndex(pub u8);

/// One utterance of one leg, counted by its translator from 1; 0 is audio of no utterance.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UtteranceId(pub u32);

/// How audio is coded on the wire between Asterisk and a leg.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Codec {
    /// G.711 A-law, payload type 8.
    Alaw,
    /// G.722 at 64 kbit/s, payload type 9: 16 kHz, stamped as if it were 8 (RFC 3551 §4.5.2).
    G722,
    /// Signed linear 8 kHz, big endian, payload type 10 (what Asterisk means by it) or 11.
    Slin,
    /// Signed linear 16 kHz, big endian, payload type 118: from Asterisk only.
    Slin16,
    /// G.711 µ-law, payload type 0.
    Ulaw,
}

impl Codec {
    /// Every one, in declaration order.
    pub const ALL: [Self; 5] = [Self::Alaw, Self::G722, Self::Slin, Self::Slin16, Self::Ulaw];

    /// What its packets carry: RFC 3551 table 4 where it is static, else Asterisk's own number.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Alaw => 8,
            Self::G722 => 9,
            Self::Slin => 10,
            Self::Slin16 => 118,
            Self::Ulaw => 0,
        }
    }

    /// Whether a received packet of this payload type is its audio. Slin is also what RFC 3551
    /// calls L16 mono, 11: same bytes, and all that its users mean on an 8 kHz leg.
    pub const fn accepts(self, payload_type: u8) -> bool {
        const L16_MONO: u8 = 11;
        payload_type == self.payload_type()
            || (matches!(self, Self::Slin) && payload_type == L16_MONO)
    }

    /// The rate of its samples.
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Alaw | Self::Slin | Self::Ulaw => SampleRate::Hz8000,
            Self::G722 | Self::Slin16 => SampleRate::Hz16000,
        }
    }

    /// The rate of its timestamps.
    pub const fn clock_rate(self) -> ClockRate {
        match self {
            Self::Alaw | Self::G722 | Self::Slin | Self::Ulaw => ClockRate::Hz8000,
            Self::Slin16 => ClockRate::Hz16000,
        }
    }

    /// Bytes on the wire for one unit of the timestamp, the smallest piece there is.
    pub const fn bytes_per_unit(self) -> usize {
        match self {
            Self::Alaw | Self::G722 | Self::Ulaw => 1,
            Self::Slin | Self::Slin16 => 2,
        }
    }

    /// Samples in one unit of the timestamp: 1, but 2 for G.722.
    pub const fn samples_per_unit(self) -> usize {
        self.sample_rate().samples_per_frame() / self.clock_rate().units_per_frame() as usize
    }

    /// Bytes of a payload of so many samples, a whole number of units.
    pub const fn payload_bytes(self, samples: usize) -> usize {
        samples / self.samples_per_unit() * self.bytes_per_unit()
    }

    /// Bytes of a 20 ms payload.
    pub const fn payload_bytes_per_frame(self) -> usize {
        self.payload_bytes(self.sample_rate().samples_per_frame())
    }

    /// Whether Asterisk takes it back: it drops the dynamic payload type of slin16 without a word.
    pub const fn is_static(self) -> bool {
        /// RFC 3551 §6: dynamic payload types begin here.
        const FIRST_DYNAMIC: u8 = 96;
        self.payload_type() < FIRST_DYNAMIC
    }
}

/// Why a frame has the samples it has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameKind {
    /// Decoded from a packet.
    Received,
    /// Made up in the place of audio that did not come: a gap, or a phone that sends nothing.
    Filled,
}

/// 20 ms of a leg's original, at the rate of its codec (decode ▷ resample) or at 16 kHz
/// (resample ▷ link thread).
#[derive(Clone, Copy, Debug)]
pub struct UplinkFrame {
    /// Whose voice it is.
    pub leg: LegId,
    /// Frames since the leg's first, gaps included.
    pub index: u64,
    /// When the packet arrived, or when the frame was filled in.
    pub at: Micros,
    /// Received or filled.
    pub kind: FrameKind,
    /// The rate of `samples`.
    pub rate: SampleRate,
    /// The first `rate.samples_per_frame()` are the frame.
    pub samples: [i16; FRAME_SAMPLES_MAX],
}

/// 20 ms of what a leg is to hear, 16 kHz (link thread ▷ playout).
#[derive(Clone, Copy, Debug)]
pub struct DownlinkFrame {
    /// Who is to hear it.
    pub leg: LegId,
    /// The utterance it belongs to.
    pub utterance: UtteranceId,
    /// Whether more of the same utterance follows.
    pub part: Part,
    /// Whose clock it keeps.
    pub pace: Pace,
    /// Always a whole frame; the last one of an utterance is padded.
    pub samples: [i16; FRAME_SAMPLES_MAX],
}

/// Whose clock audio on the downlink keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// Another's: a phone speaks as it goes, a little faster or slower than our clock, and frames
    /// arrive when its network lets them. The playout buffer keeps the delay small.
    Live,
    /// Ours: it was there before it is needed, and is played as it is.
    Stored,
}

/// What is heard when there is nothing to say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Comfort {
    /// Quiet noise of this level, -40 dBm0 at most.
    Noise(Dbm0),
    /// Nothing at all, though it is sent.
    #[default]
    Silence,
}

/// Where in its utterance a frame stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// More may follow.
    Middle,
    /// The utterance ends with this frame: nobody waits for another.
    Last,
}

/// 20 ms that leave on this tick, at the rate of the leg's downlink codec (playout ▷ encode).
#[derive(Clone, Copy, Debug)]
pub struct PlayFrame {
    /// Who hears it.
    pub leg: LegId,
    /// The slot of the frame clock it leaves in.
    pub slot: u64,
    /// The first `rate.samples_per_frame()` are the frame.
    pub samples: [i16; FRAME_SAMPLES_MAX],
    /// The rate of `samples`.
    pub rate: SampleRate,
    /// What it is, which decides the RTP marker (RFC 3551 §4.1: start of a talkspurt).
    pub sound: Sound,
}

/// What a frame on the downlink carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sound {
    /// Nobody speaks: silence, sent all the same.
    Comfort,
    /// A translation, or whatever else the link thread wants heard.
    Speech(UtteranceId),
}

/// What the control thread asks of an rx tile.
#[derive(Clone, Copy, Debug)]
pub enum RxCommand {
    /// A leg begins: packets from this source are its voice.
    AddLeg(RxLeg),
    /// A leg ended: its source is a stranger again.
    RemoveLeg(LegId),
    /// The leg's packets come from there from now on, and its old source is a stranger; nothing
    /// else of its uplink changes.
    Reroute {
        /// Whose.
        leg: LegId,
        /// The port they arrive on.
        port: PortIndex,
        /// The address they come from.
        source: SocketAddr,
    },
}

/// The receiving half of a leg.
#[derive(Clone, Copy, Debug)]
pub struct RxLeg {
    /// Its name.
    pub leg: LegId,
    /// The port its packets arrive on.
    pub port: PortIndex,
    /// The address its packets come from; with `port` it is the key.
    pub source: SocketAddr,
    /// What Asterisk sends.
    pub codec: Codec,
    /// Whether it was heard before.
    pub uplink: UplinkStart,
}

/// How a leg's uplink begins on an rx tile.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UplinkStart {
    /// It was heard on another tile: time goes on at once, with or without packets, and its first
    /// packet here is not reported. Its frames are counted from 0 again.
    Continued,
    /// Its frames begin with its first packet.
    #[default]
    Fresh,
}

/// What the control thread asks of a tx tile.
#[derive(Clone, Copy, Debug)]
pub enum TxCommand {
    /// A leg begins: it gets a packet on every tick from the next one on.
    AddLeg(TxLeg),
    /// The leg's packets go there from the next tick on; nothing else of its stream changes.
    Redirect {
        /// Whose.
        leg: LegId,
        /// Where to.
        destination: SocketAddr,
    },
    /// A leg ended: it gets no more packets.
    RemoveLeg(LegId),
}

/// The sending half of a leg.
#[derive(Clone, Copy, Debug)]
pub struct TxLeg {
    /// Its name.
    pub leg: LegId,
    /// The port its packets leave from.
    pub port: PortIndex,
    /// Where they go.
    pub destination: SocketAddr,
    /// What we send; one with a static payload type.
    pub codec: Codec,
    /// What it hears while nothing is said.
    pub comfort: Comfort,
    /// Our synchronisation source, constant for the leg's life (RFC 3550 §8.1).
    pub ssrc: u32,
    /// Random start of the sequence numbers (RFC 3550 §5.1).
    pub first_sequence_number: u16,
    /// Random start of the timestamps (RFC 3550 §5.1).
    pub first_timestamp: u32,
}

/// What an rx tile tells the control thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RxEvent {
    /// The leg's first packet came.
    FirstPacket {
        /// Whose.
        leg: LegId,
    },
    /// The leg's signed linear samples read as noise, and as sound with their bytes swapped; said
    /// once per leg.
    ByteOrderSuspected {
        /// Whose.
        leg: LegId,
        /// What was expected.
        expected: Codec,
    },
    /// A key was pressed and let go (RFC 4733); said once per key.
    TelephoneEvent {
        /// Who pressed it.
        leg: LegId,
        /// 0 ..= 9 the digits, 10 `*`, 11 `#`, 12 ..= 15 A to D; others are not keys.
        event: u8,
        /// For how long, as far as that was heard.
        duration_ms: u32,
    },
    /// The leg sends a payload type that its codec does not have; said once per leg.
    UnexpectedPayloadType {
        /// Whose.
        leg: LegId,
        /// What came.
        payload_type: u8,
        /// What was expected.
        expected: Codec,
    },
    /// A packet from an address that no leg owns, well formed as RTP.
    UnknownSource {
        /// Where it arrived.
        port: PortIndex,
        /// Where it came from.
        source: SocketAddr,
        /// Which packet of which stream it says it is.
        position: StreamPosition,
    },
}

/// What a tx tile tells the control thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TxEvent {
    /// The first frame of an utterance left.
    UtteranceStarted {
        /// Who hears it.
        leg: LegId,
        /// Which one.
        utterance: UtteranceId,
        /// When it left.
        at: Micros,
    },
}
