//! The real-time core of Diglot: bytes and time go in, frames come out.
//!
//! Nothing here opens a socket, reads a clock, takes a lock, writes a log or touches the heap after
//! set-up. The tiles of the `diglot` crate drive this code with real packets; tests and benches drive
//! the same code on virtual time.
//!
//! ```text
//! uplink    datagram ─▶ stage::Decode (wire, reorder, codec) ─▷ stage::Resample ─▷ link thread
//! downlink  link thread ─▷ stage::Playout (playout, resample) ─▷ stage::Encode (codec, wire) ─▶ datagram
//!           ▷ = rtrb ring
//! ```
//!
//! # The real-time contract
//! `new` and `configure` may allocate and may fail. Everything else is wait-free and infallible, or
//! counts what it had to drop ([`stats`]). Time is always an argument.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(clippy::cast_possible_truncation)]

extern crate alloc;

pub mod limits;
pub mod msg;
pub mod stats;
pub mod time;
pub mod units;
