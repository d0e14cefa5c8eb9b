//! Helpers of tests and benches, behind the feature `testing`: tones, a meter, a bad network.
//!
//! They may allocate and are seeded: the same seed gives the same run.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "not real-time"
)]

pub mod meter;
pub mod netem;
pub mod packets;
