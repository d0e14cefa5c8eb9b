//! The gateway's end of the link: it dials, one WebSocket for each leg, and decides who hears whom.
//!
//! ```text
//! rx tile ─▷ client ─▶ leg ─▶ connection ──▶ translator
//! tx tile ◁─ client ◀─ listener (speech_queue, live_voice) ◀── leg ◀── connection ◀── translator
//! ```

pub mod client;
pub mod command;
pub mod connection;
pub mod leg;
pub mod listener;
pub mod live_voice;
mod reports;
pub mod sessions;
pub mod speech_queue;
