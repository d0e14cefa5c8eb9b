//! Goal: our view of RTP is the one others have.
//! Method: random and mutated packets through our parser and through the crate rtp-types; what we
//! emit, both read back; truncation at every length.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test is not real-time"
)]

use diglot_rt::wire::rtp::{HEADER_BYTES, Marker, Packet, Repr, RtpTimestamp, Seq};
use proptest::prelude::*;
use rtp_types::{RtpPacket, RtpPacketBuilder};

/// Both parsers agree on whether `bytes` is a packet and on every field of it.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (ours, theirs) = match (Packet::parse(bytes), RtpPacket::parse(bytes)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => return Ok(()),
        (ours, theirs) => {
            let verdicts = format!("{:?} and {:?}", ours.err(), theirs.err());
            return Err(TestCaseError::fail(verdicts));
        }
    };
    prop_assert_eq!(ours.payload_type(), theirs.payload_type());
    prop_assert_eq!(ours.is_marked(), theirs.marker_bit());
    prop_assert_eq!(ours.sequence_number().0, theirs.sequence_number());
    prop_assert_eq!(ours.timestamp().0, theirs.timestamp());
    prop_assert_eq!(ours.ssrc(), theirs.ssrc());
    prop_assert_eq!(
        ours.csrcs().collect::<Vec<_>>(),
        theirs.csrc().collect::<Vec<_>>()
    );
    prop_assert_eq!(ours.extension(), theirs.extension());
    prop_assert_eq!(ours.payload(), theirs.payload());
    prop_assert_eq!(
        ours.padding_bytes(),
        usize::from(theirs.padding().unwrap_or(0))
    );
    Ok(())
}

fn reprs() -> impl Strategy<Value = Repr> {
    let marker = prop_oneof![Just(Marker::Clear), Just(Marker::Set)];
    (0..128u8, marker, any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
        |(payload_type, marker, seq, timestamp, ssrc)| Repr {
            payload_type,
            marker,
            sequence_number: Seq(seq),
            timestamp: RtpTimestamp(timestamp),
            ssrc,
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_judged_alike(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        agree(&bytes)?;
    }

    #[test]
    fn bytes_that_look_like_rtp_are_judged_alike(
        first in 0x80..0xc0u8, rest in prop::collection::vec(any::<u8>(), 0..120)
    ) {
        let mut bytes = vec![first];
        bytes.extend(rest);
        agree(&bytes)?;
    }

    #[test]
    fn whole_packets_are_judged_alike_at_every_truncation(
        payload_type in 0..128u8, marker: bool, seq: u16, timestamp: u32, ssrc: u32,
        csrcs in prop::collection::vec(any::<u32>(), 0..16),
        words in prop::option::of(0..5usize),
        payload in prop::collection::vec(any::<u8>(), 0..40),
        padding in prop::option::of(1..20u8),
    ) {
        let extension = vec![7; 4 * words.unwrap_or(0)];
        let mut builder = RtpPacketBuilder::new()
            .payload_type(payload_type).marker_bit(marker).sequence_number(seq)
            .timestamp(timestamp).ssrc(ssrc).payload(payload.as_slice());
        for csrc in csrcs {
            builder = builder.add_csrc(csrc);
        }
        if words.is_some() {
            builder = builder.extension(0xbede, extension.as_slice());
        }
        if let Some(padding) = padding {
            builder = builder.padding(padding);
        }
        let bytes = builder.write_vec().expect("a legal packet");
        prop_assert!(Packet::parse(&bytes).is_ok());
        for len in 0..=bytes.len() {
            agree(&bytes[..len])?;
        }
    }

    #[test]
    fn what_is_emitted_is_read_back_by_both(repr in reprs()) {
        let mut header = [0xff; HEADER_BYTES];
        repr.emit(&mut header);
        let ours = Packet::parse(&header).expect("ours");
        prop_assert_eq!(Repr::from(&ours), repr);
        agree(&header)?;
    }
}
