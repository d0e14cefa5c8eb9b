//! What each stage costs per leg and frame, and what a whole leg-frame costs: `stage/codec/rate`.
//!
//! One iteration is one tick of [`LEGS`] legs, counted as so many elements; only the stage named is
//! timed, the others run to give it its input. No socket, no link: `frame_jitter` has those.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use diglot_rt::limits::STAGE_RING_FRAMES;
use diglot_rt::msg::{
    Codec, Comfort, DownlinkFrame, LegId, Pace, Part, PortIndex, RxLeg, TxLeg, UplinkFrame,
    UplinkStart, UtteranceId,
};
use diglot_rt::phases::Phase;
use diglot_rt::stage::{Decode, Encode, Playout, Resample};
use diglot_rt::stats::{RxCounts, TxCounts};
use diglot_rt::testing::meter::tone;
use diglot_rt::testing::packets::Sender;
use diglot_rt::time::Tick;
use diglot_rt::units::{FRAME_SAMPLES_MAX, Micros, SampleRate};
use rtrb::{Consumer, Producer, RingBuffer};

/// Enough that the state of all legs does not stay in the innermost cache.
const LEGS: u16 = 100;
/// A tone of no round period, loud as speech.
const TONE_HZ: f64 = 437.0;
const TONE_AMPLITUDE: f64 = 9_000.0;

fn stages(criterion: &mut Criterion) {
    for codec in Codec::ALL {
        let rate = codec.sample_rate();
        let mut uplink = Uplink::new(codec);
        bench(criterion, "decode", codec, rate, || uplink.tick().decode);
        let mut uplink = Uplink::new(codec);
        bench(criterion, "resample", codec, rate, || {
            uplink.tick().resample
        });
    }
    for codec in downlink_codecs() {
        let rate = codec.sample_rate();
        for (playout, encode, sound) in [
            ("playout", "encode", Says::Speech),
            ("playout_silence", "encode_silence", Says::Nothing),
        ] {
            let mut downlink = Downlink::new(codec, sound);
            bench(criterion, playout, codec, rate, || downlink.tick().playout);
            let mut downlink = Downlink::new(codec, sound);
            bench(criterion, encode, codec, rate, || downlink.tick().encode);
        }
    }
}

/// Up and down again, all stages.
fn leg_frames(criterion: &mut Criterion) {
    for codec in downlink_codecs() {
        let mut uplink = Uplink::new(codec);
        let mut downlink = Downlink::new(codec, Says::Speech);
        bench(criterion, "leg_frame", codec, SampleRate::Hz16000, || {
            let (up, down) = (uplink.tick(), downlink.tick());
            up.decode + up.resample + down.playout + down.encode
        });
    }
}

/// What Asterisk takes back.
fn downlink_codecs() -> impl Iterator<Item = Codec> {
    Codec::ALL.into_iter().filter(|codec| codec.is_static())
}

fn bench(
    criterion: &mut Criterion,
    stage: &str,
    codec: Codec,
    rate: SampleRate,
    mut tick: impl FnMut() -> Duration,
) {
    let name = format!("{codec:?}").to_lowercase();
    let mut group = criterion.benchmark_group(stage);
    group.throughput(Throughput::Elements(LEGS.into()));
    group.bench_function(BenchmarkId::new(name, rate.hertz()), |bencher| {
        bencher.iter_custom(|ticks| (0..ticks).map(|_| tick()).sum());
    });
    group.finish();
}

fn legs() -> impl Iterator<Item = LegId> {
    (0..LEGS).map(|slot| LegId {
        slot,
        generation: 1,
    })
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// The stages of an rx tile.
struct Uplink {
    decode: Decode,
    resample: Resample,
    link: Consumer<UplinkFrame>,
    sender: Sender,
    sound: Vec<i16>,
    counts: RxCounts,
    ticks: u64,
}

struct UplinkCost {
    decode: Duration,
    resample: Duration,
}

impl Uplink {
    fn new(codec: Codec) -> Self {
        let (out, input) = RingBuffer::new(STAGE_RING_FRAMES);
        let (wide_out, link) = RingBuffer::new(STAGE_RING_FRAMES);
        let mut decode = Decode::new(LEGS.into(), out);
        let mut resample = Resample::new(LEGS.into(), input, wide_out);
        for leg in legs() {
            let leg = RxLeg {
                leg,
                port: PortIndex(0),
                source: ([127, 0, 0, 1], 4_000).into(),
                codec,
                uplink: UplinkStart::Fresh,
            };
            decode.add_leg(Micros(0), &leg).expect("a free slot");
            resample.add_leg(&leg).expect("a free slot");
        }
        let rate = codec.sample_rate();
        Self {
            decode,
            resample,
            link,
            sender: Sender::new(codec),
            sound: tone(rate, TONE_HZ, TONE_AMPLITUDE, rate.samples_per_frame()),
            counts: RxCounts::default(),
            ticks: 0,
        }
    }

    fn tick(&mut self) -> UplinkCost {
        let packet = self.sender.packet(&self.sound);
        let now = Micros(0).plus_frames(self.ticks);
        self.ticks += 1;
        let decode = timed(|| {
            for leg in legs() {
                let (stage, counts) = (&mut self.decode, &self.counts);
                stage.receive(now, leg, &packet, counts, |_| {});
            }
            self.decode.tick(now, &self.counts, |_| {});
        });
        let mut frames = 0;
        let resample = timed(|| frames = self.resample.step(STAGE_RING_FRAMES, &self.counts));
        assert_eq!(frames, usize::from(LEGS), "one frame of each leg");
        while self.link.pop().is_ok() {}
        UplinkCost { decode, resample }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Says {
    Nothing,
    Speech,
}

/// The stages of a tx tile.
struct Downlink {
    feed: Producer<DownlinkFrame>,
    playout: Playout,
    encode: Encode,
    says: Says,
    samples: [i16; FRAME_SAMPLES_MAX],
    counts: TxCounts,
    slot: u64,
}

struct DownlinkCost {
    playout: Duration,
    encode: Duration,
}

impl Downlink {
    fn new(codec: Codec, says: Says) -> Self {
        let (feed, input) = RingBuffer::new(STAGE_RING_FRAMES);
        let (out, played) = RingBuffer::new(STAGE_RING_FRAMES);
        let mut playout = Playout::new(LEGS.into(), input, out);
        let mut encode = Encode::new(LEGS.into(), played);
        for leg in legs() {
            let leg = TxLeg {
                leg,
                port: PortIndex(1),
                destination: ([127, 0, 0, 1], 5_000).into(),
                codec,
                ssrc: 1,
                first_sequence_number: 0,
                first_timestamp: 0,
                comfort: Comfort::Silence,
            };
            playout.add_leg(&leg, Phase(0)).expect("a free slot");
            encode.add_leg(&leg).expect("a free slot");
        }
        let rate = SampleRate::Hz16000;
        let sound = tone(rate, TONE_HZ, TONE_AMPLITUDE, rate.samples_per_frame());
        Self {
            feed,
            playout,
            encode,
            says,
            samples: *sound.first_chunk().expect("a frame"),
            counts: TxCounts::default(),
            slot: 0,
        }
    }

    fn tick(&mut self) -> DownlinkCost {
        for leg in legs().filter(|_| self.says == Says::Speech) {
            let frame = DownlinkFrame {
                leg,
                utterance: UtteranceId(1),
                part: Part::Middle,
                pace: Pace::Stored,
                samples: self.samples,
            };
            self.feed.push(frame).expect("room for a tick");
        }
        let tick = Tick {
            slot: self.slot,
            late_us: 0,
            missed: 0,
        };
        self.slot += 1;
        let playout = timed(|| {
            self.playout.collect(STAGE_RING_FRAMES, &self.counts);
            self.playout.tick(Phase(0), tick, &self.counts);
        });
        let mut packets = 0;
        let encode = timed(|| {
            self.encode
                .step(STAGE_RING_FRAMES, &self.counts, |_, _, _, _| packets += 1);
        });
        assert_eq!(packets, LEGS, "one packet to each leg");
        DownlinkCost { playout, encode }
    }
}

criterion_group!(benches, stages, leg_frames);
criterion_main!(benches);
