//! The four steps between datagram and link, each with a ring end in and a ring end out.
//!
//! A stage owns what its legs need, reserved at `new`, and does a bounded amount of work when told.
//! Which thread drives it, and whether the neighbour runs on the same one, it does not know.
//!
//! A leg is added to both stages of its direction with the same [`crate::msg::LegId`]; frames of a
//! leg that was removed meanwhile are counted and dropped.

mod decode;
mod encode;
mod playout;
mod resample;

pub use decode::Decode;
pub use encode::{Encode, PACKET_BYTES_MAX, SentFrame};
pub use playout::Playout;
pub use resample::Resample;
