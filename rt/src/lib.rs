//! The real-time core of Diglot: bytes and time go in, frames come out.
//!
//! Nothing here opens a socket, reads a clock, takes a lock, writes a log or touches the heap after
//! set-up. The tiles of the `diglot` crate drive this code with real packets; tests and benches
//! drive the same code on virtual time.
//!
//! ```text
//! uplink    datagram ─▶ stage::Decode ─▷ stage::Resample ─▷ link thread
//! downlink  link thread ─▷ stage::Playout ─▷ stage::Encode ─▶ datagram        ▷ = rtrb ring
//! ```
//!
//! | Module | Turns | into |
//! |---|---|---|
//! | [`routes`] | port and source address | whose packet it is |
//! | [`wire`] | bytes | RTP fields, and back |
//! | [`keys`] | telephone events | one report of each key |
//! | [`reorder`] | packets as they came | packets in the order of their time |
//! | [`timeline`] | packets of any length, gaps, silence | an unbroken row of 20 ms frames |
//! | [`playout`], [`depth`] | bursts of speech | one frame on every tick |
//! | [`codec`], [`dsp`] | payload | samples at 16 kHz, and back |
//! | [`stage`] | all of this | four steps that a tile takes in turn |
//! | [`phases`] | the frame clock | turns, so that many legs do not wait for each other |
//! | [`pool`] | a leg's name | its place, reserved at set-up |
//!
//! [`units`], [`time`], [`limits`], [`msg`] and [`stats`] are the words they share. Imports point
//! that way only: words ← wire, codec, dsp ← keys, reorder, timeline, playout ← stage.
//!
//! # The real-time contract
//! `new` may allocate. Everything else is wait-free and infallible, or counts what it had to drop
//! ([`stats`]); adding a leg may be refused. Time is always an argument. Held by `clippy.toml`
//! beside this crate, and by `tests/no_alloc.rs`.
//!
//! # Example
//! A phone's µ-law packet becomes a frame for the recogniser:
//! ```
//! use diglot_rt::msg::{Codec, LegId, PortIndex, RxLeg, UplinkStart};
//! use diglot_rt::stage::{Decode, Resample};
//! use diglot_rt::stats::RxCounts;
//! use diglot_rt::units::Micros;
//! use rtrb::RingBuffer;
//!
//! let (decoded, to_resample) = RingBuffer::new(16);
//! let (uplink, mut link) = RingBuffer::new(16);
//! let mut decode = Decode::new(1, decoded);
//! let mut resample = Resample::new(1, to_resample, uplink);
//! let counts = RxCounts::default();
//! let leg = RxLeg {
//!     leg: LegId { slot: 0, generation: 1 },
//!     port: PortIndex(0),
//!     source: "127.0.0.1:4000".parse()?,
//!     codec: Codec::Ulaw,
//!     uplink: UplinkStart::Fresh,
//! };
//! decode.add_leg(Micros(0), &leg)?;
//! resample.add_leg(&leg)?;
//!
//! let mut datagram = [0xff; 12 + 160];
//! datagram[..12].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7]);
//! decode.receive(Micros(0), leg.leg, &datagram, &counts, |_event| {});
//! resample.step(16, &counts);
//! let frame = link.pop().expect("a frame within the same turn");
//! assert_eq!((frame.index, frame.samples), (0, [0; 320]));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(clippy::cast_possible_truncation)]
// Tests are not real-time; what they test was checked in the build without them.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

extern crate alloc;

#[cfg(any(test, feature = "fuzzing", feature = "testing"))]
extern crate std;

pub mod codec;
pub mod depth;
pub mod dsp;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod keys;
pub mod limits;
pub mod msg;
pub mod phases;
pub mod playout;
pub mod pool;
pub mod reorder;
pub mod routes;
pub mod stage;
pub mod stats;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod timeline;
pub mod units;
pub mod wire;
