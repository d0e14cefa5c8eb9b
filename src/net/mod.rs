//! Sockets, clocks and timers as tiles and I/O threads need them: thin, safe, without allocation
//! after set-up.

pub mod batch;
pub mod clock;
pub mod drops;
pub mod paced_poll;
pub mod rhythm;
pub mod steering;
pub mod timer;
pub mod udp;
