//! Sockets, clocks and timers as the tiles need them: thin, safe, without allocation after set-up.

pub mod batch;
pub mod clock;
pub mod timer;
pub mod udp;
