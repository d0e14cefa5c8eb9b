//! Asterisk's REST Interface (ARI): requests by HTTP, events by WebSocket.
//!
//! ```text
//! control thread ──queue──▶ REST workers ──HTTP──▶ Asterisk ──WebSocket──▶ event thread
//!       ▲                        │ replies                         events      │
//!       └────────────────────────┴─────────────────────────────────────────────┘
//! ```

pub(super) mod events;
pub(super) mod model;
pub(super) mod rest;
pub(super) mod supervisor;
