//! The real-time core of Diglot: bytes and time go in, frames come out.
//!
//! Nothing here opens a socket, reads a clock, takes a lock, writes a log or touches the heap after
//! set-up. The tiles of the `diglot` crate drive this code with real packets; tests and benches
//! drive the same code on virtual time.
//!
//! ```text
//! uplink    datagram ─▶ stage::Decode (wire, reorder, codec) ─▷ stage::Resample ─▷ link thread
//! downlink  link thread ─▷ stage::Playout (playout, resample) ─▷ stage::Encode (codec, wire) ─▶
//! datagram
//!           ▷ = rtrb ring
//! ```
//!
//! # The real-time contract
//! `new` and `configure` may allocate and may fail. Everything else is wait-free and infallible, or
//! counts what it had to drop ([`stats`]). Time is always an argument.
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

#[cfg(any(test, feature = "testing"))]
extern crate std;

pub mod codec;
pub mod dsp;
pub mod limits;
pub mod msg;
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
