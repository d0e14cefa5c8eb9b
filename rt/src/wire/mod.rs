//! Bytes to meaning and back, nothing else: no state, no policy.

pub mod comfort_noise;
pub mod rtp;
pub mod telephone_event;
