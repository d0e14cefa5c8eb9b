//! Goal: no bytes from the network break a law. Method: the committed corpus and random bytes
//! through the bodies of the fuzz targets.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

use std::fs;
use std::path::Path;

use diglot_rt::fuzzing;
use proptest::prelude::*;

type Body = fn(&[u8]);

const BODIES: [(&str, Body); 7] = [
    ("codecs", fuzzing::codecs),
    ("commands", fuzzing::commands),
    ("others", fuzzing::others),
    ("playout", fuzzing::playout),
    ("rtp", fuzzing::rtp),
    ("uplink", fuzzing::uplink),
    ("voice", fuzzing::voice),
];

#[test]
fn the_corpus_breaks_nothing_whole_or_cut() {
    for (name, body) in BODIES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/corpus")
            .join(name);
        let files = fs::read_dir(&folder).expect("a folder for each body");
        let mut replayed = 0;
        for file in files {
            let path = file.expect("readable").path();
            let bytes = fs::read(&path).expect("readable");
            println!("{}", path.display());
            for len in 0..=bytes.len() {
                body(&bytes[..len]);
            }
            replayed += 1;
        }
        assert!(replayed >= 2, "{name}: {replayed} files");
    }
}

proptest! {
    #[test]
    fn random_bytes_break_nothing(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for (_, body) in BODIES {
            body(&bytes);
        }
    }

    /// Packets that are nearly right get further than random bytes do.
    #[test]
    fn nearly_right_packets_break_nothing(
        codec in any::<u8>(),
        packets in prop::collection::vec(
            (
                0..80u8,
                prop::sample::select(vec![0u8, 8, 9, 10, 11, 13, 101, 118, 128 + 9]),
                -3..9i16,
                prop::sample::select(vec![0i32, 80, 160, 320, -160, 8_000, 1 << 30]),
                0..100usize,
            ),
            0..60,
        )
    ) {
        let (mut seq, mut timestamp) = (0u16, 0u32);
        let mut bytes = vec![codec];
        for (pause, payload_type, step, units, length) in packets {
            seq = seq.wrapping_add_signed(step);
            timestamp = timestamp.wrapping_add_signed(units);
            bytes.extend([pause, 12 + length as u8, 0x80, payload_type]);
            bytes.extend(seq.to_be_bytes());
            bytes.extend(timestamp.to_be_bytes());
            bytes.extend([0, 0, 0, 1]);
            bytes.extend((0..length).map(|n| (n * 37) as u8));
        }
        fuzzing::uplink(&bytes);
    }
}
