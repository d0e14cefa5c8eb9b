//! Drivers for black-box tests: the product's and the tools' real programs, a real Asterisk,
//! phones.
//!
//! Nothing here knows the inside of the product: it starts programs, reads what they print, and
//! ends the processes it started and no others. Every wait has a deadline and ends with an event.

// Every test file is a crate of its own and uses only a part.
#![allow(dead_code, unreachable_pub)]
// A driver that cannot go on has nothing better to do than to fail the test.
#![allow(clippy::unwrap_used)]

pub mod lab_asterisk;
pub mod lab_call;
pub mod lab_phone;
pub mod product_process;
pub mod product_programs;
pub mod product_speech;
