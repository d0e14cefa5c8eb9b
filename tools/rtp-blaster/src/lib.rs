//! RTP phones for testing a media gateway, as Asterisk's ExternalMedia would talk to it.
//!
//! Refuses to depend on the product: RTP, codecs and all judging of streams are written here anew.
//!
//! ```text
//! playlist ─▶ uplink ─▶ socket ─▶ gateway          pacer: one frame each 20 ms, absolute
//!   wav         codec, rtp                          phone: the two threads and the socket
//! recorder ◀─ downlink ◀─ socket ◀─ gateway        report: all of it in JSON
//! ```
//!
//! [`uplink`], [`downlink`], [`recorder`] and [`playlist`] are pure: bytes and times go in, bytes
//! and counts come out. [`phone`] gives one of each a socket and a clock.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod codec;
pub mod downlink;
pub mod g711;
pub mod g722;
pub mod load;
pub mod pacer;
pub mod phone;
pub mod playlist;
pub mod process;
pub mod recorder;
pub mod relay;
pub mod report;
pub mod rtp;
pub mod sequence;
pub mod svg;
pub mod uplink;
pub mod wav;
