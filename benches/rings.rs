//! What a ring between two threads costs per frame: rtrb with the frames that cross it, pushed and
//! popped in batches. One thread does both, so this is the work itself, without the travel of cache
//! lines between cores.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use diglot_rt::limits::LINK_RING_FRAMES;
use diglot_rt::msg::{FrameKind, LegId, UplinkFrame};
use diglot_rt::units::{FRAME_SAMPLES_MAX, Micros, SampleRate};
use rtrb::RingBuffer;

/// Frames of one wake-up: one, a full batch of datagrams, and a tick of 500 legs.
const BATCHES: [usize; 3] = [1, 64, 500];

fn push_pop(criterion: &mut Criterion) {
    let frame = UplinkFrame {
        leg: LegId {
            slot: 1,
            generation: 1,
        },
        index: 0,
        at: Micros(0),
        kind: FrameKind::Received,
        rate: SampleRate::Hz16000,
        samples: [1; FRAME_SAMPLES_MAX],
    };
    let mut group = criterion.benchmark_group("ring");
    for batch in BATCHES {
        let (mut producer, mut consumer) = RingBuffer::new(LINK_RING_FRAMES);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("uplink_frame", batch), |bencher| {
            bencher.iter(|| {
                for _ in 0..batch {
                    producer.push(black_box(frame)).expect("room for a batch");
                }
                for _ in 0..batch {
                    black_box(consumer.pop().expect("what was pushed"));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, push_pop);
criterion_main!(benches);
