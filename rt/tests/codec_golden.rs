//! Goal: G.711, G.722 and signed linear are bit-exact, whoever is at the other end.
//! Method: all 256 codes and all 65 536 samples of both laws of G.711, a stream of seconds through
//! G.722, and samples of every size as linear ones, against what other implementations made of them
//! (golden/make_*.py: Python's audioop, the package G722, sox) and what Asterisk sent.

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

/// The golden stream: samples, their codes with bytes no encoder sends behind them, and what all of
/// these decode to.
fn g722_golden() -> (Vec<i16>, &'static [u8], &'static [u8], Vec<i16>) {
    const GOLDEN: &[u8] = include_bytes!("golden/g722.bin");
    let word = |at: usize| {
        let bytes = GOLDEN[at..].first_chunk().expect("a header of two words");
        u32::from_le_bytes(*bytes) as usize
    };
    let (encoded, decoded) = (word(0), word(4));
    let samples = |bytes: &[u8]| -> Vec<i16> {
        let pairs = bytes.as_chunks().0.iter();
        pairs.map(|pair| i16::from_le_bytes(*pair)).collect()
    };
    let (input, rest) = GOLDEN[8..].split_at(encoded * 4);
    let (codes, output) = rest.split_at(decoded);
    (samples(input), &codes[..encoded], codes, samples(output))
}

#[test]
fn g722_encodes_the_golden_codes() {
    let (samples, codes, ..) = g722_golden();
    let mut encoded = vec![0; codes.len()];
    Encoder::new(Codec::G722).encode(&samples, &mut encoded);
    let first = encoded
        .iter()
        .zip(codes)
        .position(|(ours, other)| ours != other);
    assert_eq!(first, None, "the first code that differs");
    assert!(codes.len() > 20_000, "the stream is long");
}

#[test]
fn g722_decodes_to_the_golden_samples() {
    let (_, _, codes, samples) = g722_golden();
    let mut decoded = vec![0; samples.len()];
    Decoder::new(Codec::G722).decode(codes, &mut decoded);
    let first = decoded
        .iter()
        .zip(&samples)
        .position(|(ours, other)| ours != other);
    assert_eq!(first, None, "the first sample that differs");
    assert_eq!(samples.len(), 2 * codes.len());
}

/// Goal: how a stream is cut into payloads does not change what it says.
#[test]
fn g722_goes_on_across_payloads_of_any_length() {
    let (samples, codes, all_codes, decoded) = g722_golden();
    let (mut encoder, mut decoder) = (Encoder::new(Codec::G722), Decoder::new(Codec::G722));
    let mut at = 0;
    for length in (1..=500).cycle() {
        let end = (at + length).min(codes.len());
        let mut payload = vec![0; end - at];
        encoder.encode(&samples[2 * at..2 * end], &mut payload);
        assert_eq!(payload, codes[at..end]);
        let mut heard = vec![0; 2 * (end - at)];
        decoder.decode(&all_codes[at..end], &mut heard);
        assert_eq!(heard, decoded[2 * at..2 * end]);
        at = end;
        if at == codes.len() {
            break;
        }
    }
}

#[test]
fn linear_samples_are_the_golden_bytes_and_back() {
    const GOLDEN: &[u8] = include_bytes!("golden/slin.bin");
    let (little, payload) = GOLDEN.split_at(GOLDEN.len() / 2);
    let pairs = little.as_chunks().0.iter();
    let samples: Vec<i16> = pairs.map(|pair| i16::from_le_bytes(*pair)).collect();
    assert_eq!(samples.len(), 4096);
    for codec in [Codec::Slin, Codec::Slin16] {
        let (mut bytes, mut decoded) = (vec![0; payload.len()], vec![0; samples.len()]);
        Encoder::new(codec).encode(&samples, &mut bytes);
        Decoder::new(codec).decode(payload, &mut decoded);
        assert_eq!(bytes, payload, "{codec:?}");
        assert_eq!(decoded, samples, "{codec:?}");
    }
}

/// Goal: the first samples of a voice as Asterisk 22 sent them are smooth, as they were said.
/// Method: the payload of a captured packet; each sample is near the one before, which the other
/// order of its bytes does not give.
#[test]
fn what_asterisk_sends_as_linear_is_smooth_the_way_it_is_read() {
    let payload = [0xc9, 0xcf, 0xc6, 0x83, 0xc3, 0x3b, 0xc0, 0x45];
    let mut samples = [0i16; 4];
    Decoder::new(Codec::Slin16).decode(&payload, &mut samples);
    let steps = |samples: [i16; 4]| {
        let pairs = samples.windows(2);
        pairs.map(|pair| pair[0].abs_diff(pair[1])).max()
    };
    assert!(steps(samples) < Some(2_000), "{samples:?}");
    let swapped = samples.map(i16::swap_bytes);
    assert!(steps(swapped) > Some(20_000), "{swapped:?}");
}
