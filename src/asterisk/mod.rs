//! All that knows Asterisk: its REST interface, its event socket, and the thread that drives calls
//! with them. It decides nothing about calls: [`crate::call`] does.

pub mod ari;
pub mod control;
