//! Bytes to meaning and back, nothing else: no state, no policy.

pub mod rtp;
