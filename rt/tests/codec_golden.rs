//! Goal: G.711 is bit-exact, whoever is at the other end.
//! Method: all 256 codes and all 65 536 samples of both laws against a table made by another
//! implementation (golden/make_g711.py).

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

use diglot_rt::codec::{Decoder, Encoder};
use diglot_rt::msg::Codec;

const GOLDEN: &str = include_str!("golden/g711.csv");

fn codec(law: &str) -> Codec {
    match law {
        "alaw" => Codec::Alaw,
        "ulaw" => Codec::Ulaw,
        _ => panic!("no law is called {law}"),
    }
}

/// The lines of one kind: law, and the two numbers.
fn lines(kind: &str) -> impl Iterator<Item = (&'static str, i32, i32)> {
    GOLDEN.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |n: usize| fields[n].parse().expect("a number");
        (fields[0] == kind).then(|| (fields[1], number(2), number(3)))
    })
}

#[test]
fn every_code_decodes_to_the_golden_sample() {
    let mut checked = 0;
    for (law, code, sample) in lines("decode") {
        let mut decoded = [0];
        Decoder::new(codec(law)).decode(&[u8::try_from(code).unwrap()], &mut decoded);
        assert_eq!(i32::from(decoded[0]), sample, "{law} code {code}");
        checked += 1;
    }
    assert_eq!(checked, 2 * 256);
}

#[test]
fn every_sample_encodes_to_the_golden_code() {
    for law in ["alaw", "ulaw"] {
        let mut runs = lines("encode").filter(|line| line.0 == law).peekable();
        let mut expected = 0;
        for sample in i16::MIN..=i16::MAX {
            if let Some((_, _, code)) = runs.next_if(|run| run.1 == i32::from(sample)) {
                expected = code;
            }
            let mut code = [0];
            Encoder::new(codec(law)).encode(&[sample], &mut code);
            assert_eq!(i32::from(code[0]), expected, "{law} sample {sample}");
        }
        assert!(runs.next().is_none(), "every run was used");
    }
}

/// Goal: encoding a whole frame at once, vectorised, is the same as sample by sample.
#[test]
fn a_frame_encodes_like_its_samples() {
    let samples: Vec<i16> = (0..160).map(|n| (n * 409 - 32_700) as i16).collect();
    for codec in [Codec::Alaw, Codec::Ulaw] {
        let mut frame = [0; 160];
        Encoder::new(codec).encode(&samples, &mut frame);
        for (sample, expected) in samples.iter().zip(frame) {
            let mut code = [0];
            Encoder::new(codec).encode(&[*sample], &mut code);
            assert_eq!(code[0], expected);
        }
    }
}
