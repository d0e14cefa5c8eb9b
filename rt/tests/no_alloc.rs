//! Goal: after set-up the stages never touch the heap, in debug and in release.
//! Method: a counting allocator around 10 000 frames of every codec through all four stages, with
//! loss, disorder, holes and legs that come and go; and a control that must be seen.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]
#![allow(
    unsafe_code,
    reason = "a global allocator is an unsafe trait; it only counts"
)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use diglot_rt::dsp::rate::{RATES, RateConverter};
use diglot_rt::msg::{
    Codec, Comfort, DownlinkFrame, LegId, Pace, Part, PortIndex, TxLeg, UtteranceId,
};
use diglot_rt::phases::Phase;
use diglot_rt::routes::Routes;
use diglot_rt::stats::{RxCount, TxCount};
use diglot_rt::testing::packets::Sender;
use diglot_rt::testing::signals::vowel;
use diglot_rt::time::Tick;
use diglot_rt::units::{Dbm0, Micros, SampleRate};
use support::{Downlink, LEG, RING, Uplink, rx_leg, tx_leg};

thread_local! {
    /// Heap operations of this thread; the test runner's other threads do not count.
    static HEAP_OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // Fails only while the thread is being torn down, when no test is running on it.
    let _ = HEAP_OPERATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to `System` unchanged, so its guarantees hold; counting neither
// allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, and `pointer` came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FRAMES: u64 = 10_000;

/// Heap operations of this thread while `work` runs.
fn heap_operations(work: impl FnOnce()) -> u64 {
    let before = HEAP_OPERATIONS.with(Cell::get);
    work();
    HEAP_OPERATIONS.with(Cell::get) - before
}

#[test]
fn the_counter_sees_what_it_is_there_to_see() {
    assert!(heap_operations(|| drop(std::hint::black_box(Box::new(1)))) >= 2);
    let mut grown = vec![0u8; 10];
    assert!(heap_operations(|| grown.reserve(1_000_000)) >= 1);
    assert_eq!(heap_operations(|| {}), 0);
}

#[test]
fn the_uplink_never_touches_the_heap() {
    for codec in Codec::ALL {
        let mut uplink = Uplink::new(codec);
        let mut sender = Sender::new(codec);
        let samples = vec![1000; codec.sample_rate().samples_per_frame()];
        let packets: Vec<_> = (0..FRAMES).map(|_| sender.packet(&samples)).collect();
        let other = rx_leg(
            LegId {
                slot: 2,
                generation: 1,
            },
            codec,
        );
        let (mut events, mut other_packet) = (0, packets[0].clone());
        let mut routes = Routes::new(support::LEGS);
        let operations = heap_operations(|| {
            for n in 0..FRAMES {
                let now = Micros(0).plus_frames(n);
                // Swap neighbours, lose some, repeat some, pause at times, send nonsense.
                let place = (n ^ u64::from(n % 16 / 2 == 1)).min(FRAMES - 1) as usize;
                let packet = &packets[place];
                let times = if n % 29 == 0 || n % 1000 > 900 {
                    0
                } else {
                    1 + n % 31 / 30
                };
                for _ in 0..times {
                    uplink
                        .decode
                        .receive(now, LEG, packet, &uplink.counts, |_| events += 1);
                }
                uplink
                    .decode
                    .receive(now, LEG, &packet[..7], &uplink.counts, |_| events += 1);
                // Keys and comfort noise in the same sequence.
                if n % 40 < 5 {
                    other_packet[1] = if n % 40 == 4 { 13 } else { 101 };
                    other_packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
                    other_packet[4] = (n / 40) as u8;
                    let short = &other_packet[..16];
                    uplink
                        .decode
                        .receive(now, LEG, short, &uplink.counts, |_| events += 1);
                }
                uplink.decode.tick(now, &uplink.counts, |_| events += 1);
                uplink.resample.step(RING, &uplink.counts);
                while uplink.frames.pop().is_ok() {}
                if n % 100 == 0 {
                    uplink.decode.add_leg(now, &other).expect("free");
                    routes
                        .insert(PortIndex(0), other.source, other.leg)
                        .expect("free");
                    uplink.decode.remove_leg(other.leg);
                    routes.remove(PortIndex(0), other.source);
                }
            }
        });
        assert_eq!(operations, 0, "{codec:?}");
        let reordered = uplink.count(RxCount::Reordered);
        let filled = uplink.count(RxCount::FrameFilled);
        assert!(
            reordered > 100 && filled > 100,
            "{reordered} reordered, {filled} filled"
        );
        let repaired = [
            RxCount::ComfortNoise,
            RxCount::FrameConcealed,
            RxCount::TelephoneEvent,
        ];
        for what in repaired {
            assert!(uplink.count(what) > 100, "{codec:?}: {what:?}");
        }
    }
}

/// Goal: nor does any repair of a live stream, or comfort noise.
#[test]
fn a_live_stream_with_drift_and_noise_never_touches_the_heap() {
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_static()) {
        let mut downlink = Downlink::empty();
        let leg = TxLeg {
            comfort: Comfort::Noise(Dbm0(-55)),
            ..tx_leg(LEG, codec)
        };
        downlink.playout.add_leg(&leg, Phase(0)).expect("free");
        downlink.encode.add_leg(&leg).expect("free");
        let hum = vowel(SampleRate::Hz16000, 125.0, 9_000.0, 320);
        let mut frame = DownlinkFrame {
            leg: LEG,
            utterance: UtteranceId(1),
            part: Part::Middle,
            pace: Pace::Live,
            samples: [0; 320],
        };
        let mut bytes = 0;
        let operations = heap_operations(|| {
            for slot in 0..FRAMES {
                // A frame too many, then one too few, now and then; pauses in the second half.
                let count = match slot % 3000 {
                    100 | 101 => 2,
                    1500 => 0,
                    _ => 1,
                };
                frame.samples.copy_from_slice(&hum);
                if slot > FRAMES / 2 && slot % 100 < 30 {
                    frame.samples.fill(0);
                }
                for _ in 0..count {
                    downlink.feed.push(frame).expect("room in the ring");
                }
                downlink.playout.collect(RING, &downlink.counts);
                let tick = Tick {
                    slot,
                    late_us: 0,
                    missed: 0,
                };
                downlink.playout.tick(Phase(0), tick, &downlink.counts);
                downlink
                    .encode
                    .step(RING, &downlink.counts, |_, _, packet, _| {
                        bytes += packet.len();
                    });
            }
        });
        assert_eq!(operations, 0, "{codec:?}");
        assert!(bytes as u64 >= FRAMES * 172);
        let repairs = [
            TxCount::FrameCompressed,
            TxCount::FrameStretched,
            TxCount::FrameSkipped,
            TxCount::FrameRepeated,
        ];
        for what in repairs {
            assert!(downlink.count(what) > 0, "{codec:?}: {what:?}");
        }
    }
}

/// Goal: nor does a voice's stream of any rate, once it is set up.
#[test]
fn converting_a_rate_never_touches_the_heap() {
    for rate in RATES {
        let mut converter = RateConverter::new(rate).expect("a rate of the list");
        let (sound, mut count) = ([1000; 777], 0u64);
        let operations = heap_operations(|| {
            for _ in 0..1000 {
                converter.process(&sound, |_| count += 1);
            }
        });
        assert_eq!(operations, 0, "{rate}");
        assert!(count > 100_000);
    }
}

#[test]
fn the_downlink_never_touches_the_heap() {
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_static()) {
        let mut downlink = Downlink::new(codec);
        let other = tx_leg(
            LegId {
                slot: 2,
                generation: 1,
            },
            codec,
        );
        let mut bytes = 0;
        let operations = heap_operations(|| {
            for slot in 0..FRAMES {
                // Utterances of 100 frames in bursts, some too long for the buffer, some cut short.
                let burst = if slot % 10 == 0 && slot % 70 != 0 {
                    10
                } else {
                    slot % 700 / 699 * 30
                };
                for _ in 0..burst {
                    let part = if slot % 100 == 90 {
                        Part::Last
                    } else {
                        Part::Middle
                    };
                    downlink.say((slot / 100) as u32, part, 1000);
                }
                downlink.playout.collect(RING, &downlink.counts);
                downlink.playout.tick(
                    Phase(0),
                    Tick {
                        slot,
                        late_us: 0,
                        missed: 0,
                    },
                    &downlink.counts,
                );
                downlink
                    .encode
                    .step(RING, &downlink.counts, |_, _, packet, _| {
                        bytes += packet.len();
                    });
                if slot % 100 == 0 {
                    downlink.playout.add_leg(&other, Phase(0)).expect("free");
                    downlink.encode.add_leg(&other).expect("free");
                } else if slot % 100 == 50 {
                    downlink.playout.remove_leg(other.leg);
                    downlink.encode.remove_leg(other.leg);
                }
            }
        });
        assert_eq!(operations, 0, "{codec:?}");
        assert!(bytes as u64 >= FRAMES * 172);
        let holes = downlink.count(TxCount::FrameHole);
        let concealed = downlink.count(TxCount::FrameConcealed);
        let full = downlink.count(TxCount::DropPlayoutFull);
        assert!(holes > 100 && full > 100, "{holes} holes, {full} dropped");
        assert!(concealed > 100, "{concealed} concealed");
    }
}
