//! Helpers of tests and benches, behind the feature `testing`: tones, a meter, a bad network.
//!
//! They may allocate and are seeded: the same seed gives the same run.

#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "for tests, which are not real-time"
)]

pub mod meter;
pub mod netem;
pub mod packets;
pub mod signals;
