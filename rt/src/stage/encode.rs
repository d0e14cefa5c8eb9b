//! Downlink, second step: frames become RTP packets with one constant SSRC for each leg.
//!
//! The sequence counts packets; the timestamp counts slots of the frame clock. So a slot that was
//! never served is a gap in time and not in sequence: nobody mistakes it for loss.

use core::net::SocketAddr;

use rtrb::Consumer;

use crate::codec::Encoder;
use crate::msg::{Codec, LegId, PlayFrame, PortIndex, Sound, TxLeg, UtteranceId};
use crate::pool::{AddError, Legs};
use crate::stats::{TxCount, TxCounts};
use crate::units::FRAME_SAMPLES_MAX;
use crate::wire::rtp::{HEADER_BYTES, Marker, Repr, RtpTimestamp, Seq};

/// Bytes of the longest packet sent: 20 ms of two-byte samples at 16 kHz.
pub const PACKET_BYTES_MAX: usize = HEADER_BYTES + 2 * FRAME_SAMPLES_MAX;

/// What a packet handed over to be sent carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SentFrame {
    /// Who hears it.
    pub leg: LegId,
    /// Its slot of the frame clock.
    pub slot: u64,
    /// What it is.
    pub sound: Sound,
    /// The utterance that begins with it.
    pub begins: Option<UtteranceId>,
}

#[derive(Debug)]
struct Leg {
    port: PortIndex,
    destination: SocketAddr,
    codec: Codec,
    encoder: Encoder,
    ssrc: u32,
    sequence_number: Seq,
    first_timestamp: RtpTimestamp,
    sent: Option<Sent>,
    /// The utterance begun last.
    utterance: Option<UtteranceId>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    first_slot: u64,
    last_slot: u64,
    last_sound: Sound,
}

/// [`PlayFrame`]s in, packets out.
#[derive(Debug)]
pub struct Encode {
    legs: Legs<Leg>,
    input: Consumer<PlayFrame>,
    packet: [u8; PACKET_BYTES_MAX],
}

impl Encode {
    /// Bytes reserved for each leg; its share of the rings comes on top.
    pub const BYTES_PER_LEG: usize = Legs::<Leg>::BYTES_PER_LEG;

    /// A stage with room for legs in slots 0 .. `legs_max`.
    ///
    /// # Real-time
    /// Set-up only: allocates all it will ever need.
    pub fn new(legs_max: usize, input: Consumer<PlayFrame>) -> Self {
        Self {
            legs: Legs::new(legs_max),
            input,
            packet: [0; PACKET_BYTES_MAX],
        }
    }

    /// Takes a leg in.
    ///
    /// # Errors
    /// [`AddError`] if its slot is out of range or taken, or its codec has no static payload type:
    /// Asterisk would drop every packet without a word.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn add_leg(&mut self, leg: &TxLeg) -> Result<(), AddError> {
        if !leg.codec.is_static() {
            return Err(AddError::CodecNotStatic);
        }
        self.legs.add(
            leg.leg,
            Leg {
                port: leg.port,
                destination: leg.destination,
                codec: leg.codec,
                encoder: Encoder::new(leg.codec),
                ssrc: leg.ssrc,
                sequence_number: Seq(leg.first_sequence_number),
                first_timestamp: RtpTimestamp(leg.first_timestamp),
                sent: None,
                utterance: None,
            },
        )
    }

    /// Sends the leg's packets elsewhere from now on; its stream goes on as it was. A leg that is
    /// not there is no matter.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn redirect(&mut self, leg: LegId, destination: SocketAddr) {
        if let Some(leg) = self.legs.find_mut(leg) {
            leg.destination = destination;
        }
    }

    /// Lets a leg go; frames of it that are still on their way will be counted as stale.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn remove_leg(&mut self, leg: LegId) {
        self.legs.remove(leg);
    }

    /// Hands at most `budget` packets to `send` and says how many frames there were.
    ///
    /// The bytes are valid during the call only. [`TxCount::Packet`] is the sender's to count.
    ///
    /// # Real-time
    /// Wait-free, no allocation, if `send` is.
    pub fn step(
        &mut self,
        budget: usize,
        counts: &TxCounts,
        mut send: impl FnMut(PortIndex, SocketAddr, &[u8], SentFrame),
    ) -> usize {
        let ready = self.input.slots().min(budget);
        let Ok(chunk) = self.input.read_chunk(ready) else {
            return 0;
        };
        let (older, newer) = chunk.as_slices();
        for frame in older.iter().chain(newer) {
            let Some(leg) = self.legs.find_mut(frame.leg) else {
                counts.count(TxCount::DropStaleLeg);
                continue;
            };
            let begins = leg.begins(frame.sound);
            let packet = leg.write(frame, &mut self.packet);
            let sent = SentFrame {
                leg: frame.leg,
                slot: frame.slot,
                sound: frame.sound,
                begins,
            };
            send(leg.port, leg.destination, packet, sent);
        }
        chunk.commit_all();
        ready
    }
}

impl Leg {
    /// The utterance of which `sound` is the first frame.
    fn begins(&mut self, sound: Sound) -> Option<UtteranceId> {
        let Sound::Speech(utterance) = sound else {
            return None;
        };
        let is_new = self.utterance != Some(utterance);
        self.utterance = Some(utterance);
        is_new.then_some(utterance)
    }

    fn write<'a>(&mut self, frame: &PlayFrame, packet: &'a mut [u8; PACKET_BYTES_MAX]) -> &'a [u8] {
        let (header, payload) = packet.split_at_mut(HEADER_BYTES);
        let payload = &mut payload[..self.codec.payload_bytes_per_frame()];
        let samples = &frame.samples[..self.codec.sample_rate().samples_per_frame()];
        self.encoder.encode(samples, payload);
        let end = HEADER_BYTES + payload.len();
        if let Some(header) = header.first_chunk_mut() {
            self.header(frame).emit(header);
        }
        &packet[..end]
    }

    /// The header of the next packet; counts it.
    fn header(&mut self, frame: &PlayFrame) -> Repr {
        let sound = frame.sound;
        let (first_slot, marker) = match self.sent {
            None => (frame.slot, Marker::Set),
            Some(sent) => {
                let has_gap = frame.slot != sent.last_slot + 1;
                let begins = sound != Sound::Comfort && sent.last_sound == Sound::Comfort;
                (
                    sent.first_slot,
                    if has_gap || begins {
                        Marker::Set
                    } else {
                        Marker::Clear
                    },
                )
            }
        };
        self.sent = Some(Sent {
            first_slot,
            last_slot: frame.slot,
            last_sound: sound,
        });
        #[expect(clippy::cast_possible_truncation, reason = "timestamps wrap")]
        let slots = frame.slot.wrapping_sub(first_slot) as u32;
        let units = slots.wrapping_mul(self.codec.clock_rate().units_per_frame());
        let header = Repr {
            payload_type: self.codec.payload_type(),
            marker,
            sequence_number: self.sequence_number,
            timestamp: self.first_timestamp.plus(units),
            ssrc: self.ssrc,
        };
        self.sequence_number = self.sequence_number.plus(1);
        header
    }
}
